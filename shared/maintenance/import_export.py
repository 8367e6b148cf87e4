"""import: makes a repository from the file of an export.

    1  the repository: new, or empty, or that of an interrupted import; private until the end
    2  history in batches (`import_batch`), tags, releases and moves
    3  after the last entry: branches, members, settings, and last the visibility

Each entry is checked as a push checks it. No branch is written before the whole file was read. An
import that was interrupted is run again: it skips stored items. docs/design/export.md has the
invariants.
"""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from shared import names
from shared.actions import members, releases, tags
from shared.errors import ApiError, RepoExists, RepoNotFound, Unavailable, Unprocessable
from shared.maintenance.export_format import (
    AnyEntry,
    BranchEntry,
    CommitEntry,
    MemberEntry,
    MoveEntry,
    ObjectEntry,
    Reader,
    ReleaseEntry,
    RepositoryEntry,
    SnapshotEntry,
    TagEntry,
)
from shared.maintenance.import_batch import Batch, Seen, untrusted_address, untrusted_record
from shared.maintenance.lease import GC_UNDER_WAY, Clock, Lease, Step, start_import
from shared.metadata.refs import RefChanged
from shared.metadata.table import ConditionFailed
from shared.model import CommitAddress, Move, Ref, Repo, Visibility
from shared.progress import OnProgress, no_progress
from shared.protocol.releases import PostRelease
from shared.protocol.tags import PostTags
from shared.stores import RepoStores, Stores

AHEAD_SECONDS = 24 * 3600
"""The most that the clock of another hub may be ahead."""
LABELS = 100
"""Tags, or moves, that are written together."""


async def import_export(
    stores: Stores,
    reader: Reader,
    name: tuple[str, str] | None,
    now: Clock,
    on_progress: OnProgress = no_progress,
) -> Repo:
    """Make a repository from a file, and return it. `name`: owner and slug, if not those of the
    file.

    Raises NotAnExport for a file that is not as it was written, or has contents that a push would
    refuse; RepoExists for a repository that is not empty; Unavailable beside another job. What was
    written stays, without a branch: the next run continues.

    AWS calls for a batch: one conditional UpdateItem, a BatchGetItem for each 100 ids, a PUT of a
    pack and of each large object, a BatchWriteItem for each 25 rows, a TransactWriteItems for each
    100 commits. Memory: the ids, a batch or the largest object, the branches and the members.
    """
    found = reader.entries()
    first = next(found, None)
    if not isinstance(first, RepositoryEntry):
        raise reader.refused("is the first one, and is not a repository")
    repository = await _target(stores, reader, first, name, int(now()))
    batch = Batch(Seen(), stores.settings.max_object_bytes)
    importer = _Importer(await start_import(repository, now()), now, batch)
    for entry in found:
        with _refusing(reader):
            if importer.must_write_before(entry):
                await importer.write()
                on_progress("entries", reader.counts.total(), None, reader.place)
            importer.take(entry)
    with _refusing(reader):
        await importer.write()
    return await importer.finish(first)


async def _target(
    stores: Stores,
    reader: Reader,
    settings: RepositoryEntry,
    name: tuple[str, str] | None,
    now: int,
) -> RepoStores:
    """The repository to fill. Raises RepoExists unless it is new, empty or half imported."""
    given, slug = name or (settings.owner, settings.slug)
    with _refusing(reader):
        names.check_slug(slug)
        names.check_handle(given)
        names.check_default_branch(settings.default_branch)
    owner = await stores.handles.spelling(given)
    existing = await stores.repos.get(owner, slug)
    if existing is None or existing.deleted:
        wanted = replace(
            Repo(owner, slug, visibility=Visibility.PRIVATE),
            domain=settings.domain,
            default_branch=settings.default_branch,
            description=settings.description,
            portable_names=settings.portable_names,
        )
        try:
            # Lists are ordered by this time: none from the future stays at their head.
            return stores.of(await stores.repos.create(wanted, min(settings.created_at, now)))
        except ConditionFailed:
            raise RepoExists(owner, slug) from None
    repository = stores.of(existing)
    progress = await repository.scans.progress()
    if progress and progress.step == Step.IMPORTING:
        return repository
    if progress and progress.step in GC_UNDER_WAY:
        raise Unavailable("a gc of this repository is between two of its steps: finish it first")
    if await repository.refs.all() or await repository.refs.moves():
        raise RepoExists(owner, slug)
    return repository


@contextmanager
def _refusing(reader: Reader) -> Iterator[None]:
    """Refuse the last entry of the file if its content is refused."""
    try:
        yield
    except Unavailable:
        raise
    except ApiError as error:
        raise reader.refused(f"is refused: {error.message}") from error


@dataclass(slots=True)
class _Importer:
    """Takes the entries of a file in their order."""

    lease: Lease
    now: Clock
    batch: Batch
    tags: list[dict[str, Any]] = field(default_factory=list)
    releases: list[ReleaseEntry] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    branches: dict[str, Ref] = field(default_factory=dict)
    members: list[MemberEntry] = field(default_factory=list)

    def must_write_before(self, entry: AnyEntry) -> bool:
        """Whether the pending entries have to be written before this one is taken."""
        match entry:
            case ObjectEntry() | SnapshotEntry() | CommitEntry():
                return self.batch.must_be_written_before(entry)
            case _:
                return bool(self.releases) or len(self.tags) + len(self.moves) >= LABELS

    def take(self, entry: AnyEntry) -> None:
        """Check an entry, and keep it for the next write. Raises ApiError for a wrong one."""
        match entry:
            case ObjectEntry() | SnapshotEntry() | CommitEntry():
                self.batch.add(entry)
            case TagEntry(record=record):
                self.tags.append(untrusted_record(record))
            case ReleaseEntry():
                self.releases.append(entry)
            case MoveEntry():
                self.moves.append(self._move(entry))
            case BranchEntry():
                self.branches[names.check_branch(entry.name)] = self._ref(entry)
            case MemberEntry():
                names.check_handle(entry.handle)
                self.members.append(entry)
            case _:
                raise Unprocessable("an entry of this kind may not be here")

    async def write(self) -> None:
        """Write the pending entries: history, then tags, releases and moves. Extends the lease."""
        now = self.now()
        self.lease = await self.lease.advance(Step.IMPORTING, now)
        repository = self.lease.repository
        await self.batch.write(repository, int(now))
        if self.tags:
            await tags.store(repository, PostTags(tags=self.tags))
        for entry in self.releases:
            release = PostRelease(untrusted_record(entry.record))
            await releases.publish(repository, release, now=entry.created_at)
        await repository.refs.log_moves(self.moves)
        self.tags = []
        self.releases = []
        self.moves = []

    async def finish(self, settings: RepositoryEntry) -> Repo:
        """Write the branches, the members, the settings and the visibility, in this order."""
        repository = self.lease.repository
        existing = await repository.refs.all()
        for name, ref in existing.items():
            if name not in self.branches or self.branches[name].head != ref.head:
                raise Unprocessable(
                    f"branch {names.shown(name)} was pushed during the import: delete the branch,"
                    " and import again"
                )
        async for _ in self.lease.for_each(list(self.branches.values()), self._write_branch):
            pass
        owner = repository.repo.owner
        for member in self.members:
            if member.handle.casefold() != owner.casefold():
                await members.set_role(repository, member.handle, member.role)
        changes = {
            "domain": settings.domain,
            "default_branch": settings.default_branch,
            "description": settings.description,
            "portable_names": settings.portable_names.value,
            "visibility": settings.visibility.value,
        }
        try:
            repo = await repository.stores.repos.change(repository.repo, changes)
        except ConditionFailed:
            raise RepoNotFound() from None
        await self.lease.release(Step.IMPORTED, self.now())
        return repo

    async def _write_branch(self, ref: Ref) -> None:
        repository = self.lease.repository
        now = int(self.now())
        nodes = await repository.commits.get([ref.head])
        located = replace(ref, snapshot_at=nodes[ref.head.commit_id].snapshot_at)
        await repository.refs.mark_folders(ref.branch, now)
        try:
            await repository.refs.swap(located, None, by=repository.repo.owner, now=now)
        except RefChanged:
            raise Unavailable(
                f"{names.shown(ref.branch)} was pushed during the import: import again"
            ) from None

    def _check_time(self, at: int) -> None:
        """Raise Unprocessable for a move of the future: later moves would get the same time."""
        if at > (self.now() + AHEAD_SECONDS) * 1000:
            raise Unprocessable("its time is in the future: set the clock of this machine")

    def _ref(self, entry: BranchEntry) -> Ref:
        self._check_time(entry.moved_at)
        return Ref(
            entry.name, self._stored(entry.head), step=entry.step or None, moved_at=entry.moved_at
        )

    def _move(self, entry: MoveEntry) -> Move:
        self._check_time(entry.at)
        expunged = frozenset(entry.expunged)
        return Move(
            branch=names.check_branch(entry.branch),
            at=entry.at,
            by=entry.by,
            before=self._end(entry.before, expunged),
            after=self._end(entry.after, expunged),
            forced=entry.forced,
            step=entry.step,
            previous=entry.previous or None,
            expunged=expunged,
        )

    def _end(self, address: str, expunged: Set[str]) -> CommitAddress | None:
        """One end of a move. An expunged commit is not in the file."""
        if not address:
            return None
        found = untrusted_address(address)
        return found if found.commit_id in expunged else self._stored(address)

    def _stored(self, address: str) -> CommitAddress:
        """The address of a commit row. Raises MissingReference if the file does not have it."""
        self.batch.seen.check_address(address)
        return untrusted_address(address)
