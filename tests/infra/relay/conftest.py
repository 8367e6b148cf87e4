"""A hub with Lambda's limits, and relays in front of it, each in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
LAMBDA_BYTES = 4_690_000
"""What Lambda takes and sends of a binary body."""
_numbers = count()
READY = re.compile(r"(?:HUB|RELAY) READY url=(\S+)(?: owner=me token=(\S+))?")


@dataclass
class Program:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    token: str
    stderr: Path

    def said(self) -> str:
        """All lines on stderr so far."""
        return self.stderr.read_text()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def environment(home: Path, **variables: str) -> dict[str, str]:
    """An environment without the settings of other tests, and with a home folder of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PIERIA_"))
    }
    return kept | {"HOME": str(home), **variables}


def start(closing: ExitStack, folder: Path, arguments: list[str], **variables: str) -> Program:
    """Run a module of `infra` until its line for scripts. It is killed at the end."""
    stderr = folder / f"stderr-{arguments[0]}-{len(list(folder.iterdir()))}"
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(folder, **variables),
        stdout=subprocess.PIPE,
        stderr=closing.enter_context(stderr.open("w")),
        text=True,
    )
    assert process.stdout
    closing.callback(process.stdout.close)
    closing.callback(process.wait)
    closing.callback(process.kill)
    ready = next((found for line in process.stdout if (found := READY.match(line))), None)
    assert ready, stderr.read_text()
    return Program(process, ready[1], ready[2] or "", stderr)


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A hub whose requests and replies have at most the size that Lambda allows."""
    folder = tmp_path_factory.mktemp("hub")
    with ExitStack() as closing:
        yield start(
            closing,
            folder,
            ["infra.serve", "--port", "0", "--data", str(folder / "data")],
            PIERIA_MAX_BODY_BYTES=str(LAMBDA_BYTES),
            PIERIA_MAX_REPLY_BYTES=str(LAMBDA_BYTES),
            PIERIA_LIMIT_PUSH="10000",
            PIERIA_LIMIT_READ="10000",
            PIERIA_LIMIT_FETCH="10000",
        )


Connect = Callable[..., Program]


@pytest.fixture
def connect(hub: Program, tmp_path: Path) -> Iterator[Connect]:
    """Starts relays in front of the hub, or of another URL."""
    with ExitStack() as closing:

        def connected(url: str = hub.url, **variables: str) -> Program:
            return start(
                closing, tmp_path, ["infra.cli", "connect", url, "--port", "0"], **variables
            )

        yield connected


@pytest.fixture(scope="package")
def relay(hub: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A relay without a token, for all tests."""
    with ExitStack() as closing:
        yield start(
            closing,
            tmp_path_factory.mktemp("relay"),
            ["infra.cli", "connect", hub.url, "--port", "0"],
        )


@pytest.fixture
def repository() -> str:
    """The path of a repository that no other test uses."""
    return f"/me/repository-{next(_numbers)}"
