"""The AWS calls of a function, as the permissions that they need. They are recorded where every
client of botocore passes.

Every function has a loop of its own, and therefore own clients, keys and caches, as its containers
have. A presigned URL is no call, but has the permission of its signer, so its signing counts as
one.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pytest
from aiobotocore.signers import AioRequestSigner
from botocore.exceptions import ClientError
from fastapi.routing import APIRoute

from shared import lambdas
from shared.engines import selection
from tests import client
from tests.cloud_calls import CloudCall, intercepted
from tests.conftest import NAMES

T = TypeVar("T")

ROW_WRITES = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
TABLES = {NAMES["HubTable"]: "hub", NAMES["CounterTable"]: "counters"}


class Use(NamedTuple):
    """One permission that was needed: (`dynamodb:PutItem`, `hub`, the partition) or
    (`s3:PutObject`, the key).
    """

    action: str
    place: str
    """A table, a parameter, `bucket`, or the key of an object, which has a slash."""
    partition: str = ""


class Recorder:
    """What each function used, by its module, and which routes were, while `watching`."""

    def __init__(self) -> None:
        self.uses: dict[str, set[Use]] = defaultdict(set)
        self.routes: set[tuple[str, str]] = set()
        self.function = ""
        self._loops: dict[str, asyncio.AbstractEventLoop] = {}

    def fresh(self, function: str) -> None:
        """From now on, a function's container has just been started."""
        if loop := self._loops.pop(function, None):
            loop.run_until_complete(selection.close())
            loop.close()

    @contextmanager
    def watching(self) -> Iterator["Recorder"]:
        """Watch every function that is called through `builders`."""
        presign = AioRequestSigner.generate_presigned_url
        recorder, send = self, APIRoute.handle

        async def handle(route: APIRoute, scope: Any, *rest: Any) -> None:
            self.routes.add((scope["method"], route.path))
            await send(route, scope, *rest)

        async def record(call: CloudCall) -> Any:
            recorder._note(call.operation, call.parameters)
            try:
                return await call.send()
            except ClientError as error:
                if (
                    call.operation in ("GetObject", "CopyObject")
                    and error.response["Error"]["Code"] == "NoSuchKey"
                ):
                    # For a caller that may not list the bucket, S3 answers 403 for an absent key.
                    recorder.use("s3:ListBucket", "bucket")
                raise

        async def generate_presigned_url(
            self: Any, request_dict: Any, operation_name: str, **more: Any
        ) -> str:
            url: str = await presign(
                self, request_dict=request_dict, operation_name=operation_name, **more
            )
            recorder.use(f"s3:{operation_name}", urlsplit(url).path.split("/", 2)[2])
            return url

        def in_container(call: Callable[..., T]) -> Callable[..., T]:
            def called(function: str, *rest: Any, **options: Any) -> T:
                lambdas.use_own_loop()
                usual = lambdas._thread.loop
                if function not in self._loops:
                    self._loops[function] = asyncio.new_event_loop()
                self.function, lambdas._thread.loop = function, self._loops[function]
                try:
                    return call(function, *rest, **options)
                finally:
                    self.function, lambdas._thread.loop = "", usual

            return called

        with pytest.MonkeyPatch.context() as patch, intercepted(record):
            patch.setattr(AioRequestSigner, "generate_presigned_url", generate_presigned_url)
            patch.setattr(client, "invoke", in_container(client.invoke))
            patch.setattr(client, "run_job", in_container(client.run_job))
            patch.setattr(APIRoute, "handle", handle)
            try:
                yield self
            finally:
                for function in list(self._loops):
                    self.fresh(function)

    def use(self, action: str, place: str, partition: str = "") -> None:
        """The function that is being called needed this."""
        if self.function:
            self.uses[self.function].add(Use(action, place, partition))

    def _note(self, operation: str, asked: Mapping[str, Any]) -> None:
        match operation:
            case "GetItem" | "UpdateItem" | "DeleteItem":
                self.use(
                    f"dynamodb:{operation}", TABLES[asked["TableName"]], asked["Key"]["pk"]["S"]
                )
            case "PutItem":
                self.use(
                    f"dynamodb:{operation}", TABLES[asked["TableName"]], asked["Item"]["pk"]["S"]
                )
            case "Query":
                pk = asked["ExpressionAttributeValues"][":pk"]["S"]
                self.use(f"dynamodb:{operation}", TABLES[asked["TableName"]], pk)
            case "BatchGetItem":
                for table, request in asked["RequestItems"].items():
                    for key in request["Keys"]:
                        self.use(f"dynamodb:{operation}", TABLES[table], key["pk"]["S"])
            case "BatchWriteItem":
                for table, writes in asked["RequestItems"].items():
                    for write in writes:
                        [(_, request)] = write.items()
                        row = request.get("Item") or request["Key"]
                        self.use(f"dynamodb:{operation}", TABLES[table], row["pk"]["S"])
            case "TransactWriteItems":
                # A transaction has no permission of its own: it takes those of its parts.
                for part in asked["TransactItems"]:
                    [(kind, write)] = part.items()
                    key = write.get("Key") or write["Item"]
                    self.use(
                        f"dynamodb:{ROW_WRITES[kind]}", TABLES[write["TableName"]], key["pk"]["S"]
                    )
            case "GetObject":
                version = "Version" if asked.get("VersionId") else ""
                self.use(f"s3:GetObject{version}", asked["Key"])
            case "ListObjectsV2":
                self.use("s3:ListBucket", "bucket")
            case "ListObjectVersions":
                self.use("s3:ListBucketVersions", "bucket")
            case "DeleteObjects":
                for one in asked["Delete"]["Objects"]:
                    self.use("s3:DeleteObject", one["Key"])
                    if one.get("VersionId"):
                        self.use("s3:DeleteObjectVersion", one["Key"])
            case "PutObject":
                self.use("s3:PutObject", asked["Key"])
            case "CopyObject":
                source = asked["CopySource"]
                version = "Version" if source.get("VersionId") else ""
                self.use(f"s3:GetObject{version}", source["Key"])
                self.use("s3:PutObject", asked["Key"])
            case "GetParameter":
                self.use("ssm:GetParameter", asked["Name"])
            case _:
                raise NotImplementedError(
                    f"{operation} is called by {self.function or 'nobody'}: say what it takes"
                )


def matches(pattern: str, text: str) -> bool:
    """Whether IAM's StringLike, or a resource's pattern, fits: `*` is any text, `?` one
    character.
    """
    parts = (
        ".*" if part == "*" else "." if part == "?" else re.escape(part)
        for part in re.split(r"([*?])", pattern)
    )
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
