"""The metrics in the log line of a request."""

import json
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest

from bench.meter import Meter
from functions.endpoints import ENDPOINTS, WIRE, Endpoint
from shared import metrics, settings
from tests import builders
from tests.client import ask, event, invoke, push

HISTORY = builders.graph("1; 2:1")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Switches metrics on. The value reads the new log lines."""
    monkeypatch.setenv("PIERIA_METRICS", "on")
    monkeypatch.setenv("PIERIA_LOG_LEVEL", "INFO")
    settings.load.cache_clear()

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield lines
    settings.load.cache_clear()


def published(line: dict[str, Any]) -> dict[tuple[str, ...], set[str]]:
    """The names of the metrics of a line, by their dimensions. Each has a value in the line."""
    found = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == "pieria"
        [dimensions] = directive["Dimensions"]
        names = {metric["Name"] for metric in directive["Metrics"]}
        assert all(isinstance(line[name], str) for name in dimensions)
        assert all(isinstance(line[name], (int, float)) for name in names)
        found[tuple(dimensions)] = names
    return found


def test_a_push_and_a_fetch_are_measured_in_their_log_lines(owner: str, measured: Any) -> None:
    assert push(owner, "song", HISTORY.bundle()).status == 200
    with Meter() as meter:
        ask("refs", "GET", f"/{owner}/song/refs", by=owner)
    answer = ask("fetch", "POST", f"/{owner}/song/fetch", {"want": [HISTORY[2]]}, by=owner)
    pushed, refs, fetched = measured()
    assert {"Requests", "Pushes", "BytesIn", "AwsCalls"} <= published(pushed)["CounterTable",]
    assert "Fetches" in published(fetched)["CounterTable",]
    assert (pushed["Route"], refs["Route"], fetched["Route"]) == ("push", "refs", "fetch")
    assert refs["AwsCalls"] == meter.calls and refs["AwsMilliseconds"] > 0
    assert fetched["BytesOut"] == len(answer.body) and pushed["BytesIn"] > 100
    assert pushed["_aws"]["Timestamp"] > 1_700_000_000_000
    assert "Code" not in pushed


def test_a_refusal_is_counted_by_its_code(owner: str, measured: Any) -> None:
    assert push(owner, "song", HISTORY.bundle()).status == 200
    first = builders.graph("1", salt="another")
    assert push(owner, "song", first.bundle()).status == 409
    ask("pages", "GET", f"/{owner}/none", accept="text/html")
    ask("refs", "GET", f"/{owner}/none/refs")
    invoke("health", event("GET", "/nothing/at/all"))
    _, conflict, page, absent, nothing = measured()
    assert "Conflicts" in published(conflict)["CounterTable",]
    assert published(conflict)["CounterTable", "Code"] == {"Refusals"}
    codes = [line["Code"] for line in (conflict, page, absent, nothing)]
    assert codes == ["non_fast_forward", "repo_not_found", "repo_not_found", "not_found"]
    assert [line["Route"] for line in (page, nothing)] == ["pages", "none"]


def test_the_first_request_of_a_process_is_a_cold_start(
    measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_process", metrics._Process())
    for _ in range(2):
        invoke("health", event("GET", "/health"))
    first, second = measured()
    assert first["ColdStarts"] == 1 and "ColdStarts" not in second


def test_without_the_setting_a_line_has_no_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    invoke("health", event("GET", "/health"))
    assert "_aws" not in capsys.readouterr().err


def paths(endpoints: Iterable[Endpoint]) -> set[str]:
    """The paths of the routes of these endpoints, in the syntax of the routers."""
    routes = chain.from_iterable(endpoint.routes for endpoint in endpoints)
    keys = (route.key.partition(" ")[2] for route in routes)
    return {key.replace("+}", ":path}") for key in keys if key}


def test_the_dimension_of_routes_has_few_values() -> None:
    """Each value costs money each month."""
    repo = "/{owner}/{slug}/"
    wire = {path.removeprefix(repo) for path in paths(WIRE) if path.startswith(repo)}
    assert wire == metrics.WIRE
    groups = {metrics.group_of(path) for path in (*paths(ENDPOINTS), None)}
    assert len(groups) <= 20, sorted(groups)
