"""A count that has risen is reported. Other counts are not."""

from dataclasses import replace

import pytest

from bench import baseline
from bench.measure import Count, Measured
from bench.prices import Bill
from bench.targets import verdicts

COUNT = Count(4, 20, 12, 100, 40.0, 20, 4, 1, 0, 20_000)


def measured(name="small push: 1 commit, 10 objects", **changes):
    count = replace(COUNT, **changes)
    return Measured(
        name, count, count, None, 0, 0, 0.05, None, 0, Bill(gateway=4e-6), {"hub/a": 4}, {}, (), ()
    )


@pytest.fixture
def accepted(tmp_path):
    path = tmp_path / "baseline.json"
    baseline.write([measured()], path)
    return path


@pytest.mark.parametrize(
    ("changes", "risen"),
    [
        pytest.param({}, [], id="the same"),
        pytest.param({"calls": 19, "write_units": 1}, [], id="less"),
        pytest.param({"calls": 21}, ["calls rose from 20 to 21"], id="a call more"),
        pytest.param(
            {"chain": 13, "s3_puts": 2},
            ["chain rose from 12 to 13", "s3 puts rose from 1 to 2"],
            id="two",
        ),
        pytest.param({"read_units": 40.5}, ["read units rose from 40.0 to 40.5"], id="half a unit"),
        pytest.param({"wire_bytes": 20_100}, [], id="what another zlib makes of it"),
        pytest.param(
            {"wire_bytes": 20_300}, ["wire bytes rose from 20,000 to 20,300"], id="more than that"
        ),
    ],
)
def test_a_rise_is_named(accepted, changes, risen):
    said = [
        line
        for line in baseline.rises([measured(**changes)], accepted)
        if "second time" not in line
    ]
    assert [line.removeprefix("small push: 1 commit, 10 objects: ") for line in said] == risen


def test_a_rise_the_second_time_counts_too(accepted):
    once = measured()
    again = replace(once, warm=replace(COUNT, calls=25))
    assert baseline.rises([again], accepted) == [
        f"{once.name}: calls the second time rose from 20 to 25"
    ]


def test_an_operation_without_a_baseline_is_reported(accepted):
    (line,) = baseline.rises([measured("something new")], accepted)
    assert line.startswith("something new: not in baseline.json")


def test_targets_are_compared_with_the_measured_values():
    good = {
        verdict.target.what: verdict.holds
        for verdict in verdicts({one.name: one for one in [measured()]})
    }
    assert good == {
        "calls": True,
        "dollars per 1,000": True,
        "write units of the hottest partition": True,
    }
    bad = measured(calls=21, hottest=11)
    judged = {verdict.target.what: verdict.holds for verdict in verdicts({bad.name: bad})}
    assert judged == {
        "calls": False,
        "dollars per 1,000": True,
        "write units of the hottest partition": False,
    }
