"""One commit, its files, and the differences between two commits."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import codec
from shared.actions import resolve, snapshots
from shared.actions.resolve import Target
from shared.graph.records import commit_record, manifest
from shared.model import CommitId, Node, ObjectId, Packed, Sees
from shared.stores import RepoStores


@dataclass(frozen=True, slots=True)
class Entry:
    """A commit and its whole record."""

    node: Node
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """The files before and after, path to object id. They are equal where nothing changed."""

    old: Mapping[str, ObjectId]
    new: Mapping[str, ObjectId]

    def paths(self) -> list[str]:
        """The paths that differ, sorted."""
        both = self.old.keys() | self.new.keys()
        return sorted(path for path in both if self.old.get(path) != self.new.get(path))


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of the differences between two manifests. `last`: its last path if more follow."""

    base: str
    head: str
    added: Mapping[str, str]
    removed: Mapping[str, str]
    modified: Mapping[str, tuple[str, str]]
    last: str | None


async def commit(repository: RepoStores, name: str, sees: Sees) -> Entry:
    """Return one commit. Raises CommitNotFound, and TooLarge if it does not fit into a reply.

    Budget: 4 AWS calls, chain of 3 (GET one commit).
    """
    node = await _node(repository, name, sees)
    if node.record_at and codec.sent_msgpack_bytes(node.record_at.length) > codec.REPLY_BYTES:
        raise codec.too_large_to_send(node.record_at.length)
    (entry,) = await _entries(repository, [node])
    return entry


async def files(
    repository: RepoStores, name: str, after: str, limit: int, sees: Sees
) -> tuple[Node, dict[str, ObjectId], str | None]:
    """Return a page of a commit's files, and its last path if more follow.

    Raises CommitNotFound.

    Budget: 4 AWS calls, chain of 3 (GET files of a commit).
    """
    node = await _node(repository, name, sees)
    found = (await _manifests(repository, [node]))[node.commit_id]
    paths, last = _page({path: [found[path]] for path in found}, after, limit)
    return node, {path: found[path] for path in paths}, last


async def compare(
    repository: RepoStores, base: str, head: str, after: str, limit: int, sees: Sees
) -> Changes:
    """Compare the files of two branches or commits. Raises RefNotFound.

    Budget: 4 AWS calls, chain of 3 (GET compare, two commits).
    """
    ends = await both(repository, base, head, sees)
    files = await between(repository, *ends)
    old = files.old
    new = files.new
    differing = {path: [old.get(path), new.get(path)] for path in files.paths()}
    paths, last = _page(differing, after, limit)
    return Changes(
        ends[0].commit.commit_id,
        ends[1].commit.commit_id,
        added={p: new[p] for p in paths if p not in old},
        removed={p: old[p] for p in paths if p not in new},
        modified={p: (old[p], new[p]) for p in paths if p in old and p in new},
        last=last,
    )


async def commit_and_parent(
    repository: RepoStores, name: str, sees: Sees
) -> tuple[Entry, Node | None]:
    """Return one commit, and its first parent; None for a root. Raises CommitNotFound.

    The first parent is mostly the next row of the same lane, so one query reads both.
    """
    address = await resolve.commit(repository, name, sees)
    node, *others = await repository.commits.lane(address, limit=2)
    (entry,) = await _entries(repository, [node])
    if not node.parents:
        return entry, None
    wanted = node.parents[0]
    for other in others:
        if other.commit_id == wanted.commit_id:
            return entry, other
    return entry, (await repository.commits.get([wanted]))[wanted.commit_id]


async def introduced(repository: RepoStores, parent: Node | None, node: Node) -> Pair:
    """The files of the first parent of a commit, and of the commit."""
    nodes = [parent, node] if parent else [node]
    manifests = await _manifests(repository, nodes)
    old = manifests[parent.commit_id] if parent else {}
    return Pair(old, manifests[node.commit_id])


async def both(repository: RepoStores, base: str, head: str, sees: Sees) -> tuple[Target, Target]:
    """Two branches or commits. Raises RefNotFound."""
    targets = await resolve.targets(repository, [base, head], sees)
    return targets[base], targets[head]


async def between(repository: RepoStores, base: Target, head: Target) -> Pair:
    """The files of both."""
    old, new = await _snapshots(repository, [base, head])
    records = await snapshots.records(repository, {at for at in (old, new) if at})
    return Pair(*(manifest(records[at]) if at else {} for at in (old, new)))


async def _node(repository: RepoStores, name: str, sees: Sees) -> Node:
    address = await resolve.commit(repository, name, sees)
    return (await repository.commits.get([address]))[address.commit_id]


async def _entries(repository: RepoStores, nodes: Sequence[Node]) -> list[Entry]:
    in_packs = {node.record_at for node in nodes if node.record_at}
    records = await repository.objects.read_packed(in_packs)
    return [Entry(node, codec.unpack_record(commit_record(node, records))) for node in nodes]


async def _snapshots(repository: RepoStores, targets: Sequence[Target]) -> list[Packed | None]:
    """The locations of the snapshots of commits. The row of a branch has that of its head."""
    noted = {target.commit: target.branch.snapshot_at for target in targets if target.branch}
    unknown = {target.commit for target in targets if not noted.get(target.commit)}
    nodes = await repository.commits.get(unknown)
    return [
        noted.get(target.commit) or nodes[target.commit.commit_id].snapshot_at for target in targets
    ]


async def _manifests(
    repository: RepoStores, nodes: Sequence[Node]
) -> dict[CommitId, dict[str, ObjectId]]:
    stored = {node.snapshot_at for node in nodes if node.snapshot_at}
    records = await snapshots.records(repository, stored)
    found: dict[CommitId, dict[str, ObjectId]] = {}
    for node in nodes:
        found[node.commit_id] = manifest(records[node.snapshot_at]) if node.snapshot_at else {}
    return found


def _page(entries: Mapping[str, Any], after: str, limit: int) -> tuple[list[str], str | None]:
    """The paths of a page that fits into one reply, and its last path if there are more."""
    paths = heapq.nsmallest(limit + 1, (path for path in entries if path > after))
    count = min(limit, codec.fitting([path, entries[path]] for path in paths))
    return paths[:count], paths[count - 1] if len(paths) > count else None
