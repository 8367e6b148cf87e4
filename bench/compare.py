"""The same work on several hubs, one after the other: `python -m bench.compare ours=URL,TOKEN
rival=URL,TOKEN`.

URL is the URL of an empty public repository (a clone sends no token), TOKEN a token that may push
to it. Any hub with this protocol can be measured. Times are measured by the client, so run the hubs
on one machine. The other hubs are compared with the first one.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import client
from bench.client import Refused, Wire
from bench.differences import differences
from bench.history import History, Line, generate

REPEATS = 10


@dataclass(frozen=True)
class Rival:
    """A hub, and one repository on it."""

    name: str
    url: str
    token: str


@dataclass(frozen=True)
class Taken:
    """The cost of one kind of work: the median time of its repeats, and the bytes of one repeat."""

    seconds: float
    wire_bytes: int
    problem: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a hub did something wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare", description="The same work on several hubs."
    )
    parser.add_argument("rivals", nargs="+", type=_rival, metavar="NAME=URL,TOKEN")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated repository")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = {rival.name: dict(_worked(rival, options.seed)) for rival in options.rivals}
    if options.json:
        print(
            json.dumps(
                {
                    name: {what: vars(taken) for what, taken in row.items()}
                    for name, row in found.items()
                }
            )
        )
    else:
        Console().print(_table(found))
    taken = itertools.chain.from_iterable(row.values() for row in found.values())
    return 1 if any(one.problem for one in taken) else 0


def _rival(text: str) -> Rival:
    name, _, rest = text.partition("=")
    url, _, token = rest.rpartition(",")
    if not (name and url.startswith(("http://", "https://")) and token):
        raise argparse.ArgumentTypeError("write NAME=URL,TOKEN")
    return Rival(name, url.rstrip("/"), token)


def _worked(rival: Rival, seed: int) -> Iterator[tuple[str, Taken]]:
    history = generate(seed, commits=60, files=80, objects=400)
    yield "first push, 5 MB", _timed(lambda: _push(rival, history), 1)
    yield "clone, 5 MB", _timed(lambda: _clone(rival, history), 3)
    line = Line(seed, 40)
    branch = "small"
    first = line.commit()
    yield "push of a new branch, 40 objects", _timed(lambda: _push(rival, first, branch), 1)
    made = [line.commit(10) for _ in range(REPEATS)]
    rest = iter(made)
    yield "small push, 10 objects", _timed(lambda: _push(rival, next(rest), branch), REPEATS)
    parent = made[-2].head
    yield "small pull, 10 objects", _timed(lambda: _pull(rival, parent, made[-1], branch), REPEATS)
    yield "poll", _timed(lambda: _poll(rival), REPEATS)
    forks = (line.fork(seed + number) for number in itertools.count(1))
    line.tip = parent
    yield "refused push", _timed(lambda: _refused(rival, next(forks).commit(10), branch), REPEATS)


def _timed(work: Callable[[], int], repeats: int) -> Taken:
    seconds = []
    size = 0
    try:
        for _ in range(repeats):
            started = time.perf_counter()
            size = work()
            seconds.append(time.perf_counter() - started)
    except (Refused, AssertionError, OSError, KeyError) as error:
        return Taken(float("nan"), 0, f"{type(error).__name__}: {error}"[:200])
    return Taken(statistics.median(seconds), size)


def _push(rival: Rival, history: History, branch: str = "main") -> int:
    return _size(client.push(rival.url, rival.token, history, branch))


def _clone(rival: Rival, history: History) -> int:
    cloned = client.clone(rival.url)
    faults = differences(history, cloned)
    assert not faults, faults
    return _size(cloned)


def _pull(rival: Rival, parent: str, history: History, branch: str) -> int:
    pulled = client.pull(rival.url, rival.token, [parent], branch)
    came = {one["object_id"] for one in pulled.bundle["objects"]}
    assert came >= set(history.objects), f"{len(came)} objects came of {len(history.objects)}"
    return _size(pulled)


def _poll(rival: Rival) -> int:
    with Wire(rival.url, rival.token) as wire:
        assert wire.get("/refs")["branch_heads"]
        return sum(one.received for one in wire.exchanges)


def _refused(rival: Rival, history: History, branch: str) -> int:
    bundle = {"commits": list(history.commits), "snapshots": list(history.snapshots), "objects": []}
    objects = [{"object_id": i, "content": content} for i, content in history.objects.items()]
    with Wire(rival.url, rival.token) as wire:
        try:
            wire.post("/push/objects", {"objects": objects})
            wire.post("/push", {"bundle": bundle, "branch": branch, "force": False})
        except Refused as refused:
            assert refused.status == 409, refused
            return sum(one.sent + one.received for one in wire.exchanges)
    raise AssertionError("a push that is not a fast-forward was accepted")


def _size(done: Any) -> int:
    return sum(one.sent + one.received for one in done.exchanges)


def _table(found: dict[str, dict[str, Taken]]) -> Table:
    first, *others = found
    made = Table(
        title="Milliseconds, bytes, and how many times the first hub's", title_justify="left"
    )
    made.add_column("work")
    for name in found:
        made.add_column(name, justify="right", overflow="fold")
    for what, ours in found[first].items():
        cells = [ours.problem or f"{1000 * ours.seconds:,.1f} ms, {ours.wire_bytes:,}"]
        for name in others:
            taken = found[name][what]
            ratio = f"(× {taken.seconds / ours.seconds:.2f})"
            measured = f"{1000 * taken.seconds:,.1f} ms, {taken.wire_bytes:,} {ratio}"
            cells.append(taken.problem or measured)
        made.add_row(what, *cells)
    return made


if __name__ == "__main__":
    sys.exit(main())
