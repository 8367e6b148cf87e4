"""Is everything there that a clone of any branch needs, and is all of it true?

    refs → rows of commits → their records → rows of snapshots → manifests → rows of objects → bytes

Everything is read once. In memory are the ids of what was seen and at most `GROUP_BYTES` of content.
Nothing is fixed here: each finding names its fix.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

from shared import codec, ids, names
from shared.actions import bundles
from shared.actions.lineage import lineage
from shared.actions.records import commit_record, manifest
from shared.errors import Damaged, TooLarge
from shared.metadata.table import split
from shared.model import Bundle, Location, Node, Place, Ref, Repo
from shared.progress import Tell, silent
from shared.stores import Stores

T = TypeVar("T")

GROUP = 500
"""Commits, snapshots or objects looked at together."""
GROUP_BYTES = 32 * 1024 * 1024
"""Bytes of packs in memory at once."""

REBUILD = "run rebuild-index: the packs may still hold it"
PUSH_AGAIN = "push it again from a clone that has it"
RESTORE = "restore the branch to one of its earlier moves, or push it again from a clone that has it"
BUNDLE_AGAIN = "run repo bundle, which makes another; until then clones are answered without it, from the packs"
FROM_BACKUP = "bring the bytes back from an older version in the bucket, or push them again from a clone"

"""Told what is being counted, and how many there are so far."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the `kind` (`ref`, `commit`, `snapshot`, `object`, `bundle`) and the id of the damaged item, and the
    fix."""

    kind: str
    id: str
    wrong: str
    fix: str


@dataclass(slots=True)
class _Seen:
    """What the walk leads to, to be looked at after it."""

    snapshots: dict[Location, str] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)


async def fsck(stores: Stores, repo: Repo, tell: Tell = silent) -> AsyncIterator[Finding]:
    """Everything that is wrong with what the branches of a repository lead to; nothing, if it is whole."""
    refs, bundle = await stores.refs.all_and_bundle(repo.repo_id)
    heads: dict[Place, list[Ref]] = {}
    for ref in refs.values():
        heads.setdefault(ref.head, []).append(ref)
    seen = _Seen()
    group: list[Node] = []
    walked = 0
    async for place, node in lineage(stores.commits, repo.repo_id, heads):
        for ref in heads.get(place, ()):
            if node is None:
                yield Finding("ref", ref.branch, f"points at commit {place.commit_id}, which has no row", RESTORE)
            elif ref.snapshot_at and not node.snapshot_id:
                yield Finding("ref", ref.branch, "says where a snapshot lies, and its head has none", REBUILD)
            elif ref.snapshot_at and node.snapshot_id:
                # Perhaps another place than the commit says: two pushes at once may both have brought it.
                seen.snapshots[ref.snapshot_at] = node.snapshot_id
        if node is None:
            if place not in heads:
                yield Finding("commit", place.commit_id, f"has no row in lane {place.lane}", REBUILD)
            continue
        group.append(node)
        if len(group) == GROUP:
            walked += len(group)
            tell("commits", walked)
            async for finding in _commits(stores, repo, group, seen):
                yield finding
            group = []
    async for finding in _commits(stores, repo, group, seen):
        yield finding
    tell("commits", walked + len(group))
    async for finding in _snapshots(stores, repo, seen, tell):
        yield finding
    async for finding in _objects(stores, repo, seen, tell):
        yield finding
    if bundle and (wrong := await _bundle_is_wrong(stores, repo, bundle)):
        yield Finding("bundle", bundle.name, wrong, BUNDLE_AGAIN)


async def _bundle_is_wrong(stores: Stores, repo: Repo, bundle: Bundle) -> str:
    try:
        return await bundles.wrong(stores, repo, bundle)
    except (Damaged, TooLarge) as error:
        return f"cannot be compared with what its heads lead to: {error.message}"


async def _commits(stores: Stores, repo: Repo, nodes: Sequence[Node], seen: _Seen) -> AsyncIterator[Finding]:
    """Rows of commits against each other, against their records, and against the index."""
    known = await stores.index.known(repo.repo_id, commits=[n.commit_id for n in nodes], even_condemned=True)
    large = {node.record_at: node for node in nodes if node.record_at}
    records: dict[Location, bytes] = {}
    async for at, data in read_each(stores, repo, large):
        if data is not None:
            records[at] = data
    for node in nodes:
        commit_id, place = node.commit_id, known.commits.get(node.commit_id)
        if place is None:
            yield Finding("commit", commit_id, "has no row in the index of commits", REBUILD)
        elif place.generation != node.place.generation:
            yield Finding("commit", commit_id, "has another generation in the index than in its lane", REBUILD)
        elif place != node.place and not await _is_there(stores, repo, place):
            yield Finding("commit", commit_id, f"is said to be in lane {place.lane}, where it is not", REBUILD)
        if node.place.generation != 1 + max((parent.generation for parent in node.parents), default=0):
            yield Finding("commit", commit_id, "has a generation that does not follow from its parents'", REBUILD)
        if node.record_at and node.record_at not in records:
            yield Finding("commit", commit_id, f"has no readable record in pack {node.record_at.pack}", FROM_BACKUP)
        elif wrong := _record_is_wrong(node, records):
            yield Finding("commit", commit_id, wrong, REBUILD)
        if node.snapshot_id and node.snapshot_at:
            seen.snapshots[node.snapshot_at] = node.snapshot_id
        elif node.snapshot_id and names.is_digest(node.snapshot_id):
            yield Finding("commit", commit_id, f"does not say where snapshot {node.snapshot_id} lies", REBUILD)


async def _is_there(stores: Stores, repo: Repo, place: Place) -> bool:
    try:
        await stores.commits.get(repo.repo_id, [place])
    except Damaged:
        return False
    return True


def _record_is_wrong(node: Node, records: dict[Location, bytes]) -> str:
    try:
        record = codec.unpack_record(commit_record(node, records))
        commit_id, snapshot_id = str(record["commit_id"]), record["snapshot_id"]
        parents = [str(p) for p in (record["parent_commit_id"], record["parent2_commit_id"]) if p]
        digest = ids.commit_id(parents, snapshot_id or None, record["message"], record["committed_at"])
    except Exception as error:  # a damaged record may fail in any way; none of them may end the check
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


async def _snapshots(stores: Stores, repo: Repo, seen: _Seen, tell: Tell) -> AsyncIterator[Finding]:
    """Rows of snapshots, and their manifests against their ids."""
    checked = 0
    for group in split(sorted(seen.snapshots.items(), key=lambda item: (item[1], str(item[0]))), GROUP):
        wanted = {snapshot_id for _, snapshot_id in group}
        rows = (await stores.index.known(repo.repo_id, snapshots=wanted, even_condemned=True)).snapshots
        for snapshot_id in sorted(wanted - rows.keys()):
            yield Finding("snapshot", snapshot_id, "has no row in the index of snapshots", REBUILD)
        # The row and the commit may name different packs, when it was sent twice.
        places = dict(group) | {at: snapshot_id for snapshot_id, at in rows.items()}
        async for at, data in read_each(stores, repo, places):
            snapshot_id = places[at]
            if data is None:
                yield Finding("snapshot", snapshot_id, f"cannot be read from pack {at.pack}", FROM_BACKUP)
                continue
            try:
                entries = manifest(data)
                digest = ids.snapshot_id(entries)
            except Exception as error:  # as above
                wrong = f"cannot be understood ({type(error).__name__})"
                yield Finding("snapshot", snapshot_id, wrong, FROM_BACKUP)
                continue
            if names.is_digest(snapshot_id) and digest != snapshot_id:
                yield Finding("snapshot", snapshot_id, f"has a manifest that hashes to {digest}", FROM_BACKUP)
            seen.objects.update(entries.values())
        checked += len(group)
        tell("snapshots", checked, len(seen.snapshots))


async def _objects(stores: Stores, repo: Repo, seen: _Seen, tell: Tell) -> AsyncIterator[Finding]:
    """Rows of objects, and their bytes against their ids."""
    checked = 0
    size_bytes = 0
    for group in split(sorted(seen.objects), 8 * GROUP):
        rows = (await stores.index.known(repo.repo_id, objects=group, even_condemned=True)).objects
        packed = {at: object_id for object_id, at in rows.items() if not at.is_loose}
        for object_id in group:
            if object_id not in rows and names.is_digest(object_id):
                yield Finding("object", object_id, "has no row in the index of objects", REBUILD)
        async for at, data in read_each(stores, repo, packed):
            object_id = packed[at]
            if data is None:
                yield Finding("object", object_id, f"cannot be read from pack {at.pack}", FROM_BACKUP)
            elif names.is_digest(object_id) and (digest := ids.object_id(data)) != object_id:
                yield Finding("object", object_id, f"has bytes that hash to {digest}", FROM_BACKUP)
        for object_id in (i for i, at in rows.items() if at.is_loose):
            try:
                digest = await stores.objects.digest(repo.repo_id, object_id)
            except Damaged:
                yield Finding("object", object_id, "is said to lie by itself, where it does not", FROM_BACKUP)
                continue
            if names.is_digest(object_id) and digest != object_id:
                yield Finding("object", object_id, f"has bytes that hash to {digest}", FROM_BACKUP)
        checked += len(group)
        size_bytes += sum(at.length for at in rows.values())
        tell("objects", checked, len(seen.objects), size_bytes)


async def read_each(
    stores: Stores, repo: Repo, wanted: Iterable[Location]
) -> AsyncIterator[tuple[Location, bytes | None]]:
    """The bytes at each place, or None where there are none; a few megabytes at a time, pack by pack."""
    sized = by_size(sorted(wanted, key=lambda at: (at.pack, at.offset)), GROUP_BYTES, attrgetter("length"))
    for group in (part for run in sized for part in split(run, GROUP)):  # each may lie in a pack of its own
        try:
            found = await stores.objects.read_packed(repo.repo_id, group)
        except Damaged:
            found = {}
        for at in group:
            if at in found:
                yield at, found[at]
                continue
            try:
                yield at, (await stores.objects.read_packed(repo.repo_id, [at]))[at]
            except Damaged:
                yield at, None


def by_size(items: Iterable[T], most: int, size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Things in runs of at most so many bytes together; what is larger is a run of its own."""
    group: list[T] = []
    size = 0
    for item in items:
        if group and size + size_of(item) > most:
            yield group
            group, size = [], 0
        group.append(item)
        size += size_of(item)
    if group:
        yield group
