"""The contents of some objects, by their ids: as many as fit in one reply."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property

from shared import codec, names
from shared.actions.fetch_response import FetchResponse, ObjectList
from shared.actions.prebuilt_prefix import Piece
from shared.codings import Coding
from shared.errors import ObjectNotFound
from shared.model import Location, ObjectId
from shared.objects.store import ObjectStore
from shared.protocol.fetch import FetchObjects
from shared.stores import RepoStores
from shared.texts import summarize

START_BYTES = 100
"""More than the names and headers of the three lists have."""


@dataclass(frozen=True)
class Objects:
    """The reply: objects, ids for the next request, and ids of objects that are too large for any
    reply.
    """

    store: ObjectStore
    objects: Mapping[ObjectId, Location]
    left: Sequence[str]
    large: Sequence[str]

    @cached_property
    def size(self) -> int:
        """The bytes of the reply in msgpack."""
        return len(self._start()) + sum(
            _entry_size(object_id, at) for object_id, at in self.objects.items()
        )

    async def in_msgpack(self) -> AsyncGenerator[Piece, None]:
        """The reply. Raises Damaged if an object cannot be read, or is not what its id promises."""
        yield self._start()
        async with aclosing(self._response().chunks()) as chunks:
            async for _, piece in chunks:
                yield piece

    async def to_compress(self, coding: Coding) -> AsyncGenerator[Piece, None]:
        """The same, the objects in the order of the request, as far as memory allows."""
        yield self._start()
        async with aclosing(self._response().ordered_chunks()) as chunks:
            async for _, piece in chunks:
                yield piece

    def _response(self) -> FetchResponse:
        return FetchResponse(self.store, objects=ObjectList(self.objects))

    def smaller(self, most_bytes: int) -> "Objects":
        """The first objects, fewer than there are, of at most about `most_bytes`.

        One by itself is too large.
        """
        sent = list(self.objects)
        if len(sent) == 1:
            return replace(self, objects={}, large=[*self.large, *sent])
        bytes_left = most_bytes - len(self._start()) - _ids_size(sent)
        count = 0
        for object_id in sent[:-1]:
            bytes_left -= _entry_size(object_id, self.objects[object_id])
            if bytes_left < 0:
                break
            count += 1
        kept = sent[: max(count, 1)]
        dropped = sent[len(kept) :]
        return replace(
            self, objects={i: self.objects[i] for i in kept}, left=[*dropped, *self.left]
        )

    def _start(self) -> bytes:
        rest = {"left": list(self.left), "large": list(self.large)}
        return codec.map_start(1, rest) + codec.list_start("objects", len(self.objects))


async def fetch_objects(repository: RepoStores, request: FetchObjects, most_bytes: int) -> Objects:
    """All objects of these ids, in this order. One that has more than about `most_bytes` of msgpack
    is large.

    Raises ObjectNotFound, which names unknown ids; and InvalidName.

    Budget: 4 AWS calls, chain of 3 (fetch/objects, 4 objects of one push).
    """
    object_ids = [
        names.check_id(object_id, "object") for object_id in dict.fromkeys(request.object_ids)
    ]
    stored = (await repository.index.readable(objects=object_ids)).objects
    unknown = [object_id for object_id in object_ids if object_id not in stored]
    if unknown:
        raise ObjectNotFound(
            f"this repository has no object {summarize(unknown)}; read ids with POST fetch/history"
        )
    most_content = most_bytes - START_BYTES - _ids_size(object_ids)
    sendable = {i: stored[i] for i in object_ids if _entry_size(i, stored[i]) <= most_content}
    large = [object_id for object_id in object_ids if object_id not in sendable]
    return Objects(repository.objects, sendable, [], large)


def _ids_size(object_ids: Iterable[ObjectId]) -> int:
    """The most bytes that a list of these ids has in msgpack."""
    return sum(len(object_id) + 2 for object_id in object_ids)


def _entry_size(object_id: ObjectId, at: Location) -> int:
    return len(codec.object_start(object_id, min(at.length, 0xFFFF_FFFF))) + at.length
