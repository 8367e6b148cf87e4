"""The writes of a push before its ref moves: a plan as a value, and its execution.

    stage 1  bytes: one pack, large objects, verified uploads; rows of a new lane, of new folders
    stage 2  rows of objects
    stage 3  rows of snapshots and commits

A crash after stage 1 leaves bytes that no row points to. A crash after stage 2 or 3 leaves rows
that no branch reaches. docs/design/push.md has the invariants.
"""

import zlib
from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

from shared import codec
from shared.actions.uploads import UploadBatch
from shared.graph.records import packed_summary
from shared.limits import Limits
from shared.model import (
    CommitAddress,
    CommitId,
    Kind,
    Location,
    Loose,
    Node,
    ObjectId,
    Packed,
    Ref,
    SnapshotId,
    Upload,
)
from shared.pushed_bundle import NewCommit, PushedBundle
from shared.stores import RepoStores
from shared.tasks import gather_all

Item = tuple[Kind, str]
RUNG_COMMITS = 500
"""The distance of two rungs (`Move.rungs`). Its rows fit into a query of 1 MB."""


@dataclass(frozen=True, slots=True)
class Existing:
    """The refs of the repository, and the ids of a push that it has, when the push began."""

    refs: dict[str, Ref]
    commits: dict[CommitId, CommitAddress]
    snapshots: dict[SnapshotId, Packed]
    objects: dict[ObjectId, Location]


class Write(Enum):
    """A group of writes that are independent of each other."""

    BYTES = "the pack and the large objects"
    UPLOADS = "verified uploads, copied from the quarantine"
    LANE = "the row of a new lane"
    FOLDERS = "the marks of the folders of a new branch"
    OBJECTS = "rows of objects"
    SNAPSHOTS = "rows of snapshots"
    COMMITS = "rows of commits in their lane"


@dataclass(frozen=True, slots=True)
class WritePlan:
    """All writes of a push before its ref moves."""

    branch: str
    is_new_branch: bool
    lane: str
    is_new_lane: bool
    batch: UploadBatch
    uploads: Sequence[Upload]
    nodes: Mapping[CommitId, Node]
    """The rows of the new commits by id, parents first."""

    @property
    def stored_bytes(self) -> int:
        """The size of all content that the push stores."""
        return self.batch.stored_bytes + sum(upload.length for upload in self.uploads)

    @property
    def object_rows(self) -> dict[Item, Location]:
        """The locations of pushed and of uploaded objects."""
        batch = self.batch.locations
        pushed = {item: at for item, at in batch.items() if item[0] is Kind.OBJECT}
        uploaded = {
            (Kind.OBJECT, upload.object_id): Loose(upload.length) for upload in self.uploads
        }
        return pushed | uploaded

    @property
    def snapshot_rows(self) -> dict[Item, Packed]:
        """The locations of the new snapshots."""
        packed = self.batch.pack.locations
        return {item: at for item, at in packed.items() if item[0] is Kind.SNAPSHOT}

    def stages(self) -> list[list[Write]]:
        """The writes in their order. Those of one stage are made in parallel."""
        stored = [Write.BYTES]
        if self.uploads:
            stored.append(Write.UPLOADS)
        if self.is_new_lane:
            stored.append(Write.LANE)
        if self.is_new_branch:
            stored.append(Write.FOLDERS)
        if self.snapshot_rows:
            rows = [Write.SNAPSHOTS, Write.COMMITS]
        else:
            rows = [Write.COMMITS]
        if not self._rows_depend_on_bytes():
            return [stored + rows]
        if self.object_rows:
            objects = [[Write.OBJECTS]]
        else:
            objects = []
        return [stored, *objects, rows]

    def _rows_depend_on_bytes(self) -> bool:
        """False if all records are in rows of a lane that exists: then no row points to bytes."""
        has_packed_commit = any(node.record_at for node in self.nodes.values())
        return bool(self.object_rows or self.snapshot_rows or self.is_new_lane or has_packed_commit)


def rungs(nodes: Mapping[CommitId, Node], head: CommitId) -> tuple[CommitAddress, ...]:
    """Every 500th of the new commits below the head, along the first parents."""
    found = []
    node = nodes.get(head)
    steps = 0
    while node:
        if steps and steps % RUNG_COMMITS == 0:
            found.append(node.address)
        node = nodes.get(node.parents[0].commit_id) if node.parents else None
        steps += 1
    return tuple(found)


def plan_writes(
    branch: str,
    bundle: PushedBundle,
    existing: Existing,
    changed: Set[str],
    uploads: Sequence[Upload],
    limits: Limits,
) -> WritePlan:
    """Plan the writes of a push. `changed`: the stored commits that get a second row."""
    objects = {i: data for i, data in bundle.objects.items() if i not in existing.objects}
    records = {
        commit_id: codec.pack_record(commit.record)
        for commit_id, commit in bundle.commits.items()
        if commit_id not in existing.commits or commit_id in changed
    }
    packed: list[tuple[Kind, str, bytes]] = [
        (Kind.SNAPSHOT, snapshot_id, codec.pack_record(snapshot.record))
        for snapshot_id, snapshot in bundle.snapshots.items()
        if snapshot_id not in existing.snapshots
    ]
    # Small records are in their rows, and in the pack as well: so S3 alone can rebuild all rows
    # but the refs.
    packed += [(Kind.COMMIT, commit_id, record) for commit_id, record in records.items()]
    batch = UploadBatch.of(limits, objects, packed)
    # Second rows need a lane of their own. Its name comes from the content: a retry has the same.
    lane = f"{branch}~{batch.pack.name}" if changed else branch
    nodes = _nodes(lane, bundle, existing, records, batch.pack.locations, limits)
    lanes = {ref.head.lane for ref in existing.refs.values()}
    return WritePlan(
        branch=branch,
        is_new_branch=branch not in existing.refs,
        lane=lane,
        is_new_lane=bool(nodes) and lane not in lanes,
        batch=batch,
        uploads=uploads,
        nodes=nodes,
    )


async def execute(plan: WritePlan, repository: RepoStores, now: int) -> None:
    """Make the writes, stage by stage. `now`: epoch seconds."""
    write: dict[Write, Callable[[], Coroutine[Any, Any, Any]]] = {
        Write.BYTES: lambda: plan.batch.put(repository),
        Write.UPLOADS: lambda: gather_all(map(repository.quarantine.accept, plan.uploads)),
        Write.LANE: lambda: repository.commits.open_lane(plan.lane, now),
        Write.FOLDERS: lambda: repository.refs.mark_folders(plan.branch, now),
        Write.OBJECTS: lambda: repository.index.put_locations(plan.object_rows),
        Write.SNAPSHOTS: lambda: repository.index.put_locations(plan.snapshot_rows),
        Write.COMMITS: lambda: repository.commits.put(plan.nodes.values(), now),
    }
    for stage in plan.stages():
        await gather_all([write[one]() for one in stage])


def _nodes(
    lane: str,
    bundle: PushedBundle,
    existing: Existing,
    records: Mapping[CommitId, bytes],
    stored: Mapping[Item, Packed],
    limits: Limits,
) -> dict[CommitId, Node]:
    """The rows of these commits, parents before children, each with its generation."""
    addresses = dict(existing.commits)
    nodes: dict[CommitId, Node] = {}
    for commit_id, record in records.items():
        commit = bundle.commits[commit_id]
        parents = tuple(addresses[parent] for parent in commit.parents)
        generation = 1 + max((parent.generation for parent in parents), default=0)
        address = CommitAddress(commit_id, generation, lane)
        addresses[commit_id] = address
        compressed = zlib.compress(record)
        is_inline = len(compressed) <= limits.inline_record_bytes
        nodes[commit_id] = Node(
            address=address,
            parents=parents,
            snapshot_id=commit.snapshot_id,
            snapshot_at=_snapshot_at(commit, existing, stored),
            record=compressed if is_inline else None,
            record_at=None if is_inline else stored[Kind.COMMIT, commit_id],
            summary=None if is_inline else packed_summary(commit.record),
        )
    return nodes


def _snapshot_at(
    commit: NewCommit, existing: Existing, stored: Mapping[Item, Packed]
) -> Packed | None:
    if commit.snapshot_id is None:
        return None
    present = existing.snapshots.get(commit.snapshot_id)
    return present or stored.get((Kind.SNAPSHOT, commit.snapshot_id))
