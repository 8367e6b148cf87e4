"""`pieria`: the command line of a hub. One module for each noun.

    commands  the list of all commands, and the program that runs one
    output    shared by all commands: options, output, the one line of a failure
    hub       selects the hub: in an AWS account, running on this machine, or in a folder
    remote    selects a hub by its URL: `--hub`
    api       opens the hub for the commands of users: by its API (infra/client), or by its data
              (direct)
    aws       checks of each AWS resource that a hub needs
    repo release domain token                              the commands of users
    serve key user maintenance expunge doctor              the commands of the operator
    upkeep                                                 the upkeep that the hub does by itself
    export import                                          a repository as one file
    connect clone                                          the relay of a user, see infra/relay
    import-git mirror                                          for users, see infra/transfer

A command of users has one body. Without `--hub` it needs no token, and has the rights of the
operator. Commands of the operator read and write the tables and the bucket directly, without the
hub's API. They may import all of `shared`. No other module may import them.

A new command of users needs its requests in `infra/client/client.py`, and methods of the same names
in `direct.py`.

    exit status   0  done
                  1  done, with findings (fsck, doctor, rebuild-index)
                  2  not done: one line on stderr has the cause and the next step, stdout is empty
"""

from infra.cli.commands import app

__all__ = ["app"]
