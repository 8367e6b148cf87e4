"""A relay that is killed, a hub that is slow or gone, and a client that waits."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from bench import client, history
from infra import ports
from infra.relay import gateway
from infra.relay import hub as relay_hub
from tests.infra.relay.conftest import ROOT, Connect, Program, environment, start

COMMIT = history.generate(seed=6, commits=4, files=900, objects=1000)
"""Three chunks of the client, each larger than the hub takes."""
KILLS_SECONDS = (0.3, 0.9, 1.8)
"""When the relay is killed, after the start of the push."""


def started(closing: ExitStack, folder: Path, url: str, port: int) -> Program:
    """A relay on this port."""
    return start(closing, folder, ["infra.cli", "connect", url, "--port", str(port)])


def fsck(hub: Program, repository: str) -> dict[str, Any]:
    """What `pieria fsck` finds."""
    data = hub.stderr.parent / "data"
    command = [
        sys.executable,
        "-m",
        "infra.cli",
        "fsck",
        repository.strip("/"),
        "--data",
        str(data),
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment(data), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"status": done.returncode}


def test_a_push_completes_after_its_relay_was_killed(hub: Program, tmp_path: Path) -> None:
    port, repository = ports.free(), "/me/killed"
    url = f"http://127.0.0.1:{port}{repository}"
    ended: list[str] = []

    def push() -> None:
        try:
            client.push(url, hub.token, COMMIT)
            ended.append("done")
        except (httpx.HTTPError, client.Refused) as error:
            ended.append(type(error).__name__)

    for seconds in KILLS_SECONDS:
        with ExitStack() as closing:
            relay = started(closing, tmp_path, hub.url, port)
            pushing = threading.Thread(target=push)
            pushing.start()
            time.sleep(seconds)
            relay.kill()
            pushing.join()
    assert ended[0] != "done", "the first kill was in the middle"
    with ExitStack() as closing:
        started(closing, tmp_path, hub.url, port)
        again = client.push(url, hub.token, COMMIT)
        cloned = httpx.get(f"{url}/refs", headers={"Accept": "application/x-msgpack"})
    assert msgpack.unpackb(cloned.content)["branch_heads"] == {"main": COMMIT.head}
    assert fsck(hub, repository)["status"] == 0
    sent = sum(exchange.sent for exchange in again.exchanges if exchange.path == "/push/objects")
    assert sent < sum(map(len, COMMIT.objects.values())), "what was stored is not sent again"


# ── A hub that does not answer as it should ───────────────────────────────────────────────────────


@contextmanager
def answering(
    answers: Callable[[int, str], tuple[int, dict[str, str], bytes] | None],
) -> Iterator[str]:
    """The URL of a server. It replies to the requests for a path by a list; None: it closes the
    connection.
    """
    seen: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            seen[self.path] = seen.get(self.path, 0) + 1
            answer = (
                (200, {}, b'{"status": "ok"}')
                if self.path == "/health"
                else answers(seen[self.path], self.path)
            )
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


OK = (200, {"Content-Type": "application/x-msgpack"}, b"\x80")


@pytest.mark.parametrize(
    "refusal", [(429, {"Retry-After": "1"}, b"{}"), (503, {}, b"{}"), (502, {}, b""), None]
)
def test_a_request_is_repeated_until_the_hub_answers(connect: Connect, refusal: Any) -> None:
    with answering(lambda number, _: OK if number > 2 else refusal) as url:
        relay = connect(url)
        assert (
            httpx.post(f"{relay.url}/me/song/push", content=b"\x80", timeout=30).status_code == 200
        )
        assert httpx.get(f"{relay.url}/me/song/refs", timeout=30).status_code == 200
    assert "trying again in" in relay.said()


def test_a_refusal_for_the_rest_of_the_day_is_passed_on_at_once(connect: Connect) -> None:
    with answering(lambda *_: (503, {"Retry-After": "40000"}, b'{"code": "hub_limit"}')) as url:
        reply = httpx.post(f"{connect(url).url}/me/song/push", content=b"\x80")
    assert reply.status_code == 503 and reply.json() == {"code": "hub_limit"}
    assert reply.headers["Retry-After"] == "40000"


def test_a_request_that_must_not_be_repeated_is_not(connect: Connect) -> None:
    with answering(lambda number, _: OK if number > 1 else None) as url:
        reply = httpx.post(f"{connect(url).url}/api/v1/tokens", content=b"{}")
    assert reply.status_code == 503 and reply.json()["code"] == "unavailable"
    assert reply.json().keys() == {"message", "detail", "code"}


def test_a_client_that_waits_hears_from_the_relay(tmp_path: Path) -> None:
    assert gateway.KEEP_ALIVE_SECONDS < 60 / 2, (
        "the stock client gives up after 60 s without a byte"
    )
    with answering(
        lambda number, _: OK if number > 1 else (503, {"Retry-After": "2"}, b"{}")
    ) as url:
        port = ports.free()
        program = (
            "from infra.relay import gateway; gateway.KEEP_ALIVE_SECONDS = 0.3; import sys;"
            f" sys.argv = ['pieria', 'connect', '{url}', '--port', '{port}'];"
            " from infra.cli import app; app(prog_name='pieria')"
        )
        with ExitStack() as closing:
            process = subprocess.Popen(
                [sys.executable, "-c", program], cwd=ROOT, env=environment(tmp_path)
            )
            closing.callback(process.wait)
            closing.callback(process.kill)
            wait_for(port)
            with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
                sock.sendall(
                    f"GET /me/song/refs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
                )
                assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/me/song/refs", timeout=1
            ) as reply:
                assert reply.status == 200


def wait_for(port: int) -> None:
    """Until something listens."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("nothing listens")


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("5", 5.0), ("", None), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_a_number_or_a_date(date: str, seconds: float | None) -> None:
    assert relay_hub._retry_after(date) == seconds
