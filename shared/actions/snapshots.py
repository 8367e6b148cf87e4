"""The files at a branch or a commit."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared import names
from shared.actions import resolve
from shared.graph.records import manifest
from shared.model import CommitAddress, Node, ObjectId, Packed, Ref, Sees
from shared.stores import RepoStores


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a commit, path to object id, and the name by which the request found them.

    `name` is a branch or the id of a commit; `path` is what follows it in the request. `is_fixed`:
    every id on the way to a file is a digest, so its content can never change.
    """

    name: str
    path: str
    commit: CommitAddress
    is_fixed: bool
    files: Mapping[str, ObjectId]


async def at(repository: RepoStores, ref_and_path: str, sees: Sees) -> Snapshot:
    """The files at `<branch or commit id>/<path>`. The longest branch name that fits is used.

    Raises RefNotFound.
    """
    name, target = await resolve.longest_prefix(repository, ref_and_path, sees)
    if target.branch:
        snapshot_at = target.branch.snapshot_at
    else:
        snapshot_at = None
    is_fixed = False
    if snapshot_at is None:
        node = (await repository.commits.get([target.commit]))[target.commit.commit_id]
        snapshot_at = node.snapshot_at
        # A short id may later match another commit, or none.
        is_fixed = names.is_digest(name) and _is_fixed(node)
    path = ref_and_path[len(name) + 1 :]
    return Snapshot(name, path, target.commit, is_fixed, await files(repository, snapshot_at))


async def of_branch(repository: RepoStores, ref: Ref) -> Mapping[str, ObjectId]:
    """The files at the head of a branch. A push of a known commit does not note its snapshot."""
    if ref.snapshot_at:
        return await files(repository, ref.snapshot_at)
    node = (await repository.commits.get([ref.head]))[ref.head.commit_id]
    return await files(repository, node.snapshot_at)


async def files(repository: RepoStores, snapshot_at: Packed | None) -> Mapping[str, ObjectId]:
    """The manifest at this location; empty without one."""
    if snapshot_at is None:
        return {}
    return manifest((await records(repository, [snapshot_at]))[snapshot_at])


async def records(repository: RepoStores, locations: Collection[Packed]) -> Mapping[Packed, bytes]:
    """The records of the snapshots at these locations.

    They are remembered: the next page of the same version costs one call less.
    """
    found = await repository.objects.read_packed(locations)
    for at, record in found.items():
        repository.stores.recent.put(repository.repo_id, at, record)
    return found


def _is_fixed(node: Node) -> bool:
    """Whether both ids are digests.

    A snapshot whose id is a digest lists only objects whose ids are digests.
    """
    return names.is_digest(node.commit_id) and names.is_digest(node.snapshot_id or "")
