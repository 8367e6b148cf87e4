"""The visits of upkeep to repositories: which process works on one, and the outcome of the last
visit.

A visit starts with a conditional write of the row, so two processes never work on one repository at
the same time. The row of a process that died expires. Then the next visit waits for `DIED_SECONDS`:
the repository may have ended the process, as by its size, so the others come first.
"""

from contextlib import suppress
from dataclasses import dataclass

from shared.metadata import attributes, keys
from shared.metadata.conditions import Absent, Equals, Less, either, every
from shared.metadata.table import ConditionFailed, Row, Table
from shared.model import RepoId

_KIND = attributes.RowFormat("visit")

DIED_SECONDS = 6 * 3600
"""From the end of a slice in which a process died to the next visit of its repository."""


@dataclass(frozen=True, slots=True)
class Visit:
    """The last visit. Times are epoch seconds, 0 for none.

    `until`: a process works on the repository, at most until then. `error`: the failure of the last
    visit; empty if it succeeded. `failures`: visits in a row that failed. `not_before`: no visit
    starts before. `findings`: the faults that the last check found.
    """

    until: int = 0
    ended_at: int = 0
    done: str = ""
    error: str = ""
    failures: int = 0
    not_before: int = 0
    findings: int = 0


@dataclass(frozen=True, slots=True)
class Visits:
    """The rows of all repositories."""

    table: Table

    async def get(self, repo_id: RepoId) -> Visit:
        """Return the last visit, or an empty one. One call."""
        row = await self.table.get(keys.visit(repo_id))
        if row is None:
            return Visit()
        return Visit(
            until=_number(row, "until"),
            ended_at=_number(row, "ended_at"),
            done=str(row.get("done", "")),
            error=str(row.get("error", "")),
            failures=_number(row, "failures"),
            not_before=_number(row, "not_before"),
            findings=_number(row, "findings"),
        )

    async def start(self, repo_id: RepoId, worker: str, now: float, until: float) -> bool:
        """Start a visit, and return whether it may. One conditional write.

        False if another process works here, or if a failure was too recent.
        """
        expires_at = int(until) + 1
        row: Row = {
            "until": expires_at,
            "worker": worker,
            "not_before": expires_at + DIED_SECONDS,  # the end of the visit replaces it
        }
        is_free = either(Absent("until"), Less("until", int(now)))
        may_start = either(Absent("not_before"), Less("not_before", int(now) + 1))
        try:
            await self.table.update(keys.visit(repo_id), row, every(is_free, may_start))
        except ConditionFailed:
            return False
        return True

    async def end(self, repo_id: RepoId, worker: str, visit: Visit) -> None:
        """End a visit with its outcome, unless another process has started one. One write."""
        row: Row = {
            "until": 0,
            "ended_at": visit.ended_at,
            "done": visit.done,
            "error": visit.error,
            "failures": visit.failures,
            "not_before": visit.not_before,
            "findings": visit.findings,
        }
        with suppress(ConditionFailed):
            await self.table.update(keys.visit(repo_id), row, Equals("worker", worker))

    async def forget(self, repo_id: RepoId, worker: str) -> None:
        """Delete the row: the repository does not exist any more. One write."""
        with suppress(ConditionFailed):
            await self.table.delete(keys.visit(repo_id), Equals("worker", worker))


def _number(row: Row, name: str) -> int:
    """An attribute, which the first visit of a repository has not written yet."""
    return attributes.number(row, name, _KIND) if name in row else 0
