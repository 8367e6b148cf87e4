"""/api/v1/repos: create, show, list, change, rename and delete repositories."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from shared import cursors, http, lambdas, names
from shared.actions import repos
from shared.errors import Forbidden, HandleTaken, InvalidName, RepoExists, RepoNotFound
from shared.http import Access, Caller, Visitor
from shared.model import Repo, Role
from shared.protocol.operation import operation
from shared.protocol.pages import PageQuery
from shared.protocol.repositories import NewRepo, Rename, RepoChange, Repository, RepositoryPage

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
    wanted = Repo(
        owner=names.check_handle(caller.identity.subject),
        slug=(
            names.check_slug(message.slug)
            if message.slug is not None
            else names.slug_of(message.name or "")
        ),
        visibility=message.visibility,
        domain=message.domain,
        default_branch=names.check_default_branch(message.default_branch),
        description=message.description,
        portable_names=message.portable_names,
    )
    role = caller.role(wanted, None)
    if role is None or not role.allows(Role.WRITE):
        raise Forbidden(
            f"this token does not let you create {wanted.owner}/{wanted.slug}; use one of scope"
            " write"
        )
    repo = await caller.stores.repos.create(wanted, int(caller.now))
    if repo is None:
        raise RepoExists(wanted.owner, wanted.slug)
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
    last = shown[-1][0].slug if len(found) > page.limit else None
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
    await access.stores.repos.delete(access.repo, int(access.now))
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
    wanted = names.check_slug((await http.body(request, Rename, http.API_BYTES)).slug)
    if wanted == access.repo.slug:
        return _reply(request, access.repo, access.role)  # also for a retry after a lost reply
    if slug != access.repo.slug:
        raise RepoNotFound()
    renamed = await access.stores.repos.rename(access.repo, wanted, int(access.now))
    if renamed is None:
        raise RepoExists(access.repo.owner, wanted)
    return _reply(request, renamed, access.role)


def _reply(request: Request, repo: Repo, role: Role, status: int = 200) -> Response:
    shown: dict[str, Any] = Repository.of(repo, role).model_dump(mode="json")
    return http.reply(request, shown, status)


app = http.create_app(router)
handler = lambdas.handler_of(app)
