"""Tokens that were issued, so that they can be listed and revoked."""

from dataclasses import dataclass

from shared.errors import Unauthorized
from shared.metadata import keys
from shared.metadata.table import Row, Table
from shared.model import Bearer, Identity, Role


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
        """Write down a token that is about to be given away."""
        who = issued.identity
        row: Row = {
            "scope": who.scope.value,
            "repo": who.repo,
            "bearer": who.bearer.value,
            "issued_at": issued.issued_at,
            "expires_at": issued.expires_at,
        }
        await self.table.put([(keys.token(who.subject, who.token_id), row)])

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

    async def check(self, identity: Identity) -> None:
        """Raises Unauthorized if this token has been revoked; one that nobody wrote down has not."""
        row = await self.table.get(keys.token(identity.subject, identity.token_id))
        if row:
            refuse_revoked(row)

    async def revoke(self, handle: str, token_id: str, now: int) -> None:
        """Make a token worthless from the next request on, whether it was written down or not."""
        await self.table.update(keys.token(handle, token_id), {"revoked_at": now})


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
