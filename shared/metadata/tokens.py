"""Issued tokens, so that they can be listed and revoked.

Rows are deleted some time after expiry.
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Unauthorized, Unavailable
from shared.metadata import attributes, keys
from shared.metadata.conditions import Absent, Exists, Greater, every
from shared.metadata.table import GET_BATCH, PUT_BATCH, Beside, ConditionFailed, Query, Row, Table
from shared.model import Bearer, Identity, Role
from shared.tasks import gather_pair

_KIND = attributes.RowFormat("token")
DAY_SECONDS = 24 * 3600
EXPIRED_KEPT_SECONDS = 7 * DAY_SECONDS
"""The shortest time that an expired token stays listed."""
UNKNOWN_SECONDS = 400 * DAY_SECONDS
"""The revocation of an unrecorded token is kept for this time, longer than any token is valid."""


def new_id(now: float) -> str:
    """Make an id that cannot be guessed. Ids sort by the millisecond in which they were made."""
    return f"{int(now * 1000):012x}{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class Issued:
    """The record of a token, without the token itself. Times are epoch seconds.

    `revoked_at` is 0 for a token that is not revoked. `is_session`: the token is a session of a
    browser.
    """

    identity: Identity
    issued_at: int
    expires_at: int
    revoked_at: int = 0
    is_session: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """The rows of tokens."""

    table: Table

    async def put(self, issued: Issued) -> None:
        """Record a token before it is issued. Also deletes some rows that expired long ago."""
        who = issued.identity
        row: Row = {
            "scope": who.scope.value,
            "repo": who.repo or "",
            "bearer": who.bearer.value,
            "issued_at": issued.issued_at,
            "expires_at": issued.expires_at,
            **({"session": 1} if issued.is_session else {}),
        }
        write = self.table.put([(keys.token(who.subject, who.token_id), _KIND.stamp(row))])
        await gather_pair(write, self._remove_expired(who.subject, issued.issued_at))

    async def prolong(self, issued: Issued, now: int) -> bool:
        """Set the expiry of a token's row. Returns False if the token has expired or is revoked.

        Both are expected: the caller then issues another token.
        """
        who = issued.identity
        with suppress(ConditionFailed):
            row: Row = {"expires_at": issued.expires_at}
            is_valid = every(Greater("expires_at", now), Absent("revoked_at"))
            await self.table.update(keys.token(who.subject, who.token_id), row, is_valid)
            return True
        return False

    async def all(self, handle: str) -> list[Issued]:
        """Return every token of a user, in the order of `listed`."""
        found: list[Issued] = []
        while True:
            page = await self.listed(
                handle, GET_BATCH, found[-1].identity.token_id if found else None
            )
            found += page
            if len(page) < GET_BATCH:
                return found

    async def listed(self, handle: str, limit: int, after: str | None) -> list[Issued]:
        """Return a user's tokens by id, the newest first, from below the id `after`.

        Unrecorded tokens that were revoked are left out.
        """
        newest_first = Query(keys.tokens(handle), newest_first=True, after=after)
        rows = await self.table.scan_filtered(newest_first, limit, lambda row: "scope" in row)
        return [_issued(handle, row) for row in rows]

    async def check(self, identity: Identity, beside: Beside | None) -> None:
        """Raise Unauthorized if this token is revoked, or has no record and needs one.

        One call, which also reads the rows `beside`.
        """
        found = await self.table.find_few(keys_of(identity), beside)
        check_records(identity, {(str(row["pk"]), str(row["sk"])): row for row in found})

    async def revoke(self, handle: str, token_id: str, now: int) -> bool:
        """Revoke a token from the next request on. Returns whether the token was recorded.

        An unrecorded token is revoked, too: another program may have signed it with the same key.
        """
        key = keys.token(handle, token_id)
        try:
            await self.table.update(key, {"revoked_at": now}, Exists("scope"))
        except ConditionFailed:
            await self.table.update(key, {"revoked_at": now})
            return False
        return True

    async def _remove_expired(self, handle: str, now: int) -> None:
        """Delete one batch of the oldest expired tokens, so that a user's list cannot grow
        forever.
        """
        with suppress(Unavailable):
            oldest = await self.table.query(Query(keys.tokens(handle), limit=GET_BATCH))
            removable = [row for row in oldest.rows if _is_removable(row, now)]
            expired = [(str(row["pk"]), str(row["sk"])) for row in removable]
            await self.table.delete_many(expired[:PUT_BATCH])


def keys_of(identity: Identity) -> list[keys.Key]:
    """The keys of the rows of which none may be revoked."""
    return [keys.token(identity.subject, token_id) for token_id in identity.token_ids]


def check_records(identity: Identity, rows: Mapping[keys.Key, Row]) -> None:
    """Compare a token with the rows of `keys_of`. Raises Unauthorized if it is not valid.

    A token without a row is not revoked: another program may have signed it with the same key.
    """
    if any("revoked_at" in rows.get(key, {}) for key in keys_of(identity)):
        raise Unauthorized("the token has been revoked; log in again with a fresh one")
    own = rows.get(keys.token(identity.subject, identity.token_id))
    if identity.must_be_recorded and not _is_record_of(identity, own):
        raise Unauthorized(
            "this hub has no record of this token, which was signed with an older key; log in again"
            " with a new token"
        )


def _is_record_of(identity: Identity, row: Row | None) -> bool:
    if row is None or "scope" not in row:
        return False
    issued = _issued(identity.subject, row)
    return (
        issued.identity == identity
        and issued.expires_at == identity.expires_at
        and not issued.is_session
    )


def _issued(handle: str, row: Row) -> Issued:
    return Issued(
        Identity(
            handle,
            attributes.choice(row, "scope", _KIND, Role),
            attributes.text(row, "sk", _KIND),
            attributes.text(row, "repo", _KIND) or None,
            attributes.choice(row, "bearer", _KIND, Bearer),
        ),
        attributes.number(row, "issued_at", _KIND),
        attributes.number(row, "expires_at", _KIND),
        attributes.number(row, "revoked_at", _KIND) if "revoked_at" in row else 0,
        "session" in row,
    )


def _is_removable(row: Row, now: int) -> bool:
    """Whether the row of a token is not needed any more. A revocation must outlive its token."""
    if "expires_at" in row:
        return attributes.number(row, "expires_at", _KIND) + EXPIRED_KEPT_SECONDS < now
    return attributes.number(row, "revoked_at", _KIND) + UNKNOWN_SECONDS < now
