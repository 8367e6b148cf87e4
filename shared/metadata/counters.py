"""Rows that expire: a table of their own, so that a function which may only read the hub can still count.

A row of a minute has `hits` and `spent` (picodollars), that of a day `spent` alone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.metadata import keys
from shared.metadata.table import Beside, Row, Table
from shared.model import Scope

REMEMBERED = 32
"""Commits of a refused push that are remembered: a user has rarely made more since he last pulled."""
REMEMBERED_SECONDS = 24 * 3600
FALSE_UPLOADS = 500
"""False uploads of one push that are remembered."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Adding is atomic, and DynamoDB removes a row some days after it expired."""

    table: Table

    async def hit(self, limit_class: str, subject: str, window: int, expires_at: int) -> tuple[int, int]:
        """Count one request. Returns the count of the window with this request, and the picodollars spent in it."""
        row = await self.table.add(keys.counter(limit_class, subject, window), {"hits": 1}, expires_at)
        return int(str(row["hits"])), int(str(row.get("spent", 0)))

    async def spend_in_window(
        self, limit_class: str, subject: str, window: int, picodollars: int, expires_at: int
    ) -> None:
        """Add a cost to the row of a window."""
        await self.table.add(keys.counter(limit_class, subject, window), {"spent": picodollars}, expires_at)

    async def spend(self, scope: Scope, picodollars: int, expires_at: int) -> int:
        """Add a cost to the row of a scope. Returns the sum of the day."""
        row = await self.table.add(keys.cost(scope), {"spent": picodollars}, expires_at)
        return int(str(row["spent"]))

    def beside(self, scopes: Collection[Scope]) -> Beside:
        """The rows of these scopes, to be read in a call of another table."""
        return Beside(self.table, [keys.cost(scope) for scope in scopes])

    @staticmethod
    def spent(beside: Beside, scopes: Collection[Scope]) -> Mapping[Scope, int]:
        """What the rows that were read have for these scopes; a scope without a row has spent nothing."""
        by_key = {str(row["pk"]): int(str(row["spent"])) for row in beside.rows}
        return {scope: by_key.get(keys.cost(scope)[0], 0) for scope in scopes}

    async def remember_refused(self, repo_id: str, subject: str, commit_ids: Collection[str], now: int) -> None:
        """Keep the ids of commits that were true but came too late; the last refusal's only.

        The stock client pulls next, offers them, and expects them acknowledged. Nothing else reads this.
        """
        row: Row = {"commits": list(commit_ids)[:REMEMBERED], "expires_at": now + REMEMBERED_SECONDS}
        await self.table.update(keys.refused(repo_id, subject), row)

    async def refused(self, repo_id: str, subject: str, now: int) -> set[str]:
        """The commits of this subject's last refused push, for a day."""
        row = await self.table.get(keys.refused(repo_id, subject))
        return _texts(row, "commits", now)

    async def remember_false_uploads(self, repo_id: str, subject: str, uploads: Collection[str], now: int) -> None:
        """Keep which uploads a push of this subject found to be false, each as `<object id> <entity tag>`.

        `filter-objects` reports them as missing, so that the client uploads them again. The last push's only.
        """
        row: Row = {"false_uploads": list(uploads)[:FALSE_UPLOADS], "expires_at": now + REMEMBERED_SECONDS}
        await self.table.update(keys.refused(repo_id, subject), row)

    async def false_uploads(self, repo_id: str, subject: str, now: int) -> set[str]:
        """The uploads that the last push of this subject found to be false, for a day."""
        row = await self.table.get(keys.refused(repo_id, subject))
        return _texts(row, "false_uploads", now)


def _texts(row: Row | None, name: str, now: int) -> set[str]:
    """A list of texts in a row that has not expired."""
    if row is None or int(str(row["expires_at"])) <= now:
        return set()
    texts = row.get(name)
    return set(texts) if isinstance(texts, list) else set()
