"""The models of branches and history. As in `api`, each is a schema of the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared import cursors, names
from shared.api import PAGE, Asked, PageQuery, Told

FILES = 1000
"""The longest page of paths; a path may have 4 KiB."""
NAME_CHARACTERS = 255

# ── Requests ──────────────────────────────────────────────────────────────────────────────────────


class BranchQuery(BaseModel):
    """The name of a branch."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    branch: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]


class MovesQuery(PageQuery):
    """A page of the moves of a branch."""

    branch: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]


class DeleteBranchQuery(BranchQuery):
    """A branch to delete. `leave_empty` allows it for the only branch of the repository."""

    leave_empty: bool = False


class Restore(Asked):
    """A branch to restore to an earlier head; by default to the head before its last move."""

    branch: str
    to: str | None = None
    """A commit: its id, the first 7 or more digits of the id, or a branch that is at it."""


class LogQuery(BaseModel):
    """A page of the history of a branch or a commit; by default of the default branch."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    ref: Annotated[str, Field(max_length=NAME_CHARACTERS)] = ""
    limit: Annotated[int, Field(ge=1, le=PAGE)] = 30
    cursor: Annotated[str, Field(max_length=cursors.CHARACTERS)] = ""


class FilesQuery(PageQuery):
    """A page of a list of paths."""

    limit: Annotated[int, Field(ge=1, le=FILES)] = FILES

    @property
    def after(self) -> str | None:
        """The last path of the page before; None for the first page. Raises Unprocessable."""
        return cursors.parse_after(self.cursor, names.PATH_BYTES) or None


class CompareQuery(FilesQuery):
    """Two branches or commits to compare."""

    base: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]
    head: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]


# ── Responses ─────────────────────────────────────────────────────────────────────────────────────


class Branch(Told):
    """A branch and its head."""

    branch: str
    commit_id: str
    generation: int


class BranchPage(Told):
    """Branches by name, and the cursor of the next page."""

    branches: list[Branch]
    next_cursor: str | None


class BranchMove(Told):
    """A move of a branch: time (epoch seconds), user, and the commits before and after, or null."""

    at: float
    by: str
    before: str | None
    after: str | None
    forced: bool


class BranchMoves(Told):
    """The moves of a branch within 30 days, the last one first, and the cursor of the next page."""

    branch: str
    moves: list[BranchMove]
    next_cursor: str | None


class LogEntry(Told):
    """A commit in a log. `message` has up to 1,000 characters, `author` 200 and `committed_at` 64.

    If one of them is longer in the record, `truncated` is true.
    """

    commit_id: str
    generation: int
    parents: list[str]
    snapshot_id: str | None
    message: str
    author: str
    committed_at: str
    truncated: bool


class Log(Told):
    """Commits by generation, the greatest first, then by id; and the cursor of the next page."""

    commits: list[LogEntry]
    next_cursor: str | None


class Commit(Told):
    """A commit with its whole record, as it was pushed."""

    commit_id: str
    generation: int
    record: dict[str, Any]


class Files(Told):
    """The files of a commit, path to object id, by path; and the cursor of the next page."""

    commit_id: str
    snapshot_id: str | None
    files: dict[str, str]
    next_cursor: str | None


class Comparison(Told):
    """The differences between the files of two commits, by path.

    A modified file has the ids of the objects before and after.
    """

    base: str
    head: str
    added: dict[str, str]
    removed: dict[str, str]
    modified: dict[str, tuple[str, str]]
    next_cursor: str | None
