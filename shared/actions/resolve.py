"""Which commit a name in a request stands for: the name of a branch, or the id of a commit.

A name of 64 hex digits is always the id of a commit: no branch may have such a name, nor begin with it and a
slash (see `names.check_branch`). Of any other name the branch wins over an opaque id, and that over the beginning of a
digest, which has 7 hex digits or more.

To a caller who is no member, a commit that no branch, tag or release leads to is not there (see `visible`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from shared import names
from shared.actions import visible
from shared.errors import AmbiguousCommit, CommitNotFound, RefNotFound
from shared.model import Place, Ref, Repo, Sees
from shared.stores import Stores
from shared.tasks import all_of, pair
from shared.texts import some

CANDIDATES = 4
"""How many commits of each partition are looked for by a short id."""


@dataclass(frozen=True, slots=True)
class Target:
    """The commit that a name stands for. `branch` is None if the name is the id of the commit."""

    commit: Place
    branch: Ref | None = None


async def targets(stores: Stores, repo: Repo, wanted: Collection[str], sees: Sees) -> dict[str, Target]:
    """The commits that these names stand for, by name. Raises RefNotFound if one stands for none, AmbiguousCommit."""
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


async def commit(stores: Stores, repo: Repo, name: str, sees: Sees) -> Place:
    """The place of the commit that a name stands for where an id is expected. Raises CommitNotFound."""
    try:
        return (await targets(stores, repo, [name], sees))[name].commit
    except RefNotFound:
        raise CommitNotFound([name[:80]]) from None


async def _commits(stores: Stores, repo: Repo, wanted: Collection[str], sees: Sees) -> dict[str, Place]:
    """The places of the commits with these ids, by the id as it was given; an id that is not stored is left out.

    Raises AmbiguousCommit for a short id of several commits that the caller may see.
    """
    ids = {name for name in wanted if names.is_id(name)}
    # A reader may still ask for a condemned commit: a branch may lead to it.
    known = await stores.index.known(repo.repo_id, commits=ids, even_condemned=True)
    found = await _seen(stores, repo, known.commits.values(), sees)
    short = [name for name in wanted if name not in found and names.is_short_id(name)]
    for name, seen in zip(short, await all_of(_beginning(stores, repo, name, sees) for name in short), strict=True):
        if len(seen) > 1:
            raise AmbiguousCommit(f"{name} is the beginning of {some(seen, shown=4)}; give more digits")
        if seen:
            found[name] = next(iter(seen.values()))
    return found


async def _beginning(stores: Stores, repo: Repo, short_id: str, sees: Sees) -> dict[str, Place]:
    """The commits whose ids begin so and that the caller may see, by id."""
    candidates = await stores.index.commits_beginning(repo.repo_id, short_id, CANDIDATES)
    return await _seen(stores, repo, candidates, sees)


async def _seen(stores: Stores, repo: Repo, places: Collection[Place], sees: Sees) -> dict[str, Place]:
    """Those of these commits that the caller may see, by id."""
    if sees is Sees.ALL:
        return {place.commit_id: place for place in places}
    return await visible.reached(stores, repo, places)
