"""Purge: delete the bytes and the rows of deleted repositories.

Bytes are deleted first, then rows, and last the row that records the deletion. The list of lanes is
deleted after the rows of the lanes. A run deletes about `limit` rows and versions at most, and the
next run continues. No request finds a deleted repository, and a request that found it before has
ended long ago (`UNDELETE_SECONDS`).
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.actions.repos import UNDELETE_SECONDS
from shared.metadata import keys
from shared.metadata.keys import Key
from shared.metadata.scans import Scans
from shared.model import Kind, Repo, RepoId
from shared.objects.store import REMOVED
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores, Stores
from shared.tasks import gather_all

LIMIT = 100_000
AT_ONCE = 32


@dataclass(slots=True)
class Purged:
    """The result of a purge. `done`: repositories that are deleted completely. `waiting`:
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


async def plan(stores: Stores) -> Purged:
    """Count the deleted repositories that wait for their purge. Writes nothing.

    AWS calls: a Query for each page of the list of deleted repositories, a GetItem for each one.
    """
    purged = Purged()
    async for repo, _ in stores.repos.all_deleted():
        purged.waiting += await _is_deleted(stores, repo)
    return purged


async def purge(
    stores: Stores,
    *,
    now: float,
    kept_seconds: int = UNDELETE_SECONDS,
    limit: int = LIMIT,
    on_progress: OnProgress = no_progress,
) -> Purged:
    """Delete the rows and bytes of each repository that was deleted at least `kept_seconds` ago.

    `now`: epoch seconds. At most about `limit` rows and versions together are deleted. A repository
    that was undeleted is not touched.

    AWS calls: those of `plan`; for each repository a LIST and a DeleteObjects for each 1,000
    versions, a Query for each page of its rows, a DeleteItem for each row.
    """
    purged = Purged()
    listed = [found async for found in stores.repos.all_deleted()]
    for repo, deleted_at in listed:
        if not await _is_deleted(stores, repo):
            continue
        is_due = deleted_at <= now - kept_seconds and purged.removed < limit
        if is_due and await _purge(stores.of(repo), purged, limit, on_progress):
            purged.done += 1
        else:
            purged.waiting += 1
    return purged


async def purge_if_due(stores: Stores, repo_id: RepoId, now: float) -> bool:
    """Purge one repository if it was deleted long ago. Returns whether nothing is left to purge.

    `now`: epoch seconds. Also true for a repository that was undeleted, or purged before.

    AWS calls: a Query for each page of the list of deleted repositories, two GetItem, and those of
    `purge` for the repository.
    """
    listed = [found async for found in stores.repos.all_deleted()]
    for repo, deleted_at in listed:
        if repo.repo_id == repo_id and await _is_deleted(stores, repo):
            is_due = deleted_at <= now - UNDELETE_SECONDS
            return is_due and await _purge(stores.of(repo), Purged(), LIMIT, no_progress)
    return True


async def _is_deleted(stores: Stores, repo: Repo) -> bool:
    """Whether a repository in the list of deleted ones is still deleted."""
    present = await stores.repos.by_id(repo.repo_id)
    return present is None or present.deleted


async def _purge(
    repository: RepoStores, purged: Purged, limit: int, on_progress: OnProgress
) -> bool:
    """Purge one repository. Returns whether it is deleted completely."""
    if not await _remove_bytes(repository, purged, limit, on_progress):
        return False
    async for pk in _partitions(repository.scans):
        batch: list[Key] = []
        async for key in repository.scans.rows_of(pk):
            batch.append(key)
            if len(batch) == AT_ONCE:
                await _remove_rows(repository.scans, batch, purged)
                batch = []
                on_progress("rows", purged.rows)
                if purged.removed >= limit:
                    return False
        await _remove_rows(repository.scans, batch, purged)
        if purged.removed >= limit:
            return False
    purged.rows += await repository.scans.purge_names(repository.repo.owner)
    await repository.scans.forget(repository.repo.owner)
    return True


async def _remove_bytes(
    repository: RepoStores, purged: Purged, limit: int, on_progress: OnProgress
) -> bool:
    batch = []
    async for one in repository.objects.everything():
        batch.append(one)
        if len(batch) == REMOVED or purged.removed + len(batch) >= limit:
            await repository.objects.remove(batch)
            purged.versions += len(batch)
            purged.bytes += sum(found.size for found in batch)
            batch = []
            on_progress("versions", purged.versions, size_bytes=purged.bytes)
            if purged.removed >= limit:
                return False
    await repository.objects.remove(batch)
    purged.versions += len(batch)
    purged.bytes += sum(found.size for found in batch)
    return True


async def _remove_rows(scans: Scans, batch: list[Key], purged: Purged) -> None:
    await gather_all(scans.purge(key) for key in batch)
    purged.rows += len(batch)


async def _partitions(scans: Scans) -> AsyncIterator[str]:
    """Every partition of a repository: lanes, indexes, moves, releases, tags, trusted issuers, the
    list of lanes, and last the refs."""
    for lane in await scans.lanes():
        yield keys.lane(scans.repo_id, lane)
    for kind in (Kind.OBJECT, Kind.SNAPSHOT, Kind.COMMIT):
        for shard in keys.SHARDS:
            yield keys.index(scans.repo_id, kind, shard)
    rest = (
        keys.moves,
        keys.releases,
        keys.tags,
        keys.trusted_issuers,
        keys.lanes,
        keys.upkeep,
        keys.refs,
    )
    for pk in rest:
        yield pk(scans.repo_id)
