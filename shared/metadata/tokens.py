"""Tokens that were issued, so that they can be listed and revoked. Their rows go some time after they have expired."""

import secrets
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Unauthorized, Unavailable
from shared.metadata import keys
from shared.metadata.table import GET_BATCH, PUT_BATCH, Beside, Lost, Row, Table
from shared.model import Bearer, Identity, Role
from shared.tasks import pair

DAY = 24 * 3600
KEPT_SECONDS = 7 * DAY
"""How long an expired token is listed at least."""
UNKNOWN_SECONDS = 400 * DAY
"""How long the revocation of a token is kept that was never written down: longer than any is good for."""

_GOOD = "#expires_at > :now AND attribute_not_exists(#revoked_at)"


def new_id(now: float) -> str:
    """An id that nobody can guess. Ids sort by the millisecond they were made in, so the newest come first."""
    return f"{int(now * 1000):012x}{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class Issued:
    """A token's row: all of it but the token. Times are epoch seconds; `revoked_at` is 0 while it is good."""

    identity: Identity
    issued_at: int
    expires_at: int
    revoked_at: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """The rows of tokens."""

    table: Table

    async def put(self, issued: Issued) -> None:
        """Write down a token that is about to be given away. Some that have long expired go in return."""
        who = issued.identity
        row: Row = {
            "scope": who.scope.value,
            "repo": who.repo,
            "bearer": who.bearer.value,
            "issued_at": issued.issued_at,
            "expires_at": issued.expires_at,
        }
        write = self.table.put([(keys.token(who.subject, who.token_id), row)])
        await pair(write, self._remove_expired(who.subject, issued.issued_at))

    async def prolong(self, issued: Issued, now: int) -> bool:
        """Let a token's row expire when this one says. False if the token is not good any more."""
        who = issued.identity
        with suppress(Lost):
            row: Row = {"expires_at": issued.expires_at}
            await self.table.update(keys.token(who.subject, who.token_id), row, _GOOD, {"now": now})
            return True
        return False

    async def all(self, handle: str) -> list[Issued]:
        """Every token of a user, as `listed` has them."""
        found: list[Issued] = []
        while True:
            page = await self.listed(handle, GET_BATCH, found[-1].identity.token_id if found else None)
            found += page
            if len(page) < GET_BATCH:
                return found

    async def listed(self, handle: str, limit: int, after: str | None) -> list[Issued]:
        """A user's tokens in the order of their ids, the greatest first, from below the id `after`.

        One that was revoked without ever having been written down is not among them.
        """
        pk = keys.tokens(handle)
        rows = await self.table.some(
            pk,
            "",
            limit,
            lambda row: "scope" in row,
            after=after,
            newest_first=True,
        )
        return [_issued(handle, row) for row in rows]

    async def check(self, identity: Identity, beside: Beside | None) -> None:
        """Raises Unauthorized if this token has been revoked; a token without a row has not been.

        One call, which also reads the rows `beside`.
        """
        for row in await self.table.find_few([keys.token(identity.subject, identity.token_id)], beside):
            refuse_revoked(row)

    async def revoke(self, handle: str, token_id: str, now: int) -> bool:
        """Make a token worthless from the next request on. Returns whether its issue was recorded.

        One that was not recorded is revoked, too: keys may have signed it elsewhere.
        """
        key = keys.token(handle, token_id)
        try:
            await self.table.update(key, {"revoked_at": now}, "attribute_exists(#scope)")
        except Lost:
            await self.table.update(key, {"revoked_at": now})
            return False
        return True

    async def _remove_expired(self, handle: str, now: int) -> None:
        """One batch of the oldest: whoever issues tokens for ever has them go as fast as they come, and faster."""
        with suppress(Unavailable):
            oldest = await self.table.query(keys.tokens(handle), limit=GET_BATCH)
            over = [(str(row["pk"]), str(row["sk"])) for row in oldest.rows if _is_over(row, now)]
            await self.table.remove_all(over[:PUT_BATCH])


def refuse_revoked(row: Row) -> None:
    """Raises Unauthorized if this is the row of a revoked token."""
    if "revoked_at" in row:
        raise Unauthorized("the token has been revoked; log in again with a fresh one")


def _issued(handle: str, row: Row) -> Issued:
    token_id = str(row["sk"])
    return Issued(
        Identity(handle, Role(str(row["scope"])), token_id, str(row["repo"]), Bearer(str(row["bearer"]))),
        int(str(row["issued_at"])),
        int(str(row["expires_at"])),
        int(str(row.get("revoked_at", 0))),
    )


def _is_over(row: Row, now: int) -> bool:
    """Whether nobody can use this token, or asks for it. A revocation must outlive its token."""
    if "expires_at" in row:
        return int(str(row["expires_at"])) + KEPT_SECONDS < now
    return int(str(row["revoked_at"])) + UNKNOWN_SECONDS < now
