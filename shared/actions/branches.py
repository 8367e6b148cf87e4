"""Delete a branch, and restore one to an earlier head, which undoes a forced push or a deletion.

Both are moves: they are announced first, and then made under the condition that the branch has not
moved. An earlier head is stored as long as the moves of the branch (see `actions/moves`,
`actions/gc`).
"""

from shared import names
from shared.actions import resolve
from shared.actions.moves import PAGE_QUERIES, SPARE_ROWS, Cause, Chain, been_at, begin, planned
from shared.errors import BranchMoved, RefNotFound, Unprocessable
from shared.metadata.refs import RefChanged
from shared.model import CommitAddress, CommitId, Move, Ref, Sees
from shared.stores import RepoStores


async def delete(
    repository: RepoStores, branch: str, *, leave_empty: bool, by: str, now: float
) -> None:
    """Delete a branch. `leave_empty` allows it for the only branch of the repository.

    Raises RefNotFound, BranchMoved, or Unprocessable for the only branch and for the default
    branch.

    Budget: 6 AWS calls, chain of 5 (DELETE branches).
    """
    refs = await repository.refs.all()
    ref = refs.get(branch)
    if ref is None:
        raise RefNotFound()
    if len(refs) == 1 and not leave_empty:
        raise Unprocessable(
            f"{branch[:80]} is the only branch, and without it the repository is empty; if you want"
            " that, send leave_empty=true (pieria: --leave-empty)"
        )
    if branch == repository.repo.default_branch and len(refs) > 1:
        raise Unprocessable(
            f"{branch} is the default branch; make another branch the default one, or delete it"
            " last"
        )
    last = await repository.refs.last_step(branch)
    move = planned(branch, ref, last, None, Cause(by, now, forced=True))
    await repository.refs.log_move(move)
    try:
        await repository.refs.remove(ref)
    except RefChanged as moved:
        if moved.ref is None:
            return  # another request deleted it
        raise BranchMoved(branch, moved.ref.head.commit_id) from None


async def restore(
    repository: RepoStores, branch: str, to: str | None, *, by: str, now: float
) -> Ref:
    """Restore a branch to one of its earlier heads, or create it again there. Returns the new ref.

    `to` is a commit as in `resolve`: an id, the first 7 or more digits of an id, or the name of a
    branch. Raises RefNotFound for a branch that never existed, Unprocessable for a commit that was
    not a head of the branch within 30 days, AmbiguousCommit, BranchMoved, BranchClash if another
    branch conflicts with it, or TooLarge for too many branches.

    Budget: 9 AWS calls, chain of 8 (POST restore, a deleted branch).
    """
    names.check_branch(branch)
    ref, chain = await begin(repository, branch, now=now)
    if to:
        address = await _been_at(branch, ref, chain, await _commit_id(repository, to))
    else:
        address = await _before_last_move(branch, ref, chain)
    if ref and ref.head.commit_id == address.commit_id:
        return ref
    last = None
    if ref is None:
        refs = await repository.refs.all()
        names.check_room_for_branch(branch, refs)
        names.check_no_branch_clash(branch, refs)
        await repository.refs.mark_folders(branch, int(now))
        last = await repository.refs.last_step(branch)
    node = (await repository.commits.get([address]))[address.commit_id]
    move = planned(branch, ref, last, address, Cause(by, now, forced=True))
    new = Ref(branch, address, node.snapshot_at, move.step, move.at)
    await repository.refs.log_move(move)
    try:
        await repository.refs.swap(new, ref, by=by, now=int(now))
    except RefChanged as moved:
        raise BranchMoved(branch, moved.ref.head.commit_id if moved.ref else None) from None
    return new


async def _before_last_move(branch: str, ref: Ref | None, chain: Chain) -> CommitAddress:
    moves: list[Move] = []
    for _ in range(PAGE_QUERIES):
        moves = await chain.follow(SPARE_ROWS)
        if moves or chain.is_over:
            break
    if ref is None and not moves:
        raise RefNotFound()
    if not moves or moves[0].before is None:
        raise Unprocessable(
            f"{branch} had no other head within 30 days, so there is none to restore"
        )
    if moves[0].before not in moves[0].kept:
        raise Unprocessable(
            f"the previous head of {branch} has been expunged; name another commit, see its moves"
        )
    return moves[0].before


async def _commit_id(repository: RepoStores, name: str) -> CommitId:
    """The id of the commit that a name refers to, or else the name itself."""
    if names.is_digest(name):
        return CommitId(name)  # a full id needs no look-up
    try:
        return (await resolve.targets(repository, [name], Sees.ALL))[name].commit.commit_id
    except RefNotFound:
        return CommitId(name)


async def _been_at(branch: str, ref: Ref | None, chain: Chain, to: CommitId) -> CommitAddress:
    address, searched = await been_at(chain, to)
    if address:
        return address
    if ref is None and not searched:
        raise RefNotFound()
    if chain.is_over:
        where = "within 30 days"
    else:
        where = f"in its last {searched} moves"
    raise Unprocessable(f"{branch} was not at {to[:80]} {where}; its moves list its earlier heads")
