"""Clients that are slow, or send much at once: over real sockets, to the server that `make serve`
starts.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpx
import msgpack
import pytest
import uvicorn

from infra.app import app
from shared import bodies, connection, settings
from shared.engines import selection
from shared.errors import Unavailable
from tests import client

LARGEST = 1_000_000


@pytest.fixture
def port(configured: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with small limits in this process."""
    configured.setenv("PIERIA_MAX_BODY_BYTES", str(LARGEST))
    configured.setattr(bodies, "WINDOW_SECONDS", 1)
    configured.setattr(bodies, "WINDOW_BYTES", 1000)
    configured.setattr(connection, "HEAD_SECONDS", 1)
    configured.setattr(settings, "EXPANDED_BYTES", LARGEST)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=connection.Connection, lifespan="off", log_config=None, proxy_headers=False
    )
    server = uvicorn.Server(config)

    async def serve() -> None:
        try:
            await server.serve([listener])
        finally:
            await selection.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    assert not app._in_flight._bytes and not app._in_flight._total_bytes, (
        "all that was counted was given back"
    )


BEGUN = b"\xc6\x7f\xff\xff\xff"
"""The beginning of a body in which nothing is wrong so far: bytes are announced, and the limit is
not reached.
"""


def connected(port: int) -> socket.socket:
    """A connection that waits a while for an answer."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def rest(sock: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def refusal(answer: bytes) -> tuple[int, str]:
    """Status and code of the one JSON body of every refusal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert told.keys() == {"message", "detail", "code"} and b"application/json" in head
    return int(head.split()[1]), told["code"]


def head(owner: str, length: int) -> bytes:
    """The head of a push to a repository of this owner."""
    lines = [
        f"POST /{owner}/song/push HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {client.token(owner)}",
        f"Content-Type: {client.MSGPACK}",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "sent", [b"GET /health HTTP/1.1\r\nHost: 127", b"G", b"GET /health HTTP/1.1\r\nX: y\r\n"]
)
def test_half_sent_headers_are_refused_in_time(port: int, sent: bytes) -> None:
    with connected(port) as sock:
        begun = time.monotonic()
        sock.sendall(sent)
        assert refusal(rest(sock)) == (408, "request_timeout")
        assert 0.9 < time.monotonic() - begun < 8


def test_headers_that_trickle_are_refused_in_time_also_after_an_answer(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += sock.recv(65536)
        begun = time.monotonic()
        with pytest.raises(OSError):
            for byte in b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 200:
                sock.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - begun < 8


def test_a_connection_without_a_request_is_closed(port: int) -> None:
    with connected(port) as sock:
        assert rest(sock) == b""


def test_bytes_that_are_not_http_are_refused_in_json(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert refusal(rest(sock)) == (400, "bad_request")


@pytest.mark.parametrize("trickles", [False, True])
def test_a_body_that_stops_or_trickles_is_refused_in_time(
    port: int, owner: str, trickles: bool
) -> None:
    with connected(port) as sock:
        begun = time.monotonic()
        sock.sendall(head(owner, 1000) + BEGUN)
        if trickles:
            for _ in range(8):
                time.sleep(0.1)
                sock.sendall(b"x")
        assert refusal(rest(sock)) == (408, "request_timeout")
        assert time.monotonic() - begun < 8


def test_the_body_of_a_refused_request_is_not_waited_for_either(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(
            b"POST /nobody/song/push HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length:"
            b" 1000\r\n\r\nbegun"
        )
        assert refusal(rest(sock))[0] == 401


def test_a_slow_body_that_keeps_coming_is_taken(port: int, owner: str) -> None:
    """1.5 s in pieces, with a window of 1 s."""
    body = msgpack.packb(
        {"branch": "main", "bundle": {"commits": [{"commit_id": "c", "message": "m" * 20_000}]}}
    )
    pieces = [body[start : start + 1500] for start in range(0, len(body), 1500)]
    with connected(port) as sock:
        sock.sendall(head(owner, len(body)))
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.1)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def unfinished(stack: ExitStack, port: int, owner: str) -> socket.socket:
    """A push of the largest size whose last byte is not sent yet."""
    sock = stack.enter_context(closing(connected(port)))
    sock.sendall(head(owner, LARGEST) + BEGUN + bytes(LARGEST - 1 - len(BEGUN)))
    return sock


def in_flight_reaches(least_bytes: int) -> None:
    """Wait until the server has received this many bytes."""
    give_up_at = time.monotonic() + 10
    while app._in_flight._total_bytes < least_bytes:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_unfinished_bodies_of_one_address_take_a_bounded_memory(
    port: int, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "WINDOW_SECONDS", 30)
    with ExitStack() as stack:
        for _ in range(bodies.BODIES_PER_ADDRESS):
            unfinished(stack, port, owner)
        in_flight_reaches(bodies.BODIES_PER_ADDRESS * (LARGEST - 1))
        url = f"http://127.0.0.1:{port}/{owner}/song/push"
        headers = {
            "Authorization": f"Bearer {client.token(owner)}",
            "Content-Type": client.MSGPACK,
        }
        answer = httpx.post(
            url, content=BEGUN + bytes(LARGEST - len(BEGUN)), headers=headers, timeout=10
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert (
            "Retry-After" in answer.headers
            and "address" in answer.json()["message"]
            and len(answer.content) < 400
        )
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    give_up_at = time.monotonic() + 10
    while app._in_flight._total_bytes:
        assert time.monotonic() < give_up_at, "what broke off is given back"
        time.sleep(0.01)
    body = msgpack.packb(
        {"branch": "main", "bundle": {"commits": [{"commit_id": "c", "message": "m"}]}}
    )
    assert httpx.post(url, content=body, headers=headers, timeout=10).status_code == 200


def test_unfinished_bodies_of_all_addresses_take_a_bounded_memory() -> None:
    flight = bodies.InFlight()
    for number in range(bodies.BODIES):
        flight.take(f"address {number}", LARGEST, LARGEST)
    with pytest.raises(Unavailable, match="the hub is receiving too much"):
        flight.take("another", 1, LARGEST)
    flight.give_back("address 0", LARGEST)
    flight.take("another", LARGEST, LARGEST)


def test_the_head_and_the_body_of_a_reply_come_in_one_packet(port: int) -> None:
    with closing(connected(port)) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert sock.recv(65536).endswith(b'{"status":"ok"}')
