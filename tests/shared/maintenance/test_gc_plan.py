"""The plan of each step of gc: its writes in their order, without any write."""

import pytest

from shared.graph.reachability import Reached
from shared.maintenance import gc
from shared.maintenance.gc_plan import (
    GRACE_SECONDS,
    DeleteRows,
    MarkedRow,
    Plan,
    RowKind,
    UnmarkRows,
    plan_sweep,
)
from shared.maintenance.gc_scan import LaneRow, SweepScan
from shared.maintenance.lease import Step
from shared.metadata import keys
from shared.metadata.scans import Entry
from shared.model import CommitAddress, CommitId, Kind, ObjectId, Packed, RepoId
from tests.builders import graph
from tests.shared.maintenance.test_gc_stories import REPO, Story, forgotten

RUN = "this gc"


async def planned(story: Story) -> Plan:
    """The plan of the step that is due. It must change nothing."""
    before = story.cloud.save()
    found: Plan = await story.do(gc.plan(story.stores.of(REPO), story.turns.clock))
    assert story.cloud.save() == before
    return found


@pytest.mark.asyncio
async def test_each_step_has_a_plan_that_prints_its_writes_in_their_order() -> None:
    story = Story()
    await forgotten(story, graph("1; 2:1"), [1, 2])
    condemn = await planned(story)
    assert list(map(str, condemn.writes)) == [
        "mark rows of commits: 2",
        "mark rows of lanes: 2",
        "mark rows of snapshots: 2",
        "mark rows of objects: 2",
    ]
    assert (await story.do(story.gc())).rows == condemn.report().rows
    assert (await planned(story)).step is None, "the grace is not over"
    story.wait(GRACE_SECONDS + 5)
    sweep = await planned(story)
    assert list(map(str, sweep.writes)) == [
        "delete rows of commits: 2",
        "delete rows of lanes: 2",
        "delete rows of snapshots: 2",
        "delete rows of objects: 2",
    ]
    assert (await story.do(story.gc())).rows == sweep.report().rows
    story.wait(GRACE_SECONDS + 5)
    collect = await planned(story)
    assert list(map(str, collect.writes)) == [
        "delete versions in the bucket: 1 of packs, 0 of large objects, 0 of prebuilt clones",
        "delete old moves",
        "delete old folder marks",
        "delete empty lanes from the list of lanes",
    ]
    assert (await story.do(story.gc())).packs == collect.report().packs == 1


def test_a_sweep_unmarks_parents_first_and_then_deletes_children_first() -> None:
    low = CommitAddress(CommitId("low"), 1, "main")
    high = CommitAddress(CommitId("high"), 2, "main")
    dead_low = CommitAddress(CommitId("dead low"), 3, "main")
    dead_high = CommitAddress(CommitId("dead high"), 4, "main")
    addresses = [low, high, dead_low, dead_high]
    at = Packed("pack", 8, 1)
    scan = SweepScan(
        run_id=RUN,
        live=Reached({low, high}, {CommitId("low"), CommitId("high")}, set(), {ObjectId("live")}),
        commits=[Entry(Kind.COMMIT, one.commit_id, one, None, RUN) for one in addresses],
        lanes=[LaneRow(one, RUN, 0) for one in addresses],
        snapshots=[Entry(Kind.SNAPSHOT, "of another gc", None, at, "another gc")],
        objects=[Entry(Kind.OBJECT, "live", None, at, "another gc")],
    )
    repo_id = RepoId("r1")
    plan = plan_sweep(repo_id, scan)
    assert list(map(str, plan.writes)) == [
        "unmark rows of objects: 1",
        "unmark rows of lanes: 2",
        "unmark rows of commits: 2",
        "delete rows of commits: 2",
        "delete rows of lanes: 2",
    ]
    commit_keys = [keys.by_id(repo_id, Kind.COMMIT, one.commit_id) for one in addresses]
    parents_first = [MarkedRow(key, RUN, is_live=True) for key in commit_keys[:2]]
    assert plan.writes[2] == UnmarkRows(RowKind.COMMITS, parents_first)
    assert plan.writes[3] == DeleteRows(RowKind.COMMITS, [commit_keys[3], commit_keys[2]])
    assert plan.step is Step.SWEPT
