"""The values that the client sends and returns.

Times are in epoch seconds. Fields of a reply that a later hub adds are ignored. A later hub may
also return other words than those of the literal types.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from .errors import UnexpectedReply

Role = Literal["read", "write", "admin"]
Visibility = Literal["public", "private"]
PortableNames = Literal["on", "distinct", "off"]
Bearer = Literal["human", "agent"]

T = TypeVar("T")

Release = dict[str, Any]
"""A release, with the fields with which it was published."""


def parse(shape: type[T], document: Mapping[str, Any]) -> T:
    """Return the value of a reply. Raises UnexpectedReply if a field is missing."""
    names = [one.name for one in fields(shape)]  # type: ignore[arg-type] # all are dataclasses
    missing = [name for name in names if name not in document]
    if missing:
        raise UnexpectedReply(
            f"the reply has no {missing[0]}: check that the URL is that of a hub of this version"
        )
    return shape(**{name: document[name] for name in names})


@dataclass(frozen=True, slots=True)
class Me:
    """The user of the token, and the rights of the token."""

    handle: str
    token_id: str
    scope: Role
    repo: str | None
    """The only repository of the token, as `owner/slug`."""
    bearer: Bearer


@dataclass(frozen=True, slots=True)
class Usage:
    """The stored content of the user over all repositories, and the limit; None without a limit.

    `costs`: the estimated cost of each of two days in US dollars, as `date` and `dollars`.
    """

    owner: str
    stored_bytes: int
    stored_objects: int
    limit_bytes: int | None
    is_near_limit: bool
    costs: list[dict[str, str | float]]


@dataclass(frozen=True, slots=True)
class NewRepo:
    """A repository to create."""

    slug: str
    visibility: Visibility = "public"
    domain: str = "code"
    description: str = ""
    default_branch: str = "main"
    portable_names: PortableNames = "on"


@dataclass(frozen=True, slots=True)
class RepoChange:
    """Changes of a repository. A field that is None is not changed."""

    visibility: Visibility | None = None
    description: str | None = None
    default_branch: str | None = None
    portable_names: PortableNames | None = None


@dataclass(frozen=True)
class Repository:
    """A repository, and the role of the user in it."""

    owner: str
    slug: str
    repo_id: str
    visibility: Visibility
    domain: str
    description: str
    default_branch: str
    portable_names: PortableNames
    created_at: int
    role: Role


@dataclass(frozen=True)
class DeletedRepository(Repository):
    """A deleted repository that can be restored."""

    deleted_at: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch and its head."""

    branch: str
    commit_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Move:
    """A move of a branch by a user, from one commit to another. None: the branch did not exist."""

    at: float
    by: str
    before: str | None
    after: str | None
    forced: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A user with a role in a repository."""

    handle: str
    role: Role


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to issue. With `repo`, as `owner/slug`, it is valid for this repository only.

    Without a bearer, it has that of the token with which it is issued.
    """

    scope: Role
    repo: str | None = None
    bearer: Bearer | None = None
    lifetime_seconds: int = 30 * 24 * 3600


@dataclass(frozen=True)
class Token:
    """The record of a token, without its secret part. The type `session` is that of a browser."""

    token_id: str
    type: str
    scope: Role
    repo: str | None
    bearer: Bearer
    issued_at: int
    expires_at: int
    revoked_at: int | None


@dataclass(frozen=True)
class IssuedToken(Token):
    """A new token. The hub does not show it again."""

    handle: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Domain:
    """The published description of a domain plugin."""

    domain_id: str
    scoped_id: str
    author_slug: str
    slug: str
    display_name: str
    description: str
    capabilities: Mapping[str, Any]
    viewer_type: str
    version: str
    manifest_hash: str
    published_at: int


def body_of(value: NewRepo | RepoChange | NewToken) -> dict[str, Any]:
    """Return the body of a request: the fields that are not None."""
    return {name: given for name, given in asdict(value).items() if given is not None}
