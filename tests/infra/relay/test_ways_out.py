"""A refusal for size of a hub with Lambda's limits, and the next step that its message names."""

import os
from typing import Any

import httpx
import msgpack
import pytest

from tests import builders
from tests.builders import Record
from tests.client import ACCEPT, MSGPACK
from tests.infra.relay.conftest import LAMBDA_BYTES, Program

SHOWN_CHARACTERS = 400
"""The stock client prints this much of the body of a refusal."""


class Client:
    """Requests about one repository, as the stock client sends them."""

    def __init__(self, hub: Program, repository: str) -> None:
        self.repository = repository
        self._headers = {
            "authorization": f"Bearer {hub.token}",
            "content-type": MSGPACK,
            "accept": ACCEPT,
        }

    def post(self, server: Program, route: str, value: Record) -> httpx.Response:
        """A request to the hub or to a relay."""
        url = f"{server.url}{self.repository}/{route}"
        return httpx.post(url, content=msgpack.packb(value), headers=self._headers, timeout=60)


def refusal(answer: httpx.Response) -> str:
    """The message of a 413. It is as short as the stock client prints it."""
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    message: str = answer.json()["message"]
    assert message in answer.text[:SHOWN_CHARACTERS] and not message.endswith("…")
    return message


def objects_of(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    return {one["object_id"]: one["content"] for one in msgpack.unpackb(answer.content)["objects"]}


def on_objects(
    objects: list[Record], message: str, parents: list[str], prefix: str = ""
) -> dict[str, Any]:
    """The body of a push of one commit on these objects, which are not in it."""
    tree = builders.snapshot(
        {f"{prefix}{n:03}.mid": one["object_id"] for n, one in enumerate(objects)}
    )
    commit = builders.commit(message, parents, tree["snapshot_id"])
    return {"branch": "main", "bundle": {"commits": [commit], "snapshots": [tree], "objects": []}}


@pytest.fixture
def client(hub: Program, repository: str) -> Client:
    return Client(hub, repository)


def test_a_batch_of_objects_that_the_hub_refuses_arrives_by_the_step_of_the_message(
    hub: Program, relay: Program, client: Client
) -> None:
    sent = {"objects": [builders.blob(os.urandom(60_000)) for _ in range(90)]}
    message = refusal(client.post(hub, "push/objects", sent))
    assert str(LAMBDA_BYTES) in message and "`pieria connect URL-OF-THE-HUB`" in message
    answer = client.post(relay, "push/objects", sent)
    assert msgpack.unpackb(answer.content) == {"stored": 90, "skipped": 0}


def test_one_commit_that_the_hub_refuses_arrives_by_the_step_of_the_message(
    hub: Program, relay: Program, client: Client
) -> None:
    """An older commit first does not help: there is one commit."""
    one = builders.blob(b"x")
    tree = builders.snapshot(
        {f"{os.urandom(40).hex()}/{n:05}.mid": one["object_id"] for n in range(32_000)}
    )
    commit = builders.commit("many files", [], tree["snapshot_id"])
    sent = {
        "branch": "main",
        "bundle": {"commits": [commit], "snapshots": [tree], "objects": [one]},
    }
    assert "`pieria connect URL-OF-THE-HUB`" in refusal(client.post(hub, "push", sent))
    assert client.post(relay, "push", sent).status_code == 200


def test_a_clone_that_the_hub_refuses_is_complete_by_the_step_of_the_message(
    hub: Program, relay: Program, client: Client
) -> None:
    objects = [builders.blob(os.urandom(60_000)) for _ in range(90)]
    assert client.post(relay, "push/objects", {"objects": objects}).status_code == 200
    sent = on_objects(objects, "many files", [])
    assert client.post(relay, "push", sent).status_code == 200
    head = sent["bundle"]["commits"][0]["commit_id"]
    message = refusal(client.post(hub, "fetch", {"want": [head], "have": []}))
    assert (
        "`pieria clone URL DIRECTORY`" in message and "`pieria connect URL-OF-THE-HUB`" in message
    )
    cloned = objects_of(client.post(relay, "fetch", {"want": [head], "have": []}))
    assert cloned == {one["object_id"]: one["content"] for one in objects}


def test_without_the_relay_older_commits_first_help_as_the_messages_say(
    hub: Program, client: Client
) -> None:
    halves = [[builders.blob(os.urandom(60_000)) for _ in range(45)] for _ in range(2)]
    older = on_objects(halves[0], "older", [])
    head = older["bundle"]["commits"][0]["commit_id"]
    newer = on_objects(halves[0] + halves[1], "newer", [head])
    whole = [one for half in halves for one in half]
    message = refusal(
        client.post(hub, "push", newer | {"bundle": newer["bundle"] | {"objects": whole}})
    )
    assert "without it, push an older commit first" in message
    for body, objects in ((older, halves[0]), (newer, halves[1])):
        branch = "older" if body is older else "main"
        sent = body | {"branch": branch, "bundle": body["bundle"] | {"objects": objects}}
        assert client.post(hub, "push", sent).status_code == 200

    last = newer["bundle"]["commits"][0]["commit_id"]
    message = refusal(client.post(hub, "fetch", {"want": [last], "have": []}))
    assert "pull the branches one by one, oldest first" in message
    pulled = objects_of(client.post(hub, "fetch", {"want": [head], "have": []}))
    pulled |= objects_of(client.post(hub, "fetch", {"want": [last], "have": [head]}))
    assert pulled == {one["object_id"]: one["content"] for one in whole}
