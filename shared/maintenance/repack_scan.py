"""The reads of a repack, before it is planned. Nothing is written here.

In memory are the names of packs, the pointers into old small packs, and the generations of all
commits; and at most `GROUP_BYTES` of entries with ambiguous ids.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain

from shared import names
from shared.errors import Damaged
from shared.limits import Limits
from shared.maintenance.batches import read_each
from shared.maintenance.pointers import all_pointers
from shared.metadata.scans import Pointer
from shared.metadata.table import chunked
from shared.model import CommitAddress, CommitId, Kind, Packed, SnapshotId
from shared.objects.bucket import Stored
from shared.progress import OnProgress
from shared.stores import RepoStores
from shared.tasks import gather_all

Item = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The packs of a repository by size and age. `old`: small and older than a day."""

    large: Sequence[Stored]
    young: Sequence[Stored]
    old: Sequence[Stored]

    @property
    def all(self) -> list[Stored]:
        """All packs of the repository."""
        return [*self.large, *self.young, *self.old]


@dataclass(frozen=True, slots=True)
class Generations:
    """Generations of commits by id, and for each snapshot the lowest one of a commit with it."""

    commits: dict[CommitId, int] = field(default_factory=dict)
    snapshots: dict[SnapshotId, int] = field(default_factory=dict)

    def add(self, address: CommitAddress, pointers: Iterable[Pointer]) -> None:
        """Add a row of a commit."""
        self.commits[address.commit_id] = address.generation
        for pointer in pointers:
            if pointer.kind is Kind.SNAPSHOT and pointer.item_id is not None:
                snapshot_id = SnapshotId(pointer.item_id)
                lowest = self.snapshots.get(snapshot_id, address.generation)
                self.snapshots[snapshot_id] = min(lowest, address.generation)


@dataclass(frozen=True, slots=True)
class RepackScan:
    """The input of the plan of a repack.

    `pointers`: the pointers into old small packs, by pack. `ambiguous`: the packs with an item that
    has other bytes in another pack, under the same id.
    """

    candidates: Candidates
    lanes: Sequence[str]
    pointers: Mapping[str, Sequence[Pointer]]
    generations: Generations
    ambiguous: Set[str]


async def scan_for_repack(
    repository: RepoStores, now: float, on_progress: OnProgress
) -> RepackScan:
    """Find out which small packs are used, by which rows, and which are ambiguous.

    `now`: epoch seconds. Raises Damaged if a row of a commit cannot be read.

    AWS calls: a LIST for each 1,000 packs, a Query for each page of the rows; and if enough packs
    are used, a GET for each pack, and a GET for each range of ambiguous entries.
    """
    limits = repository.stores.limits
    listed = await repository.objects.packs()
    candidates = _candidates(listed, limits, now)
    old = {one.key for one in candidates.old}
    lanes = await repository.scans.lanes()
    generations = Generations()
    pointers: dict[str, list[Pointer]] = {}
    read = 0
    async for row in all_pointers(repository, lanes):
        if row.address:
            generations.add(row.address, row.pointers)
        for pointer in row.pointers:
            if pointer.at.pack in old:
                pointers.setdefault(pointer.at.pack, []).append(pointer)
            read += 1
            if read % 1000 == 0:
                on_progress("rows read", read)
    ambiguous: set[str] = set()
    if len(pointers) >= limits.combined_packs:
        ambiguous = await _ambiguous(repository, listed, pointers, generations, on_progress)
    return RepackScan(candidates, lanes, pointers, generations, ambiguous)


def is_commit_with_row(item: Item, generations: Generations) -> bool:
    """Whether an entry of a pack is the record of a commit that has a row in a lane."""
    kind, item_id = item
    return kind is Kind.COMMIT and item_id in generations.commits


def _candidates(listed: Sequence[Stored], limits: Limits, now: float) -> Candidates:
    small = [one for one in listed if one.size < limits.small_pack_bytes]
    old_before = now - limits.small_pack_seconds
    return Candidates(
        large=[one for one in listed if one.size >= limits.small_pack_bytes],
        young=[one for one in small if one.modified >= old_before],
        old=[one for one in small if one.modified < old_before],
    )


async def _ambiguous(
    repository: RepoStores,
    listed: Sequence[Stored],
    pointers: Mapping[str, Sequence[Pointer]],
    generations: Generations,
    on_progress: OnProgress,
) -> set[str]:
    """The used packs with an item that has other bytes in another pack, under the same id."""
    wanted = _undigested(chain.from_iterable(pointers.values()))
    stored = await _locations(repository, listed, wanted, generations, on_progress)
    doubtful = [
        locations
        for locations in stored.values()
        if len(locations) > 1 and any(at.pack in pointers for at in locations)
    ]
    digests: dict[Packed, bytes] = {}
    async for location, data in read_each(repository, set(chain.from_iterable(doubtful))):
        digests[location] = b"" if data is None else sha256(data).digest()
    ambiguous: set[str] = set()
    for locations in doubtful:
        if len({digests[at] for at in locations}) > 1:
            ambiguous.update(at.pack for at in locations if at.pack in pointers)
    return ambiguous


def _undigested(pointers: Iterable[Pointer]) -> set[Item]:
    """The items whose bytes do not follow from their id: snapshot records, and opaque ids."""
    return {
        (pointer.kind, pointer.item_id)
        for pointer in pointers
        if pointer.item_id is not None
        and (pointer.kind is Kind.SNAPSHOT or not names.is_digest(pointer.item_id))
    }


async def _locations(
    repository: RepoStores,
    listed: Sequence[Stored],
    wanted: Set[Item],
    generations: Generations,
    on_progress: OnProgress,
) -> dict[Item, list[Packed]]:
    """Every location of these items, and of every commit that has a row, in all packs."""
    found: dict[Item, list[Packed]] = {}
    read = 0
    for part in chunked(listed, repository.stores.limits.packs_at_once):
        for index in await gather_all(_index(repository, one) for one in part):
            for item, at in index.items():
                if item in wanted or is_commit_with_row(item, generations):
                    found.setdefault(item, []).append(at)
        read += len(part)
        on_progress("packs read", read, len(listed))
    return found


async def _index(repository: RepoStores, one: Stored) -> Mapping[Item, Packed]:
    """The entries of a pack; none for a damaged one, which rebuild-index skips as well."""
    try:
        return await repository.objects.read_index(one)
    except Damaged:
        return {}
