"""Walks that go on where a row is missing and hold no history in memory: for fsck, gc and the log."""

import heapq
from collections.abc import AsyncIterator, Iterable, Set

from shared.errors import Damaged
from shared.metadata.commits import Commits
from shared.model import Node, Place

PAGE = 250
"""The most rows of a lane that are read at once: most carry their record, so a page is some hundred kilobytes."""
GROWTH = 4
"""How much longer each further read of a lane is. The first is a page divided by the places that are pending."""


async def lineage(
    commits: Commits, repo_id: str, starts: Iterable[Place], *, page: int = PAGE, skip: Set[Place] = frozenset()
) -> AsyncIterator[tuple[Place, Node | None]]:
    """Every place that these lead to, themselves included, with its row, or None where there is none.

    By generation, the greatest first, and by id among equals: what is still to come depends only on the places
    that are pending, so a walk can be taken up again from them. What lies below `skip` is left out. In memory are the
    places, and a page of each lane under way.
    """
    fresh = set(starts) - skip
    seen = fresh | skip
    heap = [(-place.generation, place.commit_id, place.lane) for place in fresh]
    heapq.heapify(heap)
    pages: dict[str, dict[Place, Node]] = {}
    lengths: dict[str, int] = {}
    while heap:
        generation, commit_id, lane = heapq.heappop(heap)
        place = Place(commit_id, -generation, lane)
        if place not in pages.get(lane, {}):
            lengths[lane] = min(page, lengths[lane] * GROWTH if lane in lengths else max(1, page // (len(heap) + 1)))
            try:
                nodes = await commits.lane(repo_id, place, lengths[lane])
            except Damaged:
                yield place, None
                continue
            # The first is what was asked for, also where it was found in another lane.
            pages[lane] = {node.place: node for node in nodes} | {place: nodes[0]}
        node = pages[lane].pop(place)
        yield place, node
        for parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, (-parent.generation, parent.commit_id, parent.lane))
