"""Many small things as one S3 object that describes itself.

    offset        bytes      what
    0             8          MAGIC
    8             …          the entries, one after the other, as they are
    …             n          the index: msgpack list of [kind, id, offset, length]
    end - 16      8          n, big-endian
    end - 8       8          MAGIC again: a pack cut short does not end with it

An entry is an object's bytes, or the msgpack of a snapshot's or commit's record. A pack is named by the
SHA-256 of its bytes, so writing it twice is writing it once, and every row that points into it can be
rebuilt from it alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import msgpack

from shared.errors import Damaged
from shared.model import Kind, Location

B = TypeVar("B", bytes, memoryview)

MAGIC = b"PIERIA\x00\x01"
TAIL = 16

GAP = 64 * 1024
"""Bytes worth reading for nothing to save a request: at 100 MB/s they take less than 1 ms of S3's 20."""
RANGE = 8 * 1024 * 1024
"""The most bytes asked for at once: larger spans are read in parallel."""
WINDOW = 16 * 1024 * 1024
"""How many bytes are read at once for an answer: it holds two windows, the one being sent and the next."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack ready to be stored, and where in it each entry lies."""

    name: str
    data: bytes
    locations: Mapping[tuple[Kind, str], Location]


@dataclass(frozen=True, slots=True)
class Span:
    """One range to read: bytes `start` to `stop` of one pack, holding these entries, or else of a `loose` object, or
    of a `bundle`."""

    pack: str
    start: int
    stop: int
    locations: tuple[Location, ...] = ()
    loose: str = ""
    bundle: str = ""

    @property
    def size(self) -> int:
        """How many bytes are read."""
        return self.stop - self.start

    def cut(self, data: B) -> Iterator[tuple[Location, B]]:
        """The entries in the bytes that were read: copies, or views of a view. Raises Damaged if there are too few."""
        if len(data) != self.size:
            raise Damaged(f"a part of pack {self.pack}")
        for location in self.locations:
            begin = location.offset - self.start
            yield location, data[begin : begin + location.length]


def build(entries: Iterable[tuple[Kind, str, bytes]]) -> Pack:
    """A pack of these entries, in this order. Ids must be distinct within a kind."""
    pieces, index, offset = [MAGIC], [], len(MAGIC)
    for kind, entry_id, data in entries:
        pieces.append(data)
        index.append((kind.value, entry_id, offset, len(data)))
        offset += len(data)
    packed_index: bytes = msgpack.packb(index)
    pieces += [packed_index, len(packed_index).to_bytes(8, "big"), MAGIC]
    data = b"".join(pieces)
    name = sha256(data).hexdigest()
    return Pack(name, data, {(Kind(k), i): Location(name, o, n) for k, i, o, n in index})


def index_size(end: bytes) -> int:
    """How many of a pack's last bytes make up its index, by the last 16 of them; only `read_index` checks."""
    return int.from_bytes(end[-TAIL:-8], "big") + TAIL


def read_index(name: str, data: bytes, length: int | None = None) -> dict[tuple[Kind, str], Location]:
    """Where each entry of a pack lies. Raises Damaged for anything but a whole pack, or, with the `length` of the
    whole, the end of one that has all of its index."""
    try:
        whole, size = len(data) if length is None else length, index_size(data) - TAIL
        if data[-8:] != MAGIC or min(len(data), whole - len(MAGIC)) < size + TAIL:
            raise ValueError
        if len(data) == whole and data[:8] != MAGIC:
            raise ValueError
        index = msgpack.unpackb(data[-TAIL - size : -TAIL], raw=False)
        end = whole - TAIL - size
        found = {(Kind(kind), entry_id): Location(name, offset, n) for kind, entry_id, offset, n in index}
        if any(not len(MAGIC) <= at.offset <= at.offset + at.length <= end for at in found.values()):
            raise ValueError
        return found
    except (ValueError, TypeError) as error:
        raise Damaged(f"the index of pack {name}") from error


def plan(locations: Iterable[Location]) -> list[Span]:
    """The fewest sensible reads for these packed entries: neighbours in one range, far ones apart."""
    spans: list[Span] = []
    group: list[Location] = []
    stop = 0
    for at in sorted(set(locations)):
        fits = group and at.pack == group[0].pack and at.offset <= stop + GAP
        if not fits or max(stop, at.offset + at.length) - group[0].offset > RANGE:
            if group:
                spans.append(Span(group[0].pack, group[0].offset, stop, tuple(group)))
            group, stop = [], 0
        group.append(at)
        stop = max(stop, at.offset + at.length)
    if group:
        spans.append(Span(group[0].pack, group[0].offset, stop, tuple(group)))
    return spans


def plan_loose(object_id: str, at: Location) -> list[Span]:
    """The reads for a loose object, from its first byte to its last."""
    return [Span("", start, min(start + RANGE, at.length), (), object_id) for start in range(0, at.length, RANGE)]


def plan_bundle(name: str, size: int, range_size: int) -> list[Span]:
    """The reads for so many bytes of a bundle, each of which has a digest."""
    starts = range(0, size, range_size)
    return [Span("", start, min(start + range_size, size), bundle=name) for start in starts]


def windows(spans: Iterable[Span], window_bytes: int | None = None) -> Iterator[list[Span]]:
    """The same spans in the same order, in groups of at most `window_bytes`, or WINDOW, to be read at once.

    A span counts as GAP bytes at least, so that a group never has many requests.
    """
    most = WINDOW if window_bytes is None else window_bytes
    group: list[Span] = []
    room = most
    for span in spans:
        size = max(span.size, GAP)
        if group and size > room:
            yield group
            group, room = [], most
        group.append(span)
        room -= size
    if group:
        yield group
