"""The moves of a branch: in pages, whatever the clocks say, and at a price that does not grow with
their number.
"""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared import cursors
from shared.actions.moves import Cause, planned
from shared.engines.selection import stores
from shared.model import CommitAddress, Move, Ref
from shared.stores import RepoStores
from shared.tasks import gather_all
from tests.builders import History, graph
from tests.client import Answer
from tests.proof.asgi_client import Hub
from tests.proof.memory import Cloud
from tests.proof.stories import API, WIRE, push

SONG = {"owner": "me", "slug": "song"}
MANY = 10_000
HISTORY = graph("1; 2:1; 3:1; 4:1; 5:1")
Heads = list[tuple[str | None, str | None]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(Cloud()) as running:
        yield running


def pushed(hub: Hub, history: History, numbers: list[int], branch: str = "main") -> None:
    message = push(history.bundle(numbers), branch, force=True)
    assert hub.call(f"POST {WIRE}/push", SONG, message, by="me").status == 200


def page(hub: Hub, cursor: str = "", *, branch: str = "main", limit: int = 100) -> Answer:
    query = f"branch={branch}&limit={limit}" + (f"&cursor={cursor}" if cursor else "")
    answer = hub.call(
        f"GET {API}/moves", SONG, by="me", query=query, headers={"accept": "application/json"}
    )
    assert answer.status == 200, answer.body
    return answer


def heads(hub: Hub, *, branch: str = "main", limit: int = 100) -> Heads:
    """Where each move of a branch began and ended, the last one first, from all pages."""
    found: Heads = []
    cursor: str | None = ""
    while cursor is not None:
        value = page(hub, cursor, branch=branch, limit=limit).value
        assert len(value["moves"]) <= limit
        found += [(move["before"], move["after"]) for move in value["moves"]]
        cursor = value["next_cursor"]
    return found


def restore(hub: Hub, branch: str = "main", **more: Any) -> Answer:
    return hub.call(f"POST {API}/restore", SONG, {"branch": branch, **more}, by="me")


async def announced(repository: RepoStores, moves: list[Move]) -> None:
    for start in range(0, len(moves), 500):
        await gather_all(repository.refs.log_move(move) for move in moves[start : start + 500])


async def moved_often(now: float, count: int, lost: int) -> None:
    """The branch `main` moved this many times. For each move, `lost` more were logged and not made."""
    opened = await stores()
    repo = await opened.repos.get("me", "song")
    assert repo
    first = current = (await opened.of(repo).refs.all())["main"]
    addresses = [CommitAddress(HISTORY[n], 2, "main") for n in (2, 3)]
    moves: list[Move] = []
    for number in range(count):
        after = addresses[number % 2]
        tries = [
            planned("main", current, ("", 0), after, Cause("me", now, forced=True))
            for _ in range(lost + 1)
        ]
        moves += tries
        current = Ref("main", after, None, tries[lost // 2].step, tries[lost // 2].at)
    await announced(opened.of(repo), moves)
    await opened.of(repo).refs.swap(current, first, by="me", now=int(now))


def test_ten_thousand_moves_come_in_pages_of_few_calls_and_little_work(hub: Hub) -> None:
    pushed(hub, HISTORY, [1, 3], "side")
    pushed(hub, HISTORY, [1, 2])
    hub.run(moved_often(hub.now(), MANY, lost=0))
    before, started = hub.cloud.calls, time.process_time()
    first = page(hub)
    assert hub.cloud.calls - before <= 4
    assert time.process_time() - started < 1
    assert len(first.body) < 100_000
    found = heads(hub)
    assert len(found) == MANY + 1
    assert all(later[0] == earlier[1] for later, earlier in itertools.pairwise(found))
    before, started = hub.cloud.calls, time.process_time()
    answer = restore(hub)
    assert (answer.status, answer.value["commit_id"]) == (200, HISTORY[2])
    assert hub.cloud.calls - before <= 8
    assert time.process_time() - started < 1


def test_moves_that_were_logged_but_not_made_are_in_no_page(hub: Hub) -> None:
    pushed(hub, HISTORY, [1, 3], "side")
    pushed(hub, HISTORY, [1, 2])
    hub.run(moved_often(hub.now(), 40, lost=150))
    made = heads(hub)
    assert len(made) == 41
    assert heads(hub, limit=7) == made
    answer = restore(hub, to=HISTORY[1])
    assert answer.status == 422
    assert "within 30 days" in answer.value["message"]


@pytest.mark.parametrize("back_seconds", [3600, 20 * 24 * 3600])
def test_a_clock_that_is_set_back_hides_no_move(hub: Hub, back_seconds: int) -> None:
    """Before, between and after: forced pushes, a deletion, a creation and a restore by a clock
    that runs behind.
    """
    hub.loop.now += 40 * 24 * 3600
    pushed(hub, HISTORY, [1, 2], "side")
    pushed(hub, HISTORY, [1, 3], "side")
    pushed(hub, HISTORY, [1])
    hub.loop.now -= back_seconds
    pushed(hub, HISTORY, [1, 4], "side")
    assert hub.call(f"DELETE {API}/branches", SONG, by="me", query="branch=side").status == 204
    one_life = [
        (HISTORY[4], None),
        (HISTORY[3], HISTORY[4]),
        (HISTORY[2], HISTORY[3]),
        (None, HISTORY[2]),
    ]
    assert heads(hub, branch="side") == one_life
    pushed(hub, HISTORY, [1, 5], "side")
    another: Heads = [(None, HISTORY[5]), *one_life]
    for limit in (1, 2, 100):
        assert heads(hub, branch="side", limit=limit) == another
    assert restore(hub, "side", to=HISTORY[2]).value["commit_id"] == HISTORY[2]
    assert heads(hub, branch="side") == [(HISTORY[5], HISTORY[2]), *another]
    assert restore(hub, "side").value["commit_id"] == HISTORY[5]
    times = [move["at"] for move in page(hub, branch="side").value["moves"]]
    assert times == sorted(times, reverse=True)


def test_a_deletion_that_was_announced_late_does_not_stand_for_the_one_that_was_made(
    hub: Hub,
) -> None:
    """It was planned while the branch was at 2, and written down when the branch had gone from
    3.
    """
    pushed(hub, HISTORY, [1])
    pushed(hub, HISTORY, [1, 2], "side")

    async def side() -> tuple[RepoStores, Ref]:
        opened = await stores()
        repo = await opened.repos.get("me", "song")
        assert repo
        found = await opened.of(repo).refs.get("side")
        assert found
        return opened.of(repo), found

    repository, seen = hub.run(side())
    pushed(hub, HISTORY, [1, 3], "side")
    last = hub.run(repository.refs.last_step("side"))
    late = planned("side", seen, last, None, Cause("me", hub.now(), forced=True))
    assert hub.call(f"DELETE {API}/branches", SONG, by="me", query="branch=side").status == 204
    for unique in ("00000000", "ffffffff"):
        hub.run(repository.refs.log_move(replace(late, step=late.step[:-8] + unique)))
    assert heads(hub, branch="side")[0] == (HISTORY[3], None)
    assert restore(hub, "side").value["commit_id"] == HISTORY[3]


def test_moves_that_gc_has_removed_end_the_list(hub: Hub) -> None:
    pushed(hub, HISTORY, [1, 2])
    pushed(hub, HISTORY, [1, 3])

    async def removed() -> None:
        opened = await stores()
        repo = await opened.repos.get("me", "song")
        assert repo
        await opened.of(repo).scans.remove_moves(int(hub.now() * 1000) + 1)

    hub.run(removed())
    assert heads(hub) == []
    assert restore(hub).status == 422
    pushed(hub, HISTORY, [1, 4])
    assert heads(hub) == [(HISTORY[3], HISTORY[4])]
    assert restore(hub).value["commit_id"] == HISTORY[3]


@pytest.mark.parametrize(
    "cursor",
    [
        "!",
        cursors.encode("none"),
        cursors.encode("000000000001#000000000000#0000000G"),
        cursors.encode(7),
    ],
)
def test_an_invalid_cursor_is_refused(hub: Hub, cursor: str) -> None:
    pushed(hub, HISTORY, [1, 2])
    query = f"branch=main&cursor={cursor}"
    answer = hub.call(
        f"GET {API}/moves", SONG, by="me", query=query, headers={"accept": "application/json"}
    )
    assert (answer.status, json.loads(answer.body)["code"]) == (422, "invalid")
