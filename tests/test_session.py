"""The recorded session of the stock client, played from the first push to the last clone.

First push, no-op push, clone, incremental push, fetch, pull, a branch with a slash, a merge, a
diverged push that is refused, a three-way pull, a push after it, a rewritten history refused and
then forced, a release pushed, listed and deleted, a last clone.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from tests.client import ACCEPT, MSGPACK, ROUTES, event, invoke, token

SESSION = Path(__file__).parent / "wire" / "session.msgpack"
FUNCTIONS = {(method, suffix): function for function, (method, suffix) in ROUTES.items()} | {
    (method, suffix): "releases"
    for method, suffix in (("POST", "releases"), ("GET", "releases"), ("DELETE", "releases/v1.0.0"))
}

Reply = tuple[int, bytes]
Send = Callable[[dict[str, Any], dict[str, str]], Reply]


def session() -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The exchanges with their numbers and endpoints."""
    with SESSION.open("rb") as file:
        for number, exchange in enumerate(msgpack.Unpacker(file, raw=False)):
            yield number, exchange["path"].removeprefix("/me/song/"), exchange


def required(endpoint: str, body: bytes) -> Any:
    """The part of an answer that any correct hub must give; the order of lists is free."""
    reply = msgpack.unpackb(body, raw=False)
    match endpoint:
        case "refs":
            return {key: reply[key] for key in ("domain", "default_branch", "branch_heads")}
        case "filter-objects":
            return set(reply["missing"])
        case "presign":
            return {*reply["presigned"], *reply["inline"]}
        case "push/objects":
            return reply
        case "push":
            return reply["ok"], reply["branch_heads"]
        case "negotiate":
            return set(reply["ack"]), reply["ready"], reply["common_base"] is None
        case "fetch":
            return (
                {record["commit_id"]: record for record in reply["commits"]},
                {record["snapshot_id"]: record for record in reply["snapshots"]},
                {record["object_id"]: record["content"] for record in reply["objects"]},
                reply["branch_heads"],
            )
        case "releases" | "releases/v1.0.0":
            return reply  # to the last field: the id that was sent, the releases in order, the tag
    raise AssertionError(f"no such endpoint: {endpoint}")


def differences(send: Send, token: str) -> list[str]:
    """The differences between the replies of a hub and the recorded ones, played in order against
    an empty repository.
    """
    found = []
    for number, endpoint, exchange in session():
        headers = {k: v for k, v in exchange["headers"].items() if k in ("accept", "content-type")}
        if exchange["headers"]["authorization"]:
            headers["authorization"] = f"Bearer {token}"
        status, body = send(exchange, headers)
        if status != exchange["status"]:
            found.append(
                f"{number} {endpoint}: {status}, recorded {exchange['status']}: {body[:200]!r}"
            )
        elif status >= 400:
            assert set(json.loads(body)) == {"message", "detail", "code"}
        elif required(endpoint, body) != required(endpoint, exchange["response"]):
            found.append(f"{number} {endpoint}: another answer than recorded")
    return found


def sender(client: httpx.Client) -> Send:
    """The way of an exchange to a hub over HTTP."""

    def send(exchange: dict[str, Any], headers: dict[str, str]) -> Reply:
        reply = client.request(
            exchange["method"],
            exchange["path"],
            params=exchange["query"] or None,
            content=exchange["body"] or None,
            headers=headers,
        )
        return reply.status_code, reply.content

    return send


def test_the_session_through_the_lambda_handlers() -> None:
    def send(exchange: dict[str, Any], headers: dict[str, str]) -> Reply:
        endpoint = exchange["path"].removeprefix("/me/song/")
        answer = invoke(
            FUNCTIONS[exchange["method"], endpoint],
            event(exchange["method"], exchange["path"], exchange["body"], headers),
        )
        return answer.status, answer.body

    assert differences(send, token("me")) == []


@dataclass
class Hub:
    """A hub that `make serve` would start, in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    token: str


@contextmanager
def served(data: Path, engine: str = "moto") -> Iterator[Hub]:
    """A hub on a free port, ready. It is killed like a crash would kill it."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "infra.serve",
            "--engine",
            engine,
            "--port",
            "0",
            "--data",
            str(data),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = next(
            m
            for line in process.stdout
            if (m := re.match(r"HUB READY url=(\S+) owner=me token=(\S+)", line))
        )
        yield Hub(process, ready[1], ready[2])
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_the_session_over_http_with_an_emulated_aws(tmp_path: Path) -> None:
    with served(tmp_path, "moto") as hub, httpx.Client(base_url=hub.url, timeout=30) as client:
        assert differences(sender(client), hub.token) == []


def test_the_session_over_http_and_again_after_a_crash(tmp_path: Path) -> None:
    def everything(client: httpx.Client) -> Any:
        headers = {"accept": ACCEPT, "content-type": MSGPACK}
        refs = msgpack.unpackb(client.get("/me/song/refs", headers=headers).content)
        want = msgpack.packb({"want": list(refs["branch_heads"].values()), "have": []})
        return refs, required(
            "fetch", client.post("/me/song/fetch", content=want, headers=headers).content
        )

    with served(tmp_path, "sqlite") as hub, httpx.Client(base_url=hub.url, timeout=30) as client:
        assert differences(sender(client), hub.token) == []
        before = everything(client)
    with served(tmp_path, "sqlite") as hub, httpx.Client(base_url=hub.url, timeout=30) as client:
        assert everything(client) == before


def test_the_session_lists_a_release_as_it_was_sent() -> None:
    sent, listed, after = (
        exchange for _, endpoint, exchange in session() if endpoint == "releases"
    )
    assert msgpack.unpackb(listed["response"], raw=False) == {
        "releases": [json.loads(sent["body"])]
    }
    assert msgpack.unpackb(sent["response"], raw=False) == {
        "release_id": json.loads(sent["body"])["release_id"]
    }
    assert msgpack.unpackb(after["response"], raw=False) == {"releases": []}


RELAY_ENDPOINTS = {"fetch/history", "fetch/objects", "staging"}
"""The endpoints that the stock client does not use."""


@pytest.mark.parametrize(
    "endpoint", sorted({suffix for _, suffix in ROUTES.values()} - RELAY_ENDPOINTS)
)
def test_the_session_knows_every_endpoint(endpoint: str) -> None:
    assert endpoint in {name for _, name, _ in session()}
