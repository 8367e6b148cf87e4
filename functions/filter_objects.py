"""POST /{owner}/{slug}/filter-objects: the objects that the repository lacks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import uploads
from shared.errors import InvalidName, RepoNotFound
from shared.http import Access
from shared.model import Role
from shared.protocol.operation import operation
from shared.protocol.push import FilterObjects, MissingObjects

router = APIRouter()


@router.post(
    "/{owner}/{slug}/filter-objects",
    response_model=MissingObjects,
    openapi_extra=operation(RepoNotFound, InvalidName, body=FilterObjects),
)
async def post_filter_objects(
    request: Request, access: Annotated[Access, Depends(http.may_read_with_token("upload"))]
) -> Response:
    """`missing`: the ids of `object_ids` that the client still has to send."""
    message = await http.body(request, FilterObjects)
    if access.role.allows(Role.WRITE):
        uploader = access.by
    else:
        uploader = ""
    missing = await uploads.missing(access.repository, message, uploader=uploader, now=access.now)
    return http.reply(request, {"missing": missing})


app = http.create_app(router)
handler = lambdas.handler_of(app)
