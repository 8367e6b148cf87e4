"""Every failure fits on the line that a client shows of it."""

import json
from collections.abc import Callable

import pytest

from shared import errors
from shared.errors import ApiError
from shared.model import ObjectId
from shared.objects.quarantine import FalseUpload
from shared.texts import MESSAGE_CHARACTERS, summarize

LONG = "x" * 10_000
IDS = [f"{n:064x}" for n in range(50_000)]

SHOWN = 400
"""The characters of an error body that the stock client prints."""

HOSTILE: list[tuple[type[ApiError], Callable[[], ApiError]]] = [
    (errors.ApiError, lambda: errors.ApiError(LONG)),
    (errors.BadRequest, lambda: errors.BadRequest(LONG)),
    (errors.MalformedBody, lambda: errors.MalformedBody(LONG)),
    (errors.Unauthorized, lambda: errors.Unauthorized(LONG)),
    (errors.Forbidden, lambda: errors.Forbidden(LONG)),
    (errors.NotFound, lambda: errors.NotFound(LONG)),
    (errors.RepoNotFound, errors.RepoNotFound),
    (errors.CommitNotFound, lambda: errors.CommitNotFound([LONG, *IDS])),
    (errors.ObjectNotFound, errors.ObjectNotFound),
    (errors.RefNotFound, errors.RefNotFound),
    (errors.PathNotFound, errors.PathNotFound),
    (errors.ReleaseNotFound, errors.ReleaseNotFound),
    (errors.TagNotFound, errors.TagNotFound),
    (errors.MemberNotFound, errors.MemberNotFound),
    (errors.TokenNotFound, errors.TokenNotFound),
    (errors.DomainNotFound, errors.DomainNotFound),
    (errors.DomainExists, lambda: errors.DomainExists(LONG)),
    (errors.RequestTimeout, lambda: errors.RequestTimeout(LONG)),
    (errors.AmbiguousCommit, lambda: errors.AmbiguousCommit(LONG)),
    (errors.UploadsPending, lambda: errors.UploadsPending(10**100, 10**100)),
    (errors.SignInRefused, lambda: errors.SignInRefused(LONG)),
    (errors.HandleInUse, lambda: errors.HandleInUse(LONG)),
    (errors.IdentityLinked, lambda: errors.IdentityLinked(LONG)),
    (errors.TrustedIssuerNotFound, errors.TrustedIssuerNotFound),
    (errors.TokenRefused, lambda: errors.TokenRefused(LONG)),
    (errors.InvalidTokenRequest, lambda: errors.InvalidTokenRequest(LONG)),
    (errors.UnsupportedGrant, lambda: errors.UnsupportedGrant(LONG)),
    (errors.InvalidTarget, errors.InvalidTarget),
    (errors.InvalidScope, lambda: errors.InvalidScope(LONG)),
    (errors.IssuerInvalid, lambda: errors.IssuerInvalid(LONG)),
    (FalseUpload, lambda: FalseUpload(ObjectId(IDS[0]), IDS[1], LONG)),
    (errors.RepoExists, lambda: errors.RepoExists(LONG, LONG)),
    (errors.HandleTaken, lambda: errors.HandleTaken(LONG, LONG)),
    (errors.ReleaseExists, lambda: errors.ReleaseExists(LONG)),
    (errors.TagExists, lambda: errors.TagExists(LONG)),
    (errors.BranchMoved, lambda: errors.BranchMoved(LONG, LONG)),
    (errors.RangeNotSatisfiable, lambda: errors.RangeNotSatisfiable(10**300)),
    (errors.MethodNotAllowed, lambda: errors.MethodNotAllowed(LONG)),
    (errors.RequestTimeout, lambda: errors.RequestTimeout(LONG)),
    (errors.NotFastForward, lambda: errors.NotFastForward(LONG, LONG)),
    (errors.TooLarge, lambda: errors.TooLarge(LONG)),
    (errors.UnsupportedMedia, lambda: errors.UnsupportedMedia(LONG)),
    (errors.Unprocessable, lambda: errors.Unprocessable(LONG)),
    (errors.InvalidName, lambda: errors.InvalidName(LONG)),
    (errors.HashMismatch, lambda: errors.HashMismatch("object", LONG, LONG)),
    (errors.MissingReference, lambda: errors.MissingReference(LONG, [LONG])),
    (FalseUpload, lambda: FalseUpload(ObjectId(LONG), LONG, LONG)),
    (errors.UploadsPending, lambda: errors.UploadsPending(10**300, 10**300)),
    (errors.NotPortable, lambda: errors.NotPortable(LONG)),
    (errors.BranchClash, lambda: errors.BranchClash(LONG, LONG)),
    (errors.CostLimited, lambda: errors.CostLimited(LONG, 1e9, "today (UTC)", 86_400, "subject")),
    (errors.HubLimited, lambda: errors.HubLimited(LONG, 1e9, "today (UTC)", 86_400, "hub")),
    (errors.QuotaReached, lambda: errors.QuotaReached(LONG, 10**18, 10**18)),
    (errors.StagedBodyInvalid, lambda: errors.StagedBodyInvalid(LONG)),
    (errors.RateLimited, lambda: errors.RateLimited("push", 10**300, 60)),
    (errors.Internal, lambda: errors.Internal(LONG)),
    (errors.HubOutdated, lambda: errors.HubOutdated("prebuilt clone", 10**300)),
    (errors.Damaged, lambda: errors.Damaged(LONG)),
    (errors.Unavailable, lambda: errors.Unavailable(LONG)),
]


def below(found: type[ApiError]) -> set[type[ApiError]]:
    return {found}.union(*(below(sub) for sub in found.__subclasses__()))


def test_the_table_here_holds_every_error():
    """Those of other modules are the tree's as well: whatever is answered is in it."""
    assert {found for found, _ in HOSTILE} == below(ApiError)


@pytest.mark.parametrize(
    ("found", "make"), HOSTILE, ids=lambda value: value.__name__ if isinstance(value, type) else ""
)
def test_whatever_is_named_the_message_fits(found, make):
    error = make()
    assert type(error) is found
    assert str(error) == error.message
    assert 20 < len(error.message) <= MESSAGE_CHARACTERS
    assert len(json.dumps({"message": error.message})) < SHOWN


def test_a_message_is_cut_where_it_is_too_long_and_says_so():
    assert errors.NotFound("y" * MESSAGE_CHARACTERS).message == "y" * MESSAGE_CHARACTERS
    assert (
        errors.NotFound("y" * (MESSAGE_CHARACTERS + 1)).message
        == "y" * (MESSAGE_CHARACTERS - 1) + "…"
    )


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.Unauthorized("x"), {"WWW-Authenticate": "Bearer"}),
        (errors.RateLimited("push", 30, 17), {"Retry-After": "17"}),
        (errors.MethodNotAllowed("x", {"Allow": "GET, HEAD"}), {"Allow": "GET, HEAD"}),
        (errors.Unavailable(), {"Retry-After": "2"}),
        (errors.NotFound("x"), {}),
        (errors.Internal("r"), {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ApiError) else "",
)
def test_headers_that_belong_to_a_failure(error, headers):
    assert error.headers == headers


def test_a_lost_race_names_the_winner_even_beside_the_longest_branch():
    error = errors.NotFastForward("b" * 255, "c" * 64)
    assert "c" * 64 in error.message


def test_a_repository_that_is_not_there_has_one_text():
    assert errors.RepoNotFound().message == errors.RepoNotFound().message
    assert errors.RepoNotFound().code == "repo_not_found"


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], ""),
        (["b"], "b"),
        (["b", "a"], "a, b"),
        (["c", "a", "b"], "a, b and 1 more"),
        (["e", "d", "c", "b", "a"], "a, b and 3 more"),
    ],
)
def test_some_of_many(ids, expected):
    assert summarize(ids) == expected
    assert summarize(iter(ids)) == expected
