"""What every command shares: the way to its hub, its output for people and for scripts, and its one line of failure."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import pydantic
import typer
from botocore.exceptions import BotoCoreError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from infra import serve as server
from infra.cli import aws, hub
from infra.cli.problem import Problem
from shared import names, settings
from shared import stores as stores_module
from shared.errors import ApiError, Damaged, Unavailable
from shared.model import Repo
from shared.stores import Stores

WIDTH = 200
"""Columns where nobody sees them: a pipe's reader must get whole ids."""

T = TypeVar("T")
Tell = Callable[[str, int], None]

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="The folder of a hub on this machine. Default: the hub of the environment if PIERIA_HUB_TABLE is set,"
        " else .hub.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="OWNER/SLUG", help="The repository.")]


class Commands(TyperGroup):
    """All the commands: one that is mistyped fails in one line, as any other does."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command, and end the process with its exit status."""
        try:
            status = super().main(*args, **options | {"standalone_mode": False})
        except typer.TyperException as mistake:
            if text := mistake.format_message().replace("Value error, ", "").rstrip("."):
                context = getattr(mistake, "ctx", None)
                command = context.command_path if context else "pieria"
                typer.echo(f"pieria: {plain(text)}; see `{command} --help`", err=True)
            # Otherwise no command was named, and the help has been shown.
            status = 2
        except typer.Abort:
            typer.echo("pieria: stopped before it was done: say it again to go on", err=True)
            status = 2
        sys.exit(status or 0)


# No locals in a traceback: they hold tokens and keys.
app = typer.Typer(
    cls=Commands,
    name="pieria",
    help="Run a hub: on this machine, or the one in an AWS account.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def noun(help: str) -> typer.Typer:
    """The commands of one noun."""
    return typer.Typer(help=help, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port, 0 for any free one.")] = 8000,
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to keep all in.")] = hub.FOLDER,
    json: Annotated[bool, typer.Option("--json", help="Say where it runs as one JSON document.")] = False,
) -> None:
    """Run the whole hub on this machine, until Ctrl-C."""
    options = ["--host", host, "--port", str(port), "--data", str(data), *(["--json"] if json else [])]
    raise typer.Exit(server.main(options))


def run(data: Path | None, work: Callable[[Stores], Awaitable[T]]) -> T:
    """The result of some work on the hub that is meant. Ends the command if it cannot be done."""
    with failing(), hub.opened(data):
        return on_stores(work)


def run_long(data: Path | None, title: str, work: Callable[[Stores, Tell], Awaitable[T]]) -> T:
    """The same for work that tells how far it is: with a progress bar, which ends before a failure is told."""
    with failing(), _bar(title) as tell, hub.opened(data):
        return on_stores(lambda stores: work(stores, tell))


@contextmanager
def failing() -> Iterator[None]:
    """End the command with one line on stderr where a failure is nobody's surprise."""
    try:
        yield
    except Damaged as problem:
        fail(f"{problem.message}: nothing was removed; `pieria fsck` tells what is wrong and how to mend it")
    except (Problem, ApiError) as problem:
        fail(str(problem))


def fail(line: str) -> NoReturn:
    """Say why something was not done, and end the command."""
    typer.echo(f"pieria: {plain(line)}", err=True)
    raise typer.Exit(2)


def on_stores(work: Callable[[Stores], Awaitable[T]]) -> T:
    """The result of some work on what the environment leads to. Raises Problem where AWS is why there is none."""

    async def opened() -> T:
        try:
            return await work(await stores_module.stores())
        finally:
            await stores_module.close()

    configured()
    try:
        return asyncio.run(opened())
    except (Unavailable, BotoCoreError) as error:
        if isinstance(error, Unavailable) and error.message != Unavailable().message:
            raise  # not the store's failure, but what somebody here has to say
        found = next((check for check in aws.checks(settings.load()) if check.failed), None)
        raise Problem(f"{found.says}: {found.mend}" if found else f"AWS did not do it ({error}); try again") from None


def configured() -> settings.Settings:
    """The settings of the environment. Raises Problem naming what is missing or wrong."""
    try:
        return settings.load()
    except pydantic.ValidationError as error:
        wrong = sorted({f"PIERIA_{str(detail['loc'][0]).upper()}" for detail in error.errors() if detail["loc"]})
        raise Problem(
            f"{' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or wrong: set the environment that"
            " the functions have"
        ) from None


def now() -> float:
    """The clock."""
    return time.time()


async def require(stores: Stores, name: str) -> Repo:
    """The repository of this name. Raises Problem if there is none."""
    owner, slug = full_name(name)
    repo = await stores.repos.get(owner, slug)
    if repo is None or repo.deleted:
        raise Problem(f"there is no repository {owner}/{slug}: `pieria repo list {owner}` shows those of {owner}")
    return repo


def full_name(name: str) -> tuple[str, str]:
    """Owner and slug. Raises Problem for what is not `owner/slug`."""
    owner, _, slug = name.partition("/")
    if not (names.is_repo_name(owner) and names.is_repo_name(slug)):
        raise Problem(f"{name!a} does not name a repository: write it as owner/slug")
    return owner, slug


# ── Output ──────────────────────────────────────────────────────────────────────────────────────────────────


def document(value: Any) -> None:
    """The one JSON document."""
    typer.echo(json.dumps(value, indent=2))


def say(line: str) -> None:
    """A line for people."""
    typer.echo(plain(line))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows for people: as wide as their terminal, or as it takes where there is none."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False, emoji=False)
    shown = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(plain(str(cell)), overflow="fold") for cell in row))
    console.print(shown)


def plain(text: str) -> str:
    """Text that others wrote, without what a terminal would act on."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def when(epoch_seconds: float) -> str:
    """A time for people, here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_seconds)) if epoch_seconds else "–"


@contextmanager
def _bar(title: str) -> Iterator[Tell]:
    """A progress bar on stderr, if that is a terminal. Nobody knows the ends, so the bars pulse beside counts."""
    title = plain(title)
    what, count = TextColumn("{task.description}", markup=False), TextColumn("{task.completed}")
    columns = (SpinnerColumn(), what, BarColumn(), count, TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {"": bar.add_task(title, total=None)}

        def tell(kind: str, number: int) -> None:
            if kind not in tasks:
                tasks[kind] = bar.add_task(f"{title}: {kind}", total=None)
                if "" in tasks:
                    bar.remove_task(tasks.pop(""))
            bar.update(tasks[kind], completed=number)

        yield tell
