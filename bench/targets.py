"""Targets: the highest cost that each operation may have."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bench.measure import COUNTERS, Measured

Look = Callable[[Measured], float | None]


@dataclass(frozen=True)
class Target:
    """One number of one operation, and its highest allowed value."""

    operation: str
    what: str
    most: float
    look: Look


@dataclass(frozen=True)
class Verdict:
    """A target and the measured value."""

    target: Target
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.measured <= self.target.most


def _calls(measured: Measured) -> float:
    return measured.count.calls


def _dollars(measured: Measured) -> float | None:
    return measured.dollars if measured.cpu_seconds else None


def _cpu(measured: Measured) -> float | None:
    return measured.cpu_seconds / measured.least_cpu if measured.least_cpu else None


def _fetch_when_popular(measured: Measured) -> float:
    """The calls without the GET refs of the clone, which is the same for every clone."""
    return measured.warm.calls - sum(
        step.calls for step in measured.steps if step.function == "refs"
    )


def _hub_units(measured: Measured) -> float:
    return sum(
        units for partition, units in measured.hot.items() if not partition.startswith(COUNTERS)
    )


SMALL_PUSH = "small push: 1 commit, 10 objects"
CLONE = "clone of 40 MB"
PULLS = tuple(f"pull of 1 commit at depth {depth:,}" for depth in (10, 1_000, 100_000))

TARGETS = (
    Target(SMALL_PUSH, "calls", 20, _calls),
    Target(SMALL_PUSH, "dollars per 1,000", 0.025, _dollars),
    Target(SMALL_PUSH, "write units of the hottest partition", 10, lambda m: m.count.hottest),
    Target("poll: GET refs", "dollars per 1,000", 0.004, _dollars),
    Target(CLONE, "calls", 40, _calls),
    Target(CLONE, "longest chain", 8, lambda m: m.count.chain),
    Target(CLONE, "CPU ÷ (SHA-256 + msgpack)", 1.5, _cpu),
    *(Target(pull, "bytes ÷ least bytes", 1.02, lambda m: m.overhead) for pull in PULLS),
    Target("push/objects, 1,000 objects of 1 KB", "S3 PUTs", 1, lambda m: m.count.s3_puts),
    Target("a lost race: POST push, 409", "write units but counters'", 0, _hub_units),
    Target("clone of 40 MB, bundled", "CPU ÷ (SHA-256 + msgpack)", 1.5, _cpu),
    Target(
        "clone of a popular repository of 5 MB",
        "calls of its fetch, once it is popular",
        6,
        _fetch_when_popular,
    ),
    Target(
        "clone of a popular repository of 5 MB",
        "calls, once it is popular",
        6,
        lambda m: m.warm.calls,
    ),
)


def verdicts(found: Mapping[str, Measured]) -> Iterator[Verdict]:
    """A verdict for each target whose operation was measured."""
    for target in TARGETS:
        measured = found.get(target.operation)
        number = target.look(measured) if measured else None
        if number is not None:
            yield Verdict(target, number)
    calls = [found[pull].count.calls for pull in PULLS if pull in found]
    if len(calls) > 1:
        slope = Target("pull of 1 commit", "calls more at the greatest depth", 0, lambda _: None)
        yield Verdict(slope, max(calls) - calls[0])
