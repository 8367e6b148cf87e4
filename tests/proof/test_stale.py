"""Where a read may be stale, for half the price, every read is: nothing that was acknowledged is
missed by anybody.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import Record, blob
from tests.client import fetched_ids
from tests.proof.asgi_client import Hub
from tests.proof.memory import Cloud
from tests.proof.stories import HISTORY, SONG, WIRE, commit_with, push


@pytest.fixture
def hub(aws: Any) -> Iterator[Hub]:
    with Hub(Cloud()) as running:
        running.cloud.lags = 1.0
        yield running


def pushed(hub: Hub, bundle: Record) -> None:
    answer = hub.call(f"POST {WIRE}/push", SONG, push(bundle), by="me")
    assert answer.status == 200, answer.body


def test_a_fetch_sees_a_push_of_a_moment_ago(hub: Hub) -> None:
    pushed(hub, HISTORY.bundle([1, 2, 3]))
    answer = hub.call(f"POST {WIRE}/fetch", SONG, {"want": [HISTORY[3]]}, by="me")
    assert answer.status == 200, answer.body
    commits, _, objects = fetched_ids(answer)
    assert commits == {HISTORY[1], HISTORY[2], HISTORY[3]}
    assert objects == {i for n in (1, 2, 3) for i in HISTORY.snapshots[n]["manifest"].values()}


def test_a_filter_may_miss_the_last_moment_but_nothing_is_built_on_it(hub: Hub) -> None:
    pushed(hub, HISTORY.bundle([1]))
    fresh = blob(b"sent ahead")
    assert (
        hub.call(f"POST {WIRE}/push/objects", SONG, {"objects": [fresh]}, by="me").value["stored"]
        == 1
    )
    asked = {"object_ids": [fresh["object_id"]]}
    assert hub.call(f"POST {WIRE}/filter-objects", SONG, asked, by="me").value == {
        "missing": asked["object_ids"]
    }
    again = hub.call(f"POST {WIRE}/push/objects", SONG, {"objects": [fresh]}, by="me")
    assert again.value == {"stored": 0, "skipped": 1}
    pushed(hub, commit_with(1, {"b.txt": b"sent ahead"}, "second"))
