"""Tokens: issue, list, revoke."""

from dataclasses import dataclass
from typing import Annotated

import typer

from infra.cli import output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json
from shared import auth, names
from shared.actions import tokens
from shared.metadata.tokens import Issued, new_id
from shared.model import Bearer, Identity, Role
from shared.protocol.tokens import IssuedToken, Token
from shared.stores import Stores

DAY = 24 * 3600

app = output.noun("Tokens, with which users log in.")
Owner = Annotated[str, typer.Option(metavar="HANDLE", help="The user.")]


@dataclass(frozen=True)
class NewToken:
    """The options of `pieria token issue`."""

    owner: Owner
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
    now = output.now()

    async def work(stores: Stores) -> tuple[Issued, str]:
        handle = await stores.handles.spelling(names.check_handle(options.owner))
        limited_to = await _spelled(stores, options.repo) if options.repo else ""
        identity = Identity(handle, options.scope, new_id(now), limited_to, options.bearer)
        return await tokens.issue(stores, identity, options.days * DAY, now)

    issued, token = output.run(options.data, work)
    if options.json:
        handle = issued.identity.subject
        shown = IssuedToken(handle=handle, token=token, **Token.of(issued).model_dump())
        output.document(shown.model_dump(mode="json"))
        return
    identity = issued.identity
    only = f", {identity.repo} only" if identity.repo else ""
    typer.echo(
        f"A token for {identity.subject}: scope {options.scope}{only}, until"
        f" {output.when(issued.expires_at)}. Its id is {identity.token_id}."
        " It is not shown again:",
        err=True,
    )
    typer.echo(token)


@app.command("list")
def list_(owner: Owner, json: Json = False, data: Data = None) -> None:
    """List the tokens of a user, newest first, without their secrets.

    The list includes revoked tokens, and those that expired within a week.
    """

    async def work(stores: Stores) -> tuple[str, list[Issued]]:
        handle = await output.require_user(stores, owner)
        return handle, await stores.tokens.all(handle)

    handle, found = output.run(data, work)
    if json:
        shown = [Token.of(issued).model_dump(mode="json") for issued in found]
        output.document({"handle": handle, "tokens": shown})
        return
    rows = [
        (i.identity.token_id, i.identity.scope, i.identity.repo or "all", i.identity.bearer,
         output.when(i.issued_at), output.when(i.expires_at), output.when(i.revoked_at))
        for i in found
    ]  # fmt: skip
    output.table(
        ["token id", "scope", "repository", "bearer", "issued", "expires", "revoked"], rows
    )


@app.command()
def revoke(
    owner: Owner,
    token_id: Annotated[
        str, typer.Argument(help="The token's id: `pieria token list` shows it.")
    ] = "",
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
    now = int(output.now())

    async def work(stores: Stores) -> tuple[str, list[str]]:
        if all_:
            handle = await output.require_user(stores, owner)
            issued = await stores.tokens.all(handle)
            wanted = [one.identity.token_id for one in issued if _is_valid(one, now)]
        else:
            # A token that was signed by hand can belong to a user who never claimed the handle.
            handle = await stores.handles.spelling(names.check_handle(owner))
            wanted = [await _require_token(stores, handle, token_id, unlisted=unlisted)]
        for wanted_id in wanted:
            await stores.tokens.revoke(handle, wanted_id, now)
        return handle, wanted

    handle, revoked = output.run(data, work)
    if json:
        which = {"token_ids": revoked} if all_ else {"token_id": token_id}
        output.document({"handle": handle, **which, "revoked_at": now})
    elif all_:
        output.say(f"revoked: all {len(revoked)} valid tokens of {handle}")
    else:
        output.say(
            f"revoked: {token_id} of {handle}; tokens that were issued with it stay valid: see"
            " `pieria token list`"
        )


def _is_valid(issued: Issued, now: int) -> bool:
    return not issued.revoked_at and issued.expires_at > now


async def _require_token(stores: Stores, handle: str, token_id: str, *, unlisted: bool) -> str:
    """The id of a token of this user. Raises CliError."""
    if not names.is_repo_name(token_id):
        raise CliError("this is not a token id: `pieria token list` shows them")
    listed = {issued.identity.token_id for issued in await stores.tokens.all(handle)}
    if token_id not in listed and not unlisted:
        raise CliError(
            f"{handle} has no token {token_id}: `pieria token list --owner {handle}` shows all;"
            " --unlisted revokes it anyway"
        )
    return token_id


async def _spelled(stores: Stores, name: str) -> str:
    """The full name of a repository, with its owner in the claimed letter case. Raises CliError."""
    owner, slug = output.full_name(name)
    return f"{await stores.handles.spelling(owner)}/{slug}"
