"""A push of more than the hub takes at once: several pushes, oldest commits first."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import msgpack
import pytest

from bench import client
from bench import history as histories
from bench.history import History
from infra import ports
from infra.relay import history
from infra.relay.history import Push, read_push
from infra.relay.spool import Spool
from shared.errors import MalformedBody
from tests.infra.relay.conftest import ROOT, Program, environment

LONG = histories.generate(seed=9, commits=120, files=300, objects=500)


@pytest.fixture(scope="module")
def small(hub: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a relay that divides a push above 500 kB, into stretches of 200 kB."""
    port, home = ports.free(), tmp_path_factory.mktemp("small")
    program = (
        "import sys; from infra.relay import history, uploads;"
        " uploads.WHOLE_BYTES = 500_000; history.STRETCH_BYTES = 200_000;"
        f" sys.argv = ['pieria', 'connect', '{hub.url}', '--port', '{port}'];"
        " from infra.cli import app; app(prog_name='pieria')"
    )
    with ExitStack() as closing:
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment(home))
        closing.callback(process.wait)
        closing.callback(process.kill)
        assert ports.is_ready(process, port, within_seconds=60)
        yield f"http://127.0.0.1:{port}"


def commits_of(pushed: History, start: int, stop: int) -> History:
    """Some commits of a history, with all snapshots and objects."""
    return History(pushed.commits[start:stop], pushed.snapshots, pushed.objects)


def test_a_long_history_is_pushed_in_stretches(hub: Program, small: str, repository: str) -> None:
    client.push(small + repository, hub.token, commits_of(LONG, 0, 1))
    moves_before = moves(hub, repository)
    reply = client.push(small + repository, hub.token, LONG).reply
    assert reply["remote_head"] == LONG.head and reply["branch_heads"] == {"main": LONG.head}
    assert len(moves(hub, repository)) > len(moves_before) + 2
    cloned = client.clone(small + repository).bundle
    assert {commit["commit_id"] for commit in cloned["commits"]} == {
        commit["commit_id"] for commit in LONG.commits
    }
    assert {found["object_id"]: found["content"] for found in cloned["objects"]} == LONG.objects


def moves(hub: Program, repository: str) -> list[object]:
    """Where the branch has been."""
    with client.Wire(f"{hub.url}/api/v1/repos{repository}", hub.token) as wire:
        found: list[object] = wire.get("/moves?branch=main")["moves"]
        return found


def test_a_long_history_that_has_diverged_is_a_conflict(
    hub: Program, small: str, repository: str
) -> None:
    other = histories.generate(seed=10, commits=1, files=3, objects=3)
    client.push(small + repository, hub.token, other)
    with pytest.raises(client.Refused) as refused:
        client.push(small + repository, hub.token, LONG)
    assert refused.value.status == 409
    reply = client.push(small + repository, hub.token, LONG, force=True).reply
    assert reply["branch_heads"] == {"main": LONG.head}


# ── Which commits are sent together ───────────────────────────────────────────────────────────────


Spooled = Callable[[object], Spool]


@pytest.fixture
def spooled() -> Iterator[Spooled]:
    """Makes spools with bytes, or with the msgpack of a value."""
    with ExitStack() as closing:

        def make(value: object) -> Spool:
            spool = Spool()
            closing.callback(spool.close)
            spool.write(value if isinstance(value, bytes) else msgpack.packb(value))
            return spool

        yield make


def push(spooled: Spooled, parents: dict[str, list[str]], *, is_forced: bool = False) -> Push:
    """A push of these commits, each with a snapshot of its own."""
    commits = [
        {
            "commit_id": commit_id,
            "snapshot_id": f"files-{commit_id}",
            "parent_commit_id": found[0] if found else None,
            "parent2_commit_id": found[1] if len(found) > 1 else None,
        }
        for commit_id, found in parents.items()
    ]
    snapshots = [{"snapshot_id": f"files-{commit_id}", "manifest": {}} for commit_id in parents]
    bundle = {"commits": commits, "snapshots": snapshots, "objects": [], "branch_heads": {}}
    return read_push(spooled({"bundle": bundle, "branch": "main", "force": is_forced, "more": [1]}))


FORK = {"d": ["c", "y"], "c": ["b"], "y": ["x"], "x": ["a"], "b": ["a"], "a": []}
"""d merges y into the line a, b, c."""


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stretch is full at once."""
    monkeypatch.setattr(history, "STRETCH_BYTES", 1)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize(
    ("head", "stretches"),
    [
        ("", ["a", "b", "c", "dxy"]),
        ("a", ["ab", "c", "dxy"]),
        ("x", ["abcdxy"]),
        ("elsewhere", ["a", "b", "c", "dxy"]),
    ],
)
def test_a_stretch_ends_where_the_branch_may_move(
    spooled: Spooled, head: str, stretches: list[str]
) -> None:
    assert [
        "".join(sorted(stretch)) for stretch in push(spooled, FORK).stretches(head)
    ] == stretches


@pytest.mark.usefixtures("single")
def test_a_forced_push_may_move_the_branch_anywhere(spooled: Spooled) -> None:
    found = push(spooled, FORK, is_forced=True).stretches("x")
    assert ["".join(sorted(stretch)) for stretch in found] == ["a", "b", "c", "dxy"]


def test_a_small_push_is_one_stretch(spooled: Spooled) -> None:
    assert push(spooled, FORK).stretches("") == [set("abcdxy")]


def test_the_body_of_a_stretch_has_each_snapshot_once(spooled: Spooled) -> None:
    whole, sent = push(spooled, FORK), {"files-a"}
    body = msgpack.unpackb(b"".join(whole.body({"a", "b"}, sent)))
    assert body["branch"] == "main" and body["force"] is False
    assert [commit["commit_id"] for commit in body["bundle"]["commits"]] == ["b", "a"]
    assert [snapshot["snapshot_id"] for snapshot in body["bundle"]["snapshots"]] == ["files-b"]
    assert sent == {"files-a", "files-b"}


def test_objects_inside_a_push_are_a_body_of_their_own(spooled: Spooled) -> None:
    objects = [{"object_id": "one", "content": b"1"}, {"object_id": "two", "content": b"2"}]
    content = spooled({"bundle": {"objects": objects}, "branch": "main"})
    assert msgpack.unpackb(b"".join(read_push(content).inline_objects())) == {"objects": objects}


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"\x81\xa6bundle\x01", b"\x81\xa6bundle\x81\xa7commits\x91\x01"]
)
def test_a_body_that_is_no_push_is_malformed(spooled: Spooled, body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_push(spooled(body))
