"""/api/v1/tokens and /api/v1/me: issue, list and revoke one's own tokens, and say whose token this is."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import api, cursors, http, lambdas, names
from shared.errors import Forbidden, HandleTaken, InvalidName, TokenNotFound
from shared.http import Caller
from shared.metadata.tokens import Issued, new_id
from shared.model import Identity, Role

router = APIRouter()


@router.post(
    "/api/v1/tokens",
    **api.documented(Forbidden, HandleTaken, InvalidName, takes=api.NewToken, gives=api.IssuedToken, status=201),
)
async def post_token(request: Request, caller: Annotated[Caller, Depends(http.identified("push"))]) -> Response:
    """Issue a token to the caller, for less than his own is good for, or as much. It is shown this once.

    It stands for itself: it outlives the caller's own, also if that is revoked. Limited to one repository, it is good
    for whatever has that name: it does not follow a rename.
    """
    message = await http.body(request, api.NewToken, http.API_BYTES)
    own = caller.identity
    if not own.scope.allows(Role.ADMIN):
        raise Forbidden(f"only a token of scope admin issues others, and this one's is {own.scope.value}")
    if own.repo and message.repo != own.repo:
        raise Forbidden(
            f'this token is good for {own.repo} only, and so must be the new one: send "repo": "{own.repo}"'
        )
    if message.repo is not None:
        _check_full_name(message.repo)
    now = int(caller.now)
    issued = Issued(
        Identity(own.subject, message.scope, new_id(caller.now), message.repo or "", message.bearer or own.bearer),
        issued_at=now,
        expires_at=now + message.lifetime_seconds,
    )
    await caller.stores.handles.claim(own.subject)
    # Written down before it is given away: whatever was issued can be listed.
    await caller.stores.tokens.put(issued)
    token = await caller.sign(issued.identity, message.lifetime_seconds)
    shown = api.IssuedToken(handle=own.subject, token=token, **api.Token.of(issued).model_dump())
    return http.reply(request, shown.model_dump(mode="json"), 201)


@router.get("/api/v1/tokens", **api.documented(Forbidden, asks=api.PageQuery, gives=api.TokenPage))
async def get_tokens(request: Request, caller: Annotated[Caller, Depends(http.identified("read"))]) -> Response:
    """The caller's tokens, newest first, revoked ones and those that expired within a week included. Not the tokens
    themselves."""
    if caller.identity.repo:
        raise Forbidden(f"this token is good for {caller.identity.repo} only: it does not let you list others")
    page = http.query(request, api.PageQuery)
    found = await caller.stores.tokens.listed(caller.identity.subject, page.limit + 1, page.after)
    shown = found[: page.limit]
    last = shown[-1].identity.token_id if len(found) > page.limit else None
    listing = api.TokenPage(tokens=[api.Token.of(issued) for issued in shown], next_cursor=cursors.after(last))
    return http.reply(request, listing.model_dump(mode="json"))


@router.delete("/api/v1/tokens/{token_id}", **api.documented(Forbidden, InvalidName, TokenNotFound, status=204))
async def delete_token(token_id: str, caller: Annotated[Caller, Depends(http.identified("push"))]) -> Response:
    """Revoke one of the caller's tokens: it is worthless from the next request on. Any token may revoke itself.

    Those that were issued with it stay good: if it was stolen, list and revoke what was issued since.
    """
    own = caller.identity
    if token_id != own.token_id and (own.repo or not own.scope.allows(Role.ADMIN)):
        raise Forbidden("this needs a token of scope admin that is not limited to one repository")
    if token_id != own.token_id and not names.is_repo_name(token_id):
        raise InvalidName("this is no token's id: GET tokens lists them")
    was_recorded = await caller.stores.tokens.revoke(own.subject, token_id, int(caller.now))
    if not was_recorded and token_id != own.token_id:
        raise TokenNotFound()
    return Response(status_code=204)


@router.get("/api/v1/me", **api.documented(gives=api.Me))
async def get_me(request: Request, caller: Annotated[Caller, Depends(http.identified("read"))]) -> Response:
    """Whose token was sent, and what it is good for."""
    own = caller.identity
    shown = api.Me(handle=own.subject, token_id=own.token_id, scope=own.scope, repo=own.repo or None, bearer=own.bearer)
    return http.reply(request, shown.model_dump(mode="json"))


def _check_full_name(repo: str) -> None:
    owner, _, slug = repo.partition("/")
    if not (names.is_repo_name(owner) and names.is_repo_name(slug)):
        raise InvalidName("a token is limited to one repository by its full name, owner/slug")


app = http.create_app(router)
handler = lambdas.handler_of(app)
