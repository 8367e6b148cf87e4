"""All errors that a client can receive, as a tree. Each class has an HTTP status and a stable code.

    ApiError
    ├─ BadRequest 400
    │  ├─ MalformedBody             the body does not match its Content-Type
    │  └─ StagedBodyInvalid         a reference to a staged body that cannot be used
    ├─ Unauthorized 401             no token, or an invalid one
    ├─ Forbidden 403                the caller may read the repository, but not do this
    ├─ NotFound 404                 no such route
    │  ├─ RepoNotFound              absent, deleted, or private: all look the same
    │  ├─ CommitNotFound            the repository does not have a wanted commit
    │  ├─ ObjectNotFound            no object of this id in the repository
    │  ├─ RefNotFound               the URL begins with neither a branch nor a commit
    │  ├─ PathNotFound              no such file at that branch or commit
    │  ├─ ReleaseNotFound           no release of this tag
    │  ├─ TagNotFound               no tag of this id
    │  ├─ MemberNotFound            the user has no role in the repository
    │  ├─ DomainNotFound            no published domain of this name
    │  └─ TokenNotFound             the caller has no token of this id
    ├─ MethodNotAllowed 405         names the methods that the path has
    ├─ RequestTimeout 408           the client sends too slowly, or has stopped sending
    ├─ NotFastForward 409           the branch has moved, or the push would rewind it; has the head
    ├─ BranchMoved 409              the branch was moved at the same time; names its head
    ├─ RepoExists 409               the owner has a repository of this name
    ├─ HandleTaken 409              the handle is claimed, in another letter case
    ├─ ReleaseExists 409            another release has this tag
    ├─ TagExists 409                another tag has this id
    ├─ DomainExists 409             the domain is published in this or a later version
    ├─ TooLarge 413                 over a documented limit, which the message states
    ├─ UnsupportedMedia 415         an unknown Content-Type or Content-Encoding
    ├─ RangeNotSatisfiable 416      a range that begins after the last byte
    ├─ Unprocessable 422            well-formed, but it cannot be accepted
    │  ├─ InvalidName               a branch, path or id that would harm a clone
    │  ├─ HashMismatch              an id that is not the digest of its content
    │  ├─ MissingReference          a parent, snapshot or object that is neither sent nor stored
    │  ├─ AmbiguousCommit           a short id that several commits begin with, which it names
    │  ├─ UploadsPending            more uploads than one push verifies; a retry continues
    │  ├─ BranchClash               `a` beside `a/b`, `Docs` beside `docs`: clones would fail
    │  └─ NotPortable               a name that Windows or macOS cannot store is forbidden here
    ├─ RateLimited 429              too many requests of one class in this minute
    │  └─ CostLimited               the cost limit of a subject, or of the repositories of an owner
    │     └─ HubLimited 503         the operator's limit for all requests of one day
    ├─ Internal 500                 a bug of the hub; its log has the details under the request id
    ├─ Damaged 500                  a stored row or byte range that must exist is missing
    └─ Unavailable 503              the store did not answer; the request can be retried

A message is one line: the fault and the next step. It is cut to `texts.MESSAGE_CHARACTERS`.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from shared.texts import cut, summarize


class ApiError(Exception):
    """An error that the client receives: `status`, `code`, one line of text, and headers."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.message = cut(message)
        self.headers = dict(headers or {})
        super().__init__(self.message)


class BadRequest(ApiError):
    """The request is not well-formed."""

    status = 400
    code = "bad_request"


class MalformedBody(BadRequest):
    """The body is not the msgpack or JSON that its Content-Type names."""

    code = "malformed_body"


class StagedBodyInvalid(BadRequest):
    """A reference to a staged body that is not valid for this request, or has no body."""

    code = "staged_body_invalid"


class Unauthorized(ApiError):
    """The endpoint needs a token, or the token of the request is invalid."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, {"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """The caller may read the repository, but not do this. Others receive RepoNotFound instead."""

    status = 403
    code = "forbidden"


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


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(ApiError):
    """The rest of the request did not arrive in time. The connection ends (RFC 9110, 15.5.9)."""

    status = 408
    code = "request_timeout"


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


class TooLarge(ApiError):
    """More bytes or entries than the hub takes at once."""

    status = 413
    code = "too_large"


class UnsupportedMedia(ApiError):
    """A body in a format or an encoding that the hub does not read."""

    status = 415
    code = "unsupported_media_type"


class RangeNotSatisfiable(ApiError):
    """The requested range begins after the last byte."""

    status = 416
    code = "range_not_satisfiable"

    def __init__(self, length: int) -> None:
        super().__init__(
            f"the range begins after the last of {length} bytes",
            {"Content-Range": f"bytes */{length}"},
        )


class Unprocessable(ApiError):
    """The request is well-formed, but it cannot be accepted as it is."""

    status = 422
    code = "invalid"


class InvalidName(Unprocessable):
    """An unsafe name: a clone would write outside its folder, or crash."""

    code = "invalid_name"


class HashMismatch(Unprocessable):
    """An id of 64 hex digits that is not the SHA-256 of its content."""

    code = "hash_mismatch"

    def __init__(self, kind: str, given: str, computed: str) -> None:
        if kind in ("commit", "snapshot"):
            remedy = "commit again"
        else:
            remedy = "restore the file if damaged, then push again"
        super().__init__(
            f"{kind} {given} does not match its content, which hashes to {computed}; {remedy}"
        )


class MissingReference(Unprocessable):
    """Ids that are neither in the request nor in the repository. `way_out` is the next step."""

    code = "missing_reference"

    def __init__(
        self,
        kind: str,
        missing: Iterable[str],
        way_out: str = "push again with everything included",
    ) -> None:
        super().__init__(f"{kind} {summarize(missing)} neither pushed nor stored here; {way_out}")


class AmbiguousCommit(Unprocessable):
    """A short id with which the ids of several commits begin."""

    code = "ambiguous_commit"


class UploadsPending(Unprocessable):
    """More uploads than one push verifies. The verified ones are stored; a retry verifies more."""

    code = "uploads_pending"

    def __init__(self, verified: int, left: int) -> None:
        super().__init__(
            f"{verified} uploads are verified, {left} are left: push again; nothing is uploaded"
            " twice"
        )


class BranchClash(Unprocessable):
    """A branch name that is a folder of another, or differs from it only in letter case."""

    code = "branch_clash"

    def __init__(self, branch: str, other: str) -> None:
        super().__init__(
            f"branch {branch[:80]} conflicts with {other[:80]}: a clone cannot store both as files,"
            " and letter case does not count; choose another name. The name of a deleted branch is"
            " free again within 15 minutes"
        )


class NotPortable(Unprocessable):
    """A name that Windows or macOS cannot store, in a repository that forbids such names."""

    code = "not_portable"


class RateLimited(ApiError):
    """The subject has used up its requests of this class for the current minute."""

    status = 429
    code = "rate_limited"

    def __init__(self, limit_class: str, limit: int, retry_after_seconds: int) -> None:
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        message = (
            f"more than {limit} {limit_class} requests in a minute; try again in"
            f" {retry_after_seconds} s"
        )
        super().__init__(message, {"Retry-After": str(retry_after_seconds)})


class CostLimited(RateLimited):
    """The requests of a subject, or to the repositories of an owner, reached a cost limit."""

    code = "cost_limit"

    def __init__(
        self, whose: str, dollars: float, window: str, retry_after_seconds: int, limit: str
    ) -> None:
        limited = (
            f"{whose} have cost ${dollars:.2f} of AWS {window}, the limit; try again in"
            f" {retry_after_seconds} s"
        )
        message = f"{limited}, or ask the hub's operator to raise PIERIA_LIMIT_COST_{limit.upper()}"
        ApiError.__init__(self, message, {"Retry-After": str(retry_after_seconds)})


class HubLimited(CostLimited):
    """All requests of the day reached the operator's limit. It is logged without a stack trace."""

    status = 503
    code = "hub_limit"


class Internal(ApiError):
    """A bug of the hub. The message contains only the request id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the hub failed; report request {request_id} to its operator")


class Damaged(ApiError):
    """A stored row or byte range cannot be read. The reply never leaves it out silently."""

    code = "damaged"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"this repository is damaged: {what} is missing; report this to the hub's operator"
        )


class Unavailable(ApiError):
    """The store throttled the request, timed out or failed. Every request is safe to retry."""

    status = 503
    code = "unavailable"

    def __init__(
        self,
        message: str = "the store did not answer; nothing is lost, send the same request again",
    ) -> None:
        super().__init__(message, {"Retry-After": "2"})  # seconds: a throttled partition recovers
