"""Rate limits per subject: fixed windows of one minute, counted in rows that expire.

The subject is the owner of the token, or else the client address from the platform. A header is
never trusted. DynamoDB deletes an expired row days late, so the number of the window is part of the
key.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from shared.errors import RateLimited, Unavailable
from shared.metadata.expiring import Counters
from shared.settings import Settings

WINDOW_SECONDS = 60

LimitClass = Literal["push", "fetch", "read", "upload"]


@dataclass(frozen=True, slots=True)
class Limit:
    """The number of requests of a class that a subject may send in each minute."""

    limit_class: LimitClass
    requests: int


@dataclass(frozen=True, slots=True)
class Hit:
    """The result of counting a request. `spent` is the cost of the subject's class in this minute.

    `spent` is in picodollars. `left` has the headers with the remaining allowance; it is empty if
    the counter could not be reached.
    """

    spent: int = 0
    left: Mapping[str, str] = field(default_factory=dict)


def limit(settings: Settings, limit_class: LimitClass) -> Limit:
    """The limit of a class.

    That of `upload` is far larger, because a first push sends many chunks.
    """
    requests = {
        "push": settings.limit_push,
        "fetch": settings.limit_fetch,
        "read": settings.limit_read,
        "upload": settings.limit_upload,
    }
    return Limit(limit_class, requests[limit_class])


async def hit(counters: Counters, allowance: Limit, subject: str, now: float) -> Hit:
    """Count one request. Raises RateLimited with the seconds until the window ends.

    If the counter cannot be reached, the request is admitted without being counted: if DynamoDB is
    down, the request itself fails with Unavailable.
    """
    window, passed = divmod(int(now), WINDOW_SECONDS)
    try:
        count, spent = await counters.hit(
            allowance.limit_class, subject, window, expires_at=_expiry(window)
        )
    except Unavailable:
        return Hit()
    seconds_left = WINDOW_SECONDS - passed
    if count > allowance.requests:
        raise RateLimited(allowance.limit_class, allowance.requests, seconds_left)
    return Hit(spent, headers(allowance.requests, allowance.requests - count, seconds_left))


def headers(requests: int, left: int, seconds_left: int) -> dict[str, str]:
    """The headers of a reply: the limit, the remaining requests, and the seconds to wait."""
    return {
        "RateLimit-Limit": str(requests),
        "RateLimit-Remaining": str(left),
        "RateLimit-Reset": str(seconds_left),
    }


async def spend(
    counters: Counters, limit_class: LimitClass, subject: str, now: float, picodollars: int
) -> None:
    """Add a cost to the minute of the request.

    It is dropped on failure: the row of the day has it.
    """
    if not picodollars:
        return
    window = int(now) // WINDOW_SECONDS
    with suppress(Unavailable):
        await counters.spend_in_window(
            limit_class, subject, window, picodollars, expires_at=_expiry(window)
        )


def _expiry(window: int) -> int:
    return (window + 2) * WINDOW_SECONDS
