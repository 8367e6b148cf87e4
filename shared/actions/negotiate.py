"""Which commits client and hub share, and whether that is enough to fetch exactly what is new."""

from typing import Any

from shared import names, wire
from shared.actions import walk
from shared.dag import Nearest
from shared.errors import CommitNotFound
from shared.model import Repo
from shared.stores import Stores

ROUNDS = 3
"""Rounds of reading spent on the search. A base further off is not named: the client then offers more of
its commits, or all of them, and fetch is exact either way."""


async def negotiate(stores: Stores, repo: Repo, request: wire.Negotiate) -> dict[str, Any]:
    """`ack`: the offered commits that are known, in order. `common_base`: the one of greatest generation that
    a wanted commit is or descends from. `ready`: one was found, or nothing was offered.

    Raises CommitNotFound for a wanted commit that is not here.
    """
    for commit_id in request.want:
        names.check_id(commit_id, "commit")
    offered = [commit_id for commit_id in dict.fromkeys(request.have) if names.is_id(commit_id)]
    places = await stores.index.places(repo.repo_id, {*request.want, *offered})
    if unknown := set(request.want) - places.keys():
        raise CommitNotFound(unknown)
    ack = [commit_id for commit_id in offered if commit_id in places]
    search = Nearest([places[i] for i in request.want], {i: places[i] for i in ack})
    await walk.run(stores.commits, repo.repo_id, search, max_rounds=ROUNDS)
    return {"ack": ack, "common_base": search.found, "ready": search.found is not None or not request.have}
