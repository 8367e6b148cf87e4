"""A fetch in steps: the oldest commits first, then the contents of their objects.

And replies that are compressed.
"""

import gzip
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgpack
import pytest

from shared import settings
from tests.builders import History, Record, blob, chain, commit, graph, snapshot
from tests.client import ACCEPT, MSGPACK, Answer, call, fetch, fetched_ids, push

ZSTD = {"accept-encoding": "zstd"}
CODINGS = [pytest.param({}, id="identity"), pytest.param(ZSTD, id="zstd"),
           pytest.param({"accept-encoding": "gzip"}, id="gzip")]  # fmt: skip
LAMBDA_REPLY_BYTES = 6_291_556


def allow(configured: pytest.MonkeyPatch, max_reply_bytes: int) -> None:
    """From here on the hub sends this much at once."""
    configured.setenv("PIERIA_MAX_REPLY_BYTES", str(max_reply_bytes))
    settings.load.cache_clear()


@dataclass
class Steps:
    """A clone in steps, as a client makes it, and each reply."""

    owner: str
    headers: Mapping[str, str] = field(default_factory=dict)
    by: str | None = None
    answers: list[Answer] = field(default_factory=list)

    def post(self, route: str, message: Record) -> Record:
        answer = call(route, self.owner, "song", message, by=self.by, headers=self.headers)
        assert answer.status == 200, answer.body
        self.answers.append(answer)
        return dict(answer.value)

    def history(self, want: Sequence[str], have: Sequence[str] = ()) -> list[Record]:
        """All steps."""
        steps: list[Record] = []
        received: list[str] = [*have]
        while not steps or not steps[-1]["is_complete"]:
            steps.append(self.post("fetch_history", {"want": list(want), "have": received}))
            received += [one["commit_id"] for one in steps[-1]["commits"]]
            assert len(steps) < 50
        return steps

    def objects(self, object_ids: Sequence[str]) -> dict[str, bytes]:
        """The contents of these objects, in as many requests as it takes."""
        contents: dict[str, bytes] = {}
        left = list(object_ids)
        while left:
            reply = self.post("fetch_objects", {"object_ids": left})
            assert reply["large"] == []
            assert reply["objects"], "each reply has one object at least"
            contents |= {one["object_id"]: one["content"] for one in reply["objects"]}
            left = reply["left"]
        return contents


@pytest.fixture
def merged(owner: str) -> History:
    """Two lines that are merged, each commit with a file of its own."""
    history = graph("1; 2:1; 3:2; 4:1; 5:4; 6:3,5; 7:6", salt=owner)
    assert push(owner, "song", history.bundle()).status == 200
    return history


@pytest.fixture
def noisy(owner: str) -> History:
    """Twelve commits, each of which adds two files of 50 kB that cannot be compressed."""
    bits, history, manifest = random.Random(owner), History(), dict[str, str]()
    for number in range(1, 13):
        new = {f"{number}-{n}.wav": bits.randbytes(50_000) for n in range(2)}
        objects = {path: blob(content) for path, content in new.items()}
        manifest = manifest | {path: one["object_id"] for path, one in objects.items()}
        history.objects |= {one["object_id"]: one["content"] for one in objects.values()}
        history.snapshots[number] = snapshot(manifest)
        parents = [history[number - 1]] if number > 1 else []
        history.commits[number] = commit(
            f"{number}", parents, history.snapshots[number]["snapshot_id"]
        )
    assert push(owner, "song", history.bundle()).status == 200
    return history


@pytest.mark.parametrize("headers", CODINGS)
@pytest.mark.parametrize("have", [[], [1], [3], [2, 4], [3, 5], [7]])
def test_a_step_has_the_records_of_a_fetch_and_the_sizes_of_its_objects(
    owner, merged, headers, have
):
    haves = [merged[number] for number in have]
    whole = fetched_ids(fetch(owner, "song", [merged[7]], haves))
    [step] = Steps(owner, headers).history([merged[7]], haves)
    assert list(step) == ["branch_heads", "is_complete", "objects", "commits", "snapshots"]
    assert step["branch_heads"] == {"main": merged[7]}
    assert {one["commit_id"] for one in step["commits"]} == whole[0]
    assert {one["snapshot_id"] for one in step["snapshots"]} == whole[1]
    assert step["objects"].keys() == whole[2]
    assert all(
        len(merged.objects[object_id]) == size for object_id, size in step["objects"].items()
    )


def test_records_come_back_exactly_as_they_were_pushed(owner, merged):
    [step] = Steps(owner).history([merged[7]])
    for kind, key, pushed in (
        ("commits", "commit_id", merged.commits),
        ("snapshots", "snapshot_id", merged.snapshots),
    ):
        assert {one[key]: one for one in step[kind]} == {one[key]: one for one in pushed.values()}


@pytest.mark.parametrize("headers", CODINGS)
@pytest.mark.parametrize("max_reply_bytes", [1_500, 3_000, 6_000])
def test_each_step_is_closed_under_ancestry_and_together_they_are_the_clone(
    owner, merged, headers, max_reply_bytes, configured
):
    allow(configured, max_reply_bytes)
    steps = Steps(owner, headers).history([merged[7]])
    if not headers:
        assert len(steps) > 1
    received: set[str] = set()
    for step in steps:
        assert step["commits"], "each step has one commit at least"
        for one in step["commits"]:
            assert one["commit_id"] not in received, "no commit comes twice"
            parents = {one["parent_commit_id"], one["parent2_commit_id"]} - {None}
            received.add(one["commit_id"])
            assert parents <= received, "parents come first"
    assert received == {one["commit_id"] for one in merged.commits.values()}
    snapshots = {one["snapshot_id"]: one for step in steps for one in step["snapshots"]}
    assert snapshots == {one["snapshot_id"]: one for one in merged.snapshots.values()}
    assert {i for step in steps for i in step["objects"]} == merged.objects.keys()


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_a_step_that_does_not_fit_compressed_is_cut_and_goes_on(owner, configured, coding):
    history = chain(40, files=True, salt=owner)
    assert push(owner, "song", history.bundle()).status == 200
    headers = {"accept-encoding": coding}
    [whole] = Steps(owner, headers).history([history[40]])
    allow(configured, 4_500)
    steps = Steps(owner, headers)
    found = steps.history([history[40]])
    assert [one for step in found for one in step["commits"]] == whole["commits"]
    assert len(found) > 1
    assert all(len(answer.body) <= 4_500 for answer in steps.answers)


def test_an_object_is_needed_by_the_first_step_that_names_it(owner, configured):
    history = chain(4, files=True, salt=owner)
    assert push(owner, "song", history.bundle()).status == 200
    allow(configured, 1_500)
    needed = [sorted(step["objects"]) for step in Steps(owner).history([history[4]])]
    listed = [object_id for object_ids in needed for object_id in object_ids]
    assert sorted(listed) == sorted(history.objects), "each object is needed once"


def test_the_heads_of_the_received_commits_are_as_good_as_all_of_them(owner, merged, configured):
    allow(configured, 3_000)
    first, *rest = Steps(owner).history([merged[7]])
    parents = {
        one[name] for one in first["commits"] for name in ("parent_commit_id", "parent2_commit_id")
    }
    tips = [one["commit_id"] for one in first["commits"] if one["commit_id"] not in parents]
    assert Steps(owner).post("fetch_history", {"want": [merged[7]], "have": tips}) == rest[0]


@pytest.mark.parametrize("headers", CODINGS)
def test_a_commit_that_fits_in_no_reply_is_refused_with_the_way_out(
    owner, noisy, headers, configured
):
    allow(configured, 1_000 if not headers else 300)
    answer = call(
        "fetch_history", owner, "song", {"want": [noisy[12]], "have": [noisy[11]]}, headers=headers
    )
    assert (answer.status, answer.code) == (413, "too_large")
    assert "PIERIA_MAX_REPLY_BYTES" in answer.value["message"]


@pytest.mark.parametrize("headers", CODINGS)
def test_the_contents_are_those_of_the_fetch(owner, noisy, headers):
    steps = Steps(owner, headers)
    [step] = steps.history([noisy[12]])
    assert steps.objects(list(step["objects"])) == noisy.objects
    assert len(steps.answers) == 2


@pytest.mark.parametrize("headers", CODINGS)
@pytest.mark.parametrize("max_reply_bytes", [60_000, 130_000, 500_000])
def test_contents_that_do_not_fit_are_left_and_come_with_the_next_request(
    owner, noisy, headers, max_reply_bytes, configured
):
    allow(configured, max_reply_bytes)
    steps = Steps(owner, headers)
    assert steps.objects(list(noisy.objects)) == noisy.objects
    assert len(steps.answers) > 1
    assert all(len(answer.body) <= max_reply_bytes for answer in steps.answers)
    least = sum(map(len, noisy.objects.values())) // max_reply_bytes
    assert len(steps.answers) < 3 * least + 3, "a reply is not much smaller than it may be"


def test_more_compressible_contents_fit_in_a_compressed_reply_than_in_a_plain_one(
    owner, configured
):
    contents = [b"%d" % number * 20_000 for number in range(40)]
    assert (
        call("push_objects", owner, "song", {"objects": [*map(blob, contents)]}, by=owner).status
        == 200
    )
    object_ids = [blob(content)["object_id"] for content in contents]
    allow(configured, 100_000)
    plain, compressed = Steps(owner), Steps(owner, ZSTD)
    assert plain.objects(object_ids) == compressed.objects(object_ids)
    assert len(plain.answers) > 10 and len(compressed.answers) == 1
    assert compressed.answers[0].headers["content-encoding"] == "zstd"


@pytest.mark.parametrize("headers", CODINGS)
def test_an_object_that_fits_in_no_reply_is_named_and_the_others_are_sent(
    owner, noisy, headers, configured
):
    large = random.Random(1).randbytes(200_000)
    assert call("push_objects", owner, "song", {"objects": [blob(large)]}, by=owner).status == 200
    allow(configured, 120_000)
    some = list(noisy.objects)[:4]
    left = [blob(large)["object_id"], *some]
    received, named = set[str](), set[str]()
    while left:
        reply = Steps(owner, headers).post("fetch_objects", {"object_ids": left})
        received |= {one["object_id"] for one in reply["objects"]}
        named |= set(reply["large"])
        assert len(reply["left"]) < len(left)
        left = reply["left"]
    assert (received, named) == (set(some), {blob(large)["object_id"]})


@pytest.mark.parametrize("unknown", ["f" * 64, "opaque"])
def test_an_object_that_is_not_stored_is_named(owner, merged, unknown):
    known = next(iter(merged.objects))
    answer = call("fetch_objects", owner, "song", {"object_ids": [known, unknown]})
    assert (answer.status, answer.code) == (404, "object_not_found")
    assert unknown in answer.value["message"] and known not in answer.value["message"]


def test_ids_that_come_twice_are_sent_once(owner, merged):
    known = next(iter(merged.objects))
    reply = Steps(owner).post("fetch_objects", {"object_ids": [known, known]})
    assert reply == {
        "objects": [{"object_id": known, "content": merged.objects[known]}],
        "left": [],
        "large": [],
    }
    assert Steps(owner).post("fetch_objects", {}) == {"objects": [], "left": [], "large": []}


def test_more_ids_than_are_read_at_once_are_refused(owner, merged):
    answer = call("fetch_objects", owner, "song", {"object_ids": ["f" * 64] * 1_001})
    assert (answer.status, answer.code) == (413, "too_large")


def test_a_reader_of_json_gets_the_same(owner, noisy, configured):
    allow(configured, 400_000)
    json_headers = {"accept": "application/json"}
    packed = Steps(owner).history([noisy[12]])
    assert [
        one for step in Steps(owner, json_headers).history([noisy[12]]) for one in step["commits"]
    ] == [one for step in packed for one in step["commits"]]
    steps = Steps(owner, json_headers)
    left, count = list(noisy.objects), 0
    while left:
        reply = steps.post("fetch_objects", {"object_ids": left})
        assert all(one["encoding"] == "base64" for one in reply["objects"])
        count += len(reply["objects"])
        left = reply["left"]
    assert count == len(noisy.objects)


# ── A fetch that is compressed ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("accept", [ACCEPT, "application/json"])
@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        ("zstd, gzip", "zstd"),
        ("gzip", "gzip"),
        ("gzip;q=1, zstd;q=0.5", "gzip"),
        ("br, *;q=0.1", "zstd"),
    ],
)
def test_a_fetch_is_compressed_as_the_client_asks(owner, merged, accept, accept_encoding, coding):
    headers = {"accept": accept, "accept-encoding": accept_encoding}
    plain = call("fetch", owner, "song", {"want": [merged[7]]}, headers={"accept": accept})
    answer = call("fetch", owner, "song", {"want": [merged[7]]}, headers=headers)
    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.value == plain.value
    assert len(answer.body) < len(plain.body)
    if coding == "gzip":
        assert gzip.decompress(answer.body) == answer.expanded


@pytest.mark.parametrize(
    "accept_encoding", ["", "identity", "br", "gzip;q=0, identity", "zstd;q=0, *;q=0"]
)
def test_the_stock_client_gets_its_bytes_as_ever(owner, merged, accept_encoding):
    answer = call(
        "fetch", owner, "song", {"want": [merged[7]]}, headers={"accept-encoding": accept_encoding}
    )
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == str(len(answer.body))
    assert msgpack.unpackb(answer.body)["branch_heads"] == {"main": merged[7]}


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_on_lambda_the_compressed_bytes_count(owner, configured, coding):
    files = {f"{n}.txt": b"%d" % n * 10_000 for n in range(30)}
    tree = snapshot({path: blob(content)["object_id"] for path, content in files.items()})
    head = commit("compressible", [], tree["snapshot_id"])
    bundle = {"commits": [head], "snapshots": [tree], "objects": [*map(blob, files.values())]}
    assert push(owner, "song", bundle).status == 200
    allow(configured, 50_000)
    want = {"want": [head["commit_id"]]}
    assert call("fetch", owner, "song", want).status == 413
    answer = call("fetch", owner, "song", want, headers={"accept-encoding": coding})
    assert answer.status == 200
    assert len(answer.body) <= 50_000 < len(answer.expanded)


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_a_fetch_that_does_not_fit_compressed_is_refused_with_the_steps(
    owner, noisy, coding, configured
):
    allow(configured, 500_000)
    answer = call(
        "fetch", owner, "song", {"want": [noisy[12]]}, headers={"accept-encoding": coding}
    )
    assert (answer.status, answer.code) == (413, "too_large")
    assert answer.headers["content-type"] == "application/json"
    assert "fetch/history" in answer.value["message"]
    steps = Steps(owner, {"accept-encoding": coding})
    found = steps.history([noisy[12]])
    assert steps.objects([i for step in found for i in step["objects"]]) == noisy.objects


@pytest.fixture
def versions(owner: str) -> History:
    """Six versions of five files, pushed one by one. Their ids have no order."""
    history, manifest = History(), dict[str, str]()
    for number in range(1, 7):
        for path in ("a.py", "b/c.py", "b/d.py", "b/e.py", "z.py"):
            one = blob(random.Random(path).randbytes(20_000) + b"%d" % number)
            manifest[path] = one["object_id"]
            history.objects[one["object_id"]] = one["content"]
        history.snapshots[number] = snapshot(manifest)
        parents = [history[number - 1]] if number > 1 else []
        history.commits[number] = commit(
            f"{number}", parents, history.snapshots[number]["snapshot_id"]
        )
        assert push(owner, "song", history.bundle([number])).status == 200
    return history


def paths_of(history: History, object_ids: Sequence[str]) -> list[str]:
    """The path of each object."""
    paths = {i: path for one in history.snapshots.values() for path, i in one["manifest"].items()}
    return [paths[object_id] for object_id in object_ids]


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_versions_of_a_file_are_neighbours_in_a_compressed_reply(owner, versions, coding):
    answer = call(
        "fetch", owner, "song", {"want": [versions[6]]}, headers={"accept-encoding": coding}
    )
    sent = [one["object_id"] for one in answer.value["objects"]]
    assert paths_of(versions, sent) == sorted(paths_of(versions, sent))
    assert len(sent) == 30
    [step] = Steps(owner).history([versions[6]])
    assert paths_of(versions, list(step["objects"])) == sorted(paths_of(versions, sent))
    asked = random.Random(3).sample(sent, len(sent))
    headers = {"accept-encoding": coding}
    reply = call("fetch_objects", owner, "song", {"object_ids": asked}, headers=headers).value
    assert [one["object_id"] for one in reply["objects"]] == asked, "the order of the request"


def test_versions_of_a_file_cost_little_more_than_one(owner, versions):
    answer = call("fetch", owner, "song", {"want": [versions[6]]}, headers=ZSTD)
    assert len(answer.body) < 5 * 20_000 + 15_000 < len(answer.expanded) / 5


def test_a_refusal_is_never_compressed(owner, merged):
    answer = call("fetch", owner, "song", {"want": ["f" * 64]}, headers=ZSTD)
    assert answer.status == 404
    assert "content-encoding" not in answer.headers and answer.code == "commit_not_found"


def test_a_step_is_sent_as_msgpack(owner, merged):
    answer = call("fetch_history", owner, "song", {"want": [merged[7]]})
    assert answer.headers["content-type"] == MSGPACK
