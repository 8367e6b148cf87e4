"""Tokens that were issued, so that they can be listed and revoked; and the handles they are issued to."""

from dataclasses import dataclass

from shared.metadata import keys
from shared.metadata.table import Row, Table
from shared.model import Bearer, Identity, Role


@dataclass(frozen=True, slots=True)
class Issued:
    """A token's row: all of it but the token. Times are epoch seconds; `revoked_at` is 0 while it is good."""

    identity: Identity
    issued_at: int
    expires_at: int
    revoked_at: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """The rows of tokens and handles."""

    table: Table

    async def claim(self, handle: str) -> str | None:
        """Claim a handle in its letter case, once for all. Returns the spelling it is claimed in, if another."""
        first = await self.table.put_new(keys.handle(handle), {"handle": handle})
        return str(first["handle"]) if first and first["handle"] != handle else None

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

    async def listed(self, handle: str) -> list[Issued]:
        """A user's tokens, newest first."""
        rows = await self.table.query_all(keys.owner(handle), "TOKEN#")
        return sorted((_issued(handle, row) for row in rows), key=lambda issued: -issued.issued_at)

    async def is_revoked(self, identity: Identity) -> bool:
        """Whether this token has been revoked; one that nobody wrote down has not."""
        row = await self.table.get(keys.token(identity.subject, identity.token_id))
        return bool(row and "revoked_at" in row)

    async def revoke(self, handle: str, token_id: str, now: int) -> None:
        """Make a token worthless from the next request on, whether it was written down or not."""
        await self.table.update(keys.token(handle, token_id), {"revoked_at": now})


def _issued(handle: str, row: Row) -> Issued:
    token_id = str(row["sk"]).removeprefix("TOKEN#")
    return Issued(
        Identity(handle, Role(str(row["scope"])), token_id, str(row["repo"]), Bearer(str(row["bearer"]))),
        int(str(row["issued_at"])),
        int(str(row["expires_at"])),
        int(str(row.get("revoked_at", 0))),
    )
