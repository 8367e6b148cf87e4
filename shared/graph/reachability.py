"""Reachability: everything that gc has to keep because some commits refer to it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.errors import Damaged
from shared.graph.ancestors import ancestors
from shared.graph.records import manifest
from shared.metadata.table import chunked
from shared.model import CommitAddress, CommitId, ObjectId, Packed, SnapshotId
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores

LOOKED_UP = 3200
"""Ids of one look-up in the indexes."""
GROUP = 200
"""Manifests that are in memory at the same time."""


@dataclass(slots=True)
class Reached:
    """The places and ids that were reached. `packs` are those that rows of commits point to."""

    addresses: set[CommitAddress] = field(default_factory=set)
    commits: set[CommitId] = field(default_factory=set)
    snapshots: set[SnapshotId] = field(default_factory=set)
    objects: set[ObjectId] = field(default_factory=set)
    packs: set[str] = field(default_factory=set)


async def find_reachable(
    repository: RepoStores,
    roots: Iterable[CommitAddress],
    manifests: Iterable[Packed] = (),
    *,
    on_progress: OnProgress = no_progress,
) -> Reached:
    """Find everything that is reachable from these places and these manifests.

    Raises Damaged if a row is missing, because gc would otherwise delete its ancestors.
    """
    reached = Reached()
    starts = set(roots)
    manifests = set(manifests)
    while starts:
        fresh: set[CommitId] = set()
        snapshots: set[SnapshotId] = set()
        async for address, node in ancestors(
            repository.commits, starts, skip=frozenset(reached.addresses)
        ):
            if node is None:
                raise Damaged(f"commit {address.commit_id}")
            reached.addresses.add(address)
            if address.commit_id not in reached.commits:
                fresh.add(address.commit_id)
            if node.snapshot_id:
                snapshots.add(node.snapshot_id)
            if node.snapshot_at:
                manifests.add(node.snapshot_at)
            reached.packs |= {at.pack for at in (node.snapshot_at, node.record_at) if at}
        reached.commits |= fresh
        reached.snapshots |= snapshots
        on_progress("commits that stay", len(reached.commits))
        # The places and locations in the index stay as well. They differ after a second push of the
        # same ids.
        starts = set()
        for part in chunked(sorted(fresh | snapshots), LOOKED_UP):
            known = await repository.index.readable(
                commits=fresh.intersection(part), snapshots=snapshots.intersection(part)
            )
            starts |= set(known.commits.values()) - reached.addresses
            manifests |= set(known.snapshots.values())
    for group in chunked(sorted(manifests, key=lambda at: (at.pack, at.offset)), GROUP):
        for record in (await repository.objects.read_packed(group)).values():
            reached.objects.update(manifest(record).values())
        on_progress("objects that stay", len(reached.objects))
    return reached
