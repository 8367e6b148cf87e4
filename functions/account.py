"""The pages of a user, for browsers: sign in and out, and the user's own tokens."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.http import Caller, browser
from shared.web import account, sign_in
from shared.web.route import HANDLE, SIGN_IN, FormRoute

router = APIRouter(route_class=FormRoute, include_in_schema=False)
Reader = Annotated[Caller, Depends(http.identified("read", browser.by_session))]
Writer = Annotated[Caller, Depends(http.identified("push", browser.by_session))]


@router.get(SIGN_IN)
async def get_sign_in(request: Request) -> Response:
    """The form to sign in."""
    return await account.sign_in_page(request)


@router.post(SIGN_IN)
async def post_sign_in(request: Request) -> Response:
    """Open a session with a token."""
    return await account.sign_in_with_token(request)


@router.get(f"{SIGN_IN}/{{provider}}")
async def get_provider(request: Request, provider: str) -> Response:
    """Sign in through an identity provider."""
    return await sign_in.start(request, provider)


@router.get(f"{SIGN_IN}/{{provider}}/callback")
async def get_callback(request: Request, provider: str) -> Response:
    """Take the answer of an identity provider."""
    return await sign_in.finish(request, provider)


@router.get(HANDLE)
async def get_handle(request: Request) -> Response:
    """The form to choose a handle at the first sign-in."""
    return await sign_in.handle_page(request)


@router.post(HANDLE)
async def post_handle(request: Request) -> Response:
    """Choose a handle, and open a session."""
    return await sign_in.choose_handle(request)


@router.post(f"{HANDLE}/link")
async def post_link(request: Request, caller: Writer) -> Response:
    """Link the user of the provider to the handle of the session."""
    return await sign_in.link(request, caller)


@router.post("/-/account/sign-out")
async def post_sign_out(request: Request, caller: Writer) -> Response:
    """Revoke the session."""
    return await account.sign_out(request, caller)


@router.get("/-/account")
async def get_account(request: Request, caller: Reader) -> Response:
    """The user's tokens and sessions."""
    return await account.account_page(request, caller)


@router.post("/-/account/tokens")
async def post_token(request: Request, caller: Writer) -> Response:
    """Issue a token, and show it once."""
    return await account.create_token(request, caller)


@router.post("/-/account/revoke")
async def post_revoke(request: Request, caller: Writer) -> Response:
    """Revoke a token or a session."""
    return await account.revoke_token(request, caller)


app = http.create_app(router)
handler = lambdas.handler_of(app)
