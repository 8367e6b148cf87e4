"""Scans of a whole repository, and the row updates of fsck, rebuild, gc, expunge and purge.

Requests do not use this module, because it is slow: a scan reads a partition to its end, and most
writes update one row under a condition of its own.
"""

from collections.abc import AsyncIterator, Iterable, Set
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import Damaged
from shared.metadata import attributes, keys, members, ref_rows, releases, tags
from shared.metadata.commits import node_of
from shared.metadata.conditions import NO_ROW, ROW_EXISTS, Absent, Equals, Greater, Less, every
from shared.metadata.index import CONDEMNED, address_of, location_of, location_row
from shared.metadata.keys import Key
from shared.metadata.table import ConditionFailed, Query, Row, Table, Update
from shared.model import CommitAddress, CommitId, Kind, Location, Move, Node, Packed, Ref, RepoId

_NOTE = "EXPUNGE#"
_STATE = attributes.RowFormat("job")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of an index: `address` is set for a commit, `at` for a snapshot or an object.

    `run_id` is the stamp of the gc that condemned the row, or empty. A push may only build on an
    entry whose stamp is empty.
    """

    kind: Kind
    item_id: str
    address: CommitAddress | None
    at: Location | None
    run_id: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """An attribute that holds the location of the bytes of an id. `item_id` is None in a ref."""

    key: Key
    attribute: str
    kind: Kind
    item_id: str | None
    at: Packed


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of gc in a repository: the stamp of the run, its last step and when that ended."""

    run_id: str
    step: str
    at: int


@dataclass(frozen=True, slots=True)
class Scans:
    """Scans and conditional updates of all rows of a repository."""

    table: Table
    repo_id: RepoId

    async def index(self, kind: Kind) -> AsyncIterator[Entry]:
        """Yield every row of one index, partition by partition."""
        for shard in keys.SHARDS:
            async for row in self.table.each(keys.index(self.repo_id, kind, shard)):
                item_id = str(row["sk"])
                run_id = str(row.get(CONDEMNED, ""))
                if kind is Kind.COMMIT:
                    yield Entry(kind, item_id, address_of(row), None, run_id)
                else:
                    yield Entry(kind, item_id, None, location_of(row, kind), run_id)

    async def lanes(self) -> list[str]:
        """Return every lane that may hold rows, including lanes of pushes that never finished."""
        return [str(row["sk"]) async for row in self.table.each(keys.lanes(self.repo_id))]

    async def lane(self, lane: str) -> AsyncIterator[tuple[Node, str, int]]:
        """Yield (commit, stamp, time of writing) for every row of a lane, oldest first.

        Raises Damaged.
        """
        async for row in self.table.each(keys.lane(self.repo_id, lane)):
            run_id = str(row.get(CONDEMNED, ""))
            yield node_of(lane, row), run_id, int(str(row.get("written_at", 0)))

    async def readable(self, lane: str) -> AsyncIterator[Node | None]:
        """Yield every commit row of a lane, and None for each row that is damaged."""
        async for row in self.table.each(keys.lane(self.repo_id, lane)):
            try:
                yield node_of(lane, row)
            except Damaged:
                yield None

    async def delete_damaged(self, lane: str) -> None:
        """Delete the damaged commit rows of a lane. A rebuild then writes them again."""
        async for row in self.table.each(keys.lane(self.repo_id, lane)):
            try:
                node_of(lane, row)
            except Damaged:
                await self.table.delete((str(row["pk"]), str(row["sk"])))

    async def pointers(self, kind: Kind) -> AsyncIterator[Pointer]:
        """Yield each location in a pack from the index of objects or of snapshots."""
        async for entry in self.index(kind):
            if isinstance(entry.at, Packed):
                key = keys.by_id(self.repo_id, kind, entry.item_id)
                yield Pointer(key, "at", kind, entry.item_id, entry.at)

    async def pointers_of_lane(
        self, lane: str
    ) -> AsyncIterator[tuple[CommitAddress, list[Pointer]]]:
        """Yield every commit of a lane with the locations of its snapshot and its record.

        A snapshot or record that is not stored in a pack has no location.
        """
        async for node, _, _ in self.lane(lane):
            key = keys.commit(self.repo_id, node.address)
            found: list[Pointer] = []
            if node.snapshot_id and node.snapshot_at:
                snapshot = Pointer(
                    key, "snapshot_at", Kind.SNAPSHOT, node.snapshot_id, node.snapshot_at
                )
                found.append(snapshot)
            if node.record_at:
                found.append(Pointer(key, "record_at", Kind.COMMIT, node.commit_id, node.record_at))
            yield node.address, found

    async def pointers_of_refs(self) -> AsyncIterator[Pointer]:
        """Yield the snapshot location in each branch."""
        async for row in self.table.each(keys.refs(self.repo_id), keys.REF):
            at = ref_rows.snapshot_at(row) if "snapshot_at" in row else None
            if at:
                key = str(row["pk"]), str(row["sk"])
                yield Pointer(key, "snapshot_at", Kind.SNAPSHOT, None, at)

    async def repoint(self, turn: JobState, moved: Iterable[tuple[Pointer, Packed]]) -> int:
        """Replace locations in up to `Limits.repointed_rows` rows, and extend the turn.

        One transaction does both. Returns the number of rows written. A row that no longer holds
        its old location is left unchanged. Raises ConditionFailed and writes nothing if the turn is
        over, even if the call arrives late.
        """
        by_row: dict[Key, list[tuple[Pointer, Packed]]] = {}
        for pointer, at in moved:
            by_row.setdefault(pointer.key, []).append((pointer, at))
        ours = replace(as_far_as(self.repo_id, turn), row={"at": turn.at})
        rows = [_repointed(key, changes) for key, changes in by_row.items()]
        while True:
            try:
                await self.table.update_together([ours, *rows])
            except ConditionFailed as lost:
                if lost.index == 0:
                    raise
                del rows[lost.index - 1]
            else:
                return len(rows)

    async def repoint_ref(self, pointer: Pointer, at: Packed) -> bool:
        """Replace the location in one branch, if it is unchanged. Returns whether it was replaced.

        A push that moved the branch is no failure of the job, which only counts the branches.
        This is not a transaction, because a transaction would make a concurrent push of the branch
        fail.
        """
        update = _repointed(pointer.key, [(pointer, at)])
        try:
            await self.table.update(update.key, update.row, update.condition)
        except ConditionFailed:
            return False
        return True

    async def close_lane(self, lane: str, before: int) -> None:
        """Remove a lane from the list if it is empty and was opened before the time `before`.

        A push that opened the lane before that time no longer runs, so it cannot write a row to it.
        """
        if (await self.table.query(Query(keys.lane(self.repo_id, lane), limit=1))).rows:
            return
        with suppress(ConditionFailed):
            key = keys.lanes(self.repo_id), lane
            await self.table.delete(key, Less("opened_at", before))

    async def named_commits(self) -> list[CommitId]:
        """Return the commits of all tags and releases."""
        found: list[CommitId] = []
        labels = {
            keys.releases(self.repo_id): releases.KIND,
            keys.tags(self.repo_id): tags.KIND,
        }
        for pk, kind in labels.items():
            async for row in self.table.each(pk):
                if "commit_id" in row:
                    found.append(CommitId(attributes.text(row, "commit_id", kind)))
        return found

    async def put_new(self, kind: Kind, item_id: str, at: Location) -> None:
        """Write the row of an id in its index, unless it has a row, condemned or not."""
        with suppress(ConditionFailed):
            await self.table.put_new(
                keys.by_id(self.repo_id, kind, item_id), location_row(kind, at)
            )

    async def condemn(self, key: Key, run_id: str) -> None:
        """Hide a row from pushes. A row that does not exist is not created."""
        with suppress(ConditionFailed):
            await self.table.update(key, {CONDEMNED: run_id}, ROW_EXISTS)

    async def reprieve(self, key: Key, run_id: str) -> bool:
        """Undo `condemn` if the row still has this stamp.

        Returns False if the row does not exist. A row that was written again needs no reprieve, so
        only an absent row is of interest to the caller.
        """
        try:
            await self.table.remove_attribute(key, CONDEMNED, Equals(CONDEMNED, run_id))
        except ConditionFailed as lost:
            return lost.row is not None
        return True

    async def remove(self, key: Key, run_id: str) -> bool:
        """Delete a row if it is still condemned with this stamp.

        Returns False if it does not exist or has been written again: such a row stays, and the
        caller only counts the deleted ones.
        """
        try:
            await self.table.delete(key, Equals(CONDEMNED, run_id))
        except ConditionFailed:
            return False
        return True

    async def refresh(self, ref: Ref, new: Ref) -> bool:
        """Correct the place and the snapshot location in a branch without moving its head.

        Returns False and changes nothing if the branch is not at `ref` any more: the push that
        moved it wrote correct values, and the caller only counts the corrected branches.
        """
        row: Row = {
            "generation": new.head.generation,
            "lane": new.head.lane,
            "snapshot_at": str(new.snapshot_at or ""),
        }
        head = ref.head
        is_same = every(
            Equals("head", head.commit_id),
            Equals("lane", head.lane),
            Equals("generation", head.generation),
        )
        try:
            await self.table.update(keys.ref(self.repo_id, ref.branch), row, is_same)
        except ConditionFailed:
            return False
        return True

    async def remove_moves(self, before_ms: int) -> int:
        """Delete the moves older than this time. Returns their number."""
        old = [
            str(row["sk"])
            async for row in self.table.each(keys.moves(self.repo_id))
            if int(str(row.get("at", 0))) < before_ms
        ]
        for sort_key in old:
            await self.table.delete((keys.moves(self.repo_id), sort_key))
        return len(old)

    async def expunge_move(self, move: Move, commits: Set[CommitId]) -> None:
        """Record in a move which of its commits are not stored any more."""
        expunged_now = {address.commit_id for address in move.kept if address.commit_id in commits}
        row: Row = {"expunged": sorted(expunged_now | move.expunged)}
        with suppress(ConditionFailed):
            await self.table.update(
                keys.move(self.repo_id, move.branch, move.step), row, ROW_EXISTS
            )

    async def remove_marks(self, before: int) -> int:
        """Delete the marks of branch names made before `before` (see `refs`). Returns how many."""
        marks = [
            str(row["sk"])
            async for row in self.table.each(keys.refs(self.repo_id), keys.REF)
            if "head" not in row and int(str(row.get("marked_at", 0))) < before
        ]
        removed = 0
        for sort_key in marks:
            try:
                is_old = every(Absent("head"), Less("marked_at", before))
                await self.table.delete((keys.refs(self.repo_id), sort_key), is_old)
                removed += 1
            except ConditionFailed:
                continue
        return removed

    async def note(self, note: str) -> None:
        """Store a note about something that a later run of expunge has to remove."""
        await self.table.put([((keys.upkeep(self.repo_id), f"{_NOTE}{note}"), {})])

    async def notes(self) -> list[str]:
        """Return the notes."""
        rows = self.table.each(keys.upkeep(self.repo_id), _NOTE)
        return [str(row["sk"]).removeprefix(_NOTE) async for row in rows]

    async def drop_note(self, note: str) -> None:
        """Delete a note."""
        await self.table.delete((keys.upkeep(self.repo_id), f"{_NOTE}{note}"))

    async def progress(self) -> JobState | None:
        """Return the state of gc, or None if gc never ran here."""
        row = await self.table.get((keys.upkeep(self.repo_id), "STATE"))
        if row is None:
            return None
        return JobState(
            attributes.text(row, "stamp", _STATE),
            attributes.text(row, "step", _STATE),
            attributes.number(row, "at", _STATE),
        )

    async def is_at(self, run_id: str, step: str) -> bool:
        """Return whether the state is still this run at this step."""
        progress = await self.progress()
        return progress is not None and (progress.run_id, progress.step) == (run_id, step)

    async def begin(self, progress: JobState) -> None:
        """Start a new run, whatever the state is."""
        row = _STATE.stamp({"stamp": progress.run_id, "step": progress.step, "at": progress.at})
        await self.table.put([((keys.upkeep(self.repo_id), "STATE"), row)])

    async def advance(self, progress: JobState, since: str) -> None:
        """Move the state of a run from the step `since` to the next one.

        Raises ConditionFailed if another run has begun or this run is at another step, so that no
        step is done twice.
        """
        row: Row = {"step": progress.step, "at": progress.at}
        was = every(Equals("stamp", progress.run_id), Equals("step", since))
        try:
            await self.table.update((keys.upkeep(self.repo_id), "STATE"), row, was)
        except ConditionFailed as lost:
            # botocore retries a call whose response was lost: the row may already hold our values.
            current = lost.row or {}
            if {**current, **row, "stamp": progress.run_id} != current:
                raise

    async def purge_names(self, owner: str) -> int:
        """Delete the members of a deleted repository under each of its names. Returns their number.

        The rows of its names are emptied but stay, if no other repository has taken the name. They
        keep a push to that name from creating a new repository.
        """
        rows = [row async for row in self.table.each(keys.members(owner, "")[0])]
        removed = 0
        for row in rows:
            generation = members.generation_of(row)
            if keys.repo_of_members_generation(generation) == self.repo_id:
                with suppress(ConditionFailed):
                    key = str(row["pk"]), str(row["sk"])
                    await self.table.delete(key, Equals("roster", generation))
                    removed += 1
        repos = self.table.each(keys.owner(owner), keys.REPO)
        names = [row async for row in repos if row["repo_id"] == self.repo_id]
        emptied: Row = {"description": "", "domain": ""}
        is_deleted = every(Equals("repo_id", self.repo_id), Greater("deleted_at", 0))
        for row in names:
            with suppress(ConditionFailed):
                key = str(row["pk"]), str(row["sk"])
                await self.table.update(key, emptied, is_deleted)
        return removed

    async def forget(self, owner: str) -> None:
        """Delete the last row of a purged repository: its entry in the list of deleted ones.

        An older hub wrote the entry without the owner in its key.
        """
        await self.table.delete((keys.DELETED, self.repo_id))
        await self.table.delete(keys.deleted(owner, self.repo_id))

    async def purge(self, key: Key) -> None:
        """Delete a row of a deleted repository."""
        await self.table.delete(key)

    async def rows_of(self, pk: str) -> AsyncIterator[Key]:
        """Yield the keys of all rows of a partition."""
        async for row in self.table.each(pk):
            yield str(row["pk"]), str(row["sk"])


def as_far_as(repo_id: RepoId, progress: JobState | None) -> Update:
    """Return a condition that holds while the state of gc, rebuild or repack is still this one.

    It changes nothing. None stands for a repository in which gc never ran.
    """
    key = keys.upkeep(repo_id), "STATE"
    if progress is None:
        return Update(key, {}, NO_ROW)
    is_same = every(Equals("stamp", progress.run_id), Equals("step", progress.step))
    return Update(key, {}, is_same)


def _repointed(key: Key, moved: Iterable[tuple[Pointer, Packed]]) -> Update:
    """Return an update that sets new locations in a row if it holds all of the old ones."""
    changes = {pointer.attribute: (str(pointer.at), str(at)) for pointer, at in moved}
    return Update(
        key,
        {attribute: new for attribute, (_, new) in changes.items()},
        every(*(Equals(attribute, old) for attribute, (old, _) in changes.items())),
    )
