"""The checks of a push against the repository. None of them writes, but a refusal is remembered."""

import contextlib
from collections.abc import Set
from dataclasses import dataclass

from shared import codec, names, portable
from shared import pushed_bundle as bundles
from shared.actions.push_plan import Existing
from shared.errors import MissingReference, NotFastForward, NotPortable, Unavailable, Unprocessable
from shared.graph import walk
from shared.graph.dag import Nearest
from shared.graph.records import commit_record, manifest
from shared.model import CommitId, ObjectId, PortableNames, Ref, Repo, SnapshotId
from shared.pushed_bundle import PushedBundle
from shared.stores import RepoStores
from shared.tasks import gather_all

HASHED_FIELDS = ("snapshot_id", "message", "committed_at", "parent_commit_id", "parent2_commit_id")
FORGET_THE_REMOTES = (
    "your client takes what it last saw on any remote as stored on every remote;"
    " run `rm -r .muse/remotes` at the top of your work tree, then push again"
)
"""The stock client omits the ancestors of each head in `.muse/remotes`, with `--force` too. It
writes these files again with each push, fetch or pull, so their deletion loses nothing.
"""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push: its verified bundle, the new head of the branch, the user, and the time in epoch
    seconds.
    """

    bundle: PushedBundle
    branch: str
    head: CommitId
    is_forced: bool
    by: str
    now: float
    existing: Existing


def check_portable(repo: Repo, pushed: Pushed) -> str:
    """Return a warning for names that are not portable, or an empty string.

    Raises NotPortable if the repository forbids them. Only new snapshots count, so a history that
    was accepted stays acceptable.
    """
    existing = pushed.existing
    new = {
        snapshot_id: snapshot.manifest.keys()
        for snapshot_id, snapshot in pushed.bundle.snapshots.items()
        if snapshot_id not in existing.snapshots
    }
    clashes = portable.clashes(new)
    faults = [clashes, portable.unwritable(new)]
    warnings = [bundles.not_portable(pushed.bundle, found) for found in faults if found]
    if pushed.branch not in existing.refs and not portable.is_portable(pushed.branch):
        warnings.append(
            f"not portable: branch name {names.shown(pushed.branch)}; choose another name, or set"
            " portable_names to off"
        )
    is_forbidden = {
        PortableNames.OFF: False,
        PortableNames.DISTINCT: bool(clashes),
        PortableNames.ON: bool(warnings),
    }
    if is_forbidden[repo.portable_names]:
        raise NotPortable(warnings[0])
    return "; ".join(warnings)


def check_connected(pushed: Pushed) -> None:
    """Check that every parent and snapshot is in the push or in the repository.

    Snapshots with opaque ids are not checked. Raises MissingReference.
    """
    bundle = pushed.bundle
    existing = pushed.existing
    if pushed.head not in bundle.commits and pushed.head not in existing.commits:
        raise MissingReference("commit", [pushed.head])
    parents = bundle.outside_parents() - existing.commits.keys()
    if parents:
        raise MissingReference("parent commit", parents, FORGET_THE_REMOTES)
    named = {
        commit.snapshot_id
        for commit_id, commit in bundle.commits.items()
        if commit_id not in existing.commits
        and commit.snapshot_id
        and names.is_digest(commit.snapshot_id)
    }
    snapshots = named - bundle.snapshots.keys() - existing.snapshots.keys()
    if snapshots:
        raise MissingReference(
            "snapshot", snapshots, "the client has lost it: run muse verify, then push again"
        )


async def changed_commits(repository: RepoStores, pushed: Pushed) -> set[CommitId]:
    """The stored commits that a forced push writes again, beside the first rows.

    A record never replaces the first one of its id: the fields outside the hash can differ. But a
    forced push replaces the history of a branch, so records that differ, and their descendants in
    the bundle, get rows in a lane of the push. Raises Unprocessable if hashed fields differ, which
    is possible under an opaque id.
    """
    bundle = pushed.bundle
    stored = pushed.existing.commits
    again = [
        commit_id
        for commit_id in bundle.commits
        if commit_id in stored and (pushed.is_forced or not names.is_digest(commit_id))
    ]
    if not again:
        return set()
    nodes = await repository.commits.get([stored[commit_id] for commit_id in again])
    packed = {node.record_at for node in nodes.values() if node.record_at}
    records = await repository.objects.read_packed(packed)
    changed: set[CommitId] = set()
    for commit_id in again:  # parents come first
        before = codec.unpack_record(commit_record(nodes[commit_id], records))
        after = bundle.commits[commit_id].record
        if any(before.get(field) != after.get(field) for field in HASHED_FIELDS):
            raise Unprocessable(
                f"commit {commit_id} is stored here with other contents; give the new one its"
                " own id"
            )
        if before != after or not changed.isdisjoint(bundle.commits[commit_id].parents):
            changed.add(commit_id)
    return changed if pushed.is_forced else set()


async def check_fast_forward(repository: RepoStores, pushed: Pushed, current: Ref | None) -> None:
    """Check that the head of the branch is the new head or an ancestor of it.

    The search goes through the bundle and then through stored history. Raises NotFastForward with
    the head of the branch.
    """
    if current is None:
        return
    target = current.head.commit_id
    reached, stored = _reached_in_bundle(pushed, target)
    if target in reached:
        return
    search = Nearest([pushed.existing.commits[i] for i in stored], {target: current.head})
    # The refusal is remembered before it is certain: one after the other would be a step more.
    await gather_all([walk.run(repository.commits, search), _remember_refused(repository, pushed)])
    if search.found is None:
        raise NotFastForward(current.branch, target)


async def missing_objects(repository: RepoStores, pushed: Pushed) -> set[ObjectId]:
    """The objects of new manifests that are neither in the push nor in the repository."""
    bundle = pushed.bundle
    existing = pushed.existing
    named = objects_of(bundle, existing.snapshots.keys())
    missing = named - bundle.objects.keys() - existing.objects.keys()
    few = repository.stores.limits.few_objects
    if missing and not looked_up_at_first(objects_of(bundle), few):
        missing -= await _objects_of_parents(repository, pushed)
        known = await repository.index.known(objects=missing)
        missing -= known.objects.keys()
    return missing


def objects_of(bundle: PushedBundle, without: Set[SnapshotId] = frozenset()) -> set[ObjectId]:
    """The digests in the manifests of a bundle, but for the snapshots `without`."""
    found: set[ObjectId] = set()
    for snapshot_id, snapshot in bundle.snapshots.items():
        if snapshot_id not in without:
            found.update(snapshot.manifest.values())
    # Filtered at the end: most objects are in each snapshot of a history.
    return set(filter(names.is_digest, found))


def looked_up_at_first(object_ids: Set[ObjectId], few: int) -> Set[ObjectId]:
    """These objects, if there are at most `few`. They are looked up together with the refs."""
    if len(object_ids) <= few:
        return object_ids
    return frozenset()


def _reached_in_bundle(pushed: Pushed, target: CommitId) -> tuple[set[CommitId], list[CommitId]]:
    """The commits from the head down to `target`, in the bundle and as its outside parents.

    The second value are those outside the bundle.
    """
    reached = {pushed.head}
    outside: list[CommitId] = []
    stack = [pushed.head]
    while stack:
        commit_id = stack.pop()
        if commit_id == target:
            break
        commit = pushed.bundle.commits.get(commit_id)
        if commit is None:
            outside.append(commit_id)
            continue
        fresh = [parent for parent in commit.parents if parent not in reached]
        reached.update(fresh)
        stack += fresh
    return reached, outside


async def _remember_refused(repository: RepoStores, pushed: Pushed) -> None:
    """Remember the new commits, so that a negotiation after the refusal acknowledges them.

    It may fail: then the next pull is larger.
    """
    new = [
        commit_id
        for commit_id in pushed.bundle.commits
        if commit_id not in pushed.existing.commits and names.is_digest(commit_id)
    ]
    if new:
        with contextlib.suppress(Unavailable):
            await repository.stores.counters.remember_refused(
                repository.repo_id, pushed.by, new, int(pushed.now)
            )


async def _objects_of_parents(repository: RepoStores, pushed: Pushed) -> set[ObjectId]:
    """The objects of the stored parents of new commits. They need no look-up."""
    bundle = pushed.bundle
    existing = pushed.existing
    parents: set[CommitId] = set()
    for commit_id, commit in bundle.commits.items():
        if commit_id not in existing.commits:
            parents.update(commit.parents)
    parents -= bundle.commits.keys()
    at_heads = {
        ref.head.commit_id: ref.snapshot_at for ref in existing.refs.values() if ref.snapshot_at
    }
    others = [existing.commits[parent] for parent in parents if parent not in at_heads]
    rows = await repository.commits.get(others)
    locations = {at_heads.get(parent) or rows[parent].snapshot_at for parent in parents}
    records = await repository.objects.read_packed({at for at in locations if at})
    found: set[ObjectId] = set()
    for record in records.values():
        found.update(manifest(record).values())
    return found
