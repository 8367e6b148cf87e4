"""The list of all commands. A command's module is imported when the command runs.

The imports of one command take up to half a second. `pieria --help` needs none of them, so the list
repeats the first sentence of each command's help; a test compares the two.
"""

import importlib
import io
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from infra.cli import remote


class Entry(NamedTuple):
    """A command, or the commands of a noun: its module and attribute, and one line of help."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "serve": Entry("serve", "serve", "Run the whole hub on this machine, until Ctrl-C."),
    "connect": Entry("connect", "connect", "Pass large pushes and clones to a hub, until Ctrl-C."),
    "clone": Entry(
        "clone",
        "clone",
        "Make a working copy of any size. Run it again to go on with an interrupted one.",
    ),
    "import-git": Entry(
        "git", "import_git", "Push the branches and tags of a Git repository to a hub."
    ),
    "mirror": Entry("mirror", "mirror", "Push the commits of another hub that a hub lacks."),
    "doctor": Entry(
        "doctor", "doctor", "Check the resources of a hub, and show how to fix problems."
    ),
    "repo": Entry("repo", "app", "Repositories, their branches and their members."),
    "user": Entry("user", "app", "Users: the handles of a hub."),
    "release": Entry("release", "app", "Releases of a repository."),
    "domain": Entry("domain", "app", "Domains: the published descriptions of plugins."),
    "identity": Entry(
        "identity", "app", "Users of identity providers, and the handles that they sign in to."
    ),
    "token": Entry("token", "app", "Tokens, with which users log in."),
    "usage": Entry("usage", "app", "The stored bytes of an owner, and the limit."),
    "key": Entry("key", "app", "Signing keys, with which a hub signs its tokens."),
    "export": Entry("transfer", "export", "Write everything of a repository to a file."),
    "import": Entry("transfer", "import_", "Make a repository from a file of `pieria export`."),
    "upkeep": Entry(
        "upkeep", "app", "The upkeep that the hub does by itself: due work, and the last errors."
    ),
    "fsck": Entry("maintenance", "fsck", "Read everything that the branches reach, and verify it."),
    "gc": Entry("maintenance", "gc", "Delete rows and bytes that nothing reaches, in three steps."),
    "rebuild-index": Entry(
        "maintenance", "rebuild_index", "Write missing rows again, from the packs in the bucket."
    ),
    "expunge": Entry(
        "expunge",
        "expunge",
        "Delete commits and objects that no branch, tag or release reaches, at once.",
    ),
    "purge": Entry(
        "maintenance",
        "purge",
        "Delete the data of repositories that were deleted a day ago or earlier.",
    ),
}


class Commands(TyperGroup):
    """The group of all commands. A mistyped command fails in one line."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return a command. None if it does not exist."""
        entry = COMMANDS.get(cmd_name)
        return load(cmd_name, entry) if entry else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command, and end the process with its exit status."""
        for stream in (sys.stdout, sys.stderr):
            # A locale that lacks a character must not stop the command.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            status = super().main(*args, **options | {"standalone_mode": False})
        except ModuleNotFoundError as absent:
            package = (absent.name or "").partition(".")[0]
            typer.echo(
                f"pieria: the package {package} is needed: pip install 'pieria[aws]', or in a"
                " checkout `make aws-packages`",
                err=True,
            )
            status = 2
        except typer.TyperException as mistake:
            _show(mistake)
            status = 2
        except typer.Abort:
            typer.echo("pieria: interrupted before it was done: run it again", err=True)
            status = 2
        sys.exit(status or 0)


def _show(mistake: typer.TyperException) -> None:
    """Print a mistake in one line, or the help if no command was named."""
    context = getattr(mistake, "ctx", None)
    text = mistake.format_message()
    if context is not None and text == context.get_help():
        typer.echo(text)
        return
    command = context.command_path if context else "pieria"
    reason = text.replace("Value error, ", "").rstrip(".")
    typer.echo(f"pieria: {plain(reason)}; see `{command} --help`", err=True)


def load(name: str, entry: Entry) -> Any:
    """The command of an entry. Imports its module."""
    module = importlib.import_module(f"infra.cli.{entry.module}")
    found = getattr(module, entry.attribute)
    if isinstance(found, typer.Typer):
        found.info.name = name
        return get_command(found)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(found)
    return get_command(single)


def plain(text: str) -> str:
    """Untrusted text, without the characters that a terminal interprets."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


# No local variables in a traceback: they contain tokens and keys.
app = typer.Typer(
    cls=Commands,
    name="pieria",
    help="Run a hub: on this machine, or the one in an AWS account. Or use any hub by its URL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:  # noqa: FBT001 (the signature is typer's)
    if value:
        from infra.version import version

        typer.echo(f"pieria {version()}")
        raise typer.Exit


@app.callback()
def options(
    hub: Annotated[
        str,
        typer.Option(
            "--hub",
            metavar="URL",
            envvar="PIERIA_HUB",
            help="Use the API of this hub, with your token. For repo, release, domain and token.",
        ),
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --hub: a file with the token. Default: PIERIA_TOKEN, else the login of"
            " `muse auth login`.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Run a hub: on this machine, or the one in an AWS account. Or use any hub by its URL."""
    remote.select(hub, token_file)
