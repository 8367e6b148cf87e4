"""GET /{owner}/{slug}/refs: every branch and its head, and the branch that a clone checks out."""
# ruff: noqa: E402 - the other functions start while this one imports.

from shared.engines import wake

wake.others()

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import refs
from shared.errors import RepoNotFound
from shared.http import Access
from shared.protocol.operation import operation
from shared.protocol.refs import Refs
from shared.protocol.responses import NOT_MODIFIED

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("read"))]


@router.get(
    "/{owner}/{slug}/refs",
    response_model=Refs,
    responses=NOT_MODIFIED,
    openapi_extra=operation(RepoNotFound, auth="optional"),
)
async def get_refs(request: Request, access: Reader) -> Response:
    """The heads, in the order in which the stock client falls back to them."""
    heads = await refs.heads(access.repository)
    reply = http.reply(
        request,
        {
            "repo_id": access.repo.repo_id,
            "domain": access.repo.domain,
            "default_branch": heads.default_branch,
            "branch_heads": dict(heads.commit_ids),
        },
    )
    return http.unless_held(request, reply, http.revalidated(access.repo))


app = http.create_app(router)
handler = lambdas.handler_of(app)
