"""The files of the hub itself: style sheet, icon, robots.txt."""

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import NotFound
from shared.web import rendering, replies

YEAR_SECONDS = 31_536_000
DAY_SECONDS = 86_400
_TYPES = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_ROBOTS = """User-agent: *
Disallow: /api/
Disallow: /o/
Disallow: /*/*/raw/
Disallow: /*/*/file/
Disallow: /*/*/objects/
Disallow: /*/*/commits/
Disallow: /*/*/commit/
Disallow: /*/*/compare/
Disallow: /*/*/graph
"""
"""A history has more pages than a search engine needs, and each of them costs."""


def static(request: Request, name: str) -> Response:
    """A static file by its name, or by its name with a hash. Raises NotFound."""
    for file, media_type in _TYPES.items():
        if name in (file, rendering.static_url(file).rpartition("/")[2]):
            if name == file:
                seconds = DAY_SECONDS
            else:
                seconds = YEAR_SECONDS
            return replies.static(request, rendering.static_file(file), media_type, seconds)
    raise NotFound("there is no such file; reload the page that refers to it")


def icon(request: Request) -> Response:
    """The icon under the name that browsers try."""
    return replies.static(
        request, rendering.static_file("icon.svg"), _TYPES["icon.svg"], DAY_SECONDS
    )


def robots(request: Request) -> Response:
    """What search engines may read."""
    return replies.static(request, _ROBOTS.encode(), "text/plain; charset=utf-8", DAY_SECONDS)
