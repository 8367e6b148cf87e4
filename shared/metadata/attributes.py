"""Typed access to attributes of a row, for the codec of each kind of row.

An attribute that is absent, has another type or cannot be parsed raises Damaged. It never reads as
an empty value. `kind` is the kind of the row, for the message.
"""

import zlib
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from shared.errors import Damaged
from shared.metadata import keys
from shared.model import CommitAddress, Location, Packed, parse_location

E = TypeVar("E", bound=StrEnum)
Attributes = Mapping[str, object]


def text(row: Attributes, name: str, kind: str) -> str:
    """Return the text in an attribute. Raises Damaged."""
    value = row.get(name)
    if not isinstance(value, str):
        raise damaged(row, name, kind)
    return value


def number(row: Attributes, name: str, kind: str) -> int:
    """Return the integer in an attribute. Raises Damaged."""
    value = row.get(name)
    if not isinstance(value, int):
        raise damaged(row, name, kind)
    return value


def flag(row: Attributes, name: str, kind: str) -> bool:
    """Return whether the integer in an attribute is not 0. Raises Damaged."""
    return number(row, name, kind) != 0


def binary(row: Attributes, name: str, kind: str) -> bytes:
    """Return the bytes in an attribute. Raises Damaged."""
    value = row.get(name)
    if not isinstance(value, bytes):
        raise damaged(row, name, kind)
    return value


def record(row: Attributes, kind: str) -> bytes:
    """Return the packed record in the attribute `record`, which is compressed. Raises Damaged."""
    try:
        return zlib.decompress(binary(row, "record", kind))
    except zlib.error:
        raise damaged(row, "record", kind) from None


def texts(row: Attributes, name: str, kind: str) -> list[str]:
    """Return the list of texts in an attribute. Raises Damaged."""
    value = row.get(name)
    if not isinstance(value, list):
        raise damaged(row, name, kind)
    return value


def choice(row: Attributes, name: str, kind: str, choices: type[E]) -> E:
    """Return the member of an enumeration in an attribute. Raises Damaged."""
    try:
        return choices(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def location(row: Attributes, name: str, kind: str) -> Location:
    """Return the location in an attribute. Raises Damaged."""
    try:
        return parse_location(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def packed(row: Attributes, name: str, kind: str) -> Packed:
    """Return the location in a pack in an attribute. Raises Damaged."""
    try:
        return Packed.parse(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def address(row: Attributes, name: str, kind: str) -> CommitAddress:
    """Return the address of a commit in an attribute. Raises Damaged."""
    try:
        return keys.parse_address(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def addresses(row: Attributes, name: str, kind: str) -> tuple[CommitAddress, ...]:
    """Return the addresses of commits in an attribute. Raises Damaged."""
    try:
        return tuple(map(keys.parse_address, texts(row, name, kind)))
    except ValueError:
        raise damaged(row, name, kind) from None


def damaged(row: Attributes, name: str, kind: str) -> Damaged:
    """The error for an attribute that cannot be read. It names the row by its sort key."""
    row_id = str(row.get("sk", "")).rpartition("#")[2]
    return Damaged(f"attribute {name} of {kind} {row_id}".rstrip())
