"""The whole hub on a laptop: `python -m infra.serve --port 8000 --data .hub`.

One process: the app of all endpoints, on an embedded AWS. Each write is in the journal in the data
folder before it is acknowledged, so no kind of stop loses data. The folder contains `journal`,
`lock` and `signing-keys.json`. While the hub runs, `hub.json` has its address, and the command line
reaches its data through it.
"""

# Annotations stay text, so that a Python that is too old reaches the check of its version.
from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from infra.embedded_aws import EmbeddedAws

PYTHON = (3, 11)
OWNER = "me"
TOKEN_SECONDS = 30 * 24 * 3600
MARK = "-serve"
"""The end of the id of the token that is printed at the start."""
SECRET_BYTES = 32
"""The minimum for HS256 (RFC 7518, 3.2)."""
ACCESS_KEY_BYTES = 16
GRACE_SECONDS = 5
"""Time for running requests to end after Ctrl-C."""
OPEN_FILES = 65_536
"""moto keeps a file open for each object above 5 MiB; the usual limit is 1,024, or 256."""

NAMES = {"HubTable": "pieria-hub", "CounterTable": "pieria-counters", "Bucket": "pieria"}
"""Logical id in template.yaml → name here. The journal contains the names: with other names its
data is not found."""

ANOTHER_PORT = "as `make serve PORT=9000` or with --port"
ANOTHER_FOLDER = "as `make serve DATA=FOLDER` or with --data"
"""The options of both ways to start a hub, since either may be in use."""

RUNNING = "hub.json"
KEYS = "signing-keys.json"

READY = """
Once on this machine:

  MUSE_TOKEN={token} muse auth login --hub {url}

In a Muse repository (the first push makes it here, public):

  muse remote add origin {url}/{owner}/song
  muse push origin main

And elsewhere:

  muse clone {url}/{owner}/song

Everything is kept in {data}. Ctrl-C stops the hub.

HUB READY url={url} owner={owner} token={token}"""


class Unable(Exception):
    """The hub cannot start. The message is one line with the next step."""


class InUse(Unable):
    """Another process uses the folder."""


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
            _serve(listener, options)
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
        choices=["moto", "sqlite"],
        default="moto",
        help="moto: an emulated AWS with a journal; sqlite: a database file and a folder of"
        " objects (default: %(default)s)",
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


def _serve(listener: socket.socket, options: argparse.Namespace) -> None:
    if options.engine == "sqlite":
        from infra import sqlite_hub

        with sqlite_hub.opened(options.data) as (engine, _):
            app = sqlite_hub.app_on(engine)
            _run_app(listener, app, engine.database.probe, options)
        return
    if (options.data / "hub.sqlite").exists():
        raise Unable(f"{options.data} is a hub of the SQLite engine: add --engine sqlite")
    with opened(options.data) as (aws, _), _noted(options.data, _url(listener), aws.url):
        # Late: the settings are read once, and must find the environment above.
        from infra.app import app

        _run_app(listener, app, aws.trouble, options)


@contextmanager
def opened(data: Path) -> Iterator[tuple[EmbeddedAws, Mapping[str, str]]]:
    """The embedded AWS with the data of the folder, and the keys that sign tokens.

    The environment of this process points to it from then on. Raises Unable, or InUse.
    """
    forget_users_aws()
    # Late: moto opens a boto3 session on import, and must not find the user's.
    from infra import stack
    from infra.embedded_aws import EmbeddedAws
    from infra.journal import Journal, JournalError, JournalInUse

    _raise_file_limit()
    with ExitStack() as closing:
        try:
            journal = closing.enter_context(Journal(data))
            # This process has the lock, so the file is left over from a hub that was killed.
            (data / RUNNING).unlink(missing_ok=True)
            keys = signing_keys(data)
            aws = closing.enter_context(EmbeddedAws())
            set_environment(aws.url, keys)
            stack.create(aws.url, NAMES)
            aws.keep(journal, unkept_tables=[NAMES["CounterTable"]])
        except JournalInUse as error:
            raise InUse(str(error)) from None
        except (JournalError, stack.Unreadable) as error:
            raise Unable(str(error)) from None
        except OSError as error:
            raise Unable(
                f"cannot use {data} ({error}): choose another folder, {ANOTHER_FOLDER}"
            ) from None
        yield aws, keys


@contextmanager
def _noted(data: Path, url: str, aws_url: str) -> Iterator[None]:
    """Write `hub.json` with the address of the hub and the access key of its AWS, and delete it at
    the end."""
    path = data / RUNNING
    note = {
        "pid": os.getpid(),
        "url": url,
        "aws_endpoint_url": aws_url,
        "access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "region": os.environ["AWS_DEFAULT_REGION"],
        "hub_table": NAMES["HubTable"],
        "counter_table": NAMES["CounterTable"],
        "bucket": NAMES["Bucket"],
        "signing_keys": KEYS,
    }
    try:
        _write_private(path, json.dumps(note, indent=2) + "\n")
    except OSError as error:
        raise Unable(f"cannot write {path} ({error.strerror}): free some disk space") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def signing_keys(data: Path) -> dict[str, str]:
    """The keys in the data folder: key id → secret, oldest first. The first start makes one."""
    path = data / KEYS
    if not path.exists():
        _write_private(path, json.dumps({"local": secrets.token_hex(SECRET_BYTES)}) + "\n")
    try:
        keys = json.loads(path.read_text())
    except ValueError:
        keys = None
    if not (
        isinstance(keys, dict) and keys and all(_is_secret(secret) for secret in keys.values())
    ):
        raise Unable(
            f"{path} is not a JSON object of signing keys: correct it, or remove it and log in"
            " again"
        )
    return keys


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and len(value) >= SECRET_BYTES


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read.

    After a crash it is complete, or it does not exist.
    """
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def forget_users_aws() -> None:
    """Remove the user's AWS settings from the environment, and set a new access key.

    A profile, or an endpoint for S3 alone, would point to the user's real account. A proxy would
    get requests to 127.0.0.1.
    """
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_DEFAULT_REGION="us-east-1",
        # The embedded AWS refuses every other key: another user of the machine can connect to its
        # port, too.
        AWS_ACCESS_KEY_ID=secrets.token_hex(ACCESS_KEY_BYTES),
        AWS_SECRET_ACCESS_KEY=secrets.token_hex(SECRET_BYTES),
    )


def set_environment(aws_url: str, keys: Mapping[str, str]) -> None:
    """Set the variables that `shared.settings` reads, and the endpoint that botocore uses."""
    os.environ.pop("PIERIA_SIGNING_KEYS_PARAMETER", None)  # for AWS only
    os.environ.update(
        AWS_ENDPOINT_URL=aws_url,
        PIERIA_HUB_TABLE=NAMES["HubTable"],
        PIERIA_COUNTER_TABLE=NAMES["CounterTable"],
        PIERIA_BUCKET=NAMES["Bucket"],
        PIERIA_SIGNING_KEYS=json.dumps(dict(keys)),
        PIERIA_PUSH_TO_CREATE="on",
        # Requests cost nothing on this machine.
        PIERIA_LIMIT_COST_SUBJECT="0",
        PIERIA_LIMIT_COST_OWNER="0",
        PIERIA_LIMIT_COST_HUB="0",
    )


def _run_app(
    listener: socket.socket,
    app: ASGIApp,
    trouble: Callable[[], str],
    options: argparse.Namespace,
) -> None:
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
            ready = {"url": _url(listener), "owner": owner, "token": token}
            ready["data"] = str(options.data)
            text = json.dumps(ready) if options.json else READY.format_map(ready)
            print(text, flush=True)

    config = uvicorn.Config(
        Local(app, options.host, trouble),
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
        try:
            await Server(config).serve([listener])
        finally:
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
