"""History over the API: a log in pages and in one order, one commit, its files, and what
differs.
"""

import itertools
import os
import re
from typing import Any
from urllib.parse import quote

import pytest

from bench.meter import Meter
from shared import cursors, names
from shared.actions import history as history_module
from tests.builders import History, Record, blob, chain, commit, graph, snapshot, twins
from tests.client import Answer, event, fetch, fetched_ids, invoke, push
from tests.functions import api


def ask(owner: str, what: str, query: str = "", *, by: str | None = None) -> Answer:
    return api.call("commits", "GET", f"/repos/{owner}/song/{what}", by=by, query=query)


def made_up(position: Any) -> str:
    """A query with a cursor that the hub never gave."""
    return f"cursor={quote(cursors.encode(position))}"


def log(owner: str, query: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """All pages of a log."""
    entries: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(100):
        answer = ask(owner, "commits", f"limit={limit}{query}{cursor}")
        assert answer.status == 200, answer.body
        assert len(answer.value["commits"]) <= limit
        entries += answer.value["commits"]
        if not answer.value["next_cursor"]:
            return entries
        cursor = f"&cursor={answer.value['next_cursor']}"
    raise AssertionError("the log has no end")


def in_order(history: History, generations: dict[int, int]) -> list[str]:
    return [history[n] for n in sorted(generations, key=lambda n: (-generations[n], history[n]))]


@pytest.fixture
def history(owner: str) -> History:
    r"""
      2 - 4 - 6         6 merges 4 and 5; 3 and 5 came by a branch of their own
     /       /
    1 - 3 - 5
    """
    drawn = graph("1; 2:1; 3:1; 4:2; 5:3; 6:4,5", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2, 4])).status == 200
    assert push(owner, "song", drawn.bundle([1, 3, 5]), branch="side/line").status == 200
    assert push(owner, "song", drawn.bundle([6])).status == 200
    return drawn


GENERATIONS = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4}


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 100])
def test_the_log_is_the_same_in_pages_of_any_length(
    owner: str, history: History, limit: int
) -> None:
    found = log(owner, limit=limit)
    assert [entry["commit_id"] for entry in found] == in_order(history, GENERATIONS)
    assert [entry["generation"] for entry in found] == [4, 3, 3, 2, 2, 1]


def test_a_log_with_more_open_lines_than_a_cursor_holds_goes_on_line_by_line(
    owner: str, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors, "CHARACTERS", 0)
    page = ask(owner, "commits", "limit=2").value
    refused = ask(owner, "commits", f"cursor={quote(page['next_cursor'])}")
    last = page["commits"][-1]["commit_id"]
    assert (refused.status, refused.code) == (413, "too_large")
    assert f"ref={last}" in refused.value["message"]
    assert not refused.value["message"].endswith("…")
    monkeypatch.undo()
    assert log(owner, f"&ref={last}")[0]["commit_id"] == last


def test_a_commit_too_large_for_any_reply_is_refused_before_its_record_is_read(owner: str) -> None:
    large = commit("large", structured_delta={"data": "x" * 5_000_000})
    assert push(owner, "song", {"commits": [large]}).status == 200
    with Meter() as meter:
        refused = ask(owner, f"commits/{large['commit_id']}")
    assert (refused.status, refused.code) == (413, "too_large")
    assert not [name for name in meter.by_operation() if name.startswith("s3.")]
    assert (
        "POST fetch" in refused.value["message"]
        and "`pieria clone URL DIRECTORY`" in refused.value["message"]
    )
    assert fetched_ids(fetch(owner, "song", [large["commit_id"]]))[0] == {large["commit_id"]}


def test_a_forged_cursor_costs_no_more_than_a_page(owner: str) -> None:
    drawn = chain(400, salt=owner)
    assert push(owner, "song", drawn.bundle()).status == 200
    with Meter() as honest:
        assert ask(owner, "commits", "limit=1", by=owner).status == 200
    forged: list[Any] = [
        [["main"], [[0, 400, bytes.fromhex(drawn[400])]]],  # the place of a row
        [
            ["main"],
            [[0, n, bytes.fromhex(drawn[n])] for n in range(300, 401)],
        ],  # places below one another
        [["main"], [[0, 400, bytes.fromhex(drawn[400])], [0, 1, "nothing"]]],
        [[f"lane{n}" for n in range(900)], [[n, 5, "nothing"] for n in range(900)]],
        [drawn[1]],
        drawn[1],
    ]
    for position in forged:
        with Meter() as meter:
            assert ask(owner, "commits", f"limit=1&{made_up(position)}", by=owner).status in (
                200,
                413,
                422,
            )
        assert meter.calls <= honest.calls + 1, position


def test_the_cursor_of_a_wide_history_does_not_walk_again(owner: str) -> None:
    width = 40
    drawing = "; ".join(["1", *(f"{n}:1" for n in range(2, width))])
    merges = [
        f"{width}:2,3",
        *(f"{width + n}:{width + n - 1},{n + 3}" for n in range(1, width - 3)),
    ]
    drawn = graph("; ".join([drawing, *merges]), files=False, salt=owner)
    for number in range(2, width, 2):
        assert (
            push(owner, "song", drawn.bundle([1, number]), branch=f"agent-{number}").status == 200
        )
    assert push(owner, "song", drawn.bundle()).status == 200
    listed: list[str] = []
    cursor = ""
    while len(listed) < len(drawn.commits):
        with Meter() as meter:
            page = ask(owner, "commits", f"limit=10{cursor}").value
        listed += [entry["commit_id"] for entry in page["commits"]]
        assert meter.calls <= 3 + 10 + 1
        cursor = f"&cursor={quote(page['next_cursor'] or '')}"
    assert sorted(listed) == sorted(record["commit_id"] for record in drawn.commits.values())


def test_an_entry_has_the_most_important_fields(owner: str, history: History) -> None:
    entry, *_ = log(owner)
    assert entry == {
        "commit_id": history[6],
        "generation": 4,
        "parents": [history[4], history[5]],
        "snapshot_id": history.snapshots[6]["snapshot_id"],
        "message": history.commits[6]["message"],
        "author": "Ada",
        "committed_at": history.commits[6]["committed_at"],
        "truncated": False,
    }


@pytest.mark.parametrize("by_name", [True, False], ids=["branch", "commit"])
def test_the_log_of_another_line(owner: str, history: History, by_name: bool) -> None:
    found = log(owner, f"&ref={'side/line' if by_name else history[5]}")
    assert [entry["commit_id"] for entry in found] == [history[5], history[3], history[1]]


def test_a_history_that_was_replaced_by_force_lists_each_commit_once(
    owner: str, history: History
) -> None:
    bundle = history.bundle()
    bundle["commits"] = [{**record, "author": "Bob"} for record in bundle["commits"]]
    assert push(owner, "song", bundle, force=True).status == 200
    assert push(owner, "song", history.bundle([4]), branch="old").status == 200
    for limit in (1, 3, 100):
        found = log(owner, limit=limit)
        assert [entry["commit_id"] for entry in found] == in_order(history, GENERATIONS)
    assert {entry["author"] for entry in found} == {"Bob"}


def test_a_long_log_costs_few_calls_a_page(owner: str) -> None:
    drawn = chain(120, salt=owner)
    assert push(owner, "song", drawn.bundle()).status == 200
    assert [entry["commit_id"] for entry in log(owner, limit=50)] == [
        drawn[n] for n in range(120, 0, -1)
    ]


def test_a_commit_comes_whole(owner: str, history: History) -> None:
    answer = ask(owner, f"commits/{history[3]}")
    assert answer.value == {"commit_id": history[3], "generation": 2, "record": history.commits[3]}


def test_a_commit_too_large_for_its_row_comes_whole(owner: str) -> None:
    large = commit("large", structured_delta={"data": os.urandom(6000).hex()})
    assert push(owner, "song", {"commits": [large], "snapshots": [], "objects": []}).status == 200
    assert ask(owner, f"commits/{large['commit_id']}").value["record"] == large
    with Meter() as meter:
        assert log(owner)[0]["message"] == "large"
    assert "s3.GetObject" not in meter.by_operation()


def test_a_log_reads_large_records_of_an_older_hub_a_few_at_a_time(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older hub wrote no summary into the row of a commit whose record is in a pack."""
    commits: list[Record] = []
    for number in range(5):
        parents = [commits[-1]["commit_id"]] if commits else []
        commits.append(
            commit(f"{number}", parents, structured_delta={"data": os.urandom(6000).hex()})
        )
    with monkeypatch.context() as patched:
        patched.setattr("shared.actions.push_plan.packed_summary", lambda record: None)
        assert (
            push(owner, "song", {"commits": commits, "snapshots": [], "objects": []}).status == 200
        )
    monkeypatch.setattr(history_module, "RECORD_BYTES", 30_000)
    page = ask(owner, "commits").value
    assert [entry["message"] for entry in page["commits"]] == ["4", "3"]
    assert [entry["message"] for entry in log(owner)] == ["4", "3", "2", "1", "0"]


def test_a_log_cuts_long_texts_and_says_so(owner: str) -> None:
    long = commit("m" * 5000, author="a" * 5000)
    large = commit("l" * 5000, structured_delta={"data": os.urandom(6000).hex()})
    for record, branch in ((long, "main"), (large, "other")):
        bundle = {"commits": [record], "snapshots": [], "objects": []}
        assert push(owner, "song", bundle, branch=branch).status == 200
        (entry,) = log(owner, f"&ref={branch}")
        assert entry["message"] == record["message"][:1000]
        assert entry["author"] == record["author"][:200]
        assert entry["truncated"] is True


def test_files_come_by_path_and_in_pages(owner: str, history: History) -> None:
    manifest = history.snapshots[6]["manifest"]
    first = ask(owner, f"commits/{history[6]}/files", "limit=2").value
    assert first["snapshot_id"] == history.snapshots[6]["snapshot_id"]
    rest = ask(owner, f"commits/{history[6]}/files", f"cursor={first['next_cursor']}").value
    assert list(first["files"]) == sorted(manifest)[:2]
    assert {**first["files"], **rest["files"]} == manifest
    assert rest["next_cursor"] is None


def test_a_comparison_lists_added_removed_and_modified_files(owner: str) -> None:
    blobs = {name: blob(f"{name} {owner}".encode()) for name in "abcde"}
    ids = {name: found["object_id"] for name, found in blobs.items()}
    before = snapshot({"same": ids["a"], "gone": ids["b"], "changed/x": ids["c"]})
    now = snapshot({"same": ids["a"], "new": ids["d"], "changed/x": ids["e"]})
    one = commit("one", [], before["snapshot_id"])
    two = commit("two", [one["commit_id"]], now["snapshot_id"])
    bundle = {"commits": [one, two], "snapshots": [before, now], "objects": list(blobs.values())}
    assert push(owner, "song", bundle).status == 200
    value = ask(owner, "compare", f"base={one['commit_id']}&head=main").value
    assert value == {
        "base": one["commit_id"],
        "head": two["commit_id"],
        "added": {"new": ids["d"]},
        "removed": {"gone": ids["b"]},
        "modified": {"changed/x": [ids["c"], ids["e"]]},
        "next_cursor": None,
    }
    pages = []
    cursor = ""
    for _ in itertools.repeat(None, 3):
        page = ask(owner, "compare", f"base={one['commit_id']}&head=main&limit=1{cursor}").value
        pages.append([*page["added"], *page["removed"], *page["modified"]])
        cursor = f"&cursor={page['next_cursor']}"
    assert pages == [["changed/x"], ["gone"], ["new"]]
    assert page["next_cursor"] is None


def test_a_commit_id_names_the_commit_and_no_branch_of_that_name(
    owner: str, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A branch that was named like commit 1 before such names were refused, and that points at
    commit 6.
    """
    monkeypatch.setattr(names, "_DIGEST_LIKE", re.compile("never"))
    bundle = {
        "commits": [],
        "snapshots": [],
        "objects": [],
        "branch_heads": {history[1]: history[6]},
    }
    assert push(owner, "song", bundle, branch=history[1]).status == 200
    compared = ask(owner, "compare", f"base={history[1]}&head=main").value
    assert compared["base"] == history[1]
    assert sorted(compared["added"]) == sorted(history.snapshots[6]["manifest"].keys() - {"1.txt"})
    assert [entry["commit_id"] for entry in log(owner, f"&ref={history[1]}")] == [history[1]]
    assert sorted(ask(owner, f"commits/{history[1]}/files").value["files"]) == ["1.txt"]


NAMED = {
    "one": ("commits/{}", ""),
    "files": ("commits/{}/files", ""),
    "log": ("commits", "ref={}"),
    "compare": ("compare", "base={}&head=main"),
}
"""Where the API takes the name of a commit."""


def named(owner: str, how: str, name: str) -> Answer:
    path, query = NAMED[how]
    return ask(owner, path.format(name), query.format(name))


def raw(owner: str, rest: str) -> Answer:
    return invoke("raw", event("GET", f"/{owner}/song/raw/{rest}"))


@pytest.mark.parametrize("how", NAMED)
@pytest.mark.parametrize("digits", [7, 8, 40, 63])
def test_the_first_digits_of_an_id_name_its_commit(
    owner: str, history: History, how: str, digits: int
) -> None:
    whole, short = named(owner, how, history[4]), named(owner, how, history[4][:digits])
    assert (short.status, short.value) == (200, whole.value)
    assert history[4] in str(short.value)


def test_a_file_of_a_short_id_is_that_of_the_commit_but_not_for_ever(
    owner: str, history: History
) -> None:
    whole, short = (raw(owner, f"{commit_id}/1.txt") for commit_id in (history[4], history[4][:8]))
    assert (short.status, short.body) == (200, whole.body)
    assert (
        "immutable" in whole.headers["cache-control"]
        and "immutable" not in short.headers["cache-control"]
    )


@pytest.mark.parametrize("how", NAMED)
@pytest.mark.parametrize("digits", ["{:.6}", "{:.8}0", "{:.8}G", "A{:.8}", "{:.8}%2525", "0123456"])
def test_an_unknown_or_too_short_prefix_is_not_found(
    owner: str, history: History, how: str, digits: str
) -> None:
    name = digits.format(history[4])
    if name == history[4][:9]:
        name = history[4][:8] + "1"
    answer = named(owner, how, name)
    assert (answer.status, answer.code) == (
        404,
        "commit_not_found" if how in ("one", "files") else "ref_not_found",
    )


@pytest.mark.parametrize("how", NAMED)
def test_a_short_id_of_several_commits_is_refused_with_their_names(
    owner: str, history: History, how: str
) -> None:
    pair = [twin["commit_id"] for twin in twins()]
    for number, twin in enumerate(twins()):
        assert push(owner, "song", {"commits": [twin]}, branch=f"twin{number}").status == 200
    refused = named(owner, how, pair[0][:7])
    assert (refused.status, refused.code) == (422, "ambiguous_commit")
    assert all(commit_id in refused.value["message"] for commit_id in pair)
    assert raw(owner, f"{pair[0][:7]}/a").code == "ambiguous_commit"
    for commit_id in pair:
        assert named(owner, how, commit_id[:8]).status == 200


def test_a_commit_that_a_stranger_may_not_see_is_no_candidate_for_a_short_id(owner: str) -> None:
    kept, dropped = twins()
    for number, twin in enumerate((dropped, kept)):
        pushed = push(owner, "song", {"commits": [twin]}, branch="main", force=bool(number))
        assert pushed.status == 200
    short = kept["commit_id"][:7]
    assert ask(owner, f"commits/{short}").value["commit_id"] == kept["commit_id"]
    assert ask(owner, f"commits/{dropped['commit_id'][:8]}").code == "commit_not_found"
    assert ask(owner, f"commits/{short}", by=owner).code == "ambiguous_commit"
    assert ask(owner, f"commits/{dropped['commit_id'][:8]}", by=owner).status == 200


def test_an_id_that_is_given_whole_and_a_branch_come_before_the_beginning_of_another(
    owner: str, history: History
) -> None:
    short = history[4][:8]
    assert push(owner, "song", {"commits": [{"commit_id": short}]}, branch="opaque").status == 200
    assert ask(owner, f"commits/{short}").value["commit_id"] == short
    assert (
        push(
            owner, "song", {"commits": [], "branch_heads": {short: history[1]}}, branch=short
        ).status
        == 200
    )
    assert ask(owner, f"commits/{short}").value["commit_id"] == history[1]


@pytest.mark.parametrize("how", ["one", "files"])
def test_a_branch_is_named_where_an_id_is_expected(owner: str, history: History, how: str) -> None:
    assert named(owner, how, "main").value == named(owner, how, history[6]).value
    assert named(owner, how, "none").code == "commit_not_found"


def test_only_a_short_id_costs_a_look_at_every_partition_of_the_index(
    owner: str, history: History
) -> None:
    with Meter() as whole:
        assert ask(owner, f"commits/{history[4]}", by=owner).status == 200
    with Meter() as short:
        assert ask(owner, f"commits/{history[4][:8]}", by=owner).status == 200
    with Meter() as branch:
        assert ask(owner, "commits/main", by=owner).status == 200
    assert whole.calls == branch.calls, (whole.by_operation(), branch.by_operation())
    assert short.calls <= whole.calls + 18 and short.longest_chain() <= whole.longest_chain() + 2


def test_a_commit_compared_with_itself_does_not_differ(owner: str, history: History) -> None:
    value = ask(owner, "compare", "base=main&head=main").value
    assert (value["added"], value["removed"], value["modified"]) == ({}, {}, {})


@pytest.mark.parametrize(
    ("what", "query", "code"),
    [
        ("commits", "ref=none", "ref_not_found"),
        ("commits", "cursor=abcd", "invalid"),
        ("commits", "cursor=eJwDAAAAAAE%3D", "invalid"),
        ("commits", made_up([["main"], [[0, 1, "gone"]]]), "invalid"),
        ("commits", made_up([["main"], [[0, 10**12, "gone"]]]), "invalid"),
        ("commits", made_up([["x" * 2100], [[0, 1, "gone"]]]), "invalid"),
        ("commits", made_up([["main"], [[1, 1, "gone"]]]), "invalid"),
        ("commits", made_up([[5], [[0, 1, "gone"]]]), "invalid"),
        ("commits", made_up([["main"], [[0, True, "gone"]]]), "invalid"),
        ("commits", made_up([["main"], []]), "invalid"),
        ("commits", made_up([["main"], [5]]), "invalid"),
        ("commits", made_up([["main"], [[0, 1, [b"x"]]]]), "invalid"),
        ("commits", made_up("main"), "invalid"),
        ("commits", made_up(None), "invalid"),
        ("compare", "base=main&head=main&" + made_up(["main"]), "invalid"),
        ("commits", "limit=0", "invalid"),
        ("commits/none", "", "commit_not_found"),
        ("commits/%2e%2e", "", "commit_not_found"),
        ("commits/none/files", "", "commit_not_found"),
        ("compare", "base=main&head=none", "ref_not_found"),
        ("compare", "base=main", "invalid"),
    ],
)
def test_refusals(owner: str, history: History, what: str, query: str, code: str) -> None:
    assert ask(owner, what, query, by=owner).code == code
