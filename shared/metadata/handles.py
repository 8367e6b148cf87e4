"""Handles: each is claimed once, in one spelling, by the first token or repository that is made for it."""

from dataclasses import dataclass

from shared import names
from shared.errors import HandleTaken
from shared.metadata import keys
from shared.metadata.table import Table


@dataclass(frozen=True, slots=True)
class Handles:
    """The rows that say how a handle is spelled."""

    table: Table

    async def claim(self, handle: str) -> None:
        """Claim a handle in its letter case, once for all; again is no change.

        Raises InvalidName for one that nobody may have, HandleTaken if it is claimed in another letter case.
        """
        first = await self.table.put_new(keys.handle(names.check_handle(handle)), {"handle": handle})
        if first and first["handle"] != handle:
            raise HandleTaken(handle, str(first["handle"]))

    async def claimed(self, handle: str) -> str | None:
        """The handle in the letter case in which it was claimed; None if it was not."""
        if not names.is_repo_name(handle):
            return None
        # A batch of one: each function that looks up repositories may read batches.
        rows = await self.table.find([keys.handle(handle)])
        return str(rows[0]["handle"]) if rows else None

    async def spelling(self, handle: str) -> str:
        """The handle in the letter case in which it was claimed; as given, if it was not."""
        return await self.claimed(handle) or handle

    async def all(self) -> list[str]:
        """Every claimed handle, sorted. Reads the whole table."""
        return sorted([str(row["handle"]) async for row in self.table.scan(keys.HANDLE)])
