"""GET /{owner}/{slug}/refs: every branch and its head, and which branch a clone starts on."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.http import Access

router = APIRouter()


@router.get("/{owner}/{slug}/refs")
async def get_refs(request: Request, access: Annotated[Access, Depends(http.may_read("read"))]) -> Response:
    """The heads, in the order in which a clone may fall back on them."""
    refs = await access.stores.refs.all(access.repo.repo_id)
    heads = {branch: ref.head.commit_id for branch, ref in refs.items()}
    default = _default(access.repo.default_branch, heads)
    reply = http.reply(
        request,
        {
            "repo_id": access.repo.repo_id,
            "domain": access.repo.domain,
            "default_branch": default,
            # The stock client takes the first branch if the default is not there, and cannot clone
            # onto one with a slash.
            "branch_heads": dict(sorted(heads.items(), key=lambda item: (item[0] != default, "/" in item[0], item[0]))),
        },
    )
    return http.unless_held(request, reply, http.revalidated(access.repo))


def _default(chosen: str, heads: Mapping[str, str]) -> str:
    """The repository's default branch; while that does not exist, the first other one that a clone can open."""
    if chosen in heads:
        return chosen
    return min((branch for branch in heads if "/" not in branch), default=chosen)


app = http.create_app(router)
handler = lambdas.handler_of(app)
