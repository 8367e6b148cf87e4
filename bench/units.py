"""The units of one call, from the sizes of its rows before and after it. Exact, but too slow for
the hub itself.

`shared/units.py` has the rules. A write counts the larger size of before and after, a batch counts
each item by itself, a refused write counts as if it had succeeded, and a delete counts the old
size.

The keys are `pk`, and `sk` if the table has one. In a query, `:pk` is the partition.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.units import S3_FREE, S3_GETS, S3_PUTS, Item, item_size, read_units, write_units

RowKey = tuple[str, str, str]
"""(table, pk, sk). `sk` is empty if the table has none."""
Looks = Mapping[RowKey, int]
"""Sizes of items in bytes. Items that do not exist are missing."""

_SINGLE_WRITES = ("PutItem", "UpdateItem", "DeleteItem")


@dataclass(frozen=True, slots=True)
class Weight:
    """The units and requests of one call."""

    reads: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Read units by table and partition key."""
    writes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Write units by table and partition key."""
    s3_puts: int = 0
    """Requests at the price of a PUT, including COPY and LIST."""
    s3_gets: int = 0
    """Requests at the price of a GET."""
    s3_bytes_in: int = 0
    s3_bytes_out: int = 0

    @property
    def read_units(self) -> float:
        """The read units of all partitions."""
        return sum(self.reads.values())

    @property
    def write_units(self) -> int:
        """The write units of all partitions."""
        return sum(self.writes.values())


def written(operation: str, params: Mapping[str, Any]) -> list[RowKey]:
    """The rows that a call may change. Empty for a call that only reads."""
    return [key for key, _ in _writes(operation, params)]


def weigh(
    service: str,
    operation: str,
    params: Mapping[str, Any],
    reply: Mapping[str, Any],
    *,
    before: Looks,
    after: Looks,
) -> Weight:
    """The weight of a call. `before` and `after`: the sizes of the rows of `written`, before and
    after the call.

    A refused write has an empty `reply`. Raises ValueError for an operation without a rule.
    """
    if service == "s3":
        return _weigh_s3(operation, params, reply)
    keyed = _writes(operation, params)
    if keyed:
        return _weigh_writes(keyed, before, after, twice=operation.startswith("Transact"))
    consistent = params.get("ConsistentRead", False)
    if operation == "GetItem":
        partition = params["TableName"], params["Key"]["pk"]["S"]
        return Weight(
            {partition: read_units(item_size(reply.get("Item", {})), consistent=consistent)}
        )
    if operation == "BatchGetItem":
        return Weight(_batch_units(params, reply))
    if operation == "Query" and not {"FilterExpression", "ProjectionExpression"} & params.keys():
        partition = params["TableName"], params["ExpressionAttributeValues"][":pk"]["S"]
        size = sum(map(item_size, reply.get("Items", ())))
        return Weight({partition: read_units(size, consistent=consistent)})
    raise ValueError(
        f"there is no rule for the units of {service}.{operation}; add it to {__name__}"
    )


def _writes(operation: str, params: Mapping[str, Any]) -> list[tuple[RowKey, int]]:
    """Each row that is written, and the size of its item in the request (0 for an update or a
    delete)."""
    if operation in _SINGLE_WRITES:
        return [_write(params)]
    if operation == "BatchWriteItem":
        writes: list[tuple[RowKey, int]] = []
        for table, requests in params["RequestItems"].items():
            for one in requests:
                [request] = one.values()
                writes.append(_write({"TableName": table, **request}))
        return writes
    if operation == "TransactWriteItems":
        return [_write(*one.values()) for one in params["TransactItems"]]
    return []


def _write(request: Mapping[str, Any]) -> tuple[RowKey, int]:
    item = request.get("Item") or request["Key"]
    key = request["TableName"], *_key(item)
    return key, item_size(item) if "Item" in request else 0


def _weigh_writes(
    keyed: Iterable[tuple[RowKey, int]], before: Looks, after: Looks, *, twice: bool
) -> Weight:
    writes: dict[tuple[str, str], int] = {}
    for key, item in keyed:
        units = write_units(max(item, before.get(key, 0), after.get(key, 0))) * (2 if twice else 1)
        writes[key[:2]] = writes.get(key[:2], 0) + units
    return Weight(writes=writes)


def _batch_units(
    params: Mapping[str, Any], reply: Mapping[str, Any]
) -> dict[tuple[str, str], float]:
    units: dict[tuple[str, str], float] = {}
    for table, asked in params["RequestItems"].items():
        found = {_key(item): item_size(item) for item in reply.get("Responses", {}).get(table, ())}
        left = {
            _key(key) for key in reply.get("UnprocessedKeys", {}).get(table, {}).get("Keys", ())
        }
        for key in {_key(key) for key in asked["Keys"]} - left:
            taken = read_units(found.get(key, 0), consistent=asked.get("ConsistentRead", False))
            units[table, key[0]] = units.get((table, key[0]), 0) + taken
    return units


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item.get("sk", {"S": ""})["S"]


def _weigh_s3(operation: str, params: Mapping[str, Any], reply: Mapping[str, Any]) -> Weight:
    sent = params.get("Body", b"")
    if operation in S3_PUTS:
        return Weight(s3_puts=1, s3_bytes_in=len(sent) if isinstance(sent, bytes) else 0)
    if operation in S3_GETS:
        return Weight(
            s3_gets=1, s3_bytes_out=reply.get("ContentLength", 0) if operation == "GetObject" else 0
        )
    if operation in S3_FREE:
        return Weight()
    raise ValueError(f"there is no rule for the units of s3.{operation}; add it to {__name__}")
