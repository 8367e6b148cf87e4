"""The usage of an owner."""

from shared.protocol.base import ResponseModel


class DayCost(ResponseModel):
    """The estimated cost of the requests of the owner on one day (UTC), in US dollars of AWS."""

    date: str
    dollars: float


class Usage(ResponseModel):
    """The stored content of an owner, over all repositories, and the limit.

    `limit_bytes`: null without a limit.

    `is_near_limit`: at least 80 % of the limit are used.
    """

    owner: str
    stored_bytes: int
    stored_objects: int
    limit_bytes: int | None
    is_near_limit: bool
    costs: list[DayCost]
