"""usage: the stored bytes of an owner, and the limit."""

from dataclasses import asdict
from typing import Annotated

import typer

from infra.cli import api, output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json
from infra.client import models
from shared import texts
from shared.maintenance import usage as counting
from shared.maintenance.usage import RepoUsage
from shared.model import Usage
from shared.stores import Stores

app = output.noun("The stored bytes of an owner, and the limit.")
Owner = Annotated[str, typer.Argument(metavar="OWNER", help="The handle of a user.")]


@app.command()
def show(owner: Owner, json: Json = False, data: Data = None) -> None:
    """Show the stored bytes of an owner, the limit, and the cost of the last two days."""
    with api.opened(data, owner) as hub:
        found = hub.usage()
    if json:
        output.document(asdict(found))
        return
    rows = [("stored", _of_limit(found)), ("objects", f"{found.stored_objects:,}")]
    rows += [(str(cost["date"]), f"${cost['dollars']:.4f}") for cost in found.costs]
    output.table(["", found.owner], rows)


@app.command()
def limit(
    owner: Owner,
    size_bytes: Annotated[
        int, typer.Argument(metavar="BYTES", min=0, help="The new limit. 0: no limit.")
    ],
    json: Json = False,
    data: Data = None,
) -> None:
    """Set the limit of one owner, in place of the hub's. Not for a hub on one machine."""

    async def work(stores: Stores) -> str:
        if stores.settings.data:
            raise CliError(
                "a hub on one machine has no limits of storage: its disk is the limit; nothing was"
                " changed"
            )
        handle = await output.require_user(stores, owner)
        await stores.counters.set_limit(handle, size_bytes, int(output.now()))
        return handle

    handle = output.run(data, work)
    if json:
        output.document({"owner": handle, "limit_bytes": size_bytes or None})
    elif size_bytes:
        output.say(f"{handle} may store {texts.size(size_bytes)}")
    else:
        output.say(f"{handle} may store any amount")


@app.command()
def recount(owner: Owner, json: Json = False, data: Data = None) -> None:
    """Count the stored content of an owner from the bucket, and correct the sum."""

    async def work(stores: Stores) -> list[RepoUsage]:
        handle = await output.require_user(stores, owner)
        return await counting.recount(stores, handle, int(output.now()))

    parts = output.run(data, work)
    total = sum((part.usage for part in parts), Usage())
    if json:
        repos = [
            {
                "repo": part.repo.slug,
                "is_deleted": part.repo.deleted,
                "stored_bytes": part.usage.stored_bytes,
                "stored_objects": part.usage.stored_objects,
            }
            for part in parts
        ]
        output.document({"owner": owner, "stored_bytes": total.stored_bytes, "repos": repos})
        return
    rows = [
        (
            f"{part.repo.slug}{' (deleted)' if part.repo.deleted else ''}",
            texts.size(part.usage.stored_bytes),
            f"{part.usage.stored_objects:,}",
        )
        for part in parts
    ]
    rows.append(("together", texts.size(total.stored_bytes), f"{total.stored_objects:,}"))
    output.table(["repository", "stored", "objects"], rows)


def _of_limit(found: models.Usage) -> str:
    if found.limit_bytes is None:
        return texts.size(found.stored_bytes)
    return f"{texts.size(found.stored_bytes)} of {texts.size(found.limit_bytes)}"
