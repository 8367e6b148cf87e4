"""`pieria`: what whoever runs a hub does from a terminal. One module for each noun.

    console   what every command shares: its options, its output, its one line of failure
    hub       which hub is meant: an account's, one that runs on this machine, or one that only lies in a folder
    aws       what a hub needs of AWS, looked at piece by piece
    token key repo upkeep doctor   the commands

Commands speak to the tables and the bucket themselves, not to the hub's API: they need AWS's permissions and no
token. They may import all of `shared`; nothing may import them.

    exit status   0  done
                  1  done, and something is wrong: findings of fsck, doctor, rebuild-index
                  2  not done: one line on stderr says why and what to do, stdout is empty
"""

from infra.cli import doctor, key, repo, token, upkeep
from infra.cli.console import app

app.add_typer(token.app, name="token")
app.add_typer(key.app, name="key")
app.add_typer(repo.app, name="repo")
app.command("doctor")(doctor.doctor)
app.command("fsck")(upkeep.fsck)
app.command("rebuild-index")(upkeep.rebuild_index)
app.command("gc")(upkeep.gc)
app.command("purge")(upkeep.purge)

__all__ = ["app"]
