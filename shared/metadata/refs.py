"""Branches: the only rows that change. Moving one is the commit point of a push.

A clone keeps each branch as a file of that name, so `a` and `a/b` must never both exist, also when two
pushes create them in the same moment. No transaction is needed for that: whoever creates `a/b` first marks
the folder `a`, in the very row that a branch `a` would have, on condition that it is not a branch; and
whoever creates `a` does so on condition that it is not marked. A mark older than any request can live does
not count, so a folder whose branches are gone can become a branch again.
"""

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from shared.errors import BranchClash
from shared.metadata import bundles, keys
from shared.metadata.table import Lost, Row, Table
from shared.model import Bundle, Location, Move, Place, Ref
from shared.names import folders
from shared.tasks import all_of

KEPT_SECONDS = 30 * 24 * 3600
"""How long a move of a branch can be looked up and undone."""
MARK_SECONDS = 15 * 60
"""Longer than any request lives: the longest that Lambda allows."""

_ABSENT = "attribute_not_exists(#head) AND ( attribute_not_exists(#marked_at) OR #marked_at < :long_ago )"
_UNCHANGED = "#head = :expected"
_NOT_A_BRANCH = "attribute_not_exists(#head)"


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

        One that then fails leaves its announcement behind; `moves` knows it by what came after.
        """
        sort_key = f"{move.branch}#{move.at:013d}#{secrets.token_hex(4)}"
        row: Row = {
            "by": move.by,
            "before": keys.place_text(move.before) if move.before else "",
            "after": keys.place_text(move.after) if move.after else "",
            "forced": int(move.forced),
        }
        await self.table.put([((keys.moves(repo_id), sort_key), row)])

    async def moves(self, repo_id: str, branch: str = "") -> list[Move]:
        """The moves of a branch (default: of every branch) that are still kept, oldest first.

        Announcements of moves that failed are among them.
        """
        rows = await self.table.query_all(keys.moves(repo_id), f"{branch}#" if branch else "")
        return sorted(map(_move, rows), key=lambda move: move.at)

    async def remove(self, repo_id: str, expected: Ref) -> None:
        """Delete a branch that is where it is believed to be. Raises Moved with where it is, if anywhere."""
        key = keys.ref(repo_id, expected.branch)
        try:
            await self.table.remove(key, _UNCHANGED, {"expected": expected.head.commit_id})
        except Lost as lost:
            raise Moved(_ref(expected.branch, lost.row) if lost.row and "head" in lost.row else None) from lost

    async def mark_folders(self, repo_id: str, branch: str, now: int) -> None:
        """Keep the folders of a branch that is about to be created from becoming branches themselves.

        Raises BranchClash if one already is.
        """

        async def mark(folder: str) -> None:
            try:
                await self.table.update(keys.ref(repo_id, folder), {"marked_at": now}, _NOT_A_BRANCH, {})
            except Lost as lost:
                raise BranchClash(branch, folder) from lost

        await all_of(mark(folder) for folder in folders(branch))

    async def swap(self, repo_id: str, new: Ref, expected: Ref | None, *, by: str, now: int) -> None:
        """Move a branch from `expected` (None: create it) to `new`: the commit point of a push.

        Raises Moved with the ref that stands there, unless that already is `new`: then an earlier try of
        ours arrived after all. Raises BranchClash if branches have been created below this name.
        """
        row: Row = {
            "head": new.head.commit_id,
            "generation": new.head.generation,
            "lane": new.head.lane,
            "snapshot_at": str(new.snapshot_at or ""),
            "updated_at": now,
            "updated_by": by,
        }
        key = keys.ref(repo_id, new.branch)
        try:
            if expected is None:
                await self.table.update(key, row, _ABSENT, {"long_ago": now - MARK_SECONDS})
            else:
                await self.table.update(key, row, _UNCHANGED, {"expected": expected.head.commit_id})
        except Lost as lost:
            current = _ref(new.branch, lost.row) if lost.row and "head" in lost.row else None
            if current is None and lost.row and "marked_at" in lost.row:
                raise BranchClash(new.branch, f"{new.branch}/…") from lost
            if current is None or current.head != new.head:
                raise Moved(current) from lost


def _move(row: Row) -> Move:
    branch, at, _ = str(row["sk"]).rsplit("#", 2)
    before, after = str(row["before"]), str(row["after"])
    return Move(
        branch=branch,
        at=int(at),
        by=str(row["by"]),
        before=keys.parse_place(before) if before else None,
        after=keys.parse_place(after) if after else None,
        forced=bool(row["forced"]),
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
    )
