"""Which commits client and hub share, and whether that is enough to fetch exactly what is new."""

from typing import Any

from shared import names, wire
from shared.actions import visible, walk
from shared.dag import Nearest, Reachable
from shared.errors import CommitNotFound, Unavailable
from shared.model import Place, Repo, Sees
from shared.stores import Stores
from shared.tasks import pair

ROUNDS = 3
"""Rounds of reading spent on the search. A base further off is not named: the client then offers more of
its commits, or all of them, and fetch is exact either way."""


async def negotiate(
    stores: Stores, repo: Repo, request: wire.Negotiate, sees: Sees, *, by: str, now: float
) -> dict[str, Any]:
    """`ack`: the offered commits that are known, in order. `common_base`: the one of greatest generation that
    a wanted commit is or descends from. `ready`: one was found, or nothing was offered.

    Commits that the caller has just been refused are acknowledged as well: they are true, and came too late.
    To a caller who is no member, only commits are acknowledged that a branch leads to.
    Raises CommitNotFound for a wanted commit that is not here.
    """
    for commit_id in request.want:
        names.check_id(commit_id, "commit")
    offered = [commit_id for commit_id in dict.fromkeys(request.have) if names.is_id(commit_id)]
    known, refused = await pair(
        stores.index.known(repo.repo_id, commits={*request.want, *offered}, even_condemned=True),
        _refused(stores, repo, by, now),
    )
    if unknown := set(request.want) - known.commits.keys():
        raise CommitNotFound(unknown)
    # A branch may lead to a condemned commit all the same, so it may be wanted. Nothing may be built on it.
    targets = {i: known.commits[i] for i in offered if i in known.commits and i not in known.condemned}
    wanted = {i: known.commits[i] for i in request.want}
    if sees is Sees.REACHED:
        wanted, targets = await _visible(stores, repo, wanted, targets)
    nearest = Nearest(wanted.values(), targets)
    await walk.run(stores.commits, repo.repo_id, nearest, max_rounds=ROUNDS)
    base = nearest.found
    return {
        "ack": [i for i in offered if i in targets or i in refused],
        "common_base": base,
        "ready": base is not None or not request.have,
    }


async def _visible(
    stores: Stores, repo: Repo, wanted: dict[str, Place], targets: dict[str, Place]
) -> tuple[dict[str, Place], dict[str, Place]]:
    """What is wanted, and those of the offered commits that the branches lead to, as far as `ROUNDS` tell.

    Raises CommitNotFound for a wanted commit that is not visible to everyone.
    """
    heads = {ref.head.commit_id: ref.head for ref in (await stores.refs.all(repo.repo_id)).values()}
    if not wanted.keys() <= heads.keys():
        seen = await visible.reached(stores, repo, wanted.values(), heads.values())
        if hidden := wanted.keys() - seen.keys():
            raise CommitNotFound(hidden)
        wanted = seen
    search = Reachable((heads | wanted).values(), targets.values())
    await walk.run(stores.commits, repo.repo_id, search, max_rounds=ROUNDS)
    return wanted, search.found


async def _refused(stores: Stores, repo: Repo, by: str, now: float) -> set[str]:
    try:
        return await stores.counters.refused(repo.repo_id, by, int(now)) if by else set()
    except Unavailable:
        return set()  # a courtesy, not worth failing for
