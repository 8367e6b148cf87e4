"""The folders of a clone in work, so that an interrupted one goes on and none looks complete before
it is.

DIRECTORY/.pieria-clone/repository/.muse   the repository while it is filled
DIRECTORY/.muse                            the same, moved when it is complete; the files follow
.muse/pieria-clone                         the finished steps, until all are finished
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.relay.address import Unable

WORK = ".pieria-clone"
REPOSITORY = "repository"
STORE = ".muse"
NOTES = "pieria-clone"


class Workplace:
    """A folder that a clone is made in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.work = directory / WORK
        self.repository = self.work / REPOSITORY
        self._is_whole = (directory / STORE / NOTES).exists()

    @property
    def root(self) -> Path:
        """The folder that has the repository now."""
        if self._is_whole:
            return self.directory
        return self.repository

    @property
    def is_whole(self) -> bool:
        """Whether only the files are still to be written."""
        return self._is_whole

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Keep other processes out.

        Raises Unable for a folder that is in use or belongs to something else.
        """
        if (self.directory / STORE).exists() and not self._is_whole:
            raise Unable(
                f"{self.directory} is a Muse repository: choose another directory, or pull in it"
            )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            is_new = not any(self.directory.iterdir())
            if not (is_new or self._is_whole or self.work.exists()):
                raise Unable(f"{self.directory} is not empty: choose another directory")
            descriptor = os.open(self.directory, os.O_RDONLY)
        except OSError as error:
            raise Unable(
                f"cannot write to {self.directory} ({error.strerror}): choose another"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Unable(f"another `pieria clone` works in {self.directory}: wait for it") from None
        finally:
            os.close(descriptor)

    def begun(self) -> dict[str, Any] | None:
        """The first note: of which repository, and where its branches are.

        None: nothing has begun.
        """
        try:
            first = self._notes().read_text().partition("\n")[0]
            note = json.loads(first)
        except (OSError, ValueError):
            return None
        return note if isinstance(note, dict) else None

    def clear(self) -> None:
        """Remove the files of a clone that was killed before its first note."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def begin(self, note: dict[str, Any]) -> None:
        """Write the first note."""
        self._add([json.dumps(note)])

    def done(self, commits: Iterable[str], snapshots: Iterable[str]) -> None:
        """Note that these commits and their snapshots are stored, with all objects."""
        self._add([*(f"snapshot {i}" for i in snapshots), *(f"commit {i}" for i in commits)])

    def stored(self, kind: str) -> list[str]:
        """The ids of the commits or snapshots that are stored."""
        lines = self._notes().read_text().splitlines()[1:]
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{kind} ")]

    def discard_unfinished(self) -> None:
        """Remove records that were being written when the clone was killed: the client never writes
        them again.
        """
        for kind in ("commit", "snapshot"):
            stored = set(self.stored(kind))
            for record in (self.root / STORE / f"{kind}s").glob("*.json"):
                if record.stem not in stored:
                    record.unlink()

    def has_object(self, object_id: str) -> bool:
        """Whether the client has stored this object."""
        return (self.root / STORE / "objects" / object_id[:2] / object_id[2:]).exists()

    def move(self) -> None:
        """Put the whole repository into its place."""
        (self.repository / STORE).rename(self.directory / STORE)
        self._is_whole = True
        shutil.rmtree(self.work, ignore_errors=True)

    def finish(self) -> None:
        """Remove the notes: all is done."""
        shutil.rmtree(self.work, ignore_errors=True)
        self._notes().unlink()

    def _notes(self) -> Path:
        return self.root / STORE / NOTES

    def _add(self, lines: Iterable[str]) -> None:
        with self._notes().open("a") as notes:
            notes.write("".join(f"{line}\n" for line in lines))
            notes.flush()
            os.fsync(notes.fileno())
