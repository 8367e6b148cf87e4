"""Negotiation: find the commits that the client and the hub have in common."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from shared import names
from shared.actions import visible
from shared.actions.push_plan import RUNG_COMMITS
from shared.errors import CommitNotFound, Unavailable
from shared.graph import walk
from shared.graph.dag import Nearest, Reachable, Walk
from shared.model import CommitAddress, CommitId, Move, Node, Sees
from shared.protocol.fetch import Negotiate, Negotiated
from shared.stores import RepoStores
from shared.tasks import gather_pair

MAX_ROUNDS = 3
"""The most rounds of reads of the search. A base that is further away is not found.

The client then offers more of its commits, or all of them. The fetch is exact in both cases.
"""
FAR_GENERATIONS = 1_000
"""A base that is at most so far below the wanted commit is found with one or two reads of rows."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where the search begins: ancestors of the wanted commits, and rows that are known already."""

    places: Collection[CommitAddress]
    rows: Mapping[CommitAddress, Node]
    rounds: int

    async def search(self, repository: RepoStores, walked: Walk) -> None:
        """Run a walk that begins at these places."""
        walked.feed(self.rows)
        await walk.run(repository.commits, walked, max_rounds=self.rounds)


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
    Budget: 6 AWS calls, chain of 3 (negotiate, 64 haves, 5,000 commits below).
    """
    for commit_id in request.want:
        names.check_id(commit_id, "commit")
    offered = [commit_id for commit_id in dict.fromkeys(request.have) if names.is_id(commit_id)]
    known, refused = await gather_pair(
        repository.index.readable(commits={*request.want, *offered}),
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
    heads: Collection[CommitAddress] = ()
    if sees is Sees.REACHED:
        heads, wanted = await _visible(repository, wanted)
    start = await _start(repository, wanted.values(), targets.values())
    if sees is Sees.REACHED:
        places = start.places if start.rows else {*heads, *start.places}
        search = Reachable(places, targets.values())
        await start.search(repository, search)
        targets = search.found
    nearest = Nearest(start.places, targets)
    await start.search(repository, nearest)
    base = nearest.found
    return {
        "ack": [i for i in offered if i in targets or i in refused],
        "common_base": base,
        "ready": base is not None or not request.have,
    }


async def _visible(
    repository: RepoStores, wanted: dict[CommitId, CommitAddress]
) -> tuple[Collection[CommitAddress], dict[CommitId, CommitAddress]]:
    """Return the heads of the branches, and the wanted commits at the places that they reach.

    Raises CommitNotFound for a wanted commit that the caller may not read.
    """
    heads = {ref.head.commit_id: ref.head for ref in (await repository.refs.all()).values()}
    if not wanted.keys() <= heads.keys():
        seen = await visible.reached(repository, wanted.values(), heads.values())
        hidden = wanted.keys() - seen.keys()
        if hidden:
            raise CommitNotFound(hidden)
        wanted = seen
    return heads.values(), wanted


async def _start(
    repository: RepoStores, wanted: Collection[CommitAddress], targets: Collection[CommitAddress]
) -> _Start:
    """Where the search for the targets begins: at the wanted commits, or far below them."""
    near = _Start(wanted, {}, MAX_ROUNDS)
    if not wanted or not targets:
        return near
    top = max(wanted, key=_generation)
    target = max(targets, key=_generation)
    if top.generation - target.generation <= FAR_GENERATIONS:
        return near
    return await _far_start(repository, top, target) or replace(near, rounds=MAX_ROUNDS - 2)


async def _far_start(
    repository: RepoStores, top: CommitAddress, target: CommitAddress
) -> _Start | None:
    """Begin at the lowest known ancestor of `top` that is not below `target`.

    The log of the moves of a branch has such ancestors: an unforced move leads from an ancestor,
    and has rungs. The rows around the target are read in the same step. None if the log has no
    such ancestor.
    """
    (moves, _), nodes = await gather_pair(
        repository.refs.moves_down(top.lane),
        repository.commits.window(
            target.lane,
            max(0, target.generation - RUNG_COMMITS),
            target.generation + RUNG_COMMITS,
        ),
    )
    above = [one for one in _ancestors(top, moves) if one.generation >= target.generation]
    if not above:
        return None
    place = min(above, key=_generation)
    return _Start([place], {node.address: node for node in nodes}, MAX_ROUNDS - 1)


def _ancestors(top: CommitAddress, moves: Iterable[Move]) -> Iterator[CommitAddress]:
    """The ancestors of `top` in these moves, which are in the order of the log, newest first.

    A push checks an unforced move before it logs it. So this holds also for a move that failed.
    Opaque ids are left out: a forced push may store another commit under such an id.
    """
    place = top
    for move in moves:
        if move.after is None or move.after.commit_id != place.commit_id:
            continue
        if not names.is_digest(place.commit_id):
            return
        yield from move.rungs
        if move.forced or move.before is None:
            return
        place = move.before
        yield place


def _generation(address: CommitAddress) -> int:
    return address.generation


async def _refused(repository: RepoStores, by: str, now: float) -> set[str]:
    try:
        if by:
            return await repository.stores.counters.refused(repository.repo_id, by, int(now))
        return set()
    except Unavailable:
        return set()  # these commits are optional, so a failure to read them does not matter
