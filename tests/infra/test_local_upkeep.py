"""The upkeep of a hub on one machine: in a thread of its own, until the hub stops."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest

from infra import local_upkeep, sqlite_hub
from shared import settings
from shared.engines import selection
from shared.metadata.due import Due, Work
from shared.model import Repo

NOW = int(time.time())
PATIENCE_SECONDS = 10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The open folder of a hub, whose first run of upkeep starts at once."""
    monkeypatch.setattr(local_upkeep, "START_SECONDS", 0)
    with mock.patch.dict(os.environ):
        with sqlite_hub.opened(tmp_path / "hub", "http://127.0.0.1:1"):
            settings.load.cache_clear()
            yield tmp_path / "hub"
        settings.load.cache_clear()
    settings.load.cache_clear()


async def stopped(task: asyncio.Task[None]) -> None:
    """Stop the task as the hub does at Ctrl-C."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, PATIENCE_SECONDS)
    await selection.close()


@pytest.mark.usefixtures("folder")
def test_a_running_hub_does_what_is_due() -> None:
    async def play() -> list[Work]:
        stores = await selection.stores()
        repo = await stores.repos.create(Repo("ada", "song"), NOW)
        await stores.due.put([Due(1, Work.GC, repo.repo_id)])
        task = asyncio.create_task(local_upkeep.every_hour())
        for _ in range(100 * PATIENCE_SECONDS):
            if (await stores.visits.get(repo.repo_id)).done:
                break
            await asyncio.sleep(0.01)
        visit = await stores.visits.get(repo.repo_id)
        assert (visit.done, visit.error) == ("gc condemned", "")
        listed = [one.work for one in await stores.due.all()]
        await stopped(task)
        return listed

    assert asyncio.run(play()) == [Work.GC, Work.CHECK]


@pytest.mark.usefixtures("folder")
def test_upkeep_can_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIERIA_UPKEEP", "off")
    settings.load.cache_clear()

    async def play() -> None:
        await asyncio.wait_for(local_upkeep.every_hour(), PATIENCE_SECONDS)
        await selection.close()

    asyncio.run(play())


def test_a_job_is_cancelled_and_awaited_when_the_hub_stops() -> None:
    seen: list[str] = []
    is_running = threading.Event()

    async def job() -> None:
        assert threading.current_thread() is not threading.main_thread()
        is_running.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            seen.append("ended")

    async def play() -> None:
        task = asyncio.create_task(local_upkeep.in_thread(job))
        await asyncio.to_thread(is_running.wait, PATIENCE_SECONDS)
        await stopped(task)

    asyncio.run(play())
    assert seen == ["ended"]
