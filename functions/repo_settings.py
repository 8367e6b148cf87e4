"""The forms of a repository, for browsers: create, change, rename, delete, restore, members,
branches. Also the form to delete a domain."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.http import Access, Caller, browser
from shared.web import domains, repo_settings
from shared.web.route import FormRoute

router = APIRouter(route_class=FormRoute, include_in_schema=False)
Reader = Annotated[Caller, Depends(http.identified("read", browser.by_session))]
Creator = Annotated[Caller, Depends(http.identified("push", browser.by_session))]
AdminReading = Annotated[Access, Depends(http.may_admin("read", browser.by_session))]
Admin = Annotated[Access, Depends(http.may_admin("push", browser.by_session))]
WriterReading = Annotated[Access, Depends(http.may_write("read", browser.by_session))]
Writer = Annotated[Access, Depends(http.may_write("push", browser.by_session))]


@router.get("/-/new")
async def get_new(request: Request, caller: Reader) -> Response:
    """The form to create a repository."""
    return await repo_settings.new_page(request, caller)


@router.post("/-/new")
async def post_new(request: Request, caller: Creator) -> Response:
    """Create a repository."""
    return await repo_settings.create(request, caller)


@router.get("/-/deleted")
async def get_deleted(request: Request, caller: Reader) -> Response:
    """The deleted repositories of the user."""
    return await repo_settings.deleted_page(request, caller)


@router.post("/-/deleted")
async def post_deleted(request: Request, caller: Creator) -> Response:
    """Restore a deleted repository."""
    return await repo_settings.undelete(request, caller)


@router.get("/domains/{author}/{slug}/delete")
async def get_domain_deletion(request: Request, author: str, slug: str, caller: Reader) -> Response:
    """The form to delete a domain."""
    return await domains.deletion_page(request, caller, author, slug)


@router.post("/domains/{author}/{slug}/delete")
async def post_domain_deletion(
    request: Request, author: str, slug: str, caller: Creator
) -> Response:
    """Delete a domain."""
    return await domains.delete(request, caller, author, slug)


@router.get("/{owner}/{slug}/settings")
async def get_settings(request: Request, access: AdminReading) -> Response:
    """The settings of a repository."""
    return await repo_settings.settings_page(request, access)


@router.post("/{owner}/{slug}/settings")
async def post_settings(request: Request, access: Admin) -> Response:
    """Change the description, the visibility and the default branch."""
    return await repo_settings.change(request, access)


@router.post("/{owner}/{slug}/settings/rename")
async def post_rename(request: Request, access: Admin) -> Response:
    """Rename the repository."""
    return await repo_settings.rename(request, access)


@router.post("/{owner}/{slug}/settings/delete")
async def post_delete(request: Request, access: Admin) -> Response:
    """Delete the repository."""
    return await repo_settings.delete(request, access)


@router.get("/{owner}/{slug}/settings/members")
async def get_members(request: Request, access: AdminReading) -> Response:
    """The members."""
    return await repo_settings.members_page(request, access)


@router.post("/{owner}/{slug}/settings/members")
async def post_member(request: Request, access: Admin) -> Response:
    """Give a user a role."""
    return await repo_settings.set_member(request, access)


@router.post("/{owner}/{slug}/settings/members/remove")
async def post_remove(request: Request, access: Admin) -> Response:
    """Remove a member."""
    return await repo_settings.remove_member(request, access)


@router.get("/{owner}/{slug}/settings/issuers")
async def get_issuers(request: Request, access: AdminReading) -> Response:
    """The trusted issuers."""
    return await repo_settings.issuers_page(request, access)


@router.post("/{owner}/{slug}/settings/issuers")
async def post_issuer(request: Request, access: Admin) -> Response:
    """Trust an issuer."""
    return await repo_settings.trust(request, access)


@router.post("/{owner}/{slug}/settings/issuers/remove")
async def post_remove_issuer(request: Request, access: Admin) -> Response:
    """Trust an issuer no longer."""
    return await repo_settings.remove_issuer(request, access)


@router.get("/{owner}/{slug}/settings/branches")
async def get_branches(request: Request, access: WriterReading) -> Response:
    """The branches, with forms to delete and restore them."""
    return await repo_settings.branches_page(request, access)


@router.post("/{owner}/{slug}/settings/branches/delete")
async def post_delete_branch(request: Request, access: Writer) -> Response:
    """Delete a branch."""
    return await repo_settings.delete_branch(request, access)


@router.post("/{owner}/{slug}/settings/branches/restore")
async def post_restore_branch(request: Request, access: Writer) -> Response:
    """Restore a branch."""
    return await repo_settings.restore_branch(request, access)


app = http.create_app(router)
handler = lambdas.handler_of(app)
