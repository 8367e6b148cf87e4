"""Creates large repositories through the storage layer: the rows and packs of many pushes, in less
time."""

import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from bench.history import Graph, History
from bench.lambdas import OWNER, Hub
from shared import codec, packs
from shared.actions import repos
from shared.actions.uploads import UploadBatch
from shared.engines import selection
from shared.limits import Limits
from shared.maintenance import prebuilt_clones
from shared.maintenance import repack as repacking
from shared.metadata.table import chunked
from shared.model import CommitAddress, CommitId, Kind, Node, ObjectId, Ref, Repo
from shared.stores import RepoStores
from shared.tasks import gather_all

LIMITS = Limits()
AT_ONCE = 2_000
SWAPS_AT_ONCE = 32
LATER_SECONDS = 2 * 24 * 3600
"""Two days, since a repack skips packs that are younger than a day."""


def add_commits(hub: Hub, slug: str, graph: Graph) -> None:
    """Create a repository with these commits and branches."""

    async def put() -> None:
        repository, now = await _opened(slug)
        nodes = list(_nodes(graph))
        addresses = {node.commit_id: node.address for node in nodes}
        for part in chunked(nodes, AT_ONCE):
            await repository.commits.put(part, now)
            await repository.index.put_addresses([node.address for node in part])
        await _point(
            repository,
            [Ref(branch, addresses[CommitId(head)]) for branch, head in graph.heads.items()],
            now,
        )

    hub.run(put)


def add_objects(hub: Hub, slug: str, objects: Mapping[str, bytes]) -> None:
    """Store these objects in one pack, with their rows."""

    async def put() -> None:
        repository, _ = await _opened(slug)
        pack = packs.build(
            (Kind.OBJECT, object_id, content) for object_id, content in objects.items()
        )
        await repository.objects.put_pack(pack)
        for part in chunked(list(pack.locations.items()), AT_ONCE):
            await repository.index.put_locations(dict(part))

    hub.run(put)


def add_pushes(hub: Hub, slug: str, pushes: Iterable[History]) -> None:
    """Add commits to `main`, each stored as by a push of the stock client: the objects in one pack,
    the snapshot and the commit in another one."""

    async def put() -> None:
        repository, now = await _opened(slug)
        await repository.commits.open_lane("main", now)
        nodes: list[Node] = []
        for part in chunked(list(pushes), AT_ONCE // 20):
            parcels: list[UploadBatch] = []
            for pushed in part:
                records = _records(pushed)
                objects = {ObjectId(i): content for i, content in pushed.objects.items()}
                parcels += [UploadBatch.of(LIMITS, objects), records]
                nodes.append(_node(pushed, records, nodes[-1].address if nodes else None))
            for some in chunked(parcels, SWAPS_AT_ONCE):
                await gather_all(upload_batch.put(repository) for upload_batch in some)
            stored = chain.from_iterable(upload_batch.locations.items() for upload_batch in parcels)
            locations = {item: at for item, at in stored if item[0] is not Kind.COMMIT}
            await repository.index.put_locations(locations)
            await repository.commits.put(nodes[-len(part) :], now)
            await repository.index.put_addresses([node.address for node in nodes[-len(part) :]])
        await _point(repository, [Ref("main", nodes[-1].address, nodes[-1].snapshot_at)], now)

    hub.run(put)


def repack(hub: Hub, slug: str) -> None:
    """Run `pieria repo repack --fold`, two days later."""

    async def work() -> None:
        repository, now = await _opened(slug)
        assert (await repacking.repack(repository, lambda: now + LATER_SECONDS)).packs

    hub.run(work)


def add_branches(hub: Hub, slug: str, branches: int) -> None:
    """Add branches that point to the head of `main`."""

    async def put() -> None:
        repository, now = await _opened(slug)
        main = await repository.refs.get("main")
        assert main
        refs = [
            Ref(f"agent-{number:04}", main.head, main.snapshot_at) for number in range(branches)
        ]
        await _point(repository, refs, now)

    hub.run(put)


def prebuild_clone(hub: Hub, slug: str) -> None:
    """Prebuild the clone, as `pieria repo bundle` does."""

    async def put() -> None:
        repository, _ = await _opened(slug)
        made = await prebuilt_clones.make(repository, time.time)
        assert made.prebuilt

    hub.run(put)


async def _point(repository: RepoStores, refs: Sequence[Ref], now: int) -> None:
    for part in chunked(refs, SWAPS_AT_ONCE):
        await gather_all(repository.refs.swap(ref, None, by=OWNER, now=now) for ref in part)


async def _opened(slug: str) -> tuple[RepoStores, int]:
    opened = await selection.stores()
    now = int(time.time())
    repo = await opened.repos.get(OWNER, slug) or Repo(OWNER, slug)
    return opened.of(await repos.create_if_absent(opened, repo, now)), now


def _records(pushed: History) -> UploadBatch:
    [commit] = pushed.commits
    [snapshot] = pushed.snapshots
    return UploadBatch.of(
        LIMITS,
        {},
        [
            (Kind.SNAPSHOT, snapshot["snapshot_id"], codec.pack_record(snapshot)),
            (Kind.COMMIT, commit["commit_id"], codec.pack_record(commit)),
        ],
    )


def _node(pushed: History, records: UploadBatch, parent: CommitAddress | None) -> Node:
    [commit] = pushed.commits
    [snapshot] = pushed.snapshots
    commit_id = commit["commit_id"]
    snapshot_id = snapshot["snapshot_id"]
    compressed = zlib.compress(codec.pack_record(commit))
    inline = len(compressed) <= LIMITS.inline_record_bytes
    return Node(
        CommitAddress(commit_id, parent.generation + 1 if parent else 1, "main"),
        (parent,) if parent else (),
        snapshot_id,
        records.pack.locations[Kind.SNAPSHOT, snapshot_id],
        compressed if inline else None,
        None if inline else records.pack.locations[Kind.COMMIT, commit_id],
    )


def _nodes(graph: Graph) -> Iterable[Node]:
    addresses: dict[str, CommitAddress] = {}
    for record in graph.commits:
        commit_id = record["commit_id"]
        both = (record["parent_commit_id"], record["parent2_commit_id"])
        parents = tuple(addresses[parent] for parent in both if parent)
        generation = 1 + max((parent.generation for parent in parents), default=0)
        addresses[commit_id] = CommitAddress(commit_id, generation, graph.lanes[commit_id])
        yield Node(addresses[commit_id], parents, record=zlib.compress(codec.pack_record(record)))
