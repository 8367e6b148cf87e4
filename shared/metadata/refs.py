"""Branches: the mutable rows of a repository. The move of a branch is the commit point of a push.

A clone stores each branch as a file of that name. So `a` and `a/b` must never both exist, and
neither must `Docs` and `docs`, which are the same file on Windows and macOS. Two pushes may create
them concurrently. Each push therefore marks rows before it creates its branch, under folded names
(`names.fold`): the row of each folder, and the row of the folded branch name if it differs from the
branch name. A mark is written under the condition that the row is not a branch and has no mark that
excludes the new one:

    mark of a folder     excludes a branch of that name
    mark for a branch    excludes all other branches of that folded name, and a folder of that name

A branch whose name equals its folded name is created in the marked row itself, under the condition
that it has no valid mark. A mark expires when it is older than any request can run, so a folder
whose branches are deleted can become a branch again. This compares the clocks of two processes.
They agree within a few minutes, because AWS refuses calls from a process whose clock deviates more.
"""

import re
import secrets
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import BranchClash
from shared.metadata import attributes, due, keys, prebuilt_clones, ref_rows
from shared.metadata.conditions import Absent, Condition, Equals, Less, either, every
from shared.metadata.table import ConditionFailed, Query, Row, Table
from shared.model import Move, PrebuiltClone, Ref, RepoId
from shared.names import fold, folders
from shared.tasks import gather_all

MOVES_KEPT_SECONDS = 30 * 24 * 3600
"""A move of a branch can be read and undone for this time."""
MARK_SECONDS = 15 * 60
"""The longest time that Lambda lets a request run."""

_MARK = attributes.RowFormat("mark")

_STEP = re.compile(r"\d{12}#\d{12}#[0-9a-f]{8}")


def is_step(text: str) -> bool:
    """Whether a text from a client has the form of a step."""
    return _STEP.fullmatch(text) is not None


def sequence(step: str | None) -> int:
    """The sequence number of a step; 0 for None."""
    return int(step[:12]) if step else 0


def next_step(previous: str | None, last: str | None) -> str:
    """Make a step whose sequence number is greater than those of `previous` and `last`.

    `previous` is the step in the ref row, `last` another step of the branch; each may be None.
    """
    number = 1 + max(sequence(previous), sequence(last))
    return f"{number:012d}#{sequence(previous):012d}#{secrets.token_hex(4)}"


class RefChanged(ConditionFailed):
    """The branch is not at the expected commit. `ref` is the present branch, or None."""

    def __init__(self, row: Row | None) -> None:
        super().__init__(row)
        self.ref = ref_rows.decode(row) if row else None


@dataclass(frozen=True, slots=True)
class Refs:
    """The branches of a repository."""

    table: Table
    repo_id: RepoId

    async def all(self) -> dict[str, Ref]:
        """Return every branch of a repository by name, sorted."""
        rows = await self.table.query_all(keys.refs(self.repo_id), keys.REF)
        return _by_name(rows)

    async def all_and_prebuilt_clone(self) -> tuple[dict[str, Ref], PrebuiltClone | None]:
        """Return every branch, as `all` does, and the prebuilt clone, with the same query."""
        rows = await self.table.query_all(keys.refs(self.repo_id), keys.REF_OR_PREBUILT)
        prepared = next(
            (
                prebuilt_clones.usable(row)
                for row in rows
                if row["sk"] == keys.prebuilt(self.repo_id)[1]
            ),
            None,
        )
        return _by_name(rows), prepared

    async def get(self, branch: str) -> Ref | None:
        """Return one branch, or None."""
        row = await self.table.get(keys.ref(self.repo_id, branch))
        return ref_rows.decode(row) if row else None

    async def find(self, branches: Collection[str]) -> dict[str, Ref]:
        """Return those of these branches that exist, by name. One call for every 100."""
        rows = await self.table.find([keys.ref(self.repo_id, branch) for branch in branches])
        return _by_name(rows)

    async def page(self, limit: int, after: str) -> tuple[list[Ref], bool]:
        """Return up to `limit` branches after the name `after`, and whether there are more."""
        found: list[Ref] = []
        last: str | None = keys.ref(self.repo_id, after)[1] if after else None
        while len(found) <= limit:
            page = await self.table.query(
                Query(keys.refs(self.repo_id), prefix=keys.REF, limit=limit + 1, after=last)
            )
            found += _by_name(page.rows).values()
            last = page.last
            if last is None:
                break
        return found[:limit], len(found) > limit

    async def log_move(self, move: Move) -> None:
        """Log a move before its swap, so that every move that happens is in the log.

        If the swap fails, the announcement stays. The chain of moves does not contain it. The same
        call lists the upkeep that the move makes necessary.
        """
        work = [one.row for one in due.after_move(self.repo_id, move)]
        key = keys.move(self.repo_id, move.branch, move.step)
        await self.table.put([(key, ref_rows.encode_move(move)), *work])

    async def log_moves(self, moves: Iterable[Move]) -> None:
        """Log moves that another hub has logged."""
        await self.table.put(
            [
                (keys.move(self.repo_id, move.branch, move.step), ref_rows.encode_move(move))
                for move in moves
            ]
        )

    async def moves(self, branch: str = "") -> list[Move]:
        """Return the stored moves of a branch (default: of every branch), oldest first.

        They include the announcements of moves that failed.
        """
        rows = await self.table.query_all(
            keys.moves(self.repo_id), keys.move(self.repo_id, branch, "")[1] if branch else ""
        )
        return sorted(map(ref_rows.decode_move, rows), key=lambda move: (move.at, move.step))

    async def moves_down(
        self, branch: str, start: str | None = None, limit: int | None = None
    ) -> tuple[list[Move], bool]:
        """Return announced moves of a branch, the greatest step first, and whether there are more.

        Returns up to `limit` moves or 1 MB. They begin with the step `start` if it is given.
        """
        lowest = keys.move(self.repo_id, branch, "")[1]
        highest = lowest + (start or ":")  # a colon comes after all digits
        page = await self.table.query(
            Query(
                keys.moves(self.repo_id),
                between=(lowest, highest),
                limit=limit,
                newest_first=True,
            )
        )
        return list(map(ref_rows.decode_move, page.rows)), page.last is not None

    async def last_step(self, branch: str) -> tuple[str, int] | None:
        """Return the greatest announced step of a branch and its time; None if there is none."""
        moves, _ = await self.moves_down(branch, limit=1)
        return (moves[0].step, moves[0].at) if moves else None

    async def remove(self, expected: Ref) -> None:
        """Delete a branch if it is still at `expected`. Raises RefChanged with the present ref."""
        key = keys.ref(self.repo_id, expected.branch)
        try:
            await self.table.delete(key, _is_at(expected))
        except ConditionFailed as lost:
            raise RefChanged(lost.row) from lost

    async def mark_folders(self, branch: str, now: int) -> None:
        """Mark the names that must not become branches next to a new branch.

        These are its folders, and its name in another letter case or Unicode form. Raises
        BranchClash if one of them is a branch, or another push is creating it.
        """
        folded = fold(branch)
        own = [] if folded == branch else [(folded, branch, Absent("marked_at"))]
        above = [(folder, "", Absent("marked_for")) for folder in folders(folded)]
        await gather_all([self._mark(branch, *mark, now) for mark in (*own, *above)])

    async def _mark(
        self, branch: str, name: str, marked_for: str, is_unmarked: Condition, now: int
    ) -> None:
        """Mark the row of the folded name `name` for the branch `marked_for` (empty: as a folder).

        The row must not be a branch. It must be unmarked, or have the same mark or an old one.
        """
        row: Row = {"marked_at": now, "marked_for": marked_for}
        is_same = Equals("marked_for", marked_for)
        is_old = Less("marked_at", now - MARK_SECONDS)
        can_mark = every(Absent("head"), either(is_unmarked, is_same, is_old))
        key = keys.ref(self.repo_id, name)
        try:
            await self.table.update(key, row, can_mark)
        except ConditionFailed as lost:
            current = lost.row or {}
            if "head" in current:
                raise BranchClash(branch, name) from lost
            await self._end_mark_in_time(key, attributes.number(current, "marked_at", _MARK), now)
            raise BranchClash(branch, str(current.get("marked_for", "")) or f"{name}/…") from lost

    async def swap(self, new: Ref, expected: Ref | None, *, by: str, now: int) -> None:
        """Move a branch from `expected` (None: create it) to `new`: the commit point of a push.

        Raises RefChanged with the present branch, unless its head is `new`: then an earlier attempt
        of this call succeeded. Raises BranchClash if the name is marked for other branches.
        """
        row = ref_rows.encode(new, by=by, now=now)
        key = keys.ref(self.repo_id, new.branch)
        try:
            if expected is None:
                is_free = either(Absent("marked_at"), Less("marked_at", now - MARK_SECONDS))
                await self.table.update(key, row, every(Absent("head"), is_free))
            else:
                await self.table.update(key, row, _is_at(expected))
        except ConditionFailed as lost:
            current = ref_rows.decode(lost.row) if lost.row else None
            if current is None and lost.row and "marked_at" in lost.row:
                await self._end_mark_in_time(
                    key, attributes.number(lost.row, "marked_at", _MARK), now
                )
                other = str(lost.row.get("marked_for", "")) or f"{new.branch}/…"
                raise BranchClash(new.branch, other) from lost
            if current is None or current.head != new.head:
                raise RefChanged(lost.row) from lost

    async def _end_mark_in_time(self, key: keys.Key, marked_at: int, now: int) -> None:
        """Date a mark from the future to `now`, so that it expires like any other.

        Such a mark was made before the clock was set back. Its request may still be running.
        """
        if marked_at > now:
            with suppress(ConditionFailed):
                row: Row = {"marked_at": now}
                is_same = every(Absent("head"), Equals("marked_at", marked_at))
                await self.table.update(key, row, is_same)


def _is_at(ref: Ref) -> Condition:
    """The condition that a branch is still at `ref`.

    The head alone is not enough: the branch may have moved to another commit and back.
    """
    has_step = either(Absent("step"), Equals("step", ref.step or ""))
    return every(Equals("head", ref.head.commit_id), has_step)


def _by_name(rows: Iterable[Row]) -> dict[str, Ref]:
    """The branches among these rows; rows that are only a mark are skipped."""
    refs = [ref_rows.decode(row) for row in rows]
    return {ref.branch: ref for ref in refs if ref}
