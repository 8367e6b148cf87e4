"""The answer to a fetch: how long it is, and its bytes, piece by piece.

    branch_heads, then three lists, each with what a bundle holds of it before what lies in rows and packs:
    commits, snapshots, objects

An answer may be larger than memory, so it is never whole: two windows of it are (`packs.WINDOW`; of a bundle and of
packs each), and what of its records was kept. Its exact length is known before its first byte, from rows alone.
"""

import zlib
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from shared import codec, names, packs
from shared.errors import Damaged
from shared.model import Bundle, Location
from shared.objects.store import Begun, ObjectStore
from shared.packs import Span

GATHERED_BYTES = 256 * 1024
"""Small objects are given out many at once: to hand them on one by one takes longer than to hash them."""

Reads = AsyncGenerator[tuple[Span, bytes], None]
Piece = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Prepared:
    """A bundle whose first ranges have been read, and are what they should be."""

    bundle: Bundle
    begun: Begun


@dataclass(frozen=True)
class Fetched:
    """What a fetch sends: where it lies, and how long it is. Nothing of it has been read but what was kept, and the
    beginning of a bundle."""

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
    """The snapshots' records that were kept."""
    other_manifests: Collection[Location]
    objects: Mapping[str, Location]
    absent: Collection[str]
    """Opaque ids that name objects nobody has sent."""
    prepared: Prepared | None = None

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many commits, snapshots and objects there are, without those of the bundle."""
        commits = len(self.commits) + len(self.other_commits) + len(self.large_commits)
        return commits, len(self.manifests) + len(self.other_manifests), len(self.objects)

    @cached_property
    def size(self) -> int:
        """The bytes of the answer in msgpack, exactly, if msgpack can say it at all."""
        lying = [*self.large_commits, *self.manifests, *self.other_manifests, *self.objects.values()]
        starts = (len(codec.object_start(i, min(at.length, 0xFFFF_FFFF))) for i, at in self.objects.items())
        bundle = self.prepared.bundle.size if self.prepared else 0
        return bundle + self.commits_size + sum(at.length for at in lying) + sum(starts) + sum(map(len, self._starts()))

    async def in_msgpack(self) -> AsyncGenerator[Piece, None]:
        """The answer's body. Stored records are put in as they lie, without being unpacked.

        Nothing is given out before the first window has been read: what fails until then can still be
        answered otherwise. After that, Damaged and Unavailable mean that the answer has to be broken off.
        """
        starts, begun = self._starts(), 0
        async with aclosing(self.runs()) as runs:
            async for number, piece in runs:
                while begun <= number:
                    yield starts[begun]
                    begun += 1
                yield piece
        for start in starts[begun:]:
            yield start

    async def runs(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """The entries of the three lists, in their order, each piece with the number of its list. Once only."""
        large, others = packs.plan(self.large_commits), packs.plan(self.other_manifests)
        packed = packs.plan(at for at in self.objects.values() if at.length and not at.is_loose)
        loose = {i: packs.plan_loose(i, at) for i, at in self.objects.items() if at.length and at.is_loose}
        spans = [*large, *others, *packed, *(span for spans in loose.values() for span in spans)]
        async with AsyncExitStack() as closing:
            reads = await closing.enter_async_context(aclosing(await self.store.read_ahead(self.repo_id, spans)))
            tape = None
            if self.prepared:
                ranges = self.store.go_on(self.repo_id, self.prepared.begun)
                tape = _Tape(await closing.enter_async_context(aclosing(ranges)), self.prepared)

            if tape:
                async for piece in tape.take(tape.bundle.commits.size):
                    yield 0, piece
            for record in self.commits:
                yield 0, record
            for record in self.other_commits:
                yield 0, zlib.decompress(record)
            async for _, record in _entries(reads, len(large)):
                yield 0, record

            if tape:
                async for piece in tape.take(tape.bundle.snapshots.size):
                    yield 1, piece
            for record in self.manifests.values():
                yield 1, record
            async for _, record in _entries(reads, len(others)):
                yield 1, record

            if tape:
                async for piece in tape.take(tape.bundle.objects.size):
                    yield 2, piece
            for object_id, at in self.objects.items():
                if not at.length:
                    yield 2, codec.object_start(object_id, 0)
            ids = {at: object_id for object_id, at in self.objects.items()}
            for _ in packed:
                for gathered in _packed_objects(*await anext(reads), ids):
                    yield 2, gathered
            for object_id, parts in loose.items():
                yield 2, codec.object_start(object_id, self.objects[object_id].length)
                digest = sha256()
                for number in range(len(parts)):
                    _, content = await anext(reads)
                    digest.update(content)
                    if number == len(parts) - 1:
                        # Without its last part an answer is no msgpack, and shorter than it was said to be.
                        _check(object_id, digest.hexdigest())
                    yield 2, content

    def _starts(self) -> tuple[bytes, bytes, bytes]:
        """What stands before the entries of each list."""
        counts = self.counts
        if self.prepared:
            bundle = self.prepared.bundle
            more = bundle.commits, bundle.snapshots, bundle.objects
            counts = (counts[0] + more[0].count, counts[1] + more[1].count, counts[2] + more[2].count)
        keys = ("commits", "snapshots", "objects")
        commits, snapshots, objects = (codec.list_start(key, count) for key, count in zip(keys, counts, strict=True))
        return codec.map_start(len(keys), {"branch_heads": dict(self.branch_heads)}) + commits, snapshots, objects


class _Tape:
    """The bytes of a bundle, taken in the order in which they lie. Raises Damaged before it gives out a wrong one."""

    def __init__(self, reads: Reads, prepared: Prepared) -> None:
        self.bundle = prepared.bundle
        self._reads = reads
        self._checked = len(prepared.begun.window)
        self._rest = memoryview(b"")

    async def take(self, size: int) -> AsyncGenerator[memoryview, None]:
        """The next so many bytes."""
        while size:
            if not self._rest:
                span, data = await anext(self._reads)
                if self._checked:
                    self._checked -= 1
                else:
                    check_range(self.bundle, span, data)
                self._rest = memoryview(data)
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part


def check_range(bundle: Bundle, span: Span, data: bytes) -> None:
    """Raises Damaged if these are not the bytes that the bundle was made of."""
    if sha256(data).digest() != bundle.digests[span.start // bundle.range_size]:
        raise Damaged(f"bundle {bundle.name}")


async def _entries(reads: Reads, spans: int) -> AsyncGenerator[tuple[Location, bytes], None]:
    """What lies in the next so many spans of packs."""
    for _ in range(spans):
        span, data = await anext(reads)
        for entry in span.cut(data):
            yield entry


def _packed_objects(span: Span, data: bytes, ids: Mapping[Location, str]) -> Iterator[bytes]:
    """The objects in a span as they are sent, many of them in each piece."""
    gathered: list[Piece] = []
    size = 0
    for at, content in span.cut(memoryview(data)):
        _check(object_id := ids[at], sha256(content).hexdigest())
        gathered += codec.object_start(object_id, at.length), content
        size += at.length
        if size >= GATHERED_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def _check(object_id: str, digest: str) -> None:
    if object_id != digest and names.is_digest(object_id):
        raise Damaged(f"the content of object {object_id}")
