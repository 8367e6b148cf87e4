"""All paths of the hub with their methods, and the replies to requests without a route.

    404    no such path
    405    the path has other methods, which `Allow` lists, even if another function serves them
    204    to OPTIONS, with the headers that let web pages of other sites read the path

API Gateway sends a request to the function of its route. Requests without a route go to `health`,
which knows the other functions only from this table. A test compares the table with the routers.
"""

import functools
import re
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.edge import refusal
from shared.errors import MethodNotAllowed, NotFound

PATHS = {
    "/health": "GET",
    "/openapi.json": "GET",
    "/o/{object_id}": "GET",
    "/{owner}/{slug}/refs": "GET",
    "/{owner}/{slug}/fetch": "POST",
    "/{owner}/{slug}/fetch/history": "POST",
    "/{owner}/{slug}/fetch/objects": "POST",
    "/{owner}/{slug}/negotiate": "POST",
    "/{owner}/{slug}/filter-objects": "POST",
    "/{owner}/{slug}/presign": "POST",
    "/{owner}/{slug}/staging": "POST",
    "/{owner}/{slug}/push": "POST",
    "/{owner}/{slug}/push/objects": "POST",
    "/{owner}/{slug}/objects/{object_id}": "GET",
    "/{owner}/{slug}/raw/{ref_and_path:path}": "GET",
    "/{owner}/{slug}/releases": "GET POST",
    "/{owner}/{slug}/releases/{tag:path}": "DELETE",
    "/{owner}/{slug}/tags": "GET POST",
    "/{owner}/{slug}/tags/{tag_id}": "DELETE",
    "/api/v1/openapi.json": "GET",
    "/api/v1/me": "GET",
    "/api/v1/tokens": "GET POST",
    "/api/v1/tokens/{token_id}": "DELETE",
    "/api/v1/repos": "POST",
    "/api/v1/users/{owner}/repos": "GET",
    "/api/v1/repos/{owner}/{slug}": "DELETE GET PATCH",
    "/api/v1/repos/{owner}/{slug}/rename": "POST",
    "/api/v1/repos/{owner}/{slug}/members": "GET",
    "/api/v1/repos/{owner}/{slug}/members/{handle}": "DELETE PUT",
    "/api/v1/repos/{owner}/{slug}/branches": "DELETE GET",
    "/api/v1/repos/{owner}/{slug}/moves": "GET",
    "/api/v1/repos/{owner}/{slug}/restore": "POST",
    "/api/v1/repos/{owner}/{slug}/commits": "GET",
    "/api/v1/repos/{owner}/{slug}/commits/{commit_id}": "GET",
    "/api/v1/repos/{owner}/{slug}/commits/{commit_id}/files": "GET",
    "/api/v1/repos/{owner}/{slug}/compare": "GET",
}
"""Methods by path, in the syntax of the routers. GET includes HEAD, and every path has OPTIONS."""


_CROSS_SITE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD",
    # Not Authorization: web pages of other sites may read public data, but not with a user's token.
    "Access-Control-Allow-Headers": "Accept, If-None-Match, If-Range, Range",
    "Access-Control-Max-Age": "86400",
}
"""The permissions of web pages of other sites on a path with GET."""

_SLASH_REMOVED = "pieria.slash_removed"


def methods_of(path: str) -> list[str]:
    """The methods of a path, in alphabetical order; none for a path that the hub does not have."""
    found: set[str] = set()
    for pattern, methods in _patterns():
        if pattern.fullmatch(path):
            found.update(methods)
    return allowed(found) if found else []


def allowed(methods: set[str]) -> list[str]:
    """The methods of a route, with the implied ones: HEAD for GET, and always OPTIONS."""
    implied = {"HEAD", "OPTIONS"} if "GET" in methods else {"OPTIONS"}
    return sorted(methods | implied)


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], list[str]]]:
    """The patterns of all paths. They are compiled at the first request without a route."""
    return [(_pattern(path), methods.split()) for path, methods in PATHS.items()]


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+(?::path)?\})", path)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    return ".*" if part.endswith(":path}") else "[^/]+"


def without_slash(
    router: Callable[[Scope, Receive, Send], Awaitable[None]],
) -> Callable[..., Awaitable[None]]:
    """The fallback for a path without a route: retry it once without its trailing slash.

    It does not redirect, because the stock client does not follow redirects. Raises HTTPException
    404.
    """

    async def retry(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope.get(_SLASH_REMOVED) or not path.endswith("/"):
            raise HTTPException(404)
        scope.update({_SLASH_REMOVED: True, "path": path[:-1]})
        await router(scope, receive, send)

    return retry


async def answer(request: Request, error: Exception) -> Response:
    """The reply to a request without a route."""
    path = request.scope["path"]
    methods = methods_of(path)
    if not methods and isinstance(error, HTTPException) and error.headers:
        methods = allowed(set(error.headers["Allow"].split(", ")))
    listed = ", ".join(methods)
    if methods and request.method == "OPTIONS":
        cross_site = _CROSS_SITE if "GET" in methods else {}
        return Response(status_code=204, headers={"Allow": listed, **cross_site})
    if methods and request.method not in methods:
        message = f"this URL does not support this method; use one of {listed}"
        return refusal(MethodNotAllowed(message, {"Allow": listed}))
    # API Gateway sends a request with a trailing slash to another function than one without.
    advice = "remove the slash at its end" if methods else "repositories are at /owner/name"
    return refusal(NotFound(f"there is nothing at this URL; {advice}"))
