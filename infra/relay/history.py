"""A push in several requests: the oldest commits first, each request a fast-forward of the branch.

The hub takes 64 MiB and 10,000 commits in one push. A stretch of history has one newest commit and
all of its ancestors that were not sent before, so the branch moves along the first parents. If the
push is interrupted, the branch is at a commit of its history, and the next push of the client sends
the rest.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgpack

from infra.relay.bundles import SpoolFile
from infra.relay.spool import Spool
from shared import codec
from shared.errors import MalformedBody

STRETCH_BYTES = 32 * 1024 * 1024
"""The records of a stretch, except that a single commit of the first parents is never divided."""
STRETCH_COMMITS = 5_000
PUSH_RECORDS = 10_000
"""The most commits, and the most snapshots, that the hub takes in one push."""


@dataclass(frozen=True)
class _Record:
    """A packed record in the body of the push: its first byte, and its bytes."""

    start: int
    size: int


@dataclass(frozen=True)
class _Commit:
    """A commit of the push. `parents`: the first one first."""

    record: _Record
    parents: Sequence[str]
    snapshot_id: str


@dataclass
class Push:
    """A push of a client. The records stay in `content`."""

    content: Spool
    commits: dict[str, _Commit] = field(default_factory=dict)
    snapshots: dict[str, _Record] = field(default_factory=dict)
    objects: list[_Record] = field(default_factory=list)
    branch: str = ""
    is_forced: bool = False

    @property
    def is_too_long(self) -> bool:
        """Whether it has more records than the hub takes at once."""
        return len(self.commits) > PUSH_RECORDS or len(self.snapshots) > PUSH_RECORDS

    @property
    def tip(self) -> str:
        """The newest commit: the one without a child.

        Empty if there is not exactly one.
        """
        parents = set(chain.from_iterable(commit.parents for commit in self.commits.values()))
        tips = [commit_id for commit_id in self.commits if commit_id not in parents]
        return tips[0] if len(tips) == 1 else ""

    def inline_objects(self) -> Iterator[bytes]:
        """The body of a push of the objects alone."""
        yield codec.map_start(1, {}) + codec.list_start("objects", len(self.objects))
        for record in self.objects:
            yield self._packed(record)

    def body(self, commit_ids: Collection[str], sent: set[str]) -> Iterator[bytes]:
        """The body of a push of these commits, with those of their snapshots that are not in
        `sent`, and are then.
        """
        wanted = [commit for commit_id, commit in self.commits.items() if commit_id in commit_ids]
        snapshots = dict.fromkeys(commit.snapshot_id for commit in wanted)
        new = [i for i in snapshots if i in self.snapshots and i not in sent]
        sent.update(new)
        yield codec.map_start(1, {"branch": self.branch, "force": self.is_forced})
        yield msgpack.packb("bundle") + codec.map_start(3, {})
        yield codec.list_start("commits", len(wanted))
        yield from (self._packed(commit.record) for commit in wanted)
        yield codec.list_start("snapshots", len(new))
        yield from (self._packed(self.snapshots[snapshot_id]) for snapshot_id in new)
        yield codec.list_start("objects", 0)

    def stretches(self, head: str) -> list[set[str]]:
        """The commits of each request. `head`: the head of the branch, or empty."""
        line = self._first_parents()
        ends = self._possible_ends(head)
        stretches: list[set[str]] = []
        stretch = set[str]()
        size = 0
        taken = set[str]()
        previous = ""
        for commit_id in line:
            new = self._ancestors(commit_id, taken)
            more = sum(self._size(found) for found in new)
            is_full = size + more > STRETCH_BYTES or len(stretch) + len(new) > STRETCH_COMMITS
            if stretch and is_full and previous in ends:
                stretches.append(stretch)
                stretch = set()
                size = 0
            stretch |= new
            size += more
            taken |= new
            previous = commit_id
        return [*stretches, stretch]

    def _possible_ends(self, head: str) -> Collection[str]:
        """The commits to which the branch may move: those that descend from where it is."""
        if not head or self.is_forced:
            return self.commits
        descendants = set[str]()
        for commit_id in self._oldest_first():
            if any(
                parent == head or parent in descendants
                for parent in self.commits[commit_id].parents
            ):
                descendants.add(commit_id)
        # If the branch has diverged, the hub refuses the first request, and says so.
        if self.tip in descendants:
            return descendants
        return self.commits

    def _first_parents(self) -> list[str]:
        """The line from the oldest commit of the push to its tip."""
        line = [self.tip]
        while (parents := self.commits[line[-1]].parents) and parents[0] in self.commits:
            line.append(parents[0])
        return line[::-1]

    def _ancestors(self, commit_id: str, taken: Collection[str]) -> set[str]:
        """A commit and its ancestors in the push, without those that are taken."""
        found = set[str]()
        pending = [commit_id]
        while pending:
            one = pending.pop()
            if one in self.commits and one not in taken and one not in found:
                found.add(one)
                pending += self.commits[one].parents
        return found

    def _oldest_first(self) -> list[str]:
        """All commits, each after its parents."""
        ordered = list[str]()
        seen = set[str]()
        pending = [(commit_id, False) for commit_id in self.commits]
        while pending:
            commit_id, is_expanded = pending.pop()
            if is_expanded:
                ordered.append(commit_id)
            elif commit_id in self.commits and commit_id not in seen:
                seen.add(commit_id)
                pending.append((commit_id, True))
                pending += [(parent, False) for parent in self.commits[commit_id].parents]
        return ordered

    def _size(self, commit_id: str) -> int:
        commit = self.commits[commit_id]
        snapshot = self.snapshots.get(commit.snapshot_id)
        return commit.record.size + (snapshot.size if snapshot else 0)

    def _packed(self, record: _Record) -> bytes:
        return self.content.read(record.start, record.size)


def read_push(content: Spool) -> Push:
    """The push in the msgpack body of a request. Raises MalformedBody."""
    push = Push(content)
    unpacker = msgpack.Unpacker(SpoolFile(content), raw=False)
    try:
        for _ in range(unpacker.read_map_header()):
            match unpacker.unpack():
                case "bundle":
                    _read_bundle(unpacker, push)
                case "branch":
                    push.branch = unpacker.unpack()
                case "force":
                    push.is_forced = unpacker.unpack() is True
                case _:
                    unpacker.skip()
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.OutOfData) as error:
        raise MalformedBody(
            f"the body is not the msgpack of a push: {type(error).__name__}"
        ) from error
    return push


def _read_bundle(unpacker: Any, push: Push) -> None:
    for _ in range(unpacker.read_map_header()):
        name = unpacker.unpack()
        if name not in ("commits", "snapshots", "objects"):
            unpacker.skip()
            continue
        for _ in range(unpacker.read_array_header()):
            start = unpacker.tell()
            unpacker.skip()
            _take(push, name, _Record(start, unpacker.tell() - start))


def _take(push: Push, name: str, record: _Record) -> None:
    if name == "objects":
        push.objects.append(record)
        return
    value: Mapping[str, Any] = codec.unpack_record(push.content.read(record.start, record.size))
    if name == "snapshots":
        push.snapshots[value["snapshot_id"]] = record
        return
    parents = [value.get("parent_commit_id"), value.get("parent2_commit_id")]
    push.commits[value["commit_id"]] = _Commit(
        record, [parent for parent in parents if parent], value.get("snapshot_id") or ""
    )
