"""A walk over real rows: the same answer as over sets, in few and short reads."""

import random
import uuid
from dataclasses import replace
from typing import Any

import pytest

from shared.engines.dynamodb import DynamoTable
from shared.errors import Damaged
from shared.graph import walk
from shared.graph.dag import Difference, Nearest
from shared.metadata.commits import Commits
from shared.model import CommitAddress, CommitId, Node, Packed, Repo, RepoId
from shared.stores import Stores
from tests.shared.clients import Watched
from tests.shared.graph.test_dag import Dag, best, line

pytestmark = pytest.mark.asyncio(loop_scope="session")

LENGTH = 300


@pytest.fixture
def commits(opened: Stores, repo_id: RepoId) -> Commits:
    return opened.of(Repo("ada", "song", repo_id)).commits


def watched(commits: Commits) -> tuple[Commits, Watched]:
    assert isinstance(commits.table, DynamoTable)
    client: Any = Watched(commits.table.client)
    return replace(commits, table=replace(commits.table, client=client)), client


async def stored(commits: Commits, dag: Dag) -> Commits:
    """A new repository with these commits."""
    new = replace(commits, repo_id=RepoId(str(uuid.uuid4())))
    await new.put([dag.node(commit_id) for commit_id in dag.parents], 0)
    return new


_lines: list[Commits] = []


async def long_line(commits: Commits) -> Commits:
    """A repository of one line of commits, made once for all tests that only read it."""
    if not _lines:
        _lines.append(await stored(commits, line(LENGTH)))
    return _lines[0]


def tangle(seed: int) -> Dag:
    """Sixty commits in three lanes, one in three a merge, many of them of equal generation."""
    dice = random.Random(seed)
    ids = [f"{n:03}" for n in range(60)]
    dice.shuffle(ids)
    parents: dict[str, tuple[str, ...]] = {}
    for n, commit_id in enumerate(ids):
        recent = ids[max(0, n - 7) : n]
        parents[commit_id] = tuple(dice.sample(recent, min(len(recent), dice.choice([1, 1, 2]))))
    return Dag(parents, {commit_id: dice.choice(["main", "dev", "a/b"]) for commit_id in ids})


@pytest.mark.parametrize("seed", range(6))
async def test_a_walk_over_rows_equals_the_set_operations(commits, seed):
    dag, dice = tangle(seed), random.Random(seed)
    commits = await stored(commits, dag)
    for _ in range(4):
        want, have = (dice.sample(sorted(dag.parents), dice.randint(1, 3)) for _ in range(2))
        difference = Difference(dag.at(want), dag.at(have))
        assert await walk.run(commits, difference)
        assert {node.commit_id for node in difference.collected} == dag.reachable(
            want
        ) - dag.reachable(have)
        assert all(node == dag.node(node.commit_id) for node in difference.collected)

        held = dag.reachable(have)
        difference = Difference(dag.at(want), [], held)
        await walk.run(commits, difference)
        assert {node.commit_id for node in difference.collected} == dag.reachable(want) - held

        nearest = Nearest(dag.at(want), {CommitId(i): dag.addresses[i] for i in have})
        assert await walk.run(commits, nearest)
        assert (dag.addresses[nearest.found].generation if nearest.found else None) == best(
            dag, want, set(have)
        )


@pytest.mark.parametrize("tip", [10, 100, LENGTH])
async def test_one_new_commit_is_one_short_read_at_any_depth(commits, tip):
    commits, dag = await long_line(commits), line(LENGTH)
    watching, client = watched(commits)
    difference = Difference(dag.at([str(tip)]), dag.at([str(tip - 1)]))
    await walk.run(watching, difference)
    assert [node.commit_id for node in difference.collected] == [str(tip)]
    assert [request["Limit"] for request in client.requests] == [1 + walk.SPARE_ROWS]


async def test_all_that_is_pending_in_a_lane_is_one_read_from_its_newest(commits):
    commits, dag = await long_line(commits), line(LENGTH)
    watching, client = watched(commits)
    difference = Difference(dag.at(["15", "20", "17"]), dag.at(["10"]))
    await walk.run(watching, difference)
    assert [node.commit_id for node in difference.collected] == [str(n) for n in range(20, 10, -1)]
    assert client.calls == {"query": 1}


async def test_a_whole_line_is_one_read(commits):
    commits, dag = await long_line(commits), line(LENGTH)
    watching, client = watched(commits)
    difference = Difference(dag.at([str(LENGTH)]), [])
    await walk.run(watching, difference)
    assert len(difference.collected) == LENGTH
    assert client.calls == {"query": 1}


async def test_a_wrong_guess_costs_reads_that_grow(commits):
    """The client's list is met 200 commits down, further than was guessed."""
    commits, dag = await long_line(commits), line(LENGTH)
    watching, client = watched(commits)
    held = {str(n) for n in range(1, LENGTH - 199)}
    difference = Difference(dag.at([str(LENGTH)]), [], held)
    await walk.run(watching, difference)
    assert len(difference.collected) == 200
    first = 16 + walk.SPARE_ROWS
    assert [request["Limit"] for request in client.requests] == [
        first,
        first * walk.GROWTH,
        first * walk.GROWTH**2,
    ]


async def test_a_target_that_is_not_reachable_does_not_hide_one_far_below(commits):
    """The client offers a commit of another branch near the head, and the first commit."""
    commits, dag = await long_line(commits), line(LENGTH)
    targets = {
        dag.addresses["1"],
        CommitAddress(CommitId("other"), LENGTH - 1, "side"),
    }
    nearest = Nearest(dag.at([str(LENGTH)]), {target.commit_id: target for target in targets})
    assert await walk.run(commits, nearest, max_rounds=2)
    assert nearest.found == "1"


async def test_lanes_are_read_at_once_one_query_each(commits):
    parents: dict[str, tuple[str, ...]] = (
        {"0": ()} | {str(n): ("0",) for n in range(1, 6)} | {"m": ("1", "2")}
    )
    dag = Dag(parents, {str(n): f"lane{n}" for n in range(6)} | {"m": "main"})
    commits = await stored(commits, dag)
    watching, client = watched(commits)
    difference = Difference(dag.at(["m", "3", "4", "5"]), dag.at(["0"]))
    await walk.run(watching, difference, max_rounds=2)
    assert len(difference.collected) == 6
    assert client.calls == {"query": 6}


async def test_a_walk_that_needs_too_many_rounds_is_given_up(commits):
    parents = {str(n): (str(n - 1),) if n else () for n in range(8)}
    dag = Dag(parents, {str(n): f"lane{n}" for n in range(8)})
    commits = await stored(commits, dag)
    watching, client = watched(commits)
    assert not await walk.run(watching, Difference(dag.at(["7"]), []), max_rounds=3)
    assert client.calls == {"query": 3}
    assert await walk.run(commits, Difference(dag.at(["7"]), []), max_rounds=8)
    assert await walk.run(commits, Difference(dag.at(["7"]), dag.at(["7"])), max_rounds=0)


async def test_neighbours_in_a_lane_do_not_get_in_the_way(commits):
    """Forty unrelated commits of every generation are stored in the same lane as the line of the
    walk.
    """
    dag = line(20)
    strangers = [Node(CommitAddress(CommitId(f"s{n}"), n % 20 + 1, "main"), ()) for n in range(40)]
    commits = await stored(commits, dag)
    await commits.put(strangers, 0)
    difference = Difference(dag.at(["20"]), dag.at(["5"]))
    await walk.run(commits, difference)
    assert [node.commit_id for node in difference.collected] == [str(n) for n in range(20, 5, -1)]


async def test_rows_of_a_crashed_push_in_another_lane_are_ignored(commits):
    """It is on the way, in the lane of the walk. The data that it names may be deleted."""
    parents = {str(n): (str(n - 1),) if n > 1 else () for n in range(1, 21)}
    dag = Dag(parents, {str(n): "main" if n <= 10 else "side" for n in range(1, 21)})
    commits = await stored(commits, dag)
    gone = Packed("0" * 64, 8, 100)
    left = [
        replace(
            dag.node(str(n)), address=CommitAddress(CommitId(str(n)), n, "side"), snapshot_at=gone
        )
        for n in (9, 10)
    ]
    await commits.put(left, 0)
    for want, have in (("20", []), ("20", ["10"]), ("11", ["9"])):
        difference = Difference(dag.at([want]), dag.at(have))
        await walk.run(commits, difference)
        assert [node.address for node in difference.collected] == [
            dag.addresses[str(n)] for n in range(int(want), int((have or ["0"])[0]), -1)
        ]
        assert all(
            difference.row(address) in (None, dag.node(i))
            for i, address in difference.boundary(difference.collected).items()
        )


async def test_a_hole_in_history_is_damage(commits):
    dag = line(20)
    await commits.put([dag.node(str(n)) for n in range(1, 21) if n != 10], 0)
    with pytest.raises(Damaged, match="commit 10 is missing"):
        await walk.run(commits, Difference(dag.at(["20"]), []))
    difference = Difference(dag.at(["20"]), dag.at(["15"]))
    assert await walk.run(commits, difference)
    assert len(difference.collected) == 5
