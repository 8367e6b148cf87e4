"""Lists of the repositories of an owner that a caller may see. The cost follows their length.

    listed repo     LISTED#<owner>    <visibility>#<slug>     public: for every caller
    membership      MEMBERS#<owner>   @<handle>#<slug>        for a member

These rows are candidates: a reader compares them with the rows of the repositories and of the
members. A row is written before or together with the change that makes a repository visible. A
crash can therefore leave a candidate too many, but never one too few.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import Unavailable
from shared.metadata import keys
from shared.metadata.conditions import Equals
from shared.metadata.keys import Key
from shared.metadata.table import ConditionFailed, Query, Removal, Row, Table, Update
from shared.model import Identity, Repo, Visibility
from shared.tasks import gather_all

_COMPLETE: Key = ("LISTED", "COMPLETE")
"""The row that is written when the lists of an older hub have been completed."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows of the lists of repositories."""

    table: Table

    async def candidates(
        self, owner: str, identity: Identity | None, after: str, limit: int
    ) -> tuple[list[str], str | None]:
        """Return slugs after `after` of repositories that the caller may be able to see.

        Sorted; at least `limit` of them if there are as many. Also returns the slug to continue
        after; None at the end.
        """
        pages = await gather_all(
            self._page(pk, prefix, after, limit) for pk, prefix in _partitions(owner, identity)
        )
        slugs = {slug for slug in _named(owner, identity) if slug > after}
        slugs.update(*(found for found, _ in pages))
        last = min((page_end for _, page_end in pages if page_end is not None), default=None)
        return sorted(slug for slug in slugs if last is None or slug <= last), last

    async def remove(self, repo: Repo) -> None:
        """Delete the row of a repository that lost its name, unless it is another repository's
        row.
        """
        with suppress(ConditionFailed, Unavailable):  # a candidate too many does no harm
            await self.table.delete(_key(repo), Equals("repo_id", repo.repo_id))

    async def complete(self) -> None:
        """Write the rows that an older hub did not write. Reads the whole table, once."""
        if await self.table.get(_COMPLETE):
            return
        rows: list[tuple[Key, Row]] = []
        async for repo in self.table.scan(keys.OWNER):
            if not repo["deleted_at"]:
                key = keys.listed(str(repo["owner"]), str(repo["visibility"]), str(repo["slug"]))
                rows.append((key, {"repo_id": repo["repo_id"]}))
        async for member in self.table.scan(keys.MEMBERS):
            slug, _, handle = str(member["sk"]).partition("#")
            if not slug.startswith(keys.MEMBERSHIP):
                owner = str(member["pk"]).removeprefix(keys.MEMBERS)
                rows.append((keys.membership(owner, slug, handle), {"roster": member["roster"]}))
        await self.table.put(rows)
        await self.table.put([(_COMPLETE, {})])

    async def _page(
        self, pk: str, prefix: str, after: str, limit: int
    ) -> tuple[list[str], str | None]:
        page = await self.table.query(
            Query(pk, prefix=prefix, limit=limit, after=f"{prefix}{after}" if after else None)
        )
        slugs = [str(found["sk"]).removeprefix(prefix) for found in page.rows]
        return slugs, page.last.removeprefix(prefix) if page.last else None


def row(repo: Repo) -> tuple[Key, Row]:
    """The row of a repository in the list of its owner."""
    return _key(repo), {"repo_id": repo.repo_id}


def moved(repo: Repo, visibility: Visibility) -> Collection[Update | Removal]:
    """The writes that list a repository under this visibility and no other.

    They are part of the transaction that changes the visibility.
    """
    others = [other for other in Visibility if other is not visibility]
    key, values = row(replace(repo, visibility=visibility))
    return [
        Update(key, values),
        *(Removal(_key(replace(repo, visibility=other))) for other in others),
    ]


def _key(repo: Repo) -> Key:
    return keys.listed(repo.owner, repo.visibility.value, repo.slug)


def _partitions(owner: str, identity: Identity | None) -> Iterable[tuple[str, str]]:
    """The partitions and sort key prefixes of the repositories that a caller may see."""
    yield keys.listed(owner, Visibility.PUBLIC.value)
    if identity is None or identity.repo:
        return
    if identity.subject == owner:
        yield keys.listed(owner, Visibility.PRIVATE.value)
    else:
        yield keys.memberships(owner, identity.subject)


def _named(owner: str, identity: Identity | None) -> list[str]:
    """The slug of the repository that a token is limited to, if it belongs to this owner."""
    named_owner, _, slug = identity.repo.partition("/") if identity else ("", "", "")
    return [slug] if slug and named_owner == owner else []
