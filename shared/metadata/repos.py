"""Repositories by the name in their URL, and who may do what with them.

The keys of a name's row, of a member's and of a token's are known from the request alone, so that it finds the
repository, the caller's role and the state of his token in one call.

Members are rows of their own, each with the `roster` that it belongs to; only those of the
repository's present roster count. So a rename copies them before it happens, and what lies under a name from
an earlier life of it says nothing. Every change writes a new `revision` into the name's row, also one of the
members: a rename that has copied something older does not happen.
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import RepoNotFound, Unavailable
from shared.metadata import keys, listing
from shared.metadata.handles import Handles
from shared.metadata.keys import Key
from shared.metadata.listing import Listing
from shared.metadata.table import GET_BATCH, Beside, Lost, Row, Table, Update
from shared.metadata.tokens import refuse_revoked
from shared.model import Identity, PortableNames, Repo, Role, Visibility
from shared.tasks import pair

PRESIGN_NOTE_SECONDS = 3600
"""`presigned_at` is written at most once in this time."""
RENAMES = 4
"""How often a rename whose repository changes meanwhile begins anew before the caller is asked to."""

_FREE = "attribute_not_exists(#repo_id) OR #deleted_at > :never"
_LIVE = "#repo_id = :same AND #deleted_at = :never"


@dataclass(frozen=True, slots=True)
class Repos:
    """The rows that give a name to a repository id, and roles to users."""

    table: Table

    async def look_up(
        self, owner: str, slug: str, identity: Identity | None, beside: Beside | None = None
    ) -> tuple[Repo | None, Role | None]:
        """The repository of this name, deleted ones included, and the role its owner gave to the caller.

        One call, which also reads the rows `beside`. Raises Unauthorized if the caller's token has been revoked.
        """
        wanted = [keys.repo(owner, slug)]
        if identity:
            wanted.append(keys.token(identity.subject, identity.token_id))
            if identity.subject != owner:  # who needs no role: it is his
                wanted.append(keys.member(owner, slug, identity.subject))
        found = await self.table.find_few(wanted, beside)
        rows: dict[keys.Key, Row] = {(str(row["pk"]), str(row["sk"])): row for row in found}
        if identity:
            refuse_revoked(rows.get(keys.token(identity.subject, identity.token_id), {}))
        row = rows.get(keys.repo(owner, slug))
        if row is None:
            return None, None
        repo = _repo(row)
        return repo, _role(repo, rows.get(keys.member(owner, slug, identity.subject)) if identity else None)

    async def called(self, repo_id: str) -> tuple[str, str]:
        """The owner and the slug of the repository of this id; two empty texts if there is none.

        One call. A caller has to look up the name also if there is none: an absent repository must cost as much as a
        private one.
        """
        row = await self.table.get(keys.name(repo_id))
        return (str(row["owner"]), str(row["slug"])) if row else ("", "")

    async def get(self, owner: str, slug: str) -> Repo | None:
        """The repository of this name, deleted ones included, or None."""
        row = await self.table.get(keys.repo(owner, slug))
        return _repo(row) if row else None

    async def by_id(self, repo_id: str) -> Repo | None:
        """The repository of this id under its present name, deleted or not, or None."""
        row = await self.table.get(keys.name(repo_id))
        repo = await self.get(str(row["owner"]), str(row["slug"])) if row else None
        return repo if repo and repo.repo_id == repo_id else None

    async def owned(
        self, owner: str, identity: Identity | None, after: str | None
    ) -> tuple[list[tuple[Repo, Role | None]], str | None]:
        """Some of the owner's repositories by name, each with the role its owner gave to the caller.

        Without deleted ones. And the name after which the next ones follow; None at the end.
        """
        page = await self.table.query(
            keys.owner(owner), prefix=keys.REPO, limit=GET_BATCH, after=keys.repo(owner, after)[1] if after else None
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
        """Repositories of an owner that the caller may be able to see, with the role that the owner gave to the caller.

        About `limit` of them, by name, behind `after`; deleted ones are left out. Also the name after which the next
        ones follow; None at the end. Two calls, one after the other.
        """
        slugs, last = await Listing(self.table).candidates(owner, identity, after, limit)
        is_other = identity is not None and identity.subject != owner
        members = [keys.member(owner, slug, identity.subject) for slug in slugs] if identity and is_other else []
        rows = await self.table.find([*(keys.repo(owner, slug) for slug in slugs), *members])
        found: dict[Key, Row] = {(str(row["pk"]), str(row["sk"])): row for row in rows}
        repos = [_repo(found[key]) for slug in slugs if (key := keys.repo(owner, slug)) in found]
        shown = [repo for repo in repos if not repo.deleted]
        if identity is None:
            return [(repo, None) for repo in shown], last
        subject = identity.subject
        return [(repo, _role(repo, found.get(keys.member(owner, repo.slug, subject)))) for repo in shown], last

    async def complete_listing(self) -> None:
        """Write the rows that `visible` reads for what an older hub made. Reads the whole table the first time."""
        await Listing(self.table).complete()

    async def born(self, repo: Repo, now: int) -> Repo:
        """The repository with an id: itself, or, if it has none yet, newly created; of two creators one wins."""
        if repo.is_born:
            return repo
        return await self.create(repo, now) or await self._winner(repo)

    async def create(self, repo: Repo, now: int) -> Repo | None:
        """A new repository of this name, or None if there is one already. A deleted one's name is free again.

        Its owner's handle is claimed along with it. Raises InvalidName or HandleTaken.
        """
        repo_id = str(uuid.uuid4())
        new = replace(repo, repo_id=repo_id, roster=keys.roster(repo_id), deleted=False, created_at=now)
        # The way back from the id first: by itself it leads nowhere.
        await pair(
            Handles(self.table).claim(new.owner),
            self.table.put([(keys.name(repo_id), {"owner": new.owner, "slug": new.slug}), listing.row(new)]),
        )
        try:
            await self.table.update(keys.repo(new.owner, new.slug), _row(new), _FREE, {"never": 0})
        except Lost as lost:
            # Ours, if an earlier try of the same call arrived after all.
            return new if lost.row and lost.row.get("repo_id") == repo_id else None
        return new

    async def change(self, repo: Repo, changes: Mapping[str, str]) -> Repo:
        """The repository with these attributes, and no others, written anew.

        Raises RepoNotFound if the name is not the repository's any more.
        """
        key = keys.repo(repo.owner, repo.slug)
        live: Row = {"same": repo.repo_id, "never": 0}
        try:
            if "visibility" in changes:
                moved = listing.moved(repo, Visibility(changes["visibility"]))
                await self.table.update_together([Update(key, {**changes, **_revision()}, _LIVE, live), *moved])
            else:
                await self.table.update(key, {**changes, **_revision()}, _LIVE, live)
        except Lost:
            raise RepoNotFound() from None
        return _repo({**_row(repo), **changes})

    async def note_presign(self, repo: Repo, now: int) -> None:
        """Record that upload URLs are about to be given out, unless that was recorded within the last hour.

        Raises RepoNotFound if the name is not the repository's any more.
        """
        if now - repo.presigned_at < PRESIGN_NOTE_SECONDS:
            return
        key = keys.repo(repo.owner, repo.slug)
        try:
            await self.table.update(key, {"presigned_at": now}, _LIVE, {"same": repo.repo_id, "never": 0})
        except Lost:
            raise RepoNotFound() from None

    async def rename(self, repo: Repo, slug: str, now: int) -> Repo | None:
        """The repository under another name of the same owner, with its members; None if the name is taken.

        The new name comes and the old one goes in one transaction, the last call: whatever is cut short before
        it has changed nothing. Raises RepoNotFound if the name is not the repository's any more.
        """
        for _ in range(RENAMES):
            row, taken = await pair(
                self.table.get(keys.repo(repo.owner, repo.slug)), self.table.get(keys.repo(repo.owner, slug))
            )
            if row is None or row["repo_id"] != repo.repo_id or row["deleted_at"]:
                raise RepoNotFound()
            if taken and not taken["deleted_at"]:
                return None
            old = _repo(row)
            new = replace(old, slug=slug, roster=keys.roster(old.repo_id, str(uuid.uuid4())))
            await self._copy_members(old, new)
            seen: Row = {"same": repo.repo_id, "never": 0, "seen": row["revision"]}
            try:
                await self.table.update_together(
                    [
                        Update(
                            keys.repo(old.owner, old.slug),
                            {"deleted_at": now, **_revision()},
                            f"{_LIVE} AND #revision = :seen",
                            seen,
                        ),
                        Update(keys.repo(new.owner, new.slug), _row(new), _FREE, {"never": 0}),
                        Update(keys.name(new.repo_id), {"owner": new.owner, "slug": new.slug}),
                        *listing.moved(new, new.visibility),
                    ]
                )
            except Lost:
                continue
            await Listing(self.table).remove(old)
            return new
        raise Unavailable("the repository is being changed by many at once; nothing is lost, try again")

    async def delete(self, repo: Repo, now: int) -> None:
        """Hide a repository at once, and free its name. Its rows and bytes are for a purge to remove.

        Both in one transaction: what is listed for a purge is deleted. Raises RepoNotFound if it is already.
        """
        try:
            await self.table.update_together(
                [
                    Update(
                        keys.repo(repo.owner, repo.slug),
                        {"deleted_at": now, **_revision()},
                        _LIVE,
                        {"same": repo.repo_id, "never": 0},
                    ),
                    Update(keys.deleted(repo.repo_id), {**_row(repo), "deleted_at": now}),
                ]
            )
        except Lost:
            raise RepoNotFound() from None
        await Listing(self.table).remove(repo)

    async def deleted(self, owner: str) -> list[tuple[Repo, int]]:
        """The owner's deleted repositories that are not yet purged, each with its epoch second of deletion.

        Sorted by that second. A repository whose row has no visibility was deleted by an older version, and is
        left out unless its name still points to it.
        """
        found: list[tuple[Repo, int]] = []
        async for row in self.table.each(keys.DELETED):
            if row["owner"] != owner:
                continue
            named = await self.table.get(keys.repo(owner, str(row["slug"])))
            is_named = named is not None and named["repo_id"] == row["sk"]
            latest = named if named is not None and is_named else row
            if "visibility" in latest and latest["deleted_at"]:
                found.append((_repo(latest), int(str(row["deleted_at"]))))
        return sorted(found, key=lambda pair: pair[1])

    async def undelete(self, repo: Repo, slug: str) -> Repo | None:
        """A deleted repository under this name again, with its members; None if the name is taken.

        The name and the way from the id to the name change in one transaction. The caller makes sure that no
        purge of the repository has begun.
        """
        new = replace(repo, slug=slug, deleted=False)
        if slug != repo.slug:
            new = replace(new, roster=keys.roster(repo.repo_id, str(uuid.uuid4())))
            await self._copy_members(repo, new)
        try:
            await self.table.update_together(
                [
                    Update(keys.repo(new.owner, slug), _row(new), _FREE, {"never": 0}),
                    Update(keys.name(new.repo_id), {"owner": new.owner, "slug": slug}),
                    *listing.moved(new, new.visibility),
                ]
            )
        except Lost:
            return None
        # Last: a purge skips a repository that is not deleted, and this row alone does no harm.
        await self.table.remove(keys.deleted(repo.repo_id))
        return new

    async def everywhere(self) -> list[Repo]:
        """Every repository of the hub that is not deleted, sorted by owner and name. Reads the whole table."""
        rows = [row async for row in self.table.scan(keys.OWNER)]
        repos = [_repo(row) for row in rows if not row["deleted_at"]]
        return sorted(repos, key=lambda repo: (repo.owner, repo.slug))

    async def members(self, repo: Repo, limit: int, after: str | None) -> list[tuple[str, Role]]:
        """The roles that the owner has given: up to `limit` of them, by handle, from above the handle `after`."""
        pk, prefix = keys.members(repo.owner, repo.slug)
        rows = await self.table.some(
            pk, prefix, limit, lambda row: row["roster"] == repo.roster, after=f"{prefix}{after}" if after else None
        )
        return [(str(row["sk"]).removeprefix(prefix), Role(str(row["role"]))) for row in rows]

    async def set_member(self, repo: Repo, handle: str, role: Role) -> None:
        """Give a user a role. Raises RepoNotFound if the name is not the repository's any more."""
        await self.table.put(_member_rows(repo, handle, role.value))
        await self._note_members_changed(repo)

    async def remove_member(self, repo: Repo, handle: str) -> bool:
        """Take the role of a user. Returns whether the user had one. Raises as `set_member`.

        The row is read before: botocore may repeat a deletion, and the second one would find nothing.
        """
        key = keys.member(repo.owner, repo.slug, handle)
        had_role = any(row["roster"] == repo.roster for row in await self.table.find([key]))
        await pair(
            self._remove_member_row(repo, key),
            self.table.remove(keys.membership(repo.owner, repo.slug, handle)),
        )
        await self._note_members_changed(repo)
        return had_role

    async def _remove_member_row(self, repo: Repo, key: Key) -> None:
        # A row of another roster belongs to a later repository of this name.
        with suppress(Lost):
            await self.table.remove(key, "#roster = :roster", {"roster": repo.roster})

    async def _note_members_changed(self, repo: Repo) -> None:
        # Last: a rename that has not seen the row finds that it has missed something.
        try:
            await self.table.update(
                keys.repo(repo.owner, repo.slug),
                _revision(),
                f"{_LIVE} AND #roster = :roster",
                {"same": repo.repo_id, "never": 0, "roster": repo.roster},
            )
        except Lost:
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
            if row["roster"] == old.roster:
                copies += _member_rows(new, str(row["sk"]).removeprefix(prefix), str(row["role"]))
        await self.table.put(copies)


def _member_rows(repo: Repo, handle: str, role: str) -> list[tuple[Key, Row]]:
    """The row of a member, and the one by which the member finds the repository."""
    return [
        (keys.member(repo.owner, repo.slug, handle), {"role": role, "roster": repo.roster}),
        (keys.membership(repo.owner, repo.slug, handle), {"roster": repo.roster}),
    ]


def _role(repo: Repo, member: Row | None) -> Role | None:
    return Role(str(member["role"])) if member and member["roster"] == repo.roster else None


def _revision() -> Row:
    return {"revision": str(uuid.uuid4())}


def _row(repo: Repo) -> Row:
    """The row of a repository that is there: whole, so that nothing of an earlier one under the name shows through."""
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
        "roster": repo.roster,
        "presigned_at": repo.presigned_at,
        **_revision(),
    }


def _repo(row: Row) -> Repo:
    return Repo(
        owner=str(row["owner"]),
        slug=str(row["slug"]),
        repo_id=str(row["repo_id"]),
        visibility=Visibility(str(row["visibility"])),
        domain=str(row["domain"]),
        default_branch=str(row["default_branch"]),
        description=str(row["description"]),
        # Repositories that are older than the setting hold such names.
        portable_names=PortableNames(str(row.get("portable_names", PortableNames.OFF))),
        deleted=bool(row["deleted_at"]),
        created_at=int(str(row["created_at"])),
        roster=str(row["roster"]),
        presigned_at=int(str(row.get("presigned_at", 0))),
    )
