"""GET /api/v1/openapi.json and GET /openapi.json: every route of the hub, as one OpenAPI document.

`make generate` writes the document, functions/openapi.json, from the routes of all functions.
"""

import functools
import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from shared import http, lambdas
from shared.protocol.hub import Document
from shared.protocol.operation import operation
from shared.protocol.responses import NOT_MODIFIED

DOCUMENT = Path(__file__).with_suffix(".json")

router = APIRouter()


@router.get(
    "/api/v1/openapi.json",
    response_model=Document,
    responses=NOT_MODIFIED,
    openapi_extra=operation(auth="none"),
)
async def get_openapi(request: Request) -> Response:
    """This document."""
    return http.unless_held(
        request, http.reply(request, document()), {"Cache-Control": "no-cache", "Vary": "Accept"}
    )


@router.get(
    "/openapi.json",
    response_model=Document,
    responses=NOT_MODIFIED,
    openapi_extra=operation(auth="none"),
)
async def get_openapi_at_the_root(request: Request) -> Response:
    """The same document, at the path where many tools look for it."""
    return await get_openapi(request)


@functools.cache
def document() -> dict[str, Any]:
    """The document of the whole hub."""
    read: dict[str, Any] = json.loads(DOCUMENT.read_bytes())
    return read


app = http.create_app(router)
handler = lambdas.handler_of(app)
