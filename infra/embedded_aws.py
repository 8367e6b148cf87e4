"""An AWS in this process, for a laptop and for tests: DynamoDB, S3 and SSM's parameters at `http://127.0.0.1:<port>`.

    with EmbeddedAws() as aws:
        boto3.client("dynamodb", endpoint_url=aws.url)

Any credentials do, requests without a signature are refused. S3 by path (`/bucket/key`), not by host name.
Requests are carried out one at a time: moto under threads lets two callers win one conditional write.
"""

import http.server
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Self

from infra.emulator import Answer, Effect, Emulator, admitted, effect, refusal, written_table
from infra.journal import Journal, JournalError, Request

log = logging.getLogger(__name__)

COMPACT_ABOVE = 2000
"""A journal of fewer requests is not worth rewriting: it is replayed in a few seconds."""

_one_at_a_time = threading.Lock()
"""For the whole process, as parts of moto's state are shared by all emulators."""


class EmbeddedAws:
    """Serves from construction until `close`. The tables and buckets are for the caller to make."""

    def __init__(self) -> None:
        self._emulator = Emulator()
        self._closed = False
        self._journal: Journal | None = None
        self._unkept: frozenset[str] = frozenset()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        # The interval is how long `close` may have to wait.
        threading.Thread(target=self._server.serve_forever, args=[0.1], name="embedded-aws", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and forget everything."""
        self._server.shutdown()
        self._server.server_close()
        with _one_at_a_time:
            self._closed = True
            self._emulator.close()

    def keep(self, journal: Journal, *, unkept_tables: Iterable[str]) -> None:
        """Restore what the journal holds, and from now on answer a write only once the journal has it on disk.

        For after the tables and buckets are made, from the same template as before: the journal holds contents,
        not structure, and from now on requests that change structure are refused. Rows of `unkept_tables` are
        neither kept nor restored. Raises JournalError when a request that succeeded once does not again.
        """
        self._unkept = frozenset(unkept_tables)
        with _one_at_a_time:
            for number, request in enumerate(journal, 1):
                answer = self._emulator.repeat(request)
                if not answer.ok:
                    raise JournalError(
                        f"request {number} of the journal ({request.method} {request.target}) cannot be repeated: "
                        f"{answer.status} {answer.body[:200].decode(errors='replace')}"
                    )
            needed = self._emulator.contents_requests(self._unkept)
            if journal.requests > max(COMPACT_ABOVE, 2 * needed):
                journal.rewrite(self._emulator.contents(self._unkept))
            self._journal = journal

    def answer(self, request: Request) -> Answer:
        """Carry out a request as it arrived."""
        decided = admitted(request, datetime.now(UTC))
        if isinstance(decided, Answer):
            return decided
        journal, does = self._journal, effect(decided)
        if journal is None:
            with self._turn():
                return self._emulator.call(decided)
        if does is Effect.STRUCTURE:
            return refusal(decided, 501, "NotImplemented", "This AWS keeps only rows and objects: edit the template")
        try:
            with self._turn():
                answer = self._emulator.call(decided)
                if does is Effect.CONTENTS and answer.ok and written_table(decided) not in self._unkept:
                    journal.append(self._emulator.repeatable(decided))
                position = journal.end
            # Reads wait as well: no answer may show what a power cut could still take back.
            journal.sync(position)
        except JournalError as error:
            return refusal(decided, 500, "InternalError", str(error))
        return answer

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with _one_at_a_time:
            if self._closed:
                # The journal may be closed by now, and its file descriptor another file's.
                raise ConnectionError("closed")
            yield


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, aws: EmbeddedAws) -> None:
        self.aws = aws
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

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
        """Log what went wrong in here. A client that went away is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            log.exception("a request to the embedded AWS failed")


class _Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive. Each answer leaves in one piece: two would wait for each other's ACK."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle_expect_100(self) -> bool:
        """Ask for the body now: botocore waits a second for it."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.aws.answer(Request(self.command, self.path, headers, self._body()))
        self.send_response_only(answer.status)
        bodiless = self.command == "HEAD" or answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        for name, value in answer.headers:
            if bodiless or name.lower() != "content-length":
                self.send_header(name, value)
        if not bodiless:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not bodiless:
            self.wfile.write(answer.body)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        size = int(self.headers.get("Content-Length", 0))
        return self._read(size)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().partition(b";")[0], 16)
        chunk = self._read(size)
        if size:
            self.rfile.readline()
        else:
            # Trailers, up to the empty line.
            while self.rfile.readline().strip():
                pass
        return chunk

    def _read(self, size: int) -> bytes:
        found = self.rfile.read(size)
        if len(found) < size:
            raise ConnectionError("the client left in the middle of a body")
        return found

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the hub logs what is asked of it."""
