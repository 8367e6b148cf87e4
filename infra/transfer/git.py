"""Reads a Git repository by the installed `git`, which knows each of its formats.

A library would be a second implementation of packs, alternates and hashes, and is slower in Python.
All commands are plumbing: they run no hook, filter, pager or external diff of the repository.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from infra.relay.address import Unable

CHUNK = 200
"""Commits whose changes one process lists, and objects whose names are in a pipe at once."""
CACHE = Path.home() / ".cache" / "pieria" / "git"
"""Copies of remote repositories. A second import from the same URL fetches the new commits."""
_URL = re.compile(r"[a-z+]+://|[^/]+@[^/]+:")
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat")


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch or a tag: its name, the commit, and the id of an annotated tag or an empty text."""

    name: bytes
    commit: str
    annotation: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a path. `mode` is 0 if the new commit does not have the path."""

    path: bytes
    mode: int
    sha: str


class Git:
    """A Git repository on this machine."""

    def __init__(self, folder: Path) -> None:
        self._command = ("git", *_SAFE, "-C", str(folder))
        self.folder = Path(os.fsdecode(self._output("rev-parse", "--absolute-git-dir").strip()))
        if self._output("rev-parse", "--is-shallow-repository").strip() == b"true":
            # Its oldest commits look like roots, so they would get other ids than in a whole clone.
            raise Unable("the Git repository is shallow: run `git fetch --unshallow` first")
        self._objects: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the process that reads objects."""
        if self._objects:
            self._objects.communicate()

    def branches(self) -> list[Ref]:
        """All branches; that of HEAD is the first one."""
        head = self._output("symbolic-ref", "--quiet", "HEAD", check=False).strip()
        refs = self._refs("refs/heads/")
        return sorted(refs, key=lambda ref: (b"refs/heads/" + ref.name != head, ref.name))

    def tags(self) -> list[Ref]:
        """All tags on commits, sorted by name."""
        return sorted(self._refs("refs/tags/"), key=lambda ref: ref.name)

    def graph(self, tips: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The parents of each commit that the tips reach, parents before children."""
        listed = self._output(
            "rev-list", "--topo-order", "--reverse", "--parents", "--stdin", given="\n".join(tips)
        )
        graph: dict[str, tuple[str, ...]] = {}
        for line in listed.decode("ascii").splitlines():
            commit, *parents = line.split()
            graph[commit] = tuple(dict.fromkeys(parents))
        return graph

    def changes(self, commits: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[Change]]]:
        """The changes of each commit against its first parent; for a root all of its files.

        `commits`: pairs of a commit and its first parent, which is empty for a root.
        """
        for start in range(0, len(commits), CHUNK):
            given = "".join(f"{c} {p}".strip() + "\n" for c, p in commits[start : start + CHUNK])
            listed = self._output(
                "diff-tree", "--stdin", "--always", "--root", "-r", "--raw", "-z", "--no-renames",
                "--no-abbrev", "--no-ext-diff", "--no-textconv", given=given,
            )  # fmt: skip
            yield from _changes(listed)

    def files(self, commit: str) -> list[Change]:
        """All files of a commit."""
        found: list[Change] = []
        for entry in self._output("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")[:-1]:
            facts, _, path = entry.partition(b"\t")
            mode, _, sha = facts.decode("ascii").split()
            found.append(Change(path, int(mode, 8), sha))
        return found

    def contents(self, shas: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The id and the content of each of these objects. Raises Unable if one is missing."""
        for start in range(0, len(shas), CHUNK):
            some = shas[start : start + CHUNK]
            process = self._reader()
            if not process.stdin or not process.stdout:
                raise AssertionError("both are pipes")
            process.stdin.write("".join(f"{sha}\n" for sha in some).encode())
            process.stdin.flush()
            for sha in some:
                head = process.stdout.readline().split()
                if len(head) != 3:
                    raise Unable(
                        f"object {sha} is not in the Git repository: run `git fsck`, or fetch the"
                        " whole history if the clone is shallow or partial"
                    )
                content = process.stdout.read(int(head[2]))
                process.stdout.read(1)
                yield sha, content

    def _reader(self) -> subprocess.Popen[bytes]:
        if self._objects is None:
            self._objects = subprocess.Popen(
                [*self._command, "cat-file", "--batch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
            )
        return self._objects

    def _refs(self, prefix: str) -> list[Ref]:
        form = "%(objecttype) %(objectname) %(*objecttype) %(*objectname)%00%(refname)"
        found: list[Ref] = []
        for line in self._output("for-each-ref", f"--format={form}", prefix).splitlines():
            facts, _, name = line.partition(b"\0")
            kind, sha, *target = facts.decode("ascii").split()
            short = name.removeprefix(prefix.encode())
            if kind == "commit":
                found.append(Ref(short, sha))
            elif target and target[0] == "commit":
                found.append(Ref(short, target[1], sha))
        return found

    def _output(self, *arguments: str, given: str = "", check: bool = True) -> bytes:
        return _run([*self._command, *arguments], given, check=check)


def opened(source: str) -> Git:
    """The Git repository in a folder, or a copy of the one at a URL. Raises Unable."""
    if shutil.which("git") is None:
        raise Unable("`git` is not on the PATH: install Git")
    if not _URL.match(source):
        if not Path(source).is_dir():
            raise Unable(f"there is no folder {source}: name a Git repository, or its URL")
        return Git(Path(source))
    copy = CACHE / f"{sha256(source.encode()).hexdigest()[:16]}.git"
    if (copy / "HEAD").exists():
        _run(["git", *_SAFE, "-C", str(copy), "fetch", "--quiet", "--prune", "origin"], "")
    else:
        copy.parent.mkdir(parents=True, exist_ok=True)
        _run(["git", *_SAFE, "clone", "--quiet", "--mirror", "--", source, str(copy)], "")
    return Git(copy)


def _run(command: list[str], given: str, *, check: bool = True) -> bytes:
    ended = subprocess.run(
        command, input=given.encode(), capture_output=True, check=False, env=_environment()
    )
    if check and ended.returncode:
        reason = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Unable(f"git failed: {' '.join(reason) or ended.returncode}")
    return ended.stdout


def _environment() -> dict[str, str]:
    """The environment of Git, without variables that name another repository.

    Replacements and grafts of commits are ignored: they are facts of one clone.
    """
    others = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")
    kept = {name: value for name, value in os.environ.items() if name not in others}
    safe = {"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "GIT_NO_REPLACE_OBJECTS": "1"}
    return kept | safe


def _changes(listed: bytes) -> Iterator[tuple[str, list[Change]]]:
    """Read the output of `git diff-tree --stdin -z`."""
    commit = ""
    found: list[Change] = []
    fields = iter(listed.split(b"\0"))
    for field in fields:
        if field.startswith(b":"):
            _, mode, _, sha, status = field.decode("ascii").split()
            path = next(fields)
            found.append(Change(path, 0 if status == "D" else int(mode, 8), sha))
        elif field:
            if commit:
                yield commit, found
            commit = field.decode("ascii").strip()
            found = []
    if commit:
        yield commit, found
