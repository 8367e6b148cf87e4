"""GET /{owner}/{slug}/refs: every branch and its head, and the branch that a clone checks out."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
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
    refs = await access.repository.refs.all()
    heads = {branch: ref.head.commit_id for branch, ref in refs.items()}
    default = _default(access.repo.default_branch, heads)
    # The stock client uses the first branch if the default branch is missing, and cannot clone a
    # branch with a slash.
    ordered = sorted(heads, key=lambda branch: (branch != default, "/" in branch, branch))
    reply = http.reply(
        request,
        {
            "repo_id": access.repo.repo_id,
            "domain": access.repo.domain,
            "default_branch": default,
            "branch_heads": {branch: heads[branch] for branch in ordered},
        },
    )
    return http.unless_held(request, reply, http.revalidated(access.repo))


def _default(chosen: str, heads: Mapping[str, str]) -> str:
    """The repository's default branch.

    If it does not exist, the first branch by name that a client can clone.
    """
    if chosen in heads:
        return chosen
    return min((branch for branch in heads if "/" not in branch), default=chosen)


app = http.create_app(router)
handler = lambdas.handler_of(app)
