"""Commands for the branches of a repository: moves, restore-branch, delete-branch."""

from dataclasses import asdict
from typing import Annotated

import typer

from infra.cli import api, output
from infra.cli.output import Data, Json, Name


def moves(
    name: Name,
    branch: Annotated[str, typer.Argument(help="Also a deleted one.")],
    json: Json = False,
    data: Data = None,
) -> None:
    """List the moves of a branch in the last 30 days, newest first."""
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        made = list(hub.moves(owner, slug, branch))
    if json:
        output.document({"branch": branch, "moves": [asdict(move) for move in made]})
        return
    rows = [
        (
            output.when(m.at),
            m.by,
            "forced" if m.forced else "",
            m.before or "–",
            m.after or "–",
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
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        restored = hub.restore_branch(owner, slug, branch, to)
    if json:
        output.document(asdict(restored))
    else:
        output.say(f"restored: {restored.branch} is at {restored.commit_id}")


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
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        hub.delete_branch(owner, slug, branch, leave_empty=leave_empty)
    if json:
        output.document({"deleted": branch})
    else:
        output.say(f"deleted: {branch}; `pieria repo restore-branch` restores it within 30 days")
