"""Replies to a fetch: negotiated, compressed, and made while they are sent.

    terms = Terms.of(request, max_reply_bytes)    codings that the caller accepts; the limit
    send(terms, whole)                            a reply that is sent whole, or refused
    send_part(terms, part)                        a part of a longer reply, cut until it fits

A reader can always distinguish a complete reply from an interrupted one. A reply that is not
compressed has a Content-Length. A compressed one has none, because its length is known at its end.
Its end has a checksum of the whole. If a reply cannot be read to its end, that end is not sent, and
the server cuts the connection.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from shared import codec, codings
from shared.codings import Coding, Compressor, Frame
from shared.errors import TooLarge

PIECE_BYTES = 256 * 1024
"""Bytes that are passed to the server at once. Memory holds them until a slow reader takes them."""
EXPANDED_REPLY_BYTES = 64 * 1024 * 1024
"""The most bytes that a compressed reply of a buffered Lambda function expands to: clients accept
64 MiB.
"""
JSON_BYTES = 16 * 1024 * 1024
"""The largest reply in JSON, which is made in memory."""
VARY = "Accept, Accept-Encoding"

Piece = bytes | memoryview


class Whole(Protocol):
    """A reply: its length in msgpack, and its bytes."""

    @property
    def size(self) -> int:
        """The bytes of the reply in msgpack, before it is compressed."""

    def in_msgpack(self) -> AsyncGenerator[Piece, None]:
        """The reply in pieces of any size."""

    def to_compress(self, coding: Coding) -> AsyncGenerator[Piece | Frame, None]:
        """The same, its entries in an order in which similar ones are neighbours. It takes more
        memory.

        In a zstd reply, a part may be a frame that is stored compressed.
        """


P = TypeVar("P", bound="Part")


class Part(Whole, Protocol):
    """A reply with a part of a longer list: as much as fits."""

    def smaller(self: P, most_bytes: int) -> P:
        """A part with fewer entries, of at most about `most_bytes`.

        Raises TooLarge if none fits.
        """


@dataclass(frozen=True, slots=True)
class Terms:
    """How a reply is sent.

    `is_buffered`: Lambda takes the reply in one piece. Then `max_reply_bytes` limits the compressed
    bytes.
    """

    as_msgpack: bool
    coding: Coding | None
    is_buffered: bool
    max_reply_bytes: int

    @classmethod
    def of(cls, request: Request, max_reply_bytes: int) -> "Terms":
        """The terms for a request on a hub that sends this much at once."""
        return cls(
            as_msgpack=codec.accepts_msgpack(request.headers.get("accept", "")),
            coding=codings.accepted(request.headers.get("accept-encoding", "")),
            is_buffered=_is_buffered(request.scope),
            max_reply_bytes=max_reply_bytes,
        )

    @property
    def most_bytes(self) -> int:
        """The largest reply in msgpack, before it is compressed."""
        if self.coding and self.is_buffered:
            return max(self.max_reply_bytes, EXPANDED_REPLY_BYTES)
        return self.max_reply_bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a negotiated reply."""
        return {"Vary": VARY, **({"Content-Encoding": self.coding} if self.coding else {})}

    @property
    def media_type(self) -> str:
        """The media type of the reply."""
        if self.as_msgpack:
            return codec.MSGPACK
        return codec.JSON


class _Full(Exception):
    """A reply is too large to send. About `expanded_bytes` of its msgpack can be sent."""

    def __init__(self, expanded_bytes: int) -> None:
        self.expanded_bytes = expanded_bytes
        super().__init__()


async def send(terms: Terms, whole: Whole) -> Response:
    """The reply. Raises TooLarge, before anything is sent, if it is larger than can be sent at
    once.
    """
    if terms.as_msgpack and not terms.is_buffered:
        return Streamed(terms, whole)
    try:
        return await _buffered(terms, whole)
    except _Full:
        raise _too_large(terms) from None


async def send_part(terms: Terms, part: P) -> Response:
    """The reply with as much of the part as can be sent.

    Raises TooLarge if not even one entry can.
    """
    if part.size > terms.most_bytes:
        part = part.smaller(terms.most_bytes)
    if terms.as_msgpack and not terms.is_buffered:
        return Streamed(terms, part)
    while True:
        try:
            return await _buffered(terms, part)
        except _Full as full:
            part = part.smaller(full.expanded_bytes)


class Streamed(StreamingResponse):
    """A reply in msgpack that is compressed and sent as fast as the reader takes it.

    A failure before the first piece is an ordinary one. A later one is raised, for the server to
    cut the connection. When the reader leaves, the making ends.
    """

    def __init__(self, terms: Terms, whole: Whole) -> None:
        self._pieces = _cut(_sent(whole, terms.coding))
        if terms.coding:
            length = {}
        else:
            length = {"Content-Length": str(whole.size)}
        super().__init__(
            self._pieces, headers={**terms.headers, **length}, media_type=terms.media_type
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        async with aclosing(self._pieces) as pieces:
            first = await anext(pieces, b"")
            sending = asyncio.create_task(self._send(first, pieces, send))
            leaving = asyncio.create_task(_left(receive))
            try:
                await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)
            if not sending.cancelled():
                sending.result()

    async def _send(self, piece: bytes, pieces: AsyncIterator[bytes], send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _buffered(terms: Terms, whole: Whole) -> Response:
    """The reply in one piece. Raises _Full as soon as it is known to be too large."""
    body = await (_gathered(terms, whole) if terms.as_msgpack else _in_json(terms, whole))
    return Response(body, headers=terms.headers, media_type=terms.media_type)


async def _gathered(terms: Terms, whole: Whole) -> bytes:
    gathered: list[Piece] = []
    size = 0
    expanded = 0
    async with aclosing(_sent(whole, terms.coding)) as pieces:
        async for piece, expanded_bytes in pieces:
            gathered.append(piece)
            size += len(piece)
            expanded += expanded_bytes
            if size > terms.max_reply_bytes:
                raise _Full(
                    min(expanded * 9 // 10, whole.size * terms.max_reply_bytes // size * 9 // 10)
                )
    return b"".join(gathered)


async def _in_json(terms: Terms, whole: Whole) -> bytes:
    """The reply in JSON, where the content of an object is base64 text.

    It is limited before it is compressed.
    """
    most = min(terms.max_reply_bytes, JSON_BYTES)
    if whole.size > most:
        raise _Full(most * 2 // 3)
    async with aclosing(_sent(whole, None)) as pieces:
        value: dict[str, Any] = codec.unpack_record(b"".join([piece async for piece, _ in pieces]))
    for item in value["objects"]:
        if isinstance(item, dict):
            item["encoding"] = "base64"
    body = codec.encode(value, as_msgpack=False)
    # Lambda sends the body as text within JSON. It may have a third more bytes than `most`: that is
    # for base64.
    sent = max(len(body), (len(body) + body.count(b'"') + body.count(b"\\")) * 3 // 4)
    if sent > most:
        raise _Full(whole.size * most // sent * 9 // 10)
    if not terms.coding:
        return body
    compressor = codings.compressor(terms.coding)
    return compressor.compress(body) + compressor.flush()


def _too_large(terms: Terms) -> TooLarge:
    if terms.as_msgpack:
        return TooLarge(
            f"the reply has more than {terms.max_reply_bytes} bytes, compressed too: fetch in steps"
            " with POST fetch/history and POST fetch/objects"
        )
    most = min(terms.max_reply_bytes, JSON_BYTES)
    return TooLarge(
        f"the answer would have more than {most} bytes of JSON; ask for it with Accept:"
        f" {codec.MSGPACK}, or fetch with more haves"
    )


async def _sent(whole: Whole, coding: Coding | None) -> AsyncGenerator[tuple[Piece, int], None]:
    """The bytes of a reply as they are sent; each piece with the bytes of the reply that it was
    made of.

    Raises RuntimeError before the end unless the reply has the size that was promised.
    """
    encoder = _Encoder(coding)
    made = 0
    async with aclosing(whole.to_compress(coding) if coding else whole.in_msgpack()) as pieces:
        async for piece in pieces:
            if isinstance(piece, Frame):
                expanded_bytes = piece.expanded_bytes
            else:
                expanded_bytes = len(piece)
            made += expanded_bytes
            yield encoder.encode(piece), expanded_bytes
            if coding:
                # Others are served in between: a piece takes about a millisecond.
                await asyncio.sleep(0)
    if made != whole.size:
        raise RuntimeError(f"a reply of {whole.size} bytes was made with {made}")
    yield encoder.end(), 0


class _Encoder:
    """Compresses a stream that may contain stored frames, or returns it as it is."""

    def __init__(self, coding: Coding | None) -> None:
        self._coding = coding
        self._open: Compressor | None = None
        """The compressor of the frame that has begun and not ended."""

    def encode(self, piece: Piece | Frame) -> Piece:
        """Take the next piece. Returns the next bytes, often none."""
        if isinstance(piece, Frame):
            end = self.end()
            if end:
                return b"".join((end, piece.data))
            return piece.data
        if self._coding is None:
            return piece
        if self._open is None:
            self._open = codings.compressor(self._coding)
        return self._open.compress(piece)

    def end(self) -> bytes:
        """End the frame. Returns its last bytes."""
        end = self._open.flush() if self._open else b""
        self._open = None
        return end


async def _cut(pieces: AsyncGenerator[tuple[Piece, int], None]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of that size or up to twice as large, the last one excepted.

    Copied once at most.
    """
    async with aclosing(pieces):
        gathered: list[Piece] = []
        size = 0
        async for piece, _ in pieces:
            for part in [piece] if len(piece) <= PIECE_BYTES else _slices(piece):
                gathered.append(part)
                size += len(part)
                if size >= PIECE_BYTES:
                    yield b"".join(gathered)
                    gathered = []
                    size = 0
        if gathered:
            yield b"".join(gathered)


def _slices(piece: Piece) -> Iterator[memoryview]:
    view = memoryview(piece)
    return (view[start : start + PIECE_BYTES] for start in range(0, len(view), PIECE_BYTES))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_buffered(scope: Scope) -> bool:
    return "aws.event" in scope
