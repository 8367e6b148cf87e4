"""The image of a hub on one machine, and the compose file, tested without building an image: the
process starts from the copied files alone, and answers its health check.

`make check` lints both files.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import ports
from tests.infra.test_containerfile import ROOT, command, copied, copy_into, lines_of, said

LINES = lines_of("hub.Containerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
HUB: dict[str, Any] = COMPOSE["services"]["hub"]


@pytest.mark.slow
def test_the_hub_starts_from_the_copied_files_and_does_not_log_its_token(tmp_path: Path) -> None:
    inside = copy_into(tmp_path / "image", LINES)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOST": "127.0.0.1",
        "PORT": str(ports.free()),
        "DATA": str(tmp_path / "data"),
    }
    (inside / ".hub").symlink_to(tmp_path / "data")

    def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments, cwd=inside, env=environment, capture_output=True, text=True, check=False
        )

    log = (tmp_path / "log").open("w+")
    with (
        log,
        subprocess.Popen(
            command(said("CMD", LINES)[-1]), cwd=inside, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        health = command(said("HEALTHCHECK", LINES)[0])
        give_up_at = time.monotonic() + 60
        while run(health).returncode:
            assert process.poll() is None and time.monotonic() < give_up_at
            time.sleep(0.1)
        issued = run(["python", "-m", "infra.cli", "token", "issue", "--owner", "me"])
        process.terminate()
        assert process.wait(30) == 0
        log.seek(0)
        assert "eyJ" not in log.read()  # the beginning of each token
    assert issued.returncode == 0 and issued.stdout.count(".") == 2, issued.stderr
    assert run(health).returncode


def test_the_image_is_pinned_locked_and_not_root() -> None:
    (image,) = {line.removesuffix(" AS packages") for line in said("FROM", LINES)}
    assert re.fullmatch(r"docker\.io/library/python:3\.13-slim@sha256:[0-9a-f]{64}", image)
    (install,) = [line for line in said("RUN", LINES) if "pip install" in line]
    options = ("--require-hashes", "--no-deps", "--only-binary :all:")
    assert all(option in install for option in options)
    assert said("USER", LINES) == ["10001:10001"]
    assert said("VOLUME", LINES) == ["/data"]
    assert not said("ARG", LINES) and "PIERIA_" not in "\n".join(LINES)


def test_the_ignore_file_passes_exactly_the_copied_files() -> None:
    ignored = (ROOT / "hub.Containerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if not line.startswith("#")]
    sources = {source.rstrip("/") for found, _ in copied(LINES) for source in found}
    assert rules[0] == "*"
    passed = {line[1:] for line in rules if line.startswith("!")}
    assert passed == sources - {"infra/locks/serve.lock"}  # which is in infra


def test_the_compose_file_keeps_the_data_and_publishes_to_this_machine_only() -> None:
    assert HUB["build"]["dockerfile"] == "hub.Containerfile"
    assert HUB["volumes"] == ["data:/data"] and "data" in COMPOSE["volumes"]
    assert HUB["ports"] == ["127.0.0.1:8000:8000"] and said("EXPOSE", LINES) == ["8000"]
    assert HUB["read_only"] is True and HUB["cap_drop"] == ["ALL"]
    assert HUB["security_opt"] == ["no-new-privileges:true"]


def test_the_page_has_the_commands() -> None:
    text = (ROOT / "docs" / "getting-started.md").read_text()
    assert "docker compose up --detach" in text
    assert "docker compose exec hub pieria token issue --owner me" in text
