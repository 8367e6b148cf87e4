"""A repository with the history of a git repository: its trees, and commit records as `muse commit`
writes them.

Generated contents do not compress like source code. These are real.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.history import History
from shared import ids

SYMBOL = re.compile(rb"^(?:async )?(?:def|class) (\w+)", re.MULTILINE)
"""The beginning of a function or class at the top level: a commit record has an id for each that
changed.
"""
FILE_MODES = (b"100644", b"100755")

Tree = Mapping[str, str]
"""git's blob id by path."""


@dataclass(frozen=True)
class Git:
    """A git repository, or a checkout of one."""

    folder: Path

    def run(self, *arguments: str, given: bytes = b"") -> bytes:
        """The output of a git command. Raises CalledProcessError."""
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout

    def trees(self, revision: str, commits: int) -> list[Tree]:
        """The trees of the last commits that lead to a revision along first parents, oldest
        first.
        """
        listed = (
            self.run("rev-list", "--first-parent", f"--max-count={commits}", revision)
            .decode()
            .split()
        )
        return [self._tree(commit) for commit in reversed(listed)]

    def contents(self, trees: list[Tree]) -> dict[str, bytes]:
        """The contents of all blobs of these trees, by git's id."""
        blobs = sorted({blob for tree in trees for blob in tree.values()})
        output = self.run("cat-file", "--batch", given="\n".join(blobs).encode())
        contents: dict[str, bytes] = {}
        start = 0
        for blob in blobs:
            stop = output.index(b"\n", start)
            size = int(output[start:stop].split()[2])
            contents[blob] = output[stop + 1 : stop + 1 + size]
            start = stop + 1 + size + 1
        return contents

    def _tree(self, commit: str) -> Tree:
        entries = self.run("ls-tree", "-r", "-z", commit).split(b"\0")[:-1]
        found: dict[str, str] = {}
        for entry in entries:
            about, _, path = entry.partition(b"\t")
            mode, _, blob = about.split()
            if mode in FILE_MODES:
                found[path.decode(errors="replace")] = blob.decode()
        return found


def pack_bytes(trees: list[Tree], contents: Mapping[str, bytes], folder: Path) -> int:
    """The bytes that git sends for a clone of the same trees as a line of commits."""
    git = Git(folder)
    git.run("init", "--quiet", "--bare")
    git.run("fast-import", "--quiet", given=b"".join(_imported(trees, contents)))
    git.run("repack", "-a", "-d", "-f", "--quiet")
    return len(git.run("pack-objects", "--all", "--stdout", "--quiet", "--delta-base-offset"))


def history(trees: list[Tree], contents: Mapping[str, bytes]) -> History:
    """The same as a repository of Muse."""
    object_ids: dict[str, str] = {
        blob: ids.object_id(content) for blob, content in contents.items()
    }
    objects = {object_ids[blob]: content for blob, content in contents.items()}
    symbols = {object_id: _symbols(content) for object_id, content in objects.items()}
    commits: list[dict[str, Any]] = []
    snapshots: dict[str, dict[str, Any]] = {}
    old: Mapping[str, str] = {}
    for number, tree in enumerate(trees):
        manifest = {path: object_ids[blob] for path, blob in tree.items()}
        commit = _commit(
            number, commits[-1]["commit_id"] if commits else None, ids.snapshot_id(manifest)
        )
        if number:
            commit["structured_delta"] = _delta(old, manifest, symbols)
        commits.append(commit)
        snapshot = {
            "snapshot_id": commit["snapshot_id"],
            "manifest": manifest,
            "created_at": commit["committed_at"],
        }
        snapshots.setdefault(commit["snapshot_id"], snapshot)
        old = manifest
    return History(tuple(commits), tuple(snapshots.values()), MappingProxyType(objects))


def _imported(trees: list[Tree], contents: Mapping[str, bytes]) -> Iterator[bytes]:
    """The input of `git fast-import`."""
    marks = {blob: mark for mark, blob in enumerate(contents, start=1)}
    for blob, mark in marks.items():
        yield b"blob\nmark :%d\ndata %d\n%s\n" % (mark, len(contents[blob]), contents[blob])
    for number, tree in enumerate(trees):
        at = 1_700_000_000 + 600 * number
        yield (
            b"commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\ndata"
            b" 4\ntake\ndeleteall\n" % at
        )
        for path, blob in tree.items():
            quoted = path.replace("\\", "\\\\").replace('"', '\\"')
            yield b'M 100644 :%d "%s"\n' % (marks[blob], quoted.encode())


def _symbols(content: bytes) -> dict[str, str]:
    """A digest of each function and class at the top level of a Python file, by name."""
    starts = list(SYMBOL.finditer(content))
    if not starts:
        return {}
    ends = [start.start() for start in starts[1:]] + [len(content)]
    return {
        start[1].decode(): sha256(content[start.start() : end]).hexdigest()
        for start, end in zip(starts, ends, strict=True)
    }


def _commit(number: int, parent: str | None, snapshot_id: str) -> dict[str, Any]:
    committed_at = f"2026-01-{1 + number // 24 % 28:02}T{number % 24:02}:00:00+00:00"
    message = f"take {number}"
    return {
        "commit_id": ids.commit_id([parent] if parent else [], snapshot_id, message, committed_at),
        "branch": "main",
        "snapshot_id": snapshot_id,
        "message": message,
        "committed_at": committed_at,
        "parent_commit_id": parent,
        "parent2_commit_id": None,
        "author": "Ada",
        "structured_delta": None,
    }


def _delta(old: Tree, new: Tree, symbols: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What changed, by file and by function, as the code domain records it."""
    changed = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    operations = [_operation(path, old.get(path), new.get(path), symbols) for path in changed]
    return {"domain": "code", "ops": operations, "summary": f"{len(operations)} files changed"}


def _operation(
    path: str, before: str | None, after: str | None, symbols: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    old = symbols[before] if before else {}
    new = symbols[after] if after else {}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return {
        "op": _kind(before, after),
        "address": path,
        "position": None,
        "old_content_id": before,
        "new_content_id": after,
        "child_ops": [
            {
                "op": _kind(old.get(name), new.get(name)),
                "address": f"{path}::{name}",
                "old_content_id": old.get(name),
                "new_content_id": new.get(name),
                "old_summary": f"function {name}",
                "new_summary": f"function {name} (implementation changed)",
            }
            for name in names
        ],
    }


def _kind(before: str | None, after: str | None) -> str:
    if before and after:
        return "replace"
    return "insert" if after else "delete"
