import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import NAMES

ROW = {"pk": {"S": "in-process"}, "sk": {"S": "row"}, "data": {"B": b"\x00\xff" * 50}}
KEY = {name: ROW[name] for name in ("pk", "sk")}
OBJECT: dict[str, Any] = {"Bucket": NAMES["Bucket"], "Key": "in-process/a b%2F+é"}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("dynamodb", "put_item", {"TableName": NAMES["HubTable"], "Item": ROW}),
    ("dynamodb", "get_item", {"TableName": NAMES["HubTable"], "Key": KEY}),
    (
        "dynamodb",
        "put_item",
        {
            "TableName": NAMES["HubTable"],
            "Item": ROW,
            "ConditionExpression": "attribute_not_exists(pk)",
        },
    ),
    ("dynamodb", "delete_item", {"TableName": NAMES["HubTable"], "Key": KEY}),
    ("s3", "put_object", OBJECT | {"Body": b"\x00\xff" * 50}),
    ("s3", "put_object", OBJECT | {"Body": b""}),
    ("s3", "get_object", OBJECT),
    ("s3", "head_object", OBJECT),
    ("s3", "delete_object", OBJECT),
    ("s3", "get_object", {"Bucket": NAMES["Bucket"], "Key": "in-process/absent"}),
    ("s3", "head_object", {"Bucket": NAMES["Bucket"], "Key": "in-process/absent"}),
]


async def replies(**credentials: str) -> list[Any]:
    session: Any = aioboto3.Session()
    async with (
        session.client("dynamodb", **credentials) as dynamodb,
        session.client("s3", **credentials) as s3,
    ):
        clients = {"dynamodb": dynamodb, "s3": s3}
        return [
            await reply(clients[service], operation, parameters)
            for service, operation, parameters in CALLS
        ]


async def reply(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    try:
        found = await getattr(client, operation)(**parameters)
    except ClientError as error:
        found = error.response
    if "Body" in found:
        found["Body"] = await found["Body"].read()
    headers = found.pop("ResponseMetadata")["HTTPHeaders"]
    return found, sorted(headers)


def without_times(found: list[Any]) -> str:
    return repr([{**reply, "LastModified": "", "VersionId": ""} for reply, _ in found])


@pytest.mark.parametrize("secret", ["right", "wrong"])
def test_a_call_without_a_connection_has_the_reply_that_it_has_over_a_connection(secret: str):
    key = os.environ["AWS_SECRET_ACCESS_KEY"] if secret == "right" else "other"
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": key}
    in_process = asyncio.run(replies(**credentials))
    with ThreadPoolExecutor() as pool:
        over_connection = pool.submit(asyncio.run, replies(**credentials)).result()
    assert without_times(in_process) == without_times(over_connection)
    assert [headers for _, headers in in_process] == [headers for _, headers in over_connection]
    assert ("SignatureDoesNotMatch" in without_times(in_process)) is (secret == "wrong")
