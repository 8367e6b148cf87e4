"""GET /health: the hub answers, without a call to a store. `muse hub ping` calls it.

It also replies to every request without a route.
"""

from fastapi import APIRouter, Request, Response

from shared import http, lambdas, routing
from shared.protocol.hub import Health
from shared.protocol.operation import operation

router = APIRouter()


@router.get(
    "/health",
    response_model=Health,
    openapi_extra=operation(auth="none"),
)
async def get_health(request: Request) -> Response:
    """Always `{"status": "ok"}`."""
    return http.reply(request, {"status": "ok"})


def all_paths() -> routing.Paths:
    """The paths of all functions. API Gateway sends every request without a route here."""
    from functions import endpoints  # late: only such a request needs the table

    return endpoints.paths()


app = http.create_app(router, paths=all_paths)
handler = lambdas.handler_of(app)
