"""/api/v1/repos/{owner}/{slug}/members: the users who have a role in a repository, besides its
owner."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import cursors, http, lambdas
from shared.actions import members
from shared.errors import Forbidden, InvalidName, MemberNotFound, RepoNotFound, Unprocessable
from shared.http import Access
from shared.protocol.members import Member, MemberPage, MemberRole
from shared.protocol.operation import operation
from shared.protocol.pages import PageQuery

router = APIRouter()

MayAdmin = Annotated[Access, Depends(http.may_admin("push"))]


@router.get(
    "/api/v1/repos/{owner}/{slug}/members",
    response_model=MemberPage,
    openapi_extra=operation(Forbidden, RepoNotFound, query=PageQuery),
)
async def get_members(
    request: Request, access: Annotated[Access, Depends(http.may_admin("read"))]
) -> Response:
    """The members by handle. The owner is not a member."""
    page = http.query(request, PageQuery)
    found = await access.stores.members.page(access.repo, page.limit + 1, page.after)
    shown = found[: page.limit]
    if len(found) > page.limit:
        last = shown[-1][0]
    else:
        last = None
    listing = MemberPage(
        members=[Member(handle=handle, role=role) for handle, role in shown],
        next_cursor=cursors.after(last),
    )
    return http.reply(request, listing.model_dump(mode="json"))


@router.put(
    "/api/v1/repos/{owner}/{slug}/members/{handle}",
    response_model=Member,
    openapi_extra=operation(Forbidden, RepoNotFound, InvalidName, body=MemberRole),
)
async def put_member(request: Request, handle: str, access: MayAdmin) -> Response:
    """Give a user a role. It replaces the role that the user has."""
    message = await http.body(request, MemberRole, http.API_BYTES)
    handle = await members.set_role(access.repository, handle, message.role)
    return http.reply(request, Member(handle=handle, role=message.role).model_dump(mode="json"))


@router.delete(
    "/api/v1/repos/{owner}/{slug}/members/{handle}",
    status_code=204,
    openapi_extra=operation(Forbidden, RepoNotFound, MemberNotFound, InvalidName, Unprocessable),
)
async def delete_member(handle: str, access: MayAdmin) -> Response:
    """Remove a member. The user has no role from the next request on."""
    await members.remove(access.repository, handle)
    return Response(status_code=204)


app = http.create_app(router)
handler = lambdas.handler_of(app)
