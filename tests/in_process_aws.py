"""Calls the embedded AWS as a function. A connection takes half of the CPU time of a call.

Everything else of a call stays: botocore builds and signs the request, the embedded AWS checks the
signature and executes the request, botocore parses the reply.

A thread other than the main thread calls over a connection, as before. The threads of a race then
change places at each call.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Self

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from moto.dynamodb.models import dynamodb_backends

from infra import signatures
from infra.aws_request import Request
from infra.embedded_aws import EmbeddedAws
from infra.emulator import Answer, refusal

TURNS = 10
"""Turns of the event loop that a call takes. Calls that do not wait for each other overlap, although
some begin a few turns later.
"""


class _Stream:
    """The part of an aiohttp response that botocore reads: the body of a reply."""

    def __init__(self, url: str, body: bytes) -> None:
        self.url = url
        self.content = asyncio.StreamReader()
        self.content.feed_data(body)
        self.content.feed_eof()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def read(self) -> bytes:
        """The rest of the body."""
        return await self.content.read()

    def close(self) -> None:
        """Nothing: there is no connection."""


def drop_data(aws: EmbeddedAws) -> None:
    """Drop all rows and objects. The tables and the buckets stay."""
    emulator = aws._emulator
    for table in dynamodb_backends[emulator._account]["us-east-1"].tables.values():
        table.items.clear()
    for bucket in emulator._buckets().values():
        bucket.keys.clear()


@contextmanager
def called_in_process(aws: EmbeddedAws) -> Iterator[None]:
    """Let the clients of the main thread call this AWS without a connection."""
    over_connection = AIOHTTPSession.send

    async def send(session: Any, request: Any) -> Any:
        body = request.body or b""
        is_for_aws = request.url.startswith(aws.url + "/") and isinstance(body, bytes | bytearray)
        if not is_for_aws or threading.current_thread() is not threading.main_thread():
            return await over_connection(session, request)
        return await _call(aws, request, bytes(body))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AIOHTTPSession, "send", send)
        yield


async def _call(aws: EmbeddedAws, request: Any, body: bytes) -> Any:
    await _turns(TURNS)
    answer = _answer(aws, request, body)
    headers: Any = {name.lower(): value for name, value in answer.headers}
    reply_body = b"" if request.method == "HEAD" else answer.body
    if request.method != "HEAD" and answer.status != HTTPStatus.NO_CONTENT:
        headers["content-length"] = str(len(reply_body))
    raw = _Stream(request.url, reply_body)
    response: Any = AioAWSResponse(request.url, answer.status, headers, raw)
    if not request.stream_output:
        await response.content
    return response


def _turns(count: int) -> asyncio.Future[None]:
    """A future that is done after some turns of the event loop.

    A loop of `asyncio.sleep(0)` would wake all callers of the call in each turn.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def pass_turn(left: int) -> None:
        if left:
            loop.call_soon(pass_turn, left - 1)
        elif not future.done():
            future.set_result(None)

    pass_turn(count - 1)
    return future


def _answer(aws: EmbeddedAws, request: Any, body: bytes) -> Answer:
    headers = {"host": aws.host}
    for name, value in request.headers.items():
        headers[name.lower()] = value.decode() if isinstance(value, bytes) else value
    head = Request(request.method, request.url.removeprefix(aws.url), headers, b"")
    try:
        claim = aws.claim(head)
        claim.check(body, aws.key)
    except signatures.Refused as refused:
        return refusal(head, HTTPStatus.FORBIDDEN, refused.code, str(refused))
    return aws.answer(head._replace(body=body))
