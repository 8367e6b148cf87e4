"""Negotiation: find the commits that the client and the hub have in common."""

from shared import names
from shared.actions import visible
from shared.errors import CommitNotFound, Unavailable
from shared.graph import walk
from shared.graph.dag import Nearest, Reachable
from shared.model import CommitAddress, CommitId, Sees
from shared.protocol.fetch import Negotiate, Negotiated
from shared.stores import RepoStores
from shared.tasks import gather_pair

MAX_ROUNDS = 3
"""The most rounds of reads of the search. A base that is further away is not found.

The client then offers more of its commits, or all of them. The fetch is exact in both cases.
"""


async def negotiate(
    repository: RepoStores, request: Negotiate, sees: Sees, *, by: str, now: float
) -> Negotiated:
    """Return the reply to a negotiation.

    `ack` has the offered commits that the hub knows, in their order. `common_base` is the one of
    the greatest generation that is reachable from a wanted commit. `ready` is true if there is one,
    or if the client offered no commits.

    Valid commits of a push of the caller that has just lost a race are acknowledged, too. For a
    caller who is not a member, only commits that are reachable from a branch are acknowledged.
    Raises CommitNotFound for an unknown wanted commit.

    Budget: 5 AWS calls, chain of 3 (negotiate, 64 haves).
    """
    for commit_id in request.want:
        names.check_id(commit_id, "commit")
    offered = [commit_id for commit_id in dict.fromkeys(request.have) if names.is_id(commit_id)]
    known, refused = await gather_pair(
        repository.index.known(commits={*request.want, *offered}, even_condemned=True),
        _refused(repository, by, now),
    )
    unknown = set(request.want) - known.commits.keys()
    if unknown:
        raise CommitNotFound(unknown)
    # A condemned commit may be wanted, because a branch may still reach it. It is not acknowledged,
    # so that no push builds on it.
    targets = {
        i: known.commits[i] for i in offered if i in known.commits and i not in known.condemned
    }
    wanted = {i: known.commits[i] for i in request.want}
    if sees is Sees.REACHED:
        wanted, targets = await _visible(repository, wanted, targets)
    nearest = Nearest(wanted.values(), targets)
    await walk.run(repository.commits, nearest, max_rounds=MAX_ROUNDS)
    base = nearest.found
    return {
        "ack": [i for i in offered if i in targets or i in refused],
        "common_base": base,
        "ready": base is not None or not request.have,
    }


async def _visible(
    repository: RepoStores,
    wanted: dict[CommitId, CommitAddress],
    targets: dict[CommitId, CommitAddress],
) -> tuple[dict[CommitId, CommitAddress], dict[CommitId, CommitAddress]]:
    """Return the wanted commits, and the offered ones that are reachable within `MAX_ROUNDS`.

    Raises CommitNotFound for a wanted commit that the caller may not read.
    """
    heads = {ref.head.commit_id: ref.head for ref in (await repository.refs.all()).values()}
    if not wanted.keys() <= heads.keys():
        seen = await visible.reached(repository, wanted.values(), heads.values())
        hidden = wanted.keys() - seen.keys()
        if hidden:
            raise CommitNotFound(hidden)
        wanted = seen
    search = Reachable((heads | wanted).values(), targets.values())
    await walk.run(repository.commits, search, max_rounds=MAX_ROUNDS)
    return wanted, search.found


async def _refused(repository: RepoStores, by: str, now: float) -> set[str]:
    try:
        if by:
            return await repository.stores.counters.refused(repository.repo_id, by, int(now))
        return set()
    except Unavailable:
        return set()  # these commits are optional, so a failure to read them does not matter
