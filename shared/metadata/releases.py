"""Releases: one row each, under its tag. First writer wins, so a tag stands for one release until it is retracted.

The row holds the whole record, compressed, and beside it what a list is sorted and filtered by.
"""

import zlib
from dataclasses import dataclass

from shared.metadata import keys
from shared.metadata.table import Lost, Row, Table

ROW_BYTES = 390_000
"""The most that a compressed record may have: DynamoDB takes items of up to 400 KiB, names and keys included."""

_THE_SAME = "attribute_not_exists(#release_id) OR #release_id = :seen"


@dataclass(frozen=True, slots=True)
class Release:
    """A release's row. `created` is when, in microseconds since the epoch; `record` is compressed msgpack."""

    tag: str
    release_id: str
    commit_id: str
    created: int
    channel: str
    is_draft: bool
    record: bytes

    @classmethod
    def of(
        cls, tag: str, release_id: str, commit_id: str, created: int, channel: str, is_draft: bool, packed: bytes
    ) -> "Release":
        """The row for a packed record."""
        return cls(tag, release_id, commit_id, created, channel, is_draft, zlib.compress(packed))

    @property
    def packed(self) -> bytes:
        """The record as msgpack."""
        return zlib.decompress(self.record)


@dataclass(frozen=True, slots=True)
class Releases:
    """The releases of every repository."""

    table: Table

    async def put_new(self, repo_id: str, release: Release) -> Release | None:
        """Publish, unless something is published under this tag. Returns None if it was new, else what was first."""
        row: Row = {
            "release_id": release.release_id,
            "commit_id": release.commit_id,
            "created": release.created,
            "channel": release.channel,
            "is_draft": int(release.is_draft),
            "record": release.record,
        }
        first = await self.table.put_new((keys.releases(repo_id), release.tag), row)
        return _release(first) if first else None

    async def all(self, repo_id: str) -> list[Release]:
        """Every release of a repository, newest first."""
        rows = await self.table.query_all(keys.releases(repo_id), "")
        return sorted(map(_release, rows), key=lambda release: (release.created, release.tag), reverse=True)

    async def remove(self, repo_id: str, tag: str) -> bool:
        """Retract what is published under a tag. Returns whether there was anything.

        Only what was seen is removed: if it is retracted and another published meanwhile, that one stays.
        """
        key = keys.releases(repo_id), tag
        row = await self.table.get(key)
        if row is None:
            return False
        try:
            await self.table.remove(key, _THE_SAME, {"seen": str(row["release_id"])})
        except Lost:
            pass
        return True


def _release(row: Row) -> Release:
    record = row["record"]
    return Release(
        tag=str(row["sk"]),
        release_id=str(row["release_id"]),
        commit_id=str(row["commit_id"]),
        created=int(str(row["created"])),
        channel=str(row["channel"]),
        is_draft=bool(row["is_draft"]),
        record=record if isinstance(record, bytes) else b"",
    )
