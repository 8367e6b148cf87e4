"""Group 8: rights, and the refusal of a caller without them. The same for every endpoint."""

import base64
import hmac
import json
import time
from typing import Any

import pytest

from shared import settings
from shared.model import Role
from tests.builders import Record
from tests.client import ROUTES, bearer, call, heads, push, token
from tests.test_cases.fixtures import (
    C1,
    C2,
    CX,
    MESSAGES,
    O1,
    O2,
    O3,
    R,
    assert_absent,
    assert_accepted,
    assert_hidden,
    assert_refused,
    bundle,
    case,
    missing,
    pushed,
)

FOR_ANYBODY = {"refs", "fetch", "fetch_history", "fetch_objects", "negotiate"}
FOR_USERS = {"filter_objects"}
FOR_THE_OWNER = {"presign", "staging", "push_objects", "push"}

GARBAGE = b"\xc1\xff"
FAR_OFF = (
    4102444800  # 2100-01-01: a suite may be slow, and these are written down before its first test
)


def endpoints(number: str, *functions: str) -> list[Any]:
    """A row for each of these endpoints, in their order."""
    return [case(number, function, function) for function in ROUTES if function in functions]


def encoded(part: Any) -> bytes:
    """A part of a token."""
    return base64.urlsafe_b64encode(
        part if isinstance(part, bytes) else json.dumps(part).encode()
    ).rstrip(b"=")


def forged(
    *,
    header: Record | None = None,
    secret: str | None = None,
    digest: str = "sha256",
    **changes: Any,
) -> str:
    """A token made by hand, as the hub makes them, with some claims changed. A claim changed to
    `...` is left out.
    """
    now = int(time.time())
    key_id, newest = list(settings.load().signing_keys.items())[-1]
    claims = {
        "type": "access",
        "sub": "estate-owner",
        "aud": "pieria",
        "scope": "write",
        "iat": now,
        "exp": now + 3_600,
        "jti": "00000000-0000-4000-8000-000000000000",
    } | changes
    protected = {"alg": "HS256", "typ": "JWT", "kid": key_id} | (header or {})
    signed = b".".join(
        encoded({name: value for name, value in part.items() if value is not ...})
        for part in (protected, claims)
    )
    signature = hmac.new((secret or newest).encode(), signed, digest).digest()
    return b".".join([signed, encoded(signature) if protected["alg"] != "none" else b""]).decode()


def with_token(text: str) -> dict[str, str]:
    return bearer(text)


def test_every_endpoint_is_in_this_table():
    assert set(MESSAGES) == set(ROUTES) == FOR_ANYBODY | FOR_USERS | FOR_THE_OWNER


@pytest.mark.parametrize("function", endpoints("A01", *FOR_USERS, *FOR_THE_OWNER))
def test_without_a_token_every_repository_answers_alike(estate, stranger, address, function):
    for slug in ("pub", "priv", "gone", "none"):
        answer = call(function, estate, slug, MESSAGES[function], source_ip=address)
        assert_refused(answer, 401, "unauthorized")
    assert heads(estate, "pub", by=stranger) == {"main": C1}


@pytest.mark.parametrize("function", endpoints("A01", *FOR_ANYBODY))
def test_a_public_repository_is_read_without_a_token(estate, address, function):
    assert_accepted(call(function, estate, "pub", MESSAGES[function], source_ip=address))


def test_A02_a_token_made_like_the_hubs_own_is_good(estate):
    """Or the rows below would prove nothing."""
    assert_accepted(call("refs", estate, "priv", headers=with_token(forged())))
    older = forged(header={"kid": "old"}, secret=settings.load().signing_keys["old"])
    assert_accepted(call("refs", estate, "priv", headers=with_token(older)))


@pytest.mark.parametrize(
    "changes",
    [
        case("A02", "expired", {"exp": int(time.time()) - 60}),
        case("A02", "expired long ago", {"exp": 0}),
        case("A02", "expiring when nobody can say", {"exp": "tomorrow"}),
        case("A02", "issued in the future", {"iat": FAR_OFF}),
        case("A02", "valid in the future", {"nbf": FAR_OFF}),
        case("A02", "of another type", {"type": "refresh"}),
        case("A02", "of no type", {"type": ...}),
        case("A02", "unsigned", {"header": {"alg": "none"}}),
        case("A02", "HS512", {"header": {"alg": "HS512"}, "digest": "sha512"}),
        case("A02", "HS512 that is HS256", {"header": {"alg": "HS512"}}),
        case("A02", "signed with another secret", {"secret": "x" * 32}),
        case("A02", "signed with nothing", {"secret": "\0"}),
        case("A02", "signed with the other key", {"header": {"kid": "old"}}),
        case("A02", "signed with a key unknown", {"header": {"kid": "../../dev/null"}}),
        case("A02", "not saying which key", {"header": {"kid": ...}}),
        case("A02", "a number for a key", {"header": {"kid": 0}}),
        case("A02", "a number for a subject", {"sub": 7}),
        case("A02", "a path for a subject", {"sub": "../estate-owner"}),
        case("A02", "an empty subject", {"sub": ""}),
        case("A03", "without an end", {"exp": ...}),
        case("A03", "with an end that is null", {"exp": None}),
        case("A04", "without a subject", {"sub": ...}),
        case("A04", "without an audience", {"aud": ...}),
        case("A04", "for another audience", {"aud": "elsewhere"}),
        case("A04", "without an id", {"jti": ...}),
        case("A04", "with an empty id", {"jti": ""}),
        case("A04", "with an id that is no text", {"jti": "\ud800"}),
        case("A04", "with an id longer than a key", {"jti": "x" * 2_000}),
        case("A03", "good for ten years", {"exp": int(time.time()) + 10 * 365 * 24 * 3600}),
        case("A03", "with an end that is a text", {"exp": str(int(time.time()) + 3_600)}),
        case("A03", "with an end that is a float", {"exp": time.time() + 3_600}),
        case("A04", "without a time of issue", {"iat": ...}),
        case("A04", "without a scope", {"scope": ...}),
        case("A04", "of an unknown scope", {"scope": "root"}),
    ],
)
def test_a_token_that_is_not_good_is_refused_even_where_none_is_needed(estate, stranger, changes):
    headers = with_token(forged(**changes))
    for function, slug in (("refs", "pub"), ("refs", "priv"), ("push", "pub"), ("push", "none")):
        assert_refused(
            call(function, estate, slug, MESSAGES[function], headers=headers), 401, "unauthorized"
        )
    assert heads(estate, "pub", by=stranger) == {"main": C1}


@pytest.mark.parametrize(
    "text",
    [
        case("A02", "empty", ""),
        case("A02", "a word", "x"),
        case("A02", "three dots", "..."),
        case("A02", "no JSON", "YQ.YQ.YQ"),
        case("A02", "not even base64", "é.é.é"),
        case("A02", "5,000 characters", "a" * 5_000),
        case("A02", "two of them", "YQ.YQ.YQ YQ.YQ.YQ"),
    ],
)
def test_an_invalid_token_is_refused(estate, text):
    assert_refused(call("refs", estate, "pub", headers=with_token(text)), 401, "unauthorized")


def test_A02_a_token_with_one_bit_changed_is_refused(estate):
    head, claims, signature = token(estate).split(".")
    others = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "somebody-else"}
    for spoilt in (
        f"{head}.{encoded(others).decode()}.{signature}",
        f"{head}.{claims}.A{signature[1:]}B",
    ):
        assert_refused(call("refs", estate, "pub", headers=with_token(spoilt)), 401, "unauthorized")


def test_A05_a_token_is_revoked_with_the_key_that_signed_it(configured, estate):
    signed_with = {
        kid: with_token(forged(header={"kid": kid}, secret=kid[0] * 32)) for kid in ("old", "new")
    }
    for headers in signed_with.values():
        assert_accepted(call("refs", estate, "priv", headers=headers))
    configured.setenv("PIERIA_SIGNING_KEYS", json.dumps({"new": "n" * 32}))
    settings.load.cache_clear()
    assert_refused(call("refs", estate, "pub", headers=signed_with["old"]), 401, "unauthorized")
    assert_accepted(call("refs", estate, "priv", headers=signed_with["new"]))


@pytest.mark.parametrize("function", endpoints("A06", *FOR_THE_OWNER))
def test_a_reader_gets_the_reason_of_a_refused_push(estate, stranger, function):
    answer = call(function, estate, "pub", MESSAGES[function], by=stranger)
    assert_refused(answer, 403, "forbidden", naming=[estate])
    assert heads(estate, "pub", by=stranger) == {"main": C1}


@pytest.mark.parametrize(
    "commits",
    [
        case("A06", "a fast-forward", (C2,)),
        case("A06", "a rewind", (C1,)),
        case("A06", "a root of its own", (R,)),
    ],
)
def test_another_users_push_is_forbidden_and_never_a_conflict(estate, stranger, commits):
    for branch in ("main", "new"):
        assert_refused(
            push(estate, "pub", bundle(*commits), branch=branch, by=stranger), 403, "forbidden"
        )
    assert heads(estate, "pub", by=stranger) == {"main": C1}


@pytest.mark.parametrize("function", endpoints("A06", *FOR_ANYBODY, *FOR_USERS))
def test_any_user_reads_a_public_repository(estate, stranger, function):
    assert_accepted(call(function, estate, "pub", MESSAGES[function], by=stranger))


@pytest.mark.parametrize("function", endpoints("A06", *ROUTES))
def test_a_hidden_repository_looks_absent_to_a_user(estate, stranger, function):
    assert_hidden(estate, function, MESSAGES[function], by=stranger)


@pytest.mark.parametrize("function", endpoints("A06", *FOR_ANYBODY))
def test_a_hidden_repository_looks_absent_without_a_token(estate, address, function):
    assert_hidden(estate, function, MESSAGES[function], source_ip=address)


@pytest.mark.parametrize("function", endpoints("A06", *ROUTES))
def test_a_deleted_repository_looks_absent_to_its_owner_too(estate, function):
    assert_absent(call(function, estate, "gone", MESSAGES[function], by=estate))


def test_A06_without_push_to_create_an_absent_repository_is_absent_to_its_owner_too(
    configured, owner
):
    configured.setenv("PIERIA_PUSH_TO_CREATE", "off")
    for function, message in MESSAGES.items():
        assert_absent(call(function, owner, "song", message, by=owner))


@pytest.mark.parametrize("function", endpoints("A06", *ROUTES))
def test_a_user_cannot_create_a_repository_of_another_owner(owner, stranger, function):
    assert_absent(call(function, owner, "song", MESSAGES[function], by=stranger))
    assert_absent(call("refs", owner, "song", by=stranger))


@pytest.mark.parametrize("function", endpoints("A07", *FOR_THE_OWNER))
def test_a_token_that_may_only_read_does_not_write(estate, function):
    headers = with_token(token(estate, scope=Role.READ))
    for slug in ("pub", "priv"):
        assert_refused(
            call(function, estate, slug, MESSAGES[function], headers=headers), 403, "forbidden"
        )
        assert heads(estate, slug, by=estate) == {"main": C1}
    assert_absent(call(function, estate, "gone", MESSAGES[function], headers=headers))


@pytest.mark.parametrize("function", endpoints("A07", *FOR_ANYBODY, *FOR_USERS))
def test_a_token_that_may_only_read_reads(estate, function):
    headers = with_token(token(estate, scope=Role.READ))
    assert_accepted(call(function, estate, "priv", MESSAGES[function], headers=headers))


def test_A08_of_a_forbidden_push_nothing_is_kept(owner, stranger):
    pushed(owner, "song", C1)
    assert_refused(push(owner, "song", bundle(CX), branch="theirs", by=stranger), 403, "forbidden")
    assert missing(owner, "song", O1, O2, O3) == {O2, O3}
    assert_refused(call("fetch", owner, "song", {"want": [CX]}, by=owner), 404, "commit_not_found")
    assert heads(owner, "song") == {"main": C1}


def test_A08_of_a_refused_push_nothing_is_kept(owner):
    pushed(owner, "song", C1, C2)
    assert_refused(push(owner, "song", bundle(CX)), 409, "non_fast_forward")
    assert missing(owner, "song", O1, O2, O3) == {O3}
    assert_refused(call("fetch", owner, "song", {"want": [CX]}, by=owner), 404, "commit_not_found")


@pytest.mark.parametrize("function", endpoints("A09", *FOR_USERS, *FOR_THE_OWNER))
def test_a_body_is_not_looked_at_before_the_token(estate, address, function):
    for slug in ("pub", "priv", "none"):
        assert_refused(
            call(function, estate, slug, raw=GARBAGE, source_ip=address), 401, "unauthorized"
        )


@pytest.mark.parametrize("function", endpoints("A09", *FOR_THE_OWNER))
def test_a_body_is_not_looked_at_before_the_owner_is_known(estate, stranger, function):
    assert_refused(call(function, estate, "pub", raw=GARBAGE, by=stranger), 403, "forbidden")
    assert_refused(call(function, estate, "pub", raw=GARBAGE, by=estate), 400, "malformed_body")


@pytest.mark.parametrize("function", endpoints("A09", *(set(ROUTES) - {"refs"})))
def test_the_reply_to_a_bad_body_reveals_no_hidden_repository(estate, stranger, function):
    for body in (GARBAGE, b"", b"\x80"):
        for slug in ("priv", "gone", "none"):
            assert_absent(call(function, estate, slug, raw=body, by=stranger))


def test_A09_garbage_without_a_token_is_absent_where_no_token_is_needed(estate, address):
    for function in sorted(FOR_ANYBODY - {"refs"}):
        assert_absent(call(function, estate, "priv", raw=GARBAGE, source_ip=address))
        assert_refused(
            call(function, estate, "pub", raw=GARBAGE, source_ip=address), 400, "malformed_body"
        )
