"""/api/v1/tokens and /api/v1/me: issue, list and revoke the caller's tokens, and show the owner of
a token."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import cursors, http, lambdas
from shared.actions import tokens
from shared.actions.tokens import Rights
from shared.errors import Forbidden, HandleTaken, InvalidName, TokenNotFound
from shared.http import Caller
from shared.protocol.operation import operation
from shared.protocol.pages import PageQuery
from shared.protocol.tokens import IssuedToken, Me, NewToken, Token, TokenPage

router = APIRouter()


@router.post(
    "/api/v1/tokens",
    status_code=201,
    response_model=IssuedToken,
    openapi_extra=operation(Forbidden, HandleTaken, InvalidName, body=NewToken),
)
async def post_token(
    request: Request, caller: Annotated[Caller, Depends(http.identified("push"))]
) -> Response:
    """Issue a token to the caller. It has at most the rights of the caller's own token. It is
    shown only once.

    The new token stays valid when the caller's own token is revoked. A limit to one repository is a
    limit to its name: it does not follow a rename.
    """
    message = await http.body(request, NewToken, http.API_BYTES)
    own = caller.identity
    rights = Rights(message.scope, message.repo, message.bearer)
    issued, token = await tokens.issue_for(
        caller.stores, own, rights, message.lifetime_seconds, caller.now
    )
    shown = IssuedToken(handle=own.subject, token=token, **Token.of(issued).model_dump())
    return http.reply(request, shown.model_dump(mode="json"), 201)


@router.get(
    "/api/v1/tokens",
    response_model=TokenPage,
    openapi_extra=operation(Forbidden, query=PageQuery),
)
async def get_tokens(
    request: Request, caller: Annotated[Caller, Depends(http.identified("read"))]
) -> Response:
    """The caller's tokens, newest first, without the secret. Includes revoked tokens, and those
    that expired within a week."""
    page = http.query(request, PageQuery)
    found = await tokens.listed(caller.stores, caller.identity, page.limit + 1, page.after)
    shown = found[: page.limit]
    if len(found) > page.limit:
        last = shown[-1].identity.token_id
    else:
        last = None
    listing = TokenPage(
        tokens=[Token.of(issued) for issued in shown], next_cursor=cursors.after(last)
    )
    return http.reply(request, listing.model_dump(mode="json"))


@router.delete(
    "/api/v1/tokens/{token_id}",
    status_code=204,
    openapi_extra=operation(Forbidden, InvalidName, TokenNotFound),
)
async def delete_token(
    token_id: str, caller: Annotated[Caller, Depends(http.identified("push"))]
) -> Response:
    """Revoke one of the caller's tokens. The next request with it is refused. Any token may revoke
    itself.

    Tokens that were issued with it stay valid. If it was stolen, list and revoke the tokens that
    were issued since.
    """
    await tokens.revoke(caller.stores, caller.identity, token_id, int(caller.now))
    return Response(status_code=204)


@router.get(
    "/api/v1/me",
    response_model=Me,
    openapi_extra=operation(),
)
async def get_me(
    request: Request, caller: Annotated[Caller, Depends(http.identified("read"))]
) -> Response:
    """The owner and the rights of the token."""
    own = caller.identity
    shown = Me(
        handle=own.subject,
        token_id=own.token_id,
        scope=own.scope,
        repo=own.repo,
        bearer=own.bearer,
    )
    return http.reply(request, shown.model_dump(mode="json"))


app = http.create_app(router)
handler = lambdas.handler_of(app)
