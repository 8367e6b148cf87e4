"""Group 5: POST push, where nothing is wrong."""

from typing import Any

import pytest

from tests.builders import blob, chain, commit, snapshot
from tests.client import call, fetch, fetched_ids, heads, push
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    COMMITS,
    CX,
    O1,
    O2,
    O3,
    S1,
    S2,
    S3,
    SNAPSHOTS,
    M,
    assert_accepted,
    bundle,
    case,
    on_manifest,
    pushed,
    truly,
    upload,
)

DEFAULTS: dict[str, Any] = {
    "repo_id": "",
    "parent_commit_id": None,
    "parent2_commit_id": None,
    "author": "",
    "metadata": {},
    "sem_ver_bump": "none",
    "breaking_changes": [],
    "agent_id": "",
    "model_id": "",
    "toolchain_id": "",
    "prompt_hash": "",
    "signature": "",
    "signer_key_id": "",
    "format_version": 1,
    "reviewed_by": [],
    "test_runs": 0,
}
"""The defaults of a record without these keys."""


def cloned(owner, head):
    """The commits of a clone at this head, by id."""
    return {
        c["commit_id"]: c
        for c in assert_accepted(fetch(owner, "song", [head], by=owner))["commits"]
    }


def test_U01_a_first_push_creates_the_branch(owner):
    assert upload(owner, "song", O1) == {"stored": 1, "skipped": 0}
    reply = assert_accepted(push(owner, "song", bundle(C1, objects=False)))
    assert reply["ok"] is True
    assert isinstance(reply["message"], str)
    assert set(reply) == {"ok", "message", "branch_heads", "remote_head"}
    assert (reply["branch_heads"], reply["remote_head"]) == ({"main": C1}, C1)
    assert heads(owner, "song") == {"main": C1}


def test_U02_the_same_push_again_succeeds(owner):
    first = pushed(owner, "song", C1)
    assert pushed(owner, "song", C1) == first
    assert heads(owner, "song") == {"main": C1}


def test_U03_the_next_commit_alone_moves_the_branch(owner):
    pushed(owner, "song", C1)
    assert pushed(owner, "song", C2)["remote_head"] == C2
    assert heads(owner, "song") == {"main": C2}
    assert set(cloned(owner, C2)) == {C1, C2}


@pytest.mark.parametrize(
    "order",
    [
        case("U04", "tip first", (C3, C2, C1)),
        case("U05", "oldest first", (C1, C2, C3)),
        case("U05", "in no order", (C2, C3, C1)),
    ],
)
def test_a_bundle_may_come_in_any_order(owner, order):
    assert pushed(owner, "song", *order)["remote_head"] == C3
    found = fetched_ids(fetch(owner, "song", [C3], by=owner))
    assert found == ({C1, C2, C3}, {S1, S2, S3}, {O1, O2, O3})


def test_U06_history_that_is_stored_already_may_be_sent_again(owner):
    pushed(owner, "song", C1, C2)
    assert pushed(owner, "song", C3, C2, C1)["branch_heads"] == {"main": C3}
    assert set(cloned(owner, C3)) == {C1, C2, C3}


def test_U06_a_topic_branch_may_bring_the_history_below_its_fork(owner):
    pushed(owner, "song", C1, C2)
    assert pushed(owner, "song", CX, C1, branch="topic")["branch_heads"] == {
        "main": C2,
        "topic": CX,
    }


def test_U07_a_branch_may_start_where_another_stands(owner):
    pushed(owner, "song", C1, C2)
    reply = pushed(owner, "song", C2, branch="dev")
    assert reply["branch_heads"] == {"main": C2, "dev": C2}
    assert reply["remote_head"] == C2
    assert heads(owner, "song") == {"main": C2, "dev": C2}


def test_U08_a_merge_brings_its_other_side(owner):
    pushed(owner, "song", C1, C2)
    assert pushed(owner, "song", M, CX)["remote_head"] == M
    assert set(cloned(owner, M)) == {C1, C2, CX, M}


def test_U08_a_merge_of_two_stored_branches_comes_alone(owner):
    pushed(owner, "song", C1, C2)
    pushed(owner, "song", C1, CX, branch="topic")
    assert pushed(owner, "song", M)["branch_heads"] == {"main": M, "topic": CX}


def test_U09_objects_may_come_in_the_push_itself(owner):
    hundred = {o["object_id"]: o for o in (blob(b"object %d" % number) for number in range(100))}
    sent = on_manifest({f"{number}.txt": i for number, i in enumerate(hundred)}) | {
        "objects": list(hundred.values())
    }
    assert_accepted(push(owner, "song", sent))
    reply = assert_accepted(fetch(owner, "song", [sent["commits"][0]["commit_id"]], by=owner))
    assert len(reply["objects"]) == 100
    assert {o["object_id"]: o["content"] for o in reply["objects"]} == {
        i: o["content"] for i, o in hundred.items()
    }


def push_of_many_files(owner, parent, branch):
    """A commit of a hundred files on a parent.

    The objects are sent ahead. Returns the objects of a clone.
    """
    blobs = [blob(b"file %d" % number) for number in range(100)]
    files = snapshot({f"{number}.txt": each["object_id"] for number, each in enumerate(blobs)})
    sent = {"commits": [commit("many files", [parent], files["snapshot_id"])], "snapshots": [files]}
    assert_accepted(call("push_objects", owner, "song", {"objects": blobs}, by=owner))
    head = assert_accepted(push(owner, "song", sent, branch=branch))["remote_head"]
    return fetched_ids(fetch(owner, "song", [head], by=owner))[2]


def test_a_push_of_many_files_stands_on_a_commit_without_a_snapshot(owner):
    bare = commit("nothing yet", snapshot_id=None)
    assert_accepted(push(owner, "song", {"commits": [bare]}))
    assert len(push_of_many_files(owner, bare["commit_id"], "main")) == 100


def test_a_push_of_many_files_stands_on_a_branch_that_was_created_without_a_new_commit(owner):
    """The row of such a branch does not contain the place of its snapshot."""
    pushed(owner, "song", C1)
    pushed(owner, "song", C1, branch="topic")
    assert len(push_of_many_files(owner, C1, "topic")) == 101


@pytest.mark.parametrize(
    "spot",
    [
        case("U10", "in a commit", lambda message: message["bundle"]["commits"][0]),
        case("U10", "in a snapshot", lambda message: message["bundle"]["snapshots"][0]),
        case("U10", "in an object", lambda message: message["bundle"]["objects"][0]),
        case("U10", "in the bundle", lambda message: message["bundle"]),
        case("U10", "at the top", lambda message: message),
    ],
)
def test_an_unknown_key_is_accepted(owner, spot):
    message = {"bundle": bundle(C1), "branch": "main", "force": False}
    spot(message)["tags"] = [{"tag_id": "1", "tag": "emotion:joyful", "colour": {"red": [1]}}]
    reply = assert_accepted(call("push", owner, "song", message, by=owner))
    assert reply["branch_heads"] == {"main": C1}
    assert fetched_ids(fetch(owner, "song", [C1], by=owner)) == ({C1}, {S1}, {O1})


def test_U11_an_absent_field_of_a_commit_has_a_default(owner):
    whole = COMMITS[C1]
    bare = {
        key: whole[key] for key in ("commit_id", "snapshot_id", "message", "committed_at", "branch")
    }
    assert_accepted(push(owner, "song", bundle(C1) | {"commits": [bare]}))
    found = cloned(owner, C1)[C1]
    found.pop("structured_delta")
    assert found == DEFAULTS | bare


def test_U11_a_commit_without_a_snapshot_is_a_commit(owner):
    sent = {"commits": [commit("nothing yet", snapshot_id=None)]}
    head = sent["commits"][0]["commit_id"]
    assert_accepted(push(owner, "song", sent))
    assert fetched_ids(fetch(owner, "song", [head], by=owner)) == ({head}, set(), set())


@pytest.mark.parametrize(
    "committed_at",
    [
        case("U12", text, text)
        for text in (
            "2026-01-01T00:00:00.000001+00:00",
            "2026-01-01T00:00:00.120000+00:00",
            "2026-01-01T02:00:00+02:00",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-02-30T25:61:61+00:00",
            "the day before yesterday",
            "",
        )
    ],
)
def test_the_time_of_a_commit_stays_the_text_that_was_hashed(owner, committed_at):
    record = commit("now", snapshot_id=S1, committed_at=committed_at)
    assert_accepted(push(owner, "song", truly(record, on=[SNAPSHOTS[S1]])))
    assert cloned(owner, record["commit_id"])[record["commit_id"]]["committed_at"] == committed_at


@pytest.mark.parametrize(
    "message",
    [
        case("U12", "an empty one", ""),
        case("U12", "lines", "a\r\nb\n\n\tc\n"),
        case("U12", "beyond the basic plane", "\U0001f600 caf\u00e9 cafe\u0301 \uffee"),
        case("U12", "control characters but NUL", "\x01\x1b[31m\x7f"),
        case("U12", "100 kB", "x" * 100_000),
    ],
)
def test_a_message_stays_as_it_was(owner, message):
    record = commit(message, snapshot_id=S1)
    assert_accepted(push(owner, "song", truly(record, on=[SNAPSHOTS[S1]])))
    assert cloned(owner, record["commit_id"])[record["commit_id"]]["message"] == message


@pytest.mark.parametrize(
    "fields",
    [
        case("U13", "no author", {"author": ""}),
        case(
            "U13", "an author who is not the pusher", {"author": "Somebody Else <else@example.org>"}
        ),
        case("U13", "another branch", {"branch": "other"}),
        case(
            "U13",
            "the repository id of a laptop",
            {"repo_id": "11111111-2222-4333-8444-555555555555"},
        ),
    ],
)
def test_fields_outside_the_digest_come_back_unchanged(owner, fields):
    sent = bundle(C1)
    sent["commits"][0] |= fields
    assert_accepted(push(owner, "song", sent))
    assert {key: cloned(owner, C1)[C1][key] for key in fields} == fields


@pytest.mark.slow
def test_U14_twenty_pushes_of_one_commit_each(owner):
    history = chain(20, files=True)
    for number in range(1, 21):
        assert (
            assert_accepted(push(owner, "song", history.bundle([number])))["remote_head"]
            == history[number]
        )
    assert set(cloned(owner, history[20])) == {history[number] for number in range(1, 21)}
