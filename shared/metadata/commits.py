"""Commits in their lanes. A lane is the branch on which a commit first arrived: it only keeps a line of
history together, so that one query reads a run of it. No walk's correctness depends on it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from shared.errors import Damaged
from shared.metadata import keys
from shared.metadata.index import CONDITIONAL
from shared.metadata.table import Row, Table
from shared.model import Location, Node, Place
from shared.tasks import all_of


@dataclass(frozen=True, slots=True)
class Commits:
    """The commit rows of every repository."""

    table: Table

    async def lane(self, repo_id: str, start: Place, limit: int | None) -> list[Node]:
        """The row of `start` and the run of its lane below it, newest first: at most `limit` rows or 1 MB.

        Raises Damaged if `start` itself is not there.
        """
        pk = keys.lane(repo_id, start.lane)
        page = await self.table.query(pk, between=("0", keys.in_lane(start)), limit=limit, newest_first=True)
        nodes = [_node(start.lane, row) for row in page.rows]
        if not nodes or nodes[0].place != start:
            raise Damaged(f"commit {start.commit_id}")
        return nodes

    async def get(self, repo_id: str, places: Collection[Place]) -> dict[str, Node]:
        """The rows at these places, by commit id. Raises Damaged if one is not there."""
        wanted = {keys.commit(repo_id, place): place for place in places}
        rows = await self.table.find(list(wanted))
        nodes = (_node(wanted[str(row["pk"]), str(row["sk"])].lane, row) for row in rows)
        found = {node.commit_id: node for node in nodes}
        for place in places:
            if place.commit_id not in found:
                raise Damaged(f"commit {place.commit_id}")
        return found

    async def put(self, repo_id: str, nodes: Iterable[Node]) -> None:
        """Write commit rows. Few are written on condition that they are new: the first writer's record stays."""
        rows = [(keys.commit(repo_id, node.place), _row(node)) for node in nodes]
        if len(rows) <= CONDITIONAL:
            await all_of(self.table.put_new(key, row) for key, row in rows)
        else:
            await self.table.put(rows)


def _row(node: Node) -> Row:
    row: dict[str, str | int | bytes | list[str]] = {
        "parents": [f"{keys.in_lane(parent)}#{parent.lane}" for parent in node.parents]
    }
    if node.snapshot_id:
        row["snapshot_id"] = node.snapshot_id
    if node.snapshot_at:
        row["snapshot_at"] = str(node.snapshot_at)
    if node.record is not None:
        row["record"] = node.record
    if node.record_at:
        row["record_at"] = str(node.record_at)
    return row


def _node(lane: str, row: Mapping[str, object]) -> Node:
    generation, commit_id = str(row["sk"]).split("#")
    parents = row["parents"]
    record = row.get("record")
    return Node(
        place=Place(commit_id, int(generation), lane),
        parents=tuple(map(_parent, parents)) if isinstance(parents, list) else (),
        snapshot_id=str(row["snapshot_id"]) if "snapshot_id" in row else None,
        snapshot_at=Location.parse(str(row["snapshot_at"])) if "snapshot_at" in row else None,
        record=record if isinstance(record, bytes) else None,
        record_at=Location.parse(str(row["record_at"])) if "record_at" in row else None,
    )


def _parent(text: str) -> Place:
    generation, commit_id, lane = text.split("#", 2)
    return Place(commit_id, int(generation), lane)
