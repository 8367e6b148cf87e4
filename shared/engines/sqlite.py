"""Rows in SQLite. `pk` and `sk` are columns, and the attributes are one MessagePack map.

Keys sort by their bytes in UTF-8, as in DynamoDB. Expired rows are deleted by a sweep. Short reads
run on the event loop, since they take less time than a change of thread.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import msgpack

from shared.engines.database import SWEPT, Database, MemoryDatabase, translated
from shared.errors import Unavailable
from shared.metadata.conditions import NO_ROW, Condition, Exists, Row, Value, either, every, holds
from shared.metadata.keys import Key
from shared.metadata.table import (
    Beside,
    ConditionFailed,
    Page,
    Query,
    Removal,
    Table,
    Update,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS hub (
    pk TEXT NOT NULL, sk TEXT NOT NULL, data BLOB NOT NULL, expires_at INTEGER,
    PRIMARY KEY (pk, sk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hub_expiry ON hub (expires_at) WHERE expires_at IS NOT NULL;
"""

PAGE_BYTES = 1024 * 1024
ROW_BYTES = 400 * 1024
"""The largest row, names and values. The limit is DynamoDB's, so that data can move there."""
PK_BYTES = 2048
SK_BYTES = 1024
SHORT_ROWS = 500
"""A read of more rows continues in a thread. The first rows take 3 ms."""
_LARGE_NUMBER = 1
"""The MessagePack extension type of an integer that does not fit into 64 bits."""

_GET = "SELECT data FROM hub WHERE pk = ? AND sk = ?"
_PUT = "INSERT OR REPLACE INTO hub VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM hub WHERE pk = ? AND sk = ?"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SqliteTable(Table):
    """A table in a database. In a table without sort keys, `sk` is empty."""

    database: Database | MemoryDatabase

    async def get(self, key: Key) -> Row | None:
        """Return the row, or None."""
        return await self._read(1, lambda rows: _get(rows, key))

    async def find(self, keys: Collection[Key], *, maybe_stale: bool = False) -> list[Row]:
        """Return the rows that exist, in no order."""
        distinct = list(dict.fromkeys(keys))
        return await self._read(len(distinct), lambda rows: _find(rows, distinct))

    async def find_few(self, keys: Collection[Key], beside: Beside | None) -> list[Row]:
        """Return the rows that exist, and read those `beside`."""
        found = await self.find(keys)
        if beside:
            beside.rows.extend(await beside.table.find(beside.keys))
        return found

    async def query(self, query: Query) -> Page:
        """Return a page of a partition: at most 1 MB or `query.limit` rows."""
        most = query.limit or PAGE_BYTES
        page, size = await self._page(query, min(most, SHORT_ROWS), 0)
        is_complete = len(page.rows) == most or size >= PAGE_BYTES
        if page.last is None or is_complete:
            return page
        rest, _ = await self._page(replace(query, after=page.last), most - SHORT_ROWS, size)
        return Page(page.rows + rest.rows, rest.last)

    async def _page(self, query: Query, most: int, size: int) -> tuple[Page, int]:
        statement, values = _range(query)
        return await self._read(
            most, lambda rows: _page(rows.execute(statement, values), query.pk, most, size)
        )

    async def scan(self, prefix: str) -> AsyncIterator[Row]:
        """Yield all rows with this partition key prefix."""
        statement = (
            "SELECT pk, sk, data FROM hub WHERE (pk, sk) > (?, ?) AND pk < ?"
            " ORDER BY pk, sk LIMIT ?"
        )
        last: Key = (prefix, "")
        while True:
            values: tuple[str | int, ...] = (*last, _after_prefix(prefix), SHORT_ROWS)
            found = await self._read(SHORT_ROWS, _fetching(statement, values))
            for pk, sk, data in found:
                yield decoded((pk, sk), data)
            if len(found) < SHORT_ROWS:
                return
            last = found[-1][:2]

    async def put(self, rows: Sequence[tuple[Key, Row]]) -> None:
        """Write rows in one transaction."""
        writes = [encoded(key, row) for key, row in rows]
        if writes:
            await self.database.write(lambda table: _none(table.executemany(_PUT, writes)))

    async def delete_many(self, keys: Sequence[Key]) -> None:
        """Delete rows in one transaction."""
        if keys:
            await self.database.write(
                lambda table: _none(table.executemany(_DELETE, map(_columns, keys)))
            )

    async def put_new(self, key: Key, row: Row, stale: Condition | None = None) -> None:
        """Write the row if it does not exist. Raises ConditionFailed.

        An existing row for which the condition `stale` holds is replaced.
        """
        write = encoded(key, row)
        free = either(NO_ROW, stale) if stale else NO_ROW

        def put(table: sqlite3.Connection) -> None:
            present = _get(table, key)
            if not holds(free, present):
                raise ConditionFailed(present)
            table.execute(_PUT, write)

        await self.database.write(put)

    async def put_all_new(
        self, rows: Sequence[tuple[Key, Row]], stale: Condition | None = None
    ) -> None:
        """Write those of these rows that do not exist. `stale` as in `put_new`."""
        writes = [encoded(key, row) for key, row in rows]
        free = either(NO_ROW, stale) if stale else NO_ROW

        def put(table: sqlite3.Connection) -> None:
            for write in writes:
                if holds(free, _get(table, write[:2])):
                    table.execute(_PUT, write)

        if writes:
            await self.database.write(put)

    async def update(self, key: Key, row: Row, condition: Condition | None = None) -> None:
        """Set these attributes if the condition holds. Raises ConditionFailed."""
        await self.update_together([Update(key, row, condition)])

    async def update_together(self, updates: Sequence[Update | Removal]) -> None:
        """Make all of these writes in one transaction. Raises ConditionFailed."""

        def change(table: sqlite3.Connection) -> None:
            writes = []
            for index, update in enumerate(updates):
                if isinstance(update, Removal):
                    continue
                present = _get(table, update.key)
                if update.condition and not holds(update.condition, present):
                    raise ConditionFailed(present, index)
                if update.row:
                    writes.append(encoded(update.key, {**(present or {}), **update.row}))
            removed = [_columns(one.key) for one in updates if isinstance(one, Removal)]
            table.executemany(_DELETE, removed)
            table.executemany(_PUT, writes)

        await self.database.write(change)

    async def remove_attribute(self, key: Key, attribute: str, condition: Condition) -> None:
        """Remove one attribute of a row if it exists and the condition holds.

        Raises ConditionFailed.
        """
        wanted = every(condition, Exists(attribute))

        def remove(table: sqlite3.Connection) -> None:
            present = _get(table, key)
            if present is None or not holds(wanted, present):
                raise ConditionFailed(present)
            kept = {name: value for name, value in present.items() if name != attribute}
            put_row(table, key, kept)

        await self.database.write(remove)

    async def delete(self, key: Key, condition: Condition | None = None) -> None:
        """Delete a row if the condition holds. Raises ConditionFailed."""

        def delete(table: sqlite3.Connection) -> None:
            present = _get(table, key) if condition else None
            if condition and not holds(condition, present):
                raise ConditionFailed(present)
            delete_row(table, key)

        await self.database.write(delete)

    async def add(self, key: Key, amounts: Mapping[str, int], expires_at: int) -> Row:
        """Add amounts to attributes of a row that expires at this epoch second. Returns the row."""

        def add(table: sqlite3.Connection) -> Row:
            row = sum_of(_get(table, key), key, amounts, expires_at)
            put_row(table, key, row)
            return row

        return await self.database.write(add)

    async def _read(self, count: int, read: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with translated():
                return self.database.read(read)

        return run() if count <= SHORT_ROWS else await asyncio.to_thread(run)


def put_row(table: sqlite3.Connection, key: Key, row: Row) -> None:
    """Write a row in the transaction of the caller."""
    table.execute(_PUT, encoded(key, row))


def delete_row(table: sqlite3.Connection, key: Key) -> None:
    """Delete a row in the transaction of the caller."""
    table.execute(_DELETE, _columns(key))


def sweep(table: sqlite3.Connection) -> int:
    """Delete some expired rows. Returns their number."""
    expired = table.execute(
        "SELECT pk, sk FROM hub WHERE expires_at <= ? LIMIT ?", (int(time.time()), SWEPT)
    ).fetchall()
    table.executemany(_DELETE, expired)
    return len(expired)


def sum_of(present: Row | None, key: Key, amounts: Mapping[str, int], expires_at: int) -> Row:
    """Return a row after an addition. An absent attribute counts as 0."""
    found = present or dict(zip(("pk", "sk"), key, strict=False))
    sums = {name: int(str(found.get(name, 0))) + amount for name, amount in amounts.items()}
    return {**found, **sums, "expires_at": expires_at}


def encoded(key: Key, row: Row) -> tuple[str, str, bytes, int | None]:
    """Return the columns of a row. Raises Unavailable for a row that DynamoDB would refuse."""
    pk, sk = _columns(key)
    if not all(key) or len(pk.encode()) > PK_BYTES or len(sk.encode()) > SK_BYTES:
        raise Unavailable() from ValueError("ValidationException: the size of a key")
    attributes = {name: value for name, value in row.items() if name not in ("pk", "sk")}
    data: bytes = msgpack.packb(attributes, default=_large_number)
    if len(data) > ROW_BYTES - PK_BYTES - SK_BYTES and _size(pk, sk, attributes) > ROW_BYTES:
        raise Unavailable() from ValueError("ValidationException: the size of a row")
    expires_at = attributes.get("expires_at")
    return pk, sk, data, expires_at if isinstance(expires_at, int) else None


def decoded(key: Key, data: bytes) -> Row:
    """The inverse of `encoded`."""
    row: dict[str, Value] = msgpack.unpackb(data, ext_hook=_number)
    row["pk"] = key[0]
    if len(key) > 1:
        row["sk"] = key[1]
    return row


def _columns(key: Key) -> tuple[str, str]:
    return key[0], key[1] if len(key) > 1 else ""


def _get(table: sqlite3.Connection, key: Key) -> Row | None:
    found = table.execute(_GET, _columns(key)).fetchone()
    return decoded(key, found[0]) if found else None


def _find(table: sqlite3.Connection, keys: Sequence[Key]) -> list[Row]:
    rows = (_get(table, key) for key in keys)
    return [row for row in rows if row is not None]


def _range(query: Query) -> tuple[str, list[str]]:
    """Return the statement and the values of a query."""
    statement = "SELECT sk, data FROM hub WHERE pk = ?"
    values = [query.pk]
    if query.between:
        statement += " AND sk BETWEEN ? AND ?"
        values += query.between
    elif query.prefix:
        statement += " AND sk >= ? AND sk < ?"
        values += [query.prefix, _after_prefix(query.prefix)]
    if query.after is not None:
        statement += " AND sk < ?" if query.newest_first else " AND sk > ?"
        values.append(query.after)
    statement += " ORDER BY sk DESC" if query.newest_first else " ORDER BY sk"
    return statement, values


def _page(found: sqlite3.Cursor, pk: str, most: int, size: int) -> tuple[Page, int]:
    """Read rows up to the end of the page, and check whether another row follows.

    `size` is the number of bytes of earlier rows of the page. Returns it with those of these rows.
    """
    rows: list[Row] = []
    for sk, data in found:
        if len(rows) == most or size >= PAGE_BYTES:
            found.close()
            return Page(rows, str(rows[-1]["sk"])), size
        rows.append(decoded((pk, sk), data))
        size += len(data)
    return Page(rows, None), size


def _after_prefix(prefix: str) -> str:
    """Return the first text behind all texts with this prefix. Surrogates are not in UTF-8."""
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)


def _size(pk: str, sk: str, row: Row) -> int:
    """The size of a row as DynamoDB counts it: the names and values of all attributes."""
    named = {"pk": pk, "sk": sk, **row}
    return sum(len(name.encode()) + _value_size(value) for name, value in named.items())


def _value_size(value: Value) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list):
        return sum(len(text.encode()) for text in value)
    return len(str(value).encode())


def _large_number(value: object) -> msgpack.ExtType:
    if isinstance(value, int):
        return msgpack.ExtType(_LARGE_NUMBER, str(value).encode())
    raise TypeError(f"not a value of a row: {type(value)}")


def _number(kind: int, data: bytes) -> int:
    return int(data)


def _fetching(
    statement: str, values: tuple[str | int, ...]
) -> Callable[[sqlite3.Connection], list[tuple[str, str, bytes]]]:
    return lambda rows: rows.execute(statement, values).fetchall()


def _none(_: object) -> None:
    return None
