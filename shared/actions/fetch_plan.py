"""The plan of a fetch: reachable(want) − reachable(have), with their snapshots and objects.

    refs and ids of the request → walk → manifests → locations of the new objects → FetchResponse

The plan reads rows and manifests, and no content. `fetch_response` executes it.

The boundary are the commits just outside the difference; the client has them. Their objects are
subtracted. So one changed file costs one object and one manifest, not the whole tree.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from shared import codec, names
from shared.actions import visible
from shared.actions.bases import Bases
from shared.actions.fetch_response import (
    CommitList,
    FetchResponse,
    ObjectList,
    SnapshotList,
)
from shared.actions.prebuilt_prefix import VerifiedPrefix
from shared.errors import CommitNotFound, Damaged, TooLarge
from shared.graph.dag import Difference
from shared.model import (
    CommitAddress,
    CommitId,
    Node,
    ObjectId,
    Packed,
    PrebuiltClone,
    Sees,
    SnapshotId,
)
from shared.protocol.fetch import Fetch
from shared.stores import RepoStores
from shared.tasks import gather_pair

LOOKED_UP_HAVES = 200
"""A list of at most this many haves is looked up. A longer list is the whole history of the client:
it contains every commit at which the walk can leave that history, so no look-up is needed.
"""
KEPT_MANIFEST_BYTES = 12 * 1024 * 1024
"""The plan reads all manifests. It keeps this much of them; the response reads the others again."""
KEPT_COMMIT_BYTES = 4 * 1024 * 1024
"""The plan expands all records of rows, to know their sizes. It keeps this much of them."""
BOUNDARY_BYTES = 64 * 1024 * 1024
"""The most manifests of the boundary that are read.

Above it, the response can contain objects that the client has. It never lacks one.
"""


@dataclass(frozen=True, slots=True)
class ResolvedFetch:
    """The addresses of the commits in a request."""

    heads: Mapping[str, str]
    """The head of every branch."""
    want: Collection[CommitAddress]
    have: Collection[CommitAddress]
    client_history: Collection[str]
    """The haves of a client that sent its whole history; else empty."""
    prebuilt: PrebuiltClone | None
    """The prebuilt clone of the repository, for a client without commits."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The limit of a response in msgpack, before compression, and the bases of the client."""

    most_bytes: int
    bases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Base:
    """A prebuilt clone at the beginning of a response, and the ids in it.

    The ids are empty if the response contains nothing else.
    """

    prefix: VerifiedPrefix
    snapshots: Collection[SnapshotId]
    objects: Collection[bytes]


async def resolve(repository: RepoStores, request: Fetch, sees: Sees) -> ResolvedFetch:
    """The addresses of the ids in a request. Raises CommitNotFound with the unknown wants."""
    want = [names.check_id(commit_id, "commit") for commit_id in dict.fromkeys(request.want)]
    have = {commit_id for commit_id in request.have if names.is_id(commit_id)}
    if len(have) <= LOOKED_UP_HAVES:
        looked_up = have
    else:
        looked_up = set[CommitId]()
    prebuilt = None
    # Condemned rows count: a branch may reach them again.
    if want and not have:
        # A clone usually wants heads, whose rows contain the addresses.
        refs, prebuilt = await repository.refs.all_and_prebuilt_clone()
        others = set(want) - {ref.head.commit_id for ref in refs.values()}
        known = await repository.index.readable(commits=others)
    else:
        refs, known = await gather_pair(
            repository.refs.all(),
            repository.index.readable(commits=looked_up.union(want)),
        )
    heads = {ref.head.commit_id: ref.head for ref in refs.values()}
    addresses = known.commits | heads
    wanted = {commit_id: addresses[commit_id] for commit_id in want if commit_id in addresses}
    if sees is Sees.REACHED and not wanted.keys() <= heads.keys():
        # A client may have read the refs before a branch moved.
        wanted = await visible.reached(repository, wanted.values(), heads.values())
    unknown = [commit_id for commit_id in want if commit_id not in wanted]
    if unknown:
        raise CommitNotFound(unknown)
    return ResolvedFetch(
        heads={branch: ref.head.commit_id for branch, ref in refs.items()},
        want=[wanted[commit_id] for commit_id in want],
        have=[addresses[commit_id] for commit_id in looked_up if commit_id in addresses],
        client_history=have - looked_up,
        prebuilt=prebuilt,
    )


async def plan(
    repository: RepoStores,
    heads: Mapping[str, str],
    difference: Difference,
    allowed: Allowed,
    base: Base | None = None,
) -> FetchResponse:
    """The response with the commits of a difference, without the snapshots and objects of `base`.

    Raises TooLarge before any content is read, and Damaged if a record or an object is missing.
    """
    most_bytes = allowed.most_bytes
    wanted = difference.collected
    snapshots = _snapshots(wanted, base.snapshots if base else ())
    oldest_first = list(snapshots.values())[::-1]
    if base:
        prebuilt_bytes = base.prefix.prebuilt.size
    else:
        prebuilt_bytes = 0
    manifest_bytes = sum(at.length for at in oldest_first)
    commits = _commits(wanted, most_bytes, prebuilt_bytes + manifest_bytes)

    if base:
        boundary = []
    else:
        boundary = await boundary_manifests(repository, difference, wanted)
    bases = Bases(allowed.bases)
    manifests = _Manifests(bases, set(base.objects if base else ()))
    await manifests.read(repository, oldest_first, boundary)
    kept = [at for at in oldest_first if at in manifests.kept]
    response = FetchResponse(
        store=repository.objects,
        branch_heads=heads,
        commits=commits,
        snapshots=SnapshotList(
            ids=list(snapshots),
            records=list(bases.patched(manifests.kept[at] for at in kept)),
            packed=[at for at in snapshots.values() if at not in manifests.kept],
        ),
        objects=await _objects(repository, manifests.new_objects()),
        prefix=base.prefix if base else None,
    )
    check_size(response.size, most_bytes)
    return response


async def boundary_manifests(
    repository: RepoStores, difference: Difference, nodes: Iterable[Node]
) -> list[Packed]:
    """The manifests of the parents of these collected commits that the client has, newest first.

    The walk has read most of their rows.
    """
    boundary = difference.boundary(nodes)
    rows = {}
    missing = []
    for commit_id, address in boundary.items():
        row = difference.row(address)
        if row:
            rows[commit_id] = row
        else:
            missing.append(address)
    if missing:
        rows |= await repository.commits.get(missing)
    newest_first = sorted(rows.values(), key=lambda node: -node.address.generation)
    manifests = dict.fromkeys(node.snapshot_at for node in newest_first if node.snapshot_at)
    return list(_up_to(BOUNDARY_BYTES, manifests))


def check_size(size: int, most_bytes: int) -> None:
    """Raises TooLarge for a response above the limit."""
    if size > most_bytes:
        raise TooLarge(
            f"the reply would have {size} bytes or more, and {most_bytes} are sent at once: clone"
            " with `pieria clone URL DIRECTORY`, or pull through the relay (`pieria connect"
            " URL-OF-THE-HUB` prints the remote to add), which both read it in parts; without"
            " them, pull the branches one by one, oldest first, into an empty repository"
        )


def _snapshots(nodes: Iterable[Node], sent: Collection[str]) -> dict[SnapshotId, Packed]:
    """The location of each snapshot of these commits, without those of `sent`."""
    found = {}
    for node in nodes:
        if node.snapshot_at and node.snapshot_id and node.snapshot_id not in sent:
            found[node.snapshot_id] = node.snapshot_at
    return found


def _commits(nodes: Sequence[Node], most_bytes: int, other_bytes: int) -> CommitList:
    """The records of these commits. `other_bytes`: the size of the rest of the response.

    Records are expanded only as far as the response fits into `most_bytes`. Raises TooLarge, and
    Damaged for a commit without a record.
    """
    compressed = []
    packed = []
    for node in nodes:
        if node.record is not None:
            compressed.append(node.record)
        elif node.record_at:
            packed.append(node.record_at)
        else:
            raise Damaged(f"the record of commit {node.commit_id}")
    other_bytes += sum(at.length for at in packed)
    records = []
    row_bytes = 0
    for record in compressed:
        check_size(other_bytes + row_bytes, most_bytes)
        expanded = zlib.decompress(record)
        row_bytes += len(expanded)
        if row_bytes <= KEPT_COMMIT_BYTES:
            records.append(expanded)
    check_size(other_bytes + row_bytes, most_bytes)
    return CommitList(records, compressed[len(records) :], row_bytes, packed)


async def _objects(repository: RepoStores, object_ids: Sequence[ObjectId]) -> ObjectList:
    """The locations of these objects. Raises Damaged if one is missing.

    An opaque id can be absent: its object may never have been sent. The object of a digest was
    verified when its snapshot was accepted.
    """
    known = await repository.index.readable(objects=object_ids)
    locations = {i: known.objects[i] for i in object_ids if i in known.objects}
    absent = [object_id for object_id in object_ids if object_id not in locations]
    for object_id in absent:
        if names.is_digest(object_id):
            raise Damaged(f"object {object_id}")
    return ObjectList(locations, absent)


def _up_to(size: int, locations: Iterable[Packed]) -> Iterator[Packed]:
    for at in locations:
        size -= at.length
        if size < 0:
            return
        yield at


class _Manifests:
    """The manifests that a plan reads: those to send, and those of the boundary."""

    def __init__(self, bases: Bases, client_objects: set[bytes]) -> None:
        self.kept: dict[Packed, bytes] = {}
        self._bases = bases
        self._client_objects = client_objects
        self._paths: dict[bytes, bytes] = {}
        self._room = KEPT_MANIFEST_BYTES

    async def read(
        self,
        repository: RepoStores,
        wanted: Collection[Packed],
        boundary: Collection[Packed],
    ) -> None:
        """Read the manifests to send (`wanted`) and those that the client has (`boundary`)."""
        to_send = set(wanted)
        of_client = set(boundary)
        found = repository.objects.each_packed(to_send | of_client)
        async with aclosing(found) as records:
            async for at, record in records:
                manifest = codec.unpack_raw(record)[b"manifest"]
                if at in of_client:
                    self._client_objects.update(manifest.values())
                    self._bases.see(record)
                if at in to_send:
                    self._add(at, record, manifest)

    def new_objects(self) -> list[ObjectId]:
        """The objects that the client lacks, by path: versions of one file are neighbours."""
        new = self._paths.keys() - self._client_objects
        return [
            ObjectId(object_id.decode()) for object_id in sorted(new, key=self._paths.__getitem__)
        ]

    def _add(self, at: Packed, record: bytes, manifest: Mapping[bytes, bytes]) -> None:
        self._paths.update(zip(manifest.values(), manifest, strict=True))
        self._room -= len(record)
        if self._room >= 0:
            self.kept[at] = record
