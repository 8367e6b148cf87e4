"""A request to AWS as a value."""

from typing import NamedTuple


class Request(NamedTuple):
    """An AWS request."""

    method: str
    target: str
    """Path and query, percent-encoded as on the request line."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def operation(self) -> str:
        """The name of the DynamoDB or SSM operation, empty for S3."""
        return self.headers.get("x-amz-target", "").partition(".")[2]
