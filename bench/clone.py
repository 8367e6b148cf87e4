"""Push 40 MB as the stock client does, clone them back, compare every byte, and print what it cost.

    python -m bench.clone [--seed 1] [--json]

One process: an embedded AWS, the hub over HTTP, and the client in threads, all on loopback. The calls are the
hub's own and would be the same on AWS; the seconds belong to the emulator, which shares this process.
Exits with 1 when anything came back different.
"""

import argparse
import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from bench import client
from bench.history import History, Record, generate
from bench.meter import ASGIApp, Cost, Meter, MeteredApp, Served
from shared import auth, ids
from shared.model import Identity, Role

T = TypeVar("T")

OWNER = "ada"
SLUG = "song"
BRANCH = "main"
RESOURCES = {"HubTable": "hub", "CounterTable": "counters", "Bucket": "objects"}
SIGNING_KEYS = {"bench": "no secret: this hub lives for a minute"}
START_SECONDS = 30.0
STOP_SECONDS = 30.0
DEADLINE_SECONDS = 600.0
"""After this long the process ends itself, with every thread's traceback."""


@dataclass(frozen=True)
class Report:
    """What was measured, and in `faults` each way in which the clone is not what was pushed."""

    seed: int
    repository_bytes: int
    costs: tuple[Cost, ...]
    faults: tuple[str, ...]

    def as_text(self) -> str:
        """The table, and one line of verdict for each fault or for all."""
        title = f"seed {self.seed}: a repository of {self.repository_bytes:,} bytes"
        verdict = [f"FAULT: {fault}" for fault in self.faults] or ["every byte and every record came back as sent"]
        return "\n".join([title, "", Cost.header(), *(cost.row() for cost in self.costs), "", *verdict])

    def as_json(self) -> str:
        """The same with the calls by operation."""
        costs = [cost.as_dict() for cost in self.costs]
        return json.dumps(
            {
                "seed": self.seed,
                "repository_bytes": self.repository_bytes,
                "costs": costs,
                "faults": self.faults,
            },
            indent=2,
        )


@dataclass(frozen=True)
class Hub:
    """A running hub: where the repository lies, a token of its owner, and what was served."""

    repo_url: str
    token: str
    app: MeteredApp


def measure(hub: Hub, history: History, seed: int) -> Report:
    """Push and clone `history`, once each."""
    pushed, push_costs = _step(hub, "push", lambda: client.push(hub.repo_url, hub.token, history, BRANCH))
    cloned, clone_costs = _step(hub, "clone", lambda: client.clone(hub.repo_url))
    swallowed = [
        f"{one.method} {one.path} was answered with {one.status}"
        for one in (*pushed.exchanges, *cloned.exchanges)
        # Before a first push there is nothing to show.
        if one.status != 200 and (one.path, one.status) not in (("/refs", 404), ("/filter-objects", 404))
    ]
    faults = (*swallowed, *differences(history, cloned))
    return Report(seed, history.size(), (*push_costs, *clone_costs), faults)


def differences(history: History, cloned: client.Cloned) -> list[str]:
    """In words, each way in which a clone differs from the history that was pushed; empty when in none."""
    faults = []
    heads = cloned.refs.get("branch_heads")
    if heads != {BRANCH: history.head}:
        faults.append(f"refs show {heads}, not {BRANCH} at {history.head}")
    contents = {one["object_id"]: one["content"] for one in cloned.bundle["objects"]}
    wrong = sum(ids.object_id(content) != object_id for object_id, content in contents.items())
    if wrong:
        faults.append(f"{wrong} objects do not hash to their ids")
    faults += _compared("objects", history.objects, contents, len(cloned.bundle["objects"]))
    for kind, key, sent in (
        ("commits", "commit_id", history.commits),
        ("snapshots", "snapshot_id", history.snapshots),
    ):
        came: list[Record] = cloned.bundle[kind]
        faults += _compared(kind, {one[key]: one for one in sent}, {one[key]: one for one in came}, len(came))
    return faults


def _compared(kind: str, sent: Any, came: Any, count: int) -> list[str]:
    changed = sum(sent[one] != came[one] for one in sent.keys() & came.keys())
    counted = {
        "are missing": len(sent.keys() - came.keys()),
        "were never sent": len(came.keys() - sent.keys()),
        "differ": changed,
        "came twice": count - len(came),
    }
    return [f"{number} {kind} {what}" for what, number in counted.items() if number]


def _step(hub: Hub, name: str, work: Callable[[], T]) -> tuple[T, list[Cost]]:
    """The step's result, its cost as a whole, and the cost of each kind of request it made."""
    already = len(hub.app.served)
    started = time.perf_counter()
    with Meter() as meter:
        result = work()
    seconds = time.perf_counter() - started
    served = hub.app.served[already:]
    kinds: dict[str, list[Served]] = {}
    for one in served:
        kinds.setdefault(f"  {one.method} {_suffix(one.path)}", []).append(one)
    rows = [Cost.of_requests(kind, requests) for kind, requests in kinds.items()]
    return result, [Cost.of_step(name, seconds, served, meter), *rows]


def _suffix(path: str) -> str:
    return path.removeprefix(f"/{OWNER}/{SLUG}")


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    """The hub on an AWS of its own, both on loopback. Once per process, whose settings are read once."""
    from infra.embedded_aws import EmbeddedAws

    with EmbeddedAws() as aws:
        for name in [name for name in os.environ if name.startswith(("AWS_", "PIERIA_"))]:
            del os.environ[name]  # the caller's own AWS is none of our business
        os.environ.update(_environment(aws.url))
        # Only now: the app reads the environment when it is imported.
        from infra import stack
        from infra.app import app

        stack.create(aws.url, RESOURCES)
        metered = MeteredApp(app)
        with serving(metered) as url:
            token = auth.issue(
                SIGNING_KEYS, Identity(OWNER, Role.WRITE, "bench"), lifetime_seconds=3600, now=int(time.time())
            )
            yield Hub(f"{url}/{OWNER}/{SLUG}", token, metered)


def _environment(aws_url: str) -> dict[str, str]:
    """Everything that the hub reads: this AWS, repositories on first push, defaults for the rest."""
    return {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PIERIA_HUB_TABLE": RESOURCES["HubTable"],
        "PIERIA_COUNTER_TABLE": RESOURCES["CounterTable"],
        "PIERIA_BUCKET": RESOURCES["Bucket"],
        "PIERIA_SIGNING_KEYS": json.dumps(SIGNING_KEYS),
        "PIERIA_PUSH_TO_CREATE": "true",
        "PIERIA_LOG_LEVEL": "WARNING",
    }


@contextlib.contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """The app behind a web server in a thread of its own; its URL. RuntimeError if it does not come up."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="hub", daemon=True)
    thread.start()
    try:
        give_up_at = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > give_up_at:
                raise RuntimeError("the hub did not start")
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)


def main(arguments: list[str] | None = None) -> int:
    """Run the bench once; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.clone", description="Push 40 MB, clone them back.")
    parser.add_argument("--seed", type=int, default=1, help="names the repository that is generated")
    parser.add_argument("--json", action="store_true", help="print JSON, calls by operation included")
    options = parser.parse_args(arguments)

    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    with running_hub() as hub:
        report = measure(hub, generate(options.seed), options.seed)
    faulthandler.cancel_dump_traceback_later()
    print(report.as_json() if options.json else report.as_text())
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
