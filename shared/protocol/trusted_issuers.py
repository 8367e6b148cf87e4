"""Trusted issuers, and the exchange of their ID tokens (RFC 8693)."""

from typing import Annotated, Literal

from pydantic import Field

from shared.model import Role
from shared.protocol.base import QueryModel, RequestModel, ResponseModel

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
ID_TOKENS = (
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:jwt",
)


class NewTrustedIssuer(RequestModel):
    """An issuer to trust.

    `issuer`: its exact `iss`. `claims`: names and exact values; one must name the project.
    `audience`: the `aud` that its tokens must have; without it, the URL of this hub.
    """

    issuer: str
    claims: dict[str, str]
    scope: Annotated[Literal["read", "write"], Field()]
    audience: str | None = None


class TrustedIssuer(ResponseModel):
    """A trusted issuer. Its tokens have at most the rights of the user `by`."""

    trust_id: str
    issuer: str
    audience: str
    claims: dict[str, str]
    scope: Role
    by: str
    created_at: int


class TrustedIssuerList(ResponseModel):
    """The trusted issuers of a repository, the oldest first."""

    trusted_issuers: list[TrustedIssuer]


class TokenExchange(QueryModel):
    """A request of RFC 8693, as a form. The repository is `audience` (owner/slug) or `resource`
    (its URL).
    """

    grant_type: str = ""
    subject_token: str = ""
    subject_token_type: str = ""
    requested_token_type: str = ACCESS_TOKEN
    audience: str = ""
    resource: str = ""
    scope: str = ""


class ExchangedToken(ResponseModel):
    """The reply of RFC 8693."""

    access_token: str
    issued_token_type: str = ACCESS_TOKEN
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    scope: Role
