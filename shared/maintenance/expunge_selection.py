"""The selection of an expunge: which rows, packs and objects it deletes.

Selected are the given ids, each snapshot with a given object, each commit with such a snapshot,
each descendant of such a commit, and the snapshots and objects that only these reach. `scan` reads,
`select` makes no call. docs/design/expunge.md has the invariants.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product

from shared.errors import Unprocessable
from shared.graph.reachability import Reached, find_reachable
from shared.graph.records import manifest
from shared.maintenance import rewrite
from shared.metadata import keys
from shared.metadata.scans import Entry
from shared.metadata.table import chunked
from shared.model import CommitAddress, CommitId, Kind, Node, ObjectId, Packed, RepoId, SnapshotId
from shared.stores import RepoStores

MANIFESTS = 200
"""Manifests that are in memory at the same time."""


@dataclass(frozen=True, slots=True)
class IndexRows:
    """Every row of a repository that an expunge may delete.

    `lanes`: the commits of all lanes, each with the run that marked its row, or an empty string.
    """

    commits: list[Entry]
    snapshots: list[Entry]
    objects: list[Entry]
    lanes: list[tuple[Node, str]]


@dataclass(frozen=True, slots=True)
class ExpungeScan:
    """The input of a selection. `live`: the ids that a branch, a tag or a release reaches.

    `manifests`: the object ids of each snapshot that is stored and not live.
    """

    rows: IndexRows
    live: Reached
    manifests: Mapping[SnapshotId, Set[ObjectId]]


@dataclass(frozen=True, slots=True)
class MarkedRow:
    """The key of a row, and the run that marked it, or an empty string."""

    key: keys.Key
    run_id: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The ids to delete, and the keys of their rows from high to low generations.

    `shared`: objects that other unreachable commits have as well, and that stay.
    """

    commits: Set[CommitId]
    snapshots: Set[SnapshotId]
    objects: Set[ObjectId]
    shared: Set[str]
    rows: Sequence[MarkedRow]

    @property
    def keys(self) -> list[keys.Key]:
        """The keys of the rows, in their order."""
        return [row.key for row in self.rows]

    def entries(self, wanted: Iterable[str]) -> set[rewrite.Item]:
        """The entries of packs that have the bytes of the selection, and of the given ids."""
        found = set(product(Kind, wanted))
        found |= {(Kind.COMMIT, item_id) for item_id in self.commits}
        found |= {(Kind.SNAPSHOT, item_id) for item_id in self.snapshots}
        found |= {(Kind.OBJECT, item_id) for item_id in self.objects}
        return found


async def read_rows(repository: RepoStores) -> IndexRows:
    """Read every row of the indexes and of the lanes. AWS calls: a Query for each page of them."""
    index = {kind: [entry async for entry in repository.scans.index(kind)] for kind in Kind}
    lanes: list[tuple[Node, str]] = []
    for lane in await repository.scans.lanes():
        async for node, run_id, _ in repository.scans.lane(lane):
            lanes.append((node, run_id))
    return IndexRows(index[Kind.COMMIT], index[Kind.SNAPSHOT], index[Kind.OBJECT], lanes)


async def scan(repository: RepoStores, wanted: Set[str], rows: IndexRows) -> ExpungeScan:
    """Find the live ids, and read the manifests of the other snapshots.

    Raises Unprocessable if a branch, tag or release reaches one of the wanted ids, with its name;
    Damaged if the history has a gap.

    AWS calls: a Query for each page of the branches, tags and releases, one look-up of their
    commits, those of `find_reachable`, a GET for each range of manifests.
    """
    roots = await _roots(repository)
    live = await find_reachable(repository, roots)
    await _check_unreached(repository, wanted, roots, live)
    return ExpungeScan(rows, live, await _manifests(repository, rows, live))


def select(repo_id: RepoId, found: ExpungeScan, wanted: Set[str], prefix: str) -> Selection:
    """Select everything that the wanted ids name.

    `prefix`: the beginning of the run ids of this expunge.

    An interrupted run may have deleted the row of a commit, and not the rows of its descendants or
    of its snapshots and objects. The marks of that run identify them.
    """
    rows = found.rows
    manifests = found.manifests
    with_wanted = {
        snapshot_id
        for snapshot_id, object_ids in manifests.items()
        if snapshot_id in wanted or not object_ids.isdisjoint(wanted)
    }
    commits = _commits(found, wanted, with_wanted, prefix)
    marked = {
        entry.item_id
        for entry in (*rows.snapshots, *rows.objects)
        if entry.run_id.startswith(prefix)
    }
    snapshots = with_wanted | _only_of(commits, found, marked)
    in_selection = _objects_of(manifests, snapshots) | marked
    in_others = _objects_of(manifests, manifests.keys() - snapshots)
    stored = {ObjectId(entry.item_id) for entry in rows.objects} - found.live.objects
    objects = stored & ((in_selection - in_others) | wanted)
    shared = stored & in_selection & in_others
    marked_rows = _marked_rows(repo_id, rows, commits, snapshots, objects)
    return Selection(commits, snapshots, objects, shared, marked_rows)


def by_generation(rows: IndexRows) -> list[tuple[Node, str]]:
    """The rows of lanes from low to high generations."""
    return sorted(rows.lanes, key=lambda row: row[0].address.generation)


def _commits(
    found: ExpungeScan, wanted: Set[str], snapshots: Set[SnapshotId], prefix: str
) -> set[CommitId]:
    """The wanted commits, those with one of these snapshots, and the descendants of all."""
    rows = found.rows
    marked_commits = {entry.item_id for entry in rows.commits if entry.run_id.startswith(prefix)}
    marked_commits |= {node.commit_id for node, run_id in rows.lanes if run_id.startswith(prefix)}
    commits: set[str] = set(wanted) | (marked_commits - found.live.commits)
    for node, _ in by_generation(rows):
        parents = {parent.commit_id for parent in node.parents}
        if node.snapshot_id in snapshots or not commits.isdisjoint(parents):
            commits.add(node.commit_id)
    with_row = {node.commit_id for node, _ in rows.lanes}
    with_row |= {CommitId(entry.item_id) for entry in rows.commits}
    return with_row & commits


def _only_of(commits: Set[CommitId], found: ExpungeScan, marked: Set[str]) -> set[SnapshotId]:
    """The snapshots, not live, that only these commits have; and marked ones without a commit."""
    nodes = [node for node, _ in found.rows.lanes]
    of_commits = {node.snapshot_id for node in nodes if node.commit_id in commits}
    of_others = {node.snapshot_id for node in nodes if node.commit_id not in commits}
    candidates = of_commits | marked
    return {i for i in found.manifests if i in candidates and i not in of_others}


def _objects_of(
    manifests: Mapping[SnapshotId, Set[ObjectId]], snapshots: Iterable[SnapshotId]
) -> set[ObjectId]:
    found: set[ObjectId] = set()
    for snapshot_id in snapshots:
        found |= manifests[snapshot_id]
    return found


def _marked_rows(
    repo_id: RepoId,
    rows: IndexRows,
    commit_ids: Set[CommitId],
    snapshot_ids: Set[SnapshotId],
    object_ids: Set[ObjectId],
) -> list[MarkedRow]:
    """The selected rows: commits by id, commits in lanes, snapshots, objects."""
    highest_first = sorted(
        rows.commits, key=lambda entry: -entry.address.generation if entry.address else 0
    )
    commits = [entry for entry in highest_first if entry.item_id in commit_ids]
    snapshots = [entry for entry in rows.snapshots if entry.item_id in snapshot_ids]
    objects = [entry for entry in rows.objects if entry.item_id in object_ids]
    lanes = [
        MarkedRow(keys.commit(repo_id, node.address), run_id)
        for node, run_id in sorted(rows.lanes, key=lambda row: -row[0].address.generation)
        if node.commit_id in commit_ids
    ]
    return [
        *_index_rows(repo_id, commits),
        *lanes,
        *_index_rows(repo_id, snapshots),
        *_index_rows(repo_id, objects),
    ]


def _index_rows(repo_id: RepoId, entries: Iterable[Entry]) -> list[MarkedRow]:
    return [
        MarkedRow(keys.by_id(repo_id, entry.kind, entry.item_id), entry.run_id) for entry in entries
    ]


async def _roots(repository: RepoStores) -> dict[CommitAddress, str]:
    """The address of each commit that a branch, tag or release keeps, and its name."""
    roots = {ref.head: f"branch {ref.branch}" for ref in (await repository.refs.all()).values()}
    labelled = await repository.scans.named_commits()
    known = await repository.index.readable(commits=labelled)
    return {
        address: f"a tag or release on {commit_id}" for commit_id, address in known.commits.items()
    } | roots


async def _check_unreached(
    repository: RepoStores, wanted: Set[str], roots: Mapping[CommitAddress, str], live: Reached
) -> None:
    """Raises Unprocessable if a root reaches one of the wanted ids, with up to three names."""
    reached = wanted & (live.commits | live.snapshots | live.objects)
    if not reached:
        return
    one = min(reached)
    by: list[str] = []
    for address, name in roots.items():
        below = await find_reachable(repository, [address])
        if one in below.commits | below.snapshots | below.objects:
            by.append(name)
        if len(by) == 3:
            break
    raise Unprocessable(
        f"{one} is still reached by {', '.join(by)[:150]}; move or delete that first, then expunge"
    )


async def _manifests(
    repository: RepoStores, rows: IndexRows, live: Reached
) -> dict[SnapshotId, set[ObjectId]]:
    """The objects of every snapshot that is stored and not live."""
    addresses = {
        entry.at: SnapshotId(entry.item_id)
        for entry in rows.snapshots
        if isinstance(entry.at, Packed) and entry.item_id not in live.snapshots
    }
    found: dict[SnapshotId, set[ObjectId]] = {}
    for group in chunked(sorted(addresses), MANIFESTS):
        for at, record in (await repository.objects.read_packed(group)).items():
            found[addresses[at]] = set(manifest(record).values())
    return found
