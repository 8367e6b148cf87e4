"""The time in which rebuild-index or repack is at work on a repository, and no gc. Pushes and reads go on.

    gc        begins beside neither, until a day after they were last heard of (`gc.condemn`)
    rebuild   ends a repack; begins beside no gc, which has to be finished or stopped before (`stop_gc`)
    repack    waits for the end of a rebuild; stops a gc, and does not wait (see there)
    expunge   waits for the end of a rebuild or a repack; stops a gc, and does not wait; neither begins beside it

Whoever began last has the turn, the others end when they look: before each few writes. After it gc starts from its
beginning, so it removes no bytes for two graces.
"""

import secrets
from dataclasses import dataclass

from shared.actions.gc import BESIDE, OVERTAKEN, REBUILD_SECONDS, Step
from shared.errors import Unavailable
from shared.metadata.census import Progress
from shared.metadata.commits import STALE_SECONDS
from shared.stores import Stores

GC_UNDER_WAY = (Step.CONDEMNED, Step.SWEPT, Step.COLLECTING)
"""The steps between which a gc may still remove something."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One such time: whose (`stamp`), and at what."""

    stores: Stores
    repo_id: str
    stamp: str
    step: Step

    async def keep(self) -> None:
        """For before each few writes. Raises Unavailable if it is over."""
        if not await self.stores.census.is_at(self.repo_id, self.stamp, self.step):
            raise Unavailable(OVERTAKEN)

    async def end(self, step: Step, now: float) -> None:
        """Let gc begin again."""
        await self.stores.census.advance(self.repo_id, Progress(self.stamp, step, int(now)), self.step)


async def stop_gc(stores: Stores, repo_id: str, now: float) -> int:
    """Stop a gc that is between two of its steps. Returns the seconds until a rebuild may begin, 0 for now.

    The gc starts from its beginning later. Until `STALE_SECONDS` have passed, it may still remove what it was
    about to remove.
    """
    progress = await stores.census.progress(repo_id)
    if progress and progress.step in GC_UNDER_WAY:
        stopped = Progress(f"rebuild-{secrets.token_hex(4)}", Step.HALTED, int(now))
        await stores.census.begin(repo_id, stopped)
        return STALE_SECONDS
    return _wait_seconds(progress, now)


async def rebuilding(stores: Stores, repo_id: str, now: float) -> Turn:
    """The turn of a rebuild. Raises Unavailable, and changes nothing, while a gc may remove something."""
    progress = await stores.census.progress(repo_id)
    if progress and progress.step in GC_UNDER_WAY:
        raise Unavailable(
            "a gc of this repository is between two of its steps, and nothing was changed: finish it"
            " (gc --due, an hour apart), or stop it with rebuild-index --stop-gc"
        )
    _check_no_expunge(progress, now)
    wait = _wait_seconds(progress, now)
    if wait:
        raise Unavailable(f"a gc was under way here and has been stopped: run this again in {wait} seconds")
    turn = Turn(stores, repo_id, f"rebuild-{secrets.token_hex(4)}", Step.REBUILDING)
    await stores.census.begin(repo_id, Progress(turn.stamp, turn.step, int(now)))
    return turn


def _wait_seconds(progress: Progress | None, now: float) -> int:
    """Seconds until a stopped gc cannot remove anything any more. A repack may have stopped it."""
    stopped = (Step.HALTED, Step.REPACKING, Step.REPACKED, Step.EXPUNGED)
    if progress is None or progress.step not in stopped:
        return 0
    return max(0, progress.at + STALE_SECONDS - int(now))


async def repacking(stores: Stores, repo_id: str, now: float) -> Turn:
    """The turn of a repack. Raises Unavailable beside a rebuild."""
    turn = Turn(stores, repo_id, f"repack-{secrets.token_hex(4)}", Step.REPACKING)
    progress = await stores.census.progress(repo_id)
    if progress and progress.step in (Step.HALTED, Step.REBUILDING) and now < progress.at + REBUILD_SECONDS:
        raise Unavailable(f"{BESIDE[progress.step]} is at work here, or was cut short: run it to its end, then repack")
    _check_no_expunge(progress, now)
    await stores.census.begin(repo_id, Progress(turn.stamp, turn.step, int(now)))
    return turn


async def expunging(stores: Stores, repo_id: str, stamp: str, now: float) -> Turn:
    """The turn of an expunge, which goes on with the marks of an earlier one. Raises Unavailable beside others."""
    progress = await stores.census.progress(repo_id)
    others = (Step.HALTED, Step.REBUILDING, Step.REPACKING)
    if progress and progress.step in others and now < progress.at + REBUILD_SECONDS:
        raise Unavailable(f"{BESIDE[progress.step]} is at work here, or was cut short: run it to its end, then expunge")
    await stores.census.begin(repo_id, Progress(stamp, Step.EXPUNGING, int(now)))
    return Turn(stores, repo_id, stamp, Step.EXPUNGING)


def _check_no_expunge(progress: Progress | None, now: float) -> None:
    """Raises Unavailable beside an expunge: what it removes must be neither found again nor moved."""
    under_way = progress is not None and progress.step in (Step.EXPUNGING, Step.MARKED)
    if progress and under_way and now < progress.at + REBUILD_SECONDS:
        raise Unavailable("expunge is at work here, or was cut short: run it to its end first")
