"""Measures one operation: counts it in a cold container, counts it again, and then times it.

Counting and timing are separate runs, since a meter that weighs takes time. Counts are the same on
every machine. CPU and memory depend on the machine: the lowest CPU time of the timed runs is
reported.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import chain
from typing import Any, Literal, Self

import msgpack

from bench import aws, prices, trace
from bench.history import History
from bench.lambdas import Hub, Served, memory_mb
from bench.meter import longest_chain
from bench.prices import Bill
from bench.units import Weight
from bench.workloads import Operation

TIMED = 3
HOTTEST = 32
COUNTERS = f"{aws.TABLES['CounterTable']}/"
STEADY = 3
"""A repeated operation is counted the first time, and again after this many repetitions."""


@dataclass(frozen=True)
class Count:
    """The numbers that do not depend on the machine. They are compared with the baseline."""

    requests: int
    calls: int
    chain: int
    """The longest chain of calls that waited for each other, from the first request to the last
    reply."""
    milliseconds: int
    """The time of that chain by the model of latency, in which a call of any size takes a fixed
    time."""
    read_units: float
    write_units: int
    hottest: int
    """Write units of the hottest partition of the hub table. Partitions of counters depend on the
    time of the run."""
    s3_puts: int
    s3_gets: int
    wire_bytes: int
    """Bodies of requests and replies."""


@dataclass(frozen=True)
class Step:
    """All requests of one kind in an operation."""

    function: str
    requests: int
    calls: int
    chain: int
    milliseconds: int
    read_units: float
    write_units: int
    s3_puts: int
    s3_gets: int
    received: int
    sent: int
    cpu_seconds: float
    operations: dict[str, int]


@dataclass(frozen=True)
class Measured:
    """An operation and its cost."""

    name: str
    count: Count
    warm: Count
    """The counts when the operation is repeated in the same containers."""
    least_bytes: int | None
    """The size of the records and contents, which must be transferred."""
    s3_bytes_in: int
    s3_bytes_out: int
    cpu_seconds: float
    least_cpu: float | None
    """The time to hash and pack the same bytes on this machine."""
    memory_bytes: int
    """The most memory that one request needed beyond an idle container."""
    bill: Bill
    """The cost of one operation, in dollars."""
    hot: dict[str, int]
    """Write units of the hottest partitions."""
    hot_reads: dict[str, float]
    """Read units of the hottest partitions."""
    steps: tuple[Step, ...]
    trace: tuple[str, ...]
    """The calls of each request."""

    @property
    def dollars(self) -> float:
        """The cost of a thousand operations, without data out."""
        return 1000 * self.bill.without_data_out

    @property
    def overhead(self) -> float | None:
        """Transferred bytes per necessary byte."""
        return self.count.wire_bytes / self.least_bytes if self.least_bytes else None

    def as_dict(self) -> dict[str, Any]:
        """A value for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> Self:
        """The inverse of `as_dict`."""
        parts = {
            "count": Count(**said["count"]),
            "warm": Count(**said["warm"]),
            "bill": Bill(**said["bill"]),
        }
        return cls(
            **{
                **said,
                **parts,
                "steps": tuple(Step(**step) for step in said["steps"]),
                "trace": tuple(said["trace"]),
            }
        )


def measure(hub: Hub, operations: Iterable[Operation], *, timed: bool = True) -> list[Measured]:
    """Count each operation in order, and then time all of them, so that timing does not change the
    counts.

    Without `timed` CPU seconds are 0, and so is their price.
    """
    counted = [_counted(hub, operation) for operation in operations]
    return [_priced(one, _timed(hub, one.operation) if timed else []) for one in counted]


@dataclass(frozen=True)
class _Counted:
    operation: Operation
    cold: list[Served]
    warm: list[Served]
    least_bytes: int | None


def _counted(hub: Hub, operation: Operation) -> _Counted:
    cold, least = _once(hub, operation, "calls", forget=True)
    warm = cold
    if operation.again:
        for _ in range(STEADY):
            warm, _least = _once(hub, operation, "calls", forget=True)
    elif not operation.heavy:
        warm, _least = _once(hub, operation, "calls")
    return _Counted(operation, cold, warm, least)


def _timed(hub: Hub, operation: Operation) -> list[list[Served]]:
    # Memory was returned to the system: the first run has to get it again, as in a cold container.
    first = _once(hub, operation, "memory")[0]
    return [
        first,
        *(_once(hub, operation, "time")[0] for _ in range(0 if operation.heavy else TIMED - 1)),
    ]


def _priced(counted: _Counted, runs: Sequence[Sequence[Served]]) -> Measured:
    cold = counted.cold
    whole = counted.operation.whole
    best = min(runs, key=_cpu, default=[])
    steps = _steps(cold, best)
    weights = _weights(cold)
    return Measured(
        name=counted.operation.name,
        count=_count(cold),
        warm=_count(counted.warm),
        least_bytes=counted.least_bytes,
        s3_bytes_in=sum(weight.s3_bytes_in for weight in weights),
        s3_bytes_out=sum(weight.s3_bytes_out for weight in weights),
        cpu_seconds=_cpu(best),
        least_cpu=_least_cpu(whole) if whole and runs else None,
        memory_bytes=max((one.memory_bytes for one in chain.from_iterable(runs)), default=0),
        bill=_bill(cold, {step.function: step.cpu_seconds / step.requests for step in steps}),
        hot=dict(_heat(cold).most_common(HOTTEST)),
        hot_reads=dict(sorted(_read_heat(cold).items(), key=lambda item: -item[1])[:HOTTEST]),
        steps=steps,
        trace=tuple(chain.from_iterable(map(trace.lines, cold))),
    )


def _least_cpu(history: History) -> float:
    """Seconds of CPU for SHA-256 of every content, and for msgpack of the whole repository."""
    taken = []
    for _ in range(TIMED):
        started = time.thread_time()
        for content in history.objects.values():
            sha256(content).digest()
        objects = [{"object_id": i, "content": content} for i, content in history.objects.items()]
        msgpack.packb(
            {"commits": history.commits, "snapshots": history.snapshots, "objects": objects}
        )
        taken.append(time.thread_time() - started)
    return min(taken)


def _once(
    hub: Hub,
    operation: Operation,
    watch: Literal["calls", "time", "memory"],
    *,
    forget: bool = False,
) -> tuple[list[Served], int | None]:
    prepared = operation.prepare()
    if forget:
        hub.forget()
    hub.served.clear()
    hub.watch = watch
    try:
        least = operation.run(prepared)
    finally:
        hub.watch = "nothing"
    return list(hub.served), least


def _cpu(served: Sequence[Served]) -> float:
    return sum(one.cpu_seconds for one in served)


def _count(served: Sequence[Served]) -> Count:
    weights = _weights(served)
    return Count(
        requests=len(served),
        calls=sum(one.meter.calls for one in served),
        chain=longest_chain((one.began, one.ended, one.meter.longest_chain()) for one in served),
        milliseconds=longest_chain(
            (one.began, one.ended, one.meter.milliseconds()) for one in served
        ),
        read_units=sum(weight.read_units for weight in weights),
        write_units=sum(weight.write_units for weight in weights),
        hottest=max(
            (units for row, units in _heat(served).items() if not row.startswith(COUNTERS)),
            default=0,
        ),
        s3_puts=sum(weight.s3_puts for weight in weights),
        s3_gets=sum(weight.s3_gets for weight in weights),
        wire_bytes=sum(one.received + one.sent for one in served),
    )


def _weights(served: Sequence[Served]) -> list[Weight]:
    return list(chain.from_iterable(one.meter.weights for one in served))


def _heat(served: Sequence[Served]) -> Counter[str]:
    return sum((one.meter.write_units_by_partition() for one in served), Counter())


def _read_heat(served: Sequence[Served]) -> dict[str, float]:
    heat: dict[str, float] = {}
    for one in served:
        for partition, taken in one.meter.read_units_by_partition().items():
            heat[partition] = heat.get(partition, 0) + taken
    return heat


def _steps(counted: Sequence[Served], timed: Sequence[Served]) -> tuple[Step, ...]:
    steps = []
    for function in dict.fromkeys(one.function for one in counted):
        served = [one for one in counted if one.function == function]
        count = _count(served)
        operations: Counter[str] = sum((one.meter.by_operation() for one in served), Counter())
        steps.append(
            Step(
                function=function,
                requests=count.requests,
                calls=count.calls,
                chain=max(one.meter.longest_chain() for one in served),
                milliseconds=max(one.meter.milliseconds() for one in served),
                read_units=count.read_units,
                write_units=count.write_units,
                s3_puts=count.s3_puts,
                s3_gets=count.s3_gets,
                received=sum(one.received for one in served),
                sent=sum(one.sent for one in served),
                cpu_seconds=_cpu([one for one in timed if one.function == function]),
                operations=dict(sorted(operations.items())),
            )
        )
    return tuple(steps)


def _bill(served: Sequence[Served], cpu_seconds: dict[str, float]) -> Bill:
    """The cost of requests.

    Lambda charges waiting and computing: the modelled wait plus the measured CPU time.
    """
    memory = memory_mb()
    total = Bill()
    for one in served:
        weights = one.meter.weights
        usage = prices.Usage(
            memory_mb=memory[one.function],
            seconds=one.meter.milliseconds() / 1000 + cpu_seconds[one.function],
            read_units=sum(weight.read_units for weight in weights),
            write_units=sum(weight.write_units for weight in weights),
            s3_puts=sum(weight.s3_puts for weight in weights),
            s3_gets=sum(weight.s3_gets for weight in weights),
            bytes_in=one.received,
            bytes_out=one.sent,
        )
        total += prices.request(usage)
    return total
