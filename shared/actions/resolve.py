"""Which commit a name in a request stands for: the name of a branch, or the id of a commit.

A name of 64 hex digits is always the id of a commit: no branch may have such a name, nor begin with it and a
slash (see `names.check_branch`). Of any other name the branch wins over an opaque id.

To a caller who is no member, a commit that no branch, tag or release leads to is not there (see `visible`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from shared import names
from shared.actions import visible
from shared.errors import CommitNotFound, RefNotFound
from shared.model import Place, Ref, Repo, Sees
from shared.stores import Stores
from shared.tasks import pair


@dataclass(frozen=True, slots=True)
class Target:
    """The commit that a name stands for. `branch` is None if the name is the id of the commit."""

    commit: Place
    branch: Ref | None = None


async def targets(stores: Stores, repo: Repo, wanted: Collection[str], sees: Sees) -> dict[str, Target]:
    """The commits that these names stand for, by name. Raises RefNotFound if one stands for none."""
    ids = {name for name in wanted if names.is_digest(name)}
    branches = {name for name in wanted if name not in ids and 1 <= len(name) <= names.BRANCH_CHARACTERS}
    refs, commits = await pair(stores.refs.find(repo.repo_id, branches), _commits(stores, repo, ids, sees))
    commits |= await _commits(stores, repo, branches - refs.keys(), sees)
    found = {name: Target(place) for name, place in commits.items()}
    found |= {name: Target(ref.head, ref) for name, ref in refs.items()}
    if any(name not in found for name in wanted):
        raise RefNotFound()
    return found


async def longest_prefix(stores: Stores, repo: Repo, path: str, sees: Sees) -> tuple[str, Target]:
    """The longest name that a path begins with, whole parts only, and what it stands for. Raises RefNotFound."""
    first = path.partition("/")[0]
    if names.is_digest(first):
        return first, (await targets(stores, repo, [first], sees))[first]
    prefixes = [name for name in (*names.folders(path), path) if len(name) <= names.BRANCH_CHARACTERS]
    refs = await stores.refs.find(repo.repo_id, prefixes)
    if refs:
        longest = max(refs, key=len)
        return longest, Target(refs[longest].head, refs[longest])
    commits = await _commits(stores, repo, {first}, sees)
    if first not in commits:
        raise RefNotFound()
    return first, Target(commits[first])


async def commit(stores: Stores, repo: Repo, commit_id: str, sees: Sees) -> Place:
    """The place of the commit with this id. Raises CommitNotFound."""
    commits = await _commits(stores, repo, {commit_id}, sees)
    if commit_id not in commits:
        raise CommitNotFound([commit_id[:80]])
    return commits[commit_id]


async def _commits(stores: Stores, repo: Repo, wanted: Collection[str], sees: Sees) -> dict[str, Place]:
    """The places of the commits with these ids, by id; what is no id or not stored is left out."""
    ids = {name for name in wanted if names.is_id(name)}
    # A reader may still ask for a condemned commit: a branch may lead to it.
    known = await stores.index.known(repo.repo_id, commits=ids, even_condemned=True)
    if sees is Sees.ALL:
        return known.commits
    return await visible.reached(stores, repo, known.commits.values())
