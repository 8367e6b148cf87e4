"""What one subject can spend in a day: request after request at the limits, through a whole
simulated day.
"""

import functools
import re
from pathlib import Path

import httpx
import pytest

from bench import bill
from bench.bill import Shape
from bench.lambdas import Hub
from infra import stack
from shared import http, meter, prices, settings
from shared.budget import DAY_SECONDS, HUB_SECONDS, QUANTUM
from shared.meter import Meter
from tests.builders import Clock

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "deploy.md").read_text()
MIDNIGHT = 1_810_080_000
assert MIDNIGHT % DAY_SECONDS == 0

SHAPES = [
    Shape("push of bare commits", "push", functools.partial(bill.bare_commits, 100, 0)),
    Shape("a refused push", "push", bill.refused_push, 422),
    Shape("release", "push", bill.release),
    Shape("a token is issued", "push", bill.issue),
    Shape("tags", "upload", functools.partial(bill.tags, 200, 300)),
    Shape("push/objects", "upload", bill.small_objects),
    Shape("filter-objects", "upload", functools.partial(bill.filter_objects, 1600)),
    Shape("download", "upload", bill.download),
    Shape("negotiate", "read", bill.negotiate),
    Shape("log", "read", bill.log),
    Shape("poll", "read", bill.poll),
]


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> list[Meter]:
    """The meter of each request."""
    begin, found = meter.begin, list[Meter]()

    def watched() -> Meter:
        found.append(begin())
        return found[-1]

    monkeypatch.setattr(meter, "begin", watched)
    return found


def refused(answer: httpx.Response) -> bool:
    answer.read()
    return answer.status_code == 429 and answer.json()["code"] == "cost_limit"


@pytest.mark.parametrize(
    ("number", "shape"), list(enumerate(SHAPES)), ids=[shape.name for shape in SHAPES]
)
def test_no_subject_exceeds_the_limit_of_a_day_by_more_than_one_request(
    number, shape, configured, meters, monkeypatch
):
    clock = Clock(MIDNIGHT + 2 * number * DAY_SECONDS)
    monkeypatch.setattr(http.access, "time", clock)
    with Hub(slug=f"day{number}") as hub:
        *before, last = shape.scene(hub)
        for one in before:
            assert hub.answer(one).status_code < 300
        meters.clear()
        assert hub.answer(last).status_code in (200, 201, shape.status)
        each = meters[-1].picodollars
        limit = 3 * each
        configured.setenv("PIERIA_LIMIT_COST_SUBJECT", str(limit / prices.DOLLAR))
        settings.load.cache_clear()
        meters.clear()
        answered, largest = 0, 0
        end = clock.now + DAY_SECONDS - 1
        while clock.now < end:
            answer = hub.answer(last)
            largest = max(largest, meters[-1].charged)
            if not refused(answer):
                answered += 1
                continue
            clock.now = min(end, clock.now + int(answer.headers["retry-after"]))
        assert answered >= 2
        assert refused(hub.answer(last)), "to the last second of the day"
        charged = sum(one.charged for one in meters)
        assert limit - QUANTUM <= charged <= limit + largest + QUANTUM
        clock.now += 1
        assert not refused(hub.answer(last)), "the next day"


# ── The table in the documentation ────────────────────────────────────────────────────────────────


def stated() -> list[tuple[str, float, float, float]]:
    """The rows of the table: the request, its dollars, and dollars a day without and with the
    limits of cost.
    """
    [table] = re.findall(r"<!-- bill -->\n(.*?)<!-- /bill -->", PAGE, re.DOTALL)
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    dollars = [[float(row[column].replace(",", "")) for column in (1, 3, 4)] for row in rows]
    return [(row[0], *amounts) for row, amounts in zip(rows, dollars, strict=True)]


def amounts(pattern: str) -> list[float]:
    """Dollars in a sentence of the documentation."""
    [found] = re.findall(pattern, PAGE)
    return [float(amount) for amount in ([found] if isinstance(found, str) else found)]


def test_the_documentation_states_every_shape():
    assert sorted(name for name, *_ in stated()) == sorted(shape.name for shape in bill.shapes())


def test_the_documentation_states_the_most_that_a_subject_can_spend():
    limit, most = amounts(
        r"One subject costs at most \$([\d.]+) a day, and \$([\d.]+) with the requests under way"
    )
    assert limit == settings.Settings.model_fields["limit_cost_subject"].default
    assert all(within <= most for *_, within in stated())
    assert max(without for _, _, without, _ in stated()) > 100 * most


def test_the_documentation_states_the_most_that_the_hub_can_cost():
    limit, beyond, door, whole = amounts(
        r"The hub costs at most \$([\d.]+) a day, up to \$([\d.]+) beyond it by requests under way,"
        r" and up to"
        r" \$([\d.]+) for requests that are\nrefused: \$([\d.]+) together"
    )
    assert limit == settings.Settings.model_fields["limit_cost_hub"].default
    door_settings = stack.resources()["Stage"].properties["DefaultRouteSettings"]
    assert door_settings["ThrottlingBurstLimit"] == bill.IN_FLIGHT
    unseen = bill.IN_FLIGHT + HUB_SECONDS * door_settings["ThrottlingRateLimit"]
    # A URL is charged before it is given out.
    largest = max(each for name, each, _, _ in stated() if not name.startswith("presign"))
    assert beyond >= largest * unseen
    assert door >= bill.refusals()
    assert whole >= limit + beyond + door
