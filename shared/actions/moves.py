"""The moves of a branch: a plan for the next one, and the chain of those that took effect.

    ref row → its last move → the move before that → …        after a deletion: see `Chain`

Each move of the chain is read by its key, so the cost of a page depends only on its length.
"""

from dataclasses import dataclass

from shared import cursors
from shared.metadata.refs import MOVES_KEPT_SECONDS, is_step, next_step
from shared.model import CommitAddress, CommitId, Move, Ref
from shared.stores import RepoStores

SPARE_ROWS = 20
"""Rows that are read in addition to the wanted moves, for announced moves that did not take effect.
"""
PAGE_QUERIES = 8
"""The most queries for one page. A page may be short if many announced moves did not take effect.
"""
SEARCH_QUERIES = 16
"""The most queries, of 1 MB each, of a search for a commit to restore: about 40,000 moves."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a branch moves: the handle of the user, the time, and whether the user forced it."""

    by: str
    now: float
    forced: bool


def planned(
    branch: str,
    current: Ref | None,
    last: tuple[str, int] | None,
    after: CommitAddress | None,
    cause: Cause,
) -> Move:
    """Plan the next move of a branch from `current` to `after`.

    `last` has the greatest step of the branch and its time. Only a creation and a deletion need it
    (see `metadata/refs`).
    """
    step, at = last or (None, 0)
    previous = current.step if current else None
    return Move(
        branch=branch,
        # After a clock was set back, a move must not look older than the move before it.
        at=max(int(cause.now * 1000), current.moved_at if current else 0, at),
        by=cause.by,
        before=current.head if current else None,
        after=after,
        forced=cause.forced,
        step=next_step(previous, step),
        previous=previous,
    )


@dataclass(slots=True)
class Chain:
    """The moves of a branch that took effect, the last one first. `wanted` is the next step.

    If `wanted` is None, the branch did not exist at this point. If it existed earlier, the next
    move is its deletion. No row refers to a deletion, so it is the first deletion below the step
    `below`.
    """

    repository: RepoStores
    branch: str
    oldest: int
    """Epoch milliseconds: the chain ends at a move that is older."""
    wanted: str | None
    below: str | None = None
    is_over: bool = False

    async def follow(self, rows: int | None) -> list[Move]:
        """Read the next moves of the chain by one query of `rows` rows or 1 MB, perhaps none."""
        start = self.wanted or self.below
        announced, has_more = await self.repository.refs.moves_down(self.branch, start, rows)
        found: list[Move] = []
        for move in announced:
            if self.wanted and move.step < self.wanted:
                self.is_over = True  # gc has deleted the move, because it is old
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
    repository: RepoStores, branch: str, cursor: str, limit: int, *, now: float
) -> tuple[Ref | None, list[Move], str | None]:
    """Return the ref of a branch, up to `limit` of its moves within 30 days, and the next cursor.

    The last move comes first. `cursor` is the cursor of the page before. Raises Unprocessable for
    an invalid cursor.

    Budget: 4 AWS calls, chain of 3 (GET moves).
    """
    if cursor and not is_step(cursor):
        raise cursors.invalid()
    ref, chain = await begin(repository, branch, now=now)
    if cursor:
        chain.wanted = cursor
    found: list[Move] = []
    for _ in range(PAGE_QUERIES):
        found += [
            move for move in await chain.follow(limit + 2 + SPARE_ROWS) if move.step != cursor
        ]
        if chain.is_over or len(found) > limit:
            break
    has_more = len(found) > limit or not chain.is_over
    shown = found[:limit]
    return ref, shown, shown[-1].step if shown and has_more else None


async def begin(repository: RepoStores, branch: str, *, now: float) -> tuple[Ref | None, Chain]:
    """Return the ref of a branch, and the chain of its moves from the last one on."""
    ref = await repository.refs.get(branch)
    oldest = int((now - MOVES_KEPT_SECONDS) * 1000)
    return ref, Chain(repository, branch, oldest, ref.step if ref else None)


async def been_at(chain: Chain, commit_id: CommitId) -> tuple[CommitAddress | None, int]:
    """Search the moves of a branch for a commit. Returns its place, and the moves searched.

    If the chain is not over, some moves within 30 days were not searched.
    """
    searched = 0
    for _ in range(SEARCH_QUERIES):
        for move in await chain.follow(None):
            searched += 1
            for address in move.kept:
                if address.commit_id == commit_id:
                    return address, searched
        if chain.is_over:
            break
    return None, searched
