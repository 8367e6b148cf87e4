"""Histories from a seed: real ids, one shape, nothing dangling."""

import hashlib
from datetime import datetime

import msgpack
import pytest

from bench.history import LARGEST_INLINE, History, Line, agents, braid, chain, generate, straight
from shared import ids

S = "e3056fa60a8146bd0017b84f1a6b8c23e5616255fa7d592773a6844ff1f36940"
MIDNIGHT = "2026-01-01T00:00:00+00:00"

SMALL = {"commits": 7, "files": 9, "objects": 30}


@pytest.fixture(scope="module")
def small() -> History:
    return generate(1, **SMALL)


def test_ids_are_those_of_the_stock_client():
    assert (
        ids.object_id(b"hello\n")
        == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )
    assert ids.snapshot_id({"b.txt": "1" * 64, "a/é.txt": "2" * 64}) == S
    root = "88b6b0e96c41948be24f0865061722cd960511bf8d6113c1be2ef62dab9c4d17"
    merge = "2e3a2edc1f2e49c2585f8c05ea43fd56168bc075f3c2cf75d2bfbe7081c8a170"
    assert ids.commit_id([], S, "init", MIDNIGHT) == root
    assert ids.commit_id(["b" * 64, "a" * 64], S, "", MIDNIGHT) == merge


def test_a_seed_names_one_history(small):
    assert generate(1, **SMALL) == small
    assert generate(2, **SMALL).head != small.head
    assert not set(generate(2, **SMALL).objects) & set(small.objects)


def test_the_same_seed_gives_the_same_ids_on_every_python(small):
    """A value from a run of 3.11; 3.12 and 3.13 gave it too."""
    assert small.head == "921888069f906506683960f7f832f65efa03f2c6490471ef719367e63f9a4e21"


def test_every_id_is_derived_from_the_content(small):
    for object_id, content in small.objects.items():
        assert object_id == hashlib.sha256(content).hexdigest()
    for snapshot in small.snapshots:
        assert snapshot["snapshot_id"] == ids.snapshot_id(snapshot["manifest"])
    for commit in small.commits:
        parents = [commit["parent_commit_id"]] if commit["parent_commit_id"] else []
        snapshot_id, message, at = commit["snapshot_id"], commit["message"], commit["committed_at"]
        assert commit["commit_id"] == ids.commit_id(parents, snapshot_id, message, at)


def test_commits_are_one_line_oldest_first_in_rising_time(small):
    commits = small.commits
    parents = [commit["parent_commit_id"] for commit in commits]
    assert parents == [None, *(commit["commit_id"] for commit in commits[:-1])]
    assert small.head == commits[-1]["commit_id"]
    times = [datetime.fromisoformat(commit["committed_at"]) for commit in commits]
    assert times == sorted(set(times))
    assert all(commit["committed_at"].endswith("+00:00") for commit in commits)


def test_a_commit_record_has_the_clients_22_keys(small):
    assert {len(commit) for commit in small.commits} == {22}
    root, *later = small.commits
    assert root["structured_delta"] is None
    assert all(commit["structured_delta"]["ops"] for commit in later)
    assert msgpack.unpackb(msgpack.packb(small.commits[-1])) == small.commits[-1]


def test_manifests_name_every_object_and_nothing_else(small):
    named = {
        object_id for snapshot in small.snapshots for object_id in snapshot["manifest"].values()
    }
    assert named == set(small.objects)
    assert {commit["snapshot_id"] for commit in small.commits} == {
        s["snapshot_id"] for s in small.snapshots
    }


@pytest.mark.parametrize(
    ("commits", "files", "objects"),
    [(1, 1, 1), (1, 5, 5), (2, 1, 2), (4, 4, 4), (3, 8, 20), (250, 400, 400), (10, 3, 30)],
)
def test_any_possible_shape_is_met_exactly(commits, files, objects):
    history = generate(3, commits=commits, files=files, objects=objects)
    assert len(history.commits) == commits
    assert len(history.objects) == objects
    assert len(history.snapshots[-1]["manifest"]) == files
    named = {
        object_id for snapshot in history.snapshots for object_id in snapshot["manifest"].values()
    }
    assert named == set(history.objects)


@pytest.mark.parametrize(
    ("commits", "files", "objects"), [(0, 1, 1), (1, 0, 0), (2, 5, 4), (1, 5, 6), (2, 2, 9)]
)
def test_an_impossible_shape_is_refused(commits, files, objects):
    with pytest.raises(ValueError, match="no history has"):
        generate(3, commits=commits, files=files, objects=objects)


def test_the_default_shape_is_forty_megabytes():
    history = generate(1)
    assert (len(history.commits), len(history.snapshots), len(history.objects)) == (250, 250, 2400)
    assert 39_000_000 < history.size() < 41_000_000

    sizes = sorted(map(len, history.objects.values()))
    assert 8_500 < sizes[1200] < 9_500
    assert 60_000 < sizes[-1] <= LARGEST_INLINE

    files = [len(snapshot["manifest"]) for snapshot in history.snapshots]
    assert (files[0], files[-1]) == (300, 400)
    deltas = [len(msgpack.packb(commit["structured_delta"])) for commit in history.commits[1:]]
    assert 2_000 < sorted(deltas)[len(deltas) // 2] < 8_000


def test_a_chain_has_commits_and_nothing_else():
    line = chain(5, 20)
    assert len(line.commits) == 20
    assert (line.snapshots, dict(line.objects)) == ((), {})
    assert {commit["snapshot_id"] for commit in line.commits} == {None}
    assert line.commits[7]["parent_commit_id"] == line.commits[6]["commit_id"]
    assert chain(5, 20) == line
    assert not {c["commit_id"] for c in chain(6, 20).commits} & {
        c["commit_id"] for c in line.commits
    }


def test_work_on_a_line_is_a_commit_at_a_time():
    line = Line(1, 20)
    first, second = line.commit(), line.commit(3)
    assert (len(first.objects), len(second.objects)) == (20, 3)
    assert second.commits[0]["parent_commit_id"] == first.head
    (before,), (after,) = first.snapshots, second.snapshots
    changed = {
        path
        for path, object_id in after["manifest"].items()
        if before["manifest"][path] != object_id
    }
    assert {after["manifest"][path] for path in changed} == set(second.objects)
    assert len(second.commits[0]["structured_delta"]["ops"]) == 3
    for history in (first, second):
        (commit,) = history.commits
        parents = [commit["parent_commit_id"]] if commit["parent_commit_id"] else []
        named = commit["snapshot_id"], commit["message"], commit["committed_at"]
        assert commit["commit_id"] == ids.commit_id(parents, *named)
        assert all(
            object_id == ids.object_id(content) for object_id, content in history.objects.items()
        )


def test_a_fork_is_other_work_on_the_same_commit():
    line = Line(1, 20)
    base = line.commit()
    ours, theirs = line.fork(2).commit(3), line.commit(3)
    assert {ours.commits[0]["parent_commit_id"], theirs.commits[0]["parent_commit_id"]} == {
        base.head
    }
    assert ours.head != theirs.head
    assert line.tip == theirs.head


@pytest.mark.parametrize(
    "graph", [straight(1, 50), braid(1, 400), agents(1, 7, 9)], ids=["straight", "braid", "agents"]
)
def test_a_graph_names_parents_before_children_and_leads_everywhere(graph):
    seen: set[str] = set()
    for commit in graph.commits:
        parents = [p for key in ("parent_commit_id", "parent2_commit_id") if (p := commit[key])]
        assert seen.issuperset(parents)
        named = commit["snapshot_id"], commit["message"], commit["committed_at"]
        assert commit["commit_id"] == ids.commit_id(parents, *named)
        seen.add(commit["commit_id"])
    assert seen == set(graph.lanes)
    assert seen.issuperset(graph.heads.values())
    reached, todo = set[str](), list(graph.heads.values())
    known = {commit["commit_id"]: commit for commit in graph.commits}
    while todo:
        if (commit_id := todo.pop()) not in reached:
            reached.add(commit_id)
            todo += [
                p
                for key in ("parent_commit_id", "parent2_commit_id")
                if (p := known[commit_id][key])
            ]
    assert reached == seen


def test_a_braid_merges_its_neighbours():
    graph = braid(1, 400)
    merges = [commit for commit in graph.commits if commit["parent2_commit_id"]]
    assert len(graph.heads) == 5
    assert 400 / 8 * 0.8 < len(merges) < 400 / 8 * 1.2
    assert {graph.lanes[commit["commit_id"]] for commit in merges} == set(graph.heads)


def test_agents_leave_main_at_its_head():
    graph = agents(1, 7, 9, main=5)
    first = {c["parent_commit_id"] for c in graph.commits if graph.lanes[c["commit_id"]] != "main"}
    assert graph.heads["main"] in first
    assert (len(graph.commits), len(graph.heads)) == (5 + 7 * 9, 8)
