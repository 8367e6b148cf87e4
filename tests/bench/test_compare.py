"""Comparison of two hubs: the same work on two repositories over HTTP, and the report of a hub that
fails.
"""

import asyncio
import json
import threading

import pytest
import uvicorn

from bench import compare, lambdas
from shared.engines import selection


@pytest.fixture
def url():
    """The hub of the suite behind a socket."""
    from infra.app import app

    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="error", access_log=False, lifespan="off")
    )

    async def serve():
        await server.serve()
        await selection.close()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_two_hubs_do_the_same_work(url, owner, capsys, monkeypatch):
    monkeypatch.setattr(compare, "REPEATS", 2)
    token = lambdas.token(owner)
    ours, rival = (f"{name}={url}/{owner}/{name},{token}" for name in ("ours", "rival"))
    assert compare.main([ours, rival, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["ours", "rival"]
    for row in said.values():
        assert len(row) == 7
        assert all(
            taken["seconds"] > 0 and taken["wire_bytes"] > 0 and not taken["problem"]
            for taken in row.values()
        )
    assert [taken["wire_bytes"] for taken in said["ours"].values()] == pytest.approx(
        [taken["wire_bytes"] for taken in said["rival"].values()], abs=200
    )

    assert compare.main([ours]) == 1, "a repository that is not empty cannot be compared"
    shown = capsys.readouterr().out
    assert "first push, 5 MB" in shown


def test_a_hub_that_refuses_is_named_with_its_reason(url, owner, capsys):
    token = lambdas.token(f"{owner}-somebody-else")
    assert compare.main([f"rival={url}/{owner}/song,{token}", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)["rival"]
    assert said["first push, 5 MB"]["problem"].startswith("Refused: POST /push/objects: HTTP 404")
