"""The functions of the hub in this process, called as Lambda calls them: each in a container of its
own.

A container is a thread with its own event loop and connections. It serves one request at a time, so
the CPU time of the thread is that of the function. The AWS is in another process. The whole handler
is counted: base64 of the bodies, FastAPI, the hub's code, botocore. Lambda's runtime, which reads
the event and writes the reply, is not counted. `fetch` is called as the streaming function runs it:
its ASGI app gets a request, and sends the reply in pieces.

`Hub` is also a transport of httpx, so that the simulated stock client can send requests to it.
"""

import asyncio
import base64
import ctypes
import functools
import gc
import importlib
import itertools
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import unquote

import httpx

from bench import aws
from bench.meter import Meter, tick
from functions.endpoints import ENDPOINTS, Edge, Endpoint

T = TypeVar("T")

BASE = "http://hub.example"
OWNER = "ada"
SIGNING_KEYS = {"bench": "no secret: this hub lives for a minute"}
STREAMED = {endpoint.module for endpoint in ENDPOINTS if endpoint.edge is Edge.STREAM}
"""Functions whose replies are streamed.

CloudFront sends every fetch there, as a clone exceeds a buffered reply.
"""
MEMORY_MB = Endpoint.memory_mb
"""The memory of most functions."""


@dataclass(slots=True)
class Served:
    """One request that a function answered, and its cost."""

    function: str
    began: int
    """Positions of the request and of the reply in the order of events."""
    ended: int
    status: int
    received: int
    """Bytes of the request's body."""
    sent: int
    """Bytes of the reply's body."""
    cpu_seconds: float
    memory_bytes: int
    """The growth of the process at its peak. 0 if the system does not report it."""
    meter: Meter


@dataclass(slots=True)
class Hub:
    """All functions, on the AWS of this process's environment. `served` has the requests.

    Counting takes time, so calls are counted in one run and CPU and memory measured in another.
    `watch` selects it.
    """

    slug: str = "song"
    """The repository, and the prefix of the names of further ones."""
    served: list[Served] = field(default_factory=list)
    watch: Literal["nothing", "calls", "time", "memory"] = "nothing"
    """`memory` includes `time`, after the process has returned its free memory to the system."""
    _containers: dict[str, ThreadPoolExecutor] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.forget()
        for container in self._containers.values():
            container.submit(lambda: asyncio.get_event_loop().close()).result()
            container.shutdown()

    def forget(self) -> None:
        """Make every container cold: close its connections, and clear its caches."""
        from shared.engines import selection

        for function in self._containers:
            self.run(selection.close, function)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], function: str = "setup") -> T:
        """Run a coroutine on a container's event loop, without measuring it."""

        def in_container() -> T:
            from shared import lambdas

            lambdas.use_own_loop()
            return asyncio.get_event_loop().run_until_complete(work())

        return self._container(function).submit(in_container).result()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Send a request to its function as AWS does, and return the reply."""
        began = tick()
        body = request.read()
        function = function_of(request.method, request.url.path)
        asked: _Exchange = (_Streamed if function in STREAMED else _Buffered)(
            function, request, body
        )
        with self._turn, asked:
            served = self._container(function).submit(self._serve, asked).result()
            content = asked.content()
        served.began = began
        served.ended = tick()
        served.received = len(body)
        served.sent = len(content)
        served.status = asked.status
        self.served.append(served)
        return httpx.Response(
            served.status, headers=asked.headers, stream=httpx.ByteStream(content)
        )

    def transport(self) -> httpx.BaseTransport:
        """A transport for a client of httpx, which sends requests to this hub instead of a
        socket.
        """
        return _Transport(self.answer)

    def _serve(self, asked: "_Exchange") -> Served:
        importlib.import_module(f"functions.{asked.function}")
        served = Served(asked.function, 0, 0, 0, 0, 0, 0.0, 0, Meter(weigh=True))
        if self.watch == "calls":
            with served.meter:
                asked.serve()
        elif self.watch in ("time", "memory"):
            if self.watch == "memory":
                _forget_peak()
            peak = _peak_bytes()
            started = time.thread_time()
            asked.serve()
            served.cpu_seconds = time.thread_time() - started
            served.memory_bytes = max(0, _peak_bytes() - peak)
        else:
            asked.serve()
        return served

    def _container(self, function: str) -> ThreadPoolExecutor:
        if function not in self._containers:
            self._containers[function] = ThreadPoolExecutor(1, thread_name_prefix=function)
        return self._containers[function]


class _Exchange:
    """One request to a function, prepared before it is served, and its reply."""

    def __init__(self, function: str, request: httpx.Request, body: bytes) -> None:
        self.function = function
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.request = request
        self.body = body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to release."""

    def serve(self) -> None:
        raise NotImplementedError

    def content(self) -> bytes:
        raise NotImplementedError


class _Buffered(_Exchange):
    """As an HTTP API does it: an event and a reply, with bodies in base64."""

    def __init__(self, function: str, request: httpx.Request, body: bytes) -> None:
        super().__init__(function, request, body)
        self.event = _event(request, body)
        self.reply: dict[str, Any] = {}

    def serve(self) -> None:
        self.reply = importlib.import_module(f"functions.{self.function}").handler(self.event, None)
        self.status = self.reply["statusCode"]
        self.headers = list(self.reply["headers"].items())

    def content(self) -> bytes:
        body: str = self.reply["body"]
        return base64.b64decode(body) if self.reply["isBase64Encoded"] else body.encode()


class _Streamed(_Exchange):
    """As a web server does it. Another thread writes the pieces to a file, in the place of a
    socket, so that a piece that was sent is not counted as time or memory of the function."""

    def __enter__(self) -> Self:
        self._pieces: SimpleQueue[bytes] = SimpleQueue()
        self._file = tempfile.TemporaryFile()
        self._taker = threading.Thread(target=self._take)
        self._taker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        self._file.close()

    def serve(self) -> None:
        from shared import lambdas

        lambdas.use_own_loop()
        app = importlib.import_module(f"functions.{self.function}").app
        asyncio.get_event_loop().run_until_complete(
            app(_scope(self.request), self._receive(), self._send)
        )

    def content(self) -> bytes:
        self._end()
        self._file.seek(0)
        return self._file.read()

    def _receive(self) -> Callable[[], Coroutine[Any, Any, dict[str, Any]]]:
        bodies = [self.body]

        async def receive() -> dict[str, Any]:
            if not bodies:
                await asyncio.Event().wait()  # the client stays to the end
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}

        return receive

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        elif message["body"]:
            self._pieces.put(message["body"])

    def _take(self) -> None:
        for piece in iter(self._pieces.get, b""):
            self._file.write(piece)

    def _end(self) -> None:
        self._pieces.put(b"")
        self._taker.join()


class _Transport(httpx.BaseTransport):
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

        self._storage = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # A client uploads to S3 without the hub.
        if str(request.url).startswith(os.environ["AWS_ENDPOINT_URL"]):
            return self._storage.handle_request(request)
        return self._answer(request)


def environment(aws_url: str) -> dict[str, str]:
    """The environment of the hub: this AWS, repositories created by the first push, limits that are
    never reached."""
    limits = {f"PIERIA_LIMIT_{name}": str(10**9) for name in ("PUSH", "FETCH", "READ", "UPLOAD")}
    # Not 0, which means no limit: the calls of the limits of cost must be counted.
    limits |= {f"PIERIA_LIMIT_COST_{name}": str(10**6) for name in ("SUBJECT", "OWNER", "HUB")}
    return {
        **aws.CREDENTIALS,
        "AWS_ENDPOINT_URL": aws_url,
        "PIERIA_HUB_TABLE": aws.TABLES["HubTable"],
        "PIERIA_COUNTER_TABLE": aws.TABLES["CounterTable"],
        "PIERIA_BUCKET": aws.TABLES["Bucket"],
        "PIERIA_SIGNING_KEYS": json.dumps(SIGNING_KEYS),
        "PIERIA_PUSH_TO_CREATE": "true",
        "PIERIA_LOG_LEVEL": "ERROR",
        **limits,
    }


def set_environment(aws_url: str) -> None:
    """Make the hub in this process use that AWS. Call it before the first request: the settings are
    read once."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PIERIA_"))]:
        del os.environ[name]  # the settings of the user's own AWS
    os.environ.update(environment(aws_url))


def token(subject: str = OWNER) -> str:
    """A token with all rights, valid for a day."""
    from shared import auth, settings
    from shared.model import Identity, Role

    # As long as a real token id, since it is part of a row's key.
    identity = Identity(subject, Role.ADMIN, "00000000-0000-4000-8000-000000000000")
    return auth.issue(
        settings.load().signing_keys, identity, lifetime_seconds=24 * 3600, now=int(time.time())
    )


def function_of(method: str, path: str) -> str:
    """The function to which API Gateway sends a request, by its file. Raises LookupError."""
    for route, function in _routes():
        if route.fullmatch(f"{method} {path}"):
            return function
    raise LookupError(f"there is no route for {method} {path}")


@functools.cache
def _routes() -> Sequence[tuple[re.Pattern[str], str]]:
    """The routes of all functions. Routes with fewer parameters come first."""
    routes = []
    for endpoint in ENDPOINTS:
        for route in endpoint.routes:
            key = route.key.replace(".", r"\.").replace("GET ", "(?:GET|HEAD) ")
            pattern = re.sub(r"\{\w+\}", "[^/]+", re.sub(r"\{\w+\+\}", ".+", key))
            routes.append((re.compile(pattern), endpoint.module))
    return sorted(routes, key=lambda route: _parameters(route[0].pattern))


def _parameters(pattern: str) -> int:
    """How many parameters a pattern has. One with slashes comes after all others."""
    return pattern.count("[^/]+") + 9 * pattern.count(".+")


def memory_mb() -> dict[str, int]:
    """The memory of each function."""
    return {endpoint.module: endpoint.memory_mb for endpoint in ENDPOINTS}


_requests = itertools.count()


def _event(request: httpx.Request, body: bytes) -> dict[str, Any]:
    """The event that an HTTP API makes of a request: payload format 2.0."""
    number = next(_requests)
    path = request.url.raw_path.decode().partition("?")[0]
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": request.url.query.decode(),
        "headers": dict(request.headers),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "hub.example",
            "requestId": f"request-{number:012}",
            "stage": "$default",
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": request.headers.get("user-agent", ""),
            },
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def _scope(request: httpx.Request) -> dict[str, Any]:
    """The ASGI scope that uvicorn makes of a request."""
    path = request.url.raw_path.partition(b"?")[0]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 40000),
        "scheme": "http",
        "root_path": "",
        "method": request.method,
        "path": unquote(path.decode()),
        "raw_path": path,
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "state": {},
    }


_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def _forget_peak() -> None:
    """Return free memory to the system, and reset the peak of the process. Linux only."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")
    except (OSError, AttributeError):
        return


def _peak_bytes() -> int:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
