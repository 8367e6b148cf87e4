"""Calculations from measured values, checked by hand."""

import pytest

from bench import scale
from bench.measure import Count, Measured, Step
from bench.prices import Bill
from bench.targets import SMALL_PUSH

STEP = Step("push", 1, 12, 8, 70, 17.0, 9, 1, 1, 100, 200, 0.03, {})


def measured(name, requests, milliseconds, reads, writes, puts=0, gets=0, hot_reads=None):
    count = Count(requests, 9, 5, milliseconds, reads, writes, 4, puts, gets, 1000)
    bill, heat = Bill(gateway=requests * 1e-6, data_out=1e-7), hot_reads or {}
    return Measured(
        name, count, count, None, 0, 0, 0.05, None, 0, bill, {"hub/a": 4}, heat, (STEP,), ()
    )


FOUND = {
    one.name: one
    for one in (
        measured(
            SMALL_PUSH, 4, 125, 80.0, 20, 2, 1, {"hub/REPO#1#Oa": 40.0, "hub/OWNER#ada": 12.0}
        ),
        measured(scale.PULL, 3, 85, 30.0, 3, 0, 3),
        measured(scale.POLL, 1, 10, 4.0, 1),
        measured(scale.CROWDED_POLL, 1, 10, 66.0, 1, 0, 0, {"hub/REPO#1": 63.0}),
    )
}


def test_shared_limits_are_listed_in_the_order_in_which_they_are_reached():
    limits = {limit.what: limit.pushes for limit in scale.service(FOUND)}
    assert list(limits.values()) == sorted(limits.values())
    assert limits["requests of the account at API Gateway"] == pytest.approx(10_000 / (4 + 3 + 10))
    assert limits["read units of a new table"] == pytest.approx(12_000 / (80 + 30 + 10 * 4))
    assert limits["write units of a table"] == pytest.approx(40_000 / (20 + 3 + 10))
    assert limits["functions at once"] == pytest.approx(1_000 / (0.175 + 0.135 + 10 * 0.06))
    assert limits["S3 PUTs under one prefix"] == pytest.approx(1_750)


def test_the_limits_of_one_repository():
    limits = {limit.what: limit.pushes for limit in scale.repository(FOUND)}
    assert limits["pushes to one branch, each on top of the last"] == pytest.approx(10)
    assert limits["polls of a repository of 1,000 branches"] == pytest.approx(3_000 / 63)
    assert limits["pushes to one lane"] == pytest.approx(250)
    assert limits["pushes to one owner's repositories"] == pytest.approx(250)


def test_the_page_has_the_sum():
    """10 million pushes at $0.004 per 1,000, as many pulls at 0.003, ten times as many polls at
    0.001.
    """
    page = scale.markdown(FOUND)
    assert "| together | | | 182 | 5,460 |" in page  # 40 + 30 + 100, and 12 of data out
