"""Token → identity. Tokens are JWTs, HS256 and nothing else, with a key id so that keys can be rotated.

claim  must be
type   "access"
sub    the owner's handle
aud    "pieria"
scope  "read", "write" or "admin"
iat    not in the future
exp    in the future
jti    present: what a revocation will name
"""

from collections.abc import Mapping
from typing import Any

import jwt

from shared.errors import Unauthorized
from shared.model import Bearer, Identity, Repo, Role, Visibility
from shared.names import is_repo_name

LIFETIME_SECONDS = 365 * 24 * 3600
"""The longest that a token may be good for."""

ALGORITHM = "HS256"
AUDIENCE = "pieria"
TYPE = "access"
CLOCK_SECONDS = 5
"""How far the clocks of two machines may be apart."""
TOKEN_CHARACTERS = 4096

_REQUIRED = ["sub", "aud", "iat", "exp", "jti"]


def issue(keys: Mapping[str, str], identity: Identity, *, lifetime_seconds: int, now: int) -> str:
    """A token that says this of its bearer, signed with the newest of the keys (key id → secret, oldest first)."""
    key_id, secret = list(keys.items())[-1]
    claims = {
        "type": TYPE,
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
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id})


def key_id(authorization: str | None) -> str:
    """The key that a bearer token claims to be signed with; empty if there is no token, or it does not say."""
    token = _bearer(authorization)
    if not token or len(token) > TOKEN_CHARACTERS:
        return ""
    try:
        named = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        return ""
    return named if isinstance(named, str) else ""


def identify(keys: Mapping[str, str], authorization: str | None) -> Identity | None:
    """Who sends this Authorization header. None without one, or for another scheme than Bearer.

    Raises Unauthorized for a bearer token that is not good: also where none would have been needed.
    """
    token = _bearer(authorization)
    if token is None:
        return None
    if not token or len(token) > TOKEN_CHARACTERS:
        raise Unauthorized("the Authorization header holds no token; log in again with a fresh one")
    try:
        claims = _claims(keys, token)
        if claims.get("type") != TYPE or not is_repo_name(claims["sub"]):
            raise jwt.InvalidTokenError
        return Identity(
            subject=claims["sub"],
            scope=Role(str(claims.get("scope"))),
            token_id=str(claims["jti"]),
            repo=str(claims.get("repo", "")),
            bearer=Bearer(str(claims.get("bearer", Bearer.HUMAN.value))),
        )
    except jwt.ExpiredSignatureError:
        raise Unauthorized("the token has expired; log in again with a fresh one") from None
    except (jwt.InvalidTokenError, ValueError, TypeError):
        # Not chained: a decoder's message may quote the token.
        raise Unauthorized("the token is not valid here; log in again with one that this hub issued") from None


def role(repo: Repo, identity: Identity | None, member: Role | None) -> Role | None:
    """What the caller may do to a repository: the least of his own role and his token's scope. None: not even see it.

    `member` is the role that the owner gave to him.
    """
    public = Role.READ if repo.visibility is Visibility.PUBLIC else None
    if identity is None or identity.repo not in ("", f"{repo.owner}/{repo.slug}"):
        return public
    own = Role.ADMIN if identity.subject == repo.owner else member
    if own is None:
        return public
    return own if identity.scope.allows(own) else identity.scope


def _bearer(authorization: str | None) -> str | None:
    """What follows `Bearer`, perhaps nothing; None without a header, or for another scheme."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _claims(keys: Mapping[str, str], token: str) -> Mapping[str, Any]:
    key_id = jwt.get_unverified_header(token).get("kid")
    secret = keys.get(key_id) if isinstance(key_id, str) else None
    if secret is None:
        raise jwt.InvalidTokenError
    return jwt.decode(
        token,
        secret,
        algorithms=[ALGORITHM],
        audience=AUDIENCE,
        leeway=CLOCK_SECONDS,
        options={"require": _REQUIRED},
    )
