"""Counters that expire: a table of their own, so that a function which may only read the hub still counts."""

from dataclasses import dataclass

from shared.metadata.table import Table


@dataclass(frozen=True, slots=True)
class Counters:
    """One row per key; adding is atomic, and DynamoDB removes a row some days after it expired."""

    table: Table

    async def hit(self, key: str, expires_at: int) -> int:
        """One more under `key`. Returns the count so far, this one included."""
        return await self.table.add(key, expires_at)
