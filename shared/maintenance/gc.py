"""Garbage collection: deletes unreachable rows and bytes, without a lock, while pushes continue.

Roots are the branches, both ends of each move of the last 31 days, releases and tags. A gc has
three steps, each at least `GRACE_SECONDS` after the end of the one before:

    condemn   marks the rows that no root reaches with the id of this gc
    sweep     unmarks the rows that are reachable again, and deletes the rest, each row on condition
              of its mark
    collect   deletes bytes that no row points to, old moves, old folder marks, empty lanes

Each step scans the repository (`gc_scan`), plans its writes (`gc_plan`), and makes them
(`execute`). A dry run ends after the plan. A pushed row has no mark, and a marked row is unknown to
pushes but readable. docs/design/gc.md has the invariants, and the cases that could break them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.errors import Unavailable
from shared.maintenance.gc_plan import (
    GRACE_SECONDS,
    CloseLanes,
    DeleteFolderMarks,
    DeleteMoves,
    DeleteRows,
    DeleteVersions,
    DropClone,
    MarkedRow,
    MarkRows,
    Plan,
    Report,
    UnmarkRows,
    plan_collect,
    plan_condemn,
    plan_sweep,
)
from shared.maintenance.gc_scan import (
    scan_bucket_for_collect,
    scan_for_condemn,
    scan_for_sweep,
    scan_rows_for_collect,
)
from shared.maintenance.lease import AT_ONCE, Clock, Lease, Step, check_gc_may_start, start_gc
from shared.metadata.table import chunked
from shared.objects.bucket import Stored
from shared.objects.store import REMOVED
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores
from shared.tasks import gather_all


@dataclass(frozen=True, slots=True)
class NextStep:
    """The step that follows the last one, and when it may start, in epoch seconds."""

    step: Step
    due_at: int = 0


async def run(
    repository: RepoStores, clock: Clock, on_progress: OnProgress = no_progress
) -> Report:
    """Run the step that is due. Call it regularly, an hour or more apart.

    Raises the errors of `condemn`, `sweep` and `collect`. AWS calls: one GetItem and those of the
    step; the report has no step if none is due.
    """
    following = await next_step(repository)
    if clock() < following.due_at:
        return Report(None, due_at=following.due_at)
    steps = {Step.CONDEMNED: condemn, Step.SWEPT: sweep, Step.COLLECTED: collect}
    return await steps[following.step](repository, clock, on_progress)


async def plan(repository: RepoStores, clock: Clock, on_progress: OnProgress = no_progress) -> Plan:
    """Plan the step that is due, and write nothing. The plan has no step if none is due.

    Raises the errors of the step. AWS calls: the reads of the step.
    """
    following = await next_step(repository)
    now = clock()
    if now < following.due_at:
        return Plan(None, due_at=following.due_at)
    match following.step:
        case Step.CONDEMNED:
            await check_gc_may_start(repository, now)
            planned = plan_condemn(
                repository.repo_id, await scan_for_condemn(repository, now, on_progress)
            )
        case Step.SWEPT:
            lease = await _lease_after(repository, Step.CONDEMNED, now)
            planned = plan_sweep(repository.repo_id, await scan_for_sweep(lease, now, on_progress))
        case _:
            lease = await _lease_after(repository, Step.SWEPT, now)
            kept = await scan_rows_for_collect(lease, now, on_progress)
            planned = plan_collect(await scan_bucket_for_collect(lease, kept), now)
    return replace(planned, due_at=_next_due_at(planned.step, clock()))


async def next_step(repository: RepoStores) -> NextStep:
    """The step that follows the last one. AWS calls: one GetItem."""
    progress = await repository.scans.progress()
    if progress is None or progress.step not in (Step.CONDEMNED, Step.SWEPT, Step.COLLECTING):
        return NextStep(Step.CONDEMNED)
    # A collect starts once. If it was interrupted, the next gc deletes the rest.
    following = {Step.CONDEMNED: Step.SWEPT, Step.SWEPT: Step.COLLECTED}
    step = following.get(Step(progress.step), Step.CONDEMNED)
    return NextStep(step, progress.at + GRACE_SECONDS)


async def condemn(
    repository: RepoStores, clock: Clock, on_progress: OnProgress = no_progress
) -> Report:
    """Mark every row that no root reaches. A gc that another run started is abandoned.

    Raises Damaged if the history has a gap (see fsck), before anything is marked. Raises
    Unavailable beside a rebuild, a repack or an expunge, and if another job starts meanwhile.

    AWS calls: one GetItem, one PutItem, those of `scan_for_condemn`, an UpdateItem for each row,
    and one for the state.
    """
    now = clock()
    await check_gc_may_start(repository, now)
    lease = await start_gc(repository, now)
    scan = await scan_for_condemn(repository, now, on_progress)
    report = await execute(plan_condemn(repository.repo_id, scan), lease, on_progress)
    # The grace starts here, at the end of all marks. Rounded up: it is not shortened by a fraction
    # of a second.
    await lease.advance(Step.CONDEMNED, clock() + 1)
    report.due_at = _next_due_at(Step.CONDEMNED, clock())
    return report


async def sweep(
    repository: RepoStores, clock: Clock, on_progress: OnProgress = no_progress
) -> Report:
    """Unmark the rows that are reachable now, and delete the other condemned rows.

    Raises Unavailable if the grace is not over, or if another job has started. Raises Damaged if
    the history has a gap, before anything is deleted.

    AWS calls: one GetItem, those of `scan_for_sweep`, an UpdateItem for each unmarked row, a
    DeleteItem for each deleted row, a GetItem for each `AT_ONCE` rows, an UpdateItem for the state.
    """
    lease = await _lease_after(repository, Step.CONDEMNED, clock())
    scan = await scan_for_sweep(lease, clock(), on_progress)
    report = await execute(plan_sweep(repository.repo_id, scan), lease, on_progress)
    await lease.release(Step.SWEPT, clock() + 1)
    report.due_at = _next_due_at(Step.SWEPT, clock())
    return report


async def collect(
    repository: RepoStores, clock: Clock, on_progress: OnProgress = no_progress
) -> Report:
    """Delete bytes that no row points to, old moves, old folder marks, and empty lanes.

    Raises Unavailable if the grace is not over, or if another job has started. Raises Damaged if
    the repository has lost rows, before anything is deleted.

    AWS calls: one GetItem, those of `scan_rows_for_collect` and `scan_bucket_for_collect`, a
    GetItem and a DeleteObjects for each 1,000 versions, a Query for each page of moves,
    branches and lanes, a DeleteItem for each deleted row, two UpdateItem for the state.
    """
    swept = await _lease_after(repository, Step.SWEPT, clock())
    now = clock()
    kept = await scan_rows_for_collect(swept, now, on_progress)
    # The row of a prebuilt clone depends on the step, so none is written across this change.
    lease = await swept.advance(Step.COLLECTING, now)
    scan = await scan_bucket_for_collect(lease, kept)
    report = await execute(plan_collect(scan, now), lease, on_progress)
    await lease.release(Step.COLLECTED, clock())
    return report


async def execute(planned: Plan, lease: Lease, on_progress: OnProgress) -> Report:
    """Make the writes of a plan, in their order. Returns the counts of their changes.

    Raises Unavailable if another job has started.
    """
    scans = lease.repository.scans
    report = planned.report()
    for write in planned.writes:
        match write:
            case DropClone(clone):
                await lease.repository.prebuilt_clones.remove(clone)
            case MarkRows():
                await _mark(lease, write, on_progress)
            case UnmarkRows(_, rows):
                await _unmark(lease, rows)
            case DeleteRows(kind):
                report.rows[kind] = await _delete_rows(lease, write, on_progress)
            case DeleteVersions():
                await _delete_versions(lease, write.all, on_progress)
            case DeleteMoves(before_ms):
                report.moves = await scans.remove_moves(before_ms)
            case DeleteFolderMarks(before):
                report.marks = await scans.remove_marks(before)
            case CloseLanes(before):
                await _close_lanes(lease, before)
    return report


async def _mark(lease: Lease, write: MarkRows, on_progress: OnProgress) -> None:
    """Mark rows, in their order. The lease is checked once, after all marks."""
    scans = lease.repository.scans
    done = 0
    for part in chunked(write.keys, AT_ONCE):
        await gather_all(scans.condemn(key, lease.run_id) for key in part)
        done += len(part)
        on_progress(f"condemned {write.kind}", done, len(write.keys))


async def _unmark(lease: Lease, rows: Sequence[MarkedRow]) -> None:
    """Remove marks. Raises Unavailable if a row does not exist any more."""
    scans = lease.repository.scans
    async for are_there in lease.for_each(rows, lambda row: scans.reprieve(row.key, row.run_id)):
        if not all(are_there):
            raise Unavailable(
                "another gc has deleted a row that this gc would keep; run fsck, then gc again"
            )


async def _delete_rows(lease: Lease, write: DeleteRows, on_progress: OnProgress) -> int:
    """Delete the rows that still have the mark of this gc. Returns their number."""
    scans = lease.repository.scans
    deleted = 0
    async for are_deleted in lease.for_each(
        write.keys, lambda key: scans.remove(key, lease.run_id)
    ):
        deleted += sum(are_deleted)
        on_progress(f"removed {write.kind}", deleted, len(write.keys))
    return deleted


async def _delete_versions(
    lease: Lease, versions: Sequence[Stored], on_progress: OnProgress
) -> None:
    for part in chunked(versions, REMOVED):
        await lease.check()
        await lease.repository.objects.remove(part)
    on_progress("removed versions of packs and objects", len(versions))


async def _close_lanes(lease: Lease, before: int) -> None:
    scans = lease.repository.scans
    for lane in await scans.lanes():
        await scans.close_lane(lane, before)


def _next_due_at(step: Step | None, now: float) -> int:
    """When the step after this one may start, in epoch seconds; 0 after the last one."""
    return 0 if step is Step.COLLECTED else int(now) + GRACE_SECONDS


async def _lease_after(repository: RepoStores, step: Step, now: float) -> Lease:
    """The lease of the gc that ended this step a grace ago. Raises Unavailable if too early."""
    progress = await repository.scans.progress()
    if progress is None or progress.step != step:
        raise Unavailable(f"nothing is {step.value} here; run gc from its beginning")
    if now < progress.at + GRACE_SECONDS:
        wait_seconds = int(progress.at + GRACE_SECONDS - now) + 1
        raise Unavailable(f"it is too early: wait {wait_seconds} seconds")
    return Lease(repository, progress.run_id, step)
