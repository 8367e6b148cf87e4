"""GET /api/v1/openapi.json: every route of the hub, as one OpenAPI document.

It is made once in a process, when it is first asked for, from the routers of all functions: no other function
imports them.
"""

import functools
from typing import Any

from fastapi import APIRouter, Request, Response

from functions import routers
from shared import api, http

router = APIRouter()


@router.get("/api/v1/openapi.json", **api.documented(gives=api.Document, identity="ignored"))
async def get_openapi(request: Request) -> Response:
    """This document."""
    return http.reply(request, document())


@functools.cache
def document() -> dict[str, Any]:
    """The document of the whole hub."""
    from shared import manual  # late: what a server of all functions need not load to start

    return manual.document(routers())


app = http.create_app(router)
handler = http.lambda_handler(app)
