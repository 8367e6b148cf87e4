"""The operations of one DynamoDB table: batches, retries of unprocessed items, transactions, pages.

Reads are strongly consistent, so that the next request sees an acknowledged push. `maybe_stale`
reads are eventually consistent, at half the cost. Only this module handles errors of AWS.
"""

import asyncio
import random
import re
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Unavailable
from shared.metadata import items
from shared.metadata.items import Row as Row  # the other modules of `metadata` import it from here
from shared.metadata.keys import Key
from shared.tasks import gather_all

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

GET_BATCH = 100
PUT_BATCH = 25
TRANSACTION = 100
"""The most writes that DynamoDB accepts in one transaction."""
ATTEMPTS = 8
"""The most calls that one batch takes until DynamoDB has processed all of it."""
_CONDITION = "ConditionalCheckFailed"
_PASSING = frozenset(
    {"None", _CONDITION, "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
)
"""Cancellation reasons of single writes after which the rest of a transaction may be retried."""

T = TypeVar("T")


class ConditionFailed(Exception):
    """A condition did not hold. `row` is the present row, returned by the failed write itself.

    `index` is the index of the failed write within its transaction.
    """

    def __init__(self, row: Row | None, index: int = 0) -> None:
        self.row = row
        self.index = index
        super().__init__("the condition did not hold")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a partition, in order.

    `last` is the sort key to continue after; None at the end.
    """

    rows: list[Row]
    last: str | None


@dataclass(frozen=True, slots=True)
class Update:
    """Attributes to set in one row if a condition holds. Without attributes, only the condition."""

    key: Key
    row: Row
    condition: str = ""
    values: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beside:
    """Rows of another table, read in the same call with eventual consistency at half the cost.

    The call fills `rows`. Rows that DynamoDB leaves unprocessed are missing.
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
    """A table with the string keys `pk` and `sk` (`CounterTable`: only `pk`)."""

    client: "DynamoDBClient"
    name: str

    async def get(self, key: Key) -> Row | None:
        """Return the row, or None."""
        with translated():
            reply = await self.client.get_item(
                TableName=self.name, Key=items.key(key), ConsistentRead=True
            )
        return items.decode(reply["Item"]) if "Item" in reply else None

    async def find(self, keys: Collection[Key], *, maybe_stale: bool = False) -> list[Row]:
        """Return the rows that exist, in no order. One call for every 100 keys, all in parallel."""
        distinct = list(dict.fromkeys(keys))
        parts = await gather_all(
            self._get_batch(part, maybe_stale) for part in chunked(distinct, GET_BATCH)
        )
        return list(chain.from_iterable(parts))

    async def find_few(self, keys: Collection[Key], beside: Beside | None) -> list[Row]:
        """Return the rows that exist, in one call with those `beside`: at most 100 keys in all."""
        return await self._get_batch(list(dict.fromkeys(keys)), maybe_stale=False, beside=beside)

    async def put(self, rows: Sequence[tuple[Key, Row]]) -> None:
        """Write rows, in parallel calls of 25. The keys must be distinct."""
        writes = [{"PutRequest": {"Item": items.item(key, row)}} for key, row in rows]
        await gather_all(self._write_batch(part) for part in chunked(writes, PUT_BATCH))

    async def delete_many(self, keys: Sequence[Key]) -> None:
        """Delete rows, in parallel calls of 25. The keys must be distinct."""
        writes = [{"DeleteRequest": {"Key": items.key(key)}} for key in keys]
        await gather_all(self._write_batch(part) for part in chunked(writes, PUT_BATCH))

    async def put_new(
        self, key: Key, row: Row, stale: str = "", values: Row | None = None
    ) -> Row | None:
        """Write the row unless it exists. Returns None if it was written, else the existing row.

        An existing row for which the condition `stale` (as in `update`) holds is replaced.
        """
        try:
            with translated():
                await self.client.put_item(
                    TableName=self.name,
                    Item=items.item(key, row),
                    **_only_if(_unless_there(stale), {}, values or {}),
                )
        except ConditionFailed as lost:
            return lost.row
        return None

    async def put_all_new(self, rows: Sequence[tuple[Key, Row]], stale: str = "") -> None:
        """Write those of these rows that do not exist, in order, in transactions of 100.

        `stale` as in `put_new`. Costs and retries as in `update_together`.
        """
        for part in chunked(rows, TRANSACTION):
            await self._put_together(part, _unless_there(stale))

    async def update(
        self, key: Key, row: Row, condition: str = "", values: Row | None = None
    ) -> None:
        """Set these attributes if the condition holds. Raises Lost with the present row.

        In `condition`, attributes are written `#name` and the given values `:name`.
        """
        with translated():
            await self.client.update_item(**self._update(Update(key, row, condition, values or {})))

    async def update_together(self, updates: Sequence[Update | Removal]) -> None:
        """Make all of these writes in one transaction. Raises Lost if a condition does not hold.

        It costs twice as much as single writes. It is retried if another one writes the same rows.
        """
        parts = [self._part(update) for update in updates]
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            with translated():
                if not await self._transact(parts, _PASSING - {_CONDITION}):
                    return
        raise Unavailable()

    async def remove_attribute(
        self, key: Key, attribute: str, condition: str, values: Row | None = None
    ) -> None:
        """Remove one attribute of a row if the condition holds.

        Raises Lost with the present row.
        """
        with translated():
            await self.client.update_item(
                TableName=self.name,
                Key=items.key(key),
                UpdateExpression=f"REMOVE #{attribute}",
                **_only_if(f"{condition} AND attribute_exists(#{attribute})", {}, values or {}),
            )

    async def delete(self, key: Key, condition: str = "", values: Row | None = None) -> None:
        """Delete a row if the condition holds. Raises Lost with the present row."""
        options = _only_if(condition, {}, values or {})
        with translated():
            # The meter reads the size of the old row, which DynamoDB returns without a charge.
            await self.client.delete_item(
                TableName=self.name, Key=items.key(key), ReturnValues="ALL_OLD", **options
            )

    async def add(self, key: Key, amounts: Mapping[str, int], expires_at: int) -> Row:
        """Add amounts to attributes of a row that expires at this epoch second. Returns the row."""
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
        """Return one page of a partition after the sort key `after`: at most 1 MB or `limit`
        rows.
        """
        condition = "pk = :pk"
        values = {":pk": {"S": pk}}
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
        return Page(
            [items.decode(item) for item in reply["Items"]], last["sk"]["S"] if last else None
        )

    async def each(self, pk: str, prefix: str = "") -> AsyncIterator[Row]:
        """Yield the rows of a partition with this sort key prefix. Holds one page in memory."""
        after: str | None = None
        while True:
            page = await self.query(pk, prefix=prefix, after=after)
            for row in page.rows:
                yield row
            after = page.last
            if after is None:
                return

    async def scan(self, prefix: str) -> AsyncIterator[Row]:
        """Yield all rows with this partition key prefix. Reads, and pays for, the whole table."""
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

    async def scan_filtered(
        self,
        pk: str,
        prefix: str,
        limit: int,
        wanted: Callable[[Row], bool],
        *,
        after: str | None = None,
        newest_first: bool = False,
    ) -> list[Row]:
        """Return the first `limit` rows for which `wanted` is true. Reads page by page."""
        found: list[Row] = []
        while True:
            page = await self.query(
                pk, prefix=prefix, limit=GET_BATCH, newest_first=newest_first, after=after
            )
            found += filter(wanted, page.rows)
            after = page.last
            if after is None or len(found) >= limit:
                return found[:limit]

    async def query_all(self, pk: str, prefix: str) -> list[Row]:
        """Return every row of a partition with this sort key prefix. Reads page by page."""
        return [row async for row in self.each(pk, prefix)]

    def _part(self, update: Update | Removal) -> Any:
        if isinstance(update, Removal):
            return {"Delete": {"TableName": self.name, "Key": items.key(update.key)}}
        return (
            {"Update": self._update(update)}
            if update.row
            else {"ConditionCheck": self._condition(update)}
        )

    def _update(self, update: Update) -> Any:
        expression = "SET " + ", ".join(f"#{name} = :set_{name}" for name in update.row)
        return {**self._condition(update), "UpdateExpression": expression}

    def _condition(self, update: Update) -> Any:
        options = _only_if(update.condition, update.row, update.values)
        return {"TableName": self.name, "Key": items.key(update.key), **options}

    async def _put_together(self, rows: Sequence[tuple[Key, Row]], condition: str) -> None:
        left = list(rows)
        options = {"TableName": self.name, **_only_if(condition, {}, {})}
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            writes = [{"Put": {"Item": items.item(*row), **options}} for row in left]
            try:
                with translated():
                    reasons = await self._transact(writes)
            except (
                ConditionFailed
            ) as error:  # only together with a reason after which a retry is useless
                raise Unavailable() from error
            if not reasons:
                return
            left = [row for row, reason in zip(left, reasons, strict=True) if reason != _CONDITION]
            if not left:
                return
        raise Unavailable()

    async def _transact(
        self, writes: Sequence[Any], passing: frozenset[str] = _PASSING
    ) -> list[str]:
        """Make one transaction. Returns the reasons if it was cancelled. Raises ClientError."""
        try:
            await self.client.transact_write_items(TransactItems=writes)
        except ClientError as error:
            reasons = [
                str(reason["Code"]) for reason in error.response.get("CancellationReasons", ())
            ]
            if not reasons or not passing.issuperset(reasons):
                raise
            return reasons
        return []

    async def _get_batch(
        self, keys: Sequence[Key], maybe_stale: bool, beside: Beside | None = None
    ) -> list[Row]:
        rows: list[Row] = []
        request: Any = {
            self.name: {"Keys": [items.key(key) for key in keys], "ConsistentRead": not maybe_stale}
        }
        if beside:
            request[beside.table.name] = {
                "Keys": [items.key(key) for key in beside.keys],
                "ConsistentRead": False,
            }
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            with translated():
                reply = await self.client.batch_get_item(RequestItems=request)
            rows += [items.decode(item) for item in reply["Responses"].get(self.name, [])]
            if beside:
                beside.rows.extend(
                    items.decode(item) for item in reply["Responses"].get(beside.table.name, [])
                )
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
    """Raise Lost for a failed condition, and Unavailable for every other failure of DynamoDB."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            item: Any = error.response.get("Item")
            raise ConditionFailed(items.decode(item) if item else None) from error
        reasons: Any = error.response.get("CancellationReasons", ())
        for index, reason in enumerate(reasons):
            if reason.get("Code") == _CONDITION:
                raise ConditionFailed(
                    items.decode(reason["Item"]) if reason.get("Item") else None, index
                ) from error
        raise Unavailable() from error
    except (TimeoutError, BotoCoreError, OSError) as error:
        raise Unavailable() from error


def _unless_there(stale: str) -> str:
    """The condition that the row does not exist, or that `stale` holds for it."""
    return f"attribute_not_exists(pk) OR {stale}" if stale else "attribute_not_exists(pk)"


def _only_if(condition: str, row: Row, values: Row) -> Any:
    """The options of a write: its condition, and the names and values in it and in its update."""
    names = {f"#{name}": name for name in row} | {
        word: word[1:] for word in re.findall(r"#\w+", condition)
    }
    given = {f":set_{name}": value for name, value in row.items()} | {
        f":{k}": value for k, value in values.items()
    }
    options: dict[str, Any] = {}
    if names:
        options["ExpressionAttributeNames"] = names
    if given:
        options["ExpressionAttributeValues"] = {
            name: items.encode(value) for name, value in given.items()
        }
    if condition:
        options |= {
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    return options


def chunked(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """Split items into chunks of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


async def _pause(attempt: int) -> None:
    """Wait before each attempt after attempt 0: 25 ms, then doubled each time, up to 1.6 s."""
    if attempt:
        await asyncio.sleep(0.025 * 2 ** min(attempt - 1, 6) * random.uniform(0.5, 1.0))  # noqa: S311
