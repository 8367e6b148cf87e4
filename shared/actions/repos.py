"""Change the attributes of a repository, and list the repositories of an owner."""

from collections.abc import Callable, Mapping

from shared import names
from shared.errors import Unprocessable
from shared.model import Identity, Repo, Role
from shared.stores import RepoStores, Stores


async def change(repository: RepoStores, changes: Mapping[str, str]) -> Repo:
    """Set these attributes, by name, and return the repository with them.

    A new default branch must exist. A repository without branches takes any valid name, since its
    first push creates the branch. Raises InvalidName or Unprocessable for the default branch, and
    RepoNotFound for a repository that was deleted meanwhile.
    """
    if "default_branch" in changes:
        await _check_default_branch(repository, changes["default_branch"])
    return (
        await repository.stores.repos.change(repository.repo, changes)
        if changes
        else repository.repo
    )


RoleOf = Callable[[Repo, Role | None], Role | None]
"""The role of the caller in a repository of which the caller is a member with this role."""


async def readable(
    stores: Stores,
    owner: str,
    identity: Identity | None,
    role_of: RoleOf,
    after: str | None,
    limit: int,
) -> list[tuple[Repo, Role]]:
    """Return up to `limit` repositories of an owner that the caller may read, by name.

    The owner is found in every letter case. Reads until there are `limit`, or no more: neither the
    length of a page nor its cursor reveals hidden repositories.
    """
    found = (
        await _readable(stores, owner, identity, role_of, after, limit)
        if names.is_repo_name(owner)
        else []
    )
    if not found:
        spelled = await stores.handles.spelling(owner)
        if spelled != owner:
            found = await _readable(stores, spelled, identity, role_of, after, limit)
    return found


async def _readable(
    stores: Stores,
    owner: str,
    identity: Identity | None,
    role_of: RoleOf,
    after: str | None,
    limit: int,
) -> list[tuple[Repo, Role]]:
    found: list[tuple[Repo, Role]] = []
    while True:
        some, after = await stores.repos.visible(owner, identity, after or "", limit - len(found))
        seen = ((repo, role_of(repo, member)) for repo, member in some)
        found += ((repo, role) for repo, role in seen if role)
        if after is None or len(found) >= limit:
            return found[:limit]


async def _check_default_branch(repository: RepoStores, branch: str) -> None:
    names.check_default_branch(branch)
    if await repository.refs.get(branch) is None and await repository.refs.all():
        name = f"{repository.repo.owner}/{repository.repo.slug}"
        raise Unprocessable(
            f"{name} has no branch {branch}, so it cannot be the default: push it first, or choose"
            f" a branch that exists (GET branches and `pieria repo show {name}` list them)"
        )
