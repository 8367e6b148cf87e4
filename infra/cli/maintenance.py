"""Maintenance of repositories: fsck, rebuild-index, gc, purge."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from infra.cli import output
from infra.cli.output import Data, Json, Name
from shared.maintenance import fsck as checking
from shared.maintenance import gc as collecting
from shared.maintenance import purge as purging
from shared.maintenance import rebuild as rebuilding
from shared.maintenance.fsck import Finding
from shared.maintenance.gc_plan import Plan, Report
from shared.maintenance.lease import Clock, Step
from shared.maintenance.lease import stop_gc as stopping_gc
from shared.maintenance.purge import Purged
from shared.maintenance.rebuild_plan import RebuildPlan, Rebuilt
from shared.progress import OnProgress
from shared.stores import RepoStores, Stores

GcStep = Callable[[RepoStores, Clock, OnProgress], Awaitable[Report]]

FLAGS = {Step.CONDEMNED: "--condemn", Step.SWEPT: "--sweep", Step.COLLECTED: "--collect"}
"""The option that runs each step of gc."""


def fsck(name: Name, json: Json = False, data: Data = None) -> None:
    """Read everything that the branches reach, and verify it.

    Each id is compared with its content. Changes nothing.
    Exit status 1 if something is wrong.
    """
    checked: Counter[str] = Counter()

    async def work(stores: Stores, bar: OnProgress) -> list[Finding]:
        repo = await output.require(stores, name)

        def on_progress(
            what: str, done: int, total: int | None = None, size_bytes: int | None = None
        ) -> None:
            checked[what] = done
            bar(what, done, total, size_bytes)

        return [finding async for finding in checking.fsck(stores.of(repo), on_progress)]

    found = output.run_long(data, f"checking {name}", work, "nothing was changed")
    if json:
        output.document(
            {"repo": name, "checked": checked, "findings": [asdict(finding) for finding in found]}
        )
    elif found:
        rows = [(finding.kind, finding.id, finding.wrong, finding.fix) for finding in found]
        output.table(["kind", "id", "fault", "fix"], rows)
    else:
        output.say(f"{name} is whole: {_counts(checked)}")
    raise typer.Exit(1 if found else 0)


def rebuild_index(
    name: Name,
    stop_gc: Annotated[
        bool, typer.Option("--stop-gc", help="Stop a gc that is between two of its steps, first.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing, and print the writes.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Write missing rows again, from the packs in the bucket.

    Replaces nothing. Refuses to start while a gc is between two of its steps.
    Exit status 1 if a damaged pack or an incomplete item was skipped.
    """
    if dry_run and stop_gc:
        output.fail("--dry-run changes nothing, so it cannot stop a gc: use one of the two options")

    async def plan(stores: Stores, bar: OnProgress) -> RebuildPlan:
        return await rebuilding.plan(stores.of(await output.require(stores, name)), bar)

    async def work(stores: Stores, bar: OnProgress) -> Rebuilt:
        repo = await output.require(stores, name)
        now = output.now()
        if stop_gc:
            await stopping_gc(stores.of(repo), now)
        return await rebuilding.rebuild(stores.of(repo), now, bar)

    if dry_run:
        planned = output.run_long(data, f"reading {name}", plan, "nothing was changed")
        done = planned.report()
        if json:
            output.document(_plan_document(name, done, planned.writes))
        else:
            output.say_writes(name, planned.writes)
    else:
        left = "the rows that were written stay; run it again to write the rest"
        done = output.run_long(data, f"rebuilding {name}", work, left)
        _say_rebuilt(name, done, json=json)
    damaged = [(pack, "the pack is damaged") for pack in done.damaged]
    incomplete = [(item, "a part of it is missing") for item in done.incomplete]
    unused = [*damaged, *incomplete]
    if unused and not json:
        output.table(["id", "skipped, since"], unused)
    raise typer.Exit(1 if unused else 0)


@dataclass(frozen=True)
class GcOptions:
    """The options of `pieria gc`."""

    name: Name
    condemn: Annotated[
        bool, typer.Option("--condemn", help="1. Mark the rows that nothing reaches.")
    ] = False
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="2. An hour later: delete the rows that are still unreachable."
        ),
    ] = False
    collect: Annotated[
        bool, typer.Option("--collect", help="3. An hour later: delete the bytes.")
    ] = False
    due: Annotated[bool, typer.Option("--due", help="The step that is due: for a timer.")] = False
    json: Json = False
    data: Data = None

    def step(self) -> GcStep | None:
        """The chosen step, or None for a dry run of the next one. Fails if several are chosen."""
        chosen = [
            step
            for step, wanted in (
                (collecting.condemn, self.condemn),
                (collecting.sweep, self.sweep),
                (collecting.collect, self.collect),
                (collecting.run, self.due),
            )
            if wanted
        ]
        if len(chosen) > 1:
            output.fail("one step at a time: use one of --condemn, --sweep, --collect and --due")
        return chosen[0] if chosen else None


@output.with_options
def gc(options: GcOptions) -> None:
    """Delete rows and bytes that nothing reaches, in three steps.

    Without an option, nothing is changed: the command prints the plan of the next step.
    """
    step = options.step()
    if step is None:
        _plan_gc(options)
        return

    async def work(stores: Stores, bar: OnProgress) -> Report:
        repo = await output.require(stores, options.name)
        return await step(stores.of(repo), output.now, bar)

    left = "the step is not done; all that it deleted was unreachable; run it again"
    report = output.run_long(options.data, f"collecting {options.name}", work, left)
    if options.json:
        output.document({"repo": options.name, "dry_run": False, **asdict(report)})
        return
    for line in _summary(options.name, report):
        output.say(line)


def _plan_gc(options: GcOptions) -> None:
    """Print the plan of the step that is due."""

    async def plan(stores: Stores, bar: OnProgress) -> Plan:
        repo = await output.require(stores, options.name)
        return await collecting.plan(stores.of(repo), output.now, bar)

    name = options.name
    planned = output.run_long(options.data, f"reading {name}", plan, "nothing was changed")
    report = planned.report()
    if options.json:
        output.document(_plan_document(name, report, planned.writes))
    elif report.step is None:
        output.say(_too_early(name, report))
    else:
        output.say_writes(name, planned.writes)
        output.say(f"next: `{FLAGS[report.step]}` does it")


def purge(
    remove: Annotated[bool, typer.Option("--remove", help="Do it. Otherwise only count.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="About how many rows and versions to delete in this run.")
    ] = purging.LIMIT,
    json: Json = False,
    data: Data = None,
) -> None:
    """Delete the data of repositories that were deleted a day ago or earlier.

    Without `--remove`, nothing is changed. A removal cannot be undone.
    """

    async def work(stores: Stores, bar: OnProgress) -> Purged:
        if not remove:
            return await purging.plan(stores)
        return await purging.purge(stores, now=output.now(), limit=limit, on_progress=bar)

    left = "some rows and bytes may be deleted; run it again to delete the rest"
    purged = output.run_long(data, "purging", work, left)
    if json:
        output.document({"dry_run": not remove, **asdict(purged)})
    elif remove:
        removed = _counts({"rows": purged.rows, "object versions": purged.versions})
        output.say(
            f"removed {removed}, {output.size(purged.bytes)};"
            f" repositories done: {purged.done}, waiting: {purged.waiting}"
        )
    else:
        output.say(
            f"deleted repositories that wait: {purged.waiting}; --remove deletes the data of those"
            " older than a day"
        )


def _say_rebuilt(name: str, done: Rebuilt, *, json: bool) -> None:
    if json:
        output.document({"repo": name, **asdict(done)})
        return
    numbers = {"objects": done.objects, "snapshots": done.snapshots, "commits": done.commits}
    output.say(f"{name}: rows of {_counts(numbers)} are in place; {done.refs} branches fixed")


def _plan_document(
    name: str, report: Report | Rebuilt, writes: Iterable[object]
) -> dict[str, object]:
    return {"repo": name, "dry_run": True, **asdict(report), "writes": [str(one) for one in writes]}


def _too_early(name: str, report: Report) -> str:
    return f"{name}: too early; the next step may start at {output.when(report.due_at)}"


def _summary(name: str, report: Report) -> list[str]:
    """The result of a step, and the step that follows it."""
    rows = _counts(report.rows)
    match report.step:
        case None:
            return [_too_early(name, report)]
        case Step.CONDEMNED:
            done = f"condemned rows of {rows} ({output.size(report.bytes)})"
            after = f"`--sweep` from {output.when(report.due_at)}"
        case Step.SWEPT:
            done = f"removed rows of {rows}; reprieved {report.reprieved}"
            after = f"`--collect` from {output.when(report.due_at)}"
        case _:
            files = _counts({"packs": report.packs, "large objects": report.loose})
            done = (
                f"removed {files}, {output.size(report.bytes)}; {report.moves} old moves,"
                f" {report.marks} marks"
            )
            after = "nothing: this gc is done"
    return [f"{name}: {done}", f"next: {after}"]


def _counts(numbers: dict[str, int]) -> str:
    named = (
        f"{number} {what.removesuffix('s') if number == 1 else what}"
        for what, number in numbers.items()
    )
    return ", ".join(named) or "nothing"
