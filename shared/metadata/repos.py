"""Repositories by the name in their URL, and who may do what with them.

A name's row and the rows of its members lie in one partition, the owner's, so that a request finds the
repository, the caller's role and the state of his token in one call.
"""

import uuid
from dataclasses import dataclass, replace

from shared.errors import RepoNotFound, Unauthorized
from shared.metadata import keys
from shared.metadata.table import Lost, Page, Row, Table
from shared.model import Identity, Repo, Role, Visibility

_FREE = "attribute_not_exists(#repo_id) OR #deleted_at > :never"
_SAME = "#repo_id = :same"


@dataclass(frozen=True, slots=True)
class Repos:
    """The rows that give a name to a repository id, and roles to users."""

    table: Table

    async def look_up(self, owner: str, slug: str, identity: Identity | None) -> tuple[Repo | None, Role | None]:
        """The repository of this name, deleted ones included, and the role its owner gave to the caller.

        One call. Raises Unauthorized if the caller's token has been revoked.
        """
        wanted = [keys.repo(owner, slug)]
        if identity:
            wanted += [keys.member(owner, slug, identity.subject), keys.token(identity.subject, identity.token_id)]
        rows: dict[keys.Key, Row] = {(str(row["pk"]), str(row["sk"])): row for row in await self.table.find(wanted)}
        if identity and "revoked_at" in rows.get(keys.token(identity.subject, identity.token_id), {}):
            raise Unauthorized("the token has been revoked; log in again with a fresh one")
        row = rows.get(keys.repo(owner, slug))
        if row is None:
            return None, None
        repo = _repo(row)
        member = rows.get(keys.member(owner, slug, identity.subject)) if identity else None
        return repo, Role(str(member["role"])) if member and member["repo_id"] == repo.repo_id else None

    async def get(self, owner: str, slug: str) -> Repo | None:
        """The repository of this name, deleted ones included, or None."""
        row = await self.table.get(keys.repo(owner, slug))
        return _repo(row) if row else None

    async def by_id(self, repo_id: str) -> Repo | None:
        """The repository of this id under its present name, or None."""
        row = await self.table.get(keys.name(repo_id))
        repo = await self.get(str(row["owner"]), str(row["slug"])) if row else None
        return repo if repo and repo.repo_id == repo_id else None

    async def owned(self, owner: str, limit: int, after: str | None) -> tuple[list[Repo], str | None]:
        """A page of the owner's repositories by name, without deleted ones, and where the next page goes on."""
        page: Page = await self.table.query(
            keys.owner(owner), prefix="REPO#", limit=limit, after=keys.repo(owner, after)[1] if after else None
        )
        repos = [_repo(row) for row in page.rows]
        return [r for r in repos if not r.deleted], page.last.removeprefix("REPO#") if page.last else None

    async def born(self, repo: Repo, now: int) -> Repo:
        """The repository with an id: itself, or, if it has none yet, newly created; of two creators one wins."""
        if repo.is_born:
            return repo
        return await self.create(repo, now) or await self._winner(repo)

    async def create(self, repo: Repo, now: int) -> Repo | None:
        """A new repository of this name, or None if there is one already. A deleted one's name is free again."""
        new = replace(repo, repo_id=str(uuid.uuid4()), deleted=False)
        # The way back from the id first: by itself it leads nowhere.
        await self.table.put([(keys.name(new.repo_id), {"owner": new.owner, "slug": new.slug})])
        try:
            await self.table.update(
                keys.repo(new.owner, new.slug),
                {**_row(new), "created_at": now, "deleted_at": 0},
                _FREE,
                {"never": 0},
            )
        except Lost:
            return None
        return new

    async def change(self, repo: Repo) -> None:
        """Write what may change of a repository. Raises RepoNotFound if the name is another's by now."""
        key = keys.repo(repo.owner, repo.slug)
        try:
            await self.table.update(key, _row(repo), _SAME, {"same": repo.repo_id})
        except Lost:
            raise RepoNotFound() from None

    async def rename(self, repo: Repo, slug: str, now: int) -> Repo | None:
        """The repository under another name of the same owner, with its members; None if the name is taken.

        For a moment both names lead to it. Repeating a rename that was cut short completes it.
        """
        new = replace(repo, slug=slug)
        taken = await self.get(repo.owner, slug)
        if taken and not taken.deleted and taken.repo_id != repo.repo_id:
            return None
        try:
            await self.table.update(
                keys.repo(new.owner, new.slug),
                {**_row(new), "created_at": now, "deleted_at": 0},
                _FREE + " OR #repo_id = :same",
                {"never": 0, "same": repo.repo_id},
            )
        except Lost:
            return None
        await self.table.put([(keys.name(repo.repo_id), {"owner": new.owner, "slug": new.slug})])
        for handle, role in (await self.members(repo)).items():
            await self.set_member(new, handle, role)
        await self._forget(repo)
        return new

    async def delete(self, repo: Repo, now: int) -> None:
        """Hide a repository at once, and free its name. Its rows and bytes are for a purge to remove."""
        row: Row = {"owner": repo.owner, "slug": repo.slug, "deleted_at": now}
        await self.table.put([(keys.deleted(repo.repo_id), row)])
        try:
            await self.table.update(
                keys.repo(repo.owner, repo.slug), {"deleted_at": now}, _SAME, {"same": repo.repo_id}
            )
        except Lost:
            raise RepoNotFound() from None

    async def members(self, repo: Repo) -> dict[str, Role]:
        """The roles that the owner has given, by handle."""
        pk, prefix = keys.members(repo.owner, repo.slug)
        rows = await self.table.query_all(pk, prefix)
        return {
            str(row["sk"]).removeprefix(prefix): Role(str(row["role"]))
            for row in rows
            if row["repo_id"] == repo.repo_id
        }

    async def set_member(self, repo: Repo, handle: str, role: Role | None) -> None:
        """Give a user a role, or take it from him."""
        key = keys.member(repo.owner, repo.slug, handle)
        if role is None:
            await self.table.remove(key)
        else:
            await self.table.put([(key, {"role": role.value, "repo_id": repo.repo_id})])

    async def _winner(self, repo: Repo) -> Repo:
        winner = await self.get(repo.owner, repo.slug)
        if winner is None or winner.deleted:
            raise RepoNotFound()
        return winner

    async def _forget(self, repo: Repo) -> None:
        """Remove a name that leads elsewhere by now, and the members under it."""
        for handle in await self.members(repo):
            await self.set_member(repo, handle, None)
        try:
            await self.table.remove(keys.repo(repo.owner, repo.slug), _SAME, {"same": repo.repo_id})
        except Lost:
            return


def _row(repo: Repo) -> Row:
    return {
        "owner": repo.owner,
        "slug": repo.slug,
        "repo_id": repo.repo_id,
        "visibility": repo.visibility.value,
        "domain": repo.domain,
        "default_branch": repo.default_branch,
        "description": repo.description,
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
        deleted=bool(row.get("deleted_at")),
    )
