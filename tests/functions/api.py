"""Requests to the API in JSON, and an AWS that fails. Shared by the tests of the functions."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, Unpack

from botocore.exceptions import EndpointConnectionError

from shared.engines import selection
from tests.client import JSON, Answer, How, ask, bearer
from tests.cloud_calls import CloudCall, intercepted

T = TypeVar("T")


def call(
    function: str,
    method: str,
    path: str,
    message: Any = None,
    *,
    token: str | None = None,
    **how: Unpack[How],
) -> Answer:
    """A request in JSON to a path below /api/v1. `how` are the options of `client.ask`.

    A given `token` takes the place of the fresh token of a user.
    """
    if token:
        how["headers"] = {**bearer(token), **(how.get("headers") or {})}
        how["by"] = None
    made: How = {"form": JSON, "accept": None, **how}
    return ask(function, method, f"/api/v1{path}", message, **made)


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
