"""Each refusal names the step that helps, and the step helps.

The pushes are those that the stock client makes.
"""

import json
from collections.abc import Mapping

import boto3
import httpx
import pytest

from shared import ids, names
from shared.metadata import keys
from tests.builders import History, Record, commit, file_history, graph, snapshot
from tests.client import Answer, call, event, fetch, fetched_ids, heads, invoke, push, token
from tests.conftest import NAMES
from tests.functions import api

SHOWN_CHARACTERS = 400
"""The stock client prints this much of the body of a refusal."""


def shown(answer: Answer) -> str:
    """The text that a user of the stock client sees of a refusal: the message, which must be
    whole.
    """
    message: str = answer.value["message"]
    assert json.dumps(message, ensure_ascii=False) in answer.body.decode()[:SHOWN_CHARACTERS]
    return message


def sent_by_the_client(history: History, head: int, known: int = 0) -> Record:
    """The client walks a line of history from its head down to the newest commit that it takes as
    known.
    """
    return history.bundle(range(head, known, -1))


@pytest.mark.parametrize("force", [False, True], ids=["without force", "with force"])
def test_a_push_to_a_second_remote_names_the_command_that_makes_it_succeed(owner, force):
    history = graph("1; 2:1; 3:2; 4:3")
    assert push(owner, "first", sent_by_the_client(history, 3)).status == 200
    refused = push(owner, "second", sent_by_the_client(history, 4, known=3), force=force)
    assert (refused.status, refused.code) == (422, "missing_reference")
    assert history[3] in shown(refused)
    assert "run `rm -r .muse/remotes`" in shown(refused)
    assert heads(owner, "second", by=owner) == {}

    after_the_command = sent_by_the_client(history, 4)
    assert push(owner, "second", after_the_command).status == 200
    assert heads(owner, "second") == {"main": history[4]}
    assert push(owner, "first", sent_by_the_client(history, 4, known=3)).status == 200, (
        "its own heads come with GET refs"
    )


def test_the_command_fits_beside_the_ids_of_two_parents(owner):
    history = graph("1; 2; 3:1,2")
    refused = push(owner, "song", history.bundle([3]))
    assert "run `rm -r .muse/remotes`" in shown(refused)


def test_a_refused_path_names_the_first_commit_that_has_it_and_the_commit_to_go_back_to(owner):
    icon = "Icon\r"  # macOS keeps a folder's picture in a file of this name
    refused = file_history(["a.mid"], ["a.mid", icon], ["a.mid", icon, "b.mid"], ["a.mid", "b.mid"])
    for head in (3, 4):  # commit 4 deletes the file; the history keeps it
        answer = push(owner, "song", sent_by_the_client(refused, head))
        assert (answer.status, answer.code) == (422, "invalid_name")
        assert "path 'Icon\\r' is unsafe" in shown(answer)
        assert f"Since commit {refused[2]}:" in shown(answer)
        assert f"run `muse reset --soft {refused[1][:12]}`" in shown(answer)

    after_the_command = file_history(["a.mid"], ["a.mid", "b.mid"])
    assert push(owner, "song", sent_by_the_client(after_the_command, 2)).status == 200


def test_a_refused_path_of_the_first_commit_names_the_file_to_delete(owner):
    refused = file_history(["Icon\r"], ["Icon"])
    answer = push(owner, "song", sent_by_the_client(refused, 2))
    assert f"Since commit {refused[1]}:" in shown(answer)
    assert "delete the file of your branch in .muse/refs/heads" in shown(answer)


def on_files(*files: Mapping[str, bytes]) -> History:
    """A line of commits, each with a snapshot of these contents by path."""
    history = History()
    for number, contents in enumerate(files, start=1):
        history.objects |= {ids.object_id(content): content for content in contents.values()}
        manifest = {path: ids.object_id(content) for path, content in contents.items()}
        history.snapshots[number] = snapshot(manifest)
        parents = [history[number - 1]] if number > 1 else []
        history.commits[number] = commit(
            f"commit {number}", parents, history.snapshots[number]["snapshot_id"]
        )
    return history


@pytest.mark.parametrize(
    "path", ["mix.wav", "\U0001f3b9" * 60 + ".wav", "'\"" * 100], ids=["short", "long", "quotes"]
)
@pytest.mark.parametrize("presigned", [False, True], ids=["inline", "presigned"])
def test_a_file_that_no_stock_client_could_clone_names_the_commit_to_go_back_to(
    owner, configured, path, presigned
):
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", str(10**6))
    large = bytes(10**6 + 1)
    history = on_files({"a.mid": b"a"}, {"a.mid": b"a", path: large}, {"a.mid": b"a"})
    for head in (2, 3):  # commit 3 deletes the file; the history keeps it
        sent = sent_by_the_client(history, head)
        if presigned:
            sent["objects"] = [one for one in sent["objects"] if one["content"] != large]
            asked = {"object_ids": [ids.object_id(large)]}
            (url,) = call("presign", owner, "song", asked, by=owner).value["presigned"].values()
            assert httpx.put(url, content=large).status_code == 200
        refused = push(owner, "song", sent)
        assert (refused.status, refused.code) == (413, "too_large")
        assert shown(refused).startswith(
            f"{names.shown(path, 30)} has 1000001 bytes, over the limit of 1000000 "
        )
        assert "stock clients read 64 MiB at once" in shown(refused)
        assert f"Since commit {history[2]}:" in shown(refused)
        assert f"run `muse reset --soft {history[1][:12]}`" in shown(refused)
        assert shown(refused).endswith("or have PIERIA_MAX_OBJECT_BYTES raised")
        assert heads(owner, "song", by=owner) == {}

    after_the_command = on_files(
        {"a.mid": b"a"}, {"a.mid": b"a", "1.wav": large[:500_000], "2.wav": large[500_000:]}
    )
    assert push(owner, "song", sent_by_the_client(after_the_command, 2)).status == 200


def test_a_file_of_the_first_commit_that_no_stock_client_could_clone_names_the_file_to_delete(
    owner, configured
):
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", "1000")
    history = on_files({"\U0001f3b9" * 60: b"x" * 1001})
    refused = push(owner, "song", sent_by_the_client(history, 1))
    assert (refused.status, refused.code) == (413, "too_large")
    assert "delete the file of your branch in .muse/refs/heads" in shown(refused)
    assert shown(refused).endswith("or have PIERIA_MAX_OBJECT_BYTES raised")


def test_the_largest_file_that_is_accepted_fits_into_one_reply_of_the_stock_client(owner):
    """Beside a commit and a manifest of 1,000 files."""
    others = {f"folder/{number:04}.mid": b"%d" % number for number in range(1_000)}
    history = on_files(others | {"large.wav": bytes(63 * 2**20)})
    objects = [{"object_id": i, "content": content} for i, content in history.objects.items()]
    for some in (objects[:-1], objects[-1:]):
        assert call("push_objects", owner, "song", {"objects": some}, by=owner).status == 200
    bundle = sent_by_the_client(history, 1) | {"objects": []}
    assert push(owner, "song", bundle).status == 200
    cloned = fetch(owner, "song", [history[1]])
    assert cloned.status == 200 and len(cloned.body) <= 64 * 2**20
    assert len(fetched_ids(cloned)[2]) == 1_001


@pytest.mark.parametrize(
    "paths",
    [
        ["\U0001f3b9" * 300 + "\n"],
        ["'\"" * 400 + "\r"],
        ["x" * 4097],
        ["a/" + "é" * 128],
        ["\u202e" * 100 + "/.git/config"],
        ["\U0001f3b9" * 50, "\U0001f3b9" * 50 + "/" + "\U0001f3b9" * 50],
        [""],
    ],
    ids=[
        "a control character",
        "quotes",
        "a long path",
        "a long part",
        "a private folder",
        "a folder",
        "nothing",
    ],
)
def test_the_way_out_fits_beside_any_path(owner, paths):
    answer = push(owner, "song", sent_by_the_client(file_history(["a.mid"], paths), 2))
    assert (answer.status, answer.code) == (422, "invalid_name")
    assert shown(answer).endswith("commit and push again")


def test_branches_that_differ_in_letter_case_are_refused_and_an_old_pair_stays_usable(owner):
    history = graph("1; 2:1; 3:2")
    assert push(owner, "song", history.bundle([1]), branch="codeOwners").status == 200
    for branch in ("codeowners", "CODEOWNERS/x"):
        refused = push(owner, "song", history.bundle([1]), branch=branch)
        assert (refused.status, refused.code) == (422, "branch_clash")
        assert f"branch {branch} conflicts with codeOwners:" in shown(refused)

    table = boto3.resource("dynamodb").Table(NAMES["HubTable"])
    repo_id = call("refs", owner, "song").value["repo_id"]
    pk, sk = keys.ref(repo_id, "codeOwners")
    row = table.get_item(Key={"pk": pk, "sk": sk})["Item"]
    table.put_item(
        Item=row | {"sk": keys.ref(repo_id, "codeowners")[1]}
    )  # as an older version accepted it
    assert heads(owner, "song") == {"codeOwners": history[1], "codeowners": history[1]}
    assert fetched_ids(fetch(owner, "song", [history[1]]))[0] == {history[1]}
    assert push(owner, "song", history.bundle([2]), branch="codeowners").status == 200
    assert push(owner, "song", history.bundle([2, 3]), branch="codeOwners").status == 200
    gone = api.call(
        "branches", "DELETE", f"/repos/{owner}/song/branches", by=owner, query="branch=codeowners"
    )
    assert gone.status == 204
    assert heads(owner, "song") == {"codeOwners": history[3]}


def test_after_a_deletion_the_refusal_names_the_request_that_frees_the_name(owner):
    history = graph("1; 2:1")
    assert push(owner, "song", history.bundle([1])).status == 200
    first = api.get(owner, "song").value["repo_id"]
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status == 204
    refused = push(owner, "song", history.bundle([1]))
    assert (refused.status, refused.code) == (404, "repo_not_found")
    assert (
        "after a deletion or a rename, its owner creates it again with POST /api/v1/repos"
        in shown(refused)
    )
    assert push(owner, "song", history.bundle([1]), by="a-stranger").body == refused.body
    assert push(owner, "never-there", history.bundle([1]), by="a-stranger").body == refused.body

    assert api.create(owner, "song", visibility="private")["repo_id"] != first
    assert push(owner, "song", history.bundle([1, 2])).status == 200
    assert heads(owner, "song", by=owner) == {"main": history[2]}
    assert call("refs", owner, "song").status == 404, "it is private, whatever the deleted one was"


def test_a_json_body_over_its_limit_is_accepted_as_msgpack(owner):
    content = "x" * (4 * 2**20)
    item = {"object_id": ids.object_id(content.encode()), "content": content}
    headers = {"authorization": f"Bearer {token(owner)}", "content-type": "application/json"}
    body = json.dumps({"objects": [item]}).encode()
    refused = invoke("push_objects", event("POST", f"/{owner}/song/push/objects", body, headers))
    assert (refused.status, refused.code) == (413, "too_large")
    assert "send application/x-msgpack instead" in shown(refused)
    sent = {"objects": [item | {"content": content.encode()}]}
    assert call("push_objects", owner, "song", sent, by=owner).value == {"stored": 1, "skipped": 0}


def test_a_commit_too_large_for_json_is_read_as_msgpack(owner):
    large = commit("large", structured_delta={"data": '"\\' * 1_100_000})
    assert push(owner, "song", {"commits": [large]}).status == 200
    path = f"/api/v1/repos/{owner}/song/commits/{large['commit_id']}"
    refused = invoke("commits", event("GET", path, headers={"accept": "application/json"}))
    assert (refused.status, refused.code) == (413, "too_large")
    assert "send Accept: application/x-msgpack" in shown(refused)
    whole = invoke("commits", event("GET", path, headers={"accept": "application/x-msgpack"}))
    assert whole.value["record"]["structured_delta"] == large["structured_delta"]


def test_a_list_over_its_limit_is_accepted_in_two_requests(owner):
    asked = [f"{number:064x}" for number in range(50_001)]
    refused = call("filter_objects", owner, "song", {"object_ids": asked}, by=owner)
    assert (refused.status, refused.code) == (413, "too_large")
    assert "send the rest in another request" in shown(refused)
    missing = []
    for part in (asked[:25_000], asked[25_000:]):
        missing += call("filter_objects", owner, "song", {"object_ids": part}, by=owner).value[
            "missing"
        ]
    assert missing == asked


def test_a_branch_over_the_limit_is_accepted_after_a_deletion(owner, monkeypatch):
    monkeypatch.setattr(names, "BRANCHES", 2)
    history = graph("1")
    for branch in ("main", "merged"):
        assert push(owner, "song", history.bundle(), branch=branch).status == 200
    refused = push(owner, "song", history.bundle(), branch="next")
    assert (refused.status, refused.code) == (413, "too_large")
    assert "DELETE /api/v1/repos/OWNER/NAME/branches?branch=" in shown(refused)
    gone = api.call(
        "branches", "DELETE", f"/repos/{owner}/song/branches", by=owner, query="branch=merged"
    )
    assert gone.status == 204
    assert push(owner, "song", history.bundle(), branch="next").status == 200
