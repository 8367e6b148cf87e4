"""Removing what nothing leads to any more: without a lock, beside pushes, fetches and other gcs.

Roots are the branches, both ends of every move kept (30 days and a day more), releases and tags. In three steps,
each at least `GRACE_SECONDS` after the end of the one before:

    condemn   rows that no root leads to get `condemned_at`, this gc's stamp. From then on they are unknown to
              whoever would build on them: a push sends and writes them again, which takes the stamp away.
              They can still be read.
    sweep     what leads where is computed anew, from the roots and from every row without this stamp. What
              has become reachable is reprieved; the rest is removed, each row on condition of the same stamp.
    collect   bytes that no row names, old moves, and marks of folders that have not counted for long.

A request lives 15 minutes at most (R), the grace is four times that.

Why no push loses what it builds on
    A push reads what is known (r), writes, and swaps its ref by r + R. What it builds on it either writes itself
    (such a row has no stamp, so the condition of the sweep fails) or has read as known: it is below a row that
    had no stamp at r, or below the head of a branch.
    1  r before the end of condemn: its rows are written and its ref is swapped long before the sweep looks at
       anything, so the sweep finds all it built on below a root or, if it died on the way, below a row
       without the stamp.
    2  r after the end of condemn: what it builds on lies below rows that have no stamp, or below a head. Such a
       row was there when the sweep looked, and then so was everything below it; or it was written since, by a
       push of which this same argument holds. A stamp that is not this gc's own counts as none in the sweep.
    So the stamp must be on *everything* unreachable before the grace begins to run: it runs from the end of the
    whole of condemn, which is written down (`Progress`), never from the stamp of a row. A condemn that was
    cut short is never swept; the next one stamps everything anew with its own stamp.

Why no root is missed
    A move is announced before it is made. Branches are read first, then moves: a head that is not seen any more
    has left a move that is. A restore goes to a commit of a kept move; moves are kept a day longer here than
    there. A release or a tag on a known commit is case 1 or 2.

Why no bytes are missing
    Every push writes its bytes anew, also when the same bytes lie there already. Only versions are removed that
    were written a grace before the rows were read, and each by its version: the same key written in the same
    moment is another version. Between the removal or replacement of the last row that names a pack and the
    removal of the pack lies a grace: who has read that row has been answered. Rows of commits in lanes name
    bytes, too, and so do branches. A lane that only an unfinished push knows of is not found: its rows stay,
    and what they name may go; so a push never keeps a row of 15 minutes or more that no index knows
    (`metadata/commits`). A row younger than that may be taken over by another push, and that again lives
    for R: the reason for a grace of 4 R.

Two at once
    Each condemn starts over with a stamp of its own, and only the last one's is swept. Two sweeps of one stamp
    find the same below whatever a push could build on; one reprieves from below upwards, so that nothing is
    known again whose ground the other has just removed, and stops if it finds that.
    However long one of them sleeps, what it removes is bound to a stamp or a version that is not given again.

A crash between any two calls
    leaves rows with a stamp, which cost whoever needs them again one more upload, and are stamped again or
    reprieved by the next run. Removed is from above downwards: nothing is left standing on what is gone.

Not condemned are objects and snapshots whose bytes are younger than a day: their commits may be under way, in the
last request of a push of many. Packs stay whole while any row names an entry of theirs. Ids and places of the
repository are held in memory, contents are not.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared.actions.fetch import manifest
from shared.actions.lineage import lineage
from shared.errors import Damaged, Unavailable
from shared.metadata import keys
from shared.metadata.census import Entry, Progress
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.refs import KEPT_SECONDS
from shared.metadata.table import split
from shared.model import Kind, Node, Place, Repo
from shared.objects.bucket import Stored
from shared.stores import Stores
from shared.tasks import all_of

GRACE_SECONDS = 4 * STALE_SECONDS
YOUNG_SECONDS = 24 * 3600
MORE_SECONDS = 24 * 3600
"""How much longer moves are kept here than a restore looks for them."""
AT_ONCE = 32
GROUP = 200

Clock = Callable[[], float]
Tell = Callable[[str, int], None]


class Step(StrEnum):
    """What was done last, or is being done."""

    CONDEMNING = "condemning"
    CONDEMNED = "condemned"
    SWEPT = "swept"
    COLLECTED = "collected"


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


@dataclass(slots=True)
class _Live:
    """All that something leads to."""

    places: set[Place] = field(default_factory=set)
    commits: set[str] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)


async def run(
    stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = lambda *_: None
) -> Report:
    """The step that is due: call it now and then, an hour or more apart. Raises Damaged before it would remove
    anything of a repository that cannot be walked to its end: see fsck."""
    progress = await stores.census.progress(repo.repo_id)
    if progress and progress.step in (Step.CONDEMNED, Step.SWEPT):
        due_at = progress.at + GRACE_SECONDS
        if clock() < due_at:
            return Report(None, due_at=due_at)
        step = sweep if progress.step == Step.CONDEMNED else collect
        return await step(stores, repo, clock, dry_run=dry_run, tell=tell)
    return await condemn(stores, repo, clock, dry_run=dry_run, tell=tell)


async def condemn(
    stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = lambda *_: None
) -> Report:
    """Stamp every row that no root leads to. Whatever another gc had begun starts over."""
    repo_id, report = repo.repo_id, Report(Step.CONDEMNED)
    stamp = f"{int(clock() * 1000):013d}-{secrets.token_hex(4)}"
    if not dry_run:
        await stores.census.begin(repo_id, Progress(stamp, Step.CONDEMNING, int(clock())))
    young = await _young(stores, repo_id, clock())
    live = await _live(stores, repo_id, await _roots(stores, repo_id, clock()), (), tell)
    doomed: list[keys.Key] = []
    # From above downwards: a row is stamped before what it leads to.
    entries = [entry async for entry in stores.census.index(repo_id, Kind.COMMIT) if entry.item_id not in live.commits]
    for entry in sorted(entries, key=lambda entry: -entry.place.generation if entry.place else 0):
        doomed.append(keys.by_id(repo_id, Kind.COMMIT, entry.item_id))
    _count(report, "commits", len(doomed))
    async for node, _ in _lane_rows(stores, repo_id):
        if node.place not in live.places:
            doomed.append(keys.commit(repo_id, node.place))
    _count(report, "lanes", len(doomed) - report.rows["commits"])
    for kind, reached in ((Kind.SNAPSHOT, live.snapshots), (Kind.OBJECT, live.objects)):
        before = len(doomed)
        async for entry in stores.census.index(repo_id, kind):
            if entry.item_id not in reached and not _is_young(entry, young):
                doomed.append(keys.by_id(repo_id, kind, entry.item_id))
                report.bytes += entry.at.length if entry.at else 0
        _count(report, "snapshots" if kind is Kind.SNAPSHOT else "objects", len(doomed) - before)
    if not dry_run:
        for number, part in enumerate(split(doomed, AT_ONCE)):
            await all_of(stores.census.condemn(key, stamp) for key in part)
            tell("condemned", number * AT_ONCE + len(part))
        ended = int(clock()) + 1  # rounded up: the grace is not shortened by a fraction
        if not await stores.census.advance(repo_id, Progress(stamp, Step.CONDEMNED, ended)):
            raise Unavailable("another gc has started over; nothing is lost, run it again")
    report.due_at = int(clock()) + GRACE_SECONDS
    return report


async def sweep(
    stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = lambda *_: None
) -> Report:
    """Reprieve what has become reachable, remove the rest of what was condemned. Raises Unavailable if too early."""
    repo_id, report = repo.repo_id, Report(Step.SWEPT)
    stamp = await _due(stores, repo_id, Step.CONDEMNED, clock())
    roots = await _roots(stores, repo_id, clock())
    # Everything that does not carry this very stamp may be built upon at this moment.
    commits = [entry async for entry in stores.census.index(repo_id, Kind.COMMIT)]
    snapshots = [entry async for entry in stores.census.index(repo_id, Kind.SNAPSHOT)]
    roots += [(entry.place, True) for entry in commits if entry.place and entry.stamp != stamp]
    live = await _live(stores, repo_id, roots, (e for e in snapshots if e.stamp != stamp), tell)

    kept: list[keys.Key] = []
    doomed: dict[str, list[keys.Key]] = {"commits": [], "lanes": [], "snapshots": [], "objects": []}

    def judge(what: str, key: keys.Key, *, lives: bool) -> None:
        (kept if lives else doomed[what]).append(key)

    async for entry in stores.census.index(repo_id, Kind.OBJECT):
        if entry.stamp == stamp:
            judge("objects", keys.by_id(repo_id, Kind.OBJECT, entry.item_id), lives=entry.item_id in live.objects)
    for entry in snapshots:
        if entry.stamp == stamp:
            judge("snapshots", keys.by_id(repo_id, Kind.SNAPSHOT, entry.item_id), lives=entry.item_id in live.snapshots)
    async for node, has in _lane_rows(stores, repo_id):
        if has == stamp:
            judge("lanes", keys.commit(repo_id, node.place), lives=node.place in live.places)
    for entry in sorted(commits, key=lambda entry: entry.place.generation if entry.place else 0):
        if entry.stamp == stamp:
            judge("commits", keys.by_id(repo_id, Kind.COMMIT, entry.item_id), lives=entry.item_id in live.commits)

    report.reprieved = len(kept)
    report.rows = {what: len(found) for what, found in doomed.items()}
    if dry_run:
        return report
    for part in _runs(kept, AT_ONCE):  # from below upwards
        if not all(await all_of(stores.census.reprieve(key, stamp) for key in part)):
            raise Unavailable("another gc has removed what this one would keep; run fsck, then gc again")
    for what, found in doomed.items():  # from above downwards
        removed = 0
        for part in split(found[::-1], AT_ONCE):
            removed += sum(await all_of(stores.census.remove(key, stamp) for key in part))
            tell(f"removed {what}", removed)
        report.rows[what] = removed
    await stores.census.advance(repo_id, Progress(stamp, Step.SWEPT, int(clock()) + 1))
    report.due_at = int(clock()) + GRACE_SECONDS
    return report


async def collect(
    stores: Stores, repo: Repo, clock: Clock, *, dry_run: bool = True, tell: Tell = lambda *_: None
) -> Report:
    """Remove the bytes that no row names, and what else is only old. Raises Unavailable if too early."""
    repo_id, report = repo.repo_id, Report(Step.COLLECTED)
    stamp = await _due(stores, repo_id, Step.SWEPT, clock())
    now = clock()
    old = now - GRACE_SECONDS
    packs, loose = await _named(stores, repo_id)
    dead: list[Stored] = []
    async for name, one in stores.objects.pack_versions(repo_id):
        if name not in packs and one.modified < old:
            dead.append(one)
            report.packs += 1
    async for object_id, one in stores.objects.loose_versions(repo_id):
        if object_id not in loose and one.modified < old:
            dead.append(one)
            report.loose += 1
    report.bytes = sum(one.size for one in dead)
    if dry_run:
        return report
    await stores.objects.remove(dead)
    tell("removed versions of packs and objects", len(dead))
    report.moves = await stores.census.remove_moves(repo_id, int((now - KEPT_SECONDS - MORE_SECONDS) * 1000))
    report.marks = await stores.census.remove_marks(repo_id, int(old))
    await stores.census.advance(repo_id, Progress(stamp, Step.COLLECTED, int(clock())))
    return report


async def _due(stores: Stores, repo_id: str, step: Step, now: float) -> str:
    """The stamp of the gc that has ended this step at least a grace ago."""
    progress = await stores.census.progress(repo_id)
    if progress is None or progress.step != step:
        raise Unavailable(f"nothing is {step.value} here; run gc from its beginning")
    if now < progress.at + GRACE_SECONDS:
        raise Unavailable(f"it is too early: wait {int(progress.at + GRACE_SECONDS - now) + 1} seconds")
    return progress.stamp


async def _roots(stores: Stores, repo_id: str, now: float) -> list[tuple[Place | None, bool]]:
    """Places from which everything is kept, each with whether its row must be there: branches first, then moves.

    A move may have been announced by a push that died before it had written anything.
    """
    refs = await stores.refs.all(repo_id)
    kept = int((now - KEPT_SECONDS - MORE_SECONDS) * 1000)
    moves = [move for move in await stores.refs.moves(repo_id) if move.at >= kept]
    named = await stores.census.named_commits(repo_id)
    known = await stores.index.known(repo_id, commits=named, even_condemned=True)
    roots: list[tuple[Place | None, bool]] = [(ref.head, True) for ref in refs.values()]
    roots += [(place, False) for move in moves for place in (move.before, move.after)]
    return roots + [(place, True) for place in known.commits.values()]


async def _live(
    stores: Stores,
    repo_id: str,
    roots: Sequence[tuple[Place | None, bool]],
    entries: Iterable[Entry],
    tell: Tell,
) -> _Live:
    """Everything that these roots, and these snapshots, lead to. Raises Damaged rather than take a gap for an end."""
    live = _Live()
    may_lack = {place for place, must in roots if place and not must} - {place for place, must in roots if must}
    starts = {place for place, _ in roots if place}
    manifests = {entry.at for entry in entries if entry.at}
    while starts:
        fresh: set[str] = set()
        snapshots: set[str] = set()
        async for place, node in lineage(stores.commits, repo_id, starts, skip=frozenset(live.places)):
            if node is None:
                if place in may_lack:
                    continue
                raise Damaged(f"commit {place.commit_id}")
            live.places.add(place)
            if place.commit_id not in live.commits:
                fresh.add(place.commit_id)
            if node.snapshot_id:
                snapshots.add(node.snapshot_id)
            if node.snapshot_at:
                manifests.add(node.snapshot_at)
        live.commits |= fresh
        live.snapshots |= snapshots
        tell("commits that stay", len(live.commits))
        # What the index says of these ids stays as well, where a second writing has made it say something else.
        starts = set()
        for part in split(sorted(fresh | snapshots), AT_ONCE * 100):
            some = set(part)
            known = await stores.index.known(
                repo_id, commits=some & fresh, snapshots=some & snapshots, even_condemned=True
            )
            starts |= set(known.commits.values()) - live.places
            manifests |= set(known.snapshots.values())
    for group in split(sorted(manifests, key=lambda at: (at.pack, at.offset)), GROUP):
        for record in (await stores.objects.read_packed(repo_id, group)).values():
            live.objects.update(manifest(record).values())
        tell("objects that stay", len(live.objects))
    return live


async def _lane_rows(stores: Stores, repo_id: str) -> AsyncIterator[tuple[Node, str]]:
    """Every commit row of every lane that anything leads to, with its stamp."""
    for lane in sorted(await stores.census.lanes(repo_id)):
        async for row in stores.census.lane(repo_id, lane):
            yield row


async def _named(stores: Stores, repo_id: str) -> tuple[set[str], set[str]]:
    """Packs and loose objects that any row names."""
    packs: set[str] = set()
    loose: set[str] = set()
    for kind in (Kind.OBJECT, Kind.SNAPSHOT):
        async for entry in stores.census.index(repo_id, kind):
            if entry.at and entry.at.is_loose:
                loose.add(entry.item_id)
            elif entry.at:
                packs.add(entry.at.pack)
    async for node, _ in _lane_rows(stores, repo_id):
        packs |= {at.pack for at in (node.snapshot_at, node.record_at) if at}
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


def _runs(found: Sequence[keys.Key], size: int) -> Iterable[Sequence[keys.Key]]:
    """Runs of keys of one kind: what lies below is done before what lies above is begun."""
    start = 0
    while start < len(found):
        stop = start + 1
        while stop < len(found) and stop - start < size and _level(found[stop]) == _level(found[start]):
            stop += 1
        yield found[start:stop]
        start = stop


def _level(key: keys.Key) -> str:
    """The kind of row: the part of the key behind the repository's id, without the shard."""
    return key[0].split("#")[2][:1]


def _count(report: Report, what: str, number: int) -> None:
    report.rows[what] = number
