"""The bytes of repositories: packs, loose objects and prebuilt clones."""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Generic

from shared import meter, packs, prices
from shared.errors import Damaged
from shared.model import Kind, Location, ObjectId, Packed, RepoId
from shared.objects import keys
from shared.objects.bucket import Bucket, NoSuchKey, Stored
from shared.objects.recent import Recent
from shared.packs import LooseSpan, Pack, PackSpan, PrebuiltSpan, S, Span
from shared.tasks import gather_all

REMEMBERED_BYTES = 16 * 1024 * 1024
"""The size of the cache of recent manifests. A push is checked against the manifest before it,
which the same container has often written.
"""

REMOVED = 1000
"""Versions that one call deletes: the limit of S3."""


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """The bytes of a repository. Only the index decides which of them are visible."""

    bucket: Bucket
    repo_id: RepoId
    recent: Recent

    async def put_pack(self, pack: Pack) -> None:
        """Make a pack durable."""
        await self.bucket.put(keys.pack(self.repo_id, pack.name), pack.data)
        for (kind, _), at in pack.locations.items():
            if kind is Kind.SNAPSHOT:
                self.recent.put(self.repo_id, at, pack.data[at.offset : at.offset + at.length])

    async def put_loose(self, object_id: ObjectId, content: bytes) -> None:
        """Store a large object under its own key, even if the key exists.

        The index does not have the object, so gc may be about to delete the existing version.
        """
        await self.bucket.put(keys.loose(self.repo_id, object_id), content)

    async def read_packed(self, locations: Collection[Packed]) -> dict[Packed, bytes]:
        """The bytes at these locations of packs. Neighbours take one request; requests run in
        parallel.

        Raises Damaged if a pack is gone or too short.
        """
        found = self.at_hand(locations)
        spans = packs.plan(at for at in locations if at not in found)
        parts = await self._read_all(spans)
        for span, part in zip(spans, parts, strict=True):
            found.update(span.cut(part))
        return found

    async def each_packed(
        self, locations: Collection[Packed]
    ) -> AsyncGenerator[tuple[Packed, bytes], None]:
        """Yield the same for any number of locations, with at most two windows in memory."""
        found = self.at_hand(locations)
        for at, data in found.items():
            yield at, data
        spans = packs.plan(at for at in locations if at not in found)
        async with aclosing(await self.read_ahead(spans)) as reads:
            async for span, part in reads:
                for at, data in span.cut(part):
                    yield at, data

    async def read_ahead(self, spans: Iterable[S]) -> AsyncGenerator[tuple[S, bytes], None]:
        """Read the first window of these spans, and return an iterator over all spans in order.

        While the caller uses a window, only the next one is read. So a slow caller delays the
        reads, and closing the iterator ends them. Raises Damaged if an object is absent or too
        short.
        """
        windows = packs.windows(spans)
        first = next(windows, [])
        second = next(windows, [])
        ahead = self._reading(second)
        try:
            return self.resume(
                Prefetch(first, await self._read_all(first), windows, (second, ahead))
            )
        except BaseException:
            ahead.cancel()
            raise

    async def begin(self, spans: Iterable[S]) -> "Prefetch[S]":
        """Read the first window only. The caller checks it, and then calls `resume`."""
        windows = packs.windows(spans)
        first = next(windows, [])
        return Prefetch(first, await self._read_all(first), windows)

    async def resume(self, begun: "Prefetch[S]") -> AsyncGenerator[tuple[S, bytes], None]:
        """Yield all spans of a prefetch. Iterate once: data is released as it is yielded."""
        window = begun.window
        data = begun.data
        ahead = begun.ahead
        begun.data = []
        while window:
            upcoming = ahead[0] if ahead else next(begun.windows, [])
            reading = ahead[1] if ahead else self._reading(upcoming)
            ahead = None
            try:
                parts = deque(zip(window, data, strict=True))
                del data  # each part is released as it is yielded
                while parts:
                    yield parts.popleft()
                data = await reading
            finally:
                reading.cancel()
                await asyncio.wait([reading])
            window = upcoming

    async def read_windows(
        self, spans: Iterable[S], window_bytes: int
    ) -> AsyncGenerator[list[tuple[S, bytes]], None]:
        """Yield the bytes of these spans in groups of at most `window_bytes`, each read on demand.

        The caller clears a group before it takes the next, so only one is in memory. Raises Damaged
        if an object is absent or too short.
        """
        for group in packs.windows(spans, window_bytes):
            parts: list[tuple[S, bytes]] = []
            # A read takes twice the memory of its bytes.
            for some in packs.windows(group):
                parts += zip(some, await self._read_all(some), strict=True)
            yield parts

    def _reading(self, spans: Iterable[Span]) -> "asyncio.Task[list[bytes]]":
        reading = asyncio.create_task(self._read_all(spans))
        # A caller that stops does not read the result, and asyncio would log the exception.
        reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return reading

    async def _read_all(self, spans: Iterable[Span]) -> list[bytes]:
        return await gather_all([self._read(span) for span in spans])

    def at_hand(self, locations: Iterable[Packed]) -> dict[Packed, bytes]:
        """The cached ones of these entries."""
        cached = {at: self.recent.get(self.repo_id, at) for at in locations}
        return {at: data for at, data in cached.items() if data is not None}

    async def read_part(
        self, object_id: ObjectId, location: Location, start: int, stop: int
    ) -> bytes:
        """The bytes of an object from `start` to `stop` (exclusive).

        Raises Damaged if some are missing.
        """
        if start == stop:
            return b""
        if isinstance(location, Packed):
            key = keys.pack(self.repo_id, location.pack)
            first = location.offset
        else:
            key = keys.loose(self.repo_id, object_id)
            first = 0
        try:
            data = await self.bucket.get(key, first + start, first + stop)
        except NoSuchKey:
            raise Damaged(f"object {object_id}") from None
        if len(data) != stop - start:
            raise Damaged(f"a part of object {object_id}")
        return data

    async def presigned_get(
        self,
        object_id: ObjectId,
        location: Location,
        ttl_seconds: int,
        media_type: str,
        disposition: str,
    ) -> str | None:
        """A URL of S3 for a whole object; None if it is in a pack, or the bucket is not in AWS."""
        if isinstance(location, Packed) or not self.bucket.is_aws:
            return None
        await meter.reserve_url(prices.S3_GET + prices.DATA_OUT_BYTE * location.length)
        return await self.bucket.presigned_get(
            keys.loose(self.repo_id, object_id), ttl_seconds, media_type, disposition
        )

    async def read_pack(self, name: str) -> bytes:
        """A whole pack. Raises Damaged if it is gone."""
        try:
            return await self.bucket.get(keys.pack(self.repo_id, name))
        except NoSuchKey:
            raise Damaged(f"pack {name}") from None

    async def read_index(self, stored: Stored) -> dict[tuple[Kind, str], Packed]:
        """The location of each entry of a pack, read from its end alone.

        An empty `stored.version` is the present version. Raises Damaged if the pack is absent or
        incomplete.
        """
        key = keys.pack(self.repo_id, stored.key)
        size_bytes = min(stored.size, packs.GAP_BYTES)
        end = b""
        try:
            if size_bytes:
                start = stored.size - size_bytes
                end = await self.bucket.get(key, start, stored.size, stored.version)
            size_bytes = min(stored.size, packs.index_size(end))
            if size_bytes > len(end):
                start = stored.size - size_bytes
                end = await self.bucket.get(key, start, stored.size, stored.version)
        except NoSuchKey:
            raise Damaged(f"pack {stored.key}") from None
        return packs.read_index(stored.key, end, stored.size)

    async def digest(self, object_id: ObjectId) -> ObjectId:
        """The SHA-256 of a loose object of any size.

        Raises Damaged if it is absent.
        """
        try:
            stream = await self.bucket.stream(keys.loose(self.repo_id, object_id))
        except NoSuchKey:
            raise Damaged(f"object {object_id}") from None
        digest = sha256()
        async for chunk in stream.chunks:
            digest.update(chunk)
        return ObjectId(digest.hexdigest())

    async def packs(self) -> list[Stored]:
        """A repository's packs, oldest first; `key` is the pack's name."""
        prefix = keys.packs(self.repo_id)
        found = [
            replace(one, key=one.key.removeprefix(prefix)) async for one in self.bucket.list(prefix)
        ]
        return sorted(found, key=lambda one: (one.modified, one.key))

    async def loose(self) -> list[Stored]:
        """A repository's loose objects; `key` is the object's id."""
        prefix = keys.loose_objects(self.repo_id)
        return [
            replace(one, key=one.key.removeprefix(prefix)) async for one in self.bucket.list(prefix)
        ]

    async def pack_versions(self) -> AsyncIterator[tuple[str, Stored]]:
        """Every version of every pack, each with the pack's name."""
        prefix = keys.packs(self.repo_id)
        async for one in self.bucket.versions(prefix):
            yield one.key.removeprefix(prefix), one

    async def loose_versions(self) -> AsyncIterator[tuple[str, Stored]]:
        """Every version of every loose object, each with the object's id."""
        prefix = keys.loose_objects(self.repo_id)
        async for one in self.bucket.versions(prefix):
            yield one.key.removeprefix(prefix), one

    async def put_prebuilt(self, name: str, data: bytes) -> None:
        """Make a bundle durable."""
        await self.bucket.put(keys.prebuilt(self.repo_id, name), data)

    async def read_prebuilt(self, name: str, start: int, stop: int) -> bytes:
        """Some bytes of a bundle. Raises Damaged if they are not all there."""
        return await self._read(PrebuiltSpan(name, start, stop))

    async def prebuilt_versions(self) -> AsyncIterator[tuple[str, Stored]]:
        """Every version of every bundle, each with the bundle's name."""
        prefix = keys.prebuilt_clones(self.repo_id)
        async for one in self.bucket.versions(prefix):
            yield one.key.removeprefix(prefix), one

    async def everything(self) -> AsyncIterator[Stored]:
        """Every version of all that a repository has in S3, its quarantine included."""
        for prefix in (keys.stored(self.repo_id), keys.uploads(self.repo_id)):
            async for one in self.bucket.versions(prefix):
                yield one

    async def remove(self, versions: Sequence[Stored]) -> None:
        """Remove these versions, and no other, for good."""
        for part in (
            versions[start : start + REMOVED] for start in range(0, len(versions), REMOVED)
        ):
            await self.bucket.remove(part)

    async def _read(self, span: Span) -> bytes:
        match span:
            case PackSpan(pack=pack):
                key = keys.pack(self.repo_id, pack)
                name = f"pack {pack}"
            case LooseSpan(object_id=object_id):
                key = keys.loose(self.repo_id, object_id)
                name = f"object {object_id}"
            case PrebuiltSpan(name=prebuilt):
                key = keys.prebuilt(self.repo_id, prebuilt)
                name = f"bundle {prebuilt}"
        try:
            data = await self.bucket.get(key, span.start, span.stop)
        except NoSuchKey:
            raise Damaged(name) from None
        if len(data) != span.size:
            raise Damaged(f"a part of {name}")
        return data


@dataclass(slots=True)
class Prefetch(Generic[S]):
    """Reads that have begun: the first window, and its data."""

    window: list[S]
    data: list[bytes]
    windows: Iterator[list[S]]
    ahead: "tuple[list[S], asyncio.Task[list[bytes]]] | None" = None
    """The second window, if it was begun with the first."""
