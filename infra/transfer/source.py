"""The hub that is mirrored: its branches, the history that is missing, tags and releases."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgpack
from multidict import CIMultiDict

from infra.relay.bundles import Records, Snapshots, SpoolFile, read_bundle
from infra.relay.hub import Ask, Headers, Hub, Reply, error_code
from infra.relay.spool import Body, Spool
from infra.relay.steps import Part, Received, Steps
from infra.relay.steps import Refused as NoStep
from infra.transfer.target import Refused
from shared import codec

PAGE = 1000


@dataclass
class History:
    """A part of history, parents first, with the sizes of the objects that it needs by id.

    `contents` has the objects already if the hub sends everything in one reply.
    """

    part: Part
    contents: dict[str, bytes] = field(default_factory=dict)

    def commits(self) -> Iterator[bytes]:
        """Yield the packed records of the commits."""
        return _packed(self.part.commits)

    def snapshots(self) -> dict[str, tuple[int, int]]:
        """The first byte and the length of each snapshot record, by id (see `snapshot`)."""
        ranges = _ranges(self.part.snapshots)
        return dict(zip(self.part.snapshot_ids, ranges, strict=True))

    def snapshot(self, place: tuple[int, int]) -> bytes:
        """The packed record of a snapshot."""
        return self.part.snapshots.content.read(*place)


class Source:
    """A repository, `/owner/slug`, of a hub that speaks the protocol."""

    def __init__(self, hub: Hub, repository: str) -> None:
        self._hub = hub
        self._repository = repository
        self._steps = Steps(hub, repository, _headers(), Snapshots())

    async def heads(self) -> dict[str, str]:
        """The commit of each branch, the default branch first. Raises Refused."""
        heads = (await self._get("refs"))["branch_heads"]
        return dict(heads)

    async def history(self, head: str, have: Sequence[str]) -> AsyncIterator[History]:
        """Yield what `head` reaches and `have` does not, in parts. Raises Refused."""
        try:
            async for part in self._steps.parts([head], Received(have)):
                yield History(part)
        except NoStep as refused:
            if not _is_absent(refused.reply):
                raise Refused(refused.reply) from None
            refused.reply.close()
            yield await self._whole(head, have)

    async def contents(self, sizes: Mapping[str, int]) -> dict[str, bytes]:
        """The contents of objects, by id. `sizes`: in bytes, by id."""
        found: dict[str, bytes] = {}

        def take(object_id: str, content: Spool) -> None:
            found[object_id] = content.whole()
            content.close()

        try:
            await self._steps.contents(sizes, take)
        except NoStep as refused:
            raise Refused(refused.reply) from None
        return found

    async def each(self, kind: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the records of all `tags` or `releases`; none if the hub has no such route."""
        cursor = ""
        while True:
            query = f"?limit={PAGE}" + (f"&cursor={quote(cursor)}" if cursor else "")
            try:
                page = await self._get(kind + query)
            except Refused as refused:
                if refused.code in ("", "not_found"):
                    return
                raise
            for record in page[kind]:
                yield record
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return

    async def _whole(self, head: str, have: Sequence[str]) -> History:
        """The same in one reply, for hubs that have no steps."""
        body = Body(None)
        try:
            body.write(codec.pack_record({"want": [head], "have": list(have)}))
            body.end()
            ask = Ask("POST", f"{self._repository}/fetch", _headers(), body)
            reply = await self._hub.ask(ask.expanding())
        finally:
            body.close()
        if not reply.is_success:
            raise Refused(reply)
        return _history(reply)

    async def _get(self, path: str) -> dict[str, Any]:
        reply = await self._hub.ask(Ask("GET", f"{self._repository}/{path}", _headers()))
        try:
            if not reply.is_success:
                raise Refused(reply)
            return reply.value()
        finally:
            reply.close()


def _history(reply: Reply) -> History:
    """The bundle of a fetch. Its records are in no order, so parents are sorted first."""
    commits: dict[str, dict[str, Any]] = {}
    history = History(Part(is_complete=True))

    def take_commit(packed: bytes) -> None:
        record = codec.unpack_record(packed)
        commits[record["commit_id"]] = record

    def take_snapshot(packed: bytes) -> None:
        history.part.snapshot_ids.append(codec.unpack_record(packed)["snapshot_id"])
        history.part.snapshots.add(packed)

    def take_object(packed: bytes) -> None:
        record = codec.unpack_record(packed)
        history.contents[record["object_id"]] = record["content"]
        history.part.objects[record["object_id"]] = len(record["content"])

    takers = {"commits": take_commit, "snapshots": take_snapshot, "objects": take_object}
    try:
        read_bundle(reply.content, takers)
    finally:
        reply.close()
    for record in _parents_first(commits):
        history.part.parents[record["commit_id"]] = _parents(record)
        history.part.commits.add(codec.pack_record(record))
    return history


def _parents_first(commits: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    pending = [(commit_id, False) for commit_id in commits]
    while pending:
        commit_id, is_expanded = pending.pop()
        if is_expanded:
            yield commits[commit_id]
        elif commit_id in commits and commit_id not in seen:
            seen.add(commit_id)
            pending.append((commit_id, True))
            pending += [(parent, False) for parent in _parents(commits[commit_id])]


def _parents(record: Mapping[str, Any]) -> list[str]:
    return [p for p in (record.get("parent_commit_id"), record.get("parent2_commit_id")) if p]


def _packed(records: Records) -> Iterator[bytes]:
    for start, length in _ranges(records):
        yield records.content.read(start, length)


def _ranges(records: Records) -> Iterator[tuple[int, int]]:
    """Yield the first byte and the length of each record."""
    unpacker = msgpack.Unpacker(SpoolFile(records.content), raw=False)
    for _ in range(records.count):
        start = unpacker.tell()
        unpacker.skip()
        yield start, unpacker.tell() - start


def _is_absent(reply: Reply) -> bool:
    """Whether the hub does not know the route."""
    return reply.status in (404, 405) and error_code(reply) in ("", "not_found")


def _headers() -> Headers:
    return CIMultiDict({"Accept": codec.MSGPACK, "Content-Type": codec.MSGPACK})
