"""Group 4: POST presign, and what becomes of that which is put there."""

import hashlib
import http.client
import urllib.parse

import pytest

from shared import meter, prices
from shared.codec import REPLY_BYTES
from shared.meter import Meter
from tests.builders import blob
from tests.client import call, fetch, push
from tests.test_cases.fixtures import (
    O1,
    O2,
    O3,
    UNKNOWN,
    assert_absent,
    assert_accepted,
    assert_hidden,
    assert_refused,
    case,
    missing,
    no_ids,
    on_manifest,
    upload,
)

LARGE = bytes(range(256)) * 280
"""70 KB: larger than the inline objects of the stock client."""
LARGE_ID = hashlib.sha256(LARGE).hexdigest()


def ask(owner, object_ids, *, slug="song", by=None, **more):
    return call(
        "presign",
        owner,
        slug,
        {"object_ids": object_ids, "direction": "put"} | more,
        by=by or owner,
    )


def url_for(owner, object_id):
    """Where this object may be put."""
    url: str = assert_accepted(ask(owner, [object_id]))["presigned"][object_id]
    return url


def put(url, content):
    """The status of a PUT as the stock client makes it: no redirect is followed, no header is
    chosen.
    """
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("PUT", f"{place.path}?{place.query}", content, headers)
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


def tree(*, name="large.bin"):
    """A push of one commit on the large object, which is not in it."""
    return on_manifest({name: LARGE_ID}) | {"objects": []}


def content_of(owner, head):
    """The large object, as a clone receives it."""
    (found,) = assert_accepted(fetch(owner, "song", [head], by=owner))["objects"]
    assert found["object_id"] == LARGE_ID
    return found["content"]


def test_P01_every_object_gets_a_url_or_is_to_come_inline(owner):
    reply = assert_accepted(ask(owner, [O1, O2]))
    assert set(reply) == {"presigned", "inline"}
    assert set(reply["presigned"]) | set(reply["inline"]) == {O1, O2}
    for url in reply["presigned"].values():
        place = urllib.parse.urlsplit(url)
        assert place.scheme == "https" or place.hostname == "127.0.0.1"


def test_P01_an_object_with_an_opaque_id_has_to_be_sent_inline(owner):
    reply = assert_accepted(ask(owner, [O1, "opaque-1"]))
    assert (set(reply["presigned"]), reply["inline"]) == ({O1}, ["opaque-1"])


def test_P01_nothing_asked_nothing_given(owner):
    assert assert_accepted(ask(owner, [])) == {"presigned": {}, "inline": []}


def test_P02_a_url_takes_a_put_with_the_stock_clients_headers(owner):
    assert put(url_for(owner, LARGE_ID), LARGE) in (200, 201, 204)


def test_P02_a_url_is_signed_for_its_host_alone(owner):
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(url_for(owner, LARGE_ID)).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-SignedHeaders"] == ["host"]


def test_P03_a_presigned_object_is_pushed_and_cloned(owner):
    assert missing(owner, "song", LARGE_ID) == {LARGE_ID}
    put(url_for(owner, LARGE_ID), LARGE)
    sent = tree()
    assert_accepted(push(owner, "song", sent))
    assert content_of(owner, sent["commits"][0]["commit_id"]) == LARGE
    assert missing(owner, "song", LARGE_ID) == set()


def test_P04_wrong_bytes_are_found_out_by_the_push_and_repaired_by_another_put(owner):
    url = url_for(owner, LARGE_ID)
    put(url, LARGE + b"!")
    assert_refused(push(owner, "song", tree()), 422, "hash_mismatch", naming=[LARGE_ID])
    assert missing(owner, "song", LARGE_ID) == {LARGE_ID}
    put(url, LARGE)
    sent = tree()
    assert_accepted(push(owner, "song", sent))
    assert content_of(owner, sent["commits"][0]["commit_id"]) == LARGE


def test_P04_wrong_bytes_are_repaired_by_sending_the_object_inline(owner):
    put(url_for(owner, LARGE_ID), b"wrong")
    sent = tree() | {"objects": [blob(LARGE)]}
    assert_accepted(push(owner, "song", sent))
    assert content_of(owner, sent["commits"][0]["commit_id"]) == LARGE


def test_P05_an_object_that_was_not_uploaded_cannot_be_pushed(owner):
    url_for(owner, LARGE_ID)
    assert_refused(push(owner, "song", tree()), 422, "missing_reference", naming=[LARGE_ID])
    assert missing(owner, "song", LARGE_ID) == {LARGE_ID}


def test_P06_a_valid_url_cannot_change_an_accepted_object(owner):
    url = url_for(owner, LARGE_ID)
    put(url, LARGE)
    sent = tree()
    assert_accepted(push(owner, "song", sent))
    assert put(url, b"evil") in (200, 403)
    assert content_of(owner, sent["commits"][0]["commit_id"]) == LARGE
    again = tree(name="renamed.bin")
    assert_accepted(push(owner, "song", again, branch="again"))
    assert content_of(owner, again["commits"][0]["commit_id"]) == LARGE


def test_P06_a_put_is_for_one_repository(owner):
    put(url_for(owner, LARGE_ID), LARGE)
    assert_refused(push(owner, "other", tree()), 422, "missing_reference", naming=[LARGE_ID])


@pytest.mark.parametrize("direction", [case("P07", word, word) for word in ("get", "put", "zzz")])
def test_a_caller_without_read_access_gets_no_url(estate, stranger, direction):
    assert_hidden(estate, "presign", {"object_ids": [O1], "direction": direction}, by=stranger)


def test_P07_a_deleted_repository_accepts_no_upload_of_its_owner_either(estate):
    assert_absent(ask(estate, [O1], slug="gone", by=estate))


@pytest.mark.parametrize(
    "direction",
    [case("P08", f"{word}", word) for word in ("zzz", "get", "PUT", "", None, 1)],
)
def test_a_direction_other_than_put_is_refused(estate, direction):
    for slug in ("pub", "priv"):
        assert_refused(
            ask(estate, [O1], slug=slug, by=estate, direction=direction), 422, naming=["direction"]
        )


@pytest.mark.parametrize("direction", [case("P09", word, word) for word in ("put", "get")])
def test_a_reader_gets_no_url(estate, stranger, direction):
    assert_refused(
        ask(estate, [O1], slug="pub", by=stranger, direction=direction), 403, "forbidden"
    )


def test_P09_without_a_token_there_is_no_url(estate, address):
    for slug in ("pub", "priv", "gone", "none"):
        answer = call("presign", estate, slug, {"object_ids": [O1]}, source_ip=address)
        assert_refused(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        case("P10", "an hour unless told otherwise", {}, 3_600),
        case("P10", "the shortest", {"ttl_seconds": 30}, 30),
        case("P10", "the longest", {"ttl_seconds": 3_600}, 3_600),
    ],
)
def test_a_url_is_good_for_as_long_as_asked(owner, asked, seconds):
    url = assert_accepted(call("presign", owner, "song", {"object_ids": [O1]} | asked, by=owner))[
        "presigned"
    ][O1]
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["X-Amz-Expires"] == [
        str(seconds)
    ]


@pytest.mark.parametrize(
    "ttl", [case("P10", repr(ttl), ttl) for ttl in (29, 3_601, 0, -1, 2**63, "300", 300.0, None)]
)
def test_no_url_is_good_for_a_time_out_of_range(owner, ttl):
    assert_refused(ask(owner, [O1], ttl_seconds=ttl), 422, naming=["ttl_seconds"])


@pytest.mark.parametrize("object_id", no_ids("P11"))
def test_an_invalid_id_gets_no_url(owner, object_id):
    assert_refused(ask(owner, [O1, object_id]), 422)


def test_P11_more_ids_than_the_limit_are_refused_with_the_limit(owner):
    assert_refused(ask(owner, [UNKNOWN] * 10_001), 413, "too_large", naming=[10_000])


def test_P11_a_stored_object_may_be_uploaded_again(owner):
    upload(owner, "song", O3)
    assert put(url_for(owner, O3), b"third\n") == 200
    assert missing(owner, "song", O3) == set()


# ── Sizes, which the stock client does not send ───────────────────────────────────────────────────


def signed_headers(url: str) -> str:
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["X-Amz-SignedHeaders"][0]


def test_a_url_for_a_size_is_signed_for_that_length(owner):
    """S3 refuses a body of another length; the embedded AWS does not check signatures."""
    message = {"object_ids": [LARGE_ID, O1], "sizes": {LARGE_ID: len(LARGE)}}
    urls = assert_accepted(call("presign", owner, "song", message, by=owner))["presigned"]
    assert signed_headers(urls[LARGE_ID]) == "content-length;host"
    assert signed_headers(urls[O1]) == "host"
    assert put(urls[LARGE_ID], LARGE) == 200
    assert_accepted(push(owner, "song", tree()))


CLONABLE = 63 * 2**20
"""The largest object that fits into a reply of 64 MiB, which the stock client reads, beside its
commit.
"""


@pytest.mark.parametrize(
    ("size", "status"), [(-1, 422), ("70", 422), (CLONABLE, 200), (CLONABLE + 1, 413)]
)
def test_a_size_that_no_push_would_accept_is_refused(owner, size, status):
    message = {"object_ids": [LARGE_ID], "sizes": {LARGE_ID: size}}
    assert call("presign", owner, "song", message, by=owner).status == status


def test_the_refusal_of_a_size_names_object_and_limit_and_no_url_is_given_out(owner):
    message = {"object_ids": [O1, LARGE_ID], "sizes": {LARGE_ID: CLONABLE + 1, O1: 6}}
    answer = call("presign", owner, "song", message, by=owner)
    assert_refused(
        answer,
        413,
        "too_large",
        naming=[LARGE_ID[:12], CLONABLE + 1, CLONABLE, "PIERIA_MAX_OBJECT_BYTES"],
    )


def test_a_setting_raises_the_accepted_size_to_the_limit_of_one_push(owner, configured):
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", str(2**30))
    for size, status in ((CLONABLE + 1, 200), (2**30, 200), (2**30 + 1, 413)):
        message = {"object_ids": [LARGE_ID], "sizes": {LARGE_ID: size}}
        assert call("presign", owner, "song", message, by=owner).status == status


def test_a_full_reply_of_urls_with_sizes_fits_through_lambda(owner, configured):
    configured.setenv("PIERIA_LIMIT_BYTES_OWNER", "0")
    object_ids = [f"{number:064x}" for number in range(10_000)]
    sizes = dict.fromkeys(object_ids[1:], CLONABLE)
    answer = call("presign", owner, "song", {"object_ids": object_ids, "sizes": sizes}, by=owner)
    assert 2_000 < len(answer.value["presigned"]) <= 10_000
    assert len(answer.body) * 4 / 3 <= REPLY_BYTES


def test_a_url_costs_the_storage_of_its_size_or_of_an_assumed_one(owner, configured):
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", str(10**9))
    begin, meters = meter.begin, list[Meter]()

    def watched() -> Meter:
        meters.append(begin())
        return meters[-1]

    configured.setattr(meter, "begin", watched)
    for sizes in ({}, {LARGE_ID: 10}, {LARGE_ID: 10**9}):
        assert_accepted(
            call("presign", owner, "song", {"object_ids": [LARGE_ID], "sizes": sizes}, by=owner)
        )
    assumed, small, large = (one.urls for one in meters)
    assert assumed == prices.S3_PUT + prices.storage(16 * 2**20, 3)
    assert small == prices.S3_PUT + prices.storage(10, 3)
    assert large == prices.S3_PUT + prices.storage(10**9, 3) > 400 * small
