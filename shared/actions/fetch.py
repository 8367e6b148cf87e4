"""What a client lacks: reachable(want) − reachable(have), with the snapshots and objects it needs.

    refs and the ids that were sent → lanes → manifests → where the new objects lie → the answer (see `answer`)

The objects of the boundary (the commits just outside the difference, which the client has) are
subtracted: one changed file costs one object and one manifest, not the whole tree.

Who has nothing is answered with the repository's bundle, if there is one (see `prebuilt_clones`),
and with what has come on top of it: as if it was the bundle's heads that he has. That is allowed
when all that the bundle holds is wanted: then each of its heads is a want or a parent of a commit
that the walk has collected, since none of them is an ancestor of another. A bundle that is not, or
that cannot be read, is as good as none.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256

from shared import codec, names, packs, wire
from shared.actions import visible
from shared.actions.bases import Bases
from shared.actions.fetch_response import FetchResponse, VerifiedPrefix, check_range
from shared.errors import CommitNotFound, Damaged, TooLarge
from shared.graph import walk
from shared.graph.dag import Difference
from shared.model import CommitAddress, Location, Node, PrebuiltClone, Repo, Sees
from shared.stores import Stores
from shared.tasks import gather_pair

SHORT_LIST = 200
"""Up to so many haves are looked up, and subtracted from wherever they lie. A longer list is the
client's whole history: it contains every commit where the walk could leave it, and needs no look-up
at all.
"""
KEPT_BYTES = 12 * 1024 * 1024
"""Manifests have to be read before anything is sent.

So much of them is kept till then; more is read twice.
"""
KEPT_COMMITS_BYTES = 4 * 1024 * 1024
"""Commits' records have to be unpacked to know how long they are.

So much is kept; more is unpacked twice.
"""
BOUNDARY_BYTES = 64 * 1024 * 1024
"""Manifests read of what the client has.

Beyond, objects are sent that it may have: never less than it lacks.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with the places of all that it names: where every branch is, what is wanted and
    had, `held` as in `Difference`, and the prebuilt clone for a client that has nothing.
    """

    heads: Mapping[str, str]
    want: Collection[CommitAddress]
    have: Collection[CommitAddress]
    held: Collection[str]
    prebuilt: PrebuiltClone | None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The most bytes of a reply in msgpack, before it is compressed; and the bases that the client
    offers.
    """

    most_bytes: int
    bases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Base:
    """A bundle that is sent, and the ids of the snapshots and objects in it, if anything comes on
    top.
    """

    prepared: VerifiedPrefix
    snapshots: Collection[str]
    objects: Collection[bytes]


async def fetch(
    stores: Stores, repo: Repo, request: wire.Fetch, sees: Sees, most_bytes: int | None = None
) -> FetchResponse:
    """The whole difference. Unknown haves are ignored. `most_bytes`: the most that is sent at once,
    if another limit than that of the settings holds.

    Raises CommitNotFound, which names unknown wants; TooLarge before any content is read; and
    Damaged if anything is missing.
    """
    most = most_bytes or stores.settings.max_reply_bytes
    asked = await ask(stores, repo, request, sees)
    if asked.prebuilt:
        try:
            if found := await _on_prebuilt(stores, repo, asked, asked.prebuilt, most):
                return found
        except Damaged:
            pass  # what it was made of is there all the same
    difference = Difference(asked.want, asked.have, asked.held)
    await walk.run(stores.commits, repo.repo_id, difference)
    return await gather(stores, repo, asked.heads, difference, Allowed(most, request.bases))


async def _on_prebuilt(
    stores: Stores, repo: Repo, asked: Asked, prebuilt: PrebuiltClone, most: int
) -> FetchResponse | None:
    """The answer with the bundle in it; None if not all that the bundle holds is wanted.

    Raises Damaged.
    """
    difference = Difference(asked.want, (*prebuilt.heads, *prebuilt.merged))
    await walk.run(stores.commits, repo.repo_id, difference)
    wanted = {address.commit_id for address in asked.want}
    wanted |= {parent.commit_id for node in difference.collected for parent in node.parents}
    if not wanted.issuperset(head.commit_id for head in prebuilt.heads):
        return None
    _check_size(prebuilt.size, most)
    spans = packs.plan_prebuilt(prebuilt.name, prebuilt.stored_size, prebuilt.range_size)
    snapshots, objects = set[str](), set[bytes]()
    if difference.collected:
        begun, ids = await gather_pair(
            stores.objects.begin(repo.repo_id, spans), prebuilt_ids(stores, repo, prebuilt)
        )
        snapshots, objects = (
            set(ids["snapshots"]),
            {object_id.encode() for object_id in ids["objects"]},
        )
    else:
        begun = await stores.objects.begin(repo.repo_id, spans)
    for span, data in zip(begun.window, begun.data, strict=True):
        check_range(prebuilt, span, data)
    base = _Base(VerifiedPrefix(prebuilt, begun), snapshots, objects)
    return await gather(stores, repo, asked.heads, difference, Allowed(most), base)


async def prebuilt_ids(stores: Stores, repo: Repo, prebuilt: PrebuiltClone) -> dict[str, list[str]]:
    """The ids of a bundle's `snapshots` and `objects`. Raises Damaged."""
    start = prebuilt.stored_size
    data = await stores.objects.read_prebuilt(
        repo.repo_id, prebuilt.name, start, start + prebuilt.ids_size
    )
    if sha256(data).digest() != prebuilt.ids_digest:
        raise Damaged(f"bundle {prebuilt.name}")
    return codec.unpack_record(data)


async def gather(
    stores: Stores,
    repo: Repo,
    heads: Mapping[str, str],
    difference: Difference,
    allowed: Allowed,
    base: _Base | None = None,
) -> FetchResponse:
    """Everything that belongs to the commits of a difference, except for what the base holds.

    Errors as in `fetch`.
    """
    most = allowed.most_bytes
    prepared = base.prepared.prebuilt.size if base else 0
    wanted = difference.collected
    if lost := [node for node in wanted if node.record is None and node.record_at is None]:
        raise Damaged(f"the record of commit {lost[0].commit_id}")
    compressed = [node.record for node in wanted if node.record is not None]
    large = [node.record_at for node in wanted if node.record is None and node.record_at]
    snapshots = {
        node.snapshot_id: node.snapshot_at
        for node in wanted
        if node.snapshot_id and node.snapshot_at
    }
    if base:
        snapshots = {
            snapshot_id: at
            for snapshot_id, at in snapshots.items()
            if snapshot_id not in base.snapshots
        }
    lying = prepared + sum(at.length for at in (*large, *snapshots.values()))
    commits, commits_size = list[bytes](), 0
    for record in compressed:
        _check_size(lying + commits_size, most)
        unpacked = zlib.decompress(record)
        commits_size += len(unpacked)
        if commits_size <= KEPT_COMMITS_BYTES:
            commits.append(unpacked)
    _check_size(lying + commits_size, most)

    boundary = [] if base else await boundary_manifests(stores, repo, difference, wanted)
    oldest_first = list(snapshots.values())[::-1]
    bases = Bases(allowed.bases)
    new, kept = await _new_objects(
        stores, repo, oldest_first, boundary, bases, base.objects if base else ()
    )
    in_order = [at for at in oldest_first if at in kept]
    manifests = dict(zip(in_order, bases.patched(kept[at] for at in in_order), strict=True))
    known = (await stores.index.known(repo.repo_id, objects=new, even_condemned=True)).objects
    objects = {object_id: known[object_id] for object_id in new if object_id in known}
    # An opaque id may name what was never sent; a digest was proven when its snapshot was accepted.
    absent = [object_id for object_id in new if object_id not in objects]
    if lost_objects := [i for i in absent if names.is_digest(i)]:
        raise Damaged(f"object {lost_objects[0]}")
    fetched = FetchResponse(
        store=stores.objects,
        repo_id=repo.repo_id,
        branch_heads=heads,
        commits=commits,
        other_commits=compressed[len(commits) :],
        commits_size=commits_size,
        large_commits=large,
        snapshot_ids=list(snapshots),
        manifests=manifests,
        other_manifests=[at for at in snapshots.values() if at not in manifests],
        objects=objects,
        absent=absent,
        prepared=base.prepared if base else None,
    )
    _check_size(fetched.size, most)
    return fetched


async def ask(stores: Stores, repo: Repo, request: wire.Fetch, sees: Sees) -> Asked:
    """What a request names. Raises CommitNotFound."""
    want = [names.check_id(commit_id, "commit") for commit_id in dict.fromkeys(request.want)]
    have = {commit_id for commit_id in request.have if names.is_id(commit_id)}
    looked_up = have if len(have) <= SHORT_LIST else set[str]()
    prebuilt = None
    # Reading, a condemned row is as good as any: it may well be reached from a branch.
    if want and not have:
        # A clone wants branches, mostly: then their rows have said where everything is.
        refs, prebuilt = await stores.refs.all_and_prebuilt_clone(repo.repo_id)
        others = set(want) - {ref.head.commit_id for ref in refs.values()}
        known = await stores.index.known(repo.repo_id, commits=others, even_condemned=True)
    else:
        refs, known = await gather_pair(
            stores.refs.all(repo.repo_id),
            stores.index.known(repo.repo_id, commits=looked_up.union(want), even_condemned=True),
        )
    heads = {ref.head.commit_id: ref.head for ref in refs.values()}
    addresses = known.commits | heads
    wanted = {commit_id: addresses[commit_id] for commit_id in want if commit_id in addresses}
    if sees is Sees.REACHED and not wanted.keys() <= heads.keys():
        # A client may have read the refs before a branch moved on.
        wanted = await visible.reached(stores, repo, wanted.values(), heads.values())
    unknown = [commit_id for commit_id in want if commit_id not in wanted]
    if unknown:
        raise CommitNotFound(unknown)
    return Asked(
        heads={branch: ref.head.commit_id for branch, ref in refs.items()},
        want=[wanted[i] for i in want],
        have=[addresses[i] for i in looked_up if i in addresses],
        held=have - looked_up,
        prebuilt=prebuilt,
    )


async def boundary_manifests(
    stores: Stores, repo: Repo, difference: Difference, nodes: Iterable[Node]
) -> list[Location]:
    """The manifests of those parents of some collected commits that the client has, newest first.

    Most of their rows were read by the walk.
    """
    boundary = difference.boundary(nodes)
    rows = {i: row for i, address in boundary.items() if (row := difference.row(address))}
    missing = [address for i, address in boundary.items() if i not in rows]
    if missing:
        rows |= await stores.commits.get(repo.repo_id, missing)
    newest_first = sorted(rows.values(), key=lambda node: -node.address.generation)
    return list(
        _up_to(
            BOUNDARY_BYTES,
            dict.fromkeys(node.snapshot_at for node in newest_first if node.snapshot_at),
        )
    )


def _up_to(size: int, locations: Iterable[Location]) -> Iterator[Location]:
    for at in locations:
        size -= at.length
        if size < 0:
            return
        yield at


async def _new_objects(
    stores: Stores,
    repo: Repo,
    wanted: Collection[Location],
    boundary: Collection[Location],
    bases: Bases,
    base: Collection[bytes],
) -> tuple[Sequence[str], dict[Location, bytes]]:
    """The objects of the manifests wanted that are in none of the boundary, nor in the base, and
    those manifests that are kept. The objects are in the order of their paths, so that versions of
    one file are neighbours.
    """
    paths: dict[bytes, bytes] = {}
    had, kept, room = set(base), dict[Location, bytes](), KEPT_BYTES
    is_wanted, is_boundary = set(wanted), set(boundary)
    async with aclosing(
        stores.objects.each_packed(repo.repo_id, is_wanted | is_boundary)
    ) as records:
        async for at, record in records:
            manifest = codec.unpack_raw(record)[b"manifest"]
            if at in is_boundary:
                had.update(manifest.values())
                bases.see(record)
            if at in is_wanted:
                paths.update(zip(manifest.values(), manifest, strict=True))
                room -= len(record)
                if room >= 0:
                    kept[at] = record
    by_path = sorted(paths.keys() - had, key=paths.__getitem__)
    return [object_id.decode() for object_id in by_path], kept


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(
            f"the reply would have {size} bytes or more, and {most} are sent at once: clone with"
            " `pieria clone URL DIRECTORY`, or pull through the relay (`pieria connect"
            " URL-OF-THE-HUB` prints the remote to add), which both read it in parts; without"
            " them, pull the branches one by one, oldest first, into an empty repository"
        )
