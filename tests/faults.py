"""Calls to AWS that go wrong: exactly one, chosen by its number, where every client of the hub
passes.

    with fault(Fault.DIES_AFTER, 3) as strike:
        hub.push("me", "song", bundle)
    strike.call      "dynamodb.PutItem": the third call; empty if there was none

    with recorded() as calls: ...     all calls that can fail, in order

The failure is below botocore's retries, so one strike is one failure for the hub.
"""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aiohttp import ClientPayloadError
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.cloud_calls import CloudCall, intercepted

SLOW_SECONDS = 10
BATCHES = {"BatchGetItem": "UnprocessedKeys", "BatchWriteItem": "UnprocessedItems"}


class Fault(StrEnum):
    """What happens to the chosen call."""

    DIES_AFTER = "the process dies when the call is done"
    DIES_BEFORE = "the process dies, and of all calls under way this one alone was not done"
    DIES_WITHIN = "the process dies, and half of the batch was done"
    REFUSED = "the call fails and does nothing"
    THROTTLED = "the call does nothing, as there are too many"
    DONE_BUT_FAILED = "the call is done, and says that it failed"
    UNHEARD = "the call is done but its answer is lost"
    TWICE = (
        "the call is done twice, as the answer to the first was lost on the way and botocore"
        " repeated it"
    )
    PARTLY = "half of the batch is done, and the answer says which half is not"
    IN_THE_WAY = "the transaction is not made, as somebody else is just writing one of its rows"
    STUCK = "half of the batch is done, and the other half never, however often it is asked for"
    SLOW = "the call takes ten seconds"
    TORN = "the call is done, and the connection breaks within the bytes that it answers"

    def fits(self, call: str) -> bool:
        """Whether this can happen to a call, `service.Operation`."""
        operation = call.partition(".")[2]
        if self is Fault.DIES_WITHIN:
            return operation == "BatchWriteItem"
        if self is Fault.TORN:
            return operation == "GetObject"
        if self is Fault.IN_THE_WAY:
            return operation == "TransactWriteItems"
        return operation in BATCHES or self not in (Fault.PARTLY, Fault.STUCK)


DEADLY = (Fault.DIES_AFTER, Fault.DIES_BEFORE, Fault.DIES_WITHIN)
UNNOTICED = (Fault.TWICE, Fault.PARTLY, Fault.SLOW)
"""The caller gets no reply for these."""
QUICK = (Fault.DIES_AFTER, Fault.DIES_BEFORE, Fault.REFUSED, Fault.UNHEARD)
"""Those of which the others are variations: for an AWS that takes its time."""


class Crash(BaseException):
    """The process is gone: nothing catches this, and no further call is possible."""


class Torn:
    """A body of which the first bytes come."""

    def __init__(self, body: Any) -> None:
        self._body, self._has_begun = body, False

    async def read(self, amount: int | None = None) -> bytes:
        """At most ten bytes, fewer if the reply is short. Then the connection is closed."""
        if amount is None or self._has_begun:
            raise ClientPayloadError("injected")
        self._has_begun = True
        data: bytes = await self._body.read(10)
        return data

    def close(self) -> None:
        """Give the connection back."""
        self._body.close()


@dataclass
class Strike:
    """Which call was hit, as `service.Operation`; empty as long as none was."""

    call: str = ""
    is_dead: bool = False


def hang_up(reply: Any) -> None:
    """A process that dies closes its connections: also that of an S3 reply whose body is not read."""
    if "Body" in reply:
        reply["Body"].close()


def failure(code: str, status: int, operation: str, **more: Any) -> ClientError:
    """What botocore raises for an answer of AWS."""
    response: Any = {
        "Error": {"Code": code, "Message": "injected"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, operation)


def halves(operation: str, parameters: Any) -> tuple[Any, Any]:
    """A batch of which only a part is done. `Unprocessed…` names the rest, with the first part
    last.
    """
    done: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for table, request in parameters["RequestItems"].items():
        items = request["Keys"] if operation == "BatchGetItem" else request
        half = (len(items) + 1) // 2
        for part, some in ((left, items[:half]), (done, items[half:])):
            if some:
                part[table] = {**request, "Keys": some} if operation == "BatchGetItem" else some
    return done, left


@contextmanager
def recorded() -> Iterator[list[str]]:
    """The calls that are made, as `service.Operation`, in the order in which `fault` counts
    them.
    """
    names: list[str] = []

    async def record(call: CloudCall) -> Any:
        names.append(call.name)
        return await call.send()

    with intercepted(record):
        yield names


@contextmanager
def fault(kind: Fault, number: int) -> Iterator[Strike]:
    """Every call but one goes through.

    After a death none does, and those under way are never heard of again.
    """
    numbers = itertools.count(1)
    strike = Strike()
    under_way = 0

    async def others_are_done() -> None:
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.001)
            quiet = 0 if under_way else quiet + 1

    async def half(call: CloudCall) -> Any:
        done, left = halves(call.operation, call.parameters)
        reply: dict[str, Any] = {"Responses": {}}
        if done:
            reply = await call.send_with({**call.parameters, "RequestItems": done})
        return {**reply, BATCHES[call.operation]: left}

    async def chosen(call: CloudCall) -> Any:
        """Send the call that fails, unless the fault prevents it. Returns the reply."""
        operation = call.operation
        match kind:
            case Fault.DIES_BEFORE:
                await others_are_done()
                strike.is_dead = True
                raise Crash
            case Fault.DIES_WITHIN:
                await half(call)
                strike.is_dead = True
                raise Crash
            case Fault.REFUSED:
                raise failure("InternalServerError", 500, operation)
            case Fault.THROTTLED if strike.call.startswith("s3."):
                raise failure("SlowDown", 503, operation)
            case Fault.THROTTLED:
                raise failure("ThrottlingException", 400, operation)
            case Fault.IN_THE_WAY:
                reasons = [{"Code": "None"} for _ in call.parameters["TransactItems"]]
                reasons[-1] = {"Code": "TransactionConflict"}
                raise failure(
                    "TransactionCanceledException", 400, operation, CancellationReasons=reasons
                )
            case Fault.PARTLY | Fault.STUCK:
                return await half(call)
            case Fault.TWICE if (
                operation != "TransactWriteItems"
            ):  # that has a token: DynamoDB does it once
                hang_up(await call.send())
            case Fault.SLOW:
                await asyncio.sleep(SLOW_SECONDS)
        return await call.send()

    async def send(call: CloudCall) -> Any:
        nonlocal under_way
        if strike.is_dead:
            raise Crash
        if kind is Fault.STUCK and call.name == strike.call:
            return {"Responses": {}, BATCHES[call.operation]: call.parameters["RequestItems"]}
        is_chosen = next(numbers) == number
        if is_chosen:
            strike.call = call.name
            if kind is Fault.DIES_BEFORE:
                return await chosen(call)
        under_way += 1
        reply: Any = {}
        try:
            reply = await (chosen(call) if is_chosen else call.send())
        finally:
            under_way -= 1
            if is_chosen and kind is Fault.DIES_AFTER:
                strike.is_dead = True
            if strike.is_dead:
                hang_up(reply)
                raise Crash
        if is_chosen and kind in (Fault.UNHEARD, Fault.DONE_BUT_FAILED):
            hang_up(reply)
            if kind is Fault.UNHEARD:
                raise ReadTimeoutError(endpoint_url="https://aws.example")
            raise failure("InternalServerError", 500, call.operation)
        if is_chosen and kind is Fault.TORN:
            reply["Body"] = Torn(reply["Body"])
        return reply

    with intercepted(send):
        yield strike
