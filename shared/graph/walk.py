"""The driver of a walk: reads the commit rows that the walk needs, from all lanes in parallel."""

from collections.abc import Iterable

from shared.graph.dag import Walk
from shared.metadata.commits import Commits
from shared.model import CommitAddress
from shared.tasks import gather_all

SPARE_ROWS = 4
"""Rows that are read in addition to the guess: boundary rows, and commits of other lines in the
lane."""
GROWTH = 8
"""The growth of each further page of a lane."""


async def run(commits: Commits, walk: Walk, *, max_rounds: int | None = None) -> bool:
    """Run a walk to its end. Returns False if it needs more than `max_rounds` rounds of reads.

    The first page of a lane has the length that the walk guesses. Each further page is `GROWTH`
    times longer, or as long as the walk guesses then, up to 1 MB. So a small difference reads few
    rows, and a large one few pages.
    """
    limits: dict[str, int | None] = {}
    rounds = 0
    while needed := walk.advance():
        if max_rounds is not None and rounds >= max_rounds:
            return False
        rounds += 1
        starts = [max(addresses, key=_row_order) for addresses in _by_lane(needed)]
        for start in starts:
            limits[start.lane] = _page_rows(limits.get(start.lane, 0), walk.page_hint(start))
        runs = await gather_all(commits.lane(start, limits[start.lane]) for start in starts)
        for start, nodes in zip(starts, runs, strict=True):
            # The first row is that of the place, even if it was found in another lane.
            walk.feed({node.address: node for node in nodes} | {start: nodes[0]})
    return True


def _page_rows(previous: int | None, hint: int | None) -> int | None:
    """Return the length of the next page of a lane. None is a whole page, of up to 1 MB."""
    if previous is None or hint is None:
        return None
    return max(previous * GROWTH, hint + SPARE_ROWS)


def _by_lane(addresses: Iterable[CommitAddress]) -> Iterable[list[CommitAddress]]:
    lanes: dict[str, list[CommitAddress]] = {}
    for address in addresses:
        lanes.setdefault(address.lane, []).append(address)
    return lanes.values()


def _row_order(address: CommitAddress) -> tuple[int, str]:
    return address.generation, address.commit_id
