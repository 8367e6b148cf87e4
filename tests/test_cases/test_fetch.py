"""Group 9: POST fetch. Most of it asks `song` of `merged`, whose main is M: C1, C2 and CX, and
their merge.
"""

import hashlib
import json
from typing import Any

import msgpack
import pytest

from tests.builders import Record, chain
from tests.client import call, fetch, fetched_ids, push
from tests.test_cases.fixtures import (
    C1,
    C2,
    CE,
    COMMITS,
    CONTENTS,
    CX,
    O0,
    O1,
    O2,
    O3,
    S0,
    S1,
    S2,
    S3,
    SNAPSHOTS,
    UNKNOWN,
    M,
    R,
    alter,
    assert_accepted,
    assert_hidden,
    assert_refused,
    blobs,
    bundle,
    case,
    missing,
    no_ids,
    pushed,
)

STRANGERS = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(1_500)]
"""Digests of no commit."""

SEEN_BY_NO_HASH = {
    "repo_id": "11111111-2222-4333-8444-555555555555",
    "branch": "elsewhere",
    "author": "Ada Lovelace",
    "metadata": {"section": "verse", "emotion": "joyful", "": "caf\u00e9"},
    "sem_ver_bump": "minor",
    "breaking_changes": [f"change {number}" for number in range(1_000)],
    "agent_id": "agent",
    "model_id": "model",
    "toolchain_id": "toolchain",
    "prompt_hash": "p" * 256,
    "signature": "5" * 64,
    "signer_key_id": "6" * 16,
    "format_version": 5,
    "reviewed_by": ["Grace", "Alan"],
    "test_runs": 2**31,
}


def by_id(records: list[Record], key: str) -> dict[str, Record]:
    """Records by their id, of which each comes once."""
    found = {record[key]: record for record in records}
    assert len(found) == len(records)
    return found


def test_G01_a_clone_is_whole_and_true(merged, address):
    reply = assert_accepted(fetch(merged, "song", [M], source_ip=address))
    assert set(reply) == {"commits", "snapshots", "objects", "branch_heads"}
    assert reply["branch_heads"] == {"main": M}
    commits = by_id(reply["commits"], "commit_id")
    assert {i: c | {"structured_delta": None} for i, c in commits.items()} == {
        i: COMMITS[i] for i in (C1, C2, CX, M)
    }
    assert by_id(reply["snapshots"], "snapshot_id") == {i: SNAPSHOTS[i] for i in (S1, S2, S3)}
    objects = by_id(reply["objects"], "object_id")
    assert {i: o["content"] for i, o in objects.items()} == {i: CONTENTS[i] for i in (O1, O2, O3)}


@pytest.mark.parametrize(
    ("want", "have", "commits", "snapshots", "objects"),
    [
        case("G02", "the next commit", [C2], [C1], {C2}, {S2}, {O2}),
        case("G03", "the merge, from one side", [M], [C2], {CX, M}, {S3}, {O3}),
        case("G03", "the merge, from both sides", [M], [C2, CX], {M}, {S3}, set()),
        case("G03", "the merge, from the root", [M], [C1], {C2, CX, M}, {S2, S3}, {O2, O3}),
        case("G04", "what is there already", [M], [M], set(), set(), set()),
        case("G04", "less than is there already", [C1], [M], set(), set(), set()),
        case("G05", "nothing", [], [], set(), set(), set()),
        case("G05", "nothing, from something", [], [M], set(), set(), set()),
        case("G08", "from a commit unknown", [C2], [UNKNOWN], {C1, C2}, {S1, S2}, {O1, O2}),
        case("G08", "from a commit known and one unknown", [C2], [UNKNOWN, C1], {C2}, {S2}, {O2}),
        case(
            "G08", "from what is no commit at all", [C2], ["../x", "", O1, S1, C1], {C2}, {S2}, {O2}
        ),
        case("G09", "from 1,500 commits unknown", [C2], STRANGERS, {C1, C2}, {S1, S2}, {O1, O2}),
        case(
            "G09",
            "from the root and 1,500 unknown",
            [M],
            [*STRANGERS, C1],
            {C2, CX, M},
            {S2, S3},
            {O2, O3},
        ),
        case(
            "G09", "from a side and 1,500 unknown", [M], [C2, *STRANGERS, C1], {CX, M}, {S3}, {O3}
        ),
        case(
            "G09",
            "from everything and 1,500 unknown",
            [M],
            [M, CX, *STRANGERS, C2, C1],
            set(),
            set(),
            set(),
        ),
        case("G10", "twice", [C2, C2, C2], [C1, C1], {C2}, {S2}, {O2}),
        case("G10", "a commit and its parent", [C2, C1], [], {C1, C2}, {S1, S2}, {O1, O2}),
    ],
)
def test_a_fetch_brings_the_wants_without_the_haves(
    merged, stranger, want, have, commits, snapshots, objects
):
    found = fetched_ids(fetch(merged, "song", want, have, by=stranger))
    assert found == (commits, snapshots, objects)


def test_beyond_a_limit_the_manifests_of_the_client_are_not_read_and_more_is_sent(
    merged, stranger, monkeypatch
):
    """The first manifest that does not fit ends the reading.

    The answer has all that the client lacks.
    """
    monkeypatch.setattr("shared.actions.fetch_plan.BOUNDARY_BYTES", 0)
    commits, snapshots, objects = fetched_ids(fetch(merged, "song", [C2], [C1], by=stranger))
    assert (commits, snapshots, objects) == ({C2}, {S2}, {O1, O2})


def test_G03_a_fetch_of_one_side_from_the_other_brings_the_difference(merged, stranger):
    """O2 is in both sides. Only the fork is looked at, so it may come again."""
    commits, snapshots, objects = fetched_ids(fetch(merged, "song", [CX], [C2], by=stranger))
    assert (commits, snapshots, objects | {O2}) == ({CX}, {S3}, {O2, O3})


@pytest.mark.parametrize(
    "message",
    [
        case("G05", "neither key", {}),
        case("G05", "no want", {"have": [C1]}),
        case("G05", "two empty lists", {"want": [], "have": []}),
    ],
)
def test_a_fetch_without_wants_gets_the_heads(merged, stranger, message):
    reply = assert_accepted(call("fetch", merged, "song", message, by=stranger))
    assert reply == {"commits": [], "snapshots": [], "objects": [], "branch_heads": {"main": M}}


@pytest.mark.parametrize(
    "want",
    [
        case("G06", "alone", [UNKNOWN]),
        case("G07", "after one that is known", [M, UNKNOWN]),
        case("G07", "before one that is known", [UNKNOWN, M]),
        case("G07", "a snapshot in place of a commit", [S1]),
        case("G07", "an object in place of a commit", [O1]),
        case("G07", "an opaque id", ["opaque-1"]),
    ],
)
def test_a_wanted_commit_that_is_not_here_is_named_and_nothing_is_sent(merged, stranger, want):
    unknown = next(i for i in want if i != M)
    answer = fetch(merged, "song", want, by=stranger)
    assert_refused(answer, 404, "commit_not_found", naming=[unknown])
    assert_refused(
        fetch(merged, "song", want, [M], by=stranger), 404, "commit_not_found", naming=[unknown]
    )


@pytest.mark.parametrize("commit_id", no_ids("G11"))
def test_an_invalid_id_is_no_commit(merged, stranger, commit_id):
    assert_refused(call("fetch", merged, "song", {"want": [M, commit_id]}, by=stranger), 422)


@pytest.mark.parametrize(
    "message",
    [
        case("G12", "want a text", {"want": M}),
        case("G12", "want null", {"want": None}),
        case("G12", "want a map", {"want": {M: True}}),
        case("G12", "have a text", {"want": [M], "have": C1}),
        case("G12", "have null", {"want": [M], "have": None}),
        case("G12", "have numbers", {"want": [M], "have": [1]}),
    ],
)
def test_a_fetch_has_its_shape(merged, stranger, message):
    assert_refused(call("fetch", merged, "song", message, by=stranger), 422, "invalid")


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        case("G12", "10,001 wants", {"want": [M] * 10_001}, 10_000),
        case("G12", "100,001 haves", {"want": [M], "have": [C1] * 100_001}, 100_000),
    ],
)
def test_a_list_above_its_limit_is_refused_with_the_limit(merged, stranger, message, limit):
    assert_refused(
        call("fetch", merged, "song", message, by=stranger), 413, "too_large", naming=[limit]
    )


@pytest.mark.parametrize(
    "have",
    [
        case("G13", "none", 0),
        case("G13", "the root", 1),
        case("G13", "15", 15),
        case("G13", "19", 19),
    ],
)
def test_of_a_line_of_twenty_the_newer_ones_come(owner, have):
    history = chain(20, files=True)
    assert_accepted(push(owner, "song", history.bundle()))
    commits, snapshots, objects = fetched_ids(
        fetch(owner, "song", [history[20]], [history[have]] if have else [], by=owner)
    )
    newer = range(have + 1, 21)
    assert commits == {history[number] for number in newer}
    assert snapshots == {history.snapshots[number]["snapshot_id"] for number in newer}
    assert objects == {history.snapshots[number]["manifest"][f"{number}.txt"] for number in newer}


def test_G14_without_a_token_private_is_absent(estate, address):
    assert_hidden(estate, "fetch", {"want": [C1]}, source_ip=address)


def test_G14_with_another_users_token_private_is_absent(estate, stranger):
    assert_hidden(estate, "fetch", {"want": [C1]}, by=stranger)


def test_G15_the_owner_fetches_from_a_private_repository(estate):
    assert fetched_ids(fetch(estate, "priv", [C1], by=estate)) == ({C1}, {S1}, {O1})


def assert_plain(value: Any, path: str = "") -> None:
    """Maps have texts for keys; bytes are an object's content and nothing else; parents are texts
    or nil.
    """
    if isinstance(value, dict):
        for key, below in value.items():
            assert type(key) is str, path
            assert_plain(below, f"{path}.{key}")
    elif isinstance(value, list):
        for below in value:
            assert_plain(below, f"{path}[]")
    else:
        allowed = {
            ".objects[].content": (bytes,),
            ".commits[].parent_commit_id": (str, type(None)),
            ".commits[].parent2_commit_id": (str, type(None)),
            ".commits[].structured_delta": (type(None),),
            ".commits[].format_version": (int,),
            ".commits[].test_runs": (int,),
        }.get(path, (str,))
        assert type(value) in allowed, path


def test_G16_every_value_of_a_reply_has_the_type_that_the_client_expects(merged, stranger):
    answer = fetch(merged, "song", [M], by=stranger)
    extensions: list[int] = []
    reply = msgpack.unpackb(
        answer.body,
        raw=False,
        strict_map_key=True,
        ext_hook=lambda code, data: extensions.append(code),
    )
    assert len(reply["commits"]) == 4
    assert_plain(reply)
    assert not extensions


@pytest.mark.parametrize(
    "delta",
    [
        case("G17", "no delta", None),
        case(
            "G17",
            "a delta",
            {"domain": "midi", "ops": [{"op": "insert", "at": 1.5}], "summary": ""},
        ),
        case(
            "G17", "a delta of a megabyte", {"domain": "code", "ops": [{"op": "x" * 1_000}] * 1_000}
        ),
    ],
)
def test_a_record_comes_back_as_it_was_sent_its_delta_apart(owner, delta):
    sent = bundle(C1)
    sent["commits"][0] |= SEEN_BY_NO_HASH | {
        "structured_delta": delta,
        "later": {"keys": [1, None, True, 0.5]},
    }
    assert_accepted(push(owner, "song", sent))
    reply = assert_accepted(fetch(owner, "song", [C1], by=owner))
    (record,) = reply["commits"]
    assert record.pop("structured_delta", None) in (None, delta)
    assert record == {
        key: value for key, value in sent["commits"][0].items() if key != "structured_delta"
    }
    assert reply["snapshots"] == sent["snapshots"]


def test_G18_a_reader_of_json_gets_contents_in_base64(owner):
    assert_accepted(push(owner, "song", bundle(C1, CE)))
    answer = call(
        "fetch", owner, "song", {"want": [CE]}, by=owner, headers={"accept": "application/json"}
    )
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    reply = json.loads(answer.body)
    assert {o["object_id"]: (o["encoding"], o["content"]) for o in reply["objects"]} == {
        O0: ("base64", ""),
        O1: ("base64", "aGVsbG8K"),
    }
    in_msgpack = fetch(owner, "song", [CE], by=owner).value
    for key in ("commits", "snapshots", "branch_heads"):
        assert reply[key] == in_msgpack[key]


@pytest.mark.parametrize(
    "slug", [case("G19", "of the same owner", "ours"), case("G19", "of a stranger", "theirs")]
)
def test_a_commit_of_another_repository_is_not_here(owner, stranger, slug):
    whose = owner if slug == "ours" else stranger
    pushed(whose, slug, C1, C2)
    pushed(owner, "song", C1)
    assert_refused(fetch(owner, "song", [C2], by=owner), 404, "commit_not_found", naming=[C2])
    assert fetched_ids(fetch(owner, "song", [C1], [C2], by=owner)) == ({C1}, {S1}, {O1})


def test_G20_a_snapshot_of_another_repository_cannot_be_named(owner, stranger):
    pushed(owner, "priv", C1, C2)
    alter(owner, "priv", visibility="private")
    pushed(stranger, "theirs", R)
    for objects in (False, True):
        stolen = bundle(C1, C2, objects=objects) | {"snapshots": []}
        assert_refused(
            push(stranger, "theirs", stolen, branch="stolen"), 422, "missing_reference", naming=[S2]
        )
    assert_refused(fetch(stranger, "theirs", [C2], by=stranger), 404, "commit_not_found")


def test_G20_opaque_snapshots_of_two_repositories_are_two(owner, stranger):
    """An opaque id proves nothing, so it may be named unseen; it leads nowhere."""
    tree = {"snapshot_id": "snap_1", "manifest": {"secret.txt": O1}}
    head = {"commit_id": "opaque-1", "snapshot_id": "snap_1"}
    assert_accepted(
        push(owner, "priv", {"commits": [head], "snapshots": [tree], "objects": blobs(O1)})
    )
    alter(owner, "priv", visibility="private")
    assert_accepted(push(stranger, "theirs", {"commits": [head]}))
    assert fetched_ids(fetch(stranger, "theirs", ["opaque-1"], by=stranger)) == (
        {"opaque-1"},
        set(),
        set(),
    )


def test_G21_an_object_of_another_repository_cannot_be_named(owner, stranger):
    pushed(owner, "priv", C1)
    alter(owner, "priv", visibility="private")
    assert missing(stranger, "theirs", O1) == {O1}
    refused = push(stranger, "theirs", bundle(C1, objects=False))
    assert_refused(refused, 422, "missing_reference", naming=[O1])


def test_G21_an_opaque_snapshot_does_not_lead_to_anothers_object(owner, stranger):
    pushed(owner, "priv", C1)
    alter(owner, "priv", visibility="private")
    sent = {
        "commits": [{"commit_id": "opaque-1", "snapshot_id": "snap_1"}],
        "snapshots": [{"snapshot_id": "snap_1", "manifest": {"a.txt": O1}}],
    }
    assert_refused(push(stranger, "theirs", sent), 422, "missing_reference", naming=[O1])


@pytest.mark.parametrize(
    "accepted", [case("G22", text, text) for text in ("identity", "br", "gzip;q=0")]
)
def test_a_reply_is_not_compressed_for_a_client_that_does_not_read_that(merged, stranger, accepted):
    answer = call(
        "fetch", merged, "song", {"want": [M]}, by=stranger, headers={"accept-encoding": accepted}
    )
    assert_accepted(answer)
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == str(len(answer.body))


def test_G23_an_empty_file_comes_with_its_empty_content(owner):
    pushed(owner, "song", C1, CE)
    reply = assert_accepted(fetch(owner, "song", [CE], [C1], by=owner))
    assert reply["objects"] == [{"object_id": O0, "content": b""}]
    assert fetched_ids(fetch(owner, "song", [CE], [C1], by=owner)) == ({CE}, {S0}, {O0})
