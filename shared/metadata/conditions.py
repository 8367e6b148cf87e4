"""Conditions of writes, as values. An engine renders or evaluates them.

`AllOf` and `AnyOf` combine conditions. The attribute `pk` exists in every row, so its absence is
the absence of the row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = str | int | bytes | list[str]
Row: TypeAlias = Mapping[str, Value]
"""The attributes of a row, keys included. Numbers are integers."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The row does not have this attribute."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The row has this attribute."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Equals:
    """The attribute has this value."""

    attribute: str
    value: Value


@dataclass(frozen=True, slots=True)
class Less:
    """The attribute is a number below `value`."""

    attribute: str
    value: int


@dataclass(frozen=True, slots=True)
class Greater:
    """The attribute is a number above `value`."""

    attribute: str
    value: int


@dataclass(frozen=True, slots=True)
class AllOf:
    """AllOf of these conditions hold."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these conditions holds."""

    parts: tuple["Condition", ...]


Condition: TypeAlias = Absent | Exists | Equals | Less | Greater | AllOf | AnyOf

NO_ROW = Absent("pk")
ROW_EXISTS = Exists("pk")


def every(*parts: Condition) -> Condition:
    """Return the condition that all of these hold."""
    return AllOf(parts)


def either(*parts: Condition) -> Condition:
    """Return the condition that at least one of these holds."""
    return AnyOf(parts)


def holds(condition: Condition, row: Row | None) -> bool:
    """Evaluate a condition for a row. None is an absent row.

    A comparison of an absent attribute, or of values of two types, is false, as in DynamoDB.
    """
    found = row or {}
    match condition:
        case Absent(attribute):
            return attribute not in found
        case Exists(attribute):
            return attribute in found
        case Equals(attribute, value):
            return attribute in found and found[attribute] == value
        case Less(attribute, value):
            number = found.get(attribute)
            return isinstance(number, int) and number < value
        case Greater(attribute, value):
            number = found.get(attribute)
            return isinstance(number, int) and number > value
        case AllOf(parts):
            return all(holds(part, row) for part in parts)
        case AnyOf(parts):
            return any(holds(part, row) for part in parts)
