"""moto's DynamoDB as a function, without the web application around it.

The web application takes more than half of the CPU time of a call: it parses the request by the
model of the service, three times, and serializes the reply by it. This module calls the same
methods of moto.
"""

import base64
import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.utils import get_service_model
from moto.dynamodb.responses import DynamoHandler
from werkzeug.exceptions import HTTPException

METHODS = {
    operation: re.sub(r"(?<!^)([A-Z])", r"_\1", operation).lower()
    for operation in (
        "GetItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "Query",
        "Scan",
        "BatchGetItem",
        "BatchWriteItem",
        "TransactWriteItems",
    )
}
"""The methods of moto by operations. Bytes are the only values that JSON does not have."""


def execute(operation: str, account: str, region: str, body: bytes) -> bytes | None:
    """The body of the reply to a request. None if moto refuses it: then it had no effect.

    The web application of moto writes the refusal.
    """
    asked = json.loads(body, object_hook=_with_bytes)
    handler: Any = DynamoHandler()
    handler.current_account = account
    handler.region = region
    handler.body = handler.params = asked
    handler.uri_match = {}
    try:
        found = getattr(handler, METHODS[operation])().result
    except (ServiceException, HTTPException):
        return None
    members = _members(operation)
    reply = {name: value for name, value in found.items() if name in members and value is not None}
    return json.dumps(reply, default=_as_base64).encode()


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """An attribute with bytes instead of base64. Other objects have no text under the name `B`."""
    if value.keys() == {"B"} and isinstance(value["B"], str):
        return {"B": base64.b64decode(value["B"])}
    if value.keys() == {"BS"} and isinstance(value["BS"], list):
        return {"BS": [base64.b64decode(member) for member in value["BS"]]}
    return value


def _as_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@functools.cache
def _members(operation: str) -> Mapping[str, Any]:
    """The fields of the reply."""
    shape: Any = get_service_model("dynamodb").operation_model(operation).output_shape
    members: Mapping[str, Any] = shape.members
    return members
