"""The counts of the last accepted run, and the increases since.

Only counts are compared: calls, chains, units, S3 requests, bytes. Times depend on the machine. The
size of a compressed record differs slightly between builds of zlib, so an increase of up to `SLACK`
is accepted.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.measure import Measured

PATH = Path(__file__).with_name("baseline.json")
SLACK = 0.01


def write(found: Iterable[Measured], path: Path = PATH) -> None:
    """Accept these counts."""
    path.write_text(json.dumps({one.name: _counts(one) for one in found}, indent=1) + "\n")


def rises(found: Iterable[Measured], path: Path = PATH) -> list[str]:
    """A line for each count that is higher than the baseline, and for each operation without a
    baseline."""
    accepted: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    risen = []
    for one in found:
        if one.name not in accepted:
            risen.append(f"{one.name}: not in {path.name}; accept it with `make bench-baseline`")
            continue
        for when, counts in _counts(one).items():
            for what, now in counts.items():
                before = accepted[one.name][when][what]
                if now > before * (1 + SLACK):
                    risen.append(
                        f"{one.name}: {what.replace('_', ' ')}{_WHEN[when]} rose from {before:,} to"
                        f" {now:,}"
                    )
    return risen


_WHEN = {"first": "", "again": " the second time"}


def _counts(one: Measured) -> dict[str, dict[str, float]]:
    return {"first": asdict(one.count), "again": asdict(one.warm)}
