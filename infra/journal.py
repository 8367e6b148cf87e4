"""What the hub on a laptop must not forget: an append-only file of every acknowledged write.

    file    "pieria journal 1\\n", then records until the end
    record  head length (u32) · body length (u64) · CRC-32 of head and body (u32) · CRC-32 of these 16 bytes (u32)
            · head: JSON [method, target, headers] · body: bytes as sent

Numbers are big-endian. A crash leaves at most an unfinished last record, which was never acknowledged: it is
cut off when the file is opened. Damage anywhere else is an error, because cutting there would silently lose
acknowledged writes. Both checksums are needed: without the second, a damaged length looks like an unfinished
record.

The folder holds `journal` and `lock`, both readable by their owner only. `lock` is held (flock) while the
journal is open, so that one process at a time writes; it is a file of its own because a rewrite replaces the other.
"""

import fcntl
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

MAGIC = b"pieria journal 1\n"
_LENGTHS = struct.Struct(">IQI")
_CHECK = struct.Struct(">I")
PREFIX_BYTES = _LENGTHS.size + _CHECK.size


class JournalError(Exception):
    """The journal cannot be used. The message is one line and says what to do."""


class JournalInUse(JournalError):
    """Another process has it open."""


class Request(NamedTuple):
    """An AWS request, without its signature."""

    method: str
    target: str
    """Path and query, percent-encoded as on the request line."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


class Journal:
    """The journal in this folder, which is made if absent. Iterate for its requests, oldest first.

    Raises JournalError when another process has it open, when it is damaged, or when it is of another version.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / "journal"
        with ExitStack() as undo:
            self._lock = _locked(folder / "lock")
            undo.callback(os.close, self._lock)
            self._fd = _opened(self._path)
            undo.callback(os.close, self._fd)
            self._end = self._cut_unfinished()
            undo.pop_all()
        self._synced = self._end
        self._syncing = threading.Lock()
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the journal."""
        os.close(self._fd)
        os.close(self._lock)

    def __iter__(self) -> Iterator[Request]:
        with self._path.open("rb") as file:
            for _, head, body in _records(file, self._path):
                method, target, headers = json.loads(head)
                yield Request(method, target, headers, body)

    @property
    def requests(self) -> int:
        """How many there are. (Not `len`: an empty journal would be false.)"""
        return self._count

    @property
    def end(self) -> int:
        """The position after the last record: what `sync` must reach for all of it to be on disk."""
        return self._end

    def append(self, request: Request) -> None:
        """Write one request after the others; `sync` makes it last. One caller at a time.

        Raises JournalError when the disk refuses. What is in memory is then ahead of what is on disk, so the
        journal takes nothing more: a restart goes on from what was acknowledged.
        """
        self._check()
        try:
            self._end += _write(self._fd, request)
        except OSError as error:
            self._failed = True
            raise self._broken() from error
        self._count += 1

    def sync(self, position: int) -> None:
        """Return once everything before this position is on disk. Any number of callers.

        Those who wait while another flushes find theirs flushed too: a hundred writes at once cost a few
        flushes, not a hundred.
        """
        with self._syncing:
            self._check()
            if self._synced >= position:
                return
            reached = self._end
            try:
                os.fsync(self._fd)
            except OSError as error:
                # The kernel may have dropped the pages: a second fsync would succeed and prove nothing.
                self._failed = True
                raise self._broken() from error
            self._synced = reached

    def rewrite(self, requests: Iterable[Request]) -> None:
        """Replace the whole journal by these. A crash on the way leaves the old one. Nobody may be appending."""
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            end, count = _write_all(fd, MAGIC), 0
            for request in requests:
                end += _write(fd, request)
                count += 1
            os.fsync(fd)
            fresh.rename(self._path)
            _sync_folder(self._path.parent)
        except BaseException:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._end, self._synced, self._count = fd, end, end, count

    def _cut_unfinished(self) -> int:
        """Check every record, count them, and cut the file after the last whole one. Returns its end."""
        with self._path.open("rb") as file:
            ends = [end for end, _, _ in _records(file, self._path)]
        self._count, end = len(ends), ends[-1] if ends else len(MAGIC)
        if end < os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, end)
            os.fsync(self._fd)
        os.lseek(self._fd, end, os.SEEK_SET)
        return end

    def _check(self) -> None:
        if self._failed:
            raise self._broken()

    def _broken(self) -> JournalError:
        return JournalError(f"{self._path} could not be written: free some disk space, then restart")


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise JournalInUse(f"{path.parent} is in use by another hub: stop it, or choose another folder") from None
    return fd


def _opened(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    found = os.pread(fd, len(MAGIC), 0)
    if found == MAGIC:
        return fd
    if MAGIC.startswith(found):
        # New, or a crash right after it was made.
        _write_all(fd, MAGIC)
        os.fsync(fd)
        _sync_folder(path.parent)
        return fd
    os.close(fd)
    raise JournalError(f"{path} was not written by this version of pieria: choose another folder")


def _records(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """(end, head, body) of each whole record. Ends quietly before an unfinished one, raises at a damaged one."""
    size = os.fstat(file.fileno()).st_size
    start = file.seek(len(MAGIC))
    while size - start >= PREFIX_BYTES:
        prefix = file.read(PREFIX_BYTES)
        head_bytes, body_bytes, checksum = _LENGTHS.unpack_from(prefix)
        if zlib.crc32(prefix[: _LENGTHS.size]) != _CHECK.unpack_from(prefix, _LENGTHS.size)[0]:
            if _is_zero(prefix, file):
                return
            raise _damaged(path, start)
        end = start + PREFIX_BYTES + head_bytes + body_bytes
        if end > size:
            return
        head, body = file.read(head_bytes), file.read(body_bytes)
        if zlib.crc32(body, zlib.crc32(head)) != checksum:
            if end == size:
                return
            raise _damaged(path, start)
        yield end, head, body
        start = end


def _is_zero(prefix: bytes, file: BinaryIO) -> bool:
    """Whether nothing but zeros follows: what a power cut leaves where a file had grown, its bytes not yet written."""
    block = prefix
    while block:
        if block.count(0) != len(block):
            return False
        block = file.read(1 << 20)
    return True


def _damaged(path: Path, start: int) -> JournalError:
    return JournalError(f"{path} is damaged at byte {start}, before its end: restore a copy, or choose another folder")


def _write(fd: int, request: Request) -> int:
    head = json.dumps([request.method, request.target, request.headers], separators=(",", ":")).encode()
    lengths = _LENGTHS.pack(len(head), len(request.body), zlib.crc32(request.body, zlib.crc32(head)))
    # The body is not joined to the rest: it may be hundreds of megabytes.
    return _write_all(fd, lengths + _CHECK.pack(zlib.crc32(lengths)) + head) + _write_all(fd, request.body)


def _write_all(fd: int, data: bytes) -> int:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    return len(data)


def _sync_folder(folder: Path) -> None:
    """A new or renamed file lasts only once its folder is on disk too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
