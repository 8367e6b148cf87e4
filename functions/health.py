"""GET /health: the hub answers. It asks no store: this is what `muse hub ping` calls, from anywhere."""

from fastapi import APIRouter, Request, Response

from shared import http, lambdas

router = APIRouter()


@router.get("/health")
async def get_health(request: Request) -> Response:
    """Always `{"status": "ok"}`."""
    return http.reply(request, {"status": "ok"})


app = http.create_app(router)
handler = lambdas.handler_of(app)
