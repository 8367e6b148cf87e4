"""Upkeep that dies after any call, and two of them at once: nothing is lost, and all of it is done."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.engines import selection
from shared.limits import Limits
from shared.maintenance.gc_plan import GRACE_SECONDS
from shared.metadata.due import GC_AFTER_MOVE_SECONDS, Work
from tests.faults import Crash
from tests.proof.memory import Effect, at_once
from tests.proof.month import Month, findings
from tests.shared.maintenance.kept_hub import (
    DAY,
    SLICE,
    KeptHub,
    both,
    head,
    kept_hub,
    take,
    works,
)

SMALL = Limits(combined_packs=2, small_pack_seconds=900)
FIRST = take({"a.txt": b"first"})
SECOND = take({"a.txt": b"second"}, head(FIRST))
OTHER = take({"a.txt": b"other"})


@pytest.fixture(scope="module")
def hub() -> Iterator[KeptHub]:
    """A repository with small packs and a line that a forced push replaced, and a deleted one.

    All kinds of work are due.
    """
    with pytest.MonkeyPatch.context() as patch, kept_hub() as hub:
        patch.setattr(selection, "LIMITS", SMALL)
        assert hub.push("bob", FIRST).status == 200
        for bundle in (FIRST, SECOND):
            assert hub.push("ada", bundle).status == 200
        assert hub.push("ada", OTHER, force=True).status == 200
        assert hub.push("ada", FIRST, branch="side").status == 200
        hub.wait(GC_AFTER_MOVE_SECONDS + 2 * DAY)
        hub.put_due(Work.REPACK, Work.CLONE, Work.CHECK)
        hub.delete_repo("bob")
        hub.wait(2 * DAY)
        yield hub


class Counting:
    """Counts calls. From call number `dies_at` on, the process is dead."""

    def __init__(self, dies_at: int = 10**9) -> None:
        self.calls = 0
        self.dies_at = dies_at

    async def __call__(self, effect: Effect) -> None:
        """The gate of a cloud."""
        self.calls += 1
        if self.calls >= self.dies_at:
            raise Crash


def settled(hub: KeptHub) -> None:
    """Run upkeep every hour until nothing is due. After a process that dies comes another one."""
    for _ in range(20):
        try:
            ran = hub.upkeep()
            assert ran.failed == 0, ran
            is_over = not ran.visited and not ran.busy
        except (Crash, BaseExceptionGroup):
            is_over = False
            hub.cloud.gate = at_once
            hub.restart()
        hub.wait(GRACE_SECONDS + SLICE + 2)
        if is_over:
            return
    raise AssertionError(f"it does not end: {hub.due()}")


def state(hub: KeptHub, bob: str) -> Any:
    """What users see, and what is stored."""
    answer, _ = hub.clone("ada")
    kept = [key for key in hub.stored_keys(hub.repo_id("ada")) if "packs/" in key]
    assert hub.findings("ada") == []
    assert hub.rows(bob) == hub.stored_keys(bob) == []
    assert works(hub.due()) == []
    # The first check of each repository is listed for an earlier day.
    later = hub.now() + 80 * DAY
    assert any(one.at > later for one in hub.listed()), "the next check"
    return sorted(one["commit_id"] for one in answer.value["commits"]), kept


def test_a_run_that_dies_after_any_call_is_continued(hub: KeptHub) -> None:
    bob = next(one.repo_id for one in hub.due() if one.work is Work.PURGE)
    begin, now = hub.cloud.save(), hub.loop.now
    gate = hub.cloud.gate = Counting()
    settled(hub)
    calls = gate.calls
    hub.cloud.gate = at_once
    expected = state(hub, bob)
    assert len(expected[0]) == 2 and len(expected[1]) == 1, "all packs are one, without garbage"
    assert calls > 100
    for dies_at in range(1, calls + 1):
        hub.cloud.load(begin)
        hub.loop.now = now
        hub.cloud.gate = Counting(dies_at)
        settled(hub)
        hub.cloud.gate = at_once
        assert state(hub, bob) == expected, dies_at
    # Two at once, to the same end.
    hub.cloud.load(begin)
    hub.loop.now = now
    for _ in range(6):
        first, second = hub.run(both(hub))
        assert first.failed == second.failed == 0
        hub.wait(GRACE_SECONDS + SLICE + 2)
    assert state(hub, bob) == expected


def test_a_month_of_twenty_users_needs_no_operator() -> None:
    """Each clone of it has exactly what its branches reach, to the last byte (`month.py`)."""
    with kept_hub() as hub:
        month = Month(hub, 0)
        month.play(30)
        assert findings(month) == []
        assert max(one.clone_calls for one in month.figures) <= 40
        *days, last = month.figures
        # A move keeps its commits for a month, so what was replaced in the month is still stored.
        replaced = sum(one.replaced for one in month.repositories)
        assert all(one.rows - one.reachable <= replaced for one in days)
        assert last.rows == last.reachable > 400
        assert [one.work for one in hub.due()] == []
        assert min(month.done[kind] for kind in ("gc", "repack", "clone", "check", "purge")) > 0
