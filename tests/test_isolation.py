"""Repositories are islands: two that hold the very same commits, snapshots and objects know nothing
of each other.

    one's song     1 ── 2 ── 3          here and there the same ids,
    twin's song    1 ── 2 ── 3          of the same bytes

Each question is asked of two owners' repositories, and of two that one owner has.
"""

import asyncio
import urllib.request
from dataclasses import dataclass

import pytest

from shared.engines import selection
from shared.metadata import keys
from shared.metadata.conditions import Exists
from tests import builders
from tests import client as hub
from tests.builders import History
from tests.client import Answer


@dataclass(frozen=True)
class Island:
    """A repository by its name."""

    owner: str
    slug: str

    def push(self, bundle: builders.Record, branch: str = "main") -> Answer:
        return hub.push(self.owner, self.slug, bundle, branch=branch)

    def post(self, function: str, message: builders.Record) -> Answer:
        return hub.call(function, self.owner, self.slug, message, by=self.owner)

    def fetch(self, want: list[str]) -> Answer:
        return hub.fetch(self.owner, self.slug, want, by=self.owner)

    def refs(self, by: str | None = None) -> Answer:
        return hub.call("refs", self.owner, self.slug, by=by or self.owner)

    def assert_whole(self, history: History) -> None:
        """A clone holds the whole history and the true bytes."""
        heads = self.refs().value["branch_heads"]
        answer = self.fetch(list(heads.values()))
        whole = history.bundle()
        assert hub.fetched_ids(answer) == (
            {commit["commit_id"] for commit in whole["commits"]},
            {snapshot["snapshot_id"] for snapshot in whole["snapshots"]},
            {item["object_id"] for item in whole["objects"]},
        )
        assert {o["object_id"]: o["content"] for o in answer.value["objects"]} == history.objects
        assert {c["commit_id"]: c for c in answer.value["commits"]} == {
            c["commit_id"]: c for c in whole["commits"]
        }


@pytest.fixture(params=["of two owners", "of one owner"])
def islands(request, owner) -> tuple[Island, Island]:
    """Two repositories, both absent."""
    if request.param == "of one owner":
        return Island(owner, "song"), Island(owner, "copy")
    return Island(owner, "song"), Island(f"{owner}-twin", "song")


@pytest.fixture
def history() -> History:
    return builders.graph("1; 2:1; 3:2")


def pushed(island: Island, bundle: builders.Record, branch: str = "main") -> None:
    answer = island.push(bundle, branch)
    assert answer.status == 200, answer.body


def mark(island: Island, **attributes: int | str) -> None:
    """Write into a repository's row what hides or deletes it."""

    async def write() -> None:
        table = (await selection.stores()).repos.table
        await table.update(keys.repo(island.owner, island.slug), attributes, Exists("repo_id"))

    asyncio.get_event_loop().run_until_complete(write())


# ── All the same ──────────────────────────────────────────────────────────────────────────────────


def test_two_that_share_everything_each_clone_whole(islands, history):
    for island in islands:
        pushed(island, history.bundle())
    for island in islands:
        island.assert_whole(history)
    assert islands[0].refs().value["repo_id"] != islands[1].refs().value["repo_id"]


def test_the_same_objects_are_stored_in_each_and_not_skipped(islands, history):
    sent = {"objects": history.bundle()["objects"]}
    for island in islands:
        assert island.post("push_objects", sent).value == {"stored": 3, "skipped": 0}


def test_an_upload_to_one_is_no_proof_in_the_other(islands, history):
    """Neither while it waits in quarantine there, nor when it is accepted."""
    first, second = islands
    object_id, content = history.bundle([1])["objects"][0].values()
    without_objects = history.bundle([1], objects=False)
    url = first.post("presign", {"object_ids": [object_id]}).value["presigned"][object_id]
    urllib.request.urlopen(
        urllib.request.Request(url, data=content, method="PUT"), timeout=10
    ).close()

    in_quarantine = second.push(without_objects)
    assert (in_quarantine.status, in_quarantine.code) == (422, "missing_reference")
    pushed(first, without_objects)
    accepted = second.push(without_objects)
    assert (accepted.status, accepted.code) == (422, "missing_reference")


def test_branches_of_the_same_name_move_apart(islands, history):
    first, second = islands
    pushed(first, history.bundle([1, 2]))
    pushed(second, history.bundle([1]))
    pushed(first, history.bundle([3]))
    assert first.refs().value["branch_heads"] == {"main": history[3]}
    assert second.refs().value["branch_heads"] == {"main": history[1]}


# ── What only the other has ───────────────────────────────────────────────────────────────────────
#
#     first    1 ── 2 ── 3
#     second   1


def test_data_of_another_repository_is_unknown_here(islands, history):
    first, second = islands
    pushed(first, history.bundle())
    pushed(second, history.bundle([1]))
    here = set(history.snapshots[1]["manifest"].values())

    missing = second.post("filter_objects", {"object_ids": list(history.objects)})
    assert set(missing.value["missing"]) == history.objects.keys() - here

    offered = second.post("negotiate", {"want": [history[1]], "have": [history[3], history[2]]})
    assert offered.value == {"ack": [], "common_base": None, "ready": False}
    wanted = second.post("negotiate", {"want": [history[3]], "have": [history[1]]})
    assert (wanted.status, wanted.code) == (404, "commit_not_found")

    fetched = second.fetch([history[3]])
    assert (fetched.status, fetched.code) == (404, "commit_not_found")
    # As a have it is simply not known: everything wanted is sent.
    everything = hub.fetch(second.owner, second.slug, [history[1]], [history[3]], by=second.owner)
    assert hub.fetched_ids(everything) == (
        {history[1]},
        {history.snapshots[1]["snapshot_id"]},
        here,
    )


def test_a_push_refers_only_to_data_of_its_repository(islands, history):
    first, second = islands
    pushed(first, history.bundle())
    pushed(second, history.bundle([1]))
    only_there = history.snapshots[3]["snapshot_id"]
    thief = builders.commit("shows me what you have", [history[1]], only_there)
    lacking = {
        "a snapshot": {"commits": [thief], "snapshots": [], "objects": []},
        "an object": {"commits": [thief], "snapshots": [history.snapshots[3]], "objects": []},
        "a parent": {
            "commits": [builders.commit("on yours", [history[3]])],
            "snapshots": [],
            "objects": [],
        },
    }
    for bundle in lacking.values():
        answer = second.push(bundle, "stolen")
        assert (answer.status, answer.code) == (422, "missing_reference")

    assert second.refs().value["branch_heads"] == {"main": history[1]}
    unknown = second.fetch([thief["commit_id"]])
    assert (unknown.status, unknown.code) == (404, "commit_not_found")


def test_a_refusal_is_the_same_whether_or_not_another_repository_has_it(islands, history):
    """Equal, except for the id: no refusal reveals that a thing exists elsewhere."""
    first, second = islands
    pushed(first, history.bundle())
    pushed(second, history.bundle([1]))
    nowhere = builders.graph("1", salt="nobody has this")

    def refusals(commit_id: str, snapshot_id: str) -> list[tuple[int, str]]:
        child = builders.commit("on an unknown one", [commit_id])
        viewer = builders.commit("of an unknown one", [history[1]], snapshot_id)
        answers = [
            second.fetch([commit_id]),
            second.post("negotiate", {"want": [commit_id], "have": []}),
            second.push({"commits": [child], "snapshots": [], "objects": []}, "new"),
            second.push({"commits": [viewer], "snapshots": [], "objects": []}, "new"),
        ]
        return [
            (
                answer.status,
                answer.value["message"].replace(commit_id, "ID").replace(snapshot_id, "ID"),
            )
            for answer in answers
        ]

    there = refusals(history[3], history.snapshots[3]["snapshot_id"])
    assert there == refusals(nowhere[1], nowhere.snapshots[1]["snapshot_id"])
    assert [status for status, _ in there] == [404, 404, 422, 422]


def test_opaque_ids_mean_something_else_in_each(islands):
    """The same short id, other contents: each gets back its own."""
    for island, text in zip(islands, ("mine", "yours"), strict=True):
        content = text.encode()
        snapshot = {
            "snapshot_id": "snap_1a2b3c4d",
            "manifest": {"a.txt": "0" * 32},
            "created_at": text,
        }
        commit = builders.commit(text) | {"commit_id": "c" * 32, "snapshot_id": "snap_1a2b3c4d"}
        objects = [{"object_id": "0" * 32, "content": content}]
        pushed(island, {"commits": [commit], "snapshots": [snapshot], "objects": objects})
    for island, text in zip(islands, ("mine", "yours"), strict=True):
        value = island.fetch(["c" * 32]).value
        assert [commit["message"] for commit in value["commits"]] == [text]
        assert [snapshot["created_at"] for snapshot in value["snapshots"]] == [text]
        assert [item["content"] for item in value["objects"]] == [text.encode()]


# ── One sinks, the other stays ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sunk", "owner_sees"),
    [({"visibility": "private"}, 200), ({"deleted_at": 1_767_225_600}, 404)],
    ids=["hidden", "deleted"],
)
@pytest.mark.parametrize("which", [0, 1], ids=["the older", "the younger"])
def test_hiding_or_deleting_one_leaves_the_other(islands, history, sunk, owner_sees, which):
    for island in islands:
        pushed(island, history.bundle())
    gone, stays = islands[which], islands[1 - which]

    mark(gone, **sunk)

    assert gone.refs(by="stranger").status == 404
    assert gone.refs().status == owner_sees
    assert stays.refs(by="stranger").value["branch_heads"] == {"main": history[3]}
    stays.assert_whole(history)
    child = builders.commit("life goes on", [history[3]], history.snapshots[3]["snapshot_id"])
    pushed(stays, {"commits": [child], "snapshots": [], "objects": []})
    assert stays.refs().value["branch_heads"] == {"main": child["commit_id"]}
