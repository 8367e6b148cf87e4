"""The list of due upkeep: one partition of the table, in the order of time.

    DUE | <epoch second>#<work>#<repo_id>

A request that makes upkeep necessary writes a row, in the call that records its change where that
is possible. The time is rounded up to a day, so that all changes of a day that need the same work
of a repository write the same row. One query returns the due work. docs/design/upkeep.md has the
invariants.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from shared.metadata import attributes, keys
from shared.metadata.keys import Key
from shared.metadata.table import Query, Row, Table
from shared.model import Move, RepoId

_KIND = attributes.RowFormat("due work")

DAY_SECONDS = 24 * 3600
CHECK_SECONDS = 90 * DAY_SECONDS
"""Everything is verified once in this time."""
GC_AFTER_MOVE_SECONDS = 32 * DAY_SECONDS
"""A gc keeps both ends of a move for 31 days. A later one deletes what only the move kept."""
GC_AFTER_LABEL_SECONDS = DAY_SECONDS
"""A deleted tag or release keeps nothing. A gc does not delete rows younger than a day."""
REPACK_SECONDS = DAY_SECONDS
"""A repack combines packs that are older than a day."""
REPACK_GENERATIONS = 64
"""A repack is due when a branch crosses a multiple of this number of generations."""


class Work(StrEnum):
    """The kinds of upkeep. The values are stored."""

    PURGE = "purge"
    REPACK = "repack"
    GC = "gc"
    CLONE = "clone"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Due:
    """Work on a repository that is due at an epoch second.

    A check of a large repository has several parts: this one is `part`, from 0, of `parts`.
    """

    at: int
    work: Work
    repo_id: RepoId
    part: int = 0
    parts: int = 1

    @property
    def key(self) -> Key:
        """The key of its row."""
        return keys.due(self.at, self.work, self.repo_id)

    @property
    def row(self) -> tuple[Key, Row]:
        """Its row."""
        return self.key, _KIND.stamp({"part": self.part, "parts": self.parts})


def later(work: Work, repo_id: RepoId, now: float, seconds: int) -> Due:
    """Work that is due at the end of the day in `seconds` from now (epoch seconds)."""
    at = int(now) + seconds
    return Due(at + -at % DAY_SECONDS, work, repo_id)


def after_move(repo_id: RepoId, move: Move) -> Iterable[Due]:
    """The work that a move of a branch makes necessary. Most moves make none.

    A forced move or a deletion makes a gc necessary; a move across a multiple of
    `REPACK_GENERATIONS` a repack.
    """
    now = move.at / 1000
    if move.before and move.forced:
        yield later(Work.GC, repo_id, now, GC_AFTER_MOVE_SECONDS)
    if move.before and move.after:
        before = move.before.generation // REPACK_GENERATIONS
        if move.after.generation // REPACK_GENERATIONS > before:
            yield later(Work.REPACK, repo_id, now, REPACK_SECONDS)


def first_check(repo_id: RepoId, now: float) -> Due:
    """The first check of a repository, within `CHECK_SECONDS`.

    The id decides on the day, so that the checks of many repositories are spread over the quarter.
    """
    days = int.from_bytes(sha256(repo_id.encode()).digest()[:4]) % (CHECK_SECONDS // DAY_SECONDS)
    return later(Work.CHECK, repo_id, now, days * DAY_SECONDS)


@dataclass(frozen=True, slots=True)
class DueWork:
    """The list of due upkeep of all repositories."""

    table: Table

    async def until(self, now: float) -> list[Due]:
        """Return the due work at this epoch second, in the order of time. One query for each MB."""
        found: list[Due] = []
        after: str | None = None
        while True:
            query = Query(keys.DUE, between=("0", f"{int(now):012d}~"), after=after)
            page = await self.table.query(query)
            found += map(_due, page.rows)
            after = page.last
            if after is None:
                return found

    async def all(self) -> list[Due]:
        """Return the whole list, also the work of later."""
        return await self.until(10**12 - 1)

    async def last_run(self) -> Row:
        """Return the result of the last run that found due work; empty if there was none."""
        return await self.table.get(keys.LAST_RUN) or {}

    async def put_last_run(self, result: Row) -> None:
        """Store the result of a run."""
        await self.table.put([(keys.LAST_RUN, result)])

    async def put(self, due: Collection[Due]) -> None:
        """Add to the list. A row that exists stays one row. One call for every 25."""
        await self.table.put([one.row for one in due])

    async def remove(self, due: Iterable[Due]) -> None:
        """Remove from the list. One call for each."""
        for one in due:
            await self.table.delete(one.key)


def _due(row: Row) -> Due:
    at, _, rest = attributes.text(row, "sk", _KIND).partition("#")
    work, _, repo_id = rest.partition("#")
    try:
        return Due(
            int(at),
            Work(work),
            RepoId(repo_id),
            attributes.number(row, "part", _KIND),
            attributes.number(row, "parts", _KIND),
        )
    except ValueError:
        raise attributes.damaged(row, "sk", _KIND) from None
