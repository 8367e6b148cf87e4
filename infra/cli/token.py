"""Tokens: issue, list, revoke."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli import api, output, remote
from infra.cli.cli_error import CliError, UnknownUser
from infra.cli.output import Data, Json
from infra.client.errors import NotFound
from infra.client.models import NewToken as Wanted
from shared import auth, names
from shared.model import Bearer, Role

if TYPE_CHECKING:
    from infra.cli.api import Api

DAY = 24 * 3600

app = output.noun("Tokens, with which users log in.")
Owner = Annotated[
    str, typer.Option(metavar="HANDLE", help="The user. With --hub: that of the token.")
]


@dataclass(frozen=True)
class NewToken:
    """The options of `pieria token issue`."""

    owner: Owner = ""
    scope: Annotated[Role, typer.Option(help="What it allows: read, write or admin.")] = Role.WRITE
    repo: Annotated[
        str, typer.Option(metavar="OWNER/SLUG", help="Limit it to this repository.")
    ] = ""
    bearer: Annotated[Bearer, typer.Option(help="The kind of user.")] = Bearer.HUMAN
    days: Annotated[
        int, typer.Option(min=1, max=auth.LIFETIME_SECONDS // DAY, help="Days until it expires.")
    ] = 30
    json: Json = False
    data: Data = None


@app.command()
@output.with_options
def issue(options: NewToken) -> None:
    """Issue a token, and print it. It is shown only once. Claims the handle if it is free.

    stdout has the token only. Its id and expiry are on stderr.
    """
    with api.opened(options.data, _owner(options.owner)) as hub:
        new = Wanted(
            scope=options.scope.value,
            repo=options.repo or None,
            bearer=options.bearer.value,
            lifetime_seconds=options.days * DAY,
        )
        if options.repo:
            output.full_name(options.repo)
        issued = hub.issue_token(new)
    if options.json:
        output.document(asdict(issued))
        return
    only = f", {issued.repo} only" if issued.repo else ""
    typer.echo(
        f"A token for {issued.handle}: scope {options.scope}{only}, until"
        f" {output.when(issued.expires_at)}. Its id is {issued.token_id}."
        " It is not shown again:",
        err=True,
    )
    typer.echo(issued.token)


@app.command("list")
def list_(owner: Owner = "", json: Json = False, data: Data = None) -> None:
    """List the tokens of a user, newest first, without their secrets.

    The list includes revoked tokens, and those that expired within a week.
    """
    with api.opened(data, _owner(owner)) as hub:
        handle = hub.me().handle
        found = list(hub.tokens())
    if json:
        output.document({"handle": handle, "tokens": [asdict(token) for token in found]})
        return
    rows = [
        (t.token_id, t.scope, t.repo or "all", t.bearer,
         output.when(t.issued_at), output.when(t.expires_at), output.when(t.revoked_at or 0))
        for t in found
    ]  # fmt: skip
    output.table(
        ["token id", "scope", "repository", "bearer", "issued", "expires", "revoked"], rows
    )


@app.command()
def revoke(
    token_id: Annotated[
        str, typer.Argument(help="The token's id: `pieria token list` shows it.")
    ] = "",
    owner: Owner = "",
    all_: Annotated[bool, typer.Option("--all", help="Every token of the user.")] = False,
    unlisted: Annotated[
        bool, typer.Option("--unlisted", help="Also a token that is not in the list.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Make a token, or all tokens of a user, invalid from the next request on.

    A token that was issued with a revoked token stays valid: `--all` revokes these, too.
    """
    if bool(token_id) == all_:
        output.fail("name one token, or use --all")
    with api.opened(data, _owner(owner)) as hub:
        handle = hub.me().handle
        if all_:
            wanted = _valid_tokens(hub)
        else:
            wanted = [token_id]
            if not unlisted:
                _require_token(hub, handle, token_id)
        for wanted_id in wanted:
            _revoke(hub, wanted_id)
    if json:
        which = {"token_ids": wanted} if all_ else {"token_id": token_id}
        output.document({"handle": handle, **which})
    elif all_:
        output.say(f"revoked: all {len(wanted)} valid tokens of {handle}")
    else:
        output.say(
            f"revoked: {token_id} of {handle}; tokens that were issued with it stay valid: see"
            " `pieria token list`"
        )


def _owner(owner: str) -> str:
    """The user of the tokens. With --hub it may be absent: it is the user of the token."""
    if not owner and not remote.selected():
        output.fail("name the user with --owner")
    return owner


def _valid_tokens(hub: "Api") -> list[str]:
    """The ids of the valid tokens of the user. The token of this client is the last one."""
    now = output.now()
    own_id = hub.me().token_id
    valid = [t.token_id for t in hub.tokens() if not t.revoked_at and t.expires_at > now]
    return sorted(valid, key=lambda token_id: token_id == own_id)


def _require_token(hub: "Api", handle: str, token_id: str) -> None:
    """Raise CliError unless the list of the user has this token."""
    if not names.is_repo_name(token_id):
        raise CliError("this is not a token id: `pieria token list` shows them")
    try:
        listed = {token.token_id for token in hub.tokens()}
    except UnknownUser:
        # A token that was signed by hand can belong to a user who never claimed the handle.
        listed = set()
    if token_id not in listed:
        raise CliError(
            f"{handle} has no token {token_id}: `pieria token list --owner {handle}` shows all;"
            " --unlisted revokes it anyway"
        )


def _revoke(hub: "Api", token_id: str) -> None:
    try:
        hub.revoke_token(token_id)
    except NotFound as absent:
        # The hub has revoked it, although it has no record of its issue.
        if absent.code != "token_not_found":
            raise
