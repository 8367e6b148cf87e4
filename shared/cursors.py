"""The encoding of the cursors of all lists. A cursor is the position at which the next page begins.

    cursor = base64url(zlib(msgpack(position)))

If a position refers to data that not every caller may read, the cursor is sealed with a code that
only the hub can make. A check of the position itself would cost more with each page.

A position is the text after which the next page begins, or, in a log, a list of places. A caller
can read and forge it, so it must contain nothing that the page before does not show. Each list
checks a position, so that a forged one costs no more than a page.
"""

import base64
import binascii
import hmac
import zlib
from typing import Any

import msgpack

from shared import signing
from shared.errors import Unprocessable
from shared.signing import Keys

CHARACTERS = 8_000
"""The longest cursor: API Gateway accepts 10,240 bytes of headers, path and query."""
SEAL_CHARACTERS = 32
POSITION_BYTES = 64 * 1024
"""The largest position after decompression."""
KEY_BYTES = 950
"""The longest text in a sort key, which has at most 1,024 bytes with its prefix."""


def encode(position: Any) -> str:
    """Encode a position as a cursor."""
    return base64.urlsafe_b64encode(zlib.compress(msgpack.packb(position), 9)).decode()


def decode(cursor: str) -> Any:
    """Decode a cursor into its position. Raises Unprocessable."""
    try:
        unpack = zlib.decompressobj()
        data = unpack.decompress(base64.b64decode(cursor, b"-_", validate=True), POSITION_BYTES)
        if not unpack.eof:
            raise invalid()
        return msgpack.unpackb(data, raw=False)
    except (binascii.Error, ValueError, zlib.error, msgpack.UnpackException):
        raise invalid() from None


def after(last: str | None) -> str | None:
    """The cursor of the page that begins after `last`; None after the last page."""
    return None if last is None else encode(last)


def parse_after(cursor: str, max_bytes: int = KEY_BYTES) -> str:
    """The inverse of `after`; empty for the first page. Raises Unprocessable."""
    if not cursor:
        return ""
    last = decode(cursor)
    if not isinstance(last, str) or not 1 <= len(last.encode()) <= max_bytes:
        raise invalid()
    return last


def seal(keys: Keys, about: str, cursor: str) -> str:
    """Add a code to a cursor of the list `about`, made with the newest of the secrets."""
    newest = list(signing.for_seals(keys).values())[-1]
    return f"{cursor}.{_code(newest, about, cursor)}"


def unseal(keys: Keys, about: list[str], sealed: str) -> str:
    """Verify a sealed cursor of one of the lists `about` by any secret. Raises Unprocessable."""
    cursor, _, code = sealed.rpartition(".")
    for secret in signing.for_seals(keys).values():
        if any(
            hmac.compare_digest(_code(secret, one, cursor).encode(), code.encode()) for one in about
        ):
            return cursor
    raise invalid()


def _code(secret: str, about: str, cursor: str) -> str:
    return hmac.digest(secret.encode(), f"cursor {about} {cursor}".encode(), "sha256").hex()[
        :SEAL_CHARACTERS
    ]


def invalid() -> Unprocessable:
    """The refusal of a text that is not a cursor of this list."""
    return Unprocessable(
        "invalid cursor; begin without one, and continue with the next_cursor of each page"
    )
