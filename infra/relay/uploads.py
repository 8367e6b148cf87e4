"""POST push and push/objects: bodies of any size, to a hub that takes 4.69 MB at once.

    push/objects   the list of objects is split into slices, which are sent in parallel
    push           one body, compressed as it arrives; a body that is too large for the hub is sent
                   in stretches of history
    both           a body above DIRECT_BYTES is staged: it is uploaded to the storage, and an empty
                   request refers to it

The body of the client is taken in at once, into temporary files: the client gives up if sending
takes 60 s in all.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgpack
from multidict import CIMultiDict

from infra.relay import history
from infra.relay.hub import Ask, Hub, Reply, error_code
from infra.relay.progress import Transfer, duration, size_text
from infra.relay.spool import Body
from shared import codec
from shared.codings import Coding
from shared.errors import MalformedBody, TooLarge, Unavailable

DIRECT_BYTES = 4_000_000
"""The largest body in a request: Lambda takes about 4.69 MB."""
SLICE_BYTES = 3_500_000
"""A slice of objects ends above this size, compressed.

The stock client's objects here have up to 64 KiB.
"""
SLICE_RAW_BYTES = 16 * 1024 * 1024
"""A slice of objects ends above this size, expanded: the function holds it in memory."""
SLICE_OBJECTS = 1_000
"""The most objects that the hub takes in one request."""
WHOLE_BYTES = 32 * 1024 * 1024
"""The largest push in one request, expanded. The commits of a push go to one partition of DynamoDB:
5,000 commits of 6.5 kB, which is this size, take 15 of the 29 seconds of the function there.
"""
SENT_AT_ONCE = 4
LARGEST_OBJECT_BYTES = 64 * 1024 * 1024
STAGE_ATTEMPTS = 2

Pieces = AsyncIterator[bytes]
T = TypeVar("T")


class _Refused(Exception):
    """The hub refused. The reply is for the client."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Uploads:
    """The pushes of the client."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._sending = asyncio.Semaphore(SENT_AT_ONCE)
        self._has_staging = True

    async def whole(self, ask: Ask, pieces: Pieces, title: str) -> Reply:
        """The reply to a request with this body."""
        body = await self._taken(pieces)
        try:
            with self._hub.progress.transfer(title, body.size) as transfer:
                reply = await self._send(ask, body, transfer)
                self._report(transfer, reply, body.raw_size)
                return reply
        finally:
            body.close()

    async def push(self, ask: Ask, pieces: Pieces, title: str) -> Reply:
        """The reply to a push in msgpack: in one request if the hub takes it, else in several."""
        body = await self._taken(pieces)
        try:
            with self._hub.progress.transfer(title, body.size) as transfer:
                reply = await self._push(ask, body, transfer)
                self._report(transfer, reply, body.raw_size)
                return reply
        finally:
            body.close()

    async def _push(self, ask: Ask, body: Body, transfer: Transfer) -> Reply:
        reply = None
        if body.raw_size <= WHOLE_BYTES:
            reply = await self._send(ask, body, transfer)
            if reply.status != 413:
                return reply
        plain = body.expanded() if body.coding else body
        try:
            push = history.read_push(plain.content)
            if reply and not push.is_too_long:
                return reply
            return await self._in_stretches(ask, push, transfer)
        finally:
            if plain is not body:
                plain.close()

    async def _in_stretches(self, ask: Ask, push: history.Push, transfer: Transfer) -> Reply:
        """The reply to the last of several pushes, or the first refusal."""
        if push.objects:
            reply = await self._inline_objects(ask, push, transfer)
            if not reply.is_success:
                return reply
            reply.close()
        head = await self._head(ask, push.branch)
        if push.tip:
            stretches = push.stretches(head)
        else:
            stretches = [set(push.commits)]
        sent = set[str]()
        for stretch in stretches[:-1]:
            reply = await self._stretch(ask, push.body(stretch, sent), transfer)
            if not reply.is_success:
                return reply
            reply.close()
        return await self._stretch(ask, push.body(stretches[-1], sent), transfer)

    async def _inline_objects(self, ask: Ask, push: history.Push, transfer: Transfer) -> Reply:
        path, _, query = ask.path.partition("?")
        objects = replace(ask, path=f"{path.rstrip('/')}/objects?{query}".rstrip("?"))
        return await _Batch(self, objects, transfer).run(_each(push.inline_objects()))

    async def _stretch(self, ask: Ask, pieces: Iterable[bytes], transfer: Transfer) -> Reply:
        body = await self._taken(_each(pieces))
        try:
            return await self._send(ask, body, transfer)
        finally:
            body.close()

    async def _head(self, ask: Ask, branch: str) -> str:
        """The head of a branch of the hub; empty if the branch does not exist."""
        repository, _ = _split(ask.path)
        headers = CIMultiDict(
            (name, ask.headers[name]) for name in ("Authorization",) if name in ask.headers
        )
        headers["Accept"] = codec.MSGPACK
        reply = await self._hub.ask(Ask("GET", f"{repository}/refs", headers))
        if reply.is_success:
            heads = reply.value().get("branch_heads")
        else:
            heads = None
        reply.close()
        if isinstance(heads, dict):
            return str(heads.get(branch, ""))
        return ""

    async def objects(self, ask: Ask, pieces: Pieces, title: str) -> Reply:
        """The reply to a push of objects: the sum of the replies to its slices, or the first
        refusal.
        """
        with self._hub.progress.transfer(title) as transfer:
            batch = _Batch(self, ask, transfer)
            reply = await batch.run(pieces)
            self._report(transfer, reply, batch.raw_size)
            return reply

    def new_body(self) -> Body:
        """An empty body in the coding that the hub takes."""
        return Body(Coding.ZSTD if self._hub.takes_codings else None)

    async def send_in_turn(self, ask: Ask, body: Body, transfer: Transfer) -> Reply:
        """The same as one of many."""
        async with self._sending:
            return await self._send(ask, body, transfer)

    async def _taken(self, pieces: Pieces) -> Body:
        body = self.new_body()
        try:
            async for piece in pieces:
                body.write(piece)
            body.end()
        except BaseException:
            body.close()
            raise
        return body

    async def _send(self, ask: Ask, body: Body, transfer: Transfer) -> Reply:
        body.on_sent = transfer.add
        if body.size > DIRECT_BYTES and self._has_staging:
            try:
                return await self._staged(ask, body)
            except _NoStaging:
                self._has_staging = False
            except _Refused as refused:
                return refused.reply
        return await self._hub.ask(ask.with_body(body))

    async def _staged(self, ask: Ask, body: Body) -> Reply:
        """The reply to a request whose body is in the storage. Raises _Refused and _NoStaging."""
        for _ in range(STAGE_ATTEMPTS):
            reference = await self._stage(ask, body)
            headers = {"Pieria_Staged_Body": reference}
            if body.coding:
                headers["Content_Encoding"] = body.coding
            reply = await self._hub.ask(ask.with_body(None, **headers))
            if error_code(reply) != "staged_body_invalid":
                break
        return reply

    async def _stage(self, ask: Ask, body: Body) -> str:
        """Upload a body. Returns the reference to it."""
        repository, route = _split(ask.path)
        place = await self._place(ask, repository, {"route": route, "size": body.size})
        for _ in range(STAGE_ATTEMPTS):
            status = await self._hub.put(str(place["url"]), body)
            if 200 <= status < 300:
                return str(place["reference"])
        raise Unavailable(f"the storage of the hub refused the upload ({status}): push again")

    async def _place(self, ask: Ask, repository: str, wanted: dict[str, Any]) -> dict[str, object]:
        packed = Body(None)
        packed.write(codec.pack_record(wanted))
        packed.end()
        headers = ask.headers.copy()
        headers["Accept"] = headers["Content-Type"] = codec.MSGPACK
        reply = await self._hub.ask(Ask("POST", f"{repository}/staging", headers, packed))
        packed.close()
        if reply.is_success:
            return reply.value()
        if reply.status == 405 or error_code(reply) == "not_found":
            raise _NoStaging
        raise _Refused(reply)

    def _report(self, transfer: Transfer, reply: Reply, raw_size: int) -> None:
        """One line about a push that moved more than a few bytes, or that was refused."""
        if not reply.is_success:
            self._hub.progress.say(f"{transfer.title}: the hub refused it ({reply.status})")
        elif raw_size >= DIRECT_BYTES:
            sizes = f"{size_text(raw_size)}, sent as {size_text(transfer.done)}"
            self._hub.progress.say(f"{transfer.title}: {sizes}, {duration(transfer.seconds)}")


class _NoStaging(Exception):
    """The hub has no route to stage a body."""


@dataclass
class _Batch:
    """One push of objects, on its way in slices."""

    uploads: Uploads
    ask: Ask
    transfer: Transfer
    raw_size: int = 0
    tasks: list[asyncio.Task[Reply]] = field(default_factory=list)
    refusal: Reply | None = None

    async def run(self, pieces: Pieces) -> Reply:
        """The reply for the client."""
        try:
            async for body in self._slices(pieces):
                self.raw_size += body.raw_size
                self.transfer.add(0, self.transfer.total + body.size)
                self.tasks.append(asyncio.create_task(self._sent(body)))
            replies = await asyncio.gather(*self.tasks)
        except BaseException:
            await _cancelled(self.tasks)
            raise
        return self.refusal or _sum(replies)

    async def _sent(self, body: Body) -> Reply:
        try:
            if self.refusal:
                return self.refusal
            reply = await self.uploads.send_in_turn(self.ask, body, self.transfer)
        finally:
            body.close()
        if not reply.is_success and not self.refusal:
            self.refusal = reply
        return reply

    async def _slices(self, pieces: Pieces) -> AsyncIterator[Body]:
        """The objects of the client's body, as bodies of their own; one at least."""
        body = self.uploads.new_body()
        count = 0
        async for packed in _objects(pieces):
            body.write(packed)
            count += 1
            is_full = count == SLICE_OBJECTS or body.size >= SLICE_BYTES
            if is_full or body.raw_size >= SLICE_RAW_BYTES:
                yield _ended(body, count)
                body = self.uploads.new_body()
                count = 0
        if count or not self.tasks:
            yield _ended(body, count)
        else:
            body.close()


def _ended(body: Body, count: int) -> Body:
    body.end(codec.map_start(1, {}) + codec.list_start("objects", count))
    return body


async def _objects(pieces: Pieces) -> AsyncIterator[bytes]:
    """The packed objects of a body of push/objects. Raises MalformedBody and TooLarge."""
    values = _Values(pieces)
    for _ in range(await values.next(values.unpacker.read_map_header)):
        key = await values.next(values.unpacker.unpack)
        if key != "objects":
            await values.next(values.unpacker.skip)
            continue
        for _ in range(await values.next(values.unpacker.read_array_header)):
            yield codec.pack_record(await values.next(values.unpacker.unpack))
    async for _ in pieces:
        pass  # the client sends its body to the end before it reads the reply


class _Values:
    """The values of a msgpack stream that arrives in pieces."""

    def __init__(self, pieces: Pieces) -> None:
        self.unpacker = msgpack.Unpacker(raw=False, max_buffer_size=2 * LARGEST_OBJECT_BYTES)
        self._pieces = pieces

    async def next(self, read: Callable[[], T]) -> T:
        """The next value, by a method of the unpacker."""
        while True:
            try:
                return read()
            except msgpack.OutOfData:
                self._feed(await anext(self._pieces, b""))
            except ValueError as error:
                raise MalformedBody(f"the body is not msgpack: {type(error).__name__}") from error

    def _feed(self, piece: bytes) -> None:
        if not piece:
            raise MalformedBody("the body is not msgpack: it is cut off")
        try:
            self.unpacker.feed(piece)
        except msgpack.BufferFull:
            raise TooLarge(
                f"an object has more than {LARGEST_OBJECT_BYTES} bytes: presign it"
            ) from None


async def _each(pieces: Iterable[bytes]) -> Pieces:
    for piece in pieces:
        yield piece


def _sum(replies: list[Reply]) -> Reply:
    """One reply for all slices: how many objects were stored, and how many the hub had."""
    first, *others = replies
    if not others:
        return first
    counts = {"stored": 0, "skipped": 0}
    for reply in replies:
        value = reply.value()
        for name in counts:
            count = value.get(name)
            counts[name] += count if isinstance(count, int) else 0
        reply.close()
    total = Reply(first.status, first.headers)
    total.content.write(codec.pack_record(counts))
    return total


def _split(path: str) -> tuple[str, str]:
    """The path of a repository, and the route below it: `/me/song`, `push/objects`."""
    _, owner, slug, route = path.partition("?")[0].split("/", 3)
    return f"/{owner}/{slug}", route.rstrip("/")


async def _cancelled(tasks: list[asyncio.Task[Reply]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
