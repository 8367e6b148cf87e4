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


class PublicKey(BaseModel):
    """A key that verifies tokens (RFC 8037). `x` is the key in base64url."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    use: Literal["sig"]
    alg: Literal["EdDSA"]
    kid: str
    x: str


class KeySet(BaseModel):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[PublicKey]


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI document."""
