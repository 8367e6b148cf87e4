"""Conflicts with the present state of a branch or with a name in use. Status 409."""

from shared.errors.base import ApiError


class NotFastForward(ApiError):
    """The head of the branch is not an ancestor of the pushed commit."""

    status = 409
    code = "non_fast_forward"

    def __init__(self, branch: str, current: str) -> None:
        state = f"{branch[:80]} is at {current}, which the pushed commit does not descend from"
        super().__init__(f"non-fast-forward: {state}; pull and merge, or push with force")


class RepoExists(ApiError):
    """The owner has a repository of this name already."""

    status = 409
    code = "repo_exists"

    def __init__(self, owner: str, slug: str) -> None:
        super().__init__(f"the repository {owner}/{slug} already exists; choose another name")


class HandleTaken(ApiError):
    """The handle has been claimed in another letter case. The two would be easy to confuse."""

    status = 409
    code = "handle_taken"

    def __init__(self, handle: str, claimed: str) -> None:
        super().__init__(
            f"the handle {handle} is taken, as {claimed}; use that spelling, or choose another"
        )


class ReleaseExists(ApiError):
    """The tag has another release, which stays until it is retracted."""

    status = 409
    code = "release_exists"

    def __init__(self, tag: str) -> None:
        super().__init__(f"another release has the tag {tag}; retract it, or choose another tag")


class TagExists(ApiError):
    """The id belongs to another tag, which stays until it is deleted."""

    status = 409
    code = "tag_exists"

    def __init__(self, tag_id: str) -> None:
        super().__init__(
            f"tag {tag_id} is already stored with other contents; choose another id for the new tag"
        )


class DomainExists(ApiError):
    """The domain is published with other contents in this version, or in a later one."""

    status = 409
    code = "domain_exists"


class BranchMoved(ApiError):
    """Another request moved the branch while this one tried to delete or restore it."""

    status = 409
    code = "branch_moved"

    def __init__(self, branch: str, current: str | None) -> None:
        state = f"at {current}" if current else "deleted"
        super().__init__(
            f"another request moved {branch}, which is {state} now; nothing was changed, check and"
            " retry"
        )
