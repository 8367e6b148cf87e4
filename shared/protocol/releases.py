"""Releases: publish, list, retract."""

from typing import NotRequired

from pydantic import ConfigDict, RootModel

from shared.protocol.base import WireReply
from shared.protocol.pages import WirePageQuery
from shared.protocol.records import Channel, Release


class PostRelease(RootModel[Release]):
    """A release to publish. The whole body is its record."""

    model_config = ConfigDict(defer_build=True, strict=True, frozen=True)


class PublishedRelease(WireReply):
    """The release, by its id."""

    release_id: str


class ListReleases(WirePageQuery):
    """A page of releases, by default of all channels."""

    channel: Channel | None = None
    include_drafts: bool = False


class ReleasePage(WireReply):
    """Releases, newest first. The last page has no cursor."""

    releases: list[Release]
    next_cursor: NotRequired[str]


class RetractedRelease(WireReply):
    """The tag of the retracted release, which may be used again."""

    retracted: str
