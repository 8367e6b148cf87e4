"""What is known of an id: the rows of one kind, spread over sixteen partitions of a repository.

kind      row carries
commit    lane, generation
snapshot  at: where its record lies
object    at: where its bytes lie; the length in it is the object's size
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.metadata import keys
from shared.metadata.table import Row, Table
from shared.model import Kind, Location, Place
from shared.tasks import all_of

MANY = len(keys.SHARDS) * 100
"""From this many ids on, sixteen queries are fewer calls than one batch of 100 after the other."""
READ_AHEAD = 8
"""Rows read for each id asked for, at most, before the partition counts as too sparse to read through.

A row of some 170 bytes costs a twenty-fourth in a query of what it costs by key: this guess costs a third
more, or saves nearly all of it.
"""
CONDITIONAL = 8
"""Up to this many commits each row is written on condition that it is new. Beyond, batches: there the rare
race of two pushes of the very same commits may keep the later one's unhashed fields, never another commit."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an index holds of the ids it was asked for: where each lies."""

    commits: dict[str, Place]
    snapshots: dict[str, Location]
    objects: dict[str, Location]


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

        `even_condemned` is for reading: such a row may be in use, or was a moment ago. Never build on it.
        """
        asked = {Kind.COMMIT: commits, Kind.SNAPSHOT: snapshots, Kind.OBJECT: objects}
        if sum(map(len, asked.values())) < MANY:
            rows = await self.table.find([keys.by_id(repo_id, k, i) for k, ids in asked.items() for i in ids])
        else:
            shards: dict[str, list[str]] = {}
            for kind, ids in asked.items():
                for item_id in ids:
                    shards.setdefault(keys.index(repo_id, kind, keys.shard(item_id)), []).append(item_id)
            parts = await all_of(self._partition(pk, ids) for pk, ids in shards.items())
            rows = [row for part in parts for row in part]
        known = Known({}, {}, {})
        for row in rows:
            item_id, kind = str(row["sk"]), keys.kind_of(str(row["pk"]))
            if CONDEMNED in row and not even_condemned:
                continue
            if kind is Kind.COMMIT:
                known.commits[item_id] = Place(item_id, int(str(row["generation"])), str(row["lane"]))
            else:
                (known.objects if kind is Kind.OBJECT else known.snapshots)[item_id] = Location.parse(str(row["at"]))
        return known

    async def put_locations(self, repo_id: str, locations: Mapping[tuple[Kind, str], Location]) -> None:
        """Say where bytes lie. They must be durable by now. What was condemned under these ids is new again."""
        await self.table.put(
            [(keys.by_id(repo_id, kind, item_id), {"at": str(at)}) for (kind, item_id), at in locations.items()]
        )

    async def put_places(self, repo_id: str, places: Collection[Place]) -> None:
        """Say where commits lie, parents first. All they reach must be stored by now: this is what `known` means.

        Few are said one after the other, so that of a push that dies no commit is known whose parents are not: they
        could not be built on. Of many, that is left to whoever repeats it.
        """
        rows: list[tuple[keys.Key, Row]] = [
            (keys.by_id(repo_id, Kind.COMMIT, p.commit_id), {"lane": p.lane, "generation": p.generation})
            for p in places
        ]
        if len(rows) <= CONDITIONAL:
            for key, row in rows:
                await self.table.put_new(key, row, GONE)
        else:
            await self.table.put(rows)

    async def _partition(self, pk: str, ids: Sequence[str]) -> list[Row]:
        if len(ids) < MANY / len(keys.SHARDS):
            return await self.table.find([(pk, item_id) for item_id in ids])
        asked = set(ids)
        return [row for row in await self._read_through(pk, ids) if row["sk"] in asked]

    async def _read_through(self, pk: str, item_ids: Iterable[str]) -> list[Row]:
        """The rows between the first and the last of many ids of one partition; by key where it is sparse."""
        ids = sorted(item_ids)
        page = await self.table.query(pk, between=(ids[0], ids[-1]), limit=READ_AHEAD * len(ids))
        rows = page.rows
        while page.last and len(rows) < READ_AHEAD * len(ids):  # cut at 1 MB, not by the limit
            page = await self.table.query(
                pk, between=(ids[0], ids[-1]), limit=READ_AHEAD * len(ids) - len(rows), after=page.last
            )
            rows += page.rows
        if page.last:
            rows += await self.table.find([(pk, item_id) for item_id in ids if item_id > page.last])
        return rows
