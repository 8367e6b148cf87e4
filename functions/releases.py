"""/{owner}/{slug}/releases: publish a release of a commit, list releases, retract one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import releases
from shared.http import Access
from shared.model import Role
from shared.protocol.releases import ListReleases, PostRelease

RELEASE_BYTES = 4 * 1024 * 1024

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("read"))]
Writer = Annotated[Access, Depends(http.may_write("push"))]


@router.post("/{owner}/{slug}/releases")
async def post_release(request: Request, access: Writer) -> Response:
    """`release_id`, as in the request."""
    message = await http.body(request, PostRelease, RELEASE_BYTES)
    release_id = await releases.publish(access.repository, message, now=access.now)
    return http.reply(request, {"release_id": release_id}, 201)


@router.get("/{owner}/{slug}/releases")
async def get_releases(request: Request, access: Reader) -> Response:
    """`releases`, newest first, and `next_cursor` if there are more. Drafts need the role write."""
    if "text/html" in request.headers.get("accept", ""):
        page = f"/{access.repo.owner}/{access.repo.slug}/release"
        return Response(status_code=303, headers={"Location": page, "Vary": "Accept"})
    asked = http.query(request, ListReleases)
    with_drafts = asked.include_drafts and access.role.allows(Role.WRITE)
    records, cursor = await releases.listed(access.repository, asked, with_drafts=with_drafts)
    return http.reply_records(request, "releases", records, cursor)


@router.delete("/{owner}/{slug}/releases/{tag:path}")
async def delete_release(request: Request, access: Writer) -> Response:
    """`retracted`: the tag of the release, which may be used again."""
    tag = http.rest_of_path(request, 3)
    await releases.retract(access.repository, tag)
    return http.reply(request, {"retracted": tag})


app = http.create_app(router)
handler = lambdas.handler_of(app)
