"""Upkeep without an operator: which changes make work due, and what a run does with it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared import settings
from shared.engines import selection
from shared.limits import Limits
from shared.maintenance import upkeep
from shared.maintenance.gc_plan import GRACE_SECONDS
from shared.maintenance.lease import start_expunge
from shared.metadata.due import CHECK_SECONDS, GC_AFTER_MOVE_SECONDS, Work
from shared.metadata.visits import DIED_SECONDS
from shared.stores import Stores
from tests import client
from tests.builders import chain
from tests.proof.memory import Effect, at_once
from tests.proof.stories import API, WIRE
from tests.shared.maintenance.kept_hub import (
    DAY,
    HOUR,
    KeptHub,
    both,
    head,
    kept_hub,
    take,
    where,
    works,
)
from tests.shared.maintenance.upkeep import repo, run

SONG = where("ada", "song")
FIRST = take({"a.txt": b"first"})
SECOND = take({"a.txt": b"second"}, head(FIRST))
OTHER = take({"a.txt": b"other"})


@pytest.fixture
def hub() -> Iterator[KeptHub]:
    """A hub with one repository: `main` with two commits, and `side` with the first one."""
    with kept_hub() as hub:
        assert hub.push("ada", FIRST).status == 200
        assert hub.push("ada", SECOND).status == 200
        assert hub.push("ada", FIRST, branch="side").status == 200
        yield hub


# ── Which changes make work due ───────────────────────────────────────────────────────────────────


def test_an_ordinary_push_lists_nothing(hub: KeptHub) -> None:
    assert hub.due() == []


def forced(hub: KeptHub) -> None:
    assert hub.push("ada", OTHER, force=True).status == 200


def branch_deleted(hub: KeptHub) -> None:
    hub.delete_branch("ada", "side")


def branch_restored(hub: KeptHub) -> None:
    answer = hub.call(f"POST {API}/restore", SONG, {"branch": "main", "to": head(FIRST)}, by="ada")
    assert answer.status == 200


def tag_deleted(hub: KeptHub) -> None:
    tag = {"tag_id": "t", "tag": "best", "commit_id": head(FIRST)}
    assert hub.call(f"POST {WIRE}/tags", SONG, {"tags": [tag]}, by="ada").status == 200
    assert hub.call(f"DELETE {WIRE}/tags/t", SONG, by="ada").status == 200


def release_deleted(hub: KeptHub) -> None:
    release = {"release_id": "r", "tag": "v1", "commit_id": head(FIRST), "title": "one"}
    assert hub.call(f"POST {WIRE}/releases", SONG, release, by="ada").status == 201
    assert hub.call(f"DELETE {WIRE}/releases/v1", SONG, by="ada").status == 200


def repo_deleted(hub: KeptHub) -> None:
    hub.delete_repo("ada")


def pushed_far(hub: KeptHub) -> None:
    assert hub.push("ada", chain(70).bundle(), branch="long").status == 200
    long = chain(140)
    assert hub.push("ada", long.bundle(range(71, 141)), branch="long").status == 200


def swap_lost(hub: KeptHub) -> None:
    """Another push moves the branch while this one writes."""
    usual = hub.cloud.gate
    third = take({"a.txt": b"third"}, head(SECOND))

    async def gate(effect: Effect) -> None:
        if effect.operation == "UpdateItem" and swaps():
            hub.cloud.gate = usual
            row = hub.cloud.tables["hub"][f"REPO#{repo_id}"]["REF#main"]
            moved = {**row, "head": {"S": head(OTHER)}, "step": {"S": "0" * 34}}
            hub.cloud.tables["hub"][f"REPO#{repo_id}"]["REF#main"] = moved

    def swaps() -> bool:
        return any(
            sk == head(third)
            for pk, rows in hub.cloud.tables["hub"].items()
            for sk in rows
            if pk.startswith(f"REPO#{repo_id}#C")
        )

    repo_id = hub.repo_id("ada")
    assert hub.push("ada", OTHER, branch="other").status == 200
    hub.cloud.gate = gate
    assert hub.push("ada", third).status == 409


@pytest.mark.parametrize(
    ("change", "work", "days"),
    [
        (forced, "gc", 33),
        (branch_deleted, "gc", 33),
        (branch_restored, "gc", 33),
        (swap_lost, "gc", 33),
        (tag_deleted, "gc", 2),
        (release_deleted, "gc", 2),
        (repo_deleted, "purge", 2),
        (pushed_far, "repack", 2),
    ],
)
def test_a_change_that_makes_work_necessary_lists_it(
    hub: KeptHub, change: Callable[[KeptHub], None], work: str, days: int
) -> None:
    hub.wait(HOUR)
    change(hub)
    [due] = hub.due()
    today = int(hub.now()) // DAY * DAY
    assert (due.work, due.at - today) == (work, days * DAY)


def test_the_changes_of_a_day_are_one_row(hub: KeptHub) -> None:
    for number in range(3):
        hub.wait(HOUR)
        bundle = take({"a.txt": f"{number}".encode()})
        assert hub.push("ada", bundle, force=True).status == 200
    assert works(hub.due()) == ["gc"]


def test_a_forced_push_and_a_deletion_of_a_branch_make_no_call_more(hub: KeptHub) -> None:
    def calls(work: Callable[[], Any]) -> int:
        before = hub.cloud.calls
        work()
        return hub.cloud.calls - before

    third = take({"a.txt": b"third"}, head(SECOND))
    plain = calls(lambda: hub.push("ada", third))
    assert calls(lambda: hub.push("ada", OTHER, force=True)) == plain
    assert works(hub.due()) == ["gc"]


# ── A run ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_without_due_work_makes_two_calls(hub: KeptHub) -> None:
    before = hub.cloud.calls
    assert hub.upkeep().visited == 0
    assert hub.cloud.calls - before == 2


def test_garbage_of_a_forced_push_is_deleted_in_three_runs(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    assert hub.push("ada", OTHER, force=True).status == 200
    hub.wait(GC_AFTER_MOVE_SECONDS - DAY)
    assert hub.upkeep().done == {}
    hub.wait(2 * DAY)
    before = len(hub.stored_keys(repo_id))
    steps = []
    for _ in range(4):
        steps += [hub.visit(repo_id).done] if hub.upkeep().visited else []
        hub.wait(GRACE_SECONDS + 60)
    assert steps == ["gc condemned", "gc swept", "gc collected"]
    assert len(hub.stored_keys(repo_id)) == before - 1
    assert hub.due() == [] and hub.findings("ada") == []


def test_work_that_became_due_after_a_gc_started_is_left_to_the_next_one(hub: KeptHub) -> None:
    hub.put_due(Work.GC)
    hub.upkeep()
    hub.wait(HOUR)
    hub.put_due(Work.GC)
    steps: list[str] = []
    for _ in range(6):
        hub.wait(GRACE_SECONDS + 60)
        steps += hub.upkeep().done
    assert steps == ["gc"] * 5, "two of the first gc, three of the next"
    assert hub.due() == []


def test_a_repack_waits_for_the_end_of_a_gc_and_starts_another(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    for number in range(10):
        assert hub.push("ada", take({"f": b"%d" % number}), branch=f"b{number}").status == 200
    hub.wait(2 * DAY)
    hub.put_due(Work.GC)
    hub.upkeep()
    hub.put_due(Work.REPACK)
    done = []
    for _ in range(7):
        hub.wait(GRACE_SECONDS + 60)
        hub.upkeep()
        done.append(hub.visit(repo_id).done)
    collected = "gc collected"
    assert done[:3] == ["gc swept", collected, "repack 12, gc condemned"]
    assert done[3:5] == ["gc swept", collected]
    assert hub.due() == [] and hub.findings("ada") == []
    assert len([key for key in hub.stored_keys(repo_id) if "packs" in key]) == 1


def popular(hub: KeptHub, clones: int) -> None:
    for number in range(20):
        assert hub.push("ada", take({"f": b"%d" % number}), branch=f"b{number}").status == 200
    want = {"want": [*hub.heads("ada").values()]}
    for _ in range(clones):
        assert hub.call(f"POST {WIRE}/fetch", SONG, want, by="ada").status == 200


def test_a_repository_that_is_cloned_often_gets_a_prebuilt_clone(hub: KeptHub) -> None:
    popular(hub, clones=2)
    _, costly = hub.clone("ada")
    assert hub.upkeep().done == {"clone": 1}
    answer, calls = hub.clone("ada")
    assert costly > 40 > calls
    assert len(answer.value["commits"]) == 22
    assert hub.upkeep().visited == 0, "until it is cloned often again"


def test_one_costly_clone_writes_nothing(hub: KeptHub) -> None:
    popular(hub, clones=1)
    assert not any(pk.startswith("CLONES") for pk in hub.cloud.tables["counters"])


def test_a_pull_of_many_packs_is_no_clone(hub: KeptHub) -> None:
    popular(hub, clones=0)
    want = {"want": [*hub.heads("ada").values()], "have": [head(FIRST)]}
    for _ in range(4):
        assert hub.call(f"POST {WIRE}/fetch", SONG, want, by="ada").status == 200
    assert hub.upkeep().visited == 0


def test_a_deleted_repository_is_purged_a_day_later(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    hub.delete_repo("ada")
    hub.wait(DAY - HOUR)
    assert hub.upkeep().visited == 0 and hub.rows(repo_id)
    hub.wait(DAY + HOUR)
    assert hub.upkeep().done == {"purge": 1}
    assert hub.rows(repo_id) == hub.stored_keys(repo_id) == []
    assert hub.due() == []
    hub.wait(CHECK_SECONDS + DAY)
    assert hub.upkeep().visited == 1, "its check was still listed"
    assert hub.rows(repo_id) == [] and hub.upkeep().visited == 0


def test_an_undeleted_repository_is_not_purged_and_is_checked_again(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    hub.wait(CHECK_SECONDS + DAY)
    hub.delete_repo("ada")
    assert hub.upkeep().done == {}, "a deleted repository is not checked"
    hub.undelete("ada")
    hub.wait(2 * DAY)
    assert hub.upkeep().done == {"purge": 1}, "which deleted nothing"
    hub.wait(CHECK_SECONDS)
    assert hub.upkeep().done == {"check": 1}
    assert hub.visit(repo_id).findings == 0
    assert hub.heads("ada") == {"main": head(SECOND), "side": head(FIRST)}


def test_a_repository_that_was_deleted_twice_is_kept_for_a_day_again(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    hub.delete_repo("ada")
    hub.undelete("ada")
    hub.wait(2 * DAY - HOUR)
    hub.delete_repo("ada")
    hub.wait(DAY - 2 * HOUR)
    assert hub.upkeep().done == {}, "the purge of the first deletion is due"
    hub.undelete("ada")
    assert hub.heads("ada") == {"main": head(SECOND), "side": head(FIRST)}
    assert hub.findings("ada") == [] and hub.rows(repo_id)


def test_two_deleted_repositories_of_one_name_are_purged(hub: KeptHub) -> None:
    repo_ids = [hub.repo_id("ada")]
    hub.delete_repo("ada")
    assert hub.call("POST /api/v1/repos", {}, {"slug": "song"}, by="ada").status == 201
    repo_ids.append(hub.repo_id("ada"))
    hub.delete_repo("ada")
    hub.wait(2 * DAY)
    assert hub.upkeep().done == {"purge": 2}
    assert [hub.rows(repo_id) for repo_id in repo_ids] == [[], []]


def test_everything_is_checked_once_in_a_quarter(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    hub.wait(CHECK_SECONDS + DAY)
    assert hub.upkeep().done == {"check": 1}
    assert hub.visit(repo_id).findings == 0
    assert works(hub.due()) == ["gc"], "the quarterly gc finds what a crashed push did not list"
    for _ in range(3):
        hub.wait(GRACE_SECONDS + 60)
        hub.upkeep()
    assert hub.due() == []
    hub.wait(CHECK_SECONDS)
    assert hub.upkeep().done == {"check": 1}, "and the next check was listed"


# ── What goes wrong ───────────────────────────────────────────────────────────────────────────────


def lose_packs(hub: KeptHub, repo_id: str) -> None:
    for key in hub.stored_keys(repo_id):
        hub.cloud.objects[key] = []


def lines(text: str, event: str) -> list[dict[str, Any]]:
    """The log lines of an event."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def test_a_damaged_repository_is_reported_and_does_not_stop_the_others(
    hub: KeptHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIERIA_LOG_LEVEL", "ERROR")
    settings.load.cache_clear()
    assert hub.push("bob", FIRST).status == 200
    repo_id = hub.repo_id("ada")
    lose_packs(hub, repo_id)
    hub.put_due(Work.CHECK)
    hub.put_due(Work.CHECK, owner="bob")
    ran = hub.upkeep()
    assert (ran.visited, ran.done) == (2, {"check": 2})
    assert hub.visit(hub.repo_id("bob")).findings == 0
    faults = hub.visit(repo_id).findings
    printed = capsys.readouterr().err
    assert len(lines(printed, "upkeep finding")) == faults > 0
    [line] = lines(printed, "upkeep found faults")
    assert (line["repo_id"], line["findings"], line["UpkeepFailures"]) == (repo_id, faults, 1)
    [metric] = line["_aws"]["CloudWatchMetrics"]
    assert metric["Metrics"] == [{"Name": "UpkeepFailures", "Unit": "Count"}]


def test_work_that_fails_is_tried_later_and_later(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    hub.put_due(Work.GC)
    hub.cloud.tables["hub"][f"REPO#{repo_id}#LANE#main"] = {}
    delays = []
    for _ in range(3):
        assert hub.upkeep().failed == 1
        visit = hub.visit(repo_id)
        assert "Damaged" in visit.error
        delays.append(visit.not_before - int(hub.now()))
        assert hub.upkeep().busy == 1
        hub.wait(delays[-1] + 1)
    assert delays == [HOUR, 2 * HOUR, 4 * HOUR]
    assert hub.visit(repo_id).failures == 3
    assert works(hub.due()) == ["gc"], "it is not forgotten"


def test_work_beside_another_job_is_postponed_and_is_no_failure(hub: KeptHub) -> None:
    async def expunging() -> None:
        stores = await selection.stores()
        repo = await stores.repos.get("ada", "song")
        assert repo
        await start_expunge(stores.of(repo), "expunge-1", hub.now())

    hub.run(expunging())
    hub.put_due(Work.GC)
    ran = hub.upkeep()
    assert (ran.failed, ran.postponed) == (0, 1)
    assert hub.upkeep().visited == 1, "the next run tries again"


def test_two_runs_at_once_work_once_on_a_repository(hub: KeptHub) -> None:
    hub.put_due(Work.GC)
    first, second = hub.run(both(hub))
    assert first.visited + second.visited == 1
    assert first.busy + second.busy == 1


def test_a_visit_that_died_is_repeated_after_the_others(hub: KeptHub) -> None:
    repo_id = hub.repo_id("ada")
    hub.put_due(Work.GC)

    async def died() -> bool:
        stores = await selection.stores()
        return await stores.visits.start(repo_id, "dead", hub.now(), hub.now() + 900)

    assert hub.run(died())
    assert hub.upkeep().busy == 1
    hub.wait(902)
    assert hub.push("bob", FIRST).status == 200
    hub.put_due(Work.GC, owner="bob")
    ran = hub.upkeep()
    assert (ran.busy, ran.done) == (1, {"gc": 1}), "what ended the process does not end this one"
    hub.wait(DIED_SECONDS)
    assert hub.upkeep().done["gc"] == 2


def slow(hub: KeptHub, seconds: float) -> None:
    """From now on, each call takes this long."""

    async def gate(effect: Effect) -> None:
        await asyncio.sleep(seconds)

    hub.cloud.gate = gate


def test_a_check_that_takes_longer_than_a_slice_is_done_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each object is read by itself here, one after another."""
    monkeypatch.setattr(selection, "LIMITS", Limits(loose_object_bytes=50))
    files = {f"{number}.txt": b"%d" % number * 60 for number in range(60)}
    with kept_hub() as hub:
        assert hub.push("ada", take(files)).status == 200
        repo_id = hub.repo_id("ada")
        lost = hub.stored_keys(repo_id)
        hub.put_due(Work.CHECK)
        for key in lost[:6]:
            hub.cloud.objects[key] = []
        slow(hub, 1)
        done: list[str] = []
        while works(hub.due()) != ["gc"]:
            assert hub.upkeep(left_seconds=56).failed == 0
            done.append(hub.visit(repo_id).done)
            hub.wait(1)
        assert done == ["", "", "check 1 of 4", "check 2 of 4", "check 3 of 4", "check 4 of 4"]
        hub.cloud.gate = at_once
        assert hub.visit(repo_id).findings == len(hub.findings("ada")) > 1


def test_a_run_visits_no_further_repository_in_the_second_half_of_its_slice(hub: KeptHub) -> None:
    for owner in ("bob", "carol"):
        assert hub.push(owner, FIRST).status == 200
    for owner in ("ada", "bob", "carol"):
        hub.put_due(Work.GC, owner=owner)
    slow(hub, 1)
    ran = hub.upkeep(left_seconds=150)
    assert ran.visited >= 1 and ran.visited + ran.left == 3 and ran.left >= 1
    assert sum(hub.upkeep(left_seconds=900).done.values()) == ran.left


def test_the_function_does_nothing_if_upkeep_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIERIA_UPKEEP", "off")
    settings.load.cache_clear()
    try:
        assert client.run_job("upkeep") == {"is_disabled": True}
    finally:
        settings.load.cache_clear()


def test_repositories_of_an_older_hub_are_listed_once(owner: str) -> None:
    assert client.push(owner, "song", FIRST).status == 200
    repo_id = repo(owner).repo_id

    async def listed(stores: Stores) -> list[bool]:
        await stores.due.remove([one for one in await stores.due.all() if one.repo_id == repo_id])
        found = []
        for _ in range(2):
            await upkeep.list_checks(stores, 1_800_000_000)
            found.append([one.work for one in await stores.due.all() if one.repo_id == repo_id])
        return [works == [Work.CHECK] for works in found]

    assert run(listed) == [True, True]
