"""Branches over the API: lists in pages, deletions, moves, and the restoration after each mistake."""

from typing import Any

import pytest

from bench.meter import Meter
from shared import cursors
from tests.builders import History, graph, twins
from tests.client import Answer, fetch, fetched_ids, heads, push
from tests.faults import Fault, fault, recorded
from tests.functions import api


def ask(
    owner: str, method: str, what: str, query: str = "", body: Any = None, *, by: str | None = None
) -> Answer:
    """One request to the API, in JSON."""
    return api.call("branches", method, f"/repos/{owner}/song/{what}", body, by=by, query=query)


@pytest.fixture
def history(owner: str) -> History:
    """1 ← 2 on main, 1 ← 3 on `side/line`."""
    drawn = graph("1; 2:1; 3:1; 4:1", salt=owner)
    assert push(owner, "song", drawn.bundle([1])).status == 200
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    assert push(owner, "song", drawn.bundle([1, 3]), branch="side/line").status == 200
    return drawn


def moves(owner: str, branch: str = "main") -> list[tuple[str | None, str | None, bool]]:
    answer = ask(owner, "GET", "moves", f"branch={branch}", by=owner)
    assert answer.status == 200, answer.body
    return [(move["before"], move["after"], move["forced"]) for move in answer.value["moves"]]


def test_branches_are_listed_in_pages(owner: str, history: History) -> None:
    first = ask(owner, "GET", "branches", "limit=1").value
    assert [(b["branch"], b["commit_id"], b["generation"]) for b in first["branches"]] == [
        ("main", history[2], 2)
    ]
    second = ask(owner, "GET", "branches", f"limit=1&cursor={first['next_cursor']}").value
    assert [(b["branch"], b["commit_id"]) for b in second["branches"]] == [
        ("side/line", history[3])
    ]
    assert second["next_cursor"] is None


def test_the_cursor_after_the_longest_branch_name_is_taken(owner: str, history: History) -> None:
    longest = "/".join(["ä" * 125] * 2)
    assert push(owner, "song", history.bundle([1]), branch=longest).status == 200
    pages = [ask(owner, "GET", "branches", "limit=2").value]
    pages.append(ask(owner, "GET", "branches", f"limit=2&cursor={pages[0]['next_cursor']}").value)
    assert [b["branch"] for page in pages for b in page["branches"]] == [
        "main",
        "side/line",
        longest,
    ]
    after_it = cursors.after(longest)
    assert ask(owner, "GET", "branches", f"cursor={after_it}").value == {
        "branches": [],
        "next_cursor": None,
    }


def test_marked_folders_are_no_branches(owner: str, history: History) -> None:
    listed = ask(owner, "GET", "branches").value
    assert [branch["branch"] for branch in listed["branches"]] == ["main", "side/line"]


def test_moves_have_the_user_and_the_commits_before_and_after(owner: str, history: History) -> None:
    last, first = ask(owner, "GET", "moves", "branch=main", by=owner).value["moves"]
    assert (last["by"], last["before"], last["after"], last["forced"]) == (
        owner,
        history[1],
        history[2],
        False,
    )
    assert (first["before"], first["after"]) == (None, history[1])
    assert last["at"] >= first["at"]


def test_a_deleted_branch_is_gone_and_can_be_restored(owner: str, history: History) -> None:
    assert ask(owner, "DELETE", "branches", "branch=side/line", by=owner).status == 204
    assert heads(owner, "song") == {"main": history[2]}
    assert moves(owner, "side/line") == [(history[3], None, True), (None, history[3], False)]
    answer = ask(owner, "POST", "restore", body={"branch": "side/line"}, by=owner)
    assert (answer.status, answer.value["commit_id"]) == (200, history[3])
    assert heads(owner, "song") == {"main": history[2], "side/line": history[3]}
    assert fetched_ids(fetch(owner, "song", [history[3]]))[0] == {history[1], history[3]}
    assert moves(owner, "side/line")[0] == (None, history[3], True)


def test_a_forced_push_is_undone(owner: str, history: History) -> None:
    assert push(owner, "song", history.bundle([1, 4]), force=True).status == 200
    assert heads(owner, "song")["main"] == history[4]
    assert moves(owner)[0] == (history[2], history[4], True)
    answer = ask(owner, "POST", "restore", body={"branch": "main"}, by=owner)
    assert (answer.status, answer.value["commit_id"]) == (200, history[2])
    assert heads(owner, "song")["main"] == history[2]
    assert moves(owner)[0] == (history[4], history[2], True)
    # And that is a move like any other.
    assert (
        ask(owner, "POST", "restore", body={"branch": "main"}, by=owner).value["commit_id"]
        == history[4]
    )


def test_a_branch_is_set_back_to_any_of_its_heads(owner: str, history: History) -> None:
    answer = ask(owner, "POST", "restore", body={"branch": "main", "to": history[1]}, by=owner)
    assert (answer.status, answer.value["generation"]) == (200, 1)
    assert push(owner, "song", history.bundle([1, 4])).status == 200


@pytest.mark.parametrize("digits", [7, 8, 63])
def test_a_branch_is_set_back_to_a_commit_by_the_first_digits_of_its_id(
    owner: str, history: History, digits: int
) -> None:
    answer = ask(
        owner, "POST", "restore", body={"branch": "main", "to": history[1][:digits]}, by=owner
    )
    assert (answer.status, answer.value["commit_id"]) == (200, history[1])
    assert heads(owner, "song")["main"] == history[1]


def test_a_branch_is_set_back_to_where_another_branch_is(owner: str, history: History) -> None:
    assert push(owner, "song", history.bundle([1]), branch="old").status == 200
    answer = ask(owner, "POST", "restore", body={"branch": "main", "to": "old"}, by=owner)
    assert (answer.status, answer.value["commit_id"]) == (200, history[1])
    refused = ask(owner, "POST", "restore", body={"branch": "main", "to": "side/line"}, by=owner)
    assert (refused.status, refused.code) == (422, "invalid")
    assert history[3] in refused.value["message"], (
        "the message names the commit that the name stands for"
    )


def test_a_deleted_branch_is_restored_by_the_first_digits_of_an_earlier_head(
    owner: str, history: History
) -> None:
    assert push(owner, "song", history.bundle([1, 4]), branch="side/line", force=True).status == 200
    assert ask(owner, "DELETE", "branches", "branch=side/line", by=owner).status == 204
    answer = ask(
        owner, "POST", "restore", body={"branch": "side/line", "to": history[3][:8]}, by=owner
    )
    assert (answer.status, answer.value["commit_id"]) == (200, history[3])


def test_a_restore_to_digits_of_several_commits_changes_nothing(owner: str) -> None:
    pair = twins()
    for twin in pair:
        assert push(owner, "song", {"commits": [twin]}, force=True).status == 200
    ids = [twin["commit_id"] for twin in pair]
    refused = ask(owner, "POST", "restore", body={"branch": "main", "to": ids[0][:7]}, by=owner)
    assert (refused.status, refused.code) == (422, "ambiguous_commit")
    assert all(commit_id in refused.value["message"] for commit_id in ids)
    assert heads(owner, "song")["main"] == ids[1]


def test_a_restore_to_a_full_id_costs_no_look_up(owner: str, history: History) -> None:
    with Meter() as back:
        assert (
            ask(
                owner, "POST", "restore", body={"branch": "main", "to": history[1]}, by=owner
            ).status
            == 200
        )
    with Meter() as forth:
        assert ask(owner, "POST", "restore", body={"branch": "main"}, by=owner).status == 200
    assert back.calls == forth.calls, (back.by_operation(), forth.by_operation())


def test_a_move_that_was_logged_but_not_made_is_not_listed(owner: str, history: History) -> None:
    """From 1 to 2, back, and there again; then back once more, which fails at its last call."""

    def restore(number: int) -> Answer:
        return ask(
            owner, "POST", "restore", body={"branch": "main", "to": history[number]}, by=owner
        )

    with recorded() as calls:
        assert restore(1).status == 200
    assert restore(2).status == 200
    one, two = history[1], history[2]
    there_and_back = [(one, two, True), (two, one, True), (one, two, False), (None, one, False)]
    assert moves(owner) == there_and_back
    with fault(Fault.REFUSED, len(calls)) as strike:
        assert restore(1).status == 503
    assert (strike.call, heads(owner, "song")["main"]) == ("dynamodb.UpdateItem", two)
    assert moves(owner) == there_and_back


def test_a_branch_is_not_set_to_where_it_never_was(owner: str, history: History) -> None:
    answer = ask(owner, "POST", "restore", body={"branch": "main", "to": history[3]}, by=owner)
    assert (answer.status, answer.code) == (422, "invalid")
    assert heads(owner, "song")["main"] == history[2]


def test_the_first_move_of_a_branch_cannot_be_undone_by_restoring(
    owner: str, history: History
) -> None:
    assert ask(owner, "POST", "restore", body={"branch": "side/line"}, by=owner).status == 422


def test_a_restored_branch_must_not_clash(owner: str, history: History) -> None:
    assert ask(owner, "DELETE", "branches", "branch=side/line", by=owner).status == 204
    answer = push(owner, "song", history.bundle([1]), branch="side/line/deep")
    assert answer.status == 200, answer.body
    assert (
        ask(owner, "POST", "restore", body={"branch": "side/line"}, by=owner).code == "branch_clash"
    )


def test_a_branch_that_is_where_it_shall_be_restored_to_does_not_move(
    owner: str, history: History
) -> None:
    before = moves(owner)
    answer = ask(owner, "POST", "restore", body={"branch": "main", "to": history[2]}, by=owner)
    assert (answer.status, answer.value["commit_id"]) == (200, history[2])
    assert moves(owner) == before


def test_the_default_branch_is_deleted_last(owner: str, history: History) -> None:
    answer = ask(owner, "DELETE", "branches", "branch=main", by=owner)
    assert (answer.status, answer.code) == (422, "invalid")
    assert ask(owner, "DELETE", "branches", "branch=side/line", by=owner).status == 204
    assert ask(owner, "DELETE", "branches", "branch=main&leave_empty=true", by=owner).status == 204
    assert heads(owner, "song") == {}


def test_the_only_branch_is_deleted_only_with_leave_empty(owner: str, history: History) -> None:
    assert ask(owner, "DELETE", "branches", "branch=side/line", by=owner).status == 204
    for query in ("branch=main", "branch=main&leave_empty=false"):
        refused = ask(owner, "DELETE", "branches", query, by=owner)
        assert (refused.status, refused.code) == (422, "invalid")
        assert "leave_empty=true" in refused.value["message"]
    assert heads(owner, "song") == {"main": history[2]}
    assert ask(owner, "DELETE", "branches", "branch=main&leave_empty=true", by=owner).status == 204
    assert heads(owner, "song") == {}
    assert (
        ask(owner, "POST", "restore", body={"branch": "main"}, by=owner).value["commit_id"]
        == history[2]
    )


def test_leaving_a_repository_empty_may_be_asked_for_where_it_does_not_come_to_that(
    owner: str, history: History
) -> None:
    assert (
        ask(owner, "DELETE", "branches", "branch=side/line&leave_empty=true", by=owner).status
        == 204
    )
    assert heads(owner, "song") == {"main": history[2]}


def test_names_in_a_query_are_taken_as_they_are(owner: str, history: History) -> None:
    assert push(owner, "song", history.bundle([1]), branch="50%2F#a b").status == 200
    assert moves(owner, "50%252F%23a%20b") == [(None, history[1], False)]
    assert ask(owner, "DELETE", "branches", "branch=50%252F%23a%20b", by=owner).status == 204


def test_a_branch_has_no_moves_of_a_branch_with_the_same_prefix(
    owner: str, history: History
) -> None:
    assert push(owner, "song", history.bundle([1]), branch="main#2").status == 200
    assert len(moves(owner)) == 2


@pytest.mark.parametrize(
    ("method", "what", "query", "body", "code"),
    [
        ("DELETE", "branches", "branch=none", None, "ref_not_found"),
        ("DELETE", "branches", "", None, "invalid"),
        ("GET", "moves", "branch=none", None, "ref_not_found"),
        ("POST", "restore", "", {"branch": "none"}, "ref_not_found"),
        ("POST", "restore", "", {"branch": "main", "from": "x"}, "invalid"),
        ("GET", "branches", "cursor=!", None, "invalid"),
        ("GET", "branches", "limit=1000", None, "invalid"),
    ],
)
def test_refusals(
    owner: str, history: History, method: str, what: str, query: str, body: Any, code: str
) -> None:
    assert ask(owner, method, what, query, body, by=owner).code == code


@pytest.mark.parametrize(("method", "what"), [("DELETE", "branches"), ("POST", "restore")])
def test_only_a_caller_with_the_right_to_push_moves_branches(
    owner: str, history: History, method: str, what: str
) -> None:
    body = {"branch": "side/line"} if method == "POST" else None
    assert ask(owner, method, what, "branch=side/line", body).code == "unauthorized"
    assert ask(owner, method, what, "branch=side/line", body, by="stranger").code == "forbidden"
