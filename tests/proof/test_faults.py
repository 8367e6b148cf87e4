"""Every route × every AWS call it makes × everything that can go wrong with it.

What there is to go wrong is found out by recording the calls of an undisturbed telling, so a new
call is covered without anybody remembering. After each fault: the answer is right, readers see all
or nothing, fsck finds nothing, and the same request, sent again, succeeds.

    FAULTS=all python -m pytest tests/proof/test_faults.py       also those of calls that only read, all of them
"""

import logging
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from shared.engines import selection
from shared.errors import Unavailable
from shared.limits import Limits
from tests.authorization import routes
from tests.client import Answer
from tests.faults import DEADLY, UNNOTICED, Fault, fault, recorded
from tests.proof.asgi_client import Hub, shown
from tests.proof.memory import Cloud
from tests.proof.stories import (
    API,
    HISTORY,
    SONG,
    STORIES,
    WIRE,
    Story,
    View,
    assert_known_objects_can_be_used,
    findings,
    prepare,
    push,
    settled,
    view,
)

SEED = 20260101
START = 1_000_000.0
READS = {
    "dynamodb.GetItem",
    "dynamodb.BatchGetItem",
    "dynamodb.Query",
    "s3.GetObject",
    "s3.HeadObject",
}
TRIED = 3
"""The number of faults of a read call that are played each time. All faults of a write are played.
"""


@pytest.fixture(scope="module")
def hub(aws: Any) -> Iterator[Hub]:
    logging.getLogger("mangum.http").setLevel(logging.CRITICAL)
    with Hub(Cloud(SEED), SEED) as running:
        running.loop.now = START
        yield running


@pytest.fixture(scope="module")
def world(hub: Hub) -> Any:
    return prepare(hub)


def test_every_route_has_a_story() -> None:
    assert {story.route for story in STORIES} == routes().keys()


def faults(calls: list[str], name: str) -> list[tuple[int, str, Fault]]:
    """Which call is hit, by its number and name, and how."""
    chance = random.Random(f"{SEED} {name}")
    found = []
    for number, call in enumerate(calls, 1):
        fitting = [kind for kind in Fault if kind.fits(call)]
        if call in READS and os.environ.get("FAULTS") != "all":
            fitting = chance.sample(fitting, TRIED)
        found += [(number, call, kind) for kind in fitting]
    return found


@pytest.mark.parametrize("story", STORIES, ids=[story.name.replace(" ", "-") for story in STORIES])
def test_whatever_goes_wrong_it_is_done_or_not_and_can_be_done_again(
    story: Story, hub: Hub, world: Any
) -> None:
    begin(hub, world)
    before = view(hub)
    with recorded() as calls:
        answer = story.tell(hub)
    assert answer.status == story.status, answer
    expected, after = settled(shown(answer)), view(hub)
    assert findings(hub) == []
    assert (before == after) or not story.is_read

    for number, call, kind in faults(calls, story.name):
        begin(hub, world)
        try:
            disturbed(hub, story, number, kind, world, before, after, expected)
        except BaseException as error:
            error.add_note(f"{story.route}, {story.name}: call {number}, {call}: {kind.value}")
            raise


def test_a_branch_that_is_gone_can_be_brought_back_whatever_died(hub: Hub, world: Any) -> None:
    (story,) = [story for story in STORIES if story.name == "delete a branch"]
    begin(hub, world)
    with recorded() as calls:
        story.tell(hub)
    gone = 0
    for number, call, kind in faults(calls, story.name):
        begin(hub, world)
        told(hub, story, number, kind)
        if "side" not in hub.call(f"GET {WIRE}/refs", SONG, by="me").value["branch_heads"]:
            answer = hub.call(
                f"POST {API}/restore", SONG, {"branch": "side", "to": HISTORY[3]}, by="me"
            )
            assert answer.status == 200, (call, kind, answer)
            gone += 1
    assert gone > 5


@pytest.mark.parametrize("few", [Limits().conditional_rows, 1], ids=["few", "more"])
@pytest.mark.parametrize("kind", DEADLY)
def test_nothing_refers_to_unwritten_data_of_a_crashed_push(
    kind: Fault, few: int, hub: Hub, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 and 11 to a branch, interrupted; then 10 to another branch, and 11, whose row may exist
    there, to the first.

    Or 12 at once, if 11 counts as known: then 10 does, too.
    """
    monkeypatch.setattr(selection, "LIMITS", Limits(conditional_rows=few))
    both = Story("both", f"POST {WIRE}/push", message=push(HISTORY.bundle([10, 11]), "line"))
    begin(hub, world)
    with recorded() as calls:
        assert both.tell(hub).status == 200
    for number, call in enumerate(calls, 1):
        if not kind.fits(call):
            continue
        begin(hub, world)
        told(hub, both, number, kind)
        left = hub.cloud.save()
        known = hub.call(
            f"POST {WIRE}/negotiate",
            SONG,
            {"want": [], "have": [HISTORY[10], HISTORY[11]]},
            by="me",
        )
        assert known.value["ack"] != [HISTORY[11]], (number, call)
        if HISTORY[11] in known.value["ack"]:
            assert (
                hub.call(
                    f"POST {WIRE}/push", SONG, push(HISTORY.bundle([12]), "line"), by="me"
                ).status
                == 200
            )
            assert findings(hub) == [], (number, call)
        hub.cloud.load(left)
        for last, branch in ((10, "main"), (11, "line")):
            answer = hub.call(
                f"POST {WIRE}/push", SONG, push(HISTORY.bundle([last]), branch), by="me"
            )
            assert answer.status == 200, (number, call, answer)
        assert view(hub)["refs of song"]["line"] == HISTORY[11], (number, call)
        assert findings(hub) == [], (number, call)
        for message in (
            {"want": [HISTORY[11]], "have": [HISTORY[5]]},
            {"want": [HISTORY[11]], "have": [HISTORY[10]]},
        ):
            assert hub.call(f"POST {WIRE}/fetch", SONG, message, by="me").status == 200, (
                number,
                call,
            )
        assert hub.call(f"GET {API}/commits", SONG, query="ref=line").status == 200


def begin(hub: Hub, world: Any) -> None:
    """Each time at the same moment: a minute after the world was made."""
    hub.restart()
    hub.cloud.load(world)
    hub.loop.now = START + 60


def told(hub: Hub, story: Story, number: int, kind: Fault) -> Answer | None:
    """The reply to a story with one failed call; None for a process that died."""
    answer = None
    with fault(kind, number) as strike:
        try:
            answer = story.tell(hub)
        except BaseException as error:
            # After the start of a reply, the only way to fail is to close the connection: the
            # client counts the
            # bytes.
            if not strike.is_dead and not (kind is Fault.TORN and isinstance(error, Unavailable)):
                raise
    assert strike.call, "the fault did not strike: the calls are not the same each time"
    if kind in DEADLY:
        hub.restart()
    return answer


def lasting(saved: Any) -> Any:
    """The final state of a world without its counters."""
    tables, objects = saved
    return tables["hub"], objects


def disturbed(
    hub: Hub,
    story: Story,
    number: int,
    kind: Fault,
    world: Any,
    before: View,
    after: View,
    expected: Any,
) -> None:
    """The story with one call going wrong, and all that must be true then."""
    answer = told(hub, story, number, kind)
    if answer is not None:
        assert answer.status in ((story.status,) if kind in UNNOTICED else (story.status, 503)), (
            answer
        )
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) > 0
            assert answer.code == "unavailable"
        elif not story.of_chance:
            assert settled(shown(answer)) == expected

    if lasting(hub.cloud.save()) == lasting(world):
        assert before == after or answer is None or answer.status >= 300, (
            "acknowledged, and not there"
        )
        if answer is not None and answer.status == 503:
            assert story.tell(hub).status == story.status, "and not only once"
        return  # as if nothing had been asked
    assert not story.is_read
    seen = view(hub)
    is_done = assert_one_of(story, seen, before, after)
    if answer is not None and answer.status < 300:
        assert is_done, "acknowledged, and not there"
    assert findings(hub) == []
    if story.route.endswith(("/push", "/push/objects")):
        assert_known_objects_can_be_used(hub, story.where["slug"])

    again = story.tell(hub)
    assert again.status in {story.status, *(story.again if is_done else ())}, again
    assert assert_one_of(story, view(hub), before, after), "not done by the second time"
    assert findings(hub) == []


def assert_one_of(story: Story, seen: View, before: View, after: View) -> bool:
    """Whether it is done: all that can be seen is as before or as after, and never a mixture."""
    fixed = [
        topic for topic in seen.keys() | before.keys() | after.keys() if topic not in story.loose
    ]
    for wanted, is_done in ((after, True), (before, False)):
        if all(seen.get(topic) == wanted.get(topic) for topic in fixed):
            return is_done
    raise AssertionError(
        {
            t: (seen.get(t), before.get(t), after.get(t))
            for t in fixed
            if seen.get(t) not in (before.get(t),)
        }
    )
