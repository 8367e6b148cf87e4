"""What lies in packs and rows as the records that it is."""

import zlib
from collections.abc import Mapping

from shared import codec
from shared.errors import Damaged
from shared.model import Location, Node


def manifest(record: bytes) -> dict[str, str]:
    """The manifest in a packed snapshot record."""
    entries: dict[str, str] = codec.unpack_record(record)["manifest"]
    return entries


def commit_record(node: Node, records: Mapping[Location, bytes]) -> bytes:
    """The packed record of a commit, from its row or from what was read of packs."""
    if node.record is not None:
        return zlib.decompress(node.record)
    if node.record_at is None:
        raise Damaged(f"the record of commit {node.commit_id}")
    return records[node.record_at]
