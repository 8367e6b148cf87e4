"""GET /api/v1/usage: the stored bytes of the caller, the limit, and the cost of two days."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import usage
from shared.errors import Forbidden
from shared.http import Caller
from shared.protocol.operation import operation
from shared.protocol.usage import Usage

router = APIRouter()


@router.get("/api/v1/usage", response_model=Usage, openapi_extra=operation(Forbidden))
async def get_usage(
    request: Request, caller: Annotated[Caller, Depends(http.identified("read"))]
) -> Response:
    """The usage of the caller, over all repositories that the caller owns."""
    found = await usage.of_caller(caller.stores, caller.identity, caller.now)
    return http.reply(request, found.model_dump(mode="json"))


app = http.create_app(router)
handler = lambdas.handler_of(app)
