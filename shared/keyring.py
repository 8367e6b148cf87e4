"""A cache of the signing keys. It reads them again, so that a rotation needs no deployment.

    seconds since the last read    keys for a request
    up to 300                      the cached keys; they are read again first for an unknown key id
    up to 3,600                    new keys; the cached ones if the read fails or takes over 1 s
    more, or never read            new keys; 503 if the read fails

So an added key is known from the first token with its id on. A removed key is refused within five
minutes, or within an hour if its store fails in that time. While there are cached keys, they are
read at most once in ten seconds. Tokens with invented key ids therefore cost no more reads, and an
outage of the store delays one request by a second.

Limitation: a key that is added within ten seconds after a read may be refused until they are over.
So a new key has to verify before it signs. `pieria key rotate` does it in this order.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.errors import Unavailable
from shared.signing import Keys

FRESH_SECONDS = 300
"""A removed key may verify for this time. A read is free, and delays a request by some
milliseconds."""
STALE_KEYS_SECONDS = 3600
"""Cached keys are used for this time if the store fails.

It is longer than most outages, and short enough that a removed key is not trusted for long.
"""
PAUSE_SECONDS = 10
"""The shortest time between two reads while there are cached keys."""
PATIENCE_SECONDS = 1.0
"""A request waits for new keys for this time if there are cached keys."""


@dataclass(frozen=True, slots=True)
class Keyrings:
    """The keys that a process can read, by their use."""

    verifying: "Keyring"
    """The public keys and the secrets."""
    signing: "Keyring"
    """The private key, or the secrets of a hub without one."""
    clients: "Keyring"
    """The secrets of the hub at its identity providers, by the name of the provider."""


class Keyring:
    """The cached keys. `read` reads them or raises Unavailable. Belongs to one event loop.

    A failure that no caller sees, because keys are cached, is passed to `on_failure`. Times are
    epoch seconds. There is at most one read at a time: concurrent requests wait for the same one.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Keys]], on_failure: Callable[[Unavailable], None]
    ) -> None:
        self._read = read
        self._on_failure = on_failure
        self._keys: Keys = {}
        self._read_at = -math.inf
        self._tried_at = -math.inf
        self._failure = Unavailable()
        self._reading: asyncio.Task[None] | None = None

    async def verifying(self, key_id: str, now: float) -> Keys:
        """Return the keys, fresh enough for a token with this key id. Raises Unavailable."""
        return await self._younger_than(
            FRESH_SECONDS if key_id in self._keys else PAUSE_SECONDS, now
        )

    async def signing(self, now: float) -> Keys:
        """Return the keys, fresh enough to sign with the last one. Raises Unavailable."""
        return await self._younger_than(PAUSE_SECONDS, now)

    async def _younger_than(self, seconds: float, now: float) -> Keys:
        usable = now - self._read_at < STALE_KEYS_SECONDS
        if now - self._read_at >= seconds and not (usable and now - self._tried_at < PAUSE_SECONDS):
            if self._reading is None:
                self._reading = asyncio.create_task(
                    self._renew(now, PATIENCE_SECONDS if usable else None)
                )
            # A cancelled request does not cancel the read, because other requests may wait for it.
            await asyncio.wait([self._reading])
        if now - self._read_at >= STALE_KEYS_SECONDS:
            raise self._failure
        return self._keys

    async def _renew(self, now: float, patience: float | None) -> None:
        self._tried_at = now
        try:
            async with asyncio.timeout(patience):
                self._keys = await self._read()
                self._read_at = now
        except Unavailable as failure:
            self._failure = failure
        except TimeoutError:
            self._failure = Unavailable("the signing keys were not read in time")
        finally:
            self._reading = None
        if self._read_at != now and patience:
            self._on_failure(self._failure)
