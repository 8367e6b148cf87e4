"""Change the attributes of a repository."""

from collections.abc import Mapping

from shared import names
from shared.errors import Unprocessable
from shared.model import Repo
from shared.stores import Stores


async def change(stores: Stores, repo: Repo, changes: Mapping[str, str]) -> Repo:
    """Set these attributes, by name, and return the repository with them.

    A new default branch must exist. A repository without branches takes any valid name, since its
    first push creates the branch. Raises InvalidName or Unprocessable for the default branch, and
    RepoNotFound for a repository that was deleted meanwhile.
    """
    if "default_branch" in changes:
        await _check_default_branch(stores, repo, changes["default_branch"])
    return await stores.repos.change(repo, changes) if changes else repo


async def _check_default_branch(stores: Stores, repo: Repo, branch: str) -> None:
    names.check_default_branch(branch)
    if await stores.refs.get(repo.repo_id, branch) is None and await stores.refs.all(repo.repo_id):
        name = f"{repo.owner}/{repo.slug}"
        raise Unprocessable(
            f"{name} has no branch {branch}, so it cannot be the default: push it first, or choose"
            f" a branch that exists (GET branches and `pieria repo show {name}` list them)"
        )
