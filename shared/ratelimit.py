"""How often one subject may ask: fixed windows of a minute, counted in rows that expire.

A subject is a token's owner, else the address that the platform saw; never what a header claims. DynamoDB
removes an expired row days late, so the window's number is in the key and expiry is never inferred.
"""

from dataclasses import dataclass
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


def limit(settings: Settings, limit_class: LimitClass) -> Limit:
    """The allowance of a class. `upload` is far larger: one first push sends a hundred chunks."""
    requests = {
        "push": settings.limit_push,
        "fetch": settings.limit_fetch,
        "read": settings.limit_read,
        "upload": settings.limit_upload,
    }
    return Limit(limit_class, requests[limit_class])


async def hit(counters: Counters, allowance: Limit, subject: str, now: float) -> None:
    """Count one request. Raises RateLimited with the whole seconds until the window ends.

    A counter that cannot be reached lets the request through: the store behind it decides then.
    """
    window, passed = divmod(int(now), WINDOW_SECONDS)
    try:
        count = await counters.hit(allowance.limit_class, subject, window, expires_at=(window + 2) * WINDOW_SECONDS)
    except Unavailable:
        return
    if count > allowance.requests:
        raise RateLimited(allowance.limit_class, allowance.requests, WINDOW_SECONDS - passed)
