"""Hostile requests: so many of them here, a million in `make nightly`; and the largest that a door lets through.

Of those sent here about one in three comes as far as a call beyond the look-up of who asks for what.
"""

import json
import os
import re
import subprocess
import sys
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import msgpack
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from shared import codec
from shared.errors import TooLarge
from tests import builders
from tests.builders import Answer
from tests.proof.door import Hub
from tests.proof.hostile import TEXTS, Sent, request, wrong
from tests.proof.memory import Cloud
from tests.proof.stories import API, SONG, STORIES, WIRE, push

REQUESTS = int(os.environ.get("HOSTILE", "12000"))
SEEDS = (1, 2)
CPU_SECONDS = 4.0
"""A second is promised; machines that run tests are busy. What is quadratic takes twenty."""
MIB = 1024 * 1024
LAMBDA_BYTES = 4_700_000
"""The most that Lambda passes, as base64 in 6 MiB."""
D = "a" * 64


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_sent_is_answered_well(seed: int) -> None:
    """In a process of its own, whose memory and CPU are only these requests'."""
    command = [sys.executable, "-m", "tests.proof.hostile", str(REQUESTS // len(SEEDS)), "--seed", str(seed)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=6 * 3600, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    counts = {int(status): int(count) for status, count in re.findall(r"(\d{3}): (\d+)", run.stdout)}
    assert {200, 400, 401, 404, 409, 413, 415, 422} <= counts.keys(), "too tame to show anything"


def test_a_request_is_made_again_by_its_number(hub: Hub) -> None:
    good = [Sent("POST", "/me/song/fetch", "", {}, b"", {"want": [D], "have": []})]
    assert [request(good, 1, n) for n in range(50)] == [request(good, 1, n) for n in range(50)]
    assert request(good, 1, 1) != request(good, 2, 1)


@pytest.mark.parametrize(
    ("answer", "cpu_seconds", "problem"),
    [
        (Answer(500, {}, b""), 0, "answered 500"),
        (Answer(200, {}, b""), 2, "took"),
        (Answer(404, {}, b"gone"), 0, "message is not"),
        (Answer(404, {}, b'{"message": "x", "detail": "x"}'), 0, "another shape"),
        (Answer(404, {}, b'{"message": "x", "detail": "x", "code": ""}'), 0, "another shape"),
        (Answer(404, {}, b'{"message": "' + b"x" * 400 + b'", "detail": "x", "code": "c"}'), 0, "message is not"),
        (Answer(404, {}, b'{"message": "x", "detail": "x", "code": "c"}'), 0, ""),
        (Answer(200, {}, b"\xff"), 0, ""),
    ],
)
def test_a_bad_answer_is_seen(answer: Answer, cpu_seconds: float, problem: str) -> None:
    found = wrong(answer, cpu_seconds)
    assert problem in found and bool(problem) == bool(found)


# ── Any value at all, in every place that takes one ─────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def hub(aws: Any) -> Iterator[Hub]:
    with Hub(Cloud()) as running:
        yield running


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=True), st.binary(max_size=20),
    st.text(max_size=20), st.sampled_from(TEXTS),
)  # fmt: skip
KEYS = (
    "commits snapshots objects branch_heads commit_id snapshot_id object_id manifest content parent_commit_id want have"
)
keys = st.one_of(
    st.sampled_from([*KEYS.split(), "bundle", "branch", "force", "tags", "tag", "changelog"]), st.text(max_size=5)
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=6)),
    max_leaves=20,
)
WITH_BODY = [story for story in STORIES if story.message is not None]


@how(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.sampled_from(WITH_BODY), value=values, as_json=st.booleans())
def test_any_value_is_taken_or_refused(hub: Hub, story: Any, value: Any, as_json: bool) -> None:
    if as_json:
        body = json.dumps(value, default=repr).encode()
        headers = {"content-type": "application/json"}
    else:
        body = msgpack.packb(value, unicode_errors="surrogatepass")
        headers = {"content-type": "application/x-msgpack"}
    assert not wrong(sent(hub, story.route, story.where, body, headers), 0)


def sent(hub: Hub, route: str, where: Any, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """A body as it is, by the owner."""
    from tests.proof.door import answered, token

    method, path = route.split(" ")
    given = {"content-type": "application/x-msgpack", "authorization": f"Bearer {token('me')}", **(headers or {})}
    return hub.run(answered(method, path.format(**where), "", given, body))


# ── The largest ─────────────────────────────────────────────────────────────────────────────────────────────


def a_push(**bundle: Any) -> Any:
    return {"bundle": bundle, "branch": "main"}


def a_manifest(path: Callable[[int], str], count: int) -> Any:
    return a_push(snapshots=[{"snapshot_id": "s", "manifest": {path(n): D for n in range(count)}}])


def commits(count: int, **more: Any) -> Any:
    return a_push(
        commits=[{"commit_id": f"c{n}", "parent_commit_id": f"c{n - 1}" if n else None, **more} for n in range(count)]
    )


PACKED: dict[str, tuple[str, Callable[[], Any]]] = {
    "paths as deep as they may be": ("push", lambda: a_manifest(lambda n: "a/" * 2030 + f"{n:05}", 1100)),
    "paths a hundred deep": ("push", lambda: a_manifest(lambda n: "a/" * 100 + f"{n:06}", 16_000)),
    "paths nearly as private as can be": ("push", lambda: a_manifest(lambda n: ".git. . .x/" * 360 + f"{n:05}", 1100)),
    "paths of letters with two cases": ("push", lambda: a_manifest(lambda n: "\u0130/" * 1000 + f"{n}", 1400)),
    "paths that nobody sees": ("push", lambda: a_manifest(lambda n: "\u200c/" * 1000 + f"{n}", 1100)),
    "files, as many as may be": ("push", lambda: a_manifest(lambda n: f"{n:06}", 50_000)),
    "commits, as many as may be": ("push", lambda: commits(10_000)),
    "commits, children first": ("push", lambda: a_push(commits=commits(10_000)["bundle"]["commits"][::-1])),
    "commits full of lists": ("push", lambda: commits(10_000, breaking_changes=["x"] * 180)),
    "snapshots, as many as may be": ("push", lambda: a_push(
        snapshots=[{"snapshot_id": f"s{n}", "manifest": {"a": D}} for n in range(10_000)])),
    "objects, one more than may be": ("push/objects", lambda: {"objects": [{"object_id": D, "content": b""}] * 1001}),
    "one object": ("push/objects", lambda: {"objects": [{"object_id": "x", "content": b"x" * (LAMBDA_BYTES - 100)}]}),
    "ids to look for": ("filter-objects", lambda: {"object_ids": [f"{n:064x}" for n in range(50_000)]}),
    "haves": ("fetch", lambda: {"want": [], "have": [f"{n:064x}" for n in range(70_000)]}),
    "wants": ("fetch", lambda: {"want": [f"{n:064x}" for n in range(10_000)]}),
    "tags": ("tags", lambda: {"tags": [{"tag_id": f"t{n}", "tag": "x", "commit_id": D} for n in range(1000)]}),
    "labels that nest": ("tags", lambda: {
        "tags": [{"tag_id": "t", "tag": "x", "commit_id": D, "y": [[[]]] * 1000}] * 300}),
}  # fmt: skip
"""Messages of about as many bytes as come through, or of as many entries as are taken."""

RAW: dict[str, tuple[str, bytes]] = {
    "a list said to have 2^32 - 1 entries": ("fetch", b"\x81\xa4want\xdd\xff\xff\xff\xff"),
    "a map said to have 2^32 - 1 entries": ("fetch", b"\x81\xa4want\xdf\xff\xff\xff\xff"),
    "a text said to have 4 GiB": ("fetch", b"\x81\xa4want\xdb\xff\xff\xff\xff"),
    "nothing, four million times": ("fetch", b"\x81\xa4want\xdd\x00\x40\x00\x00" + b"\xc0" * 2**22),
    "empty maps, half a million": ("fetch", b"\x81\xa4want\xdd\x00\x07\xa0\x00" + b"\x80" * 0x7A000),
    "empty maps, four million": ("fetch", b"\x81\xa4want\xdd\x00\x40\x00\x00" + b"\x80" * 2**22),
    "lists in lists": ("fetch", b"\x91" * 4_000_000),
    "maps in maps": ("push", b"\x81\xa1a" * 1_000_000),
}
TEXT: dict[str, tuple[str, bytes]] = {
    "lists in lists, as JSON": ("fetch", b"[" * 4_000_000),
    "lists beside lists, as JSON": ("fetch", b'{"want":[' + b"[]," * 1_390_000 + b"[]]}"),
    "one number, as JSON": ("fetch", b'{"want":' + b"9" * 4_000_000 + b"}"),
    "long numbers, as JSON": ("fetch", b'{"want":[' + b"1" * 4200 + (b"," + b"1" * 4200) * 990 + b"]}"),
    "escapes, as JSON": ("push/objects", b'{"objects":[{"object_id":"x","content":"' + b"\\u0001" * 650_000 + b'"}]}'),
    "base64 that is none": (
        "push/objects", b'{"objects":[{"object_id":"x","encoding":"base64","content":"' + b"=" * 4_000_000 + b'"}]}'),
    "one key, again and again": ("push", b"{" + b'"bundle":{},' * 340_000 + b'"branch":"x"}'),
}  # fmt: skip


def assert_bearable(hub: Hub, suffix: str, body: bytes, media: str) -> None:
    assert len(body) <= LAMBDA_BYTES
    begun = time.process_time()
    answer = sent(hub, f"POST {WIRE}/{suffix}", SONG, body, {"content-type": media})
    seconds = time.process_time() - begun
    assert not wrong(answer, 0)
    assert seconds < CPU_SECONDS, f"{seconds:.1f} s of CPU for {len(body)} bytes"


@pytest.mark.parametrize("name", PACKED)
def test_the_largest_messages_take_a_moment(name: str, hub: Hub) -> None:
    suffix, message = PACKED[name]
    assert_bearable(hub, suffix, msgpack.packb(message()), "application/x-msgpack")


@pytest.mark.parametrize("name", RAW)
def test_bombs_do_not_go_off(name: str, hub: Hub) -> None:
    assert_bearable(hub, *RAW[name], "application/x-msgpack")


def test_a_text_of_too_many_lists_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("half a million lists are being made")

    monkeypatch.setattr(json, "loads", never)
    for bracket in (b"[", b"{"):
        with pytest.raises(TooLarge):
            codec.decode(bracket * (codec.CONTAINERS + 1), codec.JSON)


# ── Cursors that nobody was given ───────────────────────────────────────────────────────────────────────────


def a_cursor(*lines: str) -> str:
    return quote(urlsafe_b64encode(zlib.compress("\n".join(lines).encode())).decode())


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param(a_cursor("", f"{1:012}#{D}#main"), id="absent"),
        pytest.param(a_cursor("", f"{10**12 - 1:012}#c1#nowhere"), id="far off"),
        pytest.param(a_cursor("", f"{10**12}#{D}#main"), id="farther than there is"),
        pytest.param(a_cursor("", f"{'9' * 4000}#{D}#main"), id="farther than can be written"),
        pytest.param(a_cursor("", f"{1:012}#{D}#{'x' * 3000}"), id="in a long lane"),
        pytest.param(a_cursor("", f"{1:012}#{D}#" + "\U0001f600" * 1000), id="in a wide one"),
        pytest.param(a_cursor(f"5 {D}", f"{1:012}#{D}#main"), id="behind another"),
        pytest.param(a_cursor("", f"{0:012}#{D}#main"), id="before all"),
        pytest.param(a_cursor("", f"{1:012}#../x#main"), id="a path"),
    ],
)
def test_a_cursor_that_leads_nowhere_is_the_callers_mistake(cursor: str, hub: Hub) -> None:
    # Of its own: the largest messages have been pushed to the other one.
    where = {"owner": "me", "slug": "short"}
    bundle = {"commits": [builders.commit("one")], "snapshots": [], "objects": []}
    assert hub.call(f"POST {WIRE}/push", where, push(bundle), by="me").status == 200
    answer = hub.call(f"GET {API}/commits", where, query=f"cursor={cursor}")
    assert (answer.status, answer.code) == (422, "invalid"), answer


@pytest.mark.parametrize("name", TEXT)
def test_bombs_of_text_do_not_go_off(name: str, hub: Hub) -> None:
    assert_bearable(hub, *TEXT[name], "application/json")
