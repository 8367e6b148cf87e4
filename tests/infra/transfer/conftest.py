"""A hub in a process of its own, and commands in front of it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
from typer.testing import CliRunner

from infra.cli import app
from tests.infra.relay.conftest import Program, start

MSGPACK = "application/x-msgpack"
_numbers = count()


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A hub with its data in a folder. It accepts any number of pushes."""
    folder = tmp_path_factory.mktemp("hub")
    arguments = ["infra.serve", "--port", "0", "--data", str(folder / "data")]
    with ExitStack() as closing:
        yield start(closing, folder, arguments, PIERIA_LIMIT_PUSH="100000")


@pytest.fixture
def repository() -> str:
    """The path of a new repository."""
    return f"/me/song-{next(_numbers)}"


@pytest.fixture(autouse=True)
def token(hub: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token of the hub's owner, for commands."""
    monkeypatch.setenv("PIERIA_TOKEN", hub.token)


def pieria(*arguments: str | Path, status: int = 0) -> Any:
    """The document that a command prints."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == status, result.stderr
    return json.loads(result.stdout)


def refused(*arguments: str | Path) -> str:
    """The line with which a command fails."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    return str(result.stderr.splitlines()[-1])


def fetched(hub: Program, repository: str) -> Any:
    """The branches of a repository, and its commits, snapshots and objects by id."""
    headers = {"Authorization": f"Bearer {hub.token}", "Accept": MSGPACK}
    heads = httpx.get(f"{hub.url}{repository}/refs", headers=headers)
    branches = msgpack.unpackb(heads.content)["branch_heads"]
    reply = httpx.post(
        f"{hub.url}{repository}/fetch",
        headers={**headers, "Content-Type": MSGPACK},
        content=msgpack.packb({"want": list(branches.values()), "have": []}),
    )
    assert reply.status_code == 200, reply.text
    found = msgpack.unpackb(reply.content)
    return {
        "heads": branches,
        "commits": {one["commit_id"]: one for one in found["commits"]},
        "snapshots": {one["snapshot_id"]: one["manifest"] for one in found["snapshots"]},
        "objects": {one["object_id"]: one["content"] for one in found["objects"]},
    }


def git(folder: Path, *arguments: str, given: bytes = b"") -> str:
    """The output of a command of Git."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout.decode()
