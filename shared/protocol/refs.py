"""The branches of a repository, for a client."""

from shared.protocol.base import WireReply


class Refs(WireReply):
    """The branches of a repository, each with the id of its head."""

    repo_id: str
    domain: str
    default_branch: str
    branch_heads: dict[str, str]
