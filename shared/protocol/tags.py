"""Tags: labels on commits."""

from typing import Annotated, NotRequired

from pydantic import Field

from shared.protocol import limits
from shared.protocol.base import WireReply, WireRequest
from shared.protocol.pages import WirePageQuery
from shared.protocol.records import Tag


class PostTags(WireRequest):
    """Tags to store on stored commits."""

    tags: Annotated[list[Tag], Field(max_length=limits.TAGS)] = []


class StoredTags(WireReply):
    """The number of new tags."""

    stored: int


class ListTags(WirePageQuery):
    """A page of tags: of a commit, of a label, of both, or of all."""

    commit_id: str = ""
    label: str = ""


class TagPage(WireReply):
    """Tags by id. The last page has no cursor."""

    tags: list[Tag]
    next_cursor: NotRequired[str]


class DeletedTag(WireReply):
    """The id of the deleted tag."""

    deleted: str
