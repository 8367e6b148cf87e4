"""Group 10: POST negotiate.

It asks `song` of `merged`: C1, its children C2 and CX, and their merge M.
"""

import hashlib

import pytest

from tests.builders import chain
from tests.client import call, push
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    CX,
    O1,
    S1,
    UNKNOWN,
    M,
    R,
    assert_accepted,
    assert_hidden,
    assert_refused,
    case,
    no_ids,
    pushed,
)

STRANGERS = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(300)]
"""Digests of no commit."""


def ask(owner, want, have, *, by):
    return call("negotiate", owner, "song", {"want": want, "have": have}, by=by)


@pytest.mark.parametrize(
    ("want", "have", "ack", "common_base", "ready"),
    [
        case("T01", "a clone", [M], [], [], None, True),
        case("T02", "the root is had", [M], [C1], [C1], C1, True),
        case("T02", "one side is had", [M], [C2], [C2], C2, True),
        case("T03", "nothing new", [M], [M], [M], M, True),
        case(
            "T03", "nothing new, and the whole line", [M], [C1, C2, CX, M], [C1, C2, CX, M], M, True
        ),
        case("T04", "the newest that is had is the base", [M], [C1, C2], [C1, C2], C2, True),
        case("T04", "whatever the order", [M], [C2, C1], [C2, C1], C2, True),
        case("T04", "the client is ahead", [C2], [M], [M], None, False),
        case("T04", "the client is aside", [C2], [CX], [CX], None, False),
        case("T04", "one of two wanted is had", [C2, CX], [C2], [C2], C2, True),
        case("T06", "nothing known", [M], [UNKNOWN], [], None, False),
        case(
            "T06",
            "one among 63 unknown",
            [M],
            [*STRANGERS[:30], C1, *STRANGERS[30:63]],
            [C1],
            C1,
            True,
        ),
        case("T06", "twice the same", [M], [C1, C1], [C1], C1, True),
        case("T06", "what is no commit", [M], [O1, S1, "../x", ""], [], None, False),
        case("T09", "nine unknown and the wanted one", [M], [*STRANGERS[:9], M], [M], M, True),
    ],
)
def test_shared_commits_are_acknowledged(merged, stranger, want, have, ack, common_base, ready):
    reply = assert_accepted(ask(merged, want, have, by=stranger))
    assert reply == {"ack": ack, "common_base": common_base, "ready": ready}


@pytest.mark.parametrize(
    "message",
    [case("T01", "neither key", {}), case("T01", "empty lists", {"want": [], "have": []})],
)
def test_a_client_without_haves_is_ready(merged, stranger, message):
    reply = assert_accepted(call("negotiate", merged, "song", message, by=stranger))
    assert reply == {"ack": [], "common_base": None, "ready": True}


@pytest.mark.parametrize(
    "want",
    [
        case("T05", "alone", [UNKNOWN]),
        case("T05", "beside one that is known", [M, UNKNOWN]),
    ],
)
def test_a_wanted_commit_that_is_not_here_is_named(merged, stranger, want):
    assert_refused(ask(merged, want, [C1], by=stranger), 404, "commit_not_found", naming=[UNKNOWN])


def test_T06_a_known_commit_that_is_unrelated_is_acknowledged_without_being_ready(owner):
    pushed(owner, "song", C1, C2)
    pushed(owner, "song", R, branch="other")
    reply = assert_accepted(ask(owner, [C2], [*STRANGERS[:20], R, *STRANGERS[20:63]], by=owner))
    assert reply == {"ack": [R], "common_base": None, "ready": False}


@pytest.mark.parametrize("commit_id", no_ids("T07"))
def test_an_invalid_id_is_no_commit(merged, stranger, commit_id):
    assert_refused(ask(merged, [M, commit_id], [C1], by=stranger), 422)


@pytest.mark.parametrize(
    "message",
    [
        case("T07", "want a text", {"want": M}),
        case("T07", "want null", {"want": None}),
        case("T07", "have null", {"want": [M], "have": None}),
        case("T07", "have numbers", {"want": [M], "have": [1]}),
    ],
)
def test_a_negotiation_has_its_shape(merged, stranger, message):
    assert_refused(call("negotiate", merged, "song", message, by=stranger), 422, "invalid")


@pytest.mark.parametrize(
    ("want", "have"),
    [
        case("T07", "257 haves", [M], STRANGERS[:257]),
        case("T07", "257 wants", [M] * 257, []),
    ],
)
def test_a_list_above_its_limit_is_refused_with_the_limit(merged, stranger, want, have):
    assert_refused(ask(merged, want, have, by=stranger), 413, "too_large", naming=[256])


def test_T07_256_haves_are_taken(merged, stranger):
    assert assert_accepted(ask(merged, [M], [*STRANGERS[:255], C1], by=stranger))["ack"] == [C1]


def test_T08_a_public_repository_is_negotiated_without_a_token(merged, address):
    answer = call("negotiate", merged, "song", {"want": [M], "have": [C1]}, source_ip=address)
    assert assert_accepted(answer)["ready"] is True


def test_T08_without_a_token_private_is_absent(estate, address):
    assert_hidden(estate, "negotiate", {"want": [C1], "have": [C1]}, source_ip=address)


def test_T08_with_another_users_token_private_is_absent(estate, stranger):
    assert_hidden(estate, "negotiate", {"want": [C1], "have": [C1]}, by=stranger)


@pytest.mark.slow
def test_T09_a_base_far_below_is_found_or_another_round_is_asked_for(owner):
    """Either reply is right, but not a base that is no ancestor, nor `ready` without a base."""
    history = chain(300)
    assert_accepted(push(owner, "song", history.bundle()))
    pushed(owner, "song", C1, C2, C3, branch="other")
    reply = assert_accepted(ask(owner, [history[300]], [C3, history[1]], by=owner))
    assert reply["ack"] == [C3, history[1]]
    assert (reply["common_base"], reply["ready"]) in [(history[1], True), (None, False)]
