"""The rows that point to bytes in packs: read all of them, and point them to other packs."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.errors import Unavailable
from shared.maintenance.lease import OVERTAKEN, Clock, Lease
from shared.metadata.keys import Key
from shared.metadata.scans import JobState, Pointer
from shared.metadata.table import ConditionFailed, chunked
from shared.model import CommitAddress, Kind, Packed
from shared.stores import RepoStores


class RowPointers(NamedTuple):
    """The pointers of a row. `address` is set for a row of a commit, which may have no pointer."""

    address: CommitAddress | None
    pointers: Sequence[Pointer]


async def all_pointers(repository: RepoStores, lanes: Iterable[str]) -> AsyncIterator[RowPointers]:
    """The pointers of each row: objects, snapshots, commits in these lanes, branches.

    AWS calls: a Query for each page of the indexes, of each lane, and of the branches.
    """
    scans = repository.scans
    for kind in (Kind.OBJECT, Kind.SNAPSHOT):
        async for pointer in scans.pointers(kind):
            yield RowPointers(None, [pointer])
    for lane in lanes:
        async for address, pointers in scans.pointers_of_lane(lane):
            yield RowPointers(address, pointers)
    async for pointer in scans.pointers_of_refs():
        yield RowPointers(None, [pointer])


async def repoint_rows(
    lease: Lease, moved: Mapping[Pointer, Packed], clock: Clock
) -> AsyncIterator[int]:
    """Point rows to the new locations of their bytes. Yields, after each write, the number of rows
    that it changed. A row that no longer has its old location is not changed.

    Raises Unavailable if another job has started: each write is one transaction with a check of the
    lease. AWS calls: a TransactWriteItems for each `Limits.repointed_rows` rows.
    """
    by_row: dict[Key, list[tuple[Pointer, Packed]]] = {}
    for pointer, at in moved.items():
        by_row.setdefault(pointer.key, []).append((pointer, at))
    for part in chunked(list(by_row.values()), lease.repository.stores.limits.repointed_rows):
        now = JobState(lease.run_id, lease.step, int(clock()))
        changes: list[tuple[Pointer, Packed]] = []
        for of_row in part:
            changes += of_row
        try:
            written = await lease.repository.scans.repoint(now, changes)
        except ConditionFailed:
            raise Unavailable(OVERTAKEN) from None
        yield written


async def repoint_branches(lease: Lease, moved: Mapping[Pointer, Packed]) -> AsyncIterator[int]:
    """Point rows of branches to the new locations of their snapshots. Yields 1 for each changed
    row, 0 for a row that no longer has its old location.

    Raises Unavailable if another job has started. The check is not in a transaction: a transaction
    would refuse a push of the branch at the same moment. AWS calls: a GetItem and an UpdateItem for
    each branch.
    """
    for pointer, at in moved.items():
        await lease.check()
        yield int(await lease.repository.scans.repoint_ref(pointer, at))
