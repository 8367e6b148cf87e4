"""POST /{owner}/{slug}/negotiate: the commits of the client that the hub has as well."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions.negotiate import negotiate
from shared.errors import CommitNotFound, Damaged, InvalidName, RepoNotFound
from shared.http import Access
from shared.protocol.fetch import Negotiate, Negotiated
from shared.protocol.operation import operation

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("read"))]


@router.post(
    "/{owner}/{slug}/negotiate",
    response_model=Negotiated,
    openapi_extra=operation(
        RepoNotFound, CommitNotFound, InvalidName, Damaged, body=Negotiate, auth="optional"
    ),
)
async def post_negotiate(request: Request, access: Reader) -> Response:
    """`ack`, `common_base` and `ready`."""
    message = await http.body(request, Negotiate)
    return http.reply(
        request,
        await negotiate(access.repository, message, access.sees, by=access.by, now=access.now),
    )


app = http.create_app(router)
handler = lambdas.handler_of(app)
