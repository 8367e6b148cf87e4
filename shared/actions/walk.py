"""Runs a walk over the commit rows of a repository: reads what it needs, lane by lane, all lanes at once."""

from collections.abc import Iterable

from shared.dag import Walk
from shared.metadata.commits import Commits
from shared.model import Place
from shared.tasks import all_of

SPARE = 4
"""Rows read beyond the guess: boundary rows, and the odd commit of another line in the same lane."""
GROWTH = 8


async def run(commits: Commits, repo_id: str, walk: Walk, *, max_rounds: int | None = None) -> bool:
    """Walk to the end. False if it was not reached within `max_rounds` rounds of reading.

    A lane's first page is as long as the walk guesses; each further one eight times the last, up to
    DynamoDB's 1 MB: few rows for a small difference, few pages for a large one.
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
                limits[start.lane] = None if reach is None else reach + SPARE
        runs = await all_of(commits.lane(repo_id, start, limits[start.lane]) for start in starts)
        for start, nodes in zip(starts, runs, strict=True):
            # The first is what was asked for, also where it was found in another lane.
            walk.feed({node.place: node for node in nodes} | {start: nodes[0]})
    return True


def _by_lane(places: Iterable[Place]) -> Iterable[list[Place]]:
    lanes: dict[str, list[Place]] = {}
    for place in places:
        lanes.setdefault(place.lane, []).append(place)
    return lanes.values()


def _row_order(place: Place) -> tuple[int, str]:
    return place.generation, place.commit_id
