"""POST /{owner}/{slug}/push/objects: upload objects before the push that references them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas, staging
from shared.actions import uploads
from shared.errors import (
    Forbidden,
    HandleTaken,
    HashMismatch,
    InvalidName,
    QuotaReached,
    RepoNotFound,
    StagedBodyInvalid,
)
from shared.http import Access
from shared.protocol.operation import operation
from shared.protocol.push import PushObjects, StoredObjects

router = APIRouter()
Writer = Annotated[Access, Depends(http.may_write("upload"))]


@router.post(
    "/{owner}/{slug}/push/objects",
    response_model=StoredObjects,
    openapi_extra=operation(
        Forbidden,
        QuotaReached,
        RepoNotFound,
        HandleTaken,
        HashMismatch,
        InvalidName,
        StagedBodyInvalid,
        body=PushObjects,
    ),
)
async def post_push_objects(request: Request, access: Writer) -> Response:
    """`stored` and `skipped`: numbers of objects, whose sum is the number of objects sent."""
    message = await staging.body(request, access, "push/objects", PushObjects)
    return http.reply(request, await uploads.accept(access.repository, message, now=access.now))


app = http.create_app(router)
handler = lambdas.handler_of(app)
