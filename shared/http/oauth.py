"""Requests and replies of OAuth 2.0: forms, and refusals as RFC 6749 (5.2) describes them."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from shared import codec, middleware
from shared.errors import ApiError, HubLimited, InvalidTokenRequest, TokenRefused
from shared.http import requests
from shared.protocol.base import parse

NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_NOT_IN_A_DESCRIPTION = re.compile(r'[^ -~]|["\\]')

B = TypeVar("B", bound=BaseModel)


async def form(request: Request, shape: type[B]) -> B:
    """The body, a form, as a value of `shape`.

    Raises InvalidTokenRequest for a field that is sent twice; UnsupportedMedia, MalformedBody,
    Unprocessable or TooLarge.
    """
    pairs = await requests.form(request)
    counted = Counter(name for name, _ in pairs)
    if len(counted) < len(pairs):
        raise InvalidTokenRequest("send each field once")
    return parse(shape, dict(pairs), "the form")


def token_reply(value: Mapping[str, Any]) -> Response:
    """The reply with a token. No cache stores it."""
    return JSONResponse(value, headers=NOT_STORED)


def refusal(request: Request, error: ApiError) -> Response:
    """The reply to an error: the body of every refusal, with `error` and `error_description`."""
    if error.status >= 500 and not isinstance(error, HubLimited):
        request.scope["failure"] = error
    reply = middleware.refusal(error)
    # The message comes first: clients print only the beginning of the body.
    value = {
        **json.loads(bytes(reply.body)),
        "error": _code(error),
        "error_description": _NOT_IN_A_DESCRIPTION.sub("'", error.message),
    }
    content = json.dumps(value, ensure_ascii=False)
    headers = {**error.headers, **NOT_STORED}
    return Response(content, error.status, headers, media_type=codec.JSON)


def _code(error: ApiError) -> str:
    """The code of RFC 6749 or RFC 8693."""
    if isinstance(error, TokenRefused):
        return error.code
    if error.status == 401:
        return "invalid_client"
    if error.status in (429, 503):
        return "temporarily_unavailable"
    return "server_error" if error.status >= 500 else "invalid_request"
