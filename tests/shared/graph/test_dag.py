"""Walks against the slow definition: sets of ancestors, on random histories with many equal
generations.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.graph.dag import Difference, Nearest, Reachable, Walk
from shared.model import CommitAddress, CommitId, Node

# ── Histories ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Dag:
    """Commits as letters and digits: id → parents, in an order in which parents come first."""

    parents: Mapping[str, tuple[str, ...]]
    lanes: Mapping[str, str]

    @cached_property
    def addresses(self) -> dict[str, CommitAddress]:
        addresses: dict[str, CommitAddress] = {}
        for commit_id, parents in self.parents.items():
            generation = 1 + max((addresses[p].generation for p in parents), default=0)
            addresses[commit_id] = CommitAddress(
                CommitId(commit_id), generation, self.lanes.get(commit_id, "main")
            )
        return addresses

    def at(self, commit_ids: Iterable[str]) -> list[CommitAddress]:
        return [self.addresses[i] for i in commit_ids]

    def node(self, commit_id: str) -> Node:
        return Node(self.addresses[commit_id], tuple(self.at(self.parents[commit_id])))

    def reachable(self, starts: Iterable[str]) -> set[str]:
        """The definition: the starts and everything before them."""
        found: set[str] = set()
        pending = [s for s in starts if s in self.parents]
        while pending:
            commit_id = pending.pop()
            if commit_id not in found:
                found.add(commit_id)
                pending += self.parents[commit_id]
        return found


def draw(drawing: str) -> Dag:
    """`"1; 2:1; 3:1,2"`: a root, its child, and a merge of both."""
    parts = [part.strip().partition(":") for part in drawing.split(";")]
    return Dag({name: tuple(p for p in parents.split(",") if p) for name, _, parents in parts}, {})


def line(length: int) -> Dag:
    return Dag({str(n): (str(n - 1),) if n > 1 else () for n in range(1, length + 1)}, {})


# ── Drivers: how the rows come ────────────────────────────────────────────────────────────────────

Feed = Callable[[Dag, Sequence[CommitAddress], random.Random], Iterable[str]]


def what_was_asked(dag: Dag, asked: Sequence[CommitAddress], dice: random.Random) -> Iterable[str]:
    return [address.commit_id for address in asked]


def one_row_at_a_time(
    dag: Dag, asked: Sequence[CommitAddress], dice: random.Random
) -> Iterable[str]:
    return [dice.choice(asked).commit_id]


def with_neighbours(dag: Dag, asked: Sequence[CommitAddress], dice: random.Random) -> Iterable[str]:
    strangers = dice.sample(sorted(dag.parents), dice.randint(0, len(dag.parents)))
    return [*strangers, *(address.commit_id for address in asked)]


def runs_of_lanes(dag: Dag, asked: Sequence[CommitAddress], dice: random.Random) -> Iterable[str]:
    """From the newest row asked for in each lane downwards, as a query reads them, and not far."""
    fed: list[str] = []
    for lane in {address.lane for address in asked}:
        start = max((p for p in asked if p.lane == lane), key=lambda p: (p.generation, p.commit_id))
        below = [p for p in dag.addresses.values() if p.lane == lane and _order(p) <= _order(start)]
        fed += [p.commit_id for p in sorted(below, key=_order, reverse=True)[: dice.randint(1, 3)]]
    return fed


def _order(address: CommitAddress) -> tuple[int, str]:
    return address.generation, address.commit_id


FEEDS = [what_was_asked, one_row_at_a_time, with_neighbours, runs_of_lanes]


def walk(dag: Dag, walker: Walk, feed: Feed = what_was_asked, seed: int = 0) -> list[str]:
    """Walk to the end. Returns every id that was asked for, as often as it was."""
    dice = random.Random(seed)
    asked: list[str] = []
    for _ in range(10 * len(dag.parents) + 10):
        needed = walker.advance()
        if not needed:
            return asked
        asked += [address.commit_id for address in needed]
        for address in needed:
            assert address == dag.addresses[address.commit_id]
            page_hint = walker.page_hint(address)
            assert (
                page_hint is None or 0 <= page_hint < max(2, address.generation) or page_hint == 16
            )
        rows = [dag.node(i) for i in feed(dag, needed, dice)]
        strays = {
            address: Node(address, ())
            for node in rows
            for address in [replace(node.address, lane="of the dead")]
        }
        walker.feed({node.address: node for node in rows} | strays)
    raise AssertionError("the walk does not end")


# ── Random histories ──────────────────────────────────────────────────────────────────────────────


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """Up to 16 commits in few layers, so that generations are often equal; ids in no helpful
    order.
    """
    page_hint = draw(st.integers(1, 6))
    choice = st.integers(0, page_hint)  # the distance of a parent in commits; 0 for no parent
    links = draw(
        st.lists(
            st.tuples(choice, choice, st.sampled_from(["main", "dev", "topic/a"])),
            min_size=1,
            max_size=16,
        )
    )
    ids = [f"{n:02}" for n in range(len(links))]
    random.Random(draw(st.integers(0, 9))).shuffle(ids)
    parents = {
        ids[n]: tuple(ids[n - back] for back in (first, second) if 0 < back <= n)
        for n, (first, second, _) in enumerate(links)
    }
    return Dag(parents, {ids[n]: lane for n, (_, _, lane) in enumerate(links)})


@dataclass(frozen=True)
class Case:
    """A history, two picks of its commits, and how the rows come."""

    dag: Dag
    first: list[str]
    second: list[str]
    feed: Feed
    seed: int


@st.composite
def cases(draw: st.DrawFn, most: int = 4) -> Case:
    dag = draw(dags())
    commits = st.sampled_from(list(dag.parents))
    first, second = draw(st.lists(commits, max_size=4)), draw(st.lists(commits, max_size=most))
    return Case(dag, first, second, draw(st.sampled_from(FEEDS)), draw(st.integers(0, 99)))


# ── Difference ────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=300)
@given(cases())
def test_the_difference_is_that_of_the_sets(case):
    dag, want, have = case.dag, case.first, case.second
    difference = Difference(dag.at(want), dag.at(have))
    walk(dag, difference, case.feed, case.seed)

    collected = [node.commit_id for node in difference.collected]
    assert len(collected) == len(set(collected))
    assert set(collected) == dag.reachable(want) - dag.reachable(have)
    generations = [node.address.generation for node in difference.collected]
    assert generations == sorted(generations, reverse=True)


@settings(max_examples=200)
@given(cases())
def test_a_complete_list_of_haves_is_subtracted_exactly(case):
    dag, want = case.dag, case.first
    held = dag.reachable(case.second) | {"a commit that only the client has"}
    difference = Difference(dag.at(want), [], held)
    asked = walk(dag, difference, case.feed, case.seed)

    assert {node.commit_id for node in difference.collected} == dag.reachable(want) - held
    assert not held.intersection(asked)


@settings(max_examples=200)
@given(cases(most=12), st.integers(0, 3))
def test_an_incomplete_list_never_makes_it_less(case, looked_up):
    """A list with holes, part of it looked up: every commit that the client may lack is sent, and
    no commit of its list.
    """
    dag, want = case.dag, case.first
    have, held = case.second[:looked_up], set(case.second[looked_up:])
    difference = Difference(dag.at(want), dag.at(have), held)
    walk(dag, difference, case.feed, case.seed)

    collected = {node.commit_id for node in difference.collected}
    assert collected >= dag.reachable(want) - dag.reachable(held | set(have))
    assert collected <= dag.reachable(want) - held - set(have)


@settings(max_examples=200)
@given(cases())
def test_the_boundary_is_the_parents_that_the_client_has(case):
    dag, want, have = case.dag, case.first, case.second
    difference = Difference(dag.at(want), dag.at(have))
    walk(dag, difference, case.feed, case.seed)

    new = dag.reachable(want) - dag.reachable(have)
    expected = {parent for commit_id in new for parent in dag.parents[commit_id]} & dag.reachable(
        have
    )
    assert difference.boundary(difference.collected) == {
        commit_id: dag.addresses[commit_id] for commit_id in expected
    }


@settings(max_examples=200)
@given(cases())
def test_no_row_is_asked_for_twice_or_without_need(case):
    """A row has the parents of its commit. They matter only above the oldest commit that may be
    sent.
    """
    dag, want, have = case.dag, case.first, case.second
    asked = walk(dag, Difference(dag.at(want), dag.at(have)))

    assert len(asked) == len(set(asked))
    new = dag.reachable(want) - dag.reachable(have)
    in_question = ({*want} | {p for i in new for p in dag.parents[i]}) - {*have}
    lowest = min((dag.addresses[i].generation for i in in_question), default=None)
    if lowest is None:
        assert asked == []
    else:
        assert all(dag.addresses[i].generation >= lowest for i in asked)
    assert new <= set(asked) <= dag.reachable(want) | dag.reachable(have)


@pytest.mark.parametrize("depth", [2, 10, 1000])
@pytest.mark.parametrize("new", [1, 3])
def test_rows_read_follow_the_difference_not_the_depth(depth, new):
    dag = line(depth + new)
    difference = Difference(dag.at([str(depth + new)]), dag.at([str(depth)]))
    assert len(walk(dag, difference)) == new
    assert [node.commit_id for node in difference.collected] == [
        str(depth + n) for n in range(new, 0, -1)
    ]


@pytest.mark.parametrize("depth", [2, 10, 1000])
def test_a_held_list_costs_no_row_at_any_depth(depth):
    dag = line(depth)
    held = {str(n) for n in range(1, depth)}
    assert walk(dag, Difference(dag.at([str(depth)]), [], held)) == [str(depth)]


#      2 ── 4 ── 6          Two lines that part at 1 and meet in 7;
#  1 ─┤          ├─ 7 ─ 8   3 and 2, 5 and 4 have equal generations.
#      3 ── 5 ───┘
TWO_LINES = "1; 2:1; 3:1; 4:2; 5:3; 6:4; 7:6,5; 8:7"


@pytest.mark.parametrize(
    ("want", "have", "expected", "boundary"),
    [
        pytest.param("8", "", "8 7 6 5 4 3 2 1", "", id="a clone takes everything"),
        pytest.param("8", "7", "8", "7", id="one commit behind"),
        pytest.param("8", "8", "", "", id="nothing new"),
        pytest.param("7", "8", "", "", id="client ahead"),
        pytest.param("1", "8", "", "", id="client far ahead"),
        pytest.param("6", "5", "6 4 2", "1", id="diverged, seen from one side"),
        pytest.param("5", "6", "5 3", "1", id="diverged, seen from the other"),
        pytest.param("7", "6 5", "7", "5 6", id="a merge of two known lines"),
        pytest.param("7", "6", "7 5 3", "6 1", id="a merge that brings one line"),
        pytest.param("8", "2 3", "8 7 6 5 4", "2 3", id="haves of one generation"),
        pytest.param("8 6", "4", "8 7 6 5 3", "4 1", id="one want reaches the other"),
        pytest.param("4 5", "2 2 2", "4 5 3", "2 1", id="the same have again and again"),
    ],
)
@pytest.mark.parametrize("feed", FEEDS)
def test_want_minus_have(want, have, expected, boundary, feed):
    dag = draw(TWO_LINES)
    difference = Difference(dag.at(want.split()), dag.at(have.split()))
    walk(dag, difference, feed)
    assert {node.commit_id for node in difference.collected} == set(expected.split())
    assert set(difference.boundary(difference.collected)) == set(boundary.split())


def test_a_row_that_came_along_is_at_hand():
    dag = line(3)
    difference = Difference(dag.at("3"), dag.at("2"))
    walk(dag, difference, lambda *_: ["3", "2"])
    assert difference.row(dag.addresses["2"]) == dag.node("2")
    assert difference.row(dag.addresses["1"]) is None


@pytest.mark.parametrize(
    ("want", "have", "held", "address", "guess"),
    [
        pytest.param("9", "4", "", "9", 5, id="down to the have below"),
        pytest.param("9", "4 7", "", "9", 2, id="down to the nearest have"),
        pytest.param("9", "", "", "9", None, id="all of it when nothing is had"),
        pytest.param("5", "9", "", "9", 4, id="a client ahead: down to what is wanted"),
        pytest.param("5", "9", "", "5", None, id="a wanted one with no have below"),
        pytest.param("9", "", "1 2 3", "9", 16, id="a held list lies who knows where"),
        pytest.param("9", "4", "", "4", 0, id="a commit of the client with no wanted commit below"),
    ],
)
def test_the_guess_of_how_far_to_read(want, have, held, address, guess):
    dag = line(9)
    difference = Difference(dag.at(want.split()), dag.at(have.split()), set(held.split()))
    assert difference.page_hint(dag.addresses[address]) == guess


# ── Nearest ───────────────────────────────────────────────────────────────────────────────────────


def best(dag: Dag, starts: Iterable[str], targets: Set[str]) -> int | None:
    """The definition: the greatest generation of a target that is reachable."""
    return max((dag.addresses[i].generation for i in dag.reachable(starts) & targets), default=None)


@settings(max_examples=300)
@given(cases())
def test_the_nearest_target_is_the_newest_that_is_reachable(case):
    dag, starts, targets = case.dag, case.first, set(case.second)
    nearest = Nearest(dag.at(starts), {i: dag.addresses[i] for i in targets})
    walk(dag, nearest, case.feed, case.seed)

    expected = best(dag, starts, targets)
    if expected is None:
        assert nearest.found is None
    else:
        assert nearest.found is not None
        assert nearest.found in dag.reachable(starts) & targets
        assert dag.addresses[nearest.found].generation == expected


@given(cases())
def test_nearest_reads_no_row_at_or_below_its_lowest_target(case):
    dag, starts, targets = case.dag, case.first, set(case.second)
    asked = walk(dag, Nearest(dag.at(starts), {i: dag.addresses[i] for i in targets}))
    lowest = min((dag.addresses[i].generation for i in targets), default=10**6)
    assert len(asked) == len(set(asked))
    assert all(dag.addresses[i].generation > lowest for i in asked)


@pytest.mark.parametrize(
    ("starts", "targets", "found", "rows"),
    [
        pytest.param("8", "8", "8", 0, id="a start that is a target"),
        pytest.param("8", "7", "7", 1, id="the parent"),
        pytest.param("7", "6 1", "6", 1, id="the newer of two"),
        pytest.param("6", "5", None, 1, id="not an ancestor, though older: 3 of 5 is left unread"),
        pytest.param("4", "5", None, 0, id="not an ancestor, and no older"),
        pytest.param("2", "8", None, 0, id="a descendant"),
        pytest.param("8", "", None, 0, id="no target"),
        pytest.param("", "1", None, 0, id="no start"),
        pytest.param("6 5", "3 2", None, None, id="either of two of one generation"),
    ],
)
def test_nearest(starts, targets, found, rows):
    dag = draw(TWO_LINES)
    nearest = Nearest(dag.at(starts.split()), {i: dag.addresses[i] for i in targets.split()})
    asked = walk(dag, nearest)
    if rows is None:
        assert nearest.found in targets.split()
    else:
        assert (nearest.found, len(asked)) == (found, rows)


def test_a_start_far_above_its_target_guesses_the_way_down():
    dag = line(9)
    targets = {address.commit_id: address for address in dag.at(["4", "2"])}
    nearest = Nearest(dag.at("9"), targets)
    assert nearest.page_hint(dag.addresses["9"]) == 5
    assert nearest.page_hint(dag.addresses["4"]) == 2
    assert nearest.page_hint(dag.addresses["2"]) == 0


# ── Reachable ─────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=200)
@given(cases())
def test_reachable_finds_the_targets_that_the_definition_finds(case):
    dag, starts, targets = case.dag, case.first, set(case.second)
    reachable = Reachable(dag.at(starts), dag.at(targets))
    walk(dag, reachable, case.feed, case.seed)
    found = dag.reachable(starts) & targets
    assert reachable.found == {commit_id: dag.addresses[commit_id] for commit_id in found}
    assert reachable.missing.keys() == targets - found


@given(cases())
def test_reachable_asks_for_a_row_once_and_for_none_at_or_below_the_lowest_target(case):
    dag, starts, targets = case.dag, case.first, set(case.second)
    asked = walk(dag, Reachable(dag.at(starts), dag.at(targets)))
    floor = min((dag.addresses[commit_id].generation for commit_id in targets), default=0)
    assert len(asked) == len(set(asked))
    assert all(dag.addresses[commit_id].generation > floor for commit_id in asked)


def test_reachable_asks_for_nothing_without_a_target():
    assert walk(line(9), Reachable(line(9).at("9"), [])) == []


def test_reachable_guesses_the_distance_to_the_nearest_target_below():
    dag = line(9)
    reachable = Reachable(dag.at("9"), dag.at("42"))
    assert [reachable.page_hint(dag.addresses[address]) for address in "942"] == [5, 2, 0]


def test_reachable_reads_nothing_below_the_last_missing_target():
    parents = {"1": (), "2": ("1",), "3": ("1",), "4": ("3",), "5": ("4",), "6": ("5",)}
    dag = Dag(parents, {"2": "found", "6": "above"})
    reachable = Reachable(dag.at("25"), dag.at("26"))
    assert walk(dag, reachable) == []
    assert (set(reachable.found), set(reachable.missing)) == ({"2"}, {"6"})
