"""Group 6: POST push, where the branch may or may not move.

Only one commit at a time may win it.
"""

import itertools
import time
from functools import partial
from typing import Any

import pytest

from tests.builders import chain, commit, graph
from tests.client import call, fetch, fetched_ids, heads, push
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    COMMITS,
    CX,
    O1,
    O2,
    S1,
    S2,
    SNAPSHOTS,
    UNKNOWN,
    M,
    R,
    assert_accepted,
    assert_refused,
    bundle,
    case,
    pushed,
    truly,
)


def roots(count):
    """Pushes of one unrelated root commit each, on S1."""
    return [
        truly(commit(f"root {number}", snapshot_id=S1), on=[SNAPSHOTS[S1]])
        for number in range(count)
    ]


def head_of(sent):
    return sent["commits"][-1]["commit_id"]


@pytest.mark.parametrize(
    ("stands_at", "sent", "force"),
    [
        case("N01", "a sibling of the head", (C1, C2), (CX,), False),
        case("N01", "a sibling with all its history", (C1, C2), (CX, C1), False),
        case("N01", "a root of its own", (C1, C2), (R,), False),
        case("N05", "the head's parent", (C1, C2), (C1,), False),
        case("N05", "the head's grandparent", (C1, C2, C3), (C1,), False),
    ],
)
def test_a_branch_is_not_rewound_or_moved_aside(owner, stands_at, sent, force):
    pushed(owner, "song", *stands_at)
    answer = push(owner, "song", bundle(*sent), force=force)
    assert_refused(
        answer, 409, "non_fast_forward", naming=["non-fast-forward", "main", stands_at[-1]]
    )
    assert heads(owner, "song") == {"main": stands_at[-1]}


def test_N02_a_forced_push_moves_the_branch_and_keeps_the_earlier_commits(owner):
    pushed(owner, "song", C1, C2)
    reply = pushed(owner, "song", CX, force=True)
    assert (reply["branch_heads"], reply["remote_head"]) == ({"main": CX}, CX)
    assert heads(owner, "song") == {"main": CX}
    assert fetched_ids(fetch(owner, "song", [C2], by=owner)) == ({C1, C2}, {S1, S2}, {O1, O2})


@pytest.mark.parametrize(
    ("sent", "head"),
    [case("N03", "back to an ancestor", (C1,), C1), case("N03", "to another root", (R,), R)],
)
def test_a_forced_push_moves_the_branch_anywhere(owner, sent, head):
    pushed(owner, "song", C1, C2)
    assert pushed(owner, "song", *sent, force=True)["branch_heads"] == {"main": head}
    assert heads(owner, "song") == {"main": head}


def test_a_forced_push_replaces_the_record_of_a_parent_and_keeps_its_children(owner):
    """The record of the parent differs in its author, and the child does not differ.

    A clone gets the sent record.
    """
    pushed(owner, "song", C1, C2)
    sent = bundle(C1, C2)
    sent["commits"][0]["author"] = "Bob"
    assert_accepted(push(owner, "song", sent, force=True))
    cloned = assert_accepted(fetch(owner, "song", [C2], by=owner))["commits"]
    assert {record["commit_id"]: record["author"] for record in cloned} == {
        C1: "Bob",
        C2: COMMITS[C2]["author"],
    }


def test_a_ladder_of_merges_beside_the_branch_is_refused_in_a_moment(owner):
    """2**24 ways lead from its head to its root. Each of its commits is visited once."""
    pushed(owner, "song", R)
    steps = [f"{n}:{n - 2},{n - 1}; {n + 1}:{n - 2},{n - 1}" for n in range(4, 50, 2)]
    ladder = graph("; ".join(["1; 2:1; 3:1", *steps, "50:48,49"]), files=False)
    began = time.process_time()
    assert_refused(push(owner, "song", ladder.bundle()), 409, "non_fast_forward", naming=[R])
    assert time.process_time() - began < 5


@pytest.mark.parametrize("force", [case("N04", "unforced", False), case("N04", "forced", True)])
def test_a_bundle_with_two_tips_moves_nothing(owner, force):
    pushed(owner, "song", C1)
    assert_refused(push(owner, "song", bundle(C2, R), force=force), 422, "invalid", naming=["tips"])
    assert heads(owner, "song") == {"main": C1}


@pytest.mark.parametrize(
    "branch", [case("N06", "an existing branch", "main"), case("N07", "a new branch", "new")]
)
@pytest.mark.parametrize("force", [False, True], ids=["unforced", "forced"])
def test_an_empty_bundle_is_refused(owner, branch, force):
    pushed(owner, "song", C1)
    empty: dict[str, Any] = {"commits": [], "snapshots": [], "objects": []}
    assert_refused(
        push(owner, "song", empty, branch=branch, force=force), 422, "invalid", naming=["no commit"]
    )
    assert heads(owner, "song") == {"main": C1}


def test_N07_an_empty_bundle_creates_no_repository(owner, stranger):
    assert_refused(push(owner, "song", {}), 422, "invalid")
    assert_refused(call("refs", owner, "song", by=stranger), 404)


@pytest.mark.parametrize(
    "named",
    [
        case("N08", "to a pushed commit", {"other": C2, "main": C2}),
        case("N08", "to a stored commit", {"other": C1}),
        case("N08", "away from where it stands", {"dev": C2}),
        case("N08", "to nothing", {"other": UNKNOWN}),
    ],
)
def test_a_bundle_moves_no_other_branch(owner, named):
    pushed(owner, "song", C1)
    pushed(owner, "song", C1, branch="dev")
    reply = assert_accepted(push(owner, "song", bundle(C2) | {"branch_heads": named}))
    assert reply["branch_heads"] == {"main": C2, "dev": C1}
    assert heads(owner, "song") == {"main": C2, "dev": C1}


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        case("N08", "to one of two tips", (C2, R), R),
        case("N08", "to a root of its own", (R,), R),
        case("N08", "back", (C2,), C1),
    ],
)
def test_a_bundle_that_names_its_own_head_must_be_a_fast_forward_all_the_same(owner, sent, named):
    pushed(owner, "song", C1, C2)
    answer = push(owner, "song", bundle(*sent) | {"branch_heads": {"main": named}})
    assert_refused(answer, 409, "non_fast_forward", naming=[C2])
    assert heads(owner, "song") == {"main": C2}


def test_N09_a_fast_forward_may_go_through_stored_history(owner):
    """main at C1, topic at C2; C3 alone moves main over what only topic brought."""
    pushed(owner, "song", C1)
    pushed(owner, "song", C2, branch="topic")
    assert pushed(owner, "song", C3)["branch_heads"] == {"main": C3, "topic": C2}


def test_N09_a_fast_forward_may_go_through_a_stored_merge(owner):
    pushed(owner, "song", C1, C2)
    pushed(owner, "song", C1, CX, branch="topic")
    pushed(owner, "song", M, branch="merged")
    assert pushed(owner, "song", M, branch="topic")["branch_heads"] == {
        "main": C2,
        "topic": M,
        "merged": M,
    }


def test_N10_of_eight_siblings_pushed_at_once_one_wins(owner, at_once):
    pushed(owner, "song", C1)
    sent = [truly(commit(f"sibling {number}", [C1], S1)) for number in range(8)]
    answers = at_once([partial(push, owner, "song", each) for each in sent])
    won = [
        (answer, each) for answer, each in zip(answers, sent, strict=True) if answer.status == 200
    ]
    assert len(won) == 1
    ((answer, winner),) = won
    assert answer.value["remote_head"] == head_of(winner)
    assert heads(owner, "song") == answer.value["branch_heads"] == {"main": head_of(winner)}
    for answer in answers:
        if answer.status != 200:
            assert_refused(answer, 409, "non_fast_forward", naming=["main", head_of(winner)])


def test_N10_the_same_commit_pushed_eight_times_at_once_is_pushed(owner, at_once):
    for answer in at_once([partial(push, owner, "song", bundle(C1))] * 8):
        assert assert_accepted(answer)["branch_heads"] == {"main": C1}
    assert heads(owner, "song") == {"main": C1}


def test_N11_different_branches_pushed_at_once_are_all_there(owner, at_once):
    """Into a repository that the first of them creates."""
    sent = {f"branch-{number}": each for number, each in enumerate(roots(8))}
    answers = at_once(
        [partial(push, owner, "song", each, branch=branch) for branch, each in sent.items()]
    )
    for answer, branch in zip(answers, sent, strict=True):
        assert assert_accepted(answer)["branch_heads"][branch] == head_of(sent[branch])
    assert heads(owner, "song") == {branch: head_of(each) for branch, each in sent.items()}


def test_N12_of_eight_roots_that_create_one_branch_at_once_one_wins(owner, at_once):
    sent = roots(8)
    answers = at_once([partial(push, owner, "song", each) for each in sent])
    won = [each for answer, each in zip(answers, sent, strict=True) if answer.status == 200]
    assert len(won) == 1
    for answer in answers:
        if answer.status != 200:
            assert_refused(answer, 409, "non_fast_forward", naming=[head_of(won[0])])
    assert heads(owner, "song") == {"main": head_of(won[0])}
    follow = truly(commit("next", [head_of(won[0])], S1))
    assert assert_accepted(push(owner, "song", follow))["remote_head"] == head_of(follow)


def test_N13_of_two_forced_pushes_at_once_one_is_the_head_and_whole(owner, at_once):
    pushed(owner, "song", C1)
    histories = [chain(5, files=True, salt=salt) for salt in ("left", "right")]
    answers = at_once(
        [partial(push, owner, "song", each.bundle(), force=True) for each in histories]
    )
    for answer, history in zip(answers, histories, strict=True):
        assert assert_accepted(answer)["remote_head"] == history[5]
    head = heads(owner, "song")["main"]
    (won,) = [each for each in histories if each[5] == head]
    commits, snapshots, objects = fetched_ids(fetch(owner, "song", [head], by=owner))
    assert commits == {won[number] for number in range(1, 6)}
    assert snapshots == {each["snapshot_id"] for each in won.snapshots.values()}
    assert objects == set(won.objects)


def test_N13_a_forced_and_a_plain_push_at_once_do_not_mix(owner, at_once):
    pushed(owner, "song", C1)
    forced, plain = at_once(
        [
            partial(push, owner, "song", bundle(R), force=True),
            partial(push, owner, "song", bundle(C2)),
        ]
    )
    assert assert_accepted(forced)["remote_head"] == R
    if plain.status == 200:
        assert heads(owner, "song") == {"main": R}  # it came first
    else:
        assert_refused(plain, 409, "non_fast_forward", naming=[R])
    assert fetched_ids(fetch(owner, "song", [*heads(owner, "song").values()], by=owner)) == (
        {R},
        {S1},
        {O1},
    )


@pytest.mark.parametrize(
    "order", list(itertools.permutations(("feature/x", "feature/y", "dev"))), ids="-".join
)
def test_N14_the_default_branch_is_one_that_can_be_cloned(owner, order):
    for branch in order:
        pushed(owner, "song", C1, branch=branch)
        reply = call("refs", owner, "song", by=owner).value
        assert "/" not in reply["default_branch"]
        assert reply["default_branch"] == ("dev" if "dev" in reply["branch_heads"] else "main")
    pushed(owner, "song", C1, branch="main")
    assert call("refs", owner, "song", by=owner).value["default_branch"] == "main"
