"""import-git: a Git repository becomes a repository of a hub."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from infra.cli import output
from infra.cli.connect import TokenFile
from infra.cli.mirror import To, destination, failing
from infra.cli.output import Json
from infra.relay.address import Address, Token
from infra.relay.hub import Hub
from infra.relay.progress import Progress
from infra.relay.serve import check_hub
from infra.transfer import git
from infra.transfer.git_import import GitImport, Imported
from infra.transfer.ids import Ids
from infra.transfer.target import Target


def import_git(
    source: Annotated[
        str, typer.Argument(metavar="GIT", help="The folder or the URL of a Git repository.")
    ],
    to: To,
    force: Annotated[
        bool, typer.Option("--force", help="Move branches that were rewritten in Git, too.")
    ] = False,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Push the branches and tags of a Git repository to a hub.

    Run it again to send new commits, or to go on with an interrupted run.
    Exit status 1 if a branch was left out.
    """
    with failing():
        address, repository, token = destination(to, token_file)
        done = asyncio.run(_import(source, address, repository, token, force=force))
    if json:
        output.document({"repo": repository.strip("/"), **asdict(done)})
    else:
        _say(done)
    raise typer.Exit(1 if done.left_out else 0)


async def _import(
    source: str, address: Address, repository: str, token: Token, *, force: bool
) -> Imported:
    await check_hub(address)
    hub = Hub(address, token, Progress())
    repository_of_git = git.opened(source)
    known = Ids(repository_of_git.folder)
    try:
        return await GitImport(repository_of_git, known, Target(hub, repository)).run(force=force)
    finally:
        known.close()
        repository_of_git.close()
        await hub.close()


def _say(done: Imported) -> None:
    moved = ", ".join(done.branches) or "none"
    output.say(f"pushed {done.commits} commits, {done.objects} objects, {done.tags} tags")
    output.say(f"branches moved: {moved}")
    for name, count in sorted(done.notes.items()):
        output.say(f"Muse does not hold: {name} ({count})")
    for branch, reason in done.left_out.items():
        output.say(f"left out: {branch}: {reason}")
