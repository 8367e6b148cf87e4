"""moto's DynamoDB without its web application answers as it does with it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra import moto_dynamodb
from infra.aws_request import Request
from infra.emulator import Emulator

TABLE = "rows"
KEY = {"pk": {"S": "p"}, "sk": {"S": "a"}}
ROW = KEY | {
    "n": {"N": "1"},
    "data": {"B": "AP8="},
    "B": {"S": "AP8="},
    "list": {"L": [{"S": "x"}, {"B": "AA=="}]},
    "map": {"M": {"B": {"B": "/w=="}}},
    "set": {"BS": ["AA==", "/w=="]},
}
OTHER = KEY | {"sk": {"S": "b"}}
IN_TABLE = {"TableName": TABLE}
ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}
WITH_ROW = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
QUERY = IN_TABLE | {
    "KeyConditionExpression": "pk = :pk",
    "ExpressionAttributeValues": {":pk": {"S": "p"}},
}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("GetItem", IN_TABLE | {"Key": KEY}),
    ("PutItem", IN_TABLE | {"Item": ROW, "ReturnValues": "ALL_OLD"}),
    ("PutItem", IN_TABLE | {"Item": ROW, "ReturnValues": "ALL_OLD"}),
    ("PutItem", IN_TABLE | {"Item": ROW} | ABSENT | WITH_ROW),
    ("GetItem", IN_TABLE | {"Key": KEY, "ReturnConsumedCapacity": "TOTAL"}),
    (
        "UpdateItem",
        IN_TABLE
        | {
            "Key": KEY,
            "UpdateExpression": "SET #d = :d ADD n :one",
            "ExpressionAttributeNames": {"#d": "data"},
            "ExpressionAttributeValues": {":d": {"B": "AQ=="}, ":one": {"N": "1"}},
            "ReturnValues": "ALL_NEW",
        },
    ),
    ("UpdateItem", IN_TABLE | {"Key": KEY, "UpdateExpression": "SET name ="}),
    (
        "BatchWriteItem",
        {"RequestItems": {TABLE: [{"PutRequest": {"Item": OTHER | {"data": {"B": "AA=="}}}}]}},
    ),
    ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [KEY, OTHER]}}}),
    ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [KEY, KEY]}}}),
    ("Query", QUERY | {"Limit": 1, "ReturnConsumedCapacity": "INDEXES"}),
    ("Query", QUERY | {"ScanIndexForward": False, "ExclusiveStartKey": OTHER}),
    ("Scan", IN_TABLE | {"Limit": 1}),
    ("TransactWriteItems", {"TransactItems": [{"Put": IN_TABLE | {"Item": ROW} | ABSENT}]}),
    ("TransactWriteItems", {"TransactItems": [{"Delete": IN_TABLE | {"Key": OTHER}}]}),
    ("DeleteItem", IN_TABLE | {"Key": KEY, "ReturnValues": "ALL_OLD"}),
    ("GetItem", {"TableName": "absent", "Key": KEY}),
]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    found = Emulator()
    names = ("pk", "sk")
    schema = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(names, ("HASH", "RANGE"), strict=True)
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }
    call(found, "CreateTable", IN_TABLE | schema)
    yield found
    found.close()


def call(emulator: Emulator, operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
    """The status and the body of a reply."""
    headers = {
        "x-amz-target": f"DynamoDB_20120810.{operation}",
        "content-type": "application/x-amz-json-1.0",
    }
    answer = emulator.call(Request("POST", "/", headers, json.dumps(asked).encode()))
    return answer.status, json.loads(answer.body)


def replies(emulator: Emulator) -> list[Any]:
    return [(operation, *call(emulator, operation, asked)) for operation, asked in CALLS]


def test_each_reply_and_each_refusal_is_that_of_the_web_application(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {operation for operation, _ in CALLS} == moto_dynamodb.METHODS.keys()
    without_application = replies(emulator)
    monkeypatch.setattr(moto_dynamodb, "METHODS", {})
    assert without_application == replies(emulator)
    assert {status for _, status, _ in without_application} == {200, 400}


def test_a_request_that_succeeds_does_not_reach_the_web_application(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.emulator._application", None)
    assert call(emulator, "PutItem", IN_TABLE | {"Item": ROW})[0] == 200
    assert call(emulator, "PutItem", IN_TABLE | {"Item": ROW} | ABSENT)[0] == 500
