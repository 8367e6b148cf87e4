"""Checks of a hub on this machine: its database file and its disk."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from infra.cli import output
from infra.cli.check import Check
from infra.data_folder import DATABASE

LOW_BYTES = 256 * 1024 * 1024
"""Below this free space, a push of the largest size can fail."""


def checks(folder: Path) -> Iterator[Check]:
    """Yield the checks of the folder."""
    yield _database(folder / DATABASE)
    free = shutil.disk_usage(folder).free
    state, fix = ("ok", "") if free > LOW_BYTES else ("warning", "free some disk space")
    yield Check("disk", state, f"{output.size(free)} free", fix)


def _database(path: Path) -> Check:
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        [(result,)] = database.execute("PRAGMA quick_check(1)")
        database.close()
    except sqlite3.Error as error:
        result = str(error)
    if result == "ok":
        return Check("database", "ok", output.size(path.stat().st_size))
    return Check("database", "failed", f"{path} is damaged ({result})", "restore a copy of it")
