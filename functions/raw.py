"""GET /{owner}/{slug}/raw/{ref}/{path}: one file at a branch or a commit."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import file_response, http, lambdas
from shared.actions import downloads
from shared.errors import (
    AmbiguousCommit,
    Damaged,
    PathNotFound,
    RangeNotSatisfiable,
    RefNotFound,
    RepoNotFound,
)
from shared.http import Access
from shared.protocol.operation import operation
from shared.protocol.responses import FILES

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("upload"))]


@router.get(
    "/{owner}/{slug}/raw/{ref_and_path:path}",
    response_class=Response,
    responses=FILES,
    openapi_extra=operation(
        RepoNotFound,
        RefNotFound,
        PathNotFound,
        AmbiguousCommit,
        RangeNotSatisfiable,
        Damaged,
        auth="optional",
    ),
)
async def get_raw(request: Request, access: Reader) -> Response:
    """The bytes of the file.

    Branch names may contain slashes, so the longest branch name that fits is used.
    """
    file = await downloads.file(access.repository, http.rest_of_path(request, 3), access.sees)
    cached = file_response.caching(access.repo, is_fixed=file.is_fixed)
    return await file_response.send(request, file.content, cached, file.path)


app = http.create_app(router)
handler = lambdas.handler_of(app)
