"""The whole hub on a laptop: `python -m infra.serve --port 8000 --data .hub`.

One process: the app of all endpoints, on SQLite and files (`infra.sqlite_hub`), or on an AWS in
memory (`infra.emulated_hub`).
"""

# Annotations stay text, so that a Python that is too old reaches the check of its version.
from __future__ import annotations

import argparse
import asyncio
import errno
import json
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra.data_folder import Unable

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PYTHON = (3, 11)
OWNER = "me"
TOKEN_SECONDS = 30 * 24 * 3600
MARK = "-serve"
"""The end of the id of the token that is printed at the start."""
GRACE_SECONDS = 5
"""Time for running requests to end after Ctrl-C."""
OPEN_FILES = 65_536
"""Each connection and each open object needs a file; the usual limit is 1,024, or 256."""

ANOTHER_PORT = "as `make serve PORT=9000` or with --port"
"""The options of both ways to start a hub, since either may be in use."""


READY = """
Once on this machine:

  MUSE_TOKEN={token} muse auth login --hub {url}

In a Muse repository (the first push makes it here, public):

  muse remote add origin {url}/{owner}/song
  muse push origin main

And elsewhere:

  muse clone {url}/{owner}/song

{kept} Ctrl-C stops the hub.

HUB READY url={url} owner={owner} token={token}"""
IN_MEMORY = "Nothing is kept: all data is in memory."


@dataclass(frozen=True)
class Hub:
    """A hub that is ready to serve. `trouble` returns why writes fail, or an empty text."""

    app: ASGIApp
    trouble: Callable[[], str]
    background: Sequence[Callable[[], Coroutine[None, None, None]]]
    data: str
    """The folder of the data, empty if all data is in memory."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit status: 2 with one line on stderr if it
    cannot start."""
    options = _options(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        # While uvicorn serves, it has handlers of its own. It shuts down, and then calls these.
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        _check_python(sys.version_info[:2])
        with _listening(options.host, options.port) as listener:
            _raise_file_limit()
            with _opened(options, _url(listener)) as hub:
                _run(listener, hub, options)
    except Unable as problem:
        print(f"pieria: {problem}", file=sys.stderr)
        return 2
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.serve", description="The whole hub on this machine."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="port, 0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, default=Path(".hub"), help="folder for all data (default: %(default)s)"
    )
    parser.add_argument(
        "--engine",
        choices=["sqlite", "moto"],
        default="sqlite",
        help="sqlite: a database file and a folder of objects; moto: an emulated AWS in memory, for"
        " tests (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the address and the token as one JSON document"
    )
    return parser.parse_args(arguments)


def _check_python(found: tuple[int, ...]) -> None:
    if found < PYTHON:
        raise Unable(
            f"Python 3.11 or newer is needed, this is {found[0]}.{found[1]}: start it with a"
            " newer one"
        )


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise Unable(f"{port} is not a port: choose one from 1024 to 65535, {ANOTHER_PORT}")
    try:
        listener = socket.create_server((host, port), backlog=128)
        # Connections inherit it. asyncio sets it itself only for sockets whose protocol number is
        # TCP's, which is 0 here. Without it, the second part of each answer waits for the client's
        # delayed ACK: 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unable(
                f"port {port} is in use: stop the program that uses it, or choose another,"
                f" {ANOTHER_PORT}"
            ) from None
        reason = f"cannot listen on {host}:{port} ({error.strerror})"
        raise Unable(f"{reason}: choose another --host, or another port, {ANOTHER_PORT}") from None


@contextmanager
def _opened(options: argparse.Namespace, url: str) -> Iterator[Hub]:
    """Open the hub of the chosen engine. Raises Unable."""
    if options.engine == "sqlite":
        from infra import local_upkeep, sqlite_hub

        with sqlite_hub.opened(options.data, url) as engine:
            yield Hub(
                sqlite_hub.app_on(engine),
                engine.trouble,
                [lambda: sqlite_hub.delete_old_uploads(engine.bucket), local_upkeep.every_hour],
                str(options.data),
            )
        return
    from infra import emulated_hub, stack

    try:
        with emulated_hub.opened():
            # Late: the settings are read once, and must find the environment above.
            from infra.app import app

            yield Hub(app, lambda: "", [], "")
    except stack.Unreadable as error:
        raise Unable(str(error)) from None


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        wanted = OPEN_FILES
    else:
        wanted = min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(listener: socket.socket, hub: Hub, options: argparse.Namespace) -> None:
    # Late: the settings are read once, and must find the environment above.
    import uvicorn

    from infra.local import Local
    from shared.connection import Connection
    from shared.engines import selection

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            now = time.time()
            opened = await selection.stores()
            await opened.repos.complete_listing()
            owner, token = await _token(now)
            await super().startup(sockets)
            ready = {"url": _url(listener), "owner": owner, "token": token, "data": hub.data}
            if hub.data:
                kept = f"Everything is kept in {hub.data}."
            else:
                kept = IN_MEMORY
            print(
                json.dumps(ready) if options.json else READY.format(**ready, kept=kept), flush=True
            )

    config = uvicorn.Config(
        Local(hub.app, options.host, hub.trouble),
        loop="asyncio",
        http=Connection,
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )

    async def serve() -> None:
        background = [asyncio.create_task(work()) for work in hub.background]
        try:
            await Server(config).serve([listener])
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await selection.close()

    asyncio.run(serve())


async def _token(now: float) -> tuple[str, str]:
    """The user of the printed token, and the token. Like any other token, it is listed and can be
    revoked.

    A start extends the token of the start before, unless it has expired or was revoked, so that
    there is one row of it.
    """
    from shared.actions import tokens
    from shared.engines.selection import stores
    from shared.metadata.tokens import new_id
    from shared.model import Identity, Role

    opened = await stores()
    owner = await opened.handles.spelling(OWNER)
    until = int(now) + TOKEN_SECONDS
    for issued in await opened.tokens.all(owner):
        is_ours = issued.identity.token_id.endswith(MARK)
        if is_ours and await opened.tokens.prolong(replace(issued, expires_at=until), int(now)):
            return owner, await tokens.sign(opened, issued.identity, TOKEN_SECONDS, now)
    identity = Identity(owner, Role.ADMIN, new_id(now) + MARK)
    _, token = await tokens.issue(opened, identity, TOKEN_SECONDS, now)
    return owner, token


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
