"""List, set and remove the roles of users in a repository. Its owner is not a member."""

from shared import names
from shared.errors import MemberNotFound, RepoNotFound, Unprocessable
from shared.metadata.table import ConditionFailed
from shared.model import Role
from shared.stores import RepoStores

PAGE = 100


async def all_members(repository: RepoStores) -> list[tuple[str, Role]]:
    """Return every member with the role, by handle."""
    found: list[tuple[str, Role]] = []
    while True:
        after = found[-1][0] if found else None
        page = await repository.stores.members.page(repository.repo, PAGE, after)
        found += page
        if len(page) < PAGE:
            return found


async def set_role(repository: RepoStores, handle: str, role: Role) -> str:
    """Give a user a role. It replaces the role that the user has.

    Returns the handle in its claimed letter case. Raises InvalidName, RepoNotFound, and
    Unprocessable for the owner.

    Budget: 5 AWS calls, chain of 4 (PUT members).
    """
    member = await _spelled(repository, handle)
    try:
        await repository.stores.members.set(repository.repo, member, role)
    except ConditionFailed:
        raise RepoNotFound() from None
    return member


async def remove(repository: RepoStores, handle: str) -> None:
    """Remove a member. The user has no role from the next request on.

    Raises MemberNotFound, and the errors of `set_role`.

    Budget: 7 AWS calls, chain of 5 (DELETE members).
    """
    member = await _spelled(repository, handle)
    try:
        had_role = await repository.stores.members.remove(repository.repo, member)
    except ConditionFailed:
        raise RepoNotFound() from None
    if not had_role:
        raise MemberNotFound()


async def _spelled(repository: RepoStores, handle: str) -> str:
    owner = repository.repo.owner
    if names.check_handle(handle).casefold() == owner.casefold():
        raise Unprocessable(
            f"{owner} owns this repository: the owner is not a member, and cannot be removed"
        )
    return await repository.stores.handles.spelling(handle)
