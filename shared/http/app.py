"""Make an ASGI app of routers."""

import functools
from collections.abc import Callable, Iterable

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException

from shared import routing
from shared.errors import ApiError
from shared.http import error_handlers
from shared.middleware import RequestMiddleware


def create_app(
    *routers: APIRouter,
    late: Callable[[], Iterable[APIRouter]] = tuple,
    paths: Callable[[], routing.Paths] | None = None,
) -> RequestMiddleware:
    """An app of these routes, without documentation pages and without redirects.

    The stock client does not follow redirects. `late` returns more routers. It is called when the
    first request comes that no route of `routers` fits. `paths` are the paths that the reply to an
    unknown path or method is made from. The default: those of `routers`.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in routers:
        # Not `include_router`, which wraps each router and makes the search for a route longer.
        app.router.routes.extend(router.routes)
    app.router.routes.append(routing.LateRoutes(late))
    app.add_exception_handler(ApiError, error_handlers.reply_to_failure)
    known = paths or functools.partial(routing.paths_of, routers)
    app.add_exception_handler(HTTPException, routing.answer_for(known))
    app.router.default = routing.without_slash(app.router)
    app.add_exception_handler(Exception, error_handlers.reply_to_bug)
    return RequestMiddleware(app)
