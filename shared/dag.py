"""Walks over the commit graph, without I/O. A walk returns the places whose rows it needs next.

    while needed := walk.advance():
        walk.feed(rows_of(needed))

A walk visits commits by generation, the greatest first. The generation of a child is always greater
than those of its parents. So when a walk takes a commit, it has already visited all commits that
could reach it, and the state of the commit is final. A walk stops when no pending commit is of
interest.

A row is used only for the exact place that was referenced. Another lane may have a row of the same
commit that an unfinished push left there. That row may point to deleted data.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Protocol

from shared.model import Node, Place


class Walk(Protocol):
    """The interface of a walk for a driver that can read rows."""

    def advance(self) -> list[Place]:
        """Walk until rows are missing. Returns the places of the needed rows; none at the end."""

    def feed(self, rows: Mapping[Place, Node]) -> None:
        """Add rows by place: the requested ones, and any neighbours that were read with them."""

    def reach(self, place: Place) -> int | None:
        """Guess how many generations below `place` the walk will need; None for all of them."""


class _Frontier:
    """The pending commits of a walk, the greatest generation first, and the rows that were read."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self.places: dict[str, Place] = {}
        self.rows: dict[Place, Node] = {}

    def add(self, place: Place) -> None:
        self.places[place.commit_id] = place
        heapq.heappush(self._heap, (-place.generation, place.commit_id))

    def top(self) -> Place | None:
        return self.places[self._heap[0][1]] if self._heap else None

    def pop(self) -> Place:
        return self.places.pop(heapq.heappop(self._heap)[1])

    def without_row(self) -> list[Place]:
        return [place for place in self.places.values() if place not in self.rows]


class Difference:
    """reachable(want) − reachable(have), exactly. Reads few more rows than it returns.

    `want` and `have` are places of known commits. `held` is the complete list of the client: ids of
    commits that it has together with all their ancestors. The walk stops at them, and never needs
    their rows. After the last `advance`, `collected` holds the difference, the greatest generation
    first.
    """

    def __init__(self, want: Iterable[Place], have: Iterable[Place], held: Collection[str] = frozenset()) -> None:
        self.collected: list[Node] = []
        self._held = held
        self._frontier = _Frontier()
        self._had: dict[str, bool] = {}
        self._wanted_pending = 0
        for place in have:
            self._paint(place, had=True)
        for place in want:
            self._paint(place, had=place.commit_id in held)

    def advance(self) -> list[Place]:
        """See `Walk`."""
        while self._wanted_pending and (top := self._frontier.top()):
            node = self._frontier.rows.get(top)
            if node is None:
                return self._needed()
            self._frontier.pop()
            had = self._had[top.commit_id]
            if not had:
                self._wanted_pending -= 1
                self.collected.append(node)
            for parent in node.parents:
                self._paint(parent, had=had or parent.commit_id in self._held)
        return []

    def feed(self, rows: Mapping[Place, Node]) -> None:
        """See `Walk`."""
        self._frontier.rows.update(rows)

    def reach(self, place: Place) -> int | None:
        """Guess the distance to the nearest pending commit of the other side (had or wanted).

        The distance to a commit of the complete list is unknown: then a small constant is used.
        """
        had = self._had[place.commit_id]
        below = [
            other.generation
            for commit_id, other in self._frontier.places.items()
            if other.generation < place.generation and self._had[commit_id] is not had
        ]
        if below:
            return place.generation - max(below)
        if had:
            return 0
        return 16 if self._held else None

    def boundary(self, nodes: Iterable[Node]) -> dict[str, Place]:
        """Return the parents of these collected commits that the client has, by id."""
        parents = chain.from_iterable(node.parents for node in nodes)
        return {parent.commit_id: parent for parent in parents if self._had[parent.commit_id]}

    def row(self, place: Place) -> Node | None:
        """Return the row at a place, if it was read."""
        return self._frontier.rows.get(place)

    def _paint(self, place: Place, *, had: bool) -> None:
        before = self._had.get(place.commit_id)
        if before is None:
            self._had[place.commit_id] = had
            # A commit of the complete list needs no expansion: its ancestors are in the list as
            # well.
            if not (had and place.commit_id in self._held):
                self._frontier.add(place)
                self._wanted_pending += not had
        elif had and not before:
            self._had[place.commit_id] = True
            self._wanted_pending -= 1

    def _needed(self) -> list[Place]:
        missing = self._frontier.without_row()
        lowest_wanted = min(p.generation for i, p in self._frontier.places.items() if not self._had[i])
        return [p for p in missing if not self._had[p.commit_id] or p.generation >= lowest_wanted]


class Nearest:
    """Find the commit of the greatest generation in `targets` that is reachable from `starts`.

    A commit is reachable from itself. `targets` has places by id. After the last `advance`, `found`
    is the id or None. Reads no rows below the lowest target.
    """

    def __init__(self, starts: Iterable[Place], targets: Mapping[str, Place]) -> None:
        self.found: str | None = None
        self._targets = targets
        self._floor = min((place.generation for place in targets.values()), default=0)
        self._frontier = _Frontier()
        self._seen: set[str] = set()
        for place in starts:
            self._see(place)

    def advance(self) -> list[Place]:
        """See `Walk`."""
        while self._targets and self.found is None and (top := self._frontier.top()):
            if top.commit_id in self._targets:
                self.found = top.commit_id
                break
            if top.generation < self._floor:
                break
            if top.generation == self._floor:
                self._frontier.pop()
                continue
            node = self._frontier.rows.get(top)
            if node is None:
                return [p for p in self._frontier.without_row() if p.generation > self._floor]
            self._frontier.pop()
            for parent in node.parents:
                self._see(parent)
        return []

    def feed(self, rows: Mapping[Place, Node]) -> None:
        """See `Walk`."""
        self._frontier.rows.update(rows)

    def reach(self, place: Place) -> int | None:
        """Guess the distance to the nearest target below. A wrong guess costs one more read."""
        below = [t.generation for t in self._targets.values() if t.generation < place.generation]
        return place.generation - max(below) if below else 0

    def _see(self, place: Place) -> None:
        if place.commit_id not in self._seen:
            self._seen.add(place.commit_id)
            self._frontier.add(place)


class Reachable:
    """Find which of `targets` are reachable from `starts`. A commit is reachable from itself.

    After the last `advance`, `found` has their places by id, and `missing` has the other targets.
    The places are those that the graph references: a forced push may have written a second row of a
    commit in another lane. Reads no rows below the lowest target. Visits the lanes of the targets
    first, because most commits are below the head of the branch on which they arrived.
    """

    AT_ONCE = 8
    """The most lanes that are read in one round: a repository may have thousands of branches."""

    def __init__(self, starts: Iterable[Place], targets: Iterable[Place]) -> None:
        self.found: dict[str, Place] = {}
        self.missing = {place.commit_id: place for place in targets}
        self._lowest_last = sorted(self.missing.values(), key=lambda place: place.generation, reverse=True)
        self._lanes = {place.lane for place in self.missing.values()}
        self._heap: list[tuple[bool, int, str, str]] = []
        self._seen: set[Place] = set()
        self._rows: dict[Place, Node] = {}
        for place in starts:
            self._see(place)

    def advance(self) -> list[Place]:
        """See `Walk`."""
        while self._heap:
            place = _place(self._heap[0])
            if self.missing.pop(place.commit_id, None):
                self.found[place.commit_id] = place
            if not self.missing:
                break
            if place.generation > self._floor():
                node = self._rows.pop(place, None)
                if node is None:
                    return self._needed()
                heapq.heappop(self._heap)
                for parent in node.parents:
                    self._see(parent)
            else:
                heapq.heappop(self._heap)
        return []

    def feed(self, rows: Mapping[Place, Node]) -> None:
        """See `Walk`."""
        self._rows.update(rows)

    def reach(self, place: Place) -> int | None:
        """The distance to the nearest target below."""
        below = [t.generation for t in self.missing.values() if t.generation < place.generation]
        return place.generation - max(below) if below else 0

    def _see(self, place: Place) -> None:
        if place not in self._seen:
            self._seen.add(place)
            heapq.heappush(
                self._heap,
                (place.lane not in self._lanes, -place.generation, place.commit_id, place.lane),
            )

    def _floor(self) -> int:
        """The generation of the lowest missing target. At least one target must be missing."""
        while self._lowest_last[-1].commit_id not in self.missing:
            self._lowest_last.pop()
        return self._lowest_last[-1].generation

    def _needed(self) -> list[Place]:
        floor = self._floor()
        first = map(_place, heapq.nsmallest(4 * self.AT_ONCE, self._heap))
        needed = [place for place in first if place.generation > floor and place not in self._rows]
        return needed[: self.AT_ONCE]


def _place(entry: tuple[bool, int, str, str]) -> Place:
    _, generation, commit_id, lane = entry
    return Place(commit_id, -generation, lane)
