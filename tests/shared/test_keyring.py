"""Signing keys in a parameter: read once, read again for a rotation, and kept through an outage of
their store.

Some tests use the handlers and a real parameter, the table of times a keyring alone.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from bench.meter import Meter
from shared import auth
from shared.engines import selection
from shared.errors import Unavailable
from shared.http import access
from shared.keyring import FRESH_SECONDS, PAUSE_SECONDS, STALE_KEYS_SECONDS, Keyring
from shared.model import Identity, Role
from tests import client
from tests.builders import Clock
from tests.client import Answer, bearer, call

OLD, NEW = {"old": "o" * 40}, {"new": "n" * 40}
START = 1_800_000_000.0


# ── A parameter, through the handlers ─────────────────────────────────────────────────────────────


class Parameter:
    """The parameter that the functions' environment names. It is not there until it is put."""

    def __init__(self) -> None:
        self.name = f"/pieria/{uuid.uuid4()}"
        self._client: Any = boto3.client("ssm")

    def put(self, keys: dict[str, str] | str) -> None:
        value = keys if isinstance(keys, str) else json.dumps(keys)
        self._client.put_parameter(Name=self.name, Value=value, Type="SecureString", Overwrite=True)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def parameter(configured: pytest.MonkeyPatch) -> Iterator[Parameter]:
    """A parameter of this test's own, instead of keys in the environment."""
    with contextlib.closing(Parameter()) as made:
        configured.delenv("PIERIA_SIGNING_KEYS")
        configured.setenv("PIERIA_SIGNING_KEYS_PARAMETER", made.name)
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    standing = Clock(time.time())
    monkeypatch.setattr(access, "time", SimpleNamespace(time=standing.time))
    return standing


def signed_with(keys: dict[str, str], owner: str) -> dict[str, str]:
    """A header with a token signed with the last of these keys."""
    identity = Identity(owner, Role.ADMIN, str(uuid.uuid4()))
    return bearer(auth.issue(keys, identity, lifetime_seconds=9999, now=int(time.time())))


def asked(owner: str, keys: dict[str, str] | None) -> tuple[Answer, int]:
    """The answer to a look at a repository that is not there, and how often the parameter was read
    for it.
    """
    with Meter() as meter:
        answer = call("refs", owner, "song", headers=signed_with(keys, owner) if keys else None)
    return answer, meter.by_operation()["ssm.GetParameter"]


def test_the_parameter_is_read_when_a_token_comes_and_not_again(parameter, owner):
    parameter.put(OLD)
    assert asked(owner, None)[1] == 0, "nobody's request needs no key"
    answer, readings = asked(owner, OLD)
    assert (answer.status, readings) == (200, 1), answer.body
    assert asked(owner, OLD)[1] == 0


def test_tokens_of_the_hub_are_signed_with_keys_of_the_parameter(parameter, owner):
    parameter.put(OLD | NEW)
    path, headers = "/api/v1/tokens", signed_with(OLD, owner) | {"content-type": "application/json"}
    answer = client.invoke("tokens", client.event("POST", path, b'{"scope": "read"}', headers))
    assert auth.key_id(answer.value["token"]) == "new"


def test_first_requests_at_once_share_one_reading(parameter, owner):
    parameter.put(OLD)

    async def read() -> list[Any]:
        opened = await selection.stores()
        try:
            return await asyncio.gather(
                *(opened.keyring.verifying("old", START) for _ in range(20))
            )
        finally:
            await selection.close()

    with Meter() as meter:
        assert asyncio.run(read()) == [OLD] * 20
    assert meter.by_operation() == {"ssm.GetParameter": 1}


@pytest.mark.parametrize("broken", ["", "{}", '{"old": "short"}', "[]", '{"old": "' + "o" * 40])
def test_a_parameter_that_holds_no_keys_is_our_trouble_and_no_secret(
    parameter, owner, capfd, broken
):
    if broken:
        parameter.put(broken)
    for _ in range(2):
        answer, readings = asked(owner, OLD)
        assert (answer.status, answer.code, readings) == (
            503,
            "unavailable",
            1,
        ), "the next request reads again"
    log = capfd.readouterr().err
    assert parameter.name in log and ("ParameterNotFound" if not broken else "ValueError") in log
    assert "short" not in log and "oooo" not in log
    assert call("refs", "nobody", "nothing").status == 404, "whoever has no token is served"
    parameter.put(OLD)
    assert asked(owner, OLD)[0].status == 200


def test_a_rotation_needs_no_deployment(parameter, owner, clock):
    parameter.put(OLD)
    assert asked(owner, OLD)[0].status == 200
    clock.now += PAUSE_SECONDS
    parameter.put(OLD | NEW)
    assert [asked(owner, keys)[0].status for keys in (NEW, OLD)] == [200, 200]
    parameter.put(NEW)
    clock.now += FRESH_SECONDS
    assert [asked(owner, keys)[0].status for keys in (OLD, NEW)] == [401, 200]


def test_tokens_of_no_key_of_ours_read_it_once_in_ten_seconds(parameter, owner, clock):
    parameter.put(OLD)
    assert asked(owner, OLD)[0].status == 200
    clock.now += PAUSE_SECONDS
    strange = [asked(owner, {f"strange{n}": "s" * 40}) for n in range(5)]
    assert [answer.status for answer, _ in strange] == [401] * 5
    assert [readings for _, readings in strange] == [1, 0, 0, 0, 0]
    clock.now += PAUSE_SECONDS
    assert asked(owner, {"strange": "s" * 40})[1] == 1


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.e30", "x" * 5000])
def test_an_invalid_token_reads_no_keys(parameter, owner, token):
    with Meter() as meter:
        assert call("refs", owner, "song", headers=bearer(token)).status == 401
    assert meter.calls == 0


# ── The table of times ────────────────────────────────────────────────────────────────────────────


class Store:
    """Keys that are read, unless the store is down or hangs."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.readings = 0
        self.state = "up"

    async def read(self) -> dict[str, str]:
        self.readings += 1
        if self.state == "hangs":
            await asyncio.Event().wait()
        if self.state == "down":
            raise Unavailable()
        return self.keys


def test_keys_outlive_an_outage_but_not_for_ever():
    async def story() -> None:
        store, told = Store(OLD), list[Unavailable]()
        ring = Keyring(store.read, told.append)
        assert await ring.verifying("old", START) == OLD
        store.state, store.keys = "down", NEW
        now = START + FRESH_SECONDS
        assert await ring.verifying("old", now) == OLD
        assert store.readings == 2
        assert await ring.verifying("old", now + PAUSE_SECONDS - 1) == OLD
        assert store.readings == 2, "an outage is not asked about by every request"
        assert await ring.verifying("old", now + PAUSE_SECONDS) == OLD
        assert store.readings == 3
        for second in range(2):
            with pytest.raises(Unavailable):
                await ring.verifying("old", START + STALE_KEYS_SECONDS + second)
        assert store.readings == 5, "with no keys to go on with, each request asks"
        assert len(told) == 2, "of the other failures, callers know"
        store.state = "up"
        assert await ring.verifying("old", START + STALE_KEYS_SECONDS + 2) == NEW

    asyncio.run(story())


def test_a_store_that_hangs_holds_up_one_request_for_a_moment(monkeypatch):
    monkeypatch.setattr("shared.keyring.PATIENCE_SECONDS", 0.01)

    async def story() -> None:
        store, told = Store(OLD), list[Unavailable]()
        ring = Keyring(store.read, told.append)
        await ring.verifying("old", START)
        store.state = "hangs"
        later = START + FRESH_SECONDS
        assert await asyncio.gather(*(ring.verifying("old", later) for _ in range(5))) == [OLD] * 5
        assert store.readings == 2 and len(told) == 1
        store.state, store.keys = "up", NEW
        assert await ring.verifying("old", later + PAUSE_SECONDS) == NEW

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_cancelled_request_does_not_cancel_the_read():
    async def story() -> None:
        store, gate, told = Store(OLD), asyncio.Event(), list[Unavailable]()

        async def read() -> dict[str, str]:
            await gate.wait()
            return await store.read()

        ring = Keyring(read, told.append)
        first, second = (asyncio.create_task(ring.verifying("old", START)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        gate.set()
        assert await second == OLD
        assert store.readings == 1

    asyncio.run(story())


def test_a_token_is_signed_with_the_current_keys():
    async def story() -> None:
        store, told = Store(OLD), list[Unavailable]()
        ring = Keyring(store.read, told.append)
        await ring.verifying("old", START)
        store.keys = NEW
        assert await ring.signing(START + PAUSE_SECONDS - 1) == OLD
        assert await ring.signing(START + PAUSE_SECONDS) == NEW
        store.state = "down"
        assert await ring.signing(START + 3 * PAUSE_SECONDS) == NEW

    asyncio.run(story())


def test_a_known_key_is_read_again_after_five_minutes_and_a_reading_that_succeeds_is_no_failure() -> (
    None
):
    readings: list[float] = []
    failures: list[Unavailable] = []

    async def read() -> dict[str, str]:
        readings.append(0)
        return OLD

    async def story() -> list[int]:
        keyring = Keyring(read, failures.append)
        after = []
        for seconds in (
            0,
            PAUSE_SECONDS,
            FRESH_SECONDS - 1,
            FRESH_SECONDS,
            2 * FRESH_SECONDS - 1,
            2 * FRESH_SECONDS,
        ):
            assert await keyring.verifying("old", START + seconds) == OLD
            after.append(len(readings))
        return after

    assert asyncio.run(story()) == [1, 1, 1, 2, 2, 3]
    assert failures == []
