"""The bytes of repositories: written data is read back whole, or reported as missing. Only true
bytes leave quarantine.
"""

import asyncio
import uuid
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio

from shared import ids, packs
from shared.engines.s3 import S3Bucket
from shared.errors import Damaged
from shared.model import Kind, Loose, ObjectId, Packed, Repo, RepoId
from shared.objects import keys
from shared.objects.bucket import Stored
from shared.objects.recent import Recent
from shared.objects.store import REMEMBERED_BYTES, ObjectStore
from shared.packs import GAP_BYTES, Pack
from shared.stores import Stores
from tests.shared.clients import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONTENT = b"the true content"
OBJECT = ids.object_id(CONTENT)


@pytest.fixture
def objects(opened: Stores, repo_id: RepoId) -> ObjectStore:
    return opened.of(Repo("ada", "song", repo_id)).objects


def cold(objects: ObjectStore, client: Any) -> ObjectStore:
    """The same store over this client, without entries in memory."""
    assert isinstance(objects.bucket, S3Bucket)
    bucket = replace(objects.bucket, client=client)
    return replace(objects, bucket=bucket, recent=Recent(REMEMBERED_BYTES))


def another(objects: ObjectStore) -> ObjectStore:
    """The store of a new repository."""
    return replace(objects, repo_id=RepoId(str(uuid.uuid4())))


def watched(objects: ObjectStore) -> tuple[ObjectStore, Watched]:
    assert isinstance(objects.bucket, S3Bucket)
    client: Any = Watched(objects.bucket.client)
    return cold(objects, client), client


def pack_of(*contents: bytes) -> Pack:
    return packs.build((Kind.OBJECT, f"o{n}", content) for n, content in enumerate(contents))


# ── Packs ─────────────────────────────────────────────────────────────────────────────────────────


async def test_packed_data_is_read_back(objects):
    pack, other = pack_of(b"one", b"", b"three"), pack_of(b"four")
    for each in (pack, other, pack):
        await objects.put_pack(each)
    locations = [*pack.locations.values(), *other.locations.values()]
    read = await objects.read_packed(locations)
    assert [read[at] for at in locations] == [b"one", b"", b"three", b"four"]


async def test_a_stored_pack_can_be_read_without_any_row(objects, repo_id):
    pack = pack_of(b"one", b"two")
    await objects.put_pack(pack)
    data = await objects.bucket.get(keys.pack(repo_id, pack.name))
    assert sha256(data).hexdigest() == pack.name
    assert packs.read_index(pack.name, data) == pack.locations


async def test_a_pack_of_many_megabytes_is_stored_whole(objects):
    pack = pack_of(*(bytes([n]) * 1_000_000 for n in range(10)))
    await objects.put_pack(pack)
    read = await objects.read_packed(pack.locations.values())
    assert all(
        read[pack.locations[Kind.OBJECT, f"o{n}"]] == bytes([n]) * 1_000_000 for n in range(10)
    )


async def test_the_index_of_a_pack_is_read_whole_if_it_is_larger_than_the_first_read(objects):
    pack = pack_of(*[b"x"] * (GAP_BYTES // 8))
    await objects.put_pack(pack)
    assert packs.index_size(pack.data) > GAP_BYTES
    watching, client = watched(objects)
    assert await watching.read_index(Stored(pack.name, "", len(pack.data), 0)) == pack.locations
    assert client.calls["get_object"] == 2


async def test_a_pack_without_bytes_is_damaged_and_is_not_read(objects):
    await objects.put_pack(Pack("empty", b"", {}))
    watching, client = watched(objects)
    with pytest.raises(Damaged, match="index of pack empty"):
        await watching.read_index(Stored("empty", "", 0, 0))
    assert client.calls["get_object"] == 0


@pytest.mark.parametrize(
    ("contents", "wanted", "calls"),
    [
        pytest.param([b"x"] * 9, [0, 4, 8], 1, id="near each other"),
        pytest.param([b"x", b"y" * (GAP_BYTES + 1), b"z"], [0, 2], 2, id="far apart"),
        pytest.param([b"x", b"", b"z"], [1], 0, id="nothing to read"),
        pytest.param([b"x"], [], 0, id="nothing wanted"),
    ],
)
async def test_neighbours_are_one_request(objects, contents, wanted, calls):
    pack = pack_of(*contents)
    await objects.put_pack(pack)
    watching, client = watched(objects)
    read = await watching.read_packed([pack.locations[Kind.OBJECT, f"o{n}"] for n in wanted])
    assert sorted(read.values()) == sorted(contents[n] for n in wanted)
    assert client.calls["get_object"] == calls


async def test_a_pack_that_is_gone_is_damage(objects):
    pack = pack_of(b"one")
    with pytest.raises(Damaged, match=f"pack {pack.name} is missing"):
        await objects.read_packed(pack.locations.values())


@pytest.mark.parametrize("size", [12, 10, 8, 7, 0], ids=lambda size: f"{size} bytes left")
async def test_a_pack_that_is_too_short_is_damage(objects, size):
    """At any cut: inside the wanted data, at its beginning, or before."""
    pack = pack_of(b"12345")
    await objects.put_pack(replace(pack, data=pack.data[:size]))
    with pytest.raises(Damaged):
        await objects.read_packed(pack.locations.values())


async def test_packs_of_another_repository_are_not_there(objects):
    pack = pack_of(b"one")
    await objects.put_pack(pack)
    with pytest.raises(Damaged):
        await another(objects).read_packed(pack.locations.values())


# ── Loose objects ─────────────────────────────────────────────────────────────────────────────────


async def read_loose(objects: ObjectStore, object_id: ObjectId, at: Loose) -> bytes:
    """A whole one, range by range."""
    spans = packs.plan_loose(object_id, at)
    return b"".join([data async for _, data in await objects.read_ahead(spans)])


async def test_a_loose_object_is_read_back(objects):
    await objects.put_loose("o", b"first")
    assert await read_loose(objects, ObjectId("o"), Loose(5)) == b"first"


async def test_a_loose_object_that_is_gone_is_damage(objects):
    with pytest.raises(Damaged, match=f"object {OBJECT} is missing"):
        await read_loose(objects, OBJECT, Loose(5))


async def test_a_loose_object_that_is_too_short_is_damage(objects):
    await objects.put_loose("o", b"12345")
    with pytest.raises(Damaged, match="a part of object o"):
        await read_loose(objects, ObjectId("o"), Loose(6))


# ── Reading ahead ─────────────────────────────────────────────────────────────────────────────────
#
#     five packs, two to a window:    [0 1] [2 3] [4]


class Gate:
    """A client whose reads are counted, and end once the gate is open."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.begun = self.ended = 0
        self.open = asyncio.Event()

    async def get_object(self, **request: Any) -> Any:
        self.begun += 1
        try:
            await self.open.wait()
            return await self._client.get_object(**request)
        finally:
            self.ended += 1


@pytest_asyncio.fixture(loop_scope="session")
async def gated(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> tuple[Gate, Any]:
    """Counters, and five packs that are read through the bucket. The gate is open at first."""
    monkeypatch.setattr(packs, "WINDOW_BYTES", 2 * GAP_BYTES)
    built = [pack_of(b"%d" % number * 10) for number in range(5)]
    for each in built:
        await objects.put_pack(each)
    assert isinstance(objects.bucket, S3Bucket)
    gate: Any = Gate(objects.bucket.client)
    gate.open.set()
    store = cold(objects, gate)
    order = {pack.name: number for number, pack in enumerate(built)}
    spans = sorted(
        packs.plan(at for pack in built for at in pack.locations.values()),
        key=lambda s: order[s.pack],
    )
    return gate, await store.read_ahead(spans)


async def idle() -> None:
    """Returns when all tasks wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_data_that_is_read_ahead_comes_in_order(gated):
    _, reads = gated
    assert [data async for _, data in reads] == [b"%d" % number * 10 for number in range(5)]


async def test_two_windows_are_begun_and_while_one_is_used_the_next_is_read_and_no_other(gated):
    gate, reads = gated
    assert gate.begun == 4
    gate.open.clear()
    begun = []
    for number in range(5):
        if number == 4:
            gate.open.set()
        await anext(reads)
        await idle()
        begun.append(gate.begun)
    assert begun == [4, 4, 5, 5, 5]


async def test_a_reader_that_stops_ends_its_running_reads(gated):
    gate, reads = gated
    await idle()
    gate.open.clear()
    for _ in range(3):
        await anext(reads)
        await idle()
    assert (gate.begun, gate.ended) == (5, 4)
    await reads.aclose()
    assert (gate.begun, gate.ended) == (5, 5)


async def test_a_window_that_cannot_be_read_fails_when_its_turn_comes(objects, gated):
    _, reads = gated
    name = [span.pack async for span, _ in reads][-1]
    good, gone = pack_of(b"good"), Packed("gone", 0, 1)
    await objects.put_pack(good)
    spans = packs.plan([*good.locations.values()]) * 2 + packs.plan([gone])
    reads = await objects.read_ahead(spans)
    assert [(await anext(reads))[1] for _ in range(2)] == [b"good", b"good"]
    with pytest.raises(Damaged, match="pack gone"):
        await anext(reads)
    assert name != "gone"


async def test_entries_come_one_by_one_whether_at_hand_or_not(objects):
    pack = packs.build(
        [(Kind.SNAPSHOT, "s", b"manifest"), (Kind.OBJECT, "o", b"content"), (Kind.OBJECT, "e", b"")]
    )
    await objects.put_pack(pack)
    asked = list(pack.locations.values())
    assert {at: data async for at, data in objects.each_packed(asked)} == dict(
        zip(asked, [b"manifest", b"content", b""], strict=True)
    )


# ── The cache ─────────────────────────────────────────────────────────────────────────────────────


def at(offset: int, length: int = 4) -> Packed:
    return Packed("p", offset, length)


async def test_recently_packed_data_and_empty_entries_need_no_read():
    recent = Recent(10)
    recent.put("r", at(0), b"aaaa")
    assert recent.get("r", at(0)) == b"aaaa"
    assert recent.get("r", at(9)) is None
    assert recent.get("other", at(0)) is None
    assert recent.get("r", at(5, 0)) == b""


async def test_the_oldest_go_when_there_is_no_more_room():
    recent = Recent(10)
    for offset in (0, 4, 8):
        recent.put("r", at(offset), b"aaaa")
    assert [recent.get("r", at(offset)) for offset in (0, 4, 8)] == [None, b"aaaa", b"aaaa"]
    recent.put("r", at(12, 11), b"b" * 11)
    assert [recent.get("r", at(offset)) for offset in (4, 8)] == [None, None]
    assert recent.get("r", at(12, 11)) is None


async def test_an_entry_put_again_takes_room_once():
    recent, data = Recent(10), b"aaaa"
    for _ in range(9):
        recent.put("r", at(0), data)
    recent.put("r", at(4), data)
    assert [recent.get("r", at(offset)) for offset in (0, 4)] == [data, data]


async def test_a_snapshot_just_packed_is_read_without_a_request(objects):
    watching, client = watched(objects)
    pack = packs.build([(Kind.SNAPSHOT, "s", b"manifest"), (Kind.OBJECT, "o", b"content")])
    await watching.put_pack(pack)
    snapshot, content = pack.locations.values()
    assert await watching.read_packed([snapshot]) == {snapshot: b"manifest"}
    assert client.calls == {"put_object": 1}
    assert await watching.read_packed([snapshot, content]) == {
        snapshot: b"manifest",
        content: b"content",
    }
    assert client.calls["get_object"] == 1
    with pytest.raises(Damaged):
        await another(watching).read_packed([snapshot])
