"""The request and response models of the API, and the description of its routes for OpenAPI.

A request with an unknown field is refused, because it may be a typing error. A route describes
itself with `documented`, which returns plain dictionaries and so costs nothing when a function
starts. Only `manual` builds the OpenAPI document and the schemas of the classes below.
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
"""For the OpenAPI document only. `names` checks names."""

# ── Requests ──────────────────────────────────────────────────────────────────────────────────────

# Not strict, because the values of an enumeration arrive as text.
VisibilityWord = Annotated[Visibility, Field(strict=False)]
RoleWord = Annotated[Role, Field(strict=False)]
PortableNamesWord = Annotated[PortableNames, Field(strict=False)]
BearerWord = Annotated[Bearer, Field(strict=False)]

Slug = Annotated[str, Field(json_schema_extra={"pattern": f"^{_NAME}$"})]
Domain = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$", examples=["code", "midi", "scaffold"])
]
Description = Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS)]
DefaultBranch = Annotated[str, Field(json_schema_extra={"pattern": "^[^/]{1,255}$"})]


class Asked(BaseModel):
    """The base of all request bodies: strict types, and no unknown fields."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", frozen=True)


class NewRepo(Asked):
    """A repository to create, with the slug for its URL, or with a name from which a slug is
    made.
    """

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
    """Changes of a repository. An absent or null field is not changed."""

    visibility: VisibilityWord | None = None
    description: Description | None = None
    default_branch: DefaultBranch | None = None
    portable_names: PortableNamesWord | None = None


class Rename(Asked):
    """The repository's new name in its URL."""

    slug: Slug


class MemberRole(Asked):
    """The role of a member. Each role includes those before it."""

    role: RoleWord


class NewToken(Asked):
    """A token to issue for another user or program. It never allows more than the caller's."""

    scope: RoleWord
    repo: Annotated[str, Field(json_schema_extra={"pattern": f"^{_NAME}/{_NAME}$"})] | None = None
    """`owner/slug`: the token is valid for this repository only."""
    bearer: BearerWord | None = None
    lifetime_seconds: Annotated[int, Field(ge=SHORTEST_SECONDS, le=auth.LIFETIME_SECONDS)] = (
        USUAL_SECONDS
    )


class PageQuery(BaseModel):
    """A page of a list: up to `limit` entries after the cursor of the page before."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=PAGE)] = 30
    cursor: Annotated[str, Field(max_length=cursors.CHARACTERS)] = ""

    @property
    def after(self) -> str | None:
        """The last entry of the page before; None for the first page. Raises Unprocessable."""
        return cursors.parse_after(self.cursor) or None


# ── Responses ─────────────────────────────────────────────────────────────────────────────────────


class Told(BaseModel):
    """The base of all responses. Times are epoch seconds."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Error(BaseModel):
    """An error: the message with the next step, the same text for older clients, and a fixed
    code.
    """

    message: str
    detail: str
    code: str


class Repository(Told):
    """A repository, and the caller's role in it."""

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
        """Make the response for a repository."""
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
    """Repositories by name, and the cursor of the next page."""

    repos: list[Repository]
    next_cursor: str | None


class Member(Told):
    """A user with a role in the repository."""

    handle: str
    role: Role


class MemberPage(Told):
    """Members by handle, and the cursor of the next page."""

    members: list[Member]
    next_cursor: str | None


class Token(Told):
    """The record of a token, without the token itself."""

    token_id: str
    scope: Role
    repo: str | None
    bearer: Bearer
    issued_at: int
    expires_at: int
    revoked_at: int | None

    @classmethod
    def of(cls, issued: Issued) -> "Token":
        """Make the response for a token."""
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
    """A newly issued token. It is not shown again."""

    handle: str
    token: str


class TokenPage(Told):
    """The caller's own tokens, newest first, and the cursor of the next page."""

    tokens: list[Token]
    next_cursor: str | None


class Me(Told):
    """The caller, as identified by the token of the request."""

    handle: str
    token_id: str
    scope: Role
    repo: str | None
    bearer: Bearer


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI document."""


# ── The OpenAPI document ──────────────────────────────────────────────────────────────────────────

_ANY_TOKEN: tuple[type[ApiError], ...] = (
    Unauthorized,
    RateLimited,
    CostLimited,
    HubLimited,
    Unavailable,
)
_ANY_BODY: tuple[type[ApiError], ...] = (MalformedBody, TooLarge, UnsupportedMedia, Unprocessable)
SECURITY: dict[str, Any] = {
    "needed": [{"token": []}],
    "welcome": [{}, {"token": []}],
    "ignored": [],
}
"""The OpenAPI security of a route. An empty requirement stands for a request without a token."""

QUERY = "x-query"
"""The key with the model of a route's query. `manual` replaces it by the parameters."""


def documented(
    *fails: type[ApiError],
    takes: type[BaseModel] | None = None,
    asks: type[BaseModel] | None = None,
    gives: type[BaseModel] | None = None,
    status: int = 200,
    replies: dict[str, Any] | None = None,
    identity: Literal["needed", "welcome", "ignored"] = "needed",
) -> dict[str, Any]:
    """The arguments of a route's decorator that describe the route in the OpenAPI document.

    `takes`, `asks` and `gives` are the models of the body, the query and the response. `fails` has
    the errors of the route in addition to those of its token, query and body. Without `gives`, a
    success has no body. `replies` replaces all responses that are not errors.
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
    """A success in the OpenAPI document, with a body of this model or without one."""
    return {"description": "Done.", **(_content(gives.__name__) if gives else {})}


def _content(name: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return {"content": {codec.JSON: schema, codec.MSGPACK: schema}}


def _refusals(failures: Iterable[type[ApiError]]) -> dict[str, Any]:
    """The errors by status, each with its possible codes."""
    codes: dict[int, set[str]] = {}
    for failure in failures:
        codes.setdefault(failure.status, set()).add(failure.code)
    return {
        str(status): refusal(", ".join(f"`{code}`" for code in sorted(codes[status])))
        for status in sorted(codes)
    }


def refusal(what: str) -> dict[str, Any]:
    """An error in the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{Error.__name__}"}
    return {"description": what, "content": {codec.JSON: {"schema": schema}}}
