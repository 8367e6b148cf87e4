"""The Containerfile, tested without building a container: the copied files exist, it has no secret, and
its command runs.

`make check` lints the file.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgpack
import pytest

from infra import ports
from tests import builders
from tests import client as hub

ROOT = Path(__file__).parent.parent.parent


def lines_of(name: str) -> list[str]:
    """The instructions of a Containerfile, one a line."""
    return re.sub(r"\\\n\s*", "", (ROOT / name).read_text()).splitlines()


LINES = lines_of("Containerfile")


def said(instruction: str, lines: Sequence[str] = LINES) -> list[str]:
    """The arguments of each use of an instruction."""
    return [
        line.removeprefix(f"{instruction} ") for line in lines if line.startswith(f"{instruction} ")
    ]


def copied(lines: Sequence[str] = LINES) -> list[tuple[list[str], str]]:
    """The files that are copied from here, and their place in the image."""
    found = []
    for line in said("COPY", lines):
        parts = line.split()
        if not parts[0].startswith("--from"):
            found.append((parts[:-1], parts[-1]))
    return found


def command(line: str) -> list[str]:
    """A command in exec form."""
    words: list[str] = json.loads(line[line.index("[") :])
    return words


def copy_into(root: Path, lines: Sequence[str]) -> Path:
    """Copy the files of an image. Returns the folder in which its process starts."""
    (workdir,) = said("WORKDIR", lines)
    for sources, target in copied(lines):
        folder = root.joinpath("." + (target if target.startswith("/") else f"{workdir}/{target}"))
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, folder, dirs_exist_ok=True, ignore=ignored)
            else:
                shutil.copy(ROOT / source, folder)
    return root / workdir.lstrip("/")


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the process starts in."""
    return copy_into(tmp_path_factory.mktemp("container"), LINES)


@contextmanager
def started(inside: Path) -> Iterator[dict[str, str]]:
    """The container's process with the environment of a hub, on a free port; the environment of its
    health check.
    """
    settings = {
        name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PIERIA_"))
    }
    environment = settings | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "UVICORN_HOST": "127.0.0.1",
        "UVICORN_PORT": str(ports.free()),
    }
    process = subprocess.Popen(command(said("CMD")[0]), cwd=inside, env=environment)
    try:
        yield environment
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15)


def is_healthy(environment: dict[str, str]) -> bool:
    check = command(said("HEALTHCHECK")[0])
    return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0


def test_the_process_serves_the_whole_hub_and_its_health_check_sees_that(aws, inside, owner):
    with started(inside) as environment:
        give_up_at = time.monotonic() + 60
        while not is_healthy(environment):
            assert time.monotonic() < give_up_at
            time.sleep(0.1)
        url = f"http://127.0.0.1:{environment['UVICORN_PORT']}/{owner}/song"
        # Larger than a request of Lambda: the container is for such requests.
        sent = [builders.blob(bytes([number]) * 900_000) for number in range(8)]
        headers = {
            "authorization": f"Bearer {hub.token(owner)}",
            "content-type": hub.MSGPACK,
            "accept": hub.MSGPACK,
        }
        answer = httpx.post(
            f"{url}/push/objects", content=msgpack.packb({"objects": sent}), headers=headers
        )
        assert (answer.status_code, msgpack.unpackb(answer.content)) == (
            200,
            {"stored": 8, "skipped": 0},
        )
        assert "server" not in answer.headers
    assert not is_healthy(environment)


def test_a_client_cannot_state_an_address_for_its_requests(aws, inside, owner, monkeypatch):
    monkeypatch.setenv("PIERIA_LIMIT_READ", "2")
    with started(inside) as environment:
        give_up_at = time.monotonic() + 60
        while not is_healthy(environment):
            assert time.monotonic() < give_up_at
            time.sleep(0.1)
        url = f"http://127.0.0.1:{environment['UVICORN_PORT']}/{owner}/song/refs"
        answers = [
            httpx.get(url, headers={"x-forwarded-for": f"10.0.0.{number}"}) for number in range(6)
        ]
    assert 429 in [answer.status_code for answer in answers]


def test_every_server_has_the_limits_of_slow_clients():
    """test_slow_clients.py tests these limits."""
    (container,) = said("CMD")
    function = (ROOT / "run.sh").read_text()
    for text in (container.replace('", "', " "), function):
        assert "--http shared.connection:Connection" in text and "--no-proxy-headers" in text


def test_the_ignore_file_lets_exactly_the_copied_files_through():
    ignored = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    sources = {source.rstrip("/") for found, _ in copied() for source in found}
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)


def test_it_runs_as_a_user_that_is_not_root():
    assert [line.partition(":")[0] for line in said("USER")] == ["10001"]
    assert LINES.index(f"USER {said('USER')[0]}") > max(
        LINES.index(f"RUN {line}") for line in said("RUN")
    )


def test_it_has_no_settings_of_ours_and_no_credentials():
    assert re.findall(r"PIERIA_\w+|AWS_\w+", "\n".join(LINES)) == []
    assert not said("ARG")


def test_every_package_in_it_is_locked_by_its_digest():
    (install,) = [line for line in said("RUN") if "pip install" in line]
    assert all(
        option in install for option in ("--require-hashes", "--no-deps", "--only-binary :all:")
    )
    images = {line.removesuffix(" AS packages") for line in said("FROM")}
    assert images == {"docker.io/library/python:3.13-slim"}
