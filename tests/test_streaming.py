"""A clone that is larger than memory: from the streaming function as Lambda starts it, `run.sh`,
over a socket.

One repository of 48 MB for all of it: eight packs of 6 MB, oldest first, in one commit each. Two
windows of 16 MiB are the most that the function reads ahead, so while a reader stalls the last two
packs have not been asked for.
"""

import contextlib
import http.client
import importlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import msgpack
import pytest

from bench.stream import Server, serving
from infra.aws_request import Request
from infra.embedded_aws import EmbeddedAws
from shared import codings, packs, settings
from shared.actions import fetch_plan
from shared.actions import fetch_response as answers
from shared.codings import Coding
from shared.errors import MalformedBody
from shared.objects import keys
from tests import builders
from tests import client as hub
from tests.builders import Record
from tests.conftest import NAMES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

OWNER = "streamed"
MIB = 1024 * 1024
SECRET = "between-the-proxy-and-us-only-" + "x" * 10
PACKS, OBJECTS, OBJECT_BYTES = 8, 12, 500_000
HEADERS = {"Content-Type": hub.MSGPACK, "Accept": hub.ACCEPT, "Connection": "close"}


# ── A large repository, and one that has everything ───────────────────────────────────────────────


@dataclass(frozen=True)
class Large:
    """The repository of 48 MB: its heads after four packs and after eight, and its objects."""

    half: str
    head: str
    objects: dict[str, bytes]
    repo_id: str

    def packs(self) -> list[str]:
        """The keys of its packs of objects, in the order in which they are sent."""
        listed = boto3.client("s3").list_objects_v2(
            Bucket=NAMES["Bucket"], Prefix=keys.packs(self.repo_id)
        )
        return sorted(one["Key"] for one in listed["Contents"] if one["Size"] > MIB)


@pytest.fixture(scope="module")
def large(aws: EmbeddedAws) -> Large:
    bits, manifest, objects, heads = (
        random.Random(1),
        dict[str, str](),
        dict[str, bytes](),
        list[str](),
    )
    for number in range(PACKS):
        sent = [builders.blob(bits.randbytes(OBJECT_BYTES)) for _ in range(OBJECTS)]
        assert hub.call("push_objects", OWNER, "large", {"objects": sent}, by=OWNER).status == 200
        objects |= {one["object_id"]: one["content"] for one in sent}
        manifest |= {f"stem-{number}-{n}.wav": one["object_id"] for n, one in enumerate(sent)}
        tree = builders.snapshot(manifest)
        commit = builders.commit(f"take {number}", heads[-1:], tree["snapshot_id"])
        heads.append(commit["commit_id"])
        assert (
            hub.push(
                OWNER, "large", {"commits": [commit], "snapshots": [tree], "objects": []}
            ).status
            == 200
        )
    repo_id = hub.call("refs", OWNER, "large").value["repo_id"]
    return Large(heads[PACKS // 2 - 1], heads[-1], objects, repo_id)


@pytest.fixture(scope="module")
def mixed(aws: EmbeddedAws) -> Record:
    """A bundle of everything that can be in one: pushed as `mixed`, and as it has to come back."""
    bits = random.Random(2)
    contents = {
        "empty": b"",
        "small": b"a few bytes",
        "loose": bits.randbytes(1_500_000),
        "of several ranges": bits.randbytes(packs.RANGE_BYTES + 1),
    }
    sent = [builders.blob(content) for content in contents.values()] + [
        {"object_id": "opaque-1", "content": b"no digest"}
    ]
    sent += [{"object_id": "opaque-2", "content": bits.randbytes(2_000_000)}]
    trees = [
        builders.snapshot({f"{n}": one["object_id"] for n, one in enumerate(sent[: m + 1])})
        for m in range(len(sent))
    ]
    for number in (-1, -2):  # an opaque id can be named by opaque ids only
        trees[number]["snapshot_id"] = f"snap{number}"
    commits: list[Record] = []
    for number, tree in enumerate(trees):
        delta = (
            {"domain": "midi", "ops": [bits.randbytes(4000).hex()], "summary": ""}
            if number % 2
            else None
        )
        parents = [commits[-1]["commit_id"]] if commits else []
        # Words that compress: a record of this length is stored in its row, and is read before
        # anything
        # is read.
        commits.append(
            builders.commit(
                f"№ {number}" + " la" * 200_000,
                parents,
                tree["snapshot_id"],
                structured_delta=delta,
            )
        )
    bundle = {"commits": commits, "snapshots": trees, "objects": sent}
    assert hub.push(OWNER, "mixed", bundle).status == 200
    return bundle


def by_id(bundle: Record) -> dict[str, dict[str, Record]]:
    """The records of a bundle, in whatever order they come."""
    keys = {"commits": "commit_id", "snapshots": "snapshot_id", "objects": "object_id"}
    return {name: {record[key]: record for record in bundle[name]} for name, key in keys.items()}


# ── The function, and who asks it ─────────────────────────────────────────────────────────────────


def expanded(coding: str, content: bytes) -> bytes:
    """The bytes of a compressed reply. Raises MalformedBody if it is cut off."""
    expander = codings.Expander(Coding(coding))
    pieces = list(expander.expand(content))
    expander.end()
    return b"".join(pieces)


@dataclass
class Running:
    """A started function and its log."""

    server: Server
    log: Path
    replies: list[http.client.HTTPResponse] = field(default_factory=list)

    def ask(self, slug: str, want: str, **headers: str) -> http.client.HTTPResponse:
        """A fetch of everything, answered so far as to its headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request(
            "POST", f"/{OWNER}/{slug}/fetch", msgpack.packb({"want": [want]}), HEADERS | headers
        )
        self.replies.append(connection.getresponse())
        return self.replies[-1]

    def logged(self, reply: http.client.HTTPResponse) -> dict[str, Any]:
        """What its log says of this request, once it is over."""
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            for line in self.log.read_text().splitlines(keepends=True):
                if line.endswith("\n") and reply.headers["x-request-id"] in line:
                    found: dict[str, Any] = json.loads(line)
                    return found
            time.sleep(0.01)
        raise AssertionError("it is not over")


@contextlib.contextmanager
def started(**settings: str) -> Iterator[Running]:
    """The function with an AWS of this process, its settings, and a log that says everything."""
    environment = {
        name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PIERIA_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with (
            log.open("w") as written,
            serving(
                environment | {"PIERIA_LOG_LEVEL": "INFO"} | settings, written.fileno()
            ) as opened,
        ):
            function = Running(opened, log)
            yield function
            for reply in function.replies:
                reply.close()


@pytest.fixture(scope="module")
def running(aws: EmbeddedAws) -> Iterator[Running]:
    with started() as function:
        yield function


@pytest.fixture
def gets(aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of S3 objects that were read, by anybody, since the test began."""
    asked: list[str] = []
    answer: Callable[[Request], Any] = aws.answer

    def watched(request: Request) -> Any:
        if request.method == "GET" and f"/{NAMES['Bucket']}/" in request.target:
            asked.append(request.target.partition("?")[0].removeprefix(f"/{NAMES['Bucket']}/"))
        return answer(request)

    monkeypatch.setattr(aws, "answer", watched)
    return asked


def settled(function: Running) -> None:
    """Returns when the function has done nothing for a while: a test that is too early is a lenient
    one.
    """
    before, still = "", 0
    while still < 5:
        time.sleep(0.05)
        now = Path(f"/proc/{function.server.process.pid}/stat").read_text()
        still = still + 1 if now == before else 0
        before = now


# ── Every byte, and not all at once ───────────────────────────────────────────────────────────────


def test_the_streamed_data_equals_the_pushed_data(running, mixed):
    reply = running.ask("mixed", mixed["commits"][-1]["commit_id"])
    content = reply.read()
    assert (reply.status, reply.headers["content-type"]) == (200, hub.MSGPACK)
    assert int(reply.headers["content-length"]) == len(content)
    bundle = msgpack.unpackb(content, raw=False)
    assert list(bundle) == ["branch_heads", "commits", "snapshots", "objects"]
    assert bundle["branch_heads"] == {"main": mixed["commits"][-1]["commit_id"]}
    assert by_id(bundle) == by_id(mixed)
    assert [len(bundle[name]) for name in mixed] == [len(mixed[name]) for name in mixed]


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_the_same_is_streamed_compressed_without_a_length(running, mixed, coding):
    reply = running.ask("mixed", mixed["commits"][-1]["commit_id"], **{"Accept-Encoding": coding})
    content = reply.read()
    assert (reply.status, reply.headers["content-encoding"]) == (200, coding)
    assert reply.headers["content-length"] is None
    assert by_id(msgpack.unpackb(expanded(coding, content), raw=False)) == by_id(mixed)


@pytest.mark.parametrize("coding", ["identity", "zstd"])
@pytest.mark.parametrize(("window", "kept"), [(1, 0), (1, 10**9), (10**9, 0), (100_000, 1_000)])
def test_however_much_is_read_at_once_the_answer_is_the_same(
    mixed, monkeypatch, window, kept, coding
):
    monkeypatch.setattr(packs, "WINDOW_BYTES", window)
    monkeypatch.setattr(answers, "ORDERED_BYTES", 2 * window)
    monkeypatch.setattr(fetch_plan, "KEPT_MANIFEST_BYTES", kept)
    wanted = {"want": [mixed["commits"][-1]["commit_id"]]}
    reply = hub.call("fetch", OWNER, "mixed", wanted, headers={"accept-encoding": coding})
    assert reply.headers["content-length"] == str(len(reply.body))
    assert by_id(reply.value) == by_id(mixed)


@pytest.mark.parametrize("coding", ["identity", "zstd", "gzip"])
def test_a_reply_is_never_whole_in_memory(aws, large, coding):
    above = []
    with started() as function:
        assert function.ask("large", "0" * 64).read()  # the first request opens the stores
        rest = function.server.memory()
        for _ in range(3):  # how far the reading comes ahead of the sending is another each time
            function.server.forget_peak()
            reply = function.ask("large", large.head, **{"Accept-Encoding": coding})
            assert len(reply.read()) > PACKS * OBJECTS * OBJECT_BYTES
            above.append(function.server.peak() - rest)
    # Two windows, and the data on its way, come to 35 to 50 MiB; a window that is sorted and
    # the compressor come to as much. With the whole reply it would be 64 at least.
    assert min(above) < 58 * MIB, above


def test_a_slow_client_slows_the_reads(running, large, gets):
    settled(running)
    running.server.forget_peak()
    rest = running.server.memory()
    reply = running.ask("large", large.head)
    settled(running)
    assert len(set(gets) & set(large.packs())) <= 6
    assert running.server.peak() - rest < 64 * MIB
    objects = by_id(msgpack.unpackb(reply.read(), raw=False))["objects"]
    assert {i: one["content"] for i, one in objects.items()} == large.objects
    assert set(large.packs()) <= set(gets)
    assert "broken_off" not in running.logged(reply)


def test_a_client_that_disconnects_ends_the_reads(running, large, gets):
    reply = running.ask("large", large.head)
    assert reply.read(MIB)
    reply.close()
    line = running.logged(reply)
    assert (line["status"], line["broken_off"], line["level"]) == (200, True, "info")
    assert len(set(gets) & set(large.packs())) < PACKS
    # And the function goes on.
    assert running.ask("large", "0" * 64).status == 404


# ── Never less than all, and never anything else ──────────────────────────────────────────────────


@pytest.fixture
def last_pack(large: Large) -> Iterator[Any]:
    """The pack that is sent last, put back after the test."""
    found = boto3.resource("s3").Object(NAMES["Bucket"], large.packs()[-1])
    content = found.get()["Body"].read()
    yield found
    found.put(Body=content)


def lose(pack: Any) -> None:
    pack.delete()


def cut(pack: Any) -> None:
    pack.put(Body=pack.get()["Body"].read()[: 3 * MIB])


def flip_a_bit(pack: Any) -> None:
    content = bytearray(pack.get()["Body"].read())
    content[3 * MIB] ^= 1
    pack.put(Body=bytes(content))


@pytest.mark.parametrize("harm", [lose, cut, flip_a_bit])
def test_a_reply_that_cannot_be_read_to_its_end_breaks_off(running, large, last_pack, harm):
    reply = running.ask("large", large.head)
    harm(last_pack)
    with pytest.raises(http.client.IncompleteRead) as broken:
        reply.read()
    assert len(broken.value.partial) > 30 * MIB
    with pytest.raises(ValueError):
        msgpack.unpackb(broken.value.partial)
    line = running.logged(reply)
    assert (line["status"], line["broken_off"], line["level"]) == (200, True, "error")
    assert "this repository is damaged" in line["exception"]


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
@pytest.mark.parametrize("harm", [lose, cut, flip_a_bit])
def test_a_compressed_reply_that_breaks_off_has_no_end(running, large, last_pack, harm, coding):
    reply = running.ask("large", large.head, **{"Accept-Encoding": coding})
    harm(last_pack)
    with pytest.raises(http.client.IncompleteRead) as broken:
        reply.read()
    # A proxy may hide that the connection was cut. Then the coding has no end, and msgpack neither.
    expander = codings.Expander(Coding(coding))
    expanded = b"".join(expander.expand(broken.value.partial))
    with pytest.raises(MalformedBody):
        expander.end()
    with pytest.raises(ValueError):
        msgpack.unpackb(expanded)
    assert running.logged(reply)["broken_off"] is True


@pytest.mark.parametrize("harm", [lose, cut, flip_a_bit])
def test_where_nothing_can_be_broken_off_nothing_is_sent(large, last_pack, harm):
    """Behind Mangum, that is."""
    harm(last_pack)
    answer = hub.fetch(OWNER, "large", [large.head])
    assert (answer.status, answer.code) == (500, "damaged")


def test_a_failure_before_the_first_byte_is_an_error_reply(running, mixed):
    stored = boto3.resource("s3").Bucket(NAMES["Bucket"])
    repo_id = hub.call("refs", OWNER, "mixed").value["repo_id"]
    kept = {
        one.key: one.get()["Body"].read()
        for one in stored.objects.filter(Prefix=keys.loose_objects(repo_id))
    }
    for key in kept:
        stored.Object(key).delete()
    reply = running.ask("mixed", mixed["commits"][-1]["commit_id"])
    answer = json.loads(reply.read())
    assert (reply.status, answer["code"]) == (500, "damaged")
    for key, content in kept.items():
        stored.put_object(Key=key, Body=content)


# ── How much is sent ──────────────────────────────────────────────────────────────────────────────


def test_an_answer_as_large_as_allowed_is_sent_and_one_larger_is_refused_unread(
    large, configured, gets
):
    size = len(hub.fetch(OWNER, "large", [large.half]).body)
    allow(configured, size)
    assert hub.fetch(OWNER, "large", [large.half]).status == 200
    allow(configured, size - 1)
    gets.clear()
    refused = hub.fetch(OWNER, "large", [large.half])
    assert (refused.status, refused.code) == (413, "too_large")
    assert all(
        text in refused.value["message"] for text in (str(size), str(size - 1), "pull", "oldest")
    )
    assert not set(gets) & set(large.packs())


def test_a_fetch_that_is_too_large_can_be_made_in_steps(large, configured):
    """As the refusal says: an older commit first, then the rest."""
    allow(configured, 25 * MIB)
    assert hub.fetch(OWNER, "large", [large.head]).status == 413
    got = [
        hub.fetch(OWNER, "large", [want], have)
        for want, have in ((large.half, []), (large.head, [large.half]))
    ]
    objects = [by_id(answer.value)["objects"] for answer in got]
    assert {i: one["content"] for i, one in (objects[0] | objects[1]).items()} == large.objects
    assert not objects[0].keys() & objects[1].keys()


def allow(configured: pytest.MonkeyPatch, size: int) -> None:
    """From now on this much is sent at once."""
    configured.setenv("PIERIA_MAX_REPLY_BYTES", str(size))
    settings.load.cache_clear()


LAMBDA_BYTES = 6_291_556
BUFFERED = 4_700_000
"""The limit of the template if Lambda accepts this much JSON, for a body of msgpack in base64."""


def full(owner: str, files: list[bytes], message: str) -> str:
    """The head of a new repository `full` of these files."""
    sent = [builders.blob(content) for content in files]
    tree = builders.snapshot({str(n): one["object_id"] for n, one in enumerate(sent)})
    commit = builders.commit(message, [], tree["snapshot_id"])
    assert (
        hub.push(owner, "full", {"commits": [commit], "snapshots": [tree], "objects": sent}).status
        == 200
    )
    return str(commit["commit_id"])


@pytest.mark.parametrize(
    ("accept", "file_bytes", "quotes"),
    [
        pytest.param(hub.MSGPACK, 469_000, 0, id="msgpack"),
        # A quote is two characters of JSON, and four of JSON within JSON; contents are base64.
        pytest.param("application/json", 240_000, 700_000, id="JSON"),
    ],
)
def test_the_largest_reply_of_a_buffered_function_fits_into_lambda(
    owner, configured, accept, file_bytes, quotes
):
    allow(configured, BUFFERED)
    head = full(owner, [bytes([n]) * file_bytes for n in range(10)], '"' * quotes)
    raw = msgpack.packb({"want": [head]})
    event = hub.event(
        "POST", f"/{owner}/full/fetch", raw, {"accept": accept, "content-type": hub.MSGPACK}
    )
    reply = importlib.import_module("functions.fetch").handler(event, None)
    assert reply["statusCode"] == 200, reply["body"][:400]
    assert 0.95 * LAMBDA_BYTES < len(json.dumps(reply)) <= LAMBDA_BYTES


def test_in_json_no_more_is_answered_than_lambda_would_pass(owner, configured):
    """Quotes within quotes: 1.7 MB of them are 3.4 MB of JSON, and 6.8 MB within Lambda's own."""
    allow(configured, BUFFERED)
    head = full(owner, [b"a file"], '"' * 1_700_000)
    assert hub.call("fetch", owner, "full", {"want": [head]}).status == 200
    answer = hub.call(
        "fetch", owner, "full", {"want": [head]}, headers={"accept": "application/json"}
    )
    assert (answer.status, answer.code) == (413, "too_large")
    assert hub.MSGPACK in answer.value["message"]


def test_json_is_for_small_answers(large):
    answer = hub.call(
        "fetch", OWNER, "large", {"want": [large.half]}, headers={"accept": "application/json"}
    )
    assert (answer.status, answer.code) == (413, "too_large")
    assert hub.MSGPACK in answer.value["message"]


# ── Who is let in ─────────────────────────────────────────────────────────────────────────────────


def test_behind_a_proxy_a_request_without_its_secret_is_refused(aws, mixed):
    want = mixed["commits"][0]["commit_id"]
    owner = {"Authorization": f"Bearer {hub.token(OWNER)}"}
    with started(PIERIA_ORIGIN_SECRET=SECRET, PIERIA_LIMIT_FETCH="1") as function:
        for wrong in (
            {},
            {"X-Pieria-Origin": ""},
            {"X-Pieria-Origin": SECRET[:-1]},
            {"X-Pieria-Origin": SECRET + "x"},
        ):
            refused = function.ask("mixed", want, **owner, **wrong)
            assert refused.status == 403
            assert json.loads(refused.read())["code"] == "forbidden"
        proxy = {"X-Pieria-Origin": SECRET}

        def statuses(*viewers: str) -> list[int]:
            return [
                function.ask("mixed", want, **proxy, **{"X-Pieria-Viewer": viewer}).status
                for viewer in viewers
            ]

        # Three times, as a minute may end in between.
        assert 429 in statuses("198.51.100.7", "198.51.100.7", "198.51.100.7")
        assert statuses("198.51.100.8", "2001:db8::7") == [200, 200]
        log = function.log.read_text()
    assert SECRET[:20] not in log
    assert not re.search(r"198\.51|Bearer", log)
