"""The reads of a garbage collection, before a step is planned. Nothing is written here.

The order of the reads is part of the argument in docs/design/gc.md. In memory are ids, addresses
and locations, no contents.
"""

from collections.abc import Container, Sequence, Set
from dataclasses import dataclass

from shared.graph.reachability import Reached, find_reachable
from shared.maintenance.lease import Lease
from shared.maintenance.roots import PacksAndLoose, find_roots, pointed_to
from shared.metadata.scans import Entry
from shared.model import CommitAddress, Kind, Packed, PrebuiltClone
from shared.objects.bucket import Stored
from shared.progress import OnProgress
from shared.stores import RepoStores

YOUNG_SECONDS = 24 * 3600
"""The push that wrote a younger row or younger bytes may still run: they are not condemned."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """The row of a commit in its lane.

    `run_id`: the gc that marked it, or empty. `written_at`: epoch seconds, 0 if a rebuild wrote it.
    """

    address: CommitAddress
    run_id: str
    written_at: int


@dataclass(frozen=True, slots=True)
class CondemnScan:
    """What condemn has to know. `commits` and `lanes` are all rows of commits.

    `fresh`: the addresses of rows that are younger than a day. `snapshots` and `objects`: the rows
    that no root reaches. `young`: bytes that are younger than a day.
    """

    commits: Sequence[Entry]
    lanes: Sequence[LaneRow]
    fresh: Set[CommitAddress]
    live: Reached
    snapshots: Sequence[Entry]
    objects: Sequence[Entry]
    young: PacksAndLoose
    clone: PrebuiltClone | None


@dataclass(frozen=True, slots=True)
class SweepScan:
    """What sweep has to know: the rows with a mark of any gc, and `live`, which stays.

    Rows of commits are sorted from low to high generations. `run_id`: the gc that sweeps.
    """

    run_id: str
    live: Reached
    commits: Sequence[Entry]
    lanes: Sequence[LaneRow]
    snapshots: Sequence[Entry]
    objects: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class CollectScan:
    """The versions in the bucket that no row points to, of any age. `run_id`: the gc that collects.

    `clone` is the present prebuilt clone, and `clones` has the versions of all others.
    """

    run_id: str
    packs: Sequence[Stored]
    loose: Sequence[Stored]
    clone: PrebuiltClone | None
    clones: Sequence[Stored]


async def scan_for_condemn(
    repository: RepoStores, now: float, on_progress: OnProgress
) -> CondemnScan:
    """Find the rows that no root reaches. `now`: epoch seconds.

    Raises Damaged if the history has a gap.

    AWS calls: a Query for each page of the three indexes and of each lane, those of `find_roots`
    and of `find_reachable`, a LIST for each 1,000 packs and loose objects, one GetItem.
    """
    # Listed before the roots are read: a row that a push writes from now on is not in the list.
    commits = [entry async for entry in repository.scans.index(Kind.COMMIT)]
    lanes = await _lane_rows(repository)
    fresh = {row.address for row in lanes if row.written_at >= now - YOUNG_SECONDS}
    roots = await find_roots(repository, now)
    roots |= {entry.address for entry in commits if entry.address in fresh}
    live = await find_reachable(repository, roots, on_progress=on_progress)
    snapshots = await _unreached(repository, Kind.SNAPSHOT, live.snapshots)
    objects = await _unreached(repository, Kind.OBJECT, live.objects)
    # Listed after the rows are read: a push writes bytes before the rows that point to them.
    young = await _young(repository, now)
    clone = await repository.prebuilt_clones.get()
    return CondemnScan(commits, lanes, fresh, live, snapshots, objects, young, clone)


async def scan_for_sweep(lease: Lease, now: float, on_progress: OnProgress) -> SweepScan:
    """Compute reachability again, and find the marked rows. `now`: epoch seconds.

    Raises Damaged if the history has a gap, Unavailable if another job made the gap.

    AWS calls: a Query for each page of the three indexes and of each lane, those of `find_roots`
    and of `find_reachable`.
    """
    repository = lease.repository
    roots = await find_roots(repository, now)
    # A push may build, at this moment, on any row without the mark of this gc.
    commits = [entry async for entry in repository.scans.index(Kind.COMMIT)]
    snapshots = [entry async for entry in repository.scans.index(Kind.SNAPSHOT)]
    roots |= {entry.address for entry in commits if entry.address and entry.run_id != lease.run_id}
    manifests = [
        entry.at
        for entry in snapshots
        if isinstance(entry.at, Packed) and entry.run_id != lease.run_id
    ]
    async with lease.reading():
        live = await find_reachable(repository, roots, manifests, on_progress=on_progress)
    objects = [entry async for entry in repository.scans.index(Kind.OBJECT) if entry.run_id]
    lanes = [row for row in await _lane_rows(repository) if row.run_id]
    marked_commits = [entry for entry in commits if entry.run_id]
    return SweepScan(
        run_id=lease.run_id,
        live=live,
        commits=sorted(marked_commits, key=generation),
        lanes=lanes,
        snapshots=[entry for entry in snapshots if entry.run_id],
        objects=objects,
    )


async def scan_rows_for_collect(lease: Lease, now: float, on_progress: OnProgress) -> PacksAndLoose:
    """The bytes that a row points to. `now`: epoch seconds.

    Raises Damaged if the repository has lost rows, Unavailable if another job deleted them. AWS
    calls: those of `pointed_to`.
    """
    async with lease.reading():
        return await pointed_to(lease.repository, now, on_progress)


async def scan_bucket_for_collect(lease: Lease, kept: PacksAndLoose) -> CollectScan:
    """The versions of packs, loose objects and prebuilt clones that no row points to.

    AWS calls: a LIST for each 1,000 versions, one GetItem.
    """
    objects = lease.repository.objects
    packs = [one async for name, one in objects.pack_versions() if name not in kept.packs]
    loose = [one async for item_id, one in objects.loose_versions() if item_id not in kept.loose]
    clone = await lease.repository.prebuilt_clones.get()
    present = clone.name if clone else ""
    clones = [one async for name, one in objects.prebuilt_versions() if name != present]
    return CollectScan(lease.run_id, packs, loose, clone, clones)


def generation(entry: Entry) -> int:
    """The generation of a row in the index of commits."""
    return entry.address.generation if entry.address else 0


async def _lane_rows(repository: RepoStores) -> list[LaneRow]:
    """Every commit row of every lane, each lane from low to high generations."""
    rows: list[LaneRow] = []
    for lane in await repository.scans.lanes():
        async for node, run_id, written_at in repository.scans.lane(lane):
            rows.append(LaneRow(node.address, run_id, written_at))
    return rows


async def _unreached(repository: RepoStores, kind: Kind, reached: Container[str]) -> list[Entry]:
    rows = repository.scans.index(kind)
    return [entry async for entry in rows if entry.item_id not in reached]


async def _young(repository: RepoStores, now: float) -> PacksAndLoose:
    """The packs and the loose objects that are younger than a day."""
    since = now - YOUNG_SECONDS
    packs = {one.key for one in await repository.objects.packs() if one.modified >= since}
    loose = {one.key for one in await repository.objects.loose() if one.modified >= since}
    return PacksAndLoose(packs, loose)
