"""The web pages, for clients that accept HTML.

All other clients get the reply of a URL without a route.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from shared import http, lambdas
from shared.errors import ApiError, HubLimited, NotFound
from shared.http import Access, Visitor
from shared.web import overview, replies, resources

NOTHING = "there is nothing at this URL; repositories are at /owner/name"


class PageRoute(APIRoute):
    """A route whose errors are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, for clients that want a page."""
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            if not replies.is_wanted(request):
                raise NotFound(NOTHING)
            try:
                return await handler(request)
            except ApiError as error:
                if error.status >= 500 and not isinstance(error, HubLimited):
                    request.scope["failure"] = error
                return replies.failure(request, error)

        return page


router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Access, Depends(http.may_read("read"))]
Viewer = Annotated[Visitor, Depends(http.visiting("read"))]


@router.get("/static/{name}")
async def get_static(request: Request, name: str) -> Response:
    """The style sheet or the icon."""
    return resources.static(request, name)


@router.get("/favicon.ico")
async def get_icon(request: Request) -> Response:
    """The icon, for programs that do not read the page."""
    return resources.icon(request)


@router.get("/robots.txt")
async def get_robots(request: Request) -> Response:
    """Which pages a search engine may read."""
    return resources.robots(request)


@router.get("/")
async def get_hub(request: Request, visitor: Viewer) -> Response:
    """What this hub is."""
    return await overview.hub(request, visitor)


@router.get("/{owner}")
async def get_owner(request: Request, owner: str, visitor: Viewer) -> Response:
    """The repositories of a user."""
    return await overview.owner(request, owner, visitor)


@router.get("/{owner}/{slug}")
async def get_repository(request: Request, access: Reader) -> Response:
    """A repository."""
    return await overview.repository(request, access)


app = http.create_app(router)
handler = lambdas.handler_of(app)
