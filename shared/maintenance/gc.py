"""Garbage collection: deletes unreachable rows and bytes, without a lock, while pushes continue.

Roots are the branches, both ends of each move of the last 31 days, releases and tags. A collection
has three steps, each at least `GRACE_SECONDS` after the end of the one before:

    condemn   marks the rows that no root reaches with the id of this collection (`condemned_at`)
    sweep     unmarks what has become reachable, deletes the rest, each row on condition of its mark
    collect   deletes bytes that no row points to, old moves, old folder marks, empty lanes

A pushed row has no mark, and a marked row is unknown to pushes but readable. docs/design/gc.md has
the invariants, and the cases that could break them. In memory are ids and places, no contents.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from shared.errors import Damaged, Unavailable
from shared.graph.reachability import Reached, find_reachable
from shared.maintenance import prebuilt_clones
from shared.maintenance.roots import find_roots, oldest_move_ms, pointed_to
from shared.metadata import keys
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.scans import Entry, GcState
from shared.metadata.table import chunked
from shared.model import CommitAddress, Kind, RepoId
from shared.objects.bucket import Stored
from shared.objects.store import REMOVED
from shared.progress import OnProgress, no_progress
from shared.stores import RepoStores
from shared.tasks import gather_all

GRACE_SECONDS = 4 * STALE_SECONDS
YOUNG_SECONDS = 24 * 3600
REBUILD_SECONDS = 24 * 3600
"""Longer than a rebuild takes, and longer than a repack works without a sign of life. A job that
has not ended after this time was interrupted."""
AT_ONCE = 32
OVERTAKEN = (
    "another gc, rebuild, repack or expunge has started here; nothing is lost: run this again when"
    " it has ended"
)

Clock = Callable[[], float]


class Step(StrEnum):
    """The last step of maintenance in a repository: done, or under way. The values are stored."""

    CONDEMNING = "condemning"
    CONDEMNED = "condemned"
    SWEPT = "swept"
    COLLECTING = "collecting"
    COLLECTED = "collected"
    HALTED = "halted"
    """A rebuild stopped the collection, and waits until its last deletions have ended."""
    REBUILDING = "rebuilding"
    REBUILT = "rebuilt"
    REPACKING = "repacking"
    REPACKED = "repacked"
    EXPUNGING = "expunging"
    MARKED = "marked"
    """An expunge marked its rows, and waits until the requests that are under way have ended."""
    EXPUNGED = "expunged"


BESIDE: dict[str, str] = {
    Step.HALTED: "rebuild-index",
    Step.REBUILDING: "rebuild-index",
    Step.REPACKING: "repack",
    Step.EXPUNGING: "expunge",
    Step.MARKED: "expunge",
}
"""The steps beside which no collection starts, and the command that is at work in each."""


@dataclass(slots=True)
class Report:
    """The effect of a step; with `dry_run` the effect that it would have.

    `rows`: condemned or deleted, by kind. `reprieved`: rows that lost their mark. `bytes`: freed.
    `step` is None if no step is due yet. `due_at`: when the next step may start, in epoch seconds.
    """

    step: Step | None
    rows: dict[str, int] = field(default_factory=dict)
    reprieved: int = 0
    packs: int = 0
    loose: int = 0
    bytes: int = 0
    moves: int = 0
    marks: int = 0
    due_at: int = 0


@dataclass(frozen=True, slots=True)
class _LaneRow:
    """A commit's row in its lane. `written_at`: epoch seconds, 0 if a rebuild wrote the row."""

    address: CommitAddress
    run_id: str
    written_at: int


@dataclass(slots=True)
class _Judged:
    """The marked rows that a sweep found. `kept` are reachable, from low to high generations, each
    with its mark. `doomed` are deleted: from low to high generations as well, by kind."""

    run_id: str
    kept: list[tuple[keys.Key, str]] = field(default_factory=list)
    doomed: dict[str, list[keys.Key]] = field(
        default_factory=lambda: {"commits": [], "lanes": [], "snapshots": [], "objects": []}
    )

    def add(self, what: str, key: keys.Key, mark: str, *, reached: bool) -> None:
        """Sort one row. A mark of an earlier collection, which was not swept, is removed as
        well.
        """
        if mark and reached:
            self.kept.append((key, mark))
        elif mark == self.run_id:
            self.doomed[what].append(key)


async def run(
    repository: RepoStores,
    clock: Clock,
    *,
    dry_run: bool = True,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Run the step that is due. Call it regularly, an hour or more apart.

    Raises Damaged, before anything is deleted, if the history has a gap: see fsck.
    """
    progress = await repository.scans.progress()
    step = condemn
    if progress and progress.step in (Step.CONDEMNED, Step.SWEPT, Step.COLLECTING):
        due_at = progress.at + GRACE_SECONDS
        if clock() < due_at:
            return Report(None, due_at=due_at)
        # A collect starts once. If it was interrupted, the next collection deletes the rest.
        step = {Step.CONDEMNED: sweep, Step.SWEPT: collect}.get(Step(progress.step), condemn)
    return await step(repository, clock, dry_run=dry_run, on_progress=on_progress)


async def condemn(
    repository: RepoStores,
    clock: Clock,
    *,
    dry_run: bool = True,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Mark every row that no root reaches. A collection that another run started is abandoned.

    Raises Unavailable beside a rebuild, a repack or an expunge.
    """
    began = clock()
    run_id = f"{int(began * 1000):013d}-{secrets.token_hex(4)}"
    await _check_nothing_beside(repository, began)
    if not dry_run:
        await repository.scans.begin(GcState(run_id, Step.CONDEMNING, int(began)))
    # Listed before the roots are read: a row that a push writes from now on is not in the list.
    commits = [entry async for entry in repository.scans.index(Kind.COMMIT)]
    lanes = await _lane_rows(repository)
    fresh = {row.address for row in lanes if row.written_at >= began - YOUNG_SECONDS}
    roots = await find_roots(repository, began)
    roots |= {entry.address for entry in commits if entry.address in fresh}
    live = await find_reachable(repository, roots, on_progress=on_progress)

    snapshots = await _unreached(repository, Kind.SNAPSHOT, live.snapshots)
    objects = await _unreached(repository, Kind.OBJECT, live.objects)
    # Listed after the rows are read: a push writes bytes before the rows that point to them.
    young = await _young(repository, began)
    snapshots = [entry for entry in snapshots if not _is_young(entry, young)]
    objects = [entry for entry in objects if not _is_young(entry, young)]
    dead_commits = [entry for entry in commits if entry.item_id not in live.commits]
    kept_places = live.addresses | fresh
    doomed = {
        # From high to low generations: a row is marked before the rows that it references.
        "commits": _keys(repository.repo_id, sorted(dead_commits, key=_generation, reverse=True)),
        "lanes": [
            keys.commit(repository.repo_id, row.address)
            for row in lanes
            if row.address not in kept_places
        ],
        "snapshots": _keys(repository.repo_id, snapshots),
        "objects": _keys(repository.repo_id, objects),
    }
    report = Report(Step.CONDEMNED)
    report.bytes = sum(entry.at.length for entry in (*snapshots, *objects) if entry.at)
    report.rows = {what: len(found) for what, found in doomed.items()}
    if not dry_run:
        await prebuilt_clones.drop_dead(repository, live.commits)
        await _mark(repository, run_id, doomed, on_progress)
        ended = int(clock()) + 1  # rounded up: the grace is not shortened by a fraction of a second
        condemned = GcState(run_id, Step.CONDEMNED, ended)
        if not await repository.scans.advance(condemned, Step.CONDEMNING):
            raise Unavailable(OVERTAKEN)
    report.due_at = int(clock()) + GRACE_SECONDS
    return report


async def _check_nothing_beside(repository: RepoStores, now: float) -> None:
    """Raises Unavailable if a rebuild, a repack or an expunge is at work, or was interrupted."""
    progress = await repository.scans.progress()
    if progress and progress.step in BESIDE and now < progress.at + REBUILD_SECONDS:
        raise Unavailable(
            f"{BESIDE[progress.step]} is at work here, or was interrupted: run it to its end,"
            " then gc"
        )


async def _mark(
    repository: RepoStores,
    run_id: str,
    doomed: Mapping[str, list[keys.Key]],
    on_progress: OnProgress,
) -> None:
    for what, found in doomed.items():
        for number, part in enumerate(chunked(found, AT_ONCE)):
            await gather_all(repository.scans.condemn(key, run_id) for key in part)
            on_progress(f"condemned {what}", number * AT_ONCE + len(part), len(found))


async def sweep(
    repository: RepoStores,
    clock: Clock,
    *,
    dry_run: bool = True,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Unmark the rows that are reachable now, and delete the other condemned rows.

    Raises Unavailable if the grace is not over, or if another maintenance job has started.
    """
    run_id = await _due(repository, Step.CONDEMNED, clock())
    roots = await find_roots(repository, clock())
    # A push may build, at this moment, on any row without the mark of this collection.
    commits = [entry async for entry in repository.scans.index(Kind.COMMIT)]
    snapshots = [entry async for entry in repository.scans.index(Kind.SNAPSHOT)]
    roots |= {entry.address for entry in commits if entry.address and entry.run_id != run_id}
    manifests = [entry.at for entry in snapshots if entry.at and entry.run_id != run_id]
    async with _in_turn(repository, run_id, Step.CONDEMNED):
        live = await find_reachable(repository, roots, manifests, on_progress=on_progress)

    judged = await _judge(repository, run_id, live, snapshots, commits)
    report = Report(Step.SWEPT)
    report.reprieved = len(judged.kept)
    report.rows = {what: len(found) for what, found in judged.doomed.items()}
    if dry_run:
        return report
    await _unmark(repository, run_id, judged.kept)
    report.rows = await _delete_marked(repository, run_id, judged.doomed, on_progress)
    swept = GcState(run_id, Step.SWEPT, int(clock()) + 1)
    await repository.scans.advance(swept, Step.CONDEMNED)
    report.due_at = int(clock()) + GRACE_SECONDS
    return report


async def _judge(
    repository: RepoStores,
    run_id: str,
    live: Reached,
    snapshots: Iterable[Entry],
    commits: Iterable[Entry],
) -> _Judged:
    """Decide on each row that has a mark. Objects and rows of lanes are read here."""
    judged = _Judged(run_id)
    async for entry in repository.scans.index(Kind.OBJECT):
        key = keys.by_id(repository.repo_id, Kind.OBJECT, entry.item_id)
        judged.add("objects", key, entry.run_id, reached=entry.item_id in live.objects)
    for entry in snapshots:
        key = keys.by_id(repository.repo_id, Kind.SNAPSHOT, entry.item_id)
        judged.add("snapshots", key, entry.run_id, reached=entry.item_id in live.snapshots)
    for row in await _lane_rows(repository):
        key = keys.commit(repository.repo_id, row.address)
        judged.add("lanes", key, row.run_id, reached=row.address in live.addresses)
    for entry in sorted(commits, key=_generation):
        key = keys.by_id(repository.repo_id, Kind.COMMIT, entry.item_id)
        judged.add("commits", key, entry.run_id, reached=entry.item_id in live.commits)
    return judged


async def _unmark(
    repository: RepoStores, run_id: str, kept: Sequence[tuple[keys.Key, str]]
) -> None:
    """From low to high generations: a commit is never known without its parents."""
    for group in _groups(kept, AT_ONCE):
        await _check_turn(repository, run_id, Step.CONDEMNED)
        if not all(await gather_all(repository.scans.reprieve(key, mark) for key, mark in group)):
            raise Unavailable(
                "another gc has deleted a row that this gc would keep; run fsck, then gc again"
            )


async def _delete_marked(
    repository: RepoStores,
    run_id: str,
    doomed: Mapping[str, list[keys.Key]],
    on_progress: OnProgress,
) -> dict[str, int]:
    """Delete from high to low generations: no row points to a deleted one. Returns the counts."""
    deleted: dict[str, int] = {}
    for what, found in doomed.items():
        deleted[what] = 0
        for part in chunked(found[::-1], AT_ONCE):
            await _check_turn(repository, run_id, Step.CONDEMNED)
            deleted[what] += sum(
                await gather_all(repository.scans.remove(key, run_id) for key in part)
            )
            on_progress(f"removed {what}", deleted[what], len(found))
    return deleted


async def collect(
    repository: RepoStores,
    clock: Clock,
    *,
    dry_run: bool = True,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Delete bytes that no row points to, old moves, old folder marks, and empty lanes.

    Raises Unavailable if the grace is not over, Damaged if the repository has lost rows.
    """
    run_id = await _due(repository, Step.SWEPT, clock())
    now = clock()
    old = now - GRACE_SECONDS
    async with _in_turn(repository, run_id, Step.SWEPT):
        packs, loose = await pointed_to(repository, now, on_progress)
    # The row of a prebuilt clone depends on the step, so none is written across this change.
    begun = GcState(run_id, Step.COLLECTING, int(now))
    if not (dry_run or await repository.scans.advance(begun, Step.SWEPT)):
        raise Unavailable(OVERTAKEN)
    report = Report(Step.COLLECTED)
    dead: list[Stored] = []
    async for name, one in repository.objects.pack_versions():
        if name not in packs and one.modified < old:
            dead.append(one)
            report.packs += 1
    async for object_id, one in repository.objects.loose_versions():
        if object_id not in loose and one.modified < old:
            dead.append(one)
            report.loose += 1
    dead += [one async for one in prebuilt_clones.unnamed(repository, run_id, old)]
    report.bytes = sum(one.size for one in dead)
    if dry_run:
        return report
    for part in chunked(dead, REMOVED):
        await _check_turn(repository, run_id, Step.COLLECTING)
        await repository.objects.remove(part)
    on_progress("removed versions of packs and objects", len(dead))
    report.moves = await repository.scans.remove_moves(oldest_move_ms(now))
    report.marks = await repository.scans.remove_marks(int(old))
    for lane in await repository.scans.lanes():
        await repository.scans.close_lane(lane, int(old))
    collected = GcState(run_id, Step.COLLECTED, int(clock()))
    await repository.scans.advance(collected, Step.COLLECTING)
    return report


async def _due(repository: RepoStores, step: Step, now: float) -> str:
    """The id of the collection that ended this step a grace ago.

    Raises Unavailable if too early.
    """
    progress = await repository.scans.progress()
    if progress is None or progress.step != step:
        raise Unavailable(f"nothing is {step.value} here; run gc from its beginning")
    if now < progress.at + GRACE_SECONDS:
        wait_seconds = int(progress.at + GRACE_SECONDS - now) + 1
        raise Unavailable(f"it is too early: wait {wait_seconds} seconds")
    return progress.run_id


async def _check_turn(repository: RepoStores, run_id: str, step: Step) -> None:
    """Raises Unavailable if another job has started, or if this collection is at a later step."""
    if not await repository.scans.is_at(run_id, step):
        raise Unavailable(OVERTAKEN)


@asynccontextmanager
async def _in_turn(repository: RepoStores, run_id: str, step: Step) -> AsyncIterator[None]:
    """If another collection deleted a row meanwhile, raise Unavailable instead of Damaged."""
    try:
        yield
    except Damaged:
        await _check_turn(repository, run_id, step)
        raise


async def _lane_rows(repository: RepoStores) -> list[_LaneRow]:
    """Every commit row of every lane."""
    rows: list[_LaneRow] = []
    for lane in await repository.scans.lanes():
        async for node, run_id, written_at in repository.scans.lane(lane):
            rows.append(_LaneRow(node.address, run_id, written_at))
    return rows


async def _unreached(repository: RepoStores, kind: Kind, reached: Container[str]) -> list[Entry]:
    return [e async for e in repository.scans.index(kind) if e.item_id not in reached]


def _keys(repo_id: RepoId, entries: Iterable[Entry]) -> list[keys.Key]:
    return [keys.by_id(repo_id, entry.kind, entry.item_id) for entry in entries]


async def _young(repository: RepoStores, now: float) -> tuple[set[str], set[str]]:
    """The packs and the loose objects that are younger than a day."""
    since = now - YOUNG_SECONDS
    packs = {one.key for one in await repository.objects.packs() if one.modified >= since}
    loose = {one.key for one in await repository.objects.loose() if one.modified >= since}
    return packs, loose


def _is_young(entry: Entry, young: tuple[set[str], set[str]]) -> bool:
    packs, loose = young
    if entry.at is None:
        return False
    return entry.item_id in loose if entry.at.is_loose else entry.at.pack in packs


def _generation(entry: Entry) -> int:
    return entry.address.generation if entry.address else 0


def _groups(
    found: Sequence[tuple[keys.Key, str]], size: int
) -> Iterable[Sequence[tuple[keys.Key, str]]]:
    """Groups of up to `size` keys, each of one kind of row: kinds are done one after the other."""
    start = 0
    while start < len(found):
        stop = start + 1
        while (
            stop < len(found)
            and stop - start < size
            and _level(found[stop][0]) == _level(found[start][0])
        ):
            stop += 1
        yield found[start:stop]
        start = stop


def _level(key: keys.Key) -> str:
    """The kind of row: the letter after the repository's id in the partition key."""
    return key[0].split("#")[2][:1]
