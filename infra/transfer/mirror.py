"""`pieria mirror`: pushes the commits of another hub that a hub lacks.

For each branch that differs: the missing history in parts, parents first; for each part the missing
objects, then commits and snapshots. Meanwhile the branch moves along commits that descend from its
head, so an interrupted mirror continues there. Ids are verified by the hub that receives.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from infra.transfer.source import History, Source
from infra.transfer.target import GROUP_BYTES, Packed, Refused, Target
from shared import codec

STEP_BYTES = 12 * 1024 * 1024
"""Records of one push."""
STEP_COMMITS = 1000


@dataclass(slots=True)
class Mirrored:
    """The result. `left_out`: branches that were not moved, with the reason."""

    commits: int = 0
    objects: int = 0
    tags: int = 0
    releases: int = 0
    branches: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class Mirror:
    """One run from a repository of one hub to a repository of another."""

    def __init__(self, source: Source, target: Target) -> None:
        self._source = source
        self._target = target
        self._done = Mirrored()
        self._heads: dict[str, str] = {}
        """The branches of the target."""

    async def run(self, *, force: bool) -> Mirrored:
        """Mirror all branches, tags and releases. Branches that only the target has stay.

        `force`: move branches of which the source does not have the head, too. Raises Unable if one
        of the hubs fails. What was pushed stays, and the next run continues.
        """
        self._heads = await self._target.heads()
        for branch, head in (await self._source.heads()).items():
            if self._heads.get(branch) != head:
                await self._mirror_branch(branch, head, force=force)
        if self._heads:
            await self._mirror_labels()
        return self._done

    async def _mirror_branch(self, branch: str, head: str, *, force: bool) -> None:
        current = self._heads.get(branch, "")
        have = list(dict.fromkeys(self._heads.values()))
        async for history in self._source.history(head, have):
            try:
                current = await self._send(branch, current, history)
            finally:
                history.part.close()
        if current != head:
            try:
                await self._target.push(branch, head)
            except Refused as refused:
                if refused.code != "non_fast_forward":
                    raise
                if not force:
                    self._done.left_out[branch] = "it has other commits here: use --force"
                    return
                await self._target.push(branch, head, force=True)
        self._heads[branch] = head
        self._done.branches.append(branch)

    async def _send(self, branch: str, current: str, history: History) -> str:
        """Send a part of history. Returns the head of the branch after it."""
        await self._send_objects(history)
        for records, parents in _steps(history):
            current = _next_head(current, parents)
            await self._target.push(branch, current, records)
            self._heads[branch] = current
            self._done.commits += len(records[0])
        return current

    async def _send_objects(self, history: History) -> None:
        missing = await self._target.missing(list(history.part.objects))
        sizes = {object_id: history.part.objects[object_id] for object_id in missing}
        for group in _groups(sizes):
            contents = history.contents or await self._source.contents(group)
            await self._target.send((object_id, contents[object_id]) for object_id in group)
        self._done.objects += len(missing)

    async def _mirror_labels(self) -> None:
        head = next(iter(self._heads.values()))
        tags = [tag async for tag in self._source.each("tags")]
        releases = [release async for release in self._source.each("releases")]
        named = {str(record["commit_id"]) for record in (*tags, *releases)}
        stored = await self._target.stored(sorted(named), head)
        self._done.tags = await self._target.tag([t for t in tags if t["commit_id"] in stored])
        for release in reversed(releases):
            if release["commit_id"] in stored:
                await self._target.release(release)
                self._done.releases += 1


def _steps(history: History) -> Iterator[tuple[Packed, dict[str, list[str]]]]:
    """The records of each push, and the commits in it with their parents."""
    places = history.snapshots()
    commits: list[bytes] = []
    snapshots: list[bytes] = []
    parents: dict[str, list[str]] = {}
    size_bytes = 0
    for packed in history.commits():
        record = codec.unpack_record(packed)
        commit_id = record["commit_id"]
        commits.append(packed)
        parents[commit_id] = history.part.parents[commit_id]
        place = places.pop(record.get("snapshot_id") or "", None)
        if place:
            snapshots.append(history.snapshot(place))
            size_bytes += len(snapshots[-1])
        if size_bytes >= STEP_BYTES or len(commits) >= STEP_COMMITS:
            yield (commits, snapshots), parents
            commits = []
            snapshots = []
            parents = {}
            size_bytes = 0
    if commits:
        yield (commits, snapshots), parents


def _next_head(current: str, commits: Mapping[str, list[str]]) -> str:
    """The last of these commits that descends from the head of a branch, else the head.

    A new branch begins at the last commit. `commits`: with their parents, parents first.
    """
    if not current:
        return list(commits)[-1]
    reached = {current}
    last = current
    for commit_id, parents in commits.items():
        if not reached.isdisjoint(parents):
            reached.add(commit_id)
            last = commit_id
    return last


def _groups(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Objects whose contents are in memory together."""
    group: dict[str, int] = {}
    group_bytes = 0
    for object_id, size_bytes in sizes.items():
        if group and group_bytes + size_bytes > GROUP_BYTES:
            yield group
            group = {}
            group_bytes = 0
        group[object_id] = size_bytes
        group_bytes += size_bytes
    if group:
        yield group
