"""Schedules by seed. `tests/proof/simulation.py` says what happens in one, and replays it.

SEEDS=1000000 FIRST_SEED=5000000 python -m pytest -n auto tests/proof/test_simulation.py
"""

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.proof.linear import Op, is_one_after_another
from tests.proof.simulation import run

FIRST = int(os.environ.get("FIRST_SEED", "0"))
SEEDS = int(os.environ.get("SEEDS", "10000"))
CHUNK = 500


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_whatever_happens_in_whatever_order_nothing_is_lost(first: int, aws: Any) -> None:
    done: Counter[str] = Counter()
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        done += run(seed)
    # Schedules in which nothing happens show nothing.
    happen = (
        "push 200, push 409, fetch 200, deaths, gc swept, delete 204, restore 200, packs folded,"
        " bundle made"
    )
    for what in happen.split(", "):
        assert done[what], f"no seed has a {what}: {done}"


def test_a_seed_is_the_same_each_time_turn_by_turn() -> None:
    """In any process: a failure that cannot be played again is useless."""

    def told(seed: int) -> list[str]:
        command = [sys.executable, "-m", "tests.proof.simulation", "1", "--first", str(seed)]
        output = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        return output.splitlines()[:-1]  # the last says how long it took

    first = told(11)
    assert len(first) > 50
    assert told(11) == first != told(12)


# ── The judge of histories ────────────────────────────────────────────────────────────────────────

#     1 ── 2 ── 3        and x, beside them

ANCESTRY = {"1": "1", "2": "12", "3": "123", "x": "x"}


def leads_to(old: str, new: str) -> bool:
    return old in ANCESTRY[new]


def op(kind: str, began: int, returned: float, head: str | None = None, **more: Any) -> Op:
    return Op(kind, "main", head, began, returned, more.pop("outcome", "done"), **more)


def crashed(kind: str, began: int, head: str | None = None) -> Op:
    return Op(kind, "main", head, began)


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ([], True),
        ([op("push", 0, 1, "1"), op("read", 2, 3, seen="1")], True),
        ([op("push", 0, 1, "1"), op("read", 2, 3, seen=None)], False),
        ([op("push", 0, 3, "1"), op("read", 1, 2, seen=None)], True),
        ([op("push", 0, 3, "1"), op("read", 1, 2, seen="1")], True),
        ([op("push", 0, 9, "1"), op("read", 1, 2, seen="1"), op("read", 3, 4, seen=None)], False),
        ([op("push", 0, 1, "2"), op("push", 2, 3, "1")], False),
        ([op("push", 0, 1, "2"), op("force", 2, 3, "1")], True),
        ([op("push", 0, 1, "1"), op("push", 2, 3, "x")], False),
        ([op("push", 0, 1, "1"), op("push", 2, 3, "x", outcome="refused", seen="1")], True),
        ([op("push", 0, 1, "1"), op("push", 2, 3, "2", outcome="refused", seen="1")], False),
        ([op("push", 0, 1, "1"), op("push", 2, 3, "x", outcome="refused", seen="2")], False),
        (
            [
                op("push", 0, 1, "1"),
                op("push", 2, 9, "2"),
                op("push", 3, 8, "x", outcome="refused", seen="2"),
            ],
            True,
        ),
        ([crashed("push", 0, "1"), op("read", 2, 3, seen=None), op("read", 4, 5, seen="1")], True),
        ([crashed("push", 0, "1"), op("read", 2, 3, seen="1"), op("read", 4, 5, seen=None)], False),
        ([crashed("push", 4, "1"), op("read", 2, 3, seen="1")], False),
        ([op("push", 0, 1, "1"), op("delete", 2, 3), op("read", 4, 5, seen=None)], True),
        ([op("push", 0, 1, "1"), op("delete", 2, 3), op("read", 4, 5, seen="1")], False),
        ([op("push", 0, 1, "1"), op("delete", 2, 3, outcome="absent")], False),
        ([op("push", 0, 3, "2"), op("push", 1, 2, "3"), op("read", 4, 5, seen="3")], True),
        ([op("push", 0, 3, "2"), op("push", 1, 2, "x"), op("read", 4, 5, seen="x")], False),
    ],
)
def test_a_history_is_judged(ops: list[Op], expected: bool) -> None:
    assert is_one_after_another(ops, leads_to) is expected
