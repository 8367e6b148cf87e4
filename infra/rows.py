"""Writes of DynamoDB rows, as requests and as results.

A request describes a change: an update, a condition, a transaction. Its result is the image of each
row that it wrote. An image can be written again in any state, and only the last image of a row is
needed.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

from infra.moto_patches import wire_form
from infra.records import Request

BATCH_WRITE_ITEMS = 25
"""DynamoDB's limit for one BatchWriteItem."""
ROW_WRITES = {"PutItem", "UpdateItem", "DeleteItem"}

Write = dict[str, Any]
"""`{"PutRequest": {"Item": …}}` or `{"DeleteRequest": {"Key": …}}`."""


def operation(request: Request) -> str | None:
    """The name of the DynamoDB or SSM operation, None for S3."""
    target = request.headers.get("x-amz-target", "")
    return target.partition(".")[2] or None


def dynamodb_request(name: str, body: dict[str, Any]) -> Request:
    """A request to DynamoDB, unsigned."""
    headers = {
        "x-amz-target": f"DynamoDB_20120810.{name}",
        "content-type": "application/x-amz-json-1.0",
    }
    return Request("POST", "/", headers, json.dumps(body, separators=(",", ":")).encode())


def batch(writes: dict[str, list[Write]]) -> Request:
    """A BatchWriteItem of these writes by table."""
    return dynamodb_request("BatchWriteItem", {"RequestItems": writes})


def images(
    request: Request, tables: Mapping[str, Table], without_tables: frozenset[str]
) -> Request | None:
    """The current contents of the rows that a request wrote, as one BatchWriteItem.

    None if it wrote no rows.
    """
    writes: dict[str, list[Write]] = {}
    for name, attributes in _written(request):
        if name not in without_tables:
            writes.setdefault(name, []).append(_image(tables[name], attributes))
    return batch(writes) if writes else None


class Latest:
    """Collects writes in their order, and keeps the last write of each row."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._writes: dict[str, dict[str, Write]] = {}

    def add(self, request: Request) -> bool:
        """Take the writes of a request.

        Returns False, and takes nothing, if the request must be executed by itself.
        """
        if operation(request) != "BatchWriteItem":
            return False
        asked: dict[str, list[Write]] = json.loads(request.body)["RequestItems"]
        if not asked.keys() <= self._tables.keys():
            return False
        for name, writes in asked.items():
            latest = self._writes.setdefault(name, {})
            for write in writes:
                key = _key(self._tables[name], _attributes(write))
                latest[json.dumps(key, sort_keys=True)] = write
        return True

    def taken(self) -> Iterator[Request]:
        """Return the collected writes as requests of at most `BATCH_WRITE_ITEMS`, and clear the
        collection."""
        for name, latest in self._writes.items():
            writes = list(latest.values())
            for start in range(0, len(writes), BATCH_WRITE_ITEMS):
                yield batch({name: writes[start : start + BATCH_WRITE_ITEMS]})
        self._writes = {}


def _written(request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """(table, attributes with the key) of each row that a request writes."""
    body = json.loads(request.body)
    match operation(request):
        case "PutItem":
            yield body["TableName"], body["Item"]
        case "BatchWriteItem":
            for name, writes in body["RequestItems"].items():
                for write in writes:
                    yield name, _attributes(write)
        case "TransactWriteItems":
            for item in body["TransactItems"]:
                [(action, asked)] = item.items()
                if action != "ConditionCheck":
                    yield asked["TableName"], asked.get("Item") or asked["Key"]
        case _:
            yield body["TableName"], body["Key"]


def _attributes(write: Write) -> dict[str, Any]:
    [asked] = write.values()
    attributes: dict[str, Any] = asked.get("Item") or asked["Key"]
    return attributes


def _key(table: Table, attributes: dict[str, Any]) -> dict[str, Any]:
    names = [table.hash_key_attr, table.range_key_attr]
    return {name: attributes[name] for name in names if name}


def _image(table: Table, attributes: dict[str, Any]) -> Write:
    key = _key(table, attributes)
    range_key = DynamoType(key[table.range_key_attr]) if table.range_key_attr else None
    row = table.get_item(DynamoType(key[table.hash_key_attr]), range_key)
    if row is None:
        return {"DeleteRequest": {"Key": key}}
    item = {name: wire_form(value) for name, value in row.to_json()["Attributes"].items()}
    return {"PutRequest": {"Item": item}}
