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
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import RepoNotFound
from shared.metadata import attributes, keys, listing
from shared.metadata.conditions import Absent, Condition, Equals, Greater, either, every
from shared.metadata.handles import Handles
from shared.metadata.keys import Key
from shared.metadata.listing import Listing
from shared.metadata.table import GET_BATCH, Beside, ConditionFailed, Query, Row, Table, Update
from shared.metadata.tokens import keys_of, refuse_revoked
from shared.model import Identity, PortableNames, Repo, RepoId, Role, Visibility
from shared.tasks import gather_pair

PRESIGN_NOTE_SECONDS = 3600
"""`presigned_at` is written at most once in this time."""

_FREE = either(Absent("repo_id"), Greater("deleted_at", 0))


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
            for key in keys_of(identity):
                refuse_revoked(rows.get(key, {}))
        row = rows.get(keys.repo(owner, slug))
        if row is None:
            return None, None
        repo = _repo(row)
        member = rows.get(keys.member(owner, slug, identity.subject)) if identity else None
        return repo, _role(repo, member)

    async def called(self, repo_id: str) -> tuple[str, str]:
        """Return the owner and the slug of the repository of this id, or two empty texts.

        One call. The caller has to look up the name even if it is empty, so that an absent
        repository costs the same calls as a private one.
        """
        row = await self.table.get(keys.name(repo_id))
        return _name(row) if row else ("", "")

    async def get(self, owner: str, slug: str) -> Repo | None:
        """Return the repository of this name, also a deleted one, or None."""
        row = await self.table.get(keys.repo(owner, slug))
        return _repo(row) if row else None

    async def by_id(self, repo_id: str) -> Repo | None:
        """Return the repository of this id under its present name, deleted or not, or None."""
        row = await self.table.get(keys.name(repo_id))
        repo = await self.get(*_name(row)) if row else None
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
        repos = [repo for repo in map(_repo, page.rows) if not repo.deleted]
        members: dict[str, Row] = {}
        if identity and identity.subject != owner:
            wanted = {r.slug: keys.member(owner, r.slug, identity.subject) for r in repos}
            found = {str(row["sk"]): row for row in await self.table.find(list(wanted.values()))}
            members = {slug: found[sk] for slug, (_, sk) in wanted.items() if sk in found}
        last = page.last.removeprefix(keys.REPO) if page.last else None
        return [(repo, _role(repo, members.get(repo.slug))) for repo in repos], last

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
        repos = [_repo(found[key]) for key in names if key in found]
        shown = [repo for repo in repos if not repo.deleted]
        if identity is None:
            return [(repo, None) for repo in shown], last
        subject = identity.subject
        return [
            (repo, _role(repo, found.get(keys.member(owner, repo.slug, subject)))) for repo in shown
        ], last

    async def complete_listing(self) -> None:
        """Write the listing rows of repositories from an older hub. Reads the whole table, once."""
        await Listing(self.table).complete()

    async def create_if_absent(self, repo: Repo, now: int) -> Repo:
        """Return the repository, created if it has no id. One of two concurrent creators wins."""
        if repo.exists:
            return repo
        return await self.create(repo, now) or await self._winner(repo)

    async def create(self, repo: Repo, now: int) -> Repo | None:
        """Create a repository. Returns None if a repository that is not deleted has the name.

        Also claims the handle of its owner. Raises InvalidName or HandleTaken.
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
                [(keys.name(repo_id), {"owner": new.owner, "slug": new.slug}), listing.row(new)]
            ),
        )
        try:
            await self.table.update(keys.repo(new.owner, new.slug), _row(new), _FREE)
        except ConditionFailed as lost:
            # botocore retries a call whose response was lost: the row may be our own.
            return new if lost.row and lost.row.get("repo_id") == repo_id else None
        return new

    async def change(self, repo: Repo, changes: Mapping[str, str]) -> Repo:
        """Change these attributes of a repository. Returns it with the changes.

        Raises RepoNotFound if the name does not belong to the repository any more.
        """
        key = keys.repo(repo.owner, repo.slug)
        live = _is_live(repo)
        try:
            if "visibility" in changes:
                moved = listing.moved(repo, Visibility(changes["visibility"]))
                await self.table.update_together(
                    [Update(key, {**changes, **_revision()}, live), *moved]
                )
            else:
                await self.table.update(key, {**changes, **_revision()}, live)
        except ConditionFailed:
            raise RepoNotFound() from None
        return _repo({**_row(repo), **changes})

    async def note_presign(self, repo: Repo, now: int) -> None:
        """Record that upload URLs are about to be issued, unless that was recorded within an hour.

        Raises RepoNotFound if the name does not belong to the repository any more.
        """
        if now - repo.presigned_at < PRESIGN_NOTE_SECONDS:
            return
        key = keys.repo(repo.owner, repo.slug)
        try:
            await self.table.update(key, {"presigned_at": now}, _is_live(repo))
        except ConditionFailed:
            raise RepoNotFound() from None

    async def rename(self, repo: Repo, slug: str, now: int) -> Repo | None:
        """Rename a repository of an owner, with its members. Returns None if the name is taken.

        One transaction at the end replaces the old name by the new one. A crash before it changes
        nothing. Raises RepoNotFound if the name does not belong to the repository any more, and
        ConditionFailed if the repository or its members changed concurrently.
        """
        row, taken = await gather_pair(
            self.table.get(keys.repo(repo.owner, repo.slug)),
            self.table.get(keys.repo(repo.owner, slug)),
        )
        if row is None or row["repo_id"] != repo.repo_id or row["deleted_at"]:
            raise RepoNotFound()
        if taken and not taken["deleted_at"]:
            return None
        old = _repo(row)
        new = replace(
            old,
            slug=slug,
            members_generation=keys.members_generation(old.repo_id, str(uuid.uuid4())),
        )
        await self._copy_members(old, new)
        is_unchanged = every(_is_live(repo), Equals("revision", row["revision"]))
        await self.table.update_together(
            [
                Update(
                    keys.repo(old.owner, old.slug),
                    {"deleted_at": now, **_revision()},
                    is_unchanged,
                ),
                Update(keys.repo(new.owner, new.slug), _row(new), _FREE),
                Update(keys.name(new.repo_id), {"owner": new.owner, "slug": new.slug}),
                *listing.moved(new, new.visibility),
            ]
        )
        await Listing(self.table).remove(old)
        return new

    async def delete(self, repo: Repo, now: int) -> None:
        """Hide a repository and free its name. A later purge deletes its rows and bytes.

        One transaction also lists it for the purge. Raises RepoNotFound if it is deleted already.
        """
        try:
            await self.table.update_together(
                [
                    Update(
                        keys.repo(repo.owner, repo.slug),
                        {"deleted_at": now, **_revision()},
                        _is_live(repo),
                    ),
                    Update(keys.deleted(repo.repo_id), {**_row(repo), "deleted_at": now}),
                ]
            )
        except ConditionFailed:
            raise RepoNotFound() from None
        await Listing(self.table).remove(repo)

    async def deleted(self, owner: str) -> list[tuple[Repo, int]]:
        """Return the owner's deleted repositories with their epoch second of deletion.

        Purged ones are left out. Sorted by that second. A row without a visibility was written by
        an older version: it is left out unless the name still points to the repository.
        """
        found: list[tuple[Repo, int]] = []
        async for row in self.table.each(keys.DELETED):
            if row["owner"] != owner:
                continue
            named = await self.table.get(keys.repo(*_name(row)))
            is_named = named is not None and named["repo_id"] == row["sk"]
            latest = named if named is not None and is_named else row
            if "visibility" in latest and latest["deleted_at"]:
                found.append(
                    (_repo(latest), attributes.number(row, "deleted_at", "deleted repository"))
                )
        return sorted(found, key=lambda gather_pair: gather_pair[1])

    async def all_deleted(self) -> AsyncIterator[tuple[Repo, int]]:
        """Yield each repository to purge with the time of its deletion. Of its attributes, only
        the id and the name are read.
        """
        async for row in self.table.each(keys.DELETED):
            repo_id = RepoId(str(row["sk"]))
            repo = Repo(*_name(row), repo_id, deleted=True)
            yield repo, attributes.number(row, "deleted_at", "deleted repository")

    async def undelete(self, repo: Repo, slug: str) -> Repo | None:
        """Restore a deleted repository under this name. Returns None if the name is taken.

        One transaction writes the row of the name and the row from the id to the name. The caller
        makes sure that no purge of the repository has begun.
        """
        new = replace(repo, slug=slug, deleted=False)
        if slug != repo.slug:
            new = replace(
                new, members_generation=keys.members_generation(repo.repo_id, str(uuid.uuid4()))
            )
            await self._copy_members(repo, new)
        try:
            await self.table.update_together(
                [
                    Update(keys.repo(new.owner, slug), _row(new), _FREE),
                    Update(keys.name(new.repo_id), {"owner": new.owner, "slug": slug}),
                    *listing.moved(new, new.visibility),
                ]
            )
        except ConditionFailed:
            return None
        # Last: a purge skips a repository that is not deleted, and this row alone does no harm.
        await self.table.delete(keys.deleted(repo.repo_id))
        return new

    async def everywhere(self) -> list[Repo]:
        """Return all live repositories by owner and name. Reads the whole table."""
        rows = [row async for row in self.table.scan(keys.OWNER)]
        repos = [_repo(row) for row in rows if not row["deleted_at"]]
        return sorted(repos, key=lambda repo: (repo.owner, repo.slug))

    async def members(self, repo: Repo, limit: int, after: str | None) -> list[tuple[str, Role]]:
        """Return up to `limit` members with their roles, by handle, after the handle `after`."""
        pk, prefix = keys.members(repo.owner, repo.slug)
        rows = await self.table.scan_filtered(
            Query(pk, prefix=prefix, after=f"{prefix}{after}" if after else None),
            limit,
            lambda row: row["roster"] == repo.members_generation,
        )
        return [
            (str(row["sk"]).removeprefix(prefix), attributes.choice(row, "role", "member", Role))
            for row in rows
        ]

    async def set_member(self, repo: Repo, handle: str, role: Role) -> None:
        """Give a user a role. Raises RepoNotFound as `change` does."""
        await self.table.put(_member_rows(repo, handle, role))
        await self._note_members_changed(repo)

    async def remove_member(self, repo: Repo, handle: str) -> bool:
        """Remove the role of a user. Returns whether there was one. Raises RepoNotFound.

        The row is read first: botocore may retry a deletion, and the retry would not find the row.
        """
        key = keys.member(repo.owner, repo.slug, handle)
        had_role = any(
            row["roster"] == repo.members_generation for row in await self.table.find([key])
        )
        await gather_pair(
            self._remove_member_row(repo, key),
            self.table.delete(keys.membership(repo.owner, repo.slug, handle)),
        )
        await self._note_members_changed(repo)
        return had_role

    async def _remove_member_row(self, repo: Repo, key: Key) -> None:
        # A row of another roster belongs to a later repository of the same name.
        with suppress(ConditionFailed):
            await self.table.delete(key, Equals("roster", repo.members_generation))

    async def _note_members_changed(self, repo: Repo) -> None:
        # Written last: a concurrent rename that missed the member row then fails and starts over.
        try:
            await self.table.update(
                keys.repo(repo.owner, repo.slug),
                _revision(),
                every(_is_live(repo), Equals("roster", repo.members_generation)),
            )
        except ConditionFailed:
            raise RepoNotFound() from None

    async def _winner(self, repo: Repo) -> Repo:
        winner = await self.get(repo.owner, repo.slug)
        if winner is None or winner.deleted:
            raise RepoNotFound()
        return winner

    async def _copy_members(self, old: Repo, new: Repo) -> None:
        pk, prefix = keys.members(old.owner, old.slug)
        rows = await self.table.query_all(pk, prefix)
        copies: list[tuple[Key, Row]] = []
        for row in rows:
            if row["roster"] == old.members_generation:
                role = attributes.choice(row, "role", "member", Role)
                copies += _member_rows(new, str(row["sk"]).removeprefix(prefix), role)
        await self.table.put(copies)


def _member_rows(repo: Repo, handle: str, role: Role) -> list[tuple[Key, Row]]:
    """The row of a member, and the row by which the repository is listed for the member."""
    return [
        (
            keys.member(repo.owner, repo.slug, handle),
            {"role": role.value, "roster": repo.members_generation},
        ),
        (keys.membership(repo.owner, repo.slug, handle), {"roster": repo.members_generation}),
    ]


def _role(repo: Repo, member: Row | None) -> Role | None:
    if member is None:
        return None
    if attributes.text(member, "roster", "member") != repo.members_generation:
        return None
    return attributes.choice(member, "role", "member", Role)


def _name(row: Row) -> tuple[str, str]:
    """The owner and the slug in the row of a repository or of its id."""
    return (
        attributes.text(row, "owner", "repository"),
        attributes.text(row, "slug", "repository"),
    )


def _is_live(repo: Repo) -> Condition:
    """The condition that the name belongs to this repository, which is not deleted."""
    return every(Equals("repo_id", repo.repo_id), Equals("deleted_at", 0))


def _revision() -> Row:
    return {"revision": str(uuid.uuid4())}


def _row(repo: Repo) -> Row:
    """All attributes of a live repository: they replace those of an earlier one of the name."""
    return {
        "owner": repo.owner,
        "slug": repo.slug,
        "repo_id": repo.repo_id,
        "visibility": repo.visibility.value,
        "domain": repo.domain,
        "default_branch": repo.default_branch,
        "description": repo.description,
        "portable_names": repo.portable_names.value,
        "created_at": repo.created_at,
        "deleted_at": 0,
        "roster": repo.members_generation,
        "presigned_at": repo.presigned_at,
        **_revision(),
    }


def _repo(row: Row) -> Repo:
    kind = "repository"
    # Repositories that are older than this setting may hold names that are not portable.
    has_setting = "portable_names" in row
    return Repo(
        owner=attributes.text(row, "owner", kind),
        slug=attributes.text(row, "slug", kind),
        repo_id=RepoId(attributes.text(row, "repo_id", kind)),
        visibility=attributes.choice(row, "visibility", kind, Visibility),
        domain=attributes.text(row, "domain", kind),
        default_branch=attributes.text(row, "default_branch", kind),
        description=attributes.text(row, "description", kind),
        portable_names=attributes.choice(row, "portable_names", kind, PortableNames)
        if has_setting
        else PortableNames.OFF,
        deleted=attributes.flag(row, "deleted_at", kind),
        created_at=attributes.number(row, "created_at", kind),
        members_generation=attributes.text(row, "roster", kind),
        presigned_at=attributes.number(row, "presigned_at", kind) if "presigned_at" in row else 0,
    )
