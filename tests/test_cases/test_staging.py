"""Request bodies that are uploaded to S3 and referred to: POST staging, and the requests of push
and push/objects.
"""

import gzip
import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import jwt
import msgpack
import pytest
from backports import zstd

from bench.meter import Meter
from shared import meter, prices, references, settings, signing, staging
from shared.metadata import keys as keys_of_rows
from shared.objects import keys
from shared.references import Reference
from tests import client
from tests.builders import chain
from tests.client import MSGPACK, Answer, call, fetch, heads, token
from tests.conftest import NAMES
from tests.functions import api
from tests.test_cases.fixtures import assert_accepted, assert_refused

HISTORY = chain(3, files=True, salt="staged")
BUNDLE = HISTORY.bundle()
BODIES = {
    "push": msgpack.packb({"bundle": BUNDLE, "branch": "main"}),
    "push/objects": msgpack.packb({"objects": BUNDLE["objects"]}),
}
FUNCTIONS = {"push": "push", "push/objects": "push_objects"}

each_route = pytest.mark.parametrize("route", BODIES)


@dataclass(frozen=True)
class Staged:
    """A place for a body, and the reference to it."""

    url: str
    reference: str


def stage(
    owner: str, route: str, size: int, *, slug: str = "song", by: str | None = None
) -> Staged:
    """A place for a body of this size."""
    reply = assert_accepted(
        call("staging", owner, slug, {"route": route, "size": size}, by=by or owner)
    )
    assert set(reply) == {"url", "reference", "expires_in_seconds"}
    return Staged(reply["url"], reply["reference"])


def staged(owner: str, route: str, body: bytes | None = None, **how: Any) -> str:
    """The reference to a body that has been uploaded."""
    content = BODIES[route] if body is None else body
    place = stage(owner, route, len(content), **how)
    assert httpx.put(place.url, content=content).status_code == 200
    return place.reference


def send(
    owner: str,
    route: str,
    reference: str,
    *,
    slug: str = "song",
    by: str | None = None,
    **more: Any,
) -> Answer:
    """The request to the route with a reference instead of its body."""
    headers = {"pieria-staged-body": reference, **more.pop("headers", {})}
    return call(FUNCTIONS[route], owner, slug, by=by or owner, headers=headers, **more)


def put(repo_id: str, name: str, content: bytes) -> None:
    """Put bytes under the key of a staged body, without the URL and its signature."""
    boto3.client("s3").put_object(
        Bucket=NAMES["Bucket"], Key=keys.staged(repo_id, name), Body=content
    )


def stated(reference: str) -> dict[str, Any]:
    """The claims of a reference."""
    claims: dict[str, Any] = jwt.decode(reference, options={"verify_signature": False})
    return claims


def signed(claims: dict[str, Any]) -> str:
    """A reference with these claims, signed by the hub."""
    return references.sign(settings.load().signing_keys, Reference.model_validate(claims))


# ── Large bodies ──────────────────────────────────────────────────────────────────────────────────


def test_a_staged_push_and_its_staged_objects_are_cloned(owner):
    reply = assert_accepted(send(owner, "push/objects", staged(owner, "push/objects")))
    assert reply == {"stored": 3, "skipped": 0}
    assert assert_accepted(send(owner, "push", staged(owner, "push")))["remote_head"] == HISTORY[3]
    cloned = assert_accepted(fetch(owner, "song", [HISTORY[3]], by=owner))
    assert {one["object_id"]: one["content"] for one in cloned["objects"]} == HISTORY.objects


@each_route
def test_a_reference_that_is_used_twice_changes_nothing_more(owner, route):
    reference = staged(owner, route)
    first, second = send(owner, route, reference), send(owner, route, reference)
    assert_accepted(first)
    assert_accepted(second)
    assert heads(owner, "song", by=owner) == ({"main": HISTORY[3]} if route == "push" else {})


def test_a_body_larger_than_one_request_may_have_is_accepted(owner, configured):
    configured.setenv("PIERIA_MAX_BODY_BYTES", "100")
    assert_refused(client.push(owner, "song", BUNDLE), 413, "too_large")
    assert_accepted(send(owner, "push", staged(owner, "push")))


def test_a_json_body_can_be_staged(owner):
    body = b'{"objects": [{"object_id": "opaque", "content": "text"}]}'
    reference = staged(owner, "push/objects", body)
    answer = send(owner, "push/objects", reference, headers={"content-type": "application/json"})
    assert assert_accepted(answer) == {"stored": 1, "skipped": 0}


def test_the_url_is_signed_for_the_announced_length(owner):
    place = stage(owner, "push", 10)
    assert "X-Amz-SignedHeaders=content-length%3Bhost" in place.url
    assert "X-Amz-Expires=900" in place.url
    assert re.search(r"/uploads/[0-9a-f-]{36}/staged/[0-9a-f]{32}\?", place.url)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"route": "push", "size": 64 * 2**20}, 200),
        ({"route": "push", "size": 64 * 2**20 + 1}, 413),
        ({"route": "push", "size": 0}, 422),
        ({"route": "push", "size": -1}, 422),
        ({"route": "push", "size": "10"}, 422),
        ({"route": "push"}, 422),
        ({"route": "fetch", "size": 10}, 422),
        ({"route": "/push", "size": 10}, 422),
        ({"size": 10}, 422),
    ],
)
def test_a_place_is_given_for_the_two_routes_and_for_the_sizes_that_are_documented(
    owner, message, status
):
    assert call("staging", owner, "song", message, by=owner).status == status


# ── The state afterwards ──────────────────────────────────────────────────────────────────────────


def stored(owner: str, slug: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """All rows and bytes of a repository but its uploads, with `R` for its id and `S` for its
    name.
    """
    repo_id = call("refs", owner, slug, by=owner).value["repo_id"]
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=NAMES["HubTable"])
    own = [row for page in pages for row in page["Items"] if repo_id in repr(row)]
    rows = {}
    for row in own:
        text = (
            json.dumps(row, sort_keys=True, default=repr)
            .replace(repo_id, "R")
            .replace(f"#{slug}", "#S")
        )
        rows[text.partition('"pk"')[2]] = {**json.loads(text), "slug": "S"}
    bucket = boto3.resource("s3").Bucket(NAMES["Bucket"])
    found = bucket.objects.filter(Prefix=keys.stored(repo_id))
    return rows, {one.key.replace(repo_id, "R"): one.get()["Body"].read() for one in found}


def test_a_staged_push_stores_the_same_rows_and_bytes_as_a_sent_one(owner, clock, monkeypatch):
    monkeypatch.setattr(
        secrets, "token_hex", lambda size: "00" * size
    )  # in the key of a note of a move
    for slug in ("sent", "stag"):
        api.create(owner, slug)
    assert_accepted(call("push_objects", owner, "sent", raw=BODIES["push/objects"], by=owner))
    assert_accepted(call("push", owner, "sent", raw=BODIES["push"], by=owner))
    for route in ("push/objects", "push"):
        assert_accepted(send(owner, route, staged(owner, route, slug="stag"), slug="stag"))
    (sent_rows, sent_bytes), (staged_rows, staged_bytes) = (
        stored(owner, "sent"),
        stored(owner, "stag"),
    )
    assert len(sent_rows) > 10 and sent_bytes
    assert staged_bytes == sent_bytes
    for rows in (sent_rows, staged_rows):
        for row in rows.values():
            # Random for each repository: how its members are found, and how a change of the row is
            # noticed.
            row.pop("roster", None), row.pop("revision", None)
            if row["pk"] == {"S": keys_of_rows.DUE}:
                row.pop("sk")  # begins with a time that depends on the id of the repository
    assert sorted(map(repr, staged_rows.values())) == sorted(map(repr, sent_rows.values()))


@each_route
def test_two_uses_at_the_same_time_have_the_result_of_one(owner, route, at_once):
    api.create(owner, "song")
    reference = staged(owner, route)
    for answer in at_once([lambda: send(owner, route, reference)] * 2):
        assert answer.status == 200, answer.body
    if route == "push":
        cloned = assert_accepted(
            fetch(owner, "song", [heads(owner, "song", by=owner)["main"]], by=owner)
        )
        assert {one["object_id"]: one["content"] for one in cloned["objects"]} == HISTORY.objects


def test_a_staged_body_is_no_object_in_quarantine(owner):
    """Its key is listed with the uploads; neither filter-objects nor a push takes it for one."""
    content = next(iter(HISTORY.objects.values()))
    staged(owner, "push/objects", content)
    ids = list(HISTORY.objects)
    call("presign", owner, "song", {"object_ids": ids}, by=owner)
    missing = call("filter_objects", owner, "song", {"object_ids": ids}, by=owner).value["missing"]
    assert missing == ids
    bundle = HISTORY.bundle(objects=False)
    assert_refused(client.push(owner, "song", bundle), 422, "missing_reference")


def test_a_place_for_a_body_costs_its_upload_and_three_days_of_storage(owner, monkeypatch):
    begin, meters = meter.begin, list[meter.Meter]()

    def watched() -> meter.Meter:
        meters.append(begin())
        return meters[-1]

    monkeypatch.setattr(meter, "begin", watched)
    for size in (10, 64 * 2**20):
        stage(owner, "push", size)
    assert [one.urls for one in meters] == [
        prices.S3_PUT + prices.storage(size, 3) for size in (10, 64 * 2**20)
    ]


def test_no_place_is_given_beyond_the_limit_of_cost(owner, configured):
    api.create(owner, "song")
    configured.setenv("PIERIA_LIMIT_COST_SUBJECT", "0.0003")
    settings.load.cache_clear()
    message = {"route": "push", "size": 64 * 2**20}
    answers = [call("staging", owner, "song", message, by=owner) for _ in range(3)]
    assert [answer.status for answer in answers].count(200) <= 2
    assert_refused(answers[-1], 429, "cost_limit")


# ── References that are not valid ─────────────────────────────────────────────────────────────────


def forged(owner: str) -> str:
    other = {"only": "another secret of forty characters, or so"}
    return references.sign(other, Reference.model_validate(stated(staged(owner, "push"))))


def changed(owner: str) -> str:
    head, claims, signature = staged(owner, "push").split(".")
    return f"{head}.{claims[:-2]}{'AA' if claims[-2:] != 'AA' else 'BB'}.{signature}"


def unsigned(owner: str) -> str:
    return jwt.encode(stated(staged(owner, "push")), "", algorithm="none")


def expired(owner: str) -> str:
    return signed(stated(staged(owner, "push")) | {"exp": int(time.time()) - 1})


def of_another_subject(owner: str) -> str:
    api.create(owner, "song")
    writer = f"{owner}-writer"
    assert api.give(owner, "song", writer, "write").status == 200
    return staged(owner, "push", by=writer)


def of_another_route(owner: str) -> str:
    return staged(owner, "push/objects", BODIES["push"])


def of_another_size(owner: str) -> str:
    claims = stated(staged(owner, "push"))
    return signed(claims | {"size": claims["size"] + 1})


def of_another_repository(owner: str) -> str:
    return staged(owner, "push", slug="other")


def of_a_repository_that_was_deleted_and_created_again(owner: str) -> str:
    api.create(owner, "song")
    reference = staged(owner, "push")
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status == 204
    api.create(owner, "song")
    return reference


def never_uploaded(owner: str) -> str:
    return stage(owner, "push", 100).reference


def shorter_than_signed(owner: str) -> str:
    place = stage(owner, "push", len(BODIES["push"]))
    put(stated(place.reference)["repo_id"], stated(place.reference)["name"], BODIES["push"][:-1])
    return place.reference


def longer_than_signed(owner: str) -> str:
    place = stage(owner, "push", len(BODIES["push"]))
    put(
        stated(place.reference)["repo_id"],
        stated(place.reference)["name"],
        BODIES["push"] + b"\xc0",
    )
    return place.reference


def a_token(owner: str) -> str:
    return token(owner)


def a_removed_key(owner: str) -> str:
    gone = {**settings.load().signing_keys, "gone": "a key that was removed after it signed this"}
    return references.sign(gone, Reference.model_validate(stated(staged(owner, "push"))))


def an_extra_claim(owner: str) -> str:
    key_id, secret = list(settings.load().signing_keys.items())[-1]
    claims = stated(staged(owner, "push")) | {"scope": "admin"}
    return jwt.encode(claims, secret, algorithm=signing.HMAC, headers={"kid": key_id})


def no_end(owner: str) -> str:
    key_id, secret = list(settings.load().signing_keys.items())[-1]
    claims = stated(staged(owner, "push"))
    del claims["exp"]
    return jwt.encode(claims, secret, algorithm=signing.HMAC, headers={"kid": key_id})


def a_name_with_a_path(owner: str) -> str:
    key_id, secret = list(settings.load().signing_keys.items())[-1]
    claims = stated(staged(owner, "push")) | {"name": "../x"}
    return jwt.encode(claims, secret, algorithm=signing.HMAC, headers={"kid": key_id})


def empty(owner: str) -> str:
    staged(owner, "push")
    return ""


def no_jwt(owner: str) -> str:
    staged(owner, "push")
    return "x" * 9_000


INVALID = [
    forged,
    changed,
    unsigned,
    expired,
    of_another_subject,
    of_another_route,
    of_another_size,
    of_another_repository,
    of_a_repository_that_was_deleted_and_created_again,
    never_uploaded,
    shorter_than_signed,
    longer_than_signed,
    a_token,
    a_removed_key,
    an_extra_claim,
    no_end,
    a_name_with_a_path,
    empty,
    no_jwt,
]


@pytest.mark.parametrize("made", INVALID, ids=lambda made: made.__name__)
def test_a_reference_that_is_not_valid_is_refused_with_the_way_out_and_nothing_is_stored(
    owner, made
):
    reference = made(owner)
    with Meter() as meter:
        answer = send(owner, "push", reference)
    assert_refused(answer, 400, "staged_body_invalid", naming=["POST staging"])
    assert {name for name in meter.by_operation() if name.startswith("s3.Put")} == set()
    assert heads(owner, "song", by=owner) == {}


READ_BEFORE_REFUSED = [never_uploaded, shorter_than_signed, longer_than_signed, of_another_size]


@pytest.mark.parametrize(
    "made", [one for one in INVALID if one not in READ_BEFORE_REFUSED], ids=lambda one: one.__name__
)
def test_s3_is_not_asked_for_a_reference_that_is_not_valid(owner, made):
    reference = made(owner)
    with Meter() as meter:
        send(owner, "push", reference)
    assert not [name for name in meter.by_operation() if name.startswith("s3.")]


def test_a_valid_reference_of_the_same_table_is_accepted(owner):
    """The refusals above have their reasons: the body and the claims they start from are good."""
    assert_accepted(send(owner, "push", signed(stated(staged(owner, "push")))))


def test_a_reference_is_no_token(owner):
    reference = staged(owner, "push")
    answer = api.call("tokens", "GET", "/me", token=reference)
    assert_refused(answer, 401, "unauthorized")


def test_a_reference_beside_a_body_is_refused_and_neither_is_stored(owner):
    answer = send(owner, "push", staged(owner, "push"), raw=BODIES["push"])
    assert_refused(answer, 400, "malformed_body", naming=["one of the two"])
    assert heads(owner, "song", by=owner) == {}


def test_a_reference_ends_an_hour_after_it_was_made(owner, clock):
    reference = staged(owner, "push/objects")
    clock.now += staging.REFERENCE_SECONDS - 1
    assert_accepted(send(owner, "push/objects", reference))
    clock.now += 1
    assert_refused(
        send(owner, "push/objects", reference), 400, "staged_body_invalid", naming=["expired"]
    )


def test_a_repository_that_was_renamed_keeps_its_references(owner):
    api.create(owner, "song")
    reference = staged(owner, "push")
    assert (
        api.call("repos", "POST", f"/repos/{owner}/song/rename", {"slug": "hymn"}, by=owner).status
        == 200
    )
    assert_accepted(send(owner, "push", reference, slug="hymn"))


# ── The checks of the route ───────────────────────────────────────────────────────────────────────


@each_route
def test_rights_are_checked_before_the_body_is_read(owner, route):
    api.create(owner, "song")
    writer = f"{owner}-writer"
    api.give(owner, "song", writer, "write")
    reference = staged(owner, route, by=writer)
    api.give(owner, "song", writer, "read")
    with Meter() as meter:
        answer = send(owner, route, reference, by=writer)
    assert_refused(answer, 403, "forbidden")
    assert not [name for name in meter.by_operation() if name.startswith("s3.")]


def test_the_rate_limit_of_the_route_is_checked_before_the_body_is_read(owner, configured, clock):
    configured.setenv("PIERIA_LIMIT_PUSH", "1")
    reference = staged(owner, "push")
    assert_accepted(send(owner, "push", reference))
    with Meter() as meter:
        answer = send(owner, "push", reference)
    assert_refused(answer, 429, "rate_limited")
    assert not [name for name in meter.by_operation() if name.startswith("s3.")]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"\xc1", 400, "malformed_body"),
        (msgpack.packb([1]), 400, "malformed_body"),
        (
            msgpack.packb({"objects": [{"object_id": "f" * 64, "content": b""}]}),
            422,
            "hash_mismatch",
        ),
        (msgpack.packb({"objects": [{"object_id": "../x", "content": b""}]}), 422, "invalid_name"),
        (msgpack.packb({"objects": 5}), 422, "invalid"),
    ],
)
def test_a_staged_body_is_checked_as_a_sent_one(owner, body, status, code):
    for answer in (
        send(owner, "push/objects", staged(owner, "push/objects", body)),
        call("push_objects", owner, "song", raw=body, by=owner),
    ):
        assert_refused(answer, status, code)


def test_a_staged_body_of_another_content_type_is_refused(owner):
    reference = staged(owner, "push")
    assert_refused(send(owner, "push", reference, headers={"content-type": "text/plain"}), 415)
    assert_accepted(send(owner, "push", reference, headers={"content-type": MSGPACK}))


# ── Compressed bodies ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_the_coding_of_a_request_is_that_of_its_staged_body(owner, coding, pack):
    reference = staged(owner, "push", pack(BODIES["push"]))
    other = {"gzip": "zstd", "zstd": "gzip"}[coding]
    assert_refused(send(owner, "push", reference), 400, "malformed_body")
    assert_refused(
        send(owner, "push", reference, headers={"content-encoding": other}), 400, "malformed_body"
    )
    assert_refused(send(owner, "push", reference, headers={"content-encoding": "br"}), 415)
    assert heads(owner, "song", by=owner) == {}
    assert_accepted(send(owner, "push", reference, headers={"content-encoding": coding}))


def test_a_staged_body_that_expands_beyond_the_limit_is_refused(owner):
    content = msgpack.packb({"objects": [{"object_id": "x", "content": bytes(64 * 2**20)}]})
    reference = staged(owner, "push/objects", zstd.compress(content))
    answer = send(owner, "push/objects", reference, headers={"content-encoding": "zstd"})
    assert_refused(answer, 413, "too_large", naming=[64 * 2**20])
