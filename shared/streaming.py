"""A reply that is made while it is sent, and whose length was said before.

Whoever reads it can tell a whole one from one that broke off: what cannot be read to its end is never
ended, so that less than its Content-Length arrives and the connection is cut.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

PIECE = 256 * 1024
"""How much is handed to the server at once: what a slow reader has yet to take is kept in memory."""


class Streamed(StreamingResponse):
    """A reply of exactly `length` bytes in pieces of any size, taken one by one as the reader takes them.

    A failure before the first piece is an ordinary one. A later one is raised, for the server to cut the
    connection. A reader who leaves ends the making. In Lambda's buffered replies, where nothing can be cut, the
    whole is made before anything is said.
    """

    def __init__(self, pieces: AsyncGenerator[bytes | memoryview, None], length: int, media_type: str) -> None:
        super().__init__(pieces, headers={"content-length": str(length)}, media_type=media_type)
        self._pieces = pieces
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        async with aclosing(_cut(self._pieces)) as pieces:
            if "aws.event" in scope:
                body = b"".join([piece async for piece in pieces])
                _check(len(body), self._length)
                await Response(body, media_type=self.media_type)(scope, receive, send)
                return
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
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sent = len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        async for piece in pieces:
            sent += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        _check(sent, self._length)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cut(pieces: AsyncGenerator[bytes | memoryview, None]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of that size or up to twice as large, the last one excepted. Copied once at most."""
    async with aclosing(pieces):
        gathered: list[bytes | memoryview] = []
        size = 0
        async for piece in pieces:
            for part in [piece] if len(piece) <= PIECE else _slices(piece):
                gathered.append(part)
                size += len(part)
                if size >= PIECE:
                    yield b"".join(gathered)
                    gathered, size = [], 0
        if gathered:
            yield b"".join(gathered)


def _slices(piece: bytes | memoryview) -> Iterator[memoryview]:
    view = memoryview(piece)
    return (view[start : start + PIECE] for start in range(0, len(view), PIECE))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _check(sent: int, length: int) -> None:
    if sent != length:
        raise RuntimeError(f"{sent} bytes were made of a reply that was said to have {length}")
