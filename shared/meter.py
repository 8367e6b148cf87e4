"""The cost of the running request in picodollars, counted at each call of an AWS client.

`watch` registers the counting with a client. `begin` starts a meter for one request. Tasks that the
request starts inherit it, because the context variable refers to one mutable object. Without a
meter, calls are not counted.

Units are computed from the sizes in requests and replies. The size of a row before an update is not
known without another read. An update therefore counts the values that it sets, or, if its condition
fails, the row that DynamoDB returns. Writes whose old row may be larger ask DynamoDB to return it,
which is free (see `Table.remove`). AWS does not charge a throttled call, so it is not counted.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from shared import prices, units

_CONDITION = "ConditionalCheckFailedException"
_CANCELLED = "TransactionCanceledException"
_CHARGED_FAILURES = (_CONDITION, _CANCELLED)
_THROTTLES = frozenset(
    "ProvisionedThroughputExceededException ThrottlingException RequestLimitExceeded SlowDown"
    " TransactionInProgressException".split()
)
_PARAMS = "pieria_params"
_STARTED = "pieria_started"


class Payer(Protocol):
    """The account that a request is charged to."""

    async def charge(self, picodollars: int) -> None:
        """Charge a cost. Never fails."""

    async def reserve(self, picodollars: int) -> None:
        """Charge a cost in advance. Raises CostLimited if it reaches a limit."""


@dataclass(slots=True)
class Meter:
    """The cost of one request in picodollars, and the account that it is charged to, once
    admitted.
    """

    calls: int = 0
    """Calls to AWS."""
    itself: int = 0
    """The gateway, the function, the logs and the bytes of the reply."""
    urls: int = 0
    """The calls that presigned URLs allow their holder."""
    payer: Payer | None = None
    charged: int = 0
    aws_calls: int = 0
    aws_seconds: float = 0.0
    """The time of the calls to AWS. Calls at the same time count each."""
    aws_throttles: int = 0

    @property
    def picodollars(self) -> int:
        """The total cost."""
        return self.calls + self.itself + self.urls

    async def settle(self) -> None:
        """Charge the cost since the last charge, and then the cost of charging."""
        for _ in range(2):
            amount = self.picodollars - self.charged
            if self.payer and amount:
                self.charged += amount
                await self.payer.charge(amount)


_running: ContextVar[Meter | None] = ContextVar("meter", default=None)


def begin() -> Meter:
    """Start a new meter for this task and for the tasks that it starts."""
    started = Meter()
    _running.set(started)
    return started


async def reserve_url(picodollars: int) -> None:
    """Charge the use of a presigned URL before the URL is issued. Raises CostLimited.

    The hub does not see that use, and it may cost more than the rest of the request. It is charged
    in advance, so that concurrent requests cannot exceed a limit together.
    """
    running = _running.get()
    if running is None:
        return
    running.urls += picodollars
    if running.payer:
        amount = running.picodollars - running.charged
        running.charged += amount
        await running.payer.reserve(amount)


def charge_to(payer: Payer) -> None:
    """Charge the whole cost of the running request to this account."""
    running = _running.get()
    if running:
        running.payer = payer


def watch(client: Any) -> None:
    """Count each call of this botocore client, for DynamoDB or S3."""
    events = client.meta.events
    if client.meta.service_model.service_name == "s3":
        events.register("before-parameter-build.s3", _keep_time)
        events.register("after-call.s3", _count_s3)
    else:
        events.register("before-parameter-build.dynamodb", _keep_params)
        events.register("after-call.dynamodb", _count_dynamodb)


def dynamodb(operation: str, params: Mapping[str, Any], reply: Mapping[str, Any]) -> int:
    """The cost of one call with a reply, also of a write whose condition failed, in picodollars."""
    if operation in _READS:
        return round(_READS[operation](params, reply) * prices.READ_UNIT)
    return _WRITES[operation](params, reply) * prices.WRITE_UNIT


def s3(operation: str) -> int:
    """The cost of one call of S3 in picodollars. A failed call costs the same."""
    if operation in units.S3_PUTS:
        return prices.S3_PUT
    if operation in units.S3_GETS:
        return prices.S3_GET
    return 0


def _keep_params(params: Any, context: dict[str, Any], **_: Any) -> None:
    context[_PARAMS] = params
    _keep_time(context)


def _keep_time(context: dict[str, Any], **_: Any) -> None:
    context[_STARTED] = time.perf_counter()


def _count_call(running: Meter, parsed: Any, context: Mapping[str, Any]) -> None:
    """Count a call that has ended, its retries included."""
    running.aws_calls += 1
    running.aws_seconds += time.perf_counter() - context[_STARTED]
    running.aws_throttles += parsed.get("Error", {}).get("Code") in _THROTTLES


def _count_dynamodb(
    http_response: Any, parsed: Any, model: Any, context: dict[str, Any], **_: Any
) -> None:
    running = _running.get()
    if running is None:
        return
    _count_call(running, parsed, context)
    if (
        http_response.status_code >= 300
        and parsed.get("Error", {}).get("Code") not in _CHARGED_FAILURES
    ):
        return
    running.calls += dynamodb(model.name, context[_PARAMS], parsed)


def _count_s3(parsed: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
    running = _running.get()
    if running:
        _count_call(running, parsed, context)
        running.calls += s3(model.name)


def _get(params: Mapping[str, Any], reply: Mapping[str, Any]) -> float:
    size = units.item_size(reply.get("Item", {}))
    return units.read_units(size, consistent=params.get("ConsistentRead", False))


def _query(params: Mapping[str, Any], reply: Mapping[str, Any]) -> float:
    size = sum(map(units.item_size, reply.get("Items", ())))
    return units.read_units(size, consistent=params.get("ConsistentRead", False))


def _batch_get(params: Mapping[str, Any], reply: Mapping[str, Any]) -> float:
    """Each item counts by itself. A key without an item costs as much as the smallest item."""
    total = 0.0
    for table, asked in params["RequestItems"].items():
        consistent = asked.get("ConsistentRead", False)
        found = reply.get("Responses", {}).get(table, ())
        unprocessed = reply.get("UnprocessedKeys", {}).get(table, {}).get("Keys", ())
        absent = len(asked["Keys"]) - len(unprocessed) - len(found)
        total += absent * units.read_units(0, consistent=consistent)
        total += sum(
            units.read_units(units.item_size(item), consistent=consistent) for item in found
        )
    return total


def _put(params: Mapping[str, Any], reply: Mapping[str, Any]) -> int:
    return units.write_units(max(units.item_size(params["Item"]), _old_size(reply)))


def _update(params: Mapping[str, Any], reply: Mapping[str, Any]) -> int:
    return units.write_units(max(_update_size(params), _old_size(reply)))


def _delete(params: Mapping[str, Any], reply: Mapping[str, Any]) -> int:
    return units.write_units(_old_size(reply))


def _batch_write(params: Mapping[str, Any], reply: Mapping[str, Any]) -> int:
    asked = sum(map(_requests_units, params["RequestItems"].values()))
    return asked - sum(map(_requests_units, reply.get("UnprocessedItems", {}).values()))


def _requests_units(requests: Any) -> int:
    return sum(
        (
            units.write_units(units.item_size(request["PutRequest"]["Item"]))
            if "PutRequest" in request
            else 1
        )
        for request in requests
    )


def _transact(params: Mapping[str, Any], reply: Mapping[str, Any]) -> int:
    """Twice the units of its writes, even if it is cancelled."""
    total = 0
    for part in params["TransactItems"]:
        for write in part.values():
            if "Item" in write:
                size = units.item_size(write["Item"])
            else:
                size = _update_size(write)
            total += 2 * units.write_units(size)
    return total


def _update_size(params: Mapping[str, Any]) -> int:
    """The size of the key, the values and the names of an update: about that of a row that it
    sets.
    """
    names = params.get("ExpressionAttributeNames", {}).values()
    return (
        units.item_size(params["Key"])
        + units.item_size(params.get("ExpressionAttributeValues", {}))
        + sum(map(len, names))
    )


def _old_size(reply: Mapping[str, Any]) -> int:
    """The size of the row before the write if DynamoDB returned it, also after a failed
    condition.
    """
    return units.item_size(reply.get("Attributes") or reply.get("Item") or {})


_READS = {"GetItem": _get, "Query": _query, "BatchGetItem": _batch_get}
_WRITES = {
    "PutItem": _put,
    "UpdateItem": _update,
    "DeleteItem": _delete,
    "BatchWriteItem": _batch_write,
    "TransactWriteItems": _transact,
}
