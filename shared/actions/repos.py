"""Create, change, rename, delete and restore repositories, and list those of an owner."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from shared import names
from shared.errors import Forbidden, RepoExists, RepoNotFound, Unavailable, Unprocessable
from shared.metadata import repo_rows
from shared.metadata.table import ConditionFailed
from shared.model import Identity, Repo, Role
from shared.stores import RepoStores, Stores

RENAME_ATTEMPTS = 4
"""Attempts of a rename if the repository changes concurrently. Then the caller has to retry."""
UNDELETE_SECONDS = 24 * 3600
"""A purge deletes a repository this long after its deletion: much longer than any request takes."""
MARGIN_SECONDS = 3600
"""The clocks of two machines never differ by more."""


async def create(stores: Stores, wanted: Repo, role: Role | None, now: int) -> tuple[Repo, Role]:
    """Create a repository for a caller who would have this role in it. Returns both.

    Also claims the handle of its owner. Raises InvalidName, Forbidden, HandleTaken or RepoExists.

    Budget: 5 AWS calls, chain of 3 (POST repos).
    """
    names.check_handle(wanted.owner)
    names.check_slug(wanted.slug)
    names.check_default_branch(wanted.default_branch)
    if role is None or not role.allows(Role.WRITE):
        raise Forbidden(
            f"this token does not let you create {wanted.owner}/{wanted.slug}; use one of scope"
            " write"
        )
    try:
        return await stores.repos.create(wanted, now), role
    except ConditionFailed:
        raise RepoExists(wanted.owner, wanted.slug) from None


async def create_if_absent(stores: Stores, repo: Repo, now: int) -> Repo:
    """Return the repository, created if it does not exist. One of two concurrent creators wins.

    Raises InvalidName or HandleTaken, and RepoNotFound if the winner was deleted meanwhile.
    """
    if repo.exists:
        return repo
    with suppress(ConditionFailed):
        return await stores.repos.create(repo, now)
    winner = await stores.repos.get(repo.owner, repo.slug)
    if winner is None or winner.deleted:
        raise RepoNotFound()
    return winner


async def change(repository: RepoStores, changes: Mapping[str, str]) -> Repo:
    """Set these attributes, by name, and return the repository with them.

    A new default branch must exist. A repository without branches takes any valid name, since its
    first push creates the branch. Raises InvalidName or Unprocessable for the default branch, and
    RepoNotFound for a repository that was deleted meanwhile.

    Budget: 3 AWS calls, chain of 2 (PATCH repos).
    """
    if "default_branch" in changes:
        await _check_default_branch(repository, changes["default_branch"])
    if not changes:
        return repository.repo
    try:
        return await repository.stores.repos.change(repository.repo, changes)
    except ConditionFailed:
        raise RepoNotFound() from None


async def note_presign(repository: RepoStores, now: int) -> None:
    """Record that upload URLs are about to be issued. Raises RepoNotFound if it was deleted."""
    try:
        await repository.stores.repos.note_presign(repository.repo, now)
    except ConditionFailed:
        raise RepoNotFound() from None


async def rename(repository: RepoStores, known_as: str, slug: str, now: int) -> Repo:
    """Rename a repository of an owner, with its members. The old name is free then.

    `known_as` is the name that the caller has used for it. A name from before a rename is valid
    only to repeat that rename, whose reply may have been lost.
    Raises InvalidName, RepoNotFound or RepoExists; Unavailable if the repository keeps changing.

    Budget: 7 AWS calls, chain of 5 (POST rename).
    """
    repo = repository.repo
    names.check_slug(slug)
    if slug == repo.slug:
        return repo
    if known_as != repo.slug:
        raise RepoNotFound()
    for _ in range(RENAME_ATTEMPTS):
        try:
            return await repository.stores.repos.rename(repo, slug, now)
        except ConditionFailed as lost:
            if lost.index == 1:
                raise RepoExists(repo.owner, slug) from None
            if not repo_rows.belongs_to(lost.row, repo):
                raise RepoNotFound() from None
    raise Unavailable("other requests keep changing the repository; nothing is lost, try again")


async def delete(stores: Stores, repo: Repo, now: int) -> None:
    """Hide a repository and free its name. Raises RepoNotFound if it is deleted already.

    Budget: 4 AWS calls, chain of 3 (DELETE repos).
    """
    try:
        await stores.repos.delete(repo, now)
    except ConditionFailed:
        raise RepoNotFound() from None


def require_restorer(identity: Identity) -> None:
    """Raise Forbidden unless this token may list and restore the caller's deleted repositories."""
    if identity.repo or not identity.scope.allows(Role.ADMIN):
        raise Forbidden(
            "only the owner can restore deleted repositories: this needs a token of scope admin"
            " that is not limited to one repository"
        )


async def restorable_page(
    stores: Stores, identity: Identity, limit: int, after: str | None, now: float
) -> list[tuple[Repo, int]]:
    """Return up to `limit` deleted repositories of the caller, the last one deleted first.

    `after` is the `deletion` of the last entry of the page before. Raises Forbidden.

    Budget: 5 AWS calls, chain of 4 (GET deleted, 1 repository).
    """
    require_restorer(identity)
    found = await restorable(stores, identity.subject, now)
    newest_first = sorted(found, key=lambda entry: deletion(*entry), reverse=True)
    if after is not None:
        newest_first = [entry for entry in newest_first if deletion(*entry) < after]
    return newest_first[:limit]


def deletion(repo: Repo, deleted_at: int) -> str:
    """Return a text that sorts deletions by their time."""
    return f"{deleted_at:012}#{repo.repo_id}"


async def restorable(stores: Stores, owner: str, now: float) -> list[tuple[Repo, int]]:
    """Return the deleted repositories of an owner that `undelete` can restore.

    Each has its epoch second of deletion. The last one deleted comes last.
    """
    oldest = now - UNDELETE_SECONDS + MARGIN_SECONDS
    deleted = await stores.repos.deleted(owner)
    return [(repo, deleted_at) for repo, deleted_at in deleted if deleted_at > oldest]


async def undelete(stores: Stores, owner: str, slug: str, new_slug: str, now: float) -> Repo:
    """Restore the repository `owner/slug` that was deleted last, as `owner/new_slug`.

    It has its branches and members. Raises RepoNotFound if none was deleted within the time,
    RepoExists if the new name is taken, InvalidName.

    Budget: 7 AWS calls, chain of 6 (POST deleted).
    """
    names.check_slug(new_slug)
    candidates = [repo for repo, _ in await restorable(stores, owner, now) if repo.slug == slug]
    if not candidates:
        raise RepoNotFound(f"no repository {names.shown(slug)} of yours was deleted within a day")
    try:
        return await stores.repos.undelete(candidates[-1], new_slug, now)
    except ConditionFailed:
        raise RepoExists(owner, new_slug) from None


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

    Budget: 5 AWS calls, chain of 3 (GET repos of a user).
    """
    if names.is_repo_name(owner):
        found = await _readable(stores, owner, identity, role_of, after, limit)
    else:
        found = []
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
