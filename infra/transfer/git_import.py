"""`pieria import-git`: a Git repository becomes a repository of a hub.

    1  the ids of all commits in Muse; those of an earlier run are known (`ids`)
    2  the branches of the hub show which commits it has
    3  each branch in steps: the objects that are missing, then commits and snapshots

A step ends at a commit of the first parents, to which the branch moves. So an interrupted import
leaves branches that are whole, and the next run sends the rest.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.relay.address import Unable
from infra.transfer import names
from infra.transfer.conversion import Converted, Converter, person, split, text
from infra.transfer.git import Git, Ref
from infra.transfer.ids import Ids
from infra.transfer.target import Target
from shared import codec

STEP_BYTES = 12 * 1024 * 1024
"""Records of one push."""
STEP_COMMITS = 1000
MESSAGE_CHARACTERS = 1000
LABEL_CHARACTERS = 500
_TAGS = uuid.UUID("5a0fa1a1-2f0b-4c5e-9a5c-7d3c0d9b6f10")
"""The namespace of the ids of tags: a tag that is imported again has the same id."""


@dataclass(slots=True)
class Imported:
    """The result. `left_out`: branches that were not moved, with the reason."""

    commits: int = 0
    objects: int = 0
    tags: int = 0
    branches: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Step:
    """Commits that are converted and not pushed yet."""

    commits: list[bytes] = field(default_factory=list)
    snapshots: list[bytes] = field(default_factory=list)
    blobs: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to push."""
        return self.size_bytes >= STEP_BYTES or len(self.commits) >= STEP_COMMITS


class GitImport:
    """One run from a Git repository into a repository of a hub."""

    def __init__(self, git: Git, known: Ids, target: Target) -> None:
        self._git = git
        self._ids = known
        self._target = target
        self._done = Imported()
        self._graph: dict[str, tuple[str, ...]] = {}
        self._order: dict[str, int] = {}
        self._heads: dict[str, str] = {}
        self._stored: set[str] = set()
        """Commits of Git that the hub has."""
        self._sent: set[str] = set()
        """Commits and snapshots of Muse that this run has sent."""

    async def run(self, *, force: bool) -> Imported:
        """Import all branches and tags. `force`: move branches that were rewritten in Git, too.

        Raises Unable if Git or the hub fails. What was pushed stays, and the next run continues.
        """
        branches = self._git.branches()
        tags = self._git.tags()
        if not branches:
            raise Unable("the Git repository has no branch: commit something first")
        self._graph = self._git.graph([ref.commit for ref in (*branches, *tags)])
        self._order = {sha: place for place, sha in enumerate(self._graph)}
        converter = Converter(self._git, self._ids, self._graph)
        converter.compute_ids([sha for sha in self._graph if not self._ids.commit(sha)])
        self._heads = await self._target.heads()
        for head in self._heads.values():
            known = self._ids.git_commit(head)
            if known in self._graph:
                self._stored |= self._ancestors(known, self._stored)
        for ref in branches:
            await self._import_branch(ref, converter, force=force)
        await self._import_tags(tags, converter)
        self._done.notes = dict(+converter.notes)
        return self._done

    async def _import_branch(self, ref: Ref, converter: Converter, *, force: bool) -> None:
        branch = names.branch(ref.name)
        shown = ref.name.decode(errors="replace")
        if branch is None:
            self._done.left_out[shown] = "Muse does not accept the name"
            return
        current = self._heads.get(branch, "")
        head = self._ids.commit(ref.commit)
        if current == head:
            return
        old = self._ids.git_commit(current) if current else ""
        is_forward = not current or old in self._ancestors(ref.commit, ())
        if not is_forward and not force:
            self._done.left_out[shown] = "it is elsewhere in the hub: use --force to move it"
            return
        ends = self._descendants(old) if is_forward and old else self._graph
        plan = list(self._planned(ref.commit, ends))
        await self._push(branch, plan, converter, force=not is_forward)
        if not plan:
            await self._target.push(branch, head, force=not is_forward)
        self._heads[branch] = head
        self._done.branches.append(branch)

    def _planned(self, tip: str, ends: Collection[str]) -> Iterator[tuple[str, bool]]:
        """The commits that the hub lacks, parents first, and whether the branch may move to each.

        The branch moves along the first parents.
        """
        line = [tip]
        while parents := self._graph[line[-1]]:
            line.append(parents[0])
        for sha in reversed(line):
            if sha not in self._stored:
                new = self._ancestors(sha, self._stored)
                self._stored |= new
                ordered = sorted(new, key=self._order.__getitem__)
                yield from ((one, False) for one in ordered[:-1])
                yield sha, sha in ends

    async def _push(
        self,
        branch: str,
        plan: Sequence[tuple[str, bool]],
        converter: Converter,
        *,
        force: bool,
        stay_at: str = "",
    ) -> None:
        """Push these commits in steps. The branch moves, unless it shall stay at a commit."""
        may_end = dict(plan)
        step = _Step()
        converted = None
        for converted in converter.converted(list(may_end), branch):
            self._add(step, converted)
            if step.is_full and may_end[converted.sha]:
                head = stay_at or converted.commit_id
                await self._push_step(branch, head, step, force=force)
                step = _Step()
        if converted and step.commits:
            await self._push_step(branch, stay_at or converted.commit_id, step, force=force)

    def _add(self, step: _Step, converted: Converted) -> None:
        """Add a commit, unless another commit of Git has become the same one."""
        for record in converted.commits:
            if record["commit_id"] not in self._sent:
                self._sent.add(record["commit_id"])
                step.commits.append(codec.pack_record(record))
        snapshot = converted.snapshot
        if snapshot["snapshot_id"] not in self._sent:
            self._sent.add(snapshot["snapshot_id"])
            packed = codec.pack_record(snapshot)
            step.snapshots.append(packed)
            step.size_bytes += len(packed)
        step.blobs |= converted.blobs

    async def _push_step(self, branch: str, head: str, step: _Step, *, force: bool) -> None:
        missing = await self._target.missing(list(step.blobs))
        objects = {step.blobs[object_id]: object_id for object_id in missing}
        contents = self._git.contents(list(objects))
        await self._target.send((objects[sha], content) for sha, content in contents)
        self._done.objects += len(missing)
        await self._target.push(branch, head, (step.commits, step.snapshots), force=force)
        self._done.commits += len(step.commits)

    async def _import_tags(self, tags: Sequence[Ref], converter: Converter) -> None:
        """Store the tags. A tagged commit that is on no branch is sent beside a branch."""
        if self._heads:
            branch, head = next(iter(self._heads.items()))
            aside = {self._ids.commit(ref.commit): ref.commit for ref in tags}
            for commit_id in await self._target.stored(list(aside), head):
                self._stored |= self._ancestors(aside[commit_id], self._stored)
            for ref in tags:
                new = self._ancestors(ref.commit, self._stored)
                plan = [(sha, True) for sha in sorted(new, key=self._order.__getitem__)]
                await self._push(branch, plan, converter, force=False, stay_at=head)
                self._stored |= new
        records = [self._tag(ref) for ref in tags if ref.commit in self._stored]
        self._done.tags = await self._target.tag(records)

    def _tag(self, ref: Ref) -> Mapping[str, Any]:
        commit_id = self._ids.commit(ref.commit)
        label = (names.branch(ref.name) or ref.name.hex())[:LABEL_CHARACTERS]
        [(_, raw)] = self._git.contents([ref.annotation or ref.commit])
        headers, message = split(raw)
        _, created_at = person(headers.get(b"tagger", headers.get(b"committer", b"")))
        note = text(message).strip()[:MESSAGE_CHARACTERS] if ref.annotation else ""
        return {
            "tag_id": str(uuid.uuid5(_TAGS, f"{label}\n{commit_id}")),
            "repo_id": "",
            "commit_id": commit_id,
            "tag": label,
            "created_at": created_at,
            "message": note,
        }

    def _ancestors(self, sha: str, without: Collection[str]) -> set[str]:
        """A commit and its ancestors, except for those of `without` and their ancestors."""
        found: set[str] = set()
        pending = [sha]
        while pending:
            one = pending.pop()
            if one not in found and one not in without:
                found.add(one)
                pending += self._graph[one]
        return found

    def _descendants(self, sha: str) -> set[str]:
        """A commit and its descendants."""
        found = {sha}
        for one, parents in self._graph.items():
            if not found.isdisjoint(parents):
                found.add(one)
        return found
