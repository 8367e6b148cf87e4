"""The commits that everyone may read: those reachable from a branch, a tag or a release.

A forced push removes commits from a branch. They are stored for 30 more days, so that the push can
be undone. Such a commit may contain a secret that was pushed by mistake, so only members may read
it.

The walk starts at the branches, and at tags and published releases only for commits that the
branches do not reach. It is bounded: a commit that it does not find counts as absent. A tag on it
or near it makes it visible.
"""

from collections.abc import Collection, Iterable

from shared.graph import walk
from shared.graph.dag import Reachable
from shared.model import CommitAddress, CommitId
from shared.stores import RepoStores
from shared.tasks import gather_pair

MAX_ROUNDS = 32
"""Rounds of the walk, each with up to 1 MB of eight lanes: about 30,000 commits of one line."""


async def reached(
    repository: RepoStores,
    wanted: Collection[CommitAddress],
    heads: Iterable[CommitAddress] | None = None,
) -> dict[CommitId, CommitAddress]:
    """Return the commits among `wanted` that everyone may read, by id.

    `heads` are the heads of all branches, if the caller has read them.
    """
    if not wanted:
        return {}
    if heads is None:
        heads = [ref.head for ref in (await repository.refs.all()).values()]
    search = Reachable(heads, wanted)
    await walk.run(repository.commits, search, max_rounds=MAX_ROUNDS)
    if not search.missing:
        return search.found
    further = Reachable(await _labelled(repository), search.missing.values())
    await walk.run(repository.commits, further, max_rounds=MAX_ROUNDS)
    return search.found | further.found


async def _labelled(repository: RepoStores) -> Iterable[CommitAddress]:
    """The places of the commits of tags and published releases."""
    tagged, released = await gather_pair(
        repository.tags.commits(), repository.releases.published_commits()
    )
    known = await repository.index.readable(commits=tagged | released)
    return known.commits.values()
