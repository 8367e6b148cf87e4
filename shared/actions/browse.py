"""Looking at history: a log in pages, one commit, its files, and what differs between two commits."""

import base64
import binascii
import heapq
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import codec, names
from shared.actions import resolve
from shared.actions.lineage import lineage
from shared.actions.records import commit_record, manifest
from shared.errors import Damaged, Unprocessable
from shared.metadata import keys
from shared.model import Node, Place, Repo
from shared.stores import Stores

CURSOR_CHARACTERS = 6000
"""How long a cursor may be that says where the log goes on. Beyond, as with hundreds of lines side by side, it
says where the log began and where it stopped, and the next page walks there anew."""
CURSOR_BYTES = 64 * 1024
LANE_CHARACTERS = names.BRANCH_CHARACTERS + 1 + names.DIGEST_LENGTH
"""A lane is called as its branch, or as that and a pack."""


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


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a page of a log begins: at these places, but only behind `after` (generation and id)."""

    places: frozenset[Place]
    after: tuple[int, str] | None = None


async def log(stores: Stores, repo: Repo, ref: str, cursor: str, limit: int) -> tuple[list[Entry], str | None]:
    """A page of the history of a branch or commit, and the cursor of the next one.

    The greatest generation first, the least id among equals. Raises RefNotFound, Unprocessable, Damaged.
    """
    if cursor:
        start = _parse(cursor)
    else:
        targets = await resolve.targets(stores, repo, [ref])
        start = _Start(frozenset({targets[ref].commit}))
    pending, nodes = set(start.places), list[Node]()
    async for place, node in lineage(stores.commits, repo.repo_id, start.places, page=limit + 1):
        if node is None:
            # What a cursor names was there when we made it; or somebody else made it.
            raise _no_cursor() if cursor and place in start.places else Damaged(f"commit {place.commit_id}")
        if len(nodes) == limit and nodes[-1].commit_id != place.commit_id:
            break
        pending.remove(place)
        pending.update(node.parents)
        # A forced push may have written a commit's row a second time: it is still the same commit.
        if _is_behind(place, start.after) and not (nodes and nodes[-1].commit_id == place.commit_id):
            nodes.append(node)
    entries = await _entries(stores, repo, nodes)
    return entries, _cursor(start, pending, nodes[-1].place) if pending else None


async def commit(stores: Stores, repo: Repo, commit_id: str) -> Entry:
    """One commit. Raises CommitNotFound."""
    (entry,) = await _entries(stores, repo, [await _node(stores, repo, commit_id)])
    return entry


async def files(
    stores: Stores, repo: Repo, commit_id: str, after: str, limit: int
) -> tuple[Node, dict[str, str], str | None]:
    """A page of a commit's files by path, and its last path if there are more. Raises CommitNotFound."""
    node = await _node(stores, repo, commit_id)
    found = (await _manifests(stores, repo, [node]))[commit_id]
    paths, last = _page(found, after, limit)
    return node, {path: found[path] for path in paths}, last


async def compare(stores: Stores, repo: Repo, base: str, head: str, after: str, limit: int) -> Changes:
    """What it takes to come from one branch or commit to another. Raises RefNotFound."""
    targets = await resolve.targets(stores, repo, [base, head])
    before_at, now_at = targets[base].commit, targets[head].commit
    nodes = await stores.commits.get(repo.repo_id, {before_at, now_at})
    first, second = nodes[before_at.commit_id], nodes[now_at.commit_id]
    manifests = await _manifests(stores, repo, [first, second])
    before, now = manifests[first.commit_id], manifests[second.commit_id]
    differing = (path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    paths, last = _page(differing, after, limit)
    return Changes(
        first.commit_id,
        second.commit_id,
        added={p: now[p] for p in paths if p not in before},
        removed={p: before[p] for p in paths if p not in now},
        modified={p: (before[p], now[p]) for p in paths if p in before and p in now},
        last=last,
    )


async def _node(stores: Stores, repo: Repo, commit_id: str) -> Node:
    place = await resolve.commit(stores, repo, commit_id)
    return (await stores.commits.get(repo.repo_id, [place]))[commit_id]


async def _entries(stores: Stores, repo: Repo, nodes: Sequence[Node]) -> list[Entry]:
    large = await stores.objects.read_packed(repo.repo_id, {node.record_at for node in nodes if node.record_at})
    return [Entry(node, codec.unpack_record(commit_record(node, large))) for node in nodes]


async def _manifests(stores: Stores, repo: Repo, nodes: Sequence[Node]) -> dict[str, dict[str, str]]:
    records = await stores.objects.read_packed(repo.repo_id, {node.snapshot_at for node in nodes if node.snapshot_at})
    return {node.commit_id: manifest(records[node.snapshot_at]) if node.snapshot_at else {} for node in nodes}


def _page(paths: Iterable[str], after: str, limit: int) -> tuple[list[str], str | None]:
    found = heapq.nsmallest(limit + 1, (path for path in paths if path > after))
    return found[:limit], found[limit - 1] if len(found) > limit else None


def _is_behind(place: Place, after: tuple[int, str] | None) -> bool:
    return after is None or (-place.generation, place.commit_id) > (-after[0], after[1])


def _cursor(start: _Start, pending: Iterable[Place], last: Place) -> str:
    going_on = _text(_Start(frozenset(pending)))
    return (
        going_on
        if len(going_on) <= CURSOR_CHARACTERS
        else _text(_Start(start.places, (last.generation, last.commit_id)))
    )


def _text(start: _Start) -> str:
    lines = [f"{start.after[0]} {start.after[1]}" if start.after else ""]
    lines += sorted(map(keys.place_text, start.places))
    return base64.urlsafe_b64encode(zlib.compress("\n".join(lines).encode(), 9)).decode()


def _parse(cursor: str) -> _Start:
    """Raises Unprocessable for what is no cursor of ours. It can name nothing outside the repository."""
    try:
        unpack = zlib.decompressobj()
        data = unpack.decompress(base64.b64decode(cursor, b"-_", validate=True), CURSOR_BYTES)
        if not unpack.eof:
            raise ValueError
        first, *lines = data.decode().split("\n")
        generation, _, commit_id = first.partition(" ")
        places = frozenset(map(keys.parse_place, lines))
        if not places or not all(map(_is_thinkable, places)):
            raise ValueError
        return _Start(places, (int(generation), commit_id) if first else None)
    except (binascii.Error, ValueError, zlib.error):
        raise _no_cursor() from None


def _is_thinkable(place: Place) -> bool:
    """Whether there could be a row here: DynamoDB does not look for keys that are too long."""
    return names.is_id(place.commit_id) and 0 < place.generation < 10**12 and len(place.lane) <= LANE_CHARACTERS


def _no_cursor() -> Unprocessable:
    return Unprocessable("this is no cursor; begin without one, and go on with the next_cursor of each page")
