"""Change the attributes of a repository, and list the repositories of an owner."""

from collections.abc import Callable, Mapping

from shared import names
from shared.errors import Unprocessable
from shared.model import Identity, Repo, Role
from shared.stores import Stores


async def change(stores: Stores, repo: Repo, changes: Mapping[str, str]) -> Repo:
    """Set these attributes, by name, and return the repository with them.

    A new default branch must exist. A repository without branches takes any valid name, since its
    first push creates the branch. Raises InvalidName or Unprocessable for the default branch, and
    RepoNotFound for a repository that was deleted meanwhile.
    """
    if "default_branch" in changes:
        await _check_default_branch(stores, repo, changes["default_branch"])
    return await stores.repos.change(repo, changes) if changes else repo


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


async def _check_default_branch(stores: Stores, repo: Repo, branch: str) -> None:
    names.check_default_branch(branch)
    if (
        await stores.of(repo.repo_id).refs.get(branch) is None
        and await stores.of(repo.repo_id).refs.all()
    ):
        name = f"{repo.owner}/{repo.slug}"
        raise Unprocessable(
            f"{name} has no branch {branch}, so it cannot be the default: push it first, or choose"
            f" a branch that exists (GET branches and `pieria repo show {name}` list them)"
        )
