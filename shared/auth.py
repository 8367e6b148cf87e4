"""Verification of tokens: JWTs with a key id, so that keys can be rotated.

The key decides the algorithm, see `shared/signing.py`.

claim   required value
type    "access", or "session": of a browser, valid on the web pages only
sub     the owner's handle
aud     "pieria"
scope   "read", "write" or "admin"
bearer  "human" (also if absent) or "agent"
repo    absent, or the `owner/slug` of the only repository that the token is valid for
iat     integer epoch seconds, not in the future
exp     integer epoch seconds, in the future, at most `LIFETIME_SECONDS` after `iat`
jti     the id of the token, for its revocation: 1 to 64 of A-Z a-z 0-9 . _ -
via     absent, or the id of the token that opened the session, whose revocation ends the session

A token with any other claim is refused, because an unknown claim may be a restriction.
"""

import functools
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field

from shared import signing
from shared.errors import Unauthorized
from shared.model import Bearer, Identity, Repo, Role, Sees, Visibility
from shared.names import is_repo_name
from shared.signing import Keys

LIFETIME_SECONDS = 365 * 24 * 3600
"""The longest lifetime of a token."""

AUDIENCE: Final = "pieria"
Type = Literal["access", "session"]
ACCESS: Final = "access"
SESSION: Final = "session"
CLOCK_SECONDS = 5
"""The accepted difference between the clocks of two machines."""
TOKEN_CHARACTERS = 4096
CACHED_TOKENS = 256
"""The number of tokens whose verification a process remembers."""
LAST_SECOND = 253_402_300_799
"""The last second of the year 9999, the last one that `datetime` supports."""


class _Claims(BaseModel):
    """The claims of a token, each of the exact type that `issue` writes."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", frozen=True)

    type: Type
    sub: str
    aud: Literal["pieria"]
    # Not strict, because the values of an enumeration arrive as text.
    scope: Annotated[Role, Field(strict=False)]
    bearer: Annotated[Bearer, Field(strict=False)] = Bearer.HUMAN
    repo: str = ""
    iat: Annotated[int, Field(ge=0, le=LAST_SECOND)]
    exp: Annotated[int, Field(ge=0, le=LAST_SECOND)]
    jti: str
    via: str = ""


def issue(
    keys: Keys, identity: Identity, *, lifetime_seconds: int, now: int, type: Type = ACCESS
) -> str:
    """Issue a token, signed with the newest of the keys."""
    claims = {
        "type": type,
        "sub": identity.subject,
        "aud": AUDIENCE,
        "scope": identity.scope.value,
        "bearer": identity.bearer.value,
        "iat": now,
        "exp": now + lifetime_seconds,
        "jti": identity.token_id,
    }
    if identity.repo:
        claims["repo"] = identity.repo
    if identity.via:
        claims["via"] = identity.via
    return signing.sign(keys, claims)


def bearer_token(authorization: str | None) -> str | None:
    """The text after `Bearer` in an Authorization header, perhaps empty.

    None without a header, or for another scheme.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return None


@functools.lru_cache(CACHED_TOKENS)
def key_id(text: str) -> str:
    """The key id in the header of a token; empty without one. Not verified."""
    return "" if len(text) > TOKEN_CHARACTERS else signing.key_id(text)


def identify(keys: Keys, token: str, type: Type = ACCESS) -> Identity:
    """Verify a token of this type. Raises Unauthorized if it is not valid.

    The caller has to compare it with its record, see `Identity`.
    """
    if not token or len(token) > TOKEN_CHARACTERS:
        raise Unauthorized("the Authorization header has no token; log in again with a new token")
    try:
        claims = _signed_claims(_key(keys, token), token)
    except (jwt.InvalidTokenError, ValueError):
        # Not chained, because the message of a decoder may quote the token.
        raise _invalid() from None
    if claims.type != type or not _is_sound(claims):
        raise _invalid()
    now = int(datetime.now(UTC).timestamp())
    if claims.exp <= now - CLOCK_SECONDS:
        raise Unauthorized("the token has expired; log in again with a new token")
    ahead_seconds = claims.iat - now
    if ahead_seconds > CLOCK_SECONDS:
        raise Unauthorized(
            f"the token was issued {ahead_seconds} seconds in the future: the clock of the machine"
            " that issued it and the clock of this hub differ; set the wrong one and log in with a"
            f" new token, or retry in {ahead_seconds} seconds"
        )
    return Identity(
        claims.sub,
        claims.scope,
        token_id=claims.jti,
        repo=claims.repo or None,
        bearer=claims.bearer,
        via=claims.via or None,
        expires_at=claims.exp,
        must_be_recorded=signing.has_public(keys) and not signing.is_public(keys[key_id(token)]),
    )


def role(repo: Repo, identity: Identity | None, member: Role | None) -> Role | None:
    """The effective role of the caller: the lesser of the caller's own role and the token's scope.

    None if the caller may not even see the repository. `member` is the role that its owner gave to
    the caller.
    """
    if repo.visibility is Visibility.PUBLIC:
        public = Role.READ
    else:
        public = None
    own = _own_role(repo, identity, member)
    if identity is None or own is None:
        return public
    if identity.scope.allows(own):
        return own
    return identity.scope


def sees(repo: Repo, identity: Identity | None, member: Role | None) -> Sees:
    """The commits that a caller with read access may read. The owner counts as a member."""
    if _own_role(repo, identity, member):
        return Sees.ALL
    return Sees.REACHED


def _own_role(repo: Repo, identity: Identity | None, member: Role | None) -> Role | None:
    """The caller's own role; None for a caller without one, and for a token of another
    repository.
    """
    if identity is None or identity.repo not in (None, f"{repo.owner}/{repo.slug}"):
        return None
    if identity.subject == repo.owner:
        return Role.ADMIN
    return member


def _key(keys: Keys, token: str) -> str:
    """The key that a token names. Raises InvalidTokenError for another one."""
    key = signing.for_tokens(keys).get(key_id(token))
    if key is None:
        raise jwt.InvalidTokenError
    return key


# A client sends the same token with each request, and its verification takes longer than any other
# part of the authorization. Errors are not cached.
@functools.lru_cache(CACHED_TOKENS)
def _signed_claims(key: str, token: str) -> _Claims:
    """Verify all of a token that does not depend on the time.

    Raises InvalidTokenError or ValueError.
    """
    return _Claims.model_validate(signing.verify(key, token))


def _is_sound(claims: _Claims) -> bool:
    """Whether the claims are in the ranges of `issue`. Each text becomes a part of a key."""
    return (
        is_repo_name(claims.sub)
        and is_repo_name(claims.jti)
        and (not claims.via or is_repo_name(claims.via))
        and (not claims.repo or _is_full_name(claims.repo))
        and 0 < claims.exp - claims.iat <= LIFETIME_SECONDS
    )


def _is_full_name(repo: str) -> bool:
    owner, _, slug = repo.partition("/")
    return is_repo_name(owner) and is_repo_name(slug)


def _invalid() -> Unauthorized:
    return Unauthorized(
        "the token is not valid here; log in again with a token that this hub issued"
    )
