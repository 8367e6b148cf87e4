"""Repack: combines the packs of small pushes into few larger ones, beside pushes and fetches.

    scan      which small packs are used, and by which rows; which of them may be combined
    plan      groups of packs, and for each group the writes in their order
    execute   for each group: read and verify the packs, write one new pack, change the rows

A pack is combined if it is smaller than `small_pack_bytes`, older than `small_pack_seconds`, and
used by a row. A dry run ends after the plan. S3 could copy parts of 5 MiB or more without the hub,
but such a pack needs only one read already. In memory are the scan, and a few times
`combined_pack_bytes`. docs/design/repack.md has the invariants.
"""

from collections.abc import Mapping
from dataclasses import replace

from shared.errors import Damaged, Unavailable
from shared.maintenance.combined_pack import CombinedPack, combine
from shared.maintenance.lease import Clock, Lease, Step, start_repack
from shared.maintenance.pointers import repoint_branches, repoint_rows
from shared.maintenance.repack_plan import (
    PutPack,
    Repacked,
    RepackPlan,
    RepointBranches,
    RepointRows,
    plan_repack,
)
from shared.maintenance.repack_scan import Generations, scan_for_repack
from shared.metadata.scans import Pointer
from shared.metadata.table import chunked
from shared.model import Packed
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores
from shared.tasks import gather_all

TOO_LATE = "a gc has deleted a pack that was to be combined; nothing is lost, run it again"


async def plan(
    repository: RepoStores, clock: Clock, on_progress: OnProgress = no_progress
) -> RepackPlan:
    """Plan a repack, and write nothing. Raises Damaged if a row of a commit cannot be read.

    AWS calls: those of `scan_for_repack`.
    """
    scan = await scan_for_repack(repository, clock(), on_progress)
    return plan_repack(scan, repository.stores.limits)


async def repack(
    repository: RepoStores, clock: Clock, on_progress: OnProgress = no_progress
) -> Repacked:
    """Combine small packs. A run after an interrupted one continues its work.

    Raises Damaged before damaged data is copied, and Unavailable beside a rebuild or an expunge, or
    after another job has started.

    AWS calls: those of `plan`, a GetItem, those of `start_repack` and of `execute`, and an
    UpdateItem to release the lease. No write if no pack can be combined.
    """
    planned = await plan(repository, clock, on_progress)
    if not planned.writes and not await _was_interrupted(repository):
        return planned.report()
    lease = await start_repack(repository, clock())
    report = await execute(planned, lease, clock, on_progress)
    await lease.release(Step.REPACKED, clock())
    return report


async def execute(
    planned: RepackPlan, lease: Lease, clock: Clock, on_progress: OnProgress
) -> Repacked:
    """Make the writes of a plan, in their order. Returns the counts of their changes.

    Raises Damaged before anything of a group is written, and Unavailable if another job has
    started.

    AWS calls for each group: a GET for each old pack, a GetItem, a PUT, those of `repoint_rows` and
    `repoint_branches`.
    """
    report = replace(planned.report(), rows=0)
    moved: Mapping[Pointer, Packed] = {}
    written = 0
    for write in planned.writes:
        match write:
            case PutPack():
                moved = await _put_pack(lease, write, planned.generations)
                written += 1
                on_progress("new packs", written, report.into)
                continue
            case RepointRows(pointers):
                changes = repoint_rows(lease, {one: moved[one] for one in pointers}, clock)
            case RepointBranches(pointers):
                changes = repoint_branches(lease, {one: moved[one] for one in pointers})
        async for rows in changes:
            report.rows += rows
            on_progress("rows", report.rows)
    return report


async def _put_pack(
    lease: Lease, write: PutPack, generations: Generations
) -> Mapping[Pointer, Packed]:
    """Read and verify the old packs, and write the new one. Returns the new locations."""
    try:
        combined = await _combined(lease.repository, write, generations)
    except Damaged:
        await lease.check()
        # A gc may have run between the plan and the lease: a pack that it deleted is no damage.
        present = {one.key for one in await lease.repository.objects.packs()}
        if not write.pointers.keys() <= present:
            raise Unavailable(TOO_LATE) from None
        raise
    await lease.check()
    # Written even if the same pack exists: gc may be about to delete the existing version.
    await lease.repository.objects.put_pack(combined.pack)
    return combined.moved


async def _combined(
    repository: RepoStores, write: PutPack, generations: Generations
) -> CombinedPack:
    contents: dict[str, bytes] = {}
    names = [one.key for one in write.packs]
    for part in chunked(names, repository.stores.limits.packs_at_once):
        read = await gather_all(repository.objects.read_pack(name) for name in part)
        contents.update(zip(part, read, strict=True))
    return combine(contents, write.pointers, generations)


async def _was_interrupted(repository: RepoStores) -> bool:
    """Whether an earlier repack did not end its lease, though it may have done all its work."""
    progress = await repository.scans.progress()
    return progress is not None and progress.step == Step.REPACKING
