"""The operations of one DynamoDB table: batches, retries of unprocessed items, transactions, pages.

Reads are strongly consistent, so that the next request sees an acknowledged push. `maybe_stale`
reads are eventually consistent, at half the cost. Only this module handles errors of AWS.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from shared.engines import expressions, items
from shared.errors import Unavailable
from shared.metadata.conditions import NO_ROW, Condition, Exists, either, every
from shared.metadata.keys import Key
from shared.metadata.table import (
    GET_BATCH,
    PUT_BATCH,
    TRANSACTION,
    Beside,
    ConditionFailed,
    Page,
    Query,
    Removal,
    Row,
    Table,
    Update,
    chunked,
)
from shared.tasks import gather_all

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

ATTEMPTS = 8
"""The most calls that one batch takes until DynamoDB has processed all of it."""
_CONDITION = "ConditionalCheckFailed"
_PASSING = frozenset(
    {"None", _CONDITION, "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
)
"""Cancellation reasons of single writes after which the rest of a transaction may be retried."""


@dataclass(frozen=True, slots=True)
class DynamoTable(Table):
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
            self._get_batch(part, maybe_stale=maybe_stale) for part in chunked(distinct, GET_BATCH)
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

    async def put_new(self, key: Key, row: Row, stale: Condition | None = None) -> None:
        """Write the row if it does not exist. Raises ConditionFailed.

        An existing row for which the condition `stale` holds is replaced.
        """
        options: Any = expressions.only_if(_free(stale))
        with translated():
            await self.client.put_item(TableName=self.name, Item=items.item(key, row), **options)

    async def put_all_new(
        self, rows: Sequence[tuple[Key, Row]], stale: Condition | None = None
    ) -> None:
        """Write those of these rows that do not exist, in order, in transactions of 100.

        `stale` as in `put_new`. Costs and retries as in `update_together`.
        """
        for part in chunked(rows, TRANSACTION):
            await self._put_together(part, _free(stale))

    async def update(self, key: Key, row: Row, condition: Condition | None = None) -> None:
        """Set these attributes if the condition holds. Raises ConditionFailed."""
        with translated():
            await self.client.update_item(**self._update(Update(key, row, condition)))

    async def update_together(self, updates: Sequence[Update | Removal]) -> None:
        """Make all of these writes in one transaction. Raises ConditionFailed.

        It costs twice as much as single writes. It is retried if another one writes the same rows.
        """
        parts = [self._part(update) for update in updates]
        for attempt in range(ATTEMPTS):
            await _pause(attempt)
            with translated():
                if not await self._transact(parts, _PASSING - {_CONDITION}):
                    return
        raise Unavailable()

    async def remove_attribute(self, key: Key, attribute: str, condition: Condition) -> None:
        """Remove one attribute of a row if it exists and the condition holds.

        Raises ConditionFailed.
        """
        options: Any = expressions.removing(attribute, every(condition, Exists(attribute)))
        with translated():
            await self.client.update_item(TableName=self.name, Key=items.key(key), **options)

    async def delete(self, key: Key, condition: Condition | None = None) -> None:
        """Delete a row if the condition holds. Raises ConditionFailed."""
        options: Any = expressions.only_if(condition)
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

    async def query(self, query: Query) -> Page:
        """Return a page of a partition: at most 1 MB or `query.limit` rows."""
        condition = "pk = :pk"
        values = {":pk": {"S": query.pk}}
        if query.between:
            low, high = query.between
            condition += " AND sk BETWEEN :low AND :high"
            values |= {":low": {"S": low}, ":high": {"S": high}}
        elif query.prefix:
            condition += " AND begins_with(sk, :prefix)"
            values[":prefix"] = {"S": query.prefix}
        options: dict[str, Any] = {"Limit": query.limit} if query.limit else {}
        if query.after:
            options["ExclusiveStartKey"] = items.key((query.pk, query.after))
        with translated():
            reply = await self.client.query(
                TableName=self.name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=not query.maybe_stale,
                ScanIndexForward=not query.newest_first,
                **options,
            )
        last = reply.get("LastEvaluatedKey")
        return Page(
            [items.decode(item) for item in reply["Items"]], last["sk"]["S"] if last else None
        )

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

    def _part(self, update: Update | Removal) -> Any:
        if isinstance(update, Removal):
            return {"Delete": {"TableName": self.name, "Key": items.key(update.key)}}
        if update.row:
            return {"Update": self._update(update)}
        options = expressions.only_if(update.condition)
        return {"ConditionCheck": {"TableName": self.name, "Key": items.key(update.key), **options}}

    def _update(self, update: Update) -> Any:
        options = expressions.setting(update.row, update.condition)
        return {"TableName": self.name, "Key": items.key(update.key), **options}

    async def _put_together(self, rows: Sequence[tuple[Key, Row]], condition: Condition) -> None:
        left = list(rows)
        options = {"TableName": self.name, **expressions.only_if(condition)}
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
        self, keys: Sequence[Key], *, maybe_stale: bool, beside: Beside | None = None
    ) -> list[Row]:
        rows: list[Row] = []
        # Both tables are of the same engine.
        other = cast("DynamoTable", beside.table) if beside else self
        request: Any = {
            self.name: {"Keys": [items.key(key) for key in keys], "ConsistentRead": not maybe_stale}
        }
        if beside:
            request[other.name] = {
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
                    items.decode(item) for item in reply["Responses"].get(other.name, [])
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
    """Raise ConditionFailed for a failed condition, and Unavailable for every other failure."""
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


def _free(stale: Condition | None) -> Condition:
    """The condition that the row does not exist, or that `stale` holds for it."""
    return either(NO_ROW, stale) if stale else NO_ROW


async def _pause(attempt: int) -> None:
    """Wait before each attempt after attempt 0: 25 ms, then doubled each time, up to 1.6 s."""
    if attempt:
        await asyncio.sleep(0.025 * 2 ** min(attempt - 1, 6) * random.uniform(0.5, 1.0))  # noqa: S311
