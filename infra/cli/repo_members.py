"""The command for the members of a repository."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli import api, output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json, Name
from infra.client.errors import NotFound
from infra.client.models import Repository
from shared.model import Role

if TYPE_CHECKING:
    from infra.cli.api import Api


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
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        repo = hub.repo(owner, slug)
        if role is not None:
            hub.set_member(owner, slug, handle, role.value)
        elif handle:
            _remove(hub, repo, handle)
        found = list(hub.members(owner, slug))
    if json:
        members = [asdict(one) for one in found]
        output.document({"owner": repo.owner, "slug": repo.slug, "members": members})
    else:
        output.table(["member", "role"], [(one.handle, one.role) for one in found])


def _remove(hub: "Api", repo: Repository, handle: str) -> None:
    try:
        hub.remove_member(repo.owner, repo.slug, handle)
    except NotFound as absent:
        if absent.code != "member_not_found":
            raise
        raise CliError(
            f"{handle} is not a member of {repo.owner}/{repo.slug}: nothing was removed"
        ) from None
