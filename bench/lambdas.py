"""The hub as Lambda runs it, in this process: each function in a container of its own, entered through its handler.

A container is a thread with an event loop and its own connections, and serves one request at a time: so the CPU
time of that thread is what the function used, and nobody else's. The AWS behind it is another process. What is
counted as the function's is the handler whole: base64 of the bodies, FastAPI, our code, botocore. What is not:
Lambda's own runtime, which reads the event from a socket and writes the reply to one.

`Hub` is also a transport of httpx, so that the stand-in for the stock client asks it as it would ask a server.
"""

import asyncio
import base64
import ctypes
import gc
import importlib
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
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
ROUTES = {
    "refs": "refs",
    "fetch": "fetch",
    "negotiate": "negotiate",
    "filter-objects": "filter_objects",
    "presign": "presign",
    "push/objects": "push_objects",
    "push": "push",
}
"""What follows the repository's URL → the function's file."""
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
    watch: Literal["nothing", "calls", "time"] = "nothing"
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
            from shared import http

            http._use_own_loop()
            return asyncio.get_event_loop().run_until_complete(work())

        return self._container(function).submit(in_container).result()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """A request as API Gateway passes it on, and the function's reply."""
        began = tick()
        body = request.read()
        function = ROUTES[request.url.path.split("/", 3)[3]]
        event = _event(request, body)
        with self._turn:
            reply, served = self._container(function).submit(self._serve, function, event).result()
        content = base64.b64decode(reply["body"]) if reply["isBase64Encoded"] else reply["body"].encode()
        served.began, served.ended = began, tick()
        served.received, served.sent = len(body), len(content)
        self.served.append(served)
        return httpx.Response(served.status, headers=reply["headers"], stream=httpx.ByteStream(content))

    def transport(self) -> httpx.BaseTransport:
        """For a client of httpx, whose requests come here instead of to a socket."""
        return _Transport(self.answer)

    def _serve(self, function: str, event: dict[str, Any]) -> tuple[Any, Served]:
        handler = importlib.import_module(f"functions.{function}").handler
        served = Served(function, 0, 0, 0, 0, 0, 0.0, 0, Meter(weigh=True))
        if self.watch == "calls":
            with served.meter:
                reply = handler(event, None)
        elif self.watch == "time":
            _forget_peak()
            peak, started = _peak_bytes(), time.thread_time()
            reply = handler(event, None)
            served.cpu_seconds = time.thread_time() - started
            served.memory_bytes = max(0, _peak_bytes() - peak)
        else:
            reply = handler(event, None)
        served.status = reply["statusCode"]
        return reply, served

    def _container(self, function: str) -> ThreadPoolExecutor:
        if function not in self._containers:
            self._containers[function] = ThreadPoolExecutor(1, thread_name_prefix=function)
        return self._containers[function]


class _Transport(httpx.BaseTransport):
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)


def environment(aws_url: str) -> dict[str, str]:
    """Everything that the hub reads: this AWS, repositories on first push, allowances that nobody uses up."""
    limits = {f"PIERIA_LIMIT_{name}": str(10**9) for name in ("PUSH", "FETCH", "READ", "UPLOAD")}
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
