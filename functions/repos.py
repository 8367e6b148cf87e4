"""/api/v1/repos and /api/v1/deleted: create, show, list, change, rename, delete and restore
repositories."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from shared import cursors, http, lambdas, names
from shared.actions import repos
from shared.errors import Forbidden, HandleTaken, InvalidName, RepoExists, RepoNotFound
from shared.http import Access, Caller, Visitor
from shared.model import Repo, Role
from shared.protocol.operation import operation
from shared.protocol.pages import PageQuery
from shared.protocol.repositories import (
    DeletedRepository,
    DeletedRepositoryPage,
    NewRepo,
    Rename,
    RepoChange,
    Repository,
    RepositoryPage,
    Undelete,
)

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("read"))]
Admin = Annotated[Access, Depends(http.may_admin("push"))]
AdminByAnyName = Annotated[Access, Depends(http.may_admin_by_any_name("push"))]


@router.post(
    "/api/v1/repos",
    status_code=201,
    response_model=Repository,
    openapi_extra=operation(Forbidden, RepoExists, HandleTaken, InvalidName, body=NewRepo),
)
async def post_repo(
    request: Request, caller: Annotated[Caller, Depends(http.identified("push"))]
) -> Response:
    """Create a repository of the caller."""
    message = await http.body(request, NewRepo, http.API_BYTES)
    if message.slug is not None:
        slug = message.slug
    else:
        slug = names.slug_of(message.name or "")
    wanted = Repo(
        owner=caller.identity.subject,
        slug=slug,
        visibility=message.visibility,
        domain=message.domain,
        default_branch=message.default_branch,
        description=message.description,
        portable_names=message.portable_names,
    )
    would_have = caller.role(wanted, None)
    repo, role = await repos.create(caller.stores, wanted, would_have, int(caller.now))
    return _reply(request, repo, role, 201)


@router.get(
    "/api/v1/users/{owner}/repos",
    response_model=RepositoryPage,
    openapi_extra=operation(query=PageQuery, auth="optional"),
)
async def get_repos(
    request: Request, owner: str, visitor: Annotated[Visitor, Depends(http.visiting("read"))]
) -> Response:
    """The repositories of a user that the caller may read, by name. Empty for an unknown user."""
    page = http.query(request, PageQuery)
    found = await repos.readable(
        visitor.stores, owner, visitor.identity, visitor.role, page.after, page.limit + 1
    )
    shown = found[: page.limit]
    if len(found) > page.limit:
        last = shown[-1][0].slug
    else:
        last = None
    listing = RepositoryPage(
        repos=[Repository.of(repo, role) for repo, role in shown],
        next_cursor=cursors.after(last),
    )
    return http.reply(request, listing.model_dump(mode="json"))


@router.get(
    "/api/v1/repos/{owner}/{slug}",
    response_model=Repository,
    openapi_extra=operation(RepoNotFound, auth="optional"),
)
async def get_repo(request: Request, access: Reader) -> Response:
    """One repository."""
    if not access.repo.exists:
        raise RepoNotFound()
    return _reply(request, access.repo, access.role)


@router.patch(
    "/api/v1/repos/{owner}/{slug}",
    response_model=Repository,
    openapi_extra=operation(Forbidden, RepoNotFound, InvalidName, body=RepoChange),
)
async def patch_repo(request: Request, access: Admin) -> Response:
    """Change the visibility, the description, the default branch, or whether names must be
    portable."""
    message = await http.body(request, RepoChange, http.API_BYTES)
    changes = message.model_dump(mode="json", exclude_none=True)
    repo = await repos.change(access.repository, changes)
    return _reply(request, repo, access.role)


@router.delete(
    "/api/v1/repos/{owner}/{slug}",
    status_code=204,
    openapi_extra=operation(Forbidden, RepoNotFound),
)
async def delete_repo(access: Admin) -> Response:
    """Delete a repository. It is not found any more, and its name is free."""
    await repos.delete(access.stores, access.repo, int(access.now))
    return Response(status_code=204)


@router.post(
    "/api/v1/repos/{owner}/{slug}/rename",
    response_model=Repository,
    openapi_extra=operation(Forbidden, RepoNotFound, RepoExists, InvalidName, body=Rename),
)
async def post_rename(request: Request, slug: str, access: AdminByAnyName) -> Response:
    """Give a repository another name in its URL. The old name is free, and is not forwarded.

    A token that is limited to the old name does not allow access to the new one: issue another one.
    """
    wanted = await http.body(request, Rename, http.API_BYTES)
    renamed = await repos.rename(access.repository, slug, wanted.slug, int(access.now))
    return _reply(request, renamed, access.role)


@router.get(
    "/api/v1/deleted",
    response_model=DeletedRepositoryPage,
    openapi_extra=operation(Forbidden, query=PageQuery),
)
async def get_deleted(
    request: Request, caller: Annotated[Caller, Depends(http.identified("read"))]
) -> Response:
    """The caller's deleted repositories that can be restored: for a day. The last one deleted
    first."""
    page = http.query(request, PageQuery)
    found = await repos.restorable_page(
        caller.stores, caller.identity, page.limit + 1, page.after, caller.now
    )
    shown = found[: page.limit]
    if len(found) > page.limit:
        last = repos.deletion(*shown[-1])
    else:
        last = None
    listing = DeletedRepositoryPage(
        repos=[
            DeletedRepository(**Repository.of(repo, Role.ADMIN).model_dump(), deleted_at=deleted_at)
            for repo, deleted_at in shown
        ],
        next_cursor=cursors.after(last),
    )
    return http.reply(request, listing.model_dump(mode="json"))


@router.post(
    "/api/v1/deleted",
    response_model=Repository,
    openapi_extra=operation(Forbidden, RepoNotFound, RepoExists, InvalidName, body=Undelete),
)
async def post_deleted(
    request: Request, caller: Annotated[Caller, Depends(http.identified("push"))]
) -> Response:
    """Restore a deleted repository of the caller, with its branches and members, under its old
    name or another one."""
    message = await http.body(request, Undelete, http.API_BYTES)
    identity = caller.identity
    repos.require_restorer(identity)
    new_slug = message.new_slug or message.slug
    repo = await repos.undelete(caller.stores, identity.subject, message.slug, new_slug, caller.now)
    return _reply(request, repo, Role.ADMIN)


def _reply(request: Request, repo: Repo, role: Role, status: int = 200) -> Response:
    shown: dict[str, Any] = Repository.of(repo, role).model_dump(mode="json")
    return http.reply(request, shown, status)


app = http.create_app(router)
handler = lambdas.handler_of(app)
