"""rebuild-index: the rows of objects, snapshots and commits, made anew from packs and loose objects alone.

    packs, oldest first → where each object, snapshot and commit record lies; of two under one id the first
    records             → what each commit stands on, and from that its generation
    branches and moves  → in which lanes the rows of commits are looked for

Nothing that is there is replaced: rows are written on condition that they are new, bytes are not touched, and no
branch is moved. So it can be stopped and run again at any time, and pushes go on beside it: what they write
names only what they have written or found. A commit is written down only with everything it stands on, and in
the index last, as in a push. Packs hold no lanes: a row goes wherever a branch, a kept move, a row of the index or
a surviving child says that it is; all others into the lane of the first branch that leads to them.

Never while gc removes anything: what nothing leads to any more it may find, and gc remove then. So it takes a
`turn`: stops a gc that is between its steps, and waits until whatever that had begun is over; while it works no gc
begins, and it ends if one has begun all the same.
"""

import zlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from hashlib import sha256
from operator import attrgetter
from typing import Any

from shared import codec, names, packs
from shared.actions.fsck import GROUP_BYTES, by_size
from shared.actions.gc import Step
from shared.actions.push import INLINE_BYTES
from shared.actions.records import packed_summary
from shared.actions.turn import Turn, rebuilding
from shared.errors import Damaged
from shared.metadata.index import CONDITIONAL
from shared.metadata.table import split
from shared.model import Kind, Location, Node, Place, Repo
from shared.progress import Tell, silent
from shared.stores import Stores
from shared.tasks import all_of

AT_ONCE = 32
ELSEWHERE = "~rebuilt"
"""The lane of commits that no branch leads to."""


@dataclass(slots=True)
class Rebuilt:
    """What was found in the bucket and written down if it was not there, and what could not be used."""

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
    """What the bucket holds."""

    objects: dict[str, Location] = field(default_factory=dict)
    snapshots: dict[str, Location] = field(default_factory=dict)
    commits: dict[str, list[_Record]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    """Snapshots whose objects are there."""
    packs: set[str] = field(default_factory=set)


async def rebuild(stores: Stores, repo: Repo, *, now: float, tell: Tell = silent) -> Rebuilt:
    """Write every row that is missing. Repeating it is harmless.

    Raises Unavailable, and changes nothing, while a gc may be at work: `turn.stop_gc` stops it.
    """
    turn = await rebuilding(stores, repo.repo_id, now)
    done = Rebuilt()
    found = await _found(stores, repo, done, tell)
    generations = _generations(found, done)
    wanted = await _wanted_places(stores, repo, generations, found.packs)
    rows, primary = _rows(found, generations, wanted, await _lanes(stores, repo, found, generations))

    done.objects = await _put_locations(turn, Kind.OBJECT, found.objects, tell)
    whole = {i: at for i, at in found.snapshots.items() if i in found.whole}
    done.snapshots = await _put_locations(turn, Kind.SNAPSHOT, whole, tell)
    for lane in sorted({place.lane for place in rows}):
        await stores.commits.open_lane(repo.repo_id, lane, int(now))
    await _put_rows(turn, rows, tell)
    for part in split([primary[i] for i in sorted(primary, key=lambda i: (generations[i], i))], CONDITIONAL):
        await turn.keep()
        await stores.index.put_places(repo.repo_id, part)
    done.commits = len(primary)
    done.refs = await _refresh(stores, repo, rows, generations)
    await turn.end(Step.REBUILT, now)
    return done


async def _found(stores: Stores, repo: Repo, done: Rebuilt, tell: Tell) -> _Found:
    """Every pack and loose object, one pack in memory at a time."""
    found = _Found()
    manifests: dict[str, frozenset[str]] = {}
    for stored in await stores.objects.loose(repo.repo_id):
        found.objects[stored.key] = Location("", 0, stored.size)
    listed = await stores.objects.packs(repo.repo_id)
    size_bytes = 0
    for number, stored in enumerate(listed, 1):
        size_bytes += stored.size
        try:
            data = await stores.objects.read_pack(repo.repo_id, stored.key)
            if sha256(data).hexdigest() != stored.key:
                raise Damaged(f"pack {stored.key}")
            entries = packs.read_index(stored.key, data)
        except Damaged:
            done.damaged.append(stored.key)
            continue
        found.packs.add(stored.key)
        for (kind, item_id), at in entries.items():
            if kind is Kind.OBJECT:
                found.objects.setdefault(item_id, at)
                continue
            record = codec.unpack_record(data[at.offset : at.offset + at.length])
            if kind is Kind.COMMIT:
                found.commits.setdefault(item_id, []).append(_record(at, record))
            elif item_id not in found.snapshots:
                found.snapshots[item_id] = at
                manifests[item_id] = frozenset(i for i in record["manifest"].values() if names.is_digest(i))
        tell("packs", number, len(listed), size_bytes)
    found.whole = {i for i, objects in manifests.items() if objects <= found.objects.keys()}
    done.incomplete += sorted(found.snapshots.keys() - found.whole)
    return found


def _record(at: Location, record: Mapping[str, Any]) -> _Record:
    parents = (record.get("parent_commit_id"), record.get("parent2_commit_id"))
    return _Record(at, tuple(str(p) for p in parents if p), record.get("snapshot_id") or None)


def _generations(found: _Found, done: Rebuilt) -> dict[str, int]:
    """The generation of every commit that has all it stands on."""
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
            snapshot_id = record.snapshot_id
            if (snapshot_id and names.is_digest(snapshot_id) and snapshot_id not in found.whole) or any(
                parent not in found.commits or parent in failed for parent in record.parents
            ):
                failed.add(commit_id)
            elif waiting := [parent for parent in record.parents if parent not in generations]:
                stack += waiting
            else:
                generations[commit_id] = 1 + max((generations[parent] for parent in record.parents), default=0)
    done.incomplete += sorted(failed)
    return generations


async def _wanted_places(
    stores: Stores, repo: Repo, generations: Mapping[str, int], there: Set[str]
) -> dict[str, list[Place]]:
    """Where rows of commits are looked for, by id; the one in the index first. Only with their true generation.

    `there`: the packs that are. A row that names another, as a dead push may leave it, says nothing.
    """
    refs = await stores.refs.all(repo.repo_id)
    moves = await stores.refs.moves(repo.repo_id)
    places = [entry.place async for entry in stores.census.index(repo.repo_id, Kind.COMMIT) if entry.place]
    places += [ref.head for ref in refs.values()]
    places += [place for move in reversed(moves) for place in (move.after, move.before) if place]
    # Lanes are found by what leads to them, too: the list of them may have been lost.
    waiting = sorted({place.lane for place in places}.union(await stores.census.lanes(repo.repo_id)))
    lanes = set(waiting)
    while waiting:
        async for node in stores.census.salvage(repo.repo_id, waiting.pop()):
            if {at.pack for at in (node.snapshot_at, node.record_at) if at} <= there:
                places += [node.place, *node.parents]
            fresh = {parent.lane for parent in node.parents} - lanes
            lanes |= fresh
            waiting += sorted(fresh)
    wanted: dict[str, list[Place]] = {}
    for place in places:
        true = replace(place, generation=generations.get(place.commit_id, 0))
        if true.generation and true not in wanted.setdefault(place.commit_id, []):
            wanted[place.commit_id].append(true)
    return wanted


async def _lanes(stores: Stores, repo: Repo, found: _Found, generations: Mapping[str, int]) -> dict[str, str]:
    """The lane of every commit, if nothing else says one: of the first branch that leads to it, the default first."""
    refs = await stores.refs.all(repo.repo_id)
    lanes: dict[str, str] = {}
    for branch in sorted(refs, key=lambda name: (name != repo.default_branch, name)):
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
    wanted: Mapping[str, list[Place]],
    lanes: Mapping[str, str],
) -> tuple[dict[Place, Node], dict[str, Place]]:
    """Every row of a commit that has to be there, without its record; and which one the index shall name."""
    primary = {
        i: wanted[i][0] if i in wanted else Place(i, generation, lanes[i]) for i, generation in generations.items()
    }
    waiting = [place for places in wanted.values() for place in places] + list(primary.values())
    rows: dict[Place, Node] = {}
    while waiting:
        place = waiting.pop()
        if place in rows:
            continue
        # A lane `<branch>~<pack>` holds what a forced push brought in that pack, beside what was there.
        pack = place.lane.rpartition("~")[2]
        records = found.commits[place.commit_id]
        record = next((r for r in records if r.at.pack == pack), records[0])
        parents = tuple(
            Place(parent, generations[parent], place.lane)
            if any(r.at.pack == pack for r in found.commits[parent])
            else _beside(place.lane, wanted.get(parent, ())) or primary[parent]
            for parent in record.parents
        )
        rows[place] = Node(
            place,
            parents,
            record.snapshot_id,
            found.snapshots.get(record.snapshot_id) if record.snapshot_id in found.whole else None,
            record_at=record.at,
        )
        waiting += parents
    return rows, primary


def _beside(lane: str, places: Iterable[Place]) -> Place | None:
    """Where a forced push to the same branch has left a row of its own."""
    return next((place for place in places if place.lane.startswith(f"{lane}~")), None)


async def _put_locations(turn: Turn, kind: Kind, locations: Mapping[str, Location], tell: Tell) -> int:
    for number, part in enumerate(split(sorted(locations), AT_ONCE)):
        await turn.keep()
        await all_of(turn.stores.census.put_new(turn.repo_id, kind, i, locations[i]) for i in part)
        what = "objects" if kind is Kind.OBJECT else "snapshots"
        tell(what, number * AT_ONCE + len(part), len(locations))
    return len(locations)


async def _put_rows(turn: Turn, rows: Mapping[Place, Node], tell: Tell) -> None:
    """The rows with their records, a few megabytes of packs at a time."""
    by_record: dict[Location, list[Node]] = {}
    for node in rows.values():
        if node.record_at:
            by_record.setdefault(node.record_at, []).append(node)
    written = 0
    for group in by_size(sorted(by_record, key=lambda at: (at.pack, at.offset)), GROUP_BYTES, attrgetter("length")):
        records = await turn.stores.objects.read_packed(turn.repo_id, group)
        nodes: list[Node] = []
        for at in group:
            nodes += [_with_record(node, records[at]) for node in by_record[at]]
        for part in split(nodes, CONDITIONAL):
            await turn.keep()
            # The first of times: nothing that is there counts as left over by then.
            await turn.stores.commits.put(turn.repo_id, part, 0)
        written += len(nodes)
        tell("commits", written, sum(map(len, by_record.values())))


def _with_record(node: Node, record: bytes) -> Node:
    """A row with its record, or with the summary of one that is too large for a row."""
    compressed = zlib.compress(record)
    if len(compressed) <= INLINE_BYTES:
        return replace(node, record=compressed, record_at=None)
    return replace(node, summary=packed_summary(codec.unpack_record(record)))


async def _refresh(stores: Stores, repo: Repo, rows: Mapping[Place, Node], generations: Mapping[str, int]) -> int:
    """Branches say where their heads and their snapshots lie, and how deep; the heads stay."""
    changed = 0
    for ref in (await stores.refs.all(repo.repo_id)).values():
        head = replace(ref.head, generation=generations.get(ref.head.commit_id, ref.head.generation))
        if node := rows.get(head):
            new = replace(ref, head=head, snapshot_at=node.snapshot_at)
            if new != ref:
                changed += await stores.census.refresh(repo.repo_id, ref, new)
    return changed
