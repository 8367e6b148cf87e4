"""A turn: the time in which rebuild-index, repack or expunge works on a repository, and no garbage
collection.

Pushes and reads continue. A turn is not a lock: a job that starts ends the turn of the job before
it.

    gc        does not start during a turn, until a day after its last sign of life (`gc.condemn`)
    rebuild   ends a repack; refuses to start during a gc, which must be finished or stopped (`stop_gc`)
    repack    refuses to start during a rebuild; stops a gc and does not wait
    expunge   refuses to start during a rebuild or a repack; stops a gc and does not wait

Neither a rebuild nor a repack starts during an expunge. The job that began last has the turn. The
other jobs check before each few writes, and end. A stopped gc starts from its beginning, so it
deletes no bytes for two graces.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from shared.errors import Unavailable
from shared.maintenance.gc import BESIDE, OVERTAKEN, REBUILD_SECONDS, Step
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.scans import GcState
from shared.stores import RepoStores

GC_UNDER_WAY = (Step.CONDEMNED, Step.SWEPT, Step.COLLECTING)
"""The steps after which a gc may still delete something."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A turn of one job: `run_id` is the id of the run, `step` the work that it does."""

    repository: RepoStores
    run_id: str
    step: Step

    async def check(self) -> None:
        """Check the turn before a few writes. Raises Unavailable if another job has started."""
        if not await self.repository.scans.is_at(self.run_id, self.step):
            raise Unavailable(OVERTAKEN)

    async def release(self, step: Step, now: float) -> None:
        """End the turn: a gc may start again."""
        await self.repository.scans.advance(GcState(self.run_id, step, int(now)), self.step)


async def stop_gc(repository: RepoStores, now: float) -> int:
    """Stop a gc that is between two of its steps. Returns the seconds until a rebuild may start, 0
    if it may now.

    The next gc starts from its beginning. For `STALE_SECONDS` a deletion of the stopped one may
    still arrive.
    """
    progress = await repository.scans.progress()
    if progress and progress.step in GC_UNDER_WAY:
        stopped = GcState(f"rebuild-{secrets.token_hex(4)}", Step.HALTED, int(now))
        await repository.scans.begin(stopped)
        return STALE_SECONDS
    return _wait_seconds(progress, now)


async def rebuilding(repository: RepoStores, now: float) -> Lease:
    """Start the turn of a rebuild.

    Raises Unavailable, and changes nothing, while a gc may delete something.
    """
    progress = await repository.scans.progress()
    if progress and progress.step in GC_UNDER_WAY:
        raise Unavailable(
            "a gc of this repository is between two of its steps, and nothing was changed: finish"
            " it (gc --due, an hour apart), or stop it with rebuild-index --stop-gc"
        )
    _check_no_expunge(progress, now)
    wait = _wait_seconds(progress, now)
    if wait:
        raise Unavailable(
            f"a gc was under way here and has been stopped: run this again in {wait} seconds"
        )
    turn = Lease(repository, f"rebuild-{secrets.token_hex(4)}", Step.REBUILDING)
    await repository.scans.begin(GcState(turn.run_id, turn.step, int(now)))
    return turn


def _wait_seconds(progress: GcState | None, now: float) -> int:
    """Seconds until no deletion of a stopped gc can arrive.

    A repack or an expunge may have stopped it.
    """
    stopped = (Step.HALTED, Step.REPACKING, Step.REPACKED, Step.EXPUNGED)
    if progress is None or progress.step not in stopped:
        return 0
    return max(0, progress.at + STALE_SECONDS - int(now))


async def repacking(repository: RepoStores, now: float) -> Lease:
    """Start the turn of a repack. Raises Unavailable during a rebuild or an expunge."""
    progress = await repository.scans.progress()
    _check_none_of((Step.HALTED, Step.REBUILDING), progress, now, "repack")
    _check_no_expunge(progress, now)
    turn = Lease(repository, f"repack-{secrets.token_hex(4)}", Step.REPACKING)
    await repository.scans.begin(GcState(turn.run_id, turn.step, int(now)))
    return turn


async def expunging(repository: RepoStores, run_id: str, now: float) -> Lease:
    """Start the turn of an expunge. It continues with the marks of an earlier expunge.

    Raises Unavailable during a rebuild or a repack.
    """
    progress = await repository.scans.progress()
    _check_none_of((Step.HALTED, Step.REBUILDING, Step.REPACKING), progress, now, "expunge")
    await repository.scans.begin(GcState(run_id, Step.EXPUNGING, int(now)))
    return Lease(repository, run_id, Step.EXPUNGING)


def _check_none_of(
    steps: Collection[Step], progress: GcState | None, now: float, command: str
) -> None:
    """Raises Unavailable if a job is at one of these steps.

    `command` is the job that shall start.
    """
    if progress and progress.step in steps and now < progress.at + REBUILD_SECONDS:
        other = BESIDE[progress.step]
        raise Unavailable(
            f"{other} is at work here, or was interrupted: run it to its end, then {command}"
        )


def _check_no_expunge(progress: GcState | None, now: float) -> None:
    """Raises Unavailable during an expunge: its items must be neither found again nor moved."""
    if progress is None or progress.step not in (Step.EXPUNGING, Step.MARKED):
        return
    if now < progress.at + REBUILD_SECONDS:
        raise Unavailable("expunge is at work here, or was interrupted: run it to its end first")
