"""POST /{owner}/{slug}/staging: a place for the body of a later request, outside the size limits of
this API."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas, staging
from shared.errors import Forbidden, HandleTaken, RepoNotFound
from shared.http import Access
from shared.protocol.operation import operation
from shared.protocol.push import Stage, Staged

router = APIRouter()


@router.post(
    "/{owner}/{slug}/staging",
    response_model=Staged,
    openapi_extra=operation(Forbidden, RepoNotFound, HandleTaken, body=Stage),
)
async def post_staging(
    request: Request, access: Annotated[Access, Depends(http.may_write("upload"))]
) -> Response:
    """`url` to PUT the body to, and a `reference` to send instead of the body."""
    message = await http.body(request, Stage)
    return http.reply(request, await staging.stage(access, message))


app = http.create_app(router)
handler = lambdas.handler_of(app)
