"""The requests of the stock client, through the relay."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgpack
import pytest

from bench import client, history
from tests.client import ACCEPT, MSGPACK
from tests.infra.relay.conftest import Connect, Program
from tests.test_session import differences, sender


def make_private(hub: Program, repository: str) -> None:
    """Push one commit to a private repository."""
    client.push(
        hub.url + repository, hub.token, history.generate(seed=1, commits=1, files=3, objects=3)
    )
    headers = {"Authorization": f"Bearer {hub.token}"}
    reply = httpx.patch(
        f"{hub.url}/api/v1/repos{repository}", json={"visibility": "private"}, headers=headers
    )
    assert reply.status_code == 200


def identity(hub: Program) -> str:
    """The content of the stock client's identity file after `muse auth login`."""
    return f'["{urlsplit(hub.url).netloc}"]\ntype = "human"\ntoken = "{hub.token}"\n'


def test_the_recorded_session_is_answered_through_the_relay_as_by_the_hub(
    hub: Program, relay: Program
) -> None:
    with httpx.Client(base_url=relay.url, timeout=30) as http:
        assert differences(sender(http), hub.token) == []


def test_a_push_of_objects_larger_than_the_hub_takes_arrives(
    hub: Program, relay: Program, repository: str
) -> None:
    large = history.generate(seed=2, commits=3, files=800, objects=900)
    with pytest.raises(client.Refused, match="413"):
        client.push(hub.url + repository, hub.token, large)
    pushed = client.push(relay.url + repository, hub.token, large)
    chunks = [sent for sent in pushed.exchanges if sent.path == "/push/objects"]
    assert max(chunk.sent for chunk in chunks) > 4_690_000
    assert sum(chunk.status == 200 for chunk in chunks) == len(chunks)
    assert f"push {repository[1:]}" in relay.said() and "objects:" in relay.said()
    headers = {
        "Authorization": f"Bearer {hub.token}",
        "Content-Type": MSGPACK,
        "Accept": ACCEPT,
    }
    asked = msgpack.packb({"object_ids": sorted(large.objects)})
    reply = httpx.post(f"{hub.url}{repository}/filter-objects", content=asked, headers=headers)
    assert msgpack.unpackb(reply.content)["missing"] == []


def test_the_reply_to_a_split_push_of_objects_counts_all_of_its_objects(
    hub: Program, relay: Program, repository: str
) -> None:
    contents = history.generate(seed=3, commits=2, files=700, objects=800).objects
    objects = [
        {"object_id": object_id, "content": content} for object_id, content in contents.items()
    ]
    with client.Wire(relay.url + repository, hub.token) as wire:
        assert wire.post("/push/objects", {"objects": objects}) == {"stored": 800, "skipped": 0}
        assert wire.post("/push/objects", {"objects": objects}) == {"stored": 0, "skipped": 800}
        assert wire.post("/push/objects", {"objects": []}) == {"stored": 0, "skipped": 0}


def test_a_refusal_of_one_slice_is_the_reply_to_the_whole(
    hub: Program, relay: Program, repository: str
) -> None:
    contents = history.generate(seed=4, commits=2, files=700, objects=800).objects
    objects = [
        {"object_id": object_id, "content": content} for object_id, content in contents.items()
    ]
    objects[-1]["content"] = b"other bytes"
    with (
        client.Wire(relay.url + repository, hub.token) as wire,
        pytest.raises(client.Refused) as refused,
    ):
        wire.post("/push/objects", {"objects": objects})
    assert refused.value.status == 422 and "hash_mismatch" in refused.value.text


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa7objects\x92",
        b"\xff",
        b"\x81\xa7objects\xc0",
        b"",
        b"\x81\xa7objects\xdd\xff\xff\xff\xff",
    ],
)
def test_a_body_that_is_no_list_of_objects_is_a_400(
    hub: Program, relay: Program, repository: str, body: bytes
) -> None:
    headers = {"Authorization": f"Bearer {hub.token}", "Content-Type": MSGPACK}
    reply = httpx.post(f"{relay.url}{repository}/push/objects", content=body, headers=headers)
    assert reply.status_code == 400 and reply.json()["code"] == "malformed_body"


def test_a_private_repository_is_cloned_with_the_login_of_the_client(
    hub: Program, connect: Connect, repository: str, tmp_path: Path
) -> None:
    make_private(hub, repository)
    (tmp_path / ".muse").mkdir()
    relay = connect()
    with pytest.raises(client.Refused, match="404"):
        client.clone(relay.url + repository)
    (tmp_path / ".muse" / "identity.toml").write_text(identity(hub))  # while the relay runs
    assert len(client.clone(relay.url + repository).bundle["commits"]) == 1


def test_a_private_repository_is_cloned_with_a_token_of_the_environment(
    hub: Program, connect: Connect, repository: str
) -> None:
    make_private(hub, repository)
    relay = connect(PIERIA_TOKEN=hub.token)
    assert len(client.clone(relay.url + repository).bundle["commits"]) == 1
    assert hub.token not in relay.said()


def test_a_request_keeps_the_token_that_it_has(
    hub: Program, connect: Connect, repository: str
) -> None:
    make_private(hub, repository)
    relay = connect(PIERIA_TOKEN=hub.token)
    reply = httpx.get(f"{relay.url}{repository}/refs", headers={"Authorization": "Bearer foreign"})
    assert reply.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "pages.example.org"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "https://pages.example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_web_page_gets_nothing(relay: Program, headers: dict[str, str]) -> None:
    reply = httpx.get(f"{relay.url}/health", headers=headers)
    assert reply.status_code == 403 and reply.json()["code"] == "forbidden"
    assert httpx.get(f"{relay.url}/health").json() == {"status": "ok"}


def test_the_relay_listens_on_the_loopback_address_only(relay: Program) -> None:
    port = urlsplit(relay.url).port
    assert port
    for address in {
        found[4][0] for found in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)
    }:
        if not str(address).startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((str(address), port), timeout=2).close()


def test_a_request_line_with_another_host_does_not_leave_the_hub(relay: Program) -> None:
    port = urlsplit(relay.url).port
    assert port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(
            f"GET http://example.org/health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        )
        head = sock.recv(4096)
    assert b" 400 " in head.partition(b"\r\n")[0]
