"""Commands for the branches of a repository: moves, restore-branch, delete-branch."""

from typing import Annotated, Any

import typer

from infra.cli import output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json, Name
from shared.actions import branches
from shared.actions import moves as moving
from shared.model import CommitAddress, Move, Ref
from shared.stores import Stores

PAGE = 100
OPERATOR = "pieria"
"""The user in the moves of branches that the operator made. The handle is reserved."""


def moves(
    name: Name,
    branch: Annotated[str, typer.Argument(help="Also a deleted one.")],
    json: Json = False,
    data: Data = None,
) -> None:
    """List the moves of a branch in the last 30 days, newest first."""
    now = output.now()

    async def work(stores: Stores) -> list[Move]:
        repo = await output.require(stores, name)
        made: list[Move] = []
        cursor: str | None = ""
        while cursor is not None:
            ref, page, cursor = await moving.page(stores.of(repo), branch, cursor, PAGE, now=now)
            made += page
        if ref is None and not made:
            raise CliError(
                f"{name} has no branch {branch!a}: `pieria repo show {name}` shows its branches"
            )
        return made

    made = output.run(data, work)
    if json:
        output.document({"branch": branch, "moves": [_move(move) for move in made]})
        return
    rows = [
        (
            output.when(m.at / 1000),
            m.by,
            "forced" if m.forced else "",
            _id(m.before) or "–",
            _id(m.after) or "–",
        )
        for m in made
    ]
    output.table(["when", "by", "", "from", "to"], rows)


def restore_branch(
    name: Name,
    branch: Annotated[str, typer.Argument(help="Also a deleted one.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="COMMIT", help="One of its heads within 30 days. Default: before the last move."
        ),
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Set a branch to one of its earlier heads.

    Undoes a forced push or a deletion, and can be undone itself.
    """
    now = output.now()

    async def work(stores: Stores) -> Ref:
        repo = await output.require(stores, name)
        return await branches.restore(stores.of(repo), branch, to, by=OPERATOR, now=now)

    ref = output.run(data, work)
    if json:
        output.document(branch_document(ref))
    else:
        output.say(f"restored: {ref.branch} is at {ref.head.commit_id}")


def delete_branch(
    name: Name,
    branch: Annotated[str, typer.Argument(help="The branch.")],
    leave_empty: Annotated[
        bool,
        typer.Option(
            "--leave-empty", help="Also if it is the only branch, so that the repository is empty."
        ),
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Delete a branch. `pieria repo restore-branch` restores it within 30 days."""
    now = output.now()

    async def work(stores: Stores) -> None:
        repo = await output.require(stores, name)
        await branches.delete(
            stores.of(repo), branch, leave_empty=leave_empty, by=OPERATOR, now=now
        )

    output.run(data, work)
    if json:
        output.document({"deleted": branch})
    else:
        output.say(f"deleted: {branch}; `pieria repo restore-branch` restores it within 30 days")


def branch_document(ref: Ref) -> dict[str, Any]:
    """A branch as the commands print it."""
    return {
        "branch": ref.branch,
        "commit_id": ref.head.commit_id,
        "generation": ref.head.generation,
    }


def _move(move: Move) -> dict[str, Any]:
    ends = {"before": _id(move.before), "after": _id(move.after)}
    return {"at": move.at / 1000, "by": move.by, **ends, "forced": move.forced}


def _id(address: CommitAddress | None) -> str | None:
    return address.commit_id if address else None
