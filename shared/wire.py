"""The models of all requests of the wire protocol. Replies are plain maps, built by the actions.

Pydantic builds a model at its first use, so that a function starts faster: it needs only one or two
of them. Models are strict: a text is a text, a flag is `true` or `false`, and every number has a
range. Unknown keys are ignored in a request and in a bundle, and kept unchanged in a record. A list
over its limit is refused as a whole.
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
"""The largest count in a record: 32 bits, far above any real count."""

Ids = list[str]
Record = dict[str, Any]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]


class Message(BaseModel):
    """The base of all requests: strict types, unknown keys ignored."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)


class FilterObjects(Message):
    """A request for those of these ids that the hub does not have."""

    object_ids: Annotated[Ids, Field(max_length=FILTER_IDS)] = []


class Presign(Message):
    """A request for URLs to upload objects. Downloads use fetch, so `get` is not supported.

    `sizes` may have the sizes of some objects in bytes. The URL of such an object accepts only a
    body of this length. The stock client sends no sizes.
    """

    object_ids: Annotated[Ids, Field(max_length=PRESIGN_IDS)] = []
    sizes: Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(max_length=PRESIGN_IDS)] = {}
    direction: Literal["put"] = "put"
    ttl_seconds: Annotated[int, Field(ge=30, le=3600)] = 3600


StagedRoute = Literal["push", "push/objects"]
"""A route whose body may be staged: its path after that of the repository."""


class Stage(Message):
    """A request for a URL to upload the body of a later request. `size`: the uploaded bytes."""

    route: StagedRoute
    size: Annotated[int, Field(ge=1, le=LARGEST_COUNT)]


class WireObject(Message):
    """One object with its bytes."""

    object_id: str
    content: bytes


class PushObjects(Message):
    """A batch of objects to store."""

    objects: Annotated[list[WireObject], Field(max_length=OBJECTS)] = []


class WireBundle(Message):
    """The data of a push. Records are maps here; `bundle.check` verifies them."""

    commits: Annotated[list[Record], Field(max_length=COMMITS)] = []
    snapshots: Annotated[list[Record], Field(max_length=SNAPSHOTS)] = []
    objects: Annotated[list[WireObject], Field(max_length=OBJECTS)] = []
    branch_heads: dict[str, str] = {}


class Push(Message):
    """Commits, snapshots and objects, and the branch to move to them."""

    bundle: WireBundle
    branch: str
    force: bool = False


class Negotiate(Message):
    """A request for the commits of the client (`have`) that the hub knows."""

    want: Annotated[Ids, Field(max_length=NEGOTIATE_IDS)] = []
    have: Annotated[Ids, Field(max_length=NEGOTIATE_IDS)] = []


class Fetch(Message):
    """A request for everything that is reachable from `want`, but not from `have`.

    `bases` has snapshots of the client, each with the SHA-256 of its packed record. With them,
    snapshots of the reply may be patches (see `actions/bases`). The stock client sends none.
    """

    want: Annotated[Ids, Field(max_length=WANTS)] = []
    have: Annotated[Ids, Field(max_length=HAVES)] = []
    bases: Annotated[dict[str, Digest], Field(max_length=BASES)] = {}


class FetchHistory(Fetch):
    """A request for the oldest part of a fetch: records, and the sizes of objects."""


class FetchObjects(Message):
    """A request for the contents of these objects."""

    object_ids: Annotated[Ids, Field(max_length=OBJECTS)] = []


class CommitRecord(BaseModel):
    """The known fields of a commit. Absent fields get these defaults; unknown fields are kept."""

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
    name: field.default
    for name, field in CommitRecord.model_fields.items()
    if not field.is_required()
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
    """A commit in the changelog of a release."""

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
    """The known fields of a release. Absent and null ones get defaults; unknown ones are kept."""

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
    """The known fields of a tag: a label on a commit. Unknown fields are kept."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)

    tag_id: str
    commit_id: str
    tag: str
    repo_id: str = ""
    created_at: str = ""


class PostRelease(RootModel[Record]):
    """A release to publish. The whole body is its record."""

    model_config = ConfigDict(defer_build=True, strict=True, frozen=True)


class PostTags(Message):
    """Tags to store on stored commits."""

    tags: Annotated[list[Record], Field(max_length=TAGS)] = []


class Query(BaseModel):
    """The base of all query strings. Texts are converted to the types of the fields."""

    model_config = ConfigDict(defer_build=True, extra="ignore", frozen=True)

    limit: Annotated[int, Field(ge=1, le=PAGE)] = PAGE
    cursor: Annotated[str, Field(max_length=512)] = ""


class ListReleases(Query):
    """A page of releases, by default of all channels."""

    channel: Channel | None = None
    include_drafts: bool = False


class ListTags(Query):
    """A page of tags: of a commit, of a label, of both, or of all."""

    commit_id: str = ""
    label: str = ""


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], value: Any, what: str = "the body") -> M:
    """Validate a value. Raises Unprocessable, or TooLarge for a list over its limit."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal(
            what, error.errors(include_url=False, include_context=True, include_input=False)
        ) from error
