"""mirror: pushes the commits of another hub that a hub lacks."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from infra.cli import output, remote
from infra.cli.clone import INTERRUPTED
from infra.cli.commands import plain
from infra.cli.connect import TokenFile
from infra.cli.output import Json
from infra.relay.address import Address, Token, Unable, repository_address
from infra.relay.hub import Hub
from infra.relay.progress import Progress
from infra.relay.serve import check_hub
from infra.transfer.mirror import Mirror, Mirrored
from infra.transfer.source import Source
from infra.transfer.target import Target
from shared.errors import ApiError

SOURCE_VARIABLE = "PIERIA_SOURCE_TOKEN"
"""No hub gets the token of another one: the source has a variable of its own."""

To = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="The repository to push to, as https://hub.example.org/owner/slug, or as owner/slug"
        " with --hub.",
    ),
]


def mirror(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The repository to read, as https://hub.example.org/owner/slug."
        ),
    ],
    to: To,
    force: Annotated[
        bool, typer.Option("--force", help="Move branches that have other commits here, too.")
    ] = False,
    source_token_file: Annotated[
        Path | None,
        typer.Option(
            "--source-token-file",
            metavar="FILE",
            help=(
                f"A file with the token for the source. Default: {SOURCE_VARIABLE}, else the login"
                " of `muse auth login`, else none."
            ),
        ),
    ] = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Push the commits of another hub that a hub lacks.

    Run it again to send new commits, or to go on with an interrupted run. Branches that only the
    second hub has stay. Exit status 1 if a branch was left out.
    """
    with failing():
        address, repository = repository_address(source)
        reads = Token(address, source_token_file, SOURCE_VARIABLE)
        other, copy, token = destination(to, token_file)
        sending = Hub(other, token, Progress())
        work = _mirror(Hub(address, reads, Progress()), repository, sending, copy, force=force)
        done = asyncio.run(work)
    if json:
        output.document({"source": repository.strip("/"), "repo": copy.strip("/"), **asdict(done)})
    else:
        output.say(
            f"pushed {done.commits} commits, {done.objects} objects; {done.tags} new tags,"
            f" {done.releases} releases"
        )
        output.say(f"branches moved: {', '.join(done.branches) or 'none'}")
        for branch, reason in done.left_out.items():
            output.say(f"left out: {branch}: {reason}")
    raise typer.Exit(1 if done.left_out else 0)


def destination(to: str, token_file: Path | None) -> tuple[Address, str, Token]:
    """The hub to push to, the path of the repository, and the token. Raises Unable."""
    chosen = remote.selected()
    if chosen and "://" in to:
        raise Unable("--hub and the URL select different hubs: with --hub, write owner/slug")
    if chosen:
        to = f"{chosen.url.rstrip('/')}/{to}"
        token_file = token_file or chosen.token_file
    address, repository = repository_address(to)
    return address, repository, Token(address, token_file)


@contextmanager
def failing() -> Iterator[None]:
    """End the command with one line if a hub or Git fails, or after Ctrl-C."""
    try:
        yield
    except (Unable, ApiError) as problem:
        typer.echo(f"pieria: {plain(str(problem))}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("pieria: interrupted: run the same command again, it goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None


async def _mirror(source: Hub, repository: str, target: Hub, copy: str, *, force: bool) -> Mirrored:
    try:
        await check_hub(target.address)
        return await Mirror(Source(source, repository), Target(target, copy)).run(force=force)
    finally:
        await source.close()
        await target.close()
