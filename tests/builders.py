"""Records with true ids, and histories that are drawn as text.

history = graph("1; 2:1; 3:1; 4:2,3")      a diamond: commits 1 to 4, each on a snapshot of its own
"""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import ids
from shared.model import CommitId, ObjectId

Record = dict[str, Any]


def blob(content: bytes) -> Record:
    """An object as it is pushed."""
    return {"object_id": ids.object_id(content), "content": content}


def snapshot(manifest: Mapping[str, str], created_at: str = "2026-01-01T00:00:00+00:00") -> Record:
    """A snapshot record with its true id."""
    return {
        "snapshot_id": ids.snapshot_id(manifest),
        "manifest": dict(manifest),
        "created_at": created_at,
    }


def commit(
    message: str,
    parents: Sequence[str] = (),
    snapshot_id: str | None = None,
    committed_at: str = "2026-01-01T00:00:00+00:00",
    **more: Any,
) -> Record:
    """A commit record with its true id and all the keys that the stock client sends."""
    return {
        "commit_id": ids.commit_id(parents, snapshot_id, message, committed_at),
        "repo_id": "0c5a7f8e-0000-4000-8000-000000000000",
        "branch": "main",
        "snapshot_id": snapshot_id,
        "message": message,
        "committed_at": committed_at,
        "parent_commit_id": parents[0] if parents else None,
        "parent2_commit_id": parents[1] if len(parents) > 1 else None,
        "author": "Ada",
        "metadata": {"section": "verse"},
        "structured_delta": None,
        "sem_ver_bump": "none",
        "breaking_changes": [],
        "agent_id": "",
        "model_id": "",
        "toolchain_id": "",
        "prompt_hash": "",
        "signature": "",
        "signer_key_id": "",
        "format_version": 5,
        "reviewed_by": [],
        "test_runs": 0,
        **more,
    }


@functools.cache
def twins() -> tuple[Record, Record]:
    """Two commits whose ids have the same first seven digits, and not the same eighth."""
    seen: dict[str, Record] = {}
    for number in itertools.count():
        record = commit(f"twin {number}")
        other = seen.setdefault(record["commit_id"][:7], record)
        if other["commit_id"][7] != record["commit_id"][7]:
            return other, record
    raise AssertionError("unreachable")


@dataclass
class History:
    """Commits by the number they have in a drawing, with their snapshots and objects."""

    commits: dict[int, Record] = field(default_factory=dict)
    snapshots: dict[int, Record] = field(default_factory=dict)
    objects: dict[ObjectId, bytes] = field(default_factory=dict)

    def __getitem__(self, number: int) -> CommitId:
        return CommitId(self.commits[number]["commit_id"])

    def bundle(self, numbers: Iterable[int] | None = None, *, objects: bool = True) -> Record:
        """The bundle of a push of these commits (default: all), with the objects inline."""
        chosen = list(self.commits if numbers is None else numbers)
        snapshots = [self.snapshots[n] for n in chosen if n in self.snapshots]
        named = {oid for s in snapshots for oid in s["manifest"].values()}
        return {
            "commits": [self.commits[n] for n in chosen],
            "snapshots": snapshots,
            "objects": [
                {"object_id": i, "content": c}
                for i, c in self.objects.items()
                if objects and i in named
            ],
        }


def graph(drawing: str, *, files: bool = True, salt: str = "") -> History:
    """A history from its drawing: `"1; 2:1; 3:1,2"` is a root, its child, and a merge of both.

    With `files`, commit n stands on a snapshot that has its first parent's files and `n.txt`.
    """
    history = History()
    manifests: dict[int, dict[str, str]] = {}
    for part in drawing.split(";"):
        name, _, parents_text = part.strip().partition(":")
        number, parents = int(name), [int(p) for p in parents_text.split(",") if p.strip()]
        snapshot_id = None
        if files:
            content = f"file {number} {salt}\n".encode()
            history.objects[ids.object_id(content)] = content
            manifest = manifests.get(parents[0], {}) if parents else {}
            manifests[number] = {**manifest, f"{number}.txt": ids.object_id(content)}
            history.snapshots[number] = snapshot(manifests[number])
            snapshot_id = history.snapshots[number]["snapshot_id"]
        history.commits[number] = commit(
            f"commit {number} {salt}",
            [history[p] for p in parents],
            snapshot_id,
            f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}+00:00",
        )
    return history


def chain(length: int, *, files: bool = False, salt: str = "") -> History:
    """Commits 1 … length, each the parent of the next."""
    return graph(
        "; ".join(f"{n}:{n - 1}" if n > 1 else "1" for n in range(1, length + 1)),
        files=files,
        salt=salt,
    )


def file_history(*manifests: Sequence[str]) -> History:
    """A line of commits, each with a snapshot of these paths."""
    content = b"x"
    history = History(objects={ids.object_id(content): content})
    for number, paths in enumerate(manifests, start=1):
        history.snapshots[number] = snapshot(dict.fromkeys(paths, ids.object_id(content)))
        parents = [history[number - 1]] if number > 1 else []
        history.commits[number] = commit(
            f"commit {number}", parents, history.snapshots[number]["snapshot_id"]
        )
    return history


@dataclass
class Clock:
    """The hub's clock, standing still until it is moved."""

    now: float

    def time(self) -> float:
        """The time of the hub."""
        return self.now
