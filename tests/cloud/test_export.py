"""A repository moves from the deployed stack to a hub on this machine and back, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from infra import sqlite_hub
from infra.cloud import deployment
from shared import settings
from tests.builders import graph
from tests.cloud.test_hub import accepted, post

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.cloud


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The folder of a hub on this machine that does not run."""
    before = dict(os.environ)
    with sqlite_hub.opened(tmp_path / "hub", "http://127.0.0.1:1"):
        pass
    os.environ.clear()
    os.environ.update(before)
    settings.load.cache_clear()
    return tmp_path / "hub"


def test_a_repository_moves_out_of_the_cloud_and_back_byte_for_byte(
    hub: httpx.Client, stack: deployment.Stack, owner: str, local: Path, tmp_path: Path
) -> None:
    environment = os.environ | {
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_CA_BUNDLE": str(stack.trust),
        "SSL_CERT_FILE": str(stack.trust),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": deployment.REGION,
        "PIERIA_HUB_TABLE": stack.outputs["HubTable"],
        "PIERIA_COUNTER_TABLE": stack.outputs["CounterTable"],
        "PIERIA_BUCKET": stack.outputs["Bucket"],
    }

    def pieria(*arguments: str | Path) -> None:
        command = [sys.executable, "-m", "infra.cli", *map(str, arguments)]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr

    history = graph("1; 2:1; 3:1; 4:2,3", salt=owner)
    bundle = {"branch": "main", "bundle": history.bundle()}
    accepted(post(hub, f"/{owner}/song/push", bundle, by=owner))
    song = f"{owner}/song"
    files = [tmp_path / f"{number}.export" for number in range(3)]
    pieria("export", song, files[0])
    pieria("import", files[0], "--data", local)
    pieria("export", song, files[1], "--data", local)
    pieria("repo", "delete", song, "--yes")
    pieria("import", files[1])
    pieria("export", song, files[2])
    pieria("fsck", song)
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()
    reply = accepted(post(hub, f"/{owner}/song/fetch", {"want": [history[4]], "have": []}))
    assert len(reply["commits"]) == 4
