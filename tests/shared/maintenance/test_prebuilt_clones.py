"""A popular clone is served from a prebuilt clone. The client sees no difference except the time."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from bench.meter import Meter
from shared import codec, codings, packs
from shared.actions import branches, fetch
from shared.actions.repos import UNDELETE_SECONDS
from shared.codings import Coding
from shared.errors import Damaged, Unavailable
from shared.maintenance import fsck, gc_plan, lease, prebuilt_clones, purge
from shared.maintenance.prebuilt_clones import Made
from shared.metadata.commits import STALE_SECONDS
from shared.model import CommitId, Repo, Sees, Visibility
from shared.objects import keys
from shared.protocol.fetch import Fetch
from shared.stores import Stores
from tests import builders
from tests import client as hub
from tests.builders import History, Record, blob, graph
from tests.client import Answer
from tests.points import A_TRANSACTION_IS_WRITTEN, BYTES_ARE_DELETED, BYTES_ARE_READ
from tests.shared.maintenance.test_gc_stories import LONG, REPO, Story
from tests.shared.maintenance.upkeep import Bytes, change_row, remove_row, repo, rows, run

DRAWING = "1; 2:1; 3:2; 4:2; 5:3,4; 6:5; 7:6"


def made(owner: str, slug: str = "song") -> Made:
    """Prebuild it as the operator of the hub does."""
    found = repo(owner, slug)
    return run(lambda stores: prebuilt_clones.make(stores.of(found), time.time))


def cloned(owner: str, *want: str, slug: str = "song", **how: Any) -> tuple[Record, Meter]:
    """Exactly the data of a clone of these commits, or of every branch; and its calls.

    No record came twice.
    """
    wanted = list(want) or list(hub.heads(owner, slug, by=owner).values())
    with Meter() as meter:
        answer = hub.fetch(owner, slug, wanted, by=owner, **how)
    assert answer.status == 200, answer.body
    value: Record = answer.value
    for name, key in (
        ("commits", "commit_id"),
        ("snapshots", "snapshot_id"),
        ("objects", "object_id"),
    ):
        assert max(Counter(one[key] for one in value[name]).values(), default=1) == 1
        value[name].sort(key=lambda one, key=key: one[key])
    return value, meter


def read_from_bundle(meter: Meter) -> bool:
    """Whether the clone needed nothing but the look-up, the counter, the refs and one read."""
    return dict(meter.by_operation()) == {
        "dynamodb.BatchGetItem": 1,
        "dynamodb.UpdateItem": 1,
        "dynamodb.Query": 1,
        "s3.GetObject": 1,
    }


def bundle_row(owner: str) -> Record:
    [row] = [row for row in rows(repo(owner).repo_id, "") if row["sk"] == "REF-BUNDLE"]
    return row


def bundle_key(owner: str) -> str:
    return keys.prebuilt(repo(owner).repo_id, bundle_row(owner)["name"])


def push(owner: str, bundle: Record, branch: str = "main", **how: Any) -> None:
    answer = hub.push(owner, "song", bundle, branch=branch, **how)
    assert answer.status == 200, answer.body


@pytest.fixture
def drawn(owner: str) -> History:
    """Pushed up to 5, with all kinds of contents: empty, small, and large enough for a separate
    object.
    """
    history = graph(DRAWING, salt=owner)
    push(owner, history.bundle([1, 2, 3, 4, 5]))
    kinds = [blob(b""), blob(b"small"), blob(random.Random(1).randbytes(1_500_000))]
    tree = builders.snapshot({f"kind-{n}": one["object_id"] for n, one in enumerate(kinds)})
    tip = builders.commit("kinds", [history[5]], tree["snapshot_id"])
    push(owner, {"commits": [tip], "snapshots": [tree], "objects": kinds}, branch="kinds")
    return history


# ── The same answer ───────────────────────────────────────────────────────────────────────────────


def test_a_clone_is_the_same_with_a_bundle_and_takes_four_calls(owner: str, drawn: History) -> None:
    before, meter = cloned(owner)
    assert not read_from_bundle(meter) and len(before["commits"]) == 6
    assert made(owner).is_new
    after, meter = cloned(owner)
    assert after == before
    assert read_from_bundle(meter)


def test_the_same_in_json(owner: str, drawn: History) -> None:
    def in_json() -> Record:
        message = {"want": list(hub.heads(owner, "song", by=owner).values()), "have": []}
        answer = hub.call(
            "fetch", owner, "song", message, by=owner, headers={"accept": "application/json"}
        )
        found: Record = json.loads(answer.body)
        for name, key in (
            ("commits", "commit_id"),
            ("snapshots", "snapshot_id"),
            ("objects", "object_id"),
        ):
            found[name].sort(key=lambda one, key=key: one[key])
        return found

    before = in_json()
    made(owner)
    assert in_json() == before and len(before["objects"]) == 8


CODINGS = ("identity", "zstd", "gzip")


def sorted_clone(owner: str, coding: str) -> tuple[Answer, Record]:
    """The reply to a clone, and its content, sorted."""
    want = list(hub.heads(owner, "song", by=owner).values())
    answer = hub.call(
        "fetch", owner, "song", {"want": want}, by=owner, headers={"accept-encoding": coding}
    )
    found: Record = answer.value
    for name, key in (
        ("commits", "commit_id"),
        ("snapshots", "snapshot_id"),
        ("objects", "object_id"),
    ):
        found[name].sort(key=lambda one, key=key: one[key])
    return answer, found


def test_it_is_stored_compressed_and_sent_as_it_is_stored(owner: str, drawn: History) -> None:
    _, before = sorted_clone(owner, "identity")
    assert made(owner).is_new
    row = bundle_row(owner)
    stored = Bytes(repo(owner).repo_id).get(bundle_key(owner))
    frames = [int(str(row[f"{run}_stored"])) for run in ("commits", "snapshots", "objects")]
    answers = {}
    for coding in CODINGS:
        answers[coding], after = sorted_clone(owner, coding)
        assert after == before, coding
    start = 0
    for size in frames:
        assert stored[start : start + size] in answers["zstd"].body
        start += size
    assert start < len(answers["zstd"].body) < start + 1_000, (
        "nothing but the heads and headers of lists comes on top"
    )


def test_newer_data_is_compressed_separately(owner: str, drawn: History) -> None:
    made(owner)
    push(owner, drawn.bundle([6]))
    stored = Bytes(repo(owner).repo_id).get(bundle_key(owner))
    found = {coding: sorted_clone(owner, coding) for coding in CODINGS}
    assert stored[:100] in found["zstd"][0].body
    remove_row(bundle_row(owner))
    _, without = sorted_clone(owner, "identity")
    assert [one for _, one in found.values()] == [without] * len(CODINGS)


def stored_as_older_hubs_did(owner: str) -> None:
    """The bundle that the repository has, its entries as they are."""
    asked = repo(owner)

    async def work(stores: Stores) -> None:
        present = await stores.of(asked).prebuilt_clones.get()
        assert present
        name, stored = present.name, present.stored_size
        data = await stores.of(asked).objects.read_prebuilt(name, 0, stored + present.ids_size)
        entries, start = b"", 0
        for one in present.runs:
            entries += b"".join(
                codings.Expander(Coding.ZSTD).expand(data[start : start + one.stored_size])
            )
            start += one.stored_size
        old = entries + data[stored:]
        name = sha256(old).hexdigest()
        spans = packs.plan_prebuilt(name, len(entries), packs.RANGE_BYTES)
        digests = tuple(sha256(entries[span.start : span.stop]).digest() for span in spans)
        commits, snapshots, objects = (replace(one, stored_size=0) for one in present.runs)
        plain = replace(
            present,
            name=name,
            commits=commits,
            snapshots=snapshots,
            objects=objects,
            digests=digests,
        )
        await stores.of(asked).objects.put_prebuilt(name, old)
        await stores.of(asked).prebuilt_clones.put(plain, await stores.of(asked).scans.progress())

    run(work)


def test_one_that_an_older_hub_stored_is_sent_and_then_replaced(owner: str, drawn: History) -> None:
    made(owner)
    stored_as_older_hubs_did(owner)
    assert bytes(bundle_row(owner)["stored_digests"]) == b""
    assert any("bundles/" in key for key in keys_read(owner))
    found = [sorted_clone(owner, coding)[1] for coding in CODINGS]
    assert findings(owner) == []
    assert made(owner).is_new, "by the next make"
    assert found == [sorted_clone(owner, "identity")[1]] * len(CODINGS)
    assert not made(owner).is_new


def test_an_older_hub_ignores_a_compressed_one(owner: str, drawn: History) -> None:
    """It looks for `digests`, and takes a row without them for damaged."""
    made(owner)
    assert "digests" not in bundle_row(owner)


def test_newer_data_is_sent_as_well_and_no_record_twice(owner: str, drawn: History) -> None:
    """Also where it is not new: an old file comes back, and a whole old tree."""
    made(owner)
    old = drawn.snapshots[1]
    push(owner, drawn.bundle([6]))
    back = builders.commit("back to the first", [drawn[6]], old["snapshot_id"])
    mixed = builders.snapshot(
        {**old["manifest"], **drawn.snapshots[6]["manifest"], "new": blob(b"new")["object_id"]}
    )
    again = builders.commit("some of both", [back["commit_id"]], mixed["snapshot_id"])
    push(owner, {"commits": [back, again], "snapshots": [old, mixed], "objects": [blob(b"new")]})
    with_it, _ = cloned(owner)
    assert any("bundles/" in key for key in keys_read(owner))
    remove_row(bundle_row(owner))
    without, _ = cloned(owner)
    assert with_it == without
    assert len(without["commits"]) == 9


def keys_read(owner: str, *want: str) -> list[str]:
    """The keys in S3 that a clone reads."""
    with Meter(weigh=True) as meter:
        hub.fetch(
            owner, "song", list(want) or list(hub.heads(owner, "song", by=owner).values()), by=owner
        )
    return [call.params["Key"] for call in meter.log if call.service == "s3"]


def test_the_reply_lacks_the_commits_that_a_forced_push_removed(owner: str, drawn: History) -> None:
    made(owner)
    push(owner, drawn.bundle([1, 2, 3]), force=True)
    found_at = repo(owner)
    run(
        lambda stores: branches.delete(
            stores.of(found_at), "kinds", leave_empty=True, by=owner, now=time.time()
        )
    )
    found, _ = cloned(owner)
    assert {one["commit_id"] for one in found["commits"]} == {drawn[n] for n in (1, 2, 3)}
    assert made(owner).is_new
    assert cloned(owner)[0] == found


def test_a_client_that_wants_one_branch_gets_no_other(owner: str, drawn: History) -> None:
    made(owner)
    found, _ = cloned(owner, drawn[5])
    assert {one["commit_id"] for one in found["commits"]} == {drawn[n] for n in range(1, 6)}
    # `kinds` leads to all of `main`, so that is in the bundle of `kinds` alone.
    assert not any(one["content"].startswith(b"large") for one in found["objects"])


def test_a_client_with_haves_is_served_as_before(owner: str, drawn: History) -> None:
    made(owner)
    answer = hub.fetch(owner, "song", [drawn[5]], [drawn[3]], by=owner)
    assert hub.fetched_ids(answer)[0] == {drawn[4], drawn[5]}


def test_an_old_commit_and_an_unknown_one_are_answered_as_before(
    owner: str, drawn: History
) -> None:
    made(owner)
    assert {one["commit_id"] for one in cloned(owner, drawn[2])[0]["commits"]} == {
        drawn[1],
        drawn[2],
    }
    assert hub.fetch(owner, "song", [drawn[5], "f" * 64], by=owner).status == 404


def test_strangers_learn_nothing(owner: str) -> None:
    hidden = Repo(owner, "song", visibility=Visibility.PRIVATE)
    run(lambda stores: stores.repos.create(hidden, int(time.time())))
    push(owner, graph("1").bundle())
    made(owner)
    answer = hub.fetch(owner, "song", ["f" * 64])
    absent = hub.fetch(owner, "absent", ["f" * 64])
    assert (
        (answer.status, answer.value["code"])
        == (absent.status, absent.value["code"])
        == (404, "repo_not_found")
    )


# ── Damage, and what comes between ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at", [0, -1], ids=["what is sent", "the ids"])
def test_damaged_bytes_are_never_sent(owner: str, drawn: History, at: int) -> None:
    made(owner)
    push(owner, drawn.bundle([6]))
    right, _ = cloned(owner)
    stored, key = Bytes(repo(owner).repo_id), bundle_key(owner)
    data = bytearray(stored.get(key))
    data[at] ^= 1
    stored.put(key, bytes(data))
    assert cloned(owner)[0] == right
    assert [finding.kind for finding in findings(owner)] == ["bundle"]
    assert "repo bundle" in findings(owner)[0].fix
    assert made(owner).is_new
    assert findings(owner) == []


def test_an_object_that_only_damaged_ids_name_is_sent(owner: str, drawn: History) -> None:
    """The ids of a prebuilt clone are those of its content.

    Here one of them is the id of an object that was pushed later.
    """
    made(owner)
    push(owner, drawn.bundle([6]))
    right, _ = cloned(owner)
    stored, key = Bytes(repo(owner).repo_id), bundle_key(owner)
    data, ids_size = stored.get(key), int(bundle_row(owner)["ids_size"])
    old, new = drawn.snapshots[1]["manifest"]["1.txt"], drawn.snapshots[6]["manifest"]["6.txt"]
    damaged_ids = data[-ids_size:].replace(old.encode(), new.encode())
    assert damaged_ids != data[-ids_size:]
    stored.put(key, data[:-ids_size] + damaged_ids)
    assert cloned(owner)[0] == right


@pytest.mark.parametrize("cut", [None, 100], ids=["gone", "cut short"])
def test_a_bundle_that_is_gone_is_done_without(owner: str, drawn: History, cut: int | None) -> None:
    made(owner)
    right, _ = cloned(owner)
    stored, key = Bytes(repo(owner).repo_id), bundle_key(owner)
    if cut:
        stored.put(key, stored.get(key)[:cut])
    else:
        stored.remove(key)
    assert cloned(owner)[0] == right
    assert [finding.kind for finding in findings(owner)] == ["bundle"]
    assert made(owner).is_new
    assert read_from_bundle(cloned(owner)[1])


def findings(owner: str) -> list[fsck.Finding]:
    found = repo(owner)

    async def work(stores: Stores) -> list[fsck.Finding]:
        return [finding async for finding in fsck.fsck(stores.of(found))]

    return run(work)


def test_fsck_compares_it_with_the_data_that_its_heads_reach(owner: str, drawn: History) -> None:
    """A row that names an id that the prebuilt clone does not have: a client that wants it would
    miss it.
    """
    made(owner)
    assert findings(owner) == []
    push(owner, drawn.bundle([6]))
    row = bundle_row(owner)
    [ref] = [row for row in rows(repo(owner).repo_id, "") if row["sk"] == "REF#main"]
    change_row(
        row, heads=[*row["heads"], f"{int(ref['generation']):012d}#{ref['head']}#{ref['lane']}"]
    )
    assert [(found.kind, found.wrong) for found in findings(owner)] == [
        ("bundle", "holds other commits than its heads lead to")
    ]


def test_damage_in_the_middle_breaks_the_answer_off(
    owner: str, drawn: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the first window is looked at before it is sent, and then it is too late for
    another answer.
    """
    monkeypatch.setattr(packs, "RANGE_BYTES", 100_000)
    monkeypatch.setattr(packs, "WINDOW_BYTES", 200_000)
    made(owner)
    stored, key = Bytes(repo(owner).repo_id), bundle_key(owner)
    right = stored.get(key)
    stored.put(key, right[:1_000_000] + b"!" + right[1_000_001:])

    asked = repo(owner)
    heads = hub.heads(owner, "song", by=owner)
    cut = Fetch(want=list(map(CommitId, heads.values())))

    async def work(stores: Stores) -> tuple[bytes, int]:
        found = await fetch.fetch(stores.of(asked), cut, Sees.ALL)
        sent = b""
        with pytest.raises(Damaged):
            async for piece in found.in_msgpack():
                sent += piece
        return sent, found.size

    sent, size = run(work)
    assert 500_000 < len(sent) < size


def test_a_crash_between_the_bytes_and_the_row_leaves_all_as_it_was(
    owner: str, drawn: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(Exception):
        pass

    async def dies(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("shared.metadata.prebuilt_clones.PrebuiltClones.put", dies)
        with pytest.raises(Crash):
            made(owner)
    assert len(Bytes(repo(owner).repo_id).keys("bundles/")) == 1
    assert not read_from_bundle(cloned(owner)[1])
    assert made(owner).is_new
    assert len(Bytes(repo(owner).repo_id).keys("bundles/")) == 1
    assert read_from_bundle(cloned(owner)[1])


def test_a_bundle_is_made_once_for_the_same_branches(owner: str, drawn: History) -> None:
    first = made(owner)
    again = made(owner)
    assert not again.is_new and again.prebuilt == first.prebuilt
    # A branch that is behind another adds nothing to be sent. But a clone should not have to find
    # that out.
    push(owner, drawn.bundle([1, 2]), branch="behind")
    assert not read_from_bundle(cloned(owner)[1])
    assert not made(owner).is_new
    assert read_from_bundle(cloned(owner)[1])
    push(owner, drawn.bundle([6]))
    assert made(owner).is_new


def test_no_prebuilt_clone_is_made_of_incomplete_data(owner: str) -> None:
    """An opaque id names an object that was never sent. When it comes, a clone has to bring it."""
    tree: Record = {**builders.snapshot({"stem.wav": "later-1"}), "snapshot_id": "snap1"}
    push(
        owner, {"commits": [builders.commit("1", [], "snap1")], "snapshots": [tree], "objects": []}
    )
    assert "later-1" in made(owner).why_not
    late = {"object_id": "later-1", "content": b"late"}
    assert hub.call("push_objects", owner, "song", {"objects": [late]}, by=owner).status == 200
    assert made(owner).is_new
    assert [one["object_id"] for one in cloned(owner)[0]["objects"]] == ["later-1"]


def test_no_prebuilt_clone_is_made_of_a_damaged_repository(owner: str, drawn: History) -> None:
    found = repo(owner)

    async def work(stores: Stores) -> Made:
        tight = replace(
            stores, settings=stores.settings.model_copy(update={"max_reply_bytes": 1000})
        )
        return await prebuilt_clones.make(tight.of(found), time.time)

    assert "larger" in run(work).why_not
    run(lambda stores: stores.repos.create(Repo(owner, "empty"), int(time.time())))
    assert made(owner, "empty").why_not == "it has no branches"


def test_nothing_is_left_of_it_when_the_repository_goes(owner: str, drawn: History) -> None:
    made(owner)
    found = repo(owner)
    run(lambda stores: stores.repos.delete(found, int(time.time())))
    run(lambda stores: purge.purge(stores, now=time.time() + UNDELETE_SECONDS + 60))
    assert rows(found.repo_id, "") == [] and Bytes(found.repo_id).versions() == 0


# ── gc ────────────────────────────────────────────────────────────────────────────────────────────


async def bundled(story: Story) -> str:
    """Its name."""
    done: Made = await story.do(prebuilt_clones.make(story.stores.of(REPO), story.turns.clock))
    assert done.prebuilt
    return done.prebuilt.name


def stored(story: Story) -> set[str]:
    return {
        key.rpartition("/")[2]
        for key, versions in story.cloud.objects.items()
        if "/bundles/" in key and versions
    }


async def whole(begun: Any) -> bytes:
    """An answer read to its end."""
    return b"".join([piece async for piece in begun.in_msgpack()])


@pytest.mark.asyncio
async def test_gc_keeps_the_bundle_and_removes_those_before_it_after_a_grace() -> None:
    story, history = Story(), graph("1; 2:1; 3:2")
    await story.do(story.push(history.bundle([1]), history[1]))
    first = await bundled(story)
    story.wait(LONG)
    await story.do(story.push(history.bundle([2]), history[2]))
    await story.step()
    await story.step()
    story.wait(gc_plan.GRACE_SECONDS + 5)
    second = await bundled(story)
    assert (await story.do(story.gc())).step == lease.Step.COLLECTED
    assert stored(story) == {first, second}, "somebody may have found the first one a moment ago"
    await story.whole_gc()
    assert stored(story) == {second}
    assert len((await story.clone())["commits"]) == 2


async def about_to_name(story: Story) -> asyncio.Task[Made]:
    """A job that has written the bytes of a prebuilt clone, and stalls."""
    making = story.begin("making", prebuilt_clones.make(story.stores.of(REPO), story.turns.clock))
    await story.turns.resume("making", A_TRANSACTION_IS_WRITTEN)
    return making


@pytest.mark.parametrize("steps", [0, 1, 2, 3], ids=["condemn", "sweep", "collect", "next"])
@pytest.mark.asyncio
async def test_a_job_that_stalled_during_a_step_of_gc_writes_no_row(steps: int) -> None:
    story, history = Story(), graph("1; 2:1")
    await story.do(story.push(history.bundle([1]), history[1]))
    for _ in range(steps):
        await story.step()
    making = await about_to_name(story)
    await story.step()
    with pytest.raises(Unavailable, match="run it again"):
        await story.ends("making", making)
    assert await bundled(story) in stored(story)
    await story.whole_gc()
    assert len(stored(story)) == 1
    assert await story.findings() == []


@pytest.mark.parametrize("is_gc", [True, False], ids=["by gc", "by nobody"])
@pytest.mark.asyncio
async def test_data_that_gc_deletes_during_the_read_is_no_damage(is_gc: bool) -> None:
    story, history = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(history.bundle([1, 2]), history[2]))
    making = story.begin("making", prebuilt_clones.make(story.stores.of(REPO), story.turns.clock))
    await story.turns.resume("making", BYTES_ARE_READ)
    await story.do(story.push(history.bundle([3]), history[3], force=True))
    if is_gc:
        story.wait(LONG)
        await story.whole_gc()
    else:
        story.cloud.objects.clear()
    with pytest.raises(Unavailable if is_gc else Damaged):
        await story.ends("making", making)


@pytest.mark.asyncio
async def test_no_bundle_is_named_while_gc_removes_its_bytes() -> None:
    story, history = Story(), graph("1")
    await story.do(story.push(history.bundle([1]), history[1]))
    await story.step()
    await story.step()
    making = await about_to_name(story)
    story.wait(gc_plan.GRACE_SECONDS + 5)
    collect = story.begin("collect", story.gc())
    await story.turns.resume("collect", BYTES_ARE_DELETED)
    with pytest.raises(Unavailable, match="run it again"):
        await story.ends("making", making)
    await story.ends("collect", collect)
    assert (
        await story.do(story.stores.of(REPO).prebuilt_clones.get()) is None
        and stored(story) == set()
    )


@pytest.mark.asyncio
async def test_a_collect_that_died_is_not_begun_again() -> None:
    """Else it would delete data that a job which began between the two is about to name."""
    story, history = Story(), graph("1; 2:1")
    await story.do(story.push(history.bundle([1]), history[1]))
    await bundled(story)
    await story.do(story.push(history.bundle([2]), history[2]))
    second = await bundled(story)
    await story.step()
    await story.step()
    story.wait(gc_plan.GRACE_SECONDS + 5)
    collect = story.begin("collect", story.gc())
    await story.turns.resume("collect", BYTES_ARE_DELETED)
    await story.dies(collect)
    assert (await story.do(story.gc())).step is None, "it may be at work"
    await story.do(story.push(history.bundle([1]), history[1], "other", force=True))
    await story.do(story.delete("main"))
    making = await about_to_name(story)
    assert (await story.step()).step == lease.Step.CONDEMNED
    with pytest.raises(Unavailable, match="run it again"):
        await story.ends("making", making)
    await story.step()
    await story.step()
    assert stored(story) == {second}


@pytest.mark.asyncio
async def test_a_bundle_that_was_named_late_leaves_the_one_before_it_to_its_readers() -> None:
    story, history = Story(), graph("1; 2:1")
    await story.do(story.push(history.bundle([1]), history[1]))
    first = await bundled(story)
    await story.do(story.push(history.bundle([2]), history[2]))
    await story.step()
    await story.step()
    making = await about_to_name(story)
    story.wait(gc_plan.GRACE_SECONDS + 5)
    begun = await story.do(fetch.fetch(story.stores.of(REPO), Fetch(want=[history[1]]), Sees.ALL))
    assert (await story.ends("making", making)).is_new
    assert (await story.do(story.gc())).step == lease.Step.COLLECTED
    assert first in stored(story)
    assert len(await story.do(whole(begun))) == begun.size


@pytest.mark.asyncio
async def test_a_fetch_that_has_begun_ends_though_the_bundle_is_replaced() -> None:
    story, history = Story(), graph("1; 2:1")
    await story.do(story.push(history.bundle([1]), history[1]))
    first = await bundled(story)
    begun = await story.do(fetch.fetch(story.stores.of(REPO), Fetch(want=[history[1]]), Sees.ALL))
    await story.do(story.push(history.bundle([2]), history[2]))
    assert await bundled(story) != first
    await story.tidy(STALE_SECONDS)

    body = await story.do(whole(begun))
    assert len(body) == begun.size
    assert [one["commit_id"] for one in codec.unpack_record(body)["commits"]] == [history[1]]


@pytest.mark.asyncio
async def test_a_bundle_keeps_nothing_alive() -> None:
    """Data that no branch reaches for long is deleted, the prebuilt clone with it first."""
    story, history = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(history.bundle([1, 2]), history[2]))
    await bundled(story)
    await story.do(story.push(history.bundle([3]), history[3], force=True))
    await story.whole_gc()
    assert len(stored(story)) == 1, "a branch can still be set back"
    story.wait(LONG)
    await story.step()
    assert await story.do(story.stores.of(REPO).prebuilt_clones.get()) is None
    assert await story.known(history[2]) == set()
    await story.step()
    await story.step()
    assert stored(story) == set()
    assert len((await story.clone())["commits"]) == 2


@pytest.mark.asyncio
async def test_a_commit_that_was_gone_comes_back_as_it_was_pushed_again() -> None:
    """Not as in the prebuilt clone: fields outside the hash may differ."""
    story, history = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(history.bundle([1, 2]), history[2]))
    await bundled(story)
    await story.do(story.push(history.bundle([3]), history[3], force=True))
    story.wait(LONG)
    await story.whole_gc()
    again = history.bundle([2])
    again["commits"] = [{**again["commits"][0], "author": "Bob"}]
    await story.do(story.push(again, history[2], force=True))
    commits = {one["commit_id"]: one for one in (await story.clone())["commits"]}
    assert commits[history[2]]["author"] == "Bob"
