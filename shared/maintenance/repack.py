"""Repack: combines the packs of small pushes into few larger ones, beside pushes and fetches.

    rows                → which small packs are used, and by which rows
    ends of all packs   → which of them may be combined
    a group of packs    → read and verified; one new pack with every entry that a row points to; then the rows change

A pack is combined if it is smaller than `small_pack_bytes`, older than a day, and used by a row; oldest
first, `combined_packs` packs or more at a time, up to `combined_pack_bytes` together. S3 could copy parts of 5 MiB
or more without the hub, but such a pack needs only one read already. docs/design/repack.md has the
invariants. In memory are the places that rows point to, and a few times `combined_pack_bytes`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from operator import attrgetter

from shared import ids, names, packs
from shared.errors import Damaged, Unavailable
from shared.graph.records import manifest
from shared.maintenance.fsck import by_size, read_each
from shared.maintenance.gc import Clock, Step
from shared.maintenance.lease import Lease, repacking
from shared.maintenance.rewrite import repoint
from shared.metadata.scans import Pointer
from shared.metadata.table import chunked
from shared.model import CommitAddress, Kind, Location
from shared.objects.bucket import Stored
from shared.packs import Pack
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores
from shared.tasks import gather_all

TOO_LATE = "a gc has deleted a pack that was to be combined; nothing is lost, run it again"

Item = tuple[Kind, str]


@dataclass(slots=True)
class Repacked:
    """The effect of a repack; with a dry run the effect that it would have: `packs` old packs
    become `into` new ones.

    `left`: the number of packs that stay unchanged, by reason.
    """

    packs: int = 0
    into: int = 0
    bytes: int = 0
    rows: int = 0
    left: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Rows:
    """The rows of a repository, as far as a repack needs them. `old`: the small packs that are
    older than a day."""

    old: set[str]
    lanes: list[str]
    on_progress: OnProgress
    pointers: dict[str, list[Pointer]] = field(default_factory=dict)
    """Pointers into old small packs, by pack."""
    commits: dict[str, int] = field(default_factory=dict)
    """The generation of each commit that has a row in a lane."""
    snapshots: dict[str, int] = field(default_factory=dict)
    """For each snapshot, the lowest generation of a commit that has it."""
    read: int = 0
    """Pointers read so far."""

    def add(self, pointer: Pointer) -> None:
        """Keep a pointer, if it points into an old small pack."""
        if pointer.at.pack in self.old:
            self.pointers.setdefault(pointer.at.pack, []).append(pointer)
        self.read += 1
        if self.read % 1000 == 0:
            self.on_progress("rows read", self.read)

    def add_commit(self, address: CommitAddress, pointers: Iterable[Pointer]) -> None:
        """Note a commit, its snapshot, and the pointers of its row."""
        self.commits[address.commit_id] = address.generation
        for pointer in pointers:
            self.add(pointer)
            if pointer.kind is Kind.SNAPSHOT:
                lowest = self.snapshots.get(pointer.item_id, address.generation)
                self.snapshots[pointer.item_id] = min(lowest, address.generation)


async def repack(
    repository: RepoStores,
    clock: Clock,
    *,
    dry_run: bool = True,
    on_progress: OnProgress = no_progress,
) -> Repacked:
    """Combine small packs. A run after an interrupted one continues its work.

    Raises Damaged before damaged data is copied, and Unavailable beside a rebuild or after another
    job has started.
    """
    report = Repacked()
    rows, groups = await _plan(repository, clock(), report, on_progress)
    report.into = len(groups)
    combined = list(chain.from_iterable(groups))
    report.packs = len(combined)
    report.bytes = sum(one.size for one in combined)
    moving = chain.from_iterable(rows.pointers[one.key] for one in combined)
    report.rows = len({pointer.key for pointer in moving})
    if dry_run:
        return report
    if groups or await _was_interrupted(repository):
        lease = await repacking(repository, clock())
        report.rows = 0
        for number, group in enumerate(groups, 1):
            await _combine(lease, clock, rows, [one.key for one in group], report, on_progress)
            on_progress("new packs", number, len(groups))
        await lease.release(Step.REPACKED, clock())
    return report


async def _was_interrupted(repository: RepoStores) -> bool:
    """Whether an earlier repack did not end its lease, though it may have done all its work."""
    progress = await repository.scans.progress()
    return progress is not None and progress.step == Step.REPACKING


async def _plan(
    repository: RepoStores, now: float, report: Repacked, on_progress: OnProgress
) -> tuple[_Rows, list[list[Stored]]]:
    """Decide which packs are combined with each other. Nothing is written."""
    limits = repository.stores.limits
    listed = await repository.objects.packs()
    small = [one for one in listed if one.size < limits.small_pack_bytes]
    old = [one for one in small if one.modified < now - limits.small_pack_seconds]
    rows = await _rows(repository, {one.key for one in old}, on_progress)
    used = [one for one in old if one.key in rows.pointers]
    # A lane `<branch>~<pack>` is named by its pack: rebuild-index needs that pack unchanged.
    held = {lane.rpartition("~")[2] for lane in rows.lanes}
    if len(used) >= limits.combined_packs:
        held |= await _ambiguous(repository, listed, {one.key for one in used}, rows, on_progress)
    free = [one for one in used if one.key not in held]
    by_time = by_size(free, limits.combined_pack_bytes, attrgetter("size"))
    groups = [group for group in by_time if len(group) >= limits.combined_packs]
    report.left = {
        "large": len(listed) - len(small),
        "young": len(small) - len(old),
        "unnamed": len(old) - len(used),
        "ambiguous": len(used) - len(free),
        "few": len(free) - sum(map(len, groups)),
    }
    return rows, groups


async def _rows(repository: RepoStores, old: set[str], on_progress: OnProgress) -> _Rows:
    """Read every row, and keep the pointers into these packs."""
    rows = _Rows(old, await repository.scans.lanes(), on_progress)
    for kind in (Kind.OBJECT, Kind.SNAPSHOT):
        async for pointer in repository.scans.pointers(kind):
            rows.add(pointer)
    for lane in rows.lanes:
        async for address, pointers in repository.scans.pointers_of_lane(lane):
            rows.add_commit(address, pointers)
    async for pointer in repository.scans.pointers_of_refs():
        rows.add(pointer)
    return rows


async def _ambiguous(
    repository: RepoStores,
    listed: Sequence[Stored],
    used: set[str],
    rows: _Rows,
    on_progress: OnProgress,
) -> set[str]:
    """The used packs with an item that has other bytes in another pack, under the same id."""
    stored = await _locations(repository, listed, _undigested(used, rows), rows, on_progress)
    doubtful = [at for at in stored.values() if len(at) > 1 and any(one.pack in used for one in at)]
    digests: dict[Location, bytes] = {}
    async for location, data in read_each(repository, set(chain.from_iterable(doubtful))):
        digests[location] = b"" if data is None else sha256(data).digest()
    ambiguous: set[str] = set()
    for locations in doubtful:
        if len({digests[at] for at in locations}) > 1:
            ambiguous.update(at.pack for at in locations if at.pack in used)
    return ambiguous


def _undigested(used: set[str], rows: _Rows) -> set[Item]:
    """The items of these packs whose bytes do not follow from their id: snapshot records, and
    opaque ids."""
    pointers = chain.from_iterable(rows.pointers[pack] for pack in used)
    return {
        (pointer.kind, pointer.item_id)
        for pointer in pointers
        if pointer.kind is Kind.SNAPSHOT or not names.is_digest(pointer.item_id)
    }


async def _locations(
    repository: RepoStores,
    listed: Sequence[Stored],
    wanted: set[Item],
    rows: _Rows,
    on_progress: OnProgress,
) -> dict[Item, list[Location]]:
    """Every location of these items, and of every commit that has a row, in all packs."""
    found: dict[Item, list[Location]] = {}
    at_once = repository.stores.limits.packs_at_once
    for number, part in enumerate(chunked(listed, at_once)):
        for index in await gather_all(_index(repository, one) for one in part):
            for item, at in index.items():
                kind, item_id = item
                if item in wanted or (kind is Kind.COMMIT and item_id in rows.commits):
                    found.setdefault(item, []).append(at)
        on_progress("packs read", number * at_once + len(part), len(listed))
    return found


async def _index(repository: RepoStores, one: Stored) -> Mapping[Item, Location]:
    """The entries of a pack; none for a damaged one, which rebuild-index skips as well."""
    try:
        return await repository.objects.read_index(one)
    except Damaged:
        return {}


async def _combine(
    lease: Lease,
    clock: Clock,
    rows: _Rows,
    group: Sequence[str],
    report: Repacked,
    on_progress: OnProgress,
) -> None:
    """Write one new pack, and then change the rows that point to its entries."""
    repository = lease.repository
    try:
        pack, moved = await _combined(repository, rows, group)
    except Damaged:
        await lease.check()
        # A gc may have run between the plan and the lease: a pack that it deleted is no damage.
        if not set(group) <= {one.key for one in await repository.objects.packs()}:
            raise Unavailable(TOO_LATE) from None
        raise
    await lease.check()
    # Written even if the same pack exists: gc may be about to delete the existing version.
    await repository.objects.put_pack(pack)
    changes = [(pointer, pack.locations[item]) for pointer, item in moved]
    async for written in repoint(lease, changes, clock):
        report.rows += written
        on_progress("rows", report.rows)


async def _combined(
    repository: RepoStores, rows: _Rows, group: Sequence[str]
) -> tuple[Pack, list[tuple[Pointer, Item]]]:
    """The used entries of these packs as one pack, and the item of each pointer. Raises Damaged."""
    contents: list[bytes] = []
    for part in chunked(group, repository.stores.limits.packs_at_once):
        contents += await gather_all(repository.objects.read_pack(name) for name in part)
    kept: dict[Item, bytes] = {}
    moved: list[tuple[Pointer, Item]] = []
    for name, data in zip(group, contents, strict=True):
        if sha256(data).hexdigest() != name:
            raise Damaged(f"pack {name}")
        index = packs.read_index(name, data)
        # A branch's row has the location of a snapshot without its id.
        snapshots = {at: item_id for (kind, item_id), at in index.items() if kind is Kind.SNAPSHOT}
        # Every record of a commit with a row is copied, also if the row contains it: rebuild-index
        # reads it.
        used = {
            item: at
            for item, at in index.items()
            if item[0] is Kind.COMMIT and item[1] in rows.commits
        }
        for pointer in rows.pointers[name]:
            item = (pointer.kind, pointer.item_id or snapshots.get(pointer.at, ""))
            if index.get(item) != pointer.at:
                raise Damaged(f"{pointer.kind.name.lower()} {pointer.item_id} in pack {name}")
            used[item] = pointer.at
            moved.append((pointer, item))
        for item, at in used.items():
            kept.setdefault(item, data[at.offset : at.offset + at.length])
    large = {item for pointer, item in moved if pointer.attribute == "record_at"}
    order = _in_order(kept, rows, large)
    return packs.build((kind, item_id, kept[kind, item_id]) for kind, item_id in order), moved


def _in_order(kept: Mapping[Item, bytes], rows: _Rows, large: set[Item]) -> Iterable[Item]:
    """Manifests, `large` records (which no row contains), objects, and other records: each by
    generation.

    Raises Damaged if the bytes of an object or a manifest do not match its id.
    """
    by_kind: dict[Kind, list[Item]] = {kind: [] for kind in Kind}
    for item in kept:
        by_kind[item[0]].append(item)
    snapshots = sorted(
        by_kind[Kind.SNAPSHOT], key=lambda item: (rows.snapshots.get(item[1], 0), item[1])
    )
    commits = sorted(by_kind[Kind.COMMIT], key=lambda item: (rows.commits[item[1]], item[1]))
    objects: dict[Item, None] = {}
    for item in snapshots:
        entries = manifest(kept[item])
        _check(item, ids.snapshot_id(entries))
        objects |= dict.fromkeys((Kind.OBJECT, object_id) for object_id in entries.values())
    # First the objects of these manifests, in the order of the manifests; then the others, oldest
    # pack first.
    objects |= dict.fromkeys(by_kind[Kind.OBJECT])
    found = [item for item in objects if item in kept]
    for item in found:
        _check(item, ids.object_id(kept[item]))
    only_here = [item for item in commits if item in large]
    in_rows = [item for item in commits if item not in large]
    return [*snapshots, *only_here, *found, *in_rows]


def _check(item: Item, digest: str) -> None:
    kind, item_id = item
    if names.is_digest(item_id) and digest != item_id:
        raise Damaged(f"{kind.name.lower()} {item_id}")
