"""What a client lacks: reachable(want) − reachable(have), with the snapshots and objects it needs.

    refs and the ids that were sent → lanes → manifests → where the new objects lie → their bytes

The objects of the boundary (the commits just outside the difference, which the client has) are subtracted:
one changed file costs one object and one manifest, not the whole tree.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from shared import codec, names, wire
from shared.actions import walk
from shared.dag import Difference
from shared.errors import CommitNotFound, Damaged, TooLarge
from shared.model import Location, Node, Repo
from shared.stores import Stores
from shared.tasks import all_of, pair

SHORT_LIST = 200
"""Up to so many haves are looked up, and subtracted from wherever they lie. A longer list is the client's
whole history: it contains every commit where the walk could leave it, and needs no look-up at all."""
REPLY_BYTES = 64 * 1024 * 1024
"""The most that the stock client reads of one reply."""
ENVELOPE_BYTES = 128
"""What an object's id and keys take beside its content."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch sends. Commits and snapshots are packed records, as they came."""

    commits: list[bytes]
    snapshots: list[bytes]
    objects: Mapping[str, bytes]
    branch_heads: Mapping[str, str]


async def fetch(stores: Stores, repo: Repo, request: wire.Fetch) -> Fetched:
    """The difference, whole. Raises CommitNotFound naming unknown wants; unknown haves are ignored.

    Raises TooLarge, before the content is read, for more than the stock client accepts in one reply, and
    Damaged rather than ever leave something out.
    """
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
    wanted = difference.collected
    boundary = await _boundary(stores, repo, difference)
    records = await _read_records(stores, repo, wanted, boundary)
    commits = [commit_record(node, records) for node in wanted]
    snapshots = _snapshots(wanted, records)
    new = {i for record in snapshots.values() for i in manifest(record).values()}
    had = {i for record in _snapshots(boundary, records).values() for i in manifest(record).values()}
    sizes = sum(map(len, commits)) + sum(map(len, snapshots.values()))
    objects = await _objects(stores, repo, new - had, REPLY_BYTES - sizes)
    return Fetched(commits, list(snapshots.values()), objects, {b: ref.head.commit_id for b, ref in refs.items()})


def in_msgpack(fetched: Fetched) -> bytes:
    """The reply's body. Stored records are put in as they lie, without being unpacked."""
    return codec.pack_map_of_lists(
        {
            "commits": fetched.commits,
            "snapshots": fetched.snapshots,
            "objects": [
                codec.pack_record({"object_id": object_id, "content": content})
                for object_id, content in fetched.objects.items()
            ],
        },
        {"branch_heads": dict(fetched.branch_heads)},
    )


def in_json(fetched: Fetched) -> bytes:
    """The same for a reader of JSON; contents are base64."""
    return codec.encode(
        {
            "branch_heads": dict(fetched.branch_heads),
            "commits": [codec.unpack_record(record) for record in fetched.commits],
            "snapshots": [codec.unpack_record(record) for record in fetched.snapshots],
            "objects": [
                {"object_id": object_id, "content": content, "encoding": "base64"}
                for object_id, content in fetched.objects.items()
            ],
        },
        as_msgpack=False,
    )


async def _boundary(stores: Stores, repo: Repo, difference: Difference) -> list[Node]:
    """The rows of the commits just outside; most came along with the walk."""
    boundary = difference.boundary()
    rows = {i: row for i in boundary if (row := difference.row(i))}
    missing = [place for i, place in boundary.items() if i not in rows]
    if missing:
        rows |= await stores.commits.get(repo.repo_id, missing)
    return list(rows.values())


async def _read_records(
    stores: Stores, repo: Repo, wanted: Sequence[Node], boundary: Sequence[Node]
) -> dict[Location, bytes]:
    """The packed records of these commits: manifests, and commits too large for their rows."""
    manifests = {node.snapshot_at for node in (*wanted, *boundary) if node.snapshot_at}
    large = {node.record_at for node in wanted if node.record_at}
    _check_size(sum(at.length for at in manifests | large), REPLY_BYTES)
    return await stores.objects.read_packed(repo.repo_id, manifests | large)


async def _objects(stores: Stores, repo: Repo, object_ids: Set[str], room: int) -> dict[str, bytes]:
    """The contents of these objects, if there is room for them in the reply.

    An opaque id may name what was never sent; a digest was proven when its snapshot was accepted.
    """
    locations = (await stores.index.known(repo.repo_id, objects=object_ids, even_condemned=True)).objects
    if lost := [i for i in object_ids - locations.keys() if names.is_digest(i)]:
        raise Damaged(f"object {lost[0]}")
    _check_size(sum(at.length + ENVELOPE_BYTES for at in locations.values()), room)
    loose = [i for i, at in locations.items() if at.is_loose]
    packed, large = await pair(
        stores.objects.read_packed(repo.repo_id, {at for at in locations.values() if not at.is_loose}),
        all_of(stores.objects.read_loose(repo.repo_id, i, locations[i]) for i in loose),
    )
    contents = {i: packed[at] for i, at in locations.items() if not at.is_loose}
    return contents | dict(zip(loose, large, strict=True))


def _check_size(size: int, room: int) -> None:
    if size > room:
        raise TooLarge(
            f"the answer would exceed the {REPLY_BYTES} bytes that a client reads at once; init an empty repository"
            " and pull its older branches one after the other, or fetch with more haves"
        )


def _snapshots(nodes: Iterable[Node], records: Mapping[Location, bytes]) -> dict[str, bytes]:
    """The packed snapshot records of these commits, by id."""
    return {node.snapshot_id: records[node.snapshot_at] for node in nodes if node.snapshot_id and node.snapshot_at}


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
