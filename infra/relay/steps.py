"""A fetch in several requests, for a difference that does not fit into one reply of the hub.

    fetch/history   the oldest missing commits with their snapshots; repeated until none is missing
    fetch/objects   the contents of their objects, several requests at once
    objects/ID      one object that is too large for those

It works with memory for one reply at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from multidict import CIMultiDict

from infra.relay.bundles import Offer, Records, Snapshots, read_bundle
from infra.relay.hub import Ask, Headers, Hub, Reply
from infra.relay.spool import Body, Spool
from shared import codec
from shared.errors import Unavailable
from shared.tasks import gather_all

OBJECT_IDS = 1_000
"""The most ids that the hub takes in one request of fetch/objects."""
BATCH_BYTES = 4_000_000
"""The contents that one request of fetch/objects asks for."""
AT_ONCE = 4
FEW_HAVES = 200
"""The most haves that the hub looks up.

It takes a longer list for the whole history of the caller.
"""
REDIRECTS = (302, 303, 307, 308)

Sink = Callable[[str, Spool], None]
"""Takes an object: its id and its content."""


class Refused(Exception):
    """The hub refused a step. The reply is for the client."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass
class Part:
    """An ancestor-closed part of a difference.

    `objects`: the sizes of those that it needs, by id, in bytes.
    """

    commits: Records = field(default_factory=Records)
    snapshots: Records = field(default_factory=Records)
    objects: dict[str, int] = field(default_factory=dict)
    branch_heads: dict[str, str] = field(default_factory=dict)
    parents: dict[str, list[str]] = field(default_factory=dict)
    """The commits of this part with their parents."""
    snapshot_ids: list[str] = field(default_factory=list)
    is_complete: bool = False

    def close(self) -> None:
        """Free the memory or the files."""
        self.commits.content.close()
        self.snapshots.content.close()


class Received:
    """The commits that the caller has."""

    def __init__(self, have: Iterable[str] = ()) -> None:
        self._commits = dict.fromkeys(have)
        self._heads = set(self._commits)

    def add(self, parents: Mapping[str, Iterable[str]]) -> None:
        """Some more commits are received, with all their ancestors."""
        self._commits |= dict.fromkeys(parents)
        self._heads.update(parents)
        self._heads.difference_update(chain.from_iterable(parents.values()))

    def haves(self) -> list[str]:
        """What to send as `have`: the commits without a received child, or all if those are
        many.
        """
        if len(self._heads) <= FEW_HAVES:
            return sorted(self._heads)
        return list(self._commits)


class Steps:
    """Fetches from one repository, `/owner/slug`, with the headers of the client's request."""

    def __init__(self, hub: Hub, repository: str, headers: Headers, snapshots: Snapshots) -> None:
        self._hub = hub
        self._repository = repository
        self._snapshots = snapshots
        authorization = headers.get("Authorization")
        self._headers: Headers = CIMultiDict(
            {"Accept": codec.MSGPACK, "Content-Type": codec.MSGPACK}
        )
        if authorization:
            self._headers["Authorization"] = authorization
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def parts(self, want: Sequence[str], received: Received) -> AsyncIterator[Part]:
        """The parts of the difference, oldest first. The caller closes each. Raises Refused."""
        is_complete = False
        while not is_complete:
            part = await self._part(want, received.haves())
            if not part.parents and not part.is_complete:
                part.close()
                raise Unavailable("the hub sent a part of the history without a commit: try again")
            received.add(part.parents)
            is_complete = part.is_complete
            yield part

    async def contents(self, sizes: Mapping[str, int], sink: Sink) -> None:
        """Fetch objects in parallel. Raises Refused and Unavailable."""
        await gather_all(self._batch(batch, sink) for batch in _batches(sizes))

    async def _part(self, want: Sequence[str], have: Sequence[str]) -> Part:
        offer = Offer(self._snapshots, self._repository)
        asked = {"want": list(want), "have": list(have), "bases": offer.bases}
        reply = await self._post("fetch/history", asked)
        part = Part()
        try:
            rest = read_bundle(
                reply.content,
                {
                    "commits": lambda packed: _add_commit(part, packed),
                    "snapshots": lambda packed: _add_snapshot(part, offer, packed),
                },
            )
        except BaseException:
            part.close()
            raise
        finally:
            reply.close()
        part.objects = rest.get("objects") or {}
        part.branch_heads = rest.get("branch_heads") or {}
        part.is_complete = rest.get("is_complete") is True
        return part

    async def _batch(self, object_ids: list[str], sink: Sink) -> None:
        left = object_ids
        large = list[str]()
        async with self._turn:
            while left:
                found = await self._objects(left, sink)
                more = found["left"]
                if len(more) >= len(left):
                    raise Unavailable(
                        "the hub sent none of the objects that were asked for: try again"
                    )
                left = more
                large += found["large"]
            for object_id in large:
                await self._single(object_id, sink)

    async def _objects(self, object_ids: list[str], sink: Sink) -> dict[str, list[str]]:
        """Fetch some objects. Returns the ids that are `left`, and those that are too `large`."""
        reply = await self._post("fetch/objects", {"object_ids": object_ids})
        taken = set[str]()

        def take(packed: bytes) -> None:
            record = codec.unpack_record(packed)
            content = Spool()
            content.write(record["content"])
            sink(record["object_id"], content)
            taken.add(record["object_id"])

        try:
            rest = read_bundle(reply.content, {"objects": take})
        finally:
            reply.close()
        others: dict[str, list[str]] = {
            name: list(rest.get(name) or ()) for name in ("left", "large")
        }
        lost = set(object_ids) - taken - set(others["left"]) - set(others["large"])
        if lost:
            raise Unavailable(
                f"the hub did not send object {min(lost)}: try again, or report it to the operator"
            )
        others["left"] = [object_id for object_id in object_ids if object_id in set(others["left"])]
        return others

    async def _single(self, object_id: str, sink: Sink) -> None:
        content = await self.download(object_id)
        sink(object_id, content)

    async def download(self, object_id: str) -> Spool:
        """The content of one object of any size. The storage that the hub names gets no token."""
        headers = CIMultiDict(
            (name, value) for name, value in self._headers.items() if name == "Authorization"
        )
        reply = await self._hub.ask(Ask("GET", f"{self._repository}/objects/{object_id}", headers))
        if reply.status in REDIRECTS:
            location = reply.headers.get("Location", "")
            reply.close()
            reply = await self._hub.get(location)
        if not reply.is_success:
            raise Refused(reply)
        return reply.content

    async def _post(self, route: str, value: dict[str, Any]) -> Reply:
        """The reply to a step. Raises Refused."""
        body = Body(None)
        body.write(codec.pack_record(value))
        body.end()
        try:
            ask = Ask("POST", f"{self._repository}/{route}", self._headers, body, expands=True)
            reply = await self._hub.ask(ask)
        finally:
            body.close()
        if not reply.is_success:
            raise Refused(reply)
        return reply


def _add_commit(part: Part, packed: bytes) -> None:
    record = codec.unpack_record(packed)
    parents = [record.get("parent_commit_id"), record.get("parent2_commit_id")]
    part.parents[record["commit_id"]] = [parent for parent in parents if parent]
    part.commits.add(packed)


def _add_snapshot(part: Part, offer: Offer, packed: bytes) -> None:
    snapshot_id, whole = offer.take(packed)
    part.snapshot_ids.append(snapshot_id)
    part.snapshots.add(whole)


def _batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The ids in groups whose contents have about BATCH_BYTES."""
    batch = list[str]()
    size = 0
    for object_id, length in sizes.items():
        if batch and (size + length > BATCH_BYTES or len(batch) == OBJECT_IDS):
            yield batch
            batch = []
            size = 0
        batch.append(object_id)
        size += length
    if batch:
        yield batch
