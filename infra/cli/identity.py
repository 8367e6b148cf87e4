"""identity: users of identity providers, and the handles that they sign in to."""

from typing import Annotated

import typer

from infra.cli import output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json
from shared.actions import identities
from shared.metadata.identities import Identities, LinkedIdentity
from shared.metadata.table import ConditionFailed
from shared.model import Person
from shared.stores import Stores

app = output.noun("Users of identity providers, and the handles that they sign in to.")
Issuer = Annotated[
    str, typer.Argument(help="The URL of the provider: its issuer, or https://github.com.")
]
Subject = Annotated[
    str, typer.Argument(help="The user's id at the provider: `sub`, or the number at GitHub.")
]


@app.command("list")
def list_(json: Json = False, data: Data = None) -> None:
    """List all users of providers. Reads the whole table of the hub."""

    async def work(stores: Stores) -> list[LinkedIdentity]:
        return await Identities(stores.hub).all()

    found = output.run(data, work)
    if json:
        rows = [
            {
                "handle": one.handle,
                "issuer": one.issuer,
                "subject": one.subject,
                "linked_at": one.linked_at,
            }
            for one in found
        ]
        output.document({"identities": rows})
    elif found:
        rows_of_text = [
            (one.handle, one.issuer, one.subject, output.when(one.linked_at)) for one in found
        ]
        output.table(["handle", "issuer", "subject", "linked"], rows_of_text)
    else:
        output.say("no user of a provider has signed in yet")


@app.command()
def link(
    handle: Annotated[str, typer.Argument(help="The handle that the user signs in to.")],
    issuer: Issuer,
    subject: Subject,
    json: Json = False,
    data: Data = None,
) -> None:
    """Let a user of a provider sign in to a handle, which may have tokens and repositories."""
    now = output.now()

    async def work(stores: Stores) -> str:
        spelled = await stores.handles.spelling(handle)
        await identities.link(stores, spelled, Person(issuer, subject, ""), now)
        return spelled

    linked = output.run(data, work)
    if json:
        output.document({"handle": linked, "issuer": issuer, "subject": subject})
    else:
        output.say(f"linked: this user signs in to {linked} from now on")


@app.command()
def unlink(issuer: Issuer, subject: Subject, json: Json = False, data: Data = None) -> None:
    """Let a user of a provider not sign in to a handle any more.

    Open sessions and tokens stay valid: `pieria token revoke --owner HANDLE --all` ends them.
    """

    async def work(stores: Stores) -> None:
        try:
            await Identities(stores.hub).unlink(issuer, subject)
        except ConditionFailed:
            raise CliError(
                "there is no such user: `pieria identity list` shows all users of providers"
            ) from None

    output.run(data, work)
    if json:
        output.document({"issuer": issuer, "subject": subject})
    else:
        output.say("unlinked: the user cannot sign in any more; sessions and tokens stay valid")
