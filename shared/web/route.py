"""Routes whose replies are pages, also for errors."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.responses import RedirectResponse

from shared.errors import ApiError, HubLimited, NotFound, Unauthorized
from shared.http import browser
from shared.middleware import CODE, IS_HEAD
from shared.web import replies

SIGN_IN = "/-/sign-in"
HANDLE = "/-/handle"
FORM_COOKIES = {SIGN_IN: browser.FORM, HANDLE: browser.IDENTITY}
"""The cookies to which the forms without a session are bound, by their paths."""
NOTHING = "there is nothing at this URL; repositories are at /owner/name"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A page that also visitors without a session may open."""

    def get_route_handler(self) -> Handler:
        """The handler of the route, for clients that want a page."""
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            _require_browser(request)
            try:
                return await handler(request)
            except Unauthorized as error:
                if request.headers.get("authorization") or not browser.session(request):
                    return _failure(request, error)
            except ApiError as error:
                return _failure(request, error)
            # The session is over: the visitor gets the page of a visitor without one.
            try:
                reply = await handler(_without_cookies(request))
            except ApiError as error:
                reply = _failure(request, error)
            browser.delete_cookie(reply, browser.SESSION)
            return reply

        return page


class FormRoute(APIRoute):
    """A page for signed-in users, or the submission of one of its forms.

    Without a session, the reply leads to the form to sign in. A submission is verified before
    anything else, and makes no call to AWS if another site sent it.
    """

    def get_route_handler(self) -> Handler:
        """The handler of the route, for clients that want a page."""
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            _require_browser(request)
            try:
                if request.method == "POST":
                    cookie = FORM_COOKIES.get(request.url.path, browser.SESSION)
                    request.state.fields = await browser.submitted(request, cookie)
                reply = await handler(request)
            except Unauthorized:
                reply = _to_sign_in(request)
            except ApiError as error:
                reply = _failure(request, error)
            reply.headers["Cache-Control"] = "no-store"
            return reply

        return page


def _require_browser(request: Request) -> None:
    if not replies.is_wanted(request):
        raise NotFound(NOTHING)


def _without_cookies(request: Request) -> Request:
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"cookie"]
    return Request({**request.scope, "headers": headers}, request.receive)


def _to_sign_in(request: Request) -> Response:
    """A redirect that leads back to the page afterwards; of a submission, to its form."""
    if request.method == "GET" or request.scope.get(IS_HEAD):
        query = request.url.query
        asked = browser.local_url(f"{request.url.path}?{query}" if query else request.url.path)
    else:
        asked = browser.previous_page(request)
    reply = RedirectResponse(f"{SIGN_IN}?{urlencode({'next': asked})}", 303)
    browser.delete_cookie(reply, browser.SESSION)
    return reply


def _failure(request: Request, error: ApiError) -> Response:
    request.scope[CODE] = error.code
    if error.status >= 500 and not isinstance(error, HubLimited):
        request.scope["failure"] = error
    return replies.failure(request, error)
