"""Branches: the only rows that change. Moving one is the commit point of a push.

A clone keeps each branch as a file of that name. So `a` and `a/b` must never both exist, nor `Docs` and `docs`, which
are one file on Windows and macOS. Two pushes may create them in the same moment, so each marks rows before it creates
its branch, with names folded (`names.fold`): the row of each folder, and the row of its own folded name, if that is
another than its own. A mark is made on condition that the row is no branch and has no mark that excludes it:

    mark of a folder     excludes a branch of that name
    mark for a branch    excludes all other branches of that folded name, and a folder of that name

A branch whose name is its folded name is created in the marked row itself, on condition that there is no mark. A mark
older than any request can live does not count, so a folder whose branches are gone can become a branch again. This
compares the clocks of two processes, which must agree within a few minutes: AWS refuses the calls of a process whose
clock is further off.
"""

import re
import secrets
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import BranchClash
from shared.metadata import bundles, keys
from shared.metadata.table import Lost, Row, Table
from shared.model import Bundle, Location, Move, Place, Ref
from shared.names import fold, folders
from shared.tasks import all_of

KEPT_SECONDS = 30 * 24 * 3600
"""How long a move of a branch can be looked up and undone."""
MARK_SECONDS = 15 * 60
"""Longer than any request lives: the longest that Lambda allows."""

_ABSENT = "attribute_not_exists(#head) AND ( attribute_not_exists(#marked_at) OR #marked_at < :long_ago )"
_UNCHANGED = "#head = :expected AND ( attribute_not_exists(#step) OR #step = :step )"
"""The head alone is not enough: the branch may have gone elsewhere and come back."""
_CAN_BE_A_FOLDER = (
    "attribute_not_exists(#head)"
    " AND ( attribute_not_exists(#marked_for) OR #marked_for = :marked_for OR #marked_at < :long_ago )"
)
_CAN_BE_THIS_BRANCH = (
    "attribute_not_exists(#head)"
    " AND ( attribute_not_exists(#marked_at) OR #marked_for = :marked_for OR #marked_at < :long_ago )"
)
_SAME_MARK = "attribute_not_exists(#head) AND #marked_at = :seen"


_STEP = re.compile(r"\d{12}#\d{12}#[0-9a-f]{8}")


def is_step(text: str) -> bool:
    """Whether a text from outside has the form of a step."""
    return _STEP.fullmatch(text) is not None


def sequence(step: str) -> int:
    """The sequence of a step; 0 of none."""
    return int(step[:12]) if step else 0


def next_step(previous: str, last: str) -> str:
    """A step after `previous`, the step of the ref row or empty, and after `last`, any other step of the branch."""
    number = 1 + max(sequence(previous), sequence(last))
    return f"{number:012d}#{sequence(previous):012d}#{secrets.token_hex(4)}"


class Moved(Exception):
    """The branch is not where it was believed to be; `current` is where it is, None if it is gone."""

    def __init__(self, current: Ref | None) -> None:
        self.current = current
        super().__init__("the branch has moved")


@dataclass(frozen=True, slots=True)
class Refs:
    """The branches of every repository."""

    table: Table

    async def all(self, repo_id: str) -> dict[str, Ref]:
        """Every branch of a repository, by name, sorted."""
        rows = await self.table.query_all(keys.refs(repo_id), keys.REF)
        return _by_name(rows)

    async def all_and_bundle(self, repo_id: str) -> tuple[dict[str, Ref], Bundle | None]:
        """Every branch, as `all`, and what was made ready for a clone, by the same query."""
        rows = await self.table.query_all(keys.refs(repo_id), keys.REF_OR_BUNDLE)
        prepared = next((bundles.usable(row) for row in rows if row["sk"] == keys.bundle(repo_id)[1]), None)
        return _by_name(rows), prepared

    async def get(self, repo_id: str, branch: str) -> Ref | None:
        """One branch, or None."""
        row = await self.table.get(keys.ref(repo_id, branch))
        return _ref(branch, row) if row and "head" in row else None

    async def find(self, repo_id: str, branches: Collection[str]) -> dict[str, Ref]:
        """Those of these branches that exist, by name: one call for every 100."""
        rows = await self.table.find([keys.ref(repo_id, branch) for branch in branches])
        return _by_name(rows)

    async def page(self, repo_id: str, limit: int, after: str) -> tuple[list[Ref], bool]:
        """Up to `limit` branches by name, behind the one named `after`, and whether there are more."""
        found: list[Ref] = []
        last: str | None = keys.ref(repo_id, after)[1] if after else None
        while len(found) <= limit:
            page = await self.table.query(keys.refs(repo_id), prefix=keys.REF, limit=limit + 1, after=last)
            found += _by_name(page.rows).values()
            if not (last := page.last):
                break
        return found[:limit], len(found) > limit

    async def announce(self, repo_id: str, move: Move) -> None:
        """Write down a move that is about to be made: before the swap, so that no move is ever without a trace.

        A move that then fails leaves its announcement behind. The chain of moves does not contain it.
        """
        row: Row = {
            "at": move.at,
            "by": move.by,
            "before": keys.place_text(move.before) if move.before else "",
            "after": keys.place_text(move.after) if move.after else "",
            "forced": int(move.forced),
            "previous": move.previous,
        }
        await self.table.put([(keys.move(repo_id, move.branch, move.step), row)])

    async def moves(self, repo_id: str, branch: str = "") -> list[Move]:
        """The moves of a branch (default: of every branch) that are still kept, oldest first.

        Announcements of moves that failed are among them.
        """
        rows = await self.table.query_all(keys.moves(repo_id), keys.move(repo_id, branch, "")[1] if branch else "")
        return sorted(map(_move, rows), key=lambda move: (move.at, move.step))

    async def moves_down(
        self, repo_id: str, branch: str, start: str = "", limit: int | None = None
    ) -> tuple[list[Move], bool]:
        """Up to `limit` announced moves of a branch, or 1 MB of them, the greatest step first, and whether there are
        more. They begin with the step `start`, if it is given."""
        lowest = keys.move(repo_id, branch, "")[1]
        highest = lowest + (start or ":")  # a colon comes after all digits
        page = await self.table.query(keys.moves(repo_id), between=(lowest, highest), limit=limit, newest_first=True)
        return list(map(_move, page.rows)), page.last is not None

    async def last_step(self, repo_id: str, branch: str) -> tuple[str, int]:
        """The greatest step that was announced of a branch and its time; an empty one and 0 if there is none."""
        moves, _ = await self.moves_down(repo_id, branch, limit=1)
        return (moves[0].step, moves[0].at) if moves else ("", 0)

    async def remove(self, repo_id: str, expected: Ref) -> None:
        """Delete a branch that is where it is believed to be. Raises Moved with where it is, if anywhere."""
        key = keys.ref(repo_id, expected.branch)
        try:
            await self.table.remove(key, _UNCHANGED, _seen(expected))
        except Lost as lost:
            raise Moved(_ref(expected.branch, lost.row) if lost.row and "head" in lost.row else None) from lost

    async def mark_folders(self, repo_id: str, branch: str, now: int) -> None:
        """Keep names from becoming branches that a clone cannot hold beside the branch that is about to be created.

        These are its folders, and its own name in another letter case or Unicode form. Raises BranchClash if one
        already is a branch, or is just being created.
        """
        folded = fold(branch)
        own = [] if folded == branch else [self._mark(repo_id, branch, folded, branch, _CAN_BE_THIS_BRANCH, now)]
        above = [self._mark(repo_id, branch, folder, "", _CAN_BE_A_FOLDER, now) for folder in folders(folded)]
        await all_of([*own, *above])

    async def _mark(self, repo_id: str, branch: str, name: str, marked_for: str, condition: str, now: int) -> None:
        """Mark the row of a folded name for a branch (empty: as a folder)."""
        row: Row = {"marked_at": now, "marked_for": marked_for}
        values: Row = {"marked_for": marked_for, "long_ago": now - MARK_SECONDS}
        key = keys.ref(repo_id, name)
        try:
            await self.table.update(key, row, condition, values)
        except Lost as lost:
            there = lost.row or {}
            if "head" in there:
                raise BranchClash(branch, name) from lost
            await self._end_mark_in_time(key, int(str(there.get("marked_at", 0))), now)
            raise BranchClash(branch, str(there.get("marked_for", "")) or f"{name}/…") from lost

    async def swap(self, repo_id: str, new: Ref, expected: Ref | None, *, by: str, now: int) -> None:
        """Move a branch from `expected` (None: create it) to `new`: the commit point of a push.

        Raises Moved with the ref that stands there, unless that already is `new`: then an earlier try of
        ours arrived after all. Raises BranchClash if the name is marked for other branches.
        """
        row: Row = {
            "head": new.head.commit_id,
            "generation": new.head.generation,
            "lane": new.head.lane,
            "snapshot_at": str(new.snapshot_at or ""),
            "updated_at": now,
            "updated_by": by,
            "step": new.step,
            "moved_at": new.moved_at,
        }
        key = keys.ref(repo_id, new.branch)
        try:
            if expected is None:
                await self.table.update(key, row, _ABSENT, {"long_ago": now - MARK_SECONDS})
            else:
                await self.table.update(key, row, _UNCHANGED, _seen(expected))
        except Lost as lost:
            current = _ref(new.branch, lost.row) if lost.row and "head" in lost.row else None
            if current is None and lost.row and "marked_at" in lost.row:
                await self._end_mark_in_time(key, int(str(lost.row["marked_at"])), now)
                raise BranchClash(new.branch, str(lost.row.get("marked_for", "")) or f"{new.branch}/…") from lost
            if current is None or current.head != new.head:
                raise Moved(current) from lost

    async def _end_mark_in_time(self, key: keys.Key, marked_at: int, now: int) -> None:
        """A mark of a time to come was made before the clock was set back. Its request may still be alive, so it
        counts from now on for as long as any other, and not until that time has come."""
        if marked_at > now:
            with suppress(Lost):
                row: Row = {"marked_at": now}
                await self.table.update(key, row, _SAME_MARK, {"seen": marked_at})


def _seen(ref: Ref) -> Row:
    """The values of `_UNCHANGED` for a branch that is where it was seen."""
    return {"expected": ref.head.commit_id, "step": ref.step}


def _move(row: Row) -> Move:
    branch, _, step = str(row["sk"]).rpartition("//")
    before, after, expunged = str(row["before"]), str(row["after"]), row.get("expunged")
    return Move(
        branch=branch,
        at=int(str(row["at"])),
        by=str(row["by"]),
        before=keys.parse_place(before) if before else None,
        after=keys.parse_place(after) if after else None,
        forced=bool(row["forced"]),
        step=step,
        previous=str(row["previous"]),
        expunged=frozenset(expunged) if isinstance(expunged, list) else frozenset(),
    )


def _by_name(rows: Iterable[Row]) -> dict[str, Ref]:
    """The branches among these rows; a folder's mark is none."""
    refs = [_ref(str(row["sk"]).removeprefix(keys.REF), row) for row in rows if "head" in row]
    return {ref.branch: ref for ref in refs}


def _ref(branch: str, row: Row) -> Ref:
    snapshot_at = str(row["snapshot_at"])
    return Ref(
        branch,
        Place(str(row["head"]), int(str(row["generation"])), str(row["lane"])),
        Location.parse(snapshot_at) if snapshot_at else None,
        str(row.get("step", "")),
        int(str(row.get("moved_at", 0))),
    )
