"""The format of the journal's file.

    file    "pieria journal 1\\n", then records, then zeros: space reserved for more records
    record  head length (u32) · body length (u64) · CRC-32 of head and body (u32)
            · CRC-32 of these 16 bytes (u32) · head: JSON [method, target, headers]
            · body: bytes as sent

Numbers are big-endian. Both checksums are needed: without the second, a damaged length looks like
an unfinished record.
"""

import itertools
import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

log = logging.getLogger(__name__)

MAGIC = b"pieria journal 1\n"
_LENGTHS = struct.Struct(">IQI")
_CHECK = struct.Struct(">I")
PREFIX_BYTES = _LENGTHS.size + _CHECK.size
COPY_BYTES = 1024 * 1024


class Damaged(Exception):
    """A record before the last one is damaged. The message is one line and has a next step."""


class Request(NamedTuple):
    """An AWS request, without its signature."""

    method: str
    target: str
    """Path and query, percent-encoded as on the request line."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


def records(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """(end, head, body) of each good record. Ends before an unfinished or damaged last record.

    Raises Damaged at a damaged record that is not the last, and at a damaged prefix.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.seek(len(MAGIC))
    while size - start >= PREFIX_BYTES:
        prefix = file.read(PREFIX_BYTES)
        head_bytes, body_bytes, checksum = _LENGTHS.unpack_from(prefix)
        if not _is_good(prefix):
            # No byte follows the prefix, and a head is never empty: so the prefix itself is
            # unfinished.
            if _is_zero(file, start + PREFIX_BYTES):
                return
            raise _damaged(path, start)
        end = start + PREFIX_BYTES + head_bytes + body_bytes
        if end > size:
            return
        head = file.read(head_bytes)
        body = file.read(body_bytes)
        if zlib.crc32(body, zlib.crc32(head)) != checksum:
            if _is_zero(file, end):
                return
            raise _damaged(path, start)
        yield end, head, body
        start = end


def _is_good(prefix: bytes) -> bool:
    if len(prefix) < PREFIX_BYTES:
        return False
    [checksum] = _CHECK.unpack_from(prefix, _LENGTHS.size)
    return bool(zlib.crc32(prefix[: _LENGTHS.size]) == checksum)


def keep_dropped(file: BinaryIO, path: Path, start: int) -> None:
    """Report the bytes from `start` on, which are not a valid record, and copy them to a file
    beside the journal.

    Zeros are neither reported nor copied: they are reserved space, or the result of a power cut
    while the file grew.
    """
    if _is_zero(file, start):
        return
    size = os.fstat(file.fileno()).st_size
    file.seek(start)
    prefix = file.read(PREFIX_BYTES)
    end = size + 1
    if _is_good(prefix):
        head_bytes, body_bytes, _ = _LENGTHS.unpack_from(prefix)
        end = start + PREFIX_BYTES + head_bytes + body_bytes
    # An unfinished write is followed by reserved space, which reads as zeros.
    unfinished = end > size or _is_zero(file, end - 1)
    kept = _copied(file, path, start, min(end, size))
    if unfinished:
        state = "is unfinished, so its write was never acknowledged"
    else:
        state = "is complete but damaged, so an acknowledged write may be lost"
    log.error(
        "pieria: %s: the last record, at byte %d, %s; it was dropped and is kept in %s",
        path,
        start,
        state,
        kept,
    )


def _copied(file: BinaryIO, path: Path, start: int, end: int) -> Path:
    """Copy these bytes of the journal to a new file, and return its path."""
    for number in itertools.count():
        kept = path.with_name(f"{path.name}.dropped-{start}" + (f"-{number}" if number else ""))
        try:
            fd = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            break
        except FileExistsError:
            continue
    try:
        file.seek(start)
        while file.tell() < end:
            write_all(fd, file.read(min(end - file.tell(), COPY_BYTES)))
        os.fsync(fd)
    finally:
        os.close(fd)
    return kept


def _is_zero(file: BinaryIO, start: int) -> bool:
    """Whether the file has only zeros from `start` on."""
    file.seek(start)
    blocks = iter(lambda: file.read(COPY_BYTES), b"")
    return all(block.count(0) == len(block) for block in blocks)


def _damaged(path: Path, start: int) -> Damaged:
    return Damaged(
        f"{path} is damaged at byte {start}, before its end: restore a copy, or choose another"
        " folder"
    )


def write(fd: int, request: Request) -> int:
    """Write one record. Returns its length in bytes."""
    head = json.dumps(
        [request.method, request.target, request.headers], separators=(",", ":")
    ).encode()
    lengths = _LENGTHS.pack(
        len(head), len(request.body), zlib.crc32(request.body, zlib.crc32(head))
    )
    # The body is written separately: joining would copy it, and it may have hundreds of megabytes.
    return write_all(fd, lengths + _CHECK.pack(zlib.crc32(lengths)) + head) + write_all(
        fd, request.body
    )


def write_all(fd: int, data: bytes) -> int:
    """Write all bytes. Returns their number."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    return len(data)
