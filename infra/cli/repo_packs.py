"""Commands for the packs of a repository: bundle, repack."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from infra.cli import output
from infra.cli.output import Data, Json, Name
from shared.limits import Limits
from shared.maintenance import prebuilt_clones
from shared.maintenance import repack as repacking
from shared.maintenance.prebuilt_clones import Made
from shared.maintenance.repack_plan import Repacked, RepackPlan
from shared.progress import OnProgress
from shared.stores import Stores

WHY_LEFT = {
    "large": f"of {Limits().small_pack_bytes >> 20} MiB or more",
    "young": "younger than a day",
    "unnamed": "that no row points to (gc deletes them)",
    "ambiguous": "with an item that has other bytes in another pack",
    "few": "too few to combine",
}


def bundle(name: Name, json: Json = False, data: Data = None) -> None:
    """Prebuild the answer to a clone.

    Run it from a timer for popular repositories. gc deletes outdated bundles.
    """

    async def work(stores: Stores, bar: OnProgress) -> Made:
        return await prebuilt_clones.make(stores.of(await output.require(stores, name)), output.now)

    left = "the clones are served as before; run it again"
    made = output.run_long(data, f"bundling {name}", work, left)
    one = made.prebuilt
    if json:
        if one:
            about = {"name": one.name, "bytes": one.size, "made_at": one.made_at}
        else:
            about = {"why_not": made.why_not}
        output.document({"repo": name, "is_new": made.is_new, **about})
    elif one:
        if made.is_new:
            state = "made"
        else:
            state = "there already, and whole"
        held = f"{one.commits.count} commits and {one.objects.count} objects"
        output.say(f"{name}: a bundle of {held} is {state} ({output.size(one.size)})")
    else:
        output.say(f"{name}: no bundle, since {made.why_not}")


def repack(
    name: Name,
    fold: Annotated[bool, typer.Option("--fold", help="Do it. Otherwise only count.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Combine the packs of small pushes into few larger ones, so that clones cost less.

    Pushes, fetches and reads continue. A gc that is under way starts over, and the next one deletes
    the old packs. Run it again after an interruption.
    """

    if not fold:
        _plan_repack(name, data, json=json)
        return

    async def work(stores: Stores, bar: OnProgress) -> Repacked:
        repo = await output.require(stores, name)
        return await repacking.repack(stores.of(repo), output.now, bar)

    left = "every pack is still readable; run it again to continue"
    done = output.run_long(data, f"repacking {name}", work, left)
    if json:
        output.document({"repo": name, "dry_run": False, **asdict(done)})
        return
    output.say(
        f"{name}: folded {done.packs} packs ({output.size(done.bytes)}) into {done.into},"
        f" and changed {done.rows} rows"
    )
    output.say(_unchanged_packs(done))
    if done.packs:
        output.say("next: a new gc deletes the old packs")


def _plan_repack(name: str, data: Path | None, *, json: bool) -> None:
    """Print the plan of a repack."""

    async def plan(stores: Stores, bar: OnProgress) -> RepackPlan:
        repo = await output.require(stores, name)
        return await repacking.plan(stores.of(repo), output.now, bar)

    planned = output.run_long(data, f"reading {name}", plan, "nothing was changed")
    done = planned.report()
    if json:
        writes = [str(write) for write in planned.writes]
        output.document({"repo": name, "dry_run": True, **asdict(done), "writes": writes})
        return
    output.say_writes(name, planned.writes)
    output.say(_unchanged_packs(done))
    if done.packs:
        output.say("next: `--fold` does it")


def _unchanged_packs(done: Repacked) -> str:
    skipped = [f"{count} {WHY_LEFT[why]}" for why, count in done.left.items() if count]
    return f"packs that stay as they are: {', '.join(skipped) or 'none'}"
