"""Read the body, the query and the path of a request."""

from collections.abc import AsyncIterator
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel

from shared import decoding
from shared.decoding import Bound
from shared.errors import MalformedBody, UnsupportedMedia
from shared.middleware import HOLD
from shared.protocol.base import parse

ID_LIST_BYTES = 16 * 1024 * 1024
"""The largest body that has only ids: 100,000 haves are 6.6 MB."""

API_BYTES = 64 * 1024
"""The largest body of an API route."""

FORM_TYPE = "application/x-www-form-urlencoded"
FIELDS = 50
"""The most fields of a form."""

IN_STEPS = "push an older commit first, as a branch of its own, and few new files in one commit"
"""The advice for a push that is too large for the relay too.

The stock client sends all new commits in one push.
"""

BY_RELAY = (
    "push through the relay, which sends a large push in parts: `pieria connect URL-OF-THE-HUB`"
    f" prints the remote to add; without it, {IN_STEPS}"
)
"""The advice for a push that is too large for one request."""

B = TypeVar("B", bound=BaseModel)


async def body(
    request: Request,
    shape: type[B],
    max_bytes: int = ID_LIST_BYTES,
    advice: str = "send less at once",
) -> B:
    """The request's body as a value of `shape`.

    `max_bytes` limits the body as it is sent, and again when it is expanded.
    Raises UnsupportedMedia, MalformedBody, Unprocessable, and TooLarge with this advice.
    """
    return await decoded(request, shape, received(request, max_bytes, advice), max_bytes, advice)


async def decoded(
    request: Request, shape: type[B], pieces: AsyncIterator[bytes], max_bytes: int, advice: str
) -> B:
    """Like `body`, for bytes that are not in the request.

    They have the request's Content-Type and Content-Encoding.
    """
    bound = Bound(max_bytes, advice, request.scope[HOLD])
    headers = request.headers
    value = await decoding.decoded(
        pieces, headers.get("content-type", ""), headers.get("content-encoding", ""), bound
    )
    if not isinstance(value, dict):
        raise MalformedBody(f"the body must be a map, not a {type(value).__name__}")
    return parse(shape, value)


async def received(request: Request, max_bytes: int, advice: str) -> AsyncIterator[bytes]:
    """The request's body, piece by piece.

    Raises TooLarge; before the first byte if Content-Length is above `max_bytes`.
    """
    too_large = decoding.too_large(max_bytes, advice)
    declared = request.headers.get("content-length", "")
    # Python refuses to parse thousands of digits. The first 19 are enough to compare.
    if declared.isdecimal() and int(declared[:19]) > max_bytes:
        raise too_large
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > max_bytes:
            raise too_large
        yield piece


async def form(request: Request) -> list[tuple[str, str]]:
    """The fields of a form, in their order. Raises UnsupportedMedia, MalformedBody or TooLarge."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM_TYPE or request.headers.get("content-encoding"):
        raise UnsupportedMedia(f"send the form as {FORM_TYPE}, without a content coding")
    pieces = received(request, API_BYTES, "send shorter texts")
    body = b"".join([piece async for piece in pieces])
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FIELDS,
        )
    except ValueError:
        raise MalformedBody(
            f"the body is not a form in UTF-8 with at most {FIELDS} fields"
        ) from None


def rest_of_path(request: Request, parts: int) -> str:
    """The path after its first `parts` parts.

    A `{name:path}` of a route would lose a newline at the end.
    """
    return str(request.scope["path"]).split("/", parts + 1)[-1]


def query(request: Request, shape: type[B]) -> B:
    """The request's query string as a value of `shape`. Raises Unprocessable."""
    return parse(shape, dict(request.query_params), "the query")
