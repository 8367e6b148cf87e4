"""Many at once. Each thread is a Lambda container: an event loop and AWS connections of its own.

A race is run several times over, each time by threads that start together, on repositories of a new
owner.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from shared import ids, ratelimit
from shared.engines import selection
from shared.errors import RateLimited
from shared.model import ObjectId
from tests import builders
from tests import client as hub
from tests.builders import History
from tests.client import Answer

RUNNERS = 12
ROUNDS = 3
HITS = 400


class Crew:
    """Threads that start together and live through the whole module: connections are slow to
    make.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(RUNNERS, thread_name_prefix="container")

    def race(self, runs: Sequence[Callable[[], Any]]) -> list[Any]:
        """What each run returned. All start at the same moment, each in a thread of its own."""
        start = threading.Barrier(len(runs))

        def run(work: Callable[[], Any]) -> Any:
            start.wait(timeout=30)
            return work()

        return [done.result(timeout=60) for done in [self._pool.submit(run, work) for work in runs]]

    def close(self) -> None:
        """Each thread gives its connections and its loop back."""
        self.race([leave] * RUNNERS)
        self._pool.shutdown()


def leave() -> None:
    loop = asyncio.get_event_loop()
    loop.run_until_complete(selection.close())
    loop.close()


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    hands = Crew()
    hands.race(
        [
            partial(hub.heads, runner, "song", by=runner)
            for runner in map("runner{}".format, range(RUNNERS))
        ]
    )
    yield hands
    hands.close()


@pytest.fixture(params=range(ROUNDS), ids=lambda n: f"round {n + 1}")
def somebody(request, owner) -> str:
    """A new owner for each round."""
    return f"{owner}-{request.param}"


def pushing(
    owner: str, history: History, numbers: Sequence[int], **options: Any
) -> Callable[[], Answer]:
    return lambda: hub.push(owner, "song", history.bundle(numbers), **options)


def pushed(owner: str, history: History, numbers: Sequence[int], **options: Any) -> None:
    answer = hub.push(owner, "song", history.bundle(numbers), **options)
    assert answer.status == 200, answer.body


def assert_clones_as(owner: str, history: History, numbers: Sequence[int]) -> None:
    """A clone of all branches is these commits with their snapshots and the true bytes of their
    objects.
    """
    answer = hub.fetch(owner, "song", list(hub.heads(owner, "song", by=owner).values()), by=owner)
    commits, snapshots, objects = hub.fetched_ids(answer)
    whole = history.bundle(numbers)
    assert commits == {commit["commit_id"] for commit in whole["commits"]}
    assert snapshots == {snapshot["snapshot_id"] for snapshot in whole["snapshots"]}
    assert objects == {item["object_id"] for item in whole["objects"]}
    assert all(
        item["content"] == history.objects[item["object_id"]] for item in answer.value["objects"]
    )


#         ┌─ 2
#     1 ──┼─ …         twelve siblings, pushed to main at once; main is at 1
#         └─ 13


def test_one_of_twelve_siblings_wins_and_the_others_get_its_id(crew, somebody):
    history = builders.graph("1; " + "; ".join(f"{n}:1" for n in range(2, 14)))
    pushed(somebody, history, [1])

    answers = crew.race([pushing(somebody, history, [n]) for n in range(2, 14)])

    assert Counter(answer.status for answer in answers) == {200: 1, 409: 11}
    winner = 2 + [answer.status for answer in answers].index(200)
    assert hub.heads(somebody, "song", by=somebody) == {"main": history[winner]}
    for answer in answers:
        if answer.status == 409:
            assert answer.code == "non_fast_forward"
            assert history[winner] in answer.value["message"]
    assert_clones_as(somebody, history, [1, winner])

    loser = 2 if winner != 2 else 3
    pushed(somebody, history, [loser], branch="again")
    assert_clones_as(somebody, history, [1, winner, loser])


#     1     2     …     12         twelve unrelated roots, each the first push of the branch `main`


@pytest.mark.parametrize(
    "exists", [True, False], ids=["in a repository", "which also creates the repository"]
)
def test_of_twelve_first_pushes_of_a_branch_one_wins_and_leaves_one_branch(crew, somebody, exists):
    history = builders.graph("; ".join(map(str, range(1, 14))) + "; 14:1,2; 15:3; 16:4")
    if exists:
        pushed(somebody, history, [13], branch="before")

    answers = crew.race([pushing(somebody, history, [n]) for n in range(1, 13)])

    assert Counter(answer.status for answer in answers) == {200: 1, 409: 11}
    winner = 1 + [answer.status for answer in answers].index(200)
    branches = {"main": history[winner]} | ({"before": history[13]} if exists else {})
    assert hub.heads(somebody, "song", by=somebody) == branches
    assert_clones_as(somebody, history, [winner, 13] if exists else [winner])

    child = builders.commit("after the race", [history[winner]])
    later = hub.push(somebody, "song", {"commits": [child], "snapshots": [], "objects": []})
    assert later.status == 200, later.body
    assert hub.heads(somebody, "song", by=somebody) == branches | {"main": child["commit_id"]}


#         ┌─ 2   take-2
#     1 ──┼─ …
#         └─ 13  take-13     no conflict with another push


def test_twelve_branches_can_be_pushed_at_once(crew, somebody):
    history = builders.graph("1; " + "; ".join(f"{n}:1" for n in range(2, 14)))
    pushed(somebody, history, [1])

    answers = crew.race([pushing(somebody, history, [n], branch=f"take-{n}") for n in range(2, 14)])

    assert [answer.status for answer in answers] == [200] * 12
    expected = {"main": history[1]} | {f"take-{n}": history[n] for n in range(2, 14)}
    assert hub.heads(somebody, "song", by=somebody) == expected
    assert_clones_as(somebody, history, range(1, 14))


def test_the_same_push_sent_twelve_times_at_once_is_one_push(crew, somebody):
    history = builders.graph("1; 2:1; 3:1; 4:2,3")

    answers = crew.race([pushing(somebody, history, [1, 2, 3, 4])] * 12)

    assert [answer.status for answer in answers] == [200] * 12
    assert hub.heads(somebody, "song", by=somebody) == {"main": history[4]}
    assert_clones_as(somebody, history, [1, 2, 3, 4])


#     1 ── 2 ── … ── length      the same commits, new to the hub, pushed to twelve branches at once


@pytest.mark.parametrize("length", [3, 12], ids=["3 commits", "12 commits, written in batches"])
def test_the_same_history_pushed_to_twelve_branches_at_once_is_whole_on_each(
    crew, somebody, length
):
    history = builders.chain(length, files=True)
    numbers = range(1, length + 1)

    answers = crew.race(
        [pushing(somebody, history, numbers, branch=f"take-{n}") for n in range(12)]
    )

    assert [answer.status for answer in answers] == [200] * 12
    heads = {f"take-{n}": history[length] for n in range(12)}
    assert hub.heads(somebody, "song", by=somebody) == heads
    assert_clones_as(somebody, history, numbers)
    child = builders.commit(
        "on all of them", [history[length]], history.snapshots[length]["snapshot_id"]
    )
    for branch in ("take-0", "take-11"):
        answer = hub.push(
            somebody, "song", {"commits": [child], "snapshots": [], "objects": []}, branch=branch
        )
        assert answer.status == 200, answer.body
        delta = hub.fetch(somebody, "song", [child["commit_id"]], [history[length]], by=somebody)
        assert hub.fetched_ids(delta) == ({child["commit_id"]}, {child["snapshot_id"]}, set())


#     1  main
#     ├─ 2 … 7    six first pushes of the branch `a`
#     └─ 8 … 13   six first pushes of branches below the folder `a`


def test_a_branch_and_a_folder_of_its_name_are_never_both_created(crew, somebody):
    history = builders.graph("1; " + "; ".join(f"{n}:1" for n in range(2, 14)))
    pushed(somebody, history, [1])
    above = [pushing(somebody, history, [n], branch="a") for n in range(2, 8)]
    below = [pushing(somebody, history, [n], branch=f"a/{n}") for n in range(8, 14)]

    answers = crew.race([run for both in zip(above, below, strict=True) for run in both])

    assert {answer.status for answer in answers} <= {200, 409, 422}
    heads = hub.heads(somebody, "song", by=somebody)
    assert not ("a" in heads and any(name.startswith("a/") for name in heads)), heads
    answered_ok = [answer.value["remote_head"] for answer in answers if answer.status == 200]
    assert sorted(answered_ok) == sorted(head for name, head in heads.items() if name != "main")
    assert_clones_as(
        somebody, history, [n for n in history.commits if history[n] in heads.values()]
    )


#     1 ── 2  main           six push a child of 2, six force a child of 1
#     │    └─ 3 … 8
#     └─ 9 … 14


def test_force_against_ordinary_pushes_ends_on_one_of_them_whole(crew, somebody):
    drawing = "1; 2:1; " + "; ".join(f"{n}:{2 if n < 9 else 1}" for n in range(3, 15))
    history = builders.graph(drawing)
    pushed(somebody, history, [1, 2])

    ordinary = [pushing(somebody, history, [n]) for n in range(3, 9)]
    by_force = [pushing(somebody, history, [n], force=True) for n in range(9, 15)]
    answers = crew.race([run for both in zip(ordinary, by_force, strict=True) for run in both])

    assert {answer.status for answer in answers[0::2]} <= {200, 409}
    # A force push meets a moving branch again and again; it may give up, it may not be refused.
    assert {answer.status for answer in answers[1::2]} <= {200, 503}
    winners = [answer.value["remote_head"] for answer in answers if answer.status == 200]
    head = hub.heads(somebody, "song", by=somebody)["main"]
    assert head in winners
    number = next(n for n in history.commits if history[n] == head)
    assert_clones_as(somebody, history, [1, 2, number] if number < 9 else [1, number])


def test_a_chunk_uploaded_by_eight_at_once_is_there_once_and_true(crew, somebody):
    contents = [f"sample {n}".encode() * 50 for n in range(40)] + [b"drone" * 300_000]
    objects = {ids.object_id(content): content for content in contents}
    sent = [{"object_id": i, "content": content} for i, content in objects.items()]

    answers = crew.race(
        [lambda: hub.call("push_objects", somebody, "song", {"objects": sent}, by=somebody)] * 8
    )

    assert [answer.status for answer in answers] == [200] * 8
    assert all(answer.value["stored"] + answer.value["skipped"] == len(sent) for answer in answers)
    snapshot = builders.snapshot({f"{n:02}.wav": object_id for n, object_id in enumerate(objects)})
    commit = builders.commit("uses them all", [], snapshot["snapshot_id"])
    answer = hub.push(
        somebody, "song", {"commits": [commit], "snapshots": [snapshot], "objects": []}
    )
    assert answer.status == 200, answer.body
    fetched = hub.fetch(somebody, "song", [commit["commit_id"]], by=somebody).value["objects"]
    assert len(fetched) == len(objects)
    assert {item["object_id"]: item["content"] for item in fetched} == objects


def test_a_repository_created_by_eight_uploads_at_once_is_one_and_has_all_objects(crew, somebody):
    chunks = [
        {ids.object_id(c): c for c in (f"{n}.{k}".encode() for k in range(5))} for n in range(8)
    ]

    def upload(chunk: dict[ObjectId, bytes]) -> tuple[Answer, str]:
        sent = [{"object_id": i, "content": content} for i, content in chunk.items()]
        answer = hub.call("push_objects", somebody, "song", {"objects": sent}, by=somebody)
        return answer, hub.call("refs", somebody, "song", by=somebody).value["repo_id"]

    done = crew.race([partial(upload, chunk) for chunk in chunks])

    assert [answer.value for answer, _ in done] == [{"stored": 5, "skipped": 0}] * 8
    assert len({repo_id for _, repo_id in done}) == 1
    everything = [object_id for chunk in chunks for object_id in chunk]
    lacking = hub.call("filter_objects", somebody, "song", {"object_ids": everything}, by=somebody)
    assert lacking.value == {"missing": []}


def test_of_four_hundred_hits_from_eight_threads_none_is_lost(crew, somebody):
    """An allowance of exactly as many: one lost hit, and the next would pass; one counted twice,
    and one is refused.
    """
    allowance = ratelimit.Limit("upload", HITS)

    async def hit() -> None:
        await ratelimit.hit(
            (await selection.stores()).counters, allowance, somebody, now=1_767_225_600
        )

    def hits(count: int) -> None:
        for _ in range(count):
            asyncio.get_event_loop().run_until_complete(hit())

    crew.race([partial(hits, HITS // 8)] * 8)

    with pytest.raises(RateLimited):
        crew.race([partial(hits, 1)])
