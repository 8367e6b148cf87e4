"""One DynamoDB table in few verbs. `get` returns a row or None; `put_new` says who was first; `find` and
`put` take care of batches and of what DynamoDB leaves unprocessed.

Reads are strongly consistent: an acknowledged push must be seen by the next request. Only who asks for
`maybe_stale` ones, at half the price, has to do with what was true a moment ago. What AWS calls an error becomes
one of ours here, and nowhere else in `metadata`.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Unavailable
from shared.metadata import items
from shared.metadata.items import Row as Row  # the other modules of `metadata` import it from here
from shared.metadata.keys import Key
from shared.tasks import all_of

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

GET_BATCH = 100
PUT_BATCH = 25
TRANSACTION = 100
"""As many writes as DynamoDB takes in one transaction."""
ATTEMPTS = 8
"""How often a batch is sent, until DynamoDB has processed all of it."""
_THERE = "ConditionalCheckFailed"
_PASSING = frozenset({"None", _THERE, "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
"""Why a transaction was not made, write by write: it may be tried again without those that are there."""

T = TypeVar("T")


class Lost(Exception):
    """A condition did not hold. `row` is what stands there instead, from the failed write itself.

    `place` is which write of several it was, counted from 0.
    """

    def __init__(self, row: Row | None, place: int = 0) -> None:
        self.row = row
        self.place = place
        super().__init__("the condition did not hold")


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a partition, in order. `last` is the sort key to go on after; None at the end."""

    rows: list[Row]
    last: str | None


@dataclass(frozen=True, slots=True)
class Update:
    """Attributes to set in one row, if a condition holds; with none, only the condition."""

    key: Key
    row: Row
    condition: str = ""
    values: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beside:
    """Rows of another table, read in the same call at half price: they may be stale.

    `rows` is filled by the call. A row that DynamoDB leaves unprocessed is missing: the call does not wait for it.
    """

    table: "Table"
    keys: Sequence[Key]
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Removal:
    """A row to delete, without a condition."""

    key: Key


@dataclass(frozen=True, slots=True)
class Table:
    """A table with the string keys `pk` and, but for `CounterTable`, `sk`. A key has as many parts as the table's."""

    client: "DynamoDBClient"
    name: str

    async def get(self, key: Key) -> Row | None:
        """The row, or None."""
        with translated():
            reply = await self.client.get_item(TableName=self.name, Key=items.key(key), ConsistentRead=True)
        return items.decode(reply["Item"]) if "Item" in reply else None

    async def find(self, keys: Collection[Key], *, maybe_stale: bool = False) -> list[Row]:
        """The rows that exist, in no order. One call for every 100 keys, all at once."""
        distinct = list(dict.fromkeys(keys))
        parts = await all_of(self._get_batch(part, maybe_stale) for part in split(distinct, GET_BATCH))
        return [row for part in parts for row in part]

    async def find_few(self, keys: Collection[Key], beside: Beside | None) -> list[Row]:
        """The same in one call, together with rows of another table: at most 100 keys of both."""
        return await self._get_batch(list(dict.fromkeys(keys)), maybe_stale=False, beside=beside)

    async def put(self, rows: Sequence[tuple[Key, Row]]) -> None:
        """Write rows without a condition. One call for every 25, all at once; keys must be distinct."""
        writes = [{"PutRequest": {"Item": items.item(key, row)}} for key, row in rows]
        await all_of(self._write_batch(part) for part in split(writes, PUT_BATCH))

    async def remove_all(self, keys: Sequence[Key]) -> None:
        """Delete rows without a condition. One call for every 25, all at once; keys must be distinct."""
        writes = [{"DeleteRequest": {"Key": items.key(key)}} for key in keys]
        await all_of(self._write_batch(part) for part in split(writes, PUT_BATCH))

    async def put_new(self, key: Key, row: Row, stale: str = "", values: Row | None = None) -> Row | None:
        """Write the row unless there is one. Returns None if it was new, else the row that was first.

        `stale` is a condition, as in `update`, under which a row that is there counts as none.
        """
        try:
            with translated():
                await self.client.put_item(
                    TableName=self.name, Item=items.item(key, row), **_only_if(_unless_there(stale), {}, values or {})
                )
        except Lost as lost:
            return lost.row
        return None

    async def put_all_new(self, rows: Sequence[tuple[Key, Row]], stale: str = "") -> None:
        """Write those of these rows that are not there: of each 100 all at once or none, one 100 after the other.

        `stale` as in `put_new`. A transaction costs twice as much, and is tried again if another writes the same rows.
        """
        for part in split(rows, TRANSACTION):
            await self._put_together(part, _unless_there(stale))

    async def update(self, key: Key, row: Row, condition: str = "", values: Row | None = None) -> None:
        """Set these attributes, if the condition holds. Raises Lost with the row that made it fail.

        In `condition`, attributes are written `#name` and the given values `:name`.
        """
        with translated():
            await self.client.update_item(**self._update(Update(key, row, condition, values or {})))

    async def update_together(self, updates: Sequence[Update | Removal]) -> None:
        """All of these writes, or, if a condition does not hold, none. Raises Lost with the place of that one.

        One transaction. It costs twice as much, and is retried while another one writes the same rows.
        """
        parts = [self._part(update) for update in updates]
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            with translated():
                if not await self._transact(parts, _PASSING - {_THERE}):
                    return
        raise Unavailable()

    async def drop(self, key: Key, attribute: str, condition: str, values: Row | None = None) -> None:
        """Take one attribute from a row, if the condition holds. Raises Lost with the row that made it fail."""
        with translated():
            await self.client.update_item(
                TableName=self.name,
                Key=items.key(key),
                UpdateExpression=f"REMOVE #{attribute}",
                **_only_if(f"{condition} AND attribute_exists(#{attribute})", {}, values or {}),
            )

    async def remove(self, key: Key, condition: str = "", values: Row | None = None) -> None:
        """Delete a row, if the condition holds. Raises Lost with the row that made it fail."""
        options = _only_if(condition, {}, values or {})
        with translated():
            # The meter reads the size of the old row from the reply. DynamoDB returns it without a charge.
            await self.client.delete_item(TableName=self.name, Key=items.key(key), ReturnValues="ALL_OLD", **options)

    async def add(self, key: Key, amounts: Mapping[str, int], expires_at: int) -> Row:
        """Add to numbers of a row that expires at this epoch second. Returns the whole row."""
        values = {f":{name}": {"N": str(amount)} for name, amount in amounts.items()}
        added = ", ".join(f"#{name} :{name}" for name in amounts)
        with translated():
            reply = await self.client.update_item(
                TableName=self.name,
                Key=items.key(key),
                UpdateExpression=f"ADD {added} SET expires_at = :expires",
                ExpressionAttributeNames={f"#{name}": name for name in amounts},
                ExpressionAttributeValues={**values, ":expires": {"N": str(expires_at)}},
                ReturnValues="ALL_NEW",
            )
        return items.decode(reply["Attributes"])

    async def query(
        self,
        pk: str,
        *,
        prefix: str = "",
        between: tuple[str, str] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        after: str | None = None,
        maybe_stale: bool = False,
    ) -> Page:
        """One page of a partition: at most 1 MB, or `limit` rows. Goes on after the sort key `after`."""
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if between:
            condition += " AND sk BETWEEN :low AND :high"
            values |= {":low": {"S": between[0]}, ":high": {"S": between[1]}}
        elif prefix:
            condition += " AND begins_with(sk, :prefix)"
            values[":prefix"] = {"S": prefix}
        options: dict[str, Any] = {"Limit": limit} if limit else {}
        if after:
            options["ExclusiveStartKey"] = items.key((pk, after))
        with translated():
            reply = await self.client.query(
                TableName=self.name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=not maybe_stale,
                ScanIndexForward=not newest_first,
                **options,
            )
        last = reply.get("LastEvaluatedKey")
        return Page([items.decode(item) for item in reply["Items"]], last["sk"]["S"] if last else None)

    async def each(self, pk: str, prefix: str = "") -> AsyncIterator[Row]:
        """The rows of a partition whose sort key begins so, one after the other, a page of them in memory."""
        after: str | None = None
        while True:
            page = await self.query(pk, prefix=prefix, after=after)
            for row in page.rows:
                yield row
            if not (after := page.last):
                return

    async def scan(self, prefix: str) -> AsyncIterator[Row]:
        """All rows whose partition key begins with `prefix`. Reads, and pays for, the whole table."""
        options: dict[str, Any] = {
            "FilterExpression": "begins_with(pk, :prefix)",
            "ExpressionAttributeValues": {":prefix": {"S": prefix}},
        }
        while True:
            with translated():
                reply = await self.client.scan(TableName=self.name, **options)
            for item in reply["Items"]:
                yield items.decode(item)
            if "LastEvaluatedKey" not in reply:
                return
            options["ExclusiveStartKey"] = reply["LastEvaluatedKey"]

    async def some(
        self,
        pk: str,
        prefix: str,
        limit: int,
        wanted: Callable[[Row], bool],
        *,
        after: str | None = None,
        newest_first: bool = False,
    ) -> list[Row]:
        """The first `limit` rows that are wanted, page after page."""
        found: list[Row] = []
        while True:
            page = await self.query(pk, prefix=prefix, limit=GET_BATCH, newest_first=newest_first, after=after)
            found += filter(wanted, page.rows)
            after = page.last
            if after is None or len(found) >= limit:
                return found[:limit]

    async def query_all(self, pk: str, prefix: str) -> list[Row]:
        """Every row of a partition whose sort key begins so, page after page."""
        page = await self.query(pk, prefix=prefix)
        rows = page.rows
        while page.last:
            page = await self.query(pk, prefix=prefix, after=page.last)
            rows += page.rows
        return rows

    def _part(self, update: Update | Removal) -> Any:
        if isinstance(update, Removal):
            return {"Delete": {"TableName": self.name, "Key": items.key(update.key)}}
        return {"Update": self._update(update)} if update.row else {"ConditionCheck": self._condition(update)}

    def _update(self, update: Update) -> Any:
        expression = "SET " + ", ".join(f"#{name} = :set_{name}" for name in update.row)
        return {**self._condition(update), "UpdateExpression": expression}

    def _condition(self, update: Update) -> Any:
        options = _only_if(update.condition, update.row, update.values)
        return {"TableName": self.name, "Key": items.key(update.key), **options}

    async def _put_together(self, rows: Sequence[tuple[Key, Row]], condition: str) -> None:
        left, options = list(rows), {"TableName": self.name, **_only_if(condition, {}, {})}
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            try:
                with translated():
                    reasons = await self._transact([{"Put": {"Item": items.item(*row), **options}} for row in left])
            except Lost as error:
                raise Unavailable() from error  # beside a reason that never passes
            left = [write for write, reason in zip(left, reasons, strict=True) if reason != _THERE] if reasons else []
            if not left:
                return
        raise Unavailable()

    async def _transact(self, writes: Sequence[Any], passing: frozenset[str] = _PASSING) -> list[str]:
        """One transaction: nothing if it was made, else why not, write by write, if that passes. Raises ClientError."""
        try:
            await self.client.transact_write_items(TransactItems=writes)
        except ClientError as error:
            reasons = [str(reason["Code"]) for reason in error.response.get("CancellationReasons", ())]
            if not reasons or not passing.issuperset(reasons):
                raise
            return reasons
        return []

    async def _get_batch(self, keys: Sequence[Key], maybe_stale: bool, beside: Beside | None = None) -> list[Row]:
        rows: list[Row] = []
        request: Any = {self.name: {"Keys": [items.key(key) for key in keys], "ConsistentRead": not maybe_stale}}
        if beside:
            request[beside.table.name] = {"Keys": [items.key(key) for key in beside.keys], "ConsistentRead": False}
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            with translated():
                reply = await self.client.batch_get_item(RequestItems=request)
            rows += [items.decode(item) for item in reply["Responses"].get(self.name, [])]
            if beside:
                beside.rows.extend(items.decode(item) for item in reply["Responses"].get(beside.table.name, []))
            left = reply.get("UnprocessedKeys", {}).get(self.name)
            if not left:
                return rows
            request = {self.name: left}
        raise Unavailable()

    async def _write_batch(self, writes: Sequence[Any]) -> None:
        request: Any = {self.name: writes}
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            with translated():
                reply = await self.client.batch_write_item(RequestItems=request)
            request = reply.get("UnprocessedItems")
            if not request:
                return
        raise Unavailable()


@contextmanager
def translated() -> Iterator[None]:
    """Turns a failed condition into Lost, and every other failure of the store into Unavailable."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            item: Any = error.response.get("Item")
            raise Lost(items.decode(item) if item else None) from error
        reasons: Any = error.response.get("CancellationReasons", ())
        for place, reason in enumerate(reasons):
            if reason.get("Code") == _THERE:
                raise Lost(items.decode(reason["Item"]) if reason.get("Item") else None, place) from error
        raise Unavailable() from error
    except (TimeoutError, BotoCoreError, OSError) as error:
        raise Unavailable() from error


def _unless_there(stale: str) -> str:
    """The condition that there is no row, or only one that counts as none."""
    return f"attribute_not_exists(pk) OR {stale}" if stale else "attribute_not_exists(pk)"


def _only_if(condition: str, row: Row, values: Row) -> Any:
    """The options of a write: its condition, and the names and values that it and its update mention."""
    names = {f"#{name}": name for name in row} | {word: word[1:] for word in re.findall(r"#\w+", condition)}
    given = {f":set_{name}": value for name, value in row.items()} | {f":{k}": value for k, value in values.items()}
    options: dict[str, Any] = {}
    if names:
        options["ExpressionAttributeNames"] = names
    if given:
        options["ExpressionAttributeValues"] = {name: items.encode(value) for name, value in given.items()}
    if condition:
        options |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    return options


def split(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """The items in runs of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


async def _pause(attempt: int) -> None:
    """Wait before each attempt but the first, number 0: 25 ms, then twice as long each time, up to 1.6 s."""
    if attempt:
        await asyncio.sleep(0.025 * 2 ** min(attempt - 1, 6) * random.uniform(0.5, 1.0))  # noqa: S311
