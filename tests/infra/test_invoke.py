"""The build, as Lambda runs it: AWS's runtime emulator drives AWS's runtime client, which drives
`build/host`.

Run by `make test-cloud`: the emulator comes with the SAM CLI, which is downloaded.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from functions.endpoints import ENDPOINTS
from infra import build, invoke, stack
from infra.embedded_aws import EmbeddedAws
from shared import settings
from tests import builders, client
from tests.issuer import NEEDS_PROVIDER

pytestmark = pytest.mark.cloud

FITS = 4_400_000
TOO_MUCH = 4_800_000
"""Bytes of a reply in base64: the limit of AWS, 6,291,556, is a third larger than the bytes in it.
"""


@pytest.fixture(autouse=True)
def built() -> None:
    """What there is to run. `make build-host` makes it."""
    if not build.HOST_PYTHON.exists():
        pytest.skip("there is no build/host: make build-host")


@pytest.fixture
def place(aws: EmbeddedAws, configured: pytest.MonkeyPatch, owner: str) -> Iterator[dict[str, str]]:
    """The world of the events, in tables of its own."""
    names = {"HubTable": f"hub-{owner}", "CounterTable": f"counters-{owner}"}
    configured.setenv("PIERIA_HUB_TABLE", names["HubTable"])
    configured.setenv("PIERIA_COUNTER_TABLE", names["CounterTable"])
    stack.create(aws.url, names)
    yield invoke.seeded(settings.load().signing_keys)


def event(name: str, place: dict[str, str]) -> dict[str, Any]:
    """An event of `sample_events/`, ready to be sent."""
    return invoke.filled((invoke.EVENTS / f"{name}.json").read_text(), place)


@pytest.mark.parametrize("function", [row.module for row in ENDPOINTS if row.routes])
def test_a_function_starts_in_the_runtime_and_answers(function: str, place: dict[str, str]) -> None:
    with invoke.runtime(function) as call:
        answer = call(event(function, place))
    if function in NEEDS_PROVIDER:
        assert answer.status == 400, answer.body
    else:
        assert 200 <= answer.status < 300, answer.body


def fetched(size: int, place: dict[str, str], **variables: str) -> invoke.Answer:
    """A clone of a repository with one object of this many bytes, by the fetch event of API
    Gateway.
    """
    stem = builders.blob(os.urandom(size))
    files = builders.snapshot({"stem.wav": stem["object_id"]})
    commit = builders.commit("a stem", snapshot_id=files["snapshot_id"])
    bundle = {"commits": [commit], "snapshots": [files], "objects": [stem]}
    assert client.push("me", "stems", bundle).status == 200
    asked = event("fetch", place)
    asked["rawPath"] = asked["requestContext"]["http"]["path"] = "/me/stems/fetch"
    asked["headers"]["accept"] = client.MSGPACK
    asked["body"] = json.dumps({"want": [commit["commit_id"]], "have": []})
    asked["headers"]["content-length"] = str(len(asked["body"]))
    with invoke.runtime("fetch", **variables) as call:
        return call(asked)


def test_a_reply_that_the_platform_passes_comes_through(place: dict[str, str]) -> None:
    answer = fetched(FITS, place)
    assert answer.status == 200
    (found,) = msgpack.unpackb(answer.body)["objects"]
    assert hashlib.sha256(found["content"]).hexdigest() == found["object_id"]


def test_a_reply_that_it_would_not_pass_is_refused_by_us(place: dict[str, str]) -> None:
    answer = fetched(TOO_MUCH, place)
    assert answer.status == 413
    refusal = json.loads(answer.body)
    assert refusal["code"] == "too_large"
    assert len(refusal["message"]) < 400


def test_without_our_refusal_the_platform_would_give_its_own(place: dict[str, str]) -> None:
    """That the emulator knows the limit: else the two above would prove nothing."""
    with pytest.raises(invoke.Failed, match="6291556"):
        fetched(TOO_MUCH, place, PIERIA_MAX_REPLY_BYTES="67108864")
