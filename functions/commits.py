"""/api/v1/repos/{owner}/{slug}/commits and …/compare: the log, one commit, its files, and a
comparison of two."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import cursors, http, lambdas, log_cursors
from shared.actions import browse, history
from shared.errors import (
    AmbiguousCommit,
    CommitNotFound,
    Damaged,
    RefNotFound,
    RepoNotFound,
    TooLarge,
)
from shared.http import Access
from shared.protocol.history import (
    Commit,
    CompareQuery,
    Comparison,
    Files,
    FilesQuery,
    Log,
    LogEntry,
    LogQuery,
)
from shared.protocol.operation import operation

router = APIRouter()

Reader = Annotated[Access, Depends(http.may_read("read"))]


@router.get(
    "/api/v1/repos/{owner}/{slug}/commits",
    response_model=Log,
    openapi_extra=operation(
        RepoNotFound, RefNotFound, AmbiguousCommit, Damaged, query=LogQuery, auth="optional"
    ),
)
async def get_commits(request: Request, access: Reader) -> Response:
    """The history of a branch or a commit, newest first. The default is the default branch."""
    query = http.query(request, LogQuery)
    ref = query.ref or access.repo.default_branch
    begin = await log_cursors.opened(access, query.cursor)
    entries, after = await history.log(access.repository, ref, begin, query.limit, access.sees)
    cursor = await log_cursors.sealed(access, after)
    log = Log(
        commits=[
            LogEntry(
                commit_id=entry.node.commit_id,
                generation=entry.node.address.generation,
                parents=[parent.commit_id for parent in entry.node.parents],
                snapshot_id=entry.node.snapshot_id,
                **entry.summary,
            )
            for entry in entries
        ],
        next_cursor=cursor,
    )
    return http.reply(request, log.model_dump(mode="json"))


@router.get(
    "/api/v1/repos/{owner}/{slug}/commits/{commit_id}",
    response_model=Commit,
    openapi_extra=operation(
        RepoNotFound, CommitNotFound, AmbiguousCommit, Damaged, TooLarge, auth="optional"
    ),
)
async def get_commit(request: Request, commit_id: str, access: Reader) -> Response:
    """One commit with its whole record.

    Named by its id, by the first 7 or more digits of it, or by a branch.
    """
    entry = await browse.commit(access.repository, commit_id, access.sees)
    shown = Commit(
        commit_id=entry.node.commit_id,
        generation=entry.node.address.generation,
        record=dict(entry.record),
    )
    return http.reply(request, shown.model_dump(mode="json"))


@router.get(
    "/api/v1/repos/{owner}/{slug}/commits/{commit_id}/files",
    response_model=Files,
    openapi_extra=operation(
        RepoNotFound, CommitNotFound, AmbiguousCommit, Damaged, query=FilesQuery, auth="optional"
    ),
)
async def get_files(request: Request, commit_id: str, access: Reader) -> Response:
    """The files of a commit by path, each with the id of its content."""
    query = http.query(request, FilesQuery)
    node, found, last = await browse.files(
        access.repository, commit_id, query.after or "", query.limit, access.sees
    )
    page = Files(
        commit_id=node.commit_id,
        snapshot_id=node.snapshot_id,
        files=found,
        next_cursor=cursors.after(last),
    )
    return http.reply(request, page.model_dump(mode="json"))


@router.get(
    "/api/v1/repos/{owner}/{slug}/compare",
    response_model=Comparison,
    openapi_extra=operation(
        RepoNotFound, RefNotFound, AmbiguousCommit, Damaged, query=CompareQuery, auth="optional"
    ),
)
async def get_compare(request: Request, access: Reader) -> Response:
    """The files that were added, removed or modified between two branches or commits."""
    query = http.query(request, CompareQuery)
    found = await browse.compare(
        access.repository,
        query.base,
        query.head,
        query.after or "",
        query.limit,
        access.sees,
    )
    shown = Comparison(
        base=found.base,
        head=found.head,
        added=dict(found.added),
        removed=dict(found.removed),
        modified=dict(found.modified),
        next_cursor=cursors.after(found.last),
    )
    return http.reply(request, shown.model_dump(mode="json"))


app = http.create_app(router)
handler = lambdas.handler_of(app)
