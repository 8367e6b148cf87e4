"""The thirteen promises of the hub, in seconds and in exact counts, through the real handlers.

Each is tested twice: with opaque ids, as short as those of a tool without hashes, which are stored
unchanged; and with true digests, which are verified. The limits are for a warm
function: the first request of a process is sent before any clock runs.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from shared import ids
from tests import builders
from tests import client as hub
from tests.builders import Record
from tests.client import Answer

TIME = "2026-01-01T00:00:00+00:00"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.perf_counter()
    yield
    taken = time.perf_counter() - started
    assert taken < seconds, f"took {taken:.3f} s, may take {seconds} s"


# ── Two kinds of ids ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Records:
    """Makes commits, snapshots and objects with ids of one kind."""

    are_digests: bool

    def commit(
        self, message: str, parent: str | None = None, snapshot_id: str | None = None
    ) -> Record:
        """A commit; without a snapshot unless one is given."""
        record = builders.commit(message, [parent] if parent else [], snapshot_id, TIME)
        return (
            record
            if self.are_digests
            else record | {"commit_id": uuid.uuid4().hex, "repo_id": str(uuid.uuid4())}
        )

    def snapshot(self, manifest: dict[str, str]) -> Record:
        """A snapshot of these files."""
        record = builders.snapshot(manifest)
        return (
            record if self.are_digests else record | {"snapshot_id": f"snap_{uuid.uuid4().hex[:8]}"}
        )

    def object(self, content: bytes) -> Record:
        """An object as it is pushed."""
        return {"object_id": self.object_id(content), "content": content}

    def object_id(self, content: bytes) -> str:
        """An id for this content."""
        return ids.object_id(content) if self.are_digests else uuid.uuid4().hex

    def chain(self, length: int) -> list[Record]:
        """Commits, each the parent of the next, oldest first."""
        commits: list[Record] = []
        for number in range(length):
            commits.append(
                self.commit(f"commit {number}", commits[-1]["commit_id"] if commits else None)
            )
        return commits


@pytest.fixture(params=[False, True], ids=["opaque ids", "digests"])
def records(request) -> Records:
    return Records(request.param)


@pytest.fixture(autouse=True)
def one_minute(monkeypatch) -> None:
    """The clock of the rate limits stands still, so that no minute begins in the middle of a
    test.
    """
    now = time.time()
    monkeypatch.setattr("shared.http.access.time.time", lambda: now)


@pytest.fixture(autouse=True, scope="module")
def is_warm(aws) -> None:
    """Every function has answered once: its code is loaded and its connections are made."""
    for function in hub.ROUTES:
        assert hub.call(function, "warm", "song", {}, by="warm").status in (200, 422)


@pytest.fixture
def anybody(owner) -> str:
    """An address without a token, that no other test comes from."""
    return f"2001:db8::{int(owner.removeprefix('owner')) + 1:x}"


def push(owner: str, slug: str, *commits: Record, **rest: Any) -> Answer:
    """Push commits, with `snapshots` and `objects` if given, which must succeed."""
    answer = hub.push(
        owner, slug, {"commits": list(commits), "snapshots": [], "objects": []} | rest
    )
    assert answer.status == 200, answer.body
    assert answer.value["ok"] is True
    return answer


# ── Pushing ───────────────────────────────────────────────────────────────────────────────────────


def test_twenty_repositories_are_pushed_in_a_row_within_10_seconds(records, owner):
    with within(10):
        for number in range(20):
            push(owner, f"song-{number}", records.commit(f"first of {number}"))
    assert all(hub.heads(owner, f"song-{number}", by=owner) for number in range(20))


def test_a_single_push_takes_less_than_500_milliseconds(records, owner):
    commit = records.commit("only")
    with within(0.5):
        answer = push(owner, "song", commit)
    assert answer.value["remote_head"] == commit["commit_id"]
    assert answer.value["branch_heads"] == {"main": commit["commit_id"]}


#     1 ── 2 ── … ── 20      pushed one by one, each on the head that the last push left


def test_twenty_pushes_one_upon_the_other_take_less_than_5_seconds(records, owner):
    commits = records.chain(20)
    with within(5):
        for commit in commits:
            assert push(owner, "song", commit).value["remote_head"] == commit["commit_id"]
    assert hub.heads(owner, "song", by=owner) == {"main": commits[-1]["commit_id"]}
    answer = hub.fetch(owner, "song", [commits[-1]["commit_id"]], by=owner)
    assert hub.fetched_ids(answer)[0] == {commit["commit_id"] for commit in commits}


def test_a_hundred_objects_in_one_push_are_fetched_whole(records, owner):
    objects = [records.object(f"sample {number}".encode()) for number in range(100)]
    snapshot = records.snapshot(
        {f"samples/{n:03}.wav": item["object_id"] for n, item in enumerate(objects)}
    )
    commit = records.commit("a hundred samples", snapshot_id=snapshot["snapshot_id"])

    push(owner, "song", commit, snapshots=[snapshot], objects=objects)

    answer = hub.fetch(owner, "song", [commit["commit_id"]], by=owner)
    assert answer.status == 200, answer.body
    assert answer.value["commits"] == [commit]
    assert answer.value["snapshots"] == [snapshot]
    fetched = {item["object_id"]: item["content"] for item in answer.value["objects"]}
    assert len(answer.value["objects"]) == 100
    assert fetched == {item["object_id"]: item["content"] for item in objects}


def test_fifty_uploaded_objects_are_stored_and_none_skipped(records, owner):
    objects = [records.object(f"sample {number}".encode()) for number in range(50)]
    answer = hub.call("push_objects", owner, "song", {"objects": objects}, by=owner)
    assert answer.status == 200, answer.body
    assert answer.value == {"stored": 50, "skipped": 0}
    again = hub.call("push_objects", owner, "song", {"objects": objects}, by=owner)
    assert again.value == {"stored": 0, "skipped": 50}


# ── Missing data ──────────────────────────────────────────────────────────────────────────────────


def test_of_five_hundred_unknown_objects_all_are_missing(records, owner):
    push(owner, "song", records.commit("first"))
    unknown = [records.object_id(f"never sent {number}".encode()) for number in range(500)]
    answer = hub.call("filter_objects", owner, "song", {"object_ids": unknown}, by=owner)
    assert answer.status == 200, answer.body
    assert len(answer.value["missing"]) == 500
    assert set(answer.value["missing"]) == set(unknown)


def test_a_hundred_objects_are_filtered_in_less_than_200_milliseconds(records, owner):
    known = [records.object(f"sent {number}".encode()) for number in range(10)]
    assert hub.call("push_objects", owner, "song", {"objects": known}, by=owner).status == 200
    unknown = [records.object_id(f"never sent {number}".encode()) for number in range(90)]
    asked = [item["object_id"] for item in known] + unknown
    with within(0.2):
        answer = hub.call("filter_objects", owner, "song", {"object_ids": asked}, by=owner)
    assert set(answer.value["missing"]) == set(unknown)


# ── Fetching ──────────────────────────────────────────────────────────────────────────────────────


def test_thirty_fetches_of_five_commits_take_less_than_10_seconds(records, owner):
    commits = records.chain(5)
    push(owner, "song", *commits)
    with within(10):
        for _ in range(30):
            answer = hub.fetch(owner, "song", [commits[-1]["commit_id"]], by=owner)
            assert hub.fetched_ids(answer)[0] == {commit["commit_id"] for commit in commits}


def test_ten_commits_are_fetched_in_less_than_500_milliseconds(records, owner):
    commits = records.chain(10)
    push(owner, "song", *commits)
    with within(0.5):
        answer = hub.fetch(owner, "song", [commits[-1]["commit_id"]], by=owner)
    assert {c["commit_id"]: c for c in answer.value["commits"]} == {
        c["commit_id"]: c for c in commits
    }


#     1 ── 2 ── … ── 25
#    have          want


def test_the_client_that_has_the_root_gets_the_other_twenty_four(records, owner):
    commits = records.chain(25)
    root, head = commits[0]["commit_id"], commits[-1]["commit_id"]
    push(owner, "song", *commits)
    fetched, _, _ = hub.fetched_ids(hub.fetch(owner, "song", [head], [root], by=owner))
    assert len(fetched) == 24
    assert root not in fetched
    assert fetched == {commit["commit_id"] for commit in commits[1:]}


#     1 ── … ── 15 ── 16 ── … ── 20
#              have             want


@pytest.mark.parametrize(
    ("held", "sent"), [(15, 5), (0, 20)], ids=["a window of 5 of 20", "all 20"]
)
def test_a_window_of_history_is_exactly_that(records, owner, held, sent):
    commits = records.chain(20)
    push(owner, "song", *commits)
    have = [commits[held - 1]["commit_id"]] if held else []
    with within(1):
        answer = hub.fetch(owner, "song", [commits[-1]["commit_id"]], have, by=owner)
    fetched, _, _ = hub.fetched_ids(answer)
    assert len(fetched) == sent
    assert fetched == {commit["commit_id"] for commit in commits[held:]}


# ── Anybody ───────────────────────────────────────────────────────────────────────────────────────


def test_anybody_reads_the_branches_in_less_than_100_milliseconds(records, owner, anybody):
    commit = records.commit("public")
    push(owner, "song", commit)
    with within(0.1):
        answer = hub.call("refs", owner, "song", source_ip=anybody)
    assert answer.status == 200, answer.body
    assert answer.value["branch_heads"] == {"main": commit["commit_id"]}


def test_anybody_negotiates_in_less_than_200_milliseconds(records, owner, anybody):
    commits = records.chain(10)
    push(owner, "song", *commits)
    known = commits[-1]["commit_id"]
    offered = [records.object_id(f"not here {number}".encode()) for number in range(9)] + [known]
    with within(0.2):
        answer = hub.call(
            "negotiate", owner, "song", {"want": [known], "have": offered}, source_ip=anybody
        )
    assert answer.status == 200, answer.body
    assert answer.value == {"ack": [known], "common_base": known, "ready": True}


# ── How often ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def minute(monkeypatch) -> dict[str, float]:
    """A clock to be set: `minute["now"]`, which begins 20 seconds into a minute that is over, so
    that no token is ever from the future.
    """
    clock = {"now": time.time() // 60 * 60 - 100}
    monkeypatch.setattr("shared.http.access.time.time", lambda: clock["now"])
    return clock


def assert_refused_until_the_minute_ends(answer: Answer) -> None:
    assert answer.status == 429
    assert answer.code == "rate_limited"
    assert answer.headers["retry-after"] == "40"


def test_the_31st_push_of_a_minute_is_refused_and_the_next_minute_is_not(records, owner, minute):
    commits = records.chain(31)
    for commit in commits[:30]:
        push(owner, "song", commit)
    last = {"commits": commits[30:], "snapshots": [], "objects": []}

    assert_refused_until_the_minute_ends(hub.push(owner, "song", last))
    assert hub.heads(owner, "song", by=owner) == {"main": commits[29]["commit_id"]}

    minute["now"] += 40
    assert hub.push(owner, "song", last).status == 200


def test_the_121st_fetch_of_a_minute_is_refused_and_the_next_minute_is_not(records, owner, minute):
    commit = records.commit("often read")
    push(owner, "song", commit)
    for _ in range(120):
        assert hub.fetch(owner, "song", [commit["commit_id"]], by=owner).status == 200

    assert_refused_until_the_minute_ends(hub.fetch(owner, "song", [commit["commit_id"]], by=owner))

    minute["now"] += 40
    assert hub.fetch(owner, "song", [commit["commit_id"]], by=owner).status == 200


def test_one_users_haste_is_not_anothers(records, owner, minute):
    for commit in records.chain(30):
        push(owner, "song", commit)
    assert hub.push(owner, "song", {"commits": [], "snapshots": [], "objects": []}).status == 429
    push(f"{owner}-else", "song", records.commit("first"))
