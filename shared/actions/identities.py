"""Users who sign in through an identity provider: their handles and their sessions.

    first sign-in     the user chooses a handle that is not claimed
    later sign-ins    a session of that handle
    link              a user who is signed in with a token of a handle adds a provider's user to it

Between the callback and the choice of a handle, the browser holds the verified user as a signed
text (`sign_person`), so the hub stores nothing for users who never choose.
"""

import re
from typing import Annotated, Any, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared import names, signing
from shared.actions import sessions
from shared.errors import Forbidden, HandleInUse, IdentityLinked, SignInRefused
from shared.metadata.identities import HandleExists, Identities, LinkedIdentity
from shared.metadata.tokens import Issued
from shared.model import Identity, Person, Role
from shared.stores import Stores

CHOICE_SECONDS = 900
"""The time to choose a handle."""
SIGNED_CHARACTERS = 4000
TYPE = "identity"
_NOT_IN_A_HANDLE = re.compile("[^A-Za-z0-9._-]+")


class _Claims(BaseModel):
    """The signed user. No token of another type has these claims, and no token is valid as this."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    type: Literal["identity"]
    issuer: str
    subject: str
    login: str
    next: str
    exp: Annotated[int, Field(ge=0)]


async def sign_person(stores: Stores, person: Person, following: str, now: float) -> str:
    """Return the user as a signed text, with the page that follows."""
    claims: dict[str, Any] = {
        "type": TYPE,
        "issuer": person.issuer,
        "subject": person.subject,
        "login": person.login,
        "next": following,
        "exp": int(now) + CHOICE_SECONDS,
    }
    return signing.sign(await stores.signer.signing(now), claims)


async def read_person(stores: Stores, text: str, now: float) -> tuple[Person, str]:
    """Return the user of a signed text, and the page that follows. Raises SignInRefused."""
    key_id = "" if len(text) > SIGNED_CHARACTERS else signing.key_id(text)
    keys = await stores.keyring.verifying(key_id, now) if key_id else {}
    key = signing.for_tokens(keys).get(key_id)
    if key is None or (signing.has_public(keys) and not signing.is_public(key)):
        raise _too_late()
    try:
        claims = _Claims.model_validate(signing.verify(key, text))
    except (jwt.InvalidTokenError, ValidationError, ValueError):
        raise _too_late() from None
    if claims.exp <= now:
        raise _too_late()
    return Person(claims.issuer, claims.subject, claims.login), claims.next


async def handle_of(stores: Stores, person: Person) -> str | None:
    """Return the handle that the user signs in to, or None before the first sign-in."""
    found = await Identities(stores.hub).get(person.issuer, person.subject)
    return found.handle if found else None


async def claim(stores: Stores, person: Person, handle: str, now: float) -> str:
    """Claim a handle for a user who signs in for the first time. Returns the user's handle.

    It is another handle if the user claimed one in another window. Raises InvalidName, or
    HandleInUse for a handle that has tokens, repositories or another user.
    """
    names.check_handle(handle)
    wanted = LinkedIdentity(person.issuer, person.subject, handle, int(now))
    try:
        linked = await Identities(stores.hub).link_to_new_handle(wanted)
    except HandleExists:
        raise HandleInUse(handle) from None
    return linked.handle


async def link_own(stores: Stores, own: Identity, person: Person, now: float) -> None:
    """Link a provider's user to the handle of a session. Raises Forbidden or IdentityLinked."""
    if own.repo or not own.scope.allows(Role.ADMIN):
        raise Forbidden(
            "to link a user of a provider, sign in with a token of scope admin that is not limited"
            " to one repository"
        )
    await link(stores, own.subject, person, now)


async def link(stores: Stores, handle: str, person: Person, now: float) -> None:
    """Link a provider's user to a handle, which is claimed if it was not.

    A repeated link changes nothing. Raises InvalidName, HandleTaken or IdentityLinked.
    """
    await stores.handles.claim(handle)
    wanted = LinkedIdentity(person.issuer, person.subject, handle, int(now))
    linked = await Identities(stores.hub).link(wanted)
    if linked.handle != handle:
        raise IdentityLinked(linked.handle)


async def open_session(stores: Stores, handle: str, now: float) -> tuple[Issued, str]:
    """Open a session with all rights of a handle. Returns its record and its token."""
    ends_at = int(now) + sessions.LIFETIME_SECONDS
    owner = Identity(handle, Role.ADMIN, token_id="", expires_at=ends_at)
    return await sessions.open_session(stores, owner, now)


def suggested_handle(login: str) -> str:
    """A handle that resembles a login, or an empty text."""
    handle = _NOT_IN_A_HANDLE.sub("-", login)[: names.SLUG_CHARACTERS].strip("._-")
    return handle if names.is_handle(handle) else ""


def _too_late() -> SignInRefused:
    return SignInRefused(
        f"the sign-in is older than {CHOICE_SECONDS // 60} minutes, or this browser did not begin"
        " it; start again at /-/sign-in"
    )
