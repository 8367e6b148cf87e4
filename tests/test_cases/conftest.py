"""The callers: each has an address that no other test uses, and requests visible and hidden
repositories.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from infra.embedded_aws import EmbeddedAws
from shared import http
from shared.engines import selection
from tests.builders import Clock
from tests.client import Answer, call, heads
from tests.test_cases.fixtures import C1, C2, CX, M, alter, pushed

_people = itertools.count()


@pytest.fixture
def stranger() -> str:
    """A user with a good token who owns nothing yet."""
    return f"stranger{next(_people)}"


@pytest.fixture
def address() -> str:
    """The address of a caller without a token."""
    number = next(_people)
    return f"198.51.{number // 256}.{number % 256}"


def _exists(owner: str, slug: str) -> bool:
    """Whether an earlier module pushed to it: SQLite keeps its rows, the embedded AWS does not."""
    return bool(heads(owner, slug, by=owner))


@pytest.fixture(scope="module")
def estate(aws: EmbeddedAws) -> str:
    """The owner of `pub`, which anybody may read, `priv`, `gone`, which is deleted, and no `none`.

    All hold C1.
    """
    owner = "estate-owner"
    if _exists(owner, "pub"):
        return owner
    for slug in ("pub", "priv", "gone"):
        pushed(owner, slug, C1)
    alter(owner, "priv", visibility="private")
    alter(owner, "gone", deleted_at=1_767_225_600)
    return owner


@pytest.fixture(scope="module")
def merged(aws: EmbeddedAws) -> str:
    """The owner of `song`, whose `main` is the merge M. There are no further pushes to it."""
    owner = "merged-owner"
    if _exists(owner, "song"):
        return owner
    pushed(owner, "song", C1, C2, CX, M)
    return owner


CONTAINERS = 8


@pytest.fixture(scope="session")
def at_once(aws: EmbeddedAws) -> Iterator[Callable[[Sequence[Callable[[], Answer]]], list[Answer]]]:
    """The answers to up to eight requests that start together, each in a Lambda container that is
    warm.
    """

    def together(requests: Sequence[Callable[[], Answer]]) -> list[Answer]:
        start = threading.Barrier(len(requests))

        def one(request: Callable[[], Answer]) -> Answer:
            call("refs", "nobody", "nothing", by=f"container{next(_people)}")
            start.wait(timeout=60)
            return request()

        return list(containers.map(one, requests))

    def retire(_: int) -> None:
        everybody.wait(timeout=60)
        loop = asyncio.get_event_loop()
        loop.run_until_complete(selection.close())
        loop.close()

    everybody = threading.Barrier(CONTAINERS)
    with ThreadPoolExecutor(
        CONTAINERS, initializer=call, initargs=("refs", "nobody", "nothing")
    ) as containers:
        yield together
        list(containers.map(retire, range(CONTAINERS)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Twenty seconds into the running minute, until a test moves it."""
    standing = Clock(time.time() // 60 * 60 + 20)
    monkeypatch.setattr(
        http.access, "time", SimpleNamespace(time=standing.time, perf_counter=time.perf_counter)
    )
    return standing
