"""`pieria`: what whoever runs a hub does from a terminal. One module for each noun.

    commands  the list of all commands, and the program that runs one
    console   what every command shares: its options, its output, its one line of failure
    hub       which hub is meant: an account's, one that runs on this machine, or one that only lies in a folder
    aws       what a hub needs of AWS, looked at piece by piece
    serve token key repo user upkeep expunge doctor   the commands

Commands speak to the tables and the bucket themselves, not to the hub's API: they need AWS's permissions and no
token. They may import all of `shared`; nothing may import them.

    exit status   0  done
                  1  done, and something is wrong: findings of fsck, doctor, rebuild-index
                  2  not done: one line on stderr says why and what to do, stdout is empty
"""

from infra.cli.commands import app

__all__ = ["app"]
