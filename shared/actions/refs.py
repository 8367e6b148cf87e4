"""The branches of a repository as a clone sees them."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.stores import RepoStores


@dataclass(frozen=True, slots=True)
class Heads:
    """The commit id of each branch, and the branch that a clone checks out."""

    default_branch: str
    commit_ids: Mapping[str, str]


async def heads(repository: RepoStores) -> Heads:
    """Return the heads, in the order in which the stock client falls back to them.

    The client uses the first branch if the default branch is missing, and cannot clone a branch
    with a slash.

    Budget: 3 AWS calls, chain of 2 (GET refs, 1,000 branches).
    """
    refs = await repository.refs.all()
    default = _default(repository.repo.default_branch, refs)
    ordered = sorted(refs, key=lambda branch: (branch != default, "/" in branch, branch))
    return Heads(default, {branch: refs[branch].head.commit_id for branch in ordered})


def _default(chosen: str, refs: Mapping[str, object]) -> str:
    """The repository's default branch.

    If it does not exist, the first branch by name that a client can clone.
    """
    if chosen in refs:
        return chosen
    return min((branch for branch in refs if "/" not in branch), default=chosen)
