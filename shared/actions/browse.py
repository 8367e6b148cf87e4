"""One commit, its files, and the differences between two commits."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import codec
from shared.actions import resolve
from shared.graph.records import commit_record, manifest
from shared.model import Node, Sees
from shared.stores import RepoStores


@dataclass(frozen=True, slots=True)
class Entry:
    """A commit and its whole record."""

    node: Node
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """The files before and after, path to object id. They are equal where nothing changed."""

    old: Mapping[str, str]
    new: Mapping[str, str]

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
) -> tuple[Node, dict[str, str], str | None]:
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
    base_node, head_node, files = await pair(repository, base, head, sees)
    old, new = files.old, files.new
    differing = {path: [old.get(path), new.get(path)] for path in files.paths()}
    paths, last = _page(differing, after, limit)
    return Changes(
        base_node.commit_id,
        head_node.commit_id,
        added={p: new[p] for p in paths if p not in old},
        removed={p: old[p] for p in paths if p not in new},
        modified={p: (old[p], new[p]) for p in paths if p in old and p in new},
        last=last,
    )


async def introduced(repository: RepoStores, node: Node) -> Pair:
    """The files of the first parent of a commit, and of the commit."""
    if node.parents:
        parents = await repository.commits.get(node.parents[:1])
    else:
        parents = {}
    nodes = [*parents.values(), node]
    manifests = await _manifests(repository, nodes)
    old = manifests[nodes[0].commit_id] if parents else {}
    return Pair(old, manifests[node.commit_id])


async def pair(repository: RepoStores, base: str, head: str, sees: Sees) -> tuple[Node, Node, Pair]:
    """Two branches or commits, and the files of both. Raises RefNotFound."""
    targets = await resolve.targets(repository, [base, head], sees)
    places = [targets[base].commit, targets[head].commit]
    nodes = await repository.commits.get(set(places))
    old, new = (nodes[place.commit_id] for place in places)
    manifests = await _manifests(repository, [old, new])
    return old, new, Pair(manifests[old.commit_id], manifests[new.commit_id])


async def _node(repository: RepoStores, name: str, sees: Sees) -> Node:
    address = await resolve.commit(repository, name, sees)
    return (await repository.commits.get([address]))[address.commit_id]


async def _entries(repository: RepoStores, nodes: Sequence[Node]) -> list[Entry]:
    in_packs = {node.record_at for node in nodes if node.record_at}
    records = await repository.objects.read_packed(in_packs)
    return [Entry(node, codec.unpack_record(commit_record(node, records))) for node in nodes]


async def _manifests(repository: RepoStores, nodes: Sequence[Node]) -> dict[str, dict[str, str]]:
    stored = {node.snapshot_at for node in nodes if node.snapshot_at}
    records = await repository.objects.read_packed(stored)
    found: dict[str, dict[str, str]] = {}
    for node in nodes:
        found[node.commit_id] = manifest(records[node.snapshot_at]) if node.snapshot_at else {}
    return found


def _page(entries: Mapping[str, Any], after: str, limit: int) -> tuple[list[str], str | None]:
    """The paths of a page that fits into one reply, and its last path if there are more."""
    paths = heapq.nsmallest(limit + 1, (path for path in entries if path > after))
    count = min(limit, codec.fitting([path, entries[path]] for path in paths))
    return paths[:count], paths[count - 1] if len(paths) > count else None
