"""/{owner}/{slug}/releases: publish a release of a commit, list releases, retract one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import releases
from shared.errors import (
    Forbidden,
    InvalidName,
    MissingReference,
    ReleaseExists,
    ReleaseNotFound,
    RepoNotFound,
)
from shared.http import Access
from shared.model import Role
from shared.protocol.operation import operation
from shared.protocol.records import ReleaseRecord
from shared.protocol.releases import (
    ListReleases,
    PostRelease,
    PublishedRelease,
    ReleasePage,
    RetractedRelease,
)

RELEASE_BYTES = 4 * 1024 * 1024

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("read"))]
Writer = Annotated[Access, Depends(http.may_write("push"))]


@router.post(
    "/{owner}/{slug}/releases",
    status_code=201,
    response_model=PublishedRelease,
    openapi_extra=operation(
        Forbidden,
        RepoNotFound,
        ReleaseExists,
        InvalidName,
        MissingReference,
        body=ReleaseRecord,
    ),
)
async def post_release(request: Request, access: Writer) -> Response:
    """`release_id`, as in the request."""
    message = await http.body(request, PostRelease, RELEASE_BYTES)
    release_id = await releases.publish(access.repository, message, now=access.now)
    return http.reply(request, {"release_id": release_id}, 201)


@router.get(
    "/{owner}/{slug}/releases",
    response_model=ReleasePage,
    openapi_extra=operation(RepoNotFound, query=ListReleases, auth="optional"),
)
async def get_releases(request: Request, access: Reader) -> Response:
    """`releases`, newest first, and `next_cursor` if there are more. Drafts need the role write."""
    if "text/html" in request.headers.get("accept", ""):
        page = f"/{access.repo.owner}/{access.repo.slug}/release"
        return Response(status_code=303, headers={"Location": page, "Vary": "Accept"})
    asked = http.query(request, ListReleases)
    with_drafts = asked.include_drafts and access.role.allows(Role.WRITE)
    records, cursor = await releases.listed(access.repository, asked, with_drafts=with_drafts)
    return http.reply_records(request, "releases", records, cursor)


@router.delete(
    "/{owner}/{slug}/releases/{tag:path}",
    response_model=RetractedRelease,
    openapi_extra=operation(Forbidden, RepoNotFound, ReleaseNotFound),
)
async def delete_release(request: Request, access: Writer) -> Response:
    """`retracted`: the tag of the release, which may be used again."""
    tag = http.rest_of_path(request, 3)
    await releases.retract(access.repository, tag, now=access.now)
    return http.reply(request, {"retracted": tag})


app = http.create_app(router)
handler = lambdas.handler_of(app)
