"""Commits in their lanes. A lane is the branch on which a commit first arrived: it only keeps a line of
history together, so that one query reads a run of it. No walk's correctness depends on it.

A row says in which lanes its parents are, and may be wrong in that. Of many rows a push that dies may have written a
child's and not its parent's; another push, which knew the parent from another lane, found the child's there and, as
the first writer's stays, left it. What that leans on is known by then, so the index says where it is.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Damaged
from shared.metadata import attributes, keys
from shared.metadata.index import CONDITIONAL
from shared.metadata.table import Row, Table
from shared.model import Kind, Location, Node, Place
from shared.tasks import all_of

STALE_SECONDS = 15 * 60
"""Longer than any request lives. The row of an unfinished push counts for this long. Then gc may remove what it names.
An expunge condemns younger rows, too. It removes them `WAIT_SECONDS` later, when each of them is older than this."""
_STALE = "#written_at < :long_ago"


@dataclass(frozen=True, slots=True)
class Commits:
    """The commit rows of every repository."""

    table: Table

    async def lane(self, repo_id: str, start: Place, limit: int | None) -> list[Node]:
        """The row of a commit and the run of its lane below it, newest first: at most `limit` rows or 1 MB.

        It is the lane of `start`, or the one where the commit is. Raises Damaged if it is in neither.
        """
        if nodes := await self._run(repo_id, start, limit):
            return nodes
        for place in await self._elsewhere(repo_id, [start]):
            if nodes := await self._run(repo_id, place, limit):
                return nodes
        raise Damaged(f"commit {start.commit_id}")

    async def get(self, repo_id: str, places: Collection[Place]) -> dict[str, Node]:
        """The rows of the commits at these places, by id. Raises Damaged if one is neither there nor elsewhere."""
        found = await self._at(repo_id, places)
        if missing := [place for place in places if place.commit_id not in found]:
            found |= await self._at(repo_id, await self._elsewhere(repo_id, missing))
        for place in missing:
            if place.commit_id not in found:
                raise Damaged(f"commit {place.commit_id}")
        return found

    async def _run(self, repo_id: str, start: Place, limit: int | None) -> list[Node]:
        pk, sort_key = keys.commit(repo_id, start)
        page = await self.table.query(pk, between=("0", sort_key), limit=limit, newest_first=True)
        if not page.rows or page.rows[0]["sk"] != sort_key:
            return []
        nodes = [node_of(start.lane, page.rows[0])]
        with suppress(Damaged):  # the run ends above a damaged row, which is an error only if it is asked for
            nodes += (node_of(start.lane, row) for row in page.rows[1:])
        return nodes

    async def _at(self, repo_id: str, places: Collection[Place]) -> dict[str, Node]:
        wanted = {keys.commit(repo_id, place): place for place in places}
        rows = await self.table.find(list(wanted))
        nodes = (node_of(wanted[str(row["pk"]), str(row["sk"])].lane, row) for row in rows)
        return {node.commit_id: node for node in nodes}

    async def _elsewhere(self, repo_id: str, places: Collection[Place]) -> list[Place]:
        rows = await self.table.find([keys.by_id(repo_id, Kind.COMMIT, place.commit_id) for place in places])
        return [Place(str(row["sk"]), int(str(row["generation"])), str(row["lane"])) for row in rows]

    async def open_lane(self, repo_id: str, lane: str, now: int) -> None:
        """Write a lane down before its first row, so that what an unfinished push leaves in it is found again.

        What holds a row has been written down, and stays so until it is empty (see `census`).
        """
        await self.table.put([((keys.lanes(repo_id), lane), {"opened_at": now})])

    async def put(self, repo_id: str, nodes: Iterable[Node], now: int) -> None:
        """Write the rows of commits that no index knows yet.

        Few are written on condition that they are new: the first writer's record stays, unless it is so old that
        its push never came to an end.
        """
        rows = [(keys.commit(repo_id, node.place), {**_row(node), "written_at": now}) for node in nodes]
        if len(rows) <= CONDITIONAL:
            long_ago: Row = {"long_ago": now - STALE_SECONDS}
            await all_of(self.table.put_new(key, row, _STALE, long_ago) for key, row in rows)
        else:
            await self.table.put(rows)


def _row(node: Node) -> Row:
    row: dict[str, str | int | bytes | list[str]] = {"parents": [keys.place_text(parent) for parent in node.parents]}
    if node.snapshot_id:
        row["snapshot_id"] = node.snapshot_id
    if node.snapshot_at:
        row["snapshot_at"] = str(node.snapshot_at)
    if node.record is not None:
        row["record"] = node.record
    if node.record_at:
        row["record_at"] = str(node.record_at)
    if node.summary is not None:
        row["summary"] = node.summary
    return row


def node_of(lane: str, row: Mapping[str, object]) -> Node:
    """A row of a lane as a node. Raises Damaged: without its parents a commit would pass for a root."""
    generation, commit_id = str(row["sk"]).split("#")
    what = f"commit {commit_id}"
    try:
        parents = tuple(map(keys.parse_place, attributes.texts(row, "parents", what)))
    except ValueError:
        raise Damaged(f"attribute parents of {what}") from None
    return Node(
        place=Place(commit_id, int(generation), lane),
        parents=parents,
        snapshot_id=str(row["snapshot_id"]) if "snapshot_id" in row else None,
        snapshot_at=Location.parse(str(row["snapshot_at"])) if "snapshot_at" in row else None,
        record=attributes.binary(row, "record", what) if "record" in row else None,
        record_at=Location.parse(str(row["record_at"])) if "record_at" in row else None,
        summary=attributes.binary(row, "summary", what) if "summary" in row else None,
    )
