"""Deleting a branch, and setting one back to where it was: a forced push undone, a deletion undone.

Both are moves like any other: announced first, then made on condition that the branch is where it was seen.
What a branch led to is kept for as long as its moves are (`metadata/refs`, `actions/gc`).
"""

from collections.abc import Iterable

from shared import names
from shared.errors import BranchMoved, RefNotFound, Unprocessable
from shared.metadata.commits import STALE_SECONDS
from shared.metadata.refs import KEPT_SECONDS, Moved
from shared.model import Move, Place, Ref, Repo
from shared.stores import Stores
from shared.tasks import pair


async def moves(stores: Stores, repo: Repo, branch: str, *, now: float) -> tuple[Ref | None, list[Move]]:
    """Where a branch is, and the moves that brought it there, the last one first, as far back as they are kept."""
    ref, announced = await pair(stores.refs.get(repo.repo_id, branch), stores.refs.moves(repo.repo_id, branch))
    kept = int((now - KEPT_SECONDS) * 1000)
    return ref, made(ref, [move for move in announced if move.branch == branch and move.at >= kept])


def made(ref: Ref | None, announced: Iterable[Move]) -> list[Move]:
    """Those of the announced moves that happened, the last one first: each ends where the next one began.

    Requests overlap, so one that was announced a little later may have been made first. But one that was announced
    before comes before it: what is later and fits as well may never have been made.
    """
    left = sorted(announced, key=lambda move: move.at)
    chain: list[Move] = []
    expected = ref.head.commit_id if ref else None
    latest = left[-1].at if left else 0
    while fitting := [m for m in left if _id(m.after) == expected and m.at <= latest + STALE_SECONDS * 1000]:
        move = next((m for m in reversed(fitting) if m.at <= latest), fitting[0])
        left.remove(move)
        chain.append(move)
        expected, latest = _id(move.before), move.at
    return chain


async def delete(stores: Stores, repo: Repo, branch: str, *, leave_empty: bool, by: str, now: float) -> None:
    """Delete a branch. The only branch is deleted only if the caller accepts an empty repository (`leave_empty`).

    Raises RefNotFound, BranchMoved, or Unprocessable for the only branch and for the branch that clones start on.
    """
    refs = await stores.refs.all(repo.repo_id)
    ref = refs.get(branch)
    if ref is None:
        raise RefNotFound()
    if len(refs) == 1 and not leave_empty:
        raise Unprocessable(
            f"{branch[:80]} is the only branch, and without it the repository is empty; if that is meant, ask for it"
            " with leave_empty=true (pieria: --leave-empty)"
        )
    if branch == repo.default_branch and len(refs) > 1:
        raise Unprocessable(f"clones start on {branch}; make another branch the default one first, or delete it last")
    move = Move(branch, at=int(now * 1000), by=by, before=ref.head, after=None, forced=True)
    await stores.refs.announce(repo.repo_id, move)
    try:
        await stores.refs.remove(repo.repo_id, ref)
    except Moved as moved:
        if moved.current is None:
            return  # somebody else deleted it
        raise BranchMoved(branch, moved.current.head.commit_id) from None


async def restore(stores: Stores, repo: Repo, branch: str, to: str | None, *, by: str, now: float) -> Ref:
    """Set a branch back to one of its earlier heads, or create it there anew. Returns it as it is now.

    Raises RefNotFound for one that never was, Unprocessable for a commit it never was at within 30 days,
    BranchMoved, or BranchClash if another has taken its place.
    """
    names.check_branch(branch)
    ref, history = await moves(stores, repo, branch, now=now)
    if ref is None and not history:
        raise RefNotFound()
    place = _chosen(branch, history, to)
    if ref and ref.head.commit_id == place.commit_id:
        return ref
    if ref is None:
        names.check_no_branch_clash(branch, await stores.refs.all(repo.repo_id))
        await stores.refs.mark_folders(repo.repo_id, branch, int(now))
    node = (await stores.commits.get(repo.repo_id, [place]))[place.commit_id]
    new = Ref(branch, place, node.snapshot_at)
    move = Move(branch, at=int(now * 1000), by=by, before=ref.head if ref else None, after=place, forced=True)
    await stores.refs.announce(repo.repo_id, move)
    try:
        await stores.refs.swap(repo.repo_id, new, ref, by=by, now=int(now))
    except Moved as moved:
        raise BranchMoved(branch, moved.current.head.commit_id if moved.current else None) from None
    return new


def _chosen(branch: str, history: list[Move], to: str | None) -> Place:
    if to is None:
        if not history or history[0].before is None:
            raise Unprocessable(f"{branch} has not been anywhere else within 30 days")
        return history[0].before
    for move in history:
        for place in (move.before, move.after):
            if place and place.commit_id == to:
                return place
    raise Unprocessable(f"{branch} has not been at {to[:80]} within 30 days; its moves say where it was")


def _id(place: Place | None) -> str | None:
    return place.commit_id if place else None
