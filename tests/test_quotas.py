"""The bytes that an owner stores: counted, shown, limited, and counted again."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from infra.cli import output
from shared import quotas, settings
from tests import client
from tests.builders import Record, blob, commit, snapshot
from tests.client import Answer
from tests.cloud_calls import CloudCall, intercepted
from tests.functions import api
from tests.infra.test_cli import done, printed

MB = 1_000_000
SetLimit = Callable[[int], None]


@pytest.fixture
def limited(configured: pytest.MonkeyPatch) -> SetLimit:
    """Sets the limit of each owner in bytes, and opens new containers."""

    def set_limit(limit_bytes: int) -> None:
        configured.setenv("PIERIA_LIMIT_BYTES_OWNER", str(limit_bytes))
        settings.load.cache_clear()

    return set_limit


def noise(length: int, salt: str) -> bytes:
    """Bytes that no compression makes smaller."""
    return hashlib.shake_256(salt.encode()).digest(length)


def bundle_of(content: bytes, message: str, *parents: str) -> Record:
    sent = blob(content)
    record = snapshot({"a.bin": sent["object_id"]})
    return {
        "commits": [commit(message, parents, record["snapshot_id"])],
        "snapshots": [record],
        "objects": [sent],
    }


def push(owner: str, length: int, branch: str = "main", by: str | None = None) -> Answer:
    content = noise(length, f"{owner} {branch} {length}")
    return client.push(owner, "song", bundle_of(content, branch), branch=branch, by=by)


def usage(owner: str) -> Any:
    answer = api.call("usage", "GET", "/usage", by=owner)
    assert answer.status == 200, answer.body
    return answer.value


def new_container() -> None:
    """Forget what this process has counted and read."""
    settings.load.cache_clear()


# ── Counting ──────────────────────────────────────────────────────────────────────────────────────


def test_a_large_push_is_counted_with_its_reply(owner: str) -> None:
    assert usage(owner)["stored_bytes"] == 0
    assert push(owner, 2 * MB).status == 200
    new_container()
    found = usage(owner)
    assert 2 * MB < found["stored_bytes"] < 2 * MB + 2000
    assert found["stored_objects"] == 1
    assert [cost["dollars"] for cost in found["costs"]] == [0, 0]


def test_small_pushes_are_counted_together(owner: str) -> None:
    for number in range(3):
        assert push(owner, 300_000, f"b{number}").status == 200
    assert usage(owner)["stored_bytes"] > 3 * 300_000, "with what this container will add"
    assert push(owner, 300_000, "b3").status == 200
    assert done("usage", "show", owner)["stored_bytes"] > 4 * 300_000


def test_content_that_is_stored_already_is_not_counted_again(owner: str) -> None:
    sent = {"objects": [blob(noise(2 * MB, owner))]}
    for _ in range(2):
        assert client.call("push_objects", owner, "song", sent, by=owner).status == 200
    assert usage(owner)["stored_bytes"] < 2 * MB + 2000


def test_a_push_succeeds_although_it_cannot_be_counted_and_is_counted_later(owner: str) -> None:
    async def fail_counting(call: CloudCall) -> Any:
        if call.operation == "UpdateItem" and "USAGE#" in str(call.parameters["Key"]):
            raise ConnectionError
        return await call.send()

    with intercepted(fail_counting):
        assert push(owner, 2 * MB).status == 200
    assert push(owner, 2 * MB, "other").status == 200
    assert usage(owner)["stored_bytes"] > 4 * MB


# ── The limit ─────────────────────────────────────────────────────────────────────────────────────


def test_a_push_over_the_limit_is_refused_and_writes_nothing(owner: str, limited: SetLimit) -> None:
    limited(3 * MB)
    assert push(owner, 2 * MB).status == 200
    heads = client.heads(owner, "song")
    for _ in range(2):
        refused = push(owner, 2 * MB, "second")
        assert (refused.status, refused.code) == (403, "quota_reached")
        message = refused.value["message"]
        assert "3.0 MB, the limit" in message and f"pieria usage limit {owner}" in message
        new_container()  # the row decides, not the memory of one container
    assert client.heads(owner, "song") == heads
    assert usage(owner)["stored_bytes"] < 3 * MB


def test_other_requests_that_upload_are_refused_too(owner: str, limited: SetLimit) -> None:
    limited(1 * MB)
    large = noise(2 * MB, owner)
    sent = {"objects": [blob(large)]}
    object_id = sent["objects"][0]["object_id"]
    asked = {"object_ids": [object_id], "sizes": {object_id: len(large)}}
    for function, message in (("push_objects", sent), ("presign", asked)):
        refused = client.call(function, owner, "song", message, by=owner)
        assert (refused.status, refused.code) == (403, "quota_reached"), function


def test_an_owner_at_the_limit_reads_and_deletes_branches(owner: str, limited: SetLimit) -> None:
    limited(3 * MB)
    assert push(owner, 2 * MB).status == 200
    assert push(owner, MB // 2, "second").status == 200
    assert push(owner, 2 * MB, "third").code == "quota_reached"
    assert client.heads(owner, "song").keys() == {"main", "second"}
    path = f"/repos/{owner}/song/branches"
    deleted = api.call("branches", "DELETE", path, by=owner, query="branch=second")
    assert deleted.status == 204, deleted.body


def test_the_owner_is_warned_from_four_fifths_of_the_limit_on_and_a_member_is_not(
    owner: str, limited: SetLimit
) -> None:
    limited(3 * MB)
    assert "stores" not in push(owner, 2 * MB).value["message"]
    assert not usage(owner)["is_near_limit"]
    warned = push(owner, MB // 2, "second")
    assert f"{owner} stores 2.5 MB of 3.0 MB" in warned.value["message"]
    api.give(owner, "song", f"{owner}-member", "write")
    by_member = push(owner, 1000, "third", by=f"{owner}-member")
    assert by_member.status == 200 and "stores" not in by_member.value["message"]


def test_a_hub_without_a_limit_refuses_nothing_and_counts(owner: str, limited: SetLimit) -> None:
    limited(0)
    assert push(owner, 2 * MB).status == 200
    assert usage(owner)["stored_bytes"] > 2 * MB
    assert usage(owner)["limit_bytes"] is None


def test_a_token_of_one_repository_cannot_read_the_usage(owner: str) -> None:
    token = client.token(owner, repo=f"{owner}/song")
    assert api.call("usage", "GET", "/usage", token=token).status == 403


# ── The operator ──────────────────────────────────────────────────────────────────────────────────


def test_the_operator_gives_one_owner_another_limit(owner: str, limited: SetLimit) -> None:
    limited(1 * MB)
    assert push(owner, 1000).status == 200
    assert push(owner, 2 * MB, "second").code == "quota_reached"
    assert done("usage", "limit", owner, str(5 * MB))["limit_bytes"] == 5 * MB
    assert push(owner, 2 * MB, "second").status == 200
    assert usage(owner)["limit_bytes"] == 5 * MB
    assert "of 5.0 MB" in printed("usage", "show", owner)
    done("usage", "limit", owner, "0")
    assert usage(owner)["limit_bytes"] is None


def test_a_recount_corrects_the_sum_from_the_bucket(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "QUANTUM_BYTES", 10 * MB)
    assert push(owner, 2 * MB).status == 200
    new_container()  # which had not added anything
    assert usage(owner)["stored_bytes"] == 0
    counted = done("usage", "recount", owner)
    assert counted["stored_bytes"] == usage(owner)["stored_bytes"] > 2 * MB
    assert [repo["repo"] for repo in counted["repos"]] == ["song"]
    assert usage(owner)["stored_objects"] == 1


def test_a_deleted_repository_counts_until_it_is_purged(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert push(owner, 2 * MB).status == 200
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status in (200, 204)
    counted = done("usage", "recount", owner)
    assert [repo["is_deleted"] for repo in counted["repos"]] == [True]
    later = output.now() + 3 * 24 * 3600
    monkeypatch.setattr(output, "now", lambda: later)
    done("purge", "--remove")
    assert done("usage", "recount", owner)["stored_bytes"] == 0
    assert usage(owner)["stored_bytes"] == 0
