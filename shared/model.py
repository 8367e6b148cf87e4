"""The hub's nouns as frozen values. No I/O, no rules beyond what a type can say."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple


class Kind(StrEnum):
    """What an id names. The value is the letter of its index partitions and pack entries."""

    OBJECT = "O"
    SNAPSHOT = "S"
    COMMIT = "C"


class Role(StrEnum):
    """What one may do to a repository, and the scope of a token: each includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Whether this is at least as much as what is needed."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Visibility(StrEnum):
    """Who may read a repository: anybody, or its owner."""

    PUBLIC = "public"
    PRIVATE = "private"


class PortableNames(StrEnum):
    """Which names a push to a repository may bring. Each value includes the refusals of the ones before it."""

    OFF = "off"
    """All. The reply of a push warns of names that are not portable."""
    DISTINCT = "distinct"
    """No two names that Windows or macOS take for one: a clone there keeps one file and reports success."""
    ON = "on"
    """No names that Windows cannot write: a clone there stops half-way."""


class Sees(StrEnum):
    """Which commits of a repository a caller may read."""

    ALL = "all"
    """A member: every commit that is stored, also what a forced push took from a branch."""
    REACHED = "reached"
    """Any other caller: the commits that a branch, a tag or a published release leads to."""


@dataclass(frozen=True, slots=True)
class Version:
    """One content of a key that may be written again. `version_id` is empty where the bucket keeps no versions."""

    etag: str
    version_id: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An object in quarantine, and which version of it was found to be what its id promises."""

    object_id: str
    version: Version
    length: int


class Bearer(StrEnum):
    """What kind of user a token is for. Shown, never decided upon."""

    HUMAN = "human"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a request, by a token that was good: its owner's handle, what it lets him do, and its id.

    `repo` is `owner/slug` for a token that is good for one repository only; elsewhere it reads what anybody may.
    """

    subject: str
    scope: Role
    token_id: str
    repo: str = ""
    bearer: Bearer = Bearer.HUMAN


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository's row. `repo_id` is empty for one that its owner's first write will create."""

    owner: str
    slug: str
    repo_id: str = ""
    visibility: Visibility = Visibility.PUBLIC
    domain: str = "code"
    default_branch: str = "main"
    description: str = ""
    deleted: bool = False
    created_at: int = 0
    portable_names: PortableNames = PortableNames.DISTINCT
    """A repository that a write creates starts so: its owner had no chance to choose before. See `api.NewRepo`."""
    roster: str = ""
    """Which rows of members count: those that carry this text. Another name means another roster."""
    presigned_at: int = 0
    """When upload URLs were last given out, in epoch seconds, up to an hour too early. 0: never."""

    @property
    def is_born(self) -> bool:
        """Whether it has a row. The unborn one reads as empty everywhere: no key begins with its id."""
        return bool(self.repo_id)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a commit's row lies: its lane, and its generation (1 for a root, else 1 + its parents' greatest)."""

    commit_id: str
    generation: int
    lane: str


class Location(NamedTuple):
    """Where bytes lie: `length` bytes at `offset` of a pack, or, with an empty `pack`, a loose object.

    A tuple, as a clone makes, hashes and sorts thousands of them.
    """

    pack: str
    offset: int
    length: int

    @property
    def is_loose(self) -> bool:
        """Whether the bytes are an S3 object of their own."""
        return not self.pack

    def __str__(self) -> str:
        return f"{self.pack}:{self.offset}:{self.length}"

    @classmethod
    def parse(cls, text: str) -> "Location":
        """The inverse of `str`."""
        pack, offset, length = text.split(":")
        return cls(pack, int(offset), int(length))


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a branch: by whom, from where to where; None where the branch was not.

    `step` orders the moves of a branch by cause, not by clock (see `metadata/refs`). `previous` is the step of the
    move that brought the branch to `before`; it is empty for the creation of a branch. `at` is in epoch milliseconds
    and never less than that of the previous move.
    """

    branch: str
    at: int
    by: str
    before: Place | None
    after: Place | None
    forced: bool
    step: str = ""
    previous: str = ""
    expunged: frozenset[str] = frozenset()
    """Those of the two commits that were expunged: nothing of them is stored any more."""

    @property
    def kept(self) -> tuple[Place, ...]:
        """Where the branch was before and after, as far as it was anywhere and that is stored."""
        return tuple(at for at in (self.before, self.after) if at and at.commit_id not in self.expunged)


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch and the commit it points at; `snapshot_at` spares the reader of a head one look-up.

    `step` names the move that brought it there, and `moved_at` is that move's time in epoch milliseconds.
    """

    branch: str
    head: Place
    snapshot_at: Location | None = None
    step: str = ""
    moved_at: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """So many packed entries of one kind, one after the other, and their bytes together."""

    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """The finished answer to whoever wants `heads` and has nothing, in one S3 object (see `actions/bundles`).

    `heads`: none of them is an ancestor of another; `merged`: other branches, which they lead to. The object holds
    the three runs, of which every `range_size` bytes have a SHA-256 in `digests`, and behind them the ids of its
    snapshots and objects. `made_at` is in epoch seconds; `named_in` says during which gc its row was written.
    """

    name: str
    heads: tuple[Place, ...]
    merged: tuple[Place, ...]
    commits: Run
    snapshots: Run
    objects: Run
    range_size: int
    digests: tuple[bytes, ...]
    ids_size: int
    ids_digest: bytes
    made_at: int
    named_in: str = ""

    @property
    def size(self) -> int:
        """The bytes of the three runs."""
        return self.commits.size + self.snapshots.size + self.objects.size


@dataclass(frozen=True, slots=True)
class Node:
    """A commit's row in its lane: its edges, and the record itself or where it lies.

    `record` is the zlib-compressed msgpack of the commit as it came. It is None where it is too large for a row: then
    it is at `record_at`, and the row has the `summary` that a log shows, unless an older hub wrote the row.
    `snapshot_at` is None for a commit without a stored snapshot.
    """

    place: Place
    parents: tuple[Place, ...]
    snapshot_id: str | None = None
    snapshot_at: Location | None = None
    record: bytes | None = None
    record_at: Location | None = None
    summary: bytes | None = None

    @property
    def commit_id(self) -> str:
        """The id of the commit."""
        return self.place.commit_id


class Scope(NamedTuple):
    """Who is charged for a request, and on which day: days since the epoch, in UTC."""

    kind: Literal["subject", "owner", "hub"]
    name: str
    day: int
