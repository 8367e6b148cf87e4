"""Resolution of a name to a commit. The name is that of a branch, or the id of a commit.

A name of 64 hex digits is always the id of a commit: the first part of a branch name cannot have
this form (see `names.check_branch`). For any other name, a branch takes precedence over an opaque
id, and that over a short id, the first 7 or more digits of a digest.

For a caller who is not a member, only commits that are reachable from a branch, a tag or a release
exist (see `visible`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from shared import names
from shared.actions import visible
from shared.errors import AmbiguousCommit, CommitNotFound, RefNotFound
from shared.model import CommitAddress, CommitId, Ref, Sees
from shared.stores import RepoStores
from shared.tasks import gather_all, gather_pair
from shared.texts import summarize

CANDIDATES = 4
"""The most commits of each partition that a look-up of a short id reads."""


@dataclass(frozen=True, slots=True)
class Target:
    """The commit that a name refers to. `branch` is None if the name is the id of the commit."""

    commit: CommitAddress
    branch: Ref | None = None


async def targets(repository: RepoStores, wanted: Collection[str], sees: Sees) -> dict[str, Target]:
    """Resolve names to commits. Raises RefNotFound or AmbiguousCommit."""
    ids = {name for name in wanted if names.is_digest(name)}
    branches = {
        name for name in wanted if name not in ids and 1 <= len(name) <= names.BRANCH_CHARACTERS
    }
    if ids and sees is not Sees.ALL:
        # The heads of all branches decide which of these commits the caller may see.
        refs, known = await gather_pair(repository.refs.all(), _known(repository, ids))
        heads = [ref.head for ref in refs.values()]
        refs = {name: ref for name, ref in refs.items() if name in branches}
        commits = await visible.reached(repository, known, heads)
    else:
        refs, known = await gather_pair(repository.refs.find(branches), _known(repository, ids))
        commits = {address.commit_id: address for address in known}
    found: dict[str, Target] = {name: Target(address) for name, address in commits.items()}
    others = await _commits(repository, branches - refs.keys(), sees)
    found |= {name: Target(address) for name, address in others.items()}
    found |= {name: Target(ref.head, ref) for name, ref in refs.items()}
    if any(name not in found for name in wanted):
        raise RefNotFound()
    return found


async def longest_prefix(repository: RepoStores, path: str, sees: Sees) -> tuple[str, Target]:
    """Resolve the longest name with which a path begins, in whole parts. Raises RefNotFound."""
    first = path.partition("/")[0]
    if names.is_digest(first):
        return first, (await targets(repository, [first], sees))[first]
    prefixes = [
        name for name in (*names.folders(path), path) if len(name) <= names.BRANCH_CHARACTERS
    ]
    refs = await repository.refs.find(prefixes)
    if refs:
        longest = max(refs, key=len)
        return longest, Target(refs[longest].head, refs[longest])
    commits = await _commits(repository, {first}, sees)
    if first not in commits:
        raise RefNotFound()
    return first, Target(commits[first])


async def commit(repository: RepoStores, name: str, sees: Sees) -> CommitAddress:
    """Resolve the name in a request that expects an id of a commit. Raises CommitNotFound."""
    try:
        return (await targets(repository, [name], sees))[name].commit
    except RefNotFound:
        raise CommitNotFound([name[:80]]) from None


async def _commits(
    repository: RepoStores, wanted: Collection[str], sees: Sees
) -> dict[str, CommitAddress]:
    """Return the places of the commits with these full or short ids, by the id as given.

    Ids that are not stored are left out. Raises AmbiguousCommit for a short id of several commits
    that the caller may see.
    """
    ids = {name for name in wanted if names.is_id(name)}
    by_id = await _seen(repository, await _known(repository, ids), sees)
    found: dict[str, CommitAddress] = {name: by_id[name] for name in by_id}
    short = [name for name in wanted if name not in found and names.is_short_id(name)]
    matches = await gather_all(_beginning(repository, name, sees) for name in short)
    for name, seen in zip(short, matches, strict=True):
        if len(seen) > 1:
            raise AmbiguousCommit(
                f"{name} is the beginning of {summarize(seen, shown=4)}; send more digits"
            )
        if seen:
            found[name] = next(iter(seen.values()))
    return found


async def _known(repository: RepoStores, ids: Collection[str]) -> Collection[CommitAddress]:
    """The places of the commits with these ids.

    Condemned commits can be read, because a branch may still reach them.
    """
    commit_ids = list(map(CommitId, ids))
    known = await repository.index.readable(commits=commit_ids)
    return known.commits.values()


async def _beginning(
    repository: RepoStores, short_id: str, sees: Sees
) -> dict[CommitId, CommitAddress]:
    """The commits with this short id that the caller may see, by id."""
    candidates = await repository.index.commits_beginning(short_id, CANDIDATES)
    return await _seen(repository, candidates, sees)


async def _seen(
    repository: RepoStores, addresses: Collection[CommitAddress], sees: Sees
) -> dict[CommitId, CommitAddress]:
    """The commits among these that the caller may see, by id."""
    if sees is Sees.ALL:
        return {address.commit_id: address for address in addresses}
    return await visible.reached(repository, addresses)
