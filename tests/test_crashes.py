"""A push that is interrupted at any point: readers see the old repository or the new one, whole,
and never a mixture; and the same request, sent again, succeeds.

Each story is played once for every AWS call that it makes, with that call failing, until a run has
no failure: so the number of calls is found, not assumed.
"""

import asyncio
import functools
import itertools
import logging
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

import aioboto3
import pytest

from shared import ids
from shared.engines import selection
from shared.model import ObjectId
from tests import builders
from tests import client as hub
from tests.builders import History, Record
from tests.client import Answer
from tests.faults import QUICK, Fault, fault

LARGE = 1024 * 1024 + 1
"""The smallest object that is stored under its own key."""


@dataclass(frozen=True)
class Story:
    """A push: the branches before it and after it, and all expected facts after it."""

    owner: str
    request: Callable[[], Answer]
    before: dict[str, str]
    after: dict[str, str]
    truth: History


# ── The stories ───────────────────────────────────────────────────────────────────────────────────


def first_push(owner: str) -> Story:
    """1 ── 2 ── 3 into a repository that does not exist."""
    history = builders.graph("1; 2:1; 3:2")
    return Story(
        owner, lambda: hub.push(owner, "song", history.bundle()), {}, {"main": history[3]}, history
    )


def merge(owner: str) -> Story:
    """A diamond on top of commit 1, all in one push:

       ┌─ 2 ─┐
    1 ─┤     ├─ 4
       └─ 3 ─┘
    """
    history = builders.graph("1; 2:1; 3:1; 4:2,3")
    _pushed(owner, history.bundle([1]))
    return Story(
        owner,
        lambda: hub.push(owner, "song", history.bundle([2, 3, 4])),
        {"main": history[1]},
        {"main": history[4]},
        history,
    )


def presigned(owner: str) -> Story:
    """1 ── 2, where the one large object of 2 was put to an upload URL and waits in quarantine."""
    history = builders.graph("1")
    _pushed(owner, history.bundle())
    large = b"drone" * (LARGE // 5 + 1)
    object_id = ids.object_id(large)
    history.objects[object_id] = large
    history.snapshots[2] = builders.snapshot(
        {**history.snapshots[1]["manifest"], "drone.wav": object_id}
    )
    history.commits[2] = builders.commit(
        "a drone", [history[1]], history.snapshots[2]["snapshot_id"]
    )
    answer = hub.call(
        "presign", owner, "song", {"object_ids": [object_id], "direction": "put"}, by=owner
    )
    put = urllib.request.Request(answer.value["presigned"][object_id], data=large, method="PUT")
    urllib.request.urlopen(put, timeout=10).close()
    return Story(
        owner,
        lambda: hub.push(owner, "song", history.bundle([2], objects=False)),
        {"main": history[1]},
        {"main": history[2]},
        history,
    )


def in_a_folder(owner: str) -> Story:
    """1 on main; 2 becomes a new branch whose name has a slash."""
    history = builders.graph("1; 2:1")
    _pushed(owner, history.bundle([1]))
    return Story(
        owner,
        lambda: hub.push(owner, "song", history.bundle([2]), branch="verse/second/take"),
        {"main": history[1]},
        {"main": history[1], "verse/second/take": history[2]},
        history,
    )


def forced(owner: str) -> Story:
    """1 ── 2 ── 3 is main; by force it becomes 1 ── 4."""
    history = builders.graph("1; 2:1; 3:2; 4:1")
    _pushed(owner, history.bundle([1, 2, 3]))
    return Story(
        owner,
        lambda: hub.push(owner, "song", history.bundle([4]), force=True),
        {"main": history[3]},
        {"main": history[4]},
        history,
    )


STORIES = [first_push, merge, presigned, in_a_folder, forced]


def _pushed(owner: str, bundle: Record, branch: str = "main") -> None:
    answer = hub.push(owner, "song", bundle, branch=branch)
    assert answer.status == 200, answer.body


# ── The view of a reader ──────────────────────────────────────────────────────────────────────────


def whole_heads(owner: str, truth: History) -> dict[str, str]:
    """The branches, after a check that a clone of them all has exactly the data that they reach,
    with true bytes.
    """
    heads = hub.heads(owner, "song", by=owner)
    answer = hub.fetch(owner, "song", list(heads.values()), by=owner)
    hub.fetched_ids(answer)
    assert answer.value["branch_heads"] == heads
    commits = {commit["commit_id"]: commit for commit in truth.commits.values()}
    snapshots = {snapshot["snapshot_id"]: snapshot for snapshot in truth.snapshots.values()}

    reached: set[str] = set()
    waiting = set(heads.values())
    while waiting:
        commit = commits[waiting.pop()]
        reached.add(commit["commit_id"])
        waiting |= {
            p
            for p in (commit["parent_commit_id"], commit["parent2_commit_id"])
            if p and p not in reached
        }
    named = {commits[i]["snapshot_id"] for i in reached}
    listed = {object_id for i in named for object_id in snapshots[i]["manifest"].values()}
    assert {c["commit_id"]: c for c in answer.value["commits"]} == {i: commits[i] for i in reached}
    assert {s["snapshot_id"]: s for s in answer.value["snapshots"]} == {
        i: snapshots[i] for i in named
    }
    assert {o["object_id"]: o["content"] for o in answer.value["objects"]} == {
        i: truth.objects[i] for i in listed
    }
    return heads


@pytest.fixture(autouse=True)
def quick_restarts(monkeypatch):
    """Restarts read AWS's descriptions of its services once: they are nine tenths of opening a
    connection.
    """
    monkeypatch.setattr(aioboto3, "Session", shared_session)


@pytest.fixture(autouse=True)
def quiet_deaths(caplog):
    """Mangum reports each death; a failure's output would be nothing else."""
    caplog.set_level(logging.CRITICAL, logger="mangum.http")


shared_session = functools.cache(aioboto3.Session)


def restart() -> None:
    """Forget every connection: the next request is answered by a process that has seen nothing."""
    asyncio.get_event_loop().run_until_complete(selection.close())


# ── Every call, every way it can go wrong ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", QUICK, ids=[kind.name.lower() for kind in QUICK])
@pytest.mark.parametrize("tell", STORIES)
def test_a_push_cut_off_anywhere_leaves_old_or_new_and_can_be_repeated(tell, kind, owner):
    for number in itertools.count(1):
        story = tell(f"{owner}-{number}")
        with fault(kind, number) as strike:
            answer = story.request()
        if not strike.call:
            break
        where = f"call {number}, {strike.call}: {answer.status}"
        assert strike.is_dead or answer.status in (200, 503), where
        if kind is Fault.DIES_AFTER:
            restart()

        seen = whole_heads(story.owner, story.truth)
        assert seen in (story.before, story.after), where
        if answer.status == 200:
            assert seen == story.after, where

        again = story.request()
        assert again.status == 200, f"{where}; repeated: {again.body!r}"
        assert whole_heads(story.owner, story.truth) == story.after, where

    assert answer.status == 200
    assert whole_heads(story.owner, story.truth) == story.after
    assert number > 8, "a push makes more calls than that: the faults did not strike"


#     1 ── 2 ── 3      a push to main, interrupted: only its client knows of 2 and 3
#     ├── 2 ── 3       a push of the same commits to another branch: they are in another lane
#     └── 4            a third one's to main


def test_the_rest_of_a_crashed_push_blocks_no_other_push(owner):
    for number in itertools.count(1):
        name, history = f"{owner}-{number}", builders.graph("1; 2:1; 3:2; 4:1")
        _pushed(name, history.bundle([1]))
        with fault(Fault.DIES_AFTER, number) as strike:
            hub.push(name, "song", history.bundle([2, 3]))
        if not strike.call:
            break
        restart()
        where = f"call {number}, {strike.call}"

        is_done = hub.heads(name, "song", by=name) == {"main": history[3]}
        _pushed(name, history.bundle([2, 3]), branch="mine")
        third = hub.push(name, "song", history.bundle([4]))
        assert third.status == (409 if is_done else 200), where

        main = history[3] if is_done else history[4]
        heads = {"main": main, "mine": history[3]}
        assert whole_heads(name, history) == heads, where
        again = hub.push(name, "song", history.bundle([2, 3]))
        assert again.status == (200 if is_done else 409), where
        assert whole_heads(name, history) == heads, where

    assert number > 8, "a push makes more calls than that: the faults did not strike"


#     1 ── 2      cut off; the thirty files of 2 came along, more than fit into one batch of rows
#     └── 3       the same files again, on another branch, in a push without their bytes


@pytest.mark.parametrize(
    "kind", [Fault.DIES_AFTER, Fault.DIES_BEFORE], ids=["dies_after", "dies_before"]
)
def test_a_snapshot_left_behind_is_leant_on_only_if_its_objects_are_there(kind, owner):
    for number in itertools.count(1):
        name, history = f"{owner}-{number}", builders.graph("1")
        _pushed(name, history.bundle())
        files = {f"{n}.mid": f"file {n}".encode() for n in range(30)}
        history.objects |= {ids.object_id(content): content for content in files.values()}
        history.snapshots[2] = builders.snapshot(
            {path: ids.object_id(content) for path, content in files.items()}
        )
        history.snapshots[3] = history.snapshots[2]
        snapshot_id = history.snapshots[2]["snapshot_id"]
        history.commits[2] = builders.commit("thirty files", [history[1]], snapshot_id)
        history.commits[3] = builders.commit("the same thirty", [history[1]], snapshot_id)
        with fault(kind, number) as strike:
            hub.push(name, "song", history.bundle([2]))
        if not strike.call:
            break
        if kind is Fault.DIES_AFTER:
            restart()

        other = hub.push(name, "song", history.bundle([3], objects=False), branch="mine")
        assert other.status in (200, 422), f"call {number}, {strike.call}: {other.status}"
        assert ("mine" in whole_heads(name, history)) == (other.status == 200), (
            f"call {number}, {strike.call}"
        )

    assert number > 8, "a push makes more calls than that: the faults did not strike"


#     push/objects: [ small, small, large ]      two go into a pack, the third has a key of its own


@pytest.mark.parametrize("kind", QUICK, ids=[kind.name.lower() for kind in QUICK])
def test_an_upload_cut_off_anywhere_shows_only_objects_that_are_there(kind, owner):
    contents = [b"kick", b"snare", b"drone" * (LARGE // 5 + 1)]
    objects = {ids.object_id(content): content for content in contents}
    sent = [{"object_id": i, "content": content} for i, content in objects.items()]

    for number in itertools.count(1):
        name = f"{owner}-{number}"
        with fault(kind, number) as strike:
            answer = hub.call("push_objects", name, "song", {"objects": sent}, by=name)
        if not strike.call:
            break
        where = f"call {number}, {strike.call}: {answer.status}"
        assert strike.is_dead or answer.status in (200, 503), where
        if kind is Fault.DIES_AFTER:
            restart()

        lacking = _missing(name, objects)
        if answer.status == 200:
            assert not lacking, where
        _assert_can_be_used(
            name, {i: content for i, content in objects.items() if i not in lacking}, "early"
        )

        again = hub.call("push_objects", name, "song", {"objects": sent}, by=name)
        assert again.status == 200, f"{where}; repeated: {again.body!r}"
        assert again.value == {"stored": len(lacking), "skipped": 3 - len(lacking)}, where
        assert not _missing(name, objects), where
        _assert_can_be_used(name, objects, "late")

    assert answer.value == {"stored": 3, "skipped": 0}
    assert number > 5, "an upload makes more calls than that: the faults did not strike"


def _missing(owner: str, objects: dict[ObjectId, bytes]) -> set[str]:
    """POST filter-objects."""
    answer = hub.call("filter_objects", owner, "song", {"object_ids": list(objects)}, by=owner)
    return set(answer.value["missing"])


def _assert_can_be_used(owner: str, objects: dict[ObjectId, bytes], branch: str) -> None:
    """A commit that lists these objects without sending them is taken, and is served with their
    true bytes.
    """
    snapshot = builders.snapshot({f"{n}.wav": object_id for n, object_id in enumerate(objects)})
    commit = builders.commit(branch, [], snapshot["snapshot_id"])
    pushed = hub.push(
        owner, "song", {"commits": [commit], "snapshots": [snapshot], "objects": []}, branch=branch
    )
    assert pushed.status == 200, pushed.body
    fetched = hub.fetch(owner, "song", [commit["commit_id"]], by=owner)
    assert {o["object_id"]: o["content"] for o in fetched.value["objects"]} == objects
