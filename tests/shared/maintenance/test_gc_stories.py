"""What each rule of gc is for, as a story that goes wrong without it. The many schedules are in
test_gc.

`one` (a client, a gc) is stopped before a certain call, others act, time passes, it goes on.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from shared import codec
from shared.actions import branches, fetch, push, releases, tags, uploads
from shared.errors import Damaged, MissingReference, Unavailable
from shared.maintenance import fsck, gc, lease, purge, rebuild
from shared.maintenance.gc_plan import GRACE_SECONDS, Report
from shared.maintenance.lease import Step
from shared.metadata import keys
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.scans import JobState
from shared.metadata.table import ConditionFailed
from shared.model import CommitId, Repo, RepoId, Sees
from shared.objects import keys as object_keys
from shared.protocol.base import parse
from shared.protocol.fetch import Fetch
from shared.protocol.push import FilterObjects, Push, PushObjects
from shared.protocol.records import ObjectRecord
from shared.protocol.releases import PostRelease
from shared.protocol.tags import PostTags
from tests.builders import History, Record, blob, commit, graph, snapshot
from tests.points import (
    A_COMMIT_IS_CONDEMNED,
    A_LANE_IS_LISTED,
    A_LANE_IS_USED,
    A_ROW_IS_DELETED,
    A_ROW_IS_UPDATED,
    A_SNAPSHOT_IS_KNOWN,
    AN_OBJECT_IS_KNOWN,
    BEFORE_IT_IS_KNOWN,
    BYTES_ARE_DELETED,
    BYTES_ARE_STORED,
    THE_BUCKET_IS_LISTED,
    THE_LEASE_IS_UPDATED,
    THE_LEASE_IS_USED,
    THE_LIST_OF_LANES_IS_USED,
    THE_MOVES_ARE_USED,
    THE_OBJECTS_ARE_LISTED,
    THE_REF_IS_SWAPPED,
    THE_REFS_ARE_READ,
    THE_SNAPSHOTS_ARE_LISTED,
)
from tests.stores_in_memory import HUB, cloud_on, rows, stores_on
from tests.turns import Turns

REPO = Repo("ada", "song", repo_id=RepoId("r1"), default_branch="none", presigned_at=2**40)
"""Upload URLs are always given out: `presigned_at` is later than any time in these stories."""
A_REQUEST = STALE_SECONDS - 10
A_DAY = 24 * 3600
LONG = 32 * A_DAY
"""Longer than a move is kept."""


class Story:
    """A repository on a cloud that does one thing at a time."""

    def __init__(self) -> None:
        self.turns = Turns(0)
        self.cloud = cloud_on(self.turns)
        self.stores = stores_on(self.cloud)

    def limit(self, **limits: int) -> None:
        """From now on, requests and jobs have these limits."""
        self.stores = replace(self.stores, limits=replace(self.stores.limits, **limits))

    def wait(self, seconds: float) -> None:
        self.turns.now += seconds

    async def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """To its end, while all others stand still."""
        return await self.turns.all_through(work)

    def begin(self, who: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.turns.begin(who, work)

    async def ends(self, who: str, task: asyncio.Task[Any]) -> Any:
        await self.turns.resume(who)
        return await task

    async def dies(self, task: asyncio.Task[Any]) -> None:
        self.turns.kill(task)
        await task
        await self.turns.settle()

    # ── Clients ───────────────────────────────────────────────────────────────────────────────────

    def push(
        self, bundle: Record, head: str, branch: str = "main", *, force: bool = False
    ) -> Coroutine[Any, Any, Any]:
        message = {
            "bundle": {**bundle, "branch_heads": {branch: head}},
            "branch": branch,
            "force": force,
        }
        return push.push(self.stores.of(REPO), parse(Push, message), by="ada", now=self.turns.now)

    def delete(self, branch: str) -> Coroutine[Any, Any, Any]:
        return branches.delete(
            self.stores.of(REPO), branch, leave_empty=True, by="ada", now=self.turns.now
        )

    async def known(self, *commit_ids: CommitId) -> set[CommitId]:
        found = await self.do(self.stores.of(REPO).index.known(commits=commit_ids))
        return set(found.commits)

    async def clone(self, *want: CommitId) -> Any:
        """All that can be read of these commits, or of every branch.

        Raises Damaged if anything is missing.
        """
        refs = await self.do(self.stores.of(REPO).refs.all())
        heads = list(want) or [ref.head.commit_id for ref in refs.values()]
        return await self.do(self.receive(Fetch(want=heads)))

    async def receive(self, request: Fetch) -> dict[str, Any]:
        """The whole answer to a fetch, read to its end."""
        fetched = await fetch.fetch(self.stores.of(REPO), request, Sees.ALL)
        return codec.unpack_record(b"".join([piece async for piece in fetched.in_msgpack()]))

    async def findings(self) -> list[Any]:
        async def check() -> list[Any]:
            return [finding async for finding in fsck.fsck(self.stores.of(REPO))]

        found: list[Any] = await self.do(check())
        return found

    # ── Cleaning ──────────────────────────────────────────────────────────────────────────────────

    def gc(self) -> Coroutine[Any, Any, Report]:
        """The step that is due."""
        return gc.run(self.stores.of(REPO), self.turns.clock)

    async def step(self) -> Report:
        """The step that is due after a grace."""
        self.wait(GRACE_SECONDS + 5)
        report: Report = await self.do(self.gc())
        return report

    async def tidy(self, until: float) -> None:
        """Time passes, and gc runs every minute."""
        end = self.turns.now + until
        while self.turns.now < end:
            self.wait(min(60, end - self.turns.now))
            with contextlib.suppress(Unavailable):
                await self.do(self.gc())

    async def whole_gc(self) -> list[Report]:
        return [await self.step() for _ in range(3)]

    def rows(self, part: str) -> list[Record]:
        return rows(self.cloud, f"REPO#r1{part}")

    def lose(self, part: str) -> None:
        partitions = self.cloud.tables[HUB]
        for pk in [pk for pk in partitions if pk.startswith(f"REPO#r1{part}")]:
            del partitions[pk]

    def packs(self) -> set[str]:
        return {
            key.rpartition("/")[2]
            for key, versions in self.cloud.objects.items()
            if "/packs/" in key and versions
        }


@pytest_asyncio.fixture
async def story() -> AsyncIterator[Story]:
    yield Story()


async def forgotten(
    story: Story, drawn: History, numbers: Iterable[int], branch: str = "dev"
) -> None:
    """Commits of a branch that was deleted long ago, so that nothing reaches them."""
    numbers = list(numbers)
    await story.do(story.push(drawn.bundle(numbers), drawn[numbers[-1]], branch))
    await story.do(story.delete(branch))
    story.wait(LONG)


# ── The grace ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_the_grace_outlives_a_push_that_takes_over_from_one_that_died(story: Story) -> None:
    drawn = graph("1; 2:1")
    await forgotten(story, drawn, [1])
    first = story.begin("first", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("first", A_LANE_IS_USED)
    assert (await story.do(story.gc())).step is Step.CONDEMNED
    # Much later, it writes that 2 has a parent that is condemned now, and dies.
    await story.tidy(A_REQUEST)
    await story.turns.resume("first", *BEFORE_IT_IS_KNOWN)
    await story.dies(first)
    second = story.begin("second", story.push(drawn.bundle(), drawn[2]))
    await story.turns.resume("second", *BEFORE_IT_IS_KNOWN)
    await story.tidy(A_REQUEST)
    await story.ends("second", second)
    await story.tidy(4 * GRACE_SECONDS)
    await story.clone()
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_the_grace_runs_from_the_end_of_condemn(story: Story) -> None:
    """A push that found a commit known, just before a condemn of hours reached it."""
    drawn = graph("1; 2:1")
    await forgotten(story, drawn, [1])
    slow = story.begin("gc", story.gc())
    await story.turns.resume("gc", A_COMMIT_IS_CONDEMNED)
    story.wait(3 * GRACE_SECONDS)
    late = story.begin("push", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("push", BYTES_ARE_STORED)
    await story.ends("gc", slow)
    await story.tidy(A_REQUEST)
    await story.ends("push", late)
    await story.tidy(4 * GRACE_SECONDS)
    assert await story.findings() == []
    assert await story.known(drawn[1], drawn[2]) == {drawn[1], drawn[2]}


# ── Known commits are whole ───────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_snapshot_that_is_known_keeps_its_objects(story: Story) -> None:
    """A client that sends it again does not send them."""
    old, new = graph("1", salt="old"), graph("2", salt="new")
    await forgotten(story, old, [1])
    on_it = snapshot({"old": next(iter(old.objects)), "new": next(iter(new.objects))})
    made = commit("on both", [], on_it["snapshot_id"])
    bundle = {"commits": [made], "snapshots": [on_it], "objects": new.bundle()["objects"]}
    first = story.begin("first", story.push(bundle, made["commit_id"]))
    await story.turns.resume("first", A_LANE_IS_USED)
    await story.dies(first)
    assert (await story.do(story.gc())).rows["objects"] == 1
    assert (await story.step()).step is Step.SWEPT
    again = {"commits": [made], "snapshots": [on_it], "objects": []}
    await story.do(story.push(again, made["commit_id"]))
    assert len((await story.clone())["objects"]) == 2
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_an_object_that_is_condemned_is_asked_for_again(story: Story) -> None:
    drawn = graph("1")
    (object_id,) = drawn.objects
    await forgotten(story, drawn, [1])
    asked = FilterObjects(object_ids=[object_id])
    assert (
        await story.do(
            uploads.missing(story.stores.of(REPO), asked, uploader="", now=story.turns.now)
        )
        == []
    )
    await story.do(story.gc())
    assert await story.do(
        uploads.missing(story.stores.of(REPO), asked, uploader="", now=story.turns.now)
    ) == [object_id]
    sent = PushObjects(
        objects=[ObjectRecord(object_id=object_id, content=drawn.objects[object_id])]
    )
    assert (await story.do(uploads.accept(story.stores.of(REPO), sent, now=story.turns.now)))[
        "stored"
    ] == 1
    await story.step()
    await story.step()
    bundle = drawn.bundle(objects=False)
    await story.do(story.push(bundle, drawn[1]))
    await story.clone()
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_an_object_that_was_said_to_be_there_and_is_gone_is_never_taken_for_granted(
    story: Story,
) -> None:
    drawn = graph("1")
    await forgotten(story, drawn, [1])
    asked = FilterObjects(object_ids=list(drawn.objects))
    assert (
        await story.do(
            uploads.missing(story.stores.of(REPO), asked, uploader="", now=story.turns.now)
        )
        == []
    )
    await story.whole_gc()
    with pytest.raises(MissingReference):
        await story.do(story.push(drawn.bundle(objects=False), drawn[1]))
    await story.do(story.push(drawn.bundle(), drawn[1]))
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_an_upload_of_a_condemned_object_stays(story: Story) -> None:
    story.limit(loose_object_bytes=4)
    drawn = graph("1")
    ((object_id, content),) = drawn.objects.items()
    await forgotten(story, drawn, [1])
    await story.do(story.gc())
    story.cloud.put(object_keys.upload("r1", object_id), content)
    sweep = story.begin("gc", story.gc())
    story.wait(GRACE_SECONDS + 5)
    await story.turns.resume("gc", A_ROW_IS_DELETED)
    await story.do(story.push(drawn.bundle(objects=False), drawn[1]))
    await story.ends("gc", sweep)
    await story.step()
    await story.clone()
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_an_upload_beside_a_condemn_is_as_young_as_any(story: Story) -> None:
    """The push that names it may be the last of many requests."""
    drawn = graph("1")
    await story.do(story.push(drawn.bundle(), drawn[1]))
    condemn = story.begin("gc", story.gc())
    await story.turns.resume("gc", THE_SNAPSHOTS_ARE_LISTED)
    late = blob(b"late")
    sent = parse(PushObjects, {"objects": [late]})
    await story.do(uploads.accept(story.stores.of(REPO), sent, now=story.turns.now))
    assert (await story.ends("gc", condemn)).rows["objects"] == 0
    for _ in range(2):
        await story.step()
    on_it = snapshot({"late.wav": late["object_id"]})
    made = commit("late", [drawn[1]], on_it["snapshot_id"])
    await story.do(
        story.push({"commits": [made], "snapshots": [on_it], "objects": []}, made["commit_id"])
    )
    await story.clone()


@pytest.mark.asyncio
async def test_a_commit_that_comes_back_during_the_sweep_is_known(story: Story) -> None:
    drawn = graph("1; 2:1")
    await forgotten(story, drawn, [1, 2])
    await story.do(story.gc())
    story.wait(GRACE_SECONDS + 5)
    sweep = story.begin("gc", story.gc())
    await story.turns.resume("gc", A_ROW_IS_DELETED)
    await story.do(story.push(drawn.bundle(), drawn[2]))
    await story.ends("gc", sweep)
    assert await story.known(drawn[1], drawn[2]) == {drawn[1], drawn[2]}
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_a_row_of_a_crashed_push_is_written_again(story: Story) -> None:
    """Its parent is the commit of that time, in the lane of that time."""
    drawn = graph("1; 2:1")
    await forgotten(story, drawn, [1])
    dead = story.begin("push", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("push", A_LANE_IS_USED)
    await story.do(story.gc())
    await story.turns.resume("push", *BEFORE_IT_IS_KNOWN)
    await story.dies(dead)
    assert (await story.step()).rows["lanes"] == 1
    await story.do(story.push(drawn.bundle(), drawn[2]))
    await story.clone()
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_a_push_during_a_condemn_stays_known(story: Story) -> None:
    """A tag on it must not be refused for an hour."""
    drawn = graph("1; 2:1; 3:1; 4", salt="new")
    await forgotten(story, drawn, [4])
    await story.do(story.push(drawn.bundle([1]), drawn[1]))
    in_flight = story.begin("push", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("push", THE_MOVES_ARE_USED)
    condemn = story.begin("gc", story.gc())
    await story.turns.resume("gc", THE_REFS_ARE_READ)
    await story.do(story.push(drawn.bundle([3]), drawn[3], "side"))
    await story.turns.resume("gc", A_ROW_IS_UPDATED)
    await story.do(story.push(drawn.bundle([3]), drawn[3], "late"))
    report = await story.ends("gc", condemn)
    await story.ends("push", in_flight)
    assert report.rows == {"commits": 1, "lanes": 1, "snapshots": 1, "objects": 1}
    assert await story.known(*(drawn[n] for n in (1, 2, 3, 4))) == {drawn[1], drawn[2], drawn[3]}


@pytest.mark.asyncio
async def test_the_ancestors_of_a_known_commit_stay(story: Story) -> None:
    """Known, but on no branch: a push that died after the condemn wrote it.

    The next may build on it.
    """
    drawn = graph("1; 2:1; 3:2")
    await forgotten(story, drawn, [1])
    dead = story.begin("push", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("push", BYTES_ARE_STORED)
    await story.do(story.gc())
    await story.turns.resume("push", THE_MOVES_ARE_USED)
    await story.dies(dead)
    await story.step()
    await story.do(story.push(drawn.bundle([3]), drawn[3]))
    assert len((await story.clone())["commits"]) == 3
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_a_row_of_a_push_in_flight_is_left_alone(story: Story) -> None:
    drawn = graph("1; 2:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1]))
    in_flight = story.begin("push", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("push", *BEFORE_IT_IS_KNOWN)
    assert set((await story.do(story.gc())).rows.values()) == {0}
    await story.ends("push", in_flight)


@pytest.mark.asyncio
async def test_the_next_gc_reprieves_the_marks_of_an_interrupted_condemn(
    story: Story,
) -> None:
    drawn = graph("1; 2:1")
    await forgotten(story, drawn, [1])
    reviving = story.begin("push", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("push", BYTES_ARE_STORED)
    cut_short = story.begin("gc", story.gc())
    await story.turns.resume("gc", THE_LEASE_IS_USED)  # it had to be let begin …
    await story.dies(cut_short)
    cut_short = story.begin("gc", story.gc())
    await story.turns.resume("gc", THE_LEASE_IS_UPDATED)  # … and not to end
    await story.dies(cut_short)
    await story.ends("push", reviving)
    assert await story.known(drawn[1]) == set()
    assert (await story.step()).step is Step.CONDEMNED
    assert (
        await story.step()
    ).reprieved == 4  # the commit by its id and in its lane, its snapshot and its object
    assert await story.known(drawn[1], drawn[2]) == {drawn[1], drawn[2]}
    assert not [row for row in story.rows("") if "condemned_at" in row]


# ── Which bytes are named ─────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_record_that_no_index_names_stays(story: Story) -> None:
    """Of a commit in a pack of its own, its snapshot being there already: only its row says where
    it is.
    """
    story.limit(inline_record_bytes=10)
    drawn = graph("1")
    await story.do(story.push(drawn.bundle(), drawn[1]))
    made = commit("the same again", [drawn[1]], drawn.snapshots[1]["snapshot_id"])
    await story.do(
        story.push({"commits": [made], "snapshots": [], "objects": []}, made["commit_id"])
    )
    packs = story.packs()
    story.wait(LONG)
    await story.whole_gc()
    assert story.packs() == packs
    assert len((await story.clone())["commits"]) == 2


@pytest.mark.asyncio
async def test_a_manifest_that_only_its_branch_names_stays(story: Story) -> None:
    """Two send the same commit, in packs that differ.

    One writes the rows that count, the other makes the branch.
    """
    drawn = graph("1")
    sent = PushObjects(
        objects=[ObjectRecord(object_id=i, content=c) for i, c in drawn.objects.items()]
    )
    await story.do(uploads.accept(story.stores.of(REPO), sent, now=story.turns.now))
    more = {**drawn.bundle(), "objects": [*drawn.bundle()["objects"], blob(b"and this")]}
    slow = story.begin("slow", story.push(more, drawn[1]))
    await story.turns.resume("slow", A_SNAPSHOT_IS_KNOWN)
    fast = story.begin("fast", story.push(drawn.bundle(), drawn[1]))
    await story.turns.resume("fast", THE_REF_IS_SWAPPED)
    await story.turns.resume("slow", THE_REF_IS_SWAPPED)
    await story.ends("fast", fast)
    await story.ends("slow", slow)
    story.wait(LONG)
    for _ in range(2):
        await story.whole_gc()
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_data_of_the_index_stays_even_if_a_branch_points_elsewhere(story: Story) -> None:
    """History that was replaced by force is stored in the first lane, and the index points to it."""
    drawn = graph("1; 2:1; 3:1")
    await forgotten(story, drawn, [1, 2])
    replaced = drawn.bundle([1, 2])
    replaced["commits"] = [{**record, "author": "Bob"} for record in replaced["commits"]]
    by_force = story.begin("push", story.push(replaced, drawn[2], force=True))
    await story.turns.resume("push", BYTES_ARE_STORED)
    await story.do(story.gc())
    await story.ends("push", by_force)
    await story.step()
    await story.do(story.push(drawn.bundle([3]), drawn[3], "side"))
    await story.clone(drawn[1], drawn[3])
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_data_that_a_snapshot_reaches_by_the_index_stays(story: Story) -> None:
    """Two send, at once, different contents under the same opaque id."""

    def bundle(content: bytes) -> Record:
        objects = [blob(content)]
        on_it = {"snapshot_id": "s1", "manifest": {"a": objects[0]["object_id"]}}
        return {"commits": [commit("x", [], "s1")], "snapshots": [on_it], "objects": objects}

    head = commit("x", [], "s1")["commit_id"]
    slow = story.begin("slow", story.push(bundle(b"one"), head, "dev"))
    await story.turns.resume("slow", A_SNAPSHOT_IS_KNOWN)
    await story.do(story.push(bundle(b"two"), head, "dev"))
    await story.dies(slow)
    await story.do(story.delete("dev"))
    story.wait(LONG)
    reviving = story.begin(
        "push", story.push({"commits": [], "snapshots": [], "objects": []}, head)
    )
    await story.turns.resume("push", THE_REF_IS_SWAPPED, THE_MOVES_ARE_USED)
    await story.do(story.gc())
    await story.ends("push", reviving)
    await story.whole_gc()
    made = commit("y", [head], "s1")
    await story.do(
        story.push({"commits": [made], "snapshots": [], "objects": []}, made["commit_id"])
    )
    # It uses the address in the index. Its parent uses the address in its row.
    fetched = await story.do(story.receive(Fetch(want=[made["commit_id"]], have=[head])))
    assert [entry["content"] for entry in fetched["objects"]] == [b"two"]


@pytest.mark.asyncio
async def test_bytes_that_a_push_has_found_are_not_removed_when_they_are_written_again(
    story: Story,
) -> None:
    """A collect that began before another gc condemned the row, and ends when the row says
    something else.
    """
    old, new = graph("1"), graph("2", salt="new")
    dead = story.begin("dead", story.push(old.bundle(), old[1]))
    await story.turns.resume("dead", A_LANE_IS_USED)
    await story.dies(dead)
    await story.step()
    await story.step()
    story.wait(LONG)
    collect = story.begin("collect", story.gc())
    await story.turns.resume("collect", THE_OBJECTS_ARE_LISTED)
    made = commit("on the same", [], old.snapshots[1]["snapshot_id"])
    found_it = story.begin(
        "push", story.push({"commits": [made], "snapshots": [], "objects": []}, made["commit_id"])
    )
    await story.turns.resume("push", BYTES_ARE_STORED)
    await story.do(gc.condemn(story.stores.of(REPO), story.turns.clock))
    again = {**old.bundle(), "objects": [*old.bundle()["objects"], *new.bundle()["objects"]]}
    await story.do(story.push(again, old[1], "again"))
    with pytest.raises(Unavailable):
        await story.ends("collect", collect)
    await story.ends("push", found_it)
    await story.clone()
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_bytes_of_a_push_in_flight_stay(story: Story) -> None:
    drawn = graph("1")
    await story.step()
    await story.step()
    story.wait(GRACE_SECONDS + 5)
    in_flight = story.begin("push", story.push(drawn.bundle(), drawn[1]))
    await story.turns.resume("push", AN_OBJECT_IS_KNOWN)
    assert (await story.do(story.gc())).step is Step.COLLECTED
    await story.ends("push", in_flight)
    await story.clone()


@pytest.mark.parametrize("part", ["#O", "#S", "#C", "#LANE"])
@pytest.mark.asyncio
async def test_a_repository_that_has_lost_its_rows_keeps_its_bytes(story: Story, part: str) -> None:
    drawn = graph("1; 2:1")
    await story.do(story.push(drawn.bundle(), drawn[2]))
    await story.do(tags.store(story.stores.of(REPO), a_tag(drawn[1])))
    story.wait(LONG)
    await story.step()
    await story.step()
    packs = story.packs()
    before = await story.clone()
    story.lose(part)
    if part == "#C":
        story.lose("#O")  # commits are found from the branch, so the object is missed
    with pytest.raises(Damaged):
        await story.step()
    assert story.packs() == packs
    with pytest.raises(Unavailable, match="--stop-gc"):
        await story.do(rebuild.rebuild(story.stores.of(REPO), now=story.turns.now))
    await story.do(lease.stop_gc(story.stores.of(REPO), story.turns.now))
    story.wait(STALE_SECONDS)
    await story.do(rebuild.rebuild(story.stores.of(REPO), now=story.turns.now))
    await story.whole_gc()
    assert await story.clone() == before
    assert await story.findings() == []
    await story.do(story.delete("main"))
    await story.do(tags.delete(story.stores.of(REPO), "t1", now=story.turns.now))
    story.wait(LONG)
    await story.whole_gc()
    assert {row["pk"] for row in story.rows("")} == {"REPO#r1#GC"}


@pytest.mark.asyncio
async def test_a_tag_on_a_missing_commit_ends_the_gc(story: Story) -> None:
    drawn = graph("1")
    await story.do(story.push(drawn.bundle(), drawn[1]))
    await story.do(tags.store(story.stores.of(REPO), a_tag(drawn[1])))
    await story.do(story.delete("main"))
    story.wait(LONG)
    story.lose("#C")
    with pytest.raises(Damaged):
        await story.do(story.gc())
    assert not [row for row in story.rows("") if "condemned_at" in row]


# ── Roots ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_earlier_heads_can_be_restored_for_30_days_and_no_longer(story: Story) -> None:
    drawn = graph("1; 2:1; 3")
    await story.do(story.push(drawn.bundle([1, 2]), drawn[2]))
    before = await story.clone()
    await story.do(story.push(drawn.bundle([3]), drawn[3], force=True))
    story.wait(2 * A_DAY)
    for _ in range(6):
        await story.whole_gc()
    story.wait(27 * A_DAY)
    restored = branches.restore(
        story.stores.of(REPO), "main", drawn[2], by="ada", now=story.turns.now
    )
    sweep = story.begin("gc", story.gc())
    await story.turns.resume("gc", THE_SNAPSHOTS_ARE_LISTED)
    await story.do(restored)
    await story.ends("gc", sweep)
    await story.whole_gc()
    assert (await story.clone())["commits"] == before["commits"]
    assert await story.findings() == []
    story.wait(LONG)
    await story.whole_gc()
    assert await story.known(drawn[1], drawn[2], drawn[3]) == {drawn[1], drawn[2]}


@pytest.mark.asyncio
async def test_a_tag_keeps_its_commit_until_it_is_deleted(story: Story) -> None:
    drawn = graph("1; 2:1; 3:2")
    await story.do(story.push(drawn.bundle(), drawn[3], "dev"))
    await story.do(tags.store(story.stores.of(REPO), a_tag(drawn[2])))
    before = await story.clone(drawn[2])
    await story.do(story.delete("dev"))
    story.wait(LONG)
    await story.whole_gc()
    assert await story.known(*(drawn[n] for n in (1, 2, 3))) == {drawn[1], drawn[2]}
    after = await story.clone(drawn[2])
    assert {**after, "branch_heads": {}} == {**before, "branch_heads": {}}
    await story.do(tags.delete(story.stores.of(REPO), "t1", now=story.turns.now))
    await story.whole_gc()
    assert await story.known(drawn[1], drawn[2]) == set()


@pytest.mark.asyncio
async def test_a_release_keeps_its_commit_until_it_is_retracted(story: Story) -> None:
    drawn = graph("1; 2:1; 3:2")
    await story.do(story.push(drawn.bundle(), drawn[3], "dev"))
    record = {
        "release_id": "r",
        "tag": "v1.0",
        "commit_id": drawn[2],
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    await story.do(
        releases.publish(story.stores.of(REPO), PostRelease(record), now=story.turns.now)
    )
    await story.do(story.delete("dev"))
    story.wait(LONG)
    await story.whole_gc()
    assert await story.known(*(drawn[n] for n in (1, 2, 3))) == {drawn[1], drawn[2]}
    await story.clone(drawn[2])
    await story.do(releases.retract(story.stores.of(REPO), "v1.0", now=story.turns.now))
    await story.whole_gc()
    assert await story.known(drawn[1], drawn[2]) == set()


def a_tag(commit_id: str) -> PostTags:
    return PostTags(tags=[{"tag_id": "t1", "tag": "best", "commit_id": commit_id}])


# ── Two at once ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_sweep_that_stalled_for_a_month_deletes_only_rows_with_its_own_mark(
    story: Story,
) -> None:
    drawn = graph("1; 2:1")
    await forgotten(story, drawn, [1])
    await story.do(story.gc())
    story.wait(GRACE_SECONDS + 5)
    asleep = story.begin("sweep", story.gc())
    await story.turns.resume("sweep", A_ROW_IS_DELETED)
    await forgotten(story, drawn, [1], "again")
    found_it = story.begin("push", story.push(drawn.bundle([2]), drawn[2]))
    await story.turns.resume("push", BYTES_ARE_STORED)
    await story.do(gc.condemn(story.stores.of(REPO), story.turns.clock))
    with pytest.raises(Unavailable):
        await story.ends("sweep", asleep)
    await story.ends("push", found_it)
    await story.step()
    assert await story.known(drawn[1], drawn[2]) == {drawn[1], drawn[2]}
    assert await story.findings() == []


@pytest.mark.asyncio
async def test_a_gc_that_was_overtaken_takes_no_stamp_of_the_other_away(story: Story) -> None:
    drawn = graph("1")
    await story.do(story.push(drawn.bundle(), drawn[1]))
    await story.do(story.delete("main"))
    await story.step()
    story.wait(LONG)
    sweep = story.begin("sweep", story.gc())
    await story.turns.resume("sweep", THE_OBJECTS_ARE_LISTED)
    await story.do(gc.condemn(story.stores.of(REPO), story.turns.clock))
    with pytest.raises(Unavailable):
        await story.ends("sweep", sweep)
    assert (await story.step()).rows == {"commits": 1, "lanes": 1, "snapshots": 1, "objects": 1}


@pytest.mark.asyncio
async def test_a_step_with_a_lost_reply_is_taken_once(story: Story) -> None:
    scans, swept = story.stores.of(REPO).scans, JobState("ours", Step.SWEPT, 7)
    await story.do(scans.begin(JobState("ours", Step.CONDEMNED, 5)))
    for _ in range(2):  # botocore sends a call again if its reply was lost
        await story.do(scans.advance(swept, Step.CONDEMNED))
    for other in (replace(swept, at=8), replace(swept, run_id="theirs")):
        with pytest.raises(ConditionFailed):
            await story.do(scans.advance(other, Step.CONDEMNED))
    assert await story.do(scans.progress()) == swept


@pytest.mark.parametrize("steps", [1, 2], ids=["sweep", "collect"])
@pytest.mark.asyncio
async def test_rows_that_another_gc_deleted_are_not_damage(story: Story, steps: int) -> None:
    drawn = graph("1; 2:1")
    await story.do(story.push(drawn.bundle(), drawn[2]))
    await story.do(story.delete("main"))
    for _ in range(steps):
        await story.step()
    story.wait(LONG)
    asleep = story.begin("gc", story.gc())
    await story.turns.resume("gc", A_LANE_IS_LISTED)
    await story.do(gc.condemn(story.stores.of(REPO), story.turns.clock))
    await story.step()
    with pytest.raises(Unavailable):
        await story.ends("gc", asleep)


@pytest.mark.parametrize("steps", [1, 2], ids=["condemned", "swept"])
@pytest.mark.asyncio
async def test_a_rebuild_waits_for_a_gc_and_no_gc_begins_beside_it(
    story: Story, steps: int
) -> None:
    """It finds unreachable data, and would write rows for data that is being deleted."""
    drawn = graph("1; 2:1; 3")
    await story.do(story.push(drawn.bundle([3]), drawn[3]))
    await forgotten(story, drawn, [1, 2])
    for _ in range(steps):
        await story.step()
    story.wait(GRACE_SECONDS + 5)
    removing = story.begin("gc", story.gc())
    await story.turns.resume("gc", A_ROW_IS_DELETED if steps == 1 else BYTES_ARE_DELETED)
    objects = len(story.rows("#O"))
    await story.do(lease.stop_gc(story.stores.of(REPO), story.turns.now))
    with pytest.raises(Unavailable, match=f"again in {STALE_SECONDS} seconds"):
        await story.do(rebuild.rebuild(story.stores.of(REPO), now=story.turns.now))
    with pytest.raises(Unavailable) if steps == 1 else contextlib.nullcontext():
        await story.ends("gc", removing)
    assert len(story.rows("#O")) == objects, (
        "it ends after the few rows that it was about to remove"
    )
    with pytest.raises(Unavailable, match="rebuild-index is at work"):
        await story.do(story.gc())
    story.wait(STALE_SECONDS)
    await story.do(rebuild.rebuild(story.stores.of(REPO), now=story.turns.now))
    for commit_id in await story.known(drawn[1], drawn[2]):
        await story.clone(commit_id)
    assert (await story.do(story.gc())).step is Step.CONDEMNED


@pytest.mark.asyncio
async def test_a_refused_rebuild_leaves_the_gc_as_it_is(story: Story) -> None:
    drawn = graph("1; 2:1; 3")
    await story.do(story.push(drawn.bundle([3]), drawn[3]))
    await forgotten(story, drawn, [1, 2])
    await story.step()
    story.wait(GRACE_SECONDS + 5)
    with pytest.raises(Unavailable, match="--stop-gc"):
        await story.do(rebuild.rebuild(story.stores.of(REPO), now=story.turns.now))
    assert (await story.do(story.gc())).step is Step.SWEPT, "the gc goes on with its next step"


@pytest.mark.asyncio
async def test_a_rebuild_ends_if_a_gc_has_begun_all_the_same(story: Story) -> None:
    drawn = graph("1; 2:1")
    await story.do(story.push(drawn.bundle(), drawn[2]))
    asleep = story.begin("rebuild", rebuild.rebuild(story.stores.of(REPO), now=story.turns.now))
    await story.turns.resume("rebuild", THE_BUCKET_IS_LISTED)
    story.wait(lease.LEASE_SECONDS)
    await story.do(story.gc())
    story.lose("#LANE#")
    with pytest.raises(Unavailable):
        await story.ends("rebuild", asleep)
    assert story.rows("#LANE#") == []


# ── What dead pushes leave ────────────────────────────────────────────────────────────────────────


async def _never_came_to_be(story: Story, drawn: History) -> Coroutine[Any, Any, Any]:
    return story.push(drawn.bundle(), drawn[2], "never")


async def _replaced_by_force(story: Story, drawn: History) -> Coroutine[Any, Any, Any]:
    await story.do(story.push(drawn.bundle(), drawn[2]))
    await story.do(story.delete("main"))
    bundle = drawn.bundle()
    bundle["commits"] = [{**record, "author": "Bob"} for record in bundle["commits"]]
    return story.push(bundle, drawn[2], force=True)


async def _on_a_branch_that_was_elsewhere(story: Story, drawn: History) -> Coroutine[Any, Any, Any]:
    await story.do(story.push(drawn.bundle([1]), drawn[1], "dev"))
    await story.do(story.push({"commits": [], "snapshots": [], "objects": []}, drawn[1], "other"))
    return story.push(drawn.bundle([2]), drawn[2], "other")


DEAD: dict[str, Callable[[Story, History], Awaitable[Coroutine[Any, Any, Any]]]] = {
    "a branch that never came to be": _never_came_to_be,
    "history replaced by force": _replaced_by_force,
    "a branch without a lane of its own": _on_a_branch_that_was_elsewhere,
}


@pytest.fixture(params=DEAD)
def dead(
    request: pytest.FixtureRequest,
) -> Callable[[Story, History], Awaitable[Coroutine[Any, Any, Any]]]:
    return DEAD[request.param]


async def _dies_with_rows_in_its_lane(story: Story, work: Coroutine[Any, Any, Any]) -> None:
    before = len(story.rows("#LANE#"))
    task = story.begin("push", work)
    await story.turns.resume("push", *BEFORE_IT_IS_KNOWN)
    await story.dies(task)
    assert len(story.rows("#LANE#")) > before


@pytest.mark.asyncio
async def test_gc_finds_the_rows_of_a_dead_push(story: Story, dead: Any) -> None:
    drawn = graph("1; 2:1")
    await _dies_with_rows_in_its_lane(story, await dead(story, drawn))
    refs = await story.do(story.stores.of(REPO).refs.all())
    for branch in refs:
        await story.do(story.delete(branch))
    story.wait(LONG)
    for _ in range(2):
        await story.whole_gc()
    left = story.rows("#")
    assert [row["pk"] for row in left] == ["REPO#r1#GC"], left
    assert story.packs() == set()


@pytest.mark.asyncio
async def test_purge_finds_the_rows_of_a_dead_push(story: Story, dead: Any) -> None:
    drawn = graph("1; 2:1")
    await _dies_with_rows_in_its_lane(story, await dead(story, drawn))
    (
        await story.do(tags.store(story.stores.of(REPO), a_tag(drawn[1])))
        if await story.known(drawn[1])
        else None
    )
    story.cloud.put(object_keys.upload("r1", "unproved"), b"x")
    await story.do(
        story.stores.hub.put(
            [(keys.deleted("ada", "r1"), {"owner": "ada", "slug": "song", "deleted_at": 1})]
        )
    )
    purged = await story.do(purge.purge(story.stores, now=story.turns.now))
    assert purged.done == 1
    assert story.rows("") == []
    assert not any(story.cloud.objects.values())


@pytest.mark.asyncio
async def test_a_lane_is_listed_before_its_first_row_and_for_as_long_as_it_has_any(
    story: Story,
) -> None:
    drawn = graph("1; 2:1", files=False)  # without bytes, which rows wait for
    begun = story.begin("push", story.push(drawn.bundle([1]), drawn[1]))
    await story.turns.resume("push", THE_LIST_OF_LANES_IS_USED)
    assert story.rows("#LANE#") == []
    await story.turns.resume("push", A_LANE_IS_USED)
    assert await story.do(story.stores.of(REPO).scans.lanes()) == ["main"]
    # Between the two, a collect finds it empty, and too young to be forgotten.
    await story.do(story.stores.of(REPO).scans.close_lane("main", int(story.turns.now)))
    await story.ends("push", begun)
    story.wait(LONG)
    await story.whole_gc()
    assert await story.do(story.stores.of(REPO).scans.lanes()) == ["main"]
    await story.do(story.push(drawn.bundle([2]), drawn[2]))
    await story.do(story.delete("main"))
    story.wait(LONG)
    await story.whole_gc()
    assert await story.do(story.stores.of(REPO).scans.lanes()) == []
    assert story.rows("#LANE#") == []
