"""Repack: the data that it folds, the data that it leaves, and concurrent requests, which never miss any
data.

These are stories on a cloud in memory, where each task can be stopped before a certain call. The
schedules are those of gc, with repacks. The stories of the cost of a clone, and of crashes on the
embedded AWS, use the handlers.

    REPACK_SCHEDULES=20000 pytest -n auto tests/shared/maintenance/test_repack.py
    REPACK_FIRST=12345 REPACK_SCHEDULES=1 pytest tests/shared/maintenance/test_repack.py    one of them
"""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import aioboto3
import pytest
import pytest_asyncio

from shared import packs
from shared.actions import uploads
from shared.engines import selection
from shared.errors import Damaged, Unavailable
from shared.limits import Limits
from shared.maintenance import fsck, rebuild, repack
from shared.maintenance.gc_plan import GRACE_SECONDS
from shared.maintenance.lease import LEASE_SECONDS, Step
from shared.maintenance.repack_plan import Repacked, RepackPlan
from shared.metadata.commits import STALE_SECONDS
from shared.model import CommitId, Kind, Packed
from shared.objects import keys as object_keys
from shared.protocol.fetch import Fetch
from shared.protocol.push import PushObjects
from shared.protocol.records import ObjectRecord
from shared.stores import Stores
from tests import client
from tests.builders import History, Record, blob, chain, commit, graph
from tests.faults import Crash, Fault, fault, recorded
from tests.points import (
    A_LANE_GETS_A_ROW,
    A_ROW_IS_CREATED,
    A_SNAPSHOT_IS_KNOWN,
    A_TRANSACTION_IS_WRITTEN,
    AN_OBJECT_IS_KNOWN,
    BYTES_ARE_READ,
    THE_BUCKET_IS_LISTED,
    THE_LEASE_IS_PUT,
    THE_LEASE_IS_UPDATED,
    THE_REF_IS_SWAPPED,
    THE_VERSIONS_ARE_LISTED,
)
from tests.shared.maintenance import test_gc, upkeep
from tests.shared.maintenance.test_gc_stories import (
    A_DAY,
    A_REQUEST,
    LONG,
    REPO,
    Story,
    forgotten,
)
from tests.stores_in_memory import change
from tests.test_crashes import shared_session

FIRST = int(os.environ.get("REPACK_FIRST", "0"))
SCHEDULES = int(os.environ.get("REPACK_SCHEDULES", "200"))
FEWEST = Limits().combined_packs
MANY = FEWEST + 1


class PackedStory(Story):
    """A repository of many small packs."""

    def repack(self) -> Coroutine[Any, Any, Repacked]:
        return repack.repack(self.stores.of(REPO), self.turns.clock)

    def plan(self) -> Coroutine[Any, Any, RepackPlan]:
        return repack.plan(self.stores.of(REPO), self.turns.clock)

    def rebuild(self) -> Coroutine[Any, Any, Any]:
        return rebuild.rebuild(self.stores.of(REPO), now=self.turns.now)

    async def clone(self, *want: CommitId) -> Any:
        """In an order that does not depend on the places."""
        found = await super().clone(*want)
        by = {"commits": "commit_id", "snapshots": "snapshot_id", "objects": "object_id"}
        return found | {
            kind: sorted(found[kind], key=lambda one: one[key]) for kind, key in by.items()
        }

    async def push_one_by_one(
        self, drawn: History, numbers: Any = None, branch: str = "main"
    ) -> None:
        for number in numbers or drawn.commits:
            await self.do(self.push(drawn.bundle([number]), drawn[number], branch))
            self.wait(60)

    def named(self) -> set[str]:
        """The packs that rows say anything of."""
        texts = (
            row.get(key) for row in self.rows("") for key in ("at", "snapshot_at", "record_at")
        )
        return {text.split(":")[0] for text in texts if isinstance(text, str) and ":" in text} - {
            ""
        }

    def index_rows(self) -> list[Record]:
        """All data that rebuild-index writes again, except for the time of writing."""
        found = [row for part in ("#O", "#S", "#C", "#LANE#") for row in self.rows(part)]
        return sorted(
            ({**row, "written_at": 0} for row in found), key=lambda row: (row["pk"], row["sk"])
        )

    async def whole(self, before: Any) -> None:
        assert await self.clone() == before
        assert await self.findings() == []


@pytest_asyncio.fixture
async def story() -> AsyncIterator[PackedStory]:
    yield PackedStory()


@pytest_asyncio.fixture
async def old(story: PackedStory) -> AsyncIterator[History]:
    """Many commits, each pushed by itself; every third record is too large for its row."""
    story.limit(inline_record_bytes=700)
    drawn = graph("; ".join(f"{n}:{n - 1}" if n > 1 else "1" for n in range(1, MANY + 1)))
    for number in range(1, MANY + 1):
        delta = {"data": os.urandom(700).hex()} if number % 3 == 0 else None
        drawn.commits[number]["structured_delta"] = delta
    await story.push_one_by_one(drawn)
    story.wait(2 * A_DAY)
    yield drawn


# ── The effect ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_many_packs_become_one_and_nothing_else_changes(
    story: PackedStory, old: History
) -> None:
    before, refs = await story.clone(), await story.do(story.stores.of(REPO).refs.all())
    assert any("record_at" in row for row in story.rows("#LANE#")) and any(
        "record" in row for row in story.rows("#LANE#")
    )
    assert len(story.named()) == MANY
    done = await story.do(story.repack())
    assert (done.packs, done.into) == (MANY, 1)
    [pack] = story.named()
    assert len(story.packs()) == MANY + 1, "the old ones are for gc"
    await story.whole(before)
    after = await story.do(story.stores.of(REPO).refs.all())
    assert {name: ref.head for name, ref in after.items()} == {
        name: ref.head for name, ref in refs.items()
    }
    assert after["main"].snapshot_at and after["main"].snapshot_at.pack == pack


@pytest.mark.asyncio
async def test_data_that_is_read_together_is_stored_together_by_generation(
    story: PackedStory, old: History
) -> None:
    await story.do(story.repack())
    [pack] = story.named()
    data = await story.do(story.stores.of(REPO).objects.read_pack(pack))
    index = packs.read_index(pack, data)
    order = [item for item, _ in sorted(index.items(), key=lambda entry: entry[1].offset)]
    large = {row["sk"].split("#")[1] for row in story.rows("#LANE#") if "record_at" in row}
    assert order == [
        *((Kind.SNAPSHOT, old.snapshots[n]["snapshot_id"]) for n in old.commits),
        *((Kind.COMMIT, old[n]) for n in old.commits if old[n] in large),
        *((Kind.OBJECT, object_id) for object_id in old.objects),
        *((Kind.COMMIT, old[n]) for n in old.commits if old[n] not in large),
    ]


@pytest.mark.asyncio
async def test_a_plan_has_the_writes_in_their_order_and_writes_nothing(
    story: PackedStory, old: History
) -> None:
    before, packs = story.cloud.save(), story.packs()
    plan = await story.do(story.plan())
    assert story.cloud.save() == before
    size = plan.report().bytes
    assert list(map(str, plan.writes)) == [
        f"write a pack that combines {len(packs)} packs ({size:,} bytes)",
        f"point rows to it: {plan.report().rows - 1}",
        "point branches to it: 1",
    ]
    assert await story.do(story.repack()) == plan.report()


@pytest.mark.asyncio
async def test_a_second_run_does_nothing(story: PackedStory, old: History) -> None:
    await story.do(story.repack())
    for wait in (0, 2 * A_DAY):
        story.wait(wait)
        before = story.cloud.save()
        done = await story.do(story.repack())
        assert (done.packs, done.rows) == (0, 0)
        assert story.cloud.save() == before


@pytest.mark.asyncio
async def test_folded_packs_are_folded_again_with_newer_ones(
    story: PackedStory, old: History
) -> None:
    await story.do(story.repack())
    more = chain(MANY, files=True, salt="more")
    await story.push_one_by_one(more, branch="more")
    before = await story.clone()
    story.wait(2 * A_DAY)
    done = await story.do(story.repack())
    assert (done.packs, done.into, len(story.named())) == (MANY + 1, 1, 1)
    await story.whole(before)


@pytest.mark.asyncio
async def test_a_pack_gets_no_larger_than_a_group(story: PackedStory, old: History) -> None:
    sizes = [len(versions[-1].data) for versions in story.cloud.objects.values()]
    story.limit(combined_pack_bytes=sum(sizes) // 2, combined_packs=2)
    before = await story.clone()
    done = await story.do(story.repack())
    assert done.into > 1 and len(story.named()) == done.into + done.left["few"]
    await story.whole(before)


@pytest.mark.asyncio
async def test_large_young_unnamed_or_too_few_packs_are_left(story: PackedStory) -> None:
    drawn = chain(12, files=True)
    await story.push_one_by_one(drawn, range(1, 4))
    forgot = graph("1", salt="forgotten")
    await forgotten(story, forgot, [1])
    await story.whole_gc()  # its pack stays, were it not for a push that died
    dead = story.begin(
        "dead", story.push(graph("2", salt="dead").bundle(), graph("2", salt="dead")[2], "dead")
    )
    await story.turns.resume("dead", AN_OBJECT_IS_KNOWN)
    await story.dies(dead)
    large = [blob(os.urandom(4000))]
    sent = PushObjects(objects=[ObjectRecord(**large[0])])
    await story.do(uploads.accept(story.stores.of(REPO), sent, now=story.turns.now))
    story.limit(small_pack_bytes=3000)
    story.wait(2 * A_DAY)
    await story.push_one_by_one(drawn, range(4, 7))
    done = await story.do(story.repack())
    assert done.packs == 0
    assert done.left == {"large": 1, "young": 3, "unnamed": 1, "ambiguous": 0, "few": 3}
    assert story.rows("#GC") == [] or story.rows("#GC")[0]["step"] != Step.REPACKED, (
        "there was nothing to do"
    )


@pytest.mark.asyncio
async def test_condemned_rows_are_moved_as_they_are(story: PackedStory, old: History) -> None:
    forced = graph("1", salt="forced")
    await story.do(story.push(forced.bundle(), forced[1], force=True))
    story.wait(LONG)
    await story.do(story.gc())
    stamps = {
        (row["pk"], row["sk"]): row["condemned_at"]
        for row in story.rows("")
        if "condemned_at" in row
    }
    assert stamps
    assert (await story.do(story.repack())).packs == MANY + 1
    assert {
        (row["pk"], row["sk"]): row["condemned_at"]
        for row in story.rows("")
        if "condemned_at" in row
    } == stamps


@pytest.mark.asyncio
async def test_unnamed_data_of_a_pack_stays_behind(story: PackedStory) -> None:
    pairs = [graph("1; 2:1", salt=str(number)) for number in range(FEWEST)]
    for number, drawn in enumerate(pairs):
        await story.do(story.push(drawn.bundle(), drawn[2], f"b{number}"))
        nothing: Record = {"commits": [], "snapshots": [], "objects": []}
        await story.do(story.push(nothing, drawn[1], f"b{number}", force=True))
    story.wait(LONG)
    for _ in range(2):
        await story.whole_gc()
    before = await story.clone()
    assert (await story.do(story.repack())).packs == FEWEST
    [pack] = story.named()
    index = packs.read_index(pack, await story.do(story.stores.of(REPO).objects.read_pack(pack)))
    assert {item_id for kind, item_id in index if kind is Kind.COMMIT} == {
        drawn[1] for drawn in pairs
    }
    assert len(index) == 3 * FEWEST
    await story.whole(before)


@pytest.mark.asyncio
async def test_few_packs_are_read_at_once(story: PackedStory, old: History) -> None:
    story.limit(packs_at_once=3)
    repacking = story.begin("repack", story.repack())
    await story.turns.settle()
    seen = set[int]()
    while not repacking.done():
        seen.add(sum(BYTES_ARE_READ(one.effect) for one in story.turns.waiting))
        await story.turns.step()
    assert max(seen) == 3
    assert len(story.named()) == 1


# ── Beside pushes and fetches ─────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_fetch_that_began_before_reads_on(story: PackedStory, old: History) -> None:
    fetching = story.begin("fetch", story.receive(Fetch(want=[old[MANY]])))
    await story.turns.resume("fetch", BYTES_ARE_READ)
    await story.do(story.repack())
    await story.tidy(A_REQUEST)
    assert len((await story.ends("fetch", fetching))["objects"]) == MANY


@pytest.mark.asyncio
async def test_the_old_packs_go_two_graces_after_the_last_row_was_written(
    story: PackedStory, old: History
) -> None:
    kept, before = story.packs(), await story.clone()
    story.wait(GRACE_SECONDS)
    for _ in range(2):
        await story.step()  # it would be time for a collect
    story.wait(GRACE_SECONDS + 5)
    ended = story.turns.now
    await story.do(story.repack())
    while kept & story.packs():
        assert story.packs() >= kept
        story.wait(60)
        with contextlib.suppress(Unavailable):
            await story.do(story.gc())
    assert story.turns.now - ended >= 2 * GRACE_SECONDS
    assert story.packs() == story.named()
    await story.whole(before)


@pytest.mark.asyncio
async def test_a_push_writes_down_where_it_found_a_snapshot_before(
    story: PackedStory, old: History
) -> None:
    """Its row names an old pack, which stays until the next repack."""
    made = commit("the same again", [old[MANY]], old.snapshots[MANY]["snapshot_id"])
    in_flight = story.begin(
        "push", story.push({"commits": [made], "snapshots": [], "objects": []}, made["commit_id"])
    )
    await story.turns.resume("push", A_LANE_GETS_A_ROW)
    await story.do(story.repack())
    await story.ends("push", in_flight)
    assert len(story.named()) == 2
    for _ in range(2):
        await story.whole_gc()
    assert story.packs() == story.named()
    before = await story.clone()
    assert await story.findings() == []
    story.wait(2 * A_DAY)
    story.limit(combined_packs=2)
    await story.do(story.repack())
    assert len(story.named()) == 1
    await story.whole(before)


@pytest.mark.asyncio
async def test_a_row_that_was_written_meanwhile_is_left_alone(
    story: PackedStory, old: History
) -> None:
    """An object that was condemned, and sent again between the look and the write."""
    forgot = graph("1", salt="forgotten")
    await forgotten(story, forgot, [1])
    await story.do(story.gc())
    repacking = story.begin("repack", story.repack())
    await story.turns.resume("repack", A_TRANSACTION_IS_WRITTEN)
    [content] = forgot.objects.values()
    sent = PushObjects(objects=[ObjectRecord(**blob(content)), ObjectRecord(**blob(b"and this"))])
    await story.do(uploads.accept(story.stores.of(REPO), sent, now=story.turns.now))
    rows = {row["sk"]: row["at"] for row in story.rows("#O")}
    done = await story.ends("repack", repacking)
    after = {row["sk"]: row["at"] for row in story.rows("#O")}
    object_id = blob(content)["object_id"]
    assert after[object_id] == rows[object_id], "where the push has put it"
    assert (
        done.rows == len(story.rows("#S")) + len(story.rows("#LANE#")) + len(after) - 2 + 1
    )  # and the branch
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_a_branch_that_moves_meanwhile_stays_where_it_is(
    story: PackedStory, old: History
) -> None:
    repacking = story.begin("repack", story.repack())
    await story.turns.resume("repack", THE_REF_IS_SWAPPED)
    new = graph("1", salt="new")
    await story.do(story.push(new.bundle(), new[1], force=True))
    refs = await story.do(story.stores.of(REPO).refs.all())
    await story.ends("repack", repacking)
    assert await story.do(story.stores.of(REPO).refs.all()) == refs
    await story.clone()
    assert await story.findings() == []


# ── Beside gc, rebuild-index and itself ───────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_no_gc_begins_beside_it_until_a_day_after_it_was_last_heard_of(
    story: PackedStory, old: History
) -> None:
    story.limit(repointed_rows=5)
    repacking = story.begin("repack", story.repack())
    await story.turns.resume("repack", A_TRANSACTION_IS_WRITTEN)
    story.wait(LEASE_SECONDS - 60)
    with pytest.raises(Unavailable, match="repack is at work here"):
        await story.do(story.gc())
    await story.turns.resume(
        "repack", THE_REF_IS_SWAPPED
    )  # its turn is prolonged along with the rows
    story.wait(LEASE_SECONDS - 60)
    with pytest.raises(Unavailable, match="repack is at work here"):
        await story.do(story.gc())
    await story.ends("repack", repacking)
    assert (await story.do(story.gc())).step is Step.CONDEMNED


@pytest.mark.asyncio
async def test_a_gc_that_was_under_way_starts_over(story: PackedStory, old: History) -> None:
    for _ in range(2):
        await story.step()
    story.wait(GRACE_SECONDS + 5)
    collecting = story.begin("gc", story.gc())
    await story.turns.resume("gc", THE_VERSIONS_ARE_LISTED)
    before = await story.clone()
    await story.do(story.repack())
    await story.ends("gc", collecting)  # nothing was dead when it looked
    assert (await story.step()).step is Step.CONDEMNED
    await story.whole(before)


@pytest.mark.asyncio
async def test_a_repack_that_stalled_for_days_lets_no_row_name_deleted_data(
    story: PackedStory, old: History
) -> None:
    before = await story.clone()
    asleep = story.begin("repack", story.repack())
    await story.turns.resume("repack", A_TRANSACTION_IS_WRITTEN)
    [new] = story.packs() - story.named()
    await story.tidy(LEASE_SECONDS + 4 * GRACE_SECONDS)
    assert new not in story.packs(), "gc has removed what no row names"
    with pytest.raises(Unavailable):
        await story.ends("repack", asleep)
    await story.whole(before)
    await story.do(story.repack())
    await story.whole(before)


@pytest.mark.asyncio
async def test_of_two_repacks_the_later_goes_on(story: PackedStory, old: History) -> None:
    before = await story.clone()
    first = story.begin("first", story.repack())
    await story.turns.resume("first", A_TRANSACTION_IS_WRITTEN)
    await story.do(story.repack())
    with pytest.raises(Unavailable):
        await story.ends("first", first)
    assert len(story.named()) == 1
    await story.whole(before)


@pytest.mark.asyncio
async def test_beside_a_rebuild_it_does_not_begin_and_it_ends_for_one(
    story: PackedStory, old: History
) -> None:
    before = await story.clone()
    rebuilding = story.begin("rebuild", story.rebuild())
    await story.turns.resume("rebuild", THE_BUCKET_IS_LISTED)
    with pytest.raises(Unavailable, match="rebuild-index is at work"):
        await story.do(story.repack())
    await story.ends("rebuild", rebuilding)
    repacking = story.begin("repack", story.repack())
    await story.turns.resume("repack", A_TRANSACTION_IS_WRITTEN)
    with pytest.raises(Unavailable, match=f"again in {STALE_SECONDS} seconds"):
        await story.do(story.rebuild())  # it may have stopped a gc
    story.wait(STALE_SECONDS)
    await story.do(story.rebuild())
    with pytest.raises(Unavailable):
        await story.ends("repack", repacking)
    await story.whole(before)


@pytest.mark.asyncio
async def test_a_rebuild_finds_the_same_rows_after_it(story: PackedStory, old: History) -> None:
    before = await story.clone()
    await story.do(story.repack())
    for _ in range(2):
        await story.whole_gc()
    assert story.packs() == story.named()
    rows = story.index_rows()
    for part in ("#O", "#S", "#C", "#LANE#"):
        story.lose(part)
    story.wait(STALE_SECONDS)
    await story.do(story.rebuild())
    assert story.index_rows() == rows
    await story.whole(before)


# ── Two records of one commit ─────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_history_replaced_by_force_stays_replaced(story: PackedStory) -> None:
    """A rebuild must not take one record for the other."""
    story.limit(inline_record_bytes=10)
    drawn = chain(MANY, files=True)
    await story.push_one_by_one(drawn)
    replaced = drawn.bundle([1, 2])
    replaced["commits"] = [{**record, "author": "Bob"} for record in replaced["commits"]]
    await story.do(story.push(replaced, drawn[2], "side"))
    await story.do(story.push(replaced, drawn[2], "side", force=True))
    more = chain(MANY, files=True, salt="more")
    await story.push_one_by_one(more, branch="more")
    story.wait(2 * A_DAY)
    before = {
        branch: await story.clone(ref.head.commit_id)
        for branch, ref in (await story.do(story.stores.of(REPO).refs.all())).items()
    }
    authors = [record["author"] for record in (await story.clone())["commits"]]
    done = await story.do(story.repack())
    assert done.left["ambiguous"] == 3 and done.packs == 2 * MANY - 2
    for _ in range(2):
        await story.whole_gc()
    rows = story.index_rows()
    for part in ("#O", "#S", "#LANE#"):
        story.lose(part)
    await story.do(story.rebuild())
    assert story.index_rows() == rows
    assert [record["author"] for record in (await story.clone())["commits"]] == authors
    for branch, ref in (await story.do(story.stores.of(REPO).refs.all())).items():
        assert await story.clone(ref.head.commit_id) == before[branch]


@pytest.mark.asyncio
async def test_a_pack_that_a_lane_is_named_by_stays(story: PackedStory, old: History) -> None:
    """The data of a forced push is stored beside the earlier data, of which only the rows are left."""
    snapshot_id = str(old.snapshots[MANY]["snapshot_id"])
    first = commit("again", [old[MANY]], snapshot_id)
    second = commit("and again", [first["commit_id"]], snapshot_id)
    small = {"commits": [first, second], "snapshots": [], "objects": []}
    await story.do(story.push(small, second["commit_id"], "side"))
    story.wait(2 * A_DAY)
    await story.whole_gc()
    large = [
        {**record, "structured_delta": {"data": os.urandom(700).hex()}}
        for record in (first, second)
    ]
    await story.do(story.push({**small, "commits": large}, second["commit_id"], "side", force=True))
    story.wait(2 * A_DAY)
    before = await story.clone()
    done = await story.do(story.repack())
    assert (done.left["ambiguous"], done.packs) == (1, MANY)
    for _ in range(2):
        await story.whole_gc()
    rows = story.rows("#LANE#side~")
    assert len(rows) == 2
    for part in ("#O", "#S", "#LANE#"):
        story.lose(part)
    await story.do(story.rebuild())
    assert [
        {**row, "written_at": rows[0]["written_at"]} for row in story.rows("#LANE#side~")
    ] == rows
    await story.whole(before)


@pytest.mark.asyncio
async def test_two_contents_of_one_opaque_id_keep_their_order(
    story: PackedStory, old: History
) -> None:
    def bundle(content: bytes, salt: str) -> Record:
        objects = [{"object_id": "o1", "content": content}]
        on_it = {"snapshot_id": salt, "manifest": {"a": "o1"}}
        return {"commits": [commit(salt, [], salt)], "snapshots": [on_it], "objects": objects}

    first, second = bundle(b"one", "a"), bundle(b"two", "b")
    slow = story.begin("slow", story.push(second, second["commits"][0]["commit_id"], "b"))
    await story.turns.resume("slow", AN_OBJECT_IS_KNOWN)
    await story.do(story.push(first, first["commits"][0]["commit_id"], "a"))
    await story.dies(slow)
    story.wait(2 * A_DAY)
    done = await story.do(story.repack())
    assert (done.left["ambiguous"], done.packs) == (1, MANY)


@pytest.mark.asyncio
async def test_the_same_record_in_two_packs_is_folded_into_one(
    story: PackedStory, old: History
) -> None:
    """A push that died after its bytes, and came again with less."""
    drawn = graph("1", salt="twice")
    dead = story.begin("dead", story.push(drawn.bundle(), drawn[1], "twice"))
    await story.turns.resume("dead", A_SNAPSHOT_IS_KNOWN, A_ROW_IS_CREATED)
    await story.dies(dead)
    await story.do(story.push(drawn.bundle(objects=False), drawn[1], "twice"))
    story.wait(2 * A_DAY)
    before = await story.clone()
    done = await story.do(story.repack())
    assert (done.left["ambiguous"], done.packs, len(story.named())) == (0, MANY + 2, 1)
    await story.whole(before)


# ── Damage ────────────────────────────────────────────────────────────────────────────────────────


def flip(story: PackedStory, at: str) -> None:
    """Turn over one bit of a packed entry, as old as it was."""
    where = Packed.parse(at)
    versions = story.cloud.objects[object_keys.pack("r1", where.pack)]
    changed = bytearray(versions[-1].data)
    changed[where.offset + where.length // 2] ^= 1
    versions[-1] = versions[-1]._replace(data=bytes(changed))


IN_PACKS = pytest.mark.parametrize(
    ("part", "attribute"), [("#O", "at"), ("#S", "at"), ("#LANE#", "record_at")]
)


@IN_PACKS
@pytest.mark.asyncio
async def test_nothing_damaged_is_carried_on(
    story: PackedStory, old: History, part: str, attribute: str
) -> None:
    flip(story, next(row[attribute] for row in story.rows(part) if attribute in row))
    rows, kept = story.index_rows(), story.packs()
    with pytest.raises(Damaged):
        await story.do(story.repack())
    assert (story.index_rows(), story.packs()) == (rows, kept)


@pytest.mark.asyncio
async def test_an_object_that_differs_from_its_id_is_not_moved(
    story: PackedStory, old: History
) -> None:
    """In a pack that is what its own name says."""
    row = story.rows("#O")[0]
    pack = packs.build([(Kind.OBJECT, row["sk"], b"something else")])
    await story.do(story.stores.of(REPO).objects.put_pack(pack))
    change(story.cloud, row["pk"], row["sk"], at=str(pack.locations[Kind.OBJECT, row["sk"]]))
    story.wait(2 * A_DAY)
    with pytest.raises(Damaged, match=row["sk"]):
        await story.do(story.repack())


@IN_PACKS
@pytest.mark.asyncio
async def test_a_row_that_names_absent_data_ends_it(
    story: PackedStory, old: History, part: str, attribute: str
) -> None:
    row = next(row for row in story.rows(part) if attribute in row)
    pack, offset, length = row[attribute].split(":")
    moved = f"{pack}:{int(offset) + 1}:{length}"
    change(story.cloud, row["pk"], row["sk"], **{attribute: moved})
    rows = story.index_rows()
    with pytest.raises(Damaged, match=row["sk"].rpartition("#")[2]):
        await story.do(story.repack())
    assert story.index_rows() == rows


@pytest.mark.asyncio
async def test_data_that_gc_deleted_before_its_start_is_no_damage(
    story: PackedStory, old: History
) -> None:
    more = chain(MANY, files=True, salt="more")
    await story.push_one_by_one(more, branch="more")
    await story.do(story.delete("main"))
    story.wait(LONG)
    await story.do(story.gc())
    asleep = story.begin("repack", story.repack())
    await story.turns.resume("repack", THE_LEASE_IS_PUT)
    for _ in range(2):
        await story.step()
    with pytest.raises(Unavailable, match="run it again"):
        await story.ends("repack", asleep)
    before = await story.clone()
    assert (await story.do(story.repack())).packs == MANY
    await story.whole(before)


@pytest.mark.asyncio
async def test_a_damaged_pack_that_nothing_names_is_in_nobodys_way(
    story: PackedStory, old: History
) -> None:
    story.cloud.put(object_keys.pack("r1", "0" * 64), b"cut short")
    story.cloud.put(object_keys.pack("r1", "1" * 64), b"")
    assert (await story.do(story.repack())).packs == MANY


@pytest.mark.asyncio
async def test_an_index_larger_than_the_first_read_is_read_whole(
    story: PackedStory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "GAP_BYTES", 100)
    pack = packs.build((Kind.OBJECT, f"o{n}", b"x" * n) for n in range(50))
    await story.do(story.stores.of(REPO).objects.put_pack(pack))
    [stored] = await story.do(story.stores.of(REPO).objects.packs())
    assert await story.do(story.stores.of(REPO).objects.read_index(stored)) == pack.locations


# ── Cut short ─────────────────────────────────────────────────────────────────────────────────────


def test_cut_short_before_any_call_it_goes_on() -> None:
    drawn = chain(4, files=True)

    async def on_progress(calls: int) -> bool:
        """Whether it ended within this many calls."""
        story = PackedStory()
        story.limit(combined_packs=2, repointed_rows=4)
        await story.push_one_by_one(drawn)
        story.wait(2 * A_DAY)
        before = await story.clone()
        repacking = story.begin("repack", story.repack())
        for _ in range(calls):
            if not await story.turns.step():
                break
        if ended := repacking.done():
            await repacking
        await story.dies(repacking) if not ended else None
        await story.whole(before)
        # Some months later, the new data is old enough.
        for _ in range(3):
            story.wait(2 * A_DAY)
            await story.do(story.repack())
        assert len(story.named()) == 1
        await story.whole(before)
        for _ in range(2):
            await story.whole_gc()
        assert story.packs() == story.named()
        await story.whole(before)
        return ended

    count = next(calls for calls in itertools.count() if asyncio.run(on_progress(calls)))
    assert count >= 30


@pytest.mark.asyncio
async def test_cut_short_after_its_last_row_it_lets_gc_begin_when_run_again(
    story: PackedStory, old: History
) -> None:
    repacking = story.begin("repack", story.repack())
    await story.turns.resume("repack", THE_LEASE_IS_UPDATED)
    await story.dies(repacking)
    assert len(story.named()) == 1
    with pytest.raises(Unavailable, match="run it to its end"):
        await story.do(story.gc())
    await story.do(story.repack())
    assert (await story.do(story.gc())).step is Step.CONDEMNED


class World(test_gc.World):
    """gc's, with a repack beside it."""

    async def keep_clean(self) -> None:
        if self.random.random() < 0.5:
            await super().keep_clean()
            return
        with contextlib.suppress(Unavailable):
            self.folded += (
                await repack.repack(self.stores.of(test_gc.REPO), self.turns.clock)
            ).packs

    folded = 0
    limits = replace(
        test_gc.World.limits,
        combined_packs=2,
        combined_pack_bytes=4000,
        small_pack_seconds=300,
        repointed_rows=5,
    )

    async def clean_up(self) -> None:
        self.random.random = lambda: 0.1  # type: ignore[method-assign]
        await super().clean_up()


@pytest.mark.parametrize("first", range(FIRST, FIRST + SCHEDULES, test_gc.CHUNK))
def test_no_request_misses_data_at_any_interruption(first: int) -> None:
    folded = 0
    for seed in range(first, min(first + test_gc.CHUNK, FIRST + SCHEDULES)):

        async def schedule(seed: int = seed) -> int:
            world = World(seed)
            try:
                await world.play()
            except BaseException as error:
                error.add_note(f"schedule {seed}")
                raise
            return world.folded

        folded += asyncio.run(schedule())
    assert folded or SCHEDULES < test_gc.CHUNK, "schedules in which nothing is folded show nothing"


# ── Through the handlers, on the embedded AWS ─────────────────────────────────────────────────────


def later() -> float:
    return time.time() + 2 * A_DAY


def repacked(owner: str) -> Repacked:
    found = upkeep.repo(owner)
    return upkeep.run(lambda stores: repack.repack(stores.of(found), later))


def planned(owner: str) -> RepackPlan:
    found = upkeep.repo(owner)
    return upkeep.run(lambda stores: repack.plan(stores.of(found), later))


def pushed(owner: str, count: int) -> Any:
    """This many pushes of one commit, one after the other. Returns the reply to a clone."""
    drawn = chain(count, files=True, salt=owner)
    for number in drawn.commits:
        assert client.push(owner, "song", drawn.bundle([number])).status == 200
    return upkeep.clone(owner)


def named(owner: str) -> set[str]:
    repo_id = upkeep.repo(owner).repo_id
    texts = (
        row.get(key)
        for row in upkeep.rows(repo_id, "")
        for key in ("at", "snapshot_at", "record_at")
    )
    return {text.split(":")[0] for text in texts if isinstance(text, str) and ":" in text} - {""}


def findings(owner: str) -> list[Any]:
    found = upkeep.repo(owner)

    async def check(stores: Stores) -> list[Any]:
        return [finding async for finding in fsck.fsck(stores.of(found))]

    return upkeep.run(check)


def cloned(owner: str) -> tuple[Any, list[str]]:
    """A clone by a hub that remembers nothing, and its calls."""
    upkeep.run(lambda _: selection.close())
    with recorded() as calls:
        value = upkeep.clone(owner)
    return value, calls


def test_a_clone_after_many_small_pushes_takes_fewer_calls(owner: str) -> None:
    pushed(owner, 20)
    before, calls = cloned(owner)
    assert calls.count("s3.GetObject") == 2 * 20  # a manifest and an object, each in its pack
    with recorded() as written:
        done = repacked(owner)
    assert (done.packs, done.into, len(named(owner))) == (20, 1, 1)
    assert written.count("s3.PutObject") == 1 and written.count("dynamodb.TransactWriteItems") == 1
    after, fewer = cloned(owner)
    assert after == before
    assert fewer.count("s3.GetObject") == 2
    assert len(fewer) == len(calls) - 38
    assert findings(owner) == []


def test_a_dry_run_only_reads(owner: str) -> None:
    pushed(owner, MANY)
    found = upkeep.repo(owner)
    with recorded() as calls:
        plan = upkeep.run(lambda stores: repack.plan(stores.of(found), later))
    assert plan.report().packs == MANY
    assert set(calls) == {"s3.ListObjectsV2", "s3.GetObject", "dynamodb.Query"}


@pytest.mark.parametrize("kind", [Fault.DIES_AFTER, Fault.UNHEARD], ids=["dies_after", "unheard"])
def test_whatever_happens_to_a_call_that_writes_it_can_be_run_again(
    owner: str, kind: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioboto3, "Session", shared_session)  # restarts are quicker
    small = Limits(combined_packs=2, repointed_rows=4)
    monkeypatch.setattr(selection, "LIMITS", small)
    seen = set[str]()
    for number in itertools.count(1):
        one = f"{owner}-{number}"
        before = pushed(one, 2)
        with recorded() as reads:
            planned(one)
        with (
            fault(kind, len(reads) + number) as strike,
            contextlib.suppress(BaseExceptionGroup, Crash, Unavailable),
        ):
            repacked(one)
        if not strike.call:
            break
        seen.add(strike.call)
        upkeep.run(lambda _: selection.close())
        assert upkeep.clone(one) == before, strike.call
        repacked(one)
        assert upkeep.clone(one) == before, strike.call
        assert findings(one) == [], strike.call
        assert len(named(one)) <= 2, strike.call  # one that was cut short, and one for the rest
    assert seen >= {
        "s3.PutObject",
        "dynamodb.BatchWriteItem",
        "dynamodb.TransactWriteItems",
        "dynamodb.UpdateItem",
    }
