"""The replies to requests without a route.

    404    no such path
    405    the path has other methods, which `Allow` lists
    204    to OPTIONS, with the headers that let web pages of other sites read the path

API Gateway sends a request to the function of its route, and a request without a route to `health`.
So `health` knows the paths of all functions, and every other function knows its own.
"""

import functools
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import chain

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from shared.errors import MethodNotAllowed, NotFound
from shared.middleware import refused

Paths = Mapping[str, set[str]]
"""Methods by path, in the syntax of the routers. GET includes HEAD, and every path has OPTIONS."""

_CROSS_SITE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD",
    # Not Authorization: web pages of other sites may read public data, but not with a user's token.
    "Access-Control-Allow-Headers": "Accept, If-None-Match, If-Range, Range",
    "Access-Control-Max-Age": "86400",
}
"""The permissions of web pages of other sites on a path with GET."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Not found · pieria</title>
<link rel="stylesheet" href="/static/style.css">
<main class="wide hero"><h1>There is nothing here</h1>
<p>There is no page at this URL. Repositories are at /owner/name. <a href="/">Start</a></p></main>
"""
"""The reply to a browser. `health` has none of the packages that render the other pages."""
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}

_SLASH_REMOVED = "pieria.slash_removed"


class LateRoutes(BaseRoute):
    """The routes of routers that are loaded when the first request needs them.

    It is the last route of an app. `load` imports the routers, which may take half a second.
    """

    def __init__(self, load: Callable[[], Iterable[APIRouter]]) -> None:
        self._load = load

    @functools.cached_property
    def _routes(self) -> list[BaseRoute]:
        return list(chain.from_iterable(router.routes for router in self._load()))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The first route that fits path and method, or else the first that fits the path."""
        partial: tuple[Match, Scope] = (Match.NONE, {})
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return match, found
            if match is Match.PARTIAL and partial[0] is Match.NONE:
                partial = (match, found)
        return partial

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the route that fits."""
        await scope["route"].handle(scope, receive, send)


def paths_of(routers: Iterable[APIRouter]) -> Paths:
    """The paths of these routers."""
    paths: dict[str, set[str]] = {}
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                paths.setdefault(route.path, set()).update(route.methods or ())
    return paths


def allowed(methods: set[str]) -> list[str]:
    """The methods of a route, with the implied ones: HEAD for GET, and always OPTIONS."""
    implied = {"HEAD", "OPTIONS"} if "GET" in methods else {"OPTIONS"}
    return sorted(methods | implied)


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
        if scope.get(_SLASH_REMOVED) or path == "/" or not path.endswith("/"):
            raise HTTPException(404)
        scope.update({_SLASH_REMOVED: True, "path": path[:-1]})
        await router(scope, receive, send)

    return retry


def _names_api_format(accepted: str) -> bool:
    """Whether an Accept header names JSON or msgpack: then the client gets the reply of the API."""
    return "json" in accepted or "msgpack" in accepted


def answer_for(paths: Callable[[], Paths]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """The handler of requests without a route. It asks for the paths at the first such request."""

    @functools.cache
    def patterns() -> list[tuple[re.Pattern[str], set[str]]]:
        return [(_pattern(path), methods) for path, methods in paths().items()]

    def methods_of(path: str) -> list[str]:
        found: set[str] = set()
        for pattern, methods in patterns():
            if pattern.fullmatch(path):
                found |= methods
        return allowed(found) if found else []

    async def answer(request: Request, error: Exception) -> Response:
        methods = methods_of(request.scope["path"])
        listed = ", ".join(methods)
        if methods and request.method == "OPTIONS":
            cross_site = _CROSS_SITE if "GET" in methods else {}
            return Response(status_code=204, headers={"Allow": listed, **cross_site})
        if methods and request.method not in methods:
            message = f"this URL does not support this method; use one of {listed}"
            return refused(request.scope, MethodNotAllowed(message, {"Allow": listed}))
        accepted = request.headers.get("accept", "").lower()
        if not methods and "text/html" in accepted and not _names_api_format(accepted):
            return Response(_PAGE, 404, _PAGE_HEADERS, "text/html; charset=utf-8")
        # API Gateway sends a request with a trailing slash to another function than one without.
        advice = "remove the slash at its end" if methods else "repositories are at /owner/name"
        return refused(request.scope, NotFound(f"there is nothing at this URL; {advice}"))

    return answer
