"""The exact usage of an owner, counted from the bucket and from the index of objects."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.model import Kind, Repo, Usage
from shared.objects import keys
from shared.stores import RepoStores, Stores

RECOUNT_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class RepoUsage:
    """The usage of one repository, earlier versions and unreachable content included."""

    repo: Repo
    usage: Usage


async def recount(stores: Stores, owner: str, now: int) -> list[RepoUsage]:
    """Count the content of an owner, replace the sum that limits use, and return the parts.

    Deleted repositories count until they are purged. Content that is pushed meanwhile is missing in
    the sum until the next count. `now`: epoch seconds.

    AWS calls: a LIST for each 1,000 versions, and a Query for each page of the index of objects, of
    each repository; one UpdateItem.
    """
    parts = [
        RepoUsage(repo, await _counted(stores.of(repo))) async for repo in _repos(stores, owner)
    ]
    total = sum((part.usage for part in parts), Usage())
    await stores.counters.set_usage(owner, total, now)
    return parts


async def recount_daily(stores: Stores, owner: str, now: int) -> None:
    """The same, unless it was done within a day: it reads all repositories of the owner."""
    usage, _ = await stores.counters.usage(owner)
    if usage.counted_at <= now - RECOUNT_SECONDS:
        await recount(stores, owner, now)


async def _repos(stores: Stores, owner: str) -> AsyncIterator[Repo]:
    after = None
    while True:
        page, after = await stores.repos.owned(owner, None, after)
        for repo, _ in page:
            yield repo
        if after is None:
            break
    for repo, _ in await stores.repos.deleted(owner):
        yield repo


async def _counted(repository: RepoStores) -> Usage:
    prefix = keys.stored(repository.repo_id)
    stored_bytes = 0
    async for version in repository.objects.bucket.versions(prefix):
        stored_bytes += version.size
    stored_objects = 0
    async for _ in repository.scans.index(Kind.OBJECT):
        stored_objects += 1
    return Usage(stored_bytes, stored_objects)
