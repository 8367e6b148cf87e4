"""What many users would cost, and what would give way first: arithmetic on what the meter found.

AWS's numbers are its defaults for an account in us-east-1; those marked so can be raised by asking.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.measure import Measured
from bench.targets import SMALL_PUSH
from infra import stack

PUSHES = 10_000_000
"""A day: a million users, ten pushes each."""
PEAK = 5
"""How much more than the mean of the day its busiest hour is taken to bring."""
DAY_SECONDS, DAYS = 86_400, 30
PULL, POLL, CROWDED_POLL = "small pull: 1 commit, 10 objects", "poll: GET refs", "poll: GET refs, 1,000 branches"
MIX = ((SMALL_PUSH, 1), (PULL, 1), (POLL, 10))
"""What goes with a push: a pull of it, and ten looks whether there is anything to pull."""

ACCOUNT_REQUESTS = 10_000
CONCURRENCY = 1_000
NEW_TABLE_WRITES, NEW_TABLE_READS = 4_000, 12_000
TABLE_UNITS = 40_000
PARTITION_WRITES, PARTITION_READS = 1_000, 3_000
PREFIX_PUTS, PREFIX_GETS = 3_500, 5_500


@dataclass(frozen=True)
class Limit:
    """Something that gives way: so much of it a second, and what one push takes."""

    what: str
    most: float
    taken: float
    lifted_by: str

    @property
    def pushes(self) -> float:
        """A second, that fill it."""
        return self.most / self.taken


def markdown(found: Mapping[str, Measured]) -> str:
    """The tables of docs/scale.md. Raises KeyError unless all of it was measured."""
    mean = PUSHES / DAY_SECONDS
    return "\n".join(
        [
            *_costs(found),
            "",
            f"That is {mean:,.0f} pushes a second, and {PEAK * mean:,.0f} in the busiest hour. What gives way:",
            "",
            *_limits(service(found), mean),
            "",
            "And what one repository, one branch or one user can do:",
            "",
            *_limits(repository(found), None),
        ]
    )


def service(found: Mapping[str, Measured]) -> list[Limit]:
    """What all users share, the tightest first."""
    push, pull, poll = found[SMALL_PUSH], found[PULL], found[POLL]
    together = [(found[name], times) for name, times in MIX]
    requests = sum(times * one.count.requests for one, times in together)
    busy = sum(times * one.count.milliseconds / 1000 + times * one.cpu_seconds for one, times in together)
    reads = sum(times * one.count.read_units for one, times in together)
    writes = sum(times * one.count.write_units for one, times in together)
    stage = stack.resources()["Stage"].properties["DefaultRouteSettings"]["ThrottlingRateLimit"]
    limits = [
        Limit("requests at our own door", stage, requests, "`ThrottlingRateLimit` in the template"),
        Limit("requests of the account at API Gateway", ACCOUNT_REQUESTS, requests, "asking AWS; a second account"),
        Limit("functions at once", CONCURRENCY, busy, "asking AWS; fewer calls that wait for each other"),
        Limit("write units of a new table", NEW_TABLE_WRITES, writes, "`WarmThroughput`; or growing slowly"),
        Limit(
            "read units of a new table", NEW_TABLE_READS, reads, "`WarmThroughput`; fewer rows read to filter objects"
        ),
        Limit("write units of a table", TABLE_UNITS, writes, "asking AWS"),
        Limit("read units of a table", TABLE_UNITS, reads, "asking AWS"),
        Limit("S3 PUTs under one prefix", PREFIX_PUTS, push.count.s3_puts, "S3 splits `repos/` by itself"),
        Limit(
            "S3 GETs under one prefix", PREFIX_GETS, pull.count.s3_gets + push.count.s3_gets, "S3 splits it by itself"
        ),
    ]
    assert poll.count.s3_gets == 0
    return sorted(limits, key=lambda limit: limit.pushes)


def repository(found: Mapping[str, Measured]) -> list[Limit]:
    """What one partition bears, the tightest first."""
    push, crowded = found[SMALL_PUSH], found[CROWDED_POLL]
    owner = next(units for partition, units in push.hot_reads.items() if "/OWNER#" in partition)
    (decided,) = (step for step in push.steps if step.function == "push")
    window = decided.milliseconds / 1000 + decided.cpu_seconds
    refs = max(crowded.hot_reads.values())
    limits = [
        Limit(
            "pushes to one branch, each on top of the last",
            1,
            window,
            "fewer calls from look to swap",
        ),
        Limit("polls of a repository of 1,000 branches", PARTITION_READS, refs, "all heads in one row"),
        Limit("pushes to one lane", PARTITION_WRITES, push.count.hottest, "smaller rows: the record in the pack only"),
        Limit(
            "pushes to one owner's repositories",
            PARTITION_READS,
            owner,
            "his rows kept in the container for a moment",
        ),
    ]
    return sorted(limits, key=lambda limit: limit.pushes)


def _costs(found: Mapping[str, Measured]) -> Iterator[str]:
    yield "| what | a day | dollars per 1,000 | dollars a day | a month |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    total = out = 0.0
    for name, times in MIX:
        number, each = PUSHES * times, found[name].dollars
        total += number * each / 1000
        out += number * found[name].bill.data_out
        yield f"| {name} | {number:,} | {each:.4f} | {number * each / 1000:,.0f} | {DAYS * number * each / 1000:,.0f} |"
    yield f"| data out | | | {out:,.0f} | {DAYS * out:,.0f} |"
    yield f"| together | | | {total + out:,.0f} | {DAYS * (total + out):,.0f} |"


def _limits(limits: list[Limit], mean: float | None) -> Iterator[str]:
    times = " times the mean |" if mean else ""
    yield f"| limit | a second | of it for each | a second that fill it |{times} lifted by |"
    yield f"| --- | ---: | ---: | ---: |{' ---: |' if mean else ''} --- |"
    for limit in limits:
        room = f" {limit.pushes / mean:,.1f} |" if mean else ""
        yield (
            f"| {limit.what} | {limit.most:,g} | {limit.taken:.3g} | {limit.pushes:,.0f} |{room} {limit.lifted_by} |"
        )
