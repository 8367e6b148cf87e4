"""The writes of a repack as a value.

`plan_repack` decides which packs are combined, from a scan (`repack_scan`), without any call.
`repack.execute` makes the writes in the order in which the plan has them, for each group of packs:

    the new pack → rows of objects, snapshots and commits → rows of branches

A crash after any write leaves rows that point to old packs and rows that point to the new one. Both
exist. docs/design/repack.md has the invariants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from shared.limits import Limits
from shared.maintenance.batches import by_size
from shared.maintenance.repack_scan import Generations, RepackScan
from shared.metadata.keys import Key
from shared.metadata.scans import Pointer
from shared.objects.bucket import Stored


@dataclass(frozen=True, slots=True)
class PutPack:
    """Write one pack that combines these packs, in this order. `pointers`: those into each."""

    packs: Sequence[Stored]
    pointers: Mapping[str, Sequence[Pointer]]

    @property
    def size(self) -> int:
        """Bytes of the old packs."""
        return sum(one.size for one in self.packs)

    def __str__(self) -> str:
        return f"write a pack that combines {len(self.packs)} packs ({self.size:,} bytes)"


@dataclass(frozen=True, slots=True)
class RepointRows:
    """Point rows to the pack that was written before."""

    pointers: Sequence[Pointer]

    def __str__(self) -> str:
        return f"point rows to it: {len({pointer.key for pointer in self.pointers})}"


@dataclass(frozen=True, slots=True)
class RepointBranches:
    """Point rows of branches to the pack that was written before."""

    pointers: Sequence[Pointer]

    def __str__(self) -> str:
        return f"point branches to it: {len(self.pointers)}"


Write = PutPack | RepointRows | RepointBranches


@dataclass(slots=True)
class Repacked:
    """The effect of a repack, or of a plan the effect that it would have: `packs` old packs become
    `into` new ones, and `rows` rows change. `bytes`: the size of the old packs.

    `left`: the number of packs that stay unchanged, by reason.
    """

    packs: int = 0
    into: int = 0
    bytes: int = 0
    rows: int = 0
    left: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """All writes of a repack, in their order. `generations` decide on the order in a new pack."""

    writes: tuple[Write, ...]
    left: Mapping[str, int]
    generations: Generations

    def report(self) -> Repacked:
        """The effect of these writes, if no row changes before they are made."""
        report = Repacked(left=dict(self.left))
        rows: set[Key] = set()
        for write in self.writes:
            if isinstance(write, PutPack):
                report.packs += len(write.packs)
                report.into += 1
                report.bytes += write.size
            else:
                rows.update(pointer.key for pointer in write.pointers)
        report.rows = len(rows)
        return report


def plan_repack(scan: RepackScan, limits: Limits) -> RepackPlan:
    """Combine small, old, used packs, oldest first, in groups of `combined_packs` packs or more and
    at most `combined_pack_bytes`.
    """
    candidates = scan.candidates
    used = [one for one in candidates.old if one.key in scan.pointers]
    # A lane `<branch>~<pack>` is named by its pack: rebuild-index needs that pack unchanged.
    excluded = {lane.rpartition("~")[2] for lane in scan.lanes} | scan.ambiguous
    free = [one for one in used if one.key not in excluded]
    by_time = by_size(free, limits.combined_pack_bytes, attrgetter("size"))
    groups = [group for group in by_time if len(group) >= limits.combined_packs]
    left = {
        "large": len(candidates.large),
        "young": len(candidates.young),
        "unnamed": len(candidates.old) - len(used),
        "ambiguous": len(used) - len(free),
        "few": len(free) - sum(map(len, groups)),
    }
    writes: list[Write] = []
    for group in groups:
        writes += _writes_of(group, scan.pointers)
    return RepackPlan(tuple(writes), left, scan.generations)


def _writes_of(group: Sequence[Stored], pointers: Mapping[str, Sequence[Pointer]]) -> list[Write]:
    by_pack = {one.key: pointers[one.key] for one in group}
    rows: list[Pointer] = []
    branches: list[Pointer] = []
    for found in by_pack.values():
        for pointer in found:
            # Only the row of a branch has the location of a snapshot without its id.
            of_kind = branches if pointer.item_id is None else rows
            of_kind.append(pointer)
    writes: list[Write] = [PutPack(group, by_pack), RepointRows(rows)]
    if branches:
        writes.append(RepointBranches(branches))
    return writes
