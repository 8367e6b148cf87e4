"""The command for the members of a repository."""

from typing import Annotated, Any

import typer

from infra.cli import output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json, Name
from shared.actions import members
from shared.errors import MemberNotFound
from shared.model import Repo, Role
from shared.stores import Stores


def member(
    name: Name,
    handle: Annotated[
        str, typer.Argument(metavar="HANDLE", help="The user whose role to set or to remove.")
    ] = "",
    role: Annotated[Role | None, typer.Option(help="The new role. It replaces any other.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the member.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """List the members of a repository. With a handle, set or remove the role of that user."""
    if bool(handle) != (role is not None or remove) or (role is not None and remove):
        output.fail(
            "give a handle with either --role or --remove, or no handle to list the members"
        )

    async def work(stores: Stores) -> tuple[Repo, list[tuple[str, Role]]]:
        repo = await output.require(stores, name)
        if role is not None:
            await members.set_role(stores.of(repo), handle, role)
        elif handle:
            await _remove(stores, repo, handle)
        return repo, await members.all_members(stores.of(repo))

    repo, found = output.run(data, work)
    if json:
        document = {"owner": repo.owner, "slug": repo.slug, "members": member_documents(found)}
        output.document(document)
    else:
        output.table(["member", "role"], found)


async def _remove(stores: Stores, repo: Repo, handle: str) -> None:
    try:
        await members.remove(stores.of(repo), handle)
    except MemberNotFound:
        raise CliError(
            f"{handle} is not a member of {repo.owner}/{repo.slug}: nothing was removed"
        ) from None


def member_documents(found: list[tuple[str, Role]]) -> list[dict[str, Any]]:
    """Members as the commands print them."""
    return [{"handle": handle, "role": role.value} for handle, role in found]
