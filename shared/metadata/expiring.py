"""Rows that expire: a table of their own, so that read-only functions can count requests.

The row of a minute has `hits` and `spent` (picodollars). The row of a day has only `spent`. The
costly clones of a day are in one row, with an attribute for each repository. The row of an owner's
usage has `bytes`, `objects`, the time of the last count, and perhaps `limit_bytes`.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from shared.errors import Unavailable
from shared.metadata import attributes, keys
from shared.metadata.table import Beside, Row, Table
from shared.model import CommitId, RepoId, Scope, Usage

_COUNTER = attributes.RowFormat("counter")
_COST = attributes.RowFormat("cost")
_USAGE = attributes.RowFormat("usage")
_REFUSED = attributes.RowFormat("refused push")
_SIGN_IN = attributes.RowFormat("sign-in")
_COSTLY = attributes.RowFormat("costly clones")

REMEMBERED = 32
"""The most commits of a refused push that are stored. Users rarely have more unpushed commits."""
REMEMBERED_SECONDS = 24 * 3600
DAY_SECONDS = 24 * 3600
_CLONES = "clones_"
SIGN_IN_SECONDS = 24 * 3600
"""A state cannot be used again within this time. No provider accepts a code for so long."""
USAGE_SECONDS = 400 * 24 * 3600
"""A usage row expires if nothing is counted for this time. The upkeep writes it more often."""
FALSE_UPLOADS = 500
"""The most false uploads of one push that are stored."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Additions are atomic. DynamoDB deletes a row some days after its expiry."""

    table: Table

    async def hit(
        self, limit_class: str, subject: str, window: int, expires_at: int
    ) -> tuple[int, int]:
        """Count one request. Returns the requests and the picodollars of the window so far."""
        row = await self.table.add(
            keys.counter(limit_class, subject, window), {"hits": 1}, expires_at
        )
        spent = attributes.number(row, "spent", _COUNTER) if "spent" in row else 0
        return attributes.number(row, "hits", _COUNTER), spent

    async def spend_in_window(
        self, limit_class: str, subject: str, window: int, picodollars: int, expires_at: int
    ) -> None:
        """Add a cost to the row of a window."""
        await self.table.add(
            keys.counter(limit_class, subject, window), {"spent": picodollars}, expires_at
        )

    async def spend(self, scope: Scope, picodollars: int, expires_at: int) -> int:
        """Add a cost to the row of a scope. Returns the sum of its day."""
        row = await self.table.add(keys.cost(scope), {"spent": picodollars}, expires_at)
        return attributes.number(row, "spent", _COST)

    async def add_clones(self, repo_id: RepoId, clones: int, now: float) -> None:
        """Add to the number of costly clones of a repository today. It may be negative.

        Never fails: a clone that is not counted does no harm. One call.
        """
        day = int(now) // DAY_SECONDS
        counted = {_clones_of(repo_id): clones}
        with suppress(Unavailable):
            await self.table.add(keys.clones(day), counted, (day + 2) * DAY_SECONDS)

    async def clones(self, now: float) -> Mapping[RepoId, int]:
        """Return the number of costly clones of each repository today. One call."""
        row = await self.table.get(keys.clones(int(now) // DAY_SECONDS)) or {}
        return {
            RepoId(str(UUID(name.removeprefix(_CLONES)))): attributes.number(row, name, _COSTLY)
            for name in row
            if name.startswith(_CLONES)
        }

    def beside(self, scopes: Collection[Scope], storing: str = "") -> Beside:
        """Return the rows of these scopes, for a read together with rows of another table.

        `storing` is the owner whose usage is read, or empty.
        """
        wanted = [keys.cost(scope) for scope in scopes]
        if storing:
            wanted.append(keys.usage(storing))
        return Beside(self.table, wanted)

    @staticmethod
    def usage_in(beside: Beside, owner: str) -> Usage | None:
        """Return the usage of an owner from the rows that were read, or None without its row."""
        rows = [row for row in beside.rows if row["pk"] == keys.usage(owner)[0]]
        return _usage(rows[0]) if rows else None

    async def usage(self, owner: str, scopes: Collection[Scope] = ()) -> tuple[Usage, list[int]]:
        """Return the usage of an owner, and the cost of each scope. One call."""
        beside = self.beside(scopes, owner)
        beside.rows.extend(await self.table.find(beside.keys))
        costs = self.spent(beside, scopes)
        return self.usage_in(beside, owner) or Usage(), [costs[scope] for scope in scopes]

    async def add_usage(self, owner: str, added: Usage, now: int) -> Usage:
        """Add stored content. Returns the sum. `now`: epoch seconds."""
        amounts = {"bytes": added.stored_bytes, "objects": added.stored_objects}
        row = await self.table.add(keys.usage(owner), amounts, now + USAGE_SECONDS)
        return _usage(row)

    async def set_usage(self, owner: str, usage: Usage, now: int) -> None:
        """Replace the usage of an owner by a count. The limit of the owner stays."""
        row: Row = {
            "bytes": usage.stored_bytes,
            "objects": usage.stored_objects,
            "counted_at": now,
            "expires_at": now + USAGE_SECONDS,
        }
        await self.table.update(keys.usage(owner), _USAGE.stamp_in_place(row))

    async def set_limit(self, owner: str, limit_bytes: int, now: int) -> None:
        """Set the limit of an owner, 0 for none."""
        row: Row = {"limit_bytes": limit_bytes, "expires_at": now + USAGE_SECONDS}
        await self.table.update(keys.usage(owner), _USAGE.stamp_in_place(row))

    @staticmethod
    def spent(beside: Beside, scopes: Collection[Scope]) -> Mapping[Scope, int]:
        """Return the cost of each scope from the rows that were read; 0 for a scope without a
        row.
        """
        rows = {row["pk"]: row for row in beside.rows}
        found = {scope: rows.get(keys.cost(scope)[0]) for scope in scopes}
        return {
            scope: attributes.number(row, "spent", _COST) if row else 0
            for scope, row in found.items()
        }

    async def end_sign_in(self, state: str, now: int) -> bool:
        """Record that a callback with this state came. Returns False if one came before."""
        row = await self.table.add(keys.sign_in(state), {"hits": 1}, now + SIGN_IN_SECONDS)
        return attributes.number(row, "hits", _SIGN_IN) == 1

    async def remember_refused(
        self, repo_id: str, subject: str, commit_ids: Collection[CommitId], now: int
    ) -> None:
        """Store the ids of the valid commits of a push that lost a race, replacing earlier ones.

        The stock client pulls next and offers these commits as `have`. It expects that they are
        acknowledged. Only negotiation reads them.
        """
        row: Row = {
            "commits": list[str](commit_ids)[:REMEMBERED],
            "expires_at": now + REMEMBERED_SECONDS,
        }
        await self.table.update(keys.refused(repo_id, subject), _REFUSED.stamp_in_place(row))

    async def refused(self, repo_id: str, subject: str, now: int) -> set[str]:
        """Return the commits of this subject's last refused push, up to a day old."""
        row = await self.table.get(keys.refused(repo_id, subject))
        return _texts(row, "commits", now)

    async def remember_false_uploads(
        self, repo_id: str, subject: str, uploads: Collection[str], now: int
    ) -> None:
        """Store the uploads whose content did not match, as `<object id> <entity tag>`.

        `filter-objects` reports them as missing, so that the client uploads them again. They
        replace those of an earlier push.
        """
        row: Row = {
            "false_uploads": list(uploads)[:FALSE_UPLOADS],
            "expires_at": now + REMEMBERED_SECONDS,
        }
        await self.table.update(keys.refused(repo_id, subject), _REFUSED.stamp_in_place(row))

    async def false_uploads(self, repo_id: str, subject: str, now: int) -> set[str]:
        """Return the false uploads of this subject's last push, up to a day old."""
        row = await self.table.get(keys.refused(repo_id, subject))
        return _texts(row, "false_uploads", now)


def _clones_of(repo_id: RepoId) -> str:
    """The attribute of a repository in the row of a day. A name in an expression has no dashes."""
    return f"{_CLONES}{UUID(repo_id).hex}"


def _usage(row: Row) -> Usage:
    found = {
        name: attributes.number(row, name, _USAGE)
        for name in ("bytes", "objects", "limit_bytes", "counted_at")
        if name in row
    }
    return Usage(
        found.get("bytes", 0),
        found.get("objects", 0),
        found.get("limit_bytes"),
        found.get("counted_at", 0),
    )


def _texts(row: Row | None, name: str, now: int) -> set[str]:
    """Return a list of texts, empty if the attribute is absent, or the row absent or expired."""
    if row is None or name not in row or attributes.number(row, "expires_at", _REFUSED) <= now:
        return set()
    return set(attributes.texts(row, name, _REFUSED))
