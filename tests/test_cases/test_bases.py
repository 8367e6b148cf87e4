"""Snapshots as patches of snapshots that the client has: `bases` in the request of a fetch."""

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from shared import codec, ids, settings
from tests.builders import History, Record, blob, commit, snapshot
from tests.client import call, push

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROUTES = ["fetch", "fetch_history"]
FILES = 300


def grown(salt: str, commits: int, files: int = FILES) -> History:
    """A line of commits. Each changes one line of one of many files."""
    history = History()
    manifest = {
        f"src/part{n % 17}/module_{n:05}.py": ids.object_id(b"%d" % n) for n in range(files)
    }
    history.objects = {ids.object_id(b"%d" % n): b"%d" % n for n in range(files)}
    for number in range(1, commits + 1):
        changed = blob(b"changed %d " % number + salt.encode())
        manifest = manifest | {sorted(manifest)[number * 7 % files]: changed["object_id"]}
        history.objects[changed["object_id"]] = changed["content"]
        history.snapshots[number] = snapshot(manifest)
        parents = [history[number - 1]] if number > 1 else []
        history.commits[number] = commit(
            f"{number}", parents, history.snapshots[number]["snapshot_id"]
        )
    return history


def pushed(owner: str, history: History) -> None:
    objects = [{"object_id": i, "content": content} for i, content in history.objects.items()]
    for start in range(0, len(objects), 1_000):
        answer = call(
            "push_objects", owner, "song", {"objects": objects[start : start + 1_000]}, by=owner
        )
        assert answer.status == 200
    assert push(owner, "song", history.bundle(objects=False)).status == 200


@pytest.fixture
def history(owner: str) -> History:
    drawn = grown(owner, 6)
    pushed(owner, drawn)
    return drawn


def held(owner: str, history: History, number: int) -> dict[str, bytes]:
    """The packed record of one snapshot, by id, as a client got it before."""
    reply = call("fetch", owner, "song", {"want": [history[number]]}).value
    return {one["snapshot_id"]: codec.pack_record(one) for one in reply["snapshots"]}


def digests(records: Mapping[str, bytes]) -> dict[str, str]:
    return {
        snapshot_id: hashlib.sha256(record).hexdigest() for snapshot_id, record in records.items()
    }


def whole(records: list[Record], bases: Mapping[str, bytes]) -> list[Record]:
    """The records of a reply, patches expanded."""
    known, found = dict(bases), []
    for record in records:
        packed = codec.pack_record(record)
        if "patch" in record:
            prefix = zstd.ZstdDict(known[record["base"]], is_raw=True).as_prefix
            packed = zstd.decompress(record["patch"], zstd_dict=prefix)
        found.append(codec.unpack_record(packed))
        assert found[-1]["snapshot_id"] == record["snapshot_id"]
        known[record["snapshot_id"]] = packed
    return found


def patches(reply: Record) -> list[Record]:
    return [one for one in reply["snapshots"] if "patch" in one]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("headers", [{}, {"accept-encoding": "zstd"}], ids=["identity", "zstd"])
@pytest.mark.parametrize("number", [5, 3, 1])
def test_the_snapshots_come_as_patches_that_expand_to_the_same_records(
    owner, history, route, headers, number
):
    bases = held(owner, history, number)
    message = {"want": [history[6]], "have": [history[number]]}
    plain = call(route, owner, "song", message, headers=headers).value
    reply = call(route, owner, "song", {**message, "bases": digests(bases)}, headers=headers).value
    assert len(patches(reply)) == len(reply["snapshots"]) == 6 - number
    assert whole(reply["snapshots"], bases) == whole(plain["snapshots"], {})
    assert {**reply, "snapshots": []} == {**plain, "snapshots": []}


@pytest.mark.parametrize("route", ROUTES)
def test_patches_are_as_long_as_the_changes(owner, history, route):
    bases = digests(held(owner, history, 1))
    reply = call(
        route, owner, "song", {"want": [history[6]], "have": [history[1]], "bases": bases}
    ).value
    assert max(len(one["patch"]) for one in patches(reply)) < 400


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda bases: {}, id="none"),
        pytest.param(lambda bases: dict.fromkeys(bases, "f" * 64), id="another digest"),
        pytest.param(
            lambda bases: {f"s{n}": digest for n, digest in enumerate(bases.values())},
            id="another id",
        ),
        pytest.param(lambda bases: {f"s{n}": f"{n:064x}" for n in range(64)}, id="unknown"),
    ],
)
def test_an_object_that_the_client_lacks_is_no_base(owner, history, route, wrong):
    bases = digests(held(owner, history, 5))
    message = {"want": [history[6]], "have": [history[5]]}
    plain = call(route, owner, "song", message)
    assert call(route, owner, "song", {**message, "bases": wrong(bases)}).body == plain.body


@pytest.mark.parametrize("route", ROUTES)
def test_a_snapshot_that_is_not_next_to_the_difference_is_no_base(owner, history, route):
    """It is not read for the fetch, and is not read for the patch."""
    message = {
        "want": [history[6]],
        "have": [history[5]],
        "bases": digests(held(owner, history, 1)),
    }
    reply = call(route, owner, "song", message).value
    assert patches(reply) == []


@pytest.mark.parametrize(
    ("route", "headers"),
    [("fetch", {}), ("fetch_history", {"accept-encoding": "zstd"})],
    ids=["fetch", "history"],
)
def test_a_changed_line_among_ten_thousand_files_takes_less_than_8_kB(owner, route, headers):
    history = grown(owner, 2, files=10_000)
    pushed(owner, history)
    bases = digests(held(owner, history, 1))
    message = {"want": [history[2]], "have": [history[1]]}
    assert len(call(route, owner, "song", message).body) > 900_000
    assert (
        len(call(route, owner, "song", {**message, "bases": bases}, headers=headers).body) < 8_000
    )


def test_patches_of_one_step_start_from_its_base_and_fit(
    owner, history, configured: pytest.MonkeyPatch
):
    """Snapshots that do not fit whole do as patches; a step that is cut keeps its first patches."""
    bases = held(owner, history, 1)
    have, received = [history[1]], list[Record]()
    configured.setenv("PIERIA_MAX_REPLY_BYTES", "3500")
    settings.load.cache_clear()
    steps = 0
    while len(received) < 5:
        message = {"want": [history[6]], "have": have, "bases": digests(bases)}
        answer = call("fetch_history", owner, "song", message)
        assert answer.status == 200, answer.body
        assert len(answer.body) <= 3_500
        found = whole(answer.value["snapshots"], bases)
        received += found
        have += [one["commit_id"] for one in answer.value["commits"]]
        bases |= {one["snapshot_id"]: codec.pack_record(one) for one in found}
        steps += 1
    assert steps > 1
    assert received == [history.snapshots[number] for number in range(2, 7)]


@pytest.mark.parametrize(
    ("bases", "status"),
    [
        ({f"s{n}": "f" * 64 for n in range(65)}, 413),
        ({"s": "f" * 63}, 422),
        ({"s": "F" * 64}, 422),
        ({"s": 5}, 422),
        (["s"], 422),
    ],
)
def test_bases_other_than_a_small_map_of_digests_are_refused(owner, history, bases: Any, status):
    answer = call("fetch", owner, "song", {"want": [history[6]], "bases": bases})
    assert answer.status == status, answer.body
    assert "bases" in answer.value["message"]
