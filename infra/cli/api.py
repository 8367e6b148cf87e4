"""The hub as the commands of users see it: the requests of the API, in the name of a user.

There are two implementations with equal methods. `infra.client.Client` is used with
`pieria --hub URL`: the token has the rights of the user. `infra.cli.direct.Direct` executes the
actions of the requests on the hub's data, with the rights of the operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from infra.cli import output, remote

if TYPE_CHECKING:
    from infra.cli.direct import Direct
    from infra.client import Client

    Api: TypeAlias = Client | Direct


@contextmanager
def opened(data: Path | None, caller: str = "") -> Iterator["Api"]:
    """Open the selected hub. Ends the command with one line if something fails.

    `caller` is the user in whose name the command acts, for commands on all repositories or tokens
    of a user. Empty for the commands on one repository.
    """
    with output.failing():
        if remote.selected():
            with remote.opened(data, caller) as client:
                yield client
        else:
            # Late: with --hub, a command needs nothing of a hub.
            from infra.cli import direct

            with direct.opened(data, caller) as hub:
                yield hub
