"""The usage of an owner: the stored bytes, and the cost of the last two days."""

from datetime import UTC, datetime

from shared import prices
from shared.budget import DAY_SECONDS
from shared.errors import Forbidden
from shared.model import Identity, Scope
from shared.protocol.usage import DayCost, Usage
from shared.stores import Stores


async def of_caller(stores: Stores, own: Identity, now: float) -> Usage:
    """Return the usage of the bearer of a token. `now`: epoch seconds.

    Raises Forbidden for a token that is limited to one repository.

    Budget: 3 AWS calls, chain of 2 (GET usage).
    """
    if own.repo:
        raise Forbidden(
            f"this token is limited to {own.repo}: it cannot read the usage of its user"
        )
    return await of_owner(stores, own.subject, now)


async def of_owner(stores: Stores, owner: str, now: float) -> Usage:
    """Return the usage of an owner, with the pending amount of this container. One call.

    A container adds stored bytes from 1 MiB on, and a cost from $0.0002 on: see `quotas` and
    `budget` for the accuracy.
    """
    today = int(now) // DAY_SECONDS
    days = (today, today - 1)
    scopes = [Scope("subject", f"user:{owner}", day) for day in days]
    stored, costs = await stores.counters.usage(owner, scopes)
    stores.quotas.learn(owner, stored)
    usage = stores.quotas.usage(owner)
    return Usage(
        owner=owner,
        stored_bytes=usage.stored_bytes,
        stored_objects=usage.stored_objects,
        limit_bytes=stores.quotas.limit_bytes(owner) or None,
        is_near_limit=bool(stores.quotas.warning(owner)),
        costs=[
            DayCost(date=_date(day), dollars=cost / prices.DOLLAR)
            for day, cost in zip(days, costs, strict=True)
        ],
    )


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat()
