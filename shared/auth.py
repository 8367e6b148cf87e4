"""Token → identity. Tokens are JWTs, HS256 and nothing else, with a key id so that keys can be rotated.

claim  must be
type   "access"
sub    the owner's handle
aud    "pieria"
scope  "read" or "write"
iat    not in the future
exp    in the future
jti    present: what a revocation will name
"""

import uuid
from collections.abc import Mapping
from typing import Any

import jwt

from shared.errors import Unauthorized
from shared.model import Identity, Scope
from shared.names import is_repo_name

ALGORITHM = "HS256"
AUDIENCE = "pieria"
TYPE = "access"
CLOCK_SECONDS = 5
"""How far the clocks of two machines may be apart."""
TOKEN_CHARACTERS = 4096

_REQUIRED = ["sub", "aud", "iat", "exp", "jti"]


def issue(keys: Mapping[str, str], subject: str, *, scope: Scope = Scope.WRITE, lifetime_seconds: int, now: int) -> str:
    """A token for this owner's handle, signed with the newest of the keys (key id → secret, oldest first)."""
    key_id, secret = list(keys.items())[-1]
    claims = {
        "type": TYPE,
        "sub": subject,
        "aud": AUDIENCE,
        "scope": scope.value,
        "iat": now,
        "exp": now + lifetime_seconds,
        "jti": str(uuid.uuid4()),
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id})


def identify(keys: Mapping[str, str], authorization: str | None) -> Identity | None:
    """Who sends this Authorization header. None without one, or for another scheme than Bearer.

    Raises Unauthorized for a bearer token that is not good: also where none would have been needed.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    if not token or len(token) > TOKEN_CHARACTERS:
        raise Unauthorized("the Authorization header holds no token; log in again with a fresh one")
    try:
        claims = _claims(keys, token)
        if claims.get("type") != TYPE or not is_repo_name(claims["sub"]):
            raise jwt.InvalidTokenError
        return Identity(claims["sub"], Scope(str(claims.get("scope"))))
    except jwt.ExpiredSignatureError:
        raise Unauthorized("the token has expired; log in again with a fresh one") from None
    except (jwt.InvalidTokenError, ValueError, TypeError):
        # Not chained: a decoder's message may quote the token.
        raise Unauthorized("the token is not valid here; log in again with one that this hub issued") from None


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
