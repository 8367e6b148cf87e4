"""A repository read through, row by row: what fsck, rebuild, gc and purge need, and no request does.

Nothing here is fast: a partition is read to its end, and every write is one row on its own condition.
"""

from collections.abc import AsyncIterator, Iterable, Set
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import Damaged
from shared.metadata import keys
from shared.metadata.commits import node_of
from shared.metadata.index import CONDEMNED
from shared.metadata.keys import Key
from shared.metadata.table import TRANSACTION, Lost, Row, Table, Update
from shared.model import Kind, Location, Move, Node, Place, Ref

_THERE = "attribute_exists(pk)"
_STILL = f"#{CONDEMNED} = :stamp"
_SAME_MARK = "attribute_not_exists(#head) AND #marked_at < :long_ago"
_SAME_REF = "#head = :head AND #lane = :lane AND #generation = :generation"
_GONE = "#repo_id = :same AND #deleted_at > :never"
_OLD = "#opened_at < :before"
_AS_FAR = "#stamp = :stamp AND #step = :step"

_NOTE = "EXPUNGE#"

TOGETHER = TRANSACTION - 1
"""Rows that are written in one transaction, beside the one that says whose turn it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an index says of an id: `place` of a commit, `at` of anything else. `stamp` is empty if it may be
    built on, else it says which gc has condemned it."""

    kind: Kind
    item_id: str
    place: Place | None
    at: Location | None
    stamp: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """An attribute of a row that says where bytes lie: those of which id, and where. `item_id` is empty in a ref."""

    key: Key
    attribute: str
    kind: Kind
    item_id: str
    at: Location


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the gc of a repository is: whose turn (`stamp`), what was done last (`step`) and when it ended."""

    stamp: str
    step: str
    at: int


@dataclass(frozen=True, slots=True)
class Census:
    """Every row of a repository."""

    table: Table

    async def index(self, repo_id: str, kind: Kind) -> AsyncIterator[Entry]:
        """Every row of one index, partition after partition."""
        for shard in keys.SHARDS:
            async for row in self.table.each(keys.index(repo_id, kind, shard)):
                item_id, stamp = str(row["sk"]), str(row.get(CONDEMNED, ""))
                if kind is Kind.COMMIT:
                    place = Place(item_id, int(str(row["generation"])), str(row["lane"]))
                    yield Entry(kind, item_id, place, None, stamp)
                else:
                    yield Entry(kind, item_id, None, Location.parse(str(row["at"])), stamp)

    async def lanes(self, repo_id: str) -> list[str]:
        """Every lane that may hold rows, also such as only a push knew that never came to its end."""
        return [str(row["sk"]) async for row in self.table.each(keys.lanes(repo_id))]

    async def lane(self, repo_id: str, lane: str) -> AsyncIterator[tuple[Node, str, int]]:
        """Every commit row of a lane, oldest first, with its stamp and when it was written. Raises Damaged."""
        async for row in self.table.each(keys.lane(repo_id, lane)):
            yield node_of(lane, row), str(row.get(CONDEMNED, "")), int(str(row.get("written_at", 0)))

    async def salvage(self, repo_id: str, lane: str) -> AsyncIterator[Node]:
        """Every commit row of a lane that can be read. A damaged one is deleted, so that rebuild writes it again."""
        async for row in self.table.each(keys.lane(repo_id, lane)):
            try:
                node = node_of(lane, row)
            except Damaged:
                await self.table.remove((str(row["pk"]), str(row["sk"])))
            else:
                yield node

    async def pointers(self, repo_id: str, kind: Kind) -> AsyncIterator[Pointer]:
        """Where each row of the index of objects, or of snapshots, says that it lies."""
        async for entry in self.index(repo_id, kind):
            if entry.at:
                yield Pointer(keys.by_id(repo_id, kind, entry.item_id), "at", kind, entry.item_id, entry.at)

    async def pointers_of_lane(self, repo_id: str, lane: str) -> AsyncIterator[tuple[Place, list[Pointer]]]:
        """Every commit of a lane, and where its snapshot and its record lie, as far as they lie in packs."""
        async for node, _, _ in self.lane(repo_id, lane):
            key, found = keys.commit(repo_id, node.place), list[Pointer]()
            if node.snapshot_id and node.snapshot_at:
                found.append(Pointer(key, "snapshot_at", Kind.SNAPSHOT, node.snapshot_id, node.snapshot_at))
            if node.record_at:
                found.append(Pointer(key, "record_at", Kind.COMMIT, node.commit_id, node.record_at))
            yield node.place, found

    async def pointers_of_refs(self, repo_id: str) -> AsyncIterator[Pointer]:
        """Where the branches say that their snapshots lie."""
        async for row in self.table.each(keys.refs(repo_id), keys.REF):
            if at := row.get("snapshot_at"):
                yield Pointer(
                    (str(row["pk"]), str(row["sk"])), "snapshot_at", Kind.SNAPSHOT, "", Location.parse(str(at))
                )

    async def repoint(self, repo_id: str, turn: Progress, moved: Iterable[tuple[Pointer, Location]]) -> int | None:
        """Say where bytes lie by now, in up to `TOGETHER` rows that still say where they lay; the turn is prolonged.

        None, and nothing is written, if the turn is over, however late this arrives: it is one transaction. Else
        how many rows were written; one that has changed is left alone.
        """
        by_row: dict[Key, list[tuple[Pointer, Location]]] = {}
        for pointer, at in moved:
            by_row.setdefault(pointer.key, []).append((pointer, at))
        ours = replace(as_far_as(repo_id, turn), row={"at": turn.at})
        rows = [_repointed(key, there) for key, there in by_row.items()]
        while True:
            try:
                await self.table.update_together([ours, *rows])
            except Lost as lost:
                if lost.place == 0:
                    return None
                del rows[lost.place - 1]
            else:
                return len(rows)

    async def repoint_ref(self, pointer: Pointer, at: Location) -> bool:
        """The same of one branch, by itself: a push that moves it in this moment must not be refused for it."""
        update = _repointed(pointer.key, [(pointer, at)])
        try:
            await self.table.update(update.key, update.row, update.condition, update.values)
        except Lost:
            return False
        return True

    async def close_lane(self, repo_id: str, lane: str, before: int) -> None:
        """Forget a lane that is empty and was opened before this. None of that time is still about to write to it."""
        if (await self.table.query(keys.lane(repo_id, lane), limit=1)).rows:
            return
        with suppress(Lost):
            await self.table.remove((keys.lanes(repo_id), lane), _OLD, {"before": before})

    async def named_commits(self, repo_id: str) -> list[str]:
        """The commits that tags and releases name."""
        partitions = (keys.releases(repo_id), keys.tags(repo_id))
        return [str(row["commit_id"]) for pk in partitions async for row in self.table.each(pk) if "commit_id" in row]

    async def put_new(self, repo_id: str, kind: Kind, item_id: str, at: Location) -> None:
        """Say where bytes lie, unless a row says it already, condemned or not."""
        await self.table.put_new(keys.by_id(repo_id, kind, item_id), {"at": str(at)})

    async def condemn(self, key: Key, stamp: str) -> None:
        """Make a row unknown to pushes. One that is gone stays gone."""
        with suppress(Lost):
            await self.table.update(key, {CONDEMNED: stamp}, _THERE)

    async def reprieve(self, key: Key, stamp: str) -> bool:
        """Undo `condemn`, if it is still the same. False if the row is gone."""
        try:
            await self.table.drop(key, CONDEMNED, _STILL, {"stamp": stamp})
        except Lost as lost:
            return lost.row is not None
        return True

    async def remove(self, key: Key, stamp: str) -> bool:
        """Remove a row that is still condemned with this stamp. False if it has been written again, or is gone."""
        try:
            await self.table.remove(key, _STILL, {"stamp": stamp})
        except Lost:
            return False
        return True

    async def refresh(self, repo_id: str, ref: Ref, new: Ref) -> bool:
        """Say anew where the head of a branch lies, if it is where it was. The head itself does not move."""
        row: Row = {
            "generation": new.head.generation,
            "lane": new.head.lane,
            "snapshot_at": str(new.snapshot_at or ""),
        }
        head = ref.head
        values: Row = {"head": head.commit_id, "lane": head.lane, "generation": head.generation}
        try:
            await self.table.update(keys.ref(repo_id, ref.branch), row, _SAME_REF, values)
        except Lost:
            return False
        return True

    async def remove_moves(self, repo_id: str, before_ms: int) -> int:
        """Forget moves older than this. Returns how many they were."""
        old = [
            str(row["sk"])
            async for row in self.table.each(keys.moves(repo_id))
            if int(str(row.get("at", 0))) < before_ms
        ]
        for sort_key in old:
            await self.table.remove((keys.moves(repo_id), sort_key))
        return len(old)

    async def expunge_move(self, repo_id: str, move: Move, commits: Set[str]) -> None:
        """Note in a move which of its commits are not stored any more."""
        gone = sorted({place.commit_id for place in move.kept if place.commit_id in commits} | move.expunged)
        with suppress(Lost):
            await self.table.update(keys.move(repo_id, move.branch, move.step), {"expunged": gone}, _THERE)

    async def remove_marks(self, repo_id: str, before: int) -> int:
        """Forget marks of folders that have not counted for long. Returns how many they were."""
        marks = [
            str(row["sk"])
            async for row in self.table.each(keys.refs(repo_id), keys.REF)
            if "head" not in row and int(str(row.get("marked_at", 0))) < before
        ]
        removed = 0
        for sort_key in marks:
            try:
                await self.table.remove((keys.refs(repo_id), sort_key), _SAME_MARK, {"long_ago": before})
                removed += 1
            except Lost:
                continue
        return removed

    async def note(self, repo_id: str, note: str) -> None:
        """Write down something that an expunge has to remove, for the run that removes it."""
        await self.table.put([((keys.upkeep(repo_id), f"{_NOTE}{note}"), {})])

    async def notes(self, repo_id: str) -> list[str]:
        """What was written down."""
        rows = self.table.each(keys.upkeep(repo_id), _NOTE)
        return [str(row["sk"]).removeprefix(_NOTE) async for row in rows]

    async def drop_note(self, repo_id: str, note: str) -> None:
        """It is removed."""
        await self.table.remove((keys.upkeep(repo_id), f"{_NOTE}{note}"))

    async def progress(self, repo_id: str) -> Progress | None:
        """What gc did last here; None if never."""
        row = await self.table.get((keys.upkeep(repo_id), "STATE"))
        return Progress(str(row["stamp"]), str(row["step"]), int(str(row["at"]))) if row else None

    async def is_at(self, repo_id: str, stamp: str, step: str) -> bool:
        """Whether nobody has started over, or come further, since this was written down."""
        progress = await self.progress(repo_id)
        return progress is not None and (progress.stamp, progress.step) == (stamp, step)

    async def begin(self, repo_id: str, progress: Progress) -> None:
        """Start over, whatever was done before."""
        row: Row = {"stamp": progress.stamp, "step": progress.step, "at": progress.at}
        await self.table.put([((keys.upkeep(repo_id), "STATE"), row)])

    async def advance(self, repo_id: str, progress: Progress, since: str) -> bool:
        """From one step to the next. False if somebody has started over, or come further: none is taken twice."""
        row: Row = {"step": progress.step, "at": progress.at}
        was: Row = {"stamp": progress.stamp, "step": since}
        try:
            await self.table.update((keys.upkeep(repo_id), "STATE"), row, _AS_FAR, was)
        except Lost as lost:
            # The call is sent again by itself when its answer was lost.
            return lost.row is not None and {**lost.row, **row, "stamp": progress.stamp} == lost.row
        return True

    async def deleted(self) -> AsyncIterator[tuple[str, str, int]]:
        """The repositories that wait for their purge: whose each was, and when it was deleted."""
        async for row in self.table.each(keys.DELETED):
            yield str(row["sk"]), str(row["owner"]), int(str(row["deleted_at"]))

    async def purge_names(self, owner: str, repo_id: str) -> int:
        """Remove the members of a deleted repository, under each name that it had. Returns how many they were.

        Of a name that nobody has taken since, nothing stays but that it was deleted: no push makes it again by itself.
        """
        members = [row async for row in self.table.each(keys.members(owner, "")[0])]
        removed = 0
        for row in members:
            if keys.of_roster(str(row["roster"])) == repo_id:
                with suppress(Lost):
                    key = str(row["pk"]), str(row["sk"])
                    await self.table.remove(key, "#roster = :same", {"same": row["roster"]})
                    removed += 1
        names = [row async for row in self.table.each(keys.owner(owner), keys.REPO) if row["repo_id"] == repo_id]
        for row in names:
            with suppress(Lost):
                key = str(row["pk"]), str(row["sk"])
                await self.table.update(key, {"description": "", "domain": ""}, _GONE, {"same": repo_id, "never": 0})
        return removed

    async def forget(self, repo_id: str) -> None:
        """The last row of a purged repository."""
        await self.table.remove(keys.deleted(repo_id))

    async def purge(self, key: Key) -> None:
        """Remove a row of a deleted repository."""
        await self.table.remove(key)

    async def rows_of(self, pk: str) -> AsyncIterator[Key]:
        """The keys of all rows of a partition."""
        async for row in self.table.each(pk):
            yield str(row["pk"]), str(row["sk"])


def as_far_as(repo_id: str, progress: Progress | None) -> Update:
    """Changes nothing; holds as long as nobody has taken a step of gc, rebuild or repack since this was read."""
    key = keys.upkeep(repo_id), "STATE"
    if progress is None:
        return Update(key, {}, "attribute_not_exists(pk)")
    return Update(key, {}, _AS_FAR, {"stamp": progress.stamp, "step": progress.step})


def _repointed(key: Key, moved: Iterable[tuple[Pointer, Location]]) -> Update:
    """What makes a row say where its bytes lie by now, if all of them are where they were."""
    there = {pointer.attribute: (str(pointer.at), str(at)) for pointer, at in moved}
    return Update(
        key,
        {attribute: new for attribute, (_, new) in there.items()},
        " AND ".join(f"#{attribute} = :old_{attribute}" for attribute in there),
        {f"old_{attribute}": old for attribute, (old, _) in there.items()},
    )
