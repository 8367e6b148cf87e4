"""Reads the journal of earlier versions of `make serve`: each write to an emulated AWS, oldest
first. `infra.migration` uses it.

    file    "pieria journal 1\\n", then records, then zeros: space reserved for more records
    record  head length (u32) · body length (u64) · CRC-32 of head and body (u32)
            · CRC-32 of these 16 bytes (u32) · head: JSON [method, target, headers]
            · body: bytes as sent

Numbers are big-endian. Both checksums are needed: without the second, a damaged length looks like
an unfinished record.
"""

import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from infra.aws_request import Request

log = logging.getLogger(__name__)

MAGIC = b"pieria journal 1\n"
LENGTHS = struct.Struct(">IQI")
CHECK = struct.Struct(">I")
PREFIX_BYTES = LENGTHS.size + CHECK.size
READ_BYTES = 1024 * 1024


class Unreadable(Exception):
    """The journal cannot be read. The message is one line with the next step."""


def requests(path: Path) -> Iterator[Request]:
    """Yield the requests, oldest first. An unfinished last record is logged and skipped.

    A crash leaves such a record, which the hub never acknowledged. Raises Unreadable for any other
    damage.
    """
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
        if magic != MAGIC and not MAGIC.startswith(magic):
            raise Unreadable(
                f"{path} was not written by an earlier version of pieria: choose another folder"
            )
        end = len(magic)
        for record_end, head, body in _records(file, path):
            method, target, headers = json.loads(head)
            yield Request(method, target, headers, body)
            end = record_end
        if not _is_zero(file, end):
            log.error(
                "pieria: %s: the last record, at byte %d, is unfinished or damaged; it is skipped",
                path,
                end,
            )


def _records(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """(end, head, body) of each good record. Ends before an unfinished or damaged last record.

    Raises Unreadable at a damaged record that is not the last, and at a damaged prefix.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.seek(len(MAGIC))
    while size - start >= PREFIX_BYTES:
        prefix = file.read(PREFIX_BYTES)
        head_bytes, body_bytes, checksum = LENGTHS.unpack_from(prefix)
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
        start = file.seek(end)


def _is_good(prefix: bytes) -> bool:
    [checksum] = CHECK.unpack_from(prefix, LENGTHS.size)
    return bool(zlib.crc32(prefix[: LENGTHS.size]) == checksum)


def _is_zero(file: BinaryIO, start: int) -> bool:
    """Return whether the file has only zeros from `start` on."""
    file.seek(start)
    blocks = iter(lambda: file.read(READ_BYTES), b"")
    return all(block.count(0) == len(block) for block in blocks)


def _damaged(path: Path, start: int) -> Unreadable:
    return Unreadable(
        f"{path} is damaged at byte {start}, before its end: restore a copy, or choose another"
        " folder"
    )
