"""Things that do not exist, or that the caller may not see. Status 404."""

from collections.abc import Iterable
from typing import ClassVar

from shared.errors.base import ApiError
from shared.texts import summarize


class NotFound(ApiError):
    """The route does not exist. Each subclass has its message in `text`."""

    status = 404
    code = "not_found"
    text: ClassVar[str] = ""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.text)


class RepoNotFound(NotFound):
    """The repository is absent, or hidden from the caller. The message is the same for both."""

    code = "repo_not_found"
    text = (
        "repository not found: check owner and name in the URL; a private one needs its owner's"
        " token; after a deletion or a rename, its owner creates it again with POST /api/v1/repos"
    )


class CommitNotFound(NotFound):
    """The repository does not have the wanted commits."""

    code = "commit_not_found"

    def __init__(self, missing: Iterable[str]) -> None:
        super().__init__(
            f"this repository has no commit {summarize(missing)}; read its heads again with GET"
            " refs"
        )


class ObjectNotFound(NotFound):
    """The repository has no object of this id, or the text is not an id."""

    code = "object_not_found"
    text = "object not found in this repository: check the id, which has 64 lower-case hex digits"


class RefNotFound(NotFound):
    """The first part of the URL is neither a branch nor a commit of the repository."""

    code = "ref_not_found"
    text = "no such branch or commit: read the branches with GET refs"


class PathNotFound(NotFound):
    """The branch or commit in the URL has no file with this path."""

    code = "path_not_found"
    text = "no such file at this branch or commit: check the path, which is case-sensitive"


class ReleaseNotFound(NotFound):
    """The repository has no release of this tag, or the text cannot be a tag."""

    code = "release_not_found"
    text = "there is no release of this tag; list them with GET releases"


class TagNotFound(NotFound):
    """The repository has no tag of this id."""

    code = "tag_not_found"
    text = "there is no tag of this id; list them with GET tags"


class MemberNotFound(NotFound):
    """The owner of the repository gave no role to the user."""

    code = "member_not_found"
    text = "this user is not a member of the repository; list the members with GET members"


class DomainNotFound(NotFound):
    """The author has not published a domain of this name."""

    code = "domain_not_found"
    text = "there is no domain of this name; list them with GET /api/v1/domains"


class TokenNotFound(NotFound):
    """The hub has no record of a token of this id for the caller."""

    code = "token_not_found"
    text = (
        "no token of this id is recorded for you; if one exists, it is revoked now; list yours with"
        " GET tokens"
    )
