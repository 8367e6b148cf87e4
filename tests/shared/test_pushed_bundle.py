"""A pushed bundle, checked: the first thing that is wrong is named, and what passes is in order."""

import random
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import ids, names, pushed_bundle
from shared.errors import ApiError, HashMismatch, InvalidName, Unprocessable
from shared.model import SnapshotId
from shared.protocol.base import parse
from shared.protocol.push import Push
from shared.protocol.records import COMMIT_DEFAULTS
from shared.pushed_bundle import PushedBundle
from tests.builders import Record, blob, chain, commit, graph, snapshot

A, B = "a" * 64, "b" * 64


def push(
    commits: list[Record] | None = None,
    snapshots: list[Record] | None = None,
    objects: list[Record] | None = None,
    *,
    branch: str = "main",
    heads: dict[str, str] | None = None,
) -> Push:
    sent = {
        "commits": commits or [],
        "snapshots": snapshots or [],
        "objects": objects or [],
        "branch_heads": heads or {},
    }
    return parse(Push, {"bundle": sent, "branch": branch})


def check(*args: Any, **options: Any) -> PushedBundle:
    return pushed_bundle.check(push(*args, **options))


def opaque(commit_id: str, *parents: str | None, **more: Any) -> Record:
    """A commit under a short name that proves nothing."""
    first, second = (*parents, None, None)[:2]
    return {"commit_id": commit_id, "parent_commit_id": first, "parent2_commit_id": second, **more}


# ── Order ─────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
    st.integers(0, 99),
)
def test_parents_come_first_whatever_the_order_sent(links, seed):
    commits: list[Record] = []
    for n, backs in enumerate(links):
        parents = [commits[n - back]["commit_id"] for back in backs if 0 < back <= n]
        commits.append(commit(f"commit {n}", parents))
    random.Random(seed).shuffle(commits)

    checked = check(commits).commits
    assert checked.keys() == {c["commit_id"] for c in commits}
    seen: set[str] = set()
    for commit_id, new in checked.items():
        assert seen.issuperset(p for p in new.parents if p in checked)
        seen.add(commit_id)


def test_a_long_line_needs_no_recursion():
    history = chain(3000)
    newest_first = list(reversed(history.commits.values()))
    assert list(check(newest_first).commits) == [history[n] for n in range(1, 3001)]


@pytest.mark.parametrize(
    "commits",
    [
        pytest.param([opaque("a", "a")], id="its own parent"),
        pytest.param([opaque("a", "b"), opaque("b", "a")], id="each other's"),
        pytest.param(
            [opaque("r"), opaque("a", "r", "c"), opaque("b", "a"), opaque("c", "b")],
            id="three in a ring above a root",
        ),
    ],
)
def test_a_ring_of_commits_is_refused(commits):
    with pytest.raises(Unprocessable, match="form a cycle"):
        check(commits)


# ── Heads ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_head_is_the_one_commit_that_is_nobodys_parent():
    history = graph("1; 2:1; 3:1; 4:2,3", files=False)
    request = push(list(history.commits.values()))
    assert pushed_bundle.check(request).head(request) == history[4]


def test_a_named_head_is_believed_for_its_branch_only():
    history = graph("1; 2:1; 3:1", files=False)
    commits = list(history.commits.values())
    request = push(commits, heads={"main": history[2], "dev": history[3]})
    assert pushed_bundle.check(request).head(request) == history[2]
    request = push(commits, heads={"main": history[2], "dev": history[3]}, branch="dev")
    assert pushed_bundle.check(request).head(request) == history[3]


def test_a_named_head_may_be_one_that_was_sent_before():
    request = push([], heads={"main": A})
    assert pushed_bundle.check(request).head(request) == A


def test_of_two_tips_neither_is_the_head():
    request = push(list(graph("1; 2:1; 3:1", files=False).commits.values()))
    with pytest.raises(Unprocessable, match="2 unrelated tips"):
        pushed_bundle.check(request).head(request)


@pytest.mark.parametrize("heads", [{}, {"dev": A}, {"main": ""}])
def test_nothing_has_no_head(heads):
    request = push([], heads=heads)
    with pytest.raises(Unprocessable, match="no commit"):
        pushed_bundle.check(request).head(request)


@pytest.mark.parametrize("head", ["../x", "A" * 64, "a" * 63, "a b"])
def test_a_named_head_is_an_id(head):
    request = push([], heads={"main": head})
    with pytest.raises(InvalidName, match="not a commit id"):
        pushed_bundle.check(request).head(request)


# ── Records ───────────────────────────────────────────────────────────────────────────────────────


def test_absent_fields_get_their_defaults():
    record = {"commit_id": ids.commit_id([], None, "", "")}
    (checked,) = check([record]).commits.values()
    assert checked.record == {**COMMIT_DEFAULTS, **record}
    assert (checked.parents, checked.snapshot_id) == ((), None)
    assert COMMIT_DEFAULTS["sem_ver_bump"] == "none"
    assert COMMIT_DEFAULTS["format_version"] == 1
    assert len(COMMIT_DEFAULTS) == 21


def test_a_record_is_kept_as_it_came_unknown_fields_and_order_included():
    sent = commit(
        "m",
        unheard_of={"deep": [1, None, {"x": 2.5}]},
        structured_delta={"ops": [{"type": "insert"}]},
    )
    (checked,) = check([sent]).commits.values()
    assert checked.record == sent
    pictured = snapshot({"a": A}) | {"note": [True]}
    (kept,) = check([], [pictured]).snapshots.values()
    assert (kept.record, kept.manifest) == (pictured, {"a": A})


def test_a_snapshot_without_a_time_has_an_empty_one():
    sent = {"snapshot_id": ids.snapshot_id({}), "manifest": {}}
    (kept,) = check([], [sent]).snapshots.values()
    assert kept.record == {**sent, "created_at": ""}


def test_the_ids_that_a_bundle_refers_to():
    history = graph("1; 2:1; 3:2; 4:2,3")
    checked = check([history.commits[3], history.commits[4]], [history.snapshots[4]])
    assert checked.outside_parents() == {history[2]}
    assert checked.named_snapshots() == {history.snapshots[n]["snapshot_id"] for n in (3, 4)}


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ((None, None), ()),
        (("", ""), ()),
        (("p", ""), ("p",)),
        ((None, "q"), ("q",)),
        (("p", "p"), ("p", "p")),
    ],
    ids=["none", "empty texts", "one", "only the second", "the same twice"],
)
def test_parents_are_those_that_are_named(parents, expected):
    (checked,) = check([opaque("c", *parents)]).commits.values()
    assert checked.parents == expected


# ── Twice the same ────────────────────────────────────────────────────────────────────────────────


def test_a_commit_sent_twice_counts_once():
    record = commit("m")
    assert list(check([record, dict(record)]).commits) == [record["commit_id"]]


@pytest.mark.parametrize("field", ["author", "unheard_of"])
def test_a_commit_sent_twice_with_different_contents_is_refused(field):
    record = commit("m")
    with pytest.raises(Unprocessable, match="twice with different contents"):
        check([record, {**record, field: "somebody else"}])


def test_of_two_objects_under_one_opaque_id_the_first_stays():
    sent = [{"object_id": "o", "content": b"first"}, {"object_id": "o", "content": b"second"}]
    assert check([], [], sent).objects == {"o": b"first"}


def test_of_two_snapshots_under_one_opaque_id_the_first_stays():
    sent = [
        {"snapshot_id": "s", "manifest": {"a": "first"}},
        {"snapshot_id": "s", "manifest": {"a": "second"}},
    ]
    assert check([], sent).snapshots[SnapshotId("s")].manifest == {"a": "first"}


# ── Digests ───────────────────────────────────────────────────────────────────────────────────────


def test_an_object_that_differs_from_its_id_is_refused():
    with pytest.raises(HashMismatch, match=f"object {A} does not match .* {ids.object_id(b'x')};"):
        check([], [], [{"object_id": A, "content": b"x"}])


def test_a_snapshot_that_differs_from_its_id_is_refused():
    with pytest.raises(HashMismatch, match="snapshot"):
        check([], [snapshot({"a": A}) | {"manifest": {"a": B}}])


@pytest.mark.parametrize(
    "change",
    [
        {"message": "other"},
        {"committed_at": "2026-01-01T00:00:01+00:00"},
        {"parent_commit_id": B},
        {"parent2_commit_id": B},
        {"parent_commit_id": None},
        {"snapshot_id": B},
        {"snapshot_id": None},
    ],
    ids=str,
)
def test_a_commit_that_differs_from_its_id_is_refused(change):
    with pytest.raises(HashMismatch, match="commit"):
        check([commit("m", [A], A) | change])


@pytest.mark.parametrize(
    "change", [{"author": "Bob"}, {"branch": "dev"}, {"metadata": {}}, {"test_runs": 7}], ids=str
)
def test_fields_outside_the_hash_may_differ(change):
    (checked,) = check([commit("m", [A], A) | change]).commits.values()
    assert checked.record.items() >= change.items()


def test_true_objects_are_taken():
    sent = [blob(b""), blob(b"\x00" * 100)]
    assert list(check([], [], sent).objects.values()) == [b"", b"\x00" * 100]


# ── Opaque ids ────────────────────────────────────────────────────────────────────────────────────


def test_opaque_ids_carry_no_promise():
    checked = check(
        [opaque("c1"), opaque("c2", "c1", snapshot_id="s1", message="m")],
        [{"snapshot_id": "s1", "manifest": {"a": "o1", "b": A}}],
        [{"object_id": "o1", "content": b"anything"}],
    )
    assert list(checked.commits) == ["c1", "c2"]
    assert checked.objects == {"o1": b"anything"}


@pytest.mark.parametrize(
    "record",
    [opaque("c", A), opaque("c", "b", A), opaque("c", snapshot_id=A)],
    ids=["first parent", "second parent", "snapshot"],
)
def test_an_opaque_commit_cannot_stand_on_true_history(record):
    with pytest.raises(InvalidName, match="its own id must be the digest"):
        check([record])


def test_a_true_snapshot_lists_true_objects_only():
    with pytest.raises(InvalidName, match="lists 'o1', which is not an object id"):
        check([], [snapshot({"a": A, "b": "o1"})])


def test_a_true_commit_may_stand_on_an_opaque_snapshot():
    (checked,) = check([commit("m", [], "s1")]).commits.values()
    assert checked.snapshot_id == "s1"


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param({"branch": "../x"}, InvalidName, "branch name '../x' is unsafe", id="branch"),
        pytest.param(
            {"commits": [opaque("../c")]}, InvalidName, "'../c' is not a commit id", id="commit id"
        ),
        pytest.param(
            {"commits": [opaque("c", "../p")]}, InvalidName, "not a parent commit id", id="parent"
        ),
        pytest.param(
            {"commits": [opaque("c", None, "../p")]},
            InvalidName,
            "not a parent commit id",
            id="second parent",
        ),
        pytest.param(
            {"commits": [opaque("c", snapshot_id="/s")]},
            InvalidName,
            "not a snapshot id",
            id="snapshot of a commit",
        ),
        pytest.param(
            {"snapshots": [{"snapshot_id": "/s", "manifest": {}}]},
            InvalidName,
            "not a snapshot id",
            id="snapshot id",
        ),
        pytest.param(
            {"snapshots": [snapshot({".git/config": A})]}, InvalidName, "own .git folder", id="path"
        ),
        pytest.param(
            {"snapshots": [snapshot({"r": A, "r/x": A})]}, InvalidName, "also a folder", id="paths"
        ),
        pytest.param(
            {"snapshots": [{"snapshot_id": "s", "manifest": {"a": "../o"}}]},
            InvalidName,
            "object id",
            id="object of a snapshot",
        ),
        pytest.param(
            {"objects": [{"object_id": "../o", "content": b""}]},
            InvalidName,
            "object id",
            id="object id",
        ),
        pytest.param({"commits": [commit("a\x00b")]}, Unprocessable, "NUL", id="NUL in a message"),
        pytest.param(
            {"commits": [commit("m", committed_at="\x00")]},
            Unprocessable,
            "NUL",
            id="NUL in a time",
        ),
        pytest.param(
            {"commits": [opaque("c", message="\x00")]},
            Unprocessable,
            "NUL",
            id="NUL in an opaque commit",
        ),
        pytest.param(
            {"commits": [commit("m", unheard_of=[{"a": b""}])]},
            Unprocessable,
            "binary",
            id="bytes in a commit",
        ),
        pytest.param(
            {"snapshots": [snapshot({}) | {"x": b""}]},
            Unprocessable,
            "binary",
            id="bytes in a snapshot",
        ),
        pytest.param(
            {"commits": [{}]},
            Unprocessable,
            "a commit, at commit_id: is missing",
            id="no commit id",
        ),
        pytest.param(
            {"commits": [opaque("c", message=5)]},
            Unprocessable,
            "a commit, at message",
            id="a number for a message",
        ),
        pytest.param(
            {"commits": [opaque("c", test_runs="5")]},
            Unprocessable,
            "a commit, at test_runs",
            id="a text for a number",
        ),
        pytest.param(
            {"commits": [opaque("c", test_runs=True)]},
            Unprocessable,
            "a commit, at test_runs",
            id="a flag for a number",
        ),
        pytest.param(
            {"commits": [opaque("c", metadata={"a": 1})]},
            Unprocessable,
            "a commit, at metadata.a",
            id="a number in metadata",
        ),
        pytest.param(
            {"snapshots": [{"snapshot_id": "s"}]},
            Unprocessable,
            "a snapshot, at manifest",
            id="no manifest",
        ),
        pytest.param(
            {"snapshots": [{"snapshot_id": "s", "manifest": {"a": None}}]},
            Unprocessable,
            "a snapshot, at manifest.a",
            id="no object",
        ),
    ],
)
def test_the_first_thing_wrong_is_named(arguments, error, message):
    with pytest.raises(error) as refused:
        check(**arguments)
    assert message in refused.value.message


@given(
    st.dictionaries(
        st.sampled_from(["commit_id", *COMMIT_DEFAULTS]),
        st.one_of(st.none(), st.text(max_size=4), st.integers(), st.just([]), st.just({})),
    )
)
def test_any_record_is_taken_or_refused(record):
    try:
        check([record])
    except ApiError as refused:
        assert refused.status == 422


def test_each_path_is_checked_once_for_all_snapshots_of_a_push() -> None:
    paths = {f"part-{n}.mid": blob(b"x")["object_id"] for n in range(20)}
    snapshots = [snapshot(paths | {f"new-{n}.mid": A}) for n in range(10)]
    checked: list[str] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is names._check_path.__code__:
            checked.append(frame.f_locals["path"])

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        check(snapshots=snapshots)
    finally:
        sys.setprofile(before)
    assert sorted(checked) == sorted([*paths, *(f"new-{n}.mid" for n in range(10))])
