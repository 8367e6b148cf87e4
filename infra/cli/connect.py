"""The relay between the stock client on this machine and a hub."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer

from infra.cli import remote
from infra.cli.cli_error import CliError
from infra.cli.commands import plain
from infra.relay.address import Address, Token, Unable, hub_address
from infra.relay.progress import Progress
from infra.relay.serve import check_hub, listening, port_of, served, stop_signals

PORT = 8417

Url = Annotated[str, typer.Argument(metavar="URL", help="The hub, as https://hub.example.org.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file with the token. Default: PIERIA_TOKEN, else the login of `muse auth login`.",
    ),
]


def connect(
    url: Url,
    port: Annotated[int, typer.Option(help="Port on this machine, 0 for any free one.")] = PORT,
    token_file: TokenFile = None,
) -> None:
    """Pass large pushes and clones to a hub, until Ctrl-C."""
    try:
        remote.refuse("it takes the URL as its argument, as `pieria connect URL`")
        address = hub_address(url)
        token = Token(address, token_file)
        source = token.source
        with listening(port) as listener:
            asyncio.run(_connect(address, token, source, listener))
    except (CliError, Unable) as problem:
        typer.echo(f"pieria: {plain(str(problem))}", err=True)
        raise typer.Exit(2) from None


async def _connect(address: Address, token: Token, source: str, listener: socket.socket) -> None:
    await check_hub(address)
    async with served(address, token, listener, Progress()):
        local = f"http://127.0.0.1:{port_of(listener)}"
        stopped = stop_signals()
        typer.echo(_announcement(address, source, local))
        await stopped.wait()


def _announcement(address: Address, source: str, local: str) -> str:
    if source:
        who = f"with the token of {source}"
    else:
        who = "without a token (`muse auth login --hub` stores one)"
    return f"""
The relay passes requests to {address.url}, {who}.

In a Muse repository, once:

  muse remote add origin {local}/OWNER/SLUG

A clone, also of a private repository:

  muse clone {local}/OWNER/SLUG

Ctrl-C stops the relay.

RELAY READY url={local}"""
