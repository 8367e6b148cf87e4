"""How often one subject may ask: fixed windows of a minute, counted in rows that expire.

A subject is a token's owner, else the address that the platform saw; never what a header claims. DynamoDB
removes an expired row days late, so the window's number is in the key and expiry is never inferred.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from shared.errors import RateLimited, Unavailable
from shared.metadata.counters import Counters
from shared.settings import Settings

WINDOW_SECONDS = 60

LimitClass = Literal["push", "fetch", "read", "upload"]


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests of a class in each minute."""

    limit_class: LimitClass
    requests: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A request that was counted: what the subject has spent on its class in this minute, in picodollars.

    `left` are the headers that state the remaining allowance; none if the counter could not be reached.
    """

    spent: int = 0
    left: Mapping[str, str] = field(default_factory=dict)


def limit(settings: Settings, limit_class: LimitClass) -> Limit:
    """The allowance of a class. `upload` is far larger: one first push sends a hundred chunks."""
    requests = {
        "push": settings.limit_push,
        "fetch": settings.limit_fetch,
        "read": settings.limit_read,
        "upload": settings.limit_upload,
    }
    return Limit(limit_class, requests[limit_class])


async def hit(counters: Counters, allowance: Limit, subject: str, now: float) -> Hit:
    """Count one request. Raises RateLimited with the whole seconds until the window ends.

    A counter that cannot be reached lets the request through, because the store behind it decides then. Such a request
    was not counted, and nothing is known of it.
    """
    window, passed = divmod(int(now), WINDOW_SECONDS)
    try:
        count, spent = await counters.hit(allowance.limit_class, subject, window, expires_at=_expiry(window))
    except Unavailable:
        return Hit()
    seconds_left = WINDOW_SECONDS - passed
    if count > allowance.requests:
        raise RateLimited(allowance.limit_class, allowance.requests, seconds_left)
    return Hit(spent, headers(allowance.requests, allowance.requests - count, seconds_left))


def headers(requests: int, left: int, seconds_left: int) -> dict[str, str]:
    """What a reply states: requests per window, how many are left, and the seconds until the window ends."""
    return {
        "RateLimit-Limit": str(requests),
        "RateLimit-Remaining": str(left),
        "RateLimit-Reset": str(seconds_left),
    }


async def spend(counters: Counters, limit_class: LimitClass, subject: str, now: float, picodollars: int) -> None:
    """Add a cost to the minute in which the request came. A cost that cannot be added is dropped: the day has it."""
    if not picodollars:
        return
    window = int(now) // WINDOW_SECONDS
    with suppress(Unavailable):
        await counters.spend_in_window(limit_class, subject, window, picodollars, expires_at=_expiry(window))


def _expiry(window: int) -> int:
    return (window + 2) * WINDOW_SECONDS
