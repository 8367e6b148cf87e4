"""Every way to fail, as a tree. Each class knows its HTTP status and a code that never changes.

    ApiError
    ├─ BadRequest 400
    │  ├─ MalformedBody             the body is not what its Content-Type says
    │  └─ StagedBodyInvalid         a reference to a staged body that cannot be used
    ├─ Unauthorized 401             no token, or not a good one
    ├─ Forbidden 403                the caller may read here, but not do this
    ├─ NotFound 404                 no such route
    │  ├─ RepoNotFound              absent, deleted, or private and not the caller's: all alike
    │  ├─ CommitNotFound            a wanted commit that this repository does not hold
    │  ├─ ObjectNotFound            no object of this id in the repository
    │  ├─ RefNotFound               a URL that begins with no branch and no commit of the repository
    │  ├─ PathNotFound              no such file at that branch or commit
    │  ├─ ReleaseNotFound           no release of this tag
    │  ├─ TagNotFound               no tag of this id
    │  ├─ MemberNotFound            the user has no role in the repository
    │  └─ TokenNotFound             the caller has no token of this id
    ├─ MethodNotAllowed 405         names the methods that the path has
    ├─ RequestTimeout 408           the client sends too slowly, or has stopped sending
    ├─ NotFastForward 409           the branch has moved, or the push would rewind it; names the head
    ├─ BranchMoved 409              the branch is not where it was a moment ago; names where it is
    ├─ RepoExists 409               the owner has a repository of this name
    ├─ HandleTaken 409              the handle is claimed, in another letter case
    ├─ ReleaseExists 409            another release has this tag
    ├─ TagExists 409                another tag has this id
    ├─ TooLarge 413                 over a documented limit, which the message states
    ├─ UnsupportedMedia 415         an unknown Content-Type or Content-Encoding
    ├─ RangeNotSatisfiable 416      a range that begins behind the last byte
    ├─ Unprocessable 422            well-formed, but it cannot be accepted
    │  ├─ InvalidName               a branch, path or id that would harm whoever clones it
    │  ├─ HashMismatch              an id that is not the digest of its content
    │  ├─ MissingReference          a parent, snapshot or object that is neither sent nor stored
    │  ├─ AmbiguousCommit           the beginning of the ids of several commits, which it names
    │  ├─ UploadsPending            more uploads than one push verifies; the same push again goes on
    │  ├─ BranchClash               `a` beside `a/b`, `Docs` beside `docs`: clones would fail
    │  └─ NotPortable               a name that Windows or macOS cannot hold, where the repository asks for that
    ├─ RateLimited 429              too many requests of one class in this minute
    │  └─ CostLimited               requests have cost too much: a subject's, or others' to one owner's repositories
    │     └─ HubLimited 503         all requests of the day have cost what the operator allows
    ├─ Internal 500                 our fault; the log has the story under the request id
    ├─ Damaged 500                  a stored row or byte that must exist is not there
    └─ Unavailable 503              the store did not answer; the same request may be repeated

A message is one line: what is wrong, and what to do next. It is cut to `texts.MESSAGE_CHARACTERS`.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from shared.texts import cut, some


class ApiError(Exception):
    """A refusal or a failure that the caller receives: `status`, `code`, one line of text, and headers."""

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
    """The body is not the msgpack or JSON that its Content-Type promises."""

    code = "malformed_body"


class StagedBodyInvalid(BadRequest):
    """A reference to a staged body that is not valid for this request, or has no body."""

    code = "staged_body_invalid"


class Unauthorized(ApiError):
    """The endpoint needs a token, or the one that came is not good."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, {"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """The caller may read this repository but not do this. Never told to those who may not even read."""

    status = 403
    code = "forbidden"


class NotFound(ApiError):
    """There is no such route. A class below states in `text` which thing is absent."""

    status = 404
    code = "not_found"
    text: ClassVar[str] = ""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.text)


class RepoNotFound(NotFound):
    """No repository that this caller may see. Its text is constant, so that private and absent look alike."""

    code = "repo_not_found"
    text = (
        "repository not found: check owner and name in the URL; a private one needs its owner's token; after a deletion"
        " or a rename, its owner creates it again with POST /api/v1/repos"
    )


class CommitNotFound(NotFound):
    """Wanted commits that the repository does not hold."""

    code = "commit_not_found"

    def __init__(self, missing: Iterable[str]) -> None:
        super().__init__(f"this repository has no commit {some(missing)}; read its heads again with GET refs")


class ObjectNotFound(NotFound):
    """The repository holds no object of this id, or what was given is no id."""

    code = "object_not_found"
    text = "object not found: an id is 64 lower-case hex digits, and has to be of this repository"


class RefNotFound(NotFound):
    """What a URL begins with is neither a branch nor a commit here."""

    code = "ref_not_found"
    text = "no such branch or commit: read the branches with GET refs"


class PathNotFound(NotFound):
    """There is no file of this path at the branch or commit that was named."""

    code = "path_not_found"
    text = "no such file at this branch or commit: check the path, which is case-sensitive"


class ReleaseNotFound(NotFound):
    """The repository has no release of this tag, or what was given can be no tag."""

    code = "release_not_found"
    text = "there is no release of this tag; list them with GET releases"


class TagNotFound(NotFound):
    """The repository has no tag of this id."""

    code = "tag_not_found"
    text = "there is no tag of this id; list them with GET tags"


class MemberNotFound(NotFound):
    """The user has no role that the owner of the repository gave."""

    code = "member_not_found"
    text = "this user is no member of the repository; list the members with GET members"


class TokenNotFound(NotFound):
    """The hub has no record of a token of this id that was issued to the caller."""

    code = "token_not_found"
    text = "you have no token of this id on record; should one exist, it is revoked now; list yours with GET tokens"


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(ApiError):
    """The rest of the request did not arrive in time. Its connection cannot be used again (RFC 9110, 15.5.9)."""

    status = 408
    code = "request_timeout"


class NotFastForward(ApiError):
    """The branch's head is not an ancestor of what was pushed: somebody was faster, or history was rewritten."""

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
        super().__init__(f"there is a repository {owner}/{slug} already; choose another name")


class HandleTaken(ApiError):
    """The handle has been claimed in another letter case: nobody could tell the two apart."""

    status = 409
    code = "handle_taken"

    def __init__(self, handle: str, claimed: str) -> None:
        super().__init__(f"the handle {handle} is taken, as {claimed}; use that spelling, or choose another")


class ReleaseExists(ApiError):
    """A tag stands for one release: the first that was published stays until it is retracted."""

    status = 409
    code = "release_exists"

    def __init__(self, tag: str) -> None:
        super().__init__(f"another release is published as {tag}; retract it first, or choose another tag")


class TagExists(ApiError):
    """An id stands for one tag: the first that was stored stays until it is deleted."""

    status = 409
    code = "tag_exists"

    def __init__(self, tag_id: str) -> None:
        super().__init__(f"tag {tag_id} is stored here with other contents; give the new one an id of its own")


class BranchMoved(ApiError):
    """A branch was to be deleted or set back, and somebody moved it in the same moment."""

    status = 409
    code = "branch_moved"

    def __init__(self, branch: str, current: str | None) -> None:
        where = f"at {current}" if current else "gone"
        super().__init__(f"{branch} has just been moved and is {where} now; nothing was changed, look and try again")


class TooLarge(ApiError):
    """More bytes or entries than the hub takes at once."""

    status = 413
    code = "too_large"


class UnsupportedMedia(ApiError):
    """A body in a format or an encoding that is not read here."""

    status = 415
    code = "unsupported_media_type"


class RangeNotSatisfiable(ApiError):
    """The bytes asked for begin behind the last one."""

    status = 416
    code = "range_not_satisfiable"

    def __init__(self, length: int) -> None:
        super().__init__(f"the range begins behind the last of {length} bytes", {"Content-Range": f"bytes */{length}"})


class Unprocessable(ApiError):
    """Well-formed, but it cannot be accepted as it is."""

    status = 422
    code = "invalid"


class InvalidName(Unprocessable):
    """A name outside the safe alphabet: whoever clones it would write where he should not, or crash."""

    code = "invalid_name"


class HashMismatch(Unprocessable):
    """An id of 64 hex digits that is not the SHA-256 of what it names."""

    code = "hash_mismatch"

    def __init__(self, kind: str, given: str, computed: str) -> None:
        remedy = "commit again" if kind in ("commit", "snapshot") else "restore the file if damaged, then push again"
        super().__init__(f"{kind} {given} does not match its content, which hashes to {computed}; {remedy}")


class MissingReference(Unprocessable):
    """Ids that are neither in the request nor in the repository. `way_out` is the next step of the user."""

    code = "missing_reference"

    def __init__(self, kind: str, missing: Iterable[str], way_out: str = "push again with everything included") -> None:
        super().__init__(f"{kind} {some(missing)} neither pushed nor stored here; {way_out}")


class AmbiguousCommit(Unprocessable):
    """The beginning of the ids of several commits."""

    code = "ambiguous_commit"


class UploadsPending(Unprocessable):
    """More uploads than one push verifies. Those that were verified are stored; the same push again goes on."""

    code = "uploads_pending"

    def __init__(self, verified: int, left: int) -> None:
        super().__init__(f"{verified} uploads are verified, {left} are left: push again; nothing is uploaded twice")


class BranchClash(Unprocessable):
    """A branch name that is a folder of another, or equal to another but for letter case: a clone cannot hold both."""

    code = "branch_clash"

    def __init__(self, branch: str, other: str) -> None:
        super().__init__(
            f"branch {branch[:80]} cannot stand beside {other[:80]}: a clone cannot hold both as files, and letter"
            " case does not count; choose another name. The name of a deleted branch is free again within 15 minutes"
        )


class NotPortable(Unprocessable):
    """A path or a branch name that a clone on Windows or macOS loses or cannot write. The repository forbids them."""

    code = "not_portable"


class RateLimited(ApiError):
    """The allowance of this class of requests is used up for the running minute."""

    status = 429
    code = "rate_limited"

    def __init__(self, limit_class: str, limit: int, retry_after_seconds: int) -> None:
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        message = f"more than {limit} {limit_class} requests in a minute; try again in {retry_after_seconds} s"
        super().__init__(message, {"Retry-After": str(retry_after_seconds)})


class CostLimited(RateLimited):
    """Requests have cost what one subject, or others at the repositories of one owner, may cost."""

    code = "cost_limit"

    def __init__(self, whose: str, dollars: float, window: str, retry_after_seconds: int, limit: str) -> None:
        limited = f"{whose} have cost ${dollars:.2f} of AWS {window}, the limit; try again in {retry_after_seconds} s"
        message = f"{limited}, or ask the hub's operator to raise PIERIA_LIMIT_COST_{limit.upper()}"
        ApiError.__init__(self, message, {"Retry-After": str(retry_after_seconds)})


class HubLimited(CostLimited):
    """All requests of the day have cost what the operator allows. No fault: it is logged without a trace."""

    status = 503
    code = "hub_limit"


class Internal(ApiError):
    """Our fault. The message names the request id and nothing else."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the hub failed; report request {request_id} to whoever runs it")


class Damaged(ApiError):
    """A row or a byte range that an accepted push left behind cannot be read back. Never answered with less."""

    code = "damaged"

    def __init__(self, what: str) -> None:
        super().__init__(f"this repository is damaged: {what} is gone; tell whoever runs the hub")


class Unavailable(ApiError):
    """The store throttled, timed out or failed. Every request is safe to repeat."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str = "the store did not answer; nothing is lost, send the same request again") -> None:
        super().__init__(message, {"Retry-After": "2"})  # seconds: a throttled partition recovers
