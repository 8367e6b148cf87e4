"""The workloads that are measured: typical repositories, and the operations of a client on them.

A workload prepares repositories in a hub and yields operations. All data comes from a seed. Sizes
are in the names.
"""

import functools
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

from bench import client, repositories
from bench import history as histories
from bench.client import Refused, Wire
from bench.differences import differences
from bench.history import History, Line
from bench.lambdas import BASE, OWNER, Hub, token
from shared import ids

SEED = 1
FILES = 40
CHANGED = 10
"""The small push: a repository of 40 files, of which a commit changes 10. filter-objects gets all
40 ids."""
USUAL_FILES = 400
"""The number of files of Muse's own source."""


@dataclass(frozen=True)
class Operation:
    """An operation to measure. `prepare` runs before each run and is not measured; its result is
    passed to `run`.

    `run` returns the smallest possible number of transferred bytes: the records and contents
    themselves. None if there is no such number.
    """

    name: str
    run: Callable[[Any], int | None]
    prepare: Callable[[], Any] = lambda: None
    heavy: bool = False
    """Timed only once, because it takes long."""
    again: bool = False
    """A repeated operation: `warm` is then a later run, in a cold container."""
    whole: History | None = None
    """The history that must at least be hashed and packed: the CPU time is compared with that."""


Scene = Callable[[Hub], Iterator[Operation]]


@dataclass(frozen=True)
class Workload:
    """A scene and its name. Those with `quick` are small enough for every commit."""

    name: str
    scene: Scene
    quick: bool = True


class _Repo:
    """One repository and its owner's client."""

    def __init__(self, hub: Hub, suffix: str = "") -> None:
        self.slug = f"{hub.slug}{suffix}"
        self.url = f"{BASE}/{OWNER}/{self.slug}"
        self.transport = hub.transport()
        self._token = token()

    def push(self, history: History, branch: str = "main") -> int:
        client.push(self.url, self._token, history, branch, transport=self.transport)
        return history.size()

    def pull(self, local: list[str], history: History, branch: str = "main") -> int:
        """Pull, and check that exactly this history is received."""
        pulled = client.pull(self.url, self._token, local, branch, self.transport)
        _expect(history, pulled.bundle)
        return history.size()

    def clone(self, history: History) -> int:
        cloned = client.clone(self.url, self.transport)
        faults = differences(history, cloned)
        if faults:
            raise AssertionError(f"the clone differs from the push: {faults}")
        return history.size()

    def wire(self) -> Wire:
        return Wire(self.url, self._token, self.transport)


def poll(hub: Hub) -> Iterator[Operation]:
    """GET refs: the first request of every client, and the most frequent one."""
    repo = _Repo(hub)
    repo.push(Line(SEED, FILES).commit())

    def ask(_: Any) -> None:
        with repo.wire() as wire:
            assert wire.get("/refs")["branch_heads"]

    yield Operation("poll: GET refs", ask)


def small_push(hub: Hub) -> Iterator[Operation]:
    """A push of one commit and ten small objects, with all four requests of `muse push`; then the
    pull of it."""
    repo = _Repo(hub)
    line = Line(SEED, FILES)
    repo.push(line.commit())
    yield Operation("small push: 1 commit, 10 objects", repo.push, lambda: line.commit(CHANGED))
    yield Operation(
        "small pull: 1 commit, 10 objects",
        lambda made: repo.pull(*made),
        lambda: _ahead(repo, line, CHANGED),
    )


def forty_megabytes(hub: Hub) -> Iterator[Operation]:
    """The first push of a repository with the shape of Muse's own, and a clone of it."""
    history = histories.generate(SEED)
    numbers = itertools.count()

    def push(repo: _Repo) -> int:
        return repo.push(history)

    yield Operation(
        "first push of 40 MB", push, lambda: _Repo(hub, f"-{next(numbers)}"), heavy=True
    )
    repo = _Repo(hub)
    repo.push(history)
    yield Operation("clone of 40 MB", lambda _: repo.clone(history), whole=history)


def deep(depth: int, hub: Hub) -> Iterator[Operation]:
    """One commit on top of a long history."""
    graph = histories.straight(SEED, depth)
    repo = _Repo(hub)
    line = Line(SEED, USUAL_FILES, tip=graph.heads["main"], number=depth)
    repositories.add_commits(hub, hub.slug, graph)
    repo.push(line.commit())
    yield Operation(f"push of 1 commit at depth {depth:,}", repo.push, lambda: line.commit(1))
    yield Operation(
        f"pull of 1 commit at depth {depth:,}",
        lambda made: repo.pull(*made),
        lambda: _ahead(repo, line, 1),
    )


def merges(commits: int, hub: Hub) -> Iterator[Operation]:
    """Five long branches that merge each other."""
    graph = histories.braid(SEED, commits)
    repositories.add_commits(hub, hub.slug, graph)
    repo = _Repo(hub)
    whole = History(graph.commits, (), {})

    def clone(_: Any) -> int:
        cloned = client.clone(repo.url, repo.transport)
        _expect(whole, cloned.bundle)
        return whole.size()

    yield Operation(f"clone of 5 merging branches, {commits:,} commits", clone, heavy=True)
    newest = graph.commits[-1]  # a merge that no other branch contains
    branch = graph.lanes[newest["commit_id"]]
    others = [head for name, head in graph.heads.items() if name != branch]
    offered = [newest["parent_commit_id"], newest["parent2_commit_id"], *others]
    yield Operation(
        f"pull of 1 merge of 5 merging branches, {commits:,} commits",
        lambda _: repo.pull(offered, History((newest,), (), {}), branch),
    )


def crowd(agents: int, hub: Hub) -> Iterator[Operation]:
    """A pull of one agent's branch of 50 commits among many, by a client that has `main`."""
    graph = histories.agents(SEED, agents, 50)
    repositories.add_commits(hub, hub.slug, graph)
    repo = _Repo(hub)
    branch = f"agent-{agents // 2:04}"
    wanted = History(
        tuple(c for c in graph.commits if graph.lanes[c["commit_id"]] == branch), (), {}
    )
    local = [c["commit_id"] for c in graph.commits if graph.lanes[c["commit_id"]] == "main"][
        :-65:-1
    ]
    yield Operation(
        f"pull of 1 branch of 50 commits beside {agents - 1:,} like it",
        lambda _: repo.pull(local, wanted, branch),
    )


def wide(files: int, hub: Hub) -> Iterator[Operation]:
    """A change of one file among many."""
    repo = _Repo(hub)
    line = Line(SEED, files)
    first = line.commit()
    repositories.add_objects(hub, repo.slug, first.objects)
    repo.push(first)
    yield Operation(f"push of 1 file changed of {files:,}", repo.push, lambda: line.commit(1))
    yield Operation(
        f"pull of 1 file changed of {files:,}",
        lambda made: repo.pull(*made),
        lambda: _ahead(repo, line, 1),
    )


def filters(count: int, hub: Hub) -> Iterator[Operation]:
    """filter-objects, where half of the ids are known."""
    repo = _Repo(hub)
    known: dict[str, bytes] = {
        ids.object_id(content): content for content in (b"known %d" % n for n in range(count // 2))
    }
    new = [ids.object_id(b"new %d" % n) for n in range(count - len(known))]
    repositories.add_objects(hub, repo.slug, known)

    def ask(_: Any) -> None:
        with repo.wire() as wire:
            missing = wire.post("/filter-objects", {"object_ids": sorted([*known, *new])})[
                "missing"
            ]
        assert len(missing) == len(new)

    yield Operation(f"filter-objects, {count:,} ids", ask, heavy=count > 5_000)


def branches(count: int, hub: Hub) -> Iterator[Operation]:
    """A poll and a small push in a repository with many branches."""
    repo = _Repo(hub)
    line = Line(SEED, FILES)
    repo.push(line.commit())
    repositories.add_branches(hub, repo.slug, count - 1)

    def ask(_: Any) -> None:
        with repo.wire() as wire:
            assert len(wire.get("/refs")["branch_heads"]) == count

    yield Operation(f"poll: GET refs, {count:,} branches", ask)
    yield Operation(
        f"small push beside {count:,} branches", repo.push, lambda: line.commit(CHANGED)
    )


def many_commits(count: int, hub: Hub) -> Iterator[Operation]:
    """A push of a long history."""
    numbers = itertools.count(SEED)

    def fresh() -> tuple[_Repo, History]:
        number = next(numbers)
        return _Repo(hub, f"-{number}"), histories.chain(number, count)

    yield Operation(
        f"{count:,} commits in one push", lambda made: made[0].push(made[1]), fresh, heavy=True
    )


def objects(count: int, hub: Hub) -> Iterator[Operation]:
    """A push/objects request with many small objects."""
    repo = _Repo(hub)
    repo.push(Line(SEED, 1).commit())
    numbers = itertools.count()

    def fresh() -> list[dict[str, Any]]:
        batch = next(numbers)
        made = (b"object %d of batch %d " % (n, batch) * 50 for n in range(count))
        return [{"object_id": ids.object_id(content), "content": content} for content in made]

    def send(made: list[dict[str, Any]]) -> int:
        with repo.wire() as wire:
            assert wire.post("/push/objects", {"objects": made})["stored"] == count
        return sum(len(msgpack.packb(one)) for one in made)

    yield Operation(f"push/objects, {count:,} objects of 1 KB", send, fresh)


def staged_objects(count: int, hub: Hub) -> Iterator[Operation]:
    """A batch of objects of 64 KB as a staged body: a place, the upload to S3, and push/objects."""
    repo = _Repo(hub)
    repo.push(Line(SEED, 1).commit())
    chance = random.Random(SEED)

    def fresh() -> list[dict[str, Any]]:
        contents = [chance.randbytes(64_000) for _ in range(count)]
        return [{"object_id": ids.object_id(content), "content": content} for content in contents]

    def send(made: list[dict[str, Any]]) -> int:
        with repo.wire() as wire:
            assert wire.post_staged("/push/objects", {"objects": made})["stored"] == count
        return sum(len(msgpack.packb(one)) for one in made)

    yield Operation(f"push/objects, {count:,} objects of 64 KB, staged", send, fresh)


def lost_race(hub: Hub) -> Iterator[Operation]:
    """Two commits on one parent: the second push is refused, and must write nothing but
    counters.
    """
    repo = _Repo(hub)
    line = Line(SEED, FILES)
    repo.push(line.commit())

    numbers = itertools.count(SEED + 1)

    def raced() -> History:
        lost = line.fork(next(numbers)).commit(CHANGED)
        with repo.wire() as wire:
            objects = [{"object_id": i, "content": content} for i, content in lost.objects.items()]
            wire.post("/push/objects", {"objects": objects})
        repo.push(line.commit(CHANGED))
        return lost

    def push(lost: History) -> int:
        bundle = {"commits": list(lost.commits), "snapshots": list(lost.snapshots), "objects": []}
        with repo.wire() as wire:
            try:
                wire.post("/push", {"bundle": bundle, "branch": "main", "force": False})
            except Refused as refused:
                assert refused.status == 409, refused
                return lost.size()
        raise AssertionError("the loser of a race was not refused")

    yield Operation("a lost race: POST push, 409", push, raced)


def popular(hub: Hub) -> Iterator[Operation]:
    """Repeated clones of one repository: the first without a prebuilt clone, the later ones with
    it."""
    history = histories.generate(SEED, commits=60, files=80, objects=400)
    repo = _Repo(hub)
    repo.push(history)
    times = itertools.count()

    def wait() -> None:
        if next(times):
            repositories.prebuild_clone(hub, repo.slug)

    yield Operation(
        "clone of a popular repository of 5 MB", lambda _: repo.clone(history), wait, again=True
    )


def bundled(hub: Hub) -> Iterator[Operation]:
    """The clone of 40 MB again, with a prebuilt clone."""
    history = histories.generate(SEED)
    repo = _Repo(hub)
    repo.push(history)
    repositories.prebuild_clone(hub, repo.slug)
    yield Operation("clone of 40 MB, bundled", lambda _: repo.clone(history), whole=history)


def repacked(pushes: int, hub: Hub) -> Iterator[Operation]:
    """A clone after many small pushes, and the same after a repack."""
    line = Line(SEED, FILES)
    made = [line.commit(), *(line.commit(CHANGED) for _ in range(pushes - 1))]
    chain = itertools.chain.from_iterable
    whole = History(
        tuple(chain(one.commits for one in made)),
        tuple(chain(one.snapshots for one in made)),
        dict(chain(one.objects.items() for one in made)),
    )
    many = _Repo(hub, "-many")
    few = _Repo(hub, "-few")
    repositories.add_pushes(hub, many.slug, made)
    yield Operation(
        f"clone after {pushes:,} small pushes", lambda _: many.clone(whole), heavy=True, whole=whole
    )
    repositories.add_pushes(hub, few.slug, made)
    repositories.repack(hub, few.slug)
    yield Operation(
        f"clone after {pushes:,} small pushes, repacked",
        lambda _: few.clone(whole),
        heavy=True,
        whole=whole,
    )


WORKLOADS = (
    Workload("poll", poll),
    Workload("small push", small_push),
    Workload("lost race", lost_race),
    Workload("40 MB", forty_megabytes),
    Workload("popular", popular),
    Workload("40 MB bundled", bundled),
    *(Workload(f"depth {n}", functools.partial(deep, n), n <= 1_000) for n in (10, 1_000, 100_000)),
    *(Workload(f"merges {n}", functools.partial(merges, n), n <= 1_000) for n in (1_000, 10_000)),
    *(Workload(f"crowd {n}", functools.partial(crowd, n), n <= 100) for n in (50, 1_000)),
    *(Workload(f"wide {n}", functools.partial(wide, n), n <= 1_000) for n in (1_000, 10_000)),
    *(Workload(f"filter {n}", functools.partial(filters, n), n <= 500) for n in (500, 50_000)),
    Workload("branches", functools.partial(branches, 1_000)),
    *(Workload(f"commits {n}", functools.partial(many_commits, n), n <= 500) for n in (500, 5_000)),
    Workload("objects", functools.partial(objects, 1_000)),
    Workload("staged objects", functools.partial(staged_objects, 160)),
    *(Workload(f"repack {n}", functools.partial(repacked, n), n <= 100) for n in (100, 1_000)),
)


def _ahead(repo: _Repo, line: Line, changed: int) -> tuple[list[str], History]:
    """Push one more commit. Returns the commits of a client that lacks it, and the commit."""
    parent = line.tip
    assert parent
    made = line.commit(changed)
    repo.push(made)
    return [parent], made


def _expect(history: History, bundle: dict[str, Any]) -> None:
    for kind, key, wanted in (
        ("commits", "commit_id", history.commits),
        ("snapshots", "snapshot_id", history.snapshots),
        ("objects", "object_id", [{"object_id": i} for i in history.objects]),
    ):
        came = {one[key] for one in bundle[kind]}
        expected = {one[key] for one in wanted}
        assert came == expected, f"{len(came)} {kind} came, {len(expected)} were expected"
