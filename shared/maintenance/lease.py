"""The lease of a maintenance job on a repository: one job works at a time, and pushes and reads
continue.

The state row of the repository holds the run and its step. A lease is not a lock: a job that starts
takes the lease from the job before it. Each job checks its lease before a few writes, and ends if
the lease is lost.

    gc        does not start beside another job, until a day after the last sign of life of that job
    rebuild   takes the lease of a repack; does not start between two steps of a gc: the operator
              finishes the gc, or stops it (`stop_gc`)
    repack    does not start beside a rebuild or an expunge; takes the lease of a gc
    expunge   does not start beside a rebuild or a repack; takes the lease of a gc
    import    starts in a new or empty repository; no other job starts beside it

No rebuild starts beside an expunge. A gc that lost its lease starts from its beginning, so it
deletes no bytes for two graces.
"""

import math
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from shared.errors import Damaged, Unavailable
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.scans import JobState
from shared.metadata.table import ConditionFailed, chunked
from shared.stores import RepoStores
from shared.tasks import gather_all

LEASE_SECONDS = 24 * 3600
"""Longer than a rebuild takes, and longer than a repack works without a sign of life. A job that
has not ended after this time was interrupted."""
AT_ONCE = 32
"""Calls that a job makes in parallel."""
OVERTAKEN = (
    "another gc, rebuild, repack or expunge has started here; nothing is lost: run this again when"
    " it has ended"
)

Clock = Callable[[], float]
"""Returns the time in epoch seconds."""
T = TypeVar("T")
R = TypeVar("R")


class Step(StrEnum):
    """The last step of maintenance in a repository: done, or under way. The values are stored."""

    CONDEMNING = "condemning"
    CONDEMNED = "condemned"
    SWEPT = "swept"
    COLLECTING = "collecting"
    COLLECTED = "collected"
    HALTED = "halted"
    """A rebuild stopped the gc, and waits until the last deletions of the gc have ended."""
    REBUILDING = "rebuilding"
    REBUILT = "rebuilt"
    REPACKING = "repacking"
    REPACKED = "repacked"
    EXPUNGING = "expunging"
    MARKED = "marked"
    """An expunge marked its rows, and waits until the requests that are under way have ended."""
    EXPUNGED = "expunged"
    IMPORTING = "importing"
    IMPORTED = "imported"


BESIDE: dict[str, str] = {
    Step.HALTED: "rebuild-index",
    Step.REBUILDING: "rebuild-index",
    Step.REPACKING: "repack",
    Step.EXPUNGING: "expunge",
    Step.MARKED: "expunge",
    Step.IMPORTING: "import",
}
"""The steps beside which no gc starts, and the command that is at work in each."""
GC_UNDER_WAY = (Step.CONDEMNED, Step.SWEPT, Step.COLLECTING)
"""The steps after which a gc may still delete something."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of one job: `run_id` is the id of the run, `step` the work that it does."""

    repository: RepoStores
    run_id: str
    step: Step

    async def check(self) -> None:
        """Check the lease before a few writes. Raises Unavailable if another job has started.

        AWS calls: one GetItem.
        """
        if not await self.repository.scans.is_at(self.run_id, self.step):
            raise Unavailable(OVERTAKEN)

    async def advance(self, step: Step, now: float) -> "Lease":
        """Continue with another step of the same run. `now`: epoch seconds.

        Raises Unavailable if another job has started. AWS calls: one conditional UpdateItem.
        """
        try:
            await self.repository.scans.advance(JobState(self.run_id, step, int(now)), self.step)
        except ConditionFailed:
            raise Unavailable(OVERTAKEN) from None
        return Lease(self.repository, self.run_id, step)

    async def release(self, step: Step, now: float) -> None:
        """End the lease with its last step, unless another job has started. `now`: epoch seconds.

        AWS calls: one conditional UpdateItem.
        """
        with suppress(ConditionFailed):
            await self.repository.scans.advance(JobState(self.run_id, step, int(now)), self.step)

    async def for_each(
        self, items: Sequence[T], work: Callable[[T], Coroutine[Any, Any, R]]
    ) -> AsyncIterator[list[R]]:
        """Work on the items in their order, `AT_ONCE` in parallel. Yields the results of each
        group.

        Raises Unavailable if another job has started. AWS calls: one GetItem for each group, and
        those of `work`.
        """
        for part in chunked(items, AT_ONCE):
            await self.check()
            yield await gather_all(work(item) for item in part)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Raise Unavailable instead of Damaged if another job has started: it may have deleted the
        missing data.
        """
        try:
            yield
        except Damaged:
            await self.check()
            raise


async def check_gc_may_start(repository: RepoStores, now: float) -> None:
    """Raises Unavailable beside a rebuild, a repack or an expunge. AWS calls: one GetItem.

    `now`: epoch seconds, here and below.
    """
    _check_none_of(BESIDE, await repository.scans.progress(), now, "gc")


async def start_gc(repository: RepoStores, now: float) -> Lease:
    """Start the lease of a gc. A gc of another run is abandoned. AWS calls: one PutItem."""
    run_id = f"{int(now * 1000):013d}-{secrets.token_hex(4)}"
    return await _start(repository, run_id, Step.CONDEMNING, now)


def started_at(run_id: str) -> float:
    """When the gc of this run started, in epoch seconds; infinite for another job."""
    milliseconds, _, _ = run_id.partition("-")
    return int(milliseconds) / 1000 if milliseconds.isdecimal() else math.inf


async def stop_gc(repository: RepoStores, now: float) -> int:
    """Stop a gc that is between two of its steps. Returns the seconds until a rebuild may start, 0
    if it may now.

    The next gc starts from its beginning. For `STALE_SECONDS` a deletion of the stopped one may
    still arrive. AWS calls: one GetItem, and one PutItem if a gc is stopped.
    """
    progress = await repository.scans.progress()
    if progress and progress.step in GC_UNDER_WAY:
        await _start(repository, _new_run_id("rebuild"), Step.HALTED, now)
        return STALE_SECONDS
    return _wait_seconds(progress, now)


async def start_rebuild(repository: RepoStores, now: float) -> Lease:
    """Start the lease of a rebuild.

    Raises Unavailable, and changes nothing, while a gc may delete something, and beside an expunge.
    AWS calls: one GetItem, one PutItem.
    """
    progress = await repository.scans.progress()
    if progress and progress.step in GC_UNDER_WAY:
        raise Unavailable(
            "a gc of this repository is between two of its steps, and nothing was changed: finish"
            " it (gc --due, an hour apart), or stop it with rebuild-index --stop-gc"
        )
    steps = (Step.EXPUNGING, Step.MARKED, Step.IMPORTING)
    _check_none_of(steps, progress, now, "rebuild-index")
    wait = _wait_seconds(progress, now)
    if wait:
        raise Unavailable(
            f"a gc was under way here and has been stopped: run this again in {wait} seconds"
        )
    return await _start(repository, _new_run_id("rebuild"), Step.REBUILDING, now)


async def start_repack(repository: RepoStores, now: float) -> Lease:
    """Start the lease of a repack. Raises Unavailable beside a rebuild or an expunge.

    AWS calls: one GetItem, one PutItem.
    """
    progress = await repository.scans.progress()
    steps = (Step.HALTED, Step.REBUILDING, Step.EXPUNGING, Step.MARKED, Step.IMPORTING)
    _check_none_of(steps, progress, now, "repack")
    return await _start(repository, _new_run_id("repack"), Step.REPACKING, now)


async def start_expunge(repository: RepoStores, run_id: str, now: float) -> Lease:
    """Start the lease of an expunge. It continues with the marks of an earlier expunge.

    Raises Unavailable beside a rebuild or a repack. AWS calls: one GetItem, one PutItem.
    """
    progress = await repository.scans.progress()
    steps = (Step.HALTED, Step.REBUILDING, Step.REPACKING, Step.IMPORTING)
    _check_none_of(steps, progress, now, "expunge")
    return await _start(repository, run_id, Step.EXPUNGING, now)


async def start_import(repository: RepoStores, now: float) -> Lease:
    """Start the lease of an import, or continue with it. AWS calls: one PutItem.

    The caller has made sure that the repository is empty, or that an import was interrupted in it.
    """
    return await _start(repository, _new_run_id("import"), Step.IMPORTING, now)


async def _start(repository: RepoStores, run_id: str, step: Step, now: float) -> Lease:
    await repository.scans.begin(JobState(run_id, step, int(now)))
    return Lease(repository, run_id, step)


def _new_run_id(job: str) -> str:
    return f"{job}-{secrets.token_hex(4)}"


def _wait_seconds(progress: JobState | None, now: float) -> int:
    """Seconds until no deletion of a stopped gc can arrive.

    A repack or an expunge may have stopped it.
    """
    stopped = (Step.HALTED, Step.REPACKING, Step.REPACKED, Step.EXPUNGED)
    if progress is None or progress.step not in stopped:
        return 0
    return max(0, progress.at + STALE_SECONDS - int(now))


def _check_none_of(
    steps: Collection[str], progress: JobState | None, now: float, command: str
) -> None:
    """Raises Unavailable if a job is at one of these steps.

    `command` is the job that shall start.
    """
    if progress and progress.step in steps and now < progress.at + LEASE_SECONDS:
        other = BESIDE[progress.step]
        raise Unavailable(
            f"{other} is at work here, or was interrupted: run it to its end, then {command}"
        )
