"""The roots of garbage collection, and the bytes that rows point to. docs/design/gc.md has the
reasons (G2, G3)."""

from shared import names
from shared.errors import Damaged
from shared.graph.reachability import find_reachable
from shared.metadata.refs import MOVES_KEPT_SECONDS
from shared.model import CommitAddress, Kind
from shared.progress import OnProgress
from shared.stores import RepoStores

MORE_SECONDS = 24 * 3600
"""A collection keeps moves this much longer than a restore may use them."""


def oldest_move_ms(now: float) -> int:
    """The time of the oldest move that is kept, in epoch milliseconds."""
    return int((now - MOVES_KEPT_SECONDS - MORE_SECONDS) * 1000)


async def find_roots(repository: RepoStores, now: float) -> set[CommitAddress]:
    """The places that keep everything below them. Branches are read first, then moves.

    Raises Damaged if a tag or a release points to a commit that is not in the index.
    """
    roots = {ref.head for ref in (await repository.refs.all()).values()}
    for move in await repository.refs.moves():
        if move.at >= oldest_move_ms(now):
            roots.update(move.kept)
    named = await repository.scans.named_commits()
    known = await repository.index.known(commits=named, even_condemned=True)
    unknown = set(named) - known.commits.keys()
    if unknown:
        raise Damaged(f"commit {min(unknown)}")
    return roots | set(known.commits.values())


async def pointed_to(
    repository: RepoStores, now: float, on_progress: OnProgress
) -> tuple[set[str], set[str]]:
    """The packs and the loose objects that a row points to.

    Raises Damaged if the repository has lost rows.
    """
    index = repository.scans.index(Kind.COMMIT)
    known = {entry.address async for entry in index if entry.address}
    live = await find_reachable(
        repository, await find_roots(repository, now) | known, on_progress=on_progress
    )
    packs = live.packs
    loose: set[str] = set()
    for kind, reached in ((Kind.OBJECT, live.objects), (Kind.SNAPSHOT, live.snapshots)):
        missing = {item_id for item_id in reached if names.is_digest(item_id)}
        async for entry in repository.scans.index(kind):
            missing.discard(entry.item_id)
            if entry.at and entry.at.is_loose:
                loose.add(entry.item_id)
            elif entry.at:
                packs.add(entry.at.pack)
        if missing:
            raise Damaged(f"{kind.name.lower()} {min(missing)}")
    refs = (await repository.refs.all()).values()
    packs |= {ref.snapshot_at.pack for ref in refs if ref.snapshot_at}
    return packs, loose
