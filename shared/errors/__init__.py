"""All errors that a client can receive, as a tree. Each class has an HTTP status and a stable code.

    ApiError
    ├─ BadRequest 400
    │  ├─ MalformedBody             the body does not match its Content-Type
    │  ├─ StagedBodyInvalid         a reference to a staged body that cannot be used
    │  └─ TokenRefused              the exchange of an ID token is refused
    │     ├─ InvalidTokenRequest    the request or the ID token is malformed
    │     ├─ UnsupportedGrant       it is no token exchange
    │     ├─ InvalidTarget          the repository does not accept the token, or does not exist
    │     └─ InvalidScope           more than the registered scope
    ├─ Unauthorized 401             no token, or an invalid one
    ├─ Forbidden 403                the caller may read the repository, but not do this
    │  └─ SignInRefused             a sign-in that this browser did not begin, or that failed
    ├─ QuotaReached 403             the owner of the repository stores as much as the limit
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
    │  ├─ TrustedIssuerNotFound     the repository has no trusted issuer of this id
    │  └─ TokenNotFound             the caller has no token of this id
    ├─ MethodNotAllowed 405         names the methods that the path has
    ├─ RequestTimeout 408           the client sends too slowly, or has stopped sending
    ├─ NotFastForward 409           the branch has moved, or the push would rewind it; has the head
    ├─ BranchMoved 409              the branch was moved at the same time; names its head
    ├─ RepoExists 409               the owner has a repository of this name
    ├─ HandleTaken 409              the handle is claimed, in another letter case
    ├─ HandleInUse 409              a new user chose a handle that is claimed
    ├─ IdentityLinked 409           the provider's user signs in to another handle
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
    ├─ HubOutdated 500              a newer version of the hub wrote a row that must be read
    ├─ IssuerInvalid 502            an identity provider replied with something unusable
    └─ Unavailable 503              the store did not answer; the request can be retried

The modules: `requests` (400 to 416), `not_found` (404), `conflicts` (409), `content` (422),
`quotas` (429, 403), `faults` (500 and 503), `identities` (users of identity providers).

A message is one line: the fault and the next step. It is cut to `texts.MESSAGE_CHARACTERS`.
"""

from shared.errors.base import ApiError
from shared.errors.conflicts import (
    BranchMoved,
    DomainExists,
    HandleTaken,
    NotFastForward,
    ReleaseExists,
    RepoExists,
    TagExists,
)
from shared.errors.content import (
    AmbiguousCommit,
    BranchClash,
    HashMismatch,
    InvalidName,
    MissingReference,
    NotPortable,
    Unprocessable,
    UploadsPending,
)
from shared.errors.faults import Damaged, HubOutdated, Internal, Unavailable
from shared.errors.identities import (
    HandleInUse,
    IdentityLinked,
    InvalidScope,
    InvalidTarget,
    InvalidTokenRequest,
    IssuerInvalid,
    SignInRefused,
    TokenRefused,
    TrustedIssuerNotFound,
    UnsupportedGrant,
)
from shared.errors.not_found import (
    CommitNotFound,
    DomainNotFound,
    MemberNotFound,
    NotFound,
    ObjectNotFound,
    PathNotFound,
    RefNotFound,
    ReleaseNotFound,
    RepoNotFound,
    TagNotFound,
    TokenNotFound,
)
from shared.errors.quotas import CostLimited, HubLimited, QuotaReached, RateLimited
from shared.errors.requests import (
    BadRequest,
    Forbidden,
    MalformedBody,
    MethodNotAllowed,
    RangeNotSatisfiable,
    RequestTimeout,
    StagedBodyInvalid,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
)

__all__ = [
    "AmbiguousCommit",
    "ApiError",
    "BadRequest",
    "BranchClash",
    "BranchMoved",
    "CommitNotFound",
    "CostLimited",
    "Damaged",
    "DomainExists",
    "DomainNotFound",
    "Forbidden",
    "HandleInUse",
    "HandleTaken",
    "HashMismatch",
    "HubLimited",
    "HubOutdated",
    "IdentityLinked",
    "Internal",
    "InvalidName",
    "InvalidScope",
    "InvalidTarget",
    "InvalidTokenRequest",
    "IssuerInvalid",
    "MalformedBody",
    "MemberNotFound",
    "MethodNotAllowed",
    "MissingReference",
    "NotFastForward",
    "NotFound",
    "NotPortable",
    "ObjectNotFound",
    "PathNotFound",
    "QuotaReached",
    "RangeNotSatisfiable",
    "RateLimited",
    "RefNotFound",
    "ReleaseExists",
    "ReleaseNotFound",
    "RepoExists",
    "RepoNotFound",
    "RequestTimeout",
    "SignInRefused",
    "StagedBodyInvalid",
    "TagExists",
    "TagNotFound",
    "TokenNotFound",
    "TokenRefused",
    "TooLarge",
    "TrustedIssuerNotFound",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "UnsupportedGrant",
    "UnsupportedMedia",
    "UploadsPending",
]
