"""Calls to AWS that go wrong: exactly one, chosen by its number, where every client of the hub passes.

    with fault(Fault.DIES_AFTER, 3) as strike:
        hub.push("me", "song", bundle)
    strike.call      "dynamodb.PutItem": what the third call was; empty if there was no third

Below botocore's own retries, so one strike is one failure, and the hub has to live with it.
"""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aiobotocore.client import AioBaseClient
from botocore.exceptions import ClientError, ReadTimeoutError


class Fault(StrEnum):
    """What happens to the chosen call."""

    DIES_AFTER = "the process dies when the call is done"
    DIES_BEFORE = "the process dies, and of all calls under way this one alone was not done"
    REFUSED = "the call fails and does nothing"
    UNHEARD = "the call is done but its answer is lost"


class Crash(BaseException):
    """The process is gone: nobody catches this, and nothing can be called any more."""


@dataclass
class Strike:
    """Which call was hit, as `service.Operation`; empty as long as none was."""

    call: str = ""
    is_dead: bool = False


def hang_up(reply: Any) -> None:
    """A process that dies takes its connections along: an S3 reply whose body nobody will read is one."""
    if "Body" in reply:
        reply["Body"].close()


@contextmanager
def fault(kind: Fault, number: int) -> Iterator[Strike]:
    """Every call but one goes through. After a death none does, and those under way are never heard of again."""
    original, numbers, strike = AioBaseClient._make_api_call, itertools.count(1), Strike()  # type: ignore[attr-defined]
    under_way = 0

    async def others_are_done() -> None:
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.001)
            quiet = 0 if under_way else quiet + 1

    async def make_api_call(client: Any, operation: str, parameters: Any) -> Any:
        nonlocal under_way
        if strike.is_dead:
            raise Crash
        is_chosen = next(numbers) == number
        if is_chosen:
            strike.call = f"{client.meta.service_model.service_name}.{operation}"
            if kind is Fault.DIES_BEFORE:
                await others_are_done()
                strike.is_dead = True
                raise Crash
            if kind is Fault.REFUSED:
                raise ClientError(
                    {
                        "Error": {"Code": "InternalServerError", "Message": "injected"},
                        "ResponseMetadata": {"HTTPStatusCode": 500},  # type: ignore[typeddict-item]
                    },
                    operation,
                )
        under_way += 1
        reply: Any = {}
        try:
            reply = await original(client, operation, parameters)
        finally:
            under_way -= 1
            if is_chosen and kind is Fault.DIES_AFTER:
                strike.is_dead = True
            if strike.is_dead:
                hang_up(reply)
                raise Crash
        if is_chosen and kind is Fault.UNHEARD:
            hang_up(reply)
            raise ReadTimeoutError(endpoint_url="https://aws.example")
        return reply

    AioBaseClient._make_api_call = make_api_call  # type: ignore[attr-defined]
    try:
        yield strike
    finally:
        AioBaseClient._make_api_call = original  # type: ignore[attr-defined]
