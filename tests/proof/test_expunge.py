"""expunge with concurrent pushes, interrupted after any of its calls: the leaked data is gone, and
nothing else is.
"""

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from shared import codec
from shared.engines.selection import stores
from shared.errors import Unavailable, Unprocessable
from shared.maintenance import expunge, fsck, gc, lease, prebuilt_clones, rebuild
from shared.maintenance.expunge import WAIT_SECONDS, Expunged
from shared.maintenance.lease import Step
from shared.model import CommitAddress, CommitId, Node, Repo
from shared.stores import Stores
from tests import client
from tests.builders import Record, blob, commit, snapshot
from tests.client import Answer
from tests.faults import Crash, Fault, fault, recorded
from tests.proof.asgi_client import Hub
from tests.proof.memory import Cloud, Effect
from tests.proof.stories import API, WIRE
from tests.proof.stories import push as push_message

SONG = {"owner": "me", "slug": "song"}
SECRET = b"password = hunter2, in a file of its own\n"
LARGE = b"private key " * 100_000
WORD = "the name of the merger"


def files(message: str, contents: dict[str, bytes], *parents: str) -> Record:
    """A commit of these files, as a bundle."""
    blobs = [blob(content) for content in contents.values()]
    record = snapshot({path: one["object_id"] for path, one in zip(contents, blobs, strict=True)})
    return {
        "commits": [commit(message, parents, record["snapshot_id"])],
        "snapshots": [record],
        "objects": blobs,
    }


def together(*bundles_: Record) -> Record:
    """One bundle of several."""
    objects = {one["object_id"]: one for bundle in bundles_ for one in bundle["objects"]}
    return {
        "commits": [one for bundle in bundles_ for one in bundle["commits"]],
        "snapshots": [one for bundle in bundles_ for one in bundle["snapshots"]],
        "objects": [*objects.values()],
    }


BASE = files("base", {"a.txt": b"harmless\n"})
ROOT = BASE["commits"][0]["commit_id"]
LEAK = files(f"oops: {WORD}", {"a.txt": b"harmless\n", "env": SECRET, "key.pem": LARGE}, ROOT)
LEAKED = LEAK["commits"][0]["commit_id"]
LATER = files("one more on it", {"a.txt": b"harmless\n", "env": SECRET, "b.txt": b"more\n"}, LEAKED)
LAST = files(
    "a third on it",
    {"a.txt": b"harmless\n", "env": SECRET, "c.txt": b"last\n"},
    LATER["commits"][0]["commit_id"],
)
GOOD = files("without it", {"a.txt": b"harmless\n", "b.txt": b"more\n"}, ROOT)
FIXED = GOOD["commits"][0]["commit_id"]
SECRET_ID, LARGE_ID = blob(SECRET)["object_id"], blob(LARGE)["object_id"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The leak was pushed, together with harmless things, built upon, and taken back by force."""
    with Hub(Cloud()) as running:
        pushed(running, together(BASE, LEAK))
        pushed(running, LATER)
        pushed(running, GOOD, force=True)
        yield running


def pushed(hub: Hub, bundle: Record, branch: str = "main", *, force: bool = False) -> Answer:
    answer = hub.call(f"POST {WIRE}/push", SONG, push_message(bundle, branch, force=force), by="me")
    assert answer.status == 200, answer.body
    return answer


def expunged(hub: Hub, *ids: str) -> Expunged:
    async def work(opened: Stores, repo: Repo) -> Expunged:
        return await expunge.expunge(opened.of(repo), set(ids), hub.now)

    report: Expunged = kept(hub, work)
    return report


def kept(hub: Hub, work: Any) -> Any:
    async def run() -> Any:
        opened = await stores()
        repo = await opened.repos.get("me", "song")
        assert repo
        return await work(opened, repo)

    return hub.run(run())


def wait(hub: Hub) -> None:
    hub.loop.now += WAIT_SECONDS + 5


def leaks(hub: Hub) -> set[str]:
    """Where the secrets are, in any version of any object, and in any row."""
    found: set[str] = set()
    words = [SECRET, LARGE[:50], WORD.encode()]
    for key, versions in hub.cloud.objects.items():
        found |= {key for version in versions if any(word in version.data for word in words)}
    ids = (SECRET_ID, LARGE_ID, LEAKED)
    for pk, rows in hub.cloud.tables["hub"].items():
        if "#MOVES" not in pk:
            found |= {
                f"{pk} {sk}" for sk, row in rows.items() if any(i in f"{sk} {row}" for i in ids)
            }
    return found


def assert_whole(hub: Hub, heads: dict[str, str]) -> None:
    """The branches are these, fsck finds nothing, and a clone is complete and says nothing of the
    leak.
    """
    refs = hub.call(f"GET {WIRE}/refs", SONG).value["branch_heads"]
    assert refs == heads

    async def check(opened: Stores, repo: Repo) -> list[Any]:
        return [finding async for finding in fsck.fsck(opened.of(repo))]

    assert kept(hub, check) == []
    answer = hub.call(f"POST {WIRE}/fetch", SONG, {"want": sorted(set(heads.values()))})
    commits, _, objects = client.fetched_ids(answer)
    assert set(heads.values()) <= commits
    named = {i for record in answer.value["snapshots"] for i in record["manifest"].values()}
    assert objects == named


@pytest.mark.parametrize(
    "named", [[LEAKED], [SECRET_ID, LARGE_ID, LEAKED]], ids=["the commit", "all of it"]
)
def test_the_leaked_data_is_gone_and_all_other_data_is_there(hub: Hub, named: list[str]) -> None:
    assert leaks(hub)
    marked = expunged(hub, *named)
    assert marked.step == Step.MARKED and LEAKED in marked.commits
    assert set(marked.objects) == {SECRET_ID, LARGE_ID}
    wait(hub)
    done = expunged(hub, *named)
    assert (done.step, done.again) == (Step.EXPUNGED, False)
    assert done.versions >= 2 and done.bytes > len(LARGE)
    assert leaks(hub) == set()
    assert_whole(hub, {"main": FIXED})
    for object_id in (SECRET_ID, LARGE_ID):
        assert (
            hub.call("GET /{owner}/{slug}/objects/{i}", {**SONG, "i": object_id}, by="me").status
            == 404
        )


def test_the_staged_body_of_the_push_is_gone(hub: Hub) -> None:
    body = msgpack.packb(push_message(LEAK))
    asked = hub.call(f"POST {WIRE}/staging", SONG, {"route": "push", "size": len(body)}, by="me")
    hub.upload(asked.value["url"], body)
    assert any("/staged/" in address for address in leaks(hub))
    expunged(hub, LEAKED)
    wait(hub)
    expunged(hub, LEAKED)
    assert leaks(hub) == set()
    headers = {"pieria-staged-body": asked.value["reference"]}
    again = hub.call(
        f"POST {WIRE}/push", SONG, by="me", headers={**headers, "content-type": client.MSGPACK}
    )
    assert (again.status, again.code) == (400, "staged_body_invalid")


def test_an_object_takes_every_commit_along_that_has_it(hub: Hub) -> None:
    done = expunged(hub, SECRET_ID)
    assert set(done.commits) == {LEAKED, LATER["commits"][0]["commit_id"]}
    wait(hub)
    expunged(hub, SECRET_ID)
    assert leaks(hub) == set()
    assert_whole(hub, {"main": FIXED})


def test_a_dry_run_changes_nothing(hub: Hub) -> None:
    before = hub.cloud.save()
    report = kept(hub, lambda opened, repo: expunge.plan(opened.of(repo), {LEAKED}, hub.now))
    assert LEAKED in report.commits and report.packs
    assert hub.cloud.save() == before


def test_before_the_wait_is_over_nothing_is_removed(hub: Hub) -> None:
    due = expunged(hub, LEAKED).due_at
    hub.loop.now += WAIT_SECONDS - 5
    assert expunged(hub, LEAKED).due_at == due
    assert leaks(hub)


@pytest.mark.parametrize("by", ["branch main", "branch old", "a tag or release on"])
def test_a_reachable_commit_is_refused_and_the_refs_that_reach_it_are_named(
    hub: Hub, by: str
) -> None:
    if by == "branch main":
        assert (
            hub.call(f"POST {API}/restore", SONG, {"branch": "main", "to": LEAKED}, by="me").status
            == 200
        )
    elif by == "branch old":
        pushed(
            hub,
            {"commits": [], "snapshots": [], "objects": [], "branch_heads": {"old": LEAKED}},
            "old",
        )
    else:
        tag = {"tag_id": "t1", "tag": "keep", "commit_id": LEAKED}
        assert hub.call(f"POST {WIRE}/tags", SONG, {"tags": [tag]}, by="me").status == 200
    for item in (LEAKED, SECRET_ID):
        with pytest.raises(Unprocessable, match=f"still reached by {by}"):
            expunged(hub, item)


def test_an_absent_commit_is_refused(hub: Hub) -> None:
    with pytest.raises(Unprocessable, match="nothing is stored"):
        expunged(hub, "f" * 64)


def test_no_restore_goes_there_any_more(hub: Hub) -> None:
    expunged(hub, LEAKED)
    for message in ({"branch": "main"}, {"branch": "main", "to": LEAKED}):
        assert hub.call(f"POST {API}/restore", SONG, message, by="me").status == 422
    assert hub.call(
        f"POST {API}/restore", SONG, {"branch": "main", "to": ROOT}, by="me"
    ).status in (200, 422)
    moves = hub.call(f"GET {API}/moves", SONG, by="me", query="branch=main").value["moves"]
    assert len(moves) >= 3  # they are still listed


def test_a_bundle_that_holds_it_is_dropped(hub: Hub) -> None:
    hub.call(f"POST {API}/restore", SONG, {"branch": "main", "to": LEAKED}, by="me")

    async def made(opened: Stores, repo: Repo) -> Any:
        return await prebuilt_clones.make(opened.of(repo), hub.now)

    assert kept(hub, made).is_new
    pushed(hub, GOOD, force=True)
    expunged(hub, LEAKED)
    assert_whole(hub, {"main": FIXED})
    wait(hub)
    expunged(hub, LEAKED)
    assert leaks(hub) == set()
    assert_whole(hub, {"main": FIXED})


def test_versions_that_were_deleted_before_go_as_well(hub: Hub) -> None:
    """The pack was deleted, or written over, in a bucket that keeps versions."""
    for versions in [*hub.cloud.objects.values()]:
        versions.append(versions[-1]._replace(number=versions[-1].number + "x"))
    expunged(hub, LEAKED)
    wait(hub)
    expunged(hub, LEAKED)
    assert leaks(hub) == set()


@pytest.mark.parametrize("when", ["before the wait", "before the removal"])
def test_a_push_that_brings_it_back_wins(hub: Hub, when: str) -> None:
    expunged(hub, LEAKED)
    if when == "before the removal":
        wait(hub)
    pushed(hub, together(BASE, LEAK), "again")
    assert_whole(hub, {"main": FIXED, "again": LEAKED})
    wait(hub)
    with pytest.raises(Unprocessable, match="still reached by branch again"):
        expunged(hub, LEAKED)
    assert_whole(hub, {"main": FIXED, "again": LEAKED})
    pushed(hub, {**GOOD, "branch_heads": {"again": FIXED}}, "again", force=True)
    expunged(hub, LEAKED)
    wait(hub)
    assert expunged(hub, LEAKED).step == Step.EXPUNGED
    assert leaks(hub) == set()
    assert_whole(hub, {"main": FIXED, "again": FIXED})


def test_a_push_on_it_without_it_is_refused(hub: Hub) -> None:
    expunged(hub, LEAKED)
    child = files("a child", {"c.txt": b"child\n"}, LEAKED)
    answer = hub.call(f"POST {WIRE}/push", SONG, push_message(child, "side"), by="me")
    assert (answer.status, answer.code) == (422, "missing_reference")


async def a_gc(hub: Hub, opened: Stores, repo: Repo) -> None:
    await gc.run(opened.of(repo), hub.now)


async def a_repack(hub: Hub, opened: Stores, repo: Repo) -> None:
    await lease.start_repack(opened.of(repo), hub.now())


async def a_rebuild(hub: Hub, opened: Stores, repo: Repo) -> None:
    await rebuild.rebuild(opened.of(repo), now=hub.now())


@pytest.mark.parametrize("work", [a_gc, a_repack, a_rebuild])
def test_no_other_upkeep_begins_beside_it(hub: Hub, work: Any) -> None:
    expunged(hub, LEAKED)
    with pytest.raises(Unavailable, match="expunge"):
        kept(hub, lambda opened, repo: work(hub, opened, repo))
    wait(hub)
    expunged(hub, LEAKED)
    hub.loop.now += 3600
    kept(hub, lambda opened, repo: work(hub, opened, repo))
    assert leaks(hub) == set()
    assert_whole(hub, {"main": FIXED})


@pytest.mark.parametrize("work", ["start_rebuild", "start_repack"])
def test_it_does_not_begin_beside_other_upkeep(hub: Hub, work: str) -> None:
    kept(hub, lambda opened, repo: getattr(lease, work)(opened.of(repo), hub.now()))
    with pytest.raises(Unavailable, match="run it to its end, then expunge"):
        expunged(hub, LEAKED)


def test_commits_of_a_crashed_push_on_top_of_it_are_deleted_as_well(hub: Hub) -> None:
    """The push read the commit as known before it was marked, wrote its rows after that, and died
    before its swap.
    """
    expunged(hub, LEAKED)
    at = CommitAddress(CommitId("late"), 3, "main")

    async def written(opened: Stores, repo: Repo) -> None:
        parent = CommitAddress(LEAKED, 2, "main")
        record = zlib.compress(codec.pack_record(commit("late", [LEAKED])))
        await opened.of(repo).commits.put([Node(at, (parent,), record=record)], int(hub.now()))
        await opened.of(repo).index.put_addresses([at])

    async def known(opened: Stores, repo: Repo) -> bool:
        found = await opened.of(repo).index.readable(commits=[CommitId("late")])
        return "late" in found.commits

    kept(hub, written)
    wait(hub)
    report = expunged(hub, LEAKED)
    assert (report.step, report.again) == (Step.MARKED, True)
    assert "late" in report.commits
    assert kept(hub, known)
    wait(hub)
    assert expunged(hub, LEAKED).step == Step.EXPUNGED
    assert not kept(hub, known)
    assert leaks(hub) == set()
    assert_whole(hub, {"main": FIXED})


@pytest.mark.parametrize("kind", [Fault.DIES_AFTER, Fault.DIES_BEFORE])
def test_a_push_that_died_just_before_the_removal_leaves_no_bytes(hub: Hub, kind: Fault) -> None:
    """The push brought the leak back at the end of the wait.

    Its rows and its branch may be missing.
    """
    expunged(hub, LEAKED)
    wait(hub)
    saved, began = hub.cloud.save(), hub.loop.now
    message = push_message(together(BASE, LEAK), "main", force=True)
    with recorded() as calls:
        assert hub.call(f"POST {WIRE}/push", SONG, message, by="me").status == 200
    for number in range(1, len(calls) + 1):
        hub.cloud.load(saved)
        hub.loop.now = began
        hub.restart()
        with fault(kind, number), pytest.raises((Crash, BaseExceptionGroup)):
            hub.call(f"POST {WIRE}/push", SONG, message, by="me")
        hub.restart()
        if hub.call(f"GET {WIRE}/refs", SONG).value["branch_heads"] == {"main": LEAKED}:
            assert_whole(hub, {"main": LEAKED})
            continue
        runs = 0
        while expunged(hub, LEAKED).step != Step.EXPUNGED:
            wait(hub)
            runs += 1
            assert runs < 3
        assert leaks(hub) == set(), (number, calls[number - 1])
        assert_whole(hub, {"main": FIXED})


def slow(hub: Hub, operation: str, seconds: float) -> None:
    """The next call of this operation takes this long."""
    before = hub.cloud.gate

    async def gate(effect: Effect) -> None:
        await before(effect)
        if effect.operation == operation:
            hub.cloud.gate = before
            await asyncio.sleep(seconds)

    hub.cloud.gate = gate


def test_a_push_that_knew_the_commit_before_the_mark_is_waited_for(hub: Hub) -> None:
    """Such a push may live for another 15 minutes.

    The operator tries to remove every five minutes.
    """
    child = push_message(files("a child", {"c.txt": b"child\n"}, LEAKED), "side")
    steps = list[Step]()

    async def story() -> int:
        opened = await stores()
        repo = await opened.repos.get("me", "song")
        assert repo
        slow(hub, "PutObject", 14 * 60)
        pushing = asyncio.create_task(hub.ask(f"POST {WIRE}/push", SONG, child, by="me"))
        await asyncio.sleep(1)
        for _ in range(4):
            try:
                steps.append((await expunge.expunge(opened.of(repo), {LEAKED}, hub.now)).step)
            except Unprocessable:
                break
            await asyncio.sleep(5 * 60)
        return (await pushing).status

    assert hub.run(story()) == 200
    assert set(steps) == {Step.MARKED}
    assert_whole(hub, {"main": FIXED, "side": child["bundle"]["commits"][0]["commit_id"]})


def test_a_reader_that_saw_an_old_row_finds_the_old_pack(hub: Hub) -> None:
    """A row may be seen as it was 15 minutes before, by a request that lives for 15 minutes."""
    more = blob(b"more\n")["object_id"]
    expunged(hub, LEAKED)
    hub.loop.now += 14 * 60
    hub.cloud.lags = 1.0

    async def story() -> tuple[int, Step]:
        opened = await stores()
        repo = await opened.repos.get("me", "song")
        assert repo
        slow(hub, "GetObject", 14 * 60)
        where = {**SONG, "i": more}
        reading = asyncio.create_task(hub.ask("GET /{owner}/{slug}/objects/{i}", where, by="me"))
        await asyncio.sleep(13 * 60)
        step = (await expunge.expunge(opened.of(repo), {LEAKED}, hub.now)).step
        return (await reading).status, step

    assert hub.run(story()) == (200, Step.MARKED)


@pytest.mark.parametrize("step", ["mark", "remove"])
@pytest.mark.parametrize("kind", [Fault.DIES_AFTER, Fault.DIES_BEFORE])
def test_cut_short_after_any_call_it_goes_on_when_run_again(
    hub: Hub, step: str, kind: Fault
) -> None:
    pushed(hub, together(BASE, LEAK, LATER, LAST), "main", force=True)
    pushed(hub, GOOD, force=True)
    if step == "remove":
        expunged(hub, LEAKED)
        wait(hub)
    saved, began = hub.cloud.save(), hub.loop.now
    with recorded() as calls:
        expunged(hub, LEAKED)
    for number in range(1, len(calls) + 1):
        hub.cloud.load(saved)
        hub.loop.now = began
        hub.restart()
        with fault(kind, number), pytest.raises((Crash, BaseExceptionGroup)):
            expunged(hub, LEAKED)
        hub.restart()
        assert_whole(hub, {"main": FIXED})
        for _ in range(3):
            try:
                if expunged(hub, LEAKED).step == Step.EXPUNGED:
                    break
            except Unprocessable:
                break  # all of it was gone already
            wait(hub)
        assert leaks(hub) == set(), (number, calls[number - 1])
        assert_whole(hub, {"main": FIXED})
