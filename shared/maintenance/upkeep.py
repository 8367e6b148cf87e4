"""Automatic upkeep: does the work that the list of due work (`metadata/due`) has, repository by
repository.

    purge     deletes the data of a deleted repository
    repack    combines small packs, then makes a gc due
    gc        takes the step that is due: condemn, sweep, collect, at least an hour apart; after the
              last one, counts the content of the owner
    clone     makes a prebuilt clone
    check     verifies everything (fsck), then makes a gc and the next check due

A run works in a slice of time. A row stays in the list until its work is done, so a run that ends
at any point is continued by the next one. A visit to a repository starts with a conditional write
(`metadata/visits`), so no two processes work on one repository. A failure of one repository does
not stop the others: it is logged, and the next visit to that repository is later.
docs/design/upkeep.md has the invariants.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shared import log
from shared.errors import Unavailable
from shared.maintenance import fsck, gc, prebuilt_clones, purge, repack, usage
from shared.maintenance.fsck import Finding, Sample
from shared.maintenance.lease import Clock, Step, started_at
from shared.metadata.due import CHECK_SECONDS, DAY_SECONDS, Due, Work, first_check, later
from shared.metadata.visits import Visit
from shared.model import RepoId
from shared.stores import RepoStores, Stores

HOUR_SECONDS = 3600
MAX_DELAY_SECONDS = 7 * DAY_SECONDS
"""The longest time between two visits to a repository at which work fails."""
POPULAR_CLONES = 2
"""Costly clones of a day that make a prebuilt clone worthwhile: it costs as much as two of them."""
MAX_PARTS = 256
"""The most parts of a check. A larger repository is checked by the command `fsck`."""
LOGGED_FINDINGS = 10
END_SECONDS = 20
"""Time that is left at the end of a slice to record the outcome of the last visit."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The time of one run: from `start` to `end`, in epoch seconds. `clock` returns the time."""

    clock: Clock
    start: float
    end: float

    @property
    def has_time(self) -> bool:
        """Whether another visit may start: it has at least half of the slice."""
        return self.clock() <= self.start + (self.end - self.start) / 2

    @property
    def left_seconds(self) -> float:
        """The time that work may take."""
        return max(0.0, self.end - END_SECONDS - self.clock())


@dataclass(slots=True)
class Ran:
    """The result of a run: the numbers of visited repositories, by outcome.

    `busy`: another process works there, or a failure was too recent. `left`: not visited, since the
    slice was over. `done`: the numbers of pieces of work that ended, by kind.
    """

    visited: int = 0
    failed: int = 0
    postponed: int = 0
    busy: int = 0
    left: int = 0
    done: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Job:
    """A visit to a repository: the due work, and the work that was done."""

    stores: Stores
    repo_id: RepoId
    slice: Slice
    due: list[Due]
    done: list[str] = field(default_factory=list)
    findings: int | None = None
    is_gone: bool = False
    is_split: bool = False
    """Whether the check did not end in time: the next visit checks a smaller part."""

    def of(self, work: Work) -> list[Due]:
        """The due rows of a kind of work."""
        return [one for one in self.due if one.work is work]

    async def finish(self, done: Iterable[Due], following: Sequence[Due] = ()) -> None:
        """List the work that follows, then remove the rows of the work that is done."""
        if following:
            await self.stores.due.put(following)
        await self.stores.due.remove(done)


async def run(stores: Stores, clock: Clock, end: float) -> Ran:
    """Do the due work, until `end` (epoch seconds). Raises Unavailable if the list cannot be read.

    AWS calls: one Query and one GetItem if nothing is due. For each repository two UpdateItem, up
    to two GetItem, and the calls of its work; one BatchWriteItem for the result.
    """
    time = Slice(clock, clock(), end)
    await _list_popular(stores, time.start)
    by_repo: dict[RepoId, list[Due]] = {}
    for one in await stores.due.until(time.start):
        by_repo.setdefault(one.repo_id, []).append(one)
    ran = Ran()
    worker = secrets.token_hex(8)
    for number, (repo_id, due) in enumerate(by_repo.items()):
        if not time.has_time:
            ran.left = len(by_repo) - number
            break
        await _visit(_Job(stores, repo_id, time, due), worker, ran)
    if ran.visited or ran.left:
        result = {name: value for name, value in asdict(ran).items() if name != "done"}
        done = ", ".join(f"{count} {kind}" for kind, count in sorted(ran.done.items()))
        at = {"started_at": int(time.start), "ended_at": int(clock())}
        await stores.due.put_last_run({**result, **at, "done": done})
    return ran


async def list_checks(stores: Stores, now: float) -> int:
    """List the first check of each repository that has none, and the purge of deleted ones.

    For repositories of a hub without upkeep. Reads the whole table. Returns their number.
    """
    listed = {(due.work, due.repo_id) for due in await stores.due.all()}
    wanted = [first_check(repo.repo_id, now) for repo in await stores.repos.everywhere()]
    wanted += [
        later(Work.PURGE, repo.repo_id, deleted_at, DAY_SECONDS)
        async for repo, deleted_at in stores.repos.all_deleted()
    ]
    missing = [due for due in wanted if (due.work, due.repo_id) not in listed]
    await stores.due.put(missing)
    return len(missing)


async def _list_popular(stores: Stores, now: float) -> None:
    """List a prebuilt clone of each repository that was cloned often today."""
    for repo_id, clones in (await stores.counters.clones(now)).items():
        if clones >= POPULAR_CLONES:
            await stores.due.put([Due(int(now), Work.CLONE, repo_id)])
            await stores.counters.add_clones(repo_id, -clones, now)


async def _visit(job: _Job, worker: str, ran: Ran) -> None:
    """Work on one repository, and record the outcome."""
    stores = job.stores
    repo_id = job.repo_id
    if not await stores.visits.start(repo_id, worker, job.slice.clock(), job.slice.end):
        ran.busy += 1
        return
    ran.visited += 1
    error: Exception | None = None
    try:
        await _work(job)
    except asyncio.CancelledError:
        await stores.visits.end(repo_id, worker, Visit(ended_at=int(job.slice.clock())))
        raise
    except Exception as problem:  # whatever it is, the other repositories are visited
        error = problem
    for text in job.done:
        kind = text.split()[0]
        ran.done[kind] = ran.done.get(kind, 0) + 1
    if job.is_gone:
        await stores.visits.forget(repo_id, worker)
        return
    last = await stores.visits.get(repo_id)
    await stores.visits.end(repo_id, worker, _outcome(job, last, error, ran))


def _outcome(job: _Job, last: Visit, error: Exception | None, ran: Ran) -> Visit:
    """The row of a visit that ended. A failure delays the next visit: 1, 2, 4 hours, up to a week.

    Unavailable is no failure: another job works here, or AWS did not answer.
    """
    now = int(job.slice.clock())
    done = ", ".join(job.done)
    visit = Visit(0, now, done, findings=last.findings if job.findings is None else job.findings)
    if error is None:
        return visit
    text = f"{type(error).__name__}: {error}"[:200]
    if isinstance(error, Unavailable):
        ran.postponed += 1
        _log(job).warning("upkeep postponed", repo_id=job.repo_id, reason=text)
        return replace(visit, error=text, failures=last.failures)
    ran.failed += 1
    failures = last.failures + 1
    _log_failure(job, "failed", error=text, failures=failures, exc_info=error)
    delay = min(HOUR_SECONDS * 2 ** min(failures - 1, 10), MAX_DELAY_SECONDS)
    return replace(visit, error=text, failures=failures, not_before=now + delay)


async def _work(job: _Job) -> None:
    """Do the due work. All kinds of work are tried. Raises the first failure."""
    if job.of(Work.PURGE):
        await _within(job, _purge(job))
    repo = await job.stores.repos.by_id(job.repo_id)
    if repo is None or repo.deleted:
        # An undeletion lists a check, which makes a gc due.
        job.is_gone = repo is None
        await job.finish(one for one in job.due if one.work is not Work.PURGE)
        return
    repository = job.stores.of(repo)
    errors: list[Exception] = []
    for work in (_tidy, _clone, _check):
        if job.slice.left_seconds <= 0:
            break
        try:
            await _within(job, work(job, repository))
        except Exception as error:
            if not job.is_split:
                errors.append(error)
    if errors:
        raise errors[0]


async def _within(job: _Job, work: Coroutine[Any, Any, None]) -> None:
    """Work until the end of the slice. Raises TimeoutError."""
    async with asyncio.timeout(job.slice.left_seconds):
        await work


async def _purge(job: _Job) -> None:
    if await purge.purge_if_due(job.stores, job.repo_id, job.slice.clock()):
        await job.finish(job.of(Work.PURGE))
        job.due = [one for one in job.due if one.work is not Work.PURGE]
        job.done.append("purge")


async def _tidy(job: _Job, repository: RepoStores) -> None:
    """Take the next step of a gc that is between two steps; else repack, then start a gc.

    A repack would stop a gc, so it waits for its end.
    """
    following = await gc.next_step(repository)
    folded = job.of(Work.REPACK)
    if folded and following.step is Step.CONDEMNED:
        report = await repack.repack(repository, job.slice.clock)
        unused = [Due(int(job.slice.clock()), Work.GC, job.repo_id)] if report.packs else []
        await job.finish(folded, unused)
        job.due += unused
        job.done.append(f"repack {report.packs}")
    collected = job.of(Work.GC)
    if not collected:
        return
    progress = await repository.scans.progress()
    report_of_gc = await gc.run(repository, job.slice.clock)
    if report_of_gc.step is None:
        return
    job.done.append(f"gc {report_of_gc.step}")
    if report_of_gc.step is Step.COLLECTED and progress:
        # Work that became due after this gc started is left to the next gc.
        start = started_at(progress.run_id)
        await job.finish([one for one in collected if one.at <= start])
        await usage.recount_daily(job.stores, repository.repo.owner, int(job.slice.clock()))


async def _clone(job: _Job, repository: RepoStores) -> None:
    wanted = job.of(Work.CLONE)
    if wanted:
        made = await prebuilt_clones.make(repository, job.slice.clock)
        await job.finish(wanted)
        job.done.append("clone" if made.prebuilt else "no clone")


async def _check(job: _Job, repository: RepoStores) -> None:
    """Verify a part of the repository, all of it if it is small, and list the next part.

    If the slice ends before, the next visit verifies a smaller part.
    """
    wanted = job.of(Work.CHECK)
    if not wanted:
        return
    due = wanted[0]
    now = int(job.slice.clock())
    try:
        sample = Sample(due.part, due.parts)
        findings = [found async for found in fsck.fsck(repository, sample=sample)]
    except asyncio.CancelledError:
        smaller = replace(due, part=2 * due.part, parts=min(2 * due.parts, MAX_PARTS))
        if due.parts < MAX_PARTS and job.slice.left_seconds <= 0:
            await job.stores.due.put([smaller])
            job.is_split = True
        raise
    before = (await job.stores.visits.get(job.repo_id)).findings if due.part else 0
    job.findings = before + len(findings)
    _report(job, findings)
    if due.part + 1 < due.parts:
        await job.finish(wanted[1:], [replace(due, part=due.part + 1)])
    else:
        following = later(Work.CHECK, job.repo_id, now, CHECK_SECONDS)
        await job.finish(wanted, [following, Due(now, Work.GC, job.repo_id)])
    job.done.append(f"check {due.part + 1} of {due.parts}")


def _report(job: _Job, findings: Sequence[Finding]) -> None:
    for one in findings[:LOGGED_FINDINGS]:
        shown = {"kind": one.kind, "item": one.id, "wrong": one.wrong, "fix": one.fix}
        _log(job).error("upkeep finding", repo_id=job.repo_id, **shown)
    if findings:
        _log_failure(job, "found faults", findings=len(findings))


def _log(job: _Job) -> Any:
    return log.at(job.stores.settings.log_level)


def _log_failure(job: _Job, what: str, **values: Any) -> None:
    """Log a failure, as a metric of CloudWatch too (embedded metric format): no call is needed."""
    metric = {
        "Namespace": "pieria",
        "Dimensions": [["CounterTable"]],
        "Metrics": [{"Name": "UpkeepFailures", "Unit": "Count"}],
    }
    _log(job).error(
        f"upkeep {what}",
        _aws={"Timestamp": int(job.slice.clock() * 1000), "CloudWatchMetrics": [metric]},
        CounterTable=job.stores.settings.counter_table,
        UpkeepFailures=1,
        repo_id=job.repo_id,
        **values,
    )
