"""A pytest plugin with the meter.

def test_…(meter): …          `meter` counts and weighs every AWS call of the test
pytest --aws-calls 10 …       lists the ten tests with the most calls
"""

from collections.abc import Iterator

import pytest

from bench.meter import Meter


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--aws-calls`."""
    parser.addoption(
        "--aws-calls",
        type=int,
        default=0,
        metavar="N",
        help="list the N tests with the most AWS calls",
    )


@pytest.fixture
def meter() -> Iterator[Meter]:
    """A meter that is open while the test runs."""
    with Meter(weigh=True) as meter:
        yield meter


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Count the calls of a test, without those of its fixtures."""
    if not item.config.getoption("aws_calls"):
        return (yield)
    with Meter() as meter:
        try:
            return (yield)
        finally:
            item.user_properties.append(("aws_calls", meter.calls))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the list."""
    wanted: int = config.getoption("aws_calls")
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    counted = [
        (dict(one.user_properties).get("aws_calls", 0), one.nodeid)
        for one in reports
        if one.when == "call"
    ]
    if wanted and counted:
        terminalreporter.section("AWS calls")
        for calls, name in sorted(counted, reverse=True)[:wanted]:
            terminalreporter.line(f"{calls:>8,}  {name}")
