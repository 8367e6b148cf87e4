"""`pieria mirror`: one hub gets what another hub has more."""

from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from infra.relay.address import Unable
from infra.relay.steps import Steps
from infra.transfer import mirror
from infra.transfer.target import Target
from tests.builders import blob, commit, graph, snapshot
from tests.infra.relay.conftest import Program
from tests.infra.transfer.conftest import MSGPACK, fetched, pieria, refused


def push(hub: Program, repository: str, bundle: Any, branch: str = "main", **more: Any) -> None:
    headers = {"Authorization": f"Bearer {hub.token}", "Content-Type": MSGPACK}
    body = msgpack.packb({"branch": branch, "bundle": bundle, **more})
    reply = httpx.post(f"{hub.url}{repository}/push", headers=headers, content=body)
    assert reply.status_code == 200, reply.text


def post(hub: Program, path: str, value: Any) -> None:
    headers = {"Authorization": f"Bearer {hub.token}"}
    assert httpx.post(hub.url + path, headers=headers, json=value).status_code in (200, 201)


@pytest.fixture(params=["in steps", "in one reply"])
def fetching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source with fetch/history, and one that knows only the fetch of the stock client."""
    if request.param == "in one reply":
        post_step = Steps._post

        async def absent(self: Steps, route: str, value: Any) -> Any:
            return await post_step(self, f"no-such-{route}", value)

        monkeypatch.setattr(Steps, "_post", absent)


@pytest.mark.usefixtures("fetching")
def test_a_mirror_has_the_same_branches_objects_tags_and_releases(
    hub: Program, repository: str
) -> None:
    drawn = graph("1; 2:1; 3:1; 4:2,3", salt=repository)
    push(hub, repository, drawn.bundle([1, 2]))
    push(hub, repository, drawn.bundle([1, 3]), branch="side")
    push(hub, repository, drawn.bundle([4]))
    large = blob(bytes(2_000_000))
    on_it = snapshot({"large.wav": large["object_id"]})
    big = commit("big", [drawn[4]], on_it["snapshot_id"])
    push(hub, repository, {"commits": [big], "snapshots": [on_it], "objects": [large]}, "large")
    tag = {"tag_id": "t1", "commit_id": drawn[2], "tag": "emotion:joy"}
    post(hub, f"{repository}/tags", {"tags": [tag]})
    post(hub, f"{repository}/releases", {"release_id": "r1", "tag": "v1", "commit_id": drawn[4]})
    copy = f"{repository}-copy"
    done = pieria("mirror", hub.url + repository, hub.url + copy)
    assert (done["commits"], done["tags"], done["releases"]) == (5, 1, 1)
    assert fetched(hub, copy) == fetched(hub, repository)
    again = pieria("mirror", hub.url + repository, hub.url + copy)
    assert (again["commits"], again["branches"], again["tags"]) == (0, [], 0)
    push(hub, repository, graph("1; 2:1; 3:1; 4:2,3; 5:4", salt=repository).bundle([5]))
    more = pieria("mirror", hub.url + repository, hub.url + copy)
    assert (more["commits"], more["objects"], more["branches"]) == (1, 1, ["main"])


def test_an_interrupted_mirror_goes_on_and_moves_only_forwards(
    hub: Program, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = graph("1; 2:1; 3:2; 4:1; 5:3,4", salt=repository)
    push(hub, repository, drawn.bundle())
    copy = f"{repository}-copy"
    monkeypatch.setattr(mirror, "STEP_COMMITS", 1)
    pushes: list[str] = []
    whole = Target.push

    async def cut(self: Target, branch: str, head: str, *more: Any, **named: Any) -> None:
        if len(pushes) == 3:
            raise Unable("the network is gone")
        pushes.append(head)
        await whole(self, branch, head, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Target, "push", cut)
        assert "network is gone" in refused("mirror", hub.url + repository, hub.url + copy)
    assert fetched(hub, copy)["heads"] == {"main": pushes[-1]}
    assert pieria("mirror", hub.url + repository, hub.url + copy)["branches"] == ["main"]
    assert fetched(hub, copy) == fetched(hub, repository)


def test_a_branch_with_other_commits_moves_only_by_force(hub: Program, repository: str) -> None:
    push(hub, repository, graph("1; 2:1", salt="here").bundle())
    copy = f"{repository}-copy"
    push(hub, copy, graph("1; 2:1", salt="there").bundle())
    push(hub, copy, graph("1", salt="own").bundle(), branch="own")
    before = fetched(hub, copy)["heads"]
    done = pieria("mirror", hub.url + repository, hub.url + copy, status=1)
    assert "--force" in done["left_out"]["main"]
    assert fetched(hub, copy)["heads"] == before
    done = pieria("mirror", hub.url + repository, hub.url + copy, "--force")
    assert done["branches"] == ["main"]
    after = fetched(hub, copy)["heads"]
    assert after == before | {"main": fetched(hub, repository)["heads"]["main"]}


def test_no_hub_gets_the_token_of_the_other(
    hub: Program, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(hub, "/api/v1/repos", {"slug": repository.split("/")[2], "visibility": "private"})
    push(hub, repository, graph("1", salt=repository).bundle())
    copy = f"{repository}-copy"
    line = refused("mirror", hub.url + repository, hub.url + copy)
    assert "the hub refused" in line and hub.token not in line
    monkeypatch.setenv("PIERIA_SOURCE_TOKEN", hub.token)
    assert pieria("mirror", hub.url + repository, hub.url + copy)["commits"] == 1
