"""Repositories: create, show, list, change, rename."""

from typing import Annotated

from pydantic import Field, model_validator

from shared.model import PortableNames, Repo, Role, Visibility
from shared.protocol.base import RequestModel, ResponseModel
from shared.protocol.fields import NAME_PATTERN

DESCRIPTION_CHARACTERS = 1000

# Not strict, because the values of an enumeration arrive as text.
VisibilityWord = Annotated[Visibility, Field(strict=False)]
PortableNamesWord = Annotated[PortableNames, Field(strict=False)]

Slug = Annotated[str, Field(json_schema_extra={"pattern": f"^{NAME_PATTERN}$"})]
Domain = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$", examples=["code", "midi", "scaffold"])
]
Description = Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS)]
DefaultBranch = Annotated[str, Field(json_schema_extra={"pattern": "^[^/]{1,255}$"})]


class NewRepo(RequestModel):
    """A repository to create, with the slug for its URL, or with a name from which a slug is
    made.
    """

    slug: Slug | None = None
    name: Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS)] | None = None
    visibility: VisibilityWord = Visibility.PUBLIC
    domain: Domain = "code"
    description: Description = ""
    default_branch: DefaultBranch = "main"
    portable_names: PortableNamesWord = PortableNames.ON

    @model_validator(mode="after")
    def _is_called_something(self) -> "NewRepo":
        if (self.slug is None) == (self.name is None):
            raise ValueError("send either a slug or a name")
        return self


class RepoChange(RequestModel):
    """Changes of a repository. An absent or null field is not changed."""

    visibility: VisibilityWord | None = None
    description: Description | None = None
    default_branch: DefaultBranch | None = None
    portable_names: PortableNamesWord | None = None


class Rename(RequestModel):
    """The repository's new name in its URL."""

    slug: Slug


class Repository(ResponseModel):
    """A repository, and the caller's role in it."""

    owner: str
    slug: str
    repo_id: str
    visibility: Visibility
    domain: str
    description: str
    default_branch: str
    portable_names: PortableNames
    created_at: int
    role: Role

    @classmethod
    def of(cls, repo: Repo, role: Role) -> "Repository":
        """Make the response for a repository."""
        return cls(
            owner=repo.owner,
            slug=repo.slug,
            repo_id=repo.repo_id,
            visibility=repo.visibility,
            domain=repo.domain,
            description=repo.description,
            default_branch=repo.default_branch,
            portable_names=repo.portable_names,
            created_at=repo.created_at,
            role=role,
        )


class Undelete(RequestModel):
    """A deleted repository of the caller to restore. `new_slug` is for a name that is in use."""

    slug: Slug
    new_slug: Slug | None = None


class DeletedRepository(Repository):
    """A deleted repository that can be restored, with the epoch second of its deletion."""

    deleted_at: int


class DeletedRepositoryPage(ResponseModel):
    """Deleted repositories, the last one deleted first, and the cursor of the next page."""

    repos: list[DeletedRepository]
    next_cursor: str | None


class RepositoryPage(ResponseModel):
    """Repositories by name, and the cursor of the next page."""

    repos: list[Repository]
    next_cursor: str | None
