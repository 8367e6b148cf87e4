"""History: the log, one commit, its files, and the comparison of two commits."""

from typing import Annotated

from pydantic import Field

from shared import cursors, names
from shared.protocol.base import QueryModel, ResponseModel, schema_of
from shared.protocol.fields import NAME_CHARACTERS, BranchName
from shared.protocol.pages import PAGE, Cursor, PageQuery
from shared.protocol.records import CommitRecord, Record

FILES = 1000
"""The longest page of paths; a path may have 4 KiB."""


class LogQuery(QueryModel):
    """A page of the history of a branch or a commit; by default of the default branch."""

    ref: Annotated[str, Field(max_length=NAME_CHARACTERS)] = ""
    limit: Annotated[int, Field(ge=1, le=PAGE)] = 30
    cursor: Cursor = ""


class FilesQuery(PageQuery):
    """A page of a list of paths."""

    limit: Annotated[int, Field(ge=1, le=FILES)] = FILES

    @property
    def after(self) -> str | None:
        """The last path of the page before; None for the first page. Raises Unprocessable."""
        return cursors.parse_after(self.cursor, names.PATH_BYTES) or None


class CompareQuery(FilesQuery):
    """Two branches or commits to compare."""

    base: BranchName
    head: BranchName


class LogEntry(ResponseModel):
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


class Log(ResponseModel):
    """Commits by generation, the greatest first, then by id; and the cursor of the next page."""

    commits: list[LogEntry]
    next_cursor: str | None


class Commit(ResponseModel):
    """A commit with its whole record, as it was pushed."""

    commit_id: str
    generation: int
    record: Annotated[Record, schema_of(CommitRecord)]


class Files(ResponseModel):
    """The files of a commit, path to object id, by path; and the cursor of the next page."""

    commit_id: str
    snapshot_id: str | None
    files: dict[str, str]
    next_cursor: str | None


class Comparison(ResponseModel):
    """The differences between the files of two commits, by path.

    A modified file has the ids of the objects before and after.
    """

    base: str
    head: str
    added: dict[str, str]
    removed: dict[str, str]
    modified: dict[str, tuple[str, str]]
    next_cursor: str | None
