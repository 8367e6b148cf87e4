"""Repack: combines the packs of small pushes into few larger ones, beside pushes and fetches.

    rows                → which small packs are used, and by which rows
    ends of all packs   → which of them may be combined
    a group of packs    → read and verified; one new pack with every entry that a row points to; then the rows change

A pack is combined if it is smaller than `SMALL_BYTES`, older than a day, and used by a row; oldest first, `FEWEST`
packs or more at a time, up to `GROUP_BYTES` together. S3 could copy parts of 5 MiB or more without the hub, but such
a pack needs only one read already. docs/design/repack.md has the invariants. In memory are the places that rows
point to, and a few times `GROUP_BYTES`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from operator import attrgetter

from shared import ids, names, packs
from shared.actions.fsck import by_size, read_each
from shared.actions.gc import AT_ONCE, OVERTAKEN, YOUNG_SECONDS, Clock, Step
from shared.actions.records import manifest
from shared.actions.turn import Turn, repacking
from shared.errors import Damaged, Unavailable
from shared.metadata import keys
from shared.metadata.census import TOGETHER, Pointer, Progress
from shared.metadata.table import split
from shared.model import Kind, Location, Repo
from shared.objects.bucket import Stored
from shared.packs import Pack
from shared.progress import Tell, silent
from shared.stores import Stores
from shared.tasks import all_of

SMALL_BYTES = 5 * 1024 * 1024
GROUP_BYTES = 16 * 1024 * 1024
"""As much as an answer's window (`packs.WINDOW`): what is larger is read in several requests anyway."""
TOO_LATE = "a gc has removed some of what was to be folded; nothing is lost, run it again"
FEWEST = 8
"""Fewer packs are not worth writing all their rows anew: so what was folded is folded again only with seven others."""

Item = tuple[Kind, str]


@dataclass(slots=True)
class Repacked:
    """What was folded, or with a dry run would be: so many packs `into` so many new ones. `left`: packs that stay
    as they are, by reason."""

    packs: int = 0
    into: int = 0
    bytes: int = 0
    rows: int = 0
    left: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Rows:
    """What the rows of a repository say."""

    pointers: dict[str, list[Pointer]] = field(default_factory=dict)
    """Into packs that may be folded, by pack."""
    commits: dict[str, int] = field(default_factory=dict)
    """Every commit that has a row in a lane, and its generation."""
    snapshots: dict[str, int] = field(default_factory=dict)
    """The least generation of a commit that stands on each."""
    lanes: list[str] = field(default_factory=list)


async def repack(stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = silent) -> Repacked:
    """Fold what can be folded. Repeating it is harmless, and goes on where it was cut short.

    Raises Damaged rather than carry damage on, and Unavailable beside a rebuild or if somebody else has begun since.
    """
    report, repo_id = Repacked(), repo.repo_id
    rows, groups = await _plan(stores, repo, clock(), report, tell)
    report.into = len(groups)
    report.packs = sum(map(len, groups))
    report.bytes = sum(one.size for group in groups for one in group)
    report.rows = len({p.key for group in groups for one in group for p in rows.pointers[one.key]})
    if dry_run:
        return report
    if groups or await _was_cut_short(stores, repo_id):
        turn = await repacking(stores, repo_id, clock())
        report.rows = 0
        for number, group in enumerate(groups, 1):
            await _fold(turn, clock, rows, [one.key for one in group], report, tell)
            tell("new packs", number, len(groups))
        await turn.end(Step.REPACKED, clock())
    return report


async def _was_cut_short(stores: Stores, repo_id: str) -> bool:
    """Whether an earlier one has not ended, though nothing was left for it to do."""
    progress = await stores.census.progress(repo_id)
    return progress is not None and progress.step == Step.REPACKING


async def _plan(
    stores: Stores, repo: Repo, now: float, report: Repacked, tell: Tell
) -> tuple[_Rows, list[list[Stored]]]:
    """Which packs are folded together, and what names them. Nothing is written."""
    listed = await stores.objects.packs(repo.repo_id)
    small = [one for one in listed if one.size < SMALL_BYTES]
    old = [one for one in small if one.modified < now - YOUNG_SECONDS]
    rows = await _rows(stores, repo.repo_id, {one.key for one in old}, tell)
    named = [one for one in old if one.key in rows.pointers]
    held = {lane.rpartition("~")[2] for lane in rows.lanes}
    if len(named) >= FEWEST:
        held |= await _ambiguous(stores, repo, listed, {one.key for one in named}, rows, tell)
    free = [one for one in named if one.key not in held]
    groups = [group for group in by_size(free, GROUP_BYTES, attrgetter("size")) if len(group) >= FEWEST]
    report.left = {
        "large": len(listed) - len(small),
        "young": len(small) - len(old),
        "unnamed": len(old) - len(named),
        "ambiguous": len(named) - len(free),
        "few": len(free) - sum(map(len, groups)),
    }
    return rows, groups


async def _rows(stores: Stores, repo_id: str, old: set[str], tell: Tell) -> _Rows:
    """Every row is read; those that name an old small pack are remembered."""
    rows = _Rows(lanes=await stores.census.lanes(repo_id))
    found = 0

    def note(pointer: Pointer) -> None:
        nonlocal found
        if pointer.at.pack in old:
            rows.pointers.setdefault(pointer.at.pack, []).append(pointer)
        found += 1
        if found % 1000 == 0:
            tell("rows read", found)

    for kind in (Kind.OBJECT, Kind.SNAPSHOT):
        async for pointer in stores.census.pointers(repo_id, kind):
            note(pointer)
    for lane in rows.lanes:
        async for place, pointers in stores.census.pointers_of_lane(repo_id, lane):
            rows.commits[place.commit_id] = place.generation
            for pointer in pointers:
                note(pointer)
                if pointer.kind is Kind.SNAPSHOT:
                    known = rows.snapshots.get(pointer.item_id, place.generation)
                    rows.snapshots[pointer.item_id] = min(known, place.generation)
    async for pointer in stores.census.pointers_of_refs(repo_id):
        note(pointer)
    return rows


async def _ambiguous(
    stores: Stores, repo: Repo, listed: Sequence[Stored], named: set[str], rows: _Rows, tell: Tell
) -> set[str]:
    """Packs with something that lies in another pack, under the same id, with other bytes."""
    wanted = {
        (pointer.kind, pointer.item_id)
        for pack in named
        for pointer in rows.pointers[pack]
        if pointer.kind is Kind.SNAPSHOT or not names.is_digest(pointer.item_id)
    }
    lying: dict[Item, list[Location]] = {}
    for number, part in enumerate(split(listed, AT_ONCE)):
        for index in await all_of(_index(stores, repo.repo_id, one) for one in part):
            for item, at in index.items():
                if item in wanted or (item[0] is Kind.COMMIT and item[1] in rows.commits):
                    lying.setdefault(item, []).append(at)
        tell("packs read", number * AT_ONCE + len(part), len(listed))
    doubtful = {item: at for item, at in lying.items() if len(at) > 1 and any(one.pack in named for one in at)}
    everywhere = {one for at in doubtful.values() for one in at}
    digests = {
        at: sha256(data).digest() if data is not None else b"" async for at, data in read_each(stores, repo, everywhere)
    }
    return {
        one.pack for at in doubtful.values() if len({digests[one] for one in at}) > 1 for one in at if one.pack in named
    }


async def _index(stores: Stores, repo_id: str, one: Stored) -> Mapping[Item, Location]:
    """Where the entries of a pack lie; nothing for one that is damaged: rebuild-index leaves it out as well."""
    try:
        return await stores.objects.read_index(repo_id, one)
    except Damaged:
        return {}


async def _fold(turn: Turn, clock: Clock, rows: _Rows, group: Sequence[str], report: Repacked, tell: Tell) -> None:
    """One new pack, and then the rows of what lies in it."""
    stores, repo_id = turn.stores, turn.repo_id
    try:
        pack, moved = await _folded(stores, repo_id, rows, group)
    except Damaged:
        await turn.keep()
        # A gc may have come between the plan and the turn: what no row named any more is gone, and no damage.
        if not set(group) <= {one.key for one in await stores.objects.packs(repo_id)}:
            raise Unavailable(TOO_LATE) from None
        raise
    await turn.keep()
    # Always written, never "there already": what lies there may be on its way out.
    await stores.objects.put_pack(repo_id, pack)
    by_row: dict[keys.Key, list[tuple[Pointer, Location]]] = {}
    of_refs: list[tuple[Pointer, Location]] = []
    for pointer, item in moved:
        there = (pointer, pack.locations[item])
        of_refs.append(there) if not pointer.item_id else by_row.setdefault(pointer.key, []).append(there)
    for part in split(list(by_row.values()), TOGETHER):
        now = Progress(turn.stamp, turn.step, int(clock()))
        written = await stores.census.repoint(repo_id, now, (there for row in part for there in row))
        if written is None:
            raise Unavailable(OVERTAKEN)
        report.rows += written
        tell("rows", report.rows)
    for pointer, at in of_refs:
        await turn.keep()
        report.rows += await stores.census.repoint_ref(pointer, at)


async def _folded(
    stores: Stores, repo_id: str, rows: _Rows, group: Sequence[str]
) -> tuple[Pack, list[tuple[Pointer, Item]]]:
    """What rows name of these packs as one pack, and what each row is about. Raises Damaged."""
    contents: list[bytes] = []
    for part in split(group, AT_ONCE):
        contents += await all_of(stores.objects.read_pack(repo_id, name) for name in part)
    kept: dict[Item, bytes] = {}
    moved: list[tuple[Pointer, Item]] = []
    for name, data in zip(group, contents, strict=True):
        if sha256(data).hexdigest() != name:
            raise Damaged(f"pack {name}")
        index = packs.read_index(name, data)
        snapshots = {at: item_id for (kind, item_id), at in index.items() if kind is Kind.SNAPSHOT}
        named = {item: at for item, at in index.items() if item[0] is Kind.COMMIT and item[1] in rows.commits}
        for pointer in rows.pointers[name]:
            item = pointer.kind, pointer.item_id or snapshots.get(pointer.at, "")
            if index.get(item) != pointer.at:
                raise Damaged(f"{pointer.kind.name.lower()} {pointer.item_id} in pack {name}")
            named[item] = pointer.at
            moved.append((pointer, item))
        for item, at in named.items():
            kept.setdefault(item, data[at.offset : at.offset + at.length])
    large = {item for pointer, item in moved if pointer.attribute == "record_at"}
    order = _in_order(kept, rows, large)
    return packs.build((kind, item_id, kept[kind, item_id]) for kind, item_id in order), moved


def _in_order(kept: Mapping[Item, bytes], rows: _Rows, large: set[Item]) -> Iterable[Item]:
    """Manifests, records that lie nowhere else, objects, records that lie in rows: each by generation.

    Raises Damaged for an object or a manifest that is not what its id says.
    """
    by_kind: dict[Kind, list[Item]] = {kind: [] for kind in Kind}
    for item in kept:
        by_kind[item[0]].append(item)
    snapshots = sorted(by_kind[Kind.SNAPSHOT], key=lambda item: (rows.snapshots.get(item[1], 0), item[1]))
    commits = sorted(by_kind[Kind.COMMIT], key=lambda item: (rows.commits[item[1]], item[1]))
    objects: dict[Item, None] = {}
    for item in snapshots:
        entries = manifest(kept[item])
        _check(item, ids.snapshot_id(entries))
        objects |= dict.fromkeys((Kind.OBJECT, object_id) for object_id in entries.values())
    # First those of manifests that lie here as well, in the order in which they came; then others, oldest pack first.
    objects |= dict.fromkeys(by_kind[Kind.OBJECT])
    found = [item for item in objects if item in kept]
    for item in found:
        _check(item, ids.object_id(kept[item]))
    return [*snapshots, *(c for c in commits if c in large), *found, *(c for c in commits if c not in large)]


def _check(item: Item, digest: str) -> None:
    kind, item_id = item
    if names.is_digest(item_id) and digest != item_id:
        raise Damaged(f"{kind.name.lower()} {item_id}")
