"""/api/v1/domains: publish, list, show and delete the descriptions of domain plugins."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import domains
from shared.errors import DomainExists, DomainNotFound, Forbidden, HandleTaken, InvalidName
from shared.http import Caller, Visitor
from shared.protocol.domains import DomainPage, DomainRecord, PublishDomain
from shared.protocol.operation import operation
from shared.protocol.pages import PageQuery

router = APIRouter()
Viewer = Annotated[Visitor, Depends(http.visiting("read"))]


@router.post(
    "/api/v1/domains",
    status_code=201,
    response_model=DomainRecord,
    openapi_extra=operation(Forbidden, DomainExists, HandleTaken, InvalidName, body=PublishDomain),
)
async def post_domain(
    request: Request, caller: Annotated[Caller, Depends(http.identified("push"))]
) -> Response:
    """Publish a domain of the caller, or a later version of it. The same again changes nothing."""
    wanted = await http.body(request, PublishDomain, http.API_BYTES)
    record = await domains.publish(caller.stores, caller.identity, wanted, caller.now)
    return http.reply(request, record, 201)


@router.get(
    "/api/v1/domains",
    response_model=DomainPage,
    openapi_extra=operation(query=PageQuery, auth="optional"),
)
async def get_domains(request: Request, visitor: Viewer) -> Response:
    """The published domains by author and name, each in its present version."""
    page = http.query(request, PageQuery)
    records, cursor = await domains.listed(visitor.stores, page.limit, page.after)
    return http.reply_records(request, "domains", records, cursor)


@router.get(
    "/api/v1/domains/{author}/{slug}",
    response_model=DomainRecord,
    openapi_extra=operation(DomainNotFound, auth="optional"),
)
async def get_domain(request: Request, author: str, slug: str, visitor: Viewer) -> Response:
    """One domain: `@author/slug`."""
    return http.reply(request, await domains.one(visitor.stores, author, slug))


@router.delete(
    "/api/v1/domains/{author}/{slug}",
    status_code=204,
    openapi_extra=operation(Forbidden, DomainNotFound),
)
async def delete_domain(
    author: str, slug: str, caller: Annotated[Caller, Depends(http.identified("push"))]
) -> Response:
    """Delete a domain of the caller. Its name is free then."""
    await domains.delete(caller.stores, caller.identity, author, slug)
    return Response(status_code=204)


app = http.create_app(router)
handler = lambdas.handler_of(app)
