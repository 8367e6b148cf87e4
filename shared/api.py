"""The API for people and tools: the shapes it takes and gives, its cursors, and what its document says of a route.

Everything a request may hold is named here; what is not is refused, since people mistype. A route tells of
itself with `documented`, in plain words that cost nothing when a function starts: only `manual` turns them
into the document, and the classes below into its schemas.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from shared import auth, codec, cursors
from shared.errors import (
    ApiError,
    CostLimited,
    HubLimited,
    Internal,
    MalformedBody,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from shared.metadata.tokens import Issued
from shared.model import Bearer, PortableNames, Repo, Role, Visibility

PAGE = 100
"""The longest page of a list."""
SHORTEST_SECONDS = 60
USUAL_SECONDS = 30 * 24 * 3600
DESCRIPTION_CHARACTERS = 1000
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""For the document only; `names` decides, and says what is wrong."""

# ── What is asked ───────────────────────────────────────────────────────────────────────────────────────────

# Not strict: the words of an enumeration come as text.
VisibilityWord = Annotated[Visibility, Field(strict=False)]
RoleWord = Annotated[Role, Field(strict=False)]
PortableNamesWord = Annotated[PortableNames, Field(strict=False)]
BearerWord = Annotated[Bearer, Field(strict=False)]

Slug = Annotated[str, Field(json_schema_extra={"pattern": f"^{_NAME}$"})]
Domain = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$", examples=["code", "midi", "scaffold"])]
Description = Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS)]
DefaultBranch = Annotated[str, Field(json_schema_extra={"pattern": "^[^/]{1,255}$"})]


class Asked(BaseModel):
    """What every request is: strict types, and no key that is not named."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", frozen=True)


class NewRepo(Asked):
    """A repository to create: by the slug that stands in its URL, or by a name that becomes one."""

    slug: Slug | None = None
    name: Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS)] | None = None
    visibility: VisibilityWord = Visibility.PUBLIC
    domain: Domain = "code"
    description: Description = ""
    default_branch: DefaultBranch = "main"
    portable_names: PortableNamesWord = PortableNames.ON

    @model_validator(mode="after")
    def _is_called_something(self) -> "NewRepo":
        if (self.slug is None) == (self.name is None):
            raise ValueError("send either a slug or a name")
        return self


class RepoChange(Asked):
    """What to change of a repository; what is absent or null stays as it is."""

    visibility: VisibilityWord | None = None
    description: Description | None = None
    default_branch: DefaultBranch | None = None
    portable_names: PortableNamesWord | None = None


class Rename(Asked):
    """The repository's new name in its URL."""

    slug: Slug


class MemberRole(Asked):
    """What a member may do; each role includes the ones before it."""

    role: RoleWord


class NewToken(Asked):
    """A token to issue, to be given to somebody or something else. It is never good for more than the caller's."""

    scope: RoleWord
    repo: Annotated[str, Field(json_schema_extra={"pattern": f"^{_NAME}/{_NAME}$"})] | None = None
    """`owner/slug`: good for this repository only."""
    bearer: BearerWord | None = None
    lifetime_seconds: Annotated[int, Field(ge=SHORTEST_SECONDS, le=auth.LIFETIME_SECONDS)] = USUAL_SECONDS


class PageQuery(BaseModel):
    """Which part of a list: so many, from where the page before ended."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=PAGE)] = 30
    cursor: Annotated[str, Field(max_length=cursors.CHARACTERS)] = ""

    @property
    def after(self) -> str | None:
        """The last entry of the page before; None for the first page. Raises Unprocessable for no cursor."""
        return cursors.parse_after(self.cursor) or None


# ── What is told ────────────────────────────────────────────────────────────────────────────────────────────


class Told(BaseModel):
    """What every reply is. Times are epoch seconds."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Error(BaseModel):
    """Every refusal and failure: what is wrong and what to do, the same for older callers, and a fixed code."""

    message: str
    detail: str
    code: str


class Repository(Told):
    """A repository, and what the caller may do with it."""

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

    @classmethod
    def of(cls, repo: Repo, role: Role) -> "Repository":
        """A repository as it is shown."""
        return cls(
            owner=repo.owner,
            slug=repo.slug,
            repo_id=repo.repo_id,
            visibility=repo.visibility,
            domain=repo.domain,
            description=repo.description,
            default_branch=repo.default_branch,
            portable_names=repo.portable_names,
            created_at=repo.created_at,
            role=role,
        )


class RepositoryPage(Told):
    """Repositories by name, and where the next page begins."""

    repos: list[Repository]
    next_cursor: str | None


class Member(Told):
    """A user whom the owner gave a role."""

    handle: str
    role: Role


class MemberPage(Told):
    """Members by handle, and where the next page begins."""

    members: list[Member]
    next_cursor: str | None


class Token(Told):
    """What is known of a token: everything but the token."""

    token_id: str
    scope: Role
    repo: str | None
    bearer: Bearer
    issued_at: int
    expires_at: int
    revoked_at: int | None

    @classmethod
    def of(cls, issued: Issued) -> "Token":
        """A token as it is shown."""
        return cls(
            token_id=issued.identity.token_id,
            scope=issued.identity.scope,
            repo=issued.identity.repo or None,
            bearer=issued.identity.bearer,
            issued_at=issued.issued_at,
            expires_at=issued.expires_at,
            revoked_at=issued.revoked_at or None,
        )


class IssuedToken(Token):
    """A token that has just been issued: the only time that it is shown."""

    handle: str
    token: str


class TokenPage(Told):
    """The caller's own tokens, newest first, and where the next page begins."""

    tokens: list[Token]
    next_cursor: str | None


class Me(Told):
    """Who the caller is, by the token he sent."""

    handle: str
    token_id: str
    scope: Role
    repo: str | None
    bearer: Bearer


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI document."""


# ── What the document says ──────────────────────────────────────────────────────────────────────────────────

_ANY_TOKEN: tuple[type[ApiError], ...] = (Unauthorized, RateLimited, CostLimited, HubLimited, Unavailable)
_ANY_BODY: tuple[type[ApiError], ...] = (MalformedBody, TooLarge, UnsupportedMedia, Unprocessable)
SECURITY: dict[str, Any] = {"needed": [{"token": []}], "welcome": [{}, {"token": []}], "ignored": []}

"""What OpenAPI says of a route's token; the empty one is none."""

QUERY = "x-query"
"""Where a route names the shape of its query; `manual` puts the parameters in its place."""


def documented(
    *fails: type[ApiError],
    takes: type[BaseModel] | None = None,
    asks: type[BaseModel] | None = None,
    gives: type[BaseModel] | None = None,
    status: int = 200,
    replies: dict[str, Any] | None = None,
    identity: Literal["needed", "welcome", "ignored"] = "needed",
) -> dict[str, Any]:
    """What a route's decorator is told beside the path, for the document: body, query, reply and failures.

    `fails` is what this route may answer besides what its token, query and body entail. Without `gives`, a
    success has no body; `replies` stands for all that are no failures.
    """
    failures = [*fails, Internal, *(() if identity == "ignored" else _ANY_TOKEN)]
    failures += _ANY_BODY if takes else (Unprocessable,) if asks else ()
    operation: dict[str, Any] = {
        "responses": {
            **(replies or {str(status): success(gives)}),
            **_refusals(failures),
        },
        "security": SECURITY[identity],
    }
    if takes:
        operation["requestBody"] = {"required": True, **_content(takes.__name__)}
    if asks:
        operation[QUERY] = asks.__name__
    return {"status_code": status, "openapi_extra": operation}


def success(gives: type[BaseModel] | None) -> dict[str, Any]:
    """A success as the document shows it: with a body of this shape, or without one."""
    return {"description": "Done.", **(_content(gives.__name__) if gives else {})}


def _content(name: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return {"content": {codec.JSON: schema, codec.MSGPACK: schema}}


def _refusals(failures: Iterable[type[ApiError]]) -> dict[str, Any]:
    """The failures by status, each with the codes it may carry."""
    codes: dict[int, set[str]] = {}
    for failure in failures:
        codes.setdefault(failure.status, set()).add(failure.code)
    return {str(status): refusal(", ".join(f"`{code}`" for code in sorted(codes[status]))) for status in sorted(codes)}


def refusal(what: str) -> dict[str, Any]:
    """A failure as the document shows it."""
    schema = {"$ref": f"#/components/schemas/{Error.__name__}"}
    return {"description": what, "content": {codec.JSON: {"schema": schema}}}
