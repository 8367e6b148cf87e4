"""Negotiation, and fetches: in one reply or in steps."""

from typing import Annotated

from pydantic import Field

from shared.model import CommitId, ObjectId
from shared.protocol import limits
from shared.protocol.base import WireReply, WireRequest
from shared.protocol.records import Commit, SentObject, Snapshot, SnapshotPatch

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Negotiate(WireRequest):
    """A request for the commits of the client (`have`) that the hub knows."""

    want: Annotated[list[CommitId], Field(max_length=limits.NEGOTIATE_IDS)] = []
    have: Annotated[list[CommitId], Field(max_length=limits.NEGOTIATE_IDS)] = []


class Negotiated(WireReply):
    """The common commits, and whether they suffice for a fetch."""

    ack: list[str]
    common_base: str | None
    ready: bool


class Fetch(WireRequest):
    """A request for everything that is reachable from `want`, but not from `have`.

    `bases` has snapshots of the client, each with the SHA-256 of its packed record. With them,
    snapshots of the reply may be patches (see `actions/bases`). The stock client sends none.
    """

    want: Annotated[list[CommitId], Field(max_length=limits.WANTS)] = []
    have: Annotated[list[CommitId], Field(max_length=limits.HAVES)] = []
    bases: Annotated[dict[str, Digest], Field(max_length=limits.BASES)] = {}


class Fetched(WireReply):
    """Commits, snapshots and objects. In JSON, `encoding` is base64 for binary content."""

    commits: list[Commit]
    snapshots: list[Snapshot | SnapshotPatch]
    objects: list[SentObject]
    branch_heads: dict[str, str]


class FetchHistory(Fetch):
    """A request for the oldest part of a fetch: records, and the sizes of objects."""


class HistoryStep(WireReply):
    """The oldest commits that the client does not have, their snapshots, and object sizes by id."""

    commits: list[Commit]
    snapshots: list[Snapshot | SnapshotPatch]
    objects: dict[ObjectId, int]
    branch_heads: dict[str, str]
    is_complete: bool


class FetchObjects(WireRequest):
    """A request for the contents of these objects."""

    object_ids: Annotated[list[ObjectId], Field(max_length=limits.OBJECTS)] = []


class FetchedObjects(WireReply):
    """Objects as in a fetch; ids to request again; and ids of objects to read with GET objects."""

    objects: list[SentObject]
    left: list[str]
    large: list[str]
