"""POST /{owner}/{slug}/push: store commits and snapshots, and move a branch to them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas, staging
from shared.actions.push import push
from shared.errors import (
    BranchClash,
    Damaged,
    Forbidden,
    HandleTaken,
    HashMismatch,
    InvalidName,
    MissingReference,
    NotFastForward,
    NotPortable,
    QuotaReached,
    RepoNotFound,
    StagedBodyInvalid,
    UploadsPending,
)
from shared.http import Access
from shared.protocol.operation import operation
from shared.protocol.push import Push, PushReply

router = APIRouter()
Writer = Annotated[Access, Depends(http.may_write("push"))]


@router.post(
    "/{owner}/{slug}/push",
    response_model=PushReply,
    openapi_extra=operation(
        Forbidden,
        QuotaReached,
        StagedBodyInvalid,
        RepoNotFound,
        NotFastForward,
        HandleTaken,
        BranchClash,
        HashMismatch,
        InvalidName,
        MissingReference,
        NotPortable,
        UploadsPending,
        Damaged,
        body=Push,
    ),
)
async def post_push(request: Request, access: Writer) -> Response:
    """`ok`, `message`, all `branch_heads`, and `remote_head`, the head of the branch now."""
    message = await staging.body(request, access, "push", Push)
    return http.reply(request, await push(access.repository, message, by=access.by, now=access.now))


app = http.create_app(router)
handler = lambdas.handler_of(app)
