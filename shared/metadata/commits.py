"""Commit rows, grouped by lane.

A lane is named after the branch on which a commit first arrived. It keeps a line of history in one
partition, so that one query reads a run of it. The correctness of a walk does not depend on lanes.

The lanes of the parents in a row can be wrong: a push crashes after it wrote the row of a child,
but not the row of its parent. A second push finds the parent in another lane, but it does not
replace the existing row of the child. Readers then find the parent through the index, where it must
be.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Damaged
from shared.limits import Limits
from shared.metadata import attributes, keys
from shared.metadata.conditions import Condition, Less
from shared.metadata.index import address_of
from shared.metadata.table import ConditionFailed, Query, Row, Table
from shared.model import CommitAddress, CommitId, Kind, Node, Packed, RepoId, SnapshotId
from shared.tasks import gather_all

STALE_SECONDS = 15 * 60
"""The longest time that a request can run. The row of an unfinished push counts for this time.

Afterwards gc may delete the bytes that the row points to. An expunge also condemns younger rows,
but deletes them `WAIT_SECONDS` later, when all of them are older than this.
"""

_KIND = attributes.RowFormat("commit")


@dataclass(frozen=True, slots=True)
class Commits:
    """The commit rows of a repository."""

    table: Table
    repo_id: RepoId
    limits: Limits

    async def lane(self, start: CommitAddress, limit: int | None) -> list[Node]:
        """Return a commit and the older ones of its lane, newest first: `limit` rows or 1 MB.

        If the commit is not at `start`, it is read at its place in the index. Raises Damaged if it
        is at neither.
        """
        nodes = await self._run(start, limit)
        if nodes:
            return nodes
        for address in await self._elsewhere([start]):
            nodes = await self._run(address, limit)
            if nodes:
                return nodes
        raise Damaged(f"commit {start.commit_id}")

    async def window(self, lane: str, lowest: int, highest: int) -> list[Node]:
        """Return the commits of a lane in a range of generations, newest first, up to 1 MB."""
        pk, first = keys.commit(self.repo_id, CommitAddress(CommitId(""), lowest, lane))
        _, last = keys.commit(self.repo_id, CommitAddress(CommitId(""), highest + 1, lane))
        page = await self.table.query(Query(pk, between=(first, last), newest_first=True))
        nodes: list[Node] = []
        with suppress(Damaged):  # the rows are a guess: a walk reads those that it needs
            nodes += (node_of(lane, row) for row in page.rows)
        return nodes

    async def get(self, addresses: Collection[CommitAddress]) -> dict[CommitId, Node]:
        """Return the commits at these places by id.

        A commit that is not at its place is read at its place in the index. Raises Damaged if it is
        at neither.
        """
        found = await self._at(addresses)
        missing = [address for address in addresses if address.commit_id not in found]
        if missing:
            found |= await self._at(await self._elsewhere(missing))
        for address in missing:
            if address.commit_id not in found:
                raise Damaged(f"commit {address.commit_id}")
        return found

    async def _run(self, start: CommitAddress, limit: int | None) -> list[Node]:
        pk, sort_key = keys.commit(self.repo_id, start)
        page = await self.table.query(
            Query(pk, between=("0", sort_key), limit=limit, newest_first=True)
        )
        if not page.rows or page.rows[0]["sk"] != sort_key:
            return []
        nodes = [node_of(start.lane, page.rows[0])]
        # The run ends at a damaged row, which is an error only if it is the start.
        with suppress(Damaged):
            nodes += (node_of(start.lane, row) for row in page.rows[1:])
        return nodes

    async def _at(self, addresses: Collection[CommitAddress]) -> dict[CommitId, Node]:
        wanted = {keys.commit(self.repo_id, address): address for address in addresses}
        rows = await self.table.find(list(wanted))
        nodes = (node_of(wanted[str(row["pk"]), str(row["sk"])].lane, row) for row in rows)
        return {node.commit_id: node for node in nodes}

    async def _elsewhere(self, addresses: Collection[CommitAddress]) -> list[CommitAddress]:
        rows = await self.table.find(
            [keys.by_id(self.repo_id, Kind.COMMIT, address.commit_id) for address in addresses]
        )
        return list(map(address_of, rows))

    async def open_lane(self, lane: str, now: int) -> None:
        """List a lane before its first row, so that gc finds the rows of unfinished pushes.

        A lane stays in the list until it has no rows (see `scans`).
        """
        await self.table.put([((keys.lanes(self.repo_id), lane), {"opened_at": now})])

    async def put(self, nodes: Iterable[Node], now: int) -> None:
        """Write the rows of commits that are not in the index yet.

        Up to `conditional_rows` rows are written under the condition that they are new, so that the
        record of the first push stays. A row older than `STALE_SECONDS`, of an unfinished push, is
        replaced.
        """
        rows = [
            (keys.commit(self.repo_id, node.address), {**_row(node), "written_at": now})
            for node in nodes
        ]
        if len(rows) <= self.limits.conditional_rows:
            stale = Less("written_at", now - STALE_SECONDS)
            await gather_all(self._put_new(key, row, stale) for key, row in rows)
        else:
            await self.table.put(rows)

    async def _put_new(self, key: keys.Key, row: Row, stale: Condition) -> None:
        with suppress(ConditionFailed):
            await self.table.put_new(key, row, stale)


def _row(node: Node) -> Row:
    row: dict[str, str | int | bytes | list[str]] = {
        "parents": [keys.address_text(parent) for parent in node.parents]
    }
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
    return _KIND.stamp(row)


def node_of(lane: str, row: Mapping[str, object]) -> Node:
    """Decode a row of a lane.

    Raises Damaged: a commit without its parents would look like a root.
    """
    return Node(
        address=_address(lane, row),
        parents=attributes.addresses(row, "parents", _KIND),
        snapshot_id=_snapshot_id(row),
        snapshot_at=_packed(row, "snapshot_at"),
        record=_binary(row, "record"),
        record_at=_packed(row, "record_at"),
        summary=_binary(row, "summary"),
    )


def _address(lane: str, row: Mapping[str, object]) -> CommitAddress:
    generation, _, commit_id = attributes.text(row, "sk", _KIND).partition("#")
    if not generation.isdecimal():
        raise attributes.damaged(row, "sk", _KIND)
    return CommitAddress(CommitId(commit_id), int(generation), lane)


def _snapshot_id(row: Mapping[str, object]) -> SnapshotId | None:
    if "snapshot_id" not in row:
        return None
    return SnapshotId(attributes.text(row, "snapshot_id", _KIND))


def _packed(row: Mapping[str, object], name: str) -> Packed | None:
    return attributes.packed(row, name, _KIND) if name in row else None


def _binary(row: Mapping[str, object], name: str) -> bytes | None:
    return attributes.binary(row, name, _KIND) if name in row else None
