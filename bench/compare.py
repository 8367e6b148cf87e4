"""The same work on several hubs in turn: `python -m bench.compare ours=URL,TOKEN other=URL,TOKEN`.

URL is the URL of an empty public repository (a clone sends no token), TOKEN a token that may push
to it. Any hub with this protocol can be measured. The hubs must not limit requests.

Each repeat of a row runs on all hubs, one after the other, and the order changes with each repeat.
So a slow minute of the machine affects all hubs. A row shows the medians, and the ratio to the
first hub. The client of small requests writes prepared bytes to a new connection, as the stock
client opens one for each request.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench import comparable
from bench.client import Refused
from bench.comparable import Row


@dataclass
class Taken:
    """The results of one row on one hub. `problem` is not empty if the hub did something wrong."""

    seconds: list[float] = field(default_factory=list)
    """Of one operation, for each repeat."""
    problem: str = ""

    @property
    def median(self) -> float:
        """The median in seconds; not a number without a result."""
        return statistics.median(self.seconds) if self.seconds else float("nan")


Results = dict[str, dict[str, Taken]]
"""Row → hub → results."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a hub did something wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare", description="The same work on several hubs, in turn."
    )
    parser.add_argument("hubs", nargs="+", type=_hub, metavar="NAME=URL,TOKEN")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated repository")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--repeats", type=int, default=20, help="repeats of a small request (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    hubs: dict[str, comparable.Hub] = dict(options.hubs)
    found: Results = {}
    rows = {name: comparable.rows(hub, options.seed, options.repeats) for name, hub in hubs.items()}
    for each in zip(*rows.values(), strict=True):
        by_hub = dict(zip(rows, each, strict=True))
        found[each[0].name] = _in_turn(by_hub)
    if options.json:
        print(json.dumps({name: _as_dict(row) for name, row in found.items()}))
    else:
        Console().print(_table(found))
    return 1 if any(taken.problem for row in found.values() for taken in row.values()) else 0


def _hub(text: str) -> tuple[str, comparable.Hub]:
    name, _, rest = text.partition("=")
    url, _, token = rest.rpartition(",")
    if not (name and url.startswith(("http://", "https://")) and token):
        raise argparse.ArgumentTypeError("write NAME=URL,TOKEN")
    return name, comparable.Hub(url.rstrip("/"), token)


def _in_turn(rows: dict[str, Row]) -> dict[str, Taken]:
    """Repeat a row on all hubs. A hub that fails is left out of the later repeats."""
    results = {name: Taken() for name in rows}
    names = list(rows)
    for _ in range(rows[names[0]].repeats):
        for name in names:
            taken = results[name]
            if not taken.problem:
                _repeat(rows[name], taken)
        names.reverse()
    return results


def _repeat(row: Row, taken: Taken) -> None:
    try:
        work = row.prepare()
        started = time.perf_counter()
        work()
        taken.seconds.append((time.perf_counter() - started) / row.operations)
    except (Refused, AssertionError, OSError, KeyError) as error:
        taken.problem = f"{type(error).__name__}: {error}"[:200]


def _as_dict(row: dict[str, Taken]) -> dict[str, dict[str, object]]:
    return {
        name: {"seconds": taken.median, "repeats": len(taken.seconds), "problem": taken.problem}
        for name, taken in row.items()
    }


def _table(found: Results) -> Table:
    first, *others = next(iter(found.values()))
    made = Table(
        title=f"Milliseconds of one operation, and the share of {first} in it",
        title_justify="left",
    )
    made.add_column("work")
    for name in (first, *others):
        made.add_column(name, justify="right", overflow="fold")
    for name, row in found.items():
        made.add_row(name, *_cells(row, first, others))
    return made


def _cells(row: dict[str, Taken], first: str, others: Sequence[str]) -> Iterator[str]:
    ours = row[first]
    yield ours.problem or f"{1000 * ours.median:,.2f}"
    for name in others:
        other = row[name]
        ratio = ours.median / other.median
        yield other.problem or f"{1000 * other.median:,.2f} (ratio {ratio:.2f})"


if __name__ == "__main__":
    sys.exit(main())
