"""The stores of the running event loop, on the engine that the settings select.

An AWS client belongs to the event loop on which it was created, so there is one set of stores per
loop. A Lambda container has one loop, so it opens connections only once.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from weakref import WeakKeyDictionary

from shared import settings as settings_module
from shared.limits import Limits
from shared.settings import Settings
from shared.stores import Stores

LIMITS = Limits()
"""The limits of the stores that are opened."""

_opened: WeakKeyDictionary[asyncio.AbstractEventLoop, Stores] = WeakKeyDictionary()
_closers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncExitStack] = WeakKeyDictionary()


async def stores() -> Stores:
    """Return the stores of the running event loop. Opens them at the first call."""
    loop = asyncio.get_running_loop()
    settings = settings_module.load()
    found = _opened.get(loop)
    if found is None or found.settings is not settings:
        await close()
        closer = AsyncExitStack()
        opened = await _open(settings, closer)
        found = _opened[loop] = replace(opened, limits=LIMITS)
        _closers[loop] = closer
    return found


async def close() -> None:
    """Close the connections of the running event loop. Lambda never calls this."""
    loop = asyncio.get_running_loop()
    _opened.pop(loop, None)
    closer = _closers.pop(loop, None)
    if closer:
        await closer.aclose()


async def _open(settings: Settings, closer: AsyncExitStack) -> Stores:
    # Imported here, so that each engine loads only its own packages.
    if settings.data:
        from shared.engines import local

        return local.open_stores(settings, closer)
    from shared.engines import aws

    return await aws.open_stores(settings, closer)
