"""The journal of the hub on one machine: an append-only file of every acknowledged write (format:
`infra.records`).

A crash leaves at most an unfinished last record, which was never acknowledged. It is cut off when
the file is opened, reported, and kept in a file of its own. So is a last record that is complete
but damaged. Damage anywhere else is an error, because cutting there would lose acknowledged writes.

Space is reserved before a write is carried out. A full disk therefore refuses a write before it has
any effect, and writes are accepted again as soon as there is space.

The folder is readable by its owner only. It holds `journal` and `lock`. `lock` is held (flock)
while the journal is open, so that one process at a time writes; it is a file of its own because a
rewrite replaces the other.
"""

import errno
import fcntl
import json
import logging
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, Self

from infra.records import (
    COPY_BYTES,
    MAGIC,
    PREFIX_BYTES,
    Damaged,
    Request,
    keep_dropped,
    records,
    write,
    write_all,
)

log = logging.getLogger(__name__)

RESERVE_STEP_BYTES = 1024 * 1024
"""Space that is reserved at once, if the disk has it: one system call for many records."""
PROBE_BYTES = 4096
_NO_FALLOCATE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class JournalError(Exception):
    """The journal cannot be used. The message is one line and has a next step."""


class JournalInUse(JournalError):
    """Another process has it open."""


class JournalFull(JournalError):
    """The disk has no space for the next record. Nothing was written."""


class Position(NamedTuple):
    """A position in the journal. `rewind` makes all earlier positions invalid."""

    epoch: int
    end: int


class Journal:
    """The journal in this folder, which is made if absent. Iterate for its requests, oldest first.

    Raises JournalError when another process has it open, when it is damaged before its last record,
    when it is of another version, or when others may look into the folder.
    """

    def __init__(self, folder: Path) -> None:
        make_private(folder)
        self._path = folder / "journal"
        with ExitStack() as undo:
            self._lock = locked(folder / "lock")
            undo.callback(os.close, self._lock)
            self._fd = _opened(self._path)
            undo.callback(os.close, self._fd)
            self._end, self._count = self._cut_tail()
            undo.pop_all()
        self._synced = self._reserved = self._end
        self._epoch = 0
        self._syncing = threading.Lock()
        self._failed = False
        self.trouble = ""
        """The reason why writes are refused, as one line. Empty while they are accepted."""
        self._lacking_bytes = 0
        """The largest reservation that was refused since writes were last accepted."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the reserved space, and the lock."""
        if not self._failed:
            os.ftruncate(self._fd, self._end)
        os.close(self._fd)
        os.close(self._lock)

    def __iter__(self) -> Iterator[Request]:
        with self._path.open("rb") as file:
            for _, head, body in records(file, self._path):
                method, target, headers = json.loads(head)
                yield Request(method, target, headers, body)

    @property
    def requests(self) -> int:
        """The number of records. (Not `len`: an empty journal would be false.)"""
        return self._count

    @property
    def position(self) -> Position:
        """The position after the last record: `sync` must reach it for all records to be on
        disk.
        """
        return Position(self._epoch, self._end)

    def reserve(self, size_bytes: int) -> None:
        """Reserve space for a record with `size_bytes` of head and body. One caller at a time.

        Raises JournalFull when the disk has no space.
        """
        self._check(self.position)
        needed = self._end + PREFIX_BYTES + size_bytes
        if needed > self._reserved:
            start = max(self._reserved, self._end)
            try:
                self._reserved = _allocated(self._fd, start, needed)
            except OSError as error:
                self._lacking_bytes = max(size_bytes, self._lacking_bytes)
                raise self._refusing(JournalFull, error) from error
        # Smaller writes may find space before a larger one does.
        if size_bytes >= self._lacking_bytes:
            self._lacking_bytes = 0

    def probe(self) -> None:
        """Check whether a write that was refused would be accepted now, and set `trouble`. One
        caller at a time."""
        if not self.trouble or self._failed:
            return
        with suppress(JournalFull, OSError):
            self.reserve(self._lacking_bytes)
            os.pwrite(self._fd, bytes(PROBE_BYTES), self._end)
            os.fsync(self._fd)
            self._taken()

    def append(self, request: Request) -> None:
        """Append a request. `sync` makes it durable. One caller at a time.

        Raises JournalError when the disk fails. The caller's state is then ahead of the journal, so
        the journal takes no more records until `rewind`.
        """
        self._check(self.position)
        try:
            self._end += write(self._fd, request)
        except OSError as error:
            self._failed = True
            raise self._refusing(JournalError, error) from error
        self._count += 1

    def sync(self, position: Position) -> None:
        """Return when all records before this position are on disk. Any number of callers.

        A caller that waits for another caller's flush shares its result: a hundred writes at once
        cost a few flushes, not a hundred. Raises JournalError when the disk fails, or when `rewind`
        has dropped the position.
        """
        with self._syncing:
            self._check(position)
            if self._synced >= position.end:
                return
            reached = self._end
            try:
                os.fsync(self._fd)
            except OSError as error:
                # The kernel may have dropped the pages: a second fsync would succeed and prove
                # nothing.
                self._failed = True
                raise self._refusing(JournalError, error) from error
            self._synced = reached
            self._taken()

    def rewind(self) -> bool:
        """After a failure, drop all records that may not be on disk. Returns False if there was no
        failure.

        The caller must rebuild its state from the remaining records. Raises OSError when the disk
        still fails.
        """
        with self._syncing:
            if not self._failed:
                return False
            os.ftruncate(self._fd, self._synced)
            os.lseek(self._fd, self._synced, os.SEEK_SET)
            self._end = self._reserved = self._synced
            self._epoch += 1
            self._count = sum(1 for _ in self)
            self._failed = False
            return True

    def rewrite(self, requests: Iterable[Request]) -> None:
        """Replace the whole journal by these requests. A crash meanwhile leaves the old one. One
        caller at a time."""
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            end = write_all(fd, MAGIC)
            count = 0
            for request in requests:
                end += write(fd, request)
                count += 1
            os.fsync(fd)
            fresh.rename(self._path)
            _sync_folder(self._path.parent)
        except BaseException:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd = fd
        self._end = self._synced = self._reserved = end
        self._count = count

    def _cut_tail(self) -> tuple[int, int]:
        """Check every record and cut the file after the last good one.

        Returns its end and the number of records.
        """
        with self._path.open("rb") as file:
            try:
                ends = [end for end, _, _ in records(file, self._path)]
            except Damaged as error:
                raise JournalError(str(error)) from None
            end = ends[-1] if ends else len(MAGIC)
            size = os.fstat(self._fd).st_size
            if end < size:
                keep_dropped(file, self._path, end)
                os.ftruncate(self._fd, end)
                os.fsync(self._fd)
        os.lseek(self._fd, end, os.SEEK_SET)
        return end, len(ends)

    def _check(self, position: Position) -> None:
        if self._failed or position.epoch != self._epoch:
            raise JournalError(
                self.trouble or f"{self._path} could not be written: repeat the request"
            )

    def _taken(self) -> None:
        if self.trouble and not self._lacking_bytes:
            log.warning("pieria: %s can be written again", self._path)
            self.trouble = ""

    def _refusing(self, kind: type[JournalError], error: OSError) -> JournalError:
        """Return the error to raise. Only the first of consecutive failures is logged."""
        trouble = (
            f"{self._path} could not be written ({error.strerror}): reads work, writes wait for"
            " free disk space"
        )
        if not self.trouble:
            log.error("pieria: %s", trouble)
        self.trouble = trouble
        return kind(trouble)


def make_private(folder: Path) -> None:
    """Make the folder, or remove other users' access to it if it is empty or has a journal.

    Raises JournalError for a folder of another user, and for one that is shared and holds other
    files.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise JournalError(f"{folder} belongs to another user: choose another folder")
    if stat.S_IMODE(found.st_mode) & 0o077 == 0:
        return
    if any(folder.iterdir()) and not (folder / "journal").is_file():
        raise JournalError(
            f"{folder} is open to other users and holds other files: choose another folder, or"
            " chmod 700"
        )
    folder.chmod(0o700)


def locked(path: Path) -> int:
    """Open and lock a file. Raises JournalInUse if another process has the lock."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise JournalInUse(
            f"{path.parent} is in use by another hub: stop it, or choose another folder"
        ) from None
    return fd


def _opened(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    found = os.pread(fd, len(MAGIC), 0)
    if found == MAGIC:
        return fd
    if MAGIC.startswith(found):
        # The file is new, or a crash happened right after it was created.
        write_all(fd, MAGIC)
        os.fsync(fd)
        _sync_folder(path.parent)
        return fd
    os.close(fd)
    raise JournalError(f"{path} was not written by this version of pieria: choose another folder")


def _allocated(fd: int, start: int, needed: int) -> int:
    """Reserve the file from `start` to `needed`, and RESERVE_STEP_BYTES more if possible.

    Returns the end reached.
    """
    try:
        _allocate(fd, start, needed + RESERVE_STEP_BYTES)
        return needed + RESERVE_STEP_BYTES
    except OSError:
        _allocate(fd, start, needed)
        return needed


def _allocate(fd: int, start: int, end: int) -> None:
    try:
        os.posix_fallocate(fd, start, end - start)
    except (AttributeError, OSError) as error:
        # AttributeError: macOS does not have this function.
        if isinstance(error, OSError) and error.errno not in _NO_FALLOCATE:
            raise
        while start < end:
            start += os.pwrite(fd, bytes(min(end - start, COPY_BYTES)), start)


def _sync_folder(folder: Path) -> None:
    """Make a new or renamed file durable: its folder must be on disk as well."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
