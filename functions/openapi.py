"""GET /api/v1/openapi.json and GET /openapi.json: every route of the hub, as one OpenAPI document.

The first request in a process makes it, from the routers of all functions. No other function
imports them.
"""

import functools
from typing import Any

from fastapi import APIRouter, Request, Response

from functions import routers
from shared import http, lambdas
from shared.protocol.hub import Document
from shared.protocol.operation import documented, success

router = APIRouter()


_DOCUMENTED = documented(
    replies={
        "200": success(Document),
        "304": {"description": "The caller has it, by If-None-Match."},
    },
    identity="ignored",
)


@router.get("/api/v1/openapi.json", **_DOCUMENTED)
async def get_openapi(request: Request) -> Response:
    """This document."""
    return http.unless_held(
        request, http.reply(request, document()), {"Cache-Control": "no-cache", "Vary": "Accept"}
    )


@router.get("/openapi.json", **_DOCUMENTED)
async def get_openapi_at_the_root(request: Request) -> Response:
    """The same document, at the path where many tools look for it."""
    return await get_openapi(request)


@functools.cache
def document() -> dict[str, Any]:
    """The document of the whole hub."""
    from shared import openapi

    return openapi.document(routers())


app = http.create_app(router)
handler = lambdas.handler_of(app)
