"""Replies to an exception that a route raised: one JSON body for every failure."""

from typing import cast

from fastapi import Request
from starlette.responses import Response

from shared.errors import ApiError, HubLimited, Internal
from shared.middleware import refused


async def reply_to_failure(request: Request, error: Exception) -> Response:
    """The reply to an ApiError. The log line gets the cause of a failure of the hub."""
    failure = cast(ApiError, error)  # the class it is registered for
    if failure.status >= 500 and not isinstance(failure, HubLimited):
        request.scope["failure"] = failure  # logged, because the reply must not contain the cause
    return refused(request.scope, failure)


async def reply_to_bug(request: Request, error: Exception) -> Response:
    """The reply to any other exception. It has the id of the request, to find the log line by."""
    return refused(request.scope, Internal(request.scope["request_id"]))
