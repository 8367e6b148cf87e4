"""POST /{owner}/{slug}/fetch: reachable(want) − reachable(have), with all it needs, as one bundle."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import codec, http, wire
from shared.actions import fetch
from shared.http import Access

router = APIRouter()


@router.post("/{owner}/{slug}/fetch")
async def post_fetch(request: Request, access: Annotated[Access, Depends(http.may_read("fetch"))]) -> Response:
    """`commits`, `snapshots`, `objects` and all `branch_heads`."""
    message = await http.body(request, wire.Fetch)
    fetched = await fetch.fetch(access.stores, access.repo, message)
    if http.wants_msgpack(request):
        return Response(fetch.in_msgpack(fetched), media_type=codec.MSGPACK)
    return Response(fetch.in_json(fetched), media_type=codec.JSON)


app = http.create_app(router)
handler = http.lambda_handler(app)
