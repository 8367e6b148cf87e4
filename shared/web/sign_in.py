"""The pages to sign in through an identity provider, and to choose a handle at the first time."""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shared import settings
from shared.actions import identities
from shared.authorization import Caller, Credentials, Visitor, admit, admit_caller
from shared.engines.selection import stores
from shared.errors import ApiError, Forbidden, NotFound, SignInRefused, Unauthorized
from shared.http import access, browser
from shared.model import Person, Role
from shared.openid import issuers, providers
from shared.openid.providers import Attempt, Callback, Provider
from shared.web import forms, rendering, replies
from shared.web.route import HANDLE

ATTEMPT_SECONDS = 600
NEXT_CHARACTERS = 500
# The provider, the secret of the sign-in, and the page that follows.
_ATTEMPT_COOKIE = re.compile(r"([a-z]+)\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_=-]*)")
_ERROR = re.compile("[a-z_]{1,40}")


def known_providers() -> dict[str, Provider]:
    """The providers that the operator configured, by name."""
    loaded = settings.load()
    return providers.configured(loaded, issuers.of_loop(loaded))


# ── Sign in ─────────────────────────────────────────────────────────────────────────────────────


async def start(request: Request, name: str) -> Response:
    """Send the browser to the provider."""
    browser.require_safety(request)
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise SignInRefused("another site opened this URL; open /-/sign-in yourself")
    visitor = await _visitor(request)
    provider = _provider(name)
    attempt = Attempt.new()
    url = await provider.authorization_url(attempt, _redirect_uri(request, name), visitor.now)
    following = _local(request.query_params.get("next", "/"))
    reply = RedirectResponse(url, 303)
    cookie = f"{name}.{attempt.secret}.{urlsafe_b64encode(following.encode()).decode()}"
    browser.set_cookie(reply, browser.ATTEMPT, cookie, ATTEMPT_SECONDS)
    return reply


async def finish(request: Request, name: str) -> Response:
    """Take the answer of the provider: open a session, or let a new user choose a handle."""
    browser.require_safety(request)
    visitor = await _visitor(request)
    provider = _provider(name)
    begun = _begun(request, name)
    now = visitor.now
    if not await visitor.stores.counters.end_sign_in(begun.attempt.state, int(now)):
        raise SignInRefused("this sign-in was used already; start again at /-/sign-in")
    secret = (await visitor.stores.client_secrets.verifying(name, now)).get(name, "")
    person = await provider.person(begun.attempt, _callback(request, name), secret, now)
    handle = await identities.handle_of(visitor.stores, person)
    if handle is None:
        reply = forms.see(HANDLE)
        signed = await identities.sign_person(visitor.stores, person, begun.following, now)
        browser.set_cookie(reply, browser.IDENTITY, signed, identities.CHOICE_SECONDS)
    else:
        reply = await _signed_in(visitor, handle, begun.following)
    browser.delete_cookie(reply, browser.ATTEMPT)
    return reply


class _Begun(NamedTuple):
    attempt: Attempt
    following: str


def _begun(request: Request, name: str) -> _Begun:
    """The sign-in that this browser began. Raises SignInRefused."""
    query = request.query_params
    found = _ATTEMPT_COOKIE.fullmatch(request.cookies.get(browser.ATTEMPT, ""))
    attempt = Attempt(found[2]) if found and found[1] == name else None
    state = query.get("state", "")
    if found is None or attempt is None or not _is_equal(state, attempt.state):
        raise SignInRefused(
            "this browser did not begin this sign-in, or it took more than 10 minutes; start again"
            " at /-/sign-in"
        )
    error = query.get("error", "")
    if error or not 0 < len(query.get("code", "")) <= providers.CODE_CHARACTERS:
        reason = error if _ERROR.fullmatch(error) else "no code"
        raise SignInRefused(f"the provider did not sign you in ({reason}); start again")
    return _Begun(attempt, _local(_decoded(found[3])))


def _callback(request: Request, name: str) -> Callback:
    query = request.query_params
    return Callback(query["code"], _redirect_uri(request, name), query.get("iss"))


# ── The first sign-in ───────────────────────────────────────────────────────────────────────────


async def handle_page(
    request: Request,
    visitor: Visitor | None = None,
    chosen: str | None = None,
    error: ApiError | None = None,
) -> Response:
    """The form to choose a handle, or to link the provider's user to the handle of the session."""
    visitor = visitor or await _visitor(request)
    person, _ = await _person(request, visitor)
    caller = await _caller(request)
    html = rendering.render(
        "handle.html",
        **forms.head(request, caller.by if caller else ""),
        claim_token=browser.form_token(request.cookies.get(browser.IDENTITY, "")),
        person=person,
        may_link=bool(caller and not caller.identity.repo and caller.identity.scope is Role.ADMIN),
        handle=identities.suggested_handle(person.login) if chosen is None else chosen,
        error=error,
    )
    return replies.form(request, html, error.status if error else 200)


async def choose_handle(request: Request) -> Response:
    """Claim the handle, and open a session."""
    visitor = await _visitor(request)
    person, following = await _person(request, visitor)
    chosen = forms.fields(request).get("handle", "").strip()

    async def work() -> Response:
        handle = await identities.claim(visitor.stores, person, chosen, visitor.now)
        return await _signed_in(visitor, handle, following)

    return await forms.result(work, lambda error: handle_page(request, visitor, chosen, error))


async def link(request: Request, caller: Caller) -> Response:
    """Link the provider's user to the handle of the session."""
    person, _ = await _person(request, caller)

    async def work() -> Response:
        await identities.link_own(caller.stores, caller.identity, person, caller.now)
        reply = forms.see("/-/account", "linked")
        browser.delete_cookie(reply, browser.IDENTITY)
        return reply

    return await forms.result(work, lambda error: handle_page(request, caller, None, error))


async def _signed_in(visitor: Visitor, handle: str, following: str) -> Response:
    """The reply that opens a new session. A session of the request is neither used nor kept."""
    issued, session = await identities.open_session(visitor.stores, handle, visitor.now)
    reply = forms.see(following if following != "/" else f"/{handle}")
    browser.set_cookie(reply, browser.SESSION, session, issued.expires_at - issued.issued_at)
    browser.delete_cookie(reply, browser.IDENTITY)
    return reply


async def _person(request: Request, visitor: Visitor) -> tuple[Person, str]:
    text = request.cookies.get(browser.IDENTITY, "")
    return await identities.read_person(visitor.stores, text, visitor.now)


async def _visitor(request: Request) -> Visitor:
    """The request, counted by its address: there is no session yet."""
    counted = access.allowance(request, "push")
    return await admit(
        await stores(), Credentials(None, access.credentials(request).address), counted
    )


async def _caller(request: Request) -> Caller | None:
    """The user of the session, or None."""
    try:
        found = browser.by_session(request)
        return await admit_caller(await stores(), found, access.allowance(request, "read"))
    except (Unauthorized, Forbidden):
        return None


def _provider(name: str) -> Provider:
    provider = known_providers().get(name)
    if provider is None:
        raise NotFound("this hub has no such provider; open /-/sign-in for the ways to sign in")
    return provider


def _redirect_uri(request: Request, name: str) -> str:
    return f"{browser.origin(request)}/-/sign-in/{name}/callback"


def _local(url: str) -> str:
    found = browser.local_url(url)
    return found if len(found) <= NEXT_CHARACTERS else "/"


def _decoded(text: str) -> str:
    try:
        return urlsafe_b64decode(text).decode()
    except ValueError:
        return "/"


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
