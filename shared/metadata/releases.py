"""Releases: one row per tag with the compressed record, and one small row per time for the lists.

The first writer of a tag wins, so a tag stands for one release until that is retracted. The row by
time is written first and removed last. It counts only while the row of the tag has it as its
`entry`. A crash in between leaves a row without effect, never a release that no list shows. Each
publication has an entry of its own, so that a retraction cannot remove the entry of the next
publication.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Unavailable
from shared.metadata import attributes, keys
from shared.metadata.conditions import Absent, Equals, either
from shared.metadata.due import GC_AFTER_LABEL_SECONDS, Work, later
from shared.metadata.table import ConditionFailed, Query, Row, Table, chunked
from shared.model import CommitId, RepoId
from shared.tasks import gather_pair

ROW_BYTES = 390_000
"""The largest compressed record: DynamoDB accepts items of up to 400 KiB, with names and keys."""

KIND = attributes.RowFormat("release")
_ENTRY = attributes.RowFormat("release in a list")

LABELLED = 1000
AT_ONCE = 25
"""Releases that are read at the same time for their commits: each row may have 390 kB."""

_TIME = "TIME#"
_YEAR_ONE = 62_135_683_200_000_000
"""Microseconds from the first day of year 1, in any time zone, to the epoch.

They are added to times, so that the text of an earlier time sorts first.
"""


@dataclass(frozen=True, slots=True)
class Release:
    """A release. `created` is in microseconds since the epoch.

    `record` is compressed msgpack; `size` is its length before compression, in bytes.
    """

    tag: str
    release_id: str
    commit_id: CommitId
    created: int
    channel: str
    is_draft: bool
    size: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """The row of a release in lists. Lists are ordered by `place`."""

    place: str
    tag: str
    channel: str
    is_draft: bool
    size: int

    @property
    def created_at(self) -> int:
        """The time of the release in epoch seconds."""
        return (int(self.place[:18]) - _YEAR_ONE) // 1_000_000


@dataclass(frozen=True, slots=True)
class Releases:
    """The releases of a repository."""

    table: Table
    repo_id: RepoId

    async def put_new(self, release: Release) -> None:
        """Publish a release. Raises ConditionFailed with the row of another release of the tag."""
        place = f"{release.created + _YEAR_ONE:018d}#{release.tag}#{secrets.token_hex(8)}"
        entry: Row = {
            "tag": release.tag,
            "channel": release.channel,
            "is_draft": int(release.is_draft),
            "size": release.size,
        }
        row: Row = {
            "release_id": release.release_id,
            "commit_id": release.commit_id,
            "record": release.record,
            "entry": place,
        }
        # botocore retries a call whose response was lost: both rows may be our own.
        with suppress(ConditionFailed):
            await self.table.put_new(
                (keys.releases(self.repo_id), _TIME + place), _ENTRY.stamp(entry)
            )
        try:
            await self.table.put_new(keys.release(self.repo_id, release.tag), KIND.stamp(row))
        except ConditionFailed as lost:
            if lost.current()["entry"] != place:
                await self._forget(place)
                raise

    async def entries(self, limit: int, after: str | None) -> tuple[list[Entry], bool]:
        """Return up to `limit` entries below the place `after`, and whether there are more.

        The newest come first. The release of an entry may be retracted, or not published yet.
        """
        page = await self.table.query(
            Query(
                keys.releases(self.repo_id),
                prefix=_TIME,
                limit=limit,
                newest_first=True,
                after=f"{_TIME}{after}" if after else None,
            )
        )
        return [_entry(row) for row in page.rows], page.last is not None

    async def read(self, entries: Sequence[Entry]) -> list[tuple[Entry, bytes]]:
        """Return the published ones of these entries, in the same order, with their packed
        records.
        """
        rows = await self.table.find([keys.release(self.repo_id, entry.tag) for entry in entries])
        found = {attributes.text(row, "entry", KIND): row for row in rows}
        return [
            (entry, packed_record(found[entry.place])) for entry in entries if entry.place in found
        ]

    async def one(self, tag: str) -> bytes | None:
        """Return the packed record of the release of a tag, or None."""
        rows = await self.table.find([keys.release(self.repo_id, tag)])
        return packed_record(rows[0]) if rows else None

    async def published_commits(self) -> set[CommitId]:
        """Return the commits of the newest `LABELLED` releases, without drafts."""
        entries, _ = await self.entries(LABELLED, None)
        published = [entry for entry in entries if not entry.is_draft]
        places = {entry.place for entry in published}
        found: set[CommitId] = set()
        for part in chunked(published, AT_ONCE):
            rows = await self.table.find([keys.release(self.repo_id, entry.tag) for entry in part])
            found |= {
                CommitId(attributes.text(row, "commit_id", KIND))
                for row in rows
                if row["entry"] in places
            }
        return found

    async def remove(self, tag: str, now: float) -> bool:
        """Retract the release of a tag, and list a gc as due. Returns whether there was a release.

        A release that is published under the tag after this call has read the row stays.
        """
        key = keys.release(self.repo_id, tag)
        row = await self.table.get(key)
        if row is None:
            return False
        place = attributes.text(row, "entry", KIND)
        is_same = either(Absent("entry"), Equals("entry", place))
        unneeded = later(Work.GC, self.repo_id, now, GC_AFTER_LABEL_SECONDS)
        with suppress(ConditionFailed):
            await gather_pair(self.table.delete(key, is_same), self.table.put([unneeded.row]))
        await self._forget(place)
        return True

    async def _forget(self, place: str) -> None:
        # The entry has no effect any more, so the request succeeds even if this deletion fails.
        with suppress(Unavailable):
            await self.table.delete((keys.releases(self.repo_id), _TIME + place))


def packed_record(row: Row) -> bytes:
    """Return the packed record of the row of a tag. Raises Damaged."""
    return attributes.record(row, KIND)


def _entry(row: Row) -> Entry:
    return Entry(
        place=str(row["sk"]).removeprefix(_TIME),
        tag=attributes.text(row, "tag", _ENTRY),
        channel=attributes.text(row, "channel", _ENTRY),
        is_draft=attributes.flag(row, "is_draft", _ENTRY),
        size=attributes.number(row, "size", _ENTRY),
    )
