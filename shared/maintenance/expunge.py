"""Expunge: delete the bytes of commits and objects that no branch, tag or release reaches.

    mark     marks each row to delete with the id of this expunge, as gc condemns rows: from then on
             a push does not know it, and sends it again. Writes the packs with its bytes again
             without them, and points the rows of the other entries to the new packs. Records in
             each move which of its commits are expunged.
    remove   `WAIT_SECONDS` later: deletes the rows that still have the mark, then the old packs, in
             all versions

`expunge_selection` selects the parts to delete. Moves of branches do not keep it.
docs/design/expunge.md has the invariants, and the cases that could break them.
"""

import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any, TypeVar

from shared import names
from shared.errors import Unprocessable
from shared.maintenance import expunge_selection, rewrite
from shared.maintenance.expunge_selection import (
    IndexRows,
    Selection,
    by_generation,
    read_rows,
    select,
)
from shared.maintenance.lease import Clock, Lease, Step, start_expunge
from shared.maintenance.rewrite import Holding
from shared.metadata import keys
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.scans import JobState
from shared.metadata.table import chunked
from shared.model import CommitId, Kind, ObjectId, SnapshotId
from shared.objects.bucket import Stored
from shared.objects.store import REMOVED
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores

WAIT_SECONDS = 2 * STALE_SECONDS
"""The time between the two steps: no request and no stale read takes longer."""
PACK_NOTE = "P#"
OBJECT_NOTE = "L#"
"""The beginnings of the notes for the second step: the name of an old pack, or an object id."""

T = TypeVar("T")


@dataclass(slots=True)
class Expunged:
    """The effect of a step, or of a plan the effect that it would have.

    `step`: MARKED if the second step follows at `due_at` (epoch seconds), EXPUNGED if all is done.
    `shared`: objects that other unreachable commits have as well, and that stay. `packs`: written
    again, or deleted. `versions`, `bytes`: deleted in the bucket.
    """

    step: Step
    due_at: int = 0
    commits: list[CommitId] = field(default_factory=list)
    snapshots: list[SnapshotId] = field(default_factory=list)
    objects: list[ObjectId] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    packs: int = 0
    versions: int = 0
    bytes: int = 0
    again: bool = False
    """A push wrote a part of it again during the wait, so the wait started again."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One run of an expunge of the `wanted` ids."""

    repository: RepoStores
    wanted: Set[str]
    clock: Clock
    on_progress: OnProgress

    @property
    def prefix(self) -> str:
        """The beginning of the run ids of each run with these ids."""
        return f"expunge-{sha256(' '.join(sorted(self.wanted)).encode()).hexdigest()[:16]}"

    async def select(self, rows: IndexRows) -> Selection:
        """Select everything that the wanted ids name.

        Raises the errors of `expunge_selection.scan`.
        """
        found = await expunge_selection.scan(self.repository, self.wanted, rows)
        return select(self.repository.repo_id, found, self.wanted, self.prefix)

    async def packs_with(self, selection: Selection) -> dict[str, Holding]:
        """The packs with bytes of the selection, by name."""
        items = selection.entries(self.wanted)
        return await rewrite.packs_with(self.repository, items, self.on_progress)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rows to mark, and the packs to write again."""

    selection: Selection
    packs: Mapping[str, Holding]


async def plan(
    repository: RepoStores, wanted: Set[str], clock: Clock, on_progress: OnProgress = no_progress
) -> Expunged:
    """The effect that an expunge of these ids would have. Writes nothing.

    Raises the errors of `expunge`. AWS calls: one GetItem, those of `expunge_selection.scan`, and a
    GET for each pack.
    """
    job = _job(repository, wanted, clock, on_progress)
    marked = await _marked(job)
    if marked and clock() < marked.at + WAIT_SECONDS:
        return Expunged(Step.MARKED, due_at=marked.at + WAIT_SECONDS)
    return _planned_report(await _plan_mark(job))


async def expunge(
    repository: RepoStores, wanted: Set[str], clock: Clock, on_progress: OnProgress = no_progress
) -> Expunged:
    """Run the step that is due. Run it again, with the same ids, until its step is EXPUNGED.

    Raises Unprocessable if a branch, a tag or a release reaches one of the ids, with its name, and
    if nothing is stored under them; Unavailable beside a rebuild or a repack, and if another job
    starts meanwhile; Damaged if the history has a gap.

    AWS calls: those of `plan`; in the first step an UpdateItem for each row, a PutItem for each
    pack and object, a GET and a PUT for each pack, those of `repoint_rows`; in the second a
    DeleteItem for each row and note, a LIST and a DeleteObjects for each 1,000 versions.
    """
    job = _job(repository, wanted, clock, on_progress)
    marked = await _marked(job)
    if marked is None:
        return await _mark(job)
    if clock() < marked.at + WAIT_SECONDS:
        return Expunged(Step.MARKED, due_at=marked.at + WAIT_SECONDS)
    return await _remove(job, Lease(repository, marked.run_id, Step.MARKED))


def _job(repository: RepoStores, wanted: Set[str], clock: Clock, on_progress: OnProgress) -> _Job:
    for item_id in wanted:
        names.check_id(item_id, "commit or object")
    return _Job(repository, wanted, clock, on_progress)


async def _marked(job: _Job) -> JobState | None:
    """The state after the first step of this expunge; None if that was not the last step."""
    progress = await job.repository.scans.progress()
    if progress and progress.step == Step.MARKED and progress.run_id.startswith(job.prefix):
        return progress
    return None


async def _plan_mark(job: _Job) -> _Plan:
    """Raises Unprocessable if nothing is stored under the wanted ids, or if it is reachable."""
    selection = await job.select(await read_rows(job.repository))
    packs = await job.packs_with(selection)
    if not selection.rows and not packs:
        raise Unprocessable(
            f"nothing is stored here under {', '.join(sorted(job.wanted))[:200]}: check the ids"
        )
    return _Plan(selection, packs)


async def _mark(job: _Job) -> Expunged:
    """The first step: marks the rows, and writes the packs again without the selection."""
    planned = await _plan_mark(job)
    selection = planned.selection
    repository = job.repository
    scans = repository.scans
    lease = await start_expunge(repository, f"{job.prefix}-{secrets.token_hex(4)}", job.clock())
    clone = await repository.prebuilt_clones.get()
    if clone and not selection.commits.isdisjoint(head.commit_id for head in clone.heads):
        await repository.prebuilt_clones.remove(clone)
    await _for_each(lease, selection.keys, lambda key: scans.condemn(key, lease.run_id))
    for move in await repository.refs.moves():
        if not selection.commits.isdisjoint(address.commit_id for address in move.kept):
            await lease.check()
            await scans.expunge_move(move, selection.commits)
    # Stored before the wait: the second step deletes these, also if no row points to them then.
    notes = [f"{PACK_NOTE}{name}" for name in planned.packs]
    notes += [f"{OBJECT_NOTE}{object_id}" for object_id in sorted(selection.objects)]
    await _for_each(lease, notes, scans.note)
    items = selection.entries(job.wanted)
    await rewrite.without(lease, planned.packs, items, job.clock, job.on_progress)
    return await _wait(lease, _planned_report(planned), job.clock)


async def _wait(lease: Lease, report: Expunged, clock: Clock) -> Expunged:
    """Start the wait before the second step."""
    await lease.release(Step.MARKED, clock() + 1)
    report.due_at = int(clock()) + 1 + WAIT_SECONDS
    return report


async def _remove(job: _Job, lease: Lease) -> Expunged:
    """The second step: deletes the marked rows, and the old bytes in all versions."""
    repository = job.repository
    before = job.clock() - WAIT_SECONDS
    rows = await read_rows(repository)
    try:
        selection = await job.select(rows)
    except Unprocessable:
        await _give_up(lease, rows, job.clock)
        raise
    noted = await repository.scans.notes()
    packs = await job.packs_with(selection)
    old = _noted(noted, PACK_NOTE) | packs.keys()
    if await _is_written_again(lease, selection, old):
        report = await _mark(job)
        report.again = True
        return report
    loose = set(map(ObjectId, _noted(noted, OBJECT_NOTE) | job.wanted)) | selection.objects
    loose -= _kept_objects(rows, selection)
    is_packed_since = any(pack.modified >= before for pack in packs.values())
    if is_packed_since or await rewrite.is_loose_since(repository, loose, before):
        # A push wrote bytes during the wait and no rows. It may still run. The marks stay.
        report = _report(selection, Step.MARKED)
        report.again = True
        return await _wait(lease, report, job.clock)
    await _reprieve(lease, rows, set(selection.keys))
    await _for_each(lease, selection.keys, lambda key: repository.scans.remove(key, lease.run_id))
    report = _report(selection, Step.EXPUNGED)
    report.packs = len(old)
    await _delete_versions(lease, await rewrite.versions(repository, old, loose, before), report)
    await _for_each(lease, noted, repository.scans.drop_note)
    await lease.release(Step.EXPUNGED, job.clock())
    return report


async def _give_up(lease: Lease, rows: IndexRows, clock: Clock) -> None:
    """A push has brought back an item: remove all marks and notes."""
    scans = lease.repository.scans
    await _reprieve(lease, rows, set())
    await _for_each(lease, await scans.notes(), scans.drop_note)
    await lease.release(Step.EXPUNGED, clock())


async def _delete_versions(lease: Lease, versions: Sequence[Stored], report: Expunged) -> None:
    for part in chunked(versions, REMOVED):
        await lease.check()
        await lease.repository.objects.remove(part)
    report.versions = len(versions)
    report.bytes = sum(one.size for one in versions)


async def _is_written_again(lease: Lease, selection: Selection, old: Set[str]) -> bool:
    """Whether a push wrote, since the marks, a row that depends on the selection, or a row that
    points to an old pack.
    """
    repository = lease.repository
    if any(row.run_id != lease.run_id for row in selection.rows):
        return True
    for move in await repository.refs.moves():
        if not selection.commits.isdisjoint(address.commit_id for address in move.kept):
            return True
    clone = await repository.prebuilt_clones.get()
    if clone and clone.named_in == lease.run_id:
        return True
    selected = set(selection.keys)
    pointers = await rewrite.pointers_into(repository, old)
    return any(pointer.key not in selected for pointer in chain.from_iterable(pointers.values()))


async def _reprieve(lease: Lease, rows: IndexRows, selected: Set[keys.Key]) -> None:
    """Remove the marks of this expunge from the other rows, from low to high generations."""
    repo_id = lease.repository.repo_id
    prefix = lease.run_id.rpartition("-")[0]
    marks = [
        (keys.by_id(repo_id, entry.kind, entry.item_id), entry.run_id)
        for entry in (*rows.objects, *rows.snapshots)
    ]
    marks += [(keys.commit(repo_id, node.address), run_id) for node, run_id in by_generation(rows)]
    marks += [
        (keys.by_id(repo_id, Kind.COMMIT, entry.item_id), entry.run_id) for entry in rows.commits
    ]
    for key, run_id in marks:
        if run_id.startswith(prefix) and key not in selected:
            await lease.check()
            await lease.repository.scans.reprieve(key, run_id)


def _kept_objects(rows: IndexRows, selection: Selection) -> set[str]:
    """The objects with a row that stays."""
    return {entry.item_id for entry in rows.objects} - selection.objects


def _noted(notes: Iterable[str], mark: str) -> set[str]:
    return {note.removeprefix(mark) for note in notes if note.startswith(mark)}


def _planned_report(planned: _Plan) -> Expunged:
    report = _report(planned.selection, Step.MARKED)
    report.packs = len(planned.packs)
    return report


def _report(selection: Selection, step: Step) -> Expunged:
    return Expunged(
        step,
        commits=sorted(selection.commits),
        snapshots=sorted(selection.snapshots),
        objects=sorted(selection.objects),
        shared=sorted(selection.shared),
    )


async def _for_each(
    lease: Lease, items: Sequence[T], work: Callable[[T], Coroutine[Any, Any, object]]
) -> None:
    async for _ in lease.for_each(items, work):
        pass
