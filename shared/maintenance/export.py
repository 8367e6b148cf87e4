"""export: everything of a repository in one file, from which `import` makes it again.

    1  branches, then moves, then the commits of tags and releases: the roots
    2  the addresses of all commit rows that the roots reach
    3  history, oldest first: the objects of a group of commits, their snapshots, the commits
    4  tags, releases, moves, branches, members

Pushes continue. All that a root reaches was complete when the root was read, and it never changes:
so the roots are read first, and a later push is not in the file. The file depends only on what the
repository contains, not on packs or on the engine. docs/design/export.md has the invariants.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from shared import codec, ids, names
from shared.actions import members
from shared.errors import Damaged
from shared.graph.ancestors import ancestors
from shared.graph.reachability import LOOKED_UP
from shared.graph.records import commit_record, manifest
from shared.maintenance import export_format as entries
from shared.maintenance.batches import GROUP, GROUP_BYTES, by_size
from shared.maintenance.export_format import Writer
from shared.metadata import keys
from shared.metadata.refs import MOVES_KEPT_SECONDS
from shared.metadata.releases import AT_ONCE, Entry
from shared.metadata.table import chunked
from shared.model import (
    CommitAddress,
    CommitId,
    Location,
    Loose,
    Move,
    Node,
    ObjectId,
    Packed,
    Ref,
    SnapshotId,
)
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores

_RELEASES = 1000
"""Releases of one page."""


@dataclass(frozen=True, slots=True)
class _Roots:
    """The branches, their moves, and the addresses from which history is walked."""

    refs: Mapping[str, Ref]
    moves: Sequence[Move]
    addresses: frozenset[CommitAddress]


@dataclass(slots=True)
class _History:
    """The commit rows that the roots reach.

    `rows`: the address of the row by the address at which a child or a root names it. They differ
    after some crashed pushes. `indexed`: the addresses in the index.
    """

    rows: dict[CommitAddress, CommitAddress] = field(default_factory=dict)
    indexed: set[CommitAddress] = field(default_factory=set)
    commit_ids: set[str] = field(default_factory=set)

    def text(self, address: CommitAddress | None) -> str:
        """The address of a row as text, empty for None."""
        return keys.address_text(self.rows.get(address, address)) if address else ""


async def export(
    repository: RepoStores, writer: Writer, now: float, on_progress: OnProgress = no_progress
) -> None:
    """Write a repository to a file. `now`: epoch seconds.

    Raises Damaged if something is missing or has another digest than its id.

    AWS calls: a Query for each page of branches, moves, tags, releases, members and lanes; a
    BatchGetItem for each 100 commits, snapshots and objects; a GET for each range of a pack and for
    each loose object. Memory: the ids, `GROUP_BYTES` of manifests and as much of objects.
    """
    roots = await _read_roots(repository, now)
    history = await _walk(repository, roots.addresses, on_progress)
    writer.write(_settings(repository))
    contents = _Contents(repository, writer, history, on_progress)
    ordered = sorted(set(history.rows.values()), key=_order)
    for group in chunked(ordered, GROUP):
        await contents.write(group)
    await _write_labels(repository, writer, history)
    for move in sorted(roots.moves, key=lambda move: (move.branch, move.step)):
        writer.write(_move(move, history))
    for _, ref in sorted(roots.refs.items()):
        head = history.text(ref.head)
        writer.write(
            entries.BranchEntry(
                name=ref.branch, head=head, step=ref.step or "", moved_at=ref.moved_at
            )
        )
    for handle, role in await members.all_members(repository):
        writer.write(entries.MemberEntry(handle=handle, role=role))
    writer.end()


async def _read_roots(repository: RepoStores, now: float) -> _Roots:
    # Branches before moves: the moves then contain the last move of each branch.
    refs = await repository.refs.all()
    oldest_ms = int((now - MOVES_KEPT_SECONDS) * 1000)
    recent = [move for move in await repository.refs.moves() if move.at >= oldest_ms]
    named = await repository.scans.named_commits()
    ends = {address.commit_id for address in chain.from_iterable(move.kept for move in recent)}
    known = await _addresses(repository, ends.union(named))
    # A push logs its move while it writes its commits: a move to a commit that is not known yet
    # has not taken effect.
    moves = [move for move in recent if all(end.commit_id in known for end in move.kept)]
    addresses = {ref.head for ref in refs.values()}
    for move in moves:
        addresses.update(move.kept)
    addresses.update(known[commit_id] for commit_id in named if commit_id in known)
    return _Roots(refs, moves, frozenset(addresses))


async def _walk(
    repository: RepoStores, roots: Iterable[CommitAddress], on_progress: OnProgress
) -> _History:
    """Find the rows of all commits below the roots, those to which the index points included."""
    history = _History()
    starts = set(roots)
    while starts:
        fresh: set[CommitId] = set()
        skip = frozenset(history.rows)
        async for address, node in ancestors(repository.commits, starts, skip=skip):
            if node is None:
                raise Damaged(f"commit {address.commit_id}")
            history.rows[address] = node.address
            if address.commit_id not in history.commit_ids:
                fresh.add(address.commit_id)
        history.commit_ids |= fresh
        on_progress("commits found", len(history.commit_ids))
        indexed = await _addresses(repository, fresh)
        unknown = fresh - indexed.keys()
        if unknown:
            raise Damaged(f"commit {min(unknown)}")
        history.indexed.update(indexed.values())
        starts = set(indexed.values()) - history.rows.keys()
    return history


async def _addresses(
    repository: RepoStores, commit_ids: Collection[CommitId]
) -> dict[CommitId, CommitAddress]:
    """The addresses in the index."""
    found: dict[CommitId, CommitAddress] = {}
    for part in chunked(sorted(commit_ids), LOOKED_UP):
        known = await repository.index.readable(commits=part)
        found |= known.commits
    return found


@dataclass(slots=True)
class _Contents:
    """Writes commits with what they need and no earlier commit of the file needed."""

    repository: RepoStores
    writer: Writer
    history: _History
    on_progress: OnProgress
    snapshots: set[str] = field(default_factory=set)
    objects: set[bytes | str] = field(default_factory=set)
    object_bytes: int = 0

    async def write(self, group: Sequence[CommitAddress]) -> None:
        """Write the rows at these addresses, which come in the order of the file."""
        rows = await self._rows(group)
        await self._snapshots(rows)
        records = await self.repository.objects.read_packed(
            {row.record_at for row in rows if row.record_at}
        )
        for row in rows:
            entry = entries.CommitEntry(
                address=keys.address_text(row.address),
                parents=[self.history.text(parent) for parent in row.parents],
                is_indexed=row.address in self.history.indexed,
                record=commit_record(row, records),
            )
            self.writer.write(entry)
        self.on_progress("commits", self.writer.counts["commit"])

    async def _rows(self, group: Sequence[CommitAddress]) -> list[Node]:
        found: dict[CommitAddress, Node] = {}
        waiting = list(group)
        while waiting:
            # One call returns one row of each commit.
            distinct = {address.commit_id: address for address in waiting}
            nodes = await self.repository.commits.get(distinct.values())
            found |= {address: nodes[commit_id] for commit_id, address in distinct.items()}
            waiting = [address for address in waiting if address not in found]
        return [found[address] for address in group]

    async def _snapshots(self, rows: Iterable[Node]) -> None:
        named = dict.fromkeys(row.snapshot_id for row in rows if row.snapshot_id)
        new = [snapshot_id for snapshot_id in named if snapshot_id not in self.snapshots]
        known = await self.repository.index.readable(snapshots=new)
        _check_stored("snapshot", new, known.snapshots)
        self.snapshots.update(new)
        stored = [snapshot_id for snapshot_id in new if snapshot_id in known.snapshots]
        for part in by_size(stored, GROUP_BYTES, lambda i: known.snapshots[i].length):
            locations = [known.snapshots[snapshot_id] for snapshot_id in part]
            records = await self.repository.objects.read_packed(locations)
            packed = {snapshot_id: records[known.snapshots[snapshot_id]] for snapshot_id in part}
            await self._objects(packed)
            for snapshot_id, record in packed.items():
                self.writer.write(entries.SnapshotEntry(snapshot_id=snapshot_id, record=record))

    async def _objects(self, packed: Mapping[SnapshotId, bytes]) -> None:
        """Write the new objects of these snapshots, in the order of snapshots and of paths.

        Objects that were pushed together are neighbours in a pack, and mostly in this order too.
        """
        new: list[ObjectId] = []
        for snapshot_id, record in packed.items():
            files = manifest(record)
            _check_digest("snapshot", snapshot_id, ids.snapshot_id(files))
            for _, object_id in sorted(files.items()):
                compact = compact_id(object_id)
                if compact not in self.objects:
                    self.objects.add(compact)
                    new.append(object_id)
        for part in chunked(new, LOOKED_UP):
            known = await self.repository.index.readable(objects=part)
            _check_stored("object", part, known.objects)
            stored = [(i, known.objects[i]) for i in part if i in known.objects]
            for some in by_size(stored, GROUP_BYTES, lambda item: item[1].length):
                await self._write_objects(dict(some))

    async def _write_objects(self, locations: Mapping[ObjectId, Location]) -> None:
        packed = [at for at in locations.values() if isinstance(at, Packed)]
        contents = await self.repository.objects.read_packed(packed)
        for object_id, at in locations.items():
            if isinstance(at, Loose):
                content = await self.repository.objects.read_part(object_id, at, 0, at.length)
            else:
                content = contents[at]
            _check_digest("object", object_id, ids.object_id(content))
            self.writer.write(entries.ObjectEntry(object_id=object_id, content=content))
            self.object_bytes += at.length
        self.on_progress("objects", self.writer.counts["object"], None, self.object_bytes)


async def _write_labels(repository: RepoStores, writer: Writer, history: _History) -> None:
    """Write tags by id, and releases by time.

    One that was made after the roots were read is left out if its commit is not in the file.
    """
    after = ""
    has_more = True
    while has_more:
        tags, has_more = await repository.tags.page(None, after)
        for tag in tags:
            after = tag.tag_id
            if tag.commit_id in history.commit_ids:
                writer.write(entries.TagEntry(record=tag.record))
    for some in chunked(await _releases(repository), AT_ONCE):
        for entry, record in await repository.releases.read(some):
            if codec.unpack_record(record)["commit_id"] in history.commit_ids:
                writer.write(entries.ReleaseEntry(created_at=entry.created_at, record=record))


async def _releases(repository: RepoStores) -> list[Entry]:
    """The entries of all releases by time, then by tag."""
    found: list[Entry] = []
    has_more = True
    while has_more:
        after = found[-1].place if found else None
        page, has_more = await repository.releases.entries(_RELEASES, after)
        found += page
    return sorted(found, key=lambda entry: (entry.created_at, entry.tag))


def _settings(repository: RepoStores) -> entries.RepositoryEntry:
    repo = repository.repo
    return entries.RepositoryEntry(
        owner=repo.owner,
        slug=repo.slug,
        visibility=repo.visibility,
        domain=repo.domain,
        default_branch=repo.default_branch,
        description=repo.description,
        portable_names=repo.portable_names,
        created_at=repo.created_at,
    )


def _move(move: Move, history: _History) -> entries.MoveEntry:
    return entries.MoveEntry(
        branch=move.branch,
        step=move.step,
        previous=move.previous or "",
        at=move.at,
        by=move.by,
        before=history.text(move.before),
        after=history.text(move.after),
        forced=move.forced,
        expunged=sorted(move.expunged),
    )


def _order(address: CommitAddress) -> tuple[int, str, str]:
    """The order of commits in the file: parents first."""
    return address.generation, address.commit_id, address.lane


def compact_id(item_id: str) -> bytes | str:
    """An id for a set of many: a digest takes half of the memory as bytes."""
    if names.is_digest(item_id):
        return bytes.fromhex(item_id)
    return item_id


def _check_stored(what: str, wanted: Iterable[str], known: Collection[str]) -> None:
    """Raise Damaged for a digest that is not stored. An opaque id may never have been sent."""
    for item_id in wanted:
        if names.is_digest(item_id) and item_id not in known:
            raise Damaged(f"{what} {item_id}")


def _check_digest(what: str, item_id: str, digest: str) -> None:
    if names.is_digest(item_id) and item_id != digest:
        raise Damaged(f"{what} {item_id}")
