"""Bring a deleted repository back, within the day before a purge may delete it."""

from shared import names
from shared.errors import RepoExists, RepoNotFound
from shared.model import Repo
from shared.stores import Stores

UNDELETE_SECONDS = 24 * 3600
"""A purge deletes a repository this long after its deletion: much longer than any request takes."""
MARGIN_SECONDS = 3600
"""The clocks of two machines never differ by more."""


async def undelete(stores: Stores, owner: str, slug: str, new_slug: str, now: float) -> Repo:
    """The repository `owner/slug` that was deleted last, as `owner/new_slug`, with branches and
    members.

    Raises RepoNotFound if none was deleted within the time, RepoExists if the new name is taken,
    InvalidName.
    """
    names.check_slug(new_slug)
    oldest = now - UNDELETE_SECONDS + MARGIN_SECONDS
    deleted = await stores.repos.deleted(owner)
    candidates = [repo for repo, deleted_at in deleted if repo.slug == slug and deleted_at > oldest]
    if not candidates:
        raise RepoNotFound()
    restored = await stores.repos.undelete(candidates[-1], new_slug)
    if restored is None:
        raise RepoExists(owner, new_slug)
    return restored
