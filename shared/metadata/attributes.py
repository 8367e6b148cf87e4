"""Typed access to attributes of a row, for the codec of each kind of row.

An attribute that is absent, has another type or cannot be parsed raises Damaged. It never reads as
an empty value. Each function raises HubOutdated for a row of a newer format than `kind` states.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from shared.errors import Damaged, HubOutdated
from shared.metadata import keys
from shared.metadata.conditions import Row
from shared.model import CommitAddress, Location, Packed, parse_location

E = TypeVar("E", bound=StrEnum)
Attributes = Mapping[str, object]

FORMAT = "format"
"""The attribute with the format version of a row. A row without it has version 1."""


@dataclass(frozen=True, slots=True)
class RowFormat:
    """A kind of row: its name in messages, and the versions of its format.

    `written` is the version of new rows; `readable` is the newest version that can be decoded.
    docs/design/row-formats.md describes how to raise them.
    """

    name: str
    written: int = 1
    readable: int = 1

    def stamp(self, row: Row) -> Row:
        """Return a new row with the version of its format.

        Version 1 is left out: readers treat an absent version as 1, and the attribute would add up
        to 5 % to the cost of a query of an index.
        """
        if self.written == 1:
            return row
        return self.stamp_in_place(row)

    def stamp_in_place(self, row: Row) -> Row:
        """The same for an update of a row that may exist in another format.

        The update sets all attributes of the format, so it must also replace the version.
        """
        return {**row, FORMAT: self.written}

    def check(self, row: Attributes) -> None:
        """Raise HubOutdated if a newer hub wrote the row in a format that this one cannot read."""
        if FORMAT not in row:
            return
        version = row[FORMAT]
        if not isinstance(version, int):
            raise damaged(row, FORMAT, self)
        if version > self.readable:
            raise HubOutdated(self.name, version)


def text(row: Attributes, name: str, kind: RowFormat) -> str:
    """Return the text in an attribute. Raises Damaged."""
    value = _value(row, name, kind)
    if not isinstance(value, str):
        raise damaged(row, name, kind)
    return value


def number(row: Attributes, name: str, kind: RowFormat) -> int:
    """Return the integer in an attribute. Raises Damaged."""
    value = _value(row, name, kind)
    if not isinstance(value, int):
        raise damaged(row, name, kind)
    return value


def flag(row: Attributes, name: str, kind: RowFormat) -> bool:
    """Return whether the integer in an attribute is not 0. Raises Damaged."""
    return number(row, name, kind) != 0


def binary(row: Attributes, name: str, kind: RowFormat) -> bytes:
    """Return the bytes in an attribute. Raises Damaged."""
    value = _value(row, name, kind)
    if not isinstance(value, bytes):
        raise damaged(row, name, kind)
    return value


def record(row: Attributes, kind: RowFormat) -> bytes:
    """Return the packed record in the attribute `record`, which is compressed. Raises Damaged."""
    try:
        return zlib.decompress(binary(row, "record", kind))
    except zlib.error:
        raise damaged(row, "record", kind) from None


def texts(row: Attributes, name: str, kind: RowFormat) -> list[str]:
    """Return the list of texts in an attribute. Raises Damaged."""
    value = _value(row, name, kind)
    if not isinstance(value, list):
        raise damaged(row, name, kind)
    return value


def choice(row: Attributes, name: str, kind: RowFormat, choices: type[E]) -> E:
    """Return the member of an enumeration in an attribute. Raises Damaged."""
    try:
        return choices(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def location(row: Attributes, name: str, kind: RowFormat) -> Location:
    """Return the location in an attribute. Raises Damaged."""
    try:
        return parse_location(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def packed(row: Attributes, name: str, kind: RowFormat) -> Packed:
    """Return the location in a pack in an attribute. Raises Damaged."""
    try:
        return Packed.parse(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def address(row: Attributes, name: str, kind: RowFormat) -> CommitAddress:
    """Return the address of a commit in an attribute. Raises Damaged."""
    try:
        return keys.parse_address(text(row, name, kind))
    except ValueError:
        raise damaged(row, name, kind) from None


def addresses(row: Attributes, name: str, kind: RowFormat) -> tuple[CommitAddress, ...]:
    """Return the addresses of commits in an attribute. Raises Damaged."""
    try:
        return tuple(map(keys.parse_address, texts(row, name, kind)))
    except ValueError:
        raise damaged(row, name, kind) from None


def damaged(row: Attributes, name: str, kind: RowFormat) -> Damaged:
    """The error for an attribute that cannot be read. It names the row by its sort key."""
    row_id = str(row.get("sk", "")).rpartition("#")[2]
    return Damaged(f"attribute {name} of {kind.name} {row_id}".rstrip())


def _value(row: Attributes, name: str, kind: RowFormat) -> object:
    kind.check(row)
    return row.get(name)
