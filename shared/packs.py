"""Packs: one self-describing S3 object with many small entries.

    offset        bytes      content
    0             8          MAGIC
    8             …          the entries, without separators
    …             n          the index: msgpack list of [kind, id, offset, length]
    end - 16      8          n, big-endian
    end - 8       8          MAGIC again: a truncated pack does not end with it

An entry is the content of an object, or the msgpack record of a snapshot or a commit. The name of a
pack is the SHA-256 of its bytes, so a repeated write changes nothing. All rows that point into a
pack can be rebuilt from the pack alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias, TypeVar

import msgpack

from shared.errors import Damaged
from shared.model import Kind, Loose, ObjectId, Packed

B = TypeVar("B", bytes, memoryview)

MAGIC = b"PIERIA\x00\x01"
TAIL_BYTES = 16

GAP_BYTES = 64 * 1024
"""Read up to this many unneeded bytes rather than start another request.

At 100 MB/s they take less than 1 ms; a request to S3 takes about 20 ms.
"""
RANGE_BYTES = 8 * 1024 * 1024
"""The most bytes of one request. Larger spans are read by parallel requests."""
WINDOW_BYTES = 16 * 1024 * 1024
"""The bytes that a reply reads at the same time. It holds two windows: the one being sent and the
next."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that can be stored, and the location of each entry in it."""

    name: str
    data: bytes
    locations: Mapping[tuple[Kind, str], Packed]


@dataclass(frozen=True, slots=True)
class PackSpan:
    """One range to read: bytes `start` to `stop` of a pack. It contains the entries `locations`."""

    pack: str
    start: int
    stop: int
    locations: tuple[Packed, ...] = ()

    @property
    def size(self) -> int:
        """The number of bytes to read."""
        return self.stop - self.start

    def cut(self, data: B) -> Iterator[tuple[Packed, B]]:
        """Yield the entries in the bytes that were read: copies, or views of a memoryview.

        Raises Damaged if bytes are missing.
        """
        if len(data) != self.size:
            raise Damaged(f"a part of pack {self.pack}")
        for location in self.locations:
            begin = location.offset - self.start
            yield location, data[begin : begin + location.length]


@dataclass(frozen=True, slots=True)
class LooseSpan:
    """One range to read: bytes `start` to `stop` of a loose object."""

    object_id: ObjectId
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of bytes to read."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class PrebuiltSpan:
    """One range to read: bytes `start` to `stop` of a prebuilt clone."""

    name: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of bytes to read."""
        return self.stop - self.start


Span: TypeAlias = PackSpan | LooseSpan | PrebuiltSpan
S = TypeVar("S", bound=Span)


def build(entries: Iterable[tuple[Kind, str, bytes]]) -> Pack:
    """Build a pack of these entries, in this order. Ids must be distinct within a kind."""
    pieces = [MAGIC]
    index = []
    offset = len(MAGIC)
    for kind, entry_id, data in entries:
        pieces.append(data)
        index.append((kind.value, entry_id, offset, len(data)))
        offset += len(data)
    packed_index: bytes = msgpack.packb(index)
    pieces += [packed_index, len(packed_index).to_bytes(8, "big"), MAGIC]
    data = b"".join(pieces)
    name = sha256(data).hexdigest()
    locations = {
        (Kind(kind), entry_id): Packed(name, start, length)
        for kind, entry_id, start, length in index
    }
    return Pack(name, data, locations)


def index_size(end: bytes) -> int:
    """The size of the index and the tail, from the last 16 bytes of a pack. It is not verified."""
    return int.from_bytes(end[-TAIL_BYTES:-8], "big") + TAIL_BYTES


def read_index(name: str, data: bytes, length: int | None = None) -> dict[tuple[Kind, str], Packed]:
    """Read the locations of the entries from a whole pack, or from the end of a pack.

    The end of a pack of `length` bytes must contain the whole index. Raises Damaged.
    """
    try:
        whole = len(data) if length is None else length
        size = index_size(data) - TAIL_BYTES
        if data[-8:] != MAGIC or min(len(data), whole - len(MAGIC)) < size + TAIL_BYTES:
            raise ValueError
        if len(data) == whole and data[:8] != MAGIC:
            raise ValueError
        index = msgpack.unpackb(data[-TAIL_BYTES - size : -TAIL_BYTES], raw=False)
        end = whole - TAIL_BYTES - size
        found = {
            (Kind(kind), entry_id): Packed(name, offset, n) for kind, entry_id, offset, n in index
        }
        if any(
            not len(MAGIC) <= at.offset <= at.offset + at.length <= end for at in found.values()
        ):
            raise ValueError
        return found
    except (ValueError, TypeError) as error:
        raise Damaged(f"the index of pack {name}") from error


def plan(locations: Iterable[Packed]) -> list[PackSpan]:
    """Plan the reads for these packed entries: one range for entries that are close to each
    other.
    """
    spans: list[PackSpan] = []
    group: list[Packed] = []
    stop = 0
    for at in sorted(set(locations)):
        fits = group and at.pack == group[0].pack and at.offset <= stop + GAP_BYTES
        if not fits or max(stop, at.offset + at.length) - group[0].offset > RANGE_BYTES:
            if group:
                spans.append(PackSpan(group[0].pack, group[0].offset, stop, tuple(group)))
            group = []
            stop = 0
        group.append(at)
        stop = max(stop, at.offset + at.length)
    if group:
        spans.append(PackSpan(group[0].pack, group[0].offset, stop, tuple(group)))
    return spans


def plan_loose(object_id: ObjectId, at: Loose) -> list[LooseSpan]:
    """Plan the reads for a loose object, from its first byte to its last."""
    starts = range(0, at.length, RANGE_BYTES)
    return [LooseSpan(object_id, start, min(start + RANGE_BYTES, at.length)) for start in starts]


def plan_prebuilt(name: str, size: int, range_size: int) -> list[PrebuiltSpan]:
    """Plan the reads for the first `size` bytes of a bundle, one for each range with a digest."""
    starts = range(0, size, range_size)
    return [PrebuiltSpan(name, start, min(start + range_size, size)) for start in starts]


def windows(spans: Iterable[S], window_bytes: int | None = None) -> Iterator[list[S]]:
    """Group spans, in order, into windows of at most `window_bytes` (default: WINDOW_BYTES).

    The spans of a window are read in parallel. Each counts as at least `GAP_BYTES` bytes, so that a
    window never consists of many requests.
    """
    if window_bytes is None:
        most = WINDOW_BYTES
    else:
        most = window_bytes
    group: list[S] = []
    room = most
    for span in spans:
        size = max(span.size, GAP_BYTES)
        if group and size > room:
            yield group
            group = []
            room = most
        group.append(span)
        room -= size
    if group:
        yield group
