"""After every index row is gone, packs and loose objects alone give back a repository that clones
to the byte.
"""

import os
from typing import Any

import pytest

from shared.limits import Limits
from shared.maintenance import fsck, rebuild
from shared.maintenance.rebuild_plan import Rebuilt
from shared.stores import Stores
from tests.builders import History, blob, commit, graph, snapshot
from tests.client import call, heads, push
from tests.shared.maintenance.upkeep import (
    Bytes,
    change_row,
    clone,
    index_rows,
    remove_row,
    repo,
    rows,
    run,
)

NOW = 1_800_000_000.0


def rebuilt(owner: str) -> Rebuilt:
    found = repo(owner)
    return run(lambda stores: rebuild.rebuild(stores.of(found), now=NOW))


def findings(owner: str) -> list[Any]:
    found = repo(owner)

    async def check(stores: Stores) -> list[Any]:
        return [finding async for finding in fsck.fsck(stores.of(found))]

    return run(check)


def lose_every_row(owner: str) -> None:
    for row in index_rows(repo(owner).repo_id):
        remove_row(row)


@pytest.fixture
def history(owner: str) -> History:
    """Two lines and their merge, a loose object, a commit too large for its row, opaque ids on a
    branch.
    """
    drawn = graph("1; 2:1; 3:1; 4:2,3; 5:4", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    assert push(owner, "song", drawn.bundle([1, 3]), branch="side/line").status == 200
    assert push(owner, "song", drawn.bundle([4])).status == 200
    large = blob(os.urandom(Limits().loose_object_bytes + 1))
    on_it = snapshot({"stem.wav": large["object_id"]})
    big = commit(
        "big", [drawn[4]], on_it["snapshot_id"], structured_delta={"data": os.urandom(6000).hex()}
    )
    bundle = {"commits": [big], "snapshots": [on_it], "objects": [large]}
    assert push(owner, "song", bundle, branch="stems").status == 200
    opaque = {"commits": [{**commit("x", [], "s1"), "commit_id": "c1"}],
              "snapshots": [{"snapshot_id": "s1", "manifest": {"a": "o1"}}],
              "objects": [{"object_id": "o1", "content": b"anything"}]}  # fmt: skip
    assert push(owner, "song", opaque, branch="opaque").status == 200
    return drawn


def test_a_repository_without_its_index_clones_as_before(owner: str, history: History) -> None:
    before = clone(owner)
    lose_every_row(owner)
    done = rebuilt(owner)
    assert (done.commits, done.damaged, done.incomplete) == (6, [], [])
    assert clone(owner) == before
    assert findings(owner) == []
    # And goes on as if nothing had been.
    assert push(owner, "song", history.bundle([5])).status == 200
    assert heads(owner, "song")["main"] == history[5]


def test_a_plan_has_the_writes_in_the_order_of_a_push_and_writes_nothing(
    owner: str, history: History
) -> None:
    lose_every_row(owner)
    found = repo(owner)
    plan = run(lambda stores: rebuild.plan(stores.of(found)))
    assert index_rows(found.repo_id) == []
    assert list(map(str, plan.writes)) == [
        "write missing rows of objects: 6 found",
        "write missing rows of snapshots: 6 found",
        "add lanes to the list of lanes: main, opaque, side/line, stems",
        "write missing rows of commits in lanes: 6 found",
        "write missing rows of the index of commits: 6 found",
        "correct generations and locations in the rows of branches",
    ]
    assert rebuilt(owner) == plan.report()


def test_twice_is_once(owner: str, history: History) -> None:
    lose_every_row(owner)
    rebuilt(owner)
    first = sorted(map(str, index_rows(repo(owner).repo_id)))
    rebuilt(owner)
    assert sorted(map(str, index_rows(repo(owner).repo_id))) == first


def test_a_whole_repository_is_left_as_it_is(owner: str, history: History) -> None:
    before = sorted(map(str, index_rows(repo(owner).repo_id)))
    rebuilt(owner)
    assert sorted(map(str, index_rows(repo(owner).repo_id))) == before


@pytest.mark.parametrize("part", ["#O", "#S", "#C", "#LANE#"])
def test_lost_rows_of_one_kind_come_back(owner: str, history: History, part: str) -> None:
    before = clone(owner)
    for row in rows(repo(owner).repo_id, part):
        remove_row(row)
    rebuilt(owner)
    assert clone(owner) == before
    assert findings(owner) == []


def test_a_rebuild_that_was_cut_short_is_completed(owner: str, history: History) -> None:
    before = clone(owner)
    lose_every_row(owner)
    rebuilt(owner)
    for row in index_rows(repo(owner).repo_id)[::2]:
        remove_row(row)
    rebuilt(owner)
    assert clone(owner) == before
    assert findings(owner) == []


def test_a_push_in_the_middle_builds_on_the_branches(owner: str, history: History) -> None:
    """Its rows name the lane in which its parent, the head, was: that is where the rebuild puts
    it.
    """
    lose_every_row(owner)
    alone = commit("in the middle", [history[4]], None)
    assert (
        push(owner, "song", {"commits": [alone], "snapshots": [], "objects": []}, force=True).status
        == 200
    )
    rebuilt(owner)
    assert findings(owner) == []
    assert alone["commit_id"] in {record["commit_id"] for record in clone(owner)["commits"]}


def test_history_replaced_by_force_stays_replaced(owner: str) -> None:
    drawn = graph("1; 2:1; 3:2; 4:3", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    bundle = drawn.bundle([1, 2, 3])
    bundle["commits"] = [{**record, "author": "Bob"} for record in bundle["commits"]]
    assert push(owner, "song", bundle, force=True).status == 200
    assert push(owner, "song", drawn.bundle([4])).status == 200
    before = clone(owner)
    assert [record["author"] for record in before["commits"]].count("Bob") == 3
    lose_every_row(owner)
    rebuilt(owner)
    assert clone(owner) == before


def test_a_branch_with_a_wrong_address_of_its_head_is_fixed(owner: str, history: History) -> None:
    before = clone(owner)
    (ref,) = [row for row in rows(repo(owner).repo_id, "") if row["sk"] == "REF#main"]
    change_row(ref, generation=99, snapshot_at="")
    assert rebuilt(owner).refs == 1
    assert clone(owner) == before
    assert findings(owner) == []


def test_no_commit_is_searched_at_a_row_of_a_crashed_push(
    owner: str,
) -> None:
    drawn = graph("1; 2:1; 3:2; 4:1", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    assert push(owner, "song", drawn.bundle([3]), branch="side").status == 200
    for row in rows(repo(owner).repo_id, "#LANE#main"):
        gone = "0" * 64 + row["snapshot_at"][64:]
        change_row({**row, "pk": row["pk"].replace("#main", "#side"), "snapshot_at": gone})
    for row in rows(repo(owner).repo_id, "#C"):
        remove_row(row)
    rebuilt(owner)
    assert push(owner, "song", drawn.bundle([4]), branch="late").status == 200
    assert {record["commit_id"] for record in clone(owner)["commits"]} == {
        drawn[n] for n in (1, 2, 3, 4)
    }
    assert findings(owner) == []


def test_the_contents_of_a_damaged_pack_are_reported_and_left_out(
    owner: str, history: History
) -> None:
    bytes_ = Bytes(repo(owner).repo_id)
    (row,) = [
        row
        for row in rows(repo(owner).repo_id, "#S")
        if row["sk"] == history.snapshots[3]["snapshot_id"]
    ]
    pack = str(row["at"]).split(":")[0]
    lose_every_row(owner)
    key = f"{bytes_.prefix}packs/{pack}"
    bytes_.put(key, bytes_.get(key)[:-1])
    done = rebuilt(owner)
    assert done.damaged == [pack]
    assert history[4] in done.incomplete  # it stands on a commit of that pack
    known = {row["sk"] for row in rows(repo(owner).repo_id, "#C")}
    assert history[2] in known and history[4] not in known


def test_a_repository_of_objects_alone(owner: str) -> None:
    assert call("push_objects", owner, "song", {"objects": [blob(b"x")]}, by=owner).status == 200
    lose_every_row(owner)
    assert rebuilt(owner).objects == 1
    assert call(
        "filter_objects", owner, "song", {"object_ids": [blob(b"x")["object_id"]]}, by=owner
    ).value == {"missing": []}
