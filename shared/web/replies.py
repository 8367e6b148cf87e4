"""A page as an HTTP reply: security headers, caching, compression.

The entity tag of a page of a repository is a hash of its sources: the edition of the templates, the
viewer, the repository's row and the commits that are shown. So a client that has the page gets 304
before files are read. That of another page is a hash of its HTML.
"""

import zlib
from collections.abc import Awaitable, Callable
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from shared import conditional
from shared.errors import ApiError
from shared.http import Access, browser
from shared.model import Repo, Visibility
from shared.web import rendering

HTML = "text/html; charset=utf-8"
COMPRESSED_BYTES = 1024
"""A shorter reply is not compressed."""
_GZIP_FORMAT = 16 + zlib.MAX_WBITS

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'{media}; media-src 'self'{media};"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No script at all, and nothing from other hosts.

`{media}`: the bucket, to which `raw` and `file` redirect.
"""

VARY = "Accept, Accept-Encoding, Authorization, Cookie"

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_wanted(request: Request) -> bool:
    """Whether the client wants a page: `Accept` names neither JSON nor msgpack.

    So programs that make previews of links, which often accept everything, get a page. A client of
    the API gets the reply of the API.
    """
    accepted = request.headers.get("accept", "*/*").lower()
    return "json" not in accepted and "msgpack" not in accepted


def number(request: Request, name: str) -> int:
    """A number of the query; 0 if it is none."""
    text = request.query_params.get(name, "")
    if text.isdecimal() and text.isascii() and len(text) < 10:
        return int(text)
    return 0


async def page(
    request: Request, access: Access, version: list[object], make: Callable[[], Awaitable[str]]
) -> Response:
    """The page of a repository that `make` renders, or 304 for a client that has it.

    `version` stands for the contents of the page besides the repository's row and the URL.
    """
    repo = access.repo
    row = [
        repo.repo_id,
        repo.owner,
        repo.slug,
        repo.visibility.value,
        repo.description,
        repo.default_branch,
    ]
    made_from = [
        rendering.edition(),
        access.by,
        access.role.value,
        browser.origin(request),
        str(request.url.query),
    ]
    tag = (
        f'W/"{sha256(repr([made_from, row, request.url.path, version]).encode()).hexdigest()[:32]}"'
    )
    headers = {"ETag": tag, **_cached(repo, access.by)}
    if _is_held(request, tag):
        return Response(status_code=304, headers=headers)
    return _reply(request, await make(), 200, {**headers, **_SECURITY, **_policy(access)})


def plain(
    request: Request, html: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A page that is not about a repository. It may show what only the viewer may read."""
    if _has_credentials(request):
        cached = {"Cache-Control": "private, no-store", "Vary": VARY}
    else:
        cached = {"Cache-Control": "no-cache", "Vary": VARY}
        if status == 200:
            cached["ETag"] = tag = f"W/{conditional.tag_of(html.encode())}"
            if _is_held(request, tag):
                return Response(status_code=304, headers=cached)
    return _reply(
        request, html, status, {**cached, **_SECURITY, **_policy(None), **(headers or {})}
    )


def form(request: Request, html: str, status: int = 200) -> Response:
    """A page with a form. It is not stored.

    It is not compressed: the length of a compressed page that repeats a text of the sender could
    reveal the token of the form.
    """
    headers = {"Cache-Control": "no-store", "Vary": VARY, **_SECURITY, **_policy(None)}
    return Response(html, status, headers, HTML)


def failure(request: Request, error: ApiError) -> Response:
    """The page of an error. That of an absent and of a private repository is the same."""
    html = rendering.render(
        "error.html", status=error.status, code=error.code, message=error.message
    )
    return plain(
        request, html, error.status, {**(error.headers or {}), "Cache-Control": "no-store"}
    )


def of_bytes(repo: Repo) -> dict[str, str]:
    """The headers of the bytes of a file, besides those of `file_response`.

    Those of a private repository are not stored, as its pages. Another site cannot embed the file.
    """
    headers = {"Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "same-origin"}
    if repo.visibility is Visibility.PRIVATE:
        return {**headers, "Cache-Control": "private, no-store", "Vary": VARY}
    return {**headers, "Cache-Control": "no-cache", "Vary": VARY}


def static(request: Request, content: bytes, media_type: str, seconds: int) -> Response:
    """A file of the hub itself, which a cache may keep for this time."""
    tag = conditional.tag_of(content)
    headers = {
        "ETag": tag,
        "Cache-Control": f"public, max-age={seconds}",
        "Vary": "Accept-Encoding",
        **_SECURITY,
    }
    if conditional.is_held(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return _compressed(request, Response(content, headers=headers, media_type=media_type))


def _cached(repo: Repo, by: str) -> dict[str, str]:
    """A page may change at any time, so it is revalidated each time.

    That of a private repository is not stored, so the next user of the browser cannot go back to
    it.
    """
    if repo.visibility is Visibility.PRIVATE:
        kind = "private, no-store"
    elif by:
        kind = "private, no-cache"
    else:
        kind = "no-cache"
    return {"Cache-Control": kind, "Vary": VARY}


def _is_held(request: Request, tag: str) -> bool:
    """Whether the client has the page with this weak entity tag."""
    held = request.headers.get("if-none-match", "")
    return conditional.is_held(held, tag.removeprefix("W/"))


def _has_credentials(request: Request) -> bool:
    return "authorization" in request.headers or "cookie" in request.headers


def _policy(access: Access | None) -> dict[str, str]:
    origin = access.stores.bucket.origin if access else ""
    return {"Content-Security-Policy": POLICY.format(media=f" {origin}" if origin else "")}


def _reply(request: Request, html: str, status: int, headers: dict[str, str]) -> Response:
    return _compressed(request, Response(html, status, headers, HTML))


def _compressed(request: Request, reply: Response) -> Response:
    if (
        len(reply.body) < COMPRESSED_BYTES
        or "gzip" not in request.headers.get("accept-encoding", "").lower()
    ):
        return reply
    packer = zlib.compressobj(6, wbits=_GZIP_FORMAT)
    body = packer.compress(reply.body) + packer.flush()
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    return Response(body, reply.status_code, {**headers, "content-encoding": "gzip"})
