"""The one codec of the cursors of all lists: where the next page begins.

    cursor = base64url(zlib(msgpack(position)))

Where a position leads to what not every caller may read, the cursor is sealed: a code follows it that only the hub can
make. To check what it leads to would cost more with each page.

A position is the text after which the next page begins, or, in a log, a list of places. A caller can read and forge it,
so it must name nothing that is not on the page before. Each list checks a position, so that a forged one costs no more
than a page.
"""

import base64
import binascii
import hmac
import zlib
from collections.abc import Mapping
from typing import Any

import msgpack

from shared.errors import Unprocessable

CHARACTERS = 8_000
"""The longest cursor: API Gateway takes 10,240 bytes of headers, path and query."""
SEAL_CHARACTERS = 32
POSITION_BYTES = 64 * 1024
"""The most that a position has when it is decompressed."""
KEY_BYTES = 950
"""The longest text that is part of a sort key. A sort key has 1,024 bytes, its prefix included."""


def encode(position: Any) -> str:
    """The cursor of a position."""
    return base64.urlsafe_b64encode(zlib.compress(msgpack.packb(position), 9)).decode()


def decode(cursor: str) -> Any:
    """The position of a cursor. Raises Unprocessable for a text that is no cursor."""
    try:
        unpack = zlib.decompressobj()
        data = unpack.decompress(base64.b64decode(cursor, b"-_", validate=True), POSITION_BYTES)
        if not unpack.eof:
            raise invalid()
        return msgpack.unpackb(data, raw=False)
    except (binascii.Error, ValueError, zlib.error, msgpack.UnpackException):
        raise invalid() from None


def after(last: str | None) -> str | None:
    """The cursor of the page that begins after `last`; None where there is no such page."""
    return None if last is None else encode(last)


def parse_after(cursor: str, max_bytes: int = KEY_BYTES) -> str:
    """The inverse of `after`; empty for the first page. Raises Unprocessable."""
    if not cursor:
        return ""
    last = decode(cursor)
    if not isinstance(last, str) or not 1 <= len(last.encode()) <= max_bytes:
        raise invalid()
    return last


def seal(keys: Mapping[str, str], about: str, cursor: str) -> str:
    """A cursor with its code, for the list that `about` names. The newest of the keys makes it."""
    return f"{cursor}.{_code(list(keys.values())[-1], about, cursor)}"


def unseal(keys: Mapping[str, str], about: list[str], sealed: str) -> str:
    """The cursor of a sealed one for one of these lists, by any of the keys. Raises Unprocessable."""
    cursor, _, code = sealed.rpartition(".")
    for secret in keys.values():
        if any(hmac.compare_digest(_code(secret, one, cursor).encode(), code.encode()) for one in about):
            return cursor
    raise invalid()


def _code(secret: str, about: str, cursor: str) -> str:
    return hmac.digest(secret.encode(), f"cursor {about} {cursor}".encode(), "sha256").hex()[:SEAL_CHARACTERS]


def invalid() -> Unprocessable:
    """The refusal of a text that is no cursor of this list."""
    return Unprocessable("this is no cursor; begin without one, and go on with the next_cursor of each page")
