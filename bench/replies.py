"""Clones and pulls in each form that the hub sends: bytes, CPU and dollars, beside git's for the
same trees.

    python -m bench.replies [--git FOLDER] [--revision HEAD] [--commits 267]

The history is that of a git repository, by default of this checkout (see `bench/real.py`). Dollars
are those of AWS for one request, without and with the bytes that go to the internet. CPU is that of
the function's thread, the least of three. Ends with 1 if a compressed clone has more than 1.3 times
git's bytes, or a changed line takes more than 8 kB.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgpack

from bench import aws, lambdas, prices, real
from bench.history import History, Line
from bench.lambdas import BASE, OWNER, Hub
from shared.codec import MSGPACK

ROOT = Path(__file__).parent.parent
REPEATS = 3
MOST_OF_GIT = 1.3
MOST_OF_A_LINE_BYTES = 8_000
FILES = 10_000
BATCH = 400
CPU_RATIO = 2.0


@dataclass(frozen=True)
class Form:
    """One way to ask for the same difference."""

    name: str
    coding: str
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """A reply of the hub."""

    form: Form
    sent_bytes: int
    cpu_seconds: float
    bill: prices.Bill

    def row(self, git_bytes: int | None) -> str:
        """A line of the table."""
        ratio = f"{self.sent_bytes / git_bytes:.2f}" if git_bytes else "–"
        dollars = self.bill.without_data_out
        whole = dollars + self.bill.data_out
        return (
            f"| {self.form.name}, {self.form.coding} | {self.sent_bytes:,} | {ratio} |"
            f" {self.cpu_seconds:.3f} | {dollars:.6f} | {whole:.6f} |"
        )


def measure(hub: Hub, slug: str, form: Form) -> Measured:
    """Ask several times: once with the calls counted, then for the time."""
    hub.watch = "calls"
    counted = _asked(hub, slug, form)
    hub.watch = "time"
    seconds = min(_asked(hub, slug, form).cpu_seconds for _ in range(REPEATS))
    weights = counted.meter.weights
    usage = prices.Usage(
        memory_mb=lambdas.memory_mb()["fetch"],
        seconds=counted.meter.milliseconds() / 1000 + seconds,
        read_units=sum(weight.read_units for weight in weights),
        write_units=sum(weight.write_units for weight in weights),
        s3_puts=sum(weight.s3_puts for weight in weights),
        s3_gets=sum(weight.s3_gets for weight in weights),
        bytes_in=counted.received,
        bytes_out=counted.sent,
    )
    bill = prices.request(usage)
    return Measured(form, counted.sent, seconds, bill)


def _asked(hub: Hub, slug: str, form: Form) -> lambdas.Served:
    hub.served.clear()
    hub.answer(_request(slug, form))
    [served] = hub.served
    if served.status != 200:
        raise RuntimeError(f"{form.name}: HTTP {served.status}")
    return served


def _request(slug: str, form: Form) -> httpx.Request:
    headers = {"Content-Type": MSGPACK, "Accept": MSGPACK, "Accept-Encoding": form.coding}
    body = msgpack.packb(dict(form.message))
    return httpx.Request("POST", f"{BASE}/{OWNER}/{slug}/fetch", headers=headers, content=body)


def clones(hub: Hub, git: real.Git, revision: str, commits: int) -> tuple[int, list[Measured]]:
    """The bytes of git's clone, and the hub's clones of the same trees."""
    trees = git.trees(revision, commits)
    contents = git.contents(trees)
    with tempfile.TemporaryDirectory() as folder:
        git_bytes = real.pack_bytes(trees, contents, Path(folder))
    made = real.history(trees, contents)
    pushed(hub, hub.slug, made)
    message = {"want": [made.head], "have": []}
    found = [
        measure(hub, hub.slug, Form("clone", coding, message))
        for coding in ("identity", "zstd", "gzip")
    ]
    hub.run(lambda: _prebuilt(hub.slug))
    found += [
        measure(hub, hub.slug, Form("prebuilt clone", coding, message))
        for coding in ("identity", "zstd")
    ]
    return git_bytes, found


async def _prebuilt(slug: str) -> None:
    from shared.engines import selection
    from shared.maintenance import prebuilt_clones

    opened = await selection.stores()
    repo = await opened.repos.get(OWNER, slug)
    assert repo
    made = await prebuilt_clones.make(opened.of(repo), time.time)
    if made.why_not:
        raise RuntimeError(f"no prebuilt clone: {made.why_not}")


def pushed(hub: Hub, slug: str, made: History) -> None:
    """Push a repository, with all objects in batches.

    Large ones are not presigned: this hub has no socket.
    """
    objects = [
        {"object_id": object_id, "content": content}
        for object_id, content in sorted(made.objects.items())
    ]
    for start in range(0, len(objects), BATCH):
        _post(hub, slug, "push/objects", {"objects": objects[start : start + BATCH]})
    bundle = {"commits": list(made.commits), "snapshots": list(made.snapshots), "objects": []}
    _post(hub, slug, "push", {"bundle": bundle, "branch": "main"})


def _post(hub: Hub, slug: str, route: str, message: Mapping[str, Any]) -> None:
    headers = {
        "Content-Type": MSGPACK,
        "Accept": MSGPACK,
        "Authorization": f"Bearer {lambdas.token()}",
    }
    url = f"{BASE}/{OWNER}/{slug}/{route}"
    hub.watch = "nothing"
    reply = hub.answer(
        httpx.Request("POST", url, headers=headers, content=msgpack.packb(dict(message)))
    )
    if reply.status_code != 200:
        raise RuntimeError(f"{route}: HTTP {reply.status_code}")


def changed_line(hub: Hub) -> list[Measured]:
    """A pull of one changed file among many: without the record of the old snapshot, and with
    it.
    """
    slug = f"{hub.slug}-wide"
    line = Line(seed=1, files=FILES)
    first, second = line.commit(), line.commit(changed=1)
    for made in (first, second):
        pushed(hub, slug, made)
    message = {"want": [second.head], "have": [first.head]}
    name = f"one of {FILES:,} files"
    plain = [measure(hub, slug, Form(name, coding, message)) for coding in ("identity", "zstd")]
    base = first.snapshots[0]
    digest = sha256(msgpack.packb(base, use_bin_type=True)).hexdigest()
    with_base = {**message, "bases": {base["snapshot_id"]: digest}}
    return [*plain, measure(hub, slug, Form(f"{name}, with its base", "zstd", with_base))]


def faults(git_bytes: int, cloned: Sequence[Measured], pulled: Sequence[Measured]) -> list[str]:
    """Each target that is missed."""
    plain, compressed = cloned[0], cloned[1]
    found = []
    if compressed.sent_bytes > MOST_OF_GIT * git_bytes:
        found.append(f"a compressed clone has more than {MOST_OF_GIT} times git's bytes")
    if compressed.cpu_seconds > CPU_RATIO * plain.cpu_seconds:
        found.append(f"a compressed clone takes more than {CPU_RATIO} times the CPU of a plain one")
    if pulled[-1].sent_bytes > MOST_OF_A_LINE_BYTES:
        found.append(f"a changed line takes more than {MOST_OF_A_LINE_BYTES} bytes")
    return found


def table(git_bytes: int, cloned: Sequence[Measured], pulled: Sequence[Measured]) -> str:
    """All of it in Markdown."""
    lines = [
        "| reply | bytes | × git | CPU s | $ of AWS | $ with egress |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        (
            f"| git's pack of the same trees | {git_bytes:,} | 1.00 | – | – |"
            f" {prices.DATA_OUT_BYTE * git_bytes:.6f} |"
        ),
        *(one.row(git_bytes) for one in cloned),
        *(one.row(None) for one in pulled),
    ]
    return "\n".join(lines)


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.replies", description="The bytes of clones and pulls."
    )
    parser.add_argument(
        "--git", type=Path, default=ROOT, help="the git repository whose history is cloned"
    )
    parser.add_argument("--revision", default="HEAD")
    parser.add_argument(
        "--commits", type=int, default=267, help="the most commits, along first parents"
    )
    options = parser.parse_args()
    with aws.running() as url:
        lambdas.set_environment(url)
        with Hub() as hub:
            try:
                git_bytes, cloned = clones(
                    hub, real.Git(options.git), options.revision, options.commits
                )
            except (FileNotFoundError, subprocess.CalledProcessError) as error:
                parser.error(f"the history of {options.git} cannot be read with git: {error}")
            pulled = changed_line(hub)
    print(table(git_bytes, cloned, pulled))
    missed = faults(git_bytes, cloned, pulled)
    for fault in missed:
        print(f"FAULT: {fault}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
