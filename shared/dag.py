"""Walks over the commit graph, without I/O: a walk says which rows it needs next and is fed them.

Both go from the newest generation down. A child's generation is always greater than its parents', so when
a commit is taken from the top, everything that could still reach it has been seen: what is known of it is
final, and the walk may stop as soon as nothing of interest is pending, whatever lies below.

    while needed := walk.advance():
        walk.feed(rows_of(needed))

A row counts for the place that names it, and for no other: in another lane there may lie one of the same commit that
an unfinished push has left there, and what that names may be gone.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from shared.model import Node, Place


class Walk(Protocol):
    """What a driver with access to the rows needs to know of a walk."""

    def advance(self) -> list[Place]:
        """Go as far as the rows at hand allow. Returns the places whose rows are needed; none when done."""

    def feed(self, rows: Mapping[Place, Node]) -> None:
        """Rows that were read, by place: those asked for, and any neighbours that came along."""

    def reach(self, place: Place) -> int | None:
        """A guess at how many generations below `place` the walk will want; None for all of them."""


class _Frontier:
    """Commits waiting to be taken, newest generation first, and the rows at hand."""

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
    """reachable(want) − reachable(have), exactly, reading little more than what it returns.

    `want`, `have`: places of known commits. `held`: ids of commits whose whole ancestry the client holds too
    (its complete list): they end the walk where it meets them, and their own rows are never asked for.
    After the last `advance`, `collected` holds the difference, newest generation first.
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
        """Down to the nearest pending commit of the other colour; a held list is met at an unknown depth."""
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
        """Those parents of some collected commits that the client has, by id."""
        parents = {parent.commit_id: parent for node in nodes for parent in node.parents}
        return {commit_id: place for commit_id, place in parents.items() if self._had[commit_id]}

    def row(self, place: Place) -> Node | None:
        """The row at a place, if it came along."""
        return self._frontier.rows.get(place)

    def _paint(self, place: Place, *, had: bool) -> None:
        before = self._had.get(place.commit_id)
        if before is None:
            self._had[place.commit_id] = had
            # What the client's complete list holds needs no expansion: its ancestors are in the list as well.
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
    """The commit of greatest generation among `targets` that is one of `starts` or an ancestor of one.

    `targets`: ids with their places. `found` is its id after the last `advance`, or None. Reads nothing
    below the lowest target.
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
        """Down to the nearest target below; a wrong guess costs one more read."""
        below = [t.generation for t in self._targets.values() if t.generation < place.generation]
        return place.generation - max(below) if below else 0

    def _see(self, place: Place) -> None:
        if place.commit_id not in self._seen:
            self._seen.add(place.commit_id)
            self._frontier.add(place)


class Reachable:
    """Which of some commits are one of `starts` or an ancestor of one.

    After the last `advance`, `found` has their places by id, each as the graph names it: a forced push may have
    written the row of a commit a second time, in another lane. `missing` has the others. Reads nothing below the lowest
    target. It follows the lanes of the targets first: most commits are below the head of the branch on which they
    arrived.
    """

    AT_ONCE = 8
    """Lanes read in one round: a repository may have thousands of branches."""

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
        """Down to the nearest target below."""
        below = [t.generation for t in self.missing.values() if t.generation < place.generation]
        return place.generation - max(below) if below else 0

    def _see(self, place: Place) -> None:
        if place not in self._seen:
            self._seen.add(place)
            heapq.heappush(self._heap, (place.lane not in self._lanes, -place.generation, place.commit_id, place.lane))

    def _floor(self) -> int:
        """The generation of the lowest target that is missing; there is one."""
        while self._lowest_last[-1].commit_id not in self.missing:
            self._lowest_last.pop()
        return self._lowest_last[-1].generation

    def _needed(self) -> list[Place]:
        floor = self._floor()
        first = map(_place, heapq.nsmallest(4 * self.AT_ONCE, self._heap))
        return [place for place in first if place.generation > floor and place not in self._rows][: self.AT_ONCE]


def _place(entry: tuple[bool, int, str, str]) -> Place:
    _, generation, commit_id, lane = entry
    return Place(commit_id, -generation, lane)
