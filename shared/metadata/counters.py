"""Rows that expire: a table of their own, so that a function which may only read the hub can still count."""

from collections.abc import Collection
from dataclasses import dataclass

from shared.metadata import keys
from shared.metadata.table import Row, Table

REMEMBERED = 32
"""Commits of a refused push that are remembered: a user has rarely made more since he last pulled."""
REMEMBERED_SECONDS = 24 * 3600
FALSE_UPLOADS = 500
"""False uploads of one push that are remembered."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Adding is atomic, and DynamoDB removes a row some days after it expired."""

    table: Table

    async def hit(self, limit_class: str, subject: str, window: int, expires_at: int) -> int:
        """One more request of a subject in this window. Returns the count so far, this one included."""
        return await self.table.add(keys.counter(limit_class, subject, window), expires_at)

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
