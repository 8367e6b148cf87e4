"""The answer to a fetch: how long it is, and its bytes, piece by piece.

    branch_heads, then three lists, each with what a bundle holds of it before what lies in rows and
    packs: commits, snapshots, objects

An answer may be larger than memory, so it is never whole: two windows of it are
(`packs.WINDOW_BYTES`; of a bundle and of packs each), and what of its records was kept. Its exact
length is known before its first byte, from rows alone.
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
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TypeVar

from shared import codec, names, packs
from shared.codings import Coding, Expander, Frame
from shared.errors import Damaged
from shared.model import Location, PrebuiltClone, Run
from shared.objects.store import ObjectStore, Prefetch
from shared.packs import Span

GATHERED_BYTES = 256 * 1024
"""Small objects are given out many at once: to hand them on one by one takes longer than to hash
them.
"""

ORDERED_BYTES = 32 * 1024 * 1024
"""Packed objects that are in memory at once to be put in order. Smaller windows tear versions of a
file apart: one of 16 MiB makes a compressed clone of 32 MB a third longer.
"""

Reads = AsyncGenerator[tuple[Span, bytes], None]
Piece = bytes | memoryview
Runs = AsyncGenerator[tuple[int, Piece], None]
P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class VerifiedPrefix:
    """A bundle whose first ranges have been read, and are what they should be."""

    prebuilt: PrebuiltClone
    begun: Prefetch


@dataclass(frozen=True)
class FetchResponse:
    """What a fetch sends: where it lies, and how long it is. Nothing of it has been read but what
    was kept, and the beginning of a bundle.
    """

    store: ObjectStore
    repo_id: str
    branch_heads: Mapping[str, str]
    commits: Sequence[bytes]
    """The records that lie in rows, as msgpack: those that were kept."""
    other_commits: Sequence[bytes]
    """The others, zlib-compressed as they lie."""
    commits_size: int
    """The bytes of both when they are not."""
    large_commits: Collection[Location]
    snapshot_ids: Collection[str]
    manifests: Mapping[Location, bytes]
    """The snapshots' records that were kept, oldest first.

    Some may be patches of the record before.
    """
    other_manifests: Collection[Location]
    objects: Mapping[str, Location]
    """In an order in which similar ones are neighbours."""
    absent: Collection[str]
    """Opaque ids that name objects nobody has sent."""
    prepared: VerifiedPrefix | None = None

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many commits, snapshots and objects there are, without those of the bundle."""
        commits = len(self.commits) + len(self.other_commits) + len(self.large_commits)
        return commits, len(self.manifests) + len(self.other_manifests), len(self.objects)

    @cached_property
    def size(self) -> int:
        """The bytes of the answer in msgpack, exactly, if msgpack can say it at all."""
        lying = [*self.large_commits, *self.other_manifests, *self.objects.values()]
        kept = self.commits_size + sum(map(len, self.manifests.values()))
        starts = (
            len(codec.object_start(i, min(at.length, 0xFFFF_FFFF)))
            for i, at in self.objects.items()
        )
        prebuilt = self.prepared.prebuilt.size if self.prepared else 0
        return (
            prebuilt
            + kept
            + sum(at.length for at in lying)
            + sum(starts)
            + sum(map(len, self._starts()))
        )

    async def in_msgpack(self) -> AsyncGenerator[Piece, None]:
        """The reply, its objects in the order in which they are stored.

        Nothing is yielded before the first window has been read: a failure until then can still be
        answered as one. After that, Damaged and Unavailable mean that the reply has to be broken
        off.
        """
        async with aclosing(self._reply(self.runs())) as pieces:
            async for piece in pieces:
                yield piece

    async def to_compress(self, coding: Coding) -> AsyncGenerator[Piece | Frame, None]:
        """The same reply, its objects in the order of `objects`, as far as memory allows.

        A zstd reply has the runs of a compressed bundle as they are stored.
        """
        is_as_stored = (
            coding is Coding.ZSTD
            and self.prepared is not None
            and self.prepared.prebuilt.is_compressed
        )
        take = _BundleReader.stored if is_as_stored else _BundleReader.expanded
        async with aclosing(self._reply(self._runs([], self._in_order, take))) as pieces:
            async for piece in pieces:
                yield piece

    def runs(self) -> Runs:
        """The entries of the three lists, in their order, each piece with the number of its list.

        Once only.
        """
        spans = [*self._packed(), *self._loose(self.objects)]
        return self._runs(spans, self._as_stored, _BundleReader.expanded)

    def ordered_runs(self) -> Runs:
        """The same, the objects in the order of `objects`, as far as memory allows."""
        return self._runs([], self._in_order, _BundleReader.expanded)

    async def _reply(
        self, runs: AsyncGenerator[tuple[int, P], None]
    ) -> AsyncGenerator[P | bytes, None]:
        """Stored records are put in as they are, without being unpacked."""
        starts, begun = self._starts(), 0
        async with aclosing(runs):
            async for number, piece in runs:
                while begun <= number:
                    yield starts[begun]
                    begun += 1
                yield piece
        for start in starts[begun:]:
            yield start

    async def _runs(
        self,
        object_spans: Sequence[Span],
        objects: Callable[[Reads], AsyncGenerator[Piece, None]],
        take: "Callable[[_BundleReader, Run], AsyncGenerator[P, None]]",
    ) -> AsyncGenerator[tuple[int, P | bytes | memoryview], None]:
        """See `runs`. `objects` yields the entries of objects, for which `object_spans` are read
        ahead. `take` yields a run of the bundle.
        """
        large = packs.plan(self.large_commits)
        others = packs.plan(self.other_manifests)
        async with AsyncExitStack() as closing:
            ahead = await self.store.read_ahead(self.repo_id, [*large, *others, *object_spans])
            reads = await closing.enter_async_context(aclosing(ahead))
            tape = None
            if self.prepared:
                ranges = self.store.resume(self.repo_id, self.prepared.begun)
                tape = _BundleReader(
                    await closing.enter_async_context(aclosing(ranges)), self.prepared
                )

            if tape:
                async for piece in take(tape, tape.prebuilt.commits):
                    yield 0, piece
            for record in self.commits:
                yield 0, record
            for record in self.other_commits:
                yield 0, zlib.decompress(record)
            async for _, record in _entries(reads, len(large)):
                yield 0, record

            if tape:
                async for piece in take(tape, tape.prebuilt.snapshots):
                    yield 1, piece
            for record in self.manifests.values():
                yield 1, record
            async for _, record in _entries(reads, len(others)):
                yield 1, record

            if tape:
                async for piece in take(tape, tape.prebuilt.objects):
                    yield 2, piece
            for object_id, at in self.objects.items():
                if not at.length:
                    yield 2, codec.object_start(object_id, 0)
            stored = await closing.enter_async_context(aclosing(objects(reads)))
            async for entry in stored:
                yield 2, entry

    async def _as_stored(self, reads: Reads) -> AsyncGenerator[Piece, None]:
        ids = {at: object_id for object_id, at in self.objects.items()}
        for _ in self._packed():
            span, data = await anext(reads)
            entries = ((ids[at], content) for at, content in span.cut(memoryview(data)))
            for gathered in _objects(entries):
                yield gathered
        async for piece in self._loose_objects(reads):
            yield piece

    async def _in_order(self, _: Reads) -> AsyncGenerator[Piece, None]:
        """Packed objects in order within each window, then the loose ones in order."""
        ids = {at: object_id for object_id, at in self.objects.items()}
        position = {object_id: position for position, object_id in enumerate(self.objects)}
        windows = self.store.read_windows(self.repo_id, self._packed(), ORDERED_BYTES)
        async with aclosing(windows):
            async for window in windows:
                entries = [
                    (ids[at], content)
                    for span, data in window
                    for at, content in span.cut(memoryview(data))
                ]
                entries.sort(key=lambda entry: position[entry[0]])
                for gathered in _objects(entries):
                    yield gathered
                # While the next window is read, this one is no longer in memory.
                entries.clear()
                window.clear()
        loose = await self.store.read_ahead(self.repo_id, self._loose(self.objects))
        async with aclosing(loose):
            async for piece in self._loose_objects(loose):
                yield piece

    def _packed(self) -> list[Span]:
        return packs.plan(at for at in self.objects.values() if at.length and not at.is_loose)

    def _loose(self, object_ids: Iterable[str]) -> list[Span]:
        spans: list[Span] = []
        for object_id in object_ids:
            at = self.objects[object_id]
            if at.length and at.is_loose:
                spans += packs.plan_loose(object_id, at)
        return spans

    async def _loose_objects(self, reads: Reads) -> AsyncGenerator[Piece, None]:
        for object_id, at in self.objects.items():
            parts = len(self._loose([object_id]))
            if not parts:
                continue
            yield codec.object_start(object_id, at.length)
            digest = sha256()
            for number in range(parts):
                _, content = await anext(reads)
                digest.update(content)
                if number == parts - 1:
                    # Without its last part a reply is no msgpack, and shorter than was promised.
                    _check(object_id, digest.hexdigest())
                yield content

    def _starts(self) -> tuple[bytes, bytes, bytes]:
        """What stands before the entries of each list."""
        counts = self.counts
        if self.prepared:
            prebuilt = self.prepared.prebuilt
            more = prebuilt.commits, prebuilt.snapshots, prebuilt.objects
            counts = (
                counts[0] + more[0].count,
                counts[1] + more[1].count,
                counts[2] + more[2].count,
            )
        keys = ("commits", "snapshots", "objects")
        commits, snapshots, objects = (
            codec.list_start(key, count) for key, count in zip(keys, counts, strict=True)
        )
        return (
            codec.map_start(len(keys), {"branch_heads": dict(self.branch_heads)}) + commits,
            snapshots,
            objects,
        )


class _BundleReader:
    """The bytes of a bundle, taken in the order in which they lie.

    Raises Damaged before it gives out a wrong one.
    """

    def __init__(self, reads: Reads, prepared: VerifiedPrefix) -> None:
        self.prebuilt = prepared.prebuilt
        self._reads = reads
        self._checked = len(prepared.begun.window)
        self._rest = memoryview(b"")

    async def expanded(self, run: Run) -> AsyncGenerator[Piece, None]:
        """The next run, its entries as a reply has them that is not compressed."""
        if not run.stored_size:
            async for part in self._take(run.size):
                yield part
            return
        expander = Expander(Coding.ZSTD)
        async for part in self._take(run.stored_size):
            for piece in expander.expand(bytes(part)):
                yield piece

    async def stored(self, run: Run) -> AsyncGenerator[Frame, None]:
        """The next run as it is stored: a zstd frame."""
        left = run.size
        async for part in self._take(run.stored_size):
            yield Frame(part, left)
            left = 0

    async def _take(self, size: int) -> AsyncGenerator[memoryview, None]:
        """The next bytes."""
        while size:
            if not self._rest:
                span, data = await anext(self._reads)
                if self._checked:
                    self._checked -= 1
                else:
                    check_range(self.prebuilt, span, data)
                self._rest = memoryview(data)
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part


def check_range(prebuilt: PrebuiltClone, span: Span, data: bytes) -> None:
    """Raises Damaged if these are not the bytes that the bundle was made of."""
    if sha256(data).digest() != prebuilt.digests[span.start // prebuilt.range_size]:
        raise Damaged(f"bundle {prebuilt.name}")


async def _entries(reads: Reads, spans: int) -> AsyncGenerator[tuple[Location, bytes], None]:
    """What lies in the next so many spans of packs."""
    for _ in range(spans):
        span, data = await anext(reads)
        for entry in span.cut(data):
            yield entry


def _objects(entries: Iterable[tuple[str, Piece]]) -> Iterator[bytes]:
    """Objects and their ids as they are sent, many of them in each piece.

    Raises Damaged for wrong bytes.
    """
    gathered: list[Piece] = []
    size = 0
    for object_id, content in entries:
        _check(object_id, sha256(content).hexdigest())
        gathered += codec.object_start(object_id, len(content)), content
        size += len(content)
        if size >= GATHERED_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def _check(object_id: str, digest: str) -> None:
    if object_id != digest and names.is_digest(object_id):
        raise Damaged(f"the content of object {object_id}")
