"""Comparison of two hubs: the same work on two repositories over HTTP, and the report of a hub that
fails.
"""

import asyncio
import json
import threading

import pytest
import uvicorn

from bench import comparable, compare, lambdas
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


def test_two_hubs_do_the_same_work(url, owner, capsys, monkeypatch, configured):
    configured.setenv("PIERIA_LIMIT_PUSH", "1000")
    monkeypatch.setattr(comparable, "DEPTH", 30)
    monkeypatch.setattr(comparable, "OFFERED", 20)
    monkeypatch.setattr(comparable, "EACH", 1)
    token = lambdas.token(owner)
    ours, rival = (f"{name}={url}/{owner}/{name},{token}" for name in ("ours", "rival"))
    assert compare.main([ours, rival, "--repeats=2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 13
    for row in rows.values():
        assert list(row) == ["ours", "rival"]
        assert all(taken["seconds"] > 0 and not taken["problem"] for taken in row.values())
    assert rows["GET refs"]["rival"]["repeats"] == 2


def test_a_hub_that_refuses_is_named_with_its_reason(url, owner, capsys, monkeypatch):
    monkeypatch.setattr(comparable, "DEPTH", 30)
    monkeypatch.setattr(comparable, "EACH", 1)
    token = lambdas.token(f"{owner}-another")
    assert compare.main([f"rival={url}/{owner}/song,{token}", "--repeats=1"]) == 1
    assert "Refused: POST /push/objects: HTTP 404" in capsys.readouterr().out.replace("\n", " ")
