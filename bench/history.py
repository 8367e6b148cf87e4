"""Repositories generated from a seed: real ids, a realistic shape, the same bytes on every Python.

Only the raw bits of the seeded generator are used (`getrandbits`, `randbytes`). The results of
`shuffle` and `choice`, and the logarithm of a libm, may differ between versions of Python or
machines.

The default shape is that of the stock client's own source in Muse, without its few files above 64
KiB:

    commits      250, one line, each changes about 8 files; 7 kB a record, mostly
                 `structured_delta`
    snapshots    250, growing from 300 files to 400; 36 kB a manifest
    objects    2,400, of 100 bytes to 64 KiB, median 9 kB; each of them is in a manifest
    in all      40 MB of msgpack
"""

import copy
import itertools
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

import msgpack

from shared import ids

Record = dict[str, Any]
T = TypeVar("T")

LARGEST_INLINE = 65_536
"""The stock client uploads larger objects by a presigned URL. No generated object is larger."""

# Object sizes by rank: (objects in a thousand that are smaller, bytes), interpolated linearly. Mean
# 12,038.
SIZES = (
    (0, 100),
    (100, 1_200),
    (250, 4_000),
    (500, 9_000),
    (750, 15_500),
    (900, 25_000),
    (970, 40_000),
    (1000, LARGEST_INLINE),
)

FIRST_COMMIT_AT = datetime(2026, 1, 1, tzinfo=UTC)
FOLDERS = ("cli", "core", "docs", "midi", "plugins", "score", "store", "tests")
VERBS = ("document", "quantize", "rename", "repair", "simplify", "split", "tighten", "voice")
BUMPS = ("none", "patch", "patch", "minor")


@dataclass(frozen=True)
class History:
    """One line of commits, their snapshots and objects: records and ids as the stock client makes
    them."""

    commits: tuple[Record, ...]
    """Oldest first."""
    snapshots: tuple[Record, ...]
    """In the order of their first commit; two commits may share one."""
    objects: Mapping[str, bytes]
    """By id."""

    @property
    def head(self) -> str:
        """The id of the newest commit."""
        return str(self.commits[-1]["commit_id"])

    def size(self) -> int:
        """The size of the whole repository in msgpack, in bytes: a clone transfers at least
        this.
        """
        records = sum(len(msgpack.packb(record)) for record in (*self.commits, *self.snapshots))
        return records + sum(
            len(object_id) + len(content) for object_id, content in self.objects.items()
        )


def generate(seed: int, commits: int = 250, files: int = 400, objects: int = 2400) -> History:
    """A repository with exactly `commits` commits and `objects` distinct objects, and `files` files
    in its last manifest.

    The first commit has three quarters of the files. The other objects are spread over the later
    commits, as new files and as changes of old ones. Raises ValueError if this is impossible: fewer
    objects than files, or more changes in a commit than files.
    """
    bits = random.Random(seed)
    contents = _contents(bits, objects)
    versions = list(contents)
    history: list[Record] = []
    snapshots: dict[str, Record] = {}
    paths: list[str] = []
    manifest: dict[str, str] = {}
    repo_id = str(uuid.UUID(bytes=bits.randbytes(16), version=4))

    for number, (added, changed) in enumerate(_plan(bits, commits, files, objects)):
        old = dict(manifest)
        touched = _pick(bits, paths, changed)
        fresh = [_path(bits, len(paths) + n) for n in range(added)]
        touched += fresh
        paths += fresh
        for path in touched:
            manifest[path] = versions.pop()

        snapshot_id = ids.snapshot_id(manifest)
        commit = _commit(
            number,
            repo_id=repo_id,
            parent=history[-1]["commit_id"] if history else None,
            snapshot_id=snapshot_id,
            message=f"{VERBS[_below(bits, len(VERBS))]} {len(touched)} files (№ {number})",
        )
        commit["sem_ver_bump"] = BUMPS[_below(bits, len(BUMPS))]
        if number:
            commit["structured_delta"] = _delta(
                bits, commit["sem_ver_bump"], old, manifest, touched
            )
        history.append(commit)
        if snapshot_id not in snapshots:
            snapshots[snapshot_id] = {
                "snapshot_id": snapshot_id,
                "manifest": dict(manifest),
                "created_at": commit["committed_at"],
            }
    return History(tuple(history), tuple(snapshots.values()), MappingProxyType(contents))


def chain(seed: int, n: int) -> History:
    """A line of `n` commits without snapshots. Different seeds give different commits."""
    repo_id = str(uuid.UUID(bytes=random.Random(seed).randbytes(16), version=4))
    commits: list[Record] = []
    for number in range(n):
        parent = commits[-1]["commit_id"] if commits else None
        commits.append(
            _commit(
                number,
                repo_id=repo_id,
                parent=parent,
                snapshot_id=None,
                message=f"{seed}: {number}",
            )
        )
    return History(tuple(commits), (), MappingProxyType({}))


class Line:
    """Work on one branch: a commit at a time, each of which changes some files."""

    def __init__(self, seed: int, files: int, *, tip: str | None = None, number: int = 0) -> None:
        """`files`: their number; each has 256 to 2,303 bytes. `tip`: the parent of the first
        commit, `number` its number."""
        self.tip = tip
        self._bits = random.Random(seed)
        self._number = number
        self._repo_id = str(uuid.UUID(bytes=self._bits.randbytes(16), version=4))
        self._paths = [_path(self._bits, n) for n in range(files)]
        self._manifest: dict[str, str] = {}

    def fork(self, seed: int) -> "Line":
        """Independent work that starts at the same commit."""
        other = copy.copy(self)
        other._bits = random.Random(seed)
        other._manifest = dict(self._manifest)
        return other

    def commit(self, changed: int | None = None) -> History:
        """The next commit, its snapshot and its new objects.

        Without `changed`, every file is new.
        """
        old = dict(self._manifest)
        touched = self._paths if changed is None else _pick(self._bits, self._paths, changed)
        objects = {}
        for path in touched:
            content = self._bits.randbytes(256 + _below(self._bits, 2048))
            self._manifest[path] = ids.object_id(content)
            objects[self._manifest[path]] = content
        commit = _commit(
            self._number,
            repo_id=self._repo_id,
            parent=self.tip,
            snapshot_id=ids.snapshot_id(self._manifest),
            message=f"take {self._number}",
        )
        if old:
            commit["structured_delta"] = _delta(self._bits, "patch", old, self._manifest, touched)
        self.tip = str(commit["commit_id"])
        self._number += 1
        snapshot = {
            "snapshot_id": commit["snapshot_id"],
            "manifest": dict(self._manifest),
            "created_at": commit["committed_at"],
        }
        return History((commit,), (snapshot,), MappingProxyType(objects))


@dataclass(frozen=True)
class Graph:
    """Commits without snapshots, and the lanes in which a hub would store them."""

    commits: tuple[Record, ...]
    """Parents before children."""
    lanes: Mapping[str, str]
    """The branch on which each commit first arrived, by its id."""
    heads: Mapping[str, str]


def straight(seed: int, n: int) -> Graph:
    """The commits of `chain` on `main`."""
    line = chain(seed, n)
    return Graph(line.commits, {c["commit_id"]: "main" for c in line.commits}, {"main": line.head})


def braid(seed: int, n: int, branches: int = 5, every: int = 8) -> Graph:
    """Long branches from one root, with commits in turn.

    Every `every`th commit of a branch merges its neighbour.
    """
    repo_id = str(uuid.UUID(bytes=random.Random(seed).randbytes(16), version=4))
    names = ["main", *(f"line-{number}" for number in range(1, branches))]
    root = _commit(0, repo_id=repo_id, parent=None, snapshot_id=None, message=f"{seed}: root")
    commits = [root]
    lanes = {root["commit_id"]: "main"}
    heads = dict.fromkeys(names, str(root["commit_id"]))
    for number in range(1, n):
        branch = names[number % branches]
        neighbour = names[(number + 1) % branches]
        merges = number // branches % every == every - 1 and heads[neighbour] != heads[branch]
        commit = _commit(
            number,
            repo_id=repo_id,
            parent=heads[branch],
            parent2=heads[neighbour] if merges else None,
            snapshot_id=None,
            message=f"{seed}: {number}",
        )
        heads[branch] = commit["commit_id"]
        lanes[heads[branch]] = branch
        commits.append(commit)
    return Graph(tuple(commits), lanes, heads)


def agents(seed: int, branches: int, length: int, main: int = 100) -> Graph:
    """A line `main` of `main` commits, and `branches` branches of `length` commits each that start
    at its head."""
    trunk = straight(seed, main)
    commits = list(trunk.commits)
    lanes = dict(trunk.lanes)
    heads = dict(trunk.heads)
    for agent in range(branches):
        branch = f"agent-{agent:04}"
        tip = trunk.heads["main"]
        for number in range(main, main + length):
            commit = _commit(
                number,
                repo_id=commits[0]["repo_id"],
                parent=tip,
                snapshot_id=None,
                message=f"{branch}: {number}",
            )
            commits.append(commit)
            tip = commit["commit_id"]
            lanes[tip] = branch
        heads[branch] = tip
    return Graph(tuple(commits), lanes, heads)


def _commit(
    number: int,
    *,
    repo_id: str,
    parent: str | None,
    snapshot_id: str | None,
    message: str,
    parent2: str | None = None,
) -> Record:
    """A commit record with all 22 keys, in the order of the protocol."""
    # The steps make most timestamps have microseconds, and some none, as in real histories.
    committed_at = (
        FIRST_COMMIT_AT + timedelta(seconds=613 * number, milliseconds=125 * number)
    ).isoformat()
    parents = [one for one in (parent, parent2) if one]
    return {
        "commit_id": ids.commit_id(parents, snapshot_id, message, committed_at),
        "repo_id": repo_id,
        "branch": "main",
        "snapshot_id": snapshot_id,
        "message": message,
        "committed_at": committed_at,
        "parent_commit_id": parent,
        "parent2_commit_id": parent2,
        "author": "Ada",
        "metadata": {"section": "bridge"},
        "structured_delta": None,
        "sem_ver_bump": "none",
        "breaking_changes": [],
        "agent_id": "",
        "model_id": "",
        "toolchain_id": "",
        "prompt_hash": "",
        "signature": "",
        "signer_key_id": "",
        "format_version": 5,
        "reviewed_by": [],
        "test_runs": 0,
    }


def _contents(bits: random.Random, objects: int) -> dict[str, bytes]:
    """Random contents by id.

    Their sizes are taken from SIZES at equal steps, so the total is equal for all seeds.
    """
    sizes = [_size((2 * rank + 1) * 500 // objects) for rank in range(objects)]
    contents: dict[str, bytes] = {}
    for size in _pick(bits, sizes, objects):
        content = bits.randbytes(size)
        contents[ids.object_id(content)] = content
    return contents


def _size(thousandth: int) -> int:
    """The size that `thousandth` of a thousand objects do not exceed."""
    for (low, small), (high, large) in itertools.pairwise(SIZES):
        if thousandth <= high:
            return small + (large - small) * (thousandth - low) // (high - low)
    return LARGEST_INLINE


def _plan(bits: random.Random, commits: int, files: int, objects: int) -> Iterator[tuple[int, int]]:
    """For each commit: the number of files that it adds, and of existing files that it changes."""
    first = files if commits == 1 else files - files // 4
    later = max(commits - 1, 1)
    adds = _shares(files - first, later)
    changes = _shares(objects - files, later)
    if (
        min(commits, files) < 1
        or objects < files
        or max(changes) > first
        or (commits == 1 and objects != files)
    ):
        raise ValueError(f"no history has {commits} commits, {files} files and {objects} objects")
    # Move changes from one commit to the next in pairs, so that sizes vary. The sum stays the same.
    for left in range(0, later - 1, 2):
        shift = _below(bits, max(min(changes[left], first - changes[left + 1] + 1), 1))
        changes[left] -= shift
        changes[left + 1] += shift
    yield first, 0
    if commits > 1:
        yield from zip(adds, changes, strict=True)


def _shares(total: int, parts: int) -> list[int]:
    return [total * (part + 1) // parts - total * part // parts for part in range(parts)]


def _path(bits: random.Random, number: int) -> str:
    folder = FOLDERS[_below(bits, len(FOLDERS))]
    topic = VERBS[_below(bits, len(VERBS))]
    return f"song/{folder}/{topic}/{topic}_{number:04d}.py"


def _delta(
    bits: random.Random,
    bump: str,
    old: Mapping[str, str],
    new: Mapping[str, str],
    touched: list[str],
) -> Record:
    """A `structured_delta` as the client's code domain makes it: two functions per file, by content
    id."""
    return {
        "domain": "code",
        "ops": [
            {
                "op": "patch" if path in old else "insert",
                "address": path,
                "position": None,
                "old_content_id": old.get(path),
                "new_content_id": new[path],
                "child_ops": [_child_op(bits, f"{path}::{verb}") for verb in _pick(bits, VERBS, 2)],
            }
            for path in touched
        ],
        "summary": f"{len(touched)} files changed",
        "sem_ver_bump": bump,
        "breaking_changes": [],
    }


def _child_op(bits: random.Random, address: str) -> Record:
    return {
        "op": "replace",
        "address": address,
        "old_content_id": bits.randbytes(32).hex(),
        "new_content_id": bits.randbytes(32).hex(),
        "old_summary": "function",
        "new_summary": "function (implementation changed)",
    }


def _below(bits: random.Random, bound: int) -> int:
    """An integer in [0, bound). Nearly uniform, and the same on every machine."""
    return bits.getrandbits(64) % bound


def _pick(bits: random.Random, items: Sequence[T], count: int) -> list[T]:
    """`count` different items in random order."""
    rest = list(items)
    for address in range(count):
        other = address + _below(bits, len(rest) - address)
        rest[address], rest[other] = rest[other], rest[address]
    return rest[:count]
