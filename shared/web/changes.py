"""The difference of two texts as lines, with the changed words marked."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from markupsafe import Markup, escape

from shared.web.visible import visible

LINES = 3_000
"""A text with more lines is not compared: that may take quadratic time."""
ROWS = 400
"""The most rows of one file."""
CONTEXT = 3
WORD_CHARACTERS = 400
"""Longer lines are compared as a whole."""
LINE_CHARACTERS = 1_000
"""The rest of a longer line is left out."""
_WORD = re.compile(r"\w+|\s+|.")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a difference. `kind`: add, remove, same, or gap for lines that are left out."""

    kind: str
    old: int | None
    new: int | None
    text: Markup


def of_texts(old: str, new: str) -> list[Row] | None:
    """The rows that differ with some around them; None if the texts are too long to compare."""
    old_lines = visible(old).splitlines()
    new_lines = visible(new).splitlines()
    if max(len(old_lines), len(new_lines)) > LINES:
        return None
    rows: list[Row] = []
    last = 0
    for group in SequenceMatcher(None, old_lines, new_lines).get_grouped_opcodes(CONTEXT):
        start = group[0][1]
        if start > last:
            rows.append(Row("gap", None, None, Markup("")))
        for opcode in group:
            rows += _rows(opcode, old_lines, new_lines)
        last = group[-1][2]
        if len(rows) > ROWS:
            return rows[:ROWS]
    return rows


def _rows(
    opcode: tuple[str, int, int, int, int], old: Sequence[str], new: Sequence[str]
) -> Iterator[Row]:
    kind, old_start, old_stop, new_start, new_stop = opcode
    if kind == "equal":
        for number in range(old_stop - old_start):
            line = escape(_cut(old[old_start + number]))
            yield Row("same", old_start + number + 1, new_start + number + 1, line)
        return
    marked = _marked(old[old_start:old_stop], new[new_start:new_stop])
    for number, line in enumerate(marked[0], old_start + 1):
        yield Row("remove", number, None, line)
    for number, line in enumerate(marked[1], new_start + 1):
        yield Row("add", None, number, line)


def _marked(old: Sequence[str], new: Sequence[str]) -> tuple[list[Markup], list[Markup]]:
    """Both sides of a change. Words are compared if each line has a counterpart."""
    if len(old) != len(new):
        return [escape(_cut(line)) for line in old], [escape(_cut(line)) for line in new]
    pairs = [_words(*lines) for lines in zip(old, new, strict=True)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def _words(old: str, new: str) -> tuple[Markup, Markup]:
    if max(len(old), len(new)) > WORD_CHARACTERS:
        return escape(_cut(old)), escape(_cut(new))
    old_words = _WORD.findall(old)
    new_words = _WORD.findall(new)
    matcher = SequenceMatcher(None, old_words, new_words, autojunk=False)
    if matcher.ratio() < 0.4:
        return escape(old), escape(new)
    before = []
    after = []
    for kind, old_start, old_stop, new_start, new_stop in matcher.get_opcodes():
        before.append(_word("del", kind, old_words[old_start:old_stop]))
        after.append(_word("ins", kind, new_words[new_start:new_stop]))
    return Markup("").join(before), Markup("").join(after)


def _word(tag: str, kind: str, words: Sequence[str]) -> Markup:
    text = escape("".join(words))
    if kind == "equal" or not words:
        return text
    opening, closing = ("<ins>", "</ins>") if tag == "ins" else ("<del>", "</del>")
    return Markup(opening) + text + Markup(closing)  # noqa: S704 (constant tags)


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[:LINE_CHARACTERS]}…"
