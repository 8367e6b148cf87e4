"""Expunge: delete the bytes of commits and objects that no branch, tag or release reaches.

    mark     marks each row to delete with the id of this expunge, as gc condemns rows: from then on
             a push does not know it, and sends it again. Rewrites the packs that hold its bytes
             without them, and points the rows of the other entries to the new packs. Notes in each
             move which of its commits are expunged.
    remove   `WAIT_SECONDS` later: deletes the rows that still have the mark, then the old packs, in
             all versions

Deleted are the given ids, each snapshot with a given object, each commit with such a snapshot, each
descendant of such a commit, and the snapshots and objects that only these reach. Moves of branches
do not keep them. docs/design/expunge.md has the invariants, and the cases that could break them.
"""

import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any, TypeVar

from shared import names
from shared.errors import Unprocessable
from shared.graph.reachability import Reached, find_reachable
from shared.graph.records import manifest
from shared.maintenance import rewrite
from shared.maintenance.lease import Clock, Lease, Step, start_expunge
from shared.metadata import keys
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.scans import Entry, GcState
from shared.metadata.table import chunked
from shared.model import CommitAddress, Kind, Node, Packed, RepoId
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores

WAIT_SECONDS = 2 * STALE_SECONDS

T = TypeVar("T")


@dataclass(slots=True)
class Expunged:
    """The result, or with a dry run the plan. `step`: MARKED if the removal follows at `due_at`
    (epoch seconds), EXPUNGED if all is done. `shared`: objects that other unreachable commits lead
    to as well, and that stay.
    """

    step: Step
    due_at: int = 0
    commits: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    packs: int = 0
    versions: int = 0
    bytes: int = 0
    again: bool = False
    """A push wrote rows or bytes of it during the wait, so the wait started again."""


@dataclass(slots=True)
class _Rows:
    """Every row of a repository that may have to go."""

    commits: list[Entry]
    snapshots: list[Entry]
    objects: list[Entry]
    lanes: list[tuple[Node, str]]


@dataclass(slots=True)
class _Doomed:
    """The commits and objects to remove. `rows`: their keys and stamps, from above downwards."""

    commits: set[str]
    snapshots: set[str]
    objects: set[str]
    shared: set[str]
    rows: list[tuple[keys.Key, str]] = field(default_factory=list)

    def items(self, wanted: Iterable[str]) -> set[rewrite.Item]:
        """The entries of packs that have its bytes."""
        found = {(kind, item_id) for item_id in wanted for kind in Kind}
        found |= {(Kind.COMMIT, i) for i in self.commits} | {
            (Kind.SNAPSHOT, i) for i in self.snapshots
        }
        return found | {(Kind.OBJECT, i) for i in self.objects}


async def expunge(
    repository: RepoStores,
    wanted: Set[str],
    clock: Clock,
    *,
    dry_run: bool = True,
    on_progress: OnProgress = no_progress,
) -> Expunged:
    """The step that is due. Run it again, with the same ids, until it says that all is done.

    Raises Unprocessable if a branch, a tag or a release leads to one of them, naming which;
    Unavailable beside a rebuild or a repack; Damaged for a repository that cannot be walked.
    """
    for item_id in wanted:
        names.check_id(item_id, "commit or object")
    prefix = f"expunge-{sha256(' '.join(sorted(wanted)).encode()).hexdigest()[:16]}"
    progress = await repository.scans.progress()
    if progress and progress.step == Step.MARKED and progress.run_id.startswith(prefix):
        if clock() < progress.at + WAIT_SECONDS:
            return Expunged(Step.MARKED, due_at=progress.at + WAIT_SECONDS)
        if not dry_run:
            return await _remove(repository, wanted, progress, clock, on_progress)
    return await _mark(repository, wanted, prefix, clock, dry_run=dry_run, on_progress=on_progress)


async def _mark(
    repository: RepoStores,
    wanted: Set[str],
    prefix: str,
    clock: Clock,
    *,
    dry_run: bool,
    on_progress: OnProgress,
) -> Expunged:
    doomed = await _doomed(repository, wanted, await _rows(repository), prefix)
    items = doomed.items(wanted)
    holding = await rewrite.packs_with(repository, items, on_progress)
    if not doomed.rows and not holding:
        raise Unprocessable(
            f"nothing is stored here under {', '.join(sorted(wanted))[:200]}: check the ids"
        )
    report = _report(doomed, Step.MARKED)
    report.packs = len(holding)
    if dry_run:
        return report
    lease = await start_expunge(repository, f"{prefix}-{secrets.token_hex(4)}", clock())
    prebuilt = await repository.prebuilt_clones.get()
    if prebuilt and not doomed.commits.isdisjoint(head.commit_id for head in prebuilt.heads):
        await repository.prebuilt_clones.remove(prebuilt)
    await _in_groups(
        lease,
        [key for key, _ in doomed.rows],
        lambda key: repository.scans.condemn(key, lease.run_id),
    )
    for move in await repository.refs.moves():
        if not doomed.commits.isdisjoint(address.commit_id for address in move.kept):
            await lease.check()
            await repository.scans.expunge_move(move, doomed.commits)
    notes = [f"P#{name}" for name in holding] + [
        f"L#{object_id}" for object_id in sorted(doomed.objects)
    ]
    await _in_groups(lease, notes, lambda note: repository.scans.note(note))
    await rewrite.without(lease, holding, items, clock, on_progress)
    await lease.release(Step.MARKED, clock() + 1)
    report.due_at = int(clock()) + 1 + WAIT_SECONDS
    return report


async def _remove(
    repository: RepoStores,
    wanted: Set[str],
    progress: GcState,
    clock: Clock,
    on_progress: OnProgress,
) -> Expunged:
    lease = Lease(repository, progress.run_id, Step.MARKED)
    prefix = progress.run_id.rpartition("-")[0]
    before = clock() - WAIT_SECONDS
    rows = await _rows(repository)
    try:
        doomed = await _doomed(repository, wanted, rows, prefix)
    except Unprocessable:
        await _reprieve(lease, rows, set())
        await _in_groups(
            lease,
            await repository.scans.notes(),
            lambda note: repository.scans.drop_note(note),
        )
        await lease.release(Step.EXPUNGED, clock())
        raise
    noted = await repository.scans.notes()
    old = {note[2:] for note in noted if note.startswith("P#")}
    holding = await rewrite.packs_with(repository, doomed.items(wanted), on_progress)
    old |= holding.keys()
    if await _has_news(repository, doomed, old, progress.run_id):
        report = await _mark(
            repository, wanted, prefix, clock, dry_run=False, on_progress=on_progress
        )
        report.again = True
        return report
    loose = {note[2:] for note in noted if note.startswith("L#")} | doomed.objects | set(wanted)
    loose &= _absent(rows, doomed, loose)
    is_packed_since = any(pack.modified >= before for pack in holding.values())
    if is_packed_since or await rewrite.is_loose_since(repository, loose, before):
        return await _wait_again(lease, doomed, clock)
    await _reprieve(lease, rows, {key for key, _ in doomed.rows})
    await _in_groups(
        lease,
        [key for key, _ in doomed.rows],
        lambda key: repository.scans.remove(key, lease.run_id),
    )
    report = _report(doomed, Step.EXPUNGED)
    report.packs = len(old)
    dead = await rewrite.versions(repository, old, loose, before)
    for part in chunked(dead, 1000):
        await lease.check()
        await repository.objects.remove(part)
    report.versions, report.bytes = len(dead), sum(one.size for one in dead)
    await _in_groups(lease, noted, lambda note: repository.scans.drop_note(note))
    await lease.release(Step.EXPUNGED, clock())
    return report


async def _wait_again(lease: Lease, doomed: _Doomed, clock: Clock) -> Expunged:
    """A push wrote bytes during the wait and no rows. It may be alive. The marks stay."""
    await lease.release(Step.MARKED, clock() + 1)
    report = _report(doomed, Step.MARKED)
    report.due_at = int(clock()) + 1 + WAIT_SECONDS
    report.again = True
    return report


# ── The selection ─────────────────────────────────────────────────────────────────────────────────


async def _rows(repository: RepoStores) -> _Rows:
    index = {kind: [entry async for entry in repository.scans.index(kind)] for kind in Kind}
    lanes = [
        (node, run_id)
        for lane in await repository.scans.lanes()
        async for node, run_id, _ in repository.scans.lane(lane)
    ]
    return _Rows(index[Kind.COMMIT], index[Kind.SNAPSHOT], index[Kind.OBJECT], lanes)


async def _doomed(repository: RepoStores, wanted: Set[str], rows: _Rows, prefix: str) -> _Doomed:
    """Raises Unprocessable if a branch, tag or release leads to one of them."""
    roots = await _roots(repository)
    live = await find_reachable(repository, roots)
    await _check_unreached(repository, wanted, roots, live)
    manifests = await _manifests(repository, rows, live)
    snapshots = {
        i for i, objects in manifests.items() if i in wanted or not objects.isdisjoint(wanted)
    }
    # A run that was cut short may have removed the row of a commit, and not the rows of those that
    # stand on it.
    marked_commits = {entry.item_id for entry in rows.commits if entry.run_id.startswith(prefix)}
    marked_commits |= {node.commit_id for node, run_id in rows.lanes if run_id.startswith(prefix)}
    commits = set(wanted) | (marked_commits - live.commits)
    nodes = sorted((node for node, _ in rows.lanes), key=lambda node: node.address.generation)
    for node in nodes:
        stands_on = {node.commit_id, *(parent.commit_id for parent in node.parents)}
        if node.snapshot_id in snapshots or not commits.isdisjoint(stands_on):
            commits.add(node.commit_id)
    commits &= {node.commit_id for node in nodes} | {entry.item_id for entry in rows.commits}
    # Snapshots that only these commits have. An earlier run may have deleted the rows of the
    # commits: then the run id in the row identifies them.
    marked = {
        entry.item_id
        for entry in (*rows.snapshots, *rows.objects)
        if entry.run_id.startswith(prefix)
    }
    others = {node.snapshot_id for node in nodes if node.commit_id not in commits}
    below = {node.snapshot_id for node in nodes if node.commit_id in commits and node.snapshot_id}
    snapshots |= ((below | marked) & manifests.keys()) - others
    named = set[str]().union(*(manifests[i] for i in snapshots)) | marked
    staying = set[str]().union(*(objects for i, objects in manifests.items() if i not in snapshots))
    stored = {entry.item_id for entry in rows.objects}
    objects = ((named - staying) | wanted) & stored - live.objects
    doomed = _Doomed(commits, snapshots, objects, (named & staying & stored) - live.objects)
    doomed.rows = _keys(repository.repo_id, rows, doomed)
    return doomed


def _keys(repo_id: RepoId, rows: _Rows, doomed: _Doomed) -> list[tuple[keys.Key, str]]:
    """The keys of the rows to delete and their run ids: commits, then snapshots, then objects."""
    found = [
        (keys.by_id(repo_id, Kind.COMMIT, entry.item_id), entry.run_id)
        for entry in sorted(
            rows.commits, key=lambda entry: -entry.address.generation if entry.address else 0
        )
        if entry.item_id in doomed.commits
    ]
    by_generation = sorted(rows.lanes, key=lambda row: -row[0].address.generation)
    found += [
        (keys.commit(repo_id, n.address), run_id)
        for n, run_id in by_generation
        if n.commit_id in doomed.commits
    ]
    for kind, entries, ids in (
        (Kind.SNAPSHOT, rows.snapshots, doomed.snapshots),
        (Kind.OBJECT, rows.objects, doomed.objects),
    ):
        found += [
            (keys.by_id(repo_id, kind, e.item_id), e.run_id) for e in entries if e.item_id in ids
        ]
    return found


async def _roots(repository: RepoStores) -> dict[CommitAddress, str]:
    """The address of each commit that a branch, tag or release keeps, and its name."""
    roots = {ref.head: f"branch {ref.branch}" for ref in (await repository.refs.all()).values()}
    labelled = await repository.scans.named_commits()
    known = await repository.index.known(commits=labelled, even_condemned=True)
    return {address: f"a tag or release on {i}" for i, address in known.commits.items()} | roots


async def _check_unreached(
    repository: RepoStores,
    wanted: Set[str],
    roots: Mapping[CommitAddress, str],
    live: Reached,
) -> None:
    reached = wanted & (live.commits | live.snapshots | live.objects)
    if not reached:
        return
    one, by = min(reached), list[str]()
    for address, name in roots.items():
        below = await find_reachable(repository, [address])
        if one in below.commits | below.snapshots | below.objects:
            by.append(name)
        if len(by) == 3:
            break
    raise Unprocessable(
        f"{one} is still reached by {', '.join(by)[:150]}; move or delete that first, then expunge"
    )


async def _manifests(repository: RepoStores, rows: _Rows, live: Reached) -> dict[str, set[str]]:
    """The objects of every snapshot that is stored and not reached."""
    addresses = {
        entry.at: entry.item_id
        for entry in rows.snapshots
        if isinstance(entry.at, Packed) and entry.item_id not in live.snapshots
    }
    found: dict[str, set[str]] = {}
    for group in chunked(sorted(addresses), 200):
        for at, record in (await repository.objects.read_packed(group)).items():
            found[addresses[at]] = set(manifest(record).values())
    return found


async def _has_news(repository: RepoStores, doomed: _Doomed, old: Set[str], run_id: str) -> bool:
    """Whether something was written since the marks that stands on what has to go, or names an old
    pack.
    """
    if any(has != run_id for _, has in doomed.rows):
        return True
    for move in await repository.refs.moves():
        if not doomed.commits.isdisjoint(address.commit_id for address in move.kept):
            return True
    prebuilt = await repository.prebuilt_clones.get()
    if prebuilt and prebuilt.named_in == run_id:
        return True
    gone = {key for key, _ in doomed.rows}
    pointers = await rewrite.pointers_into(repository, old)
    return any(pointer.key not in gone for pointer in chain.from_iterable(pointers.values()))


async def _reprieve(lease: Lease, rows: _Rows, gone: Set[keys.Key]) -> None:
    """Take the stamps of this expunge from every row that does not have to go, from below
    upwards.
    """
    repo_id, prefix = lease.repository.repo_id, lease.run_id.rpartition("-")[0]
    below = [
        (keys.by_id(repo_id, entry.kind, entry.item_id), entry.run_id)
        for entry in (*rows.objects, *rows.snapshots)
    ]
    by_generation = sorted(rows.lanes, key=lambda row: row[0].address.generation)
    lanes = [(keys.commit(repo_id, node.address), run_id) for node, run_id in by_generation]
    commits = [
        (keys.by_id(repo_id, Kind.COMMIT, entry.item_id), entry.run_id) for entry in rows.commits
    ]
    for key, run_id in (*below, *lanes, *commits):
        if run_id.startswith(prefix) and key not in gone:
            await lease.check()
            await lease.repository.scans.reprieve(key, run_id)


def _absent(rows: _Rows, doomed: _Doomed, ids: Set[str]) -> set[str]:
    """Those of these objects that no row names which stays."""
    return set(ids) - {
        entry.item_id for entry in rows.objects if entry.item_id not in doomed.objects
    }


def _report(doomed: _Doomed, step: Step) -> Expunged:
    return Expunged(
        step,
        commits=sorted(doomed.commits),
        snapshots=sorted(doomed.snapshots),
        objects=sorted(doomed.objects),
        shared=sorted(doomed.shared),
    )


async def _in_groups(
    lease: Lease, items: Sequence[T], work: Callable[[T], Coroutine[Any, Any, object]]
) -> None:
    """Do something for each of these, in order, a few at a time, as long as it is our lease."""
    async for _ in lease.for_each(items, work):
        pass
