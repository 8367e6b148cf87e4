"""The hub as Lambda runs it, in this process: each function in a container of its own, entered through its handler.

A container is a thread with an event loop and its own connections, and serves one request at a time: so the CPU
time of that thread is what the function used, and nobody else's. The AWS behind it is another process. What is
counted as the function's is the handler whole: base64 of the bodies, FastAPI, our code, botocore. What is not:
Lambda's own runtime, which reads the event from a socket and writes the reply to one. `fetch` is entered as the
streaming function runs it, its app taking a request and giving the reply in pieces; uvicorn is its runtime.

`Hub` is also a transport of httpx, so that the stand-in for the stock client asks it as it would ask a server.
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
from infra import stack

T = TypeVar("T")

BASE = "http://hub.example"
OWNER = "ada"
SIGNING_KEYS = {"bench": "no secret: this hub lives for a minute"}
STREAMED = ("fetch",)
"""Functions whose replies are streamed: an edge sends every fetch there, as a clone is larger than a buffered reply."""
MEMORY_MB = 1024
"""The template's default; larger functions say so themselves."""


@dataclass(slots=True)
class Served:
    """One request that a function answered, and what it took."""

    function: str
    began: int
    """The client's place in the order of events when it asked, and when it was answered."""
    ended: int
    status: int
    received: int
    """Bytes of the request's body."""
    sent: int
    """Bytes of the reply's body."""
    cpu_seconds: float
    memory_bytes: int
    """How much larger than before the process became while it worked; 0 where the system does not tell."""
    meter: Meter


@dataclass(slots=True)
class Hub:
    """All functions, on the AWS of this process's environment. Requests are kept in `served`.

    Counting takes time, so what is counted is not timed: CPU and memory are 0 there, and calls while timed.
    """

    slug: str = "song"
    """The repository that is asked about, and how the names of any others begin."""
    served: list[Served] = field(default_factory=list)
    watch: Literal["nothing", "calls", "time", "memory"] = "nothing"
    """To watch memory is to watch time as well, in a process that has first given all free memory back."""
    _containers: dict[str, ThreadPoolExecutor] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()
        for container in self._containers.values():
            container.submit(lambda: asyncio.get_event_loop().close()).result()
            container.shutdown()

    def forget(self) -> None:
        """Every container forgets what it keeps between requests, its connections included."""
        from shared import stores

        for function in self._containers:
            self.run(stores.close, function)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], function: str = "scenery") -> T:
        """Run a coroutine on a container's loop. For what is not measured."""

        def in_container() -> T:
            from shared import lambdas

            lambdas.use_own_loop()
            return asyncio.get_event_loop().run_until_complete(work())

        return self._container(function).submit(in_container).result()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """A request as AWS passes it on, and the function's reply."""
        began = tick()
        body = request.read()
        function = function_of(request.method, request.url.path)
        asked: _Exchange = (_Streamed if function in STREAMED else _Buffered)(function, request, body)
        with self._turn, asked:
            served = self._container(function).submit(self._serve, asked).result()
            content = asked.content()
        served.began, served.ended = began, tick()
        served.received, served.sent, served.status = len(body), len(content), asked.status
        self.served.append(served)
        return httpx.Response(served.status, headers=asked.headers, stream=httpx.ByteStream(content))

    def transport(self) -> httpx.BaseTransport:
        """For a client of httpx, whose requests come here instead of to a socket."""
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
            peak, started = _peak_bytes(), time.thread_time()
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
    """One request to a function, made ready before it is served, and its reply."""

    def __init__(self, function: str, request: httpx.Request, body: bytes) -> None:
        self.function = function
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.request, self.body = request, body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left behind."""

    def serve(self) -> None:
        raise NotImplementedError

    def content(self) -> bytes:
        raise NotImplementedError


class _Buffered(_Exchange):
    """As an HTTP API does it: an event in, a reply out, bodies in base64."""

    def __init__(self, function: str, request: httpx.Request, body: bytes) -> None:
        super().__init__(function, request, body)
        self.event = _event(request, body)
        self.reply: dict[str, Any] = {}

    def serve(self) -> None:
        self.reply = importlib.import_module(f"functions.{self.function}").handler(self.event, None)
        self.status, self.headers = self.reply["statusCode"], list(self.reply["headers"].items())

    def content(self) -> bytes:
        body: str = self.reply["body"]
        return base64.b64decode(body) if self.reply["isBase64Encoded"] else body.encode()


class _Streamed(_Exchange):
    """As a web server does it. The pieces are taken by another thread, as by a socket, into a file: they are neither
    time nor memory of the function's once it has let go of them."""

    def __enter__(self) -> Self:
        self._pieces: SimpleQueue[bytes] = SimpleQueue()
        self._file = tempfile.TemporaryFile()
        self._taker = threading.Thread(target=self._take)
        self._taker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._file.close()

    def serve(self) -> None:
        from shared import lambdas

        lambdas.use_own_loop()
        app = importlib.import_module(f"functions.{self.function}").app
        asyncio.get_event_loop().run_until_complete(app(_scope(self.request), self._receive(), self._send))

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
        while piece := self._pieces.get():
            self._file.write(piece)

    def _end(self) -> None:
        self._pieces.put(b"")
        self._taker.join()


class _Transport(httpx.BaseTransport):
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)


def environment(aws_url: str) -> dict[str, str]:
    """Everything that the hub reads: this AWS, repositories on first push, allowances that nobody uses up."""
    limits = {f"PIERIA_LIMIT_{name}": str(10**9) for name in ("PUSH", "FETCH", "READ", "UPLOAD")}
    # Not 0, which means no limit: the calls that limits of cost take are counted.
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
    """Make this process's hub work on that AWS. Before the first request: the settings are read once."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PIERIA_"))]:
        del os.environ[name]  # the caller's own AWS is none of our business
    os.environ.update(environment(aws_url))


def token(subject: str = OWNER) -> str:
    """A token with every right, good for a day."""
    from shared import auth, settings
    from shared.model import Identity, Role

    # As long as a true one: it is a part of a row's key.
    identity = Identity(subject, Role.ADMIN, "00000000-0000-4000-8000-000000000000")
    return auth.issue(settings.load().signing_keys, identity, lifetime_seconds=24 * 3600, now=int(time.time()))


def function_of(method: str, path: str) -> str:
    """The file of the function that the template routes a request to. Raises LookupError."""
    for route, function in _routes():
        if route.fullmatch(f"{method} {path}"):
            return function
    raise LookupError(f"the template routes {method} {path} nowhere")


@functools.cache
def _routes() -> Sequence[tuple[re.Pattern[str], str]]:
    """The routes of the template. Those without a parameter in a place come before those with one."""
    found = stack.resources()
    routes = []
    for resource in found.values():
        if resource.type == "AWS::ApiGatewayV2::Route":
            [name] = re.findall(r"integrations/\$\{(\w+)Integration\}", resource.properties["Target"]["Fn::Sub"])
            function = found[f"{name}Function"].properties["Handler"].split(".")[1]
            key = resource.properties["RouteKey"].replace(".", r"\.")
            pattern = re.sub(r"\{\w+\}", "[^/]+", re.sub(r"\{\w+\+\}", ".+", key))
            routes.append((re.compile(pattern), function))
    return sorted(routes, key=lambda route: route[0].pattern.count("[^/]+") + 9 * route[0].pattern.count(".+"))


def memory_mb() -> dict[str, int]:
    """The memory that the template gives to each function."""
    functions = [found.properties for found in stack.resources().values() if found.type == "AWS::Serverless::Function"]
    return {found["Handler"].split(".")[1]: found.get("MemorySize", MEMORY_MB) for found in functions}


_requests = itertools.count()


def _event(request: httpx.Request, body: bytes) -> dict[str, Any]:
    """What an HTTP API makes of a request: payload format 2.0."""
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
    """What uvicorn makes of a request."""
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


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _forget_peak() -> None:
    """Give free memory back and start the process's high-water mark anew. Linux only."""
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
