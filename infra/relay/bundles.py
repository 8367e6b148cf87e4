"""The msgpack bundle of a fetch reply: read record by record, and written the same way.

A bundle may have 64 MiB, so it stays in its spool: memory holds one record at a time.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgpack

from infra.relay.spool import Spool
from shared import codec, patches
from shared.errors import Unavailable

LISTS = ("commits", "snapshots", "objects")
RECENT_BYTES = 32 * 1024 * 1024
"""The most that is kept of snapshot records."""
BASES = 64
"""The most bases that the hub takes in one request."""


class Records:
    """Packed records, one after the other."""

    def __init__(self) -> None:
        self.count = 0
        self.content = Spool()

    def add(self, packed: bytes) -> None:
        """Append a record."""
        self.content.write(packed)
        self.count += 1

    def add_pieces(self, start: bytes, pieces: Iterator[bytes]) -> None:
        """Append a record that comes in pieces."""
        self.content.write(start)
        for piece in pieces:
            self.content.write(piece)
        self.count += 1

    def append(self, records: "Records") -> None:
        """Append all these records."""
        for piece in records.content.pieces():
            self.content.write(piece)
        self.count += records.count


class Bundle:
    """Commits, snapshots and objects on their way to the client. `size`: their bytes so far."""

    def __init__(self) -> None:
        self.lists = {name: Records() for name in LISTS}

    @property
    def size(self) -> int:
        """The bytes of all records."""
        return sum(records.content.size for records in self.lists.values())

    def packed(self, rest: Mapping[str, Any]) -> Iterator[bytes]:
        """The msgpack map of the bundle, in pieces. `rest` holds its other keys."""
        yield codec.map_start(len(self.lists), rest)
        for name, records in self.lists.items():
            yield codec.list_start(name, records.count)
            yield from records.content.pieces()

    def close(self) -> None:
        """Free the memory or the files."""
        for records in self.lists.values():
            records.content.close()


class Snapshots:
    """The records of snapshots that the relay has passed on recently, by repository."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0

    def remember(self, repository: str, snapshot_id: str, packed: bytes) -> None:
        """Keep a record. The oldest ones are forgotten when there are too many."""
        key = (repository, snapshot_id)
        self._bytes -= len(self._records.pop(key, b""))
        self._records[key] = packed
        self._bytes += len(packed)
        while self._bytes > RECENT_BYTES:
            _, forgotten = self._records.popitem(last=False)
            self._bytes -= len(forgotten)

    def get(self, repository: str, snapshot_id: str) -> bytes | None:
        """A record, if it is kept."""
        return self._records.get((repository, snapshot_id))

    def newest(self, repository: str) -> dict[str, bytes]:
        """The records of a repository that were kept last, by snapshot id."""
        found = [key for key in reversed(self._records) if key[0] == repository][:BASES]
        return {key[1]: self._records[key] for key in found}


class Offer:
    """The records that one fetch offers to the hub as bases of patches, and the snapshots of its
    reply.
    """

    def __init__(self, snapshots: Snapshots, repository: str) -> None:
        self._snapshots = snapshots
        self._repository = repository
        self._held = snapshots.newest(repository)

    @property
    def bases(self) -> dict[str, str]:
        """Snapshot id → SHA-256 of the packed record."""
        return {
            snapshot_id: sha256(record).hexdigest() for snapshot_id, record in self._held.items()
        }

    def take(self, packed: bytes) -> tuple[str, bytes]:
        """The id and the whole record of the next snapshot of the reply. A base may be an earlier
        one.

        The record is kept for later fetches. Raises Unavailable for a patch of an unknown record.
        """
        record = codec.unpack_record(packed)
        snapshot_id = str(record.get("snapshot_id"))
        if "patch" not in record:
            whole = packed
        else:
            whole = self._patched(str(record.get("base")), record["patch"])
        self._snapshots.remember(self._repository, snapshot_id, whole)
        return snapshot_id, whole

    def _patched(self, base_id: str, patch: bytes) -> bytes:
        base = self._snapshots.get(self._repository, base_id) or self._held.get(base_id)
        if base is None:
            raise Unavailable(
                "the hub sent a patch of a snapshot that the relay does not have: try again"
            )
        try:
            return patches.expand(patch, base)
        except ValueError:
            raise Unavailable(
                "the hub sent a snapshot that cannot be expanded: try again"
            ) from None


def read_bundle(content: Spool, take: Mapping[str, Callable[[bytes], None]]) -> dict[str, Any]:
    """Read a msgpack map: each element of the lists in `take` is passed on packed. Returns the
    other keys.

    Raises Unavailable for a malformed reply.
    """
    unpacker = msgpack.Unpacker(SpoolFile(content), raw=False, strict_map_key=False)
    rest: dict[str, Any] = {}
    try:
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key not in take:
                rest[key] = unpacker.unpack()
                continue
            for _ in range(unpacker.read_array_header()):
                start = unpacker.tell()
                unpacker.skip()
                take[key](content.read(start, unpacker.tell() - start))
    except (ValueError, msgpack.OutOfData) as error:
        raise Unavailable("the hub sent a reply that is not a msgpack bundle: try again") from error
    return rest


class SpoolFile:
    """A spool as a file that msgpack reads."""

    def __init__(self, content: Spool) -> None:
        self._content = content
        self._position = 0

    def read(self, length: int) -> bytes:
        """The next bytes."""
        data = self._content.read(self._position, length)
        self._position += len(data)
        return data
