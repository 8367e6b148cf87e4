"""The hub that receives: one function for each request. Bodies of any size pass as in the relay."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgpack
from multidict import CIMultiDict

from infra.relay.address import Unable
from infra.relay.hub import Ask, Headers, Hub, Reply, error_code, refusal_text
from infra.relay.spool import Body
from infra.relay.uploads import Uploads
from shared import codec

FILTER_IDS = 10_000
NEGOTIATE_IDS = 256
TAGS = 500
GROUP_BYTES = 16 * 1024 * 1024
"""Objects that are in memory at once, and sent as parallel requests."""
LARGE_BYTES = 8 * 1024 * 1024
"""A larger object is uploaded to a presigned URL."""
PENDING = 100
"""Attempts of a push whose uploads the hub verifies in parts."""

Record = Mapping[str, Any]
Packed = tuple[Sequence[bytes], Sequence[bytes]]
"""The packed records of commits, and those of snapshots."""


class Refused(Unable):
    """The hub refused a request. `code`: that of the refusal."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"the hub refused: {refusal_text(reply)}")
        self.code = error_code(reply)


class Target:
    """A repository, `/owner/slug`, of a hub."""

    def __init__(self, hub: Hub, repository: str) -> None:
        self._hub = hub
        self._repository = repository
        self._uploads = Uploads(hub)

    async def heads(self) -> dict[str, str]:
        """The commit of each branch. Empty if there is no repository yet."""
        reply = await self._hub.ask(Ask("GET", f"{self._repository}/refs", _headers()))
        if error_code(reply) == "repo_not_found":
            reply.close()
            return {}
        heads = _value(reply)["branch_heads"]
        return dict(heads)

    async def stored(self, commit_ids: Sequence[str], head: str) -> set[str]:
        """Those of these commits that the hub has. `head`: the head of any of its branches."""
        found: set[str] = set()
        for start in range(0, len(commit_ids), NEGOTIATE_IDS):
            asked = {"want": [head], "have": commit_ids[start : start + NEGOTIATE_IDS]}
            found.update((await self._ask("negotiate", asked))["ack"])
        return found

    async def missing(self, object_ids: Sequence[str]) -> list[str]:
        """Those of these objects that the hub does not have."""
        found: list[str] = []
        for start in range(0, len(object_ids), FILTER_IDS):
            asked = {"object_ids": object_ids[start : start + FILTER_IDS]}
            found += (await self._ask("filter-objects", asked))["missing"]
        return found

    async def send(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Send objects: the id and the content of each."""
        group: list[bytes] = []
        size_bytes = 0
        for object_id, content in objects:
            if len(content) > LARGE_BYTES and await self._is_uploaded(object_id, content):
                continue
            group.append(codec.pack_record({"object_id": object_id, "content": content}))
            size_bytes += len(content)
            if size_bytes >= GROUP_BYTES:
                await self._send(group)
                group = []
                size_bytes = 0
        await self._send(group)

    async def _send(self, objects: Sequence[bytes]) -> None:
        if objects:
            ask = Ask("POST", f"{self._repository}/push/objects", _headers())
            start = codec.map_start(1, {}) + codec.list_start("objects", len(objects))
            _value(await self._uploads.objects(ask, _each([start, *objects]), "objects"))

    async def push(
        self, branch: str, head: str, records: Packed = ((), ()), *, force: bool = False
    ) -> None:
        """Push commits and snapshots, and move the branch to `head`.

        Raises Refused with the code, and Unable if the hub does not answer.
        """
        for _ in range(PENDING):
            ask = Ask("POST", f"{self._repository}/push", _headers())
            pieces = _push_body(branch, head, records, force=force)
            reply = await self._uploads.push(ask, _each(pieces), f"push of {branch}")
            if error_code(reply) != "uploads_pending":
                _value(reply)
                return
            reply.close()
        raise Unable("the hub is still verifying the uploads: run the same command again")

    async def release(self, record: Record) -> None:
        """Publish a release, unless it is published."""
        await self._ask("releases", record)

    async def tag(self, tags: Sequence[Record]) -> int:
        """Store tags. Returns the number of new ones."""
        stored = 0
        for start in range(0, len(tags), TAGS):
            reply = await self._ask("tags", {"tags": tags[start : start + TAGS]})
            stored += reply["stored"]
        return stored

    async def _is_uploaded(self, object_id: str, content: bytes) -> bool:
        """Upload an object to a presigned URL, if the hub gives one."""
        asked = {
            "object_ids": [object_id],
            "direction": "put",
            "sizes": {object_id: len(content)},
        }
        url = (await self._ask("presign", asked))["presigned"].get(object_id)
        if url is None:
            return False
        body = Body(None)
        try:
            body.write(content)
            body.end()
            status = await self._hub.put(url, body)
        finally:
            body.close()
        if not 200 <= status < 300:
            raise Unable(f"the storage of the hub refused object {object_id} ({status}): run again")
        return True

    async def _ask(self, route: str, value: Record) -> dict[str, Any]:
        body = Body(None)
        try:
            body.write(codec.pack_record(value))
            body.end()
            ask = Ask("POST", f"{self._repository}/{route}", _headers(), body)
            return _value(await self._hub.ask(ask))
        finally:
            body.close()


def _headers() -> Headers:
    return CIMultiDict({"Accept": codec.MSGPACK, "Content-Type": codec.MSGPACK})


def _value(reply: Reply) -> dict[str, Any]:
    """The value of a reply. Raises Refused."""
    try:
        if not reply.is_success:
            raise Refused(reply)
        return reply.value()
    finally:
        reply.close()


def _push_body(branch: str, head: str, records: Packed, *, force: bool) -> Iterator[bytes]:
    commits, snapshots = records
    yield codec.map_start(1, {"branch": branch, "force": force})
    yield msgpack.packb("bundle") + codec.map_start(3, {"branch_heads": {branch: head}})
    for name, some in (("commits", commits), ("snapshots", snapshots)):
        yield codec.list_start(name, len(some))
        yield from some
    yield codec.list_start("objects", 0)


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
