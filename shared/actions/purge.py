"""Purge: delete the bytes and the rows of deleted repositories.

Bytes are deleted first, then rows, and last the row that records the deletion. The list of lanes is
deleted after the rows of the lanes. A run deletes about `limit` rows and versions at most, and the
next run continues. No request finds a deleted repository, and a request that found it before has
ended long ago (`KEPT_SECONDS`).
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.metadata import keys
from shared.metadata.census import Census
from shared.metadata.keys import Key
from shared.model import Kind
from shared.objects.store import REMOVED
from shared.progress import Tell, silent
from shared.stores import Stores
from shared.tasks import all_of

KEPT_SECONDS = 24 * 3600
"""A deleted repository stays for this time, in which it can be undeleted.

Much longer than any request takes.
"""
LIMIT = 100_000
AT_ONCE = 32


@dataclass(slots=True)
class Purged:
    """What a purge deleted. `done`: repositories that are deleted completely. `waiting`:
    repositories that were deleted too recently, and those that the next run continues with."""

    rows: int = 0
    versions: int = 0
    bytes: int = 0
    done: int = 0
    waiting: int = 0

    @property
    def removed(self) -> int:
        """Rows and versions together, as the limit counts them."""
        return self.rows + self.versions


async def purge(
    stores: Stores,
    *,
    now: float,
    dry_run: bool = True,
    kept_seconds: int = KEPT_SECONDS,
    limit: int = LIMIT,
    tell: Tell = silent,
) -> Purged:
    """Delete the rows and bytes of each repository that was deleted at least `kept_seconds` ago.

    At most about `limit` rows and versions together are deleted. With `dry_run` the waiting
    repositories are only counted. A repository that was undeleted is not touched.
    """
    purged = Purged()
    listed = [found async for found in stores.census.deleted()]
    for repo_id, owner, deleted_at in listed:
        present = await stores.repos.by_id(repo_id)
        if present and not present.deleted:
            continue
        if dry_run or deleted_at > now - kept_seconds or purged.removed >= limit:
            purged.waiting += 1
            continue
        if await _purge(stores, repo_id, owner, purged, limit, tell):
            purged.done += 1
        else:
            purged.waiting += 1
    return purged


async def _purge(stores: Stores, repo_id: str, owner: str, purged: Purged, limit: int, tell: Tell) -> bool:
    """Purge one repository. Returns whether it is deleted completely."""
    if not await _remove_bytes(stores, repo_id, purged, limit, tell):
        return False
    async for pk in _partitions(stores.census, repo_id):
        batch: list[Key] = []
        async for key in stores.census.rows_of(pk):
            batch.append(key)
            if len(batch) == AT_ONCE:
                await _remove_rows(stores.census, batch, purged)
                batch = []
                tell("rows", purged.rows)
                if purged.removed >= limit:
                    return False
        await _remove_rows(stores.census, batch, purged)
        if purged.removed >= limit:
            return False
    purged.rows += await stores.census.purge_names(owner, repo_id)
    await stores.census.forget(repo_id)
    return True


async def _remove_bytes(stores: Stores, repo_id: str, purged: Purged, limit: int, tell: Tell) -> bool:
    batch = []
    async for one in stores.objects.everything(repo_id):
        batch.append(one)
        if len(batch) == REMOVED or purged.removed + len(batch) >= limit:
            await stores.objects.remove(batch)
            purged.versions += len(batch)
            purged.bytes += sum(found.size for found in batch)
            batch = []
            tell("versions", purged.versions, size_bytes=purged.bytes)
            if purged.removed >= limit:
                return False
    await stores.objects.remove(batch)
    purged.versions += len(batch)
    purged.bytes += sum(found.size for found in batch)
    return True


async def _remove_rows(census: Census, batch: list[Key], purged: Purged) -> None:
    await all_of(census.purge(key) for key in batch)
    purged.rows += len(batch)


async def _partitions(census: Census, repo_id: str) -> AsyncIterator[str]:
    """Every partition of a repository: lanes, indexes, moves, releases, tags, the list of lanes,
    and last the refs."""
    for lane in await census.lanes(repo_id):
        yield keys.lane(repo_id, lane)
    for kind in (Kind.OBJECT, Kind.SNAPSHOT, Kind.COMMIT):
        for shard in keys.SHARDS:
            yield keys.index(repo_id, kind, shard)
    for pk in (keys.moves, keys.releases, keys.tags, keys.lanes, keys.upkeep, keys.refs):
        yield pk(repo_id)
