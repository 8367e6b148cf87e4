"""The response to a fetch: its exact length, and its bytes, chunk by chunk.

    branch_heads, then three lists: commits, snapshots, objects. In each list, the entries of the
    prebuilt clone come first, then those of rows and packs.

A response can be larger than memory. Memory holds at most two windows of `packs.WINDOW_BYTES` of
the prebuilt clone, two of packs, and the records that the plan kept. The exact length follows from
rows alone, before the first byte is sent.
"""

import zlib
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TypeVar

from shared import codec, names, packs
from shared.actions.prebuilt_prefix import Piece, Pieces, PrefixReader, Reads, VerifiedPrefix
from shared.codings import Coding, Frame
from shared.errors import Damaged
from shared.model import Location, Loose, ObjectId, Packed, Run
from shared.objects.store import ObjectStore
from shared.packs import LooseSpan, PackSpan, Span

GATHERED_BYTES = 256 * 1024
"""Small objects are joined to chunks of this size: single ones cost more time than their hash."""

ORDERED_BYTES = 32 * 1024 * 1024
"""Packed objects that are in memory at once, to be put in order.

Smaller windows separate the versions of a file. With 16 MiB, a compressed clone of 32 MB is a third
longer.
"""

LISTS = ("commits", "snapshots", "objects")
"""The keys of the three lists, in their order."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class CommitList:
    """The commits of a response."""

    records: Sequence[bytes] = ()
    """Records of rows, in msgpack."""
    compressed: Sequence[bytes] = ()
    """More records of rows, as zlib streams."""
    row_bytes: int = 0
    """The bytes of `records` and of the expanded `compressed`."""
    packed: Collection[Packed] = ()
    """Records in packs."""

    @property
    def count(self) -> int:
        """The number of commits."""
        return len(self.records) + len(self.compressed) + len(self.packed)

    @property
    def size(self) -> int:
        """The bytes of the entries in msgpack."""
        return self.row_bytes + sum(at.length for at in self.packed)

    async def pieces(self, reads: Reads, spans: Sequence[PackSpan]) -> Pieces:
        """The entries. `reads` yields the `spans` of `packed` next."""
        for record in self.records:
            yield record
        for record in self.compressed:
            yield zlib.decompress(record)
        async for record in _next_entries(reads, spans):
            yield record


@dataclass(frozen=True, slots=True)
class SnapshotList:
    """The snapshots of a response."""

    ids: Collection[str] = ()
    records: Sequence[bytes] = ()
    """Packed records that the plan kept, oldest first. Some are patches of the record before."""
    packed: Collection[Packed] = ()
    """The other records, in packs."""

    @property
    def count(self) -> int:
        """The number of snapshots."""
        return len(self.records) + len(self.packed)

    @property
    def size(self) -> int:
        """The bytes of the entries in msgpack."""
        return sum(map(len, self.records)) + sum(at.length for at in self.packed)

    async def pieces(self, reads: Reads, spans: Sequence[PackSpan]) -> Pieces:
        """The entries. `reads` yields the `spans` of `packed` next."""
        for record in self.records:
            yield record
        async for record in _next_entries(reads, spans):
            yield record


@dataclass(frozen=True)
class ObjectList:
    """The objects of a response."""

    locations: Mapping[ObjectId, Location] = field(default_factory=dict)
    """By object id, in an order in which similar objects are neighbours."""
    absent: Collection[str] = ()
    """Opaque ids in manifests whose objects were never sent."""

    @property
    def size(self) -> int:
        """The bytes of the entries in msgpack."""
        return sum(
            len(codec.object_start(object_id, min(at.length, 0xFFFF_FFFF))) + at.length
            for object_id, at in self.locations.items()
        )

    @cached_property
    def ids(self) -> Mapping[Location, ObjectId]:
        """The object id of each location."""
        return {at: object_id for object_id, at in self.locations.items()}

    def packed_spans(self) -> list[PackSpan]:
        """The reads of all packed objects, in the order in which they are stored."""
        return packs.plan(
            at for at in self.locations.values() if at.length and isinstance(at, Packed)
        )

    def loose_spans(self) -> list[LooseSpan]:
        """The reads of all loose objects, in the order of the list."""
        spans: list[LooseSpan] = []
        for object_id in self.locations:
            spans += self._spans_of_loose(object_id)
        return spans

    def empty(self) -> Iterator[bytes]:
        """The entries of the objects without content."""
        for object_id, at in self.locations.items():
            if not at.length:
                yield codec.object_start(object_id, 0)

    async def loose(self, reads: Reads) -> Pieces:
        """The entries of the loose objects. `reads` yields their spans next.

        Raises Damaged before the last piece of an object whose content has another digest. So the
        reply is shorter than announced, and cannot be parsed.
        """
        for object_id, at in self.locations.items():
            span_count = len(self._spans_of_loose(object_id))
            if not span_count:
                continue
            yield codec.object_start(object_id, at.length)
            digest = sha256()
            for number in range(span_count):
                _, content = await anext(reads)
                digest.update(content)
                if number == span_count - 1:
                    _check(object_id, digest.hexdigest())
                yield content

    def _spans_of_loose(self, object_id: ObjectId) -> list[LooseSpan]:
        at = self.locations[object_id]
        if isinstance(at, Loose):
            return packs.plan_loose(object_id, at)
        return []


@dataclass(frozen=True)
class FetchResponse:
    """The plan of a response. Only its kept records and the first window of `prefix` are read."""

    store: ObjectStore
    branch_heads: Mapping[str, str] = field(default_factory=dict)
    commits: CommitList = field(default_factory=CommitList)
    snapshots: SnapshotList = field(default_factory=SnapshotList)
    objects: ObjectList = field(default_factory=ObjectList)
    prefix: VerifiedPrefix | None = None

    @property
    def counts(self) -> tuple[int, int, int]:
        """The lengths of the three lists, without the entries of the prebuilt clone."""
        return self.commits.count, self.snapshots.count, len(self.objects.locations)

    @cached_property
    def size(self) -> int:
        """The exact bytes of the response in msgpack."""
        starts = sum(map(len, self._starts()))
        prebuilt = self.prefix.prebuilt.size if self.prefix else 0
        entries = self.commits.size + self.snapshots.size + self.objects.size
        return starts + prebuilt + entries

    async def in_msgpack(self) -> AsyncGenerator[Piece, None]:
        """The response, its objects in the order in which they are stored.

        Nothing is yielded before the first window was read, so an earlier failure can still be a
        refusal. After that, Damaged and Unavailable end the response before its announced length.
        """
        async with aclosing(self._with_starts(self.chunks())) as pieces:
            async for piece in pieces:
                yield piece

    async def to_compress(self, coding: Coding) -> AsyncGenerator[Piece | Frame, None]:
        """The same response, its objects in the order of the list, as far as memory allows.

        A zstd response contains the runs of a compressed prebuilt clone as they are stored.
        """
        is_as_stored = (
            coding is Coding.ZSTD and self.prefix is not None and self.prefix.prebuilt.is_compressed
        )
        take = PrefixReader.stored if is_as_stored else PrefixReader.expanded
        chunks = self._chunks([], self._objects_in_order, take)
        async with aclosing(self._with_starts(chunks)) as pieces:
            async for piece in pieces:
                yield piece

    def chunks(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """The entries of the three lists, each piece with the number of its list. Iterate once."""
        spans: list[Span] = [*self.objects.packed_spans(), *self.objects.loose_spans()]
        return self._chunks(spans, self._objects_as_stored, PrefixReader.expanded)

    def ordered_chunks(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """The same, the objects in the order of the list, as far as memory allows."""
        return self._chunks([], self._objects_in_order, PrefixReader.expanded)

    async def _with_starts(
        self, chunks: AsyncGenerator[tuple[int, P], None]
    ) -> AsyncGenerator[P | bytes, None]:
        """The pieces, and before those of each list its start."""
        starts = self._starts()
        started = 0
        async with aclosing(chunks):
            async for number, piece in chunks:
                while started <= number:
                    yield starts[started]
                    started += 1
                yield piece
        for start in starts[started:]:
            yield start

    async def _chunks(
        self,
        object_spans: Sequence[Span],
        objects: Callable[[Reads], Pieces],
        take: Callable[[PrefixReader, Run], AsyncGenerator[P, None]],
    ) -> AsyncGenerator[tuple[int, P | Piece], None]:
        """See `chunks`. `objects` yields the entries of objects, for which `object_spans` are read
        ahead. `take` yields a run of the prebuilt clone.
        """
        commit_spans = packs.plan(self.commits.packed)
        snapshot_spans = packs.plan(self.snapshots.packed)
        spans = [*commit_spans, *snapshot_spans, *object_spans]
        async with AsyncExitStack() as closing:
            ahead = await self.store.read_ahead(spans)
            reads = await closing.enter_async_context(aclosing(ahead))
            prefix = None
            if self.prefix:
                ranges = self.store.resume(self.prefix.begun)
                await closing.enter_async_context(aclosing(ranges))
                prefix = PrefixReader(ranges, self.prefix)
            lists = (
                self.commits.pieces(reads, commit_spans),
                self.snapshots.pieces(reads, snapshot_spans),
                objects(reads),
            )
            for number, entries in enumerate(lists):
                if prefix:
                    async for part in take(prefix, prefix.prebuilt.runs[number]):
                        yield number, part
                async with aclosing(entries):
                    async for piece in entries:
                        yield number, piece

    async def _objects_as_stored(self, reads: Reads) -> Pieces:
        for entry in self.objects.empty():
            yield entry
        for span in self.objects.packed_spans():
            _, data = await anext(reads)
            for joined in _joined(self._cut(span, data)):
                yield joined
        async for piece in self.objects.loose(reads):
            yield piece

    async def _objects_in_order(self, _: Reads) -> Pieces:
        """Packed objects in order within each window, then the loose ones in order."""
        for entry in self.objects.empty():
            yield entry
        position = {object_id: number for number, object_id in enumerate(self.objects.locations)}
        packed = self.objects.packed_spans()
        windows = self.store.read_windows(packed, ORDERED_BYTES)
        async with aclosing(windows):
            async for window in windows:
                entries: list[tuple[ObjectId, Piece]] = []
                for span, data in window:
                    entries += self._cut(span, data)
                entries.sort(key=lambda entry: position[entry[0]])
                for joined in _joined(entries):
                    yield joined
                # The next window is read without this one in memory.
                entries.clear()
                window.clear()
        loose = await self.store.read_ahead(self.objects.loose_spans())
        async with aclosing(loose):
            async for piece in self.objects.loose(loose):
                yield piece

    def _cut(self, span: PackSpan, data: bytes) -> Iterator[tuple[ObjectId, Piece]]:
        for at, content in span.cut(memoryview(data)):
            yield self.objects.ids[at], content

    def _starts(self) -> list[bytes]:
        """The bytes before the entries of each list."""
        runs = self.prefix.prebuilt.runs if self.prefix else (None, None, None)
        starts = []
        for key, count, run in zip(LISTS, self.counts, runs, strict=True):
            prebuilt = run.count if run else 0
            starts.append(codec.list_start(key, count + prebuilt))
        map_start = codec.map_start(len(LISTS), {"branch_heads": dict(self.branch_heads)})
        return [map_start + starts[0], *starts[1:]]


async def _next_entries(reads: Reads, spans: Iterable[PackSpan]) -> AsyncGenerator[bytes, None]:
    """The entries in these spans, which `reads` yields next."""
    for span in spans:
        _, data = await anext(reads)
        for _, entry in span.cut(data):
            yield entry


def _joined(entries: Iterable[tuple[ObjectId, Piece]]) -> Iterator[bytes]:
    """Objects as entries of a response, many of them in each piece.

    Raises Damaged for content with another digest.
    """
    pieces: list[Piece] = []
    size = 0
    for object_id, content in entries:
        _check(object_id, sha256(content).hexdigest())
        pieces += codec.object_start(object_id, len(content)), content
        size += len(content)
        if size >= GATHERED_BYTES:
            yield b"".join(pieces)
            pieces.clear()
            size = 0
    yield b"".join(pieces)


def _check(object_id: ObjectId, digest: str) -> None:
    if object_id != digest and names.is_digest(object_id):
        raise Damaged(f"the content of object {object_id}")
