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
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

LIMITS = ("PIERIA_LIMIT_PUSH", "PIERIA_LIMIT_FETCH", "PIERIA_LIMIT_READ", "PIERIA_LIMIT_UPLOAD")
NO_LIMIT = "1000000000"
STOP_SECONDS = 10
REQUEST_SECONDS = 30
SCOPE = "pieria_hub_scope"


class HubError(Exception):
    """A process did not start, or the hub refused a request. The message has the output."""


class PieriaUser:
    """A user of a hub.

    `url` is the address of the hub, without a slash at the end. `owner` is the handle of the user.
    `token` is a token of the user that may do everything that the user may do.
    """

    url: str
    owner: str
    token: str

    def __init__(self, url: str, owner: str, token: str) -> None:
        self.url = url
        self.owner = owner
        self.token = token
        self._numbers = itertools.count(1)

    def create_repo(self, slug: str = "", visibility: str = "public") -> str:
        """Create an empty repository of this user, and return its URL. Raises HubError.

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


class PieriaHub(PieriaUser):
    """A hub in a process of its own, without limits of requests, and its first user.

    The data is in `folder`, or in the emulated AWS of the variables `aws`.
    """

    def __init__(self, folder: Path, aws: dict[str, str] | None = None) -> None:
        self._environment = _own_environment() | dict.fromkeys(LIMITS, NO_LIMIT) | (aws or {})
        self._folder = folder
        self._data = None if aws else folder / "data"
        self._process, ready = self._started(port=0)
        super().__init__(ready["url"], ready["owner"], ready["token"])

    def as_user(self, handle: str) -> PieriaUser:
        """Return another user of this hub, with a new token. Raises HubError."""
        command = [sys.executable, "-m", "pieria", "token", "issue", "--json"]
        command += ["--owner", handle, "--scope", "admin"]
        if self._data:
            command += ["--data", str(self._data)]
        ended = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True
        )
        if ended.returncode:
            raise HubError(f"there is no token for {handle!r}: {ended.stderr}")
        issued = json.loads(ended.stdout)
        return PieriaUser(self.url, issued["handle"], issued["token"])

    def restart(self) -> None:
        """Stop the hub, and start it again at the same address with the same data."""
        self.stop()
        self._process, ready = self._started(urlsplit(self.url).port or 0)
        self.token = ready["token"]

    def stop(self) -> None:
        """End the process of the hub."""
        self._process.terminate()
        _wait(self._process)

    def _started(self, port: int) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Start the process. Return it when it is ready, with what it printed. Raises HubError."""
        command = ["pieria", "serve", "--json", "--port", str(port)]
        if self._data:
            command += ["--data", str(self._data)]
        else:
            command += ["--engine", "moto"]
        return _ready(command, self._folder, self._environment)


def _own_environment() -> dict[str, str]:
    """The environment without variables that lead to another hub, another AWS or a proxy."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PIERIA_")) and not name.lower().endswith("_proxy")
    }


def _ready(
    command: list[str], folder: Path, environment: dict[str, str]
) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start `python -m COMMAND`, and wait for the JSON line that it prints. Raises HubError."""
    log = folder / f"{command[0]}.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout  # noqa: S101 (it is a pipe)
    line = process.stdout.readline()
    if not line:
        _wait(process)
        raise HubError(f"{command[0]} did not start: {log.read_text()}")
    return process, json.loads(line)


def _wait(process: subprocess.Popen[str]) -> None:
    """Close the pipes, and wait for the end of a process that is about to end. Then kill it."""
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting for the scope of the hubs."""
    parser.addini(
        SCOPE, "session: all tests share a hub; function: one for each", default="session"
    )


def _scope(fixture_name: str, config: pytest.Config) -> Literal["session", "function"]:
    """The scope of both fixtures."""
    scope: Literal["session", "function"] = config.getini(SCOPE)
    return scope


@pytest.fixture(scope=_scope)
def pieria_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PieriaHub]:
    """A hub on SQLite and files."""
    hub = PieriaHub(tmp_path_factory.mktemp("pieria"))
    yield hub
    hub.stop()


@pytest.fixture(scope=_scope)
def pieria_hub_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PieriaHub]:
    """A hub on DynamoDB and S3, which moto emulates in another process. Needs the extra `aws`."""
    folder = tmp_path_factory.mktemp("pieria-aws")
    process, aws = _ready(["pieria.emulated_aws"], folder, _own_environment())
    try:
        hub = PieriaHub(folder, aws)
        yield hub
        hub.stop()
    finally:
        _wait(process)  # it ends when its stdin is closed
