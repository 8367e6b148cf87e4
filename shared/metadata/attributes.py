"""Attributes of a row by their types. A value of another type is damage: it is never taken for an empty one."""

from collections.abc import Mapping

from shared.errors import Damaged


def binary(row: Mapping[str, object], name: str, what: str) -> bytes:
    """The bytes in an attribute. Raises Damaged with `what` the row describes."""
    value = row.get(name)
    if not isinstance(value, bytes):
        raise Damaged(f"attribute {name} of {what}")
    return value


def texts(row: Mapping[str, object], name: str, what: str) -> list[str]:
    """The list of texts in an attribute. Raises Damaged with `what` the row describes."""
    value = row.get(name)
    if not isinstance(value, list):
        raise Damaged(f"attribute {name} of {what}")
    return value
