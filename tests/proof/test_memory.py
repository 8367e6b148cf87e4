"""The AWS in memory answers as moto does: every call that any story makes is sent to both, and both answers are held
against each other. What only AWS's documentation promises, and moto does not do, is told below.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest
from aiobotocore.client import AioBaseClient
from botocore.exceptions import ClientError

from infra import stack
from shared.actions import gc, purge
from shared.stores import stores
from tests.conftest import NAMES
from tests.proof.door import Hub, VirtualLoop
from tests.proof.memory import Body, Cloud
from tests.proof.stories import STORIES, findings, prepare, view

OF_EACH = {"ResponseMetadata", "VersionId", "LastModified", "CreationDate"}
"""What is each cloud's own."""


class Twins(Cloud):
    """Both clouds as one: moto's answers count, and what differs is written down."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, str] = {}
        """Of moto, what the same version is called here."""
        self.calls = 0
        self.seen: set[str] = set()
        self.differences: list[Any] = []

    def upload(self, url: str, data: bytes) -> None:
        urlopen(Request(url, data=data, method="PUT"), timeout=10).close()
        super().upload(url, data)

    @contextmanager
    def serving(self) -> Iterator[None]:
        original = AioBaseClient._make_api_call  # type: ignore[attr-defined]

        async def make_api_call(client: Any, operation: str, parameters: Any) -> Any:
            service = client.meta.service_model.service_name
            given = self.in_our_words(parameters)  # before botocore puts things in their place
            theirs = await outcome(original(client, operation, parameters))
            ours = await outcome(self.call(service, operation, given))
            self.calls += 1
            self.seen.add(operation)
            if told(ours) != told(theirs):
                self.differences.append((operation, given, told(ours), told(theirs)))
            if isinstance(theirs, ClientError):
                raise theirs
            if "VersionId" in theirs and "VersionId" in ours:
                self.versions[theirs["VersionId"]] = ours["VersionId"]
            return theirs

        AioBaseClient._make_api_call = make_api_call  # type: ignore[attr-defined]
        try:
            yield
        finally:
            AioBaseClient._make_api_call = original  # type: ignore[attr-defined]

    def in_our_words(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self.in_our_words(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.in_our_words(one) for one in value]
        return self.versions.get(value, value) if isinstance(value, str) else value


async def outcome(work: Any) -> Any:
    """A reply, its body read, or the error."""
    try:
        reply = await work
    except ClientError as error:
        return error
    if "Body" in reply:
        async with reply["Body"] as body:
            reply = {**reply, "Body": Body(await body.read())}
    return reply


async def cleaned(hub: Hub) -> None:
    """gc and purge have been there."""
    opened = await stores()
    repo = await opened.repos.get("me", "song")
    assert repo
    for _ in range(4):
        hub.loop.now += 40 * 24 * 3600
        await gc.run(opened, repo, hub.now, dry_run=False)
    await purge.purge(opened, now=hub.now(), dry_run=False)


KNOWN = {
    "Item", "Responses", "UnprocessedKeys", "UnprocessedItems", "Attributes", "Items", "Count", "LastEvaluatedKey",
    "ETag", "Body", "ContentLength", "IsTruncated",
}  # fmt: skip
"""What the hub looks at."""


def told(reply: Any) -> Any:
    """An outcome without what is each cloud's own, and empty is as good as absent."""
    if isinstance(reply, ClientError):
        status = reply.response["ResponseMetadata"]["HTTPStatusCode"]
        reasons = [one["Code"] for one in reply.response.get("CancellationReasons", ())]
        return reply.response["Error"]["Code"], status, reply.response.get("Item"), reasons
    shown = {k: v for k, v in reply.items() if k in KNOWN and v not in (None, {}, [])}
    for table, rows in dict(shown.get("Responses", {})).items():
        shown["Responses"] = {**shown["Responses"], table: sorted(rows, key=repr_of)}
    if "Body" in shown:
        shown["Body"] = shown["Body"]._data
    return shown


def repr_of(item: Any) -> str:
    return repr(sorted(item.items()))


def test_every_story_gets_the_same_answers_of_both(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tables of their own: what other tests have written is not in memory.
    names = {name: f"twin-{name.lower()}" for name in NAMES}
    stack.create(aws.url, names)
    for variable, name in (("HUB_TABLE", "HubTable"), ("COUNTER_TABLE", "CounterTable"), ("BUCKET", "Bucket")):
        monkeypatch.setenv(f"PIERIA_{variable}", names[name])
    cloud = Twins()
    with Hub(cloud, seed=7, loop=VirtualLoop(is_real=True)) as hub:
        try:
            prepare(hub)
        finally:
            assert cloud.differences == []
        for story in sorted(STORIES, key=lambda story: story.name != "an upload is named"):
            assert story.tell(hub).status < 500, story.name
        view(hub)
        assert findings(hub) == []
        hub.run(cleaned(hub))
    assert cloud.differences == []
    assert {"ListObjectVersions", "DeleteObjects", "CopyObject", "TransactWriteItems"} <= cloud.seen
    assert cloud.calls > 500
