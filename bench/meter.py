"""Meters AWS calls: their number, the longest chain that waits for each other, and the units that
AWS charges.

Calls are counted in `_make_api_call`, which every client of botocore uses, sync and async, in all
threads of the process. Each of these is one call: a page of a paginator, a failed conditional
write, an S3 GET. Not counted are retries of botocore inside a call, presigning (it makes no call),
and the reading of a streamed S3 body: `GetObject` ends when the headers are received, and the body
belongs to the same request.

The longest chain follows from the order of events, not from a clock: a call is assumed to wait for
every call that ended before it was entered. This can only overestimate. On one event loop, calls
that are gathered are all entered before the loop reads a socket, so they count as one step.

A meter that weighs also reads the rows of a write before and after it, since its units depend on
their old size. These reads are not counted, but they take time: weigh and time in separate runs.
Only async clients are weighed, as in the hub.
"""

import asyncio
import contextlib
import contextvars
import functools
import itertools
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiobotocore.client import AioBaseClient
from botocore.client import BaseClient

from bench import prices, units
from bench.units import Looks, RowKey, Weight
from shared.units import item_size

METHOD = "_make_api_call"

_ticks = itertools.count()  # next() is atomic, so all threads share one order of events
_lock = threading.Lock()
_open: tuple["Meter", ...] = ()
_watchers = 0
_originals: dict[type[Any], Any] = {}


@dataclass(slots=True)
class Call:
    """One AWS call. `entered` and `left` are positions in the order of events."""

    service: str
    operation: str
    entered: int
    left: int | None = None
    failed: bool = False
    weight: Weight | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """The parameters of the call. They and the weight are empty if the meter does not weigh."""

    @property
    def milliseconds(self) -> int:
        """The time of the call by the model of latency."""
        return prices.S3_MS if self.service == "s3" else prices.DYNAMODB_MS


class Meter:
    """All calls in this process while it is open: `with Meter() as meter: …`."""

    def __init__(self, *, weigh: bool = False) -> None:
        self.log: list[Call] = []
        self.weighs = weigh

    def __enter__(self) -> Self:
        global _open
        _watch()
        with _lock:
            _open = (*_open, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _open
        with _lock:
            _open = tuple(meter for meter in _open if meter is not self)
        _unwatch()

    @property
    def calls(self) -> int:
        """The number of calls, including failed ones."""
        return len(self.log)

    @property
    def weights(self) -> list[Weight]:
        """The weight of each call, if the meter weighs."""
        return [call.weight for call in self.log if call.weight]

    def by_operation(self) -> Counter[str]:
        """Calls by name: `{"dynamodb.Query": 3, "s3.PutObject": 1}`."""
        return Counter(f"{call.service}.{call.operation}" for call in self.log)

    def longest_chain(self) -> int:
        """The largest number of calls of which each was entered after the one before had ended."""
        return longest_chain((call.entered, call.left, 1) for call in self.log)

    def milliseconds(self) -> int:
        """The time of the slowest chain of calls, by the model of latency."""
        return longest_chain((call.entered, call.left, call.milliseconds) for call in self.log)

    def write_units_by_partition(self) -> Counter[str]:
        """Write units by `table/partition key`."""
        return _heat(weight.writes for weight in self.weights)

    def read_units_by_partition(self) -> Mapping[str, float]:
        """Read units by `table/partition key`."""
        return _heat(weight.reads for weight in self.weights)


def longest_chain(spans: Iterable[tuple[int, int | None, int]]) -> int:
    """The greatest depth: depth(span) = its length + the greatest depth of the spans that ended
    before it began.

    `spans`: (beginning, end, length) of each, as positions in the order of events. The end is None
    if it has not ended.
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


def _heat(parts: Iterable[Mapping[tuple[str, str], Any]]) -> Counter[str]:
    heat: Counter[str] = Counter()
    for part in parts:
        for (table, partition), taken in part.items():
            heat[f"{table}/{partition}"] += taken
    return heat


def tick() -> int:
    """The next position in the order of events."""
    return next(_ticks)


def _enter(service: str, operation: str) -> list[Call]:
    """Add a started call to every open meter."""
    entered = next(_ticks)
    calls = []
    for meter in _open:
        call = Call(service, operation, entered)
        meter.log.append(call)
        calls.append(call)
    return calls


@contextlib.contextmanager
def _recorded(client: Any, operation: str) -> Iterator[list[Call]]:
    calls = _enter(client.meta.service_model.service_name, operation)
    failed = True
    try:
        yield calls
        failed = False
    finally:
        left = next(_ticks)
        for call in calls:
            call.left = left
            call.failed = failed


def _metered_sync(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def make_api_call(self: Any, operation_name: str, api_params: Any) -> Any:
        with _recorded(self, operation_name):
            return original(self, operation_name, api_params)

    return make_api_call


def _metered_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def look(client: Any, keys: Iterable[RowKey]) -> Looks:
        asked: dict[str, Any] = {}
        for table, pk, sk in dict.fromkeys(keys):
            key = {"pk": {"S": pk}, **({"sk": {"S": sk}} if sk else {})}
            asked.setdefault(table, {"Keys": [], "ConsistentRead": True})["Keys"].append(key)
        if not asked:
            return {}
        looking: Any = original(client, "BatchGetItem", {"RequestItems": asked})
        # In a context of its own, so that the hub does not charge these reads to the measured
        # request.
        reply: Any = await asyncio.get_running_loop().create_task(
            looking, context=contextvars.Context()
        )
        found: dict[RowKey, int] = {}
        for table, items in reply["Responses"].items():
            for item in items:
                found[table, item["pk"]["S"], item.get("sk", {"S": ""})["S"]] = item_size(item)
        return found

    @functools.wraps(original)
    async def make_api_call(self: Any, operation_name: str, api_params: Any) -> Any:
        with _recorded(self, operation_name) as calls:
            if not any(meter.weighs for meter in _open):
                return await original(self, operation_name, api_params)
            service = self.meta.service_model.service_name
            params = dict(api_params)  # botocore replaces a body by a stream
            rows = units.written(operation_name, api_params)
            before = await look(self, rows)
            after: Looks = {}
            reply: Any = {}
            try:
                reply = await original(self, operation_name, api_params)
                after = await look(self, rows)
                return reply
            finally:
                weight = units.weigh(
                    service, operation_name, params, reply, before=before, after=after
                )
                for call in calls:
                    call.weight = weight
                    call.params = params

    return make_api_call


def _watch() -> None:
    """Wrap the method of both clients, unless it is wrapped.

    The last `_unwatch` restores the originals.
    """
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
