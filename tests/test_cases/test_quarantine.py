"""Uploads that no push has accepted yet: the calls of a push to S3, and the objects that the client
has to send again.
"""

import hashlib
from collections.abc import Sequence

import httpx
import pytest

from bench.meter import Meter
from shared import settings
from shared.actions import quarantine
from tests import client
from tests.builders import Record, commit, snapshot
from tests.client import call, fetch, push
from tests.functions import api
from tests.test_cases.fixtures import C1, C2, assert_accepted, assert_refused, missing, pushed

LAMBDA_REPLY_BYTES = 6_291_556


def stems(count: int, salt: str) -> dict[str, bytes]:
    """Objects that the stock client would upload to presigned URLs, by id."""
    contents = [f"{salt} {number}".encode() * 20 for number in range(count)]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def presign(owner: str, object_ids: Sequence[str]) -> dict[str, str]:
    urls: dict[str, str] = assert_accepted(
        call(
            "presign", owner, "song", {"object_ids": list(object_ids), "direction": "put"}, by=owner
        )
    )["presigned"]
    return urls


def upload(owner: str, objects: dict[str, bytes]) -> None:
    for object_id, url in presign(owner, list(objects)).items():
        assert httpx.put(url, content=objects[object_id]).status_code == 200


def on_stems(objects: Sequence[str], parents: Sequence[str] = (), message: str = "stems") -> Record:
    """A push of one commit on these objects, none of which is in it."""
    record = snapshot(
        {f"{number:05}.wav": object_id for number, object_id in enumerate(sorted(objects))}
    )
    return {
        "commits": [commit(message, parents, record["snapshot_id"])],
        "snapshots": [record],
        "objects": [],
    }


def calls_to_s3(meter: Meter) -> dict[str, int]:
    return {name: count for name, count in meter.by_operation().items() if name.startswith("s3.")}


# ── Objects that were never uploaded ──────────────────────────────────────────────────────────────


def test_a_push_of_objects_that_were_never_offered_asks_s3_nothing(owner):
    pushed(owner, "song", C1)
    absent = [f"{number:064x}" for number in range(2_000)]
    with Meter() as meter:
        answer = push(owner, "song", on_stems(absent), branch="other")
    assert_refused(answer, 422, "missing_reference")
    assert calls_to_s3(meter) == {}


def test_a_push_of_many_objects_that_were_never_uploaded_lists_the_quarantine_once_and_reads_nothing(
    owner,
):
    upload(owner, stems(1, owner))
    absent = [f"{number:064x}" for number in range(2_000)]
    with Meter() as meter:
        answer = push(owner, "song", on_stems(absent))
    assert_refused(answer, 422, "missing_reference")
    assert calls_to_s3(meter) == {"s3.ListObjectsV2": 1}


def test_an_upload_that_is_among_many_absent_objects_is_not_read(owner):
    objects = stems(1, owner)
    upload(owner, objects)
    absent = [f"{number:064x}" for number in range(quarantine.FEW)]
    with Meter() as meter:
        answer = push(owner, "song", on_stems([*absent, *objects]))
    assert_refused(answer, 422, "missing_reference")
    assert calls_to_s3(meter) == {"s3.ListObjectsV2": 1}


# ── Nothing is uploaded twice ─────────────────────────────────────────────────────────────────────


def test_a_push_that_loses_a_race_does_not_upload_its_stems_again(owner):
    pushed(owner, "song", C1, C2)
    objects = stems(3, owner)
    assert missing(owner, "song", *objects) == set(objects)
    upload(owner, objects)
    assert_refused(push(owner, "song", on_stems(list(objects))), 409, "non_fast_forward")
    assert missing(owner, "song", *objects) == set()
    sent = on_stems(list(objects), [C2])
    assert_accepted(push(owner, "song", sent))
    found = assert_accepted(
        fetch(owner, "song", [sent["commits"][0]["commit_id"]], [C2], by=owner)
    )["objects"]
    assert {one["object_id"]: one["content"] for one in found} == objects


def test_a_push_that_was_rate_limited_does_not_upload_its_stems_again(owner):
    objects = stems(3, owner)
    upload(owner, objects)
    # A push over the limit is refused before the hub reads it: the hub knows of the uploads from S3
    # alone.
    assert missing(owner, "song", *objects) == set()


def test_a_reader_learns_nothing_about_the_quarantine(owner, stranger):
    pushed(owner, "song", C1)
    objects = stems(1, owner)
    upload(owner, objects)
    asked = {"object_ids": list(objects)}
    assert assert_accepted(call("filter_objects", owner, "song", asked, by=stranger))[
        "missing"
    ] == list(objects)


def test_a_false_upload_is_missing_again_after_the_push_that_found_it(owner):
    true, false = stems(2, owner), dict.fromkeys(stems(2, "other"), b"false")
    upload(owner, true | false)
    both = [*true, *false]
    assert missing(owner, "song", *both) == set()
    assert_refused(push(owner, "song", on_stems(both)), 422, "hash_mismatch")
    assert missing(owner, "song", *both) == set(false)
    upload(owner, stems(2, "other"))
    assert missing(owner, "song", *both) == set()
    assert_accepted(push(owner, "song", on_stems(both)))


def test_a_renamed_repository_knows_its_uploads(owner):
    objects = stems(1, owner)
    upload(owner, objects)
    assert (
        api.call("repos", "POST", f"/repos/{owner}/song/rename", {"slug": "hymn"}, by=owner).status
        == 200
    )
    assert missing(owner, "hymn", *objects) == set()


# ── More than one push verifies ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limit", "most"),
    [("VERIFIED_OBJECTS", 20), ("VERIFIED_BYTES", 3_000)],
    ids=["objects", "bytes"],
)
def test_each_push_of_many_uploads_verifies_a_part_and_the_next_one_goes_on(
    owner, monkeypatch, limit, most
):
    monkeypatch.setattr(quarantine, limit, most)
    objects = stems(50, owner)
    upload(owner, objects)
    sent, attempts = on_stems(list(objects)), 1
    while (answer := push(owner, "song", sent)).status != 200:
        assert_refused(answer, 422, "uploads_pending", naming=["push again"])
        assert missing(owner, "song", *objects) == set()
        attempts += 1
    assert 3 <= attempts <= 20
    found = assert_accepted(fetch(owner, "song", [sent["commits"][0]["commit_id"]], by=owner))[
        "objects"
    ]
    assert {one["object_id"]: one["content"] for one in found} == objects


@pytest.mark.parametrize("others", [0, quarantine.FEW], ids=["read", "listed"])
def test_an_upload_that_no_stock_client_could_clone_is_refused_with_its_path(
    owner, configured, others
):
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", "1000")
    large = {hashlib.sha256(b"x" * 1_001).hexdigest(): b"x" * 1_001}
    objects = stems(others, owner) | large
    upload(owner, objects)
    sent = on_stems(list(objects))
    (path,) = (
        path for path, object_id in sent["snapshots"][0]["manifest"].items() if object_id in large
    )
    with Meter() as meter:
        answer = push(owner, "song", sent)
    assert_refused(
        answer, 413, "too_large", naming=[path, 1_001, 1_000, sent["commits"][0]["commit_id"]]
    )
    listed = {"s3.ListObjectsV2": 1}
    assert calls_to_s3(meter) == (listed if others else {"s3.GetObject": 1}), "nothing is copied"
    assert client.heads(owner, "song", by=owner) == {}


def test_a_setting_lets_larger_uploads_in(owner, configured):
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", str(64 * 2**20))
    content = bytes(63 * 2**20 + 1)
    objects = {hashlib.sha256(content).hexdigest(): content}
    upload(owner, objects)
    sent = on_stems(list(objects))
    assert_accepted(push(owner, "song", sent))
    configured.delenv("PIERIA_MAX_OBJECT_BYTES")
    settings.load.cache_clear()
    (again,) = on_stems(list(objects), [sent["commits"][0]["commit_id"]], "again")["commits"]
    assert_accepted(push(owner, "song", {"commits": [again]})), "what is stored stays acceptable"


# ── More URLs than one reply holds ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("accept", [client.ACCEPT, "application/json"], ids=["msgpack", "json"])
def test_ten_thousand_urls_come_in_several_replies_that_lambda_can_send(owner, accept):
    asked = [f"{number:064x}" for number in range(10_000)]
    waiting = asked
    replies = 0
    while waiting:
        message = {"object_ids": waiting}
        path = f"/{owner}/song/presign"
        request = client.request("POST", path, message, by=owner, accept=accept)
        reply = client.reply_bytes("presign", client.event_of(request))
        assert len(reply) < LAMBDA_REPLY_BYTES
        value = client.answer(reply).value
        assert value["inline"] == []
        assert list(value["presigned"]) == waiting[: len(value["presigned"])]
        waiting = waiting[len(value["presigned"]) :]
        replies += 1
    assert replies > 1
