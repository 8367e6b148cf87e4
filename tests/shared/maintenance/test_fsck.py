"""fsck finds and names each planted fault, and reports nothing for a whole repository."""

import os
import zlib

import msgpack
import pytest

from shared.limits import Limits
from shared.maintenance import fsck as action
from shared.maintenance.fsck import Finding
from shared.stores import Stores
from tests.builders import History, blob, commit, graph, snapshot
from tests.client import push
from tests.shared.maintenance.upkeep import Bytes, change_row, remove_row, repo, rows, run

LARGE = os.urandom(Limits().loose_object_bytes + 1)


def findings(owner: str) -> list[Finding]:
    found = repo(owner)

    async def check(stores: Stores) -> list[Finding]:
        return [finding async for finding in action.fsck(stores.of(found))]

    return run(check)


def kinds(owner: str) -> set[tuple[str, str]]:
    return {(finding.kind, finding.id) for finding in findings(owner)}


@pytest.fixture
def history(owner: str) -> History:
    """1 ← 2 ← 4 on main, 1 ← 3 ← 4 by way of a branch; a loose object, and a commit too large for
    its row.
    """
    drawn = graph("1; 2:1; 3:1; 4:2,3", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    assert push(owner, "song", drawn.bundle([1, 3]), branch="side/line").status == 200
    assert push(owner, "song", drawn.bundle()).status == 200
    large = blob(LARGE)
    on_it = snapshot({"stem.wav": large["object_id"]})
    big = commit(
        "big", [drawn[4]], on_it["snapshot_id"], structured_delta={"data": os.urandom(6000).hex()}
    )
    answer = push(
        owner, "song", {"commits": [big], "snapshots": [on_it], "objects": [large]}, branch="stems"
    )
    assert answer.status == 200, answer.body
    drawn.commits[5], drawn.snapshots[5] = big, on_it
    drawn.objects[large["object_id"]] = LARGE
    return drawn


def row_of(owner: str, part: str, sort_key: str) -> dict:  # type: ignore[type-arg]
    (found,) = [row for row in rows(repo(owner).repo_id, part) if row["sk"].endswith(sort_key)]
    return found


def test_a_whole_repository_has_no_findings(owner: str, history: History) -> None:
    assert findings(owner) == []


def test_a_repository_without_branches_has_no_findings(owner: str) -> None:
    from tests.client import call

    assert call("push_objects", owner, "song", {"objects": [blob(b"x")]}, by=owner).status == 200
    assert findings(owner) == []


def test_a_commit_without_its_row_in_the_index(owner: str, history: History) -> None:
    remove_row(row_of(owner, "#C", history[2]))
    assert kinds(owner) == {("commit", history[2])}


def test_a_commit_without_its_row_in_its_lane(owner: str, history: History) -> None:
    remove_row(row_of(owner, "#LANE#", history[1]))
    assert kinds(owner) == {("commit", history[1])}


def test_a_parent_that_is_nowhere(owner: str, history: History) -> None:
    remove_row(row_of(owner, "#LANE#", history[2]))
    remove_row(row_of(owner, "#C", history[2]))
    (finding,) = findings(owner)
    assert (finding.kind, finding.id) == ("commit", history[2])


def test_a_ref_to_nowhere(owner: str, history: History) -> None:
    remove_row(row_of(owner, "#LANE#", history[5]))
    (finding,) = findings(owner)
    assert (finding.kind, finding.id) == ("ref", "stems")
    assert history[5] in finding.wrong


def test_a_snapshot_without_its_row(owner: str, history: History) -> None:
    snapshot_id = history.snapshots[3]["snapshot_id"]
    remove_row(row_of(owner, "#S", snapshot_id))
    assert kinds(owner) == {("snapshot", snapshot_id)}


@pytest.mark.parametrize("name", ["2.txt", "stem.wav"], ids=["packed", "loose"])
def test_an_object_without_its_row(owner: str, history: History, name: str) -> None:
    number = 5 if name == "stem.wav" else 2
    object_id = history.snapshots[number]["manifest"][name]
    remove_row(row_of(owner, "#O", object_id))
    assert kinds(owner) == {("object", object_id)}


def test_a_missing_pack_is_reported_with_its_contents(owner: str, history: History) -> None:
    bytes_ = Bytes(repo(owner).repo_id)
    address = row_of(owner, "#S", history.snapshots[3]["snapshot_id"])["at"]
    bytes_.remove(f"{bytes_.prefix}packs/{address.split(':')[0]}")
    # What only its manifest would have led to is not looked for.
    assert ("snapshot", history.snapshots[3]["snapshot_id"]) in kinds(owner)
    assert {kind for kind, _ in kinds(owner)} <= {"snapshot", "object"}


def test_a_missing_loose_object(owner: str, history: History) -> None:
    bytes_ = Bytes(repo(owner).repo_id)
    (key,) = bytes_.keys("objects/")
    bytes_.remove(key)
    assert kinds(owner) == {("object", history.snapshots[5]["manifest"]["stem.wav"])}


@pytest.mark.parametrize(
    "kept", [0, 8, 60], ids=["nothing left", "only its head left", "cut in an entry"]
)
def test_a_truncated_pack(owner: str, history: History, kept: int) -> None:
    bytes_ = Bytes(repo(owner).repo_id)
    object_id = history.snapshots[3]["manifest"]["3.txt"]
    pack = row_of(owner, "#O", object_id)["at"].split(":")[0]
    key = f"{bytes_.prefix}packs/{pack}"
    bytes_.put(key, bytes_.get(key)[:kept])
    assert ("snapshot", history.snapshots[3]["snapshot_id"]) in kinds(owner)


def flip(owner: str, at: str) -> None:
    """Turn over one bit in the middle of a packed entry."""
    pack, offset, length = at.split(":")
    bytes_ = Bytes(repo(owner).repo_id)
    key = f"{bytes_.prefix}packs/{pack}"
    data = bytearray(bytes_.get(key))
    data[int(offset) + int(length) // 2] ^= 1
    bytes_.put(key, bytes(data))


def test_a_flipped_bit_in_an_object(owner: str, history: History) -> None:
    object_id = history.snapshots[2]["manifest"]["2.txt"]
    flip(owner, row_of(owner, "#O", object_id)["at"])
    (finding,) = findings(owner)
    assert (finding.kind, finding.id) == ("object", object_id)
    assert "hash" in finding.wrong


def test_a_flipped_bit_in_a_loose_object(owner: str, history: History) -> None:
    bytes_ = Bytes(repo(owner).repo_id)
    (key,) = bytes_.keys("objects/")
    bytes_.put(key, bytes([LARGE[0] ^ 1]) + LARGE[1:])
    assert kinds(owner) == {("object", history.snapshots[5]["manifest"]["stem.wav"])}


def test_a_flipped_bit_in_a_manifest(owner: str, history: History) -> None:
    snapshot_id = history.snapshots[2]["snapshot_id"]
    flip(owner, row_of(owner, "#S", snapshot_id)["at"])
    assert ("snapshot", snapshot_id) in kinds(owner)


def test_a_commit_record_that_differs_from_its_id(owner: str, history: History) -> None:
    row = row_of(owner, "#LANE#", history[2])
    record = msgpack.unpackb(zlib.decompress(bytes(row["record"].value)))
    change_row(row, record=zlib.compress(msgpack.packb({**record, "message": "something else"})))
    (finding,) = findings(owner)
    assert (finding.kind, finding.id) == ("commit", history[2])
    assert "hashes to" in finding.wrong


def test_a_commit_record_in_a_pack_that_cannot_be_read(owner: str, history: History) -> None:
    flip(owner, row_of(owner, "#LANE#", history[5])["record_at"])
    # A changed bit outside the hash is invisible, unless it breaks the structure of the record.
    assert kinds(owner) <= {("commit", history[5])}


def test_a_generation_that_does_not_follow(owner: str, history: History) -> None:
    row = row_of(owner, "#C", history[2])
    change_row(row, generation=7)
    assert kinds(owner) == {("commit", history[2])}


def test_an_index_that_points_into_the_wrong_lane(owner: str, history: History) -> None:
    row = row_of(owner, "#C", history[2])
    change_row(row, lane="elsewhere")
    assert kinds(owner) == {("commit", history[2])}


def test_every_finding_names_its_fix(owner: str, history: History) -> None:
    for row in rows(repo(owner).repo_id, "#O"):
        remove_row(row)
    found = findings(owner)
    assert len(found) == len(history.objects)
    assert all(finding.fix for finding in found)


def test_opaque_ids_carry_no_promise(owner: str) -> None:
    bundle = {
        "commits": [{**commit("x", [], "s1"), "commit_id": "c1"}],
        "snapshots": [{"snapshot_id": "s1", "manifest": {"a": "o1", "b": "never-sent"}}],
        "objects": [{"object_id": "o1", "content": b"anything"}],
    }
    assert push(owner, "song", bundle).status == 200
    assert findings(owner) == []


def test_history_replaced_by_force_is_whole(owner: str) -> None:
    drawn = graph("1; 2:1")
    assert push(owner, "song", drawn.bundle()).status == 200
    bundle = drawn.bundle()
    bundle["commits"] = [{**record, "author": "Bob"} for record in bundle["commits"]]
    assert push(owner, "song", bundle, force=True).status == 200
    assert findings(owner) == []
