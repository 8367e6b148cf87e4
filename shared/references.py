"""Signed references to staged request bodies.

A reference is a JWT that is signed with a secret (see `shared/signing.py`). Its audience and its
claims differ from those of a token, so neither is accepted in place of the other. It is valid for
one user, one route, one repository and one body.
"""

from typing import Annotated, Final, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field

from shared import signing
from shared.errors import StagedBodyInvalid
from shared.model import RepoId
from shared.signing import Keys

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

    aud: Literal["pieria-staged-body"]
    repo_id: RepoId
    sub: str
    route: str
    size: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    exp: int


def sign(keys: Keys, reference: Reference) -> str:
    """The reference as text, signed with the newest of the secrets."""
    return signing.sign(signing.for_seals(keys), reference.model_dump())


def verify(keys: Keys, text: str, now: float) -> Reference:
    """The reference that `sign` has made.

    Raises StagedBodyInvalid for every other text, and after its end.
    """
    key = signing.for_seals(keys).get(signing.key_id(text))
    if key is None:
        raise StagedBodyInvalid(_NOT_VALID)
    try:
        reference = Reference.model_validate(signing.verify(key, text))
    except (jwt.InvalidTokenError, ValueError):
        # Not chained: a decoder's message may quote a token that was sent by mistake.
        raise StagedBodyInvalid(_NOT_VALID) from None
    if reference.exp <= now:
        raise StagedBodyInvalid(f"the reference to the staged body has expired; {STAGE_AGAIN}")
    return reference
