"""/api/v1/tokens/exchange: a token of the hub for an ID token of a trusted issuer (RFC 8693)."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from shared import http, lambdas
from shared.actions import exchange
from shared.errors import (
    ApiError,
    InvalidScope,
    InvalidTarget,
    InvalidTokenRequest,
    IssuerInvalid,
    UnsupportedGrant,
)
from shared.http import Visitor, browser, oauth
from shared.model import Role
from shared.openid import issuers
from shared.protocol.operation import operation
from shared.protocol.trusted_issuers import (
    ACCESS_TOKEN,
    GRANT,
    ID_TOKENS,
    ExchangedToken,
    TokenExchange,
)

SCOPES = {"": None, "read": Role.READ, "write": Role.WRITE}


class OAuthRoute(APIRoute):
    """A route whose refusals have the form of RFC 6749 too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route."""
        handler = super().get_route_handler()

        async def reply(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiError as error:
                return oauth.refusal(request, error)

        return reply


router = APIRouter(route_class=OAuthRoute)


@router.post(
    "/api/v1/tokens/exchange",
    response_model=ExchangedToken,
    openapi_extra=operation(
        InvalidTokenRequest,
        UnsupportedGrant,
        InvalidTarget,
        InvalidScope,
        IssuerInvalid,
        form=TokenExchange,
        auth="optional",
    ),
)
async def post_exchange(
    request: Request, visitor: Annotated[Visitor, Depends(http.visiting("push"))]
) -> Response:
    """Exchange an ID token of a trusted issuer for a token of one repository, valid for ten
    minutes."""
    asked = await oauth.form(request, TokenExchange)
    _check(asked)
    repo = _repository(request, asked)
    found = await exchange.exchange(
        visitor.stores,
        issuers.of_loop(visitor.stores.settings),
        asked.subject_token,
        repo,
        SCOPES[asked.scope],
        visitor.now,
    )
    shown = ExchangedToken(
        access_token=found.token, expires_in=exchange.LIFETIME_SECONDS, scope=found.scope
    )
    return oauth.token_reply(shown.model_dump(mode="json"))


def _check(asked: TokenExchange) -> None:
    """Raise UnsupportedGrant, InvalidTokenRequest or InvalidScope."""
    if asked.grant_type != GRANT:
        raise UnsupportedGrant(f"send grant_type={GRANT}")
    if asked.subject_token_type not in ID_TOKENS:
        raise InvalidTokenRequest(f"send subject_token_type={ID_TOKENS[0]}")
    if asked.requested_token_type != ACCESS_TOKEN:
        raise InvalidTokenRequest(f"the hub issues tokens of type {ACCESS_TOKEN} only")
    if not asked.subject_token:
        raise InvalidTokenRequest("send the ID token as subject_token")
    if asked.scope not in SCOPES:
        raise InvalidScope("read or write")


def _repository(request: Request, asked: TokenExchange) -> str:
    """The full name of the repository. Raises InvalidTokenRequest."""
    prefix = f"{browser.origin(request)}/"
    named = {asked.audience} if asked.audience else set()
    if asked.resource.startswith(prefix):
        named.add(asked.resource.removeprefix(prefix))
    elif asked.resource:
        raise InvalidTokenRequest(f"the resource is the URL of a repository: {prefix}owner/slug")
    if len(named) != 1:
        raise InvalidTokenRequest("name one repository: send audience=owner/slug")
    [repo] = named
    return repo


app = http.create_app(router)
handler = lambdas.handler_of(app)
