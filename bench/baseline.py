"""The counts of the last accepted run, and what has risen since.

Counts only: calls, chains, units, S3 requests, bytes. Times are this machine's business. What zlib makes of a
record differs a little from one build to the next, so a hundredth more than before is no rise.
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
    """In words, each count that is higher than the baseline's, and each operation that has none."""
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
                    risen.append(f"{one.name}: {what.replace('_', ' ')}{_WHEN[when]} rose from {before:,} to {now:,}")
    return risen


_WHEN = {"first": "", "again": " the second time"}


def _counts(one: Measured) -> dict[str, dict[str, float]]:
    return {"first": asdict(one.count), "again": asdict(one.warm)}
