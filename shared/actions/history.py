"""The log of a branch or a commit, in pages.

The cursor of a page holds the pending places. So a page reads at most one row of a lane for each
commit that it returns, at any depth. A record is read from S3 only if the row does not have its
summary.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import codec, cursors, names
from shared.actions import resolve
from shared.errors import Damaged, TooLarge
from shared.graph.ancestors import ancestors
from shared.graph.records import commit_record, summary
from shared.model import CommitAddress, CommitId, Node, Sees
from shared.stores import RepoStores

RECORD_BYTES = 8 * 1024 * 1024
"""The most bytes of records that one page reads from S3. Only rows of older hubs need such reads.
"""
LANE_CHARACTERS = names.BRANCH_CHARACTERS + 1 + names.DIGEST_LENGTH
"""The longest name of a lane: that of its branch, or the branch, `~` and the name of a pack."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A commit of a log, with the shown part of its record (see `records.summary`)."""

    node: Node
    summary: dict[str, Any]


@dataclass(slots=True)
class _Page:
    """The current page: its commits, and the places that are pending after them."""

    limit: int
    pending: set[CommitAddress]
    nodes: list[Node] = field(default_factory=list)
    record_bytes: int = 0

    def takes(self, node: Node) -> bool:
        """Whether the next row of the walk belongs to this page."""
        if not self.nodes or self.nodes[-1].commit_id == node.commit_id:
            return True
        return (
            len(self.nodes) < self.limit
            and self.record_bytes + _bytes_to_read(node) <= RECORD_BYTES
        )

    def add(self, address: CommitAddress, node: Node) -> None:
        """Add the next row of the walk to this page."""
        self.pending.remove(address)
        self.pending.update(node.parents)
        # A forced push may have written a second row of a commit.
        if not self.nodes or self.nodes[-1].commit_id != node.commit_id:
            self.nodes.append(node)
            self.record_bytes += _bytes_to_read(node)


async def log(
    repository: RepoStores, ref: str, cursor: str, limit: int, sees: Sees
) -> tuple[list[Entry], str | None]:
    """Return a page of the history of a branch or commit, and the cursor of the next page.

    The greatest generation comes first, then the least id. The places in a cursor are not checked:
    for a caller who may not see all commits, the hub seals cursors. Raises RefNotFound,
    Unprocessable for an invalid cursor, TooLarge if more lines of history are open than a cursor
    holds, and Damaged.

    Budget: 4 AWS calls, chain of 3 (GET commits, 4 of a branch).
    """
    if cursor:
        starts = _parse(cursor)
    else:
        targets = await resolve.targets(repository, [ref], sees)
        starts = {targets[ref].commit}
    return await _page_from(repository, starts, limit, is_forgeable=bool(cursor))


async def of_all_branches(
    repository: RepoStores, heads: Iterable[CommitAddress], cursor: str, limit: int
) -> tuple[list[Entry], str | None]:
    """Return a page of the history of all branches, as `log` does. `heads` is not empty."""
    starts = _parse(cursor) if cursor else set(heads)
    return await _page_from(repository, starts, limit, is_forgeable=bool(cursor))


async def _page_from(
    repository: RepoStores, starts: set[CommitAddress], limit: int, *, is_forgeable: bool
) -> tuple[list[Entry], str | None]:
    page = _Page(limit, set(starts))
    async for address, node in ancestors(repository.commits, starts, page=limit + 1):
        if node is None:
            # The places of a cursor existed when the hub made it. So this cursor is forged.
            raise (
                cursors.invalid()
                if is_forgeable and address in starts
                else Damaged(f"commit {address.commit_id}")
            )
        if not page.takes(node):
            break
        page.add(address, node)
    entries = await _entries(repository, page.nodes)
    return entries, _cursor(page.pending, page.nodes[-1].commit_id) if page.pending else None


async def _entries(repository: RepoStores, nodes: Sequence[Node]) -> list[Entry]:
    to_read = {node.record_at for node in nodes if node.record_at and node.summary is None}
    records = await repository.objects.read_packed(to_read)
    entries: list[Entry] = []
    for node in nodes:
        if node.summary is not None:
            shown = codec.unpack_record(zlib.decompress(node.summary))
        else:
            shown = summary(codec.unpack_record(commit_record(node, records)))
        entries.append(Entry(node, shown))
    return entries


def _bytes_to_read(node: Node) -> int:
    if node.record_at and node.summary is None:
        return node.record_at.length
    return 0


def _cursor(pending: Iterable[CommitAddress], last: str) -> str:
    """Encode places as `[[lane, …], [[index of its lane, generation, id], …]]`.

    If they do not fit, the cursor is `[id of the last commit of the page]`.
    """
    addresses = sorted(
        pending, key=lambda address: (address.lane, address.generation, address.commit_id)
    )
    lanes = sorted({address.lane for address in addresses})
    numbers = {lane: number for number, lane in enumerate(lanes)}
    packed = [
        [numbers[address.lane], address.generation, _packed_id(address.commit_id)]
        for address in addresses
    ]
    cursor = cursors.encode([lanes, packed])
    most = cursors.CHARACTERS - cursors.SEAL_CHARACTERS - 1
    if len(cursor) <= most:
        return cursor
    return cursors.encode([last])


def _parse(cursor: str) -> set[CommitAddress]:
    """Decode a cursor. Raises Unprocessable, or TooLarge if the places did not fit into the
    cursor.
    """
    match cursors.decode(cursor):
        case [str(last)] if names.is_id(last):
            raise TooLarge(
                f"more lines of history are open below {last} than a cursor holds; continue with"
                f" each line by itself: ref={last}, and ref= each other commit whose parents are"
                " not listed yet"
            )
        case [list(lanes), list(packed)]:
            try:
                addresses = {
                    CommitAddress(_unpacked_id(i), generation, lanes[number])
                    for number, generation, i in packed
                }
            except (TypeError, ValueError, IndexError):
                raise cursors.invalid() from None
        case _:
            raise cursors.invalid()
    if not addresses or not all(map(_may_exist, addresses)):
        raise cursors.invalid()
    return addresses


def _packed_id(commit_id: CommitId) -> str | bytes:
    if names.is_digest(commit_id):
        return bytes.fromhex(commit_id)
    return commit_id


def _unpacked_id(packed: str | bytes) -> CommitId:
    if isinstance(packed, bytes):
        return CommitId(packed.hex())
    return CommitId(packed)


def _may_exist(address: CommitAddress) -> bool:
    """Whether a row can have this place. DynamoDB refuses to read a key that is too long."""
    return (
        type(address.generation) is int
        and 0 < address.generation < 10**12
        and isinstance(address.commit_id, str)
        and names.is_id(address.commit_id)
        and isinstance(address.lane, str)
        and 1 <= len(address.lane) <= LANE_CHARACTERS
    )
