"""`pieria upkeep`: what is due, and a run by hand."""

import json

import pytest

from shared.stores import Stores
from tests.client import push
from tests.infra.test_cli import pieria
from tests.shared.maintenance.kept_hub import take
from tests.shared.maintenance.upkeep import put_due, repo, run

SONG = take({"a.txt": b"first"})


@pytest.fixture
def song(owner: str) -> str:
    """A repository with a commit."""
    assert push(owner, "song", SONG).status == 200
    return f"{owner}/song"


def test_due_work_is_shown_with_its_repository_and_done_by_a_run(song: str, owner: str) -> None:
    put_due(owner, "clone", 1)
    shown = json.loads(pieria("upkeep", "--json").out)
    [row] = [row for row in shown["due"] if row["repo"] == song and row["work"] == "clone"]
    assert (row["at"], row["last_visit"]["done"]) == (1, "")
    assert song in pieria("upkeep").out
    done = json.loads(pieria("upkeep", "run", "--json").out)
    assert done["done"]["clone"] >= 1
    shown = json.loads(pieria("upkeep", "--limit", "1000", "--json").out)
    assert [row for row in shown["due"] if row["repo"] == song and row["work"] == "clone"] == []
    assert int(shown["last_run"]["visited"]) >= 1


def test_an_error_is_shown_and_ends_with_status_1(song: str, owner: str) -> None:
    repo_id = repo(owner).repo_id
    put_due(owner, "gc", 1)

    async def lose_row(stores: Stores) -> None:
        async for row in stores.hub.each(f"REPO#{repo_id}#LANE#main"):
            await stores.hub.delete((str(row["pk"]), str(row["sk"])))

    run(lose_row)
    answer = pieria("upkeep", "run")
    assert answer.status == 1 and "failed: 1" in answer.out
    shown = json.loads(pieria("upkeep", "--limit", "1000", "--json").out)
    [row] = [row for row in shown["due"] if row["repo"] == song and row["work"] == "gc"]
    assert "Damaged" in row["last_visit"]["error"]
    assert "damaged" in pieria("upkeep", "--limit", "1000").out
