"""The description of a route for the OpenAPI document.

It consists of plain dictionaries, and so costs nothing when a function starts. Only the generator
of the document builds the schemas.
"""

from collections.abc import Iterable
from typing import Any, Literal

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
    "needed": [{"token": []}],
    "welcome": [{}, {"token": []}],
    "ignored": [],
}
"""The OpenAPI security of a route. An empty requirement stands for a request without a token."""

QUERY = "x-query"
"""The key with the model of a route's query. `manual` replaces it by the parameters."""


def documented(
    *fails: type[ApiError],
    takes: type[Any] | None = None,
    asks: type[Any] | None = None,
    gives: type[Any] | None = None,
    status: int = 200,
    replies: dict[str, Any] | None = None,
    identity: Literal["needed", "welcome", "ignored"] = "needed",
) -> dict[str, Any]:
    """The arguments of a route's decorator that describe the route in the OpenAPI document.

    `takes`, `asks` and `gives` are the models of the body, the query and the response. `fails` has
    the errors of the route in addition to those of its token, query and body. Without `gives`, a
    success has no body. `replies` replaces all responses that are not errors.
    """
    failures = [*fails, Internal, *(() if identity == "ignored" else _ANY_TOKEN)]
    failures += _ANY_BODY if takes else (Unprocessable,) if asks else ()
    operation: dict[str, Any] = {
        "responses": {
            **(replies or {str(status): success(gives)}),
            **_refusals(failures),
        },
        "security": SECURITY[identity],
    }
    if takes:
        operation["requestBody"] = {"required": True, **_content(takes.__name__)}
    if asks:
        operation[QUERY] = asks.__name__
    return {"status_code": status, "openapi_extra": operation}


def success(gives: type[Any] | None) -> dict[str, Any]:
    """A success in the OpenAPI document, with a body of this model or without one."""
    return {"description": "Done.", **(_content(gives.__name__) if gives else {})}


def _content(name: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return {"content": {codec.JSON: schema, codec.MSGPACK: schema}}


def _refusals(failures: Iterable[type[ApiError]]) -> dict[str, Any]:
    """The errors by status, each with its possible codes."""
    codes: dict[int, set[str]] = {}
    for failure in failures:
        codes.setdefault(failure.status, set()).add(failure.code)
    return {
        str(status): refusal(", ".join(f"`{code}`" for code in sorted(codes[status])))
        for status in sorted(codes)
    }


def refusal(what: str) -> dict[str, Any]:
    """An error in the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{Error.__name__}"}
    return {"description": what, "content": {codec.JSON: {"schema": schema}}}
