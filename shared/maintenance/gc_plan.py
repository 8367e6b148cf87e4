"""The writes of a garbage collection as values: one plan for each of its three steps.

A plan is computed from a scan (`gc_scan`) without any call. `gc.execute` makes the writes in the
order in which the plan has them:

    condemn   row of a prebuilt clone → marks of commits, lanes, snapshots, objects
    sweep     unmark objects, snapshots, lanes, commits → delete commits, lanes, snapshots, objects
    collect   versions in the bucket → old moves → old folder marks → empty lanes

Rows are marked and deleted from high to low generations, and unmarked from low to high, so no
commit is known without its parents. docs/design/gc.md has the invariants.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from shared.maintenance.gc_scan import CollectScan, CondemnScan, SweepScan, generation
from shared.maintenance.lease import Step
from shared.maintenance.roots import oldest_move_ms
from shared.metadata import keys
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.keys import Key
from shared.metadata.scans import Entry
from shared.model import CommitId, PrebuiltClone, RepoId
from shared.objects.bucket import Stored

GRACE_SECONDS = 4 * STALE_SECONDS
"""The time between the end of a step and the next one, and the least age of deleted bytes."""


class RowKind(StrEnum):
    """The kinds of rows that a gc deletes. The values are keys of a report."""

    COMMITS = "commits"
    LANES = "lanes"
    SNAPSHOTS = "snapshots"
    OBJECTS = "objects"


class MarkedRow(NamedTuple):
    """The key of a row, the gc that marked it, and whether it is reachable now."""

    key: Key
    run_id: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class DropClone:
    """Delete the row of the prebuilt clone: a head of it is condemned."""

    clone: PrebuiltClone

    def __str__(self) -> str:
        return f"delete the row of prebuilt clone {self.clone.name[:12]}"


@dataclass(frozen=True, slots=True)
class MarkRows:
    """Mark rows with the id of the gc."""

    kind: RowKind
    keys: Sequence[Key]

    def __str__(self) -> str:
        return f"mark rows of {self.kind}: {len(self.keys)}"


@dataclass(frozen=True, slots=True)
class UnmarkRows:
    """Remove marks, each on condition that it is still there."""

    kind: RowKind
    rows: Sequence[MarkedRow]

    def __str__(self) -> str:
        return f"unmark rows of {self.kind}: {len(self.rows)}"


@dataclass(frozen=True, slots=True)
class DeleteRows:
    """Delete rows, each on condition that it still has the mark of the gc."""

    kind: RowKind
    keys: Sequence[Key]

    def __str__(self) -> str:
        return f"delete rows of {self.kind}: {len(self.keys)}"


@dataclass(frozen=True, slots=True)
class DeleteVersions:
    """Delete these versions in the bucket."""

    packs: Sequence[Stored]
    loose: Sequence[Stored]
    clones: Sequence[Stored]

    @property
    def all(self) -> list[Stored]:
        """All of them."""
        return [*self.packs, *self.loose, *self.clones]

    def __str__(self) -> str:
        return (
            f"delete versions in the bucket: {len(self.packs)} of packs, {len(self.loose)} of large"
            f" objects, {len(self.clones)} of prebuilt clones"
        )


@dataclass(frozen=True, slots=True)
class DeleteMoves:
    """Delete the moves before a time, in epoch milliseconds."""

    before_ms: int

    def __str__(self) -> str:
        return "delete old moves"


@dataclass(frozen=True, slots=True)
class DeleteFolderMarks:
    """Delete the folder marks before a time, in epoch seconds."""

    before: int

    def __str__(self) -> str:
        return "delete old folder marks"


@dataclass(frozen=True, slots=True)
class CloseLanes:
    """Delete empty lanes that were opened before a time, in epoch seconds."""

    before: int

    def __str__(self) -> str:
        return "delete empty lanes from the list of lanes"


Write = (
    DropClone
    | MarkRows
    | UnmarkRows
    | DeleteRows
    | DeleteVersions
    | DeleteMoves
    | DeleteFolderMarks
    | CloseLanes
)
"""A group of writes. The rows and versions of a group are written in their order."""


@dataclass(slots=True)
class Report:
    """The effect of a step, or of a plan the effect that it would have.

    `rows`: condemned or deleted, by kind. `reprieved`: rows that lost their mark. `bytes`: freed.
    `step` is None if no step is due yet. `due_at`: when the next step may start, in epoch seconds.
    """

    step: Step | None
    rows: dict[str, int] = field(default_factory=dict)
    reprieved: int = 0
    packs: int = 0
    loose: int = 0
    bytes: int = 0
    moves: int = 0
    marks: int = 0
    due_at: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All writes of one step, in their order. `bytes`: freed by this step or by a later one.

    `step` is None if no step is due yet; then `due_at` is when it is, in epoch seconds.
    """

    step: Step | None
    writes: tuple[Write, ...] = ()
    bytes: int = 0
    due_at: int = 0

    def report(self) -> Report:
        """The effect of these writes, as far as it is known before they are made."""
        report = Report(self.step, bytes=self.bytes, due_at=self.due_at)
        if self.step in (Step.CONDEMNED, Step.SWEPT):
            report.rows = dict.fromkeys(RowKind, 0)
        for write in self.writes:
            match write:
                case MarkRows(kind, row_keys) | DeleteRows(kind, row_keys):
                    report.rows[kind] = len(row_keys)
                case UnmarkRows():
                    report.reprieved += len(write.rows)
                case DeleteVersions():
                    report.packs = len(write.packs)
                    report.loose = len(write.loose)
        return report


def plan_condemn(repo_id: RepoId, scan: CondemnScan) -> Plan:
    """Mark each row that no root reaches, except those of a push that may still run."""
    unreached = [entry for entry in scan.commits if entry.item_id not in scan.live.commits]
    commits = sorted(unreached, key=generation, reverse=True)
    kept = scan.live.addresses | scan.fresh
    lanes = [row.address for row in scan.lanes if row.address not in kept]
    snapshots = _old(scan, scan.snapshots)
    objects = _old(scan, scan.objects)
    marks = [
        MarkRows(RowKind.COMMITS, _keys(repo_id, commits)),
        MarkRows(RowKind.LANES, [keys.commit(repo_id, address) for address in lanes]),
        MarkRows(RowKind.SNAPSHOTS, _keys(repo_id, snapshots)),
        MarkRows(RowKind.OBJECTS, _keys(repo_id, objects)),
    ]
    clone = scan.clone
    # Before the marks: no prebuilt clone contains a commit that this gc may delete.
    drop = [DropClone(clone)] if clone and not _is_live(clone, scan.live.commits) else []
    freed = sum(entry.at.length for entry in (*snapshots, *objects) if entry.at)
    return Plan(Step.CONDEMNED, (*drop, *(mark for mark in marks if mark.keys)), freed)


def plan_sweep(repo_id: RepoId, scan: SweepScan) -> Plan:
    """Unmark the marked rows that are reachable now, and delete the other rows of this gc.

    A row that is not reachable and has the mark of another gc stays: that gc was not swept, and the
    next condemn marks the row again.
    """
    marked = _marked_rows(repo_id, scan)
    unmark = [
        UnmarkRows(kind, [row for row in marked[kind] if row.is_live])
        for kind in (RowKind.OBJECTS, RowKind.SNAPSHOTS, RowKind.LANES, RowKind.COMMITS)
    ]
    delete = [
        DeleteRows(kind, _dead_keys(marked[kind], scan.run_id))
        for kind in (RowKind.COMMITS, RowKind.LANES, RowKind.SNAPSHOTS, RowKind.OBJECTS)
    ]
    unmarks = (write for write in unmark if write.rows)
    deletes = (write for write in delete if write.keys)
    return Plan(Step.SWEPT, (*unmarks, *deletes))


def plan_collect(scan: CollectScan, now: float) -> Plan:
    """Delete the versions that no row points to and that are older than a grace; then old moves,
    old folder marks and empty lanes. `now`: epoch seconds.
    """
    before = now - GRACE_SECONDS
    versions = DeleteVersions(
        packs=[one for one in scan.packs if one.modified < before],
        loose=[one for one in scan.loose if one.modified < before],
        clones=_dead_clones(scan, before),
    )
    writes = (
        versions,
        DeleteMoves(oldest_move_ms(now)),
        DeleteFolderMarks(int(before)),
        CloseLanes(int(before)),
    )
    return Plan(Step.COLLECTED, writes, sum(one.size for one in versions.all))


def _keys(repo_id: RepoId, entries: Iterable[Entry]) -> list[Key]:
    return [keys.by_id(repo_id, entry.kind, entry.item_id) for entry in entries]


def _is_live(clone: PrebuiltClone, commits: Set[CommitId]) -> bool:
    return all(head.commit_id in commits for head in clone.heads)


def _old(scan: CondemnScan, entries: Iterable[Entry]) -> list[Entry]:
    """The rows whose bytes are older than a day. The push of younger bytes may still run."""
    return [
        entry
        for entry in entries
        if entry.at is None or not scan.young.has(entry.item_id, entry.at)
    ]


def _marked_rows(repo_id: RepoId, scan: SweepScan) -> dict[RowKind, list[MarkedRow]]:
    """The marked rows, each kind from low to high generations."""
    entries: Mapping[RowKind, tuple[Sequence[Entry], Set[str]]] = {
        RowKind.COMMITS: (scan.commits, scan.live.commits),
        RowKind.SNAPSHOTS: (scan.snapshots, scan.live.snapshots),
        RowKind.OBJECTS: (scan.objects, scan.live.objects),
    }
    marked = {
        kind: [
            MarkedRow(
                keys.by_id(repo_id, entry.kind, entry.item_id), entry.run_id, entry.item_id in live
            )
            for entry in found
        ]
        for kind, (found, live) in entries.items()
    }
    marked[RowKind.LANES] = [
        MarkedRow(keys.commit(repo_id, row.address), row.run_id, row.address in scan.live.addresses)
        for row in scan.lanes
    ]
    return marked


def _dead_keys(rows: Sequence[MarkedRow], run_id: str) -> list[Key]:
    """The rows with the mark of this gc that are not reachable, from high to low generations."""
    return [row.key for row in reversed(rows) if row.run_id == run_id and not row.is_live]


def _dead_clones(scan: CollectScan, before: float) -> list[Stored]:
    """Old versions of replaced prebuilt clones.

    None during the gc in which the clone was replaced: a fetch may still read the replaced one.
    """
    if scan.clone and scan.clone.named_in == scan.run_id:
        return []
    return [one for one in scan.clones if one.modified < before]
