"""Repositories by the name in their URL."""

import uuid
from dataclasses import dataclass, replace

from shared.errors import RepoNotFound
from shared.metadata import keys
from shared.metadata.table import Row, Table
from shared.model import Repo, Visibility


@dataclass(frozen=True, slots=True)
class Repos:
    """The rows that give a name to a repository id."""

    table: Table

    async def get(self, owner: str, slug: str) -> Repo | None:
        """The repository of this name, deleted ones included, or None."""
        row = await self.table.get(keys.repo(owner, slug))
        return _repo(owner, slug, row) if row else None

    async def born(self, repo: Repo, now: int) -> Repo:
        """The repository with an id: itself, or, if it has none yet, newly created; of two creators one wins.

        Raises RepoNotFound if the name has meanwhile been given to one that is deleted.
        """
        if repo.is_born:
            return repo
        new = replace(repo, repo_id=str(uuid.uuid4()))
        first = await self.table.put_new(keys.repo(repo.owner, repo.slug), _row(new, now))
        if first is None:
            return new
        winner = _repo(repo.owner, repo.slug, first)
        if winner.deleted:
            raise RepoNotFound()
        return winner


def _row(repo: Repo, now: int) -> Row:
    return {
        "repo_id": repo.repo_id,
        "visibility": repo.visibility.value,
        "domain": repo.domain,
        "default_branch": repo.default_branch,
        "description": repo.description,
        "created_at": now,
    }


def _repo(owner: str, slug: str, row: Row) -> Repo:
    return Repo(
        owner=owner,
        slug=slug,
        repo_id=str(row["repo_id"]),
        visibility=Visibility(str(row["visibility"])),
        domain=str(row["domain"]),
        default_branch=str(row["default_branch"]),
        description=str(row["description"]),
        deleted="deleted_at" in row,
    )
