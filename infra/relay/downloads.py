"""POST fetch: one reply for the stock client, which reads 64 MiB at most and cannot ask for less.

The hub compresses its reply. If the difference does not fit into one reply of the hub, it is
fetched in steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDict

from infra.relay.bundles import LISTS, Bundle, Offer, Snapshots, read_bundle
from infra.relay.hub import Ask, Hub, Reply, error_code
from infra.relay.progress import Transfer, duration, size_text
from infra.relay.spool import Body, Spool
from infra.relay.steps import Received, Refused, Steps
from shared import codec
from shared.codings import Coding
from shared.errors import TooLarge

CLIENT_BYTES = 64 * 1024 * 1024
"""The most that the stock client reads of a reply."""
OBJECT_OVERHEAD_BYTES = 100
"""What an object has in a bundle besides its content: its id and the names of its keys."""
COMPRESSED_FROM_BYTES = 64 * 1024
"""A smaller request is not worth a compression."""


@dataclass(frozen=True)
class _Asked:
    """A fetch of the client from one repository, `/owner/slug`."""

    ask: Ask
    repository: str
    message: Mapping[str, Any]
    title: str

    @property
    def want(self) -> list[str]:
        """The commits that the client wants."""
        return list(self.message.get("want") or ())

    @property
    def have(self) -> list[str]:
        """The commits that the client has."""
        return list(self.message.get("have") or ())


class Downloads:
    """The fetches of the client."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._snapshots = Snapshots()

    async def fetch(self, ask: Ask, repository: str, request: Spool) -> Reply:
        """The reply to a fetch of the client, whose body is a msgpack map."""
        message = _message(request)
        if message is None:
            return await self._hub.ask(ask.with_body(_body(request.whole(), None)))
        asked = _Asked(ask, repository, message, f"fetch {repository.strip('/')}")
        offer = Offer(self._snapshots, repository)
        reply = await self._once(asked, offer)
        if reply.status == 413 and error_code(reply) == TooLarge.code:
            return await self._in_steps(asked, reply)
        if reply.is_success and reply.headers.get("Content-Type", "").startswith(codec.MSGPACK):
            return _whole(offer, reply)
        return reply

    async def _once(self, asked: _Asked, offer: Offer) -> Reply:
        """The reply of the hub to one fetch."""
        message = dict(asked.message)
        bases = offer.bases if asked.have else {}
        if bases:
            message["bases"] = bases
        packed = codec.pack_record(message)
        is_coded = self._hub.takes_codings and len(packed) >= COMPRESSED_FROM_BYTES
        body = _body(packed, Coding.ZSTD if is_coded else None)
        try:
            return await self._hub.ask(asked.ask.with_body(body).expanding())
        finally:
            body.close()

    async def _in_steps(self, asked: _Asked, refusal: Reply) -> Reply:
        steps = Steps(self._hub, asked.repository, asked.ask.headers, self._snapshots)
        bundle = Bundle()
        try:
            with self._hub.progress.transfer(asked.title) as transfer:
                reply = await self._gathered(asked, steps, bundle, transfer)
            sizes = f"{size_text(reply.content.size)}, {duration(transfer.seconds)}"
            self._hub.progress.say(f"{asked.title}: {sizes}")
        except Refused as refused:
            if not is_absent(refused.reply):
                refusal.close()
                return refused.reply
            refused.reply.close()
            return refusal
        finally:
            bundle.close()
        refusal.close()
        return reply

    async def _gathered(
        self, asked: _Asked, steps: Steps, bundle: Bundle, transfer: Transfer
    ) -> Reply:
        """One reply from many. Raises TooLarge before any content is read, if the client would not
        read the reply.
        """
        sizes: dict[str, int] = {}
        heads: dict[str, str] = {}
        async for part in steps.parts(asked.want, Received(asked.have)):
            for name, records in (("commits", part.commits), ("snapshots", part.snapshots)):
                transfer.add(records.content.size)
                bundle.lists[name].append(records)
            sizes |= part.objects
            heads = part.branch_heads
            part.close()
            self._check(asked, bundle.size, sizes)
        transfer.add(0, bundle.size + sum(sizes.values()))

        def add_object(object_id: str, content: Spool) -> None:
            objects = bundle.lists["objects"]
            objects.add_pieces(codec.object_start(object_id, content.size), content.pieces())
            transfer.add(content.size)
            content.close()

        await steps.contents(sizes, add_object)
        return _reply(bundle, {"branch_heads": heads})

    def _check(self, asked: _Asked, records_bytes: int, sizes: Mapping[str, int]) -> None:
        size = records_bytes + sum(sizes.values()) + OBJECT_OVERHEAD_BYTES * len(sizes)
        if size > CLIENT_BYTES:
            url = self._hub.address.url + asked.repository
            raise TooLarge(
                f"this is more than the {CLIENT_BYTES} bytes that the client reads at once:"
                f" make a new working copy with `pieria clone {url} DIRECTORY`"
            )


def _whole(offer: Offer, reply: Reply) -> Reply:
    """The reply with whole snapshots, where the hub sent patches.

    The records are kept for the next fetch.
    """
    is_patched = False
    bundle = Bundle()

    def add_snapshot(packed: bytes) -> None:
        nonlocal is_patched
        _, whole = offer.take(packed)
        is_patched = is_patched or whole is not packed
        bundle.lists["snapshots"].add(whole)

    try:
        read_bundle(
            reply.content, {"snapshots": add_snapshot, "commits": _ignore, "objects": _ignore}
        )
        if not is_patched:
            return reply
        take = {name: bundle.lists[name].add for name in LISTS if name != "snapshots"}
        rest = read_bundle(reply.content, {**take, "snapshots": _ignore})
        reply.close()
        return _reply(bundle, rest)
    finally:
        bundle.close()


def is_absent(reply: Reply) -> bool:
    """Whether a refusal means that the hub has no such route."""
    return reply.status == 405 or error_code(reply) == "not_found"


def _message(request: Spool) -> dict[str, Any] | None:
    """The client's request; None if it is not the map that a fetch has.

    The hub states the fault.
    """
    try:
        message = codec.unpack_record(request.whole())
    except ValueError:
        return None
    lists: Sequence[object] = (
        [message.get("want", []), message.get("have", [])] if isinstance(message, dict) else [0]
    )
    is_fetch = all(isinstance(ids, list) and all(isinstance(i, str) for i in ids) for ids in lists)
    return message if is_fetch else None


def _body(data: bytes, coding: Coding | None) -> Body:
    body = Body(coding)
    body.write(data)
    body.end()
    return body


def _reply(bundle: Bundle, rest: Mapping[str, Any]) -> Reply:
    reply = Reply(200, CIMultiDict({"Content-Type": codec.MSGPACK}))
    for piece in bundle.packed(rest):
        reply.content.write(piece)
    return reply


def _ignore(_: bytes) -> None:
    pass
