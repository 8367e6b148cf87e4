"""The writes of rebuild-index as a value.

`plan_rebuild` computes them from a scan (`rebuild_scan`), without any call. `rebuild.execute` makes
them in the order in which the plan has them, which is the order of a push:

    rows of objects → rows of snapshots → the list of lanes → rows of commits → the index of commits
    → the locations in the rows of branches

Damaged rows of lanes are deleted first. docs/design/rebuild.md has the invariants.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain

from shared import names
from shared.maintenance.rebuild_scan import BucketScan, RebuildScan, Record
from shared.model import (
    CommitAddress,
    CommitId,
    Kind,
    Location,
    Node,
    ObjectId,
    Packed,
    Ref,
    SnapshotId,
)

UNREACHED_LANE = "~rebuilt"
"""The lane of commits that no branch reaches."""


@dataclass(frozen=True, slots=True)
class DeleteDamagedRows:
    """Delete the rows of commits that cannot be read, in these lanes."""

    lanes: Sequence[str]

    def __str__(self) -> str:
        return f"delete damaged rows of commits in lanes: {', '.join(self.lanes)}"


@dataclass(frozen=True, slots=True)
class PutLocations:
    """Write the missing rows of an index: objects or snapshots, and where their bytes are."""

    kind: Kind
    locations: Mapping[ObjectId, Location] | Mapping[SnapshotId, Packed]

    def __str__(self) -> str:
        return f"write missing rows of {self.kind.name.lower()}s: {len(self.locations)} found"


@dataclass(frozen=True, slots=True)
class OpenLanes:
    """Write the missing rows of the list of lanes."""

    lanes: Sequence[str]

    def __str__(self) -> str:
        return f"add lanes to the list of lanes: {', '.join(self.lanes)}"


@dataclass(frozen=True, slots=True)
class PutCommits:
    """Write the missing rows of commits in their lanes. The rows here have no records yet."""

    rows: Mapping[CommitAddress, Node]

    def __str__(self) -> str:
        return f"write missing rows of commits in lanes: {len(self.rows)} found"


@dataclass(frozen=True, slots=True)
class PutAddresses:
    """Write the missing rows of the index of commits, parents first."""

    addresses: Sequence[CommitAddress]

    def __str__(self) -> str:
        return f"write missing rows of the index of commits: {len(self.addresses)} found"


@dataclass(frozen=True, slots=True)
class CorrectBranches:
    """Correct the generation and the snapshot location in rows of branches. No head changes."""

    rows: Mapping[CommitAddress, Node]
    generations: Mapping[CommitId, int]

    def __str__(self) -> str:
        return "correct generations and locations in the rows of branches"

    def corrected(self, ref: Ref) -> Ref:
        """The branch with the generation and the location of its snapshot in the rows."""
        head_id = ref.head.commit_id
        head = replace(ref.head, generation=self.generations.get(head_id, ref.head.generation))
        node = self.rows.get(head)
        return replace(ref, head=head, snapshot_at=node.snapshot_at) if node else ref


Write = DeleteDamagedRows | PutLocations | OpenLanes | PutCommits | PutAddresses | CorrectBranches


@dataclass(slots=True)
class Rebuilt:
    """The items that were found in the bucket. Their rows were written, unless they existed.

    `refs`: branches whose row was corrected. `damaged`: packs that cannot be read. `incomplete`:
    snapshots and commits that are not written, because something that they reference is missing.
    """

    objects: int = 0
    snapshots: int = 0
    commits: int = 0
    refs: int = 0
    damaged: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """All writes of a rebuild, in their order. `damaged`, `incomplete`: as in `Rebuilt`."""

    writes: tuple[Write, ...]
    damaged: Sequence[str]
    incomplete: Sequence[str]

    def report(self) -> Rebuilt:
        """The effect of these writes. The number of corrected branches is not known yet."""
        report = Rebuilt(damaged=list(self.damaged), incomplete=list(self.incomplete))
        for write in self.writes:
            match write:
                case PutLocations(Kind.OBJECT, locations):
                    report.objects = len(locations)
                case PutLocations(Kind.SNAPSHOT, locations):
                    report.snapshots = len(locations)
                case PutAddresses(addresses):
                    report.commits = len(addresses)
        return report


@dataclass(frozen=True, slots=True)
class _History:
    """The complete commits of a bucket: their generations, and the addresses of their rows.

    `known`: the addresses at which readers look for a commit, that of the index first. `primary`:
    for each commit the address in the index.
    """

    bucket: BucketScan
    generations: Mapping[CommitId, int]
    known: Mapping[str, Sequence[CommitAddress]]
    primary: Mapping[CommitId, CommitAddress]


def plan_rebuild(scan: RebuildScan, default_branch: str) -> RebuildPlan:
    """Plan the rows of every item in the bucket that is complete."""
    bucket = scan.bucket
    generations = find_generations(bucket)
    known = _known_addresses(scan.addresses, generations)
    lanes = _lanes_of_branches(bucket, generations, scan.branches, default_branch)
    primary = {
        commit_id: known[commit_id][0]
        if commit_id in known
        else CommitAddress(commit_id, generation, lanes.get(commit_id, UNREACHED_LANE))
        for commit_id, generation in generations.items()
    }
    rows = _rows(_History(bucket, generations, known, primary))
    snapshots = {i: at for i, at in bucket.snapshots.items() if i in bucket.whole}
    parents_first = sorted(primary.values(), key=lambda one: (one.generation, one.commit_id))
    delete = [DeleteDamagedRows(scan.damaged_lanes)] if scan.damaged_lanes else []
    writes: tuple[Write, ...] = (
        *delete,
        PutLocations(Kind.OBJECT, bucket.objects),
        PutLocations(Kind.SNAPSHOT, snapshots),
        OpenLanes(sorted({address.lane for address in rows})),
        PutCommits(rows),
        PutAddresses(parents_first),
        CorrectBranches(rows, generations),
    )
    incomplete = [
        *sorted(bucket.snapshots.keys() - bucket.whole),
        *sorted(bucket.commits.keys() - generations.keys()),
    ]
    return RebuildPlan(writes, bucket.damaged, incomplete)


def find_generations(bucket: BucketScan) -> dict[CommitId, int]:
    """The generation of every complete commit: its parents and its snapshot are stored, and so on
    below.
    """
    generations: dict[CommitId, int] = {}
    failed: set[str] = set()
    for start in sorted(bucket.commits):
        stack = [start]
        while stack:
            commit_id = stack[-1]
            if commit_id in generations or commit_id in failed:
                stack.pop()
                continue
            record = bucket.commits[commit_id][0]
            waiting = [parent for parent in record.parents if parent not in generations]
            if _is_incomplete(bucket, record, failed):
                failed.add(commit_id)
            elif waiting:
                stack += waiting
            else:
                parents = [generations[parent] for parent in record.parents]
                generations[commit_id] = 1 + max(parents, default=0)
    return generations


def _is_incomplete(bucket: BucketScan, record: Record, failed: Set[str]) -> bool:
    """Whether a parent or the snapshot is missing.

    A snapshot with an opaque id may never have been sent.
    """
    if any(parent not in bucket.commits or parent in failed for parent in record.parents):
        return True
    return names.is_digest(record.snapshot_id or "") and record.snapshot_id not in bucket.whole


def _known_addresses(
    addresses: Iterable[CommitAddress], generations: Mapping[CommitId, int]
) -> dict[str, list[CommitAddress]]:
    """The addresses of each complete commit, in this order, with its right generation."""
    known: dict[str, list[CommitAddress]] = {}
    for address in addresses:
        generation = generations.get(address.commit_id)
        if generation is None:
            continue
        corrected = replace(address, generation=generation)
        of_commit = known.setdefault(address.commit_id, [])
        if corrected not in of_commit:
            of_commit.append(corrected)
    return known


def _lanes_of_branches(
    bucket: BucketScan,
    generations: Mapping[CommitId, int],
    branches: Mapping[str, Ref],
    default_branch: str,
) -> dict[str, str]:
    """For each complete commit the first branch that reaches it, the default branch first."""
    lanes: dict[str, str] = {}
    for branch in sorted(branches, key=lambda name: (name != default_branch, name)):
        stack = [branches[branch].head.commit_id]
        while stack:
            commit_id = stack.pop()
            if commit_id in generations and commit_id not in lanes:
                lanes[commit_id] = branch
                stack += bucket.commits[commit_id][0].parents
    return lanes


def _rows(history: _History) -> dict[CommitAddress, Node]:
    """The rows of commits that must exist, without their records: at each address of a commit, and
    at each address that such a row has for a parent.
    """
    waiting = list(chain.from_iterable(history.known.values()))
    waiting += history.primary.values()
    rows: dict[CommitAddress, Node] = {}
    while waiting:
        address = waiting.pop()
        if address not in rows:
            rows[address] = _row(history, address)
            waiting += rows[address].parents
    return rows


def _row(history: _History, address: CommitAddress) -> Node:
    # A lane `<branch>~<pack>` has the commits that a forced push sent in that pack.
    pack = address.lane.rpartition("~")[2]
    bucket = history.bucket
    records = bucket.commits[address.commit_id]
    in_pack = (record for record in records if record.at.pack == pack)
    record = next(in_pack, records[0])
    snapshot_id = record.snapshot_id
    return Node(
        address,
        tuple(_parent(history, address.lane, parent) for parent in record.parents),
        snapshot_id,
        bucket.snapshots.get(snapshot_id) if snapshot_id in bucket.whole else None,
        record_at=record.at,
    )


def _parent(history: _History, lane: str, commit_id: CommitId) -> CommitAddress:
    """The address of a parent of a commit in a lane."""
    pack = lane.rpartition("~")[2]
    if any(record.at.pack == pack for record in history.bucket.commits[commit_id]):
        return CommitAddress(commit_id, history.generations[commit_id], lane)
    # The lane of a forced push to the same branch, if the parent has a row there.
    for address in history.known.get(commit_id, ()):
        if address.lane.startswith(f"{lane}~"):
            return address
    return history.primary[commit_id]
