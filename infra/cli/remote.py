"""The hub of the option `--hub`, and the token for it.

The token is that of `--token-file`, else of PIERIA_TOKEN, else of `muse auth login`: no option has
it in clear, because every user of a machine can read the options of a command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.cli_error import CliError

if TYPE_CHECKING:
    from infra.client import Client


@dataclass(frozen=True)
class Remote:
    """The options that select a hub by its URL."""

    url: str
    token_file: Path | None


_selected: Remote | None = None
"""Of the command that runs: a process runs one at a time."""


def select(url: str, token_file: Path | None) -> None:
    """Use the hub at this URL for the command. An empty URL: a hub whose data is accessible."""
    global _selected
    _selected = Remote(url, token_file) if url else None


def selected() -> Remote | None:
    """Return the hub of `--hub`, None without the option."""
    return _selected


def refuse(reason: str) -> None:
    """Raise CliError if `--hub` is in use, for a command that cannot work with it."""
    if _selected:
        raise CliError(f"this command does not work with --hub: {reason}")


@contextmanager
def opened(data: Path | None, caller: str) -> Iterator["Client"]:
    """Open the API of the selected hub. Raises CliError, also if the token is of another user."""
    if _selected is None:
        raise AssertionError("--hub is in use")
    if data is not None:
        raise CliError("--hub and --data select different hubs: use one of them")
    # Late: other commands need no HTTP client.
    from infra.client import Client
    from infra.relay.address import Token, Unable, hub_address

    try:
        address = hub_address(_selected.url)
        token = Token(address, _selected.token_file).read()
    except Unable as problem:
        raise CliError(str(problem)) from None
    with Client(address.url, token) as client:
        if caller:
            _check_caller(client, caller)
        yield client


def _check_caller(client: "Client", caller: str) -> None:
    handle = client.me().handle
    if handle.casefold() != caller.casefold():
        raise CliError(
            f"the token is of {handle}, and this needs one of {caller}: log in as {caller}, or use"
            " another --token-file"
        )
