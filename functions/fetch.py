"""POST /{owner}/{slug}/fetch: reachable(want) − reachable(have), with all it needs, as one bundle.

The one reply that may be larger than Lambda passes in one piece: `run.sh` serves this app where it is streamed.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas, wire
from shared.actions import fetch
from shared.http import Access

router = APIRouter()


@router.post("/{owner}/{slug}/fetch")
async def post_fetch(request: Request, access: Annotated[Access, Depends(http.may_read("fetch"))]) -> Response:
    """`commits`, `snapshots`, `objects` and all `branch_heads`."""
    message = await http.body(request, wire.Fetch)
    fetched = await fetch.fetch(access.stores, access.repo, message, access.sees)
    most = access.stores.settings.max_reply_bytes
    return await http.reply_streamed(request, fetched.size, fetched.in_msgpack, lambda: fetched.in_json(most))


door = APIRouter()
"""What only whoever starts `run.sh` asks for."""


@door.get("/health")
async def get_health(request: Request) -> Response:
    """As GET /health of the hub: the process listens."""
    return http.reply(request, {"status": "ok"})


app = http.create_app(router, door)
handler = lambdas.handler_of(app)
