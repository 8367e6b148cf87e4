"""filter-objects of a large repository: one manifest answers for nearly all of it, and never
wrongly.
"""

from collections.abc import Mapping

import boto3
import pytest

from bench.meter import Meter
from shared import ids
from shared.actions.uploads import MANY_OBJECTS
from shared.model import ObjectId
from shared.objects import keys
from tests import builders
from tests import client as hub
from tests.conftest import NAMES
from tests.faults import recorded

FILES = {f"{n}.mid": f"file {n}".encode() for n in range(MANY_OBJECTS)}
HELD = {ids.object_id(content): content for content in FILES.values()}


def pushed(
    owner: str,
    manifest: Mapping[str, str],
    objects: Mapping[ObjectId, bytes],
    branch: str = "main",
    **named: str,
) -> None:
    snapshot = builders.snapshot(manifest) | named
    commit = builders.commit("all of it", [], snapshot["snapshot_id"])
    sent = [{"object_id": i, "content": content} for i, content in objects.items()]
    bundle = {"commits": [commit], "snapshots": [snapshot], "objects": sent}
    answer = hub.push(owner, "song", bundle, branch=branch)
    assert answer.status == 200, answer.body


def missing(owner: str, asked: list[str]) -> list[str]:
    answer = hub.call("filter_objects", owner, "song", {"object_ids": asked}, by=owner)
    assert answer.status == 200, answer.body
    found: list[str] = answer.value["missing"]
    return found


def unknown(count: int) -> list[str]:
    return [ids.object_id(f"nobody sent this: {n}".encode()) for n in range(count)]


@pytest.fixture(params=["main", "trunk"])
def large(owner: str, request: pytest.FixtureRequest) -> str:
    """The owner of a repository of many files on its only branch."""
    manifest = {name: ids.object_id(content) for name, content in FILES.items()}
    pushed(owner, manifest, HELD, request.param)
    return owner


def test_objects_outside_the_head_are_looked_up_and_the_order_is_kept(large: str) -> None:
    uploaded = {ids.object_id(content): content for content in (b"sent ahead", b"and this")}
    sent = [{"object_id": i, "content": content} for i, content in uploaded.items()]
    assert hub.call("push_objects", large, "song", {"objects": sent}, by=large).status == 200
    new = unknown(30)
    with Meter(weigh=True) as meter:
        assert missing(large, [*new[:10], *HELD, *new[10:20], *uploaded, *new[20:]]) == new
    assert sum(weight.read_units for weight in meter.weights) < 50, "a row for each file was read"


@pytest.mark.parametrize("count", [3, MANY_OBJECTS + 1])
def test_of_a_repository_that_is_yet_to_be_pushed_nothing_is_read(owner: str, count: int) -> None:
    assert missing(owner, []) == []
    with recorded() as calls:
        missing(owner, [])
    with recorded() as more:
        assert missing(owner, unknown(count)) == unknown(count)
    assert more == calls


def test_an_opaque_id_in_a_manifest_is_no_proof_that_it_was_sent(owner: str) -> None:
    manifest = {name: ids.object_id(content) for name, content in FILES.items()}
    pushed(owner, manifest | {"draft.mid": "never-sent"}, HELD, snapshot_id="draft")
    assert missing(owner, [*HELD, "never-sent"]) == ["never-sent"]


def test_without_the_manifest_the_answer_is_the_same(large: str) -> None:
    answer = hub.call("refs", large, "song", by=large, headers={"accept": "application/json"})
    s3 = boto3.client("s3")
    for found in s3.list_objects_v2(
        Bucket=NAMES["Bucket"], Prefix=keys.stored(answer.value["repo_id"])
    )["Contents"]:
        s3.delete_object(Bucket=NAMES["Bucket"], Key=found["Key"])
    s3.close()
    new = unknown(2)
    assert missing(large, [new[0], *HELD, new[1]]) == new


def test_a_repository_without_its_default_branch_is_asked_row_by_row(owner: str) -> None:
    sent = [{"object_id": i, "content": content} for i, content in HELD.items()]
    assert hub.call("push_objects", owner, "song", {"objects": sent}, by=owner).status == 200
    assert missing(owner, [*HELD, *unknown(1)]) == unknown(1)
