"""Typed access to attributes of a row.

A value of another type is an error, never an empty value.
"""

from collections.abc import Mapping

from shared.errors import Damaged


def binary(row: Mapping[str, object], name: str, what: str) -> bytes:
    """Return the bytes in an attribute of the row of `what`. Raises Damaged."""
    value = row.get(name)
    if not isinstance(value, bytes):
        raise Damaged(f"attribute {name} of {what}")
    return value


def texts(row: Mapping[str, object], name: str, what: str) -> list[str]:
    """Return the list of texts in an attribute of the row of `what`. Raises Damaged."""
    value = row.get(name)
    if not isinstance(value, list):
        raise Damaged(f"attribute {name} of {what}")
    return value
