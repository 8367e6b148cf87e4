"""Walks that continue if a row is missing, in bounded memory: for fsck, gc and the log."""

import heapq
from collections.abc import AsyncIterator, Iterable, Set

from shared.errors import Damaged
from shared.metadata.commits import Commits
from shared.model import CommitAddress, Node

PAGE = 250
"""The most rows of one read of a lane. Most rows have their record, so a page has about 100 KB."""
GROWTH = 4
"""The growth of each further read of a lane. The first has a page divided by the pending places."""


async def ancestors(
    commits: Commits,
    starts: Iterable[CommitAddress],
    *,
    page: int = PAGE,
    skip: Set[CommitAddress] = frozenset(),
) -> AsyncIterator[tuple[CommitAddress, Node | None]]:
    """Yield every place that is reachable from `starts`, with its row, or None without one.

    The greatest generation comes first, then the least id. The rest of a walk depends only on the
    pending places, so a later walk can continue from them. Commits of `skip` and their ancestors
    are left out. Memory holds the visited places, and a page of each lane that is being read.
    """
    first = set(starts) - skip
    seen = first | skip
    heap = [(-address.generation, address.commit_id, address.lane) for address in first]
    heapq.heapify(heap)
    pages: dict[str, dict[CommitAddress, Node]] = {}
    lengths: dict[str, int] = {}
    while heap:
        generation, commit_id, lane = heapq.heappop(heap)
        address = CommitAddress(commit_id, -generation, lane)
        if address not in pages.get(lane, {}):
            if lane in lengths:
                length = lengths[lane] * GROWTH
            else:
                length = max(1, page // (len(heap) + 1))
            lengths[lane] = min(page, length)
            try:
                nodes = await commits.lane(address, lengths[lane])
            except Damaged:
                yield address, None
                continue
            # The first row is that of the place, even if it was found in another lane.
            pages[lane] = {node.address: node for node in nodes} | {address: nodes[0]}
        node = pages[lane].pop(address)
        yield address, node
        for parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, (-parent.generation, parent.commit_id, parent.lane))
