"""The hub itself: its health, its errors, and its OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel, RootModel

from shared.protocol.base import WireReply


class Health(WireReply):
    """The process is running."""

    status: Literal["ok"]


class Error(BaseModel):
    """An error: the message with the next step, the same text for older clients, and a fixed
    code.
    """

    message: str
    detail: str
    code: str


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI document."""
