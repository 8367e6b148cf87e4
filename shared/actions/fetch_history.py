"""A fetch in steps: the oldest commits of a difference with their snapshots, and the sizes of the
objects they need.

    difference, oldest first
        → as many commits as fit → their manifests → sizes of the objects that the client lacks

The commits of a step are closed under ancestry: each parent is in the step, or the client has it.
The client repeats with the received commits in `have`, until the step is complete. It reads the
contents with `fetch_objects`.
"""

import zlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from shared import codec, names
from shared.actions import fetch_plan
from shared.actions.bases import Bases
from shared.codings import Coding
from shared.errors import Damaged, TooLarge
from shared.graph import walk
from shared.graph.dag import Difference
from shared.graph.records import commit_record
from shared.model import Node, ObjectId, Packed, Sees
from shared.protocol.fetch import FetchHistory
from shared.stores import RepoStores

STEP_BYTES = 16 * 1024 * 1024
"""The commits and manifests of one step, which are in memory together.

A larger commit is a step by itself.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit of a step. `snapshot` is empty if the commit has none, or an earlier commit of the
    step has it.

    `objects` are the sizes of the objects that are neither in an earlier snapshot of the step nor
    with the client.
    """

    commit: bytes
    snapshot: bytes
    objects: Mapping[ObjectId, int]

    @property
    def size(self) -> int:
        """About the bytes of the entry in the reply, and never more than 10 too many for an
        object.
        """
        return (
            len(self.commit)
            + len(self.snapshot)
            + sum(len(object_id) + 7 for object_id in self.objects)
        )


@dataclass(frozen=True)
class Step:
    """The reply: the commits of a step, oldest first."""

    branch_heads: Mapping[str, str]
    entries: Sequence[Entry]
    order: Mapping[str, int]
    """The position of each object id in the reply: versions of one path are neighbours."""
    is_complete: bool

    @cached_property
    def body(self) -> bytes:
        """The reply in msgpack."""
        lists = {
            "commits": [entry.commit for entry in self.entries],
            "snapshots": [entry.snapshot for entry in self.entries if entry.snapshot],
        }
        sizes: dict[ObjectId, int] = {}
        for entry in self.entries:
            sizes.update(entry.objects)
        rest = {
            "branch_heads": dict(self.branch_heads),
            "is_complete": self.is_complete,
            "objects": dict(sorted(sizes.items(), key=lambda item: self.order[item[0]])),
        }
        return codec.pack_map_of_lists(lists, rest)

    @property
    def size(self) -> int:
        """The bytes of the reply in msgpack."""
        return len(self.body)

    async def in_msgpack(self) -> AsyncGenerator[bytes, None]:
        """The reply, in one piece."""
        yield self.body

    async def to_compress(self, coding: Coding) -> AsyncGenerator[bytes, None]:
        """The same."""
        yield self.body

    def smaller(self, most_bytes: int) -> "Step":
        """The first commits of the step, fewer than it has, of at most about `most_bytes`, or one.

        Raises TooLarge for a step of one commit.
        """
        if len(self.entries) < 2:
            raise TooLarge(
                f"the oldest commit that you lack has {self.size} bytes with its snapshot, more"
                f" than are sent at once: ask with Accept: {codec.MSGPACK} and Accept-Encoding:"
                " zstd; if that is refused as well, the hub's operator can send more"
                " (Edge=cloudfront on Lambda, PIERIA_MAX_REPLY_BYTES elsewhere)"
            )
        left = most_bytes - sum(len(name) + len(head) for name, head in self.branch_heads.items())
        count = 0
        for entry in self.entries[:-1]:
            left -= entry.size
            if left < 0:
                break
            count += 1
        return replace(self, entries=self.entries[: max(count, 1)], is_complete=False)


async def fetch_history(
    repository: RepoStores, request: FetchHistory, sees: Sees, most_bytes: int
) -> Step:
    """The next step of a fetch, of about `most_bytes` of msgpack at most. Unknown haves are
    ignored.

    Raises CommitNotFound, which names unknown wants; and Damaged if anything is missing.

    Budget: 6 AWS calls, chain of 4 (fetch/history, 3 commits).
    """
    resolved = await fetch_plan.resolve(repository, request, sees)
    difference = Difference(resolved.want, resolved.have, resolved.client_history)
    await walk.run(repository.commits, difference)
    oldest_first = difference.collected[::-1]
    nodes = _step(oldest_first, min(most_bytes, STEP_BYTES))
    boundary = await fetch_plan.boundary_manifests(repository, difference, nodes)
    bases = Bases(request.bases)
    records, had = await _read(repository, nodes, boundary, bases)
    entries, paths = await _entries(repository, nodes, records, had)
    snapshots = bases.patched(entry.snapshot for entry in entries if entry.snapshot)
    entries = [
        replace(entry, snapshot=next(snapshots)) if entry.snapshot else entry for entry in entries
    ]
    ordered = sorted(paths, key=paths.__getitem__)
    return Step(
        branch_heads=resolved.heads,
        entries=entries,
        order={object_id: position for position, object_id in enumerate(ordered)},
        is_complete=len(nodes) == len(oldest_first),
    )


def _step(oldest_first: Sequence[Node], most_bytes: int) -> Sequence[Node]:
    """The first of these commits, one at least, whose records and manifests have at most this many
    bytes.
    """
    seen: set[Packed] = set()
    left = most_bytes
    for count, node in enumerate(oldest_first):
        left -= _commit_size(node)
        if node.snapshot_at and node.snapshot_at not in seen:
            seen.add(node.snapshot_at)
            left -= node.snapshot_at.length
        if left < 0:
            return oldest_first[: max(count, 1)]
    return oldest_first


def _commit_size(node: Node) -> int:
    """The bytes of a commit's record. Raises Damaged if the row has none."""
    if node.record is not None:
        return len(zlib.decompress(node.record))
    if node.record_at is None:
        raise Damaged(f"the record of commit {node.commit_id}")
    return node.record_at.length


async def _read(
    repository: RepoStores, nodes: Sequence[Node], boundary: Collection[Packed], bases: Bases
) -> tuple[Mapping[Packed, bytes], set[bytes]]:
    """The packed records of these commits, and the ids of the objects that the client has."""
    records: dict[Packed, bytes] = {}
    had: set[bytes] = set()
    locations = chain.from_iterable((node.snapshot_at, node.record_at) for node in nodes)
    wanted = {at for at in locations if at}
    is_boundary = set(boundary)
    async with aclosing(repository.objects.each_packed(wanted | is_boundary)) as found:
        async for at, record in found:
            if at in is_boundary:
                had.update(codec.unpack_raw(record)[b"manifest"].values())
                bases.see(record)
            if at in wanted:
                records[at] = record
    return records, had


async def _entries(
    repository: RepoStores,
    nodes: Sequence[Node],
    records: Mapping[Packed, bytes],
    had: set[bytes],
) -> tuple[Sequence[Entry], Mapping[ObjectId, str]]:
    """The entries of these commits, and the path of each object.

    Raises Damaged if an object is gone.
    """
    seen: set[Packed] = set()
    brought: list[tuple[bytes, bytes, Sequence[ObjectId]]] = []
    paths: dict[ObjectId, str] = {}
    for node in nodes:
        snapshot = b""
        new: list[ObjectId] = []
        if node.snapshot_at and node.snapshot_at not in seen:
            seen.add(node.snapshot_at)
            snapshot = records[node.snapshot_at]
            files = _new_files(snapshot, had)
            had.update(object_id.encode() for object_id in files)
            new = list(files)
            paths |= files
        brought.append((commit_record(node, records), snapshot, new))
    stored = (await repository.index.readable(objects=paths.keys())).objects
    lost = [
        object_id for object_id in paths if object_id not in stored and names.is_digest(object_id)
    ]
    if lost:
        raise Damaged(f"object {lost[0]}")
    entries = [
        Entry(
            record,
            snapshot,
            {object_id: stored[object_id].length for object_id in new if object_id in stored},
        )
        for record, snapshot, new in brought
    ]
    return entries, paths


def _new_files(snapshot: bytes, had: Collection[bytes]) -> dict[ObjectId, str]:
    """The path of each object of a packed snapshot that is not in `had`, in the order of the
    manifest.
    """
    manifest = codec.unpack_raw(snapshot)[b"manifest"]
    new = set(manifest.values()).difference(had)
    if not new:
        return {}
    return {
        ObjectId(object_id.decode()): path.decode()
        for path, object_id in manifest.items()
        if object_id in new
    }
