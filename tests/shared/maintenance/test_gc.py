"""gc with concurrent requests and jobs: seeded schedules of pushes, forced pushes, deletions, restores, tags,
rebuilds and fetches, cut short anywhere, against one or two gcs, call by call.

After each step of a gc, and at the end: every branch, every tag and every kept move is whole, and
so is every commit that a push could build on. A fetch of a head never fails. In the end all
unreachable data is deleted.

    GC_SCHEDULES=20000 pytest -n auto tests/shared/maintenance/test_gc.py    as `make nightly` does
    GC_FIRST=12345 GC_SCHEDULES=1 pytest tests/shared/maintenance/test_gc.py    one of them again

test_gc_stories shows the purpose of each rule.
"""

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest

from shared.actions import branches, fetch, moves, push, tags, uploads
from shared.errors import (
    BranchMoved,
    MissingReference,
    NotFastForward,
    RefNotFound,
    TagNotFound,
    Unavailable,
    Unprocessable,
)
from shared.graph.ancestors import ancestors
from shared.graph.records import manifest
from shared.limits import Limits
from shared.maintenance import fsck, gc, gc_plan, lease, rebuild
from shared.maintenance.roots import pointed_to
from shared.model import CommitAddress, CommitId, Kind, Loose, ObjectId, Repo, RepoId, Sees
from shared.progress import no_progress
from shared.protocol.base import parse
from shared.protocol.fetch import Fetch
from shared.protocol.push import Push, PushObjects
from shared.protocol.records import ObjectRecord
from shared.protocol.tags import PostTags
from tests.builders import Record, blob, commit, snapshot
from tests.stores_in_memory import cloud_on, partition, rows, stores_on
from tests.turns import Turns

FIRST = int(os.environ.get("GC_FIRST", "0"))
SCHEDULES = int(os.environ.get("GC_SCHEDULES", "500"))
CHUNK = 25
REQUEST_SECONDS = 890
REPO = Repo("ada", "song", repo_id=RepoId("r1"), default_branch="none")
BRANCHES = ["main", "side", "deep/er"]
CONTENTS = [b"small 1", b"small 2", b"small 3", b"L" * 60, b"l" * 70]
REFUSALS = (BranchMoved, MissingReference, NotFastForward, RefNotFound, TagNotFound, Unavailable)
"""The valid replies to a client. Any other reply is a fault of the hub or of this test."""
JUMPS = [1, 30, 400, 800, *[4 * 900 + 5] * 4, 90_000, 16 * 86_400, 40 * 86_400]


class World:
    """A repository, the clients that work on it, and who cleans up behind them."""

    limits = Limits(loose_object_bytes=50, inline_record_bytes=550)

    def __init__(self, seed: int) -> None:
        self.turns = Turns(seed)
        self.random = self.turns.random
        self.cloud = cloud_on(self.turns)
        self.cloud.page_bytes = 8000
        self.stores = stores_on(self.cloud, self.limits)
        self.commits: dict[str, Record] = {}
        self.snapshots: dict[str, Record] = {}
        self.objects = {record["object_id"]: record["content"] for record in map(blob, CONTENTS)}
        self.number = 0
        self.swept = 0
        self.coming_back = 0.3
        self.acknowledged: set[str] = set()
        """Commits of pushes that came to their end."""
        self.tags: dict[str, CommitId] = {}
        """Commits by the tags that were acknowledged."""

    # ── Clients ───────────────────────────────────────────────────────────────────────────────────

    def heads(self) -> dict[str, str]:
        stored = partition(self.cloud, "REPO#r1")
        return {
            sk[4:]: str(row["head"])
            for sk, row in stored.items()
            if sk.startswith("REF#") and "head" in row
        }

    def ancestry(self, commit_id: str) -> list[str]:
        found, stack = list[str](), [commit_id]
        while stack:
            one = stack.pop()
            if one not in found:
                found.append(one)
                stack += [
                    p
                    for key in ("parent_commit_id", "parent2_commit_id")
                    if (p := self.commits[one][key])
                ]
        return found

    def new_commit(self, parents: list[str]) -> str:
        self.number += 1
        chosen = self.random.sample(sorted(self.objects), self.random.randint(1, 3))
        on_it = snapshot({f"f{n}": object_id for n, object_id in enumerate(chosen)})
        # Some records are too large for a row.
        delta = {"data": self.random.randbytes(300).hex()} if self.random.random() < 0.3 else None
        made = commit(f"c{self.number}", parents, on_it["snapshot_id"], structured_delta=delta)
        self.commits[made["commit_id"]] = made
        self.snapshots[on_it["snapshot_id"]] = on_it
        return str(made["commit_id"])

    def bundle(self, commit_ids: Iterable[str], *, lean: bool, author: str = "Ada") -> Record:
        """The bundle of a push. A lean client leaves out the objects that filter-objects has just
        reported as stored.
        """
        commits = [{**self.commits[i], "author": author} for i in commit_ids]
        snapshots = {c["snapshot_id"]: self.snapshots[c["snapshot_id"]] for c in commits}
        named = {i for s in snapshots.values() for i in s["manifest"].values()}
        if lean:
            stored = rows(self.cloud, "REPO#r1#O")
            named -= {str(row["sk"]) for row in stored if "condemned_at" not in row}
        objects = [{"object_id": i, "content": self.objects[i]} for i in sorted(named)]
        return {"commits": commits, "snapshots": list(snapshots.values()), "objects": objects}

    async def push(self, branch: str, bundle: Record, head: str, *, force: bool) -> None:
        message = {
            "bundle": {**bundle, "branch_heads": {branch: head}},
            "branch": branch,
            "force": force,
        }
        request = parse(Push, message)
        await push.push(self.stores.of(REPO), request, by="ada", now=self.turns.clock())
        self.acknowledged |= {str(record["commit_id"]) for record in bundle["commits"]}

    def some_push(self) -> Coroutine[Any, Any, None]:
        branch, heads = self.random.choice(BRANCHES), self.heads()
        lean, force = self.random.random() < 0.5, self.random.random() < 0.4
        if self.commits and self.random.random() < self.coming_back:
            # Something from long ago comes back, whole or in part: the rest had better be known.
            head = self.random.choice(sorted(self.commits))
            ancestry = self.ancestry(head)
            sent = (
                ancestry
                if self.random.random() < 0.7
                else ancestry[: self.random.randint(0, len(ancestry))]
            )
            # Where the records differ, history is written a second time, beside the first.
            author = self.random.choice(["Ada", "Ada", "Bob"])
            return self.push(branch, self.bundle(sent, lean=lean, author=author), head, force=True)
        parents = [heads[branch]] if branch in heads and self.random.random() < 0.8 else []
        if heads and self.random.random() < 0.3:
            parents = sorted({*parents, self.random.choice(sorted(heads.values()))})
        if not parents and self.commits and self.random.random() < 0.5:
            parents = [self.random.choice(sorted(self.commits))]
        new = [self.new_commit(parents)]
        if self.random.random() < 0.3:
            new.append(self.new_commit(new))
        return self.push(branch, self.bundle(new, lean=lean), new[-1], force=force)

    def some_fetch(self) -> Coroutine[Any, Any, None]:
        async def work() -> None:
            heads = {
                branch: ref.head.commit_id
                for branch, ref in (await self.stores.of(REPO).refs.all()).items()
            }
            # A head that was read has its commit and all below it kept for 30 days.
            found = await fetch.fetch(
                self.stores.of(REPO), Fetch(want=list(heads.values())), Sees.ALL
            )
            assert sum([len(piece) async for piece in found.in_msgpack()]) == found.size

        return work()

    def some_upload(self) -> Coroutine[Any, Any, Any]:
        sent = [
            ObjectRecord(object_id=i, content=c)
            for i, c in self.objects.items()
            if self.random.random() < 0.4
        ]
        return uploads.accept(
            self.stores.of(REPO), PushObjects(objects=sent), now=self.turns.clock()
        )

    def some_move(self) -> Coroutine[Any, Any, Any]:
        branch, now = self.random.choice(BRANCHES), self.turns.clock()
        if self.random.random() < 0.5:
            return branches.delete(
                self.stores.of(REPO), branch, leave_empty=True, by="ada", now=now
            )

        async def restore() -> None:
            been = {address.commit_id for move in await self.stores.of(REPO).refs.moves(branch)
                    for address in (move.before, move.after) if address}  # fmt: skip
            to = self.random.choice([None, *sorted(been)])
            with contextlib.suppress(Unprocessable):  # that was too long ago
                await branches.restore(self.stores.of(REPO), branch, to, by="ada", now=now)

        return restore()

    async def some_tag(self) -> None:
        if self.tags and self.random.random() < 0.3:
            tag_id = self.random.choice(sorted(self.tags))
            del self.tags[tag_id]
            await tags.delete(self.stores.of(REPO), tag_id, now=self.turns.now)
        elif self.commits:
            self.number += 1
            tag = {
                "tag_id": f"t{self.number}",
                "tag": "best",
                "commit_id": self.random.choice(sorted(self.commits)),
            }
            await tags.store(self.stores.of(REPO), PostTags(tags=[tag]))
            self.tags[tag["tag_id"]] = CommitId(tag["commit_id"])

    async def some_rebuild(self) -> Any:
        """As an operator does it: stop the gc, and rebuild once that is allowed."""
        await lease.stop_gc(self.stores.of(REPO), self.turns.clock())
        return await rebuild.rebuild(self.stores.of(REPO), now=self.turns.clock())

    async def guarded(self, work: Coroutine[Any, Any, Any]) -> None:
        with contextlib.suppress(*REFUSALS):
            await work

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        self.turns.begin("request", self.guarded(work), self.turns.now)

    def running(self, name: str) -> list[asyncio.Task[Any]]:
        """The requests, or the runs of gc."""
        return [task for task, actor in self.turns.tasks.items() if actor.name == name]

    # ── Cleaning ──────────────────────────────────────────────────────────────────────────────────

    async def keep_clean(self) -> None:
        try:
            report = await gc.run(self.stores.of(REPO), self.turns.clock)
        except Unavailable:
            return
        self.swept += sum(report.rows.values()) if report.step is lease.Step.SWEPT else 0

    def jump(self, seconds: float) -> None:
        """Let time pass. No request outlives its 15 minutes: it is cut short wherever it is."""
        for task, actor in list(self.turns.tasks.items()):
            if self.turns.now + seconds - actor.since > REQUEST_SECONDS:
                self.turns.kill(task)
        self.turns.now += seconds

    async def reap(self) -> None:
        if "gc" in self.turns.reap():
            await self.turns.all_through(self.check())

    # ── What must hold ────────────────────────────────────────────────────────────────────────────

    async def check(self) -> None:
        # A push that died may have written the row by which a commit is known, and not that of its
        # parent.
        found = [
            f
            async for f in fsck.fsck(self.stores.of(REPO))
            if "index" not in f.wrong or f.id in self.acknowledged
        ]
        assert not found
        self.acknowledged &= {
            entry.item_id async for entry in self.stores.of(REPO).scans.index(Kind.COMMIT)
        }
        tagged = (await self.stores.of(REPO).index.readable(commits=self.tags.values())).commits
        addresses = {tagged[commit_id] for commit_id in self.tags.values()}
        for branch in BRANCHES:
            _, chain = await moves.begin(self.stores.of(REPO), branch, now=self.turns.now)
            while not chain.is_over:
                made = await chain.follow(None)
                addresses |= {
                    address for move in made for address in (move.before, move.after) if address
                }
        await self.whole(addresses)

    async def whole(self, starts: Iterable[CommitAddress]) -> None:
        objects: set[ObjectId] = set()
        async for address, node in ancestors(self.stores.of(REPO).commits, starts):
            assert node, f"{address} is gone"
            assert node.snapshot_at
            records = await self.stores.of(REPO).objects.read_packed(
                {at for at in (node.snapshot_at, node.record_at) if at}
            )
            objects |= set(manifest(records[node.snapshot_at]).values())
        known = await self.stores.of(REPO).index.readable(objects=objects)
        for object_id in objects:
            assert object_id in known.objects, f"object {object_id} is gone"
            at = known.objects[object_id]
            if isinstance(at, Loose):
                assert (
                    await self.stores.of(REPO).objects.read_part(object_id, at, 0, at.length)
                    == self.objects[object_id]
                )
            else:
                assert (await self.stores.of(REPO).objects.read_packed([at]))[at] == self.objects[
                    object_id
                ]

    async def check_known_commits_are_whole(self) -> None:
        """Every commit that a push would find known while no other task runs."""
        entries = [entry async for entry in self.stores.of(REPO).scans.index(Kind.COMMIT)]
        await self.whole(entry.address for entry in entries if entry.address and not entry.run_id)

    # ── A schedule ────────────────────────────────────────────────────────────────────────────────

    async def play(self, acts: int = 24) -> None:
        if self.random.random() < 0.7:
            # A history of which much is forgotten, and then clients that still know it.
            for _ in range(self.random.randint(3, 7)):
                self.begin(self.some_push() if self.random.random() < 0.7 else self.some_move())
                while await self.turns.step():
                    await self.reap()
            self.jump(40 * 86_400)
            self.coming_back = 0.7
        for _ in range(acts):
            act = self.random.random()
            if act < 0.42:
                self.begin(self.some_push())
            elif act < 0.50:
                self.begin(self.some_move())
            elif act < 0.58:
                self.begin(self.some_fetch())
            elif act < 0.62:
                self.begin(self.some_upload())
            elif act < 0.65:
                self.begin(self.some_tag())
            elif act < 0.66:
                self.begin(self.some_rebuild())
            elif act < 0.83 and len(self.running("gc")) < 2:
                self.turns.begin("gc", self.keep_clean())
            elif act < 0.86 and self.running("request"):
                self.turns.kill(self.random.choice(self.running("request")))
            else:
                self.jump(self.random.choice(JUMPS))
            # Sometimes to the end of all that is under way, sometimes only a few calls on.
            for _ in range(self.random.choice([0, 3, 10, 40, 400])):
                if not await self.turns.step():
                    break
                await self.reap()
        await self.finish()

    async def finish(self) -> None:
        while await self.turns.step():
            await self.reap()
        await self.reap()
        await self.turns.all_through(self.check())
        await self.turns.all_through(self.check_known_commits_are_whole())
        await self.turns.all_through(self.clean_up())

    async def clean_up(self) -> None:
        """In the end only what branches and tags lead to is left, and all of that may be built
        on.
        """
        self.turns.now += 40 * 86_400
        for _ in range(7):
            await self.keep_clean()
            self.turns.now += gc_plan.GRACE_SECONDS + 5
        await self.check()
        await self.check_known_commits_are_whole()
        tagged = {str(row["commit_id"]) for row in partition(self.cloud, "REPO#r1#TAGS").values()}
        assert set(self.tags.values()) <= tagged
        live = {i for head in [*self.heads().values(), *tagged] for i in self.ancestry(head)}
        known = await self.stores.of(REPO).index.known(commits=set(map(CommitId, live)))
        assert known.commits.keys() >= live & self.acknowledged, (
            "a commit is unknown that something leads to"
        )
        stored: list[Record] = rows(self.cloud)
        assert not [row for row in stored if "condemned_at" in row]
        left = {row["sk"] for row in stored if row["pk"].startswith("REPO#r1#C")}
        assert left <= live, "a commit is left that nothing leads to"
        left = {row["sk"].split("#")[1] for row in stored if "#LANE#" in row["pk"]}
        assert left == live, "a row of a commit is left in its lane"
        lanes = {row["pk"].split("#LANE#")[1] for row in stored if "#LANE#" in row["pk"]}
        assert set(await self.stores.of(REPO).scans.lanes()) == lanes, (
            "a lane is listed that is empty, or one is not"
        )
        packs = {one.key for one in await self.stores.of(REPO).objects.packs()}
        used = await pointed_to(self.stores.of(REPO), self.turns.now, no_progress)
        assert packs <= used.packs, "a pack is left that no row points to"
        assert {one.key for one in await self.stores.of(REPO).objects.loose()} <= used.loose
        assert not await self.stores.of(REPO).refs.moves()


@pytest.mark.parametrize("first", range(FIRST, FIRST + SCHEDULES, CHUNK))
def test_nothing_that_is_reached_is_ever_removed(first: int) -> None:
    swept = 0
    for seed in range(first, min(first + CHUNK, FIRST + SCHEDULES)):

        async def schedule(seed: int = seed) -> int:
            world = World(seed)
            try:
                await world.play()
            except BaseException as error:
                error.add_note(f"schedule {seed}")
                raise
            return world.swept

        swept += asyncio.run(schedule())
    assert swept or SCHEDULES < CHUNK, "schedules in which nothing is removed show nothing"
