"""/{owner}/{slug}/tags: put tags on commits, list tags, delete one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.actions import tags
from shared.errors import (
    Forbidden,
    InvalidName,
    MissingReference,
    RepoNotFound,
    TagExists,
    TagNotFound,
)
from shared.http import Access
from shared.protocol.operation import operation
from shared.protocol.tags import DeletedTag, ListTags, PostTags, StoredTags, TagPage

router = APIRouter()
Reader = Annotated[Access, Depends(http.may_read("read"))]
Writer = Annotated[Access, Depends(http.may_write("upload"))]


@router.post(
    "/{owner}/{slug}/tags",
    response_model=StoredTags,
    openapi_extra=operation(
        Forbidden, RepoNotFound, TagExists, InvalidName, MissingReference, body=PostTags
    ),
)
async def post_tags(request: Request, access: Writer) -> Response:
    """`stored`: the number of new tags."""
    message = await http.body(request, PostTags)
    return http.reply(request, {"stored": await tags.store(access.repository, message)})


@router.get(
    "/{owner}/{slug}/tags",
    response_model=TagPage,
    openapi_extra=operation(RepoNotFound, query=ListTags, auth="optional"),
)
async def get_tags(request: Request, access: Reader) -> Response:
    """`tags`, filtered by commit or by label if the query has one, and `next_cursor` if there may
    be more."""
    records, cursor = await tags.listed(access.repository, http.query(request, ListTags))
    return http.reply_records(request, "tags", records, cursor)


@router.delete(
    "/{owner}/{slug}/tags/{tag_id}",
    response_model=DeletedTag,
    openapi_extra=operation(Forbidden, RepoNotFound, TagNotFound),
)
async def delete_tag(request: Request, tag_id: str, access: Writer) -> Response:
    """`deleted`: the id of the tag."""
    await tags.delete(access.repository, tag_id, now=access.now)
    return http.reply(request, {"deleted": tag_id})


app = http.create_app(router)
handler = lambdas.handler_of(app)
