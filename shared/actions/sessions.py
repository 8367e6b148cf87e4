"""Sessions of browsers.

A session has the rights of the token that opened it, and ends with that token at the latest. It is
a token of a type of its own, recorded among the tokens of its owner, so the owner can list and
revoke it. The wire protocol and the API refuse it.
"""

from dataclasses import replace

from shared import auth
from shared.metadata.tokens import Issued, new_id
from shared.model import Identity
from shared.stores import Stores

LIFETIME_SECONDS = 8 * 3600


async def open_session(stores: Stores, own: Identity, now: float) -> tuple[Issued, str]:
    """Open a session with the rights of `own`. Returns its record and its token.

    Claims the handle. Raises InvalidName or HandleTaken.
    """
    identity = replace(own, token_id=new_id(now), via=own.token_id)
    issued_at = int(now)
    ends_at = min(issued_at + LIFETIME_SECONDS, own.expires_at)
    issued = Issued(identity, issued_at, ends_at, is_session=True)
    await stores.handles.claim(identity.subject)
    # Stored before it is returned, so that every session is in the list.
    await stores.tokens.put(issued)
    keys = await stores.signer.signing(now)
    lifetime_seconds = ends_at - issued_at
    token = auth.issue(
        keys, identity, lifetime_seconds=lifetime_seconds, now=issued_at, type=auth.SESSION
    )
    return issued, token


async def close(stores: Stores, session: Identity, now: float) -> None:
    """End a session. The next request with it is refused."""
    await stores.tokens.revoke(session.subject, session.token_id, int(now))
