"""Faults of the hub and of its data. Statuses 500 and 503."""

from shared.errors.base import ApiError


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


class HubOutdated(ApiError):
    """A newer version of the hub wrote a row in a format that this version cannot read.

    It is not `Damaged`: a rebuild replaces damaged rows, but it must not touch this one.
    """

    code = "hub_outdated"

    def __init__(self, kind: str, version: int) -> None:
        super().__init__(
            f"this hub is too old: a newer version wrote a {kind} in format {version}; ask its"
            " operator to update the hub, then send the same request again"
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
