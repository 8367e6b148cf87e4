"""Which repositories of a user a caller may see, at a price that follows those that are shown.

    listed repo     LISTED#<owner>    <visibility>#<slug>     for everybody, or for the owner
    membership      MEMBERS#<owner>   @<handle>#<slug>        for a member

These rows are candidates: a reader compares them with the rows of the repositories and of the members. A row is written
before, or together with, what makes a repository visible, so a crash leaves a candidate too many, never one too few.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import Unavailable
from shared.metadata import keys
from shared.metadata.keys import Key
from shared.metadata.table import Lost, Removal, Row, Table, Update
from shared.model import Identity, Repo, Visibility
from shared.tasks import all_of

_SAME = "#repo_id = :same"
_COMPLETE: Key = ("LISTED", "COMPLETE")
"""The row that says that the rows of an older hub have been completed."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows by which repositories are listed."""

    table: Table

    async def candidates(
        self, owner: str, identity: Identity | None, after: str, limit: int
    ) -> tuple[list[str], str | None]:
        """Slugs of the owner's repositories that the caller may be able to see, in order, behind `after`.

        At least `limit` of them if there are as many. Also the slug after which the next ones follow; None at the end.
        """
        pages = await all_of(self._page(pk, prefix, after, limit) for pk, prefix in _partitions(owner, identity))
        slugs = {slug for slug in _named(owner, identity) if slug > after}
        slugs.update(*(found for found, _ in pages))
        last = min((page_end for _, page_end in pages if page_end is not None), default=None)
        return sorted(slug for slug in slugs if last is None or slug <= last), last

    async def remove(self, repo: Repo) -> None:
        """Remove the row of a repository that its name no longer points to, unless another repository has it."""
        with suppress(Lost, Unavailable):  # a candidate too many does no harm
            await self.table.remove(_key(repo), _SAME, {"same": repo.repo_id})

    async def complete(self) -> None:
        """Write the rows of repositories and members that an older hub made. Reads the whole table, once."""
        if await self.table.get(_COMPLETE):
            return
        rows: list[tuple[Key, Row]] = [
            (keys.listed(str(repo["owner"]), str(repo["visibility"]), str(repo["slug"])), {"repo_id": repo["repo_id"]})
            async for repo in self.table.scan(keys.OWNER)
            if not repo["deleted_at"]
        ]
        async for member in self.table.scan(keys.MEMBERS):
            slug, _, handle = str(member["sk"]).partition("#")
            if not slug.startswith(keys.MEMBERSHIP):
                owner = str(member["pk"]).removeprefix(keys.MEMBERS)
                rows.append((keys.membership(owner, slug, handle), {"roster": member["roster"]}))
        await self.table.put(rows)
        await self.table.put([(_COMPLETE, {})])

    async def _page(self, pk: str, prefix: str, after: str, limit: int) -> tuple[list[str], str | None]:
        page = await self.table.query(pk, prefix=prefix, limit=limit, after=f"{prefix}{after}" if after else None)
        slugs = [str(found["sk"]).removeprefix(prefix) for found in page.rows]
        return slugs, page.last.removeprefix(prefix) if page.last else None


def row(repo: Repo) -> tuple[Key, Row]:
    """The row by which a repository is listed."""
    return _key(repo), {"repo_id": repo.repo_id}


def moved(repo: Repo, visibility: Visibility) -> Collection[Update | Removal]:
    """What lists a repository under this visibility, and no other; part of the transaction that changes it."""
    others = [other for other in Visibility if other is not visibility]
    key, values = row(replace(repo, visibility=visibility))
    return [Update(key, values), *(Removal(_key(replace(repo, visibility=other))) for other in others)]


def _key(repo: Repo) -> Key:
    return keys.listed(repo.owner, repo.visibility.value, repo.slug)


def _partitions(owner: str, identity: Identity | None) -> Iterable[tuple[str, str]]:
    """The partitions, and the beginnings of their sort keys, that hold what a caller may see."""
    yield keys.listed(owner, Visibility.PUBLIC.value)
    if identity is None or identity.repo:
        return
    if identity.subject == owner:
        yield keys.listed(owner, Visibility.PRIVATE.value)
    else:
        yield keys.memberships(owner, identity.subject)


def _named(owner: str, identity: Identity | None) -> list[str]:
    """The repository that a token is limited to, if it is the owner's."""
    named_owner, _, slug = identity.repo.partition("/") if identity else ("", "", "")
    return [slug] if slug and named_owner == owner else []
