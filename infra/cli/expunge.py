"""expunge: delete commits and objects that no branch reaches, at once."""

from dataclasses import asdict
from typing import Annotated

import typer

from infra.cli import output
from infra.cli.output import Data, Json, Name
from shared.maintenance import expunge as expunging
from shared.maintenance.expunge import Expunged
from shared.maintenance.lease import Step
from shared.progress import OnProgress
from shared.stores import Stores

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Commits or objects.")]


def expunge(
    name: Name,
    ids: Ids,
    remove: Annotated[bool, typer.Option("--remove", help="Do it. Otherwise only count.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Delete commits and objects that no branch, tag or release reaches, at once.

    Without `--remove`, nothing is changed. The first run marks them, and writes packs again without
    them. A second run, half an hour later, deletes the bytes, in all versions.
    """

    async def work(stores: Stores, bar: OnProgress) -> Expunged:
        repo = await output.require(stores, name)
        step = expunging.expunge if remove else expunging.plan
        return await step(stores.of(repo), set(ids), output.now, bar)

    left = "some rows and bytes may be deleted; run it again to delete the rest"
    done = output.run_long(data, f"expunging from {name}", work, left)
    copies = _copies(name, done)
    if json:
        output.document({"repo": name, "dry_run": not remove, **asdict(done), "copies": copies})
        return
    for line in [*_summary(name, done, dry_run=not remove), *copies]:
        output.say(line)


def _summary(name: str, done: Expunged, *, dry_run: bool) -> list[str]:
    counts = (
        f"{len(done.commits)} commits, {len(done.snapshots)} snapshots and {len(done.objects)}"
        " objects"
    )
    if dry_run:
        lines = [
            f"{name}: {counts} would be deleted, and {done.packs} packs would be written again"
        ]
        lines.append("next: `--remove` does it")
    elif done.step == Step.MARKED:
        if done.again:
            news = "a push wrote some of it again meanwhile; "
        else:
            news = ""
        lines = [
            f"{name}: {news}{counts} are marked, and {done.packs} packs are written again without"
            " them"
        ]
        lines.append(f"next: the same command deletes the bytes from {output.when(done.due_at)}")
    else:
        lines = [
            f"{name}: deleted {counts}; {done.versions} versions in the bucket,"
            f" {output.size(done.bytes)}"
        ]
        lines.append("next: nothing, it is done")
    if done.shared:
        lines.append(
            "these objects stay, since other unreachable commits have them as well:"
            f" {', '.join(done.shared)}"
        )
    return lines


def _copies(name: str, done: Expunged) -> list[str]:
    """Copies that no command of the hub can delete."""
    lines = [
        (
            "copies that this does not delete: clones, and caches of browsers and proxies for up to"
            " a year"
        ),
        "backups of the table keep commits of up to 4 KB for 35 days (point-in-time recovery)",
    ]
    paths = [
        f"/{name}/raw/*",
        *(f"/{name}/objects/{i}" for i in done.objects),
        *(f"/o/{i}*" for i in done.objects),
    ]
    lines.append(
        "with the CDN: aws cloudfront create-invalidation --distribution-id ID --paths "
        + " ".join(f"'{path}'" for path in paths)
    )
    return lines
