"""The AWS in memory behaves as moto: every call of any story is sent to both, and the replies are
compared. Behaviour that only AWS's documents promise is tested below.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.exceptions import ClientError

from infra import stack
from shared.engines.selection import stores
from shared.maintenance import gc, purge
from tests.cloud_calls import CloudCall, intercepted
from tests.conftest import NAMES
from tests.proof.asgi_client import Hub, VirtualLoop
from tests.proof.memory import LAG_SECONDS, Body, Cloud
from tests.proof.stories import STORIES, findings, prepare, view

OF_EACH = {"ResponseMetadata", "VersionId", "LastModified", "CreationDate"}
"""The values that differ between the clouds."""


class Twins(Cloud):
    """Both clouds as one: moto's answers count, and what differs is written down."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, str] = {}
        """The id that the same version has in moto."""
        self.calls = 0
        self.seen: set[str] = set()
        self.differences: list[Any] = []

    def upload(self, url: str, data: bytes) -> None:
        urlopen(Request(url, data=data, method="PUT"), timeout=10).close()
        super().upload(url, data)

    def address(self, key: str, data: bytes) -> None:
        boto3.client("s3").put_object(Bucket=os.environ["PIERIA_BUCKET"], Key=key, Body=data)
        super().address(key, data)

    @contextmanager
    def serving(self) -> Iterator[None]:
        turn = asyncio.Lock()

        async def compare(call: CloudCall) -> Any:
            given = self.in_our_words(call.parameters)  # before botocore puts things in their place
            async with (
                turn
            ):  # calls that are under way at once come to both clouds in the same order
                theirs = await outcome(call.send())
                ours = await outcome(self.call(call.service, call.operation, given))
            self.calls += 1
            self.seen.add(call.operation)
            if told(ours) != told(theirs):
                self.differences.append((call.operation, given, told(ours), told(theirs)))
            if isinstance(theirs, ClientError):
                raise theirs
            if "VersionId" in theirs and "VersionId" in ours:
                self.versions[theirs["VersionId"]] = ours["VersionId"]
            return theirs

        with intercepted(compare):
            yield

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
        await gc.run(opened.of(repo), hub.now)
    await purge.purge(opened, now=hub.now())


KNOWN = {
    "Item", "Responses", "UnprocessedKeys", "UnprocessedItems", "Attributes", "Items", "Count", "LastEvaluatedKey",
    "ETag", "Body", "ContentLength", "IsTruncated",
}  # fmt: skip
"""The fields that the hub reads."""


def told(reply: Any) -> Any:
    """An outcome without the values that differ between the clouds. Empty is the same as absent."""
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


def test_every_story_gets_the_same_answers_of_both(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tables of their own: what other tests have written is not in memory.
    names = {name: f"twin-{name.lower()}" for name in NAMES}
    stack.create(aws.url, names)
    for variable, name in (
        ("HUB_TABLE", "HubTable"),
        ("COUNTER_TABLE", "CounterTable"),
        ("BUCKET", "Bucket"),
    ):
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


# ── What AWS leaves open ──────────────────────────────────────────────────────────────────────────

OLD, NEW = ({"pk": {"S": "p"}, "sk": {"S": "a"}, "n": {"N": n}} for n in "12")
KEY = {"pk": {"S": "p"}, "sk": {"S": "a"}}
QUERY: Any = {
    "TableName": "t",
    "KeyConditionExpression": "pk = :pk",
    "ExpressionAttributeValues": {":pk": {"S": "p"}},
}


@pytest.fixture
def late() -> Cloud:
    """A cloud whose eventually consistent reads are as late as they may be; the row was changed a
    moment ago.
    """
    cloud = Cloud()
    cloud.lags = 1.0
    for item in (OLD, NEW):
        cloud._dynamodb_PutItem("t", item)
    return cloud


def seen(cloud: Cloud, *, consistent: bool) -> list[Any]:
    """The row, by each kind of read."""
    wanted = {"t": {"Keys": [KEY], "ConsistentRead": consistent}}
    return [
        cloud._dynamodb_GetItem("t", KEY, consistent).get("Item"),
        next(iter(cloud._dynamodb_BatchGetItem(wanted)["Responses"]["t"]), None),
        next(iter(cloud._dynamodb_Query(**QUERY, ConsistentRead=consistent)["Items"]), None),
    ]


def test_a_read_that_does_not_ask_for_consistency_may_see_the_past_for_a_while(late: Cloud) -> None:
    assert seen(late, consistent=True) == [NEW] * 3
    assert seen(late, consistent=False) == [OLD] * 3
    late.clock = lambda: 1_800_000_000.0 + LAG_SECONDS
    assert seen(late, consistent=False) == [NEW] * 3


def test_an_eventually_consistent_read_may_return_a_deleted_row(late: Cloud) -> None:
    late._dynamodb_DeleteItem("t", KEY)
    assert seen(late, consistent=True) == [None] * 3
    assert seen(late, consistent=False) == [NEW] * 3


@pytest.mark.parametrize("count", [0, 26])
def test_a_batch_of_writes_has_one_to_25_rows(count: int) -> None:
    puts = [{"PutRequest": {"Item": {"pk": {"S": f"{n}"}, "sk": {"S": "a"}}}} for n in range(count)]
    with pytest.raises(ClientError, match="ValidationException"):
        asyncio.run(Cloud()._dynamodb_BatchWriteItem({"t": puts}))


def test_no_row_is_larger_than_400_kilobytes() -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        Cloud()._dynamodb_PutItem("t", {**OLD, "n": {"S": "x" * 400 * 1024}})


def test_the_rest_of_a_batch_is_named_and_not_done() -> None:
    cloud = Cloud()
    cloud.leaves = 1.0
    put = {"PutRequest": {"Item": OLD}}
    assert asyncio.run(cloud._dynamodb_BatchWriteItem({"t": [put]})) == {
        "UnprocessedItems": {"t": [put]}
    }
    assert cloud.row("t", ("p", "a")) is None
