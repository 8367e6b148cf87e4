"""Releases: under each tag a row with the whole record, compressed, and a small one by time, by which lists find it.

First writer wins, so a tag stands for one release until it is retracted. The row by time is written first and
removed last, and counts only while the tag's row names it as its `entry`: a crash in between leaves a row of no
consequence, never a release that no list shows. Each publication has an entry of its own, so that whoever
retracts one does not take away the next.
"""

import secrets
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Unavailable
from shared.metadata import attributes, keys
from shared.metadata.table import Lost, Row, Table, split

ROW_BYTES = 390_000
"""The most that a compressed record may have: DynamoDB takes items of up to 400 KiB, names and keys included."""

LABELLED = 1000
AT_ONCE = 25
"""Releases read at once where only their commits are wanted: a row may have 390 kB."""

_TIME = "TIME#"
_YEAR_ONE = 62_135_683_200_000_000
"""Microseconds from the first day there is, in any time zone, to the epoch: text must sort as times do."""
_THE_SAME = "attribute_not_exists(#entry) OR #entry = :seen"


@dataclass(frozen=True, slots=True)
class Release:
    """A release. `created` is when, in microseconds since the epoch; `record` is compressed msgpack, of `size`
    bytes before."""

    tag: str
    release_id: str
    commit_id: str
    created: int
    channel: str
    is_draft: bool
    size: int
    record: bytes

    @classmethod
    def of(
        cls, tag: str, release_id: str, commit_id: str, created: int, channel: str, is_draft: bool, packed: bytes
    ) -> "Release":
        """A release by its packed record."""
        return cls(tag, release_id, commit_id, created, channel, is_draft, len(packed), zlib.compress(packed))


@dataclass(frozen=True, slots=True)
class Entry:
    """What a list knows of a release before it is read. Lists are ordered by `place`."""

    place: str
    tag: str
    channel: str
    is_draft: bool
    size: int


@dataclass(frozen=True, slots=True)
class Releases:
    """The releases of every repository."""

    table: Table

    async def put_new(self, repo_id: str, release: Release) -> bytes | None:
        """Publish, unless something is published under this tag. Returns None if it was new, else what was first:
        its packed record."""
        place = f"{release.created + _YEAR_ONE:018d}#{release.tag}#{secrets.token_hex(8)}"
        entry = keys.releases(repo_id), _TIME + place
        shown: Row = {"channel": release.channel, "is_draft": int(release.is_draft), "size": release.size}
        await self.table.put_new(entry, {"tag": release.tag, **shown})
        row: Row = {
            "release_id": release.release_id,
            "commit_id": release.commit_id,
            "record": release.record,
            "entry": place,
        }
        first = await self.table.put_new(keys.release(repo_id, release.tag), row)
        # Its own, if an earlier try of the same call arrived after all.
        if first is None or first["entry"] == place:
            return None
        await self._forget(repo_id, place)
        return _packed(first)

    async def entries(self, repo_id: str, limit: int, after: str | None) -> tuple[list[Entry], bool]:
        """Up to `limit` entries, newest first, from below the place `after`, and whether there are more.

        Some may be of releases that are gone, or not there yet.
        """
        page = await self.table.query(
            keys.releases(repo_id),
            prefix=_TIME,
            limit=limit,
            newest_first=True,
            after=f"{_TIME}{after}" if after else None,
        )
        return [_entry(row) for row in page.rows], page.last is not None

    async def read(self, repo_id: str, entries: Sequence[Entry]) -> list[tuple[Entry, bytes]]:
        """Those of these entries that are there, in the same order, each with its packed record."""
        rows = await self.table.find([keys.release(repo_id, entry.tag) for entry in entries])
        found = {str(row["entry"]): row for row in rows}
        return [(entry, _packed(found[entry.place])) for entry in entries if entry.place in found]

    async def published_commits(self, repo_id: str) -> set[str]:
        """The commits of the newest releases that are no drafts: up to `LABELLED` of them."""
        entries, _ = await self.entries(repo_id, LABELLED, None)
        published = [entry for entry in entries if not entry.is_draft]
        places = {entry.place for entry in published}
        found: set[str] = set()
        for some in split(published, AT_ONCE):
            rows = await self.table.find([keys.release(repo_id, entry.tag) for entry in some])
            found |= {str(row["commit_id"]) for row in rows if row["entry"] in places}
        return found

    async def remove(self, repo_id: str, tag: str) -> bool:
        """Retract what is published under a tag. Returns whether there was anything.

        Only what was seen is removed: if it is retracted and another published meanwhile, that one stays.
        """
        key = keys.release(repo_id, tag)
        row = await self.table.get(key)
        if row is None:
            return False
        place = str(row["entry"])
        with suppress(Lost):
            await self.table.remove(key, _THE_SAME, {"seen": place})
        await self._forget(repo_id, place)
        return True

    async def _forget(self, repo_id: str, place: str) -> None:
        # It is of no consequence any more: whether this succeeds is no matter of the request's.
        with suppress(Unavailable):
            await self.table.remove((keys.releases(repo_id), _TIME + place))


def _packed(row: Row) -> bytes:
    return zlib.decompress(attributes.binary(row, "record", f"release {row['release_id']!s}"))


def _entry(row: Row) -> Entry:
    return Entry(
        place=str(row["sk"]).removeprefix(_TIME),
        tag=str(row["tag"]),
        channel=str(row["channel"]),
        is_draft=bool(row["is_draft"]),
        size=int(str(row["size"])),
    )
