"""fsck: checks that everything that a clone of any branch needs is stored, and that its ids and
digests are right.

    refs → rows of commits → their records → rows of snapshots → manifests → rows of objects → bytes

Everything is read once. In memory are the ids of all items, and at most `GROUP_BYTES` of content.
fsck changes nothing: each finding names its fix.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from shared import codec, ids, names
from shared.errors import Damaged, TooLarge
from shared.graph.ancestors import ancestors
from shared.graph.records import commit_record, manifest
from shared.maintenance import prebuilt_clones
from shared.maintenance.batches import GROUP, read_each
from shared.metadata.table import chunked
from shared.model import (
    CommitAddress,
    Loose,
    Node,
    ObjectId,
    Packed,
    PrebuiltClone,
    Ref,
    SnapshotId,
)
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores

REBUILD = "run rebuild-index: the packs may still hold it"
RESTORE = (
    "restore the branch to one of its earlier moves, or push it again from a clone that has it"
)
PREBUILD_AGAIN = (
    "run repo bundle, which makes another one; until then clones are served from the packs"
)
FROM_BACKUP = (
    "restore the bytes from an older version in the bucket, or push them again from a clone"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the `kind` (`ref`, `commit`, `snapshot`, `object`, `bundle`) and the id of the
    damaged item, and the fix."""

    kind: str
    id: str
    wrong: str
    fix: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The part of the objects of a repository whose bytes are read: `part`, from 0, of `parts`.

    Each part has a range of hashes of ids. All parts together have everything. Part 1 of 2 is parts
    2 and 3 of 4.
    """

    part: int = 0
    parts: int = 1

    def has(self, item_id: str) -> bool:
        """Whether the item is in this part."""
        number = int.from_bytes(sha256(item_id.encode()).digest()[:4])
        return number * self.parts >> 32 == self.part


ALL = Sample()


@dataclass(slots=True)
class _Seen:
    """Snapshots and objects that are checked after the walk. `snapshots`: their ids by location."""

    sample: Sample
    snapshots: dict[Packed, SnapshotId] = field(default_factory=dict)
    objects: set[ObjectId] = field(default_factory=set)


async def fsck(
    repository: RepoStores, on_progress: OnProgress = no_progress, sample: Sample = ALL
) -> AsyncIterator[Finding]:
    """Every fault in the history of the branches, their snapshots and objects, and the prebuilt
    clone.

    With a `sample`: the history, the manifests, and the objects of the sample. The prebuilt clone
    is in the first one.
    """
    refs, prebuilt = await repository.refs.all_and_prebuilt_clone()
    seen = _Seen(sample)
    async for finding in _history(repository, refs.values(), seen, on_progress):
        yield finding
    async for finding in _snapshots(repository, seen, on_progress):
        yield finding
    async for finding in _objects(repository, seen, on_progress):
        yield finding
    is_sampled = prebuilt is not None and sample.part == 0
    wrong = await _prebuilt_is_wrong(repository, prebuilt) if prebuilt and is_sampled else ""
    if prebuilt and wrong:
        yield Finding("bundle", prebuilt.name, wrong, PREBUILD_AGAIN)


async def _history(
    repository: RepoStores, refs: Iterable[Ref], seen: _Seen, on_progress: OnProgress
) -> AsyncIterator[Finding]:
    """Walk from the heads to the roots. Check the branches and the commits."""
    heads = _by_head(refs)
    group: list[Node] = []
    walked = 0
    async for address, node in ancestors(repository.commits, heads):
        for finding in _ref_findings(heads.get(address, ()), address, node, seen):
            yield finding
        if node is None:
            if address not in heads:
                yield Finding(
                    "commit", address.commit_id, f"has no row in lane {address.lane}", REBUILD
                )
            continue
        group.append(node)
        if len(group) == GROUP:
            walked += len(group)
            on_progress("commits", walked)
            async for finding in _commits(repository, group, seen):
                yield finding
            group = []
    async for finding in _commits(repository, group, seen):
        yield finding
    on_progress("commits", walked + len(group))


def _by_head(refs: Iterable[Ref]) -> dict[CommitAddress, list[Ref]]:
    heads: dict[CommitAddress, list[Ref]] = {}
    for ref in refs:
        heads.setdefault(ref.head, []).append(ref)
    return heads


def _ref_findings(
    refs: Iterable[Ref], address: CommitAddress, node: Node | None, seen: _Seen
) -> Iterator[Finding]:
    """The faults of the branches whose head is at this place. `node`: the row there."""
    for ref in refs:
        if node is None:
            yield Finding(
                "ref",
                ref.branch,
                f"points to commit {address.commit_id}, which has no row",
                RESTORE,
            )
        elif ref.snapshot_at and not node.snapshot_id:
            wrong = "has the location of a snapshot, but its head has no snapshot"
            yield Finding("ref", ref.branch, wrong, REBUILD)
        elif ref.snapshot_at and node.snapshot_id:
            # The location may differ from that in the commit: two pushes at once may both have
            # stored the snapshot.
            seen.snapshots[ref.snapshot_at] = node.snapshot_id


async def _prebuilt_is_wrong(repository: RepoStores, prebuilt: PrebuiltClone) -> str:
    try:
        return await prebuilt_clones.wrong(repository, prebuilt)
    except (Damaged, TooLarge) as error:
        return f"cannot be compared with the history of its heads: {error.message}"


async def _commits(
    repository: RepoStores, nodes: Sequence[Node], seen: _Seen
) -> AsyncIterator[Finding]:
    """Compare rows of commits with the index, with their parents, and with their records."""
    commit_ids = [node.commit_id for node in nodes]
    known = await repository.index.readable(commits=commit_ids)
    records: dict[Packed, bytes] = {}
    async for at, data in read_each(
        repository, [node.record_at for node in nodes if node.record_at]
    ):
        if data is not None:
            records[at] = data
    for node in nodes:
        commit_id = node.commit_id
        wrong = await _index_is_wrong(repository, node, known.commits.get(commit_id))
        if wrong:
            yield Finding("commit", commit_id, wrong, REBUILD)
        if node.address.generation != 1 + max(
            (parent.generation for parent in node.parents), default=0
        ):
            yield Finding(
                "commit",
                commit_id,
                "has a generation that does not follow from its parents",
                REBUILD,
            )
        for finding in _record_findings(node, records):
            yield finding
        if node.snapshot_id and node.snapshot_at:
            seen.snapshots[node.snapshot_at] = node.snapshot_id
        elif node.snapshot_id and names.is_digest(node.snapshot_id):
            wrong = f"has a row without the location of snapshot {node.snapshot_id}"
            yield Finding("commit", commit_id, wrong, REBUILD)


async def _index_is_wrong(repository: RepoStores, node: Node, address: CommitAddress | None) -> str:
    """The fault of a commit's row in the index, which has this place; empty if there is none."""
    if address is None:
        return "has no row in the index of commits"
    if address.generation != node.address.generation:
        return "has another generation in the index than in its lane"
    if address != node.address and not await _is_there(repository, address):
        return f"has no row in lane {address.lane}, to which the index points"
    return ""


async def _is_there(repository: RepoStores, address: CommitAddress) -> bool:
    try:
        await repository.commits.get([address])
    except Damaged:
        return False
    return True


def _record_findings(node: Node, records: Mapping[Packed, bytes]) -> list[Finding]:
    if node.record_at and node.record_at not in records:
        wrong = f"has no readable record in pack {node.record_at.pack}"
        return [Finding("commit", node.commit_id, wrong, FROM_BACKUP)]
    wrong = _record_is_wrong(node, records)
    return [Finding("commit", node.commit_id, wrong, REBUILD)] if wrong else []


def _record_is_wrong(node: Node, records: Mapping[Packed, bytes]) -> str:
    """The fault of a commit's record; empty if there is none."""
    try:
        record = codec.unpack_record(commit_record(node, records))
        commit_id = str(record["commit_id"])
        snapshot_id = record["snapshot_id"]
        parents = [str(p) for p in (record["parent_commit_id"], record["parent2_commit_id"]) if p]
        digest = ids.commit_id(
            parents, snapshot_id or None, record["message"], record["committed_at"]
        )
    except Exception as error:  # a damaged record may fail in any way, and the check must continue
        return f"has a record that cannot be read ({type(error).__name__})"
    if commit_id != node.commit_id:
        return f"has the record of commit {commit_id}"
    if parents != [parent.commit_id for parent in node.parents]:
        return "has other parents in its row than in its record"
    if (snapshot_id or None) != node.snapshot_id:
        return "has another snapshot in its row than in its record"
    if names.is_digest(commit_id) and digest != commit_id:
        return f"has a record that hashes to {digest}"
    return ""


async def _snapshots(
    repository: RepoStores, seen: _Seen, on_progress: OnProgress
) -> AsyncIterator[Finding]:
    """Check the rows of snapshots, and compare their manifests with their ids."""
    checked = 0
    ordered = sorted(seen.snapshots.items(), key=lambda item: (item[1], str(item[0])))
    for group in chunked(ordered, GROUP):
        wanted = {snapshot_id for _, snapshot_id in group}
        known = await repository.index.readable(snapshots=wanted)
        rows = known.snapshots
        for snapshot_id in sorted(wanted - rows.keys()):
            yield Finding("snapshot", snapshot_id, "has no row in the index of snapshots", REBUILD)
        # The row and the commit may point to different packs, if the snapshot was sent twice.
        addresses = dict(group) | {at: snapshot_id for snapshot_id, at in rows.items()}
        async for at, data in read_each(repository, addresses):
            snapshot_id = addresses[at]
            if data is None:
                yield Finding(
                    "snapshot", snapshot_id, f"cannot be read from pack {at.pack}", FROM_BACKUP
                )
                continue
            try:
                entries = manifest(data)
                digest = ids.snapshot_id(entries)
            except Exception as error:  # as in `_record_is_wrong`
                wrong = f"has a manifest that cannot be read ({type(error).__name__})"
                yield Finding("snapshot", snapshot_id, wrong, FROM_BACKUP)
                continue
            if names.is_digest(snapshot_id) and digest != snapshot_id:
                yield Finding(
                    "snapshot", snapshot_id, f"has a manifest that hashes to {digest}", FROM_BACKUP
                )
            seen.objects.update(filter(seen.sample.has, entries.values()))
        checked += len(group)
        on_progress("snapshots", checked, len(seen.snapshots))


async def _objects(
    repository: RepoStores, seen: _Seen, on_progress: OnProgress
) -> AsyncIterator[Finding]:
    """Check the rows of objects, and compare their bytes with their ids."""
    checked = 0
    size_bytes = 0
    for group in chunked(sorted(seen.objects), 8 * GROUP):
        known = await repository.index.readable(objects=group)
        rows = known.objects
        packed = {at: object_id for object_id, at in rows.items() if isinstance(at, Packed)}
        for object_id in group:
            if object_id not in rows and names.is_digest(object_id):
                yield Finding("object", object_id, "has no row in the index of objects", REBUILD)
        async for at, data in read_each(repository, packed):
            object_id = packed[at]
            if data is None:
                yield Finding(
                    "object", object_id, f"cannot be read from pack {at.pack}", FROM_BACKUP
                )
                continue
            digest = ids.object_id(data)
            if names.is_digest(object_id) and digest != object_id:
                yield Finding("object", object_id, f"has bytes that hash to {digest}", FROM_BACKUP)
        loose = [object_id for object_id, at in rows.items() if isinstance(at, Loose)]
        for object_id in loose:
            try:
                digest = await repository.objects.digest(object_id)
            except Damaged:
                yield Finding(
                    "object",
                    object_id,
                    "is missing in the bucket, though its row says that it is stored by itself",
                    FROM_BACKUP,
                )
                continue
            if names.is_digest(object_id) and digest != object_id:
                yield Finding("object", object_id, f"has bytes that hash to {digest}", FROM_BACKUP)
        checked += len(group)
        size_bytes += sum(at.length for at in rows.values())
        on_progress("objects", checked, len(seen.objects), size_bytes)
