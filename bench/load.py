"""Many clients at once: `python -m bench.load [--clients 625] [--seconds 60] [--json]`. Loopback
only.

The hub runs in a process of its own, and its AWS in another one. A fifth of the clients poll and
fetch. Two fifths push repeatedly, each to a branch of its own. Two fifths push to one common
branch: each reads the head, commits on it, and starts again from the new head if another push won.
The run ends by itself.

At the end every acknowledged push must be present: the branch of a client points to its last
acknowledged commit, and each acknowledged commit of the common branch is an ancestor of its head. A
missing commit is a lost update. The emulator limits the calls per second, so the throughput is not
that of AWS. Errors and lost updates are meaningful.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgpack

from bench import aws, lambdas
from bench.client import MSGPACK
from bench.history import History, Line
from bench.lambdas import OWNER

MOST_CLIENTS = 1_000
MOST_SECONDS = 600
FILES = 10
CHANGED = 2
TIMEOUT_SECONDS = 120.0
START_SECONDS = 60.0
COMMON = "common"


@dataclass
class Load:
    """The results of all clients."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds of each successful request, by its kind."""
    errors: Counter[str] = field(default_factory=Counter)
    lost_races: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The last acknowledged commit of each client's own branch."""
    on_common: list[str] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    """The hub's resident bytes, once a second."""
    lost_updates: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Milliseconds; memory in bytes, early and late."""
        quarter = max(1, len(self.rss) // 4)
        return {
            "seconds": round(self.seconds, 1),
            "requests": {
                what: {
                    "count": len(seconds),
                    "per_second": round(len(seconds) / self.seconds, 1),
                    "p50": round(1000 * statistics.median(seconds)),
                    "p99": round(1000 * sorted(seconds)[int(len(seconds) * 0.99)]),
                }
                for what, seconds in sorted(self.took.items())
            },
            "errors": dict(+self.errors),
            "lost_races": self.lost_races,
            "lost_updates": self.lost_updates,
            "rss_early": max(self.rss[quarter : 2 * quarter], default=0),
            "rss_late": max(self.rss[-quarter:], default=0),
        }


class _Client:
    """One user of the hub."""

    def __init__(self, http: httpx.AsyncClient, load: Load, until: float) -> None:
        self._http = http
        self._load = load
        self._until = until

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._until

    async def ask(self, what: str, method: str, path: str, body: Any = None) -> Any:
        """Send a request.

        Returns the reply; for a 409 its text; for another error None, and counts the error.
        """
        started = time.perf_counter()
        try:
            reply = await self._http.request(
                method,
                path,
                content=None if body is None else msgpack.packb(body, use_bin_type=True),
                headers={"Content-Type": MSGPACK} if body is not None else {},
            )
        except httpx.HTTPError as error:
            self._load.errors[f"{what}: {type(error).__name__}"] += 1
            return None
        if reply.status_code == 409:
            return reply.text
        if not reply.is_success:
            self._load.errors[f"{what}: {reply.status_code}"] += 1
            return None
        self._load.took[what].append(time.perf_counter() - started)
        return msgpack.unpackb(reply.content, raw=False)

    async def push(self, history: History, branch: str) -> Any:
        """Send the four requests of a push. Returns the reply to the last one."""
        await self.ask("refs", "GET", "/refs")
        (snapshot,) = history.snapshots
        asked = await self.ask(
            "filter", "POST", "/filter-objects", {"object_ids": list(snapshot["manifest"].values())}
        )
        missing = set(asked["missing"]) & history.objects.keys() if asked else set(history.objects)
        objects = [{"object_id": i, "content": history.objects[i]} for i in missing]
        if not objects or await self.ask(
            "push/objects", "POST", "/push/objects", {"objects": objects}
        ):
            bundle = {
                "commits": list(history.commits),
                "snapshots": list(history.snapshots),
                "objects": [],
            }
            return await self.ask(
                "push", "POST", "/push", {"bundle": bundle, "branch": branch, "force": False}
            )
        return None

    async def push_alone(self, number: int) -> None:
        """Push repeatedly to the client's own branch."""
        line = Line(1_000 + number, FILES)
        branch = f"own-{number:04}"
        made = line.commit()
        while True:
            if isinstance(await self.push(made, branch), dict):
                self._load.acknowledged[branch] = made.head
                if not self.goes_on:
                    return
                made = line.commit(CHANGED)
            elif not self.goes_on:
                return

    async def push_together(self, number: int) -> None:
        """Push repeatedly to the common branch, each time a new commit on its head."""
        seeds = itertools.count(1_000_000 * (number + 1))
        while self.goes_on:
            refs = await self.ask("refs", "GET", "/refs")
            head = refs and refs["branch_heads"].get(COMMON)
            made = Line(next(seeds), FILES, tip=head).commit()
            answer = await self.push(made, COMMON)
            if isinstance(answer, dict):
                self._load.on_common.append(made.head)
            elif isinstance(answer, str):
                self._load.lost_races += 1

    async def read(self, number: int) -> None:
        """Poll repeatedly, and fetch a branch after every fourth poll."""
        for turn in itertools.count(number):
            if not self.goes_on:
                return
            refs = await self.ask("poll", "GET", "/refs")
            heads = list(refs["branch_heads"].values()) if refs else []
            if heads and turn % 4 == 0:
                head = heads[turn % len(heads)]
                await self.ask("fetch", "POST", "/fetch", {"want": [head], "have": []})


async def run(url: str, token: str, pid: int | None, clients: int, seconds: float) -> Load:
    """Run `clients` clients for `seconds` seconds on the repository at this URL. `pid`: the hub's
    process, if it is local."""
    load = Load()
    # A connection for each request, like the stock client.
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=0)
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": f"{MSGPACK}, application/json",
        "Connection": "close",
    }
    async with httpx.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False
    ) as http:
        started = time.monotonic()
        one = _Client(http, load, started + seconds)
        first = await one.push(Line(0, FILES).commit(), "main")
        if not isinstance(first, dict):
            raise RuntimeError(f"the hub refused the first push: {dict(load.errors) or first}")
        watching = asyncio.create_task(_watch(load, pid))
        kinds = (one.push_alone, one.push_together, one.read, one.push_alone, one.push_together)
        work = [
            asyncio.create_task(kinds[number % len(kinds)](number)) for number in range(clients)
        ]
        finished, unfinished = await asyncio.wait(work, timeout=seconds + TIMEOUT_SECONDS)
        for task in unfinished:
            task.cancel()
        for task in finished:
            task.result()
        load.errors["unfinished"] += len(unfinished)
        load.seconds = time.monotonic() - started
        watching.cancel()
        load.lost_updates = await _lost(one, load)
    return load


async def _watch(load: Load, pid: int | None) -> None:
    while pid:
        load.rss.append(resident_bytes(pid))
        await asyncio.sleep(1)


def resident_bytes(pid: int) -> int:
    """The resident memory of a process; 0 if it has ended."""
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


async def _lost(one: _Client, load: Load) -> list[str]:
    """A line for each acknowledged push that is missing."""
    refs = await one.ask("check", "GET", "/refs")
    if not refs:
        return ["the heads could not be read at the end"]
    heads = refs["branch_heads"]
    lost = [
        f"{branch} is not at {head}"
        for branch, head in load.acknowledged.items()
        if heads.get(branch) != head
    ]
    if load.on_common:
        bundle = await one.ask("check", "POST", "/fetch", {"want": [heads[COMMON]], "have": []})
        reached = {commit["commit_id"] for commit in bundle["commits"]} if bundle else set()
        lost += [
            f"{commit_id} is not on {COMMON}"
            for commit_id in load.on_common
            if commit_id not in reached
        ]
    return lost


@contextlib.contextmanager
def hub() -> Iterator[tuple[str, int]]:
    """Start a hub on 127.0.0.1. Yields its URL and its process id.

    Raises RuntimeError if it does not start.
    """
    with aws.running() as aws_url, socket.socket() as free:
        lambdas.set_environment(aws_url)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", "--serve", str(port)],
            stdin=subprocess.PIPE,  # the hub ends when this process ends, in any way
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(START_SECONDS)


def _serve(port: int) -> None:
    """Serve the hub until standard input ends."""
    # Late: the app reads the environment when it is imported.
    import uvicorn

    from infra.app import app

    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="error",
        access_log=False,
        lifespan="off",
        backlog=2 * MOST_CLIENTS,
    )
    threading.Thread(target=uvicorn.Server(config).run, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


def _wait_for(port: int) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError("the hub did not start")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 after an error or a lost update."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.load", description="Many clients at once, on loopback."
    )
    parser.add_argument(
        "--clients", type=int, default=625, help=f"up to {MOST_CLIENTS} (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help=f"up to {MOST_SECONDS} (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        _serve(options.serve)
    clients = min(options.clients, MOST_CLIENTS)
    seconds = min(options.seconds, MOST_SECONDS)
    with hub() as (url, pid):
        load = asyncio.run(run(f"{url}/{OWNER}/song", lambdas.token(), pid, clients, seconds))
    report = load.as_dict()
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report, clients)
    return 1 if +load.errors or load.lost_updates else 0


def _print(report: dict[str, Any], clients: int) -> None:
    print(
        f"{clients} clients, {report['seconds']} s; each row: requests, a second, p50 and p99 in ms"
    )
    for what, row in report["requests"].items():
        rate = f"{row['count']:>8,}{row['per_second']:>9,.1f}"
        print(f"  {what:<14}{rate}{row['p50']:>9,}{row['p99']:>9,}")
    print(f"races lost and tried again: {report['lost_races']:,}")
    print(
        f"the hub's memory: {report['rss_early'] / 1e6:,.0f} MB early,"
        f" {report['rss_late'] / 1e6:,.0f} MB late"
    )
    for what, number in report["errors"].items():
        print(f"ERROR {what}: {number:,}")
    for what in report["lost_updates"]:
        print(f"LOST {what}")
    if not report["errors"] and not report["lost_updates"]:
        print("no error, no lost update")


if __name__ == "__main__":
    sys.exit(main())
