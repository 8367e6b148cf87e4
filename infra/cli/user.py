"""user: the handles that are claimed on a hub."""

from infra.cli import console
from infra.cli.console import Data, Json
from shared.stores import Stores

app = console.noun("Users: the handles of a hub.")


@app.callback()
def users() -> None:
    """Users: the handles of a hub."""


@app.command("list")
def list_(json: Json = False, data: Data = None) -> None:
    """List all handles. Reads the whole table of the hub."""

    async def work(stores: Stores) -> list[str]:
        return await stores.handles.all()

    handles = console.run(data, work)
    if json:
        console.document({"users": handles})
    elif handles:
        console.table(["handle"], [(handle,) for handle in handles])
    else:
        console.say("there are no users: `pieria token issue --owner HANDLE` makes the first")
