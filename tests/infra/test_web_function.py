"""The Web Function in Node.js, in front of a hub with Lambda's limits. It has not run on AWS, see
docs/deploy.md.

Needs Node.js; skipped without it.
"""

import http.client
import json
import os
import re
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from tests import builders, client
from tests.builders import Record
from tests.client import MSGPACK
from tests.infra.relay.conftest import LAMBDA_BYTES, ROOT, Program, start

NODE = shutil.which("node")
PROGRAM = ROOT / "infra" / "web_function" / "index.js"
MEMORY_KB = 160_000

pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")


@dataclass(frozen=True)
class Door:
    """The program, and the hub behind it."""

    url: str
    hub: Program
    process: subprocess.Popen[bytes]

    def post(self, path: str, value: Record, *, at: str = "", **headers: str) -> httpx.Response:
        """A request of the stock client to the program, or to the server `at` this URL."""
        usual = {
            "authorization": f"Bearer {self.hub.token}",
            "content-type": MSGPACK,
            "accept": client.ACCEPT,
        }
        sent = {name: value for name, value in (usual | headers).items() if value}
        return httpx.post(
            (at or self.url) + path, content=msgpack.packb(value), headers=sent, timeout=60
        )


def running(closing: ExitStack, hub_url: str) -> tuple[str, subprocess.Popen[bytes]]:
    """The URL of the program in front of a hub. It is killed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    assert NODE
    variables = {
        "HUB_URL": hub_url,
        "AWS_LAMBDA_HTTP_ENDPOINT": endpoint,
        "PATH": os.environ["PATH"],
    }
    process = subprocess.Popen([NODE, str(PROGRAM)], env=variables)
    closing.callback(process.wait)
    closing.callback(process.kill)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(endpoint.rpartition(":")[2]))) == 0:
                return f"http://{endpoint}", process
        process.poll()
        assert process.returncode is None
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("the program does not listen")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("hub")
    limits = dict.fromkeys(("PIERIA_MAX_BODY_BYTES", "PIERIA_MAX_REPLY_BYTES"), str(LAMBDA_BYTES))
    with ExitStack() as closing:
        hub = start(
            closing,
            folder,
            ["infra.serve", "--port", "0", "--data", str(folder / "data")],
            **limits,
        )
        url, process = running(closing, hub.url)
        yield Door(url, hub, process)


def blobs(count: int, size_bytes: int) -> list[Record]:
    return [builders.blob(os.urandom(size_bytes)) for _ in range(count)]


def value(answer: httpx.Response) -> Any:
    if answer.headers["content-type"] == MSGPACK:
        return msgpack.unpackb(answer.content)
    return answer.json()


def test_objects_larger_than_lambda_takes_arrive(door: Door) -> None:
    sent = {"objects": blobs(100, 65_000)}
    assert door.post("/me/song/push/objects", sent, at=door.hub.url).status_code == 413
    answer = door.post("/me/song/push/objects", sent)
    assert (answer.status_code, value(answer)) == (200, {"stored": 100, "skipped": 0})
    missing = door.post(
        "/me/song/filter-objects", {"object_ids": [one["object_id"] for one in sent["objects"]]}
    )
    assert value(missing) == {"missing": []}


def test_a_push_larger_than_lambda_takes_arrives(door: Door) -> None:
    paths = {
        f"{'folder' * 20}/{number:05}.mid": builders.blob(b"x")["object_id"]
        for number in range(30_000)
    }
    tree = builders.snapshot(paths)
    commit = builders.commit("many files", [], tree["snapshot_id"])
    sent = {
        "branch": "main",
        "bundle": {"commits": [commit], "snapshots": [tree], "objects": [builders.blob(b"x")]},
    }
    assert door.post("/me/tall/push", sent, at=door.hub.url).status_code == 413
    answer = door.post("/me/tall/push", sent)
    assert (answer.status_code, value(answer)["remote_head"]) == (200, commit["commit_id"])


def test_a_small_push_passes_as_it_is(door: Door) -> None:
    answer = door.post("/me/song/push/objects", {"objects": blobs(3, 1_000)})
    assert (answer.status_code, value(answer)) == (200, {"stored": 3, "skipped": 0})


def test_any_other_request_passes_as_it_is(door: Door) -> None:
    for path in ("/health", "/me/song/refs", "/me/song/raw/none/push", "/"):
        direct, passed = (
            httpx.get(url + path, headers={"accept": "application/json"})
            for url in (door.hub.url, door.url)
        )
        assert (passed.status_code, passed.content) == (direct.status_code, direct.content), path
        assert passed.headers["content-type"] == direct.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/me/song/push/objects", {"Authorization": ""}, 401),
        ("/me/song/push/objects", {"Authorization": "Bearer x"}, 401),
        ("/nobody/song/push", {}, 404),
    ],
    ids=["no token", "a bad token", "another's repository"],
)
def test_a_refusal_comes_after_the_body_was_read(
    door: Door, path: str, headers: dict[str, str], status: int
) -> None:
    """The stock client writes its whole body first, and a Web Function is half-duplex."""
    body = msgpack.packb({"objects": blobs(100, 65_000)})
    sent = {"Authorization": f"Bearer {door.hub.token}", "Content-Type": MSGPACK, **headers}
    connection = http.client.HTTPConnection(door.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", path)
    for name, text in (sent | {"Content-Length": str(len(body))}).items():
        connection.putheader(name, text)
    connection.endheaders(body[:-1])
    assert connection.sock
    assert select.select([connection.sock], [], [], 1.0)[0] == [], (
        "no reply before the last byte of the body"
    )
    connection.send(body[-1:])
    reply = connection.getresponse()
    assert (reply.status, json.loads(reply.read()).keys()) == (
        status,
        {"message", "detail", "code"},
    )
    connection.close()


def test_a_body_larger_than_can_be_staged_is_refused_by_the_hub(door: Door) -> None:
    answer = door.post("/me/song/push/objects", {"objects": blobs(1_000, 70_000)})
    assert (answer.status_code, value(answer)["code"]) == (413, "too_large")


def test_the_largest_body_is_never_in_memory(door: Door) -> None:
    answer = door.post("/me/song/push/objects", {"objects": blobs(980, 65_500)})
    assert (answer.status_code, value(answer)) == (200, {"stored": 980, "skipped": 0})
    status = Path(f"/proc/{door.process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak and int(peak[1]) < MEMORY_KB


def test_the_proxys_headers_reach_the_hub(tmp_path: Path) -> None:
    secret = "s" * 32
    with ExitStack() as closing:
        arguments = ["infra.serve", "--port", "0", "--data", str(tmp_path / "data")]
        limits = {"PIERIA_ORIGIN_SECRET": secret, "PIERIA_MAX_BODY_BYTES": str(LAMBDA_BYTES)}
        hub = start(closing, tmp_path, arguments, **limits)
        url, process = running(closing, hub.url)
        door = Door(url, hub, process)
        sent = {"objects": blobs(100, 65_000)}
        assert door.post("/me/song/push/objects", sent).status_code == 403
        answer = door.post(
            "/me/song/push/objects",
            sent,
            **{"x-pieria-origin": secret, "x-pieria-viewer": "192.0.2.1"},
        )
        assert (answer.status_code, value(answer)) == (200, {"stored": 100, "skipped": 0})


@pytest.mark.parametrize("count", [1, 100], ids=["small", "large"])
def test_a_hub_that_is_away_is_a_503_that_may_be_repeated(tmp_path: Path, count: int) -> None:
    with ExitStack() as closing:
        url, process = running(closing, "http://127.0.0.1:9")
        hub = Program(process, "", "token", tmp_path)  # type: ignore[arg-type]
        answer = Door(url, hub, process).post("/me/song/push", {"objects": blobs(count, 65_000)})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("megabytes", [1, 7, 26, 64])
def test_the_bodies_of_the_ten_minute_test_are_read_and_refused_by_the_hub(
    door: Door, megabytes: int
) -> None:
    """docs/deploy.md: the reply shows that the hub received the body."""
    headers = {"authorization": f"Bearer {door.hub.token}", "content-type": MSGPACK}
    body = bytes(megabytes * 10**6)
    answer = httpx.post(
        f"{door.url}/me/song/push/objects", content=body, headers=headers, timeout=60
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


def test_a_client_that_goes_away_leaves_the_program_at_work(door: Door) -> None:
    address = door.url.removeprefix("http://").split(":")
    for head in ("/me/song/push/objects", "/me/song/push"):
        with socket.create_connection((address[0], int(address[1]))) as connection:
            token = f"Authorization: Bearer {door.hub.token}\r\nContent-Type: {MSGPACK}\r\n"
            connection.sendall(
                f"POST {head} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 9000000\r\n\r\n".encode()
            )
            connection.sendall(bytes(100_000))
    answer = door.post("/me/song/push/objects", {"objects": blobs(1, 10)})
    assert answer.status_code == 200
