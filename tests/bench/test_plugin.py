"""The meter as a fixture: the heat of a partition, and the writes of a refused push."""

from bench.meter import Meter
from tests import builders
from tests import client as hub


def test_a_small_push_heats_no_partition(owner, meter: Meter):
    history = builders.graph("1; 2:1")
    assert hub.push(owner, "song", history.bundle([1])).status == 200
    meter.log.clear()
    assert hub.push(owner, "song", history.bundle([2])).status == 200
    heat = meter.write_units_by_partition()
    assert 0 < max(heat.values()) <= 10
    assert any("#LANE#main" in partition for partition in heat)
    assert sum(heat.values()) == sum(weight.write_units for weight in meter.weights)


def test_a_refused_push_writes_nothing_but_counters(owner, meter: Meter):
    history = builders.graph("1; 2:1; 3:1")
    assert hub.push(owner, "song", history.bundle([1, 2])).status == 200
    meter.log.clear()
    assert hub.push(owner, "song", history.bundle([3])).status == 409
    assert {partition.partition("/")[0] for partition in meter.write_units_by_partition()} == {
        "counters"
    }
    assert sum(weight.s3_puts for weight in meter.weights) == 0


def test_the_tests_with_the_most_calls_are_listed(pytester):
    """In a run of its own, without AWS: calls are answered before they reach a socket."""
    pytester.makeconftest('pytest_plugins = ["bench.plugin"]')
    pytester.makepyfile("""
        from types import SimpleNamespace
        import botocore.session

        def calls(number):
            session = botocore.session.get_session()
            keys = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
            client = session.create_client("dynamodb", **keys)
            client.meta.events.register_first("before-call", lambda **_: (SimpleNamespace(status_code=200), {}))
            for _ in range(number):
                client.list_tables()

        def test_three():
            calls(3)

        def test_twelve():
            calls(12)

        def test_none():
            pass
        """)
    listed = pytester.runpytest_inprocess(
        "--aws-calls", "2", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    listed.stdout.re_match_lines(
        [r"=+ AWS calls =+", r" +12  .*::test_twelve", r" +3  .*::test_three"]
    )
    assert "test_none" not in listed.stdout.str()
