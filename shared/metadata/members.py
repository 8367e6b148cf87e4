"""The members of repositories: users with a role, other than the owner.

Each member has a row with the `members_generation` of the repository to which it belongs, and a row
in the list of the user's repositories (see `listing`).
"""

from contextlib import suppress
from dataclasses import dataclass

from shared.metadata import attributes, keys, repo_rows
from shared.metadata.conditions import Equals, every
from shared.metadata.keys import Key
from shared.metadata.table import ConditionFailed, Query, Row, Table
from shared.model import Repo, Role
from shared.tasks import gather_pair

_KIND = attributes.RowFormat("member")


@dataclass(frozen=True, slots=True)
class Members:
    """The rows of members."""

    table: Table

    async def page(self, repo: Repo, limit: int, after: str | None) -> list[tuple[str, Role]]:
        """Return up to `limit` members with their roles, by handle, after the handle `after`."""
        pk, prefix = keys.members(repo.owner, repo.slug)
        rows = await self.table.scan_filtered(
            Query(pk, prefix=prefix, after=f"{prefix}{after}" if after else None),
            limit,
            lambda row: _is_of(repo, row),
        )
        return [(str(row["sk"]).removeprefix(prefix), _role(row)) for row in rows]

    async def set(self, repo: Repo, handle: str, role: Role) -> None:
        """Give a user a role.

        Raises ConditionFailed if the name does not belong to the repository any more, or did not
        for some time.
        """
        await self.table.put(_rows(repo, handle, role))
        await self._note_change(repo)

    async def remove(self, repo: Repo, handle: str) -> bool:
        """Remove the role of a user. Returns whether there was one. Raises as `set` does.

        The row is read first: botocore may retry a deletion, and the retry would not find the row.
        """
        key = keys.member(repo.owner, repo.slug, handle)
        had_role = any(_is_of(repo, row) for row in await self.table.find([key]))
        await gather_pair(
            self._remove_row(repo, key),
            self.table.delete(keys.membership(repo.owner, repo.slug, handle)),
        )
        await self._note_change(repo)
        return had_role

    async def copy(self, old: Repo, new: Repo) -> None:
        """Copy the members of a repository to its new name."""
        pk, prefix = keys.members(old.owner, old.slug)
        copies: list[tuple[Key, Row]] = []
        for row in await self.table.query_all(pk, prefix):
            if _is_of(old, row):
                copies += _rows(new, str(row["sk"]).removeprefix(prefix), _role(row))
        await self.table.put(copies)

    async def _remove_row(self, repo: Repo, key: Key) -> None:
        # A row of another generation belongs to a later repository of the same name.
        with suppress(ConditionFailed):
            await self.table.delete(key, Equals("roster", repo.members_generation))

    async def _note_change(self, repo: Repo) -> None:
        # Written last: a concurrent rename that missed the member row then fails and starts over.
        await self.table.update(
            keys.repo(repo.owner, repo.slug),
            repo_rows.revision(),
            every(repo_rows.is_live(repo), Equals("roster", repo.members_generation)),
        )


def role_in(repo: Repo, row: Row | None) -> Role | None:
    """The role in the row of a member; None without a row of this repository."""
    return _role(row) if row and _is_of(repo, row) else None


def generation_of(row: Row) -> str:
    """The `members_generation` in the row of a member. Raises Damaged."""
    return attributes.text(row, "roster", _KIND)


def _is_of(repo: Repo, row: Row) -> bool:
    """Whether the row of a member belongs to this repository, not to an earlier one of its name."""
    return generation_of(row) == repo.members_generation


def _role(row: Row) -> Role:
    return attributes.choice(row, "role", _KIND, Role)


def _rows(repo: Repo, handle: str, role: Role) -> list[tuple[Key, Row]]:
    """The row of a member, and the row by which the repository is listed for the member."""
    generation = repo.members_generation
    member: Row = {"role": role.value, "roster": generation}
    return [
        (keys.member(repo.owner, repo.slug, handle), _KIND.stamp(member)),
        (keys.membership(repo.owner, repo.slug, handle), _KIND.stamp({"roster": generation})),
    ]
