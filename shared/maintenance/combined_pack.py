"""Several packs become one: a pure function of their bytes and of the rows that point to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from shared import ids, names, packs
from shared.errors import Damaged
from shared.graph.records import manifest
from shared.maintenance.repack_scan import Generations, Item, is_commit_with_row
from shared.metadata.scans import Pointer
from shared.model import CommitId, Kind, Packed, SnapshotId
from shared.packs import Pack


@dataclass(frozen=True, slots=True)
class CombinedPack:
    """A new pack, and the new location of each pointer into an old one."""

    pack: Pack
    moved: Mapping[Pointer, Packed]


@dataclass(frozen=True, slots=True)
class _Kept:
    """The entries that are copied, those of the oldest pack first.

    `large`: records that no row contains.
    """

    data: dict[Item, bytes] = field(default_factory=dict)
    items: dict[Pointer, Item] = field(default_factory=dict)
    large: set[Item] = field(default_factory=set)


def combine(
    contents: Mapping[str, bytes],
    pointers: Mapping[str, Sequence[Pointer]],
    generations: Generations,
) -> CombinedPack:
    """Combine packs into one that has every entry that a row points to.

    `contents`: the bytes of each pack by name, oldest first. `pointers`: those into each pack.

    Raises Damaged if a pack, an object or a manifest does not match its id, or if a row points to
    an entry that does not exist.
    """
    kept = _Kept()
    for name, data in contents.items():
        _keep(name, data, pointers[name], generations, kept)
    entries = (
        (kind, item_id, kept.data[kind, item_id]) for kind, item_id in _order(kept, generations)
    )
    pack = packs.build(entries)
    moved = {pointer: pack.locations[item] for pointer, item in kept.items.items()}
    return CombinedPack(pack, moved)


def _keep(
    name: str, data: bytes, pointers: Iterable[Pointer], generations: Generations, kept: _Kept
) -> None:
    """Add the used entries of one pack. Raises Damaged."""
    if sha256(data).hexdigest() != name:
        raise Damaged(f"pack {name}")
    index = packs.read_index(name, data)
    # A branch's row has the location of a snapshot without its id.
    snapshots = {at: item_id for (kind, item_id), at in index.items() if kind is Kind.SNAPSHOT}
    # Every record of a commit with a row is copied, also if the row contains it: rebuild-index
    # reads it.
    used = [item for item in index if is_commit_with_row(item, generations)]
    for pointer in pointers:
        item = (pointer.kind, pointer.item_id or snapshots.get(pointer.at, ""))
        if index.get(item) != pointer.at:
            raise Damaged(f"{pointer.kind.name.lower()} {pointer.item_id} in pack {name}")
        used.append(item)
        kept.items[pointer] = item
        if pointer.attribute == "record_at":
            kept.large.add(item)
    for item in used:
        at = index[item]
        kept.data.setdefault(item, data[at.offset : at.offset + at.length])


def _order(kept: _Kept, generations: Generations) -> list[Item]:
    """Manifests, large records, objects, and other records: each by generation.

    Raises Damaged if the bytes of an object or a manifest do not match its id.
    """
    of_kind: dict[Kind, list[Item]] = {kind: [] for kind in Kind}
    for item in kept.data:
        of_kind[item[0]].append(item)
    snapshots = sorted(
        of_kind[Kind.SNAPSHOT],
        key=lambda item: (generations.snapshots.get(SnapshotId(item[1]), 0), item[1]),
    )
    commits = sorted(
        of_kind[Kind.COMMIT],
        key=lambda item: (generations.commits[CommitId(item[1])], item[1]),
    )
    # First the objects of these manifests, in the order of the manifests; then the others, oldest
    # pack first.
    objects: dict[Item, None] = {}
    for item in snapshots:
        entries = manifest(kept.data[item])
        _check(item, ids.snapshot_id(entries))
        objects |= dict.fromkeys((Kind.OBJECT, object_id) for object_id in entries.values())
    objects |= dict.fromkeys(of_kind[Kind.OBJECT])
    stored = [item for item in objects if item in kept.data]
    for item in stored:
        _check(item, ids.object_id(kept.data[item]))
    large = [item for item in commits if item in kept.large]
    in_rows = [item for item in commits if item not in kept.large]
    return [*snapshots, *large, *stored, *in_rows]


def _check(item: Item, digest: str) -> None:
    """Raises Damaged if an id is a digest, and not this one."""
    kind, item_id = item
    if names.is_digest(item_id) and digest != item_id:
        raise Damaged(f"{kind.name.lower()} {item_id}")
