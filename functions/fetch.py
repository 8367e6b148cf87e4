"""POST /{owner}/{slug}/fetch: reachable(want) − reachable(have), with all it needs, as one bundle;
and in steps.

    fetch            the whole difference
    fetch/history    its oldest commits and their snapshots, with the sizes of the objects they need
    fetch/objects    the contents of some objects

These replies may be larger than Lambda passes in one piece: `run.sh` serves this app where they are
streamed.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas, streaming
from shared.actions import clone_counts, fetch
from shared.actions.fetch_history import fetch_history
from shared.actions.fetch_objects import fetch_objects
from shared.errors import CommitNotFound, Damaged, InvalidName, ObjectNotFound, RepoNotFound
from shared.http import Access
from shared.protocol.fetch import (
    Fetch,
    Fetched,
    FetchedObjects,
    FetchHistory,
    FetchObjects,
    HistoryStep,
)
from shared.protocol.hub import Health
from shared.protocol.operation import operation
from shared.streaming import Terms

router = APIRouter()


@router.post(
    "/{owner}/{slug}/fetch",
    response_model=Fetched,
    openapi_extra=operation(
        RepoNotFound, CommitNotFound, InvalidName, Damaged, body=Fetch, auth="optional"
    ),
)
async def post_fetch(
    request: Request, access: Annotated[Access, Depends(http.may_read("fetch"))]
) -> Response:
    """`commits`, `snapshots`, `objects` and all `branch_heads`."""
    message = await http.body(request, Fetch)
    terms = _terms(request, access)
    fetched = await fetch.fetch(access.repository, message, access.sees, terms.most_bytes)
    clones = clone_counts.count(access.repository, fetched) if not message.have else 0
    if clones:
        await access.stores.counters.add_clones(access.repo.repo_id, clones, access.now)
    return await streaming.send(terms, fetched)


@router.post(
    "/{owner}/{slug}/fetch/history",
    response_model=HistoryStep,
    openapi_extra=operation(
        RepoNotFound, CommitNotFound, InvalidName, Damaged, body=FetchHistory, auth="optional"
    ),
)
async def post_fetch_history(
    request: Request, access: Annotated[Access, Depends(http.may_read("fetch"))]
) -> Response:
    """`commits`, `snapshots`, `objects` (sizes by id), all `branch_heads`, and whether it
    `is_complete`.
    """
    message = await http.body(request, FetchHistory)
    terms = _terms(request, access)
    step = await fetch_history(access.repository, message, access.sees, terms.most_bytes)
    return await streaming.send_part(terms, step)


# Class `upload`, as for the download of one object: a clone of 150 MB asks some forty times.
@router.post(
    "/{owner}/{slug}/fetch/objects",
    response_model=FetchedObjects,
    openapi_extra=operation(
        RepoNotFound, ObjectNotFound, InvalidName, Damaged, body=FetchObjects, auth="optional"
    ),
)
async def post_fetch_objects(
    request: Request, access: Annotated[Access, Depends(http.may_read("upload"))]
) -> Response:
    """`objects`, and the ids that are `left` or too `large` for a reply."""
    message = await http.body(request, FetchObjects, http.API_BYTES * 4)
    terms = _terms(request, access)
    objects = await fetch_objects(access.repository, message, terms.most_bytes)
    return await streaming.send_part(terms, objects)


def _terms(request: Request, access: Access) -> Terms:
    return Terms.of(request, access.stores.settings.max_reply_bytes)


door = APIRouter()
"""Routes for the process that starts `run.sh`."""


@door.get(
    "/health",
    response_model=Health,
    openapi_extra=operation(auth="none"),
)
async def get_health(request: Request) -> Response:
    """As GET /health of the hub: the process listens."""
    return http.reply(request, {"status": "ok"})


app = http.create_app(router, door)
handler = lambdas.handler_of(app)
