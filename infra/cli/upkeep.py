"""The automatic upkeep of a hub: due work, the last visits and errors; and a run by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from infra.cli import output
from infra.cli.output import Data, Json
from shared.maintenance import upkeep
from shared.maintenance.upkeep import Ran
from shared.metadata.due import DAY_SECONDS, Due
from shared.metadata.visits import Visit
from shared.progress import OnProgress
from shared.stores import Stores

SHOWN = 50

app = typer.Typer(
    help="The upkeep that the hub does by itself: due work, and the last errors.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A row of the list, with the last visit to its repository."""

    repo: str
    due: Due
    visit: Visit


@dataclass(frozen=True, slots=True)
class _State:
    is_on: bool
    shown: Sequence[_Shown]
    others: int
    """The number of rows that are not shown."""
    last_run: Mapping[str, str]


@app.callback()
def show(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="The number of rows to show.")] = SHOWN,
    json: Json = False,
    data: Data = None,
) -> None:
    """The upkeep that the hub does by itself: due work, and the last errors."""
    if context.invoked_subcommand is None:
        _show(output.run(data, lambda stores: _state(stores, limit)), json=json)


@app.command()
def run(json: Json = False, data: Data = None) -> None:
    """Do the due work now.

    First lists the checks of repositories that an older version of the hub has created.
    Exit status 1 if work failed on a repository.
    """

    async def work(stores: Stores, bar: OnProgress) -> tuple[int, Ran]:
        listed = await upkeep.list_checks(stores, output.now())
        return listed, await upkeep.run(stores, output.now, output.now() + DAY_SECONDS)

    left = "the work that is left stays due; run it again after a day, or in a running hub"
    listed, ran = output.run_long(data, "upkeep", work, left)
    if json:
        output.document({"listed": listed, **asdict(ran)})
    else:
        done = ", ".join(f"{count} {kind}" for kind, count in sorted(ran.done.items()))
        output.say(f"visited repositories: {ran.visited}; done: {done or 'nothing'}")
        for name in ("failed", "postponed", "busy"):
            if getattr(ran, name):
                output.say(f"{name}: {getattr(ran, name)}; `pieria upkeep` shows the reasons")
        if listed:
            output.say(f"listed for the first time: {listed}")
    raise typer.Exit(1 if ran.failed else 0)


async def _state(stores: Stores, limit: int) -> _State:
    due = await stores.due.all()
    shown = []
    for one in due[:limit]:
        repo = await stores.repos.by_id(one.repo_id)
        name = f"{repo.owner}/{repo.slug}" if repo else one.repo_id
        shown.append(_Shown(name, one, await stores.visits.get(one.repo_id)))
    row = await stores.due.last_run()
    last_run = {name: str(value) for name, value in row.items() if name not in ("pk", "sk")}
    return _State(stores.settings.upkeep, shown, max(0, len(due) - limit), last_run)


def _show(state: _State, *, json: bool) -> None:
    if json:
        rows = [
            {"repo": one.repo, **asdict(one.due), "last_visit": asdict(one.visit)}
            for one in state.shown
        ]
        shown = {"is_on": state.is_on, "due": rows, "others": state.others}
        output.document({**shown, "last_run": state.last_run})
        return
    if not state.is_on:
        output.say("upkeep is off (PIERIA_UPKEEP): nothing is done by itself")
    if state.last_run:
        run = state.last_run
        output.say(
            f"last run with work: {output.when(int(run['ended_at']))}; visited"
            f" {run['visited']}, failed {run['failed']}, postponed {run['postponed']}, left"
            f" {run['left']}; done: {run['done'] or 'nothing'}"
        )
    columns = ["repository", "work", "due", "last visit", "done", "next try", "error"]
    output.table(columns, [_row(one) for one in state.shown])
    if state.others:
        output.say(f"and {state.others} more, due later; --limit shows more")


def _row(one: _Shown) -> Sequence[str]:
    visit = one.visit
    part = f" ({one.due.part + 1} of {one.due.parts})" if one.due.parts > 1 else ""
    faults = f"{visit.findings} faults found: see fsck" if visit.findings else ""
    return (
        one.repo,
        f"{one.due.work}{part}",
        output.when(one.due.at),
        output.when(visit.ended_at),
        visit.done,
        output.when(visit.not_before),
        visit.error or faults,
    )
