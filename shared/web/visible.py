"""Texts of users, made safe to read: no character of them is invisible or changes its
surroundings.
"""

import re

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters except tab and line feed, characters that reorder text, and invisible ones."""


def visible(text: str) -> str:
    """The text, with each invisible or reordering character replaced by its code: `<U+202E>`."""
    return _CONTROL.sub(lambda found: f"<U+{ord(found[0]):04X}>", text.replace("\r\n", "\n"))


def first_line(text: str, characters: int) -> str:
    """The first line of a text, cut to a number of characters."""
    line = text.strip().partition("\n")[0].rstrip()
    if len(line) <= characters:
        return line
    return f"{line[: characters - 1].rstrip()}…"


def number(value: int, noun: str, nouns: str = "") -> str:
    """A number and its noun: `1 branch`, `1,204 branches`."""
    return f"{value:,} {noun if value == 1 else nouns or noun + 's'}"
