"""Tokens: issue, list, and show the owner of one."""

from typing import Annotated

from pydantic import Field

from shared import auth
from shared.metadata.tokens import Issued
from shared.model import Bearer, Role
from shared.protocol.base import RequestModel, ResponseModel
from shared.protocol.fields import NAME_PATTERN, RoleWord

SHORTEST_SECONDS = 60
USUAL_SECONDS = 30 * 24 * 3600

FullName = Annotated[str, Field(json_schema_extra={"pattern": f"^{NAME_PATTERN}/{NAME_PATTERN}$"})]
"""`owner/slug`."""
BearerWord = Annotated[Bearer, Field(strict=False)]
"""Not strict, because the values of an enumeration arrive as text."""
Lifetime = Annotated[int, Field(ge=SHORTEST_SECONDS, le=auth.LIFETIME_SECONDS)]


class NewToken(RequestModel):
    """A token to issue for another user or program. It never allows more than the caller's.

    With `repo`, the token is valid for this repository only.
    """

    scope: RoleWord
    repo: FullName | None = None
    bearer: BearerWord | None = None
    lifetime_seconds: Lifetime = USUAL_SECONDS


class Token(ResponseModel):
    """The record of a token, without the token itself. A session is that of a browser."""

    token_id: str
    type: auth.Type
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
            type=auth.SESSION if issued.is_session else auth.ACCESS,
            scope=issued.identity.scope,
            repo=issued.identity.repo,
            bearer=issued.identity.bearer,
            issued_at=issued.issued_at,
            expires_at=issued.expires_at,
            revoked_at=issued.revoked_at or None,
        )


class IssuedToken(Token):
    """A newly issued token. It is not shown again."""

    handle: str
    token: str


class TokenPage(ResponseModel):
    """The caller's own tokens, newest first, and the cursor of the next page."""

    tokens: list[Token]
    next_cursor: str | None


class Me(ResponseModel):
    """The caller, as identified by the token of the request."""

    handle: str
    token_id: str
    scope: Role
    repo: str | None
    bearer: Bearer
