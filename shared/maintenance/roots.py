"""The roots of garbage collection, and the bytes that rows point to. docs/design/gc.md has the
reasons (G2, G3)."""

from dataclasses import dataclass, field

from shared import names
from shared.errors import Damaged
from shared.graph.reachability import Reached, find_reachable
from shared.metadata.refs import MOVES_KEPT_SECONDS
from shared.model import CommitAddress, Kind, Location, Loose
from shared.progress import OnProgress
from shared.stores import RepoStores

MORE_SECONDS = 24 * 3600
"""A gc keeps moves this much longer than a restore may use them."""


@dataclass(frozen=True, slots=True)
class PacksAndLoose:
    """A set of stored bytes: the names of packs, and the ids of loose objects."""

    packs: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)

    def add(self, item_id: str, at: Location) -> None:
        """Add the pack or the loose object with the bytes of an id."""
        if isinstance(at, Loose):
            self.loose.add(item_id)
        else:
            self.packs.add(at.pack)

    def has(self, item_id: str, at: Location) -> bool:
        """Whether the set has the bytes of an id at this location."""
        return item_id in self.loose if isinstance(at, Loose) else at.pack in self.packs


def oldest_move_ms(now: float) -> int:
    """The time of the oldest move that is kept, in epoch milliseconds. `now`: epoch seconds."""
    return int((now - MOVES_KEPT_SECONDS - MORE_SECONDS) * 1000)


async def find_roots(repository: RepoStores, now: float) -> set[CommitAddress]:
    """The addresses that keep everything below them. `now`: epoch seconds.

    Raises Damaged if a tag or a release points to a commit that is not in the index.

    AWS calls: a Query for each page of the branches, moves, releases and tags, one after the other;
    one look-up of the tagged and released commits.
    """
    # Branches before moves: a branch that moves in between is in a move that is read (G2).
    roots = {ref.head for ref in (await repository.refs.all()).values()}
    for move in await repository.refs.moves():
        if move.at >= oldest_move_ms(now):
            roots.update(move.kept)
    named = await repository.scans.named_commits()
    known = await repository.index.readable(commits=named)
    unknown = set(named) - known.commits.keys()
    if unknown:
        raise Damaged(f"commit {min(unknown)}")
    return roots | set(known.commits.values())


async def pointed_to(repository: RepoStores, now: float, on_progress: OnProgress) -> PacksAndLoose:
    """The packs and the loose objects that a row points to. `now`: epoch seconds.

    Raises Damaged if the repository has lost rows.

    AWS calls: a Query for each page of the three indexes, those of `find_roots` and of
    `find_reachable`, and a Query for each page of the branches.
    """
    index = repository.scans.index(Kind.COMMIT)
    known = {entry.address async for entry in index if entry.address}
    roots = await find_roots(repository, now) | known
    live = await find_reachable(repository, roots, on_progress=on_progress)
    found = PacksAndLoose(packs=live.packs)
    await _add_index(repository, Kind.OBJECT, live, found)
    await _add_index(repository, Kind.SNAPSHOT, live, found)
    for ref in (await repository.refs.all()).values():
        if ref.snapshot_at:
            found.packs.add(ref.snapshot_at.pack)
    return found


async def _add_index(
    repository: RepoStores, kind: Kind, live: Reached, found: PacksAndLoose
) -> None:
    """Add the bytes that an index points to. Raises Damaged if a reachable digest has no row."""
    reached = live.objects if kind is Kind.OBJECT else live.snapshots
    missing = {item_id for item_id in reached if names.is_digest(item_id)}
    async for entry in repository.scans.index(kind):
        missing.discard(entry.item_id)
        if entry.at:
            found.add(entry.item_id, entry.at)
    if missing:
        raise Damaged(f"{kind.name.lower()} {min(missing)}")
