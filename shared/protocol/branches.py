"""Branches and their moves."""

from shared.protocol.base import QueryModel, RequestModel, ResponseModel
from shared.protocol.fields import BranchName
from shared.protocol.pages import PageQuery


class MovesQuery(PageQuery):
    """A page of the moves of a branch."""

    branch: BranchName


class DeleteBranchQuery(QueryModel):
    """A branch to delete. `leave_empty` allows it for the only branch of the repository."""

    branch: BranchName
    leave_empty: bool = False


class Restore(RequestModel):
    """A branch to restore to an earlier head; by default to the head before its last move.

    `to` is a commit: its id, the first 7 or more digits of the id, or a branch that is at it.
    """

    branch: str
    to: str | None = None


class Branch(ResponseModel):
    """A branch and its head."""

    branch: str
    commit_id: str
    generation: int


class BranchPage(ResponseModel):
    """Branches by name, and the cursor of the next page."""

    branches: list[Branch]
    next_cursor: str | None


class BranchMove(ResponseModel):
    """A move of a branch: time (epoch seconds), user, and the commits before and after, or null."""

    at: float
    by: str
    before: str | None
    after: str | None
    forced: bool


class BranchMoves(ResponseModel):
    """The moves of a branch within 30 days, the last one first, and the cursor of the next page."""

    branch: str
    moves: list[BranchMove]
    next_cursor: str | None
