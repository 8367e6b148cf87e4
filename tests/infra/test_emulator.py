"""What a request is, decided before moto sees it.

What moto then does is in test_embedded_aws.py.
"""

import pytest

from infra.emulator import Effect, admitted, effect, written_table
from infra.records import Request

SIGNED = {"authorization": "AWS4-HMAC-SHA256 …"}


def dynamodb(operation: str, body: bytes = b"{}") -> Request:
    """A signed call of DynamoDB."""
    return Request("POST", "/", SIGNED | {"x-amz-target": f"DynamoDB_20120810.{operation}"}, body)


@pytest.mark.parametrize(
    ("operation", "does"),
    [
        (name, Effect.READ)
        for name in ("GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable", "ListTables")
    ]
    + [
        (name, Effect.CONTENTS)
        for name in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
    ]
    + [
        (name, Effect.STRUCTURE)
        for name in ("CreateTable", "DeleteTable", "UpdateTimeToLive", "ImportTable")
    ],
)
def test_what_a_call_of_dynamodb_does(operation: str, does: Effect) -> None:
    assert effect(dynamodb(operation)) is does


@pytest.mark.parametrize(
    ("request_line", "does"),
    [
        ("GET /b/k", Effect.READ),
        ("HEAD /b/k", Effect.READ),
        ("GET /b?list-type=2", Effect.READ),
        ("PUT /b/k", Effect.CONTENTS),
        ("PUT /b/a/b%2Fc?x-id=PutObject", Effect.CONTENTS),
        ("DELETE /b/k?x-id=DeleteObject", Effect.CONTENTS),
        ("POST /b?delete", Effect.CONTENTS),
        ("PUT /b", Effect.STRUCTURE),
        ("PUT /b/", Effect.STRUCTURE),
        ("DELETE /b", Effect.STRUCTURE),
        ("PUT /b?versioning", Effect.STRUCTURE),
        ("PUT /b/k?tagging", Effect.STRUCTURE),
        ("DELETE /b/k?versionId=1", Effect.STRUCTURE),
        ("POST /b/k?uploads", Effect.STRUCTURE),
        ("PUT /b/k?partNumber=1&uploadId=x", Effect.STRUCTURE),
    ],
)
def test_what_a_request_to_s3_does(request_line: str, does: Effect) -> None:
    method, target = request_line.split()
    assert effect(Request(method, target, {}, b"")) is does


def test_only_what_matters_is_carried_out() -> None:
    headers = SIGNED | {
        "host": "h",
        "user-agent": "u",
        "x-amz-date": "d",
        "if-match": '"e"',
        "x-amz-meta-k": "v",
    }
    assert admitted(Request("PUT", "/b/k", headers, b"x")) == Request(
        "PUT", "/b/k", {"if-match": '"e"', "x-amz-meta-k": "v"}, b"x"
    )


def test_a_presigned_request_is_carried_out_without_its_signature() -> None:
    query = "X-Amz-Date=20260102T030359Z&X-Amz-Expires=6&X-Amz-Signature=s&x-id=PutObject&q=a%20%2B"
    found = admitted(Request("PUT", f"/b/k%2F?{query}", {}, b"x"))
    assert found == Request("PUT", "/b/k%2F?x-id=PutObject&q=a%20%2B", {}, b"x")


def test_only_a_write_of_one_row_has_a_table() -> None:
    assert written_table(dynamodb("UpdateItem", b'{"TableName":"t"}')) == "t"
    assert written_table(dynamodb("BatchWriteItem", b'{"RequestItems":{"t":[]}}')) is None
    assert written_table(Request("PUT", "/b/k", {}, b"")) is None
