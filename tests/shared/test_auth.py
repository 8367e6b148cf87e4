"""Tokens: one algorithm, one audience, a key by its name, and no word about why one is not good."""

import base64
import hashlib
import hmac
import json
import re
import time
import traceback
from datetime import datetime
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import auth, signing
from shared.auth import CLOCK_SECONDS, LAST_SECOND, LIFETIME_SECONDS, TOKEN_CHARACTERS
from shared.errors import ApiError, Unauthorized
from shared.model import Bearer, Identity, Role

OLD, NEW = "o" * 64, "n" * 64
KEYS = {"old": OLD, "new": NEW}
ISSUED = int(time.time()) - 60
ENDS = ISSUED + LIFETIME_SECONDS


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def signed(claims: Any, *, secret: str = NEW, hash_name: str = "sha256", **header: Any) -> str:
    """A token made by hand: also one that the library would refuse to make."""
    head = {"alg": "HS256", "typ": "JWT", "kid": "new", **header}
    text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{text}.{encoded(hmac.digest(secret.encode(), text.encode(), hash_name))}"


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token, but for the changes."""
    good = {
        "type": "access",
        "sub": "ada",
        "aud": "pieria",
        "scope": "write",
        "iat": ISSUED,
        "exp": ENDS,
        "jti": "1",
    }
    return good | changes


def identify(keys: dict[str, str], authorization: str) -> Identity | None:
    """The caller of a request with this Authorization header; None if it has no bearer token."""
    token = auth.bearer_token(authorization)
    return None if token is None else auth.identify(keys, token)


def bearer(token: str) -> Identity | None:
    return identify(KEYS, f"Bearer {token}")


# ── Good tokens ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scope", Role)
def test_an_issued_token_names_its_owner(scope):
    token = auth.issue(
        KEYS, Identity("ada", scope, "1"), lifetime_seconds=LIFETIME_SECONDS, now=ISSUED
    )
    assert bearer(token) == Identity("ada", scope, "1")


def test_the_newest_key_signs_and_no_two_tokens_are_alike():
    first, second = (
        auth.issue(KEYS, Identity("ada", Role.WRITE, i), lifetime_seconds=60, now=ISSUED)
        for i in "12"
    )
    assert jwt.get_unverified_header(first) == {"alg": "HS256", "typ": "JWT", "kid": "new"}
    assert first != second


def test_a_token_that_was_made_by_hand_is_as_good():
    """Or the refusals below would prove nothing."""
    assert bearer(signed(claims())) == Identity("ada", Role.WRITE, "1")


def test_an_old_key_still_verifies():
    assert bearer(signed(claims(), secret=OLD, kid="old")) == Identity("ada", Role.WRITE, "1")


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER  {} ", " Bearer {}"])
def test_the_scheme_is_read_whatever_its_case_and_the_spaces_around(header):
    assert identify(KEYS, header.format(signed(claims()))) == Identity("ada", Role.WRITE, "1")


@pytest.mark.parametrize(
    "header",
    [None, "", " ", "Basic YTpi", "Token abc", "Bearerabc", "Digest username=x", "Negotiate"],
)
def test_a_header_of_another_scheme_has_no_token(header):
    assert auth.bearer_token(header) is None


def test_clocks_may_be_a_little_apart():
    now = int(time.time())
    assert bearer(signed(claims(iat=now + CLOCK_SECONDS - 2)))
    assert bearer(signed(claims(exp=now - CLOCK_SECONDS + 2)))


@pytest.mark.parametrize(
    "token_id",
    [
        "018f3c2a77b1" + "0f" * 10,
        "018f3c2a77b1" + "0f" * 10 + "-serve",
        "5f0c1b9e-6c1d-4f63-9f4e-1d2a3b4c5d6e",
        "x" * 64,
    ],
)
def test_a_token_with_an_id_that_this_hub_has_ever_issued_is_good(token_id: str) -> None:
    assert bearer(signed(claims(jti=token_id))) == Identity("ada", Role.WRITE, token_id)


def test_a_token_may_have_a_repository_and_a_kind_of_bearer() -> None:
    limited = Identity("ada", Role.READ, "1", "eve/song.mid", Bearer.AGENT)
    assert bearer(auth.issue(KEYS, limited, lifetime_seconds=3600, now=ISSUED + 30)) == limited


@pytest.mark.parametrize("ahead_seconds", [CLOCK_SECONDS + 1, 120, 86_400])
def test_a_token_from_a_clock_that_is_ahead_is_refused_with_the_difference_in_seconds(
    ahead_seconds: int,
) -> None:
    now = int(time.time())
    token = auth.issue(
        KEYS, Identity("ada", Role.WRITE, "1"), lifetime_seconds=60, now=now + ahead_seconds + 1
    )
    with pytest.raises(Unauthorized, match="clock") as refused:
        bearer(token)
    stated = {int(number) for number in re.findall(r"(\d+) seconds", refused.value.message)}
    assert stated <= {ahead_seconds, ahead_seconds + 1} and stated, "the test may take a second"


def test_a_private_key_signs_and_its_public_key_verifies() -> None:
    private, public = signing.new_pair()
    token = auth.issue(
        {"new": private}, Identity("ada", Role.WRITE, "1"), lifetime_seconds=3600, now=ISSUED
    )
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert auth.identify({"new": public}, token) == Identity("ada", Role.WRITE, "1")
    other = signing.new_pair()[1]
    for wrong in ({"new": other}, {"other": public}, {"new": private}):
        with pytest.raises(Unauthorized):
            auth.identify(wrong, token)


def test_a_key_of_cursors_verifies_no_token() -> None:
    seal = {"new": signing.SEAL + NEW}
    token = auth.issue(seal, Identity("ada", Role.WRITE, "1"), lifetime_seconds=60, now=ISSUED)
    with pytest.raises(Unauthorized):
        auth.identify(seal, token)


@pytest.mark.parametrize("key", ["ed25519:", "ed25519:" + "a" * 42, "ed25519-private:" + "!" * 43])
def test_a_key_of_another_length_is_refused(key: str) -> None:
    with pytest.raises(ValueError):
        signing.check(key)


# ── Bad tokens ────────────────────────────────────────────────────────────────────────────────────

without = {name: {k: v for k, v in claims().items() if k != name} for name in claims()}
HEADER, PAYLOAD, SIGNATURE = signed(claims()).split(".")
NO_ALGORITHM = encoded(b'{"alg": "none", "kid": "new"}')
PUBLIC_KEY = (
    "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK==\n-----END PUBLIC KEY-----"
)

BAD = [
    *(pytest.param(signed(rest), id=f"without {name}") for name, rest in without.items()),
    *(pytest.param(signed(claims(**{name: None})), id=f"{name} null") for name in claims()),
    pytest.param(signed(claims(exp=ISSUED + 1)), id="expired"),
    pytest.param(signed(claims(iat=ENDS - 1)), id="issued in the future"),
    pytest.param(signed(claims(nbf=ENDS - 1)), id="not yet good"),
    pytest.param(signed(claims(nbf=ISSUED)), id="a claim that this hub never issues"),
    pytest.param(signed(claims(exp=ENDS + 1)), id="good for a second longer than any"),
    pytest.param(signed(claims(exp=ISSUED + 10 * LIFETIME_SECONDS)), id="good for ten years"),
    pytest.param(signed(claims(exp=10**3000)), id="good forever"),
    pytest.param(signed(claims(iat=LAST_SECOND + 1, exp=LAST_SECOND + 2)), id="after the last day"),
    pytest.param(signed(claims(iat=10**3000, exp=10**3000 + 1)), id="issued at no time"),
    pytest.param(signed(claims(iat=-1)), id="issued before there was time"),
    pytest.param(signed(claims(iat=ENDS, exp=ENDS)), id="an end at the beginning"),
    pytest.param(signed(claims(exp=str(ENDS))), id="a text for an end"),
    pytest.param(signed(claims(exp=float(ENDS))), id="a float for an end"),
    pytest.param(signed(claims(exp=float("nan"))), id="an end that is not a number"),
    pytest.param(signed(claims(exp=True)), id="a flag for an end"),
    pytest.param(signed(claims(iat=str(ISSUED))), id="a text for a beginning"),
    pytest.param(signed(claims(iat=float(ISSUED))), id="a float for a beginning"),
    pytest.param(signed(claims(iat=False)), id="a flag for a beginning"),
    pytest.param(signed(claims(jti="")), id="an empty id"),
    pytest.param(signed(claims(jti="\ud800")), id="an id that is no text"),
    pytest.param(signed(claims(jti="é")), id="an id that is not ASCII"),
    pytest.param(signed(claims(jti="1\n")), id="an id with a newline"),
    pytest.param(signed(claims(jti="x" * 65)), id="an id that is too long"),
    pytest.param(signed(claims(jti=1)), id="a number for an id"),
    pytest.param(signed(claims(aud=["pieria"])), id="a list of audiences"),
    pytest.param(signed(claims(aud=["other", "pieria"])), id="two audiences"),
    pytest.param(signed(claims(bearer="robot")), id="a bearer that is not known"),
    pytest.param(signed(claims(bearer=None)), id="a null for a bearer"),
    pytest.param(signed(claims(repo=None)), id="a null for a repository"),
    pytest.param(signed(claims(repo="song")), id="a repository without an owner"),
    pytest.param(signed(claims(repo="/song")), id="a repository with an empty owner"),
    pytest.param(signed(claims(repo="ada/")), id="a repository with an empty name"),
    pytest.param(signed(claims(repo="ada/song/x")), id="a repository of three parts"),
    pytest.param(signed(claims(repo=["ada/song"])), id="a list of repositories"),
    pytest.param(signed(claims(extra=1)), id="a claim that is not known"),
    pytest.param(signed(claims(type="access ")), id="a type with a space"),
    pytest.param(signed(claims(scope=True)), id="a flag for a scope"),
    pytest.param(signed(claims(extra=json.loads("[" * 900 + "]" * 900))), id="a claim that nests deep"),
    pytest.param(signed(claims(exp="never")), id="a word for an end"),
    pytest.param(signed(claims(iat="now")), id="a word for a beginning"),
    pytest.param(signed(claims(exp=float("inf"))), id="an infinite end"),
    pytest.param(signed(claims(type="refresh")), id="another type"),
    pytest.param(signed(claims(type=["access"])), id="a list of types"),
    pytest.param(signed(claims(aud="musehub")), id="another audience"),
    pytest.param(signed(claims(aud=["musehub"])), id="other audiences"),
    pytest.param(signed(claims(scope="root")), id="a scope that is not known"),
    pytest.param(signed(claims(scope=["write"])), id="a list of scopes"),
    pytest.param(signed(claims(sub=5)), id="a number for an owner"),
    pytest.param(signed(claims(sub="")), id="an empty owner"),
    pytest.param(signed(claims(sub="../ada")), id="an owner that is no handle"),
    pytest.param(signed(claims(sub="ada\n")), id="an owner with a newline"),
    pytest.param(signed([claims()]), id="a list of claims"),
    pytest.param(signed("claims"), id="a text for claims"),
    pytest.param(signed(claims(), secret="x" * 64), id="signed by a stranger"),
    pytest.param(signed(claims(), secret=OLD), id="signed by another key than it names"),
    pytest.param(signed(claims(), kid="unknown"), id="a key that is not known"),
    pytest.param(signed(claims(), kid=None), id="no key"),
    pytest.param(signed(claims(), kid=5), id="a number for a key"),
    pytest.param(signed(claims(), kid=["new"]), id="a list of keys"),
    pytest.param(signed(claims(), alg="none"), id="alg none, signed"),
    pytest.param(f"{NO_ALGORITHM}.{PAYLOAD}.", id="alg none, not signed"),
    pytest.param(signed(claims(), alg="None"), id="alg None"),
    pytest.param(signed(claims(), alg="HS512", hash_name="sha512"), id="HS512 with the right key"),
    pytest.param(signed(claims(), alg="HS384", hash_name="sha384"), id="HS384 with the right key"),
    pytest.param(signed(claims(), alg="RS256"), id="RS256 in the header"),
    pytest.param(signed(claims(), alg="RS256", secret=PUBLIC_KEY), id="RS256, keyed with a public key"),
    pytest.param(signed(claims(), alg=None), id="no algorithm"),
    pytest.param(signed(claims(), crit=["exp"]), id="something critical"),
    pytest.param(f"{HEADER}.{PAYLOAD}.", id="the signature cut off"),
    pytest.param(f"{HEADER}.{PAYLOAD}", id="two parts"),
    pytest.param(f"{HEADER}.{PAYLOAD}.{SIGNATURE}.x", id="four parts"),
    pytest.param(f"{HEADER}.{encoded(json.dumps(claims(sub='eve')).encode())}.{SIGNATURE}", id="another's claims"),
    pytest.param(f"{encoded(b'[' * 2900)}.{PAYLOAD}.{SIGNATURE}", id="a header that nests deep"),
    pytest.param(f"{encoded(b'[]')}.{PAYLOAD}.{SIGNATURE}", id="a list for a header"),
    pytest.param(f"{encoded(bytes(range(128, 160)))}.{PAYLOAD}.{SIGNATURE}", id="a header that is not UTF-8"),
    pytest.param("..", id="two dots"),
    pytest.param("a", id="one letter"),
    pytest.param("é.ü.ö", id="letters that are not ASCII"),
    pytest.param("\ud800", id="a lone surrogate"),
    pytest.param("a b", id="two words"),
    pytest.param("", id="nothing"),
    pytest.param("x" * (TOKEN_CHARACTERS + 1), id="a character too long"),
    pytest.param(signed(claims(), padding="x" * TOKEN_CHARACTERS), id="good but for its length"),
]  # fmt: skip


@pytest.mark.parametrize("token", BAD)
def test_a_bad_token_is_refused_and_not_repeated(token):
    with pytest.raises(Unauthorized) as refused:
        bearer(token)
    error = refused.value
    assert (error.status, error.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert error.__cause__ is None
    told = "".join(traceback.format_exception(error)) + error.message
    for part in token.split("."):
        assert len(part) < 8 or part not in told


def test_an_expired_token_is_reported_as_expired():
    with pytest.raises(Unauthorized, match="expired"):
        bearer(signed(claims(exp=ISSUED + 1)))


def test_a_token_that_was_valid_is_refused_after_its_end(monkeypatch):
    token = signed(claims())
    assert bearer(token)

    class Later(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.fromtimestamp(ENDS + CLOCK_SECONDS, zone)

    monkeypatch.setattr(auth, "datetime", Later)
    with pytest.raises(Unauthorized, match="expired"):
        bearer(token)


def test_a_token_that_was_valid_is_refused_without_its_key_and_with_another_key_of_that_name():
    token = signed(claims())
    assert bearer(token)
    for keys in ({"old": OLD}, {"old": OLD, "new": OLD}):
        with pytest.raises(Unauthorized, match="not valid"):
            identify(keys, f"Bearer {token}")


def test_every_other_fault_reads_alike():
    """A caller that tries tokens learns nothing from the difference."""
    told = set()
    for token in (
        signed(claims(), kid="unknown"),
        signed(claims(), secret=OLD),
        signed(claims(aud="x")),
        "a.b.c",
    ):
        with pytest.raises(Unauthorized) as refused:
            bearer(token)
        told.add(refused.value.message)
    assert len(told) == 1


def test_without_keys_no_token_is_good():
    with pytest.raises(Unauthorized):
        auth.identify({}, signed(claims()))


def test_an_empty_secret_is_no_key_to_sign_with():
    forged = signed(claims(), secret="", kid="new")
    with pytest.raises(Unauthorized):
        bearer(forged)


@given(st.text(max_size=60))
def test_any_header_has_no_token_or_an_invalid_one(header):
    for value in (
        header,
        f"Bearer {header}",
        f"Bearer {HEADER}.{header}",
        f"Bearer {HEADER}.{PAYLOAD}.{header}",
    ):
        try:
            assert identify(KEYS, value) is None
        except ApiError as refused:
            assert refused.status == 401


def test_a_hash_of_the_right_length_is_no_signature():
    forged = (
        f"{HEADER}.{PAYLOAD}.{encoded(hashlib.sha256(f'{HEADER}.{PAYLOAD}'.encode()).digest())}"
    )
    with pytest.raises(Unauthorized):
        bearer(forged)
