"""The time in which rebuild-index or repack is at work on a repository, and no gc. Pushes and reads go on.

    gc        begins beside neither, until a day after they were last heard of (`gc.condemn`)
    rebuild   ends a repack; stops a gc that is between its steps, and waits until what that had begun is over
    repack    waits for the end of a rebuild; stops a gc, and does not wait (see there)

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


async def rebuilding(stores: Stores, repo_id: str, now: float) -> Turn:
    """The turn of a rebuild. Raises Unavailable as long as a gc may still be removing something."""
    turn = Turn(stores, repo_id, f"rebuild-{secrets.token_hex(4)}", Step.REBUILDING)
    progress = await stores.census.progress(repo_id)
    if progress and progress.step in (Step.CONDEMNED, Step.SWEPT, Step.COLLECTING):
        progress = Progress(turn.stamp, Step.HALTED, int(now))
        await stores.census.begin(repo_id, progress)
    # A repack may have stopped a gc just before.
    stopped = (Step.HALTED, Step.REPACKING, Step.REPACKED)
    if progress and progress.step in stopped and now < progress.at + STALE_SECONDS:
        wait = progress.at + STALE_SECONDS - int(now)
        raise Unavailable(f"a gc was under way here and has been stopped: run this again in {wait} seconds")
    await stores.census.begin(repo_id, Progress(turn.stamp, turn.step, int(now)))
    return turn


async def repacking(stores: Stores, repo_id: str, now: float) -> Turn:
    """The turn of a repack. Raises Unavailable beside a rebuild."""
    turn = Turn(stores, repo_id, f"repack-{secrets.token_hex(4)}", Step.REPACKING)
    progress = await stores.census.progress(repo_id)
    if progress and progress.step in (Step.HALTED, Step.REBUILDING) and now < progress.at + REBUILD_SECONDS:
        raise Unavailable(f"{BESIDE[progress.step]} is at work here, or was cut short: run it to its end, then repack")
    await stores.census.begin(repo_id, Progress(turn.stamp, turn.step, int(now)))
    return turn
