"""A table and a bucket in memory that can be stopped between any two calls, and a clock that only
moves when a test moves it.

Faithful to what matters here: conditions are evaluated as they are written, a row of a batch is a
write of its own, a query is a page of a partition, a version of an object is never overwritten.
"""

import asyncio
import itertools
import random
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Sequence,
)
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import Any

from shared import settings
from shared.limits import Limits
from shared.metadata.conditions import NO_ROW, Condition, Exists, either, every, holds
from shared.metadata.due import DueWork
from shared.metadata.expiring import Counters
from shared.metadata.members import Members
from shared.metadata.repos import Repos
from shared.metadata.table import (
    TRANSACTION,
    ConditionFailed,
    Page,
    Query,
    Removal,
    Table,
    Update,
    chunked,
)
from shared.metadata.visits import Visits
from shared.model import Version
from shared.objects.bucket import Changed, NoSuchKey, Stored, Stream
from shared.objects.recent import Recent
from shared.stores import Stores

Key = tuple[str, ...]
PAGE = 40


_who: ContextVar[str] = ContextVar("who", default="")


@dataclass(frozen=True)
class Waiting:
    """A call that waits for its turn, such as `put_new` of `REPO#r1#C0 <id>` by `push`."""

    future: asyncio.Future[None]
    who: str
    verb: str
    address: str
    """All keys of the call, in their order."""


def _is_at(call: Waiting, points: Iterable[Callable[[Waiting], bool]]) -> bool:
    return any(is_at(call) for is_at in points)


class Turns:
    """Lets one waiting call through at a time: of anybody, chosen by a seed, or of one who is
    named.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1_800_000_000.0
        self.waiting: list[Waiting] = []
        self.free = False
        """While it is set every call goes through at once."""

    def clock(self) -> float:
        return self.now

    async def turn(self, verb: str, *keys: str) -> None:
        """Wait until this call is let through."""
        if self.free:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiting(future, _who.get(), verb, " ".join(keys)))
        await future

    async def settle(self) -> None:
        """Wait until every task waits for a turn."""
        loop: Any = asyncio.get_running_loop()
        while loop._ready:
            await asyncio.sleep(0)
        self.waiting = [waiting for waiting in self.waiting if not waiting.future.done()]

    async def step(self) -> bool:
        """Make one call of a task. False if no task waits."""
        await self.settle()
        if not self.waiting:
            return False
        self.waiting.pop(self.random.randrange(len(self.waiting))).future.set_result(None)
        self.now += self.random.random() / 50
        await self.settle()
        return True

    def begin(self, who: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Work of which no call goes through but by `resume`."""
        context = copy_context()
        context.run(_who.set, who)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def resume(self, who: str, *until: Callable[[Waiting], bool]) -> None:
        """Let the calls of one task through, except those that wait at one of these points.

        `tests.points` has the points.
        """
        await self.settle()
        while ready := [one for one in self.waiting if one.who == who and not _is_at(one, until)]:
            ready[0].future.set_result(None)
            await self.settle()

    async def all_through(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run work to its end while all other tasks wait."""
        self.free = True
        try:
            return await work
        finally:
            self.free = False


@dataclass
class FakeTable:
    turns: Turns
    partitions: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def _row(self, key: Key) -> dict[str, Any] | None:
        return self.partitions.get(key[0], {}).get(key[1] if len(key) > 1 else "")

    def _set(self, key: Key, row: dict[str, Any]) -> None:
        sort_key = key[1] if len(key) > 1 else ""
        self.partitions.setdefault(key[0], {})[sort_key] = {**row, "pk": key[0], "sk": sort_key}

    def _check(self, key: Key, condition: Condition | None) -> dict[str, Any] | None:
        row = self._row(key)
        if condition and not holds(condition, row):
            raise ConditionFailed(dict(row) if row else None)
        return row

    async def get(self, key: Key) -> Any:
        await self.turns.turn("get", *key)
        row = self._row(key)
        return dict(row) if row else None

    async def find(self, keys: Collection[Key], *, maybe_stale: bool = False) -> list[Any]:
        if not keys:
            return []
        await self.turns.turn("find", *(part for key in keys for part in key))
        return [dict(row) for key in dict.fromkeys(keys) if (row := self._row(key))]

    async def find_few(self, keys: Collection[Key], beside: None) -> list[Any]:
        return await self.find(keys)

    async def put(self, rows: Sequence[tuple[Key, Any]]) -> None:
        async with asyncio.TaskGroup() as group:  # a batch may be cut short anywhere
            for key, row in rows:
                group.create_task(self._put(key, row))

    async def _put(self, key: Key, row: Any) -> None:
        await self.turns.turn("put", *key)
        self._set(key, dict(row))

    async def put_new(self, key: Key, row: Any, stale: Condition | None = None) -> None:
        await self.turns.turn("put_new", *key)
        self._check(key, either(NO_ROW, stale) if stale else NO_ROW)
        self._set(key, dict(row))

    async def put_all_new(
        self, rows: Sequence[tuple[Key, Any]], stale: Condition | None = None
    ) -> None:
        for part in chunked(rows, TRANSACTION):
            await self.turns.turn("put_all_new", *(part for key, _ in part for part in key))
            for key, row in part:
                if (there := self._row(key)) is None or (stale and holds(stale, there)):
                    self._set(key, dict(row))

    async def update(self, key: Key, row: Any, condition: Condition | None = None) -> None:
        await self.turns.turn("update", *key)
        self._set(key, {**(self._check(key, condition) or {}), **row})

    async def update_together(self, updates: Sequence[Update | Removal]) -> None:
        await self.turns.turn("together", *(part for update in updates for part in update.key))
        found: list[Any] = []
        for address, update in enumerate(updates):
            if isinstance(update, Removal):
                found.append(None)
                continue
            try:
                found.append(self._check(update.key, update.condition))
            except ConditionFailed as lost:
                raise ConditionFailed(lost.row, address) from None
        for update, row in zip(updates, found, strict=True):
            if isinstance(update, Removal):
                self.partitions.get(update.key[0], {}).pop(update.key[1], None)
            elif update.row:
                self._set(update.key, {**(row or {}), **update.row})

    async def remove_attribute(self, key: Key, attribute: str, condition: Condition) -> None:
        await self.turns.turn("drop", *key)
        row = self._check(key, every(condition, Exists(attribute))) or {}
        self._set(key, {name: value for name, value in row.items() if name != attribute})

    async def delete(self, key: Key, condition: Condition | None = None) -> None:
        await self.turns.turn("remove", *key)
        self._check(key, condition)
        self.partitions.get(key[0], {}).pop(key[1], None)

    async def add(self, key: Key, expires_at: int) -> int:
        return 1

    async def query(self, query: Query) -> Page:
        after, between, newest_first = query.after, query.between, query.newest_first
        partition = self.partitions.get(query.pk, {})
        # A read of an empty partition of an index has no effect on any other call.
        if partition or query.prefix or between:
            await self.turns.turn("query", query.pk, query.prefix)
        partition = self.partitions.get(query.pk, {})
        found = sorted(partition, reverse=newest_first)
        found = [
            sk
            for sk in found
            if sk.startswith(query.prefix) and (not between or between[0] <= sk <= between[1])
        ]
        if after:
            found = [sk for sk in found if (sk < after if newest_first else sk > after)]
        most = min(query.limit or PAGE, PAGE)
        rows: list[Any] = [dict(partition[sk]) for sk in found[:most]]
        return Page(rows, found[most - 1] if len(found) > most else None)

    async def each(self, pk: str, prefix: str = "") -> AsyncIterator[Any]:
        after: str | None = None
        while True:
            page = await self.query(Query(pk, prefix=prefix, after=after))
            for row in page.rows:
                yield row
            if not (after := page.last):
                return

    async def query_all(self, pk: str, prefix: str) -> list[Any]:
        return [row async for row in self.each(pk, prefix)]

    async def scan_filtered(self, *args: Any, **options: Any) -> list[Any]:
        table: Any = self  # it asks nothing of itself but `query`
        return await Table.scan_filtered(table, *args, **options)


@dataclass
class FakeBucket:
    turns: Turns
    keys: dict[str, list[tuple[Stored, bytes]]] = field(default_factory=dict)
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    async def put(self, key: str, data: bytes) -> None:
        await self.turns.turn("put_object", key)
        stored = Stored(key, f"v{next(self._versions)}", len(data), self.turns.now)
        self.keys.setdefault(key, []).append((stored, data))

    def _data(self, key: str) -> bytes:
        if not self.keys.get(key):
            raise NoSuchKey()
        return self.keys[key][-1][1]

    async def get(
        self, key: str, start: int | None = None, stop: int | None = None, version: str = ""
    ) -> bytes:
        await self.turns.turn("get_object", key)
        data = self._data(key)
        return data if start is None else data[start:stop]

    async def stream(self, key: str) -> Stream:
        data = await self.get(key)

        async def chunks() -> AsyncGenerator[bytes, None]:
            yield data

        return Stream(Version(md5(data).hexdigest(), ""), len(data), chunks())

    async def copy(self, source: str, key: str, version: Version) -> None:
        data = await self.get(source)
        if md5(data).hexdigest() != version.etag:
            raise Changed()
        await self.put(key, data)

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        await self.turns.turn("list", prefix)
        for stored in [
            v[-1][0] for key, v in sorted(self.keys.items()) if v and key.startswith(prefix)
        ]:
            yield replace(stored, version="")

    async def versions(self, prefix: str) -> AsyncIterator[Stored]:
        await self.turns.turn("versions", prefix)
        for stored in [
            one for key, v in sorted(self.keys.items()) if key.startswith(prefix) for one, _ in v
        ]:
            yield stored

    async def remove(self, versions: Sequence[Stored]) -> None:
        for gone in versions:
            await self.turns.turn("delete_object", gone.key)
            self.keys[gone.key] = [
                one for one in self.keys.get(gone.key, []) if one[0].version != gone.version
            ]


USUAL = Limits()


def stores_on(turns: Turns, limits: Limits = USUAL) -> tuple[Stores, FakeTable, FakeBucket]:
    """The stores of the service over a table and a bucket in memory."""
    table, bucket = FakeTable(turns), FakeBucket(turns)
    hub: Any = table
    others: dict[str, Any] = {
        name: None
        for name in Stores.__dataclass_fields__
        if name in ("keyring", "signer", "tokens", "handles", "budget")
    }
    counters: Any = FakeTable(turns)
    objects: Any = bucket
    stores = Stores(
        settings=settings.load(),
        limits=limits,
        repos=Repos(hub),
        members=Members(hub),
        due=DueWork(hub),
        visits=Visits(hub),
        counters=Counters(counters),
        hub=hub,
        bucket=objects,
        recent=Recent(0),  # as after a cold start: only the bytes in the bucket can be read
        **others,
    )
    return stores, table, bucket
