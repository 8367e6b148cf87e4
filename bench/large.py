"""A hub on one machine with much data: `python -m bench.large --gigabytes 10 --folder FOLDER`.

It pushes one repository of 40 MB, and copies its rows and files under new ids until the folder has
the size. Two more repositories have one line of 10 and of 5,000 commits. Then it starts the hub
again, and measures the start, the memory, and the same operations at both depths, in turn. The
folder must not exist; it is deleted at the end.
"""

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench import client, comparable
from bench.comparable import Hub
from bench.history import Line, generate
from bench.load import resident_bytes
from shared.engines import files, local, sqlite
from shared.metadata import keys

DEPTHS = (10, 5_000)
FILES = 40
CHANGED = 2
REPEATS = 20
STARTS = 5
NO_LIMIT = {f"PIERIA_LIMIT_{name}": "1000000000" for name in ("PUSH", "FETCH", "READ", "UPLOAD")}
OWNER, TEMPLATE = "me", "copy-0"


@dataclass(frozen=True)
class Running:
    """A hub in a process of its own.

    `seconds` and `cpu_seconds`: the time until it was ready, and the CPU time. The second one does
    not depend on other programs of the machine.
    """

    pid: int
    url: str
    token: str
    seconds: float
    cpu_seconds: float

    def hub(self, slug: str) -> Hub:
        """A repository of the owner."""
        return Hub(f"{self.url}/{OWNER}/{slug}", self.token)

    @property
    def megabytes(self) -> float:
        """The resident memory of the process."""
        return resident_bytes(self.pid) / 1_000_000


@dataclass(frozen=True)
class Branch:
    """The line of a repository, and the ids of its commits, oldest first."""

    line: Line
    ids: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the results as JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.folder.mkdir()
    try:
        branches = _seeded(options.folder, options.seed, int(options.gigabytes * 1e9))
        print(json.dumps(_measured(options.folder, branches), indent=1))
    finally:
        shutil.rmtree(options.folder)
    return 0


@contextmanager
def _running(folder: Path) -> Iterator[Running]:
    command = [sys.executable, "-m", "infra.serve", "--json", "--port", "0", "--data", str(folder)]
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        env=os.environ | NO_LIMIT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            seconds = time.perf_counter() - started
            cpu = _cpu_seconds(process.pid)
            yield Running(process.pid, ready["url"], ready["token"], seconds, cpu)
        finally:
            process.terminate()


def _cpu_seconds(pid: int) -> float:
    """The user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _seeded(folder: Path, seed: int, size_bytes: int) -> dict[int, Branch]:
    """Fill the folder. Returns the branch of each depth."""
    template = generate(seed)
    branches: dict[int, Branch] = {}
    with _running(folder) as hub:
        client.push(hub.hub(TEMPLATE).url, hub.token, template)
        for depth in DEPTHS:
            line = Line(seed + depth, FILES)
            commits = [line.commit(), *(line.commit(CHANGED) for _ in range(depth - 1))]
            history = comparable.joined(commits)
            client.push(hub.hub(f"line-{depth}").url, hub.token, history)
            ids = [str(commit["commit_id"]) for commit in history.commits]
            branches[depth] = Branch(line, ids)
    copies = size_bytes // template.size()
    rows = sqlite3.connect(folder / local.FILE)
    with rows:
        for number in range(1, copies):
            _copy(folder, rows, f"copy-{number}")
    rows.close()
    os.sync()  # a start flushes its first write, and must not wait for the copies
    return branches


def _copy(folder: Path, rows: sqlite3.Connection, slug: str) -> None:
    """Copy the rows and the objects of the template to a repository of this name."""
    select = "SELECT data FROM hub WHERE pk = ? AND sk = ?"
    (data,) = rows.execute(select, keys.repo(OWNER, TEMPLATE)).fetchone()
    repo = sqlite.decoded(keys.repo(OWNER, TEMPLATE), data)
    old, new = str(repo["repo_id"]), str(uuid4())
    sqlite.put_row(rows, keys.repo(OWNER, slug), {**repo, "repo_id": new, "slug": slug})
    rows.execute(
        "INSERT INTO hub SELECT replace(pk, :old, :new), sk, data, expires_at FROM hub"
        " WHERE pk >= 'REPO#' || :old AND pk < 'REPO#' || :old || '~'",
        {"old": old, "new": new},
    )
    found = rows.execute(
        "SELECT key, version, modified FROM objects WHERE key >= ? AND key < ?",
        (f"repos/{old}/", f"repos/{old}0"),
    ).fetchall()
    for key, version, modified in found:
        content = (folder / files.OBJECTS / version[-2:] / version).read_bytes()
        files.add_version(folder, rows, key.replace(old, new), content, modified)


def _measured(folder: Path, branches: dict[int, Branch]) -> dict[str, object]:
    stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    starts = []
    for _ in range(STARTS):
        with _running(folder) as hub:
            starts.append((hub.seconds, hub.cpu_seconds))
    with _running(folder) as hub:
        results: dict[str, object] = {
            "gigabytes": round(stored / 1e9, 2),
            "start_seconds": min(starts)[0],
            "start_cpu_seconds": statistics.median(cpu for _, cpu in starts),
            "megabytes_at_rest": round(hub.megabytes),
        }
        clones = [_clone(hub.hub(f"copy-{number}")) for number in (1, 2, 3)]
        results["clone_seconds"] = round(statistics.median(clones), 4)
        for name, work in (("fetch_of_1_commit", _fetch), ("push_of_1_commit", _push)):
            taken: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
            for _ in range(REPEATS):
                for depth, branch in branches.items():
                    taken[depth].append(work(hub.hub(f"line-{depth}"), branch))
            results[f"{name}_milliseconds"] = {
                depth: round(1000 * statistics.median(seconds), 1)
                for depth, seconds in taken.items()
            }
        results["megabytes_after"] = round(hub.megabytes)
    return results


def _push(hub: Hub, branch: Branch) -> float:
    made = branch.line.commit(CHANGED)
    branch.ids.append(made.head)
    return _seconds(lambda: comparable.send(hub, made, "main"))


def _fetch(hub: Hub, branch: Branch) -> float:
    have, want = branch.ids[-2:]

    def work() -> None:
        reply = comparable.exchange(hub, "POST", "/fetch", {"want": [want], "have": [have]})
        assert [one["commit_id"] for one in reply["commits"]] == [want]

    return _seconds(work)


def _clone(hub: Hub) -> float:
    heads = list(comparable.exchange(hub, "GET", "/refs")["branch_heads"].values())

    def work() -> None:
        assert comparable.exchange(hub, "POST", "/fetch", {"want": heads, "have": []})["commits"]

    return _seconds(work)


def _seconds(work: comparable.Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
