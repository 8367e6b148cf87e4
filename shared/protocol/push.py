"""Push: find the missing objects, upload them, and push."""

from typing import Annotated, Literal

from pydantic import Field

from shared.model import CommitId, ObjectId
from shared.protocol import limits
from shared.protocol.base import WireReply, WireRequest
from shared.protocol.records import Commit, ObjectRecord, Snapshot


class FilterObjects(WireRequest):
    """A request for those of these ids that the hub does not have."""

    object_ids: Annotated[list[ObjectId], Field(max_length=limits.FILTER_IDS)] = []


class MissingObjects(WireReply):
    """Ids of objects that the hub does not have."""

    missing: list[ObjectId]


class Presign(WireRequest):
    """A request for URLs to upload objects. Downloads use fetch, so `get` is not supported.

    `sizes` may have the sizes of some objects in bytes. The URL of such an object accepts only a
    body of this length. The stock client sends no sizes.
    """

    object_ids: Annotated[list[ObjectId], Field(max_length=limits.PRESIGN_IDS)] = []
    sizes: Annotated[
        dict[str, Annotated[int, Field(ge=0)]], Field(max_length=limits.PRESIGN_IDS)
    ] = {}
    direction: Literal["put"] = "put"
    ttl_seconds: Annotated[int, Field(ge=30, le=3600)] = 3600


class Presigned(WireReply):
    """URLs for PUT by object id; and ids of objects to send with `push/objects` instead."""

    presigned: dict[ObjectId, str]
    inline: list[ObjectId]


StagedRoute = Literal["push", "push/objects"]
"""A route whose body may be staged: its path after that of the repository."""


class Stage(WireRequest):
    """A request for a URL to upload the body of a later request. `size`: the uploaded bytes."""

    route: StagedRoute
    size: Annotated[int, Field(ge=1, le=limits.LARGEST_COUNT)]


class Staged(WireReply):
    """A URL for the PUT of a request body, and the reference to send instead of the body."""

    url: str
    reference: str
    expires_in_seconds: int


class PushObjects(WireRequest):
    """A batch of objects to store."""

    objects: Annotated[list[ObjectRecord], Field(max_length=limits.OBJECTS)] = []


class StoredObjects(WireReply):
    """The numbers of objects that were stored and that were stored before."""

    stored: int
    skipped: int


class WireBundle(WireRequest):
    """The data of a push. `pushed_bundle.check` verifies the records."""

    commits: Annotated[list[Commit], Field(max_length=limits.COMMITS)] = []
    snapshots: Annotated[list[Snapshot], Field(max_length=limits.SNAPSHOTS)] = []
    objects: Annotated[list[ObjectRecord], Field(max_length=limits.OBJECTS)] = []
    branch_heads: dict[str, CommitId] = {}


class Push(WireRequest):
    """Commits, snapshots and objects, and the branch to move to them."""

    bundle: WireBundle
    branch: str
    force: bool = False


class PushReply(WireReply):
    """The branches after a push. `remote_head` is the new head of the pushed branch."""

    ok: bool
    message: str
    branch_heads: dict[str, CommitId]
    remote_head: str
