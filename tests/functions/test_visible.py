"""Commits that a forced push or a deletion took from a branch: members read them, all other callers
do not.

Every request that names a commit is sent for a commit that is stored, but that no branch, tag or
release reaches.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.actions import visible
from tests import client
from tests.builders import History, chain, graph
from tests.client import JSON, Answer, call, fetch, fetched_ids, push
from tests.faults import recorded

MEMBER, STRANGER, NOBODY = "reader", "stranger", None


def ask(
    owner: str, path: str, query: str = "", *, by: str | None, function: str = "commits"
) -> Answer:
    return client.ask(function, "GET", path, by=by, query=query, accept=None)


def api(
    owner: str, rest: str, query: str = "", *, by: str | None, function: str = "commits"
) -> Answer:
    return ask(owner, f"/api/v1/repos/{owner}/song/{rest}", query, by=by, function=function)


def posted(function: str, owner: str, path: str, message: Any) -> Answer:
    method = "PUT" if function == "members" else "POST"
    return client.ask(function, method, path, message, by=owner, form=JSON, accept=None)


@pytest.fixture
def history(owner: str) -> History:
    r"""Main was at 3 and is at 4 by force; 2 and 3 are on no branch. Commit 5 is on `side`.

      2 - 3
     /
    1 - 4 - 5
    """
    drawn = graph("1; 2:1; 3:2; 4:1; 5:4", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2, 3])).status == 200
    assert push(owner, "song", drawn.bundle([1, 4]), force=True).status == 200
    assert push(owner, "song", drawn.bundle([5]), branch="side").status == 200
    given = posted_role(owner, MEMBER)
    assert given.status in (200, 201), given.body
    return drawn


def posted_role(owner: str, handle: str) -> Answer:
    return posted(
        "members", owner, f"/api/v1/repos/{owner}/song/members/{handle}", {"role": "read"}
    )


def named(owner: str, commit_id: str, other: str, *, by: str | None) -> Mapping[str, Answer]:
    """Every request that names a commit."""
    return {
        "fetch": fetch(owner, "song", [commit_id], by=by),
        "fetch/history": call("fetch_history", owner, "song", {"want": [commit_id]}, by=by),
        "negotiate": call("negotiate", owner, "song", {"want": [commit_id], "have": []}, by=by),
        "commit": api(owner, f"commits/{commit_id}", by=by),
        "files": api(owner, f"commits/{commit_id}/files", by=by),
        "log": api(owner, "commits", f"ref={commit_id}", by=by),
        "compare, base": api(owner, "compare", f"base={commit_id}&head={other}", by=by),
        "compare, head": api(owner, "compare", f"base={other}&head={commit_id}", by=by),
        "raw": ask(owner, f"/{owner}/song/raw/{commit_id}/1.txt", by=by, function="raw"),
    }


@pytest.mark.parametrize("by", [STRANGER, NOBODY])
def test_a_commit_that_a_forced_push_removed_is_not_there_for_others(
    owner: str, history: History, by: str | None
) -> None:
    unknown = named(owner, "f" * 64, history[4], by=by)
    for number in (2, 3):
        for what, answer in named(owner, history[number], history[4], by=by).items():
            assert answer.status == 404, what
            assert answer.body.replace(history[number].encode(), b"f" * 64) == unknown[what].body, (
                what
            )
    for number in (1, 4, 5):
        for what, answer in named(owner, history[number], history[4], by=by).items():
            assert answer.status == 200, (what, answer.body)


def test_members_read_it(owner: str, history: History) -> None:
    for by in (owner, MEMBER):
        for what, answer in named(owner, history[3], history[4], by=by).items():
            assert answer.status == 200, (what, answer.body)


def test_only_members_see_moves(owner: str, history: History) -> None:
    for by in (owner, MEMBER):
        answer = api(owner, "moves", "branch=main", by=by, function="branches")
        assert history[3] in {move["before"] for move in answer.value["moves"]}
    for stranger in (STRANGER, NOBODY):
        answer = api(owner, "moves", "branch=main", by=stranger, function="branches")
        assert (answer.status, answer.code) == (403, "forbidden")
        assert history[3].encode() not in answer.body


def test_haves_of_other_callers_are_acknowledged_only_if_visible_to_them(
    owner: str, history: History
) -> None:
    offered = [history[n] for n in (3, 1, 2, 4)]
    message = {"want": [history[5]], "have": offered}
    assert call("negotiate", owner, "song", message, by=owner).value["ack"] == offered
    answer = call("negotiate", owner, "song", message)
    assert answer.value == {
        "ack": [history[1], history[4]],
        "common_base": history[4],
        "ready": True,
    }


@pytest.mark.parametrize("kind", ["tag", "release"])
def test_a_tag_or_a_release_makes_it_visible(owner: str, history: History, kind: str) -> None:
    if kind == "tag":
        tag = {"tag_id": "t1", "tag": "keep", "commit_id": history[3]}
        assert posted("tags", owner, f"/{owner}/song/tags", {"tags": [tag]}).status == 200
    else:
        release = {"release_id": "r1", "tag": "v1.0.0", "commit_id": history[3]}
        draft = {"release_id": "r0", "tag": "v0.9.0", "commit_id": history[3], "is_draft": True}
        assert posted("releases", owner, f"/{owner}/song/releases", draft).status == 201
        assert api(owner, f"commits/{history[3]}", by=NOBODY).status == 404
        assert posted("releases", owner, f"/{owner}/song/releases", release).status == 201
    for number in (3, 2):
        for what, answer in named(owner, history[number], history[4], by=NOBODY).items():
            assert answer.status == 200, (what, answer.body)
    assert fetched_ids(fetch(owner, "song", [history[3]]))[0] == {history[n] for n in (1, 2, 3)}


def test_a_cursor_of_a_log_does_not_lead_there(owner: str, history: History) -> None:
    """Made by a member, who may see it; sent by a caller who may not."""
    page = api(owner, "commits", f"ref={history[3]}&limit=1", by=owner).value
    query = f"limit=1&cursor={page['next_cursor'].replace('=', '%3D')}"
    assert api(owner, "commits", query, by=owner).value["commits"][0]["commit_id"] == history[2]
    refused = api(owner, "commits", query, by=NOBODY)
    assert (refused.status, refused.code) == (422, "invalid")
    page = api(owner, "commits", "ref=side&limit=1", by=NOBODY).value
    query = f"limit=2&cursor={page['next_cursor'].replace('=', '%3D')}"
    found = api(owner, "commits", query, by=NOBODY).value["commits"]
    assert [entry["commit_id"] for entry in found] == [history[4], history[1]]


def test_a_pull_that_races_with_a_push_gets_the_commits_of_its_refs(owner: str) -> None:
    """The client has read the refs; the branch moves on; then it fetches the head that it saw."""
    drawn = chain(3, salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    assert push(owner, "song", drawn.bundle([3])).status == 200
    assert fetched_ids(fetch(owner, "song", [drawn[2]], [drawn[1]]))[0] == {drawn[2]}


def test_a_clone_or_a_pull_of_heads_costs_others_no_more_calls(
    owner: str, history: History
) -> None:
    heads = [history[4], history[5]]
    for have in ([], [history[4]]):
        calls = {}
        for by in (owner, NOBODY):
            fetch(owner, "song", heads, have, by=by)  # the first one opens connections
            with recorded() as made:
                assert fetch(owner, "song", heads, have, by=by).status == 200
            calls[by] = sorted(made)
        assert calls[owner] == calls[NOBODY]


def test_the_search_is_bounded(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a repository with many branches and a commit that none of them leads to."""
    drawn = graph(
        "1; 2:1; 3:2; " + "; ".join(f"{n}:2" for n in range(4, 24)), files=False, salt=owner
    )
    assert push(owner, "song", drawn.bundle([1, 2, 3])).status == 200
    for number in range(4, 24):
        assert push(owner, "song", drawn.bundle([number]), branch=f"b{number}").status == 200
    assert push(owner, "song", drawn.bundle([1]), force=True).status == 200
    with recorded() as calls:
        assert fetch(owner, "song", [drawn[3]]).status == 404
    assert len(calls) < 12
    with recorded() as calls:
        assert fetch(owner, "song", [drawn[2]]).status == 200
    assert len(calls) < 20
    monkeypatch.setattr(visible, "MAX_ROUNDS", 0)
    assert fetch(owner, "song", [drawn[2]]).status == 404
    tag = {"tag_id": "t1", "tag": "old", "commit_id": drawn[2]}
    assert posted("tags", owner, f"/{owner}/song/tags", {"tags": [tag]}).status == 200
    assert fetch(owner, "song", [drawn[2]]).status == 200
