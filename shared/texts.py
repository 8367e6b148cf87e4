"""Texts of bounded length, for messages."""

import json
from collections.abc import Iterable

MESSAGE_CHARACTERS = 360
"""With the JSON around it, such a message fits into the 400 characters that the stock client
prints."""


def cut(message: str) -> str:
    """Cut a message so that it has at most `MESSAGE_CHARACTERS` as JSON."""
    while len(json.dumps(message, ensure_ascii=False)) - 2 > MESSAGE_CHARACTERS:
        message = message.removesuffix("…")[:-1] + "…"
    return message


def size(length: int) -> str:
    """Return a number of bytes for people: `999 bytes`, `1.2 kB`, `34 MB`, `5.6 GB`."""
    if length < 1000:
        return "1 byte" if length == 1 else f"{length} bytes"
    amount = length / 1000
    units = ["kB", "MB", "GB"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        del units[0]
    digits = 1 if amount < 9.95 else 0
    return f"{amount:.{digits}f} {units[0]}"


def summarize(ids: Iterable[str], shown: int = 2) -> str:
    """Return the first ids of a list and the number of the others: `ab…, cd… and 7 more`."""
    listed = sorted(ids)
    rest = len(listed) - shown
    return ", ".join(listed[:shown]) + (f" and {rest} more" if rest > 0 else "")
