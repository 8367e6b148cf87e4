"""POST /{owner}/{slug}/filter-objects: which of these objects the repository lacks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, wire
from shared.actions import uploads
from shared.http import Access

router = APIRouter()


@router.post("/{owner}/{slug}/filter-objects")
async def post_filter_objects(
    request: Request, access: Annotated[Access, Depends(http.may_read("upload", token_needed=True))]
) -> Response:
    """`missing`: those of `object_ids` that are still to be sent."""
    message = await http.body(request, wire.FilterObjects)
    return http.reply(request, {"missing": await uploads.missing(access.stores, access.repo, message)})


app = http.create_app(router)
handler = http.lambda_handler(app)
