"""Tokens: issue, list, revoke."""

from typing import Annotated

import typer

from infra.cli import console
from infra.cli.console import Data, Json
from infra.cli.problem import Problem
from shared import api, auth, names
from shared.metadata.tokens import Issued, new_id
from shared.model import Bearer, Identity, Role
from shared.stores import Stores

DAY = 24 * 3600

app = console.noun("Tokens: what users log in with.")
Owner = Annotated[str, typer.Option(metavar="HANDLE", help="Whose it is.")]


@app.command()
def issue(
    owner: Owner,
    scope: Annotated[Role, typer.Option(help="The most that it is good for.")] = Role.WRITE,
    repo: Annotated[str, typer.Option(metavar="OWNER/SLUG", help="Good for this repository only.")] = "",
    bearer: Annotated[Bearer, typer.Option(help="What kind of user it is for.")] = Bearer.HUMAN,
    days: Annotated[int, typer.Option(min=1, max=auth.LIFETIME_SECONDS // DAY, help="How long it is good.")] = 30,
    json: Json = False,
    data: Data = None,
) -> None:
    """Claim the handle if it is free, and print a token for it: the only time that it is shown.

    The token alone is on stdout, what is to be known of it on stderr.
    """
    now = console.now()

    async def work(stores: Stores) -> tuple[Issued, str]:
        if repo:
            console.full_name(repo)
        issued = Issued(Identity(owner, scope, new_id(now), repo, bearer), int(now), int(now) + days * DAY)
        await stores.handles.claim(owner)
        # Written down before it is given away: whatever was issued can be listed.
        await stores.tokens.put(issued)
        keys = await stores.keyring.signing(now)
        return issued, auth.issue(keys, issued.identity, lifetime_seconds=days * DAY, now=int(now))

    issued, token = console.run(data, work)
    if json:
        shown = api.IssuedToken(handle=owner, token=token, **api.Token.of(issued).model_dump())
        console.document(shown.model_dump(mode="json"))
        return
    limits = f"scope {scope}{f', {repo} only' if repo else ''}, until {console.when(issued.expires_at)}"
    typer.echo(f"A token for {owner}: {limits}. Its id is {issued.identity.token_id}. It is not shown again:", err=True)
    typer.echo(token)


@app.command("list")
def list_(owner: Owner, json: Json = False, data: Data = None) -> None:
    """The tokens of a user, newest first, revoked ones and those that expired within a week included. Not the tokens
    themselves."""

    async def work(stores: Stores) -> list[Issued]:
        return await stores.tokens.all(names.check_handle(owner))

    found = console.run(data, work)
    if json:
        tokens = [api.Token.of(issued).model_dump(mode="json") for issued in found]
        console.document({"handle": owner, "tokens": tokens})
        return
    rows = [
        (i.identity.token_id, i.identity.scope, i.identity.repo or "all", i.identity.bearer,
         console.when(i.issued_at), console.when(i.expires_at), console.when(i.revoked_at))
        for i in found
    ]  # fmt: skip
    console.table(["token id", "scope", "repository", "bearer", "issued", "expires", "revoked"], rows)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id: `pieria token list` shows it.")],
    owner: Owner,
    unlisted: Annotated[
        bool, typer.Option("--unlisted", help="Also one that was never written down, but signed by hand.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Make a token worthless from the next request on. Those that were issued with it stay good."""
    now = int(console.now())

    async def work(stores: Stores) -> None:
        if not names.is_repo_name(token_id):
            raise Problem("this is no token's id: `pieria token list` shows them")
        found = await stores.tokens.all(names.check_handle(owner))
        if not unlisted and token_id not in {issued.identity.token_id for issued in found}:
            raise Problem(
                f"{owner} has no token {token_id}: `pieria token list --owner {owner}` shows those there are;"
                " --unlisted revokes it all the same"
            )
        await stores.tokens.revoke(owner, token_id, now)

    console.run(data, work)
    if json:
        console.document({"handle": owner, "token_id": token_id, "revoked_at": now})
    else:
        console.say(f"revoked: {token_id} of {owner}; what was issued with it stays good: see `pieria token list`")
