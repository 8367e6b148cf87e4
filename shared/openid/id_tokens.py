"""The verification of ID tokens (OpenID Connect Core 1.0, 3.1.3.7)."""

from typing import Any, NamedTuple

import jwt

from shared.openid.issuers import ALGORITHMS, KEY_ID_CHARACTERS, Issuers

TOKEN_CHARACTERS = 16 * 1024
CLOCK_SECONDS = 60
"""The accepted difference between the clocks of the issuer and the hub."""
SUBJECT_CHARACTERS = 255
REQUIRED = ["iss", "sub", "aud", "exp", "iat"]


class InvalidIdToken(Exception):
    """The token is not valid. The message is a part of a sentence without any part of the token."""


class Unverified(NamedTuple):
    """The parts of a token that select the key to verify it with. `key_id`: None without one."""

    issuer: str
    key_id: str | None


def unverified(token: str) -> Unverified:
    """The issuer and the key id of a token. Raises InvalidIdToken."""
    if len(token) > TOKEN_CHARACTERS:
        raise InvalidIdToken(f"it has more than {TOKEN_CHARACTERS} characters")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidIdToken("it is not a JSON Web Token") from None
    if header.get("alg") not in ALGORITHMS:
        raise InvalidIdToken(f"its algorithm is not one of {', '.join(ALGORITHMS)}")
    issuer = claims.get("iss")
    key_id = header.get("kid")
    if not isinstance(issuer, str):
        raise InvalidIdToken("it has no issuer")
    if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARACTERS):
        raise InvalidIdToken("its key id is not valid")
    return Unverified(issuer, key_id)


async def verified(
    issuers: Issuers, token: str, issuer: str, audience: str, now: float
) -> dict[str, Any]:
    """The claims of a token that this issuer signed for this audience alone.

    Raises InvalidIdToken; IssuerInvalid or Unavailable if the keys cannot be read.
    """
    named = unverified(token)
    if named.issuer != issuer:
        raise InvalidIdToken("it has another issuer")
    keys = (await issuers.get(issuer, now, named.key_id)).keys
    if named.key_id is not None:
        key = keys.get(named.key_id)
    elif len(keys) == 1:
        [key] = keys.values()
    else:
        key = None
    if key is None:
        raise InvalidIdToken("its issuer has no such key")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            # Also the algorithm of the key: the header has no choice.
            algorithms=[key.algorithm_name],
            issuer=issuer,
            audience=audience,
            leeway=CLOCK_SECONDS,
            options={"require": REQUIRED},
        )
    except jwt.PyJWTError as error:
        raise InvalidIdToken(_reason(error)) from None
    if claims["aud"] not in (audience, [audience]):
        raise InvalidIdToken("it is also for another audience")
    if not 0 < len(claims["sub"]) <= SUBJECT_CHARACTERS:
        raise InvalidIdToken("its subject is not valid")
    return claims


def _reason(error: jwt.PyJWTError) -> str:
    reasons = {
        jwt.ExpiredSignatureError: "it has expired",
        jwt.ImmatureSignatureError: "it is not valid yet: compare the clocks of issuer and hub",
        jwt.InvalidAudienceError: "it is for another audience",
        jwt.InvalidIssuerError: "it has another issuer",
        jwt.MissingRequiredClaimError: f"one of {', '.join(REQUIRED)} is missing",
        jwt.InvalidSignatureError: "its signature is not valid",
        jwt.InvalidAlgorithmError: "its algorithm is not that of its key",
    }
    return reasons.get(type(error), "one of its claims is malformed")
