"""Removing what a deleted repository has left behind: bytes first, rows last, and last of all the row that says so.

A run removes so many things at most, and the next one goes on. Nobody finds a deleted repository, and a request
that had found it before is long over (`KEPT_SECONDS`). The list of lanes is removed after what lies in them.
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
"""How long a deleted repository is left alone: many times what a request can live."""
LIMIT = 100_000
AT_ONCE = 32


@dataclass(slots=True)
class Purged:
    """What was removed. `done` are the repositories of which nothing is left; `waiting` those that are too young
    or have to go on in the next run."""

    rows: int = 0
    versions: int = 0
    bytes: int = 0
    done: int = 0
    waiting: int = 0

    @property
    def removed(self) -> int:
        """Rows and versions together: what the limit counts."""
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
    """Remove rows and bytes of every repository that was deleted so long ago, up to about `limit` of both together.

    With `dry_run` only what waits is counted. A repository that is not deleted after all is never touched.
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
    """Whether nothing is left of it."""
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
    """Every partition of a repository: lanes, then what leads to them, then the list of lanes, then the name."""
    for lane in await census.lanes(repo_id):
        yield keys.lane(repo_id, lane)
    for kind in (Kind.OBJECT, Kind.SNAPSHOT, Kind.COMMIT):
        for shard in keys.SHARDS:
            yield keys.index(repo_id, kind, shard)
    for pk in (keys.moves, keys.releases, keys.tags, keys.lanes, keys.upkeep, keys.refs):
        yield pk(repo_id)
