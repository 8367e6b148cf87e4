"""The hub that receives: one function for each request. Bodies of any size pass as in the relay."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
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
Read = Callable[[Sequence[str]], Iterator[tuple[str, bytes]]]
"""Reads objects: yields the id and the content of each."""


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

    async def send_objects(self, object_ids: Sequence[str], read: Read) -> int:
        """Send those of these objects that the hub does not have. Returns their number."""
        missing: list[str] = []
        for start in range(0, len(object_ids), FILTER_IDS):
            asked = {"object_ids": object_ids[start : start + FILTER_IDS]}
            reply = await self._ask("filter-objects", asked)
            missing += reply["missing"]
        group: list[bytes] = []
        size_bytes = 0
        for object_id, content in read(missing):
            if len(content) > LARGE_BYTES and await self._is_uploaded(object_id, content):
                continue
            group.append(codec.pack_record({"object_id": object_id, "content": content}))
            size_bytes += len(content)
            if size_bytes >= GROUP_BYTES:
                await self._send(group)
                group = []
                size_bytes = 0
        await self._send(group)
        return len(missing)

    async def _send(self, objects: Sequence[bytes]) -> None:
        if objects:
            ask = Ask("POST", f"{self._repository}/push/objects", _headers())
            start = codec.map_start(1, {}) + codec.list_start("objects", len(objects))
            _value(await self._uploads.objects(ask, _each([start, *objects]), "objects"))

    async def push(
        self, branch: str, head: str, records: tuple[list[Record], list[Record]], *, force: bool
    ) -> None:
        """Push commits and snapshots, and move the branch to `head`. Raises Unable."""
        for _ in range(PENDING):
            ask = Ask("POST", f"{self._repository}/push", _headers())
            pieces = _push_body(branch, head, records, force=force)
            reply = await self._uploads.push(ask, _each(pieces), f"push of {branch}")
            if error_code(reply) != "uploads_pending":
                _value(reply)
                return
            reply.close()
        raise Unable("the hub is still verifying the uploads: run the same command again")

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
    """The value of a reply. Raises Unable with the reason of a refusal."""
    try:
        if not reply.is_success:
            raise Unable(f"the hub refused: {refusal_text(reply)}")
        return reply.value()
    finally:
        reply.close()


def _push_body(
    branch: str, head: str, records: tuple[list[Record], list[Record]], *, force: bool
) -> Iterator[bytes]:
    commits, snapshots = records
    yield codec.map_start(1, {"branch": branch, "force": force})
    yield msgpack.packb("bundle") + codec.map_start(3, {"branch_heads": {branch: head}})
    for name, some in (("commits", commits), ("snapshots", snapshots)):
        yield codec.list_start(name, len(some))
        yield from map(codec.pack_record, some)
    yield codec.list_start("objects", 0)


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
