"""ministack (all services that the hub uses) and dynalite (DynamoDB only), each on a free port of
127.0.0.1.

    with servers.ministack(folder) as url:
        boto3.client("dynamodb", endpoint_url=url)

A server and its children are killed at the end of the block, or when the process that started it
ends, also by `kill -9`. Tests in tests/contracts mark the faults of each server.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trustme

from infra import ports, tools

READY_SECONDS = 60
_LOCK = Path(__file__).parent.parent / "locks" / "dynalite"

# The shell's stdin is a pipe from this process: it ends when this process ends, for any reason.
_LEASHED = '{ "$@" </dev/null; kill -9 0; } & cat; kill -9 0'


class DidNotStart(Exception):
    """A server ended, or was not ready in time. The message is the end of its log."""


@contextmanager
def ministack(folder: Path, *, trust: Path | None = None) -> Iterator[str]:
    """A ministack that enforces policies, with its files in `folder`. Yields its URL.

    With `trust` it uses TLS, and writes the certificate to trust to this file.
    """
    port = ports.free()
    url = f"{'https' if trust else 'http'}://127.0.0.1:{port}"
    scratch = [folder / name for name in ("tmp", "state", "s3")]
    for path in scratch:
        path.mkdir(parents=True, exist_ok=True)
    environment = {
        "BIND_HOST": "127.0.0.1",  # the default is every interface
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "AUTH": "true",
        "TMPDIR": str(folder / "tmp"),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        # ministack passes only this endpoint to functions with a runtime of their own.
        "AWS_ENDPOINT_URL": url,
        **(_tls(folder, trust) if trust else {}),
    }
    try:
        with _running(
            [str(tools.environment("ministack") / "ministack")], folder, environment, port
        ):
            yield url
    finally:
        for path in scratch:  # only its log stays
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def dynalite(data: Path) -> Iterator[str]:
    """A dynalite that keeps its rows in `data`.

    Yields its URL. Raises FileNotFoundError without Node.
    """
    script = _dynalite_environment() / "node_modules" / "dynalite" / "cli.js"
    port = ports.free()
    url = f"http://127.0.0.1:{port}"
    data.mkdir(parents=True, exist_ok=True)
    command = [
        "node",
        str(script),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--path",
        str(data / "rows"),
    ]
    with _running([*command, "--createTableMs", "0"], data, {}, port):
        yield url


def has_node() -> bool:
    """Whether this machine can run dynalite."""
    return all(map(shutil.which, ("node", "npm")))


@contextmanager
def _running(
    command: Sequence[str], folder: Path, environment: dict[str, str], port: int
) -> Iterator[None]:
    log = folder / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["sh", "-c", _LEASHED, "sh", *command],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,  # closes its stdin, and waits
    ):
        if not ports.is_ready(process, port, within_seconds=READY_SECONDS):
            raise DidNotStart(log.read_text(errors="replace")[-2000:])
        yield


def _tls(folder: Path, trust: Path) -> dict[str, str]:
    """The variables for a server with its own certificate, and for clients in it that trust it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    files = {
        "MINISTACK_SSL_CERT": folder / "certificate.pem",
        "MINISTACK_SSL_KEY": folder / "key.pem",
    }
    authority.cert_pem.write_to_path(str(trust))
    certificate.private_key_pem.write_to_path(str(files["MINISTACK_SSL_KEY"]))
    files["MINISTACK_SSL_CERT"].write_bytes(
        b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    )
    return {
        "USE_SSL": "1",
        "AWS_CA_BUNDLE": str(trust),
        **{name: str(path) for name, path in files.items()},
    }


def _dynalite_environment() -> Path:
    """Install `.tools/dynalite` from its lock, if it is not installed or the lock has changed."""
    if not has_node():
        raise FileNotFoundError("dynalite needs node and npm")
    folder = tools.TOOLS / "dynalite"
    wanted = {name: (_LOCK / name).read_text() for name in ("package.json", "package-lock.json")}
    installed = folder / "installed.json"
    if not installed.exists() or json.loads(installed.read_text()) != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, text in wanted.items():
            (folder / name).write_text(text)
        # Without scripts: its only native part is delivered compiled.
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        subprocess.run(npm, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        installed.write_text(json.dumps(wanted))
    return folder
