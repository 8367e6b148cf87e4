"""Handles. The first token or repository of a handle claims it, in one spelling."""

from dataclasses import dataclass

from shared import names
from shared.errors import HandleTaken
from shared.metadata import attributes, keys
from shared.metadata.table import ConditionFailed, Row, Table

_KIND = attributes.RowFormat("handle")


@dataclass(frozen=True, slots=True)
class Handles:
    """The rows with the spelling of each handle."""

    table: Table

    async def claim(self, handle: str) -> None:
        """Claim a handle in this letter case. A repeated claim changes nothing.

        Raises InvalidName for a reserved or malformed handle, and HandleTaken if it is claimed in
        another letter case.
        """
        key, row = row_of(names.check_handle(handle))
        try:
            await self.table.put_new(key, row)
        except ConditionFailed as lost:
            claimed = attributes.text(lost.current(), "handle", _KIND)
            if claimed != handle:
                raise HandleTaken(handle, claimed) from None

    async def claimed(self, handle: str) -> str | None:
        """Return the handle in the letter case in which it was claimed, or None."""
        if not names.is_repo_name(handle):
            return None
        # A batch of one key: functions that look up repositories have the permission to read
        # batches.
        rows = await self.table.find([keys.handle(handle)])
        return attributes.text(rows[0], "handle", _KIND) if rows else None

    async def spelling(self, handle: str) -> str:
        """Return the handle in the letter case in which it was claimed, or else as given."""
        return await self.claimed(handle) or handle

    async def all(self) -> list[str]:
        """Return every claimed handle, sorted. Reads the whole table."""
        return sorted(
            [attributes.text(row, "handle", _KIND) async for row in self.table.scan(keys.HANDLE)]
        )


def row_of(handle: str) -> tuple[keys.Key, Row]:
    """The key and the row of a claimed handle."""
    return keys.handle(handle), _KIND.stamp({"handle": handle})
