"""Fetches of more than the hub sends at once, through the relay."""

import os
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgpack
import pytest

from bench import client, history
from bench.history import History, Record
from shared import ids
from tests.client import ACCEPT, MSGPACK
from tests.infra.relay.conftest import LAMBDA_BYTES, Connect, Program

PEAK_KB = 150_000
"""The most memory of the relay, whatever it passed on. Python and its packages have 55 MB of it."""


def contents(bundle: dict[str, list[dict[str, object]]]) -> tuple[object, ...]:
    """All that a bundle has, by id."""
    return (
        {record["commit_id"]: record for record in bundle["commits"]},
        {record["snapshot_id"]: record for record in bundle["snapshots"]},
        {record["object_id"]: record["content"] for record in bundle["objects"]},
    )


def peak_kb(relay: Program) -> int:
    """The most memory that the relay has had."""
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1])


def one_commit(objects: list[bytes]) -> History:
    """A commit that adds all these."""
    by_id = {sha256(content).hexdigest(): content for content in objects}
    manifest = {f"file-{number}": object_id for number, object_id in enumerate(by_id)}
    snapshot_id = ids.snapshot_id(manifest)
    at = "2026-01-01T00:00:00+00:00"
    commit = {
        "commit_id": ids.commit_id([], snapshot_id, "one", at),
        "parent_commit_id": None,
        "parent2_commit_id": None,
        "snapshot_id": snapshot_id,
        "message": "one",
        "committed_at": at,
    }
    return History((commit,), ({"snapshot_id": snapshot_id, "manifest": manifest},), by_id)


def test_a_clone_that_the_hub_cannot_send_at_once_is_one_reply(
    hub: Program, relay: Program, repository: str
) -> None:
    pushed = one_commit([os.urandom(60_000) for _ in range(902)])
    client.push(relay.url + repository, hub.token, pushed)
    with pytest.raises(client.Refused, match="413"):
        client.clone(hub.url + repository)
    cloned = client.clone(relay.url + repository)
    assert contents(cloned.bundle)[2] == pushed.objects
    assert cloned.bundle["branch_heads"] == {"main": pushed.head}
    assert cloned.exchanges[-1].received > 10 * LAMBDA_BYTES
    assert peak_kb(relay) < PEAK_KB


def test_an_object_that_is_larger_than_a_reply_is_read_from_the_storage(
    hub: Program, relay: Program, repository: str
) -> None:
    pushed = one_commit([os.urandom(6_000_000), os.urandom(30_000_000), b"small", b""])
    client.push(relay.url + repository, hub.token, pushed)
    assert contents(client.clone(relay.url + repository).bundle)[2] == pushed.objects


def test_a_pull_gets_exactly_the_missing_objects(
    hub: Program, relay: Program, repository: str
) -> None:
    long = history.generate(seed=7, commits=60, files=400, objects=1500)
    first = History(long.commits[:20], long.snapshots, long.objects)
    client.push(relay.url + repository, hub.token, first)
    client.push(relay.url + repository, hub.token, long)
    have = [commit["commit_id"] for commit in first.commits]
    pulled = client.pull(relay.url + repository, None, have).bundle
    commits, _, objects = contents(pulled)
    assert isinstance(commits, dict) and isinstance(objects, dict)
    assert commits.keys() == {commit["commit_id"] for commit in long.commits[20:]}
    held = {
        i for commit in first.commits for i in manifest_of(long, commit["snapshot_id"]).values()
    }
    needed = {
        i for commit in long.commits[20:] for i in manifest_of(long, commit["snapshot_id"]).values()
    }
    assert objects == {object_id: long.objects[object_id] for object_id in needed - held}
    assert sum(map(len, objects.values())) > LAMBDA_BYTES


def manifest_of(pushed: History, snapshot_id: str) -> dict[str, str]:
    """The files of a snapshot."""
    (found,) = [snapshot for snapshot in pushed.snapshots if snapshot["snapshot_id"] == snapshot_id]
    manifest: dict[str, str] = found["manifest"]
    return manifest


def test_a_whole_history_is_cloned_as_it_was_pushed(
    hub: Program, relay: Program, repository: str
) -> None:
    long = history.generate(seed=8, commits=267, files=400, objects=2400)
    client.push(relay.url + repository, hub.token, long)
    commits, snapshots, objects = contents(client.clone(relay.url + repository).bundle)
    assert isinstance(commits, dict) and isinstance(snapshots, dict)
    assert objects == long.objects and commits.keys() == {
        commit["commit_id"] for commit in long.commits
    }
    assert snapshots == {snapshot["snapshot_id"]: snapshot for snapshot in long.snapshots}
    assert peak_kb(relay) < PEAK_KB


def test_a_clone_that_the_client_cannot_read_names_the_command_for_it(
    hub: Program, relay: Program, repository: str
) -> None:
    pushed = one_commit([os.urandom(23_000_000) for _ in range(3)])
    client.push(relay.url + repository, hub.token, pushed)
    with pytest.raises(client.Refused) as refused:
        client.clone(relay.url + repository)
    assert refused.value.status == 413
    assert f"`pieria clone {hub.url}{repository} DIRECTORY`" in refused.value.text
    assert len(refused.value.text) < 400


def test_a_refusal_of_the_hub_is_passed_on(hub: Program, relay: Program, repository: str) -> None:
    with pytest.raises(client.Refused) as refused:
        client.clone(relay.url + "/others/nothing")
    assert refused.value.status == 404
    client.push(relay.url + repository, hub.token, one_commit([b"one"]))
    headers = {"Content-Type": MSGPACK, "Accept": ACCEPT}
    for body, status in [({"want": ["0" * 64], "have": []}, 404), ({"want": 7}, 422), ([], 400)]:
        reply = httpx.post(
            f"{relay.url}{repository}/fetch", content=msgpack.packb(body), headers=headers
        )
        assert reply.status_code == status, reply.text


@contextmanager
def counted(hub: Program) -> Iterator[tuple[str, list[int]]]:
    """A URL of the hub, and the sizes of all that the hub sends to it."""
    sizes: list[int] = []
    target = urlsplit(hub.url)
    name = target.netloc.encode()

    def pipe(source: socket.socket, sink: socket.socket, counts: list[int]) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                counts.append(len(data))
                # The hub answers to its own name and port only.
                sink.sendall(
                    data.replace(
                        b"Host: 127.0.0.1:%d" % server.server_address[1], b"Host: %s" % name
                    )
                )
            sink.shutdown(socket.SHUT_WR)

    class Forwarder(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((target.hostname, target.port)) as upstream:
                threading.Thread(
                    target=pipe, args=(self.request, upstream, []), daemon=True
                ).start()
                pipe(upstream, self.request, sizes)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forwarder) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", sizes
        finally:
            server.shutdown()


def test_a_small_change_among_many_files_moves_few_bytes(
    hub: Program, connect: Connect, repository: str
) -> None:
    first = one_commit([b"file %d" % number for number in range(2_000)])
    manifest = dict(first.snapshots[0]["manifest"])
    changed = b"one other line"
    manifest["file-7"] = sha256(changed).hexdigest()
    second = commit_on(first, manifest)
    both = History(
        (*first.commits, second),
        (*first.snapshots, {"snapshot_id": second["snapshot_id"], "manifest": manifest}),
        {**first.objects, manifest["file-7"]: changed},
    )
    client.push(hub.url + repository, hub.token, first)
    with counted(hub) as (url, sizes):
        relay = connect(url)
        client.clone(relay.url + repository)
        client.push(hub.url + repository, hub.token, both)
        sizes.clear()
        pulled = client.pull(relay.url + repository, None, [first.head])
        relay.kill()
    commits, snapshots, objects = contents(pulled.bundle)
    assert isinstance(commits, dict) and list(commits) == [second["commit_id"]]
    assert isinstance(snapshots, dict) and snapshots[second["snapshot_id"]]["manifest"] == manifest
    assert objects == {manifest["file-7"]: changed}
    assert sum(sizes) < 8_000 < 150_000 < pulled.exchanges[-1].received


def commit_on(first: History, manifest: dict[str, str]) -> Record:
    """A commit of these files on top of a history."""
    snapshot_id, at = ids.snapshot_id(manifest), "2026-01-02T00:00:00+00:00"
    return {
        **first.commits[-1],
        "commit_id": ids.commit_id([first.head], snapshot_id, "two", at),
        "parent_commit_id": first.head,
        "snapshot_id": snapshot_id,
        "message": "two",
        "committed_at": at,
    }
