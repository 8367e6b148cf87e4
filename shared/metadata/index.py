"""What is known of an id: the rows of one kind, spread over sixteen partitions of a repository.

kind      row carries
commit    lane, generation
snapshot  at: where its record lies
object    at: where its bytes lie; the length in it is the object's size
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared import names
from shared.metadata import keys
from shared.metadata.table import Row, Table
from shared.model import Kind, Location, Place
from shared.tasks import all_of, pair

MANY = len(keys.SHARDS) * 100
"""From this many ids on, sixteen queries are fewer calls than one batch of 100 after the other."""
READ_AHEAD = 8
"""Rows read for each id asked for, at most, before the partition counts as too sparse to read through.

A row of some 170 bytes costs a twenty-fourth in a query of what it costs by key: this guess costs a third
more, or saves nearly all of it.
"""
CONDITIONAL = 8
"""Up to this many commits each row is written by itself, on condition that it is new. Of more, rows in lanes are
written in batches: there the rare race of two pushes of the very same commits may keep the later one's unhashed
fields, never another commit."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an index holds of the ids it was asked for: where each lies."""

    commits: dict[str, Place]
    snapshots: dict[str, Location]
    objects: dict[str, Location]
    condemned: set[str] = field(default_factory=set)
    """Those of the commits that nothing may be built on."""


CONDEMNED = "condemned_at"
"""The attribute of a row that is to be removed unless something leads to it (see `actions/gc`). To whoever
would build on it, it is gone already."""
GONE = f"attribute_exists(#{CONDEMNED})"


@dataclass(frozen=True, slots=True)
class Index:
    """The three indexes of every repository."""

    table: Table

    async def known(
        self,
        repo_id: str,
        *,
        commits: Collection[str] = (),
        snapshots: Collection[str] = (),
        objects: Collection[str] = (),
        even_condemned: bool = False,
    ) -> Known:
        """What is known of these ids, in one step: the rest is not in the repository.

        `even_condemned` is for reading: such a row may be in use, or was a moment ago. Never build on it. An object's
        row may then be older than its last change, for half the price: what it named lies there for an hour more, and
        what was not there yet is asked for again, in a step more.
        """
        asked = {Kind.COMMIT: commits, Kind.SNAPSHOT: snapshots}
        if even_condemned:
            exact, found = await pair(
                self._rows(repo_id, asked), self._rows(repo_id, {Kind.OBJECT: objects}, maybe_stale=True)
            )
            absent = set(objects) - {str(row["sk"]) for row in found}
            rows = [*exact, *found, *await self._rows(repo_id, {Kind.OBJECT: absent})]
        else:
            rows = await self._rows(repo_id, {**asked, Kind.OBJECT: objects})
        known = Known({}, {}, {})
        for row in rows:
            item_id, kind = str(row["sk"]), keys.kind_of(str(row["pk"]))
            if CONDEMNED in row and not even_condemned:
                continue
            if kind is Kind.COMMIT:
                known.commits[item_id] = Place(item_id, int(str(row["generation"])), str(row["lane"]))
                if CONDEMNED in row:
                    known.condemned.add(item_id)
            else:
                (known.objects if kind is Kind.OBJECT else known.snapshots)[item_id] = Location.parse(str(row["at"]))
        return known

    async def commits_beginning(self, repo_id: str, prefix: str, limit: int) -> list[Place]:
        """Commits whose digests begin so. One query for each of the sixteen partitions, all at once, of `limit` rows.

        The ids are hashed once more to choose a partition, so those that begin alike are in all of them.
        """
        pages = await all_of(
            self.table.query(keys.index(repo_id, Kind.COMMIT, shard), prefix=prefix, limit=limit)
            for shard in keys.SHARDS
        )
        rows = [row for page in pages for row in page.rows if names.is_digest(str(row["sk"]))]
        return [Place(str(row["sk"]), int(str(row["generation"])), str(row["lane"])) for row in rows]

    async def seemed_known(self, repo_id: str, objects: Collection[str]) -> set[str]:
        """Those of these objects that were known a moment ago, at half the price: for advice, not to build on."""
        rows = await self._rows(repo_id, {Kind.OBJECT: objects}, maybe_stale=True)
        return {str(row["sk"]) for row in rows if CONDEMNED not in row}

    async def put_locations(self, repo_id: str, locations: Mapping[tuple[Kind, str], Location]) -> None:
        """Say where bytes lie. They must be durable by now. What was condemned under these ids is new again."""
        await self.table.put(
            [(keys.by_id(repo_id, kind, item_id), {"at": str(at)}) for (kind, item_id), at in locations.items()]
        )

    async def put_places(self, repo_id: str, places: Collection[Place]) -> None:
        """Say where commits lie, parents first. All they reach must be stored by now: this is what `known` means.

        Of a push that dies no commit is known whose parents are not: those could not be built on. So few are said one
        after the other, and more in transactions, which are a call for a hundred, at twice the price.
        """
        rows: list[tuple[keys.Key, Row]] = [
            (keys.by_id(repo_id, Kind.COMMIT, p.commit_id), {"lane": p.lane, "generation": p.generation})
            for p in places
        ]
        if len(rows) <= CONDITIONAL:
            for key, row in rows:
                await self.table.put_new(key, row, GONE)
        else:
            await self.table.put_all_new(rows, GONE)

    async def _rows(
        self, repo_id: str, asked: Mapping[Kind, Collection[str]], *, maybe_stale: bool = False
    ) -> list[Row]:
        if sum(map(len, asked.values())) < MANY:
            wanted = [keys.by_id(repo_id, kind, item_id) for kind, ids in asked.items() for item_id in ids]
            return await self.table.find(wanted, maybe_stale=maybe_stale)
        shards: dict[str, list[str]] = {}
        for kind, ids in asked.items():
            for item_id in ids:
                shards.setdefault(keys.index(repo_id, kind, keys.shard(item_id)), []).append(item_id)
        parts = await all_of(self._partition(pk, ids, maybe_stale) for pk, ids in shards.items())
        return [row for part in parts for row in part]

    async def _partition(self, pk: str, ids: Sequence[str], maybe_stale: bool) -> list[Row]:
        if len(ids) < MANY / len(keys.SHARDS):
            return await self.table.find([(pk, item_id) for item_id in ids], maybe_stale=maybe_stale)
        asked = set(ids)
        return [row for row in await self._read_through(pk, ids, maybe_stale) if row["sk"] in asked]

    async def _read_through(self, pk: str, item_ids: Iterable[str], maybe_stale: bool) -> list[Row]:
        """The rows between the first and the last of many ids of one partition; by key where it is sparse."""
        ids = sorted(item_ids)
        rows: list[Row] = []
        last: str | None = None
        while len(rows) < READ_AHEAD * len(ids):  # a page may be cut at 1 MB, not by the limit
            page = await self.table.query(
                pk,
                between=(ids[0], ids[-1]),
                limit=READ_AHEAD * len(ids) - len(rows),
                after=last,
                maybe_stale=maybe_stale,
            )
            rows += page.rows
            if not (last := page.last):
                return rows
        by_key = [(pk, item_id) for item_id in ids if last is not None and item_id > last]
        return rows + await self.table.find(by_key, maybe_stale=maybe_stale)
