"""Lists of repositories: those of an owner that a caller may see, and the newest public ones.

The cost of a list follows its length.

    listed repo     LISTED#<owner>    <visibility>#<slug>     public: for every caller
    membership      MEMBERS#<owner>   @<handle>#<slug>        for a member
    public repo     RECENT            <created at>#<repo_id>  for every caller

These rows are candidates: a reader compares them with the rows of the repositories and of the
members. A row is written before or together with the change that makes a repository visible. A
crash can therefore leave a candidate too many, but never one too few.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import Unavailable
from shared.metadata import attributes, keys, repo_rows
from shared.metadata.conditions import Equals
from shared.metadata.keys import Key
from shared.metadata.table import ConditionFailed, Query, Removal, Row, Table, Update
from shared.model import Identity, Repo, Visibility
from shared.tasks import gather_all

_LISTED = attributes.RowFormat("listed repository")
_COMPLETE: Key = ("LISTED", "COMPLETE-2")
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

    async def recent(self, limit: int) -> list[tuple[Key, str]]:
        """Return the keys and the ids of up to `limit` repositories that may be public.

        The newest come first. The read may be stale.
        """
        newest = Query(keys.RECENT, limit=limit, newest_first=True, maybe_stale=True)
        found = await self.table.scan_filtered(newest, limit, lambda row: True)
        return [
            (
                keys.repo(
                    attributes.text(row, "owner", _LISTED), attributes.text(row, "slug", _LISTED)
                ),
                str(row["sk"]).partition("#")[2],
            )
            for row in found
        ]

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
        missing: list[tuple[Key, Row]] = []
        async for repo in self.table.scan(keys.OWNER):
            if not repo["deleted_at"]:
                missing += rows(repo_rows.decode(repo))
        async for member in self.table.scan(keys.MEMBERS):
            slug, _, handle = str(member["sk"]).partition("#")
            if not slug.startswith(keys.MEMBERSHIP):
                owner = str(member["pk"]).removeprefix(keys.MEMBERS)
                key = keys.membership(owner, slug, handle)
                missing.append((key, {"roster": member["roster"]}))
        await self.table.put(missing)
        await self.table.put([(_COMPLETE, {})])

    async def _page(
        self, pk: str, prefix: str, after: str, limit: int
    ) -> tuple[list[str], str | None]:
        page = await self.table.query(
            Query(pk, prefix=prefix, limit=limit, after=f"{prefix}{after}" if after else None)
        )
        slugs = [str(found["sk"]).removeprefix(prefix) for found in page.rows]
        return slugs, page.last.removeprefix(prefix) if page.last else None


def rows(repo: Repo) -> list[tuple[Key, Row]]:
    """The rows that list a repository."""
    listed: list[tuple[Key, Row]] = [(_key(repo), _LISTED.stamp({"repo_id": repo.repo_id}))]
    if repo.visibility is Visibility.PUBLIC:
        public: Row = {"owner": repo.owner, "slug": repo.slug}
        listed.append((recent_key(repo), _LISTED.stamp(public)))
    return listed


def recent_key(repo: Repo) -> Key:
    """The key of the row that lists a repository for all callers."""
    return keys.recent(repo.created_at, repo.repo_id)


def moved(repo: Repo, visibility: Visibility) -> Collection[Update | Removal]:
    """The writes that list a repository under this visibility and no other.

    They are part of the transaction that changes the visibility.
    """
    listed = dict(rows(replace(repo, visibility=visibility)))
    others = [other for other in Visibility if other is not visibility]
    possible = [*(_key(replace(repo, visibility=other)) for other in others), recent_key(repo)]
    return [
        *(Update(key, values) for key, values in listed.items()),
        *(Removal(key) for key in possible if key not in listed),
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
    if identity is None or identity.repo is None:
        return []
    named_owner, _, slug = identity.repo.partition("/")
    return [slug] if named_owner == owner else []
