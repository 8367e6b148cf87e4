"""Shared by all commands: access to the hub, output for people and for scripts, and the one line of
a failure."""

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_type_hints

import pydantic
import typer
from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from infra.cli import hub
from infra.cli.cli_error import CliError, UnknownUser
from infra.cli.commands import plain
from infra.client.errors import HubError
from shared import names, settings
from shared.engines import selection
from shared.errors import ApiError, Damaged, Unavailable
from shared.model import Repo
from shared.progress import OnProgress
from shared.stores import Stores

DOMAIN_RULE = "a lower-case word of up to 32 letters, digits, _ and -, such as code or midi"

WIDTH = 200
"""Columns of output that is not a terminal. Wide, so that ids are not wrapped."""

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help=(
            "The folder of a hub on this machine. Default: the hub of the environment if"
            " PIERIA_HUB_TABLE is set, else .hub."
        ),
    ),
]
Name = Annotated[str, typer.Argument(metavar="OWNER/SLUG", help="The repository.")]


def with_options(command: Callable[[T], None]) -> Callable[..., None]:
    """A command of Typer whose options are the fields of a dataclass, its only parameter."""
    (parameter,) = inspect.signature(command, eval_str=True).parameters.values()
    options: Any = parameter.annotation

    def run(**values: Any) -> None:
        command(options(**values))

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__annotations__ = get_type_hints(options, include_extras=True)
    vars(run)["__signature__"] = inspect.signature(options)
    return run


def noun(help: str) -> typer.Typer:
    """The commands of one noun."""
    return typer.Typer(
        help=help, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
    )


def run(data: Path | None, work: Callable[[Stores], Awaitable[T]]) -> T:
    """Run `work` on the selected hub, and return its result. Ends the command if it fails."""
    with failing(), hub.opened(data):
        return on_stores(work)


def run_long(
    data: Path | None, title: str, work: Callable[[Stores, OnProgress], Awaitable[T]], left: str
) -> T:
    """The same for work that reports its progress: with a progress bar, which ends before a failure
    is shown.

    `left`: the state that an interrupted run leaves behind, for the message after Ctrl-C.
    """
    try:
        with failing(), _bar(title) as on_progress, hub.opened(data):
            return on_stores(lambda stores: work(stores, on_progress))
    except KeyboardInterrupt:
        fail(f"{title} was interrupted: {left}")


@contextmanager
def failing() -> Iterator[None]:
    """End the command with one line on stderr on an expected failure."""
    try:
        yield
    except Damaged as problem:
        fail(
            f"{problem.message}: nothing was deleted; `pieria fsck` shows the faults and their"
            " fixes"
        )
    except (CliError, ApiError, HubError) as problem:
        fail(str(problem))


def fail(line: str) -> NoReturn:
    """Print the cause of a failure, and end the command with status 2."""
    typer.echo(f"pieria: {plain(line)}", err=True)
    raise typer.Exit(2)


def on_stores(work: Callable[[Stores], Awaitable[T]]) -> T:
    """Run `work` on the stores of the environment, and return its result. Raises CliError."""

    async def opened() -> T:
        try:
            return await work(await selection.stores())
        finally:
            await selection.close()

    with explaining_aws():
        return asyncio.run(opened())


@contextmanager
def explaining_aws() -> Iterator[None]:
    """Raise CliError with the cause and the fix if AWS is the cause of a failure.

    Raises CliError, too, if variables of the environment are missing.
    """
    if configured().data:
        yield
        return
    # Late: a hub on this machine needs no package of AWS.
    from botocore.exceptions import BotoCoreError

    from infra.cli import aws

    try:
        yield
    except (Unavailable, BotoCoreError) as error:
        if isinstance(error, Unavailable) and error.message != Unavailable().message:
            raise  # it has a message of its own, so AWS did not fail
        found = next((check for check in aws.checks(settings.load()) if check.failed), None)
        raise CliError(
            f"{found.result}: {found.fix}"
            if found
            else f"a call to AWS failed ({error}): try again"
        ) from None


def configured() -> settings.Settings:
    """The settings of the environment.

    Raises CliError with the variables that are missing or wrong.
    """
    try:
        return settings.load()
    except pydantic.ValidationError as error:
        wrong = sorted(
            {
                f"PIERIA_{str(detail['loc'][0]).upper()}"
                for detail in error.errors()
                if detail["loc"]
            }
        )
        raise CliError(
            f"{' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or wrong: set the"
            " variables of the functions; docs/deploy.md reads them from the stack"
        ) from None


def now() -> float:
    """The time, in epoch seconds."""
    return time.time()


async def require(stores: Stores, name: str) -> Repo:
    """The repository of this name, its owner in any letter case.

    Raises CliError if there is none.
    """
    given, slug = full_name(name)
    owner = await stores.handles.spelling(given)
    repo = await stores.repos.get(owner, slug)
    if repo is None or repo.deleted:
        raise CliError(
            f"there is no repository {owner}/{slug}: `pieria repo list {owner}` shows those of"
            f" {owner}"
        )
    return repo


async def require_user(stores: Stores, handle: str) -> str:
    """The handle in the spelling in which it is claimed. Raises UnknownUser if not."""
    spelled = await stores.handles.claimed(names.check_handle(handle))
    if spelled is None:
        raise UnknownUser(f"there is no user {handle}: `pieria user list` shows all users")
    return spelled


def check_options(shape: type[BaseModel], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a command, if they have the shape of an API request. Raises CliError."""
    try:
        shape.model_validate(options)
    except pydantic.ValidationError as error:
        wrong = error.errors()[0]
        option = str(wrong["loc"][0])
        rules = {"domain": DOMAIN_RULE}
        raise CliError(f"--{option.replace('_', '-')}: {rules.get(option, wrong['msg'])}") from None
    return options


def name_of(repository: str) -> tuple[str, str]:
    """Owner and slug of `owner/slug`. Ends the command for any other text."""
    with failing():
        return full_name(repository)


def full_name(name: str) -> tuple[str, str]:
    """Owner and slug of `owner/slug`. Raises CliError for any other text."""
    owner, _, slug = name.partition("/")
    if not (names.is_repo_name(owner) and names.is_repo_name(slug)):
        raise CliError(f"{name!a} does not name a repository: write it as owner/slug")
    return owner, slug


# ── Output ────────────────────────────────────────────────────────────────────────────────────────


def document(value: Any) -> None:
    """Print the JSON document."""
    typer.echo(json.dumps(value, indent=2))


def say_writes(name: str, writes: Iterable[object]) -> None:
    """Print the writes of a plan for people, in their order."""
    lines = [str(write) for write in writes]
    say(f"{name}: {'would make these writes, in this order' if lines else 'nothing to write'}")
    for number, line in enumerate(lines, 1):
        say(f"{number:3}. {line}")


def say(line: str) -> None:
    """Print a line for people."""
    typer.echo(plain(line))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows for people, as wide as the terminal. Without a terminal, `WIDTH` columns."""
    console = Console(
        width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False, emoji=False
    )
    shown = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(plain(str(cell)), overflow="fold") for cell in row))
    console.print(shown)


def when(epoch_seconds: float) -> str:
    """A local time with its zone, for people. A dash for 0."""
    if not epoch_seconds:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(epoch_seconds))


def size(count: float) -> str:
    """A number of bytes, for people: `12.3 MiB`."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            if unit == "bytes":
                return f"{count:.0f} bytes"
            return f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


@contextmanager
def _bar(title: str) -> Iterator[OnProgress]:
    """Progress bars on stderr, if it is a terminal: one for each kind of item, with total and
    remaining time."""
    shown_title = plain(title)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        tasks = {"": bar.add_task(shown_title, total=None, count="")}

        def on_progress(
            what: str, done: int, total: int | None = None, size_bytes: int | None = None
        ) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(f"{shown_title}: {what}", total=total, count="")
                if "" in tasks:
                    bar.remove_task(tasks.pop(""))
            count = progress_text(done, total, size_bytes)
            bar.update(tasks[what], completed=done, total=total, count=count)

        yield on_progress


def progress_text(done: int, total: int | None, size_bytes: int | None) -> str:
    """The progress of a job as text: `3 of 10, 1.5 MiB`."""
    of_total = "" if total is None else f" of {total}"
    if size_bytes is None:
        of_size = ""
    else:
        of_size = f", {size(size_bytes)}"
    return f"{done}{of_total}{of_size}"
