"""/api/v1/repos/{owner}/{slug}/branches, …/moves, …/restore: list and delete branches, list and
undo their moves.

The name of a branch is in the query or the body, where its slashes and percent signs need no
special treatment.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import cursors, http, lambdas
from shared.actions import branches, moves
from shared.errors import (
    AmbiguousCommit,
    BranchClash,
    BranchMoved,
    Forbidden,
    InvalidName,
    RefNotFound,
    RepoNotFound,
)
from shared.http import Access
from shared.model import CommitAddress, Sees
from shared.protocol.branches import (
    Branch,
    BranchMove,
    BranchMoves,
    BranchPage,
    DeleteBranchQuery,
    MovesQuery,
    Restore,
)
from shared.protocol.operation import operation
from shared.protocol.pages import PageQuery

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("read"))]
Writer = Annotated[Access, Depends(http.may_write("push"))]


@router.get(
    "/api/v1/repos/{owner}/{slug}/branches",
    response_model=BranchPage,
    openapi_extra=operation(RepoNotFound, query=PageQuery, auth="optional"),
)
async def get_branches(request: Request, access: Reader) -> Response:
    """The branches by name, each with its head."""
    page = http.query(request, PageQuery)
    found, has_more = await access.repository.refs.page(page.limit, page.after or "")
    listing = BranchPage(
        branches=[
            Branch(branch=ref.branch, commit_id=ref.head.commit_id, generation=ref.head.generation)
            for ref in found
        ],
        next_cursor=cursors.after(found[-1].branch if has_more else None),
    )
    return http.reply(request, listing.model_dump(mode="json"))


@router.delete(
    "/api/v1/repos/{owner}/{slug}/branches",
    status_code=204,
    openapi_extra=operation(
        Forbidden, RepoNotFound, RefNotFound, BranchMoved, query=DeleteBranchQuery
    ),
)
async def delete_branch(request: Request, access: Writer) -> Response:
    """Delete a branch.

    It can be restored for 30 days. To delete the only branch, send `leave_empty=true`.
    """
    query = http.query(request, DeleteBranchQuery)
    await branches.delete(
        access.repository,
        query.branch,
        leave_empty=query.leave_empty,
        by=access.by,
        now=access.now,
    )
    return Response(status_code=204)


@router.get(
    "/api/v1/repos/{owner}/{slug}/moves",
    response_model=BranchMoves,
    openapi_extra=operation(
        Forbidden, RepoNotFound, RefNotFound, query=MovesQuery, auth="optional"
    ),
)
async def get_moves(request: Request, access: Reader) -> Response:
    """The moves of a branch in the last 30 days: time, user, commit before and after.

    Also of a deleted branch.
    """
    if access.sees is not Sees.ALL:
        raise Forbidden(
            "the moves of a branch are shown to the owner and the members of"
            f" {access.repo.owner}/{access.repo.slug} only; log in as one of them"
        )
    query = http.query(request, MovesQuery)
    ref, found, last = await moves.page(
        access.repository, query.branch, query.after or "", query.limit, now=access.now
    )
    if ref is None and not found:
        raise RefNotFound()
    shown = [
        BranchMove(
            at=move.at / 1000,
            by=move.by,
            before=_id(move.before),
            after=_id(move.after),
            forced=move.forced,
        )
        for move in found
    ]
    page = BranchMoves(branch=query.branch, moves=shown, next_cursor=cursors.after(last))
    return http.reply(request, page.model_dump(mode="json"))


@router.post(
    "/api/v1/repos/{owner}/{slug}/restore",
    response_model=Branch,
    openapi_extra=operation(
        Forbidden,
        RepoNotFound,
        RefNotFound,
        AmbiguousCommit,
        BranchMoved,
        BranchClash,
        InvalidName,
        body=Restore,
    ),
)
async def post_restore(request: Request, access: Writer) -> Response:
    """Set a branch to a commit that it pointed to before. Undoes a forced push or a deletion, and
    is itself a move."""
    message = await http.body(request, Restore, http.API_BYTES)
    ref = await branches.restore(
        access.repository, message.branch, message.to, by=access.by, now=access.now
    )
    shown = Branch(branch=ref.branch, commit_id=ref.head.commit_id, generation=ref.head.generation)
    return http.reply(request, shown.model_dump(mode="json"))


def _id(address: CommitAddress | None) -> str | None:
    return address.commit_id if address else None


app = http.create_app(router)
handler = lambdas.handler_of(app)
