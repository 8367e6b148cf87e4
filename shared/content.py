"""One object as an HTTP reply: its entity tag, one range of it, how long it may be kept, and by whom.

Entity tags are strong (RFC 9110, 8.8.3): a digest is one, as it names the bytes. An opaque id is not: a repository that
is deleted and created again may hold other bytes under it. A reply is sent so that no browser runs pushed content as
a part of the hub.
"""

import re
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from shared import media
from shared.conditional import is_held
from shared.edge import IS_HEAD
from shared.errors import RangeNotSatisfiable
from shared.model import Repo, Visibility

YEAR_SECONDS = 31_536_000
MOMENT_SECONDS = 60
"""How long a file of a branch may be shown that is no longer there."""

REPLY_BYTES = 4 * 1024 * 1024
"""The most that is sent by ourselves where S3 can be asked instead: Lambda's 6,291,556 bytes are base64."""
TEXT_REPLY_BYTES = 1_000_000
"""The same of text, which goes as JSON text: a control character is six there."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Content(Protocol):
    """What can be sent: an object that was found."""

    @property
    def tag(self) -> str:
        """Its entity tag without the quotes: never the same for other bytes."""

    @property
    def length(self) -> int:
        """Its size."""

    async def read(self, start: int, stop: int) -> bytes:
        """Its bytes from `start` up to but not including `stop`."""

    async def url(self, media_type: str, disposition: str) -> str | None:
        """Where to read it without us, if anywhere."""


def caching(repo: Repo, *, is_fixed: bool) -> dict[str, str]:
    """How long a reply may be kept; in shared caches only what everybody may read anyway."""
    public = repo.visibility is Visibility.PUBLIC
    age = f"max-age={YEAR_SECONDS}, immutable" if is_fixed else f"max-age={MOMENT_SECONDS}"
    return (
        {"Cache-Control": f"public, {age}"} if public else {"Cache-Control": f"private, {age}", "Vary": "Authorization"}
    )


async def send(request: Request, content: Content, cached: dict[str, str], path: str = "") -> Response:
    """The object, as the file of this path if it is one: 200, 206 for one range, 304 for a client that has it.

    An object that is too large for a reply of ours is a redirect to S3, where it can be read. Raises
    RangeNotSatisfiable.
    """
    tag = f'"{content.tag}"'
    if is_held(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers={"ETag": tag, **cached})
    if request.scope[IS_HEAD]:
        # Without a range, which is of GET only (RFC 9110, 14.2), and without a redirect to S3: a URL that is signed
        # for GET does not serve HEAD.
        kind, _ = await _typed(content, path, 0, min(media.SNIFF_BYTES, content.length))
        return Response(headers=_headers(tag, kind, path, cached) | {"Content-Length": str(content.length)})
    part = _range(request, tag, content.length)
    start, stop = part or (0, content.length)
    kind, body = await _typed(content, path, start, stop)
    headers = _headers(tag, kind, path, cached)
    most = TEXT_REPLY_BYTES if kind.startswith(("text/", "application/json")) else REPLY_BYTES
    if stop - start > most and (url := await content.url(kind, headers["Content-Disposition"])):
        # Whoever holds the URL can read the object: nobody keeps it.
        return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})
    if body is None:
        body = await content.read(start, stop)
    if part is None:
        return Response(body, headers=headers)
    return Response(body, 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{content.length}"})


async def _typed(content: Content, path: str, start: int, stop: int) -> tuple[str, bytes | None]:
    """The media type; and the bytes from `start` to `stop`, if they were read because the name states nothing.

    The type is the same for the whole, for each range and for HEAD, because the same bytes decide. Only a range that
    does not hold them costs a read more.
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
    """The one range that was asked for; None for the whole, as for what is no range, or several."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last = asked.groups()
    if not first and not last:
        return None
    if not first:
        start, stop = max(0, length - int(last)), length
    else:
        if last and int(last) < int(first):
            return None
        start, stop = int(first), min(int(last) + 1, length) if last else length
    if start >= stop:
        raise RangeNotSatisfiable(length)
    return start, stop
