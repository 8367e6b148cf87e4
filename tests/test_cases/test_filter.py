"""Group 3: POST filter-objects."""

import hashlib

import pytest

from tests.client import call
from tests.test_cases.fixtures import (
    C1,
    O1,
    O2,
    O3,
    assert_accepted,
    assert_hidden,
    assert_refused,
    case,
    missing,
    no_ids,
    pushed,
    upload,
)


def ask(owner, object_ids, *, slug="song", by=None):
    return call("filter_objects", owner, slug, {"object_ids": object_ids}, by=by or owner)


def unknown(count):
    """Distinct digests of nothing that is stored."""
    return [hashlib.sha256(b"unknown %d" % number).hexdigest() for number in range(count)]


def test_F01_an_object_that_was_not_uploaded_is_missing(owner):
    upload(owner, "song", O1, O2)
    assert assert_accepted(ask(owner, [O1, O2, O3])) == {"missing": [O3]}


@pytest.mark.parametrize(
    "message", [case("F02", "an empty list", {"object_ids": []}), case("F02", "no list", {})]
)
def test_of_nothing_nothing_is_missing(owner, message):
    upload(owner, "song", O1)
    assert assert_accepted(call("filter_objects", owner, "song", message, by=owner)) == {
        "missing": []
    }


def test_F02_an_inline_object_of_a_push_is_not_missing(owner):
    pushed(owner, "song", C1)
    assert missing(owner, "song", O1, O2) == {O2}


@pytest.mark.parametrize("count", [case("F03", "500", 500), case("F04", "50,000", 50_000)])
def test_all_of_many_unknown_objects_are_missing(owner, count):
    upload(owner, "song", O1)
    asked = unknown(count)
    reply = assert_accepted(ask(owner, [*asked, O1]) if count < 50_000 else ask(owner, asked))
    assert len(reply["missing"]) == count
    assert set(reply["missing"]) == set(asked)


def test_F04_of_50_000_objects_the_one_that_is_stored_is_found(owner):
    upload(owner, "song", O1)
    asked = unknown(49_999)
    assert set(
        assert_accepted(ask(owner, [*asked[:30_000], O1, *asked[30_000:]]))["missing"]
    ) == set(asked)


def test_F05_more_ids_than_the_limit_are_refused_with_the_limit(owner):
    assert_refused(ask(owner, unknown(50_001)), 413, "too_large", naming=[50_000])


def test_F05_an_object_asked_for_twice_is_missing_once_at_least(owner):
    upload(owner, "song", O1)
    assert set(assert_accepted(ask(owner, [O3, O1, O3, O1]))["missing"]) == {O3}


@pytest.mark.parametrize("object_id", no_ids("F06"))
def test_an_invalid_id_is_refused_and_not_returned_as_missing(owner, object_id):
    assert_refused(ask(owner, [O1, object_id]), 422)


@pytest.mark.parametrize(
    "object_ids",
    [case("F06", "one id", O1), case("F06", "a map", {O1: True}), case("F06", "null", None)],
)
def test_ids_come_as_a_list(owner, object_ids):
    assert_refused(ask(owner, object_ids), 422, "invalid", naming=["object_ids"])


def test_F07_an_object_of_another_repository_is_missing(owner, stranger):
    upload(stranger, "theirs", O1)
    upload(owner, "other", O2)
    upload(owner, "song", O3)
    assert missing(owner, "song", O1, O2, O3) == {O1, O2}


def test_F08_any_user_may_ask_about_a_public_repository(estate, stranger):
    assert assert_accepted(ask(estate, [O1, O2], slug="pub", by=stranger)) == {"missing": [O2]}


def test_F08_the_owner_may_filter_objects_of_a_private_repository(estate):
    assert assert_accepted(ask(estate, [O1, O2], slug="priv", by=estate)) == {"missing": [O2]}


def test_F08_to_a_repository_that_the_push_will_create_everything_is_missing(owner):
    assert assert_accepted(ask(owner, [O1])) == {"missing": [O1]}


def test_F09_a_caller_without_read_access_cannot_test_for_known_content(estate, stranger):
    assert_hidden(estate, "filter_objects", {"object_ids": [O1]}, by=stranger)


@pytest.mark.parametrize(
    "slug", [case("F10", slug, slug) for slug in ("pub", "priv", "gone", "none")]
)
def test_without_a_token_nothing_is_said(estate, address, slug):
    answer = call("filter_objects", estate, slug, {"object_ids": [O1]}, source_ip=address)
    assert_refused(answer, 401, "unauthorized")
