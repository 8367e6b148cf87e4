"""Conversion between rows of plain values and the typed attributes of DynamoDB."""

from collections.abc import Mapping
from typing import Any

from shared.metadata.conditions import Row, Value
from shared.metadata.keys import Key


def key(parts: Key) -> Any:
    """The key of a row. It has as many parts as the key of the table."""
    return {name: {"S": part} for name, part in zip(("pk", "sk"), parts, strict=False)}


def item(parts: Key, row: Row) -> Any:
    """A row with its key."""
    return {**key(parts), **{name: encode(value) for name, value in row.items()}}


def encode(value: Value) -> Any:
    """One attribute as DynamoDB expects it."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    return {"L": [{"S": text} for text in value]}


def decode(attributes: Mapping[str, Mapping[str, Any]]) -> Row:
    """The inverse of `item`."""
    row: dict[str, Value] = {}
    for name, typed in attributes.items():
        for kind, value in typed.items():
            row[name] = value if kind == "S" else _value(kind, value)
    return row


def _value(kind: str, value: Any) -> Value:
    if kind == "N":
        return int(value)
    if kind == "L":
        return [element["S"] for element in value]
    found: str | bytes = value
    return found
