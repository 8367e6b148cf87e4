"""The driver of a walk: reads the commit rows that the walk needs, from all lanes in parallel."""

from collections.abc import Iterable

from shared.dag import Walk
from shared.metadata.commits import Commits
from shared.model import Place
from shared.tasks import all_of

SPARE_ROWS = 4
"""Rows that are read in addition to the guess: boundary rows, and commits of other lines in the
lane."""
GROWTH = 8
"""The growth of each further page of a lane."""


async def run(commits: Commits, repo_id: str, walk: Walk, *, max_rounds: int | None = None) -> bool:
    """Run a walk to its end. Returns False if it needs more than `max_rounds` rounds of reads.

    The first page of a lane has the length that the walk guesses. Each further page is `GROWTH`
    times longer, up to 1 MB. So a small difference reads few rows, and a large one few pages.
    """
    limits: dict[str, int | None] = {}
    rounds = 0
    while needed := walk.advance():
        if max_rounds is not None and rounds >= max_rounds:
            return False
        rounds += 1
        starts = [max(places, key=_row_order) for places in _by_lane(needed)]
        for start in starts:
            if start.lane in limits:
                previous = limits[start.lane]
                limits[start.lane] = previous and previous * GROWTH
            else:
                reach = walk.reach(start)
                limits[start.lane] = None if reach is None else reach + SPARE_ROWS
        runs = await all_of(commits.lane(repo_id, start, limits[start.lane]) for start in starts)
        for start, nodes in zip(starts, runs, strict=True):
            # The first row is that of the place, even if it was found in another lane.
            walk.feed({node.place: node for node in nodes} | {start: nodes[0]})
    return True


def _by_lane(places: Iterable[Place]) -> Iterable[list[Place]]:
    lanes: dict[str, list[Place]] = {}
    for place in places:
        lanes.setdefault(place.lane, []).append(place)
    return lanes.values()


def _row_order(place: Place) -> tuple[int, str]:
    return place.generation, place.commit_id
