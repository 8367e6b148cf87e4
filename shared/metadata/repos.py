"""Repositories by the name in their URL, and the roles of users in them.

The keys of the rows of a name, a member and a token follow from the request alone. So one call
reads the repository, the role of the caller and the state of the token.

Each member has a row with the `members_generation` that it belongs to. Only rows of the present
roster of the repository count, so member rows of an earlier repository of the same name are
ignored. A rename copies the member rows to a new roster first. Every change of the repository or of
its members writes a new `revision` into the row of the name, so a rename that copied outdated
members fails.
"""

import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from shared.metadata import attributes, due, keys, listing, repo_rows
from shared.metadata.conditions import Equals, every, holds
from shared.metadata.due import Work
from shared.metadata.handles import Handles
from shared.metadata.keys import Key
from shared.metadata.listing import Listing
from shared.metadata.members import Members, role_in
from shared.metadata.table import (
    GET_BATCH,
    Beside,
    ConditionFailed,
    Query,
    Removal,
    Row,
    Table,
    Update,
)
from shared.metadata.tokens import check_records, keys_of
from shared.model import Identity, Repo, RepoId, Role, Visibility
from shared.tasks import gather_pair

PRESIGN_NOTE_SECONDS = 3600
"""`presigned_at` is written at most once in this time."""


@dataclass(frozen=True, slots=True)
class Repos:
    """The rows of the names of repositories and of the roles of users."""

    table: Table

    async def look_up(
        self, owner: str, slug: str, identity: Identity | None, beside: Beside | None = None
    ) -> tuple[Repo | None, Role | None]:
        """Return the repository of this name, also a deleted one, and the caller's role in it.

        One call, which also reads the rows `beside`. Raises Unauthorized if the token is revoked.
        """
        wanted = [keys.repo(owner, slug)]
        if identity:
            wanted += keys_of(identity)
            if identity.subject != owner:  # an owner has no member row
                wanted.append(keys.member(owner, slug, identity.subject))
        found = await self.table.find_few(wanted, beside)
        rows: dict[keys.Key, Row] = {(str(row["pk"]), str(row["sk"])): row for row in found}
        if identity:
            check_records(identity, rows)
        row = rows.get(keys.repo(owner, slug))
        if row is None:
            return None, None
        repo = repo_rows.decode(row)
        member = rows.get(keys.member(owner, slug, identity.subject)) if identity else None
        return repo, role_in(repo, member)

    async def called(self, repo_id: str) -> tuple[str, str] | None:
        """Return the owner and the slug of the repository of this id, or None. One call."""
        row = await self.table.get(keys.name(repo_id))
        return repo_rows.decode_name(row) if row else None

    async def get(self, owner: str, slug: str) -> Repo | None:
        """Return the repository of this name, also a deleted one, or None."""
        row = await self.table.get(keys.repo(owner, slug))
        return repo_rows.decode(row) if row else None

    async def by_id(self, repo_id: str) -> Repo | None:
        """Return the repository of this id under its present name, deleted or not, or None."""
        row = await self.table.get(keys.name(repo_id))
        repo = await self.get(*repo_rows.decode_name(row)) if row else None
        return repo if repo and repo.repo_id == repo_id else None

    async def owned(
        self, owner: str, identity: Identity | None, after: str | None
    ) -> tuple[list[tuple[Repo, Role | None]], str | None]:
        """Return a page of the owner's repositories by name, each with the caller's role.

        Deleted ones are left out. Also returns the name to continue after; None at the end.
        """
        last_key = keys.repo(owner, after)[1] if after else None
        page = await self.table.query(
            Query(keys.owner(owner), prefix=keys.REPO, limit=GET_BATCH, after=last_key)
        )
        repos = [repo for repo in map(repo_rows.decode, page.rows) if not repo.deleted]
        members: dict[str, Row] = {}
        if identity and identity.subject != owner:
            wanted = {r.slug: keys.member(owner, r.slug, identity.subject) for r in repos}
            found = {str(row["sk"]): row for row in await self.table.find(list(wanted.values()))}
            members = {slug: found[sk] for slug, (_, sk) in wanted.items() if sk in found}
        last = page.last.removeprefix(keys.REPO) if page.last else None
        return [(repo, role_in(repo, members.get(repo.slug))) for repo in repos], last

    async def visible(
        self, owner: str, identity: Identity | None, after: str, limit: int
    ) -> tuple[list[tuple[Repo, Role | None]], str | None]:
        """Return an owner's repositories that the caller might see, with the caller's role.

        About `limit` of them by name, after the name `after`; deleted ones are left out. Also
        returns the name to continue after; None at the end. Two sequential calls.
        """
        slugs, last = await Listing(self.table).candidates(owner, identity, after, limit)
        is_other = identity is not None and identity.subject != owner
        names = [keys.repo(owner, slug) for slug in slugs]
        members = (
            [keys.member(owner, slug, identity.subject) for slug in slugs]
            if identity and is_other
            else []
        )
        rows = await self.table.find([*names, *members])
        found: dict[Key, Row] = {(str(row["pk"]), str(row["sk"])): row for row in rows}
        repos = [repo_rows.decode(found[key]) for key in names if key in found]
        shown = [repo for repo in repos if not repo.deleted]
        if identity is None:
            return [(repo, None) for repo in shown], last
        subject = identity.subject
        return [
            (repo, role_in(repo, found.get(keys.member(owner, repo.slug, subject))))
            for repo in shown
        ], last

    async def recent(self, limit: int) -> list[Repo]:
        """Return up to `limit` of the newest public repositories. Two sequential calls."""
        candidates = await Listing(self.table).recent(min(2 * limit, GET_BATCH))
        repo_ids = {repo_id for _, repo_id in candidates}
        rows = await self.table.find({key for key, _ in candidates})
        public = [
            repo
            for repo in map(repo_rows.decode, rows)
            if repo.visibility is Visibility.PUBLIC
            and not repo.deleted
            and repo.repo_id in repo_ids
        ]
        return sorted(public, key=listing.recent_key, reverse=True)[:limit]

    async def complete_listing(self) -> None:
        """Write the listing rows of repositories from an older hub. Reads the whole table, once."""
        await Listing(self.table).complete()

    async def create(self, repo: Repo, now: int) -> Repo:
        """Create a repository. Raises ConditionFailed if another one has the name.

        Also claims the handle of its owner, and lists the first check of the repository. Raises
        InvalidName or HandleTaken.
        """
        repo_id = RepoId(str(uuid.uuid4()))
        new = replace(
            repo,
            repo_id=repo_id,
            members_generation=keys.members_generation(repo_id),
            deleted=False,
            created_at=now,
        )
        # The row from the id to the name comes first: it has no effect without the row of the name.
        await gather_pair(
            Handles(self.table).claim(new.owner),
            self.table.put(
                [
                    (keys.name(repo_id), repo_rows.encode_name(new)),
                    due.first_check(repo_id, now).row,
                    *listing.rows(new),
                ]
            ),
        )
        try:
            await self.table.update(
                keys.repo(new.owner, new.slug), repo_rows.encode(new), repo_rows.IS_FREE
            )
        except ConditionFailed as lost:
            # botocore retries a call whose response was lost: the row may be our own.
            if lost.row is None or lost.row.get("repo_id") != repo_id:
                raise
        return new

    async def change(self, repo: Repo, changes: Mapping[str, str]) -> Repo:
        """Change these attributes of a repository. Returns it with the changes.

        Raises ConditionFailed if the name does not belong to the repository any more.
        """
        key = keys.repo(repo.owner, repo.slug)
        update = Update(key, {**changes, **repo_rows.revision()}, repo_rows.is_live(repo))
        if "visibility" in changes:
            moved = listing.moved(repo, Visibility(changes["visibility"]))
            await self.table.update_together([update, *moved])
        else:
            await self.table.update(update.key, update.row, update.condition)
        return repo_rows.decode({**repo_rows.encode(repo), **changes})

    async def note_presign(self, repo: Repo, now: int) -> None:
        """Record that upload URLs are about to be issued, unless that was recorded within an hour.

        Raises ConditionFailed if the name does not belong to the repository any more.
        """
        if now - repo.presigned_at < PRESIGN_NOTE_SECONDS:
            return
        key = keys.repo(repo.owner, repo.slug)
        await self.table.update(key, {"presigned_at": now}, repo_rows.is_live(repo))

    async def rename(self, repo: Repo, slug: str, now: int) -> Repo:
        """Rename a repository of an owner, with its members.

        One transaction at the end replaces the old name by the new one. A crash before it changes
        nothing. Raises ConditionFailed. Its index is 0 for the row of the old name: the repository
        or its members changed concurrently, or the name does not belong to it any more. It is 1 for
        the row of the new name, which is taken.
        """
        row, taken = await gather_pair(
            self.table.get(keys.repo(repo.owner, repo.slug)),
            self.table.get(keys.repo(repo.owner, slug)),
        )
        if row is None or not repo_rows.belongs_to(row, repo):
            raise ConditionFailed(row, index=0)
        if not holds(repo_rows.IS_FREE, taken):
            raise ConditionFailed(taken, index=1)
        old = repo_rows.decode(row)
        new = replace(old, slug=slug, members_generation=_new_generation(old))
        await Members(self.table).copy(old, new)
        is_unchanged = every(repo_rows.is_live(repo), Equals("revision", row["revision"]))
        deletion = {"deleted_at": now, **repo_rows.revision()}
        await self.table.update_together(
            [
                Update(keys.repo(old.owner, old.slug), deletion, is_unchanged),
                Update(keys.repo(new.owner, new.slug), repo_rows.encode(new), repo_rows.IS_FREE),
                Update(keys.name(new.repo_id), repo_rows.encode_name(new)),
                *listing.moved(new, new.visibility),
            ]
        )
        await Listing(self.table).remove(old)
        return new

    async def delete(self, repo: Repo, now: int) -> None:
        """Hide a repository and free its name. A later purge deletes its rows and bytes.

        One transaction also lists it for the purge, and the purge as due. Raises ConditionFailed if
        the name does not belong to the repository any more.
        """
        key = keys.repo(repo.owner, repo.slug)
        purge = due.later(Work.PURGE, repo.repo_id, now, due.DAY_SECONDS)
        deletion = {"deleted_at": now, **repo_rows.revision()}
        await self.table.update_together(
            [
                Update(key, deletion, repo_rows.is_live(repo)),
                Update(
                    keys.deleted(repo.owner, repo.repo_id),
                    {**repo_rows.encode(repo), "deleted_at": now},
                ),
                Update(*purge.row),
                Removal(listing.recent_key(repo)),
            ]
        )
        await Listing(self.table).remove(repo)

    async def deleted(self, owner: str) -> list[tuple[Repo, int]]:
        """Return the owner's deleted repositories with their epoch second of deletion.

        Purged ones are left out. Sorted by that second. A row without a visibility was written by
        an older version: it is left out unless the name still points to the repository.
        """
        found: list[tuple[Repo, int]] = []
        rows = await self.table.query_all(*keys.deleted(owner))
        names = {keys.repo(*repo_rows.name_of(row)) for row in rows}
        named = {str(row["repo_id"]): row for row in await self.table.find(names)}
        for row in rows:
            latest = named.get(_deleted_id(row), row)
            if "visibility" in latest and latest["deleted_at"]:
                deleted_at = attributes.number(row, "deleted_at", repo_rows.KIND)
                found.append((repo_rows.decode(latest), deleted_at))
        return sorted(found, key=lambda deleted: deleted[1])

    async def all_deleted(self) -> AsyncIterator[tuple[Repo, int]]:
        """Yield each repository to purge with the time of its deletion. Of its attributes, only
        the id and the name are read.
        """
        async for row in self.table.each(keys.DELETED):
            repo = Repo(*repo_rows.name_of(row), _deleted_id(row), deleted=True)
            yield repo, attributes.number(row, "deleted_at", repo_rows.KIND)

    async def undelete(self, repo: Repo, slug: str, now: float) -> Repo:
        """Restore a deleted repository under this name. Raises ConditionFailed if it is taken.

        One transaction writes the row of the name and the row from the id to the name, and lists a
        check, since upkeep may have dropped the work on a deleted repository. The caller
        makes sure that no purge of the repository has begun.
        """
        new = replace(repo, slug=slug, deleted=False)
        if slug != repo.slug:
            new = replace(new, members_generation=_new_generation(repo))
            await Members(self.table).copy(repo, new)
        await self.table.update_together(
            [
                Update(keys.repo(new.owner, slug), repo_rows.encode(new), repo_rows.IS_FREE),
                Update(keys.name(new.repo_id), repo_rows.encode_name(new)),
                Update(*due.first_check(new.repo_id, now).row),
                *listing.moved(new, new.visibility),
            ]
        )
        # Last: a purge skips a repository that is not deleted, and this row alone does no harm.
        await self.table.delete(keys.deleted(repo.owner, repo.repo_id))
        return new

    async def everywhere(self) -> list[Repo]:
        """Return all live repositories by owner and name. Reads the whole table."""
        rows = [row async for row in self.table.scan(keys.OWNER)]
        repos = [repo_rows.decode(row) for row in rows if not row["deleted_at"]]
        return sorted(repos, key=lambda repo: (repo.owner, repo.slug))


def _deleted_id(row: Row) -> RepoId:
    """The id of a deleted repository. Rows of an older hub have no owner in their key."""
    return RepoId(str(row["sk"]).rpartition("/")[2])


def _new_generation(repo: Repo) -> str:
    return keys.members_generation(repo.repo_id, str(uuid.uuid4()))
