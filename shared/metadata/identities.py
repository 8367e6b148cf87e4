"""Identities of users at providers: one row for each, with the handle that it signs in to.

The row exists at most once for a provider's user. A new handle is claimed in the same transaction,
so two users never get one handle.
"""

import json
from dataclasses import dataclass
from hashlib import sha256

from shared.metadata import attributes, handles, keys
from shared.metadata.conditions import NO_ROW, ROW_EXISTS
from shared.metadata.table import ConditionFailed, Row, Table, Update

_KIND = attributes.RowFormat("identity")


class HandleExists(Exception):
    """The handle is claimed."""


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """A user of a provider, and the handle. `linked_at`: epoch seconds."""

    issuer: str
    subject: str
    handle: str
    linked_at: int


@dataclass(frozen=True, slots=True)
class Identities:
    """The rows of identities."""

    table: Table

    async def get(self, issuer: str, subject: str) -> LinkedIdentity | None:
        """Return the identity of a provider's user, or None."""
        rows = await self.table.find([_key(issuer, subject)])
        return _identity(rows[0]) if rows else None

    async def link(self, identity: LinkedIdentity) -> LinkedIdentity:
        """Link an identity to a handle that is claimed. Returns the identity as it is stored.

        It has another handle if it was linked before.
        """
        try:
            await self.table.put_new(_key(identity.issuer, identity.subject), _row(identity))
        except ConditionFailed as lost:
            return _identity(lost.current())
        return identity

    async def link_to_new_handle(self, identity: LinkedIdentity) -> LinkedIdentity:
        """Claim the handle, and link the identity to it, in one transaction.

        Returns the identity as it is stored, with another handle if it was linked before. Raises
        HandleExists.
        """
        handle_key, handle_row = handles.row_of(identity.handle)
        try:
            await self.table.update_together(
                [
                    Update(_key(identity.issuer, identity.subject), _row(identity), NO_ROW),
                    Update(handle_key, handle_row, NO_ROW),
                ]
            )
        except ConditionFailed as lost:
            present = await self.get(identity.issuer, identity.subject)
            if present:
                return present
            raise HandleExists from lost
        return identity

    async def unlink(self, issuer: str, subject: str) -> None:
        """Delete an identity. Raises ConditionFailed if it does not exist."""
        await self.table.delete(_key(issuer, subject), ROW_EXISTS)

    async def all(self) -> list[LinkedIdentity]:
        """Return every identity, by handle. Reads the whole table."""
        found = [_identity(row) async for row in self.table.scan(keys.IDENTITY)]
        return sorted(found, key=lambda one: (one.handle, one.issuer, one.subject))


def _key(issuer: str, subject: str) -> keys.Key:
    # Hashed, because neither text has a limit that fits into a key.
    return keys.identity(sha256(json.dumps([issuer, subject]).encode()).hexdigest())


def _row(identity: LinkedIdentity) -> Row:
    row: Row = {
        "issuer": identity.issuer,
        "subject": identity.subject,
        "handle": identity.handle,
        "linked_at": identity.linked_at,
    }
    return _KIND.stamp(row)


def _identity(row: Row) -> LinkedIdentity:
    """Decode a row. Raises Damaged."""
    return LinkedIdentity(
        attributes.text(row, "issuer", _KIND),
        attributes.text(row, "subject", _KIND),
        attributes.text(row, "handle", _KIND),
        attributes.number(row, "linked_at", _KIND),
    )
