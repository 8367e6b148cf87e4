"""POST /{owner}/{slug}/presign: places to put large objects, outside the size limits of this
API.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import uploads
from shared.errors import Forbidden, HandleTaken, InvalidName, QuotaReached, RepoNotFound
from shared.http import Access
from shared.protocol.operation import operation
from shared.protocol.push import Presign, Presigned

router = APIRouter()


@router.post(
    "/{owner}/{slug}/presign",
    response_model=Presigned,
    openapi_extra=operation(
        Forbidden, QuotaReached, RepoNotFound, HandleTaken, InvalidName, body=Presign
    ),
)
async def post_presign(
    request: Request, access: Annotated[Access, Depends(http.may_write("upload"))]
) -> Response:
    """`presigned`: object id → URL to PUT its bytes to; `inline`: ids to send with `push/objects`
    instead."""
    message = await http.body(request, Presign)
    return http.reply(request, await uploads.presign(access.repository, message, now=access.now))


app = http.create_app(router)
handler = lambdas.handler_of(app)
