"""rebuild-index: writes the missing rows of objects, snapshots and commits again, from packs and
loose objects alone.

    packs, oldest first   → the location of each object, snapshot and commit record; the first of two with one id
    commit records        → parents, and from these the generations
    branches, moves, rows → the lanes of the rows of commits

Existing rows and bytes are not changed, and no branch moves. Objects are written before snapshots,
then rows of lanes, and the index of commits last. The job takes a `turn`, so it never runs beside a
garbage collection. docs/design/rebuild.md has the invariants.
"""

import zlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain
from operator import attrgetter
from typing import Any

from shared import codec, names, packs
from shared.errors import Damaged
from shared.graph.records import packed_summary
from shared.limits import Limits
from shared.maintenance.fsck import GROUP_BYTES, by_size
from shared.maintenance.gc import Step
from shared.maintenance.lease import Lease, rebuilding
from shared.metadata.table import chunked
from shared.model import CommitAddress, Kind, Location, Node
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores
from shared.tasks import gather_all

AT_ONCE = 32
ELSEWHERE = "~rebuilt"
"""The lane of commits that no branch reaches."""


@dataclass(slots=True)
class Rebuilt:
    """The items that were found in the bucket. Their rows were written, unless they existed.

    `refs`: branches whose row was corrected. `damaged`: packs that cannot be read. `incomplete`:
    snapshots and commits that are not written, because something that they reference is missing.
    """

    objects: int = 0
    snapshots: int = 0
    commits: int = 0
    refs: int = 0
    damaged: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Record:
    """A commit's record in one pack."""

    at: Location
    parents: tuple[str, ...]
    snapshot_id: str | None


@dataclass(slots=True)
class _Found:
    """The contents of the bucket.

    Of two entries with one id the first counts, except for commits.
    """

    objects: dict[str, Location] = field(default_factory=dict)
    snapshots: dict[str, Location] = field(default_factory=dict)
    manifests: dict[str, frozenset[str]] = field(default_factory=dict)
    """For each snapshot, its objects whose ids are digests; empty when all packs are read."""
    whole: set[str] = field(default_factory=set)
    """Snapshots whose objects are all stored. An opaque id may have no object."""
    commits: dict[str, list[_Record]] = field(default_factory=dict)
    packs: set[str] = field(default_factory=set)

    def add(self, kind: Kind, item_id: str, at: Location, data: bytes) -> None:
        """Add an entry of a pack. `data`: the whole pack."""
        if kind is Kind.OBJECT:
            self.objects.setdefault(item_id, at)
            return
        record = codec.unpack_record(data[at.offset : at.offset + at.length])
        if kind is Kind.COMMIT:
            self.commits.setdefault(item_id, []).append(_record(at, record))
        elif item_id not in self.snapshots:
            self.snapshots[item_id] = at
            self.manifests[item_id] = frozenset(
                i for i in record["manifest"].values() if names.is_digest(i)
            )

    def check_snapshots(self) -> None:
        """Find the whole snapshots, after all packs are read."""
        stored = self.objects.keys()
        self.whole = {item_id for item_id, objects in self.manifests.items() if objects <= stored}
        self.manifests.clear()


async def rebuild(
    repository: RepoStores, *, now: float, on_progress: OnProgress = no_progress
) -> Rebuilt:
    """Write every row that is missing. It may be stopped and run again at any time.

    Raises Unavailable, and changes nothing, while a gc may be at work: `lease.stop_gc` stops it.
    """
    lease = await rebuilding(repository, now)
    done = Rebuilt()
    found = await _found(repository, done, on_progress)
    generations = _generations(found, done)
    wanted = await _wanted_places(repository, generations, found.packs)
    lanes = await _lanes(repository, found, generations)
    rows, primary = _rows(found, generations, wanted, lanes)

    done.objects = await _put_locations(lease, Kind.OBJECT, found.objects, on_progress)
    snapshots = {i: at for i, at in found.snapshots.items() if i in found.whole}
    done.snapshots = await _put_locations(lease, Kind.SNAPSHOT, snapshots, on_progress)
    for lane in sorted({address.lane for address in rows}):
        await repository.commits.open_lane(lane, int(now))
    await _put_rows(lease, rows, on_progress)
    parents_first = sorted(
        primary.values(), key=lambda address: (address.generation, address.commit_id)
    )
    for part in chunked(parents_first, repository.stores.limits.conditional_rows):
        await lease.check()
        await repository.index.put_addresses(part)
    done.commits = len(primary)
    done.refs = await _refresh(repository, rows, generations)
    await lease.release(Step.REBUILT, now)
    return done


async def _found(repository: RepoStores, done: Rebuilt, on_progress: OnProgress) -> _Found:
    """Read every pack and list the loose objects. One pack is in memory at a time."""
    found = _Found()
    for stored in await repository.objects.loose():
        found.objects[stored.key] = Location("", 0, stored.size)
    listed = await repository.objects.packs()
    size_bytes = 0
    for number, stored in enumerate(listed, 1):
        size_bytes += stored.size
        try:
            data = await repository.objects.read_pack(stored.key)
            if sha256(data).hexdigest() != stored.key:
                raise Damaged(f"pack {stored.key}")
            entries = packs.read_index(stored.key, data)
        except Damaged:
            done.damaged.append(stored.key)
            continue
        found.packs.add(stored.key)
        for (kind, item_id), at in entries.items():
            found.add(kind, item_id, at, data)
        on_progress("packs", number, len(listed), size_bytes)
    found.check_snapshots()
    done.incomplete += sorted(found.snapshots.keys() - found.whole)
    return found


def _record(at: Location, record: Mapping[str, Any]) -> _Record:
    parents = (record.get("parent_commit_id"), record.get("parent2_commit_id"))
    return _Record(at, tuple(str(p) for p in parents if p), record.get("snapshot_id") or None)


def _generations(found: _Found, done: Rebuilt) -> dict[str, int]:
    """The generation of every complete commit: its parents and its snapshot are stored, and so on
    below."""
    generations: dict[str, int] = {}
    failed: set[str] = set()
    for start in sorted(found.commits):
        stack = [start]
        while stack:
            commit_id = stack[-1]
            if commit_id in generations or commit_id in failed:
                stack.pop()
                continue
            record = found.commits[commit_id][0]
            waiting = [parent for parent in record.parents if parent not in generations]
            if _is_incomplete(found, record, failed):
                failed.add(commit_id)
            elif waiting:
                stack += waiting
            else:
                parents = [generations[parent] for parent in record.parents]
                generations[commit_id] = 1 + max(parents, default=0)
    done.incomplete += sorted(failed)
    return generations


def _is_incomplete(found: _Found, record: _Record, failed: Set[str]) -> bool:
    """Whether a parent or the snapshot is missing.

    A snapshot with an opaque id may never have been sent.
    """
    if any(parent not in found.commits or parent in failed for parent in record.parents):
        return True
    return names.is_digest(record.snapshot_id or "") and record.snapshot_id not in found.whole


async def _wanted_places(
    repository: RepoStores, generations: Mapping[str, int], present: Set[str]
) -> dict[str, list[CommitAddress]]:
    """The places at which readers look for each commit, that of the index first, with the right
    generation.

    `present`: the packs that exist. A row that points to another pack is skipped: a crashed push
    may have left it.
    """
    refs = await repository.refs.all()
    moves = await repository.refs.moves()
    addresses = [
        entry.address async for entry in repository.scans.index(Kind.COMMIT) if entry.address
    ]
    addresses += [ref.head for ref in refs.values()]
    for move in reversed(moves):
        addresses += [address for address in (move.after, move.before) if address]
    # Lanes are found by places in them as well, since the list of lanes may be lost.
    waiting = sorted({address.lane for address in addresses}.union(await repository.scans.lanes()))
    lanes = set(waiting)
    while waiting:
        async for node in repository.scans.salvage(waiting.pop()):
            if {at.pack for at in (node.snapshot_at, node.record_at) if at} <= present:
                addresses += [node.address, *node.parents]
            fresh = {parent.lane for parent in node.parents} - lanes
            lanes |= fresh
            waiting += sorted(fresh)
    wanted: dict[str, list[CommitAddress]] = {}
    for address in addresses:
        corrected = replace(address, generation=generations.get(address.commit_id, 0))
        if corrected.generation and corrected not in wanted.setdefault(address.commit_id, []):
            wanted[address.commit_id].append(corrected)
    return wanted


async def _lanes(
    repository: RepoStores, found: _Found, generations: Mapping[str, int]
) -> dict[str, str]:
    """The lane of each commit that has no place yet: the first branch that reaches it, the default
    branch first."""
    refs = await repository.refs.all()
    lanes: dict[str, str] = {}
    for branch in sorted(refs, key=lambda name: (name != repository.repo.default_branch, name)):
        stack = [refs[branch].head.commit_id]
        while stack:
            commit_id = stack.pop()
            if commit_id in generations and commit_id not in lanes:
                lanes[commit_id] = branch
                stack += found.commits[commit_id][0].parents
    return {commit_id: lanes.get(commit_id, ELSEWHERE) for commit_id in generations}


def _rows(
    found: _Found,
    generations: Mapping[str, int],
    wanted: Mapping[str, list[CommitAddress]],
    lanes: Mapping[str, str],
) -> tuple[dict[CommitAddress, Node], dict[str, CommitAddress]]:
    """The commit rows that must exist, without their records; and for each commit the place that
    the index has."""
    primary = {
        i: wanted[i][0] if i in wanted else CommitAddress(i, generation, lanes[i])
        for i, generation in generations.items()
    }
    waiting = [*chain.from_iterable(wanted.values()), *primary.values()]
    rows: dict[CommitAddress, Node] = {}
    while waiting:
        address = waiting.pop()
        if address in rows:
            continue
        # A lane `<branch>~<pack>` has the commits that a forced push sent in that pack.
        pack = address.lane.rpartition("~")[2]
        records = found.commits[address.commit_id]
        record = next((r for r in records if r.at.pack == pack), records[0])
        parents = tuple(
            (
                CommitAddress(parent, generations[parent], address.lane)
                if any(r.at.pack == pack for r in found.commits[parent])
                else _beside(address.lane, wanted.get(parent, ())) or primary[parent]
            )
            for parent in record.parents
        )
        rows[address] = Node(
            address,
            parents,
            record.snapshot_id,
            found.snapshots.get(record.snapshot_id) if record.snapshot_id in found.whole else None,
            record_at=record.at,
        )
        waiting += parents
    return rows, primary


def _beside(lane: str, addresses: Iterable[CommitAddress]) -> CommitAddress | None:
    """The place in a lane of a forced push to the same branch, if there is one."""
    return next((address for address in addresses if address.lane.startswith(f"{lane}~")), None)


async def _put_locations(
    lease: Lease, kind: Kind, locations: Mapping[str, Location], on_progress: OnProgress
) -> int:
    for number, part in enumerate(chunked(sorted(locations), AT_ONCE)):
        await lease.check()
        await gather_all(lease.repository.scans.put_new(kind, i, locations[i]) for i in part)
        what = "objects" if kind is Kind.OBJECT else "snapshots"
        on_progress(what, number * AT_ONCE + len(part), len(locations))
    return len(locations)


async def _put_rows(
    lease: Lease, rows: Mapping[CommitAddress, Node], on_progress: OnProgress
) -> None:
    """Write rows with their records. At most `GROUP_BYTES` of records are read at a time."""
    limits = lease.repository.stores.limits
    by_record: dict[Location, list[Node]] = {}
    for node in rows.values():
        if node.record_at:
            by_record.setdefault(node.record_at, []).append(node)
    written = 0
    ordered = sorted(by_record, key=lambda at: (at.pack, at.offset))
    for group in by_size(ordered, GROUP_BYTES, attrgetter("length")):
        records = await lease.repository.objects.read_packed(group)
        nodes: list[Node] = []
        for at in group:
            nodes += [_with_record(node, records[at], limits) for node in by_record[at]]
        for part in chunked(nodes, limits.conditional_rows):
            await lease.check()
            # `now` is 0, so that no existing row counts as left over from a crashed push, and none
            # is replaced.
            await lease.repository.commits.put(part, 0)
        written += len(nodes)
        on_progress("commits", written, sum(map(len, by_record.values())))


def _with_record(node: Node, record: bytes, limits: Limits) -> Node:
    """The row with its record, or with a summary if the record is too large for a row."""
    compressed = zlib.compress(record)
    if len(compressed) <= limits.inline_record_bytes:
        return replace(node, record=compressed, record_at=None)
    return replace(node, summary=packed_summary(codec.unpack_record(record)))


async def _refresh(
    repository: RepoStores, rows: Mapping[CommitAddress, Node], generations: Mapping[str, int]
) -> int:
    """Correct the generation and the location of the snapshot in the rows of branches. No branch
    moves.

    Returns how many rows changed.
    """
    changed = 0
    for ref in (await repository.refs.all()).values():
        head = replace(
            ref.head, generation=generations.get(ref.head.commit_id, ref.head.generation)
        )
        node = rows.get(head)
        if node:
            new = replace(ref, head=head, snapshot_at=node.snapshot_at)
            if new != ref:
                changed += await repository.scans.refresh(ref, new)
    return changed
