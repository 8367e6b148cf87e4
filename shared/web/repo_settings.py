"""The forms of a repository: create, change, rename, delete, restore, its members and branches."""

from itertools import accumulate
from typing import Any
from urllib.parse import quote

from markupsafe import escape
from starlette.requests import Request
from starlette.responses import Response

from shared import cursors, names
from shared.actions import branches, members, repos, trusted_issuers
from shared.errors import ApiError, RepoNotFound, Unprocessable
from shared.http import Access, Caller, browser
from shared.metadata.trusted_issuers import TrustedIssuer
from shared.model import Ref, Repo, Role
from shared.protocol.base import parse
from shared.protocol.members import MemberRole
from shared.protocol.repositories import NewRepo, RepoChange
from shared.web import forms, links, rendering, replies, times
from shared.web.context import head
from shared.web.forms import Fields
from shared.web.links import Links

DELETED = "/-/deleted"
REPOS = 40
"""The deleted repositories on one page."""
MEMBERS = 35
"""The members on one page."""
BRANCHES = 25
NAME_BYTES = 5_000
"""The most branches on one page, and the most bytes of their names. A name is on it six times."""


# ── Create and restore repositories ─────────────────────────────────────────────────────────────


async def new_page(
    request: Request, caller: Caller, fields: Fields | None = None, error: ApiError | None = None
) -> Response:
    """The form to create a repository."""
    html = rendering.render(
        "new.html",
        **forms.head(request, caller.identity.subject),
        fields={"slug": "", "description": "", "visibility": "public", **(fields or {})},
        error=error,
    )
    return replies.form(request, html, error.status if error else 200)


async def create(request: Request, caller: Caller) -> Response:
    """Create a repository of the user."""
    fields = forms.fields(request)

    async def work() -> Response:
        given = {name: fields.get(name, "") for name in ("slug", "description", "visibility")}
        wanted = parse(NewRepo, given, "the form")
        repo = Repo(
            owner=caller.identity.subject,
            slug=wanted.slug or "",
            visibility=wanted.visibility,
            description=wanted.description,
            portable_names=wanted.portable_names,
        )
        role = caller.role(repo, None)
        made, _ = await repos.create(caller.stores, repo, role, int(caller.now))
        return forms.see(Links.of(made).base)

    return await forms.result(work, lambda error: new_page(request, caller, fields, error))


async def deleted_page(request: Request, caller: Caller, error: ApiError | None = None) -> Response:
    """The repositories of the user that were deleted within a day."""
    repos.require_restorer(caller.identity)
    own = caller.identity.subject
    found = (await repos.restorable(caller.stores, own, caller.now))[::-1]
    start = replies.number(request, "from")
    stop = start + REPOS
    html = rendering.render(
        "deleted.html",
        **forms.head(request, own),
        repos=[(repo.slug, times.of_seconds(deleted_at)) for repo, deleted_at in found[start:stop]],
        following=stop if len(found) > stop else 0,
        error=error,
    )
    return replies.form(request, html, error.status if error else 200)


async def undelete(request: Request, caller: Caller) -> Response:
    """Restore a repository of the user."""
    repos.require_restorer(caller.identity)
    fields = forms.fields(request)

    async def work() -> Response:
        slug = fields.get("slug", "")
        name = fields.get("name", "").strip() or slug
        own = caller.identity.subject
        try:
            restored = await repos.undelete(caller.stores, own, slug, name, caller.now)
        except RepoNotFound as absent:
            raise Unprocessable(absent.message) from None
        return forms.see(Links.of(restored).to("settings"), "restored")

    return await forms.result(work, lambda error: deleted_page(request, caller, error))


# ── Settings ────────────────────────────────────────────────────────────────────────────────────


async def settings_page(
    request: Request, access: Access, fields: Fields | None = None, error: ApiError | None = None
) -> Response:
    """The forms to change, rename and delete the repository."""
    repo = access.repo
    shown = {
        "description": repo.description,
        "visibility": repo.visibility.value,
        "default_branch": repo.default_branch,
        "slug": repo.slug,
        **(fields or {}),
    }
    return _page(request, access, "settings.html", "general", error, fields=shown)


async def change(request: Request, access: Access) -> Response:
    """Change the description, the visibility and the default branch."""
    fields = forms.fields(request)

    async def work() -> Response:
        given = {
            "description": fields.get("description", ""),
            "visibility": fields.get("visibility", ""),
            "default_branch": fields.get("default_branch", "").strip(),
        }
        wanted = parse(RepoChange, given, "the form").model_dump(mode="json", exclude_none=True)
        repo = access.repo
        present = {
            "description": repo.description,
            "visibility": repo.visibility.value,
            "default_branch": repo.default_branch,
        }
        changes = {name: value for name, value in wanted.items() if value != present[name]}
        await repos.change(access.repository, changes)
        return _done(access.repo, "settings", "saved")

    return await forms.result(work, lambda error: settings_page(request, access, fields, error))


async def rename(request: Request, access: Access) -> Response:
    """Give the repository another name."""
    fields = forms.fields(request)

    async def work() -> Response:
        forms.require_name(fields, access.repo.slug)
        slug = fields.get("slug", "").strip()
        renamed = await repos.rename(access.repository, access.repo.slug, slug, int(access.now))
        return _done(renamed, "settings", "renamed")

    return await forms.result(work, lambda error: settings_page(request, access, fields, error))


async def delete(request: Request, access: Access) -> Response:
    """Delete the repository."""
    fields = forms.fields(request)

    async def work() -> Response:
        forms.require_name(fields, f"{access.repo.owner}/{access.repo.slug}")
        await repos.delete(access.stores, access.repo, int(access.now))
        is_own = access.by == access.repo.owner
        return forms.see(DELETED if is_own else links.owner(access.repo.owner), "deleted")

    return await forms.result(work, lambda error: settings_page(request, access, None, error))


# ── Members ─────────────────────────────────────────────────────────────────────────────────────


async def members_page(
    request: Request, access: Access, fields: Fields | None = None, error: ApiError | None = None
) -> Response:
    """The members with their roles, and the form to add one."""
    after = cursors.parse_after(request.query_params.get("cursor", "")) or None
    found = await access.stores.members.page(access.repo, MEMBERS + 1, after)
    last = found[MEMBERS - 1][0] if len(found) > MEMBERS else None
    return _page(
        request,
        access,
        "members.html",
        "members",
        error,
        members=[(handle, role.value) for handle, role in found[:MEMBERS]],
        next_cursor=cursors.after(last),
        fields={"handle": "", "role": "read", **(fields or {})},
    )


async def set_member(request: Request, access: Access) -> Response:
    """Give a user a role."""
    fields = forms.fields(request)

    async def work() -> Response:
        wanted = parse(MemberRole, {"role": fields.get("role", "")}, "the form")
        handle = fields.get("handle", "").strip()
        await members.set_role(access.repository, handle, wanted.role)
        return _done(access.repo, "settings/members", "member")

    return await forms.result(work, lambda error: members_page(request, access, fields, error))


async def remove_member(request: Request, access: Access) -> Response:
    """Remove a member."""
    fields = forms.fields(request)

    async def work() -> Response:
        await members.remove(access.repository, fields.get("handle", ""))
        return _done(access.repo, "settings/members", "removed")

    return await forms.result(work, lambda error: members_page(request, access, None, error))


# ── Trusted issuers ─────────────────────────────────────────────────────────────────────────────


async def issuers_page(
    request: Request, access: Access, fields: Fields | None = None, error: ApiError | None = None
) -> Response:
    """The trusted issuers, and the form to trust another one."""
    empty = {"issuer": "", "claims": "", "scope": "read", "audience": ""}
    return _page(
        request,
        access,
        "trusted-issuers.html",
        "issuers",
        error,
        issuers=await trusted_issuers.listed(access.repository),
        fields={**empty, **(fields or {})},
    )


async def trust(request: Request, access: Access) -> Response:
    """Trust an issuer."""
    fields = forms.fields(request)

    async def work() -> Response:
        wanted = TrustedIssuer(
            fields.get("issuer", "").strip(),
            fields.get("audience", "").strip() or browser.origin(request),
            _claims(fields.get("claims", "")),
            Role.WRITE if fields.get("scope") == "write" else Role.READ,
            access.by,
            int(access.now),
        )
        await trusted_issuers.register(access.repository, wanted)
        return _done(access.repo, "settings/issuers", "saved")

    return await forms.result(work, lambda error: issuers_page(request, access, fields, error))


async def remove_issuer(request: Request, access: Access) -> Response:
    """Trust an issuer no longer."""
    trust_id = forms.fields(request).get("trust_id", "")

    async def work() -> Response:
        await trusted_issuers.remove(access.repository, trust_id)
        return _done(access.repo, "settings/issuers", "issuer-removed")

    return await forms.result(work, lambda error: issuers_page(request, access, None, error))


def _claims(text: str) -> dict[str, str]:
    """The claims of lines `name=value`. Raises Unprocessable."""
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise Unprocessable("write each claim on a line of its own, as name=value")
    return {name.strip(): value.strip() for name, _, value in pairs}


# ── Branches ────────────────────────────────────────────────────────────────────────────────────


async def branches_page(
    request: Request, access: Access, fields: Fields | None = None, error: ApiError | None = None
) -> Response:
    """The branches, each with a form to delete it, and the form to restore one."""
    _require_repo(access)
    after = cursors.parse_after(request.query_params.get("cursor", ""))
    some, has_more = await access.repository.refs.page(BRANCHES, after)
    found = _fitting(some)
    has_more = has_more or len(found) < len(some)
    asked = request.query_params.get("branch", "")[: names.BRANCH_CHARACTERS]
    return _page(
        request,
        access,
        "branch-forms.html",
        "branches",
        error,
        branches=[(ref.branch, ref.head.commit_id) for ref in found],
        is_only=len(found) == 1 and not after and not has_more,
        next_cursor=cursors.after(found[-1].branch if has_more else None),
        fields={"branch": asked, "to": "", **(fields or {})},
    )


async def delete_branch(request: Request, access: Access) -> Response:
    """Delete a branch."""
    _require_repo(access)
    fields = forms.fields(request)

    async def work() -> Response:
        branch = fields.get("branch", "")
        forms.require_name(fields, branch)
        await branches.delete(
            access.repository,
            branch,
            leave_empty=fields.get("leave_empty") == "on",
            by=access.by,
            now=access.now,
        )
        return forms.see(
            Links.of(access.repo).to("settings/branches", branch=branch), "branch-deleted"
        )

    return await forms.result(work, lambda error: branches_page(request, access, None, error))


async def restore_branch(request: Request, access: Access) -> Response:
    """Restore a branch to an earlier head."""
    _require_repo(access)
    fields = forms.fields(request)

    async def work() -> Response:
        branch = fields.get("branch", "")
        if not branch:
            raise Unprocessable("name the branch to restore")
        to = fields.get("to", "").strip() or None
        await branches.restore(access.repository, branch, to, by=access.by, now=access.now)
        return _done(access.repo, "settings/branches", "branch-restored")

    return await forms.result(work, lambda error: branches_page(request, access, fields, error))


def _fitting(found: list[Ref]) -> list[Ref]:
    """The first of these branches whose names fit into a page; at least one."""
    sizes = accumulate(max(len(quote(ref.branch)), len(escape(ref.branch))) for ref in found)
    return found[: max(1, sum(1 for size in sizes if size <= NAME_BYTES))]


def _require_repo(access: Access) -> None:
    """Raise RepoNotFound for a repository that the first push of the owner would create."""
    if not access.repo.exists:
        raise RepoNotFound()


def _page(
    request: Request,
    access: Access,
    template: str,
    section: str,
    error: ApiError | None,
    **values: Any,
) -> Response:
    html = rendering.render(
        template,
        **{**head(request, access, "settings"), **forms.head(request, access.by)},
        section=section,
        error=error,
        **values,
    )
    return replies.form(request, html, error.status if error else 200)


def _done(repo: Repo, view: str, notice: str) -> Response:
    return forms.see(Links.of(repo).to(view), notice)
