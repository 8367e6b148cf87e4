"""One connection of a server that we start: `uvicorn --http shared.connection:Connection`.

uvicorn has no time limit for the head of a request, and answers requests that are not HTTP in plain
text. It writes the head and the body of a reply in two packets.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared.bodies import TOO_SLOW
from shared.errors import ApiError, BadRequest, RequestTimeout
from shared.middleware import CLOSE, refusal

HEAD_SECONDS = 20
"""From the first byte of a request, or the opening of the connection, to the end of the request's
headers.
"""


PENDING_BYTES = 64 * 1024
"""More bytes are written at once, so that a long reply waits for a slow client as before."""


class JoinedWrites:
    """A transport that sends the writes of one step of the event loop in one packet."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending = bytearray()

    def write(self, data: bytes) -> None:
        """Write these bytes at the end of the step, or at once if they are many."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending += data
        if len(self._pending) > PENDING_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the pending bytes, and close the connection."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        pending = bytes(self._pending)
        self._pending.clear()
        if pending:
            self._transport.write(pending)


class Connection(H11Protocol):
    """HTTP/1.1 with a time limit for the head of each request."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        joined = JoinedWrites(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, joined))
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._forget_deadline()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP."""
        self._refuse(BadRequest("this is no HTTP request that can be read; check the client"))

    def _watch(self) -> None:
        # Between two requests uvicorn's own timer for idle connections runs.
        is_idle = self.timeout_keep_alive_task is not None
        if self.conn.their_state is not h11.IDLE or is_idle or self.transport.is_closing():
            self._forget_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._end)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        started, _ = self.conn.trailing_data
        if started:
            self._refuse(RequestTimeout(TOO_SLOW))
        else:
            self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        """Answer with the body of every refusal, unless an answer is under way, and close the
        connection.
        """
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = refusal(error)
            headers = [*self.server_state.default_headers, *answer.raw_headers, CLOSE]
            reason = HTTPStatus(answer.status_code).phrase.encode()
            head = h11.Response(status_code=answer.status_code, headers=headers, reason=reason)
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
