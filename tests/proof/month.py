"""A month of twenty users in compressed time, without an operator: only upkeep runs, once an hour.

    python -m tests.proof.month 30 --seed 1        the figures of a month, day by day

Users push, force, delete branches and repositories, and clone. Every clone must have exactly what its
branches reach, to the last byte.
"""

import argparse
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shared import ids
from tests import builders, client
from tests.builders import Record, blob
from tests.proof.hostile import alone
from tests.proof.stories import WIRE
from tests.shared.maintenance.kept_hub import HOUR, KeptHub, kept_hub, where

OWNERS = ["ada", "bob", "carol", "dan"]
USERS_OF_A_REPOSITORY = 5
CLONES_A_DAY = 1
QUIET_DAYS = 36
"""After the month: longer than a move is kept."""


@dataclass
class Repository:
    """What its users believe to be stored."""

    owner: str
    heads: dict[str, str] = field(default_factory=dict)
    replaced: int = 0
    """Commits that no branch reaches any more."""


@dataclass
class Figures:
    """Measured at the end of a day, in all repositories together."""

    day: int
    clone_calls: int
    rows: int
    """Rows of commits."""
    reachable: int
    """Commits that a branch reaches."""
    packs: int


class Month:
    """The users, and all that they made."""

    def __init__(self, hub: KeptHub, seed: int) -> None:
        self.hub, self.random = hub, random.Random(seed)
        self.repositories = [Repository(owner) for owner in OWNERS]
        self.commits: dict[str, Record] = {}
        self.manifests: dict[str, dict[str, str]] = {}
        self.contents: dict[str, bytes] = {}
        self.figures: list[Figures] = []
        self.done: dict[str, int] = {}

    # ── What users do ─────────────────────────────────────────────────────────────────────────────

    def push(self, repository: Repository, branch: str, parent: str, *, force: bool) -> None:
        """Push one commit that changes one file."""
        content = self.random.randbytes(200)
        self.contents[ids.object_id(content)] = content
        files = {**self.manifests.get(parent, {}), f"{self.random.randrange(8)}.mid": ""}
        changed = self.random.choice(sorted(files))
        files = {name: held or ids.object_id(content) for name, held in files.items()}
        files[changed] = ids.object_id(content)
        snapshot = builders.snapshot(files)
        number = len(self.commits)
        commit = builders.commit(
            f"take {number}", [parent] if parent else [], snapshot["snapshot_id"]
        )
        self.commits[commit["commit_id"]] = commit
        self.manifests[commit["commit_id"]] = files
        bundle = {"commits": [commit], "snapshots": [snapshot], "objects": [blob(content)]}
        answer = self.hub.push(repository.owner, bundle, branch=branch, force=force)
        assert answer.status == 200, answer
        repository.heads[branch] = commit["commit_id"]

    def act(self, repository: Repository) -> None:
        """One user does one thing."""
        head = repository.heads.get("main", "")
        chance = self.random.random()
        others = sorted(repository.heads.keys() - {"main"})
        if chance < 0.70 or not head:
            self.push(repository, "main", head, force=False)
        elif chance < 0.80 and self.commits[head]["parent_commit_id"]:
            # The last commit is replaced.
            self.push(repository, "main", self.commits[head]["parent_commit_id"], force=True)
            repository.replaced += 1
        elif chance < 0.93 or not others:
            branch = f"idea-{len(self.commits)}"
            self.push(repository, branch, head, force=False)
        else:
            branch = self.random.choice(others)
            self.hub.delete_branch(repository.owner, branch)
            del repository.heads[branch]
            repository.replaced += 1

    def clone(self, repository: Repository) -> None:
        """A clone has exactly what the branches reach."""
        want = {"want": [*self.hub.heads(repository.owner).values()]}
        song = where(repository.owner, "song")
        answer = self.hub.call(f"POST {WIRE}/fetch", song, want, by=repository.owner)
        self.compare(repository, answer)

    def compare(self, repository: Repository, answer: Any) -> None:
        """Compare a clone with what the users have pushed."""
        assert self.hub.heads(repository.owner) == repository.heads
        commits, _, objects = client.fetched_ids(answer)
        assert commits == self.reach(repository)
        assert objects == {i for c in commits for i in self.manifests[c].values()}
        for item in answer.value["objects"]:
            assert item["content"] == self.contents[item["object_id"]]

    def reach(self, repository: Repository) -> set[str]:
        """The commits of all branches."""
        found = set[str]()
        for commit_id in repository.heads.values():
            while commit_id and commit_id not in found:
                found.add(commit_id)
                commit_id = self.commits[commit_id]["parent_commit_id"]
        return found

    def scratch(self, day: int) -> None:
        """A repository is made and deleted on the same day."""
        bundle = {"commits": [builders.commit(f"scratch {day}")], "snapshots": [], "objects": []}
        assert self.hub.push("eve", bundle, slug=f"scratch-{day}").status == 200
        self.hub.delete_repo("eve", f"scratch-{day}")

    # ── The days ──────────────────────────────────────────────────────────────────────────────────

    def play(self, days: int) -> None:
        """A month, and then silence until all moves are forgotten."""
        for day in range(days):
            self.day(day)
        for _ in range(QUIET_DAYS * 4):
            self.hub.wait(6 * HOUR)
            self.keep()
        self.measure(days + QUIET_DAYS)

    def day(self, day: int) -> None:
        """Each user does one thing, some clone, and upkeep comes by once an hour."""
        acts = [r for r in self.repositories for _ in range(USERS_OF_A_REPOSITORY)]
        clones = [r for r in self.repositories for _ in range(CLONES_A_DAY)]
        self.random.shuffle(acts)
        for hour in range(24):
            for repository in acts[hour::24]:
                self.act(repository)
            for repository in clones[hour::24]:
                if repository.heads:
                    self.clone(repository)
            self.hub.wait(HOUR)
            self.keep()
        self.scratch(day)
        self.measure(day)

    def keep(self) -> None:
        """One run of upkeep."""
        ran = self.hub.upkeep()
        assert ran.failed == ran.left == 0, ran
        for kind, count in ran.done.items():
            self.done[kind] = self.done.get(kind, 0) + count

    def measure(self, day: int) -> None:
        """Some clone, and upkeep comes by. Then a clone in a new container is measured."""
        for repository in self.repositories:
            self.clone(repository)
            self.clone(repository)
        self.keep()
        figures = Figures(day, 0, 0, 0, 0)
        for repository in self.repositories:
            answer, calls = self.hub.clone(repository.owner)
            self.compare(repository, answer)
            figures.clone_calls = max(figures.clone_calls, calls)
            repo_id = self.hub.repo_id(repository.owner)
            figures.packs += sum("/packs/" in key for key in self.hub.stored_keys(repo_id))
            figures.rows += sum("#C" in key.split()[0] for key in self.hub.rows(repo_id))
            figures.reachable += len(self.reach(repository))
        self.figures.append(figures)


def findings(month: Month) -> list[str]:
    """What fsck finds anywhere."""
    return [text for one in month.repositories for text in month.hub.findings(one.owner)]


def lines(month: Month) -> Iterator[str]:
    """The figures, for people."""
    for one in month.figures:
        yield (
            f"day {one.day:3}: a clone needs {one.clone_calls:2} calls; {one.packs:3} packs,"
            f" {one.rows:4} commits, {one.rows - one.reachable:3} unreachable"
        )
    yield f"work: {dict(sorted(month.done.items()))}"


def main() -> None:
    """From the command line."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("days", type=int)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    alone(os.environ)
    with kept_hub(given.seed) as hub:
        month = Month(hub, given.seed)
        month.play(given.days)
        print("\n".join([*lines(month), f"faults: {findings(month)}"]))


if __name__ == "__main__":
    main()
