"""The records that clients push and fetch.

Unknown fields of a record are kept unchanged. Absent fields get the defaults of these models.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from shared.model import CommitId, ObjectId, SnapshotId
from shared.protocol import limits
from shared.protocol.base import schema_of

Record = dict[str, Any]
Count = Annotated[int, Field(ge=0, le=limits.LARGEST_COUNT)]
Channel = Literal["stable", "beta", "alpha", "nightly"]


class RecordModel(BaseModel):
    """The base of all records."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)


class CommitRecord(RecordModel):
    """The known fields of a commit."""

    commit_id: CommitId
    repo_id: str = ""
    branch: str = ""
    snapshot_id: SnapshotId | None = None
    message: str = ""
    committed_at: str = ""
    parent_commit_id: CommitId | None = None
    parent2_commit_id: CommitId | None = None
    author: str = ""
    metadata: dict[str, str] = {}
    structured_delta: dict[str, Any] | None = None
    sem_ver_bump: str = "none"
    breaking_changes: list[str] = []
    agent_id: str = ""
    model_id: str = ""
    toolchain_id: str = ""
    prompt_hash: str = ""
    signature: str = ""
    signer_key_id: str = ""
    format_version: Count = 1
    reviewed_by: list[str] = []
    test_runs: Count = 0


COMMIT_DEFAULTS: Mapping[str, Any] = {
    name: field.default
    for name, field in CommitRecord.model_fields.items()
    if not field.is_required()
}


class SnapshotRecord(RecordModel):
    """The known fields of a snapshot. The manifest maps each path to an object id."""

    snapshot_id: SnapshotId
    manifest: Annotated[dict[str, ObjectId], Field(max_length=limits.MANIFEST_ENTRIES)]
    created_at: str = ""


class ObjectRecord(RecordModel):
    """An object with its bytes."""

    object_id: ObjectId
    content: bytes


class SentObject(TypedDict):
    """An object in a reply. In JSON, `content` is base64 and `encoding` says so."""

    object_id: ObjectId
    content: bytes
    encoding: NotRequired[Literal["base64"]]


class SnapshotPatch(TypedDict):
    """A snapshot as a patch of the snapshot `base`, for a fetch with `bases`."""

    snapshot_id: str
    base: str
    patch: bytes


class SemVer(RecordModel):
    """The five parts of a version."""

    major: Count = 0
    minor: Count = 0
    patch: Count = 0
    pre: str = ""
    build: str = ""


class ChangelogEntry(RecordModel):
    """A commit in the changelog of a release."""

    commit_id: str = ""
    message: str = ""
    sem_ver_bump: str = "none"
    breaking_changes: list[str] = []
    author: str = ""
    committed_at: str = ""
    agent_id: str = ""
    model_id: str = ""


class ReleaseRecord(RecordModel):
    """The known fields of a release. A null field gets its default, too."""

    release_id: Annotated[str, Field(min_length=1, max_length=128)]
    tag: str
    commit_id: CommitId
    repo_id: str = ""
    semver: SemVer = Field(default_factory=SemVer)
    channel: Channel = "stable"
    snapshot_id: str = ""
    title: str = ""
    body: str = ""
    changelog: Annotated[list[ChangelogEntry], Field(max_length=limits.CHANGELOG_ENTRIES)] = []
    agent_id: str = ""
    model_id: str = ""
    is_draft: bool = False
    gpg_signature: str = ""
    created_at: str = ""


class TagRecord(RecordModel):
    """The known fields of a tag: a label on a commit."""

    tag_id: str
    commit_id: CommitId
    tag: str
    repo_id: str = ""
    created_at: str = ""


# Records as the hub accepts and returns them: maps whose unknown fields are kept.
Commit = Annotated[Record, schema_of(CommitRecord)]
Snapshot = Annotated[Record, schema_of(SnapshotRecord)]
Release = Annotated[Record, schema_of(ReleaseRecord)]
Tag = Annotated[Record, schema_of(TagRecord)]
