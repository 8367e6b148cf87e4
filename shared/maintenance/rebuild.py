"""rebuild-index: writes the missing rows of objects, snapshots and commits again, from packs and
loose objects alone.

    scan      packs, oldest first: the location of each object, snapshot and commit record; then the
              addresses of commits in the remaining rows
    plan      the generations of complete commits, the lanes of their rows, and the writes in their
              order
    execute   writes the missing rows

Existing rows and bytes are not changed, and no branch moves. A dry run ends after the plan. The job
takes the lease, so it never runs beside a gc. docs/design/rebuild.md has the invariants.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter

from shared import codec
from shared.graph.records import packed_summary
from shared.limits import Limits
from shared.maintenance.batches import GROUP_BYTES, by_size
from shared.maintenance.lease import Lease, Step, start_rebuild
from shared.maintenance.rebuild_plan import (
    CorrectBranches,
    DeleteDamagedRows,
    OpenLanes,
    PutAddresses,
    PutCommits,
    PutLocations,
    RebuildPlan,
    Rebuilt,
    plan_rebuild,
)
from shared.maintenance.rebuild_scan import scan_for_rebuild
from shared.metadata.table import chunked
from shared.model import CommitAddress, Node, Packed
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores


async def plan(repository: RepoStores, on_progress: OnProgress = no_progress) -> RebuildPlan:
    """Plan a rebuild, and write nothing. AWS calls: those of `scan_for_rebuild`."""
    scan = await scan_for_rebuild(repository, on_progress)
    return plan_rebuild(scan, repository.repo.default_branch)


async def rebuild(
    repository: RepoStores, now: float, on_progress: OnProgress = no_progress
) -> Rebuilt:
    """Write every row that is missing. It may be stopped and run again at any time.

    `now`: epoch seconds. Raises Unavailable, and changes nothing, while a gc may be at work
    (`lease.stop_gc` stops it) and beside an expunge; Unavailable as well if another job starts
    meanwhile.

    AWS calls: those of `start_rebuild`, `plan` and `execute`, and an UpdateItem to release the
    lease.
    """
    lease = await start_rebuild(repository, now)
    planned = await plan(repository, on_progress)
    report = await execute(planned, lease, now, on_progress)
    await lease.release(Step.REBUILT, now)
    return report


async def execute(
    planned: RebuildPlan, lease: Lease, now: float, on_progress: OnProgress
) -> Rebuilt:
    """Make the writes of a plan, in their order. `now`: epoch seconds.

    Raises Unavailable if another job has started.

    AWS calls: a conditional PutItem for each row of an index; a GET for each range of records, and
    for each `Limits.conditional_rows` rows of commits the calls of `Commits.put` and
    `Index.put_addresses`; a PutItem for each lane; a GetItem before each group of rows; a Query for
    each page of the branches, and an UpdateItem for each corrected one.
    """
    repository = lease.repository
    report = planned.report()
    for write in planned.writes:
        match write:
            case DeleteDamagedRows(lanes):
                for lane in lanes:
                    await repository.scans.delete_damaged(lane)
            case PutLocations():
                await _put_locations(lease, write, on_progress)
            case OpenLanes(lanes):
                for lane in lanes:
                    await repository.commits.open_lane(lane, int(now))
            case PutCommits(rows):
                await _put_commits(lease, rows.values(), on_progress)
            case PutAddresses(addresses):
                await _put_addresses(lease, addresses)
            case CorrectBranches():
                report.refs = await _correct_branches(lease, write)
    return report


async def _put_locations(lease: Lease, write: PutLocations, on_progress: OnProgress) -> None:
    what = f"{write.kind.name.lower()}s"
    put_new = lease.repository.scans.put_new
    done = 0
    async for written in lease.for_each(
        sorted(write.locations.items()), lambda row: put_new(write.kind, *row)
    ):
        done += len(written)
        on_progress(what, done, len(write.locations))


async def _put_commits(lease: Lease, rows: Iterable[Node], on_progress: OnProgress) -> None:
    """Write rows with their records. At most `GROUP_BYTES` of records are read at a time."""
    limits = lease.repository.stores.limits
    by_record: dict[Packed, list[Node]] = {}
    for node in rows:
        if node.record_at:
            by_record.setdefault(node.record_at, []).append(node)
    total = sum(map(len, by_record.values()))
    written = 0
    ordered = sorted(by_record, key=lambda at: (at.pack, at.offset))
    for group in by_size(ordered, GROUP_BYTES, attrgetter("length")):
        records = await lease.repository.objects.read_packed(group)
        nodes: list[Node] = []
        for at in group:
            nodes += [_with_record(node, records[at], limits) for node in by_record[at]]
        for part in chunked(nodes, limits.conditional_rows):
            await lease.check()
            # The time is 0, so that no existing row counts as left over from a crashed push, and
            # none is replaced.
            await lease.repository.commits.put(part, 0)
        written += len(nodes)
        on_progress("commits", written, total)


def _with_record(node: Node, record: bytes, limits: Limits) -> Node:
    """The row with its record, or with a summary if the record is too large for a row."""
    compressed = zlib.compress(record)
    if len(compressed) <= limits.inline_record_bytes:
        return replace(node, record=compressed, record_at=None)
    return replace(node, summary=packed_summary(codec.unpack_record(record)))


async def _put_addresses(lease: Lease, addresses: Sequence[CommitAddress]) -> None:
    for part in chunked(addresses, lease.repository.stores.limits.conditional_rows):
        await lease.check()
        await lease.repository.index.put_addresses(part)


async def _correct_branches(lease: Lease, write: CorrectBranches) -> int:
    """Correct the rows of the branches as they are now. Returns how many rows changed."""
    changed = 0
    for ref in (await lease.repository.refs.all()).values():
        corrected = write.corrected(ref)
        if corrected != ref:
            changed += await lease.repository.scans.refresh(ref, corrected)
    return changed
