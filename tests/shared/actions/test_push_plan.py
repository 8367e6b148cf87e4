"""The order of the writes of a push."""

from shared import pushed_bundle
from shared.actions.push_plan import Existing, Write, WritePlan, plan_writes
from shared.limits import Limits
from shared.model import CommitAddress, CommitId, ObjectId, Ref, SnapshotId, Upload, Version
from shared.protocol.push import Push
from tests.builders import graph

DRAWN = graph("1; 2: 1")
NOTHING = Existing({}, {}, {}, {})
BRANCH = {"main": Ref("main", CommitAddress(CommitId("0" * 64), 1, "main"), None, "", 0)}


def planned(existing: Existing = NOTHING, uploads: tuple[Upload, ...] = ()) -> WritePlan:
    request = Push.model_validate({"bundle": DRAWN.bundle(), "branch": "main", "force": False})
    return plan_writes("main", pushed_bundle.check(request), existing, set(), uploads, Limits())


def test_bytes_are_written_before_rows_and_objects_before_their_snapshots() -> None:
    assert planned().stages() == [
        [Write.BYTES, Write.LANE, Write.FOLDERS],
        [Write.OBJECTS],
        [Write.SNAPSHOTS, Write.COMMITS],
    ]


def test_a_verified_upload_is_accepted_with_the_bytes() -> None:
    upload = Upload(ObjectId("a" * 64), Version("etag", "version"), 3)
    first, *_ = planned(Existing(BRANCH, {}, {}, {}), (upload,)).stages()
    assert first == [Write.BYTES, Write.UPLOADS]


def test_rows_that_point_to_no_bytes_do_not_wait_for_them() -> None:
    plan = planned()
    objects = {ObjectId(object_id): at for (_, object_id), at in plan.object_rows.items()}
    snapshots = {SnapshotId(snapshot_id): at for (_, snapshot_id), at in plan.snapshot_rows.items()}
    again = planned(Existing(BRANCH, {}, snapshots, objects))
    assert again.nodes.keys() == plan.nodes.keys()
    assert again.stages() == [[Write.BYTES, Write.COMMITS]]
