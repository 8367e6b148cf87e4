"""Verification of a pushed bundle: ids, names, plain records, and the order of commits.

Pure: it does not read the repository. Its results are sets of ids that the caller has to look up.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from shared import codec, ids, names
from shared.errors import HashMismatch, InvalidName, TooLarge, Unprocessable
from shared.model import CommitId, ObjectId, SnapshotId
from shared.protocol.base import parse
from shared.protocol.push import Push
from shared.protocol.records import COMMIT_DEFAULTS, CommitRecord, ObjectRecord, SnapshotRecord
from shared.texts import cut, summarize

SHOWN_DIGITS = 12
"""Ids in messages are cut to this length, which the stock client accepts. Two whole ids would not
fit."""
SHOWN_PATH_CHARACTERS = 30
"""The path of a large object is cut to this length in a message, which has more to state."""


@dataclass(frozen=True, slots=True)
class NewCommit:
    """A pushed commit. `record` is the whole map, with defaults for absent fields."""

    commit_id: CommitId
    parents: tuple[CommitId, ...]
    snapshot_id: SnapshotId | None
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """A pushed snapshot."""

    snapshot_id: SnapshotId
    manifest: Mapping[str, ObjectId]
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PushedBundle:
    """The verified content of a push, by id. In `commits`, parents come before children."""

    commits: Mapping[CommitId, NewCommit]
    snapshots: Mapping[SnapshotId, NewSnapshot]
    objects: Mapping[ObjectId, bytes]

    def outside_parents(self) -> set[CommitId]:
        """Return the parents of its commits that are not in the bundle."""
        return self._parents() - self.commits.keys()

    def named_snapshots(self) -> set[SnapshotId]:
        """Return the snapshots of its commits, in the bundle or not."""
        snapshot_ids = (commit.snapshot_id for commit in self.commits.values())
        return {snapshot_id for snapshot_id in snapshot_ids if snapshot_id is not None}

    def oldest_with(self, snapshot_ids: Collection[SnapshotId]) -> NewCommit | None:
        """Return the first commit, parents first, that has one of these snapshots."""
        commits = self.commits.values()
        return next((commit for commit in commits if commit.snapshot_id in snapshot_ids), None)

    def head(self, push: Push) -> CommitId:
        """Return the new head of the branch. Raises Unprocessable unless there is exactly one.

        It is the head that the push states for this branch, or else the only commit without a
        child.
        """
        named = push.bundle.branch_heads.get(push.branch)
        if named:
            return names.check_id(named, "commit")
        parents = self._parents()
        tips = [commit_id for commit_id in self.commits if commit_id not in parents]
        if len(tips) == 1:
            return tips[0]
        if not tips:
            raise Unprocessable(
                "the push holds no commit, so there is nothing for the branch to point at"
            )
        raise Unprocessable(
            f"the push holds {len(tips)} unrelated tips; push one line of history at a time"
        )

    def _parents(self) -> set[CommitId]:
        return set(chain.from_iterable(commit.parents for commit in self.commits.values()))


def check(push: Push) -> PushedBundle:
    """Verify all of a push that can be verified without the repository.

    Raises InvalidName, HashMismatch or Unprocessable for the first fault.
    """
    names.check_branch(push.branch)
    objects = check_objects(push.bundle.objects)
    snapshots: dict[SnapshotId, NewSnapshot] = {}
    for snapshot in map(check_snapshot, push.bundle.snapshots):
        snapshots.setdefault(snapshot.snapshot_id, snapshot)
    commits: dict[CommitId, NewCommit] = {}
    for raw in push.bundle.commits:
        commit = check_commit(raw)
        first = commits.setdefault(commit.commit_id, commit)
        if first.record != commit.record:
            raise Unprocessable(
                f"commit {commit.commit_id} is in the push twice with different contents"
            )
    bundle = PushedBundle({c.commit_id: c for c in _parents_first(commits)}, snapshots, objects)
    _check_paths(bundle)
    return bundle


def without(commit: NewCommit, change: str = "rename it") -> str:
    """The steps that remove this commit from a user's history. A later commit would not remove it.

    `change` is the change of the file before the new commit. The steps were tested with the stock
    client 0.1.5. The work tree and all later changes stay, and are committed again.
    """
    if commit.parents:
        step = f"run `muse reset --soft {commit.parents[0][:SHOWN_DIGITS]}`"
    else:
        step = "delete the file of your branch in .muse/refs/heads"
    return f"Since commit {commit.commit_id}: {change}, {step}, commit and push again"


def not_portable(bundle: PushedBundle, faults: Mapping[SnapshotId, Sequence[str]]) -> str:
    """The message for names that are not portable. `faults` has the names by snapshot."""
    oldest = bundle.oldest_with(faults)
    if oldest and oldest.snapshot_id:
        snapshot_id = oldest.snapshot_id
    else:
        snapshot_id = next(iter(faults))
    steps = f" {without(oldest)}" if oldest else ""
    for shown in range(4, 0, -1):
        text = (
            f"not portable: {summarize(faults[snapshot_id], shown)}.{steps}; or set portable_names"
            " to off"
        )
        if cut(text) == text:
            break
    return text


def check_sizes(
    sizes: Mapping[ObjectId, int], most_bytes: int, bundle: PushedBundle | None = None
) -> None:
    """Raise TooLarge for an object of more than `most_bytes`. `sizes` has bytes by object id.

    With the bundle that contains the objects, the message has the path and the first commit.
    """
    large = {object_id for object_id, size_bytes in sizes.items() if size_bytes > most_bytes}
    if not large:
        return
    object_id = min(large)
    oldest = None
    if bundle:
        snapshots = bundle.snapshots.items()
        with_large = {i for i, s in snapshots if not large.isdisjoint(s.manifest.values())}
        oldest = bundle.oldest_with(with_large)
    limit = (
        f"over the limit of {most_bytes} (stock clients read 64 MiB at once and could not clone it)"
    )
    raised = "or have PIERIA_MAX_OBJECT_BYTES raised"
    if not bundle or not oldest or not oldest.snapshot_id:
        raise TooLarge(
            f"object {object_id[:SHOWN_DIGITS]} has {sizes[object_id]} bytes, {limit}: split the"
            " file or leave it out, `muse reset --soft` to before its first commit, commit and"
            " push again; " + raised
        )
    manifest = bundle.snapshots[oldest.snapshot_id].manifest
    path, object_id = next((path, i) for path, i in sorted(manifest.items()) if i in large)
    way_out = without(oldest, "split or drop it")
    shown = names.shown(path, SHOWN_PATH_CHARACTERS)
    raise TooLarge(f"{shown} has {sizes[object_id]} bytes, {limit}. {way_out}; {raised}")


def check_objects(objects: Iterable[ObjectRecord]) -> dict[ObjectId, bytes]:
    """Return objects by id. A digest is verified. Of equal opaque ids, the first stays."""
    checked: dict[ObjectId, bytes] = {}
    for item in objects:
        check_object(item.object_id, item.content)
        checked.setdefault(item.object_id, item.content)
    return checked


def check_object(object_id: str, content: bytes) -> None:
    """Compare a digest with the content. Raises InvalidName or HashMismatch."""
    if names.is_digest(names.check_id(object_id, "object")):
        computed = ids.object_id(content)
        if computed != object_id:
            raise HashMismatch("object", object_id, computed)


def check_snapshot(raw: Mapping[str, Any]) -> NewSnapshot:
    """Return a snapshot. Its paths are not checked. Raises InvalidName, HashMismatch or
    Unprocessable.
    """
    shaped = parse(SnapshotRecord, raw, "a snapshot")
    snapshot_id = names.check_id(shaped.snapshot_id, "snapshot")
    manifest = shaped.manifest
    _check_text(raw, f"snapshot {snapshot_id}")
    if names.is_digest(snapshot_id):
        for object_id in manifest.values():
            if not names.is_digest(object_id):
                raise InvalidName(
                    f"snapshot {snapshot_id} lists {object_id[:80]!a}, which is not an object id"
                )
        computed = ids.snapshot_id(manifest)
        if computed != snapshot_id:
            raise HashMismatch("snapshot", snapshot_id, computed)
    else:
        for object_id in manifest.values():
            names.check_id(object_id, "object")
    return NewSnapshot(snapshot_id, manifest, {**raw, "created_at": shaped.created_at})


def _check_paths(bundle: PushedBundle) -> None:
    """Raise InvalidName for an unsafe path, with the oldest commit that has one.

    The history must lose that commit: each later push of it would be refused, too.
    """
    refused: dict[SnapshotId, InvalidName] = {}
    checked: set[str] = set()
    for snapshot_id, snapshot in bundle.snapshots.items():
        try:
            names.check_paths(snapshot.manifest, checked)
        except InvalidName as error:
            refused[snapshot_id] = error
    oldest = bundle.oldest_with(refused)
    if oldest and oldest.snapshot_id:
        raise InvalidName(f"{refused[oldest.snapshot_id].message}. {without(oldest)}")
    if refused:
        raise next(iter(refused.values()))


def check_commit(raw: Mapping[str, Any]) -> NewCommit:
    """Return a commit. Raises InvalidName, HashMismatch or Unprocessable."""
    shaped = parse(CommitRecord, raw, "a commit")
    commit_id = names.check_id(shaped.commit_id, "commit")
    parent_ids = (shaped.parent_commit_id, shaped.parent2_commit_id)
    parents = tuple(names.check_id(parent, "parent commit") for parent in parent_ids if parent)
    if shaped.snapshot_id:
        snapshot_id = names.check_id(shaped.snapshot_id, "snapshot")
    else:
        snapshot_id = None
    _check_text(raw, f"commit {commit_id}")
    # NUL separates the hashed fields: a message with NUL could have the id of a commit with other
    # parents.
    if ids.NUL in shaped.message or ids.NUL in shaped.committed_at:
        raise Unprocessable(
            f"commit {commit_id} holds a NUL character in its message or time; commit again"
            " without it"
        )
    if names.is_digest(commit_id):
        computed = ids.commit_id(parents, snapshot_id, shaped.message, shaped.committed_at)
        if computed != commit_id:
            raise HashMismatch("commit", commit_id, computed)
    elif any(
        names.is_digest(named) for named in (*parents, *([snapshot_id] if snapshot_id else []))
    ):
        # Otherwise a commit of verified history could get an id that is not verified.
        raise InvalidName(
            f"commit {commit_id} refers to digests, so its own id must be the digest of its content"
        )
    return NewCommit(commit_id, parents, snapshot_id, {**COMMIT_DEFAULTS, **raw})


def _check_text(record: Mapping[str, Any], what: str) -> None:
    if codec.holds_bytes(record):
        raise Unprocessable(
            f"{what} holds binary data; records are text, only an object's content is bytes"
        )


def _parents_first(commits: Mapping[CommitId, NewCommit]) -> Iterator[NewCommit]:
    """Yield commits, parents first. Raises Unprocessable for a cycle of opaque ids."""
    waiting = {cid: sum(p in commits for p in set(c.parents)) for cid, c in commits.items()}
    children: dict[CommitId, list[CommitId]] = {}
    for commit_id, commit in commits.items():
        for parent in set(commit.parents):
            children.setdefault(parent, []).append(commit_id)
    ready = [commit_id for commit_id, count in waiting.items() if not count]
    done = 0
    while ready:
        commit_id = ready.pop()
        done += 1
        yield commits[commit_id]
        for child in children.get(commit_id, ()):
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    if done < len(commits):
        raise Unprocessable(
            "the parents of the pushed commits form a cycle; push commits that a client has made"
        )
