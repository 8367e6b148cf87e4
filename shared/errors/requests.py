"""Faults of the request: its form, its token, its size. Statuses 400 to 416, except 404 and 409."""

from shared.errors.base import ApiError


class BadRequest(ApiError):
    """The request is not well-formed."""

    status = 400
    code = "bad_request"


class MalformedBody(BadRequest):
    """The body is not the msgpack or JSON that its Content-Type names."""

    code = "malformed_body"


class StagedBodyInvalid(BadRequest):
    """A reference to a staged body that is not valid for this request, or has no body."""

    code = "staged_body_invalid"


class Unauthorized(ApiError):
    """The endpoint needs a token, or the token of the request is invalid."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, {"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """The caller may read the repository, but not do this. Others receive RepoNotFound instead."""

    status = 403
    code = "forbidden"


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(ApiError):
    """The rest of the request did not arrive in time. The connection ends (RFC 9110, 15.5.9)."""

    status = 408
    code = "request_timeout"


class TooLarge(ApiError):
    """More bytes or entries than the hub takes at once."""

    status = 413
    code = "too_large"


class UnsupportedMedia(ApiError):
    """A body in a format or an encoding that the hub does not read."""

    status = 415
    code = "unsupported_media_type"


class RangeNotSatisfiable(ApiError):
    """The requested range begins after the last byte."""

    status = 416
    code = "range_not_satisfiable"

    def __init__(self, length: int) -> None:
        super().__init__(
            f"the range begins after the last of {length} bytes",
            {"Content-Range": f"bytes */{length}"},
        )
