"""Known ids: the result is the same by keyed reads and by a query of the partition."""

import random
import uuid
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from shared.engines.dynamodb import DynamoTable
from shared.limits import Limits
from shared.metadata import keys
from shared.metadata.index import Index, Known
from shared.metadata.table import chunked
from shared.model import (
    CommitAddress,
    CommitId,
    Kind,
    Loose,
    ObjectId,
    Packed,
    Repo,
    RepoId,
    SnapshotId,
)
from shared.stores import Stores
from tests.shared.clients import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONDITIONAL = Limits().conditional_rows
MANY = Limits().many_ids
COMMIT = CommitId("c")
SNAPSHOT = SnapshotId("s")
OBJECT = ObjectId("o")


def digest(n: int) -> ObjectId:
    return ObjectId(sha256(str(n).encode()).hexdigest())


def location(n: int) -> Packed:
    return Packed("p" * 64, n, n % 7)


@pytest.fixture
def index(opened: Stores, repo_id: RepoId) -> Index:
    return opened.of(Repo("ada", "song", repo_id)).index


def watched(index: Index) -> tuple[Index, Watched]:
    assert isinstance(index.table, DynamoTable)
    client: Any = Watched(index.table.client)
    return replace(index, table=replace(index.table, client=client)), client


async def crowd(index: Index, size: int) -> Index:
    """A new repository that holds the objects `digest(0)` … `digest(size - 1)`."""
    new = replace(index, repo_id=RepoId(str(uuid.uuid4())))
    await new.put_locations({(Kind.OBJECT, digest(n)): location(n) for n in range(size)})
    return new


async def test_nothing_is_known_of_nothing(index):
    watching, client = watched(index)
    assert await watching.known() == Known({}, {}, {})
    assert await watching.known(commits=[COMMIT], snapshots=[SNAPSHOT], objects=[OBJECT]) == Known(
        {}, {}, {}
    )
    assert client.calls == {"batch_get_item": 1}


async def test_written_ids_are_known(index):
    address = CommitAddress(COMMIT, 12, "topic/a#b")
    await index.put_addresses([address])
    await index.put_locations({(Kind.SNAPSHOT, "s"): location(1), (Kind.OBJECT, "o"): Loose(5)})
    known = await index.known(
        commits=[COMMIT, CommitId("x"), COMMIT],
        snapshots=[SNAPSHOT, SnapshotId("x")],
        objects=[OBJECT, ObjectId("x")],
    )
    assert known == Known({COMMIT: address}, {SNAPSHOT: location(1)}, {OBJECT: Loose(5)})


async def test_one_id_may_name_a_thing_of_each_kind(index):
    commit_id = CommitId("x")
    snapshot_id = SnapshotId("x")
    object_id = ObjectId("x")
    await index.put_addresses([CommitAddress(commit_id, 1, "main")])
    await index.put_locations({(Kind.SNAPSHOT, "x"): location(1), (Kind.OBJECT, "x"): location(2)})
    assert await index.known(snapshots=[snapshot_id]) == Known({}, {snapshot_id: location(1)}, {})
    assert await index.known(commits=[commit_id], objects=[object_id]) == Known(
        {commit_id: CommitAddress(commit_id, 1, "main")}, {}, {object_id: location(2)}
    )


async def test_repositories_are_islands(index):
    await index.put_locations({(Kind.OBJECT, "o"): location(1)})
    another = replace(index, repo_id=RepoId(str(uuid.uuid4())))
    assert await another.known(objects=[OBJECT]) == Known({}, {}, {})


async def test_ids_are_spread_over_all_partitions():
    assert {keys.shard(f"o{n}") for n in range(400)} == set(keys.SHARDS)
    assert {keys.shard(digest(n)) for n in range(400)} == set(keys.SHARDS)


@pytest.mark.parametrize("count", [CONDITIONAL, CONDITIONAL + 1], ids=["few", "many"])
async def test_commits_written_again_are_as_they_were(index, count):
    addresses = [CommitAddress(CommitId(f"c{n}"), n + 1, "main") for n in range(count)]
    for _ in range(2):
        await index.put_addresses(addresses)
    known = await index.known(commits=[f"c{n}" for n in range(count)])
    assert known.commits == {p.commit_id: p for p in addresses}


async def test_of_few_commits_the_first_writers_place_stays(index):
    await index.put_addresses([CommitAddress(COMMIT, 3, "main")])
    await index.put_addresses([CommitAddress(COMMIT, 3, "dev")])
    assert (await index.known(commits=[COMMIT])).commits == {
        COMMIT: CommitAddress(COMMIT, 3, "main")
    }


# ── Many ids ──────────────────────────────────────────────────────────────────────────────────────


async def dense(index: Index, made: list[Index]) -> Index:
    """A repository of 2,500 objects, made by the first test that needs it: that takes a second."""
    if not made:
        made.append(await crowd(index, 2500))
    return made[0]


@pytest.fixture(scope="module")
def made() -> list[Index]:
    return []


@pytest.mark.parametrize(
    ("asked", "unknown"),
    [
        pytest.param(MANY - 1, 0, id="one less than many, all known"),
        pytest.param(MANY, 0, id="many, all known"),
        pytest.param(MANY, 800, id="many, half of them unknown"),
        pytest.param(2500, 100, id="everything and more"),
        pytest.param(1, MANY, id="many, of which one is known"),
    ],
)
async def test_by_key_or_read_through_the_answer_is_the_same(index, made, asked, unknown):
    index = await dense(index, made)
    chosen = random.Random(asked).sample(range(2500), asked)
    object_ids = [digest(n) for n in chosen] + [digest(n) for n in range(10**6, 10**6 + unknown)]
    known = await index.known(objects=object_ids)
    assert known == Known({}, {}, {digest(n): location(n) for n in chosen})


async def test_many_ids_of_a_dense_repository_are_sixteen_queries(index, made):
    index = await dense(index, made)
    watching, client = watched(index)
    known = await watching.known(objects=[digest(n) for n in range(2400)])
    assert len(known.objects) == 2400
    assert client.calls["query"] <= len(keys.SHARDS) + 3
    assert client.calls["batch_get_item"] <= 3


async def test_ids_of_three_kinds_are_distinguished_in_a_query(index, made):
    index = await dense(index, made)
    await index.put_locations({(Kind.SNAPSHOT, digest(n)): location(n + 1) for n in range(100)})
    addresses = [CommitAddress(CommitId(digest(n)), n + 1, "main") for n in range(50)]
    await index.put_addresses(addresses)
    object_ids = [digest(n) for n in range(2000)]
    known = await index.known(
        commits=list(map(CommitId, object_ids)),
        snapshots=list(map(SnapshotId, object_ids)),
        objects=object_ids,
    )
    assert known.objects == {digest(n): location(n) for n in range(2000)}
    assert known.snapshots == {SnapshotId(digest(n)): location(n + 1) for n in range(100)}
    assert known.commits == {address.commit_id: address for address in addresses}


async def test_a_partition_too_sparse_to_read_through_is_read_by_key(index):
    """With a read-ahead of one row for each id, most of the wanted ids are beyond the rows that are
    read.
    """
    index = replace(index, limits=Limits(read_ahead_rows=1, many_ids=16))
    await index.put_locations({(Kind.OBJECT, digest(n)): location(n) for n in range(1000)})
    chosen = random.Random(1).sample(range(1000), 150)
    watching, client = watched(index)
    known = await watching.known(objects=[digest(n) for n in [*chosen, *range(5000, 5100)]])
    assert known.objects == {digest(n): location(n) for n in chosen}
    assert client.calls["query"] <= len(keys.SHARDS)
    assert 0 < client.calls["batch_get_item"] <= len(keys.SHARDS)


async def test_a_read_through_goes_on_where_a_megabyte_ended(index, repo_id):
    """Rows as wide as rows may be, so that a page holds a handful of them."""
    index = replace(index, limits=Limits(many_ids=16))
    ids = [ObjectId(i) for i in (f"o{n:03}" for n in range(600)) if keys.shard(i) == "0"][:24]
    pk = keys.index(repo_id, Kind.OBJECT, "0")
    for four in chunked(list(enumerate(ids)), 4):
        await index.table.put(
            [((pk, i), {"at": str(location(n)), "wide": b"x" * 150_000}) for n, i in four]
        )
    watching, client = watched(index)
    known = await watching.known(objects=ids)
    assert known.objects == {i: location(n) for n, i in enumerate(ids)}
    assert client.calls["query"] >= 4
    assert client.calls["batch_get_item"] == 0
