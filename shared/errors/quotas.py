"""Limits of requests, of cost and of storage. Status 429, 403 for storage, 503 for the hub."""

from shared import texts
from shared.errors.base import ApiError


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


class QuotaReached(ApiError):
    """The owner of the repository may not store as much more as the request has."""

    status = 403
    code = "quota_reached"

    def __init__(self, owner: str, limit_bytes: int, new_bytes: int) -> None:
        super().__init__(
            f"this needs {texts.size(new_bytes)}, and with it {owner} would store more than"
            f" {texts.size(limit_bytes)}, the limit; delete repositories of {owner}, or ask the"
            f" hub's operator for more: pieria usage limit {owner} BYTES"
        )
