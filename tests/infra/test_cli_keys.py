"""`pieria key`: the signing keys of an account's hub, rotated under its feet."""

import asyncio
import json
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from infra import ports
from infra.cli import app, aws, key
from shared import auth, signing
from shared.keyring import PAUSE_SECONDS, Keyring
from shared.model import Identity, Role
from tests.infra.test_cli import done, me, pieria, printed, refused, states


@pytest.fixture
def name(configured: pytest.MonkeyPatch) -> Iterator[str]:
    """The parameter that the environment names. It is not there."""
    name = f"/pieria/{uuid.uuid4()}"
    configured.delenv("PIERIA_SIGNING_KEYS")
    configured.setenv("PIERIA_SIGNING_KEYS_PARAMETER", name)
    yield name


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long commands would have waited."""
    seconds: list[float] = []
    monkeypatch.setattr(key, "sleep", seconds.append)
    return seconds


def stored(name: str) -> Any:
    client: Any = boto3.client("ssm")
    try:
        return client.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    finally:
        client.close()


def store(name: str, value: str) -> None:
    client: Any = boto3.client("ssm")
    client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
    client.close()


def test_keys_are_made_rotated_and_retired(name: str, owner: str) -> None:
    first = done("key", "rotate")["key_id"]
    assert stored(name)["Type"] == "SecureString"
    token = done("token", "issue", "--owner", owner)["token"]
    assert me(token).status == 200 and auth.key_id(token) == first
    second = done("key", "rotate")["key_id"]
    keys = done("key", "list")
    assert keys["parameter"] == name
    tokens = [key for key in keys["keys"] if key["kind"] == "Ed25519"]
    assert tokens == [
        {"key_id": first, "kind": "Ed25519", "signs": False},
        {"key_id": second, "kind": "Ed25519", "signs": True},
    ]
    newer = done("token", "issue", "--owner", owner)["token"]
    assert auth.key_id(newer) == second
    shown = printed("key", "list")
    assert "signs tokens, and verifies" in shown and "signs cursors" in shown and first in shown
    assert done("key", "retire", first, "--yes") == {"parameter": name, "retired": first}
    assert [key["key_id"] for key in done("key", "list")["keys"] if key["kind"] != "seal"] == [
        second
    ]
    assert me(token).status == 401 and me(newer).status == 200


def test_no_command_shows_a_secret(name: str) -> None:
    outputs = [pieria("key", "rotate"), pieria("key", "rotate", "--json"), pieria("key", "list")]
    outputs += [pieria("key", "list", "--json"), pieria("doctor"), pieria("doctor", "--json")]
    known = json.loads(stored(name)["Value"]) | json.loads(stored(f"{name}-private")["Value"])
    first = next(key["key_id"] for key in done("key", "list")["keys"] if key["kind"] == "Ed25519")
    outputs.append(pieria("key", "retire", first, "--yes"))
    assert sorted(map(signing.kind, known.values())) == ["Ed25519", "Ed25519", "seal", "seal"]
    for output in outputs:
        assert output.status == 0, output.err
        secrets = [secret.rpartition(":")[2] for secret in known.values()]
        assert not any(secret[:8] in output.out + output.err for secret in secrets)


def test_another_parameter_can_be_named(name: str) -> None:
    other = f"{name}-other"
    done("key", "rotate", "--parameter", other)
    assert "there is no parameter" in refused("key", "list")
    assert len(done("key", "list", "--parameter", other)["keys"]) == 2


def test_the_key_that_signs_and_one_that_is_not_there_are_not_retired(name: str) -> None:
    only = done("key", "rotate")["key_id"]
    before = stored(name)["Value"]
    assert "`pieria key rotate`" in refused("key", "retire", only, "--yes")
    assert "there is no key none" in refused("key", "retire", "none", "--yes")
    assert pieria("key", "retire", only, "--json").err.startswith("pieria: nothing was retired")
    ended = CliRunner().invoke(app, ["key", "retire", only], input="n\n")
    assert ended.exit_code == 2 and "nothing was retired" in ended.stderr
    assert stored(name)["Value"] == before


@pytest.mark.parametrize("value", ["none", '{"k": "hunter2-hunter2"}'])
def test_a_parameter_that_holds_something_else_is_left_alone(name: str, value: str) -> None:
    store(name, value)
    for command in (["list"], ["rotate"], ["retire", "k", "--yes"]):
        line = refused("key", *command)
        assert "not a JSON object" in line and "hunter2" not in line
    assert stored(name)["Value"] == value
    assert states()[aws.KEYS] == "failed"


def test_two_concurrent_rotations_are_detected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SSM offers: no condition, but the number of the version that a write became."""
    done("key", "rotate")
    from infra.cli import key

    read = key.read
    value = stored(name)["Value"]

    def read_and_wait(parameter: str) -> Any:
        kept = read(parameter)
        store(parameter, value)  # the other one, in between
        return kept

    monkeypatch.setattr(key, "read", read_and_wait)
    assert "another process changed" in pieria("key", "rotate").err


def test_a_hub_without_its_parameter_says_how_to_make_it(name: str, owner: str) -> None:
    assert states()[aws.KEYS] == "failed"
    line = refused("token", "issue", "--owner", owner)
    assert f"there is no parameter {name} here: make it: `pieria key rotate`" in line
    done("key", "rotate")
    assert states()[aws.KEYS] == "ok"
    assert f"in the parameter {name}" in printed("doctor")


def test_without_credentials_it_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, os.devnull)
    assert "log in again" in refused("key", "list")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "AWS_DEFAULT_REGION" in refused("key", "rotate")


def test_without_a_network_no_advice_is_to_log_in(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports.free()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    line = refused("key", "list")
    assert "check the network" in line and "log in" not in line
    checks = pieria("doctor", "--json").value["checks"]
    (keys,) = [check for check in checks if check["piece"] == aws.KEYS]
    assert "check the network" in keys["fix"]


class Containers:
    """Functions of one hub, each with a keyring of its own, and the tokens that they sign for one
    another.
    """

    def __init__(self, name: str) -> None:
        self.now, self.random = 1_800_000_000.0, random.Random(6)
        self.keyrings = [Keyring(self.read, on_failure=lambda failure: None) for _ in range(8)]
        self.signer = Keyring(self.read_private, on_failure=lambda failure: None)
        self.name, self.tokens, self.answers = name, list[str](), Counter[str]()

    async def read(self) -> Any:
        return json.loads(stored(self.name)["Value"])

    async def read_private(self) -> Any:
        return json.loads(stored(f"{self.name}-private")["Value"])

    async def ask(self) -> None:
        """One function issues a token; two others verify the newest token and any other."""
        other, third = self.random.sample(self.keyrings, 2)
        keys = await self.signer.signing(self.now)
        identity = Identity("ada", Role.READ, str(len(self.tokens)))
        self.tokens.append(auth.issue(keys, identity, lifetime_seconds=9999, now=int(time.time())))
        for keyring, token in ((other, self.tokens[-1]), (third, self.random.choice(self.tokens))):
            key_id = auth.key_id(token)
            assert auth.identify(await keyring.verifying(key_id, self.now), token)
            self.answers[key_id] += 1

    def serve(self, seconds: float) -> None:
        """For this many seconds, ten times a second."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            asyncio.run(self.ask())


def test_a_rotation_under_load_refuses_no_request(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight containers, each of which has read the keys at another time; then an old key's tokens
    are left behind.
    """
    first = done("key", "rotate")["key_id"]
    hub = Containers(name)
    monkeypatch.setattr(key, "sleep", hub.serve)
    hub.serve(25)
    second = done("key", "rotate")["key_id"]
    hub.serve(25)
    assert set(hub.answers) == {first, second} and min(hub.answers.values()) > 100
    hub.tokens = [token for token in hub.tokens if auth.key_id(token) == second]
    done("key", "retire", first, "--yes")
    hub.serve(25)


def test_a_key_verifies_before_it_signs(name: str, waited: list[float]) -> None:
    done("key", "rotate")
    assert waited == []
    done("key", "rotate")
    assert waited == [PAUSE_SECONDS + 1]
