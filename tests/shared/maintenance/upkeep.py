"""How the tests of fsck, rebuild, gc and purge look into a repository, and break it."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import boto3
from boto3.dynamodb.conditions import Key

from shared import lambdas
from shared.engines import selection
from shared.metadata.due import Due, Work
from shared.model import Repo, RepoId
from shared.objects import keys
from shared.objects.recent import Recent
from shared.objects.store import REMEMBERED_BYTES
from shared.stores import Stores
from tests import client
from tests.builders import Record
from tests.conftest import NAMES

T = TypeVar("T")


def run(work: Callable[[Stores], Awaitable[T]]) -> T:
    """Work on the embedded AWS as another process does: without the caches of this one."""

    async def opened() -> T:
        stores = await selection.stores()
        return await work(replace(stores, recent=Recent(REMEMBERED_BYTES), limits=selection.LIMITS))

    lambdas.use_own_loop()
    return asyncio.get_event_loop().run_until_complete(opened())


def repo(owner: str, slug: str = "song") -> Repo:
    """A repository that exists."""

    async def get(stores: Stores) -> Repo:
        found = await stores.repos.get(owner, slug)
        assert found
        return found

    return run(get)


@functools.cache
def table() -> Any:
    return boto3.resource("dynamodb").Table(NAMES["HubTable"])


def rows(repo_id: str, part: str) -> list[Record]:
    """The rows of a repository's partitions that begin with this (`#C`, `#LANE#`, …).

    The whole table is looked through: nothing is taken for granted of where rows should be.
    """
    found: list[Record] = []
    options: Record = {"FilterExpression": Key("pk").begins_with(f"REPO#{repo_id}{part}")}
    while True:
        page = table().scan(**options)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return found
        options["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def index_rows(repo_id: str) -> list[Record]:
    """All data that rebuild-index can write again."""
    kinds = tuple(f"REPO#{repo_id}{part}" for part in ("#O", "#S", "#C", "#LANE#"))
    return [row for row in rows(repo_id, "#") if row["pk"].startswith(kinds)]


def remove_row(row: Record) -> None:
    table().delete_item(Key={"pk": row["pk"], "sk": row["sk"]})


def change_row(row: Record, **values: Any) -> None:
    table().put_item(Item={**row, **values})


@functools.cache
def s3() -> Any:
    return boto3.client("s3")


class Bytes:
    """The keys of a repository in the bucket."""

    def __init__(self, repo_id: str) -> None:
        self._s3 = s3()
        self.bucket, self.prefix = NAMES["Bucket"], keys.stored(repo_id)

    def keys(self, folder: str = "") -> list[str]:
        listed = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + folder)
        return [found["Key"] for found in listed.get("Contents", [])]

    def get(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def put(self, key: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def remove(self, key: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=key)

    def versions(self) -> int:
        listed = self._s3.list_object_versions(Bucket=self.bucket, Prefix=self.prefix)
        return len(listed.get("Versions", [])) + len(listed.get("DeleteMarkers", []))


def clone(owner: str, slug: str = "song") -> Any:
    """All that a clone receives, in an order that does not depend on how it was read."""
    heads = client.heads(owner, slug, by=owner)
    answer = client.fetch(owner, slug, list(heads.values()), by=owner)
    assert answer.status == 200, answer.body
    value = answer.value
    return {
        "heads": heads,
        "commits": sorted(value["commits"], key=lambda commit: commit["commit_id"]),
        "snapshots": sorted(value["snapshots"], key=lambda snapshot: snapshot["snapshot_id"]),
        "objects": sorted(value["objects"], key=lambda found: found["object_id"]),
    }


def put_due(owner: str, work: str, at: float, slug: str = "song") -> None:
    """List work on a repository as due."""
    put_due_of(repo(owner, slug).repo_id, work, at)


def put_due_of(repo_id: RepoId, work: str, at: float) -> None:
    """The same, by the id of the repository."""
    due = Due(int(at), Work(work), repo_id)
    run(lambda stores: stores.due.put([due]))
