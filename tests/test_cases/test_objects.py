"""Group 2: POST push/objects."""

import hashlib

import pytest

from shared import settings
from tests.builders import blob
from tests.client import call, fetch, push
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    CE,
    CONTENTS,
    O0,
    O1,
    O2,
    O3,
    UNKNOWN,
    alter,
    assert_accepted,
    assert_hidden,
    assert_refused,
    blobs,
    bundle,
    case,
    missing,
    no_ids,
    on_manifest,
    pushed,
    upload,
)


def send(owner, objects, *, slug="song", by=None):
    return call("push_objects", owner, slug, {"objects": objects}, by=by or owner)


def contents(owner, head, *, slug="song"):
    """The objects of a clone at this commit."""
    return {
        o["object_id"]: o["content"]
        for o in assert_accepted(fetch(owner, slug, [head], by=owner))["objects"]
    }


def test_O01_new_objects_are_stored(owner):
    assert upload(owner, "song", O1, O2) == {"stored": 2, "skipped": 0}
    assert missing(owner, "song", O1, O2, O3) == {O3}


def test_O02_known_objects_are_skipped(owner):
    upload(owner, "song", O1, O2)
    assert upload(owner, "song", O1, O2) == {"stored": 0, "skipped": 2}
    assert upload(owner, "song", O2, O3) == {"stored": 1, "skipped": 1}


@pytest.mark.parametrize(
    "content",
    [
        case("O03", "one byte changed", b"hellO\n"),
        case("O03", "one byte less", b"hello"),
        case("O03", "nothing at all", b""),
    ],
)
def test_content_that_has_another_digest_is_refused_and_not_stored(owner, content):
    refused = send(owner, [{"object_id": O1, "content": content}])
    assert_refused(refused, 422, "hash_mismatch", naming=[O1, hashlib.sha256(content).hexdigest()])
    assert missing(owner, "song", O1) == {O1}


def test_O04_an_object_sent_twice_at_once_is_stored_once(owner):
    assert upload(owner, "song", O1, O1) == {"stored": 1, "skipped": 1}
    assert missing(owner, "song", O1) == set()


def test_O05_an_empty_object_is_stored_and_comes_back(owner):
    assert upload(owner, "song", O0) == {"stored": 1, "skipped": 0}
    assert upload(owner, "song", O0) == {"stored": 0, "skipped": 1}
    upload(owner, "song", O1)
    assert_accepted(push(owner, "song", bundle(C1, CE, objects=False)))
    assert contents(owner, CE) == {O0: b"", O1: b"hello\n"}


@pytest.mark.parametrize(
    "content",
    [
        case("O06", "text", "hello\n"),
        case("O10", "null", None),
        case("O10", "a list of bytes", list(b"hello\n")),
        case("O10", "a map", {}),
        case("O10", "a number", 5),
    ],
)
def test_content_is_bytes(owner, content):
    assert_refused(
        send(owner, [{"object_id": O1, "content": content}]), 422, naming=["objects.0.content"]
    )
    assert missing(owner, "song", O1) == {O1}


@pytest.mark.parametrize(
    "objects",
    [
        case("O10", "content missing", [{"object_id": O1}]),
        case("O10", "id missing", [{"content": b"hello\n"}]),
        case("O10", "an id in place of an object", [O1]),
        case("O10", "a map in place of the list", {O1: b"hello\n"}),
        case("O10", "null in place of the list", None),
    ],
)
def test_objects_have_their_shape(owner, objects):
    assert_refused(send(owner, objects), 422, naming=["objects"])


@pytest.mark.parametrize(
    "position", [case("O07", "the bad one first", 0), case("O07", "the bad one last", 1)]
)
def test_of_a_good_and_a_bad_object_neither_is_stored(owner, position):
    objects = blobs(O2)
    objects.insert(position, {"object_id": O1, "content": b"not hello"})
    assert_refused(send(owner, objects), 422, "hash_mismatch", naming=[O1])
    assert missing(owner, "song", O1, O2) == {O1, O2}
    assert_refused(
        push(owner, "song", bundle(C1, objects=False)), 422, "missing_reference", naming=[O1]
    )


@pytest.mark.parametrize("object_id", no_ids("O08"))
def test_an_invalid_id_names_no_object(owner, object_id):
    assert_refused(send(owner, [*blobs(O2), {"object_id": object_id, "content": b"hello\n"}]), 422)
    assert missing(owner, "song", O2) == {O2}


@pytest.mark.parametrize(
    "size",
    [
        case("O09", "64 KiB, as sent inline at most", 65_536),
        case("O09", "1 MiB", 2**20),
        case("O09", "above 1 MiB, a file of its own", 2**20 + 1),
        case("O09", "5 MiB", 5 * 2**20),
    ],
)
def test_an_object_comes_back_as_it_was_sent(owner, size):
    large = blob(b"x" * size)
    assert send(owner, [large, *blobs(O1)]).value == {"stored": 2, "skipped": 0}
    assert send(owner, [large]).value == {"stored": 0, "skipped": 1}
    sent = on_manifest({"a.txt": O1, "large.bin": large["object_id"]}) | {"objects": []}
    assert_accepted(push(owner, "song", sent))
    found = contents(owner, sent["commits"][0]["commit_id"])
    assert found == {O1: b"hello\n", large["object_id"]: large["content"]}


def test_O11_the_largest_chunk_of_the_stock_client_is_taken(owner):
    objects = [blob(number.to_bytes(2, "big") * 32_768) for number in range(400)]
    assert assert_accepted(send(owner, objects)) == {"stored": 400, "skipped": 0}
    assert missing(owner, "song", UNKNOWN, *(o["object_id"] for o in objects)) == {UNKNOWN}


def test_O12_a_body_above_the_byte_limit_is_refused_with_the_limit(configured, owner):
    configured.setenv("PIERIA_MAX_BODY_BYTES", "100000")
    assert_refused(send(owner, [blob(b"x" * 100_000)]), 413, "too_large", naming=[100_000])
    assert assert_accepted(send(owner, [blob(b"x" * 99_000)])) == {"stored": 1, "skipped": 0}


def test_an_object_that_no_stock_client_could_clone_is_refused_before_anything_is_stored(
    configured, owner
):
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", "1000")
    large, most = blob(b"x" * 1_001), blob(b"x" * 1_000)
    naming = [large["object_id"][:12], 1_001, 1_000, "reset --soft", "PIERIA_MAX_OBJECT_BYTES"]
    assert_refused(send(owner, [most, large]), 413, "too_large", naming=naming)
    assert missing(owner, "song", most["object_id"]) == {most["object_id"]}
    assert assert_accepted(send(owner, [most])) == {"stored": 1, "skipped": 0}


def test_a_large_object_that_is_stored_from_before_the_limit_may_be_sent_again(configured, owner):
    large = blob(b"x" * 1_001)
    assert assert_accepted(send(owner, [large])) == {"stored": 1, "skipped": 0}
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", "1000")
    settings.load.cache_clear()
    assert assert_accepted(send(owner, [large])) == {"stored": 0, "skipped": 1}


def test_O13_more_objects_than_the_limit_are_refused_with_the_limit(owner):
    objects = [blob(b"%d" % number) for number in range(1_001)]
    assert_refused(send(owner, objects), 413, "too_large", naming=[1_000])
    assert missing(owner, "song", objects[0]["object_id"]) == {objects[0]["object_id"]}
    assert assert_accepted(send(owner, objects[:1_000])) == {"stored": 1_000, "skipped": 0}


def test_O14_without_a_token_nothing_is_stored(estate, address):
    for slug in ("pub", "priv", "gone", "none"):
        answer = call("push_objects", estate, slug, {"objects": blobs(O3)}, source_ip=address)
        assert_refused(answer, 401, "unauthorized")
    assert missing(estate, "pub", O3) == {O3}


def test_O15_a_reader_gets_the_reason_of_the_refusal(estate, stranger):
    assert_refused(
        send(estate, blobs(O3), slug="pub", by=stranger), 403, "forbidden", naming=[estate]
    )
    assert missing(estate, "pub", O3) == {O3}


def test_O16_a_caller_without_read_access_learns_nothing(estate, stranger):
    assert_hidden(estate, "push_objects", {"objects": blobs(O3)}, by=stranger)


@pytest.mark.parametrize(
    "length", [case("O17", f"{length} characters", length) for length in (1, 1_025, 4_096)]
)
def test_the_path_of_an_object_is_ignored(owner, length):
    assert assert_accepted(send(owner, [blob(b"hello\n") | {"path": "p" * length}])) == {
        "stored": 1,
        "skipped": 0,
    }


def test_O18_an_object_of_another_repository_is_stored_again(owner, stranger):
    assert upload(stranger, "theirs", O1, O2) == {"stored": 2, "skipped": 0}
    assert upload(owner, "song", O1) == {"stored": 1, "skipped": 0}
    assert upload(owner, "other", O1) == {"stored": 1, "skipped": 0}
    assert missing(owner, "song", O1, O2) == {O2}


def test_O19_a_repository_does_not_lean_on_another(owner, stranger):
    pushed(stranger, "theirs", C1, C2, C3)
    pushed(owner, "ours", C1, C2, C3)
    alter(stranger, "theirs", deleted_at=1_767_225_600)
    assert contents(owner, C3, slug="ours") == {i: CONTENTS[i] for i in (O1, O2, O3)}
