"""The indexes of a repository: one row for each id. Each kind has sixteen partitions.

kind      attributes of the row
commit    lane, generation
snapshot  at: the location of its record
object    at: the location of its bytes; its length is the size of the object
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

from shared import names
from shared.limits import Limits
from shared.metadata import attributes, keys
from shared.metadata.conditions import Exists
from shared.metadata.table import ConditionFailed, Query, Row, Table
from shared.model import (
    CommitAddress,
    CommitId,
    Kind,
    Location,
    ObjectId,
    Packed,
    RepoId,
    SnapshotId,
)
from shared.tasks import gather_all, gather_pair


@dataclass(frozen=True, slots=True)
class Known:
    """The places and locations that the indexes hold for the requested ids."""

    commits: dict[CommitId, CommitAddress]
    snapshots: dict[SnapshotId, Packed]
    objects: dict[ObjectId, Location]
    condemned: set[CommitId] = field(default_factory=set)
    """Ids in `commits` whose rows are condemned: a push must not build on them."""


_COMMIT = attributes.RowFormat("commit")
_SNAPSHOT = attributes.RowFormat("snapshot")
_OBJECT = attributes.RowFormat("object")

CONDEMNED = "condemned_at"
"""The attribute of a row that gc deletes unless it becomes reachable (see `maintenance/gc`).

Its value is the id of the run that condemned the row, not a time; the name is older than that. A
push treats such a row as absent.
"""
GONE = Exists(CONDEMNED)


@dataclass(frozen=True, slots=True)
class Index:
    """The three indexes of a repository."""

    table: Table
    repo_id: RepoId
    limits: Limits

    async def known(
        self,
        *,
        commits: Collection[CommitId] = (),
        snapshots: Collection[SnapshotId] = (),
        objects: Collection[ObjectId] = (),
    ) -> Known:
        """Look up ids in one parallel step, for a push. An id without a row is not stored.

        Condemned rows count as absent, because gc may delete them: a push must not build on them.
        """
        asked = {Kind.COMMIT: commits, Kind.SNAPSHOT: snapshots, Kind.OBJECT: objects}
        rows = await self._rows(asked)
        return _known(row for row in rows if CONDEMNED not in row)

    async def readable(
        self,
        *,
        commits: Collection[CommitId] = (),
        snapshots: Collection[SnapshotId] = (),
        objects: Collection[ObjectId] = (),
    ) -> Known:
        """Look up ids, for a read. Condemned rows are included, since a branch may reach them.

        Rows of objects are read with eventual consistency at half the cost. That is safe: bytes
        stay at an old location for one more hour, and objects that seem absent are read again with
        strong consistency, which is one more step.
        """
        exact, found = await gather_pair(
            self._rows({Kind.COMMIT: commits, Kind.SNAPSHOT: snapshots}),
            self._rows({Kind.OBJECT: objects}, maybe_stale=True),
        )
        absent = set(objects) - {str(row["sk"]) for row in found}
        return _known([*exact, *found, *await self._rows({Kind.OBJECT: absent})])

    async def commits_beginning(self, prefix: str, limit: int) -> list[CommitAddress]:
        """Return commits whose ids are digests that begin with `prefix`.

        Runs one query of up to `limit` rows for each of the sixteen partitions in parallel. The
        partition is chosen by a hash of the id, so ids with the same prefix are spread over all of
        them.
        """
        pages = await gather_all(
            self.table.query(
                Query(keys.index(self.repo_id, Kind.COMMIT, shard), prefix=prefix, limit=limit)
            )
            for shard in keys.SHARDS
        )
        rows = chain.from_iterable(page.rows for page in pages)
        return [address_of(row) for row in rows if names.is_digest(str(row["sk"]))]

    async def seemed_known(self, objects: Collection[ObjectId]) -> set[ObjectId]:
        """Return which of these objects are known, by eventually consistent reads at half the cost.

        The result is only advice for a client. A push must not rely on it.
        """
        rows = await self._rows({Kind.OBJECT: objects}, maybe_stale=True)
        return {ObjectId(str(row["sk"])) for row in rows if CONDEMNED not in row}

    async def put_locations(self, locations: Mapping[tuple[Kind, str], Location]) -> None:
        """Write the locations of ids. The bytes must already be durable.

        The new rows replace condemned ones.
        """
        rows: list[tuple[keys.Key, Row]] = [
            (keys.by_id(self.repo_id, kind, item_id), location_row(kind, at))
            for (kind, item_id), at in locations.items()
        ]
        await self.table.put(rows)

    async def put_addresses(self, addresses: Collection[CommitAddress]) -> None:
        """Write the places of commits, parents first. Everything that they reach must be stored.

        If a push crashes, no commit may be in the index without its parents. Up to
        `conditional_rows` rows are therefore written one after the other. More rows are written in
        transactions of 100, which are fewer calls at twice the cost.
        """
        rows: list[tuple[keys.Key, Row]] = []
        for address in addresses:
            key = keys.by_id(self.repo_id, Kind.COMMIT, address.commit_id)
            row: Row = {"lane": address.lane, "generation": address.generation}
            rows.append((key, _COMMIT.stamp(row)))
        if len(rows) <= self.limits.conditional_rows:
            for key, row in rows:
                with suppress(ConditionFailed):
                    await self.table.put_new(key, row, GONE)
        else:
            await self.table.put_all_new(rows, GONE)

    async def _rows(
        self, asked: Mapping[Kind, Collection[str]], *, maybe_stale: bool = False
    ) -> list[Row]:
        if sum(map(len, asked.values())) < self.limits.many_ids:
            wanted: list[keys.Key] = []
            for kind, ids in asked.items():
                wanted += keys.by_ids(self.repo_id, kind, ids)
            return await self.table.find(wanted, maybe_stale=maybe_stale)
        shards: dict[str, list[str]] = {}
        for kind, ids in asked.items():
            for item_id in ids:
                shards.setdefault(keys.index(self.repo_id, kind, keys.shard(item_id)), []).append(
                    item_id
                )
        parts = await gather_all(
            self._partition(pk, ids, maybe_stale=maybe_stale) for pk, ids in shards.items()
        )
        return list(chain.from_iterable(parts))

    async def _partition(self, pk: str, ids: Sequence[str], *, maybe_stale: bool) -> list[Row]:
        if len(ids) < self.limits.many_ids / len(keys.SHARDS):
            return await self.table.find(
                [(pk, item_id) for item_id in ids], maybe_stale=maybe_stale
            )
        asked = set(ids)
        rows = await self._read_through(pk, ids, maybe_stale=maybe_stale)
        return [row for row in rows if row["sk"] in asked]

    async def _read_through(
        self, pk: str, item_ids: Iterable[str], *, maybe_stale: bool
    ) -> list[Row]:
        """Read the rows from the first to the last of these ids of one partition by range queries.

        If the partition holds too many other rows, the rest of the ids is read by key.
        """
        ids = sorted(item_ids)
        rows: list[Row] = []
        last: str | None = None
        most_rows = self.limits.read_ahead_rows * len(ids)
        while len(rows) < most_rows:  # DynamoDB also ends a page at 1 MB
            page = await self.table.query(
                Query(
                    pk,
                    between=(ids[0], ids[-1]),
                    limit=most_rows - len(rows),
                    after=last,
                    maybe_stale=maybe_stale,
                )
            )
            rows += page.rows
            last = page.last
            if last is None:
                return rows
        by_key = [(pk, item_id) for item_id in ids if last is not None and item_id > last]
        return rows + await self.table.find(by_key, maybe_stale=maybe_stale)


def _known(rows: Iterable[Row]) -> Known:
    """Decode rows of the three indexes. Raises Damaged."""
    known = Known({}, {}, {})
    for row in rows:
        item_id = str(row["sk"])
        match keys.kind_of(str(row["pk"])):
            case Kind.COMMIT:
                address = address_of(row)
                known.commits[address.commit_id] = address
                if CONDEMNED in row:
                    known.condemned.add(address.commit_id)
            case Kind.SNAPSHOT:
                known.snapshots[SnapshotId(item_id)] = attributes.packed(row, "at", _SNAPSHOT)
            case Kind.OBJECT:
                known.objects[ObjectId(item_id)] = attributes.location(row, "at", _OBJECT)
    return known


def address_of(row: Row) -> CommitAddress:
    """Decode a row of the index of commits. Raises Damaged."""
    return CommitAddress(
        CommitId(attributes.text(row, "sk", _COMMIT)),
        attributes.number(row, "generation", _COMMIT),
        attributes.text(row, "lane", _COMMIT),
    )


def location_row(kind: Kind, at: Location) -> Row:
    """Encode a row of the index of snapshots or of objects."""
    row_kind = _SNAPSHOT if kind is Kind.SNAPSHOT else _OBJECT
    return row_kind.stamp({"at": str(at)})


def location_of(row: Row, kind: Kind) -> Location:
    """Decode a row of the index of snapshots or of objects. Raises Damaged."""
    if kind is Kind.SNAPSHOT:
        return attributes.packed(row, "at", _SNAPSHOT)
    return attributes.location(row, "at", _OBJECT)
