"""Each refusal names the step that helps, and the step helps. The pushes are those that the stock client makes."""

import json

import boto3
import pytest

from shared.metadata import keys
from tests.builders import Answer, History, Record, call, fetch, fetched_ids, file_history, graph, heads, push
from tests.conftest import NAMES
from tests.functions import api

SHOWN_CHARACTERS = 400
"""The stock client prints this much of the body of a refusal."""


def shown(answer: Answer) -> str:
    """The text that a user of the stock client sees of a refusal: the message, which must be whole."""
    message: str = answer.value["message"]
    assert json.dumps(message, ensure_ascii=False) in answer.body.decode()[:SHOWN_CHARACTERS]
    return message


def sent_by_the_client(history: History, head: int, known: int = 0) -> Record:
    """The client walks a line of history from its head down to the newest commit that it takes as known."""
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
    ids=["a control character", "quotes", "a long path", "a long part", "a private folder", "a folder", "nothing"],
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
        assert f"branch {branch} cannot stand beside codeOwners:" in shown(refused)

    table = boto3.resource("dynamodb").Table(NAMES["HubTable"])
    repo_id = call("refs", owner, "song").value["repo_id"]
    pk, sk = keys.ref(repo_id, "codeOwners")
    row = table.get_item(Key={"pk": pk, "sk": sk})["Item"]
    table.put_item(Item=row | {"sk": keys.ref(repo_id, "codeowners")[1]})  # as an older version accepted it
    assert heads(owner, "song") == {"codeOwners": history[1], "codeowners": history[1]}
    assert fetched_ids(fetch(owner, "song", [history[1]]))[0] == {history[1]}
    assert push(owner, "song", history.bundle([2]), branch="codeowners").status == 200
    assert push(owner, "song", history.bundle([2, 3]), branch="codeOwners").status == 200
    gone = api.call("branches", "DELETE", f"/repos/{owner}/song/branches", by=owner, query="branch=codeowners")
    assert gone.status == 204
    assert heads(owner, "song") == {"codeOwners": history[3]}


def test_after_a_deletion_the_refusal_names_the_request_that_frees_the_name(owner):
    history = graph("1; 2:1")
    assert push(owner, "song", history.bundle([1])).status == 200
    first = api.get(owner, "song").value["repo_id"]
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status == 204
    refused = push(owner, "song", history.bundle([1]))
    assert (refused.status, refused.code) == (404, "repo_not_found")
    assert "after a deletion or a rename, its owner creates it again with POST /api/v1/repos" in shown(refused)
    assert push(owner, "song", history.bundle([1]), by="a-stranger").body == refused.body
    assert push(owner, "never-there", history.bundle([1]), by="a-stranger").body == refused.body

    assert api.create(owner, "song", visibility="private")["repo_id"] != first
    assert push(owner, "song", history.bundle([1, 2])).status == 200
    assert heads(owner, "song", by=owner) == {"main": history[2]}
    assert call("refs", owner, "song").status == 404, "it is private, whatever the deleted one was"
