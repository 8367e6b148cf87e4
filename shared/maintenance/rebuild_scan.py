"""The reads of rebuild-index, before it is planned: packs, loose objects, and the remaining rows.

In memory are ids, locations, the object ids of manifests, and one pack. Nothing is written here.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from shared import codec, names, packs
from shared.errors import Damaged
from shared.model import (
    CommitAddress,
    CommitId,
    Kind,
    Location,
    Loose,
    ObjectId,
    Packed,
    Ref,
    SnapshotId,
)
from shared.progress import OnProgress
from shared.stores import RepoStores


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a commit in one pack."""

    at: Packed
    parents: tuple[CommitId, ...]
    snapshot_id: SnapshotId | None


@dataclass(frozen=True, slots=True)
class BucketScan:
    """The readable contents of the bucket.

    Of two entries with one id the first counts, except for commits. `whole`: the snapshots whose
    objects are all stored; an opaque id may have no object. `damaged`: packs that cannot be read.
    """

    objects: dict[ObjectId, Location] = field(default_factory=dict)
    snapshots: dict[SnapshotId, Packed] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    commits: dict[CommitId, list[Record]] = field(default_factory=dict)
    packs: set[str] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RebuildScan:
    """The input of the plan of a rebuild.

    `addresses`: where readers look for commits, the addresses of the index first; an address may
    have a wrong generation. `damaged_lanes`: lanes with a row that cannot be read. `branches` are
    read last.
    """

    bucket: BucketScan
    addresses: Sequence[CommitAddress]
    damaged_lanes: Sequence[str]
    branches: Mapping[str, Ref]


async def scan_for_rebuild(repository: RepoStores, on_progress: OnProgress) -> RebuildScan:
    """Read the bucket, and then the remaining rows of commits, branches and moves.

    AWS calls: a LIST for each 1,000 packs and loose objects, a GET for each pack, and a Query for
    each page of the branches (twice), the moves, the index of commits, the list of lanes, and each
    lane.
    """
    bucket = await _scan_bucket(repository, on_progress)
    refs = await repository.refs.all()
    moves = await repository.refs.moves()
    index = repository.scans.index(Kind.COMMIT)
    addresses = [entry.address async for entry in index if entry.address]
    addresses += [ref.head for ref in refs.values()]
    for move in reversed(moves):
        addresses += [address for address in (move.after, move.before) if address]
    damaged_lanes = await _scan_lanes(repository, bucket.packs, addresses)
    return RebuildScan(bucket, addresses, damaged_lanes, await repository.refs.all())


async def _scan_bucket(repository: RepoStores, on_progress: OnProgress) -> BucketScan:
    """Read every pack and list the loose objects. One pack is in memory at a time."""
    bucket = BucketScan()
    for stored in await repository.objects.loose():
        bucket.objects[ObjectId(stored.key)] = Loose(stored.size)
    listed = await repository.objects.packs()
    manifests: dict[SnapshotId, frozenset[ObjectId]] = {}
    size_bytes = 0
    for number, stored in enumerate(listed, 1):
        size_bytes += stored.size
        try:
            data = await _read_pack(repository, stored.key)
            entries = packs.read_index(stored.key, data)
        except Damaged:
            bucket.damaged.append(stored.key)
            continue
        bucket.packs.add(stored.key)
        _add_entries(data, entries, bucket, manifests)
        on_progress("packs", number, len(listed), size_bytes)
    bucket.whole.update(
        snapshot_id
        for snapshot_id, object_ids in manifests.items()
        if object_ids <= bucket.objects.keys()
    )
    return bucket


async def _read_pack(repository: RepoStores, name: str) -> bytes:
    """The bytes of a pack. Raises Damaged if they do not match its name."""
    data = await repository.objects.read_pack(name)
    if sha256(data).hexdigest() != name:
        raise Damaged(f"pack {name}")
    return data


def _add_entries(
    data: bytes,
    entries: Mapping[tuple[Kind, str], Packed],
    bucket: BucketScan,
    manifests: dict[SnapshotId, frozenset[ObjectId]],
) -> None:
    """Add the entries of a pack. `manifests`: the objects of each snapshot, by digest."""
    for (kind, item_id), at in entries.items():
        if kind is Kind.OBJECT:
            bucket.objects.setdefault(ObjectId(item_id), at)
            continue
        record = codec.unpack_record(data[at.offset : at.offset + at.length])
        if kind is Kind.COMMIT:
            bucket.commits.setdefault(CommitId(item_id), []).append(_record(at, record))
        elif item_id not in bucket.snapshots:
            snapshot_id = SnapshotId(item_id)
            bucket.snapshots[snapshot_id] = at
            manifests[snapshot_id] = _digests(record["manifest"].values())


def _record(at: Packed, record: Mapping[str, Any]) -> Record:
    parents = (record.get("parent_commit_id"), record.get("parent2_commit_id"))
    return Record(
        at,
        tuple(CommitId(str(parent)) for parent in parents if parent),
        record.get("snapshot_id") or None,
    )


def _digests(object_ids: Iterable[ObjectId]) -> frozenset[ObjectId]:
    return frozenset(object_id for object_id in object_ids if names.is_digest(object_id))


async def _scan_lanes(
    repository: RepoStores, present: Set[str], addresses: list[CommitAddress]
) -> list[str]:
    """Add the addresses in the rows of all lanes. Returns the lanes with a row that cannot be read.

    Lanes are found by addresses in them as well, since the list of lanes may be lost. `present`:
    the packs that exist. A row that points to another pack is skipped: a crashed push may have left
    it.
    """
    waiting = sorted({address.lane for address in addresses}.union(await repository.scans.lanes()))
    lanes = set(waiting)
    damaged: list[str] = []
    while waiting:
        lane = waiting.pop()
        async for node in repository.scans.readable(lane):
            if node is None:
                damaged.append(lane)
                continue
            if {at.pack for at in (node.snapshot_at, node.record_at) if at} <= present:
                addresses += [node.address, *node.parents]
            fresh = {parent.lane for parent in node.parents} - lanes
            lanes |= fresh
            waiting += sorted(fresh)
    return list(dict.fromkeys(damaged))
