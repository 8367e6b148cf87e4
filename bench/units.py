"""What one call comes to, with the rows of a write looked up before and after it: exact, and too slow for the hub.

`shared/units.py` has the rules. Each write counts the larger of before and after, a batch each item by itself, a
refused write as much as if it had happened, and a delete what was there.

The keys are this hub's: `pk`, and `sk` where a table has one. A query names its partition `:pk`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.units import S3_FREE, S3_GETS, S3_PUTS, Item, item_size, read_units, write_units

RowKey = tuple[str, str, str]
"""Table, pk, sk; `sk` is empty where the table has none."""
Looks = Mapping[RowKey, int]
"""How large items are; one that is not there is left out."""

_SINGLE_WRITES = ("PutItem", "UpdateItem", "DeleteItem")


@dataclass(frozen=True, slots=True)
class Weight:
    """What one call comes to."""

    reads: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Read units by table and partition key."""
    writes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Write units, likewise."""
    s3_puts: int = 0
    """Requests at the price of a PUT, which COPY and LIST share."""
    s3_gets: int = 0
    """Requests at the price of a GET."""
    s3_bytes_in: int = 0
    s3_bytes_out: int = 0

    @property
    def read_units(self) -> float:
        """All of them, whatever the partition."""
        return sum(self.reads.values())

    @property
    def write_units(self) -> int:
        """All of them, whatever the partition."""
        return sum(self.writes.values())


def written(operation: str, params: Mapping[str, Any]) -> list[RowKey]:
    """The rows that a call may change; none for one that only reads."""
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
    """What a call came to. `before` and `after`: the rows of `written`, looked at around it.

    A refused write has an empty `reply`. Raises ValueError for an operation that has no rule here.
    """
    if service == "s3":
        return _weigh_s3(operation, params, reply)
    if keyed := _writes(operation, params):
        return _weigh_writes(keyed, before, after, twice=operation.startswith("Transact"))
    consistent = params.get("ConsistentRead", False)
    if operation == "GetItem":
        partition = params["TableName"], params["Key"]["pk"]["S"]
        return Weight({partition: read_units(item_size(reply.get("Item", {})), consistent=consistent)})
    if operation == "BatchGetItem":
        return Weight(_batch_units(params, reply))
    if operation == "Query" and not {"FilterExpression", "ProjectionExpression"} & params.keys():
        partition = params["TableName"], params["ExpressionAttributeValues"][":pk"]["S"]
        size = sum(map(item_size, reply.get("Items", ())))
        return Weight({partition: read_units(size, consistent=consistent)})
    raise ValueError(f"no rule says what {service}.{operation} takes; write it in {__name__}")


def _writes(operation: str, params: Mapping[str, Any]) -> list[tuple[RowKey, int]]:
    """Each row that is written, and the size of what the request says of it."""
    if operation in _SINGLE_WRITES:
        return [_write(params)]
    if operation == "BatchWriteItem":
        return [
            _write({"TableName": table, **request})
            for table, requests in params["RequestItems"].items()
            for one in requests
            for request in one.values()
        ]
    if operation == "TransactWriteItems":
        return [_write(request) for one in params["TransactItems"] for request in one.values()]
    return []


def _write(request: Mapping[str, Any]) -> tuple[RowKey, int]:
    said = request.get("Item") or request["Key"]
    key = request["TableName"], *_key(said)
    return key, item_size(said) if "Item" in request else 0


def _weigh_writes(keyed: Iterable[tuple[RowKey, int]], before: Looks, after: Looks, *, twice: bool) -> Weight:
    writes: dict[tuple[str, str], int] = {}
    for key, said in keyed:
        units = write_units(max(said, before.get(key, 0), after.get(key, 0))) * (2 if twice else 1)
        writes[key[:2]] = writes.get(key[:2], 0) + units
    return Weight(writes=writes)


def _batch_units(params: Mapping[str, Any], reply: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    units: dict[tuple[str, str], float] = {}
    for table, asked in params["RequestItems"].items():
        found = {_key(item): item_size(item) for item in reply.get("Responses", {}).get(table, ())}
        left = {_key(key) for key in reply.get("UnprocessedKeys", {}).get(table, {}).get("Keys", ())}
        for key in {_key(key) for key in asked["Keys"]} - left:
            taken = read_units(found.get(key, 0), consistent=asked.get("ConsistentRead", False))
            units[table, key[0]] = units.get((table, key[0]), 0) + taken
    return units


def _key(said: Item) -> tuple[str, str]:
    return said["pk"]["S"], said.get("sk", {"S": ""})["S"]


def _weigh_s3(operation: str, params: Mapping[str, Any], reply: Mapping[str, Any]) -> Weight:
    sent = params.get("Body", b"")
    if operation in S3_PUTS:
        return Weight(s3_puts=1, s3_bytes_in=len(sent) if isinstance(sent, bytes) else 0)
    if operation in S3_GETS:
        return Weight(s3_gets=1, s3_bytes_out=reply.get("ContentLength", 0) if operation == "GetObject" else 0)
    if operation in S3_FREE:
        return Weight()
    raise ValueError(f"no rule says what s3.{operation} takes; write it in {__name__}")
