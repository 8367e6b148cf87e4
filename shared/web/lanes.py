"""The graph of a history: for each commit its lane, and the lines beside it as SVG.

Each lane waits for one commit. A commit takes the first lane that waits for it, and gives it to its
first parent. Its other parents get lanes of their own, unless a lane waits for them already.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

LANES = 12
"""Further lanes are not drawn."""
STEP = 14
HEIGHT = 36
COLOURS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """A commit in its lane; the ids for which the lanes wait above and below it."""

    commit_id: str
    lane: int
    above: Sequence[str]
    below: Sequence[str]
    parents: Sequence[str]


def rows(commits: Iterable[tuple[str, Sequence[str]]]) -> Iterator[Row]:
    """Lanes for commits, children before parents, each given as its id and those of its parents."""
    waiting: list[str] = []
    for commit_id, parents in commits:
        above = list(waiting)
        if commit_id not in waiting:
            _take(waiting, commit_id)
        lane = waiting.index(commit_id)
        waiting = ["" if one == commit_id else one for one in waiting]
        for number, parent in enumerate(parents):
            if parent in waiting:
                continue
            if number == 0:
                waiting[lane] = parent
            else:
                _take(waiting, parent)
        while waiting and not waiting[-1]:
            waiting.pop()
        yield Row(commit_id, lane, above, list(waiting), parents)


def _take(waiting: list[str], commit_id: str) -> None:
    """Let the first free lane wait for a commit."""
    if "" in waiting:
        waiting[waiting.index("")] = commit_id
    else:
        waiting.append(commit_id)


def drawn(row: Row, width: int) -> Markup:
    """The lines and the dot of a row, as wide as this number of lanes."""
    middle = HEIGHT // 2
    parts = []
    for lane, waited in enumerate(row.above[:LANES]):
        if waited == row.commit_id:
            parts.append(_line(lane, 0, row.lane, middle, lane))
        elif waited:
            below = row.below.index(waited)
            parts.append(_line(lane, 0, below, HEIGHT, lane))
    for parent in row.parents:
        below = row.below.index(parent)
        parts.append(_line(row.lane, middle, below, HEIGHT, below))
    if row.lane < LANES:
        kind = f"n{row.lane % COLOURS + 1}"
        parts.append(f'<circle class="{kind}" cx="{_x(row.lane)}" cy="{middle}" r="4"/>')
    size = f'width="{STEP * (width + 1)}" height="{HEIGHT}"'
    svg = f'<svg class="lanes" aria-hidden="true" {size}>{"".join(parts)}</svg>'
    return Markup(svg)  # noqa: S704 (numbers only)


def _x(lane: int) -> int:
    return STEP * min(lane, LANES) + STEP // 2 + 2


def _line(start: int, top: int, stop: int, bottom: int, colour: int) -> str:
    first = _x(start)
    last = _x(stop)
    middle = (top + bottom) // 2
    if first == last:
        shape = f"V{bottom}"
    else:
        shape = f"C{first} {middle} {last} {middle} {last} {bottom}"
    return f'<path class="l{colour % COLOURS + 1}" d="M{first} {top}{shape}"/>'
