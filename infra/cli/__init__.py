"""`pieria`: what whoever runs a hub does from a terminal. One module for each noun.

    commands  the list of all commands, and the program that runs one
    console   what every command shares: its options, its output, its one line of failure
    hub       which hub is meant: an account's, one that runs on this machine, or one that only lies in a folder
    aws       what a hub needs of AWS, looked at piece by piece
    serve token key repo user upkeep expunge doctor   the commands of the operator
    connect                                           the relay of a user, see infra/relay

Commands of the operator read and write the tables and the bucket directly, without the hub's API: they need AWS's
permissions and no token. They may import all of `shared`; nothing may import them.

    exit status   0  done
                  1  done, and something is wrong: findings of fsck, doctor, rebuild-index
                  2  not done: one line on stderr says why and what to do, stdout is empty
"""

import sys

try:
    from infra.cli.commands import app
except ModuleNotFoundError as absent:
    if absent.name != "typer":
        raise
    sys.exit("pieria: install an extra: pip install 'pieria[client]' for the relay, 'pieria[local]' for a hub")

__all__ = ["app"]
