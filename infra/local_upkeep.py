"""The upkeep of a hub on one machine: every hour, in a thread of the hub with an event loop of its
own.

So requests do not wait while a pack is compressed. A command that runs beside the hub does not
disturb it: a visit to a repository starts with a conditional write (`shared/metadata/visits`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from shared import log
from shared.engines import selection
from shared.errors import ApiError
from shared.maintenance import upkeep

START_SECONDS = 60
"""The time from the start of the hub to the first run."""
PERIOD_SECONDS = 3600
SLICE_SECONDS = 900

Job = Callable[[], Coroutine[Any, Any, None]]


async def every_hour() -> None:
    """Do the due work, every hour until this task is cancelled. Ends at once if upkeep is off."""
    if not (await selection.stores()).settings.upkeep:
        return
    await asyncio.sleep(START_SECONDS)
    while True:
        await in_thread(run_once)
        await asyncio.sleep(PERIOD_SECONDS)


async def run_once() -> None:
    """One run. First lists the checks of repositories that an older version has created."""
    try:
        stores = await selection.stores()
        try:
            await upkeep.list_checks(stores, time.time())
            await upkeep.run(stores, time.time, time.time() + SLICE_SECONDS)
        except ApiError as error:  # such as a full disk: the next run tries again
            reason = f"{type(error).__name__}: {error}"
            log.at(stores.settings.log_level).error("upkeep failed", error=reason)
    finally:
        await selection.close()


async def in_thread(job: Job) -> None:
    """Run a job in a thread, on an event loop of its own.

    If this task is cancelled, the job is cancelled, and awaited to its end.
    """
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def cancellable() -> None:
        task = asyncio.ensure_future(job())
        started.append((asyncio.get_running_loop(), task))
        with contextlib.suppress(asyncio.CancelledError):
            await task

    running = asyncio.ensure_future(asyncio.to_thread(asyncio.run, cancellable()))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        for loop, task in started:
            loop.call_soon_threadsafe(task.cancel)
        await running
        raise
