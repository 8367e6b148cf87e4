"""The errors of the client, as a tree.

    HubError
    ├─ Unreachable            no reply: no connection, or a timeout
    ├─ UnexpectedReply        the reply is not that of a hub
    └─ Refused                the hub refused the request: status, code, message, detail
       ├─ Unauthorized 401    no token, or an invalid one
       ├─ Forbidden 403       the user may read it, but not do this
       ├─ NotFound 404        absent, or hidden from the user
       ├─ Conflict 409        the state of the hub does not allow it, such as a name in use
       ├─ Invalid 4xx         any other fault of the request
       ├─ RateLimited 429     too many requests; `retry_after_seconds`
       └─ Failed 5xx          the hub or its store failed

docs/errors.md lists the codes.
"""

from collections.abc import Mapping


class HubError(Exception):
    """The request did not succeed. The message is one line with a next step."""


class Unreachable(HubError):
    """There is no reply. A request that changes something may have been executed."""


class UnexpectedReply(HubError):
    """The reply is not that of a hub. The URL may be that of another server."""


class Refused(HubError):
    """The hub refused the request.

    `code` is fixed, `message` and `detail` are for people. `retry_after_seconds` is None unless the
    hub stated when to try again.
    """

    def __init__(
        self, status: int, document: Mapping[str, str], retry_after_seconds: int | None = None
    ) -> None:
        self.status = status
        self.code = document.get("code", "")
        self.message = document.get("message", "")
        self.detail = document.get("detail", "")
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.message or f"the hub replied with status {status}")


class Unauthorized(Refused):
    """The request needs a token, or its token is invalid (401)."""


class Forbidden(Refused):
    """The user may read the repository, but not do this (403)."""


class NotFound(Refused):
    """It is absent, or hidden from the user (404)."""


class Conflict(Refused):
    """The state of the hub does not allow it (409)."""


class Invalid(Refused):
    """The request has another fault (4xx)."""


class RateLimited(Refused):
    """The user made too many requests (429)."""


class Failed(Refused):
    """The hub or its store failed (5xx)."""


_BY_STATUS = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 429: RateLimited}
_FIRST_OF_SERVER = 500


def refused(
    status: int, document: Mapping[str, str], retry_after_seconds: int | None = None
) -> Refused:
    """Return the error of a reply with this status."""
    usual = Failed if status >= _FIRST_OF_SERVER else Invalid
    return _BY_STATUS.get(status, usual)(status, document, retry_after_seconds)
