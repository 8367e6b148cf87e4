"""GET /o/{object_id}?repo_id= and GET /{owner}/{slug}/objects/{object_id}: the bytes of one
object.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import file_response, http, lambdas
from shared.actions import downloads
from shared.errors import Damaged, ObjectNotFound, RangeNotSatisfiable, RepoNotFound
from shared.http import Access
from shared.model import ObjectId
from shared.protocol.operation import operation
from shared.protocol.responses import FILES

router = APIRouter()


@router.get(
    "/o/{object_id}",
    response_class=Response,
    responses=FILES,
    openapi_extra=operation(
        RepoNotFound, ObjectNotFound, RangeNotSatisfiable, Damaged, auth="optional"
    ),
)
async def get_object_by_repo_id(
    request: Request,
    object_id: ObjectId,
    access: Annotated[Access, Depends(http.may_read_by_id("upload"))],
) -> Response:
    """An object of the repository with this `repo_id`, as GET refs returns it."""
    return await _send(request, object_id, access)


@router.get(
    "/{owner}/{slug}/objects/{object_id}",
    response_class=Response,
    responses=FILES,
    openapi_extra=operation(
        RepoNotFound, ObjectNotFound, RangeNotSatisfiable, Damaged, auth="optional"
    ),
)
async def get_object(
    request: Request,
    object_id: ObjectId,
    access: Annotated[Access, Depends(http.may_read("upload"))],
) -> Response:
    """An object of the repository with this name."""
    return await _send(request, object_id, access)


async def _send(request: Request, object_id: ObjectId, access: Access) -> Response:
    found = await downloads.find(access.repository, object_id)
    return await file_response.send(
        request, found, file_response.caching(access.repo, is_fixed=found.is_fixed)
    )


app = http.create_app(router)
handler = lambdas.handler_of(app)
