"""Which commits a caller who is no member may read: those that a branch, a tag or a published release leads to.

A forced push takes commits from a branch, and they are stored for 30 days after that, so that it can be undone.
Such a commit may hold a secret that was pushed by mistake. Only members read it.

The walk starts from the branches, and from tags and releases only if the branches do not lead there. It is bounded:
a commit that is not reached by then counts as one that is not there. A tag on it, or near it, makes it visible.
"""

from collections.abc import Collection, Iterable

from shared.actions import walk
from shared.dag import Reachable
from shared.model import Place, Repo
from shared.stores import Stores
from shared.tasks import pair

ROUNDS = 32
"""Rounds of the walk, with up to 1 MB of each of up to eight lanes: some 30,000 commits of one line of history."""


async def reached(
    stores: Stores,
    repo: Repo,
    wanted: Collection[Place],
    heads: Iterable[Place] | None = None,
) -> dict[str, Place]:
    """Those of these commits that are visible to everyone, by id. `heads`: of the branches, if they are known."""
    if not wanted:
        return {}
    if heads is None:
        heads = [ref.head for ref in (await stores.refs.all(repo.repo_id)).values()]
    search = Reachable(heads, wanted)
    await walk.run(stores.commits, repo.repo_id, search, max_rounds=ROUNDS)
    if not search.missing:
        return search.found
    further = Reachable(await _labelled(stores, repo), search.missing.values())
    await walk.run(stores.commits, repo.repo_id, further, max_rounds=ROUNDS)
    return search.found | further.found


async def _labelled(stores: Stores, repo: Repo) -> Iterable[Place]:
    """The places of the commits that tags and published releases name."""
    tagged, released = await pair(stores.tags.commits(repo.repo_id), stores.releases.published_commits(repo.repo_id))
    known = await stores.index.known(repo.repo_id, commits=tagged | released, even_condemned=True)
    return known.commits.values()
