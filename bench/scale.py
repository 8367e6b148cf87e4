"""The cost of many users, and the limits that they reach first: arithmetic on the measured
operations.

The limits of AWS are the defaults of an account in us-east-1. AWS raises some of them on request.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.measure import Measured
from bench.targets import SMALL_PUSH
from infra import stack

PUSHES = 10_000_000
"""Pushes in a day: a million users with ten pushes each."""
PEAK = 5
"""The load of the busiest hour, in multiples of the day's mean."""
DAY_SECONDS = 86_400
DAYS = 30
PULL = "small pull: 1 commit, 10 objects"
POLL = "poll: GET refs"
CROWDED_POLL = "poll: GET refs, 1,000 branches"
MIX = ((SMALL_PUSH, 1), (PULL, 1), (POLL, 10))
"""The operations per push: the push itself, one pull, and ten polls."""

ACCOUNT_REQUESTS = 10_000
CONCURRENCY = 1_000
NEW_TABLE_WRITES = 4_000
NEW_TABLE_READS = 12_000
TABLE_UNITS = 40_000
PARTITION_WRITES = 1_000
PARTITION_READS = 3_000
PREFIX_PUTS = 3_500
PREFIX_GETS = 5_500


@dataclass(frozen=True)
class Limit:
    """A limit: `most` per second, of which one push takes `taken`."""

    what: str
    most: float
    taken: float
    lifted_by: str

    @property
    def pushes(self) -> float:
        """Pushes per second that reach the limit."""
        return self.most / self.taken


def markdown(found: Mapping[str, Measured]) -> str:
    """The tables of docs/scale.md. Raises KeyError if an operation was not measured."""
    mean = PUSHES / DAY_SECONDS
    return "\n".join(
        [
            *_costs(found),
            "",
            (
                f"That is {mean:,.0f} pushes a second, and {PEAK * mean:,.0f} in the busiest hour."
                " The limits, the lowest first:"
            ),
            "",
            *_limits(service(found), mean),
            "",
            "The limits of one repository, one branch or one user:",
            "",
            *_limits(repository(found), None),
        ]
    )


def service(found: Mapping[str, Measured]) -> list[Limit]:
    """The limits that all users share, the lowest first."""
    push = found[SMALL_PUSH]
    pull = found[PULL]
    poll = found[POLL]
    together = [(found[name], times) for name, times in MIX]
    requests = sum(times * one.count.requests for one, times in together)
    busy = sum(
        times * one.count.milliseconds / 1000 + times * one.cpu_seconds for one, times in together
    )
    reads = sum(times * one.count.read_units for one, times in together)
    writes = sum(times * one.count.write_units for one, times in together)
    stage = stack.resources()["Stage"].properties["DefaultRouteSettings"]["ThrottlingRateLimit"]
    limits = [
        Limit(
            "requests at the API of the hub",
            stage,
            requests,
            "`ThrottlingRateLimit` in the template",
        ),
        Limit(
            "requests of the account at API Gateway",
            ACCOUNT_REQUESTS,
            requests,
            "AWS, on request; a second account",
        ),
        Limit(
            "functions at once",
            CONCURRENCY,
            busy,
            "AWS, on request; fewer calls that wait for each other",
        ),
        Limit(
            "write units of a new table",
            NEW_TABLE_WRITES,
            writes,
            "`WarmThroughput`; or slow growth",
        ),
        Limit(
            "read units of a new table",
            NEW_TABLE_READS,
            reads,
            "`WarmThroughput`; fewer rows read to filter objects",
        ),
        Limit("write units of a table", TABLE_UNITS, writes, "AWS, on request"),
        Limit("read units of a table", TABLE_UNITS, reads, "AWS, on request"),
        Limit(
            "S3 PUTs under one prefix",
            PREFIX_PUTS,
            push.count.s3_puts,
            "S3 splits `repos/` automatically",
        ),
        Limit(
            "S3 GETs under one prefix",
            PREFIX_GETS,
            pull.count.s3_gets + push.count.s3_gets,
            "S3 splits it automatically",
        ),
    ]
    assert poll.count.s3_gets == 0
    return sorted(limits, key=lambda limit: limit.pushes)


def repository(found: Mapping[str, Measured]) -> list[Limit]:
    """The limits of one partition, the lowest first."""
    push = found[SMALL_PUSH]
    crowded = found[CROWDED_POLL]
    owner = next(units for partition, units in push.hot_reads.items() if "/OWNER#" in partition)
    (decided,) = (step for step in push.steps if step.function == "push")
    window = decided.milliseconds / 1000 + decided.cpu_seconds
    refs = max(crowded.hot_reads.values())
    limits = [
        Limit(
            "pushes to one branch, each on top of the last",
            1,
            window,
            "fewer calls between the read and the swap",
        ),
        Limit(
            "polls of a repository of 1,000 branches", PARTITION_READS, refs, "all heads in one row"
        ),
        Limit(
            "pushes to one lane",
            PARTITION_WRITES,
            push.count.hottest,
            "smaller rows: the record in the pack only",
        ),
        Limit(
            "pushes to one owner's repositories",
            PARTITION_READS,
            owner,
            "a short cache of the owner's rows in the function",
        ),
    ]
    return sorted(limits, key=lambda limit: limit.pushes)


def _costs(found: Mapping[str, Measured]) -> Iterator[str]:
    yield "| operation | a day | dollars per 1,000 | dollars a day | a month |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    total = out = 0.0
    for name, times in MIX:
        number = PUSHES * times
        each = found[name].dollars
        total += number * each / 1000
        out += number * found[name].bill.data_out
        yield (
            f"| {name} | {number:,} | {each:.4f} | {number * each / 1000:,.0f} |"
            f" {DAYS * number * each / 1000:,.0f} |"
        )
    yield f"| data out | | | {out:,.0f} | {DAYS * out:,.0f} |"
    yield f"| together | | | {total + out:,.0f} | {DAYS * (total + out):,.0f} |"


def _limits(limits: list[Limit], mean: float | None) -> Iterator[str]:
    times = " times the mean |" if mean else ""
    yield (
        f"| limit | a second | used by one push | pushes a second at the limit |{times} raised by |"
    )
    yield f"| --- | ---: | ---: | ---: |{' ---: |' if mean else ''} --- |"
    for limit in limits:
        room = f" {limit.pushes / mean:,.1f} |" if mean else ""
        yield (
            f"| {limit.what} | {limit.most:,g} | {limit.taken:.3g} | {limit.pushes:,.0f} |{room}"
            f" {limit.lifted_by} |"
        )
