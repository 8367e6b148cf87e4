"""The history in the file of an export: checked entry by entry, and written in batches.

A batch is written as a push writes: bytes, rows of objects, rows of snapshots, rows of commits in
their lanes, the index of commits.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared import codec, names
from shared import pushed_bundle as bundles
from shared.actions.uploads import UploadBatch
from shared.errors import InvalidName, MissingReference, Unprocessable
from shared.graph.records import packed_summary
from shared.maintenance.export import compact_id
from shared.maintenance.export_format import CommitEntry, HistoryEntry, ObjectEntry, SnapshotEntry
from shared.metadata import keys
from shared.metadata.index import Known
from shared.model import CommitAddress, CommitId, Kind, Node, ObjectId, Packed, SnapshotId
from shared.protocol.records import COMMIT_DEFAULTS
from shared.stores import RepoStores

BATCH_BYTES = 8 * 1024 * 1024
"""Contents that are written together, most of them in one pack."""
BATCH_ENTRIES = 1000
LANE_CHARACTERS = 400

Item = tuple[Kind, str]


@dataclass(slots=True)
class Seen:
    """The ids and the addresses of commit rows in the file so far.

    An entry may refer to nothing else.
    """

    ids: dict[Kind, set[bytes | str]] = field(
        default_factory=lambda: {kind: set[bytes | str]() for kind in Kind}
    )
    addresses: set[str] = field(default_factory=set)
    lanes: set[str] = field(default_factory=set)

    def add(self, kind: Kind, item_id: str) -> None:
        """Add an id. Raises Unprocessable for the second entry of an id."""
        compact = compact_id(item_id)
        if compact in self.ids[kind]:
            raise Unprocessable(f"{kind.name.lower()} {item_id} is in the file twice")
        self.ids[kind].add(compact)

    def check(self, kind: Kind, item_id: str) -> None:
        """Raise MissingReference for a digest that has no entry."""
        if names.is_digest(item_id) and compact_id(item_id) not in self.ids[kind]:
            raise MissingReference(kind.name.lower(), [item_id], "it has no entry before this one")

    def check_address(self, address: str) -> None:
        """Raise MissingReference for a commit row that has no entry."""
        if address not in self.addresses:
            raise MissingReference("commit", [address], "it has no entry before this one")


@dataclass(frozen=True, slots=True)
class _Row:
    """A commit row. `record` is packed."""

    address: CommitAddress
    parents: tuple[CommitAddress, ...]
    snapshot_id: SnapshotId | None
    is_indexed: bool
    record: bytes


@dataclass(slots=True)
class Batch:
    """Entries of history that are checked, and not written yet."""

    seen: Seen
    max_object_bytes: int
    objects: dict[ObjectId, bytes] = field(default_factory=dict)
    snapshots: dict[SnapshotId, bytes] = field(default_factory=dict)
    rows: dict[CommitId, _Row] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    size_bytes: int = 0

    def must_be_written_before(self, entry: HistoryEntry) -> bool:
        """Whether the entry does not fit into the batch. A pack has one record of each commit."""
        if (
            isinstance(entry, CommitEntry)
            and untrusted_address(entry.address).commit_id in self.rows
        ):
            return True
        count = len(self.objects) + len(self.snapshots) + len(self.rows)
        return self.size_bytes >= BATCH_BYTES or count >= BATCH_ENTRIES

    def add(self, entry: HistoryEntry) -> None:
        """Check an entry, and add it. Raises the errors of a push for what a push would refuse."""
        match entry:
            case ObjectEntry(object_id=object_id, content=content):
                self._add_object(object_id, content)
            case SnapshotEntry():
                self._add_snapshot(entry)
            case CommitEntry():
                self._add_commit(entry)

    def _add_object(self, object_id: ObjectId, content: bytes) -> None:
        bundles.check_object(object_id, content)
        bundles.check_sizes({object_id: len(content)}, self.max_object_bytes)
        self.seen.add(Kind.OBJECT, object_id)
        self.objects[object_id] = content
        self.size_bytes += len(content)

    def _add_snapshot(self, entry: SnapshotEntry) -> None:
        snapshot = bundles.check_snapshot(untrusted_record(entry.record))
        if snapshot.snapshot_id != entry.snapshot_id:
            raise Unprocessable(f"snapshot {entry.snapshot_id} has the record of another one")
        names.check_paths(snapshot.manifest, self.paths)
        for object_id in snapshot.manifest.values():
            self.seen.check(Kind.OBJECT, object_id)
        self.seen.add(Kind.SNAPSHOT, snapshot.snapshot_id)
        record = codec.pack_record(snapshot.record)
        self.snapshots[snapshot.snapshot_id] = record
        self.size_bytes += len(record)

    def _add_commit(self, entry: CommitEntry) -> None:
        raw = untrusted_record(entry.record)
        commit = bundles.check_commit(raw)
        address = untrusted_address(entry.address)
        parents = tuple(untrusted_address(parent) for parent in entry.parents)
        if address.commit_id != commit.commit_id:
            raise Unprocessable(f"commit {address.commit_id} has the record of another one")
        if tuple(parent.commit_id for parent in parents) != commit.parents:
            raise Unprocessable(f"commit {address.commit_id} has other parents in its record")
        if address.generation != 1 + max((one.generation for one in parents), default=0):
            raise Unprocessable(f"commit {address.commit_id} has a wrong generation")
        for parent in entry.parents:
            self.seen.check_address(parent)
        if commit.snapshot_id:
            self.seen.check(Kind.SNAPSHOT, commit.snapshot_id)
        if entry.is_indexed:
            self.seen.add(Kind.COMMIT, commit.commit_id)
        if entry.address in self.seen.addresses:
            raise Unprocessable(f"the row {entry.address} is in the file twice")
        self.seen.addresses.add(entry.address)
        # The stored order of the keys stays, so that the next export has the same bytes.
        absent = {name: value for name, value in COMMIT_DEFAULTS.items() if name not in raw}
        record = codec.pack_record({**raw, **absent})
        self.rows[commit.commit_id] = _Row(
            address, parents, commit.snapshot_id, entry.is_indexed, record
        )
        self.size_bytes += len(record)

    async def write(self, repository: RepoStores, now: int) -> None:
        """Write what the repository does not have, and empty the batch. `now`: epoch seconds."""
        named = {row.snapshot_id for row in self.rows.values() if row.snapshot_id}
        known = await repository.index.known(
            commits=self.rows, snapshots=named | self.snapshots.keys(), objects=self.objects
        )
        objects = {i: data for i, data in self.objects.items() if i not in known.objects}
        rows = {i: row for i, row in self.rows.items() if known.commits.get(i) != row.address}
        records: list[tuple[Kind, str, bytes]] = [
            (Kind.SNAPSHOT, snapshot_id, record)
            for snapshot_id, record in self.snapshots.items()
            if snapshot_id not in known.snapshots
        ]
        records += [(Kind.COMMIT, commit_id, row.record) for commit_id, row in rows.items()]
        upload = UploadBatch.of(repository.stores.limits, objects, records)
        await upload.put(repository)
        for kind in (Kind.OBJECT, Kind.SNAPSHOT):
            located = {item: at for item, at in upload.locations.items() if item[0] is kind}
            await repository.index.put_locations(located)
        await self._write_commits(repository, rows, known, upload.pack.locations, now)
        self.objects.clear()
        self.snapshots.clear()
        self.rows.clear()
        self.paths.clear()
        self.size_bytes = 0

    async def _write_commits(
        self,
        repository: RepoStores,
        rows: Mapping[CommitId, _Row],
        known: Known,
        stored: Mapping[Item, Packed],
        now: int,
    ) -> None:
        for lane in sorted({row.address.lane for row in rows.values()} - self.seen.lanes):
            await repository.commits.open_lane(lane, now)
            self.seen.lanes.add(lane)
        locations = {(Kind.SNAPSHOT, i): at for i, at in known.snapshots.items()} | dict(stored)
        inline_bytes = repository.stores.limits.inline_record_bytes
        nodes = [_node(row, locations, inline_bytes) for row in rows.values()]
        await repository.commits.put(nodes, now)
        indexed = [row.address for row in rows.values() if row.is_indexed]
        await repository.index.put_addresses(indexed)


def _node(row: _Row, locations: Mapping[Item, Packed], inline_bytes: int) -> Node:
    snapshot_id = row.snapshot_id
    compressed = zlib.compress(row.record)
    is_inline = len(compressed) <= inline_bytes
    record_at = None if is_inline else locations[Kind.COMMIT, row.address.commit_id]
    return Node(
        address=row.address,
        parents=row.parents,
        snapshot_id=snapshot_id,
        snapshot_at=locations.get((Kind.SNAPSHOT, snapshot_id)) if snapshot_id else None,
        record=compressed if is_inline else None,
        record_at=record_at,
        summary=None if is_inline else packed_summary(codec.unpack_record(row.record)),
    )


def untrusted_record(packed: bytes) -> dict[str, Any]:
    """Decode an untrusted record. Raises MalformedBody, TooLarge or Unprocessable."""
    decoder = codec.Decoder(codec.MSGPACK, len(packed))
    decoder.feed(packed)
    record = decoder.end()
    if not isinstance(record, dict):
        raise Unprocessable("a record is not a map")
    return record


def untrusted_address(text: str) -> CommitAddress:
    """Decode the address of a commit row. Raises InvalidName."""
    address = keys.parse_address(text)
    names.check_id(address.commit_id, "commit")
    lane = address.lane
    if len(lane) > LANE_CHARACTERS or not lane.isprintable():
        raise InvalidName(f"lane {names.shown(lane)} has control characters or is too long")
    return address
