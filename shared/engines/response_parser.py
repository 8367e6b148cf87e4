"""A faster parser for DynamoDB's replies to reads. It replaces the parser of botocore.

botocore checks each attribute of each row against every possible type. For the 2,400 rows of a
clone this took most of our CPU time. The parsed result here is the same. botocore still parses
errors.
"""

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

READS = ("GetItem", "BatchGetItem", "Query")


def install(client: "DynamoDBClient") -> None:
    """Parse the replies to this client's reads here."""
    for operation in READS:
        client.meta.events.register(f"before-parse.dynamodb.{operation}", _read)


def _read(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Handle the event that botocore emits before it parses a body.

    Values in the customized reply take precedence over the values that botocore parses.
    """
    if response_dict["status_code"] >= 300:
        return
    reply = json.loads(response_dict["body"])
    if "Item" in reply:
        _decode_bytes(reply["Item"])
    for rows in (reply.get("Items", ()), *reply.get("Responses", {}).values()):
        for row in rows:
            _decode_bytes(row)
    customized_response_dict |= reply
    response_dict["body"] = b"{}"


def _decode_bytes(row: dict[str, Any]) -> None:
    """Decode binary attributes from base64.

    In our rows they never occur in a list (see `items`).
    """
    for typed in row.values():
        if "B" in typed:
            typed["B"] = b64decode(typed["B"])
