"""Releases: publish, list and retract. In returned records, nulls are replaced by empty values.

The stock client prints the fields of a list, and would print a null as the word None.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from shared import codec, cursors, names
from shared.errors import MissingReference, ReleaseExists, ReleaseNotFound, TooLarge, Unprocessable
from shared.metadata.releases import ROW_BYTES, Entry, Release, packed_record
from shared.metadata.table import ConditionFailed
from shared.protocol.base import parse
from shared.protocol.records import ChangelogEntry, ReleaseRecord, SemVer
from shared.protocol.releases import ListReleases, PostRelease
from shared.stores import RepoStores

RECORD_BYTES = 2 * 1024 * 1024
"""The largest record before compression, so that two of the largest fit into one reply."""
PAGE_BYTES = 4 * 1024 * 1024
"""The largest total size of the records of a page: a reply of Lambda has at most about 4.5 MB."""
MIN_ENTRIES = 100
"""The fewest entries of one read. Entries are so small that this number costs the same as fewer."""
MAX_READS = 8
"""The most reads of entries for one page. Its cursor continues after them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"\d{18}#.+#[0-9a-f]{16}")


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            defaults[name] = default.model_dump() if isinstance(default, BaseModel) else default
    return defaults


_RELEASE = _defaults(ReleaseRecord)
_SEMVER = _defaults(SemVer)
_ENTRY = _defaults(ChangelogEntry)


async def publish(repository: RepoStores, request: PostRelease, *, now: float) -> str:
    """Publish a release of a stored commit. Returns its id. A repeated request changes nothing.

    Raises Unprocessable, InvalidName or TooLarge for a record that no list could return,
    MissingReference for an unknown commit, and ReleaseExists if the tag has another release.

    Budget: 5 AWS calls, chain of 4 (POST releases).
    """
    record = _complete(request.root)
    shaped = parse(ReleaseRecord, record, "the release")
    names.check_release_tag(shaped.tag)
    names.check_id(shaped.commit_id, "commit")
    if codec.holds_bytes(record):
        raise Unprocessable("the release holds binary data; its record is text")
    packed = codec.pack_record(record)
    release = Release(
        tag=shaped.tag,
        release_id=shaped.release_id,
        commit_id=shaped.commit_id,
        created=_microseconds(shaped.created_at, now),
        channel=shaped.channel,
        is_draft=shaped.is_draft,
        size=len(packed),
        record=zlib.compress(packed),
    )
    if len(packed) > RECORD_BYTES or len(release.record) > ROW_BYTES:
        raise TooLarge(
            f"a release may have {RECORD_BYTES} bytes, and {ROW_BYTES} compressed; shorten its body"
            " or its changelog"
        )
    known = await repository.index.known(commits=[shaped.commit_id])
    if not known.commits:
        raise MissingReference("commit", [shaped.commit_id], "push it first")
    try:
        await repository.releases.put_new(release)
    except ConditionFailed as lost:
        published = codec.unpack_record(packed_record(lost.current()))
        if published != record:
            raise ReleaseExists(shaped.tag) from None
    return shaped.release_id


async def listed(
    repository: RepoStores, request: ListReleases, *, with_drafts: bool
) -> tuple[list[bytes], str | None]:
    """Return the packed records of a page, newest first, and the cursor of the next page.

    The number of reads is limited to `MAX_READS`, so a page may be short or empty if few entries
    match.

    Budget: 4 AWS calls, chain of 3 (GET releases).
    """
    if request.cursor:
        after = _parse_cursor(request.cursor)
    else:
        after = None
    chosen: list[Entry] = []
    size = 0
    for _ in range(MAX_READS):
        entries, more = await repository.releases.entries(
            max(request.limit + 1, MIN_ENTRIES), after
        )
        for entry in entries:
            if (with_drafts or not entry.is_draft) and request.channel in (None, entry.channel):
                size += entry.size
                if chosen and (len(chosen) == request.limit or size > PAGE_BYTES):
                    return await _page(repository, chosen, after)
                chosen.append(entry)
            after = entry.place
        if not more:
            after = None
            break
    return await _page(repository, chosen, after)


async def _page(
    repository: RepoStores, chosen: Sequence[Entry], after: str | None
) -> tuple[list[bytes], str | None]:
    """Return the records of these entries that fit into one reply, and the cursor after them."""
    found = await repository.releases.read(chosen)
    count = codec.fitting_records(record for _, record in found)
    if count < len(found):
        after = found[count - 1][0].place
    return [record for _, record in found[:count]], cursors.after(after)


async def retract(repository: RepoStores, tag: str, *, now: float) -> None:
    """Retract a release. Raises ReleaseNotFound.

    Budget: 6 AWS calls, chain of 4 (DELETE releases).
    """
    if not names.is_release_tag(tag) or not await repository.releases.remove(tag, now):
        raise ReleaseNotFound()


def _complete(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of absent and null fields. The model checks the types later."""
    record: dict[str, Any] = _filled(_RELEASE, raw)
    record["semver"] = _filled(_SEMVER, record["semver"])
    if isinstance(record["changelog"], list):
        record["changelog"] = [_filled(_ENTRY, entry) for entry in record["changelog"]]
    return record


def _filled(defaults: Mapping[str, Any], value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    given = {key: item for key, item in value.items() if not (item is None and key in defaults)}
    return {**defaults, **given}


def _microseconds(created_at: str, now: float) -> int:
    """The time of a release for sorting; `now` if its text is not a time.

    Naive times count as UTC.
    """
    try:
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo:
            aware = moment
        else:
            aware = moment.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return int(now * 1_000_000)


def _parse_cursor(cursor: str) -> str:
    place = cursors.parse_after(cursor)
    if not _CURSOR.fullmatch(place):
        raise cursors.invalid()
    return place
