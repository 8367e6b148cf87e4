"""Write a value as a reply: in JSON or msgpack, with an entity tag and cache headers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.responses import Response

from shared import codec, conditional
from shared.model import Repo, Visibility


def reply(request: Request, value: Mapping[str, Any], status: int = 200) -> Response:
    """A reply in the caller's format."""
    return reply_encoded(
        request,
        lambda: codec.encode(value, as_msgpack=True),
        lambda: codec.encode(value, as_msgpack=False),
        status,
    )


def reply_encoded(
    request: Request,
    in_msgpack: Callable[[], bytes],
    in_json: Callable[[], bytes],
    status: int = 200,
) -> Response:
    """A reply in the format of the Accept header; JSON without one. Raises TooLarge."""
    as_msgpack = codec.accepts_msgpack(request.headers.get("accept", ""))
    body = codec.check_reply(in_msgpack() if as_msgpack else in_json(), as_msgpack=as_msgpack)
    return Response(body, status, media_type=codec.MSGPACK if as_msgpack else codec.JSON)


def reply_records(
    request: Request, name: str, records: Sequence[bytes], next_cursor: str | None
) -> Response:
    """A page of stored records, which are msgpack, and the cursor of the next page, if any."""
    if next_cursor:
        rest = {"next_cursor": next_cursor}
    else:
        rest = {}
    return reply_encoded(
        request,
        lambda: codec.pack_map_of_lists({name: records}, rest),
        lambda: codec.encode(
            {name: list(map(codec.unpack_record, records)), **rest}, as_msgpack=False
        ),
    )


def unless_held(request: Request, response: Response, cached: dict[str, str]) -> Response:
    """The response with a strong entity tag over its bytes; 304 for a client that has these bytes.

    `cached` are the headers that control caches.
    """
    tag = conditional.tag_of(response.body)
    headers = {"ETag": tag, **cached}
    if conditional.is_held(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response


def revalidated(repo: Repo) -> dict[str, str]:
    """The cache headers of a reply that may change at any time: a cache revalidates it."""
    if repo.visibility is Visibility.PUBLIC:
        return {"Cache-Control": "no-cache", "Vary": "Accept"}
    return {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
