"""/api/v1/repos/{owner}/{slug}/trusted-issuers: the issuers whose ID tokens a repository accepts in
exchange for tokens of the hub."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import trusted_issuers
from shared.errors import Forbidden, RepoNotFound, TrustedIssuerNotFound
from shared.http import Access, browser
from shared.metadata.trusted_issuers import TrustedIssuer as Trusted
from shared.model import Role
from shared.protocol.operation import operation
from shared.protocol.trusted_issuers import NewTrustedIssuer, TrustedIssuer, TrustedIssuerList

router = APIRouter()
PATH = "/api/v1/repos/{owner}/{slug}/trusted-issuers"
MayAdmin = Annotated[Access, Depends(http.may_admin("push"))]


@router.get(
    PATH,
    response_model=TrustedIssuerList,
    openapi_extra=operation(Forbidden, RepoNotFound),
)
async def get_trusted_issuers(
    request: Request, access: Annotated[Access, Depends(http.may_admin("read"))]
) -> Response:
    """The trusted issuers, the oldest first."""
    found = await trusted_issuers.listed(access.repository)
    listing = TrustedIssuerList(trusted_issuers=[_shown(one) for one in found])
    return http.reply(request, listing.model_dump(mode="json"))


@router.post(
    PATH,
    status_code=201,
    response_model=TrustedIssuer,
    openapi_extra=operation(Forbidden, RepoNotFound, body=NewTrustedIssuer),
)
async def post_trusted_issuer(request: Request, access: MayAdmin) -> Response:
    """Trust an issuer, such as GitHub Actions or GitLab. A repeated request changes nothing.

    Programs exchange its ID tokens at POST /api/v1/tokens/exchange.
    """
    message = await http.body(request, NewTrustedIssuer, http.API_BYTES)
    wanted = Trusted(
        message.issuer,
        message.audience or browser.origin(request),
        message.claims,
        Role(message.scope),
        access.by,
        int(access.now),
    )
    registered = await trusted_issuers.register(access.repository, wanted)
    return http.reply(request, _shown(registered).model_dump(mode="json"), 201)


@router.delete(
    PATH + "/{trust_id}",
    status_code=204,
    openapi_extra=operation(Forbidden, RepoNotFound, TrustedIssuerNotFound),
)
async def delete_trusted_issuer(trust_id: str, access: MayAdmin) -> Response:
    """Trust an issuer no longer. Tokens of earlier exchanges expire within ten minutes."""
    await trusted_issuers.remove(access.repository, trust_id)
    return Response(status_code=204)


def _shown(trusted: Trusted) -> TrustedIssuer:
    return TrustedIssuer(
        trust_id=trusted.trust_id,
        issuer=trusted.issuer,
        audience=trusted.audience,
        claims=dict(trusted.claims),
        scope=trusted.scope,
        by=trusted.by,
        created_at=trusted.created_at,
    )


app = http.create_app(router)
handler = lambdas.handler_of(app)
