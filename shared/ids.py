"""The derivation of ids from content. All are SHA-256 in lower-case hex.

    object    the content, no header
    snapshot  NUL-joined `path NUL object_id` pairs, sorted by code point (as UTF-8 bytes)
    commit    NUL-joined sorted parents, snapshot id, message, committed_at; NUL between the four

NUL is the separator. With NUL in a message or path, two different records could have the same id,
so such records are refused before. The order of two parents does not change the id; duplicates do.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from shared.model import ObjectId

NUL = "\x00"


def object_id(content: bytes) -> ObjectId:
    """The id of an object with this content."""
    return ObjectId(sha256(content).hexdigest())


def snapshot_id(manifest: Mapping[str, str]) -> str:
    """The id of a manifest, path → object id. The empty manifest has the id of the empty object."""
    return _digest(NUL.join(sorted(f"{path}{NUL}{oid}" for path, oid in manifest.items())))


def commit_id(
    parents: Iterable[str], snapshot_id: str | None, message: str, committed_at: str
) -> str:
    """The id of a commit. `committed_at` is the text in the record, never a parsed time."""
    return _digest(NUL.join((NUL.join(sorted(parents)), snapshot_id or "", message, committed_at)))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
