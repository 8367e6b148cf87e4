"""References to staged bodies: signed references are read back, and all others are refused."""

import jwt
import pytest

from shared import auth, references, signing
from shared.errors import StagedBodyInvalid, Unauthorized
from shared.model import Identity, RepoId, Role
from shared.references import Reference

KEYS = {"old": "o" * 40, "new": "n" * 40}
NOW = 1_800_000_000
REFERENCE = Reference(
    aud=references.AUDIENCE,
    repo_id=RepoId("r1"),
    sub="ada",
    route="push",
    size=10,
    name="a" * 32,
    exp=NOW + 60,
)


def test_a_reference_comes_back_as_it_was_signed() -> None:
    assert references.verify(KEYS, references.sign(KEYS, REFERENCE), NOW) == REFERENCE


def test_a_reference_of_an_older_key_is_valid_until_the_key_is_removed() -> None:
    text = references.sign({"old": KEYS["old"]}, REFERENCE)
    assert references.verify(KEYS, text, NOW) == REFERENCE
    with pytest.raises(StagedBodyInvalid):
        references.verify({"new": KEYS["new"]}, text, NOW)


def test_a_reference_is_valid_until_its_end() -> None:
    text = references.sign(KEYS, REFERENCE)
    assert references.verify(KEYS, text, NOW + 59.9) == REFERENCE
    with pytest.raises(StagedBodyInvalid, match="expired"):
        references.verify(KEYS, text, NOW + 60)


def test_a_token_is_no_reference_and_a_reference_is_no_token() -> None:
    token = auth.issue(KEYS, Identity("ada", Role.ADMIN, "t"), lifetime_seconds=60, now=NOW)
    with pytest.raises(StagedBodyInvalid):
        references.verify(KEYS, token, NOW)
    with pytest.raises(Unauthorized):
        auth.identify(KEYS, f"Bearer {references.sign(KEYS, REFERENCE)}")


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "admin"},
        {"size": 0},
        {"size": "10"},
        {"name": "../x"},
        {"name": "a" * 33},
        {"aud": auth.AUDIENCE},
        {"sub": None},
        {"exp": None},
        {"exp": 1.5},
        {"repo_id": 1},
    ],
    ids=str,
)
def test_claims_that_the_hub_does_not_write_are_refused(change: dict[str, object]) -> None:
    claims = {
        name: value
        for name, value in {**REFERENCE.model_dump(), **change}.items()
        if value is not None
    }
    text = jwt.encode(claims, KEYS["new"], algorithm=signing.HMAC, headers={"kid": "new"})
    with pytest.raises(StagedBodyInvalid):
        references.verify(KEYS, text, NOW)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "x" * 10_000, "é"])
def test_texts_that_are_no_reference_are_refused(text: str) -> None:
    with pytest.raises(StagedBodyInvalid) as refused:
        references.verify(KEYS, text, NOW)
    assert text[:50] not in refused.value.message or len(text) < 2
