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

from shared.model import CommitAddress, CommitId, Node


class Walk(Protocol):
    """The interface of a walk for a driver that can read rows."""

    def advance(self) -> list[CommitAddress]:
        """Walk until rows are missing. Returns the places of the needed rows; none at the end."""

    def feed(self, rows: Mapping[CommitAddress, Node]) -> None:
        """Add rows by place: the requested ones, and any neighbours that were read with them."""

    def page_hint(self, address: CommitAddress) -> int | None:
        """Guess how many generations below `address` the walk will need; None for all of them."""


class _Frontier:
    """The pending commits of a walk, the greatest generation first, and the rows that were read."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, CommitId]] = []
        self.addresses: dict[CommitId, CommitAddress] = {}
        self.rows: dict[CommitAddress, Node] = {}

    def add(self, address: CommitAddress) -> None:
        self.addresses[address.commit_id] = address
        heapq.heappush(self._heap, (-address.generation, address.commit_id))

    def top(self) -> CommitAddress | None:
        if self._heap:
            return self.addresses[self._heap[0][1]]
        return None

    def pop(self) -> CommitAddress:
        return self.addresses.pop(heapq.heappop(self._heap)[1])

    def without_row(self) -> list[CommitAddress]:
        return [address for address in self.addresses.values() if address not in self.rows]


class Difference:
    """reachable(want) − reachable(have), exactly. Reads few more rows than it returns.

    `want` and `have` are places of known commits. `held` is the complete list of the client: ids of
    commits that it has together with all their ancestors. The walk stops at them, and never needs
    their rows. After the last `advance`, `collected` holds the difference, the greatest generation
    first.
    """

    def __init__(
        self,
        want: Iterable[CommitAddress],
        have: Iterable[CommitAddress],
        held: Collection[str] = frozenset(),
    ) -> None:
        self.collected: list[Node] = []
        self._held = held
        self._frontier = _Frontier()
        self._had: dict[str, bool] = {}
        self._wanted_pending = 0
        for address in have:
            self._paint(address, had=True)
        for address in want:
            self._paint(address, had=address.commit_id in held)

    def advance(self) -> list[CommitAddress]:
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

    def feed(self, rows: Mapping[CommitAddress, Node]) -> None:
        """See `Walk`."""
        self._frontier.rows.update(rows)

    def page_hint(self, address: CommitAddress) -> int | None:
        """Guess the distance to the nearest pending commit of the other side (had or wanted).

        The distance to a commit of the complete list is unknown: then a small constant is used.
        """
        had = self._had[address.commit_id]
        below = [
            other.generation
            for commit_id, other in self._frontier.addresses.items()
            if other.generation < address.generation and self._had[commit_id] is not had
        ]
        if below:
            return address.generation - max(below)
        if had:
            return 0
        return 16 if self._held else None

    def boundary(self, nodes: Iterable[Node]) -> dict[CommitId, CommitAddress]:
        """Return the parents of these collected commits that the client has, by id."""
        parents = chain.from_iterable(node.parents for node in nodes)
        return {parent.commit_id: parent for parent in parents if self._had[parent.commit_id]}

    def row(self, address: CommitAddress) -> Node | None:
        """Return the row at a place, if it was read."""
        return self._frontier.rows.get(address)

    def _paint(self, address: CommitAddress, *, had: bool) -> None:
        before = self._had.get(address.commit_id)
        if before is None:
            self._had[address.commit_id] = had
            # A commit of the complete list needs no expansion: its ancestors are in the list as
            # well.
            if not (had and address.commit_id in self._held):
                self._frontier.add(address)
                self._wanted_pending += not had
        elif had and not before:
            self._had[address.commit_id] = True
            self._wanted_pending -= 1

    def _needed(self) -> list[CommitAddress]:
        missing = self._frontier.without_row()
        lowest_wanted = min(
            p.generation for i, p in self._frontier.addresses.items() if not self._had[i]
        )
        return [p for p in missing if not self._had[p.commit_id] or p.generation >= lowest_wanted]


class Nearest:
    """Find the commit of the greatest generation in `targets` that is reachable from `starts`.

    A commit is reachable from itself. `targets` has places by id. After the last `advance`, `found`
    is the id or None. Reads no rows below the lowest target.
    """

    def __init__(
        self, starts: Iterable[CommitAddress], targets: Mapping[CommitId, CommitAddress]
    ) -> None:
        self.found: str | None = None
        self._targets = targets
        self._floor = min((address.generation for address in targets.values()), default=0)
        self._frontier = _Frontier()
        self._seen: set[str] = set()
        for address in starts:
            self._see(address)

    def advance(self) -> list[CommitAddress]:
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

    def feed(self, rows: Mapping[CommitAddress, Node]) -> None:
        """See `Walk`."""
        self._frontier.rows.update(rows)

    def page_hint(self, address: CommitAddress) -> int | None:
        """Guess the distance to the nearest target below. A wrong guess costs one more read."""
        below = [t.generation for t in self._targets.values() if t.generation < address.generation]
        if below:
            return address.generation - max(below)
        return 0

    def _see(self, address: CommitAddress) -> None:
        if address.commit_id not in self._seen:
            self._seen.add(address.commit_id)
            self._frontier.add(address)


class Reachable:
    """Find which of `targets` are reachable from `starts`. A commit is reachable from itself.

    After the last `advance`, `found` has their places by id, and `missing` has the other targets.
    The places are those that the graph references: a forced push may have written a second row of a
    commit in another lane. Reads no rows below the lowest target. Visits the lanes of the targets
    first, because most commits are below the head of the branch on which they arrived.
    """

    AT_ONCE = 8
    """The most lanes that are read in one round: a repository may have thousands of branches."""

    def __init__(self, starts: Iterable[CommitAddress], targets: Iterable[CommitAddress]) -> None:
        self.found: dict[CommitId, CommitAddress] = {}
        self.missing = {address.commit_id: address for address in targets}
        self._lowest_last = sorted(
            self.missing.values(), key=lambda address: address.generation, reverse=True
        )
        self._lanes = {address.lane for address in self.missing.values()}
        self._heap: list[tuple[bool, int, CommitId, str]] = []
        self._seen: set[CommitAddress] = set()
        self._rows: dict[CommitAddress, Node] = {}
        for address in starts:
            self._see(address)

    def advance(self) -> list[CommitAddress]:
        """See `Walk`."""
        while self._heap:
            address = _place(self._heap[0])
            if self.missing.pop(address.commit_id, None):
                self.found[address.commit_id] = address
            if not self.missing:
                break
            if address.generation > self._floor():
                node = self._rows.pop(address, None)
                if node is None:
                    return self._needed()
                heapq.heappop(self._heap)
                for parent in node.parents:
                    self._see(parent)
            else:
                heapq.heappop(self._heap)
        return []

    def feed(self, rows: Mapping[CommitAddress, Node]) -> None:
        """See `Walk`."""
        self._rows.update(rows)

    def page_hint(self, address: CommitAddress) -> int | None:
        """The distance to the nearest target below."""
        below = [t.generation for t in self.missing.values() if t.generation < address.generation]
        if below:
            return address.generation - max(below)
        return 0

    def _see(self, address: CommitAddress) -> None:
        if address not in self._seen:
            self._seen.add(address)
            heapq.heappush(
                self._heap,
                (
                    address.lane not in self._lanes,
                    -address.generation,
                    address.commit_id,
                    address.lane,
                ),
            )

    def _floor(self) -> int:
        """The generation of the lowest missing target. At least one target must be missing."""
        while self._lowest_last[-1].commit_id not in self.missing:
            self._lowest_last.pop()
        return self._lowest_last[-1].generation

    def _needed(self) -> list[CommitAddress]:
        floor = self._floor()
        first = map(_place, heapq.nsmallest(4 * self.AT_ONCE, self._heap))
        needed = [
            address for address in first if address.generation > floor and address not in self._rows
        ]
        return needed[: self.AT_ONCE]


def _place(entry: tuple[bool, int, CommitId, str]) -> CommitAddress:
    _, generation, commit_id, lane = entry
    return CommitAddress(commit_id, -generation, lane)
