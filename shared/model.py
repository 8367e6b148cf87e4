"""The data types of the hub, as frozen values. No I/O, and no rules beyond the types."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, NewType, TypeAlias

RepoId = NewType("RepoId", str)
"""The id of a repository. Empty before the first push creates the repository."""
CommitId = NewType("CommitId", str)
SnapshotId = NewType("SnapshotId", str)
ObjectId = NewType("ObjectId", str)


class Kind(StrEnum):
    """The kind of an id. The value is the letter in the keys of its index and in pack entries."""

    OBJECT = "O"
    SNAPSHOT = "S"
    COMMIT = "C"


class Role(StrEnum):
    """The role of a user in a repository, or the scope of a token.

    Each includes those before it.
    """

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Whether this role includes the needed one."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Visibility(StrEnum):
    """Who may read a repository: everyone, or only its owner and its members."""

    PUBLIC = "public"
    PRIVATE = "private"


class PortableNames(StrEnum):
    """The names that a push may contain. Each value is stricter than the one before."""

    OFF = "off"
    """All names. The reply to a push has warnings about names that are not portable."""
    DISTINCT = "distinct"
    """Refuses names that are equal on Windows or macOS, where a clone silently keeps only one file.
    """
    ON = "on"
    """Also refuses names that Windows cannot write, where a clone stops with an error."""


class Sees(StrEnum):
    """Which commits of a repository a caller may read."""

    ALL = "all"
    """A member: every stored commit, also those that a forced push removed from a branch."""
    REACHED = "reached"
    """Any other caller: the commits that are reachable from a branch, a tag or a published release.
    """


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an S3 object. `version_id` is None if the bucket has no versioning."""

    etag: str
    version_id: str | None


@dataclass(frozen=True, slots=True)
class Upload:
    """An object in quarantine, and the version of it whose content matches the id."""

    object_id: ObjectId
    version: Version
    length: int


class Bearer(StrEnum):
    """The kind of user that a token is for. It is only displayed; no decision depends on it."""

    HUMAN = "human"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified token of a request: its owner's handle, its scope, and its id.

    `repo` is `owner/slug` for a token that is limited to one repository. In other repositories,
    such a token can only read, and only if they are public. `via` is the id of the token that
    opened a browser session; None for any other token.

    `expires_at` is in epoch seconds. `must_be_recorded`: the token is valid only if the record of
    its issue states the same, since every function can read the secret that signed it.
    """

    subject: str
    scope: Role
    token_id: str
    repo: str | None = None
    bearer: Bearer = Bearer.HUMAN
    via: str | None = None
    expires_at: int = field(default=0, compare=False)
    must_be_recorded: bool = field(default=False, compare=False)

    @property
    def token_ids(self) -> tuple[str, ...]:
        """The tokens of which none may be revoked."""
        if self.via:
            return (self.token_id, self.via)
        return (self.token_id,)


@dataclass(frozen=True, slots=True)
class Person:
    """A verified user of an identity provider.

    `subject` never changes. `login` may change, so it only suggests a handle.
    """

    issuer: str
    subject: str
    login: str


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository. `repo_id` is empty before the first write of the owner, which creates it."""

    owner: str
    slug: str
    repo_id: RepoId = RepoId("")
    visibility: Visibility = Visibility.PUBLIC
    domain: str = "code"
    default_branch: str = "main"
    description: str = ""
    deleted: bool = False
    created_at: int = 0
    portable_names: PortableNames = PortableNames.DISTINCT
    """The default applies to a repository that a push creates. For the API, see `api.NewRepo`."""
    members_generation: str = ""
    """Only member rows with this value count. A rename changes it."""
    presigned_at: int = 0
    """The time of the last upload URLs in epoch seconds, up to an hour too early. 0: never."""

    @property
    def exists(self) -> bool:
        """Whether the repository exists. Reads of one that does not exist find no rows."""
        return bool(self.repo_id)


@dataclass(frozen=True, slots=True)
class CommitAddress:
    """The address of a commit row: its lane, its generation and its id.

    The generation is 1 for a root, else 1 + the greatest generation of the parents.
    """

    commit_id: CommitId
    generation: int
    lane: str


class Packed(NamedTuple):
    """The location of `length` bytes at `offset` of a pack.

    A tuple, because a clone creates, hashes and sorts thousands.
    """

    pack: str
    offset: int
    length: int

    def __str__(self) -> str:
        return f"{self.pack}:{self.offset}:{self.length}"

    @classmethod
    def parse(cls, text: str) -> "Packed":
        """The inverse of `str`. Raises ValueError."""
        pack, offset, length = text.split(":")
        if not pack:
            raise ValueError(text)
        return cls(pack, int(offset), int(length))


class Loose(NamedTuple):
    """The location of an object that is an S3 object of its own, of `length` bytes."""

    length: int

    def __str__(self) -> str:
        return f":0:{self.length}"


Location: TypeAlias = Packed | Loose
"""The location of the bytes of an object. Snapshots and commits are always packed."""


def parse_location(text: str) -> Location:
    """The inverse of `str` of a location. Raises ValueError."""
    if text.startswith(":"):
        _, _, length = text.split(":")
        return Loose(int(length))
    return Packed.parse(text)


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a branch from `before` to `after`. None stands for a branch that does not exist.

    `step` orders the moves of a branch by cause, not by clock (see `metadata/refs`). `previous` is
    the step of the move that brought the branch to `before`; None for the creation of a branch,
    and after a move that an older hub did not log. `at` is in epoch milliseconds and never less
    than that of the previous move.
    """

    branch: str
    at: int
    by: str
    before: CommitAddress | None
    after: CommitAddress | None
    forced: bool
    step: str
    previous: str | None = None
    expunged: frozenset[CommitId] = frozenset()
    """Which of the two commits were expunged, so that they are not stored any more."""
    rungs: tuple[CommitAddress, ...] = ()
    """Some first-parent ancestors of `after` among the commits that the push stored, newest first.
    A negotiation begins its search at one of them instead of at the head."""

    @property
    def kept(self) -> tuple[CommitAddress, ...]:
        """The two places, without absent and expunged ones."""
        return tuple(
            at for at in (self.before, self.after) if at and at.commit_id not in self.expunged
        )


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch and the commit that it points to. `snapshot_at` saves its readers a look-up.

    `step` is the step of its last move, None if an older hub made it. `moved_at` is the time
    of that move in epoch milliseconds.
    """

    branch: str
    head: CommitAddress
    snapshot_at: Packed | None = None
    step: str | None = None
    moved_at: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive packed entries of one kind: their number, and their total size in bytes.

    `stored_size`: the bytes of the zstd frame that holds them; 0 if they are stored as they are.
    """

    count: int
    size: int
    stored_size: int = 0


@dataclass(frozen=True, slots=True)
class PrebuiltClone:
    """A prebuilt clone: the answer to a fetch of `heads` without `have`, in one S3 object.

    See `actions/bundles`. No head is an ancestor of another. `merged` has the heads of other
    branches, which are reachable from `heads`. The S3 object consists of the three runs and then
    the ids of its snapshots and objects. `digests` has the SHA-256 of every `range_size` bytes of
    the runs. `made_at` is in epoch seconds. `named_in` is the id of the last run of gc before the
    row was written, or None.
    """

    name: str
    heads: tuple[CommitAddress, ...]
    merged: tuple[CommitAddress, ...]
    commits: Run
    snapshots: Run
    objects: Run
    range_size: int
    digests: tuple[bytes, ...]
    ids_size: int
    ids_digest: bytes
    made_at: int
    named_in: str | None = None

    @property
    def runs(self) -> tuple[Run, Run, Run]:
        """The three runs, in their order."""
        return self.commits, self.snapshots, self.objects

    @property
    def size(self) -> int:
        """The bytes of the three runs in a reply that is not compressed."""
        return sum(run.size for run in self.runs)

    @property
    def is_compressed(self) -> bool:
        """Whether each run is a zstd frame. Older hubs stored the entries as they are."""
        return all(run.stored_size for run in self.runs)

    @property
    def stored_size(self) -> int:
        """The bytes of the three runs in S3."""
        return sum(run.stored_size or run.size for run in self.runs)


@dataclass(frozen=True, slots=True)
class Node:
    """The row of a commit in its lane: its parents, and the record or its location.

    `record` is the zlib-compressed msgpack of the commit as the client sent it. A record that is
    too large for a row is stored at `record_at`; then `record` is None and `summary` has the fields
    that a log shows (None in rows of an older hub). `snapshot_at` is None if no snapshot is stored.
    """

    address: CommitAddress
    parents: tuple[CommitAddress, ...]
    snapshot_id: SnapshotId | None = None
    snapshot_at: Packed | None = None
    record: bytes | None = None
    record_at: Packed | None = None
    summary: bytes | None = None

    @property
    def commit_id(self) -> CommitId:
        """The id of the commit."""
        return self.address.commit_id


@dataclass(frozen=True, slots=True)
class Usage:
    """The content of an owner. `limit_bytes`: the limit that the operator set for this owner, or
    None. `counted_at`: the epoch second of the last count.
    """

    stored_bytes: int = 0
    stored_objects: int = 0
    limit_bytes: int | None = None
    counted_at: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.stored_bytes + other.stored_bytes,
            self.stored_objects + other.stored_objects,
            self.limit_bytes,
            self.counted_at,
        )


class Scope(NamedTuple):
    """The account that a request is charged to. `day` is in days since the epoch, in UTC."""

    kind: Literal["subject", "owner", "hub"]
    name: str
    day: int
