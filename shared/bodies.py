"""Request bodies on their way in: how slowly they may come, and how much memory they may take
together.

The bytes of a body count, as they are when they are expanded, from the moment that they are in
memory until the request is answered. Lambda handles one request at a time, so the limits are for
the servers of a container, of one machine, and of the streaming function.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import Message, Scope

from shared.errors import RequestTimeout, Unavailable

WINDOW_SECONDS = 30
WINDOW_BYTES = 32 * 1024
"""The least that a client must send in a window, unless the body ends: about 1 kB/s."""
TOO_SLOW = (
    "the request did not arrive in time and nothing was stored; send it again over a faster"
    " connection"
)
BODIES_PER_ADDRESS = 2
"""How many of the largest bodies one address may have in memory."""
BODIES = 4
"""How many of the largest bodies all addresses together may have in memory."""


class InFlight:
    """The bytes of unanswered requests in this process, by address.

    `largest_bytes` is the largest body.
    """

    def __init__(self) -> None:
        # Threads: the tests call one app on several loops.
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()
        self._total_bytes = 0

    def take(self, address: str, size_bytes: int, largest_bytes: int) -> None:
        """Count these bytes. Raises Unavailable, and counts nothing, when there are too many."""
        with self._lock:
            if self._bytes[address] + size_bytes > BODIES_PER_ADDRESS * largest_bytes:
                raise Unavailable(
                    "your address is sending too much at once; send this request again when"
                    " others end"
                )
            if self._total_bytes + size_bytes > BODIES * largest_bytes:
                raise Unavailable(
                    "the hub is receiving too much at once; nothing is lost, send this request"
                    " again"
                )
            self._bytes[address] += size_bytes
            self._total_bytes += size_bytes

    def give_back(self, address: str, size_bytes: int) -> None:
        """End the count of these bytes."""
        with self._lock:
            self._total_bytes -= size_bytes
            self._bytes[address] -= size_bytes
            if not self._bytes[address]:
                del self._bytes[address]


class Body:
    """The body of one request. `receive` is that of ASGI."""

    def __init__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Message]],
        in_flight: InFlight,
        largest_bytes: int,
    ) -> None:
        self.is_left = True
        """Whether the client may still send a part of it."""
        self.is_late = False
        """Whether the client was too slow. Its connection must be closed."""
        self._scope = scope
        self._receive = receive
        self._in_flight = in_flight
        self._largest_bytes = largest_bytes
        self._address = ""
        self._held_bytes = 0
        self._window_ends_at = 0.0
        self._window_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Count bytes of the body that stay in memory: as they are when they are expanded.

        Raises Unavailable.
        """
        # Now, not before: the address of a client behind a proxy is known here.
        if not self._held_bytes:
            client = self._scope.get("client")
            self._address = client[0] if client else ""
        try:
            self._in_flight.take(self._address, size_bytes, self._largest_bytes)
        except Unavailable:
            self.release()
            raise
        self._held_bytes += size_bytes

    async def drop(self, most_bytes: int) -> int:
        """Read about `most_bytes` of the rest and keep none.

        Stops when the client is too slow. Returns the number.
        """
        dropped = 0
        with suppress(RequestTimeout):
            while self.is_left and dropped < most_bytes:
                dropped += len((await self.receive()).get("body", b""))
        return dropped

    def release(self) -> None:
        """The request has been answered, or the caller keeps no part of the body."""
        if self._held_bytes:
            self._in_flight.give_back(self._address, self._held_bytes)
            self._held_bytes = 0

    async def receive(self) -> Message:
        """The next part. Raises RequestTimeout."""
        if not self.is_left:
            return await self._receive()
        loop = asyncio.get_running_loop()
        if not self._window_ends_at:
            self._window_ends_at = loop.time() + WINDOW_SECONDS
        try:
            async with asyncio.timeout_at(self._window_ends_at):
                message = await self._receive()
        except TimeoutError:
            self.is_left = False
            self.is_late = True
            raise RequestTimeout(TOO_SLOW) from None
        self.is_left = message["type"] == "http.request" and message.get("more_body", False)
        self._window_bytes += len(message.get("body", b""))
        if self._window_bytes >= WINDOW_BYTES:
            self._window_ends_at = loop.time() + WINDOW_SECONDS
            self._window_bytes = 0
        return message
