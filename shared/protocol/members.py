"""The members of a repository."""

from shared.model import Role
from shared.protocol.base import RequestModel, ResponseModel
from shared.protocol.fields import RoleWord


class MemberRole(RequestModel):
    """The role of a member. Each role includes those before it."""

    role: RoleWord


class Member(ResponseModel):
    """A user with a role in the repository."""

    handle: str
    role: Role


class MemberPage(ResponseModel):
    """Members by handle, and the cursor of the next page."""

    members: list[Member]
    next_cursor: str | None
