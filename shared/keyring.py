"""The keys that tokens are signed with: read where they are kept when first needed, and again so that a rotation
needs no deployment.

    seconds since they were read   what a request gets
    up to 300                      the keys as they are; if its token names another, they are read again first
    up to 3,600                    the keys as read again; as they are, if that fails or takes longer than a second
    above, or never                the keys as read again; 503 if that fails

So a key that was added is known from the first token that names it on, and one that was removed is worthless
within five minutes, or within an hour if its store fails meanwhile. While there are keys to go on with, they are
read at most once in ten seconds, whatever comes: tokens that name keys which never were cost no more, and an outage
of the store holds up one request for a second. What that leaves: a token signed with a key that was added within
ten seconds of such a reading may be refused until they are over. So a new key has to verify before it signs, as it
does when `pieria key rotate` adds it.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping

from shared.errors import Unavailable

Keys = Mapping[str, str]
"""Key id → secret, oldest first. All verify; the last one signs."""

FRESH_SECONDS = 300
"""How long a removed key may still verify. A reading is free; it holds a request up for some milliseconds."""
KEPT_SECONDS = 3600
"""How long the keys outlive their store: longer than most outages, shorter than anybody should trust a removed key."""
PAUSE_SECONDS = 10
"""The least between two readings while there are keys to go on with."""
PATIENCE_SECONDS = 1.0
"""How long a request waits for fresher keys if there are others to go on with."""


class Keyring:
    """Keys from a store, by a reader that raises Unavailable if it fails. Belongs to one event loop.

    A failure that no caller sees, since there are keys to go on with, is told to `tell`. Times are epoch seconds.
    No two readings are under way at once: who needs one waits for the other.
    """

    def __init__(self, read: Callable[[], Awaitable[Keys]], tell: Callable[[Unavailable], None]) -> None:
        self._read = read
        self._tell = tell
        self._keys: Keys = {}
        self._read_at = -math.inf
        self._tried_at = -math.inf
        self._failure = Unavailable()
        self._reading: asyncio.Task[None] | None = None

    async def verifying(self, key_id: str, now: float) -> Keys:
        """The keys, as fresh as they have to be for a token that names this one. Raises Unavailable."""
        return await self._younger_than(FRESH_SECONDS if key_id in self._keys else PAUSE_SECONDS, now)

    async def signing(self, now: float) -> Keys:
        """The keys, so fresh that what the last one signs is not worthless in a moment. Raises Unavailable."""
        return await self._younger_than(PAUSE_SECONDS, now)

    async def _younger_than(self, seconds: float, now: float) -> Keys:
        usable = now - self._read_at < KEPT_SECONDS
        if now - self._read_at >= seconds and not (usable and now - self._tried_at < PAUSE_SECONDS):
            if self._reading is None:
                self._reading = asyncio.create_task(self._renew(now, PATIENCE_SECONDS if usable else None))
            # Not cancelled along with who waits: others may be waiting for it, too.
            await asyncio.wait([self._reading])
        if now - self._read_at >= KEPT_SECONDS:
            raise self._failure
        return self._keys

    async def _renew(self, now: float, patience: float | None) -> None:
        self._tried_at = now
        try:
            async with asyncio.timeout(patience):
                self._keys, self._read_at = await self._read(), now
        except Unavailable as failure:
            self._failure = failure
        except TimeoutError:
            self._failure = Unavailable("the signing keys were not read in time")
        finally:
            self._reading = None
        if self._read_at != now and patience:
            self._tell(self._failure)
