"""Tags: labels on commits. Every user who may push may add and delete them."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared import codec, cursors, names
from shared.errors import MissingReference, TagExists, TagNotFound, TooLarge, Unprocessable
from shared.metadata.tags import Tag
from shared.protocol.base import parse
from shared.protocol.records import TagRecord
from shared.protocol.tags import ListTags, PostTags
from shared.stores import RepoStores
from shared.tasks import gather_pair

RECORD_BYTES = 4096
"""The largest record of a tag. A page of a thousand of them fits into one reply."""
REQUEST_BYTES = 512 * 1024
"""The largest total size of the records of one request: about 1,700 usual ones of 300 bytes.

Each KB costs a write unit. A thousand records of the largest size would need 5,000 units at once.
"""
MAX_PAGES = 4
"""The most pages of rows that one filtered list reads. Its cursor continues after them."""


async def store(repository: RepoStores, request: PostTags) -> int:
    """Store tags on stored commits. Returns the number of new tags.

    Raises InvalidName, Unprocessable, TooLarge, MissingReference or TagExists before it stores a
    tag. Only for a tag that another request stores at the same time, TagExists comes after that.

    Budget: 5 AWS calls, chain of 3 (POST tags, 1 tag).
    """
    tags = _distinct(map(_tag, request.tags))
    size = sum(len(tag.record) for tag in tags.values())
    if size > REQUEST_BYTES:
        raise TooLarge(
            f"the tags have {size} bytes together, and {REQUEST_BYTES} is the limit; send fewer"
            " tags per request"
        )
    known, found = await gather_pair(
        repository.index.known(commits={tag.commit_id for tag in tags.values()}),
        repository.tags.find(tags),
    )
    unknown = {tag.commit_id for tag in tags.values()} - known.commits.keys()
    if unknown:
        raise MissingReference("commit", unknown, "push it first")
    _check_same(tags, found)
    new = {tag_id: tag for tag_id, tag in tags.items() if tag_id not in found}
    faster = await repository.tags.put_new(new)
    _check_same(tags, faster)
    return len(new) - len(faster)


async def listed(repository: RepoStores, request: ListTags) -> tuple[list[bytes], str | None]:
    """Return the packed records of a page of tags by id, and the cursor of the next page, if any.

    A filtered list reads a bounded number of rows, so a page may be short although there are more.

    Budget: 3 AWS calls, chain of 2 (GET tags).
    """
    narrowed = bool(request.commit_id or request.label)
    records: list[bytes] = []
    size = 0
    after = cursors.parse_after(request.cursor)
    for _ in range(MAX_PAGES):
        room = request.limit - len(records)
        tags, has_more = await repository.tags.page(None if narrowed else room, after)
        for address, tag in enumerate(tags):
            if _is_asked_for(tag, request):
                size += codec.sent_record_bytes(tag.record)
                if records and size > codec.PAGE_BYTES:
                    return records, cursors.after(after)
                records.append(tag.record)
            after = tag.tag_id
            if len(records) == request.limit:
                return records, cursors.after(after) if has_more or address + 1 < len(
                    tags
                ) else None
        if not has_more:
            return records, None
    return records, cursors.after(after)


async def delete(repository: RepoStores, tag_id: str, *, now: float) -> None:
    """Delete a tag. Raises TagNotFound.

    Budget: 5 AWS calls, chain of 3 (DELETE tags).
    """
    if not names.is_id(tag_id) or not await repository.tags.remove(tag_id, now):
        raise TagNotFound()


def _tag(raw: Mapping[str, Any]) -> Tag:
    nulls = {key: "" for key in ("repo_id", "created_at") if raw.get(key) is None}
    record = {**raw, **nulls}
    shaped = parse(TagRecord, record, "a tag")
    names.check_id(shaped.tag_id, "tag")
    names.check_id(shaped.commit_id, "commit")
    names.check_label(shaped.tag)
    if codec.holds_bytes(record):
        raise Unprocessable(f"tag {shaped.tag_id} holds binary data; its record is text")
    packed = codec.pack_record(record)
    if len(packed) > RECORD_BYTES:
        raise TooLarge(f"tag {shaped.tag_id} is larger than {RECORD_BYTES} bytes; shorten it")
    return Tag(shaped.tag_id, shaped.commit_id, packed)


def _distinct(tags: Iterable[Tag]) -> dict[str, Tag]:
    by_id: dict[str, Tag] = {}
    for tag in tags:
        _check_same({tag.tag_id: tag}, {tag.tag_id: by_id.setdefault(tag.tag_id, tag)})
    return by_id


def _check_same(tags: Mapping[str, Tag], stored: Mapping[str, Tag]) -> None:
    """Raise TagExists for an id with another stored tag."""
    for tag_id, first in stored.items():
        if codec.unpack_record(first.record) != codec.unpack_record(tags[tag_id].record):
            raise TagExists(tag_id)


def _is_asked_for(tag: Tag, request: ListTags) -> bool:
    if request.commit_id not in ("", tag.commit_id):
        return False
    return not request.label or codec.unpack_record(tag.record)["tag"] == request.label
