"""Signed references to staged request bodies.

A reference is a JWT that is signed with the keys of tokens. Its audience and its claims differ from
those of a token, so neither is accepted in place of the other. It is valid for one user,
one route, one repository and one body.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared import auth
from shared.errors import StagedBodyInvalid
from shared.model import RepoId

AUDIENCE: Final = "pieria-staged-body"
STAGE_AGAIN = (
    "stage the body again with POST staging, then send this request with the new reference"
)
_NOT_VALID = f"Pieria-Staged-Body is not a reference that this hub has signed; {STAGE_AGAIN}"


class Reference(BaseModel):
    """The claims of a reference.

    `name` is the last part of the body's key, `exp` the end in epoch seconds.
    """

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", frozen=True)

    aud: Literal["pieria-staged-body"] = AUDIENCE
    repo_id: RepoId
    sub: str
    route: str
    size: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    exp: int


def sign(keys: Mapping[str, str], reference: Reference) -> str:
    """The reference as text, signed with the newest of the keys (key id → secret, oldest first)."""
    key_id, secret = list(keys.items())[-1]
    return jwt.encode(
        reference.model_dump(), secret, algorithm=auth.ALGORITHM, headers={"kid": key_id}
    )


def verify(keys: Mapping[str, str], text: str, now: float) -> Reference:
    """The reference that `sign` has made.

    Raises StagedBodyInvalid for every other text, and after its end.
    """
    secret = keys.get(auth.key_id(text))
    if secret is None:
        raise StagedBodyInvalid(_NOT_VALID)
    try:
        # The end is compared below, with the clock of the request.
        claims = jwt.decode(
            text,
            secret,
            algorithms=[auth.ALGORITHM],
            audience=AUDIENCE,
            options={"verify_exp": False},
        )
        reference = Reference.model_validate(claims)
    except (jwt.InvalidTokenError, ValidationError):
        # Not chained: a decoder's message may quote a token that was sent by mistake.
        raise StagedBodyInvalid(_NOT_VALID) from None
    if reference.exp <= now:
        raise StagedBodyInvalid(f"the reference to the staged body has expired; {STAGE_AGAIN}")
    return reference
