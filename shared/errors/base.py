"""The base class of all errors that a client can receive."""

from collections.abc import Mapping
from typing import ClassVar

from shared.texts import cut


class ApiError(Exception):
    """An error that the client receives: `status`, `code`, one line of text, and headers."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.message = cut(message)
        self.headers = dict(headers or {})
        super().__init__(self.message)
