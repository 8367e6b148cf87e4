"""What a client lacks: reachable(want) − reachable(have), with the snapshots and objects it needs.

    refs and the ids that were sent → lanes → manifests → where the new objects lie → how long the answer is
    → the answer, piece by piece: large records, manifests that were not kept, objects

The objects of the boundary (the commits just outside the difference, which the client has) are subtracted:
one changed file costs one object and one manifest, not the whole tree.

An answer may be larger than memory, so it is never whole: two windows of it are (`packs.WINDOW`), and up to
`KEPT_BYTES` of manifests. Its exact length is known before its first byte, from rows alone.
"""

import zlib
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from shared import codec, names, packs, wire
from shared.actions import walk
from shared.dag import Difference
from shared.errors import CommitNotFound, Damaged, TooLarge
from shared.model import Location, Node, Repo
from shared.objects.store import ObjectStore
from shared.packs import Span
from shared.stores import Stores
from shared.tasks import pair

SHORT_LIST = 200
"""Up to so many haves are looked up, and subtracted from wherever they lie. A longer list is the client's
whole history: it contains every commit where the walk could leave it, and needs no look-up at all."""
KEPT_BYTES = 12 * 1024 * 1024
"""Manifests have to be read before anything is sent. So much of them is kept till then; more is read twice."""
KEPT_COMMITS_BYTES = 4 * 1024 * 1024
"""Commits' records have to be unpacked to know how long they are. So much is kept; more is unpacked twice."""
BOUNDARY_BYTES = 64 * 1024 * 1024
"""Manifests read of what the client has. Beyond, objects are sent that it may have: never less than it lacks."""

JSON_BYTES = 16 * 1024 * 1024
"""The largest answer in JSON, which is made in memory."""

GATHERED_BYTES = 256 * 1024
"""Small objects are given out many at once: to hand them on one by one takes longer than to hash them."""

Reads = AsyncGenerator[tuple[Span, bytes], None]


@dataclass(frozen=True)
class Fetched:
    """What a fetch sends: where it lies, and how long it is. Nothing of it has been read but manifests."""

    store: ObjectStore
    repo_id: str
    branch_heads: Mapping[str, str]
    commits: Sequence[bytes]
    """The records that lie in rows, as msgpack: those that were kept."""
    other_commits: Sequence[bytes]
    """The others, zlib-compressed as they lie."""
    commits_size: int
    """The bytes of both when they are not."""
    large_commits: Collection[Location]
    manifests: Mapping[Location, bytes]
    """The snapshots' records that were kept."""
    other_manifests: Collection[Location]
    objects: Mapping[str, Location]

    @cached_property
    def size(self) -> int:
        """The bytes of the answer in msgpack, exactly, if msgpack can say it at all."""
        lying = [*self.large_commits, *self.manifests, *self.other_manifests, *self.objects.values()]
        starts = (len(codec.object_start(i, min(at.length, 0xFFFF_FFFF))) for i, at in self.objects.items())
        return self.commits_size + sum(at.length for at in lying) + sum(starts) + sum(map(len, self._list_starts()))

    async def in_msgpack(self) -> AsyncGenerator[bytes, None]:
        """The answer's body. Stored records are put in as they lie, without being unpacked.

        Nothing is given out before the first window has been read: what fails until then can still be
        answered otherwise. After that, Damaged and Unavailable mean that the answer has to be broken off.
        """
        large, others = packs.plan(self.large_commits), packs.plan(self.other_manifests)
        packed = packs.plan(at for at in self.objects.values() if at.length and not at.is_loose)
        loose = {i: packs.plan_loose(i, at) for i, at in self.objects.items() if at.length and at.is_loose}
        spans = [*large, *others, *packed, *(span for spans in loose.values() for span in spans)]
        async with aclosing(await self.store.read_ahead(self.repo_id, spans)) as reads:
            start, commits, snapshots, objects = self._list_starts()
            yield start + commits
            for record in self.commits:
                yield record
            for record in self.other_commits:
                yield zlib.decompress(record)
            async for _, record in _entries(reads, len(large)):
                yield record
            yield snapshots
            for record in self.manifests.values():
                yield record
            async for _, record in _entries(reads, len(others)):
                yield record
            yield objects
            for object_id, at in self.objects.items():
                if not at.length:
                    yield codec.object_start(object_id, 0)
            ids = {at: object_id for object_id, at in self.objects.items()}
            for _ in packed:
                for piece in _packed_objects(*await anext(reads), ids):
                    yield piece
            for object_id, parts in loose.items():
                yield codec.object_start(object_id, self.objects[object_id].length)
                digest = sha256()
                for number in range(len(parts)):
                    _, content = await anext(reads)
                    digest.update(content)
                    if number == len(parts) - 1:
                        # Without its last part an answer is no msgpack, and shorter than it was said to be.
                        _check(object_id, digest.hexdigest())
                    yield content

    async def in_json(self, most: int) -> bytes:
        """The same for a reader of JSON, whole; contents are base64. Raises TooLarge for more than `most` bytes, or
        than are fit to be in memory several times.
        """
        most = min(most, JSON_BYTES)
        too_large = TooLarge(
            f"the answer would have more than {most} bytes of JSON; ask for it with Accept: {codec.MSGPACK}, or fetch"
            " with more haves"
        )
        if self.size > most:
            raise too_large
        async with aclosing(self.in_msgpack()) as pieces:
            value = codec.unpack_record(b"".join([piece async for piece in pieces]))
        for item in value["objects"]:
            item["encoding"] = "base64"
        body = codec.encode(value, as_msgpack=False)
        # Lambda carries it as a text in JSON of its own, and may carry a third more than `most`: it is for base64.
        if len(body) > most or len(body) + body.count(b'"') + body.count(b"\\") > most * 4 // 3:
            raise too_large
        return body

    def _list_starts(self) -> tuple[bytes, bytes, bytes, bytes]:
        """What stands before everything, and before the entries of each list."""
        counts = {
            "commits": len(self.commits) + len(self.other_commits) + len(self.large_commits),
            "snapshots": len(self.manifests) + len(self.other_manifests),
            "objects": len(self.objects),
        }
        commits, snapshots, objects = (codec.list_start(name, count) for name, count in counts.items())
        return codec.map_start(len(counts), {"branch_heads": dict(self.branch_heads)}), commits, snapshots, objects


async def fetch(stores: Stores, repo: Repo, request: wire.Fetch) -> Fetched:
    """The difference, whole. Raises CommitNotFound naming unknown wants; unknown haves are ignored.

    Raises TooLarge, before any content is read, for more than is sent at once, and Damaged rather than ever
    leave something out.
    """
    most = stores.settings.max_reply_bytes
    heads, difference = await _difference(stores, repo, request)
    wanted = difference.collected
    if lost := [node for node in wanted if node.record is None and node.record_at is None]:
        raise Damaged(f"the record of commit {lost[0].commit_id}")
    compressed = [node.record for node in wanted if node.record is not None]
    large = [node.record_at for node in wanted if node.record is None and node.record_at]
    snapshots = {node.snapshot_id: node.snapshot_at for node in wanted if node.snapshot_id and node.snapshot_at}
    lying = sum(at.length for at in (*large, *snapshots.values()))
    commits, commits_size = list[bytes](), 0
    for number, record in enumerate(compressed):
        _check_size(lying + commits_size, most)
        commits_size += len(unpacked := zlib.decompress(record))
        if commits_size <= KEPT_COMMITS_BYTES and number == len(commits):
            commits.append(unpacked)
    _check_size(lying + commits_size, most)

    boundary = await _boundary(stores, repo, difference)
    new, manifests = await _new_objects(stores, repo, list(snapshots.values()), boundary)
    objects = (await stores.index.known(repo.repo_id, objects=new, even_condemned=True)).objects
    # An opaque id may name what was never sent; a digest was proven when its snapshot was accepted.
    if lost_objects := [i for i in new - objects.keys() if names.is_digest(i)]:
        raise Damaged(f"object {lost_objects[0]}")
    fetched = Fetched(
        store=stores.objects,
        repo_id=repo.repo_id,
        branch_heads=heads,
        commits=commits,
        other_commits=compressed[len(commits) :],
        commits_size=commits_size,
        large_commits=large,
        manifests=manifests,
        other_manifests=[at for at in snapshots.values() if at not in manifests],
        objects=objects,
    )
    _check_size(fetched.size, most)
    return fetched


async def _difference(stores: Stores, repo: Repo, request: wire.Fetch) -> tuple[dict[str, str], Difference]:
    """Where every branch is, and the commits that are wanted and not had, walked to the end."""
    want = [names.check_id(commit_id, "commit") for commit_id in dict.fromkeys(request.want)]
    have = {commit_id for commit_id in request.have if names.is_id(commit_id)}
    looked_up = have if len(have) <= SHORT_LIST else set[str]()
    refs, known = await pair(
        stores.refs.all(repo.repo_id),
        # Reading, a condemned row is as good as any: it may well be reached from a branch.
        stores.index.known(repo.repo_id, commits=looked_up.union(want), even_condemned=True),
    )
    places = known.commits | {ref.head.commit_id: ref.head for ref in refs.values()}
    if unknown := [commit_id for commit_id in want if commit_id not in places]:
        raise CommitNotFound(unknown)
    difference = Difference(
        want=[places[i] for i in want],
        have=[places[i] for i in looked_up if i in places],
        held=have - looked_up,
    )
    await walk.run(stores.commits, repo.repo_id, difference)
    return {branch: ref.head.commit_id for branch, ref in refs.items()}, difference


async def _boundary(stores: Stores, repo: Repo, difference: Difference) -> list[Location]:
    """The manifests of the commits just outside, newest first; most of their rows came along with the walk."""
    boundary = difference.boundary()
    rows = {i: row for i in boundary if (row := difference.row(i))}
    missing = [place for i, place in boundary.items() if i not in rows]
    if missing:
        rows |= await stores.commits.get(repo.repo_id, missing)
    newest_first = sorted(rows.values(), key=lambda node: -node.place.generation)
    return list(_up_to(BOUNDARY_BYTES, dict.fromkeys(node.snapshot_at for node in newest_first if node.snapshot_at)))


def _up_to(size: int, locations: Iterable[Location]) -> Iterator[Location]:
    for at in locations:
        size -= at.length
        if size < 0:
            return
        yield at


async def _new_objects(
    stores: Stores, repo: Repo, wanted: Collection[Location], boundary: Collection[Location]
) -> tuple[set[str], dict[Location, bytes]]:
    """The objects of the manifests wanted that are in none of the boundary, and those manifests that are kept."""
    new, had, kept, room = set[bytes](), set[bytes](), dict[Location, bytes](), KEPT_BYTES
    is_wanted, is_boundary = set(wanted), set(boundary)
    async with aclosing(stores.objects.each_packed(repo.repo_id, is_wanted | is_boundary)) as records:
        async for at, record in records:
            object_ids = codec.unpack_raw(record)[b"manifest"].values()
            if at in is_boundary:
                had.update(object_ids)
            if at in is_wanted:
                new.update(object_ids)
                room -= len(record)
                if room >= 0:
                    kept[at] = record
    return {object_id.decode() for object_id in new - had}, kept


async def _entries(reads: Reads, spans: int) -> AsyncGenerator[tuple[Location, bytes], None]:
    """What lies in the next so many spans of packs."""
    for _ in range(spans):
        span, data = await anext(reads)
        for entry in span.cut(data):
            yield entry


def _packed_objects(span: Span, data: bytes, ids: Mapping[Location, str]) -> Iterator[bytes]:
    """The objects in a span as they are sent, many of them in each piece."""
    gathered: list[bytes | memoryview] = []
    size = 0
    for at, content in span.cut(memoryview(data)):
        _check(object_id := ids[at], sha256(content).hexdigest())
        gathered += codec.object_start(object_id, at.length), content
        size += at.length
        if size >= GATHERED_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def _check(object_id: str, digest: str) -> None:
    if object_id != digest and names.is_digest(object_id):
        raise Damaged(f"the content of object {object_id}")


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(
            f"the answer would have {size} bytes or more, and {most} are sent at once: init an empty repository and"
            " pull the branches one by one, oldest first; for one too large by itself, have an older commit of it"
            " pushed as a branch, and pull that first. Whoever runs the hub may send more (PIERIA_MAX_REPLY_BYTES)"
        )


def manifest(record: bytes) -> dict[str, str]:
    """The manifest in a packed snapshot record."""
    entries: dict[str, str] = codec.unpack_record(record)["manifest"]
    return entries


def commit_record(node: Node, records: Mapping[Location, bytes]) -> bytes:
    """The packed record of a commit, from its row or from what was read of packs."""
    if node.record is not None:
        return zlib.decompress(node.record)
    if node.record_at is None:
        raise Damaged(f"the record of commit {node.commit_id}")
    return records[node.record_at]
