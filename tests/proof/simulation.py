"""A repository with concurrent clients and jobs, by a seed: every call of every task waits for its
turn.

    python -m tests.proof.simulation 1000000 --first 0    a million seeds; exits with 1 if one failed
    python -m tests.proof.simulation 1 --first 4711       one of them again, printed turn by turn

The same seed is the same each time, and in every process in which sets have the same order:
PYTHONHASHSEED=0, as `make test` and `make nightly` have it, and the commands above.

Clients push, force, upload, fetch, negotiate, delete and restore branches, and repeat what failed; gc and repack come
by, and bundles are made; hours and weeks pass; any of them dies between any two calls, or within a batch. Batches are
left unprocessed in part, transactions get in each other's way, pages are short, an eventually consistent read sees the
past. In the end
    each branch has a history that is one after another: every answer was true at one moment while it was asked;
    every fetch got exactly what it lacked, true to the last byte;
    fsck finds nothing, and what was refused for a while can be pushed.
"""

import argparse
import asyncio
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from shared import ids
from shared.engines import dynamodb, selection
from shared.engines.selection import stores
from shared.errors import Unavailable
from shared.limits import Limits
from shared.maintenance import gc, gc_plan, prebuilt_clones, repack
from shared.metadata.table import TRANSACTION
from shared.model import Repo
from shared.stores import Stores
from tests import builders, client
from tests.builders import Record, blob
from tests.client import Answer
from tests.proof.asgi_client import Hub
from tests.proof.hostile import alone
from tests.proof.linear import Op, is_one_after_another
from tests.proof.memory import Cloud, Effect, at_once
from tests.proof.stories import API, WIRE, findings
from tests.proof.stories import push as push_message
from tests.turns import Turns, Waiting

T = TypeVar("T")

REPO = {"owner": "me", "slug": "song"}
BRANCHES = ["main", "side", "deep/er", "deep"]
ACTS = [4, 6, 8, 10, 14, 20]
"""How much happens under a seed: many short ones find more than a few long ones, but some things
take long.
"""
LIFE_SECONDS = 890
"""No request lives longer: what jumps further kills it."""
DAY = 86_400
SHARES = {"push": 40, "again": 8, "upload": 4, "fetch": 16, "delete": 5, "restore": 5, "gc": 2, "repack": 2,
          "bundle": 1, "keeper": 2, "death": 8, "time": 7}  # fmt: skip
"""How often each thing happens; and in a third of the repositories, whose keepers mean well."""
OF_THE_TIDY = {"repack": 12, "bundle": 8, "delete": 1}
KEEPERS = {"gc", "repack", "bundle", "keeper"}
"""They have all the time in the world."""
JUMPS = [1, 60, 850, 3700, 3700, 3700, 2 * DAY, 10 * DAY, 40 * DAY]

LIMITS = {
    "inline_record_bytes": [10],
    "few_objects": [1],
    "loose_object_bytes": [50],
    "conditional_rows": [1],
    "combined_packs": [2, 2, 2],
    "small_pack_seconds": [900, 900],
    "combined_pack_bytes": [1000],
    "repointed_rows": [1, 4],
}
"""Smaller values of `Limits`. A seed uses the usual value or one of these."""
TRANSACTIONS = [1, 3]
"""Smaller values of `dynamodb.TRANSACTION`, in the same way."""


@dataclass
class World:
    """What happens under one seed."""

    hub: Hub
    is_told: bool = False
    turns: Turns = field(default_factory=lambda: Turns(0))
    commits: dict[str, Record] = field(default_factory=dict)
    snapshots: dict[str, Record] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    """Commits that were acknowledged: they and all below them are stored."""
    ops: list[Op] = field(default_factory=list)
    failed: dict[int, tuple[str, Record]] = field(default_factory=dict)
    """Pushes that were not acknowledged, or not yet, by when they were sent."""
    moment: int = 0
    done: Counter[str] = field(default_factory=Counter)
    has_gc: bool = False

    def __post_init__(self) -> None:
        self.random, cloud = self.hub.chance, self.hub.cloud
        self.turns.random = self.random
        self.turns.after_turn = self.pass_turn
        # The fewer branches, the more of them want the same one.
        self.branches = ["main", *self.random.sample(BRANCHES[1:], self.random.randint(0, 3))]
        cloud.random = self.random
        cloud.leaves = self.random.choice([0, 0, 0.1, 0.4])
        cloud.lags = 0.5
        cloud.page_bytes = self.random.choice([1, 600, 5000, 1024 * 1024])
        cloud.page_keys = self.random.choice([1, 3, 1000])
        self.objects = {
            record["object_id"]: record["content"]
            for record in map(blob, (b"a", b"bb", b"", b"d" * 90))
        }

    # ── Turns ─────────────────────────────────────────────────────────────────────────────────────

    async def wait(self, what: str, patience: int = 0) -> None:
        """Wait for a turn, or for one after this many."""
        await self.turns.turn(Effect(what, {}), patience)

    def pass_turn(self, waiting: Waiting) -> None:
        """A call takes its turn, or lets it pass."""
        if self.is_told and not waiting.patience:
            name = waiting.actor.name if waiting.actor else "-"
            print(f"{self.moment:5} {name:24} {waiting.effect}")
        self.tick()

    def tick(self) -> int:
        """A moment later."""
        self.moment += 1
        self.hub.loop.now += 0.001
        return self.moment

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A task starts."""
        since = math.inf if name in KEEPERS else self.hub.now()
        self.turns.begin(f"{len(self.done)}{name}-{sum(self.done.values())}", work, since)
        self.done[name] += 1

    def kill(self, task: asyncio.Task[Any]) -> None:
        """The task ends at any point of its work."""
        self.turns.kill(task)
        self.done["deaths"] += 1

    async def ended(self) -> None:
        """Wait until no task runs. Raises the error of any task."""
        while self.turns.tasks:
            await asyncio.wait(self.turns.tasks, return_when=asyncio.FIRST_COMPLETED)
            self.turns.reap()

    # ── What clients do ───────────────────────────────────────────────────────────────────────────

    async def ask(self, route: str, message: Any = None, where: Any = REPO, **more: Any) -> Answer:
        """A request. Nothing that is asked here may be answered with an error of the hub's own."""
        answer = await self.hub.ask(route, where, message, by="me", **more)
        assert answer.status < 500 or answer.status == 503, (route, answer)
        return answer

    def reach(self, starts: Iterable[str]) -> set[str]:
        """Commits and all below them."""
        found, stack = set[str](), [*starts]
        while stack:
            if (one := stack.pop()) not in found:
                found.add(one)
                stack += [
                    p
                    for key in ("parent_commit_id", "parent2_commit_id")
                    if (p := self.commits[one][key])
                ]
        return found

    def leads_to(self, old: str, new: str) -> bool:
        """Whether a branch at `old` may go on to `new` without force."""
        return old in self.reach([new])

    def new_commit(self, parents: list[str]) -> str:
        """A commit of some files."""
        files = self.random.sample(sorted(self.objects), self.random.randint(1, 3))
        if self.random.random() < 0.5:
            fresh = blob(f"file {len(self.objects)}".encode())
            self.objects[fresh["object_id"]] = fresh["content"]
            files.append(fresh["object_id"])
        snapshot = builders.snapshot({f"f{n}": object_id for n, object_id in enumerate(files)})
        commit = builders.commit(f"c{len(self.commits)}", parents, snapshot["snapshot_id"])
        self.snapshots[snapshot["snapshot_id"]] = snapshot
        self.commits[commit["commit_id"]] = commit
        return str(commit["commit_id"])

    def bundle(self, commit_ids: Iterable[str], *, lean: bool) -> Record:
        """These commits; a lean client leaves objects out that it believes to be there."""
        commits = [self.commits[i] for i in commit_ids]
        snapshots = {c["snapshot_id"]: self.snapshots[c["snapshot_id"]] for c in commits}
        named = {i for s in snapshots.values() for i in s["manifest"].values()}
        objects = [{"object_id": i, "content": self.objects[i]} for i in sorted(named) if not lean]
        return {"commits": commits, "snapshots": [*snapshots.values()], "objects": objects}

    async def push(self, branch: str, message: Record, head: str, *, may_lack: bool) -> None:
        """Push, and write down what came of it."""
        op = self.ask_for("force" if message["force"] else "push", branch, head)
        self.failed[op.began] = branch, message
        answer = await self.ask(f"POST {WIRE}/push", message)
        if answer.status != 503:
            self.failed.pop(op.began, None)
        self.done[f"push {answer.status}" if answer.status != 422 else answer.code] += 1
        if answer.status == 200:
            self.told(op, "done")
            self.accepted |= self.reach([head])
            assert answer.value["branch_heads"][branch] == head
        elif answer.status == 409:
            assert answer.code == "non_fast_forward" and not message["force"], answer
            op.seen = re.findall(r"is at ([0-9a-f]{64}),", answer.value["message"])[0]
            self.told(op, "refused")
        elif answer.status == 422:
            assert answer.code == "branch_clash" or (
                answer.code == "missing_reference" and may_lack
            ), answer
            self.ops.remove(op)

    def some_push(self) -> Coroutine[Any, Any, None]:
        """Any push that a client could make of its commits."""
        chance, branch = self.random.random, self.random.choice(self.branches)
        stored, known = sorted(self.accepted), sorted(self.commits)
        if stored and chance() < 0.9:
            known = stored
        near = [
            op.head for op in self.ops if op.branch == branch and op.outcome == "done" and op.head
        ]
        parents = (
            [near[-1]] if near and chance() < 0.7 else [self.random.choice(known)] if known else []
        )
        if known and chance() < 0.2:
            parents = sorted({*parents, self.random.choice(known)})
        force, lean = chance() < 0.25, chance() < 0.2
        if known and chance() < 0.2:
            head = self.random.choice(known)  # something that is there, or that died on its way
            sent = sorted(self.reach([head])) if chance() < 0.5 else [head]
        else:
            sent = [self.new_commit(parents)]
            if chance() < 0.3:
                sent.append(self.new_commit(sent))
            if chance() < 0.1:
                for _ in range(9):
                    sent.append(self.new_commit(sent[-1:]))
            head = sent[-1]
        if self.has_gc and chance() < 0.6:
            sent = sorted(self.reach([head]))  # the client got a list of missing objects before
        outside = {p for i in sent for p in self.reach([i])} - set(sent)
        may_lack = lean or self.has_gc or not outside <= self.accepted
        message = push_message(
            {**self.bundle(sent, lean=lean), "branch_heads": {branch: head}}, branch, force=force
        )
        return self.push(branch, message, head, may_lack=may_lack)

    async def again(self) -> None:
        """An unacknowledged push, once more."""
        if self.failed:
            branch, message = self.failed.pop(self.random.choice([*self.failed]))
            await self.push(
                branch, message, message["bundle"]["branch_heads"][branch], may_lack=True
            )

    async def upload(self) -> None:
        """Objects before the push that names them. Acknowledged objects are stored."""
        chosen = self.random.sample(sorted(self.objects), 2)
        objects = [{"object_id": i, "content": self.objects[i]} for i in chosen]
        answer = await self.ask(f"POST {WIRE}/push/objects", {"objects": objects})
        if answer.status == 200:
            assert answer.value["stored"] + answer.value["skipped"] == 2

    async def look(self) -> dict[str, str] | None:
        """The branches. The seen heads are recorded."""
        began = [self.ask_for("read", branch, None) for branch in BRANCHES]
        answer = await self.ask(f"GET {WIRE}/refs")
        if answer.status != 200:
            for op in began:
                self.ops.remove(op)
            return None
        heads: dict[str, str] = answer.value["branch_heads"]
        for op in began:
            op.seen = heads.get(op.branch)
            self.told(op, "done")
        assert not {"deep", "deep/er"} <= heads.keys(), "a branch beside its folder"
        return heads

    async def fetch(self) -> None:
        """Read the refs, offer the local commits, and fetch the missing ones."""
        heads = await self.look()
        if not heads:
            return
        want = [*heads.values()]
        held = self.reach(self.random.sample(sorted(self.accepted), min(len(self.accepted), 2)))
        if self.random.random() < 0.5:
            await self.negotiate(want, sorted(held)[:60])
        have = sorted(held) if self.random.random() < 0.7 else []
        answer = await self.ask(f"POST {WIRE}/fetch", {"want": want, "have": have})
        self.done[f"fetch {answer.status}"] += 1
        if answer.status == 503:
            return
        commits, snapshots, objects = client.fetched_ids(answer)
        wanted = self.reach(want)
        # A have that has been swept is unknown: then more is sent.
        assert wanted - self.reach(have) <= commits <= wanted
        if not self.has_gc:
            assert commits == wanted - self.reach(have)
        assert snapshots == {self.commits[i]["snapshot_id"] for i in commits}
        manifests = [set(self.snapshots[i]["manifest"].values()) for i in snapshots]
        of_have = [
            set(self.snapshots[self.commits[i]["snapshot_id"]]["manifest"].values())
            for i in self.reach(have)
        ]
        needed = set[str]().union(*manifests)
        assert needed - set[str]().union(*of_have) <= objects <= needed
        for item in answer.value["objects"]:
            assert ids.object_id(item["content"]) == item["object_id"]
        for record in answer.value["commits"]:
            assert record == self.commits[record["commit_id"]]

    async def negotiate(self, want: list[str], have: list[str]) -> None:
        """Acknowledged commits are shared, and the common base is common."""
        answer = await self.ask(f"POST {WIRE}/negotiate", {"want": want[:256], "have": have})
        if answer.status != 200:
            return
        assert set(answer.value["ack"]) <= set(have)
        if not self.has_gc:
            assert answer.value["ack"] == have
        base = answer.value["common_base"]
        assert base is None or (base in have and base in self.reach(want))

    async def delete(self) -> None:
        """A branch goes."""
        branch = self.random.choice(self.branches[1:] or ["main"])
        op = self.ask_for("delete", branch, None)
        answer = await self.ask(
            f"DELETE {API}/branches", query=f"branch={branch.replace('/', '%2F')}&leave_empty=true"
        )
        self.done[f"delete {answer.status}"] += 1
        if answer.status == 404:
            self.told(op, "absent")
        elif answer.status == 204:
            self.told(op, "done")
        elif answer.status != 503:
            self.ops.remove(op)

    async def restore(self) -> None:
        """A branch is where it was before."""
        branch = self.random.choice(self.branches)
        been = [op.head for op in self.ops if op.branch == branch and op.head]
        if not been:
            return
        head = self.random.choice(been)
        op = self.ask_for("force", branch, head)
        answer = await self.ask(f"POST {API}/restore", {"branch": branch, "to": head})
        self.done[f"restore {answer.status}"] += 1
        if answer.status == 200:
            self.told(op, "done")
        elif answer.status != 503:
            self.ops.remove(op)

    async def clean(self) -> None:
        """gc, whatever step is due."""
        self.has_gc = True
        if report := await self.keep(lambda opened, repo: gc.run(opened.of(repo), self.hub.now)):
            self.done[f"gc {report.step}"] += 1

    async def fold(self) -> None:
        """A repack, of small packs into fewer. Usually a task of its own, at random times."""
        if self.random.random() < 0.7:
            self.pass_time(2 * DAY)
        if report := await self.keep(
            lambda opened, repo: repack.repack(opened.of(repo), self.hub.now)
        ):
            self.done["packs folded"] += report.packs

    async def bundle_up(self) -> None:
        """Prebuild the clone."""
        if report := await self.keep(
            lambda opened, repo: prebuilt_clones.make(opened.of(repo), self.hub.now)
        ):
            self.done["bundle made" if report.is_new else "bundle kept"] += 1

    async def keep(self, work: Callable[[Stores, Repo], Awaitable[T]]) -> T | None:
        """Maintenance of the repository; None if it failed."""
        try:
            opened = await stores()
            repo = await opened.repos.get("me", "song")
            return await work(opened, repo) if repo else None
        except Unavailable:
            return None

    async def keep_clean(self) -> None:
        """All steps of gc, as soon as each may be taken; before them a repack or not."""
        if self.random.random() < 0.5:
            await self.fold()
        for _ in range(3):
            await self.clean()
            await self.wait("an hour passes")
            self.pass_time(gc_plan.GRACE_SECONDS + 100)

    def ask_for(self, kind: str, branch: str, head: str | None) -> Op:
        """Something is asked of a branch."""
        self.ops.append(Op(kind, branch, head, self.tick()))
        return self.ops[-1]

    def told(self, op: Op, outcome: str) -> None:
        """It was answered."""
        op.outcome, op.returned = outcome, self.tick()

    # ── A life ────────────────────────────────────────────────────────────────────────────────────

    async def play(self, acts: int) -> None:
        """From nothing to the last check."""
        begins: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "push": self.some_push,
            "again": self.again,
            "upload": self.upload,
            "fetch": self.fetch,
            "delete": self.delete,
            "restore": self.restore,
            "gc": self.clean,
            "repack": self.fold,
            "bundle": self.bundle_up,
            "keeper": self.keep_clean,
        }
        shares = SHARES | self.random.choice([{}, {}, OF_THE_TIDY])
        for _ in range(acts):
            await self.wait("the next one", self.random.choice([0, 0, 2, 10, 60]))
            self.turns.reap()
            (act,) = self.random.choices([*SHARES], [*shares.values()])
            if act == "time":
                self.pass_time(self.random.choice(JUMPS))
            elif act != "death":
                self.begin(act, begins[act]())
            elif self.turns.tasks:
                self.kill(self.random.choice([*self.turns.tasks]))
        await self.ended()
        self.hub.cloud.leaves = 0
        await self.finish()

    def pass_time(self, seconds: float) -> None:
        """Time passes. Old tasks end. Some counters expire."""
        for task, actor in self.turns.tasks.items():
            if self.hub.now() + seconds - actor.since > LIFE_SECONDS:
                self.kill(task)
        self.hub.loop.now += seconds
        counters = self.hub.cloud.tables.get("counters", {})
        for pk in self.random.sample(sorted(counters), len(counters) // 2):
            del counters[pk]

    async def finish(self) -> None:
        """The remaining clients read the branches. Unacknowledged pushes are sent again."""
        for number in range(len(self.failed) + 2):
            self.begin("last", self.again() if number < 3 and self.failed else self.fetch())
            await self.ended()
        for branch in BRANCHES:
            ops = [op for op in self.ops if op.branch == branch]
            assert is_one_after_another(ops, self.leads_to), [branch, *ops]


def run(seed: int, *, is_told: bool = False) -> Counter[str]:
    """One seed. Raises AssertionError, naming it, if anything was not as it must be."""
    with (
        pytest.MonkeyPatch.context() as patch,
        Hub(Cloud(seed), seed, epoch=math.floor(time.time() / DAY) * DAY) as hub,
    ):
        world = World(hub, is_told)

        def chosen(name: str, others: list[int]) -> int:
            usual: int = getattr(Limits(), name)
            return world.random.choice([usual, *others])

        limits = {name: chosen(name, others) for name, others in LIMITS.items()}
        patch.setattr(selection, "LIMITS", Limits(**limits))
        patch.setattr(dynamodb, "TRANSACTION", world.random.choice([TRANSACTION, *TRANSACTIONS]))
        hub.loop.when_idle = world.turns.let_one_go
        hub.cloud.gate = world.turns.turn
        try:
            hub.run(world.play(world.random.choice(ACTS)))
            hub.cloud.gate = at_once
            found = findings(hub, ("song",))
            assert not found, found
        except BaseException as error:
            error.add_note(f"seed {seed}: python -m tests.proof.simulation 1 --first {seed}")
            raise
        return world.done


def main() -> int:
    """From the command line."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("count", type=int)
    arguments.add_argument("--first", type=int, default=0)
    given = arguments.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set is a turn like any other
        os.execve(sys.executable, [*sys.orig_argv], os.environ | {"PYTHONHASHSEED": "0"})
    alone(os.environ)
    total: Counter[str] = Counter()
    started, failed = time.perf_counter(), 0
    for seed in range(given.first, given.first + given.count):
        try:
            total += run(seed, is_told=given.count == 1)
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            if given.count == 1:
                raise
    seconds = time.perf_counter() - started
    last = given.first + given.count - 1
    print(f"seeds {given.first} to {last} in {seconds:.0f} s ({given.count / seconds:.0f}/s): {failed} failed;"
          f" {dict(sorted(total.items()))}")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
