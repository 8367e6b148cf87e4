"""The keys of tokens: a function that only verifies tokens cannot make one.

Each test runs on the two SSM parameters of an account, which `pieria key rotate` makes.
"""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import jwt
import pytest

from infra.cli import aws
from shared import auth, references, signing
from shared.metadata.tokens import new_id
from shared.model import Identity, RepoId, Role
from shared.references import Reference
from tests import client
from tests.client import Answer, call
from tests.functions import api
from tests.infra.test_cli import done, states

NOW = int(time.time())
HOUR_SECONDS = 3600


class Parameters:
    """The parameters of a hub, as an operator or a function with permission reads them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client: Any = boto3.client("ssm")

    def read(self, name: str) -> dict[str, str]:
        reply = self._client.get_parameter(Name=name, WithDecryption=True)
        return dict(json.loads(reply["Parameter"]["Value"]))

    def put(self, name: str, keys: dict[str, str]) -> None:
        value = json.dumps(keys)
        self._client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    @property
    def verifying(self) -> dict[str, str]:
        """The keys that every function can read."""
        return self.read(self.name)

    @property
    def private(self) -> dict[str, str]:
        """The key that only the function `tokens` can read."""
        return self.read(signing.private_parameter(self.name))

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def parameters(configured: pytest.MonkeyPatch) -> Iterator[Parameters]:
    name = f"/pieria/{uuid.uuid4()}"
    configured.delenv("PIERIA_SIGNING_KEYS")
    configured.setenv("PIERIA_SIGNING_KEYS_PARAMETER", name)
    opened = Parameters(name)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.cli.key.PAUSE_SECONDS", -1)
    # Each request reads the keys again.
    monkeypatch.setattr("shared.keyring.PAUSE_SECONDS", 0)
    monkeypatch.setattr("shared.keyring.FRESH_SECONDS", 0)


def me(token: str) -> Answer:
    return api.call("tokens", "GET", "/me", token=token)


def admin(owner: str) -> Identity:
    return Identity(owner, Role.ADMIN, new_id(NOW))


def signed(keys: dict[str, str], identity: Identity, seconds: int = HOUR_SECONDS) -> str:
    return auth.issue(keys, identity, lifetime_seconds=seconds, now=NOW)


def test_the_function_tokens_signs_with_the_private_key(parameters: Parameters, owner: str) -> None:
    key_id = done("key", "rotate")["key_id"]
    first = done("token", "issue", "--owner", owner, "--scope", "admin")["token"]
    answer = api.call("tokens", "POST", "/tokens", {"scope": "read"}, token=first)
    assert answer.status == 201
    header = jwt.get_unverified_header(answer.value["token"])
    assert header == {"alg": "EdDSA", "kid": key_id, "typ": "JWT"}
    assert me(answer.value["token"]).value["handle"] == owner


def test_the_published_key_set_verifies_a_token(parameters: Parameters, owner: str) -> None:
    done("key", "rotate")
    token = done("token", "issue", "--owner", owner)["token"]
    answer = client.invoke("jwks", client.event("GET", "/.well-known/jwks.json"))
    assert answer.status == 200 and "max-age=300" in answer.headers["cache-control"]
    keys = jwt.PyJWKSet.from_dict(answer.value)
    named = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, named, algorithms=["EdDSA"], audience="pieria")["sub"] == owner
    published = json.dumps(answer.value)
    secrets = [key for key in parameters.verifying.values() if not signing.is_public(key)]
    assert not any(secret.rpartition(":")[2] in published for secret in secrets)


@pytest.mark.parametrize("kind", ["Ed25519", "seal", "HS256"])
def test_a_token_that_a_reader_signs_is_refused(
    parameters: Parameters, owner: str, kind: str
) -> None:
    """A reader holds the public key, the key of cursors and, after an upgrade, the old secret."""
    parameters.put(parameters.name, {"old": "o" * 64})
    done("key", "rotate")
    held = {name: key for name, key in parameters.verifying.items() if signing.kind(key) == kind}
    for name, key in held.items():
        claims = {
            "type": "access", "sub": owner, "aud": "pieria", "scope": "admin", "bearer": "human",
            "iat": NOW, "exp": NOW + HOUR_SECONDS, "jti": new_id(NOW),
        }  # fmt: skip
        # Also the raw bytes of a public key as an HMAC secret.
        for secret in (key, key.rpartition(":")[2]):
            forged = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": name})
            assert me(forged).status == 401
            assert (
                call("refs", owner, "song", headers={"authorization": f"Bearer {forged}"}).status
                == 401
            )
    assert held


def test_a_token_from_before_the_private_key_is_valid_until_it_expires(
    parameters: Parameters, owner: str
) -> None:
    parameters.put(parameters.name, {"old": "o" * 64})
    older = done("token", "issue", "--owner", owner, "--scope", "read")["token"]
    assert jwt.get_unverified_header(older)["alg"] == "HS256" and me(older).status == 200
    done("key", "rotate")
    assert me(older).status == 200
    refs = call("refs", owner, "none", headers={"authorization": f"Bearer {older}"})
    assert refs.status == 200
    done("key", "retire", "old", "--yes")
    assert me(older).status == 401


@pytest.mark.parametrize("change", ["scope", "repo", "bearer", "exp", "sub"])
def test_a_reader_cannot_change_a_token_from_before(
    parameters: Parameters, owner: str, change: str
) -> None:
    parameters.put(parameters.name, {"old": "o" * 64})
    older = done("token", "issue", "--owner", owner, "--scope", "read", "--repo", f"{owner}/song")
    claims = jwt.decode(older["token"], options={"verify_signature": False})
    done("key", "rotate")
    changed = {
        "scope": "admin", "repo": f"{owner}/other", "bearer": "agent",
        "exp": claims["exp"] + HOUR_SECONDS, "sub": f"{owner}2",
    }  # fmt: skip
    same = jwt.encode(claims, "o" * 64, headers={"kid": "old"})
    assert me(same).status == 200
    forged = jwt.encode(claims | {change: changed[change]}, "o" * 64, headers={"kid": "old"})
    assert me(forged).status == 401


def test_a_token_that_was_signed_by_hand_needs_a_private_key(
    parameters: Parameters, owner: str
) -> None:
    parameters.put(parameters.name, {"old": "o" * 64})
    by_hand = signed({"old": "o" * 64}, admin(owner))
    assert me(by_hand).status == 200
    done("key", "rotate")
    assert me(by_hand).status == 401
    assert me(signed(parameters.private, admin(owner))).status == 200


def test_a_reference_is_signed_with_a_secret_only(parameters: Parameters) -> None:
    done("key", "rotate")
    keys = parameters.verifying
    reference = Reference(
        aud=references.AUDIENCE, repo_id=RepoId("r"), sub="me", route="push", size=1,
        name="a" * 32, exp=NOW + HOUR_SECONDS,
    )  # fmt: skip
    text = references.sign(keys, reference)
    assert jwt.get_unverified_header(text)["kid"].startswith("seal-")
    assert references.verify(keys, text, NOW) == reference


def test_without_its_private_key_a_hub_issues_no_token_with_a_secret(
    parameters: Parameters, owner: str
) -> None:
    parameters.put(parameters.name, {"old": "o" * 64, "new": signing.new_pair()[1]})
    token = signed({"old": "o" * 64}, admin(owner))
    answer = api.call("tokens", "POST", "/tokens", {"scope": "read"}, token=token)
    assert answer.status == 401, "no record"
    assert states()[aws.PRIVATE_KEY] == "failed"
