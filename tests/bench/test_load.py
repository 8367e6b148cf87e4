"""Many at once: a small run of it all, and that a hub which loses a push is found out."""

import json
import subprocess
import sys

import httpx
import msgpack
import pytest

from bench.load import COMMON, Load, _Client, _lost


def test_a_few_clients_for_three_seconds_lose_nothing():
    command = [sys.executable, "-m", "bench.load", "--clients", "5", "--seconds", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["errors"], said["lost_updates"]) == ({}, [])
    assert said["requests"]["push"]["count"] >= 3
    assert said["requests"].keys() >= {"refs", "filter", "push/objects", "push", "poll"}
    assert said["rss_late"] > 10_000_000


@pytest.mark.asyncio
async def test_a_hub_that_loses_a_push_is_found_out():
    """It acknowledged `mine` on a branch of its own and two commits on the common one, and kept one
    of those.
    """

    def answer(request: httpx.Request) -> httpx.Response:
        said = {
            "branch_heads": {COMMON: "kept", "own-0": "older"},
            "commits": [{"commit_id": "kept"}],
        }
        return httpx.Response(200, content=msgpack.packb(said))

    load = Load(acknowledged={"own-0": "mine"}, on_common=["kept", "gone"])
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(answer), base_url="http://hub"
    ) as http:
        lost = await _lost(_Client(http, load, 0.0), load)
    assert lost == ["own-0 is not at mine", f"gone is not on {COMMON}"]
    assert load.errors == {}
