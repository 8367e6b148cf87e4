"""One commit, its files, and what differs between two commits."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import codec
from shared.actions import resolve
from shared.actions.records import commit_record, manifest
from shared.model import Node, Repo, Sees
from shared.stores import Stores


@dataclass(frozen=True, slots=True)
class Entry:
    """A commit and its whole record."""

    node: Node
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of what differs between two manifests, by path; `last` is its last path if there are more."""

    base: str
    head: str
    added: Mapping[str, str]
    removed: Mapping[str, str]
    modified: Mapping[str, tuple[str, str]]
    last: str | None


async def commit(stores: Stores, repo: Repo, name: str, sees: Sees) -> Entry:
    """One commit. Raises CommitNotFound, and TooLarge, before the record is read, for one that fits into no reply."""
    node = await _node(stores, repo, name, sees)
    if node.record_at and codec.sent_msgpack_bytes(node.record_at.length) > codec.REPLY_BYTES:
        raise codec.too_large_to_send(node.record_at.length)
    (entry,) = await _entries(stores, repo, [node])
    return entry


async def files(
    stores: Stores, repo: Repo, name: str, after: str, limit: int, sees: Sees
) -> tuple[Node, dict[str, str], str | None]:
    """A page of a commit's files by path, and its last path if there are more. Raises CommitNotFound."""
    node = await _node(stores, repo, name, sees)
    found = (await _manifests(stores, repo, [node]))[node.commit_id]
    paths, last = _page({path: [found[path]] for path in found}, after, limit)
    return node, {path: found[path] for path in paths}, last


async def compare(stores: Stores, repo: Repo, base: str, head: str, after: str, limit: int, sees: Sees) -> Changes:
    """What it takes to come from one branch or commit to another. Raises RefNotFound."""
    targets = await resolve.targets(stores, repo, [base, head], sees)
    before_at, now_at = targets[base].commit, targets[head].commit
    nodes = await stores.commits.get(repo.repo_id, {before_at, now_at})
    first, second = nodes[before_at.commit_id], nodes[now_at.commit_id]
    manifests = await _manifests(stores, repo, [first, second])
    before, now = manifests[first.commit_id], manifests[second.commit_id]
    differing = {
        path: [before.get(path), now.get(path)]
        for path in before.keys() | now.keys()
        if before.get(path) != now.get(path)
    }
    paths, last = _page(differing, after, limit)
    return Changes(
        first.commit_id,
        second.commit_id,
        added={p: now[p] for p in paths if p not in before},
        removed={p: before[p] for p in paths if p not in now},
        modified={p: (before[p], now[p]) for p in paths if p in before and p in now},
        last=last,
    )


async def _node(stores: Stores, repo: Repo, name: str, sees: Sees) -> Node:
    place = await resolve.commit(stores, repo, name, sees)
    return (await stores.commits.get(repo.repo_id, [place]))[place.commit_id]


async def _entries(stores: Stores, repo: Repo, nodes: Sequence[Node]) -> list[Entry]:
    large = await stores.objects.read_packed(repo.repo_id, {node.record_at for node in nodes if node.record_at})
    return [Entry(node, codec.unpack_record(commit_record(node, large))) for node in nodes]


async def _manifests(stores: Stores, repo: Repo, nodes: Sequence[Node]) -> dict[str, dict[str, str]]:
    records = await stores.objects.read_packed(repo.repo_id, {node.snapshot_at for node in nodes if node.snapshot_at})
    return {node.commit_id: manifest(records[node.snapshot_at]) if node.snapshot_at else {} for node in nodes}


def _page(entries: Mapping[str, Any], after: str, limit: int) -> tuple[list[str], str | None]:
    """The paths of a page that fits into one reply, and its last path if there are more."""
    paths = heapq.nsmallest(limit + 1, (path for path in entries if path > after))
    count = min(limit, codec.fitting([path, entries[path]] for path in paths))
    return paths[:count], paths[count - 1] if len(paths) > count else None
