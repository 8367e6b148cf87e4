"""An AWS in this process, for a laptop and for tests: DynamoDB, S3 and SSM's parameters at
`http://127.0.0.1:<port>`.

    with EmbeddedAws() as aws:
        boto3.client("dynamodb", endpoint_url=aws.url)

A request must be signed with the access key that the environment had at construction. S3 is
addressed by path (`/bucket/key`), not by host name. Requests are executed one at a time: under
threads, moto lets two callers win one conditional write.
"""

import http.server
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Self

from infra import signatures
from infra.aws_request import Request
from infra.emulator import Answer, Emulator, admitted, refusal

log = logging.getLogger(__name__)

CONNECTIONS = 512
"""Above this number, new connections are closed without an answer.

The clients of one hub open 128.
"""
IDLE_SECONDS = 60
"""A connection may wait this long for the next bytes of a request. AWS clients keep idle
connections for 12 seconds."""
PIECE_BYTES = 1024 * 1024

_one_at_a_time = threading.Lock()
"""For the whole process, as parts of moto's state are shared by all emulators."""


class EmbeddedAws:
    """Serves from construction until `close`. The caller creates the tables and buckets."""

    def __init__(self) -> None:
        self.key = signatures.AccessKey.of_environment()
        self._emulator = Emulator()
        self._closed = False
        self._server = _Server(self)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        # `close` waits for at most this interval.
        threading.Thread(
            target=self._server.serve_forever, args=[0.1], name="embedded-aws", daemon=True
        ).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving, and drop all data."""
        self._server.shutdown()
        self._server.server_close()
        with _one_at_a_time:
            self._closed = True
            self._emulator.close()

    def claim(self, head: Request) -> signatures.Claim:
        """The signature of a request that has arrived without its body.

        Raises `signatures.Refused`.
        """
        return signatures.read(head, self.host, self.key, datetime.now(UTC))

    def answer(self, request: Request) -> Answer:
        """Execute a request whose signature was checked."""
        decided = admitted(request)
        if isinstance(decided, Answer):
            return decided
        with _one_at_a_time:
            if self._closed:
                raise ConnectionError("closed")
            return self._emulator.call(decided)


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, aws: EmbeddedAws) -> None:
        self.aws = aws
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Whether one more connection is accepted."""
        return len(self._connections) < CONNECTIONS

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a failure of the server. A client that closed its connection is not logged."""
        if not isinstance(sys.exception(), ConnectionError):
            log.exception("a request to the embedded AWS failed")


class _Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive.

    Each reply is written at once: a second part would wait for the client's ACK.
    """

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    wbufsize = -1

    def handle_expect_100(self) -> bool:
        """Request the body now: botocore waits for this reply for a second."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        self._send(self._answer())

    def _answer(self) -> Answer:
        headers = {name.lower(): value for name, value in self.headers.items()}
        head = Request(self.command, self.path, headers, b"")
        pieces = self._pieces()
        try:
            claim = self.server.aws.claim(head)
            body = _joined(pieces, claim.body_limit_bytes)
            claim.check(body, self.server.aws.key)
        except signatures.Refused as refused:
            # The client writes its whole body before it reads. It would report an earlier answer as
            # a broken connection.
            for _ in pieces:
                continue
            return refusal(head, HTTPStatus.FORBIDDEN, refused.code, str(refused))
        return self.server.aws.answer(head._replace(body=body))

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        bodiless = self.command == "HEAD" or answer.status in (
            HTTPStatus.NO_CONTENT,
            HTTPStatus.NOT_MODIFIED,
        )
        for name, value in answer.headers:
            if bodiless or name.lower() != "content-length":
                self.send_header(name, value)
        if not bodiless:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not bodiless:
            self.wfile.write(answer.body)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _pieces(self) -> Iterator[bytes]:
        """The body in pieces of at most PIECE_BYTES. Raises ConnectionError when it ends early."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        return self._sized(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        size = self._chunk_bytes()
        while size:
            yield from self._sized(size)
            self.rfile.readline()
            size = self._chunk_bytes()
        # Trailers, up to the empty line.
        while self.rfile.readline().strip():
            continue

    def _chunk_bytes(self) -> int:
        return int(self.rfile.readline().partition(b";")[0], 16)

    def _sized(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, PIECE_BYTES))
            if not piece:
                raise ConnectionError("the client left in the middle of a body")
            size -= len(piece)
            yield piece

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the hub logs its own requests."""


def _joined(pieces: Iterator[bytes], limit_bytes: int | None) -> bytes:
    """The whole body. Raises Refused when it is longer than the limit."""
    taken = []
    size_bytes = 0
    for piece in pieces:
        taken.append(piece)
        size_bytes += len(piece)
        if limit_bytes is not None and size_bytes > limit_bytes:
            raise signatures.Refused("AccessDenied", f"A request may have {limit_bytes} bytes")
    return b"".join(taken)
