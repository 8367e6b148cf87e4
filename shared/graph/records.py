"""The records of commits and snapshots, from their stored bytes."""

import zlib
from collections.abc import Mapping
from typing import Any

from shared import codec
from shared.errors import Damaged
from shared.model import Node, ObjectId, Packed

MESSAGE_CHARACTERS = 1000
AUTHOR_CHARACTERS = 200
TIME_CHARACTERS = 64


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a commit's record that a log shows. `truncated`: whether a text was cut."""
    texts = {
        "message": record["message"][:MESSAGE_CHARACTERS],
        "author": record["author"][:AUTHOR_CHARACTERS],
        "committed_at": record["committed_at"][:TIME_CHARACTERS],
    }
    return {**texts, "truncated": any(text != record[name] for name, text in texts.items())}


def packed_summary(record: Mapping[str, Any]) -> bytes:
    """The summary as it is stored in the row of a commit whose record is too large for the row."""
    return zlib.compress(codec.pack_record(summary(record)))


def manifest(record: bytes) -> dict[str, ObjectId]:
    """The manifest in a packed snapshot record."""
    entries: dict[str, ObjectId] = codec.unpack_record(record)["manifest"]
    return entries


def commit_record(node: Node, records: Mapping[Packed, bytes]) -> bytes:
    """The packed record of a commit, from its row or from `records`, which were read from packs."""
    if node.record is not None:
        return zlib.decompress(node.record)
    if node.record_at is None:
        raise Damaged(f"the record of commit {node.commit_id}")
    return records[node.record_at]
