"""Garbage collection: deletes rows and bytes that nothing reaches, without a lock, beside pushes and fetches.

Roots are the branches, both ends of each move of the last 31 days, releases and tags. A collection has three
steps, each at least `GRACE_SECONDS` after the end of the one before:

    condemn   marks the rows that no root reaches with the id of this collection (`condemned_at`)
    sweep     unmarks what has become reachable, deletes the rest, each row on condition of its mark
    collect   deletes bytes that no row points to, old moves, old folder marks, empty lanes

A pushed row has no mark, and a marked row is unknown to pushes but readable. docs/design/gc.md has the invariants, and
the cases that could break them. In memory are ids and places, no contents.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from shared import names
from shared.actions import bundles
from shared.actions.reach import reach
from shared.errors import Damaged, Unavailable
from shared.metadata import keys
from shared.metadata.census import Entry, Progress
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.refs import KEPT_SECONDS
from shared.metadata.table import split
from shared.model import Kind, Place, Repo
from shared.objects.bucket import Stored
from shared.objects.store import REMOVED
from shared.progress import Tell, silent
from shared.stores import Stores
from shared.tasks import all_of

GRACE_SECONDS = 4 * STALE_SECONDS
YOUNG_SECONDS = 24 * 3600
MORE_SECONDS = 24 * 3600
"""How much longer moves are kept here than a restore looks for them."""
REBUILD_SECONDS = 24 * 3600
"""Longer than a rebuild takes, or than a repack is silent: after that, one that has not ended was cut short."""
AT_ONCE = 32
OVERTAKEN = "another gc, a rebuild or a repack has started over; nothing is lost, run it again when that is done"

Clock = Callable[[], float]


class Step(StrEnum):
    """What was done last, or is being done."""

    CONDEMNING = "condemning"
    CONDEMNED = "condemned"
    SWEPT = "swept"
    COLLECTING = "collecting"
    COLLECTED = "collected"
    HALTED = "halted"
    """By a rebuild that waits for whatever is being removed."""
    REBUILDING = "rebuilding"
    REBUILT = "rebuilt"
    REPACKING = "repacking"
    REPACKED = "repacked"
    EXPUNGING = "expunging"
    MARKED = "marked"
    """By an expunge, which waits for the requests that are under way."""
    EXPUNGED = "expunged"


BESIDE: dict[str, str] = {
    Step.HALTED: "rebuild-index",
    Step.REBUILDING: "rebuild-index",
    Step.REPACKING: "repack",
    Step.EXPUNGING: "expunge",
    Step.MARKED: "expunge",
}
"""Who is at work in a step beside which no gc begins."""


@dataclass(slots=True)
class Report:
    """What a step did, or with `dry_run` would do. `rows`: condemned or removed; `bytes`: freed.

    `due_at` says, in epoch seconds, when the next step may be taken; `step` is None if it is too early for any.
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
    """A commit's row in its lane: `written_at` in epoch seconds, 0 if a rebuild has written it."""

    place: Place
    stamp: str
    written_at: int


async def run(stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = silent) -> Report:
    """The step that is due: call it now and then, an hour or more apart. Raises Damaged before it would remove
    anything of a repository that cannot be walked to its end: see fsck."""
    progress = await stores.census.progress(repo.repo_id)
    step = condemn
    if progress and progress.step in (Step.CONDEMNED, Step.SWEPT, Step.COLLECTING):
        if clock() < (due_at := progress.at + GRACE_SECONDS):
            return Report(None, due_at=due_at)
        # A collect is begun once: what one that was cut short has left goes with the next gc.
        step = {Step.CONDEMNED: sweep, Step.SWEPT: collect}.get(Step(progress.step), condemn)
    return await step(stores, repo, clock, dry_run=dry_run, tell=tell)


async def condemn(stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = silent) -> Report:
    """Stamp every row that no root leads to. Whatever another gc had begun starts over. Raises Unavailable beside
    a rebuild or a repack."""
    repo_id, report, began = repo.repo_id, Report(Step.CONDEMNED), clock()
    stamp = f"{int(began * 1000):013d}-{secrets.token_hex(4)}"
    progress = await stores.census.progress(repo_id)
    if progress and progress.step in BESIDE and began < progress.at + REBUILD_SECONDS:
        raise Unavailable(f"{BESIDE[progress.step]} is at work here, or was cut short: run it to its end, then gc")
    if not dry_run:
        await stores.census.begin(repo_id, Progress(stamp, Step.CONDEMNING, int(began)))
    # Listed before the roots are read: what is pushed from now on is not among them.
    entries = [entry async for entry in stores.census.index(repo_id, Kind.COMMIT)]
    lanes = await _lane_rows(stores, repo_id)
    fresh = {row.place for row in lanes if row.written_at >= began - YOUNG_SECONDS}
    roots = await _roots(stores, repo_id, began) | {e.place for e in entries if e.place in fresh}
    live = await reach(stores, repo_id, roots, tell=tell)
    doomed: dict[str, list[keys.Key]] = {}
    # From above downwards: a row is stamped before what it leads to.
    doomed["commits"] = [
        keys.by_id(repo_id, Kind.COMMIT, entry.item_id)
        for entry in sorted(entries, key=_generation, reverse=True)
        if entry.item_id not in live.commits
    ]
    doomed["lanes"] = [keys.commit(repo_id, row.place) for row in lanes if row.place not in live.places | fresh]
    unreached = {
        kind: [entry async for entry in stores.census.index(repo_id, kind) if entry.item_id not in reached]
        for kind, reached in ((Kind.SNAPSHOT, live.snapshots), (Kind.OBJECT, live.objects))
    }
    # Listed after the rows are read: bytes come before the rows that name them.
    young = await _young(stores, repo_id, began)
    for what, kind in (("snapshots", Kind.SNAPSHOT), ("objects", Kind.OBJECT)):
        dead = [entry for entry in unreached[kind] if not _is_young(entry, young)]
        doomed[what] = [keys.by_id(repo_id, kind, entry.item_id) for entry in dead]
        report.bytes += sum(entry.at.length for entry in dead if entry.at)
    report.rows = {what: len(found) for what, found in doomed.items()}
    if not dry_run:
        await bundles.drop_dead(stores, repo_id, live.commits)
        for what, found in doomed.items():
            for number, part in enumerate(split(found, AT_ONCE)):
                await all_of(stores.census.condemn(key, stamp) for key in part)
                tell(f"condemned {what}", number * AT_ONCE + len(part), len(found))
        ended = int(clock()) + 1  # rounded up: the grace is not shortened by a fraction
        if not await stores.census.advance(repo_id, Progress(stamp, Step.CONDEMNED, ended), Step.CONDEMNING):
            raise Unavailable(OVERTAKEN)
    report.due_at = int(clock()) + GRACE_SECONDS
    return report


async def sweep(stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = silent) -> Report:
    """Reprieve what has become reachable, remove the rest of what was condemned. Raises Unavailable if too early."""
    repo_id, report = repo.repo_id, Report(Step.SWEPT)
    stamp = await _due(stores, repo_id, Step.CONDEMNED, clock())
    roots = await _roots(stores, repo_id, clock())
    # Everything that does not carry this very stamp may be built upon at this moment.
    commits = [entry async for entry in stores.census.index(repo_id, Kind.COMMIT)]
    snapshots = [entry async for entry in stores.census.index(repo_id, Kind.SNAPSHOT)]
    roots |= {entry.place for entry in commits if entry.place and entry.stamp != stamp}
    manifests = [entry.at for entry in snapshots if entry.at and entry.stamp != stamp]
    async with _in_turn(stores, repo_id, stamp, Step.CONDEMNED):
        live = await reach(stores, repo_id, roots, manifests, tell=tell)

    kept: list[tuple[keys.Key, str]] = []
    doomed: dict[str, list[keys.Key]] = {"commits": [], "lanes": [], "snapshots": [], "objects": []}

    def judge(what: str, key: keys.Key, has: str, *, lives: bool) -> None:
        if has and lives:  # also with the stamp of an earlier gc, which did not come this far
            kept.append((key, has))
        elif has == stamp:
            doomed[what].append(key)

    async for entry in stores.census.index(repo_id, Kind.OBJECT):
        key = keys.by_id(repo_id, Kind.OBJECT, entry.item_id)
        judge("objects", key, entry.stamp, lives=entry.item_id in live.objects)
    for entry in snapshots:
        key = keys.by_id(repo_id, Kind.SNAPSHOT, entry.item_id)
        judge("snapshots", key, entry.stamp, lives=entry.item_id in live.snapshots)
    for row in await _lane_rows(stores, repo_id):
        judge("lanes", keys.commit(repo_id, row.place), row.stamp, lives=row.place in live.places)
    for entry in sorted(commits, key=_generation):
        key = keys.by_id(repo_id, Kind.COMMIT, entry.item_id)
        judge("commits", key, entry.stamp, lives=entry.item_id in live.commits)

    report.reprieved = len(kept)
    report.rows = {what: len(found) for what, found in doomed.items()}
    if dry_run:
        return report
    for run_of in _runs(kept, AT_ONCE):  # from below upwards
        await _keep_turn(stores, repo_id, stamp, Step.CONDEMNED)
        if not all(await all_of(stores.census.reprieve(key, has) for key, has in run_of)):
            raise Unavailable("another gc has removed what this one would keep; run fsck, then gc again")
    for what, found in doomed.items():  # from above downwards
        removed = 0
        for part in split(found[::-1], AT_ONCE):
            await _keep_turn(stores, repo_id, stamp, Step.CONDEMNED)
            removed += sum(await all_of(stores.census.remove(key, stamp) for key in part))
            tell(f"removed {what}", removed, len(found))
        report.rows[what] = removed
    await stores.census.advance(repo_id, Progress(stamp, Step.SWEPT, int(clock()) + 1), Step.CONDEMNED)
    report.due_at = int(clock()) + GRACE_SECONDS
    return report


async def collect(stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = silent) -> Report:
    """Remove the bytes that no row names, and what else is only old. Raises Unavailable if too early."""
    repo_id, report = repo.repo_id, Report(Step.COLLECTED)
    stamp = await _due(stores, repo_id, Step.SWEPT, clock())
    now = clock()
    old = now - GRACE_SECONDS
    async with _in_turn(stores, repo_id, stamp, Step.SWEPT):
        packs, loose = await _named(stores, repo_id, now, tell)
    begun = Progress(stamp, Step.COLLECTING, int(now))
    if not (dry_run or await stores.census.advance(repo_id, begun, Step.SWEPT)):  # no bundle is named across this
        raise Unavailable(OVERTAKEN)
    dead: list[Stored] = []
    async for name, one in stores.objects.pack_versions(repo_id):
        if name not in packs and one.modified < old:
            dead.append(one)
            report.packs += 1
    async for object_id, one in stores.objects.loose_versions(repo_id):
        if object_id not in loose and one.modified < old:
            dead.append(one)
            report.loose += 1
    dead += [one async for one in bundles.unnamed(stores, repo_id, stamp, old)]
    report.bytes = sum(one.size for one in dead)
    if dry_run:
        return report
    for part in split(dead, REMOVED):
        await _keep_turn(stores, repo_id, stamp, Step.COLLECTING)
        await stores.objects.remove(part)
    tell("removed versions of packs and objects", len(dead))
    report.moves = await stores.census.remove_moves(repo_id, int((now - KEPT_SECONDS - MORE_SECONDS) * 1000))
    report.marks = await stores.census.remove_marks(repo_id, int(old))
    for lane in await stores.census.lanes(repo_id):
        await stores.census.close_lane(repo_id, lane, int(old))
    await stores.census.advance(repo_id, Progress(stamp, Step.COLLECTED, int(clock())), Step.COLLECTING)
    return report


async def _due(stores: Stores, repo_id: str, step: Step, now: float) -> str:
    """The stamp of the gc that has ended this step at least a grace ago."""
    progress = await stores.census.progress(repo_id)
    if progress is None or progress.step != step:
        raise Unavailable(f"nothing is {step.value} here; run gc from its beginning")
    if now < progress.at + GRACE_SECONDS:
        raise Unavailable(f"it is too early: wait {int(progress.at + GRACE_SECONDS - now) + 1} seconds")
    return progress.stamp


async def _keep_turn(stores: Stores, repo_id: str, stamp: str, step: Step) -> None:
    """Raises Unavailable if another gc, or a rebuild, has started over or come further."""
    if not await stores.census.is_at(repo_id, stamp, step):
        raise Unavailable(OVERTAKEN)


@asynccontextmanager
async def _in_turn(stores: Stores, repo_id: str, stamp: str, step: Step) -> AsyncIterator[None]:
    """What another gc has removed meanwhile is no damage."""
    try:
        yield
    except Damaged:
        await _keep_turn(stores, repo_id, stamp, step)
        raise


async def _roots(stores: Stores, repo_id: str, now: float) -> set[Place]:
    """The places from which everything is kept: branches first, then moves."""
    roots = {ref.head for ref in (await stores.refs.all(repo_id)).values()}
    kept = int((now - KEPT_SECONDS - MORE_SECONDS) * 1000)
    moves = [move for move in await stores.refs.moves(repo_id) if move.at >= kept]
    roots |= {place for move in moves for place in move.kept}
    named = await stores.census.named_commits(repo_id)
    known = await stores.index.known(repo_id, commits=named, even_condemned=True)
    if unknown := set(named) - known.commits.keys():
        raise Damaged(f"commit {min(unknown)}")
    return roots | set(known.commits.values())


async def _lane_rows(stores: Stores, repo_id: str) -> list[_LaneRow]:
    """Every commit row of every lane."""
    return [
        _LaneRow(node.place, stamp, written_at)
        for lane in await stores.census.lanes(repo_id)
        async for node, stamp, written_at in stores.census.lane(repo_id, lane)
    ]


async def _named(stores: Stores, repo_id: str, now: float, tell: Tell) -> tuple[set[str], set[str]]:
    """Packs and loose objects that something names which can be found. Raises Damaged if rows have been lost."""
    known = {entry.place async for entry in stores.census.index(repo_id, Kind.COMMIT) if entry.place}
    live = await reach(stores, repo_id, await _roots(stores, repo_id, now) | known, tell=tell)
    packs, loose = live.packs, set[str]()
    for kind, reached in ((Kind.OBJECT, live.objects), (Kind.SNAPSHOT, live.snapshots)):
        missing = {item_id for item_id in reached if names.is_digest(item_id)}
        async for entry in stores.census.index(repo_id, kind):
            missing.discard(entry.item_id)
            if entry.at and entry.at.is_loose:
                loose.add(entry.item_id)
            elif entry.at:
                packs.add(entry.at.pack)
        if missing:
            raise Damaged(f"{kind.name.lower()} {min(missing)}")
    packs |= {ref.snapshot_at.pack for ref in (await stores.refs.all(repo_id)).values() if ref.snapshot_at}
    return packs, loose


async def _young(stores: Stores, repo_id: str, now: float) -> tuple[set[str], set[str]]:
    """Packs and loose objects younger than a day."""
    since = now - YOUNG_SECONDS
    packs = {one.key for one in await stores.objects.packs(repo_id) if one.modified >= since}
    return packs, {one.key for one in await stores.objects.loose(repo_id) if one.modified >= since}


def _is_young(entry: Entry, young: tuple[set[str], set[str]]) -> bool:
    packs, loose = young
    return entry.at is not None and (entry.item_id in loose if entry.at.is_loose else entry.at.pack in packs)


def _generation(entry: Entry) -> int:
    return entry.place.generation if entry.place else 0


def _runs(found: Sequence[tuple[keys.Key, str]], size: int) -> Iterable[Sequence[tuple[keys.Key, str]]]:
    """Runs of keys of one kind: what lies below is done before what lies above is begun."""
    start = 0
    while start < len(found):
        stop = start + 1
        while stop < len(found) and stop - start < size and _level(found[stop][0]) == _level(found[start][0]):
            stop += 1
        yield found[start:stop]
        start = stop


def _level(key: keys.Key) -> str:
    """The kind of row: the part of the key behind the repository's id, without the shard."""
    return key[0].split("#")[2][:1]
