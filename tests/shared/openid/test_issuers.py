"""The documents and keys of issuers: their limits, and when they are read."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import ApiError, IssuerInvalid, Unavailable
from shared.openid import issuers
from shared.openid.issuers import FAILED_SECONDS, FRESH_SECONDS, UNKNOWN_KEY_SECONDS, Issuers
from shared.openid.web import REPLY_BYTES, Web
from tests import issuer
from tests.issuer import Issuer

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def provider() -> Iterator[Issuer]:
    with issuer.running() as started:
        yield started


def cache() -> Issuers:
    return Issuers(Web(allows_local=True))


def read(found: Issuers, provider: Issuer, *reads: tuple[float, str | None]) -> int:
    """Read the issuer at these times for these key ids. Returns the requests for its keys."""

    async def work() -> None:
        for now, key_id in reads:
            await found.get(provider.url, now, key_id)

    before = provider.requests["/jwks"]
    asyncio.run(work())
    return provider.requests["/jwks"] - before


def failure(provider: Issuer) -> ApiError:
    """The error of a read."""
    with pytest.raises(ApiError) as failed:
        asyncio.run(cache().get(provider.url, 0))
    return failed.value


def test_keys_are_read_once_an_hour(provider: Issuer) -> None:
    found = cache()
    assert read(found, provider, (0, "RS256"), (FRESH_SECONDS - 1, "RS256")) == 1
    assert read(found, provider, (FRESH_SECONDS, "RS256")) == 1


def test_an_unknown_key_is_looked_for_once_a_minute(provider: Issuer) -> None:
    found = cache()
    early = [(float(now), f"invented {now}") for now in range(UNKNOWN_KEY_SECONDS)]
    assert read(found, provider, (0, None), *early) == 1
    provider.keys.append(issuer.public_jwk("RS256", "new"))
    assert read(found, provider, (UNKNOWN_KEY_SECONDS, "new")) == 1
    assert read(found, provider, (UNKNOWN_KEY_SECONDS + 1.0, "new")) == 0


def test_concurrent_requests_share_one_read(provider: Issuer) -> None:
    found = cache()

    async def work() -> None:
        await asyncio.gather(*(found.get(provider.url, 0, f"key {n}") for n in range(20)))

    asyncio.run(work())
    assert provider.requests == {DISCOVERY: 1, "/jwks": 1}


def test_a_failed_read_is_repeated_after_some_seconds(provider: Issuer) -> None:
    found = cache()
    provider.status = 500

    async def work() -> None:
        for now in (0.0, FAILED_SECONDS - 1.0):
            with pytest.raises(IssuerInvalid, match="replied 500"):
                await found.get(provider.url, now)
        assert provider.requests[DISCOVERY] == 1
        provider.status = 200
        assert (await found.get(provider.url, float(FAILED_SECONDS))).keys

    asyncio.run(work())


def test_a_failed_look_for_an_unknown_key_keeps_the_known_ones(provider: Issuer) -> None:
    found = cache()
    read(found, provider, (0, None))
    provider.status = 500
    assert read(found, provider, (100, "invented"), (101, "RS256")) == 0


def test_the_cache_has_a_limit(provider: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "ISSUERS", 1)
    found = cache()
    read(found, provider, (0, None))
    with issuer.running() as other:
        read(found, other, (0, None))
    assert read(found, provider, (0, None)) == 1


def test_an_issuer_that_does_not_answer_is_unavailable() -> None:
    with issuer.running() as stopped:
        pass
    error = failure(stopped)
    assert isinstance(error, Unavailable) and "cannot be reached" in error.message


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://169.254.169.254/latest"},
        {"jwks_uri": "https://10.0.0.7/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"issuer": None},
    ],
)
def test_a_false_discovery_document_is_refused(provider: Issuer, document: dict[str, Any]) -> None:
    provider.document = document
    assert isinstance(failure(provider), IssuerInvalid)
    assert provider.requests["/jwks"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"\xff", b"[" * 100_000,
        json.dumps({"padding": "x" * REPLY_BYTES}).encode(),
    ],
)  # fmt: skip
def test_a_reply_that_is_no_small_json_object_is_refused(provider: Issuer, body: bytes) -> None:
    provider.bodies[DISCOVERY] = body
    assert isinstance(failure(provider), IssuerInvalid)


def test_a_redirect_is_not_followed(provider: Issuer) -> None:
    provider.status = 302
    assert "replied 302" in failure(provider).message
    assert provider.requests == {DISCOVERY: 1}


def _without(name: str) -> dict[str, Any]:
    key = issuer.public_jwk("RS256", "RS256")
    del key[name]
    return key


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "RS256"},
        issuer.public_jwk("RS256", "RS256", "short"),
        {**issuer.public_jwk("RS256", "RS256"), "use": "enc"},
        {**issuer.public_jwk("RS256", "RS256"), "alg": "HS256"},
        {**issuer.public_jwk("RS256", "RS256"), "alg": "RS512"},
        {**issuer.public_jwk("RS256", "RS256"), "kid": 7},
        {**issuer.public_jwk("RS256", "RS256"), "kid": "x" * 300},
        {**issuer.public_jwk("ES256", "RS256"), "crv": "P-384"},
        {**issuer.public_jwk("ES256", "RS256"), "x": "AA"},
        {**issuer.public_jwk("EdDSA", "RS256"), "crv": "X25519"},
        {**issuer.public_jwk("RS256", "RS256"), "n": 7},
        {**issuer.public_jwk("RS256", "RS256"), "kty": ["RSA"]},
        _without("e"),
        "RS256",
        None,
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_used_safely_is_left_out(provider: Issuer, key: Any) -> None:
    provider.keys = [key, issuer.public_jwk("ES256", "other")]

    async def work() -> None:
        assert list((await cache().get(provider.url, 0)).keys) == ["other"]

    asyncio.run(work())


def test_keys_beyond_the_limit_are_left_out(provider: Issuer) -> None:
    provider.keys = [issuer.public_jwk("EdDSA", str(number)) for number in range(60)]

    async def work() -> None:
        assert len((await cache().get(provider.url, 0)).keys) == issuers.KEYS

    asyncio.run(work())
