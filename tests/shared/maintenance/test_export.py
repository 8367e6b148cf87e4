"""A repository as one file: it is imported again to the byte, on each engine, and after each kind of
interruption; a file that was changed is refused with the place."""

import io
import itertools
import os
import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgpack
import pytest

from shared.actions import branches, members, releases, tags
from shared.errors import RepoExists, Unavailable, Unprocessable
from shared.limits import Limits
from shared.maintenance import export_format, fsck, gc
from shared.maintenance.export import export
from shared.maintenance.export_format import MAGIC, NotAnExport, Reader, Writer
from shared.maintenance.import_export import import_export
from shared.maintenance.lease import Step
from shared.model import Repo, Role, Visibility
from shared.protocol.releases import PostRelease
from shared.protocol.tags import PostTags
from shared.stores import Stores
from tests.builders import History, blob, commit, graph, snapshot
from tests.client import call, push
from tests.faults import Crash, Fault, fault
from tests.shared.maintenance.upkeep import clone, repo, run

NOW = 1_800_000_000.0


def exported(owner: str, slug: str = "song") -> bytes:
    """The file of a repository."""
    found = repo(owner, slug)
    out = io.BytesIO()
    run(lambda stores: export(stores.of(found), Writer(out), NOW))
    return out.getvalue()


def imported(data: bytes, owner: str, slug: str = "copy") -> Repo:
    """The repository that a file becomes."""
    reader = Reader(io.BytesIO(data), len(data))
    return run(lambda stores: import_export(stores, reader, (owner, slug), lambda: NOW))


def findings(owner: str, slug: str) -> list[Any]:
    found = repo(owner, slug)

    async def check(stores: Stores) -> list[Any]:
        return [finding async for finding in fsck.fsck(stores.of(found))]

    return run(check)


def entries(data: bytes) -> list[dict[str, Any]]:
    """The entries of a file."""
    found: list[dict[str, Any]] = []
    place = len(MAGIC)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found.append(msgpack.unpackb(data[place + 36 : place + 36 + length]))
        place += 36 + length
    return found


def written(found: list[dict[str, Any]]) -> bytes:
    """A file with these entries, and a right chain of digests."""
    pieces = [MAGIC]
    digest = sha256(MAGIC).digest()
    for entry in found:
        packed = msgpack.packb(entry)
        digest = sha256(digest + packed).digest()
        pieces += [len(packed).to_bytes(4, "big"), digest, packed]
    return b"".join(pieces)


def frames(data: bytes) -> list[int]:
    """The first byte of each frame, and the end of the file."""
    places = [len(MAGIC)]
    while places[-1] < len(data):
        length = int.from_bytes(data[places[-1] : places[-1] + 4], "big")
        places.append(places[-1] + 36 + length)
    return places


def as_of_song(data: bytes) -> bytes:
    """The file of a copy, with the name of the repository `song`."""
    first, *others = entries(data)
    return written([{**first, "slug": "song"}, *others])


@pytest.fixture
def history(owner: str) -> History:
    """A merge, a large object, a large record, opaque ids, a forced push with another record of the
    same commit, a deleted branch, a tag, a release, a member.
    """
    drawn = graph("1; 2:1; 3:1; 4:2,3; 5:4", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    assert push(owner, "song", drawn.bundle([1, 3]), branch="side/line").status == 200
    assert push(owner, "song", drawn.bundle([4])).status == 200
    large = blob(os.urandom(Limits().loose_object_bytes + 1))
    on_it = snapshot({"stem.wav": large["object_id"]})
    big = commit(
        "big", [drawn[4]], on_it["snapshot_id"], structured_delta={"data": os.urandom(6000).hex()}
    )
    bundle = {"commits": [big], "snapshots": [on_it], "objects": [large]}
    assert push(owner, "song", bundle, branch="stems").status == 200
    signed = {**drawn.commits[4], "signature": "a later one"}
    bundle = {"commits": [signed, drawn.commits[5]], "snapshots": [drawn.snapshots[5]],
              "objects": [blob(f"file 5 {owner}\n".encode())]}  # fmt: skip
    assert push(owner, "song", bundle, force=True).status == 200
    opaque = {"commits": [{**commit("x", [], "s1"), "commit_id": "c1"}],
              "snapshots": [{"snapshot_id": "s1", "manifest": {"a": "o1", "b": "absent"}}],
              "objects": [{"object_id": "o1", "content": b"anything"}]}  # fmt: skip
    assert push(owner, "song", opaque, branch="opaque").status == 200
    found = repo(owner)

    async def more(stores: Stores) -> None:
        repository = stores.of(found)
        tag = {"tag_id": "t1", "commit_id": drawn[2], "tag": "emotion:joy"}
        await tags.store(repository, PostTags(tags=[tag]))
        release = {"release_id": "r1", "tag": "v1", "commit_id": drawn[4], "created_at": ""}
        await releases.publish(repository, PostRelease(release), now=NOW)
        await members.set_role(repository, "ben", Role.WRITE)
        await stores.repos.change(found, {"description": "A song", "visibility": "private"})
        await branches.delete(repository, "side/line", leave_empty=False, by=owner, now=NOW)

    run(more)
    return drawn


def test_a_repository_is_imported_to_the_byte(owner: str, history: History) -> None:
    first = exported(owner)
    new = imported(first, owner)
    assert (new.description, new.visibility) == ("A song", Visibility.PRIVATE)
    assert clone(owner, "copy") == clone(owner)
    assert findings(owner, "copy") == []
    assert as_of_song(exported(owner, "copy")) == first


def test_a_second_run_is_refused_and_a_branch_of_the_file_can_be_restored(
    owner: str, history: History
) -> None:
    data = exported(owner)
    found = imported(data, owner)
    with pytest.raises(RepoExists):
        imported(data, owner)

    async def restore(stores: Stores) -> object:
        repository = stores.of(found)
        return await branches.restore(repository, "side/line", history[3], by=owner, now=NOW)

    run(restore)
    assert clone(owner, "copy")["heads"]["side/line"] == history[3]


@pytest.mark.slow
def test_an_import_goes_on_after_a_crash_at_any_call(owner: str) -> None:
    drawn = graph("1; 2:1", salt=owner)
    assert push(owner, "song", drawn.bundle()).status == 200
    data = exported(owner)
    crashes = 0
    for number in itertools.count(1):
        slug = f"copy-{number}"
        with fault(Fault.DIES_AFTER, number) as strike:
            try:
                imported(data, owner, slug)
            except* Crash:
                crashes += 1
        if not strike.call:
            break
        if not has_all(owner, slug):
            assert call("refs", "GET", f"/{owner}/{slug}/refs").status == 404
            imported(data, owner, slug)
        assert as_of_song(exported(owner, slug)) == data
    assert crashes > 10


def has_all(owner: str, slug: str) -> bool:
    """Whether an import is complete, with its last step."""

    async def last_step(stores: Stores) -> str:
        found = await stores.repos.get(owner, slug)
        progress = await stores.of(found).scans.progress() if found else None
        return progress.step if progress else ""

    return run(last_step) == Step.IMPORTED


def test_no_other_job_starts_beside_an_import_and_a_push_beside_it_stops_it(
    owner: str, history: History
) -> None:
    data = exported(owner)
    short = Reader(io.BytesIO(data[:-50]), len(data) - 50)
    with pytest.raises(NotAnExport, match="cut off"):
        run(lambda stores: import_export(stores, short, (owner, "copy"), lambda: NOW))
    found = repo(owner, "copy")
    with pytest.raises(Unavailable, match="import is at work here"):
        run(lambda stores: gc.run(stores.of(found), lambda: NOW + 60))
    assert push(owner, "copy", graph("1", salt="other").bundle(), branch="other").status == 200
    with pytest.raises(Unprocessable, match="branch 'other' was pushed during the import"):
        imported(data, owner)


def test_a_push_during_an_export_is_not_in_the_file(owner: str) -> None:
    drawn = graph("1; 2:1; 3:2", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    before = exported(owner)
    found = repo(owner)
    out = io.BytesIO()

    class PushedMeanwhile(Writer):
        """Another client pushes when the first entry is written."""

        def write(self, entry: export_format.AnyEntry) -> None:
            if not self.counts:
                thread = threading.Thread(target=push, args=(owner, "song", drawn.bundle([3])))
                thread.start()
                thread.join()
            super().write(entry)

    run(lambda stores: export(stores.of(found), PushedMeanwhile(out), NOW))
    assert out.getvalue() == before
    assert exported(owner) != before


def test_a_changed_byte_is_found_wherever_it_is(owner: str, history: History) -> None:
    data = exported(owner)
    places = frames(data)
    for start, stop in itertools.pairwise([0, *places]):
        for place in {start, (start + stop) // 2, stop - 1}:
            changed = bytearray(data)
            changed[place] ^= 1
            with pytest.raises(NotAnExport) as refused:
                list(Reader(io.BytesIO(bytes(changed)), len(changed)).entries())
            assert (
                start < len(MAGIC)
                or f"byte {start} of the file" in str(refused.value)
                or (f"byte {start} is" in str(refused.value))
            )


def test_a_file_that_ends_early_or_late_is_refused(owner: str, history: History) -> None:
    data = exported(owner)
    for end in {*frames(data)[:-1], 0, 3, len(data) - 1, len(data) // 2}:
        with pytest.raises(NotAnExport):
            list(Reader(io.BytesIO(data[:end]), end).entries())
    with pytest.raises(NotAnExport, match="more bytes follow"):
        list(Reader(io.BytesIO(data + b"x"), len(data) + 1).entries())


def last(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The last entry of a kind."""
    return [entry for entry in found if entry["kind"] == kind][-1]


def _changed(kind: str, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(found: list[dict[str, Any]]) -> None:
        entry = last(found, kind)
        entry.update(values)

    return change


def _without(kind: str) -> Callable[[list[dict[str, Any]]], None]:
    def change(found: list[dict[str, Any]]) -> None:
        found.remove(last(found, kind))
        end = found[-1]
        end["counts"] = {name: n - (name == kind) for name, n in end["counts"].items() if n - (name == kind)}  # fmt: skip

    return change


def _record(kind: str, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(found: list[dict[str, Any]]) -> None:
        entry = last(found, kind)
        entry["record"] = msgpack.packb({**msgpack.unpackb(entry["record"]), **values})

    return change


def _twice(kind: str) -> Callable[[list[dict[str, Any]]], None]:
    def change(found: list[dict[str, Any]]) -> None:
        place = found.index(last(found, kind))
        found.insert(place, found[place])
        found[-1]["counts"][kind] += 1

    return change


ESCAPE = {"../../.ssh/authorized_keys": sha256(b"x").hexdigest()}
HOSTILE: dict[str, tuple[Callable[[list[dict[str, Any]]], None], str]] = {
    "an object with other content": (_changed("object", content=b"x"), "hashes to|object"),
    "an object that is missing": (_without("object"), "no entry before"),
    "a snapshot that is missing": (_without("snapshot"), "no entry before"),
    "a commit that is missing": (_without("commit"), "no entry before"),
    "a path that leaves the folder": (
        _record("snapshot", manifest=ESCAPE, snapshot_id=snapshot(ESCAPE)["snapshot_id"]),
        "record of another one|no entry|unsafe",
    ),
    "a commit with another message": (_record("commit", message="x"), "commit"),
    "a commit in a wrong generation": (
        _changed("commit", address=f"000000000009#{'0' * 64}#main"),
        "record of another one|generation",
    ),
    "a field that is unknown": (_changed("repository", surprise=1), "another form"),
    "a name that is a path": (_changed("repository", default_branch="../x"), "refused"),
    "a branch without a commit": (
        _changed("branch", head=f"000000000001#{'0' * 64}#main"),
        "no entry before",
    ),
    "a branch name that escapes": (_changed("branch", name="../../x"), "unsafe"),
    "a move to an unknown commit": (
        _changed("move", after=f"000000000001#{'0' * 64}#main"),
        "no entry before",
    ),
    "a member that is no handle": (_changed("member", handle="../x"), "refused"),
    "a role that does not exist": (_changed("member", role="root"), "another form"),
    "an object twice": (_twice("object"), "twice"),
    "a second repository": (_twice("repository"), "may not be here"),
    "a tag on a commit that is missing": (
        _record("tag", commit_id="0" * 64),
        "refused",
    ),
    "a domain that is none": (_changed("repository", domain="../x"), "another form"),
    "a description that fits into no row": (
        _changed("repository", description="x" * 2000),
        "another form",
    ),
    "a move of the future": (_changed("move", at=2**52), "future"),
    "a release before year 1": (_changed("release", created_at=-(2**52)), "another form"),
    "wrong counts": (_changed("end", counts={}), "counts other entries"),
}


@pytest.mark.slow
def test_a_hostile_file_is_refused_with_the_place_and_no_branch_appears(
    owner: str, history: History
) -> None:
    data = exported(owner)
    for number, (name, (change, reason)) in enumerate(HOSTILE.items()):
        found = entries(data)
        change(found)
        with pytest.raises(NotAnExport, match=f"at byte .*({reason})"):
            imported(written(found), owner, f"copy-{number}")
        assert branches_of(owner, f"copy-{number}") == [], name


def branches_of(owner: str, slug: str) -> list[str]:
    """The branches of a repository, none if it does not exist."""

    async def read(stores: Stores) -> list[str]:
        found = await stores.repos.get(owner, slug)
        return list(await stores.of(found).refs.all()) if found else []

    return run(read)


def test_a_file_without_a_repository_is_refused_and_none_is_made_in_the_future(
    owner: str, history: History
) -> None:
    with pytest.raises(NotAnExport, match="is not a repository"):
        imported(written([{"kind": "end", "counts": {}}]), owner)
    found = entries(exported(owner))
    _changed("repository", created_at=2**52)(found)
    assert imported(written(found), owner).created_at == NOW


def test_a_length_above_the_limit_is_refused_before_it_is_read() -> None:
    data = MAGIC + (export_format.ENTRY_BYTES + 1).to_bytes(4, "big") + bytes(32)
    with pytest.raises(NotAnExport, match="is the limit"):
        list(Reader(io.BytesIO(data), 2**40).entries())
    data = MAGIC + export_format.ENTRY_BYTES.to_bytes(4, "big") + bytes(100)
    with pytest.raises(NotAnExport, match="cut off"):
        list(Reader(io.BytesIO(data), len(data)).entries())
