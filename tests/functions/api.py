"""Requests of tests to the API: one request by a user, by default in JSON; and a cloud that fails.

Not a test module: the tests of the four functions share it.
"""

import asyncio
import importlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.exceptions import EndpointConnectionError

from shared.engines import selection
from tests import builders
from tests.builders import Answer
from tests.cloud_calls import CloudCall, intercepted

T = TypeVar("T")

JSON = "application/json"


def call(
    function: str,
    method: str,
    path: str,
    message: Any = None,
    *,
    by: str | None = None,
    token: str | None = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    raw: bytes | None = None,
) -> Answer:
    """One request under /api/v1: by a user (with a fresh token), with a given token, or without a
    token.
    """
    sent = dict(headers or {})
    if by and token is None:
        token = builders.token(by)
    if token:
        sent["authorization"] = f"Bearer {token}"
    body = raw if raw is not None else b"" if message is None else json.dumps(message).encode()
    if body:
        sent.setdefault("content-type", JSON)
    return builders.invoke(
        function, builders.event(method, f"/api/v1{path}", body, sent, query=query)
    )


def create(owner: str, slug: str, *, by: str | None = None, **more: Any) -> dict[str, Any]:
    """A repository, by POST repos."""
    answer = call("repos", "POST", "/repos", {"slug": slug, **more}, by=by or owner)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.value
    return made


def get(owner: str, slug: str, *, by: str | None = None) -> Answer:
    """GET one repository."""
    return call("repos", "GET", f"/repos/{owner}/{slug}", by=by)


def give(owner: str, slug: str, handle: str, role: str) -> Answer:
    """PUT a member, by the owner."""
    return call(
        "members", "PUT", f"/repos/{owner}/{slug}/members/{handle}", {"role": role}, by=owner
    )


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """The results of as many threads, which begin together.

    Each has its own loop and clients, as containers do.
    """
    gate = threading.Barrier(count)

    def run(number: int) -> T:
        gate.wait()
        try:
            return work(number)
        finally:
            loop = asyncio.get_event_loop()
            loop.run_until_complete(selection.close())
            loop.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


class Cut:
    """What became of a cloud that was to fail: whether it did, and how many calls it carried
    out.
    """

    def __init__(self, after: int) -> None:
        self.left = after
        self.happened = False


@contextmanager
def cut_after(calls: int) -> Iterator[Cut]:
    """A cloud that carries out this many calls to the hub's table, and fails from then on. The
    reply of the last call is lost, too.
    """
    cut = Cut(calls)

    async def send(call: CloudCall) -> Any:
        if call.parameters.get("TableName") == "counters":
            return await call.send()
        if cut.left > 0:
            cut.left -= 1
            reply = await call.send()
            if cut.left > 0:
                return reply
        cut.happened = True
        raise EndpointConnectionError(endpoint_url="http://nowhere")

    with intercepted(send):
        yield cut


def handler_reply(function: str, event: dict[str, Any]) -> bytes:
    """The return value of a function's handler, as the JSON that leaves Lambda."""
    handler = importlib.import_module(f"functions.{function}").handler
    return json.dumps(handler(event, None), ensure_ascii=False).encode()


def answer_of(reply: bytes) -> Answer:
    """What such a reply says."""
    return builders.answer(json.loads(reply))
