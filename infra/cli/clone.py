"""A working copy of any size, by the stock client."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from infra.cli import remote
from infra.cli.cli_error import CliError
from infra.cli.commands import plain
from infra.cli.connect import TokenFile
from infra.relay.address import Address, Token, Unable, repository_address
from infra.relay.clone import clone as make_clone
from infra.relay.progress import Progress
from infra.relay.serve import check_hub

INTERRUPTED = 130
"""The exit status after Ctrl-C, as a shell has it for a program that SIGINT ends."""


def clone(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="The repository, as https://hub.example.org/owner/slug."
        ),
    ],
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="A new folder, or one with a clone in work.")
    ],
    token_file: TokenFile = None,
) -> None:
    """Make a working copy of any size. Run it again to go on with an interrupted one."""
    try:
        remote.refuse("it takes the URL as its argument, as `pieria clone URL DIRECTORY`")
        address, repository = repository_address(url)
        token = Token(address, token_file)
        _ = token.source
        asyncio.run(_clone(address, repository, token, directory))
    except (CliError, Unable) as problem:
        typer.echo(f"pieria: {plain(str(problem))}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("pieria: interrupted: run the same command again, it goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"Cloned into {plain(str(directory))}")


async def _clone(address: Address, repository: str, token: Token, directory: Path) -> None:
    await check_hub(address)
    await make_clone(address.url + repository, address, repository, token, directory, Progress())
