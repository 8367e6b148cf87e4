"""Commit rows: whole, in the order of their generations, and missed when they are gone."""

import zlib
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import Damaged
from shared.limits import Limits
from shared.metadata import keys
from shared.metadata.commits import Commits
from shared.model import CommitAddress, CommitId, Node, Packed, Repo, RepoId, SnapshotId
from shared.stores import Stores
from tests.shared.clients import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def commits(opened: Stores, repo_id: RepoId) -> Commits:
    return opened.of(Repo("ada", "song", repo_id)).commits


def address(commit_id: str, generation: int, lane: str = "main") -> CommitAddress:
    return CommitAddress(CommitId(commit_id), generation, lane)


def line(length: int, lane: str = "main") -> list[Node]:
    """Commits of generations 1 … `length`, oldest first."""
    addresses = [address(f"c{n}", n, lane) for n in range(1, length + 1)]
    return [Node(at, (addresses[n - 1],) if n else ()) for n, at in enumerate(addresses)]


@pytest.mark.parametrize(
    "node",
    [
        pytest.param(Node(address("c", 1), ()), id="a root without anything"),
        pytest.param(
            Node(address("a" * 64, 999_999_999_999), (address("p", 5, "dev"),)),
            id="the greatest generation",
        ),
        pytest.param(
            Node(address("c", 3), (address("p", 2), address("q", 1, "x/y#z 1"))),
            id="a merge from a strange lane",
        ),
        pytest.param(
            Node(address("c", 3), (address("p", 2), address("p", 2))), id="the same parent twice"
        ),
        pytest.param(
            Node(address("c", 1), (), SnapshotId("s" * 64), Packed("p" * 64, 8, 9)),
            id="with a snapshot",
        ),
        pytest.param(
            Node(address("c", 1), (), SnapshotId("s")), id="with a snapshot that is not stored"
        ),
        pytest.param(
            Node(address("c", 1), (), record=zlib.compress(b"record")), id="with its record"
        ),
        pytest.param(
            Node(address("c", 1), (), record_at=Packed("p" * 64, 8, 9)),
            id="with a record elsewhere",
        ),
    ],
)
async def test_a_row_comes_back_as_it_went_in(commits, node):
    await commits.put([node], 0)
    assert await commits.get([node.address]) == {node.commit_id: node}
    assert await commits.lane(node.address, 5) == [node]


async def test_a_lane_is_read_from_a_commit_downwards(commits):
    nodes = line(12)
    await commits.put(nodes, 0)
    run = await commits.lane(nodes[10].address, None)
    assert run == nodes[10::-1]  # generations 11, 10, 9 … : numbers, not texts


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, "c7"), (3, "c7 c6 c5"), (100, "c7 c6 c5 c4 c3 c2 c1")]
)
async def test_a_lane_is_read_as_far_as_asked(commits, limit, expected):
    nodes = line(9)
    await commits.put(nodes, 0)
    run = await commits.lane(nodes[6].address, limit)
    assert [node.commit_id for node in run] == expected.split()


async def test_commits_of_one_generation_are_in_the_order_of_their_ids(commits):
    await commits.put(
        [Node(address(i, 4), ()) for i in ("b", "d", "a", "c")] + [Node(address("z", 3), ())], 0
    )
    run = await commits.lane(address("c", 4), None)
    assert [node.commit_id for node in run] == ["c", "b", "a", "z"]


async def test_lanes_and_repositories_are_apart(commits, repo_id):
    for lane in ("main", "main/x", "main#x"):
        await commits.put(line(2, lane), 0)
    await replace(commits, repo_id=RepoId(f"{repo_id}#LANE")).put(line(2), 0)
    run = await commits.lane(address("c2", 2), None)
    assert [(node.commit_id, node.address.lane) for node in run] == [("c2", "main"), ("c1", "main")]


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(address("x", 3), id="an id that is not there"),
        pytest.param(address("c3", 3, "dev"), id="another lane"),
        pytest.param(address("x", 1, "empty"), id="a lane that is not there"),
    ],
)
async def test_a_lane_that_lacks_its_start_is_damaged(commits, start):
    await commits.put(line(3), 0)
    with pytest.raises(Damaged, match=f"commit {start.commit_id} is missing"):
        await commits.lane(start, None)
    with pytest.raises(Damaged, match=f"commit {start.commit_id} is missing"):
        await commits.get([address("c1", 1), start])


async def test_rows_of_many_lanes_are_got_at_once(commits):
    for lane in ("main", "dev"):
        await commits.put(
            [
                replace(
                    node,
                    address=replace(node.address, commit_id=CommitId(f"{lane}{node.commit_id}")),
                )
                for node in line(3, lane)
            ],
            0,
        )
    addresses = [address("mainc1", 1), address("devc3", 3, "dev"), address("devc3", 3, "dev")]
    found = await commits.get(addresses)
    assert {node.address for node in found.values()} == set(addresses)
    assert await commits.get([]) == {}


@pytest.mark.parametrize(
    "count", [Limits().conditional_rows, Limits().conditional_rows + 1], ids=["few", "many"]
)
async def test_rows_written_again_are_as_they_were(commits, count):
    nodes = line(count)
    for _ in range(2):
        await commits.put(nodes, 0)
    assert await commits.lane(nodes[-1].address, None) == nodes[::-1]


async def test_the_first_writers_record_stays(commits):
    first, second = (Node(address("c", 1), (), record=record) for record in (b"first", b"second"))
    await commits.put([first], 0)
    await commits.put([second], 0)
    assert await commits.get([first.address]) == {"c": first}


async def test_many_rows_are_few_calls(commits):
    client: Any = Watched(commits.table.client)
    await replace(commits, table=replace(commits.table, client=client)).put(line(60), 0)
    assert client.calls == {"batch_write_item": 3}


async def test_the_key_of_a_row_is_its_lane_and_generation(commits, repo_id):
    await commits.put([Node(address("c", 7, "dev"), ())], 0)
    row = await commits.table.get((f"REPO#{repo_id}#LANE#dev", "000000000007#c"))
    assert row is not None
    assert keys.commit(repo_id, address("c", 7, "dev")) == (row["pk"], row["sk"])
