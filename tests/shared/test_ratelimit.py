"""Requests are counted in minutes, by class and subject. A failed counter refuses no request."""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from shared import ratelimit, settings
from shared.engines.dynamodb import DynamoTable
from shared.errors import RateLimited
from shared.metadata import keys
from shared.metadata.expiring import Counters
from shared.ratelimit import WINDOW_SECONDS, Hit, Limit
from shared.stores import Stores
from tests.shared.clients import Failing, client_error

pytestmark = pytest.mark.asyncio(loop_scope="session")

MINUTE = 1_800_000_000 - 1_800_000_000 % WINDOW_SECONDS
THREE = Limit("push", 3)

_subjects = itertools.count()


@pytest.fixture
def counters(opened: Stores) -> Counters:
    return opened.counters


@pytest.fixture
def subject() -> str:
    """A subject without any request."""
    return f"user:limited{next(_subjects)}"


async def hits(
    counters: Counters, subject: str, count: int, now: float, allowance: Limit = THREE
) -> None:
    for _ in range(count):
        await ratelimit.hit(counters, allowance, subject, now)


async def test_as_many_as_allowed_and_not_one_more(counters, subject):
    await hits(counters, subject, 3, MINUTE)
    for _ in range(2):
        with pytest.raises(RateLimited, match="more than 3 push requests"):
            await hits(counters, subject, 1, MINUTE)


@pytest.mark.parametrize(
    ("passed", "left"), [(0, 60), (0.9, 60), (1, 59), (30, 30), (59, 1), (59.999, 1)]
)
async def test_a_refusal_states_when_the_minute_ends(counters, subject, passed, left):
    await hits(counters, subject, 3, MINUTE)
    with pytest.raises(RateLimited) as refused:
        await hits(counters, subject, 1, MINUTE + passed)
    assert refused.value.headers == {"Retry-After": str(left)}


async def test_the_next_minute_is_a_new_one(counters, subject):
    await hits(counters, subject, 3, MINUTE + 59)
    await hits(counters, subject, 3, MINUTE + 60)
    with pytest.raises(RateLimited):
        await hits(counters, subject, 1, MINUTE + 119)


async def test_subjects_and_classes_are_counted_apart(counters, subject):
    await hits(counters, subject, 3, MINUTE)
    await hits(counters, subject + "x", 3, MINUTE)
    await hits(counters, subject, 3, MINUTE, Limit("upload", 3))


async def test_requests_at_once_are_each_counted(counters, subject):
    attempts = [ratelimit.hit(counters, Limit("read", 5), subject, MINUTE) for _ in range(12)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    left = [outcome.left["RateLimit-Remaining"] for outcome in outcomes if isinstance(outcome, Hit)]
    assert sorted(left) == ["0", "1", "2", "3", "4"]
    assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 7


async def test_a_count_expires_when_its_window_is_over(counters, subject):
    await hits(counters, subject, 1, MINUTE + 59)
    row = await counters.table.get(keys.counter("push", subject, MINUTE // WINDOW_SECONDS))
    assert row is not None
    assert MINUTE + 60 <= int(str(row["expires_at"])) <= MINUTE + 180


async def test_a_counter_that_does_not_answer_lets_the_request_through_and_states_no_allowance(
    subject,
):
    client: Any = Failing(client_error("ProvisionedThroughputExceededException"))
    for _ in range(5):
        assert (
            await ratelimit.hit(Counters(DynamoTable(client, "t")), THREE, subject, MINUTE) == Hit()
        )


async def test_a_counted_request_states_the_allowance_until_the_minute_ends(counters, subject):
    for left in ("2", "1", "0"):
        counted = await ratelimit.hit(counters, THREE, subject, MINUTE + 20)
        assert counted.left == {
            "RateLimit-Limit": "3",
            "RateLimit-Remaining": left,
            "RateLimit-Reset": "40",
        }


@pytest.mark.parametrize("limit_class", ["push", "fetch", "read", "upload"])
async def test_each_class_has_its_own_allowance(limit_class):
    changed = settings.load().model_copy(update={f"limit_{limit_class}": 7})
    assert ratelimit.limit(changed, limit_class) == Limit(limit_class, 7)
    for other in {"push", "fetch", "read", "upload"} - {limit_class}:
        assert ratelimit.limit(changed, other) == ratelimit.limit(settings.load(), other)  # type: ignore[arg-type]


async def test_an_allowance_of_one_is_one(counters, subject):
    once = replace(THREE, requests=1)
    await hits(counters, subject, 1, MINUTE, once)
    with pytest.raises(RateLimited):
        await hits(counters, subject, 1, MINUTE, once)
