"""POST /{owner}/{slug}/push: commits and snapshots, then the branch that shall point at them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas, wire
from shared.actions.push import push
from shared.http import Access

router = APIRouter()


@router.post("/{owner}/{slug}/push")
async def post_push(request: Request, access: Annotated[Access, Depends(http.may_write("push"))]) -> Response:
    """`ok`, `message`, all `branch_heads`, and `remote_head`: where the branch is now."""
    message = await http.body(request, wire.Push, access.stores.settings.max_body_bytes, http.IN_STEPS)
    return http.reply(request, await push(access.stores, access.repo, message, by=access.by, now=access.now))


app = http.create_app(router)
handler = lambdas.handler_of(app)
