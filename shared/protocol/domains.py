"""Domains: publish, list and show the descriptions of domain plugins."""

from typing import Annotated, Any, NotRequired

from pydantic import Field

from shared.protocol.base import WireReply, WireRequest, schema_of
from shared.protocol.fields import NAME_PATTERN
from shared.protocol.repositories import DESCRIPTION_CHARACTERS, Description

ENTRIES = 200
"""The longest list of a capability."""
WORD_CHARACTERS = 200

_NUMBER = "(0|[1-9][0-9]{0,8})"
_LABELS = "[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*"
SEMVER_PATTERN = f"^{_NUMBER}\\.{_NUMBER}\\.{_NUMBER}(-{_LABELS})?(\\+{_LABELS})?$"
"""A version as semver.org defines it."""

DisplayName = Annotated[str, Field(min_length=1, max_length=100)]
DomainSlug = Annotated[str, Field(json_schema_extra={"pattern": f"^{NAME_PATTERN}$"})]
ViewerType = Annotated[
    str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["midi", "code"])
]
Version = Annotated[str, Field(max_length=64, pattern=SEMVER_PATTERN, examples=["0.1.0"])]
Word = Annotated[str, Field(max_length=WORD_CHARACTERS)]


class Dimension(WireRequest):
    """One kind of change that the plugin tracks by itself, such as the notes of a song."""

    name: Annotated[str, Field(min_length=1, max_length=WORD_CHARACTERS)]
    description: Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS)] = ""


class Capabilities(WireRequest):
    """The known capabilities of a plugin. Unknown ones are kept unchanged."""

    dimensions: Annotated[list[Dimension], Field(max_length=ENTRIES)] = []
    artifact_types: Annotated[list[Word], Field(max_length=ENTRIES)] = []
    merge_semantics: Word = ""
    supported_commands: Annotated[list[Word], Field(max_length=ENTRIES)] = []


CapabilityMap = Annotated[dict[str, Any], schema_of(Capabilities)]


class PublishDomain(WireRequest):
    """The description of a domain plugin, under the handle of its author."""

    author_slug: str
    slug: DomainSlug
    display_name: DisplayName
    description: Description = ""
    capabilities: CapabilityMap
    viewer_type: ViewerType
    version: Version


class DomainRecord(WireReply):
    """A published domain. `published_at`: epoch seconds of its version.

    `manifest_hash` is the SHA-256 of the capabilities as JSON in UTF-8, with sorted keys and
    without spaces.
    """

    domain_id: str
    scoped_id: str
    author_slug: str
    slug: str
    display_name: str
    description: str
    capabilities: CapabilityMap
    viewer_type: str
    version: str
    manifest_hash: str
    published_at: int


class DomainPage(WireReply):
    """Domains by author and name. The last page has no cursor."""

    domains: list[DomainRecord]
    next_cursor: NotRequired[str]
