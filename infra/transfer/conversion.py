"""Commits of Git as commits, snapshots and objects of Muse. docs/design/import-git.md has the
rules.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain
from typing import Any

from infra.transfer import names
from infra.transfer.git import CHUNK, Change, Git
from infra.transfer.ids import Ids
from shared import ids

MANIFESTS = 64
"""Manifests that are kept: those of the commits that were converted last."""
FORMAT_VERSION = 5
"""The version of the client's commit records that has all of these fields."""
LARGEST_OFFSET_MINUTES = 24 * 60
_EXECUTABLE = 0o100755
_FILES = (0o100644, _EXECUTABLE, 0o100664)
_SYMLINK = 0o120000
_SUBMODULE = 0o160000
_LFS = b"version https://git-lfs.github.com/spec/"
_PERSON = re.compile(rb"(.*?) ?(-?\d+) ([+-]\d{4,})", re.DOTALL)

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Converted:
    """A commit of Git in Muse. An octopus merge has several `commits`, the last one last.

    `blobs`: the blobs of the objects that its first parent does not have, by object id.
    """

    sha: str
    commits: list[Record]
    snapshot: Record
    blobs: dict[str, str]

    @property
    def commit_id(self) -> str:
        """The id of the commit."""
        return str(self.commits[-1]["commit_id"])


class Converter:
    """Converts the commits of one repository. `notes` counts the facts that Muse cannot hold."""

    def __init__(self, git: Git, known: Ids, graph: Mapping[str, Sequence[str]]) -> None:
        self.notes: Counter[str] = Counter()
        self._git = git
        self._ids = known
        self._graph = graph
        self._manifests: OrderedDict[str, dict[str, str]] = OrderedDict()

    def compute_ids(self, commits: Sequence[str]) -> None:
        """Compute the ids of these commits and of their objects. Parents must come first."""
        for start in range(0, len(commits), CHUNK):
            some = commits[start : start + CHUNK]
            self._hash_blobs(chain.from_iterable(changes for _, changes in self._changes(some)))
            for converted in self.converted(some, branch=""):
                snapshot_id = converted.snapshot["snapshot_id"]
                self._ids.add_commit(converted.sha, converted.commit_id, snapshot_id)
            self._ids.keep()

    def converted(self, commits: Sequence[str], branch: str) -> Iterator[Converted]:
        """Yield these commits in their order. `branch` is a field of the records."""
        for start in range(0, len(commits), CHUNK):
            some = commits[start : start + CHUNK]
            raw = dict(self._git.contents(some))
            for sha, changes in self._changes(some):
                manifest = self._manifest(sha, changes)
                snapshot_id = self._ids.snapshot(sha) or ids.snapshot_id(manifest)
                facts = _facts(raw[sha])
                snapshot = {
                    "snapshot_id": snapshot_id,
                    "manifest": manifest,
                    "created_at": facts["committed_at"],
                }
                parents = [self._ids.commit(parent) for parent in self._graph[sha]]
                base = {**facts, "snapshot_id": snapshot_id, "branch": branch}
                records = list(_records(sha, base, list(dict.fromkeys(parents))))
                blobs = {self._ids.blob(one.sha): one.sha for one in changes if one.mode in _FILES}
                yield Converted(sha, records, snapshot, blobs)

    def _changes(self, commits: Sequence[str]) -> Iterator[tuple[str, list[Change]]]:
        return self._git.changes([(sha, self._first_parent(sha)) for sha in commits])

    def _first_parent(self, sha: str) -> str:
        return next(iter(self._graph[sha]), "")

    def _hash_blobs(self, changes: Iterable[Change]) -> None:
        new: dict[str, None] = {}
        for change in changes:
            self._note(change)
            if change.mode in _FILES and not self._ids.blob(change.sha):
                new[change.sha] = None
        for sha, content in self._git.contents(list(new)):
            self._ids.add_blob(sha, ids.object_id(content))
            self.notes["LFS pointers"] += content.startswith(_LFS)

    def _note(self, change: Change) -> None:
        self.notes["executable files"] += change.mode == _EXECUTABLE
        self.notes["symbolic links"] += change.mode == _SYMLINK
        self.notes["submodules"] += change.mode == _SUBMODULE
        if change.mode in _FILES:
            found = names.path(change.path)
            self.notes["paths left out"] += found is None
            self.notes["paths renamed"] += found is not None and found.encode() != change.path

    def _manifest(self, sha: str, changes: Iterable[Change]) -> dict[str, str]:
        """The files of a commit, from those of its first parent."""
        parent = self._first_parent(sha)
        manifest = dict(self._files(parent)) if parent else {}
        _apply(changes, manifest, self._ids)
        self._remember(sha, manifest)
        return manifest

    def _files(self, sha: str) -> dict[str, str]:
        if sha not in self._manifests:
            manifest: dict[str, str] = {}
            _apply(self._git.files(sha), manifest, self._ids)
            self._remember(sha, manifest)
        return self._manifests[sha]

    def _remember(self, sha: str, manifest: dict[str, str]) -> None:
        self._manifests[sha] = manifest
        if len(self._manifests) > MANIFESTS:
            self._manifests.popitem(last=False)


def _apply(changes: Iterable[Change], manifest: dict[str, str], known: Ids) -> None:
    for change in changes:
        path = names.path(change.path)
        if path is None:
            continue
        if change.mode in _FILES:
            manifest[path] = known.blob(change.sha)
        else:
            manifest.pop(path, None)


def _records(sha: str, base: Record, parents: Sequence[str]) -> Iterator[Record]:
    """The commits that a commit of Git becomes. Muse has at most two parents.

    A merge of more becomes a chain of merges of two, all with the same files.
    """
    if len(parents) <= 2:
        yield _record(base, parents, {"git_commit": sha})
        return
    last = parents[0]
    for parent in parents[1:-1]:
        merge = _record(base, [last, parent], {"git_part_of": sha})
        last = merge["commit_id"]
        yield merge
    yield _record(base, [last, parents[-1]], {"git_commit": sha})


def _record(base: Record, parents: Sequence[str], metadata: Mapping[str, str]) -> Record:
    commit_id = ids.commit_id(parents, base["snapshot_id"], base["message"], base["committed_at"])
    return {
        "commit_id": commit_id,
        "repo_id": "",
        **base,
        "parent_commit_id": parents[0] if parents else None,
        "parent2_commit_id": parents[1] if len(parents) == 2 else None,
        "metadata": {**base["metadata"], **metadata},
        "structured_delta": None,
        "sem_ver_bump": "none",
        "breaking_changes": [],
        "agent_id": "",
        "model_id": "",
        "toolchain_id": "",
        "prompt_hash": "",
        "signature": "",
        "signer_key_id": "",
        "format_version": FORMAT_VERSION,
        "reviewed_by": [],
        "test_runs": 0,
    }


def _facts(raw: bytes) -> Record:
    """The author, the times and the message of a commit object of Git."""
    headers, message = split(raw)
    encoding = headers.get(b"encoding", b"utf-8").decode("ascii", "replace")
    author, authored_at = person(headers.get(b"author", b""), encoding)
    committer, committed_at = person(headers.get(b"committer", b""), encoding)
    metadata: dict[str, str] = {}
    if authored_at != committed_at:
        metadata["git_author_time"] = authored_at
    if committer != author:
        metadata["git_committer"] = committer
    return {
        "message": text(message, encoding).rstrip("\n"),
        "committed_at": committed_at,
        "author": author,
        "metadata": metadata,
    }


def split(raw: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """The first header of each name, and the message, of a commit or a tag of Git."""
    head, _, message = raw.partition(b"\n\n")
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        if name:  # else it continues the header before, such as a signature
            headers.setdefault(name, value)
    return headers, message


def person(line: bytes, encoding: str = "utf-8") -> tuple[str, str]:
    """The name with the address, and the time with its zone as ISO 8601. Git checks neither."""
    found = _PERSON.fullmatch(line)
    if found is None:
        return text(line, encoding), _time(0, b"+0000")
    return text(found[1], encoding), _time(int(found[2]), found[3])


def text(data: bytes, encoding: str = "utf-8") -> str:
    """The text in its encoding, else in UTF-8, else in ISO 8859-1, which has every byte."""
    for one in (encoding, "utf-8", "iso-8859-1"):
        try:
            decoded = data.decode(one)
        except (UnicodeDecodeError, LookupError, ValueError):
            continue
        # NUL separates the fields of a commit's id, and a lone surrogate is no text.
        return decoded.replace(ids.NUL, "\ufffd").encode(errors="replace").decode()
    raise AssertionError("ISO 8859-1 decodes every byte")


def _time(seconds: int, zone: bytes) -> str:
    """A time as the client writes it. A time or a zone that it cannot read becomes UTC or 1970."""
    minutes = int(zone[1:-2]) * 60 + int(zone[-2:])
    offset = timedelta(minutes=-minutes if zone.startswith(b"-") else minutes)
    has_zone = minutes < LARGEST_OFFSET_MINUTES
    try:
        return datetime.fromtimestamp(seconds, timezone(offset) if has_zone else UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat()
