"""The shape of every request: the protocol on one page. Replies are plain maps, built where they are known.

A shape is built when it is first used: a function starts sooner, and needs but one or two of them.
Shapes are strict: a text is a text, a flag is `true` or `false`, and every number has a range. Keys that are not named
here are ignored at the top and in a bundle, and kept as they are inside a record. Counts above the limits are refused
whole.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from shared.refusals import refusal

OBJECTS = 1_000
COMMITS = 10_000
SNAPSHOTS = 10_000
FILTER_IDS = 50_000
PRESIGN_IDS = 10_000
HAVES = 100_000
WANTS = 10_000
NEGOTIATE_IDS = 256
MANIFEST_ENTRIES = 50_000
CHANGELOG_ENTRIES = 500
BASES = 64
TAGS = 1_000
PAGE = 1_000

LARGEST_COUNT = 2**32 - 1
"""The largest count in a record: 32 bits, far above any that a client has counted."""

Ids = list[str]
Record = dict[str, Any]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]


class Message(BaseModel):
    """What every request is: strict types, unknown keys ignored."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)


class FilterObjects(Message):
    """Which of these does the hub lack?"""

    object_ids: Annotated[Ids, Field(max_length=FILTER_IDS)] = []


class Presign(Message):
    """Places to put large objects. Reading is done through fetch, so `get` is not offered.

    `sizes` may have the bytes of some of the objects: the URL of such an object takes a body of this length only. The
    stock client sends no sizes.
    """

    object_ids: Annotated[Ids, Field(max_length=PRESIGN_IDS)] = []
    sizes: Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(max_length=PRESIGN_IDS)] = {}
    direction: Literal["put"] = "put"
    ttl_seconds: Annotated[int, Field(ge=30, le=3600)] = 3600


StagedRoute = Literal["push", "push/objects"]
"""A route whose body may be staged, by what follows the repository in its URL."""


class Stage(Message):
    """A place for the body of a later request to this route. `size`: its bytes as they are uploaded."""

    route: StagedRoute
    size: Annotated[int, Field(ge=1)]


class WireObject(Message):
    """One object with its bytes."""

    object_id: str
    content: bytes


class PushObjects(Message):
    """A batch of content-addressed bytes."""

    objects: Annotated[list[WireObject], Field(max_length=OBJECTS)] = []


class WireBundle(Message):
    """What a push carries. Records are maps here; `bundle.check` reads them."""

    commits: Annotated[list[Record], Field(max_length=COMMITS)] = []
    snapshots: Annotated[list[Record], Field(max_length=SNAPSHOTS)] = []
    objects: Annotated[list[WireObject], Field(max_length=OBJECTS)] = []
    branch_heads: dict[str, str] = {}


class Push(Message):
    """Commits and snapshots, and the branch that shall point at them."""

    bundle: WireBundle
    branch: str
    force: bool = False


class Negotiate(Message):
    """Which of these commits do we share?"""

    want: Annotated[Ids, Field(max_length=NEGOTIATE_IDS)] = []
    have: Annotated[Ids, Field(max_length=NEGOTIATE_IDS)] = []


class Fetch(Message):
    """Everything reachable from `want` and not from `have`.

    `bases`: snapshots that the client holds, each with the SHA-256 of its packed record. Then snapshots of the reply
    may be patches (see `actions/bases`). The stock client sends none.
    """

    want: Annotated[Ids, Field(max_length=WANTS)] = []
    have: Annotated[Ids, Field(max_length=HAVES)] = []
    bases: Annotated[dict[str, Digest], Field(max_length=BASES)] = {}


class FetchHistory(Fetch):
    """The oldest part of the same: records, and the sizes of objects."""


class FetchObjects(Message):
    """The contents of these objects."""

    object_ids: Annotated[Ids, Field(max_length=OBJECTS)] = []


class CommitRecord(BaseModel):
    """The known fields of a commit. Those that are absent get these defaults; unknown ones stay."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)

    commit_id: str
    repo_id: str = ""
    branch: str = ""
    snapshot_id: str | None = None
    message: str = ""
    committed_at: str = ""
    parent_commit_id: str | None = None
    parent2_commit_id: str | None = None
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
    name: field.default for name, field in CommitRecord.model_fields.items() if not field.is_required()
}


class SnapshotRecord(BaseModel):
    """The known fields of a snapshot: its manifest maps path → object id."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)

    snapshot_id: str
    manifest: Annotated[dict[str, str], Field(max_length=MANIFEST_ENTRIES)]
    created_at: str = ""


Channel = Literal["stable", "beta", "alpha", "nightly"]


class SemVer(BaseModel):
    """The five parts of a version."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)

    major: Count = 0
    minor: Count = 0
    patch: Count = 0
    pre: str = ""
    build: str = ""


class ChangelogEntry(BaseModel):
    """A commit as a release tells of it."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)

    commit_id: str = ""
    message: str = ""
    sem_ver_bump: str = "none"
    breaking_changes: list[str] = []
    author: str = ""
    committed_at: str = ""
    agent_id: str = ""
    model_id: str = ""


class ReleaseRecord(BaseModel):
    """The known fields of a release. Those that are absent or null get these defaults; unknown ones stay."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)

    release_id: Annotated[str, Field(min_length=1, max_length=128)]
    tag: str
    commit_id: str
    repo_id: str = ""
    semver: SemVer = SemVer()
    channel: Channel = "stable"
    snapshot_id: str = ""
    title: str = ""
    body: str = ""
    changelog: Annotated[list[ChangelogEntry], Field(max_length=CHANGELOG_ENTRIES)] = []
    agent_id: str = ""
    model_id: str = ""
    is_draft: bool = False
    gpg_signature: str = ""
    created_at: str = ""


class TagRecord(BaseModel):
    """The known fields of a tag: a label on a commit. Unknown ones stay."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)

    tag_id: str
    commit_id: str
    tag: str
    repo_id: str = ""
    created_at: str = ""


class PostRelease(RootModel[Record]):
    """A release, as a map: the whole body."""

    model_config = ConfigDict(defer_build=True, strict=True, frozen=True)


class PostTags(Message):
    """Labels for commits that the hub holds."""

    tags: Annotated[list[Record], Field(max_length=TAGS)] = []


class Query(BaseModel):
    """What every query string is: texts that read as what they stand for, unknown names ignored."""

    model_config = ConfigDict(defer_build=True, extra="ignore", frozen=True)

    limit: Annotated[int, Field(ge=1, le=PAGE)] = PAGE
    cursor: Annotated[str, Field(max_length=512)] = ""


class ListReleases(Query):
    """Which releases."""

    channel: Channel | None = None
    include_drafts: bool = False


class ListTags(Query):
    """Which tags: of a commit, of a label, of both, or all."""

    commit_id: str = ""
    label: str = ""


M = TypeVar("M", bound=BaseModel)


def parse(shape: type[M], value: Any, what: str = "the body") -> M:
    """A value in the shape it should have. Raises Unprocessable, or TooLarge for a list over its limit."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise refusal(what, error.errors(include_url=False, include_context=True, include_input=False)) from error
