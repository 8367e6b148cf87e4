"""Tags: labels on commits. One row each, under its id: a label may be on many commits, a commit may have many."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.metadata import attributes, keys
from shared.metadata.index import CONDITIONAL
from shared.metadata.table import Row, Table
from shared.tasks import all_of

LABELLED_PAGES = 8


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag's row: what it is found by, and the packed record."""

    tag_id: str
    commit_id: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of every repository."""

    table: Table

    async def find(self, repo_id: str, tag_ids: Collection[str]) -> dict[str, Tag]:
        """Those of these tags that exist, by id."""
        rows = await self.table.find([(keys.tags(repo_id), tag_id) for tag_id in tag_ids])
        return {str(row["sk"]): _tag(row) for row in rows}

    async def put_new(self, repo_id: str, tags: Mapping[str, Tag]) -> dict[str, Tag]:
        """Store tags that were not there a moment ago. Returns what was first under an id after all.

        Few are written on condition that they are new. Beyond, batches, as in `index`: there the rare race of
        two requests for one id may keep the later one's tag.
        """
        rows: list[tuple[keys.Key, Row]] = [
            ((keys.tags(repo_id), tag.tag_id), {"commit_id": tag.commit_id, "record": tag.record})
            for tag in tags.values()
        ]
        if len(rows) > CONDITIONAL:
            await self.table.put(rows)
            return {}
        first = await all_of(self.table.put_new(key, row) for key, row in rows)
        return {tag_id: _tag(row) for tag_id, row in zip(tags, first, strict=True) if row}

    async def page(self, repo_id: str, limit: int | None, after: str) -> tuple[list[Tag], bool]:
        """Up to `limit` tags, or 1 MB of them, in the order of their ids, and whether there are more."""
        page = await self.table.query(keys.tags(repo_id), limit=limit, after=after or None)
        return list(map(_tag, page.rows)), page.last is not None

    async def commits(self, repo_id: str) -> set[str]:
        """The commits that the first `LABELLED_PAGES` MB of tags are on."""
        found: set[str] = set()
        after = ""
        for _ in range(LABELLED_PAGES):
            tags, has_more = await self.page(repo_id, None, after)
            found |= {tag.commit_id for tag in tags}
            if not has_more:
                break
            after = tags[-1].tag_id
        return found

    async def remove(self, repo_id: str, tag_id: str) -> bool:
        """Delete a tag. Returns whether there was one."""
        key = keys.tags(repo_id), tag_id
        found = await self.table.get(key)
        if found:
            await self.table.remove(key)
        return found is not None


def _tag(row: Row) -> Tag:
    tag_id = str(row["sk"])
    return Tag(tag_id, str(row["commit_id"]), attributes.binary(row, "record", f"tag {tag_id}"))
