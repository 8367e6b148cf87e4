"""POST /{owner}/{slug}/fetch: reachable(want) − reachable(have), with all it needs, as one bundle."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, wire
from shared.actions import fetch
from shared.http import Access

router = APIRouter()


@router.post("/{owner}/{slug}/fetch")
async def post_fetch(request: Request, access: Annotated[Access, Depends(http.may_read("fetch"))]) -> Response:
    """`commits`, `snapshots`, `objects` and all `branch_heads`."""
    message = await http.body(request, wire.Fetch)
    fetched = await fetch.fetch(access.stores, access.repo, message)
    return http.reply_encoded(request, lambda: fetch.in_msgpack(fetched), lambda: fetch.in_json(fetched))


app = http.create_app(router)
handler = http.lambda_handler(app)
