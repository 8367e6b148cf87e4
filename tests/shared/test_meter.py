"""The cost of the running request is counted at its calls. It equals that of the meter of `bench`,
which reads the rows around each write.
"""

import asyncio
import time

import pytest

from bench import prices as bench_prices
from bench.meter import Meter as Exact
from shared import ids, meter, prices
from shared.engines.s3 import S3Bucket
from shared.meter import Meter
from shared.tasks import gather_all
from tests import builders
from tests import client as hub
from tests.client import bearer
from tests.template.recorder import Recorder
from tests.template.stories import (
    STORIES,
    upkeep_comes_by,
    users_of_a_provider,
    what_asks_nothing,
)

UNITS = {
    "read_units": prices.READ_UNIT,
    "write_units": prices.WRITE_UNIT,
    "s3_puts": prices.S3_PUT,
    "s3_gets": prices.S3_GET,
}


def exact(weighed: Exact) -> int:
    """Picodollars of the calls that the meter of `bench` has weighed."""
    totals = {unit: sum(getattr(weight, unit) for weight in weighed.weights) for unit in UNITS}
    return round(sum(float(total) * UNITS[unit] for unit, total in totals.items()))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Meter]:
    """The meter of each request."""
    begin, meters = meter.begin, list[Meter]()

    def watched() -> Meter:
        meters.append(begin())
        return meters[-1]

    monkeypatch.setattr(meter, "begin", watched)
    return meters


OTHERS = (upkeep_comes_by, users_of_a_provider, what_asks_nothing)
REQUESTS = [story for story in STORIES if story not in OTHERS]
"""The stories in which every AWS call belongs to a request. The upkeep has no meter, and the
sign-in with a provider reads a parameter that only the test of permissions has.
"""


@pytest.mark.parametrize("story", REQUESTS, ids=lambda story: story.__name__)
def test_each_route_is_metered_as_the_exact_meter_weighs_it(story, owner, begun, monkeypatch):
    monkeypatch.setattr(S3Bucket, "is_aws", property(lambda bucket: True))
    containers = Recorder()
    with Exact(weigh=True) as weighed, containers.watching():
        story(owner, containers.fresh)
    counted, expected = sum(one.calls for one in begun), exact(weighed)
    # A call that is cancelled because another one has failed is not counted: here at most one.
    assert 0.97 * expected - prices.WRITE_UNIT <= counted <= 1.001 * expected, (counted, expected)


def test_a_redirect_to_a_large_object_counts_the_bytes_that_its_url_serves(
    owner, begun, monkeypatch
):
    monkeypatch.setattr(S3Bucket, "is_aws", property(lambda bucket: True))
    content = b"w" * 5_000_000
    assert (
        hub.call(
            "push_objects", owner, "song", {"objects": [builders.blob(content)]}, by=owner
        ).status
        == 200
    )
    path = f"/{owner}/song/objects/{ids.object_id(content)}"
    answer = hub.invoke("objects", hub.event("GET", path, headers=bearer(hub.token(owner))))
    assert answer.status == 307
    assert begun[-1].urls == prices.S3_GET + len(content) * prices.DATA_OUT_BYTE
    assert begun[-2].urls == 0


def test_the_reply_of_a_clone_counts_its_bytes_and_its_time(owner, begun, configured):
    configured.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
    history = builders.graph("1; 2:1")
    history.objects |= {ids.object_id(content): content for content in [b"x" * 700_000]}
    bundle = history.bundle()
    bundle["objects"] = [
        {"object_id": i, "content": content} for i, content in history.objects.items()
    ]
    manifest = {"x": ids.object_id(b"x" * 700_000)}
    record = builders.snapshot(manifest)
    bundle["snapshots"].append(record)
    bundle["commits"].append(builders.commit("x", [history[2]], record["snapshot_id"]))
    assert hub.push(owner, "song", bundle).status == 200
    started = time.perf_counter()
    answer = hub.fetch(owner, "song", [bundle["commits"][-1]["commit_id"]], by=owner)
    seconds = time.perf_counter() - started
    assert len(answer.body) > 700_000
    least = prices.request(1769, 0, 0, len(answer.body))
    assert least < begun[-1].itself <= least + 1769 / 1024 * prices.LAMBDA_GB_SECOND * seconds + 1
    assert begun[-1].itself > 700_000 * prices.DATA_OUT_BYTE + 2 * prices.HTTP_API_REQUEST


@pytest.mark.asyncio
async def test_tasks_add_to_the_meter_of_the_request_that_started_them():
    async def request(picodollars: int) -> Meter:
        started = meter.begin()
        await gather_all(_adding(picodollars) for _ in range(3))
        return started

    async def _adding(picodollars: int) -> None:
        await asyncio.sleep(0)
        await meter.reserve_url(picodollars)

    assert [one.urls for one in await asyncio.gather(request(1), request(100))] == [3, 300]


def test_the_price_of_a_request_is_the_same_in_both_meters():
    """`bench` has the same prices in dollars, by service."""
    usage = bench_prices.Usage(
        memory_mb=1769,
        seconds=0.25,
        read_units=0,
        write_units=0,
        s3_puts=0,
        s3_gets=0,
        bytes_in=10**6,
        bytes_out=10**6,
    )
    bill = bench_prices.request(usage)
    whole = bill.without_data_out + bill.data_out
    assert prices.request(1769, 0.25, 10**6, 10**6) == pytest.approx(whole * prices.DOLLAR, abs=1)


def test_the_cost_of_storage_is_for_its_days():
    assert prices.storage(10**9, 30) == prices.S3_GB_MONTH
    assert prices.storage(1, 1) == 1
