"""Muse's `structured_delta` as a list: the symbols, notes or fields that a commit changed.

A client writes it, and no id covers it. So every field may be absent or of another type.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.web.visible import first_line

ITEMS = 200
"""The most changes that are shown."""
DEPTH = 4
TEXT_CHARACTERS = 200
_WORDS = {
    "insert": "added",
    "delete": "removed",
    "move": "moved",
    "replace": "changed",
    "mutate": "changed",
    "patch": "changed",
    "rename": "renamed",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One change: what happened (a word), to what, and how. `depth` is 0 for a file."""

    word: str
    address: str
    note: str
    depth: int


def items(record: Mapping[str, Any]) -> list[Item]:
    """The changes of a commit, in the order of its record."""
    delta = record.get("structured_delta")
    found: list[Item] = []
    for item in _items(delta.get("ops") if isinstance(delta, Mapping) else None, 0):
        found.append(item)
        if len(found) == ITEMS:
            break
    return found


def _items(operations: Any, depth: int) -> Iterator[Item]:
    if not isinstance(operations, list) or depth == DEPTH:
        return
    for operation in operations:
        if isinstance(operation, Mapping):
            word = _WORDS.get(_text(operation, "op"), "changed")
            yield Item(word, _text(operation, "address"), _note(operation), depth)
            yield from _items(operation.get("child_ops"), depth + 1)


def _note(operation: Mapping[str, Any]) -> str:
    match operation.get("op"):
        case "replace" | "mutate":
            old = _text(operation, "old_summary")
            new = _text(operation, "new_summary")
            if old and new:
                return f"{old} → {new}"
            return new or old
        case "move":
            start = operation.get("from_position")
            stop = operation.get("to_position")
            is_known = isinstance(start, int) and isinstance(stop, int)
            if is_known:
                return f"from {start} to {stop}"
            return ""
        case "patch":
            return _text(operation, "child_summary")
    return _text(operation, "content_summary")


def _text(operation: Mapping[str, Any], name: str) -> str:
    value = operation.get(name)
    if isinstance(value, str):
        return first_line(value, TEXT_CHARACTERS)
    return ""
