"""One object as an HTTP reply: its entity tag, one range of it, how long it may be kept, and by whom.

Entity tags are strong (RFC 9110, 8.8.3): a digest is one, as it names the bytes. An opaque id is not: a repository that
is deleted and created again may hold other bytes under it. A reply is sent so that no browser runs pushed content as
a part of the hub.
"""

import mimetypes
import re
from typing import Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import RangeNotSatisfiable
from shared.model import Repo, Visibility

YEAR_SECONDS = 31_536_000
MOMENT_SECONDS = 60
"""How long a file of a branch may be shown that is no longer there."""

REPLY_BYTES = 4 * 1024 * 1024
"""The most that is sent by ourselves where S3 can be asked instead: Lambda's 6,291,556 bytes are base64."""
TEXT_REPLY_BYTES = 1_000_000
"""The same of text, which goes as JSON text: a control character is six there."""

BYTES = "application/octet-stream"
SHOWN = re.compile(
    r"text/(plain|csv|markdown)|image/(png|jpeg|gif|webp|avif|bmp|vnd\.microsoft\.icon)|(audio|video)/.*|application/json"
)
"""Media types that a browser shows without running anything. All others are for saving."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TYPES = mimetypes.MimeTypes()
"""Python's own table: what the machine's files say would differ from one to the next."""


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


def media_type(path: str) -> str:
    """What a file is, by its name; text is taken for UTF-8."""
    found, encoding = _TYPES.guess_type(path, strict=False)
    if found is None or encoding:
        return BYTES
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


def disposition(path: str, kind: str) -> str:
    """Whether a file of this media type is shown or saved, and as what."""
    how = "inline" if SHOWN.fullmatch(kind.partition(";")[0]) else "attachment"
    return f"{how}; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}"


def caching(repo: Repo, *, is_fixed: bool) -> dict[str, str]:
    """How long a reply may be kept; in shared caches only what everybody may read anyway."""
    public = repo.visibility is Visibility.PUBLIC
    age = f"max-age={YEAR_SECONDS}, immutable" if is_fixed else f"max-age={MOMENT_SECONDS}"
    return (
        {"Cache-Control": f"public, {age}"} if public else {"Cache-Control": f"private, {age}", "Vary": "Authorization"}
    )


async def send(
    request: Request, content: Content, cached: dict[str, str], kind: str = BYTES, saved: str = "attachment"
) -> Response:
    """The object, or what was asked of it: 200, 206 for one range, 304 for who has it.

    What is too large for a reply of ours is a redirect to S3, where it can be read. Raises RangeNotSatisfiable.
    """
    tag = f'"{content.tag}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Type": kind,
        "Content-Disposition": saved,
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        **cached,
    }
    if _has_it(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    part = _range(request, tag, content.length)
    start, stop = part or (0, content.length)
    most = TEXT_REPLY_BYTES if kind.startswith(("text/", "application/json")) else REPLY_BYTES
    if stop - start > most and (url := await content.url(kind, saved)):
        # Whoever holds the URL can read the object: nobody keeps it.
        return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})
    body = await content.read(start, stop)
    if part is None:
        return Response(body, headers=headers)
    return Response(body, 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{content.length}"})


def _has_it(if_none_match: str, tag: str) -> bool:
    listed = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in listed or listed == ["*"]


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
