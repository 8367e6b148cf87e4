"""The whole app on a cloud in memory, on a clock that only moves when a task waits.

    with Hub(Cloud()) as hub:
        hub.call("POST /{owner}/{slug}/fetch", {"owner": "me", "slug": "song"}, {"want": [...]}, by="me")

Ten seconds of waiting take no time; two runs of the same take the same turns.
"""

import asyncio
import base64
import functools
import json
import os
import random
import secrets
import selectors
import time
import urllib.parse
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Self, TypeVar

import aioboto3
import pytest

from shared import http, settings
from shared.engines import selection
from shared.http import browser
from tests import client
from tests.client import MSGPACK, Answer, Request, bearer, by_browser, request
from tests.proof.memory import Cloud

T = TypeVar("T")
LIMITS = ("PUSH", "FETCH", "READ", "UPLOAD")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waiting moves its clock, and takes no time; but for what comes over the network, if it
    `is_real`.
    """

    def __init__(self, *, is_real: bool = os.environ.get("ENGINE") == "sqlite") -> None:
        self.now = 1_000_000.0
        self.is_real = is_real
        self.when_idle: Callable[[], bool] = lambda: False
        """Called when no task can run. Returns whether it has let a task run."""
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Seconds, of its own."""
        return self.now


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout == 0:
            return []
        if self._loop.when_idle():
            return []
        found = super().select(0)
        if not found and self._loop.is_real and (timeout is None or timeout > 1):
            return super().select(1)
        if not found and timeout is None:
            raise RuntimeError("everybody waits for everybody")
        if not found and timeout:
            self._loop.now += timeout
        return found


_session = functools.cache(aioboto3.Session)
_clients: dict[str, Any] = {}
"""Real clients, made once: the cloud is below them.

The models of AWS's services take long to read.
"""


class _Session:
    """A session whose clients are there already."""

    def client(self, service: str, **options: Any) -> Any:
        """The client of a service; its first options count."""

        @asynccontextmanager
        async def opened() -> Any:
            if service not in _clients:
                session: Any = _session()
                _clients[service] = await session.client(service, **options).__aenter__()
            yield _clients[service]

        return opened()


@dataclass
class Hub:
    """Answers on one cloud. `seed` decides what would be random: ids, stamps, pauses."""

    cloud: Cloud
    seed: int = 0
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    epoch: float = field(default_factory=lambda: time.time() // 3600 * 3600)
    log_level: str = "CRITICAL"
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PIERIA_LOG_LEVEL", self.log_level)
        for limit in LIMITS:
            patch.setenv(f"PIERIA_LIMIT_{limit}", "1000000000")
        settings.load.cache_clear()
        self._stack.callback(settings.load.cache_clear)
        patch.setattr(aioboto3, "Session", _Session)
        patch.setattr(http.access, "time", SimpleNamespace(time=self.now))
        chance = self.chance = random.Random(self.seed)
        patch.setattr(secrets, "token_hex", lambda size=16: chance.randbytes(size).hex())
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=chance.getrandbits(128), version=4))
        patch.setattr(random, "uniform", chance.uniform)
        self.cloud.clock = self.now
        self._stack.enter_context(self.cloud.serving())
        self._stack.callback(self.loop.close)
        self._stack.callback(self.restart)
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.__exit__(*failure)
        asyncio.set_event_loop(None)

    def now(self) -> float:
        """Epoch seconds."""
        return self.epoch + self.loop.now

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Work to its end."""
        return self.loop.run_until_complete(work)

    def restart(self) -> None:
        """Forget all that a process keeps."""
        self.run(selection.close())

    def call(
        self, route: str, where: Mapping[str, str], message: Any = None, **more: Any
    ) -> Answer:
        """Send a request, as `ask` does, and wait for the reply."""
        return self.run(self.ask(route, where, message, **more))

    async def ask(
        self,
        route: str,
        where: Mapping[str, str],
        message: Any = None,
        *,
        by: str | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A request to a route, such as `GET /{owner}/{slug}/refs`; `where` fills in its path."""
        method, path = route.split(" ")
        quoted = {name: urllib.parse.quote(value, safe="/") for name, value in where.items()}
        sent = {**(bearer(token(by)) if by else {}), **(headers or {})}
        made = request(method, path.format(**quoted), message, query=query, headers=sent)
        if sent.get("content-type") == browser.FORM_TYPE:
            form, body = by_browser(path, session(by) if by else None, message)
            made = replace(made, headers=form, body=body)
        return await answered(made)

    def upload(self, url: str, data: bytes) -> None:
        """PUT to a presigned URL."""
        self.cloud.upload(url, data)


@functools.cache
def session(subject: str) -> str:
    """A session that is valid for all of this run."""
    return client.session(
        subject, token_id=f"session-of-{subject}", lifetime_seconds=300 * 24 * 3600
    )


@functools.cache
def token(subject: str) -> str:
    """A token that is good for all of this run."""
    return client.token(subject, token_id=f"token-of-{subject}", lifetime_seconds=300 * 24 * 3600)


async def answered(request: Request) -> Answer:
    """Send a request to the app over ASGI. Raises what leaves the app."""
    from infra.app import app  # late: it reads the settings

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": urllib.parse.unquote(request.path),
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": request.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
        "client": ("203.0.113.7", 443),
        "server": ("hub.example", 443),
    }
    incoming = [{"type": "http.request", "body": request.body, "more_body": False}]
    pieces: list[bytes] = []
    start: dict[str, Any] = {}
    left = asyncio.Event()

    async def receive() -> Any:
        if incoming:
            return incoming.pop()
        # The client stays connected until it has the reply, so this waits for ever.
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            pieces.append(message.get("body", b""))

    await app(scope, receive, send)
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(pieces),
    )


def shown(answer: Answer) -> Any:
    """A body as plain values, for comparing: bytes as base64, JSON and msgpack alike."""
    if not answer.body:
        return None
    kind = answer.headers.get("content-type", "")
    if kind == MSGPACK or kind.startswith("application/json"):
        return json.loads(
            json.dumps(answer.value, default=lambda data: base64.b64encode(data).decode())
        )
    return base64.b64encode(answer.body).decode()
