"""The pages of a user: the form to sign in, and the user's tokens."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared import cursors
from shared.actions import sessions, tokens
from shared.actions.tokens import Rights
from shared.authorization import Credentials, admit_caller
from shared.engines.selection import stores
from shared.errors import ApiError, Forbidden, Unauthorized
from shared.http import Caller, access, browser
from shared.metadata.tokens import Issued
from shared.model import Role
from shared.protocol.base import parse
from shared.protocol.tokens import NewToken
from shared.web import forms, rendering, replies, sign_in, times
from shared.web.forms import Fields

ACCOUNT = "/-/account"
TOKENS = 50
"""The tokens on one page."""
DAY_SECONDS = 24 * 3600
LIFETIMES_DAYS = (1, 7, 30, 90, 365)
USUAL_DAYS = 30


# ── Sign in and out ─────────────────────────────────────────────────────────────────────────────


async def sign_in_page(request: Request, error: ApiError | None = None) -> Response:
    """The form to sign in. Raises Forbidden on a connection that is not safe."""
    browser.require_safety(request)
    cookie = request.cookies.get(browser.FORM) or browser.new_form_cookie()
    following = request.query_params.get("next") or browser.previous_page(request)
    html = rendering.render(
        "sign-in.html",
        base_url=browser.origin(request),
        next=browser.local_url(following),
        form_token=browser.form_token(cookie),
        providers=sign_in.known_providers().values(),
        error=error,
    )
    reply = replies.form(request, html, error.status if error else 200)
    browser.set_cookie(reply, browser.FORM, cookie, browser.FORM_SECONDS)
    return reply


async def sign_in_with_token(request: Request) -> Response:
    """Open a session with the submitted token.

    The session is always a new one: a session of the request is neither used nor prolonged.
    """
    fields = forms.fields(request)
    token = fields.get("token", "").strip()
    address = access.credentials(request).address
    counted = access.allowance(request, "push")
    try:
        caller = await admit_caller(await stores(), Credentials(token, address), counted)
    except Unauthorized:
        return await sign_in_page(request, _NOT_A_TOKEN)
    issued, session = await sessions.open_session(caller.stores, caller.identity, caller.now)
    following = browser.local_url(fields.get("next", "/"))
    reply = forms.see(following if following != "/" else f"/{issued.identity.subject}")
    browser.set_cookie(
        reply, browser.SESSION, session, max(1, issued.expires_at - issued.issued_at)
    )
    browser.delete_cookie(reply, browser.FORM)
    return reply


async def sign_out(request: Request, caller: Caller) -> Response:
    """Revoke the session."""
    await sessions.close(caller.stores, caller.identity, caller.now)
    reply = forms.see("/")
    browser.delete_cookie(reply, browser.SESSION)
    return reply


_NOT_A_TOKEN = Forbidden(
    "this is not a valid token of this hub: it may be cut off, expired or revoked; paste a whole"
    " token, or ask for a new one"
)


# ── Tokens ──────────────────────────────────────────────────────────────────────────────────────


async def account_page(
    request: Request,
    caller: Caller,
    fields: Fields | None = None,
    error: ApiError | None = None,
) -> Response:
    """The user's tokens, and the form to create one."""
    own = caller.identity
    after = cursors.parse_after(request.query_params.get("cursor", "")) or None
    if own.repo:
        found = []
    else:
        found = await tokens.listed(caller.stores, caller.identity, TOKENS + 1, after)
    if len(found) > TOKENS:
        last = found[TOKENS - 1].identity.token_id
    else:
        last = None
    html = rendering.render(
        "account.html",
        **forms.head(request, own.subject),
        own=own,
        may_issue=own.scope.allows(Role.ADMIN),
        tokens=[_shown(issued, own.token_id, caller.now) for issued in found[:TOKENS]],
        next_cursor=cursors.after(last),
        lifetimes=LIFETIMES_DAYS,
        fields={
            "scope": "write",
            "repo": own.repo or "",
            "days": str(USUAL_DAYS),
            **(fields or {}),
        },
        error=error,
    )
    return replies.form(request, html, error.status if error else 200)


async def create_token(request: Request, caller: Caller) -> Response:
    """Issue a token, and show it once."""
    fields = forms.fields(request)

    async def work() -> Response:
        days = forms.number(fields, "days", LIFETIMES_DAYS)
        asked: dict[str, Any] = {
            "scope": fields.get("scope"),
            "lifetime_seconds": days * DAY_SECONDS,
        }
        wanted = parse(NewToken, asked | ({"repo": repo} if repo else {}), "the form")
        rights = Rights(wanted.scope, wanted.repo, wanted.bearer)
        issued, token = await tokens.issue_for(
            caller.stores, caller.identity, rights, wanted.lifetime_seconds, caller.now
        )
        html = rendering.render(
            "token.html",
            **forms.head(request, caller.identity.subject),
            token=token,
            issued=_shown(issued, "", caller.now),
        )
        return replies.form(request, html, 201)

    repo = fields.get("repo", "").strip()
    return await forms.result(work, lambda error: account_page(request, caller, fields, error))


async def revoke_token(request: Request, caller: Caller) -> Response:
    """Revoke a token or a session of the user."""
    fields = forms.fields(request)

    async def work() -> Response:
        token_id = fields.get("token_id", "")
        await tokens.revoke(caller.stores, caller.identity, token_id, int(caller.now))
        return forms.see(ACCOUNT, "revoked")

    return await forms.result(work, lambda error: account_page(request, caller, None, error))


def _shown(issued: Issued, own_id: str, now: float) -> Mapping[str, Any]:
    if issued.revoked_at:
        state = "revoked"
    else:
        if issued.expires_at > now:
            state = "valid"
        else:
            state = "expired"
    return {
        "id": issued.identity.token_id,
        "is_session": issued.is_session,
        "is_own": issued.identity.token_id == own_id,
        "scope": issued.identity.scope.value,
        "repo": issued.identity.repo,
        "bearer": issued.identity.bearer.value,
        "issued": times.of_seconds(issued.issued_at),
        "expires": times.of_seconds(issued.expires_at),
        "state": state,
    }
