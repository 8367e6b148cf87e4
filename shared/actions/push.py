"""A push: bytes, then records, then the pointer. The swap of the ref is the commit point, and the
only one.

    1  the bundle is checked by itself: ids, names, shapes                              (no call)
    2  refs, and which of its ids are known            ─┐
    3  fast-forward? against the ref just read            ├ nothing is written before all of this is decided
    4  where needed: a parent's manifest, new objects   ─┘
    5  one pack, large objects, verified uploads, a row            crash here: bytes that no row points to
       for a new lane
    6  rows of objects, then of snapshots, and of commits in       crash here: rows that no branch reaches
       their lanes
    7  rows of commits by id, parents first: they are known        crash here: known, whole, on no branch
       now; the move is logged
    8  the ref: compare-and-swap against what was read in 2        done

The same push after a crash at any point finds what was written, and continues. docs/design/push.md
has the invariants.
"""

import contextlib
import zlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from shared import codec, names, portable
from shared import pushed_bundle as bundles
from shared.actions import quarantine
from shared.actions.moves import planned
from shared.actions.uploads import UploadBatch
from shared.errors import MissingReference, NotFastForward, NotPortable, Unavailable, Unprocessable
from shared.graph import walk
from shared.graph.dag import Nearest
from shared.graph.records import commit_record, manifest, packed_summary
from shared.metadata.refs import RefChanged
from shared.model import CommitAddress, Kind, Location, Move, Node, PortableNames, Ref, Repo, Upload
from shared.protocol.push import Push
from shared.pushed_bundle import NewCommit, PushedBundle
from shared.stores import RepoStores
from shared.tasks import gather_all, gather_pair

INLINE_BYTES = 4096
"""A compressed commit record up to this size lies in its row: reading a line of history reads it
along. Every kilobyte there costs a write unit, so larger ones lie in the pack.
"""
FEW_OBJECTS = 90
"""Up to so many objects of a push are looked up at once, in the one batch that is asked anyway;
beyond, a parent's manifest says which are new, which is cheaper, but two steps more.
"""
HASHED_FIELDS = ("snapshot_id", "message", "committed_at", "parent_commit_id", "parent2_commit_id")
FORGET_THE_REMOTES = (
    "your client takes what it last saw on any remote as stored on every remote;"
    " run `rm -r .muse/remotes` at the top of your work tree, then push again"
)
"""The stock client omits the ancestors of each head in `.muse/remotes`, with `--force` too. It
writes these files again with each push, fetch or pull, so their deletion loses nothing.
"""
REPLY_BRANCHES = 100
"""Up to this many branches, the reply names the heads of all of them; beyond, only of the one that
was pushed.
"""
SWAPS = 4
"""How often a ref that moved under a push is looked at again before the client is asked to."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the repository holds of what a push names, as it was when the push came."""

    refs: dict[str, Ref]
    commits: dict[str, CommitAddress]
    snapshots: dict[str, Location]
    objects: dict[str, Location]


async def push(repository: RepoStores, request: Push, *, by: str, now: float) -> dict[str, Any]:
    """Store a bundle and move the branch to its head. Returns the reply.

    Raises InvalidName, HashMismatch, MissingReference, BranchClash, NotPortable, TooLarge or
    Unprocessable for a push that cannot be accepted, NotFastForward naming the head that stands in
    the way, and UploadsPending for one that has to be sent again. Before that is decided nothing is
    written, except for uploads that UploadsPending reports as stored. Only the swap may find a lost
    race.
    """
    bundle = bundles.check(request)
    head = bundle.head(request)
    held = await _held(repository, bundle, head)
    warning = _check_portable(repository.repo, request.branch, bundle, held)
    new = await _accept(repository, request, bundle, head, held, by=by, now=now)
    heads = {new.branch: head}
    if len(held.refs) <= REPLY_BRANCHES:
        heads = {name: ref.head.commit_id for name, ref in held.refs.items()} | heads
    message = f"{new.branch} is at {head}" + (f"; {warning}" if warning else "")
    return {"ok": True, "message": message, "branch_heads": heads, "remote_head": head}


async def _accept(
    repository: RepoStores,
    request: Push,
    bundle: PushedBundle,
    head: str,
    held: Held,
    *,
    by: str,
    now: float,
) -> Ref:
    """Steps 3 to 8. Returns the branch as it is now."""
    current = held.refs.get(request.branch)
    names.check_room_for_branch(request.branch, held.refs)
    names.check_no_branch_clash(request.branch, held.refs)
    _check_connected(bundle, head, held)
    new_sizes = {i: len(content) for i, content in bundle.objects.items() if i not in held.objects}
    bundles.check_sizes(new_sizes, repository.stores.settings.max_object_bytes, bundle)
    changed = await _changed(repository, bundle, held, force=request.force)
    if not request.force:
        await _check_fast_forward(repository, bundle, held, head, current, by, now)
    missing = await _missing_objects(repository, bundle, held)
    uploads = await quarantine.verified(repository, bundle, missing, by=by, now=now)

    repository = repository.stores.of(
        await repository.stores.repos.create_if_absent(repository.repo, int(now))
    )
    nodes, last = await gather_pair(
        _write(repository, request.branch, bundle, held, changed, uploads, int(now)),
        _last_step(repository, request.branch, current),
    )
    node = nodes.get(head)
    address, snapshot_at = (node.address, node.snapshot_at) if node else (held.commits[head], None)
    move = planned(request.branch, current, last, address, forced=request.force, by=by, now=now)
    new = Ref(request.branch, address, snapshot_at, move.step, move.at)
    await gather_all(
        [
            repository.index.put_addresses(
                [n.address for i, n in nodes.items() if i not in held.commits]
            ),
            *([repository.refs.log_move(move)] if move.before != move.after else []),
        ]
    )
    await _swap(repository, bundle, held, new, current, move, now)
    return new


async def _last_step(repository: RepoStores, branch: str, current: Ref | None) -> tuple[str, int]:
    """The greatest step of a branch that is created, which may have existed before.

    Of others the ref row says it.
    """
    return ("", 0) if current else await repository.refs.last_step(branch)


async def _held(repository: RepoStores, bundle: PushedBundle, head: str) -> Held:
    """Step 2, all at once."""
    named = _named_objects(bundle)
    refs, known = await gather_pair(
        repository.refs.all(),
        repository.index.known(
            commits=bundle.commits.keys() | bundle.outside_parents() | {head},
            snapshots=bundle.snapshots.keys() | bundle.named_snapshots(),
            objects=bundle.objects.keys() | (named if len(named) <= FEW_OBJECTS else set()),
        ),
    )
    # The refs may be a moment newer than the index.
    commits = known.commits | {ref.head.commit_id: ref.head for ref in refs.values()}
    return Held(refs, commits, known.snapshots, known.objects)


def _check_portable(repo: Repo, branch: str, bundle: PushedBundle, held: Held) -> str:
    """A warning if names are not portable, else an empty text. Raises NotPortable where the
    repository forbids them.

    Only snapshots that are not stored yet count: a history that was accepted stays acceptable.
    """
    new = {
        i: snapshot.manifest.keys()
        for i, snapshot in bundle.snapshots.items()
        if i not in held.snapshots
    }
    clashes, unwritable = portable.clashes(new), portable.unwritable(new)
    warnings = [bundles.not_portable(bundle, faults) for faults in (clashes, unwritable) if faults]
    if branch not in held.refs and not portable.is_portable(branch):
        warnings.append(
            f"not portable: branch name {names.shown(branch)}; choose another name, or set"
            " portable_names to off"
        )
    forbidden = {
        PortableNames.OFF: False,
        PortableNames.DISTINCT: bool(clashes),
        PortableNames.ON: bool(warnings),
    }
    if forbidden[repo.portable_names]:
        raise NotPortable(warnings[0])
    return "; ".join(warnings)


def _check_connected(bundle: PushedBundle, head: str, held: Held) -> None:
    """Every parent, and every snapshot that can prove itself, is in the push or in the
    repository.
    """
    if head not in bundle.commits and head not in held.commits:
        raise MissingReference("commit", [head])
    if unknown := bundle.outside_parents() - held.commits.keys():
        raise MissingReference("parent commit", unknown, FORGET_THE_REMOTES)
    new = (commit for i, commit in bundle.commits.items() if i not in held.commits)
    named = {
        commit.snapshot_id
        for commit in new
        if commit.snapshot_id and names.is_digest(commit.snapshot_id)
    }
    if unknown := named - bundle.snapshots.keys() - held.snapshots.keys():
        raise MissingReference(
            "snapshot", unknown, "the client has lost it: run muse verify, then push again"
        )


async def _changed(
    repository: RepoStores, bundle: PushedBundle, held: Held, *, force: bool
) -> set[str]:
    """Commits that are stored already but get a row of their own again, in this push's lane.

    A record that is sent again never replaces the first: what is not hashed of it may differ, and
    the first stays. But a forced push replaces a branch's history by its own, records included:
    those that differ from the stored ones, and what stands on them in the bundle, are written
    beside the first ones. Raises Unprocessable if the hashed fields differ, as they can under an
    opaque id.
    """
    again = [i for i in bundle.commits if i in held.commits and (force or not names.is_digest(i))]
    if not again:
        return set()
    nodes = await repository.commits.get([held.commits[i] for i in again])
    large = await repository.objects.read_packed(
        {n.record_at for n in nodes.values() if n.record_at}
    )
    changed: set[str] = set()
    for commit_id in again:  # parents come first
        stored, sent = (
            codec.unpack_record(commit_record(nodes[commit_id], large)),
            bundle.commits[commit_id].record,
        )
        if any(stored.get(field) != sent.get(field) for field in HASHED_FIELDS):
            raise Unprocessable(
                f"commit {commit_id} is stored here with other contents; give the new one its"
                " own id"
            )
        if stored != sent or not changed.isdisjoint(bundle.commits[commit_id].parents):
            changed.add(commit_id)
    return changed if force else set()


async def _check_fast_forward(
    repository: RepoStores,
    bundle: PushedBundle,
    held: Held,
    head: str,
    current: Ref | None,
    by: str,
    now: float,
) -> None:
    """The branch's head is the new head or an ancestor of it, through the bundle and through stored
    history.

    Raises NotFastForward naming the branch's head.
    """
    if current is None:
        return
    target = current.head.commit_id
    reached, outside, stack = {head}, [], [head]
    while stack:
        commit_id = stack.pop()
        if commit_id == target:
            return
        if commit_id not in bundle.commits:
            outside.append(held.commits[commit_id])
            continue
        fresh = [p for p in bundle.commits[commit_id].parents if p not in reached]
        reached.update(fresh)
        stack += fresh
    search = Nearest(outside, {target: current.head})
    # Remembered before it is known whether it must be: one after the other they would be a step
    # more.
    await gather_all(
        [
            walk.run(repository.commits, search),
            _remember(repository, bundle, held, by, now),
        ]
    )
    if search.found is None:
        raise NotFastForward(current.branch, target)


async def _remember(
    repository: RepoStores, bundle: PushedBundle, held: Held, by: str, now: float
) -> None:
    """So that the pull which follows a refusal finds its commits acknowledged.

    A courtesy: it may fail.
    """
    new = [i for i in bundle.commits if i not in held.commits and names.is_digest(i)]
    if new:
        with contextlib.suppress(Unavailable):
            await repository.stores.counters.remember_refused(repository.repo_id, by, new, int(now))


async def _missing_objects(repository: RepoStores, bundle: PushedBundle, held: Held) -> set[str]:
    """The objects of new manifests that are neither in the push nor in the repository."""
    named = _named_objects(bundle, held.snapshots.keys())
    missing = named - bundle.objects.keys() - held.objects.keys()
    if missing and len(_named_objects(bundle)) > FEW_OBJECTS:  # they were too many for step 2
        missing -= await _objects_of_parents(repository, bundle, held)
        missing -= (await repository.index.known(objects=missing)).objects.keys()
    return missing


async def _objects_of_parents(repository: RepoStores, bundle: PushedBundle, held: Held) -> set[str]:
    """The objects of the stored commits that the new ones stand on: what is listed there needs no
    proof.
    """
    parents = {
        p for i, c in bundle.commits.items() if i not in held.commits for p in c.parents
    } - bundle.commits.keys()
    at_heads = {
        ref.head.commit_id: ref.snapshot_at for ref in held.refs.values() if ref.snapshot_at
    }
    rows = await repository.commits.get([held.commits[p] for p in parents if p not in at_heads])
    manifests = {at for p in parents if (at := at_heads.get(p) or rows[p].snapshot_at)}
    records = await repository.objects.read_packed(manifests)
    return {object_id for record in records.values() for object_id in manifest(record).values()}


async def _write(
    repository: RepoStores,
    branch: str,
    bundle: PushedBundle,
    held: Held,
    changed: Set[str],
    uploads: list[Upload],
    now: int,
) -> dict[str, Node]:
    """Steps 5 and 6. Returns the new commits' rows by id."""
    snapshots = {i: s for i, s in bundle.snapshots.items() if i not in held.snapshots}
    commits = {
        i: codec.pack_record(c.record)
        for i, c in bundle.commits.items()
        if i not in held.commits or i in changed
    }
    upload_batch = UploadBatch.of(
        {i: content for i, content in bundle.objects.items() if i not in held.objects},
        # Small commits lie in their rows; here as well, so that S3 alone can rebuild every row but
        # the refs.
        [(Kind.SNAPSHOT, i, codec.pack_record(s.record)) for i, s in snapshots.items()]
        + [(Kind.COMMIT, i, record) for i, record in commits.items()],
    )
    # Rows beside the first ones need a lane of their own; named by content, it is the same in every
    # retry.
    lane = f"{branch}~{upload_batch.pack.name}" if changed else branch
    nodes = _nodes(lane, bundle, held, commits, upload_batch.locations)
    locations = {key: at for key, at in upload_batch.locations.items() if key[0] is not Kind.COMMIT}
    is_new_lane = bool(nodes) and lane not in {ref.head.lane for ref in held.refs.values()}

    async def put_bytes() -> None:
        lanes = [repository.commits.open_lane(lane, now)] if is_new_lane else []
        refs = repository.refs
        marks = [] if branch in held.refs else [refs.mark_folders(branch, now)]
        accepted = [repository.objects.accept_upload(upload) for upload in uploads]
        await gather_all([upload_batch.put(repository), *lanes, *marks, *accepted])

    async def put_rows() -> None:
        taken = {
            (Kind.OBJECT, upload.object_id): Location("", 0, upload.length) for upload in uploads
        }
        objects = {key: at for key, at in locations.items() if key[0] is Kind.OBJECT}
        if objects or taken:
            await repository.index.put_locations(objects | taken)
        # A snapshot is known once it has a row: whoever leans on it next does not ask for its
        # objects again.
        known_by_now = {key: at for key, at in locations.items() if key not in objects}
        await gather_all(
            [
                repository.index.put_locations(known_by_now),
                repository.commits.put(nodes.values(), now),
            ]
        )

    if locations or is_new_lane or any(node.record_at for node in nodes.values()):
        await put_bytes()
        await put_rows()
    else:
        await gather_all(
            [put_bytes(), put_rows()]
        )  # no row leans on what is put, so neither waits for the other
    return nodes


def _nodes(
    lane: str,
    bundle: PushedBundle,
    held: Held,
    records: Mapping[str, bytes],
    stored: Mapping[tuple[Kind, str], Location],
) -> dict[str, Node]:
    """The rows of the new commits, parents before children, each with its generation."""
    addresses = dict(held.commits)
    nodes: dict[str, Node] = {}
    for commit_id, record in records.items():
        commit = bundle.commits[commit_id]
        parents = tuple(addresses[p] for p in commit.parents)
        address = CommitAddress(
            commit_id, 1 + max((p.generation for p in parents), default=0), lane
        )
        addresses[commit_id] = address
        compressed = zlib.compress(record)
        inline = len(compressed) <= INLINE_BYTES
        nodes[commit_id] = Node(
            address=address,
            parents=parents,
            snapshot_id=commit.snapshot_id,
            snapshot_at=_snapshot_at(commit, held, stored),
            record=compressed if inline else None,
            record_at=None if inline else stored[Kind.COMMIT, commit_id],
            summary=None if inline else packed_summary(commit.record),
        )
    return nodes


def _snapshot_at(
    commit: NewCommit, held: Held, stored: Mapping[tuple[Kind, str], Location]
) -> Location | None:
    if commit.snapshot_id is None:
        return None
    return held.snapshots.get(commit.snapshot_id) or stored.get((Kind.SNAPSHOT, commit.snapshot_id))


async def _swap(
    repository: RepoStores,
    bundle: PushedBundle,
    held: Held,
    new: Ref,
    current: Ref | None,
    move: Move,
    now: float,
) -> None:
    """Step 8. A branch that moved meanwhile is looked at again: it may stand where the push still
    applies.

    Raises NotFastForward naming the winner.
    """
    for _ in range(SWAPS):
        if current and current.head == new.head:
            return
        try:
            await repository.refs.swap(new, current, by=move.by, now=int(now))
            return
        except RefChanged as moved:
            current = moved.current
            if not move.forced:
                await _check_fast_forward(
                    repository, bundle, held, new.head.commit_id, current, move.by, now
                )
            if current is None:  # deleted meanwhile: a folder of its name may have become a branch
                await repository.refs.mark_folders(new.branch, int(now))
            last = await _last_step(repository, new.branch, current)
            move = planned(
                new.branch, current, last, new.head, forced=move.forced, by=move.by, now=now
            )
            new = replace(new, step=move.step, moved_at=move.at)
            await repository.refs.log_move(move)
    raise Unavailable(
        f"{new.branch} is being pushed to by many at once; nothing is lost, push again"
    )


def _named_objects(bundle: PushedBundle, except_for: Set[str] = frozenset()) -> set[str]:
    """Objects in the manifests of its snapshots that can prove themselves."""
    return {
        object_id
        for snapshot_id, snapshot in bundle.snapshots.items()
        if snapshot_id not in except_for
        for object_id in snapshot.manifest.values()
        if names.is_digest(object_id)
    }
