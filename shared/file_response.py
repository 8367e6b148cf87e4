"""One object as an HTTP reply: entity tag, range, caching.

Entity tags are strong (RFC 9110, 8.8.3). A digest is a strong tag, because it identifies the bytes.
An opaque id is not: a repository that is deleted and created again may have other bytes under it.
The headers keep browsers from running pushed content as a part of the hub.
"""

import re
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from shared import media
from shared.conditional import is_held
from shared.errors import RangeNotSatisfiable
from shared.middleware import IS_HEAD
from shared.model import Repo, Visibility

YEAR_SECONDS = 31_536_000
MOMENT_SECONDS = 60
"""A file of a branch may be cached for this time. The branch may have moved since."""

REPLY_BYTES = 4 * 1024 * 1024
"""Larger objects are redirected to S3: the limit of Lambda, 6,291,556 bytes, applies after base64.
"""
TEXT_REPLY_BYTES = 1_000_000
"""The same for text, which Lambda sends as JSON: there, a control character takes six bytes."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Content(Protocol):
    """An object that can be sent."""

    @property
    def tag(self) -> str:
        """Its entity tag without quotes. It differs for different bytes."""

    @property
    def length(self) -> int:
        """Its size in bytes."""

    async def read(self, start: int, stop: int) -> bytes:
        """Read its bytes from `start` up to but not including `stop`."""

    async def url(self, media_type: str, disposition: str) -> str | None:
        """Make a URL that serves it from S3, or None."""


def caching(repo: Repo, *, is_fixed: bool) -> dict[str, str]:
    """The caching headers of a reply. Shared caches may only store files of public repositories."""
    if is_fixed:
        age = f"max-age={YEAR_SECONDS}, immutable"
    else:
        age = f"max-age={MOMENT_SECONDS}"
    if repo.visibility is Visibility.PUBLIC:
        return {"Cache-Control": f"public, {age}"}
    return {"Cache-Control": f"private, {age}", "Vary": "Authorization"}


async def send(
    request: Request, content: Content, cached: dict[str, str], path: str = ""
) -> Response:
    """Reply with an object, as the file `path` if that is given: 200, 206 for a range, or 304.

    An object that is too large for a reply of Lambda is a redirect (307) to S3. Raises
    RangeNotSatisfiable.
    """
    tag = f'"{content.tag}"'
    if is_held(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers={"ETag": tag, **cached})
    if request.scope[IS_HEAD]:
        # No range, which is defined for GET only (RFC 9110, 14.2). No redirect to S3: a URL that is
        # signed for GET does not serve HEAD.
        kind, _ = await _typed(content, path, 0, min(media.SNIFF_BYTES, content.length))
        return Response(
            headers=_headers(tag, kind, path, cached) | {"Content-Length": str(content.length)}
        )
    part = _range(request, tag, content.length)
    start, stop = part or (0, content.length)
    kind, body = await _typed(content, path, start, stop)
    headers = _headers(tag, kind, path, cached)
    if kind.startswith(("text/", "application/json")):
        most = TEXT_REPLY_BYTES
    else:
        most = REPLY_BYTES
    if stop - start > most:
        url = await content.url(kind, headers["Content-Disposition"])
        if url:
            # Anyone with the URL can read the object, so no cache may store it.
            return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})
    if body is None:
        body = await content.read(start, stop)
    if part is None:
        return Response(body, headers=headers)
    return Response(
        body, 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{content.length}"}
    )


async def _typed(content: Content, path: str, start: int, stop: int) -> tuple[str, bytes | None]:
    """Return the media type, and the bytes from `start` to `stop` if they were read for it.

    Bytes are read only if the name does not determine the type. The first bytes of the object
    decide, so the type is the same for the whole object, for each range and for HEAD. A range
    without these bytes costs one more read.
    """
    named = media.type_of(path) if path else media.BYTES
    if named:
        return named, None
    needed = min(media.SNIFF_BYTES, content.length)
    if start == 0 and needed <= stop <= TEXT_REPLY_BYTES:
        body = await content.read(0, stop)
        return media.sniffed(body[:needed]), body
    return media.sniffed(await content.read(0, needed)), None


def _headers(tag: str, kind: str, path: str, cached: dict[str, str]) -> dict[str, str]:
    return {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Type": kind,
        "Content-Disposition": media.disposition(path, kind) if path else "attachment",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        **cached,
    }


def _range(request: Request, tag: str, length: int) -> tuple[int, int] | None:
    """The requested range. None for no range, or an invalid or multiple one."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last = asked.groups()
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    if first:
        start = int(first)
        if last:
            stop = min(int(last) + 1, length)
        else:
            stop = length
    else:
        start = max(0, length - int(last))
        stop = length
    if start >= stop:
        raise RangeNotSatisfiable(length)
    return start, stop
