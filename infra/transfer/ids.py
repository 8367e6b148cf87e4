"""The ids that an earlier run has computed, in a SQLite file in the folder of the Git repository.

They follow from the content alone. So the file can be deleted at any time, which costs one more
reading of the whole history, and it is the same for every hub.
"""

import contextlib
import sqlite3
from pathlib import Path

FILE = "pieria-import-1.sqlite"
"""The number is the version of the conversion."""


class Ids:
    """The ids of blobs and commits of Git in Muse."""

    def __init__(self, folder: Path) -> None:
        self._database = _opened(folder / FILE)

    def close(self) -> None:
        """Keep the ids that were added."""
        self._database.commit()
        self._database.close()

    def keep(self) -> None:
        """Keep the ids that were added so far."""
        self._database.commit()

    def blob(self, sha: str) -> str:
        """The id of the object with the content of a blob, or an empty text."""
        return self._one("SELECT id FROM blobs WHERE sha = ?", sha)

    def add_blob(self, sha: str, object_id: str) -> None:
        """Add an object."""
        self._database.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (sha, object_id))

    def commit(self, sha: str) -> str:
        """The id of the commit that a commit of Git has become, or an empty text."""
        return self._one("SELECT id FROM commits WHERE sha = ?", sha)

    def snapshot(self, sha: str) -> str:
        """The id of its snapshot, or an empty text."""
        return self._one("SELECT snapshot FROM commits WHERE sha = ?", sha)

    def add_commit(self, sha: str, commit_id: str, snapshot_id: str) -> None:
        """Add a commit."""
        self._database.execute(
            "INSERT OR REPLACE INTO commits VALUES (?, ?, ?)", (sha, commit_id, snapshot_id)
        )

    def git_commit(self, commit_id: str) -> str:
        """A commit of Git that has become this commit, or an empty text."""
        return self._one("SELECT sha FROM commits WHERE id = ?", commit_id)

    def _one(self, query: str, value: str) -> str:
        row = self._database.execute(query, (value,)).fetchone()
        return str(row[0]) if row else ""


def _opened(file: Path) -> sqlite3.Connection:
    """The file, or a database in memory if the folder is read-only or the file is damaged."""
    with contextlib.suppress(sqlite3.Error):
        return _with_tables(sqlite3.connect(file))
    return _with_tables(sqlite3.connect(":memory:"))


def _with_tables(database: sqlite3.Connection) -> sqlite3.Connection:
    database.executescript(
        "PRAGMA synchronous = OFF;"
        "CREATE TABLE IF NOT EXISTS blobs (sha TEXT PRIMARY KEY, id TEXT) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS commits"
        " (sha TEXT PRIMARY KEY, id TEXT, snapshot TEXT) WITHOUT ROWID;"
        "CREATE INDEX IF NOT EXISTS of_commits ON commits (id);"
    )
    return database
