"""Bodies that are larger than the hub takes and cannot be split: through the storage."""

import os
from hashlib import sha256

import httpx
import msgpack
import pytest

from bench import client, history
from tests.client import ACCEPT, MSGPACK
from tests.infra.relay.conftest import LAMBDA_BYTES, Program

OBJECTS, OBJECT_BYTES = 120, 50_000


def push_body(contents: list[bytes]) -> bytes:
    """The body of a push that has its objects inside."""
    objects = [
        {"object_id": sha256(content).hexdigest(), "content": content} for content in contents
    ]
    manifest = {f"file-{number}": found["object_id"] for number, found in enumerate(objects)}
    commits = [{"commit_id": "first", "snapshot_id": "files", "message": "one"}]
    bundle = {
        "commits": commits,
        "snapshots": [{"snapshot_id": "files", "manifest": manifest}],
        "objects": objects,
    }
    packed: bytes = msgpack.packb({"bundle": bundle, "branch": "main"})
    return packed


def send(url: str, hub: Program, body: bytes, content_type: str = MSGPACK) -> httpx.Response:
    """The reply to a POST with the token of the hub."""
    headers = {
        "Authorization": f"Bearer {hub.token}",
        "Content-Type": content_type,
        "Accept": ACCEPT,
    }
    return httpx.post(url, content=body, headers=headers, timeout=120)


def sent_bytes(relay: Program) -> str:
    """The last line of the relay about the size of a push."""
    return [line for line in relay.said().splitlines() if "sent as" in line][-1]


def test_a_push_that_does_not_compress_is_staged(
    hub: Program, relay: Program, repository: str
) -> None:
    contents = [os.urandom(OBJECT_BYTES) for _ in range(OBJECTS)]
    body = push_body(contents)
    assert (
        len(body) > LAMBDA_BYTES
        and send(f"{hub.url}{repository}/push", hub, body).status_code == 413
    )
    reply = send(f"{relay.url}{repository}/push", hub, body)
    assert reply.status_code == 200, reply.text
    assert msgpack.unpackb(reply.content)["ok"] is True
    cloned = client.clone(relay.url + repository).bundle["objects"]
    assert sorted(found["content"] for found in cloned) == sorted(contents)


def test_a_push_that_compresses_is_not_staged(
    hub: Program, relay: Program, repository: str
) -> None:
    contents = [b"la la la %d\n" % number * 5_000 for number in range(OBJECTS)]
    reply = send(f"{relay.url}{repository}/push", hub, push_body(contents))
    assert reply.status_code == 200
    assert "sent as" in sent_bytes(relay) and "MB, sent as" in sent_bytes(relay)
    assert sent_bytes(relay).split("sent as ")[1].split(",")[0].endswith("kB")


def test_a_refusal_of_a_staged_push_is_passed_on(
    hub: Program, relay: Program, repository: str
) -> None:
    body = push_body([os.urandom(OBJECT_BYTES) for _ in range(OBJECTS)])
    foreign = repository.replace("/me/", "/others/")
    reply = send(f"{relay.url}{foreign}/push", hub, body)
    assert reply.status_code == 404 and reply.json()["code"] == "repo_not_found"
    assert (
        httpx.post(
            f"{relay.url}{repository}/push",
            content=body,
            headers={"Content-Type": MSGPACK},
        ).status_code
        == 401
    )


def test_a_whole_history_is_pushed_in_one_body(
    hub: Program, relay: Program, repository: str
) -> None:
    long = history.generate(seed=5, commits=250, files=400, objects=700)
    with pytest.raises(client.Refused, match="413"):
        client.push(hub.url + repository, hub.token, long)
    assert client.push(relay.url + repository, hub.token, long).reply["remote_head"] == long.head
