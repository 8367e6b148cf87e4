"""The description of a route for the OpenAPI document.

It consists of plain dictionaries, and so costs nothing when a function starts. Only the generator
of the document builds the schemas.
"""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel

from shared import codec
from shared.errors import (
    ApiError,
    CostLimited,
    HubLimited,
    Internal,
    MalformedBody,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from shared.protocol.hub import Error

_ANY_TOKEN: tuple[type[ApiError], ...] = (
    Unauthorized,
    RateLimited,
    CostLimited,
    HubLimited,
    Unavailable,
)
_ANY_BODY: tuple[type[ApiError], ...] = (MalformedBody, TooLarge, UnsupportedMedia, Unprocessable)
SECURITY: dict[str, Any] = {
    "required": [{"token": []}],
    "optional": [{}, {"token": []}],
    "none": [],
}
"""The OpenAPI security of a route. An empty requirement stands for a request without a token."""

FORM = "application/x-www-form-urlencoded"
QUERY = "x-query"
"""The key with the name of a query's model. The generator replaces it by the parameters."""


def operation(
    *errors: type[ApiError],
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    form: type[BaseModel] | None = None,
    auth: Literal["required", "optional", "none"] = "required",
) -> dict[str, Any]:
    """The `openapi_extra` of a route: what FastAPI cannot see in the signature of the function.

    `errors` are the errors of the route in addition to those of its token, query and body.
    """
    all_errors = [*errors, Internal, *(() if auth == "none" else _ANY_TOKEN)]
    if body or form:
        all_errors += _ANY_BODY
    elif query:
        all_errors.append(Unprocessable)
    described: dict[str, Any] = {"responses": _refusals(all_errors), "security": SECURITY[auth]}
    if auth == "none":
        described["responses"]["4XX"] = _refusal("A server or a proxy cannot read the request.")
    if form:
        described["requestBody"] = {
            "description": "As a form.",
            "required": True,
            "content": {FORM: {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}},
        }
    if body:
        schema = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
        described["requestBody"] = {
            "description": f"In JSON, or with the same shape as {codec.MSGPACK}.",
            "required": True,
            "content": {codec.JSON: schema},
        }
    if query:
        described[QUERY] = query.__name__
    return described


def _refusals(errors: Iterable[type[ApiError]]) -> dict[str, Any]:
    """The errors by status, each with its possible codes."""
    codes: dict[int, set[str]] = {}
    for error in errors:
        codes.setdefault(error.status, set()).add(error.code)
    return {
        str(status): _refusal(", ".join(f"`{code}`" for code in sorted(codes[status])))
        for status in sorted(codes)
    }


def _refusal(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Error.__name__}"}
    return {"description": description, "content": {codec.JSON: {"schema": schema}}}
