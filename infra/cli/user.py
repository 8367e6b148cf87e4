"""user: the handles that are claimed on a hub."""

from infra.cli import output
from infra.cli.output import Data, Json
from shared.stores import Stores

app = output.noun("Users: the handles of a hub.")


@app.callback()
def users() -> None:
    """Users: the handles of a hub."""


@app.command("list")
def list_(json: Json = False, data: Data = None) -> None:
    """List all handles. Reads the whole table of the hub."""

    async def work(stores: Stores) -> list[str]:
        return await stores.handles.all()

    handles = output.run(data, work)
    if json:
        output.document({"users": handles})
    elif handles:
        output.table(["handle"], [(handle,) for handle in handles])
    else:
        output.say("there are no users: `pieria token issue --owner HANDLE` makes the first")
