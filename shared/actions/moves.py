"""The moves of a branch: the next one planned, and those that were made, followed from the last one back.

    ref row → the move that it names → the move before that → …        a deletion ends in no ref row: see `Chain`

Each step of the chain is found by its key, so that a page costs what it shows, whatever lies before or after it.
"""

from dataclasses import dataclass

from shared import cursors
from shared.metadata.refs import KEPT_SECONDS, is_step, next_step
from shared.model import Move, Place, Ref, Repo
from shared.stores import Stores

SPARE_ROWS = 20
"""Rows read beyond the moves that are wanted: announcements of moves that were not made lie between them."""
PAGE_QUERIES = 8
"""Queries for one page. A page may be short where many announced moves were not made; its cursor goes on."""
SEARCH_QUERIES = 16
"""Queries of 1 MB in which one request searches for a commit to restore: some 40,000 moves."""


def planned(
    branch: str, current: Ref | None, last: tuple[str, int], after: Place | None, *, forced: bool, by: str, now: float
) -> Move:
    """The next move of a branch that is at `current`. `last`: the greatest step of the branch, with its time; it is
    needed only for a creation and for a deletion (see `metadata/refs`)."""
    step, at = last
    previous = current.step if current else ""
    return Move(
        branch=branch,
        # A clock that was set back must not make a move look older than the move before it.
        at=max(int(now * 1000), current.moved_at if current else 0, at),
        by=by,
        before=current.head if current else None,
        after=after,
        forced=forced,
        step=next_step(previous, step),
        previous=previous,
    )


@dataclass(slots=True)
class Chain:
    """The moves of a branch that were made, the last one first. `wanted` is the step of the next one.

    Where it is empty, the branch did not exist: it was deleted before, or never existed. No move names that
    deletion, so it is the first deletion that is found below the step `below`.
    """

    stores: Stores
    repo_id: str
    branch: str
    oldest: int
    """Epoch milliseconds: the chain ends at a move that is older."""
    wanted: str
    below: str = ""
    is_over: bool = False

    async def follow(self, rows: int | None) -> list[Move]:
        """The next moves of the chain, found by one query of `rows` rows, at most 1 MB. It may find none."""
        start = self.wanted or self.below
        announced, has_more = await self.stores.refs.moves_down(self.repo_id, self.branch, start, rows)
        found: list[Move] = []
        for move in announced:
            if self.wanted and move.step < self.wanted:
                self.is_over = True  # the move is so old that gc has removed it
                break
            if self._is_next(move):
                self.is_over = move.at < self.oldest
                if self.is_over:
                    break
                found.append(move)
                self.wanted = move.previous
            if not self.wanted:
                self.below = move.step
        self.is_over = self.is_over or not has_more
        return found

    def _is_next(self, move: Move) -> bool:
        if self.wanted:
            return move.step == self.wanted
        return move.after is None and move.step != self.below


async def page(
    stores: Stores, repo: Repo, branch: str, cursor: str, limit: int, *, now: float
) -> tuple[Ref | None, list[Move], str | None]:
    """Where a branch is, up to `limit` of the moves that brought it there within 30 days, the last one first, and
    where the next page begins. `cursor` is where the page before ended. Raises Unprocessable for no such cursor."""
    if cursor and not is_step(cursor):
        raise cursors.invalid()
    ref, chain = await begin(stores, repo, branch, now=now)
    if cursor:
        chain.wanted = cursor
    found: list[Move] = []
    for _ in range(PAGE_QUERIES):
        found += [move for move in await chain.follow(limit + 2 + SPARE_ROWS) if move.step != cursor]
        if chain.is_over or len(found) > limit:
            break
    has_more = len(found) > limit or not chain.is_over
    shown = found[:limit]
    return ref, shown, shown[-1].step if shown and has_more else None


async def begin(stores: Stores, repo: Repo, branch: str, *, now: float) -> tuple[Ref | None, Chain]:
    """Where a branch is, and its moves from the last one on."""
    ref = await stores.refs.get(repo.repo_id, branch)
    oldest = int((now - KEPT_SECONDS) * 1000)
    return ref, Chain(stores, repo.repo_id, branch, oldest, ref.step if ref else "")


async def been_at(chain: Chain, commit_id: str) -> tuple[Place | None, int]:
    """Where a commit is at which the branch was, or None; and how many moves were searched. Some moves within 30 days
    may be left if the chain is not over."""
    searched = 0
    for _ in range(SEARCH_QUERIES):
        for move in await chain.follow(None):
            searched += 1
            for place in move.kept:
                if place.commit_id == commit_id:
                    return place, searched
        if chain.is_over:
            break
    return None, searched
