"""The pytest plugin of an installation: a hub for the tests of a client.

It imports no other module of pieria, so the process of the tests does not load the hub.
"""

import http.client
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

LIMITS = ("PIERIA_LIMIT_PUSH", "PIERIA_LIMIT_FETCH", "PIERIA_LIMIT_READ", "PIERIA_LIMIT_UPLOAD")
NO_LIMIT = "1000000000"
STOP_SECONDS = 10
REQUEST_SECONDS = 30


class HubError(Exception):
    """The hub did not start, or refused a request. The message has its output or its reply."""


class PieriaHub:
    """A hub in a process of its own, on SQLite and files, without limits of requests.

    `url` is its address, without a slash at the end. `owner` is the handle of a user, and `token`
    is a token of this user that may write. The data is in `folder`.
    """

    url: str
    owner: str
    token: str

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._start(port=0)

    def create_repo(self, slug: str = "", visibility: str = "public") -> str:
        """Create an empty repository of the owner, and return its URL. Raises HubError.

        Without a slug, its name is a new one.
        """
        slug = slug or f"repo-{next(self._numbers)}"
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.netloc, timeout=REQUEST_SECONDS)
        try:
            connection.request(
                "POST",
                "/api/v1/repos",
                json.dumps({"slug": slug, "visibility": visibility}),
                {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            )
            reply = connection.getresponse()
            text = reply.read().decode()
        finally:
            connection.close()
        if reply.status != http.client.CREATED:
            raise HubError(f"the repository {slug!r} was not created: {reply.status} {text}")
        return f"{self.url}/{self.owner}/{slug}"

    def restart(self) -> None:
        """Stop the hub, and start it again at the same address with the same data."""
        port = urlsplit(self.url).port or 0
        self.stop()
        self._start(port)

    def stop(self) -> None:
        """End the process of the hub."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _start(self, port: int) -> None:
        """Start the process, and wait until it is ready. Raises HubError."""
        log = self._folder / "hub.log"
        command = [sys.executable, "-m", "pieria", "serve", "--json"]
        command += ["--port", str(port), "--data", str(self._folder / "data")]
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=os.environ | dict.fromkeys(LIMITS, NO_LIMIT),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout  # noqa: S101 (it is a pipe)
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise HubError(f"the hub did not start: {log.read_text()}")
        ready = json.loads(line)
        self.url, self.owner, self.token = ready["url"], ready["owner"], ready["token"]


@pytest.fixture(scope="session")
def pieria_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PieriaHub]:
    """A hub that all tests of the session share."""
    hub = PieriaHub(tmp_path_factory.mktemp("pieria"))
    yield hub
    hub.stop()
