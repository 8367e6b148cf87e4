"""The row of a repository under its name: its codec, and conditions on it."""

import uuid

from shared.metadata import attributes
from shared.metadata.conditions import Absent, Condition, Equals, Greater, either, every, holds
from shared.metadata.table import Row
from shared.model import PortableNames, Repo, RepoId, Visibility

IS_FREE = either(Absent("repo_id"), Greater("deleted_at", 0))
"""The condition that a name has no repository, or a deleted one."""

KIND = attributes.RowFormat("repository")
"""The row under the name, and the row of a deleted repository."""
_NAME = attributes.RowFormat("name of a repository")
"""The row from the id to the name."""


def is_live(repo: Repo) -> Condition:
    """The condition that the name belongs to this repository, which is not deleted."""
    return every(Equals("repo_id", repo.repo_id), Equals("deleted_at", 0))


def belongs_to(row: Row | None, repo: Repo) -> bool:
    """Whether the name of this row belongs to this repository, which is not deleted."""
    return holds(is_live(repo), row)


def revision() -> Row:
    """A new value of `revision`. Every change of a repository or of its members writes one."""
    return {"revision": str(uuid.uuid4())}


def encode(repo: Repo) -> Row:
    """All attributes of a live repository: they replace those of an earlier one of the name."""
    row: Row = {
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
        **revision(),
    }
    return KIND.stamp_in_place(row)


def decode(row: Row) -> Repo:
    """The inverse of `encode`. Raises Damaged."""
    owner, slug = name_of(row)
    # Repositories that are older than this setting may hold names that are not portable.
    has_setting = "portable_names" in row
    return Repo(
        owner=owner,
        slug=slug,
        repo_id=RepoId(attributes.text(row, "repo_id", KIND)),
        visibility=attributes.choice(row, "visibility", KIND, Visibility),
        domain=attributes.text(row, "domain", KIND),
        default_branch=attributes.text(row, "default_branch", KIND),
        description=attributes.text(row, "description", KIND),
        portable_names=attributes.choice(row, "portable_names", KIND, PortableNames)
        if has_setting
        else PortableNames.OFF,
        deleted=attributes.flag(row, "deleted_at", KIND),
        created_at=attributes.number(row, "created_at", KIND),
        members_generation=attributes.text(row, "roster", KIND),
        presigned_at=attributes.number(row, "presigned_at", KIND) if "presigned_at" in row else 0,
    )


def name_of(row: Row) -> tuple[str, str]:
    """The owner and the slug in the row of a repository. Raises Damaged."""
    return attributes.text(row, "owner", KIND), attributes.text(row, "slug", KIND)


def encode_name(repo: Repo) -> Row:
    """All attributes of the row from the id of a repository to its name."""
    return _NAME.stamp_in_place({"owner": repo.owner, "slug": repo.slug})


def decode_name(row: Row) -> tuple[str, str]:
    """The owner and the slug of a repository, from the row of its id. Raises Damaged."""
    return attributes.text(row, "owner", _NAME), attributes.text(row, "slug", _NAME)
