"""What a piece of work costs in AWS calls, and how many of them had to wait for one another.

Counted where every client of botocore passes, `_make_api_call`, for sync and async clients, in all threads
of the process. One entry there is one call: a page of a paginator, a failed conditional write, an S3 GET.
Not seen are botocore's own retries inside a call, presigning (no call), and the reading of a streamed S3
body: `GetObject` ends when the headers are there, and the bytes that follow are the same request.

The longest chain is read off the order of events, not off a clock: a call waited for every call that had
ended when it was entered. That errs upwards only. On one event loop, calls that are gathered are all
entered before the loop looks at a socket, so they count as one step. Calls of unrelated requests that
merely follow each other count as a chain; `MeteredApp` tells them apart.
"""

import contextlib
import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from aiobotocore.client import AioBaseClient
from botocore.client import BaseClient

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]

METHOD = "_make_api_call"

_ticks = itertools.count()  # next() on it is atomic: one order of events for all threads
_lock = threading.Lock()
_open: tuple["Meter", ...] = ()
_watchers = 0
_originals: dict[type[Any], Any] = {}
_request_meter: ContextVar["Meter | None"] = ContextVar("request_meter", default=None)


@dataclass(slots=True)
class Call:
    """One AWS call. `entered` and `left` are places in the process's order of events; times are monotonic."""

    service: str
    operation: str
    entered: int
    entered_at: float
    left: int | None = None
    left_at: float | None = None
    failed: bool = False


class Meter:
    """The calls made while it is open, by whomever in this process: `with Meter() as meter: …`."""

    def __init__(self) -> None:
        self.log: list[Call] = []

    def __enter__(self) -> Self:
        global _open
        _watch()
        with _lock:
            _open = (*_open, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _open
        with _lock:
            _open = tuple(meter for meter in _open if meter is not self)
        _unwatch()

    @property
    def calls(self) -> int:
        """How many calls were made, failed ones included."""
        return len(self.log)

    def by_operation(self) -> Counter[str]:
        """Calls by name: `{"dynamodb.Query": 3, "s3.PutObject": 1}`."""
        return Counter(f"{call.service}.{call.operation}" for call in self.log)

    def longest_chain(self) -> int:
        """The most calls of which each was entered after the one before had ended; 0 without calls."""
        return longest_chain((call.entered, call.left, 1) for call in self.log)


def longest_chain(spans: Iterable[tuple[int, int | None, int]]) -> int:
    """The greatest depth; depth(span) = its length + the greatest depth of those that ended before it began.

    `spans`: where each began and ended in one order of events (None: not yet), and its length.
    """
    spans = list(spans)
    events = [(began, index) for index, (began, _, _) in enumerate(spans)]
    events += [(ended, index) for index, (_, ended, _) in enumerate(spans) if ended is not None]
    depths: dict[int, int] = {}
    behind = 0
    for _, index in sorted(events):
        if index in depths:
            behind = max(behind, depths[index])
        else:
            depths[index] = behind + spans[index][2]
    return max(depths.values(), default=0)


@dataclass(slots=True)
class Served:
    """One HTTP request that the app answered, its body sizes, and the AWS calls made on its behalf."""

    method: str
    path: str
    began: int
    began_at: float
    status: int = 0
    received: int = 0
    sent: int = 0
    ended: int | None = None
    ended_at: float | None = None
    meter: Meter = field(default_factory=Meter)

    @property
    def seconds(self) -> float:
        """From the first look at the request to the last byte of the reply handed on; 0 while it is not."""
        return 0.0 if self.ended_at is None else self.ended_at - self.began_at


class MeteredApp:
    """An ASGI app around another, keeping a `Served` for each HTTP request.

    Calls find their request through a context variable, which tasks and worker threads inherit: requests
    served at the same time do not mix. A request is listed from its start, so whoever has its reply finds it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.served: list[Served] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one connection on; what is not HTTP (the lifespan) is not kept."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        served = Served(scope["method"], scope["path"], next(_ticks), time.perf_counter())
        self.served.append(served)

        async def counted_receive() -> Message:
            message = await receive()
            served.received += len(message.get("body") or b"")
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                served.status = message["status"]
            elif message["type"] == "http.response.body":
                served.sent += len(message.get("body") or b"")
                if not message.get("more_body"):
                    served.ended, served.ended_at = next(_ticks), time.perf_counter()
            await send(message)

        with _watching():
            token = _request_meter.set(served.meter)
            try:
                await self._app(scope, counted_receive, counted_send)
            finally:
                _request_meter.reset(token)

    def by_endpoint(self) -> dict[str, list[Served]]:
        """What was served, by method and path, in the order of first arrival."""
        endpoints: dict[str, list[Served]] = {}
        for served in self.served:
            endpoints.setdefault(f"{served.method} {served.path}", []).append(served)
        return endpoints


@dataclass(frozen=True)
class Cost:
    """One row of the bench's table."""

    step: str
    requests: int
    seconds: float
    received: int
    """Bytes of request bodies, as the hub sees them."""
    sent: int
    """Bytes of reply bodies."""
    calls: int
    chain: int
    """The most calls that had to wait for one another."""
    operations: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_step(cls, step: str, seconds: float, served: Iterable[Served], meter: Meter) -> Self:
        """A whole step: all its requests, and the calls of the process while it ran.

        The chain follows the requests, each as long as its own: calls of two requests served at the same time
        never wait for each other, however they interleave.
        """
        requests = list(served)
        chain = longest_chain((one.began, one.ended, one.meter.longest_chain()) for one in requests)
        return cls._of(step, seconds, requests, meter.calls, chain, meter.by_operation())

    @classmethod
    def of_requests(cls, step: str, served: Iterable[Served]) -> Self:
        """Requests of one kind: from the first's start to the last's end; the longest of their chains."""
        requests = list(served)
        first = min((one.began_at for one in requests), default=0.0)
        last = max((one.ended_at or one.began_at for one in requests), default=0.0)
        operations = sum((one.meter.by_operation() for one in requests), Counter[str]())
        chain = max((one.meter.longest_chain() for one in requests), default=0)
        return cls._of(step, last - first, requests, operations.total(), chain, operations)

    @classmethod
    def _of(
        cls, step: str, seconds: float, served: list[Served], calls: int, chain: int, operations: Counter[str]
    ) -> Self:
        return cls(
            step,
            len(served),
            seconds,
            sum(one.received for one in served),
            sum(one.sent for one in served),
            calls,
            chain,
            dict(sorted(operations.items())),
        )

    @staticmethod
    def header() -> str:
        """The table's first row."""
        return f"{'step':<28}{'requests':>9}{'seconds':>9}{'bytes in':>13}{'bytes out':>13}{'calls':>7}{'chain':>7}"

    def row(self) -> str:
        """This cost under `header()`."""
        return (
            f"{self.step:<28}{self.requests:>9,}{self.seconds:>9.2f}{self.received:>13,}{self.sent:>13,}"
            f"{self.calls:>7,}{self.chain:>7,}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The same and the calls by operation, for JSON."""
        return asdict(self)


def _enter(service: str, operation: str) -> list[Call]:
    """A started call in every meter that is concerned."""
    meters = {id(meter): meter for meter in (*_open, _request_meter.get()) if meter is not None}
    entered, now = next(_ticks), time.perf_counter()
    calls = []
    for meter in meters.values():
        meter.log.append(call := Call(service, operation, entered, now))
        calls.append(call)
    return calls


def _leave(calls: list[Call], failed: bool) -> None:
    left, now = next(_ticks), time.perf_counter()
    for call in calls:
        call.left, call.left_at, call.failed = left, now, failed


@contextlib.contextmanager
def _recorded(client: Any, operation: str) -> Iterator[None]:
    calls = _enter(client.meta.service_model.service_name, operation)
    failed = True
    try:
        yield
        failed = False
    finally:
        _leave(calls, failed)


def _metered_sync(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def make_api_call(self: Any, operation_name: str, api_params: Any) -> Any:
        with _recorded(self, operation_name):
            return original(self, operation_name, api_params)

    return make_api_call


def _metered_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def make_api_call(self: Any, operation_name: str, api_params: Any) -> Any:
        with _recorded(self, operation_name):
            return await original(self, operation_name, api_params)

    return make_api_call


def _watch() -> None:
    """Wrap both clients' method, unless it is; the last `_unwatch` puts the originals back."""
    global _watchers
    with _lock:
        _watchers += 1
        if _watchers > 1:
            return
        for client, metered in ((BaseClient, _metered_sync), (AioBaseClient, _metered_async)):
            _originals[client] = client.__dict__[METHOD]
            setattr(client, METHOD, metered(_originals[client]))


def _unwatch() -> None:
    global _watchers
    with _lock:
        _watchers -= 1
        if _watchers == 0:
            while _originals:
                client, original = _originals.popitem()
                setattr(client, METHOD, original)


@contextlib.contextmanager
def _watching() -> Iterator[None]:
    _watch()
    try:
        yield
    finally:
        _unwatch()
