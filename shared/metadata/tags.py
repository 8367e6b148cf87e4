"""Tags: labels on commits.

One row per tag id. Commits and labels are in a many-to-many relation.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.limits import Limits
from shared.metadata import attributes, keys
from shared.metadata.due import GC_AFTER_LABEL_SECONDS, Work, later
from shared.metadata.table import ConditionFailed, Query, Row, Table
from shared.model import CommitId, RepoId
from shared.tasks import gather_all, gather_pair

KIND = attributes.RowFormat("tag")
LABELLED_PAGES = 8
"""Pages of 1 MB that are read for the commits with tags."""


@dataclass(frozen=True, slots=True)
class Tag:
    """The row of a tag. `record` is packed."""

    tag_id: str
    commit_id: CommitId
    record: bytes


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a repository."""

    table: Table
    repo_id: RepoId
    limits: Limits

    async def find(self, tag_ids: Collection[str]) -> dict[str, Tag]:
        """Return those of these tags that exist, by id."""
        rows = await self.table.find([(keys.tags(self.repo_id), tag_id) for tag_id in tag_ids])
        return {str(row["sk"]): _tag(row) for row in rows}

    async def put_new(self, tags: Mapping[str, Tag]) -> dict[str, Tag]:
        """Store tags that were absent a moment ago. Returns existing tags with the same ids.

        Up to `conditional_rows` rows are written under the condition that they are new. More rows
        are written in batches: if two requests for one id race, the later tag may then be kept.
        """
        rows: list[tuple[keys.Key, Row]] = [
            (
                (keys.tags(self.repo_id), tag.tag_id),
                KIND.stamp({"commit_id": tag.commit_id, "record": tag.record}),
            )
            for tag in tags.values()
        ]
        if len(rows) > self.limits.conditional_rows:
            await self.table.put(rows)
            return {}
        existing = await gather_all(self._put_new(key, row) for key, row in rows)
        return {tag.tag_id: tag for tag in existing if tag is not None}

    async def _put_new(self, key: keys.Key, row: Row) -> Tag | None:
        """Store a tag. Returns the existing tag if the id has one."""
        try:
            await self.table.put_new(key, row)
        except ConditionFailed as lost:
            return _tag(lost.current())
        return None

    async def page(self, limit: int | None, after: str) -> tuple[list[Tag], bool]:
        """Return up to `limit` tags or 1 MB, by id, and whether there are more."""
        page = await self.table.query(
            Query(keys.tags(self.repo_id), limit=limit, after=after or None)
        )
        return list(map(_tag, page.rows)), page.last is not None

    async def commits(self) -> set[CommitId]:
        """Return the commits of the tags in the first `LABELLED_PAGES` pages."""
        found: set[CommitId] = set()
        after = ""
        for _ in range(LABELLED_PAGES):
            tags, has_more = await self.page(None, after)
            found |= {tag.commit_id for tag in tags}
            if not has_more:
                break
            after = tags[-1].tag_id
        return found

    async def remove(self, tag_id: str, now: float) -> bool:
        """Delete a tag, and list a gc as due. Returns whether there was a tag."""
        key = keys.tags(self.repo_id), tag_id
        found = await self.table.get(key)
        if found:
            unneeded = later(Work.GC, self.repo_id, now, GC_AFTER_LABEL_SECONDS)
            await gather_pair(self.table.delete(key), self.table.put([unneeded.row]))
        return found is not None


def _tag(row: Row) -> Tag:
    return Tag(
        attributes.text(row, "sk", KIND),
        CommitId(attributes.text(row, "commit_id", KIND)),
        attributes.binary(row, "record", KIND),
    )
