"""GET /health: the hub answers, without a call to a store. `muse hub ping` calls it."""

from fastapi import APIRouter, Request, Response

from shared import http, lambdas

router = APIRouter()


@router.get("/health")
async def get_health(request: Request) -> Response:
    """Always `{"status": "ok"}`."""
    return http.reply(request, {"status": "ok"})


app = http.create_app(router)
handler = lambdas.handler_of(app)
