"""Hostile requests by number: the same seed and number make the same request again.

    python -m tests.proof.hostile 1000000           a million of seed 1; exits with 1 after a bad
                                                    reply
    python -m tests.proof.hostile 1 --first 4711    one of them again, with its reply

A good request (of a story, or of the recorded session of the stock client) is bent in one to three
ways: its values, its bytes, its encoding, its headers, its URL. Half of the pushes are sealed
again, with true ids, so that a later check finds the fault.
"""

import argparse
import asyncio
import copy
import gzip
import json
import os
import random
import re
import resource
import sys
import time
import zlib
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgpack
from mangum import Mangum

from shared import ids
from shared.http import browser
from tests import client
from tests.client import ACCEPT, MSGPACK, Answer
from tests.proof.asgi_client import Hub, session, token
from tests.proof.memory import Cloud
from tests.proof.stories import STORIES, findings, ids_of, prepare

SESSION = Path(__file__).parent.parent / "wire" / "session.msgpack"
CPU_SECONDS = 1.0
MEMORY_BYTES = 512 * 1024 * 1024
CHARACTERS = 400
"""The part of a refusal that the stock client prints: the message has to fit."""
ROUND = 500
"""After this many requests the world is reset. The accepted writes have to be complete by then."""

D = "a" * 64
TEXTS = [
    "", " ", "\x00", "a\x00b", "\n", D, D.upper(), D[:-1], D + "a", D + "\n", "sha256:" + D, "../" + D, D + ".json",
    ".", "..", "../..", "/etc/passwd", "C:\\x", "\\\\host\\x", "a/../b", "a//b", "a/", "/a", "a/./b",
    ".muse/config.toml", ".git/config", ".GIT/hooks/x", ".muse", "x/.muse/y", ".git ", ".git.", "git~1", "MUSE~1/x",
    ".g\u200cit/x", ".muse:x", ".muse::$DATA", "con", "a\rb",
    "\x1b[2J", "\x7f", "\x85", "\u202e", "\ufeff.git", "\u2028", "é" * 200,
    "x" * 256,
    "x" * 5000, "\U0001f600" * 64, "a/" * 2100, "%2e%2e%2f", "%00", "HEAD", "-rf", "refs/heads/main", "a#b", "REF#main",
    "OWNER#me", "'", '"', "<script>", "{}", "null", "None", "NaN", "__proto__", "constructor", "1e999", "０", "main/x",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01", "not a time", "-0", "v1.0.0", "\U000e0001",
]  # fmt: skip
NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**32 - 1,
    2**53,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    10**6,
    1.5,
    1e308,
    -0.0,
]
ODD: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    b"",
    b"\xff\xfe",
    [[]],
    [None],
    {"": ""},
    {"a": {"a": {}}},
]
BYTES = [
    b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01", b"\x91" * 5000, b"\x81\xa1a" * 5000, b"\xdc\xff\xff" * 3000,
    b"\xdd\x00\x0f\xff\xff" * 20,
    b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x02", b"\x81\xc4\x01a\x02", b"\xd4\xff\x00", b"\xd6\xff\x00\x00\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xca\x7f\x80\x00\x00", b"\xa2\xc3\x28", b"\xa3\xed\xa0\x80", b"\x80\x80",
    b"\x81\xa6bundle" + b"\x81\xa6bundle" * 400, b"\x81\xa7objects\xdd\x00\x01\x00\x00" + b"\x80" * 65536,
    b"\x81\xa4want\xdd\x00\x04\x00\x00" + b"\xa0" * 262144,
]  # fmt: skip
TEXT_BODIES = [
    b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b'{"want": [NaN]}', b'{"want": [Infinity, -Infinity]}', b'{"a": 1e999}',
    b'{"want": ["\\ud800"]}', b'{"limit": ' + b"9" * 5000 + b"}", b'{"a": 1, "a": 2}', b'{"want": [], "want": 5}',
    b'\xef\xbb\xbf{"want": []}', '{"want": []}'.encode("utf-16"), b'{"want": ["\xff"]}', b"null", b"5", b'"x"', b"[]",
    b'{"\\u0000": "\\u0000"}', b'{"a": -0.0}', b'{"bundle": {"objects": [{"content": "=", "encoding": "base64"}]}}',
    b'{"objects": [{"object_id": "x", "content": "\\ud800"}]}', b"{" + b'"a":1,' * 60_000 + b'"b":2}',
]  # fmt: skip
HEADERS: list[tuple[str, str]] = [
    ("content-type", "application/json"), ("content-type", "application/x-msgpack; charset=x"), ("content-type", ""),
    ("content-type", "text/plain"), ("content-type", "multipart/form-data; boundary=x"), ("content-type", "é"),
    ("content-type", "application/json;" * 500), ("content-encoding", "gzip"), ("content-encoding", "identity, br"),
    ("accept", ""), ("accept", "*/*"), ("accept", "x" * 20_000), ("accept", "application/json"),
    ("content-length", "-1"), ("content-length", "9" * 30), ("content-length", "x"), ("content-length", "²"),
    ("authorization", "Bearer"), ("authorization", "Bearer x"), ("authorization", "Bearer ..."),
    ("authorization", "Bearer " + "a" * 9000), ("authorization", "Basic eA=="), ("authorization", "Bearer é"),
    ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30."), ("authorization", "Bearer \x00"),
    ("range", "bytes=0-"), ("range", "bytes=5-2"), ("range", "bytes=-0"), ("range", "bytes=" + "9" * 40 + "-"),
    ("range", "bytes=0-0,2-3"), ("range", "items=1"), ("if-none-match", "*"), ("if-none-match", '"' * 5000),
    ("if-range", "x"), ("host", ""), ("transfer-encoding", "chunked"), ("expect", "100-continue"),
    ("x-forwarded-for", "1.2.3.4"), ("cookie", "a" * 8000), ("origin", "null"), ("content-md5", "x"), ("", ""),
]  # fmt: skip
BOMB = zlib.compress(b"\n" * 8_000_000, 9)
CURSORS = [
    "x", "%00", "====", "-" * 8000, urlsafe_b64encode(BOMB[:6000]).decode(), urlsafe_b64encode(BOMB).decode()[:8190],
    *(urlsafe_b64encode(zlib.compress(text.encode())).decode() for text in (
        "", "\n", "1 x\n", f"\n000000000001#{D}#main", f"\n999999999999#{D}#x", f"5 {D}\n000000000001#{D}#", "\n#\n##",
        f"-5 {D}\n{'9' * 4000}#{D}#main", f"\n-00000000001#{D}#main", f"\n000000000001#{D}#{'x' * 3000}")),
    *(urlsafe_b64encode(text).decode() for text in (
        b"", b"\xff", b"\x00", b"main", b"zzz", b"9" * 400, b"5 v1.0.0", b"-99999999999999999 x",
        b"1 \xf0\x9f\x98\x80")),
]  # fmt: skip
QUERIES = [
    "limit=0", "limit=-1", "limit=1e3", "limit=" + "9" * 5000, "limit=%00", "limit=1&limit=x", "limit=1000", "limit=1",
    "branch=", "branch=..", "branch=%ff", "branch=main%00", "base=main&head=" + D, "ref=" + D, "ref=%2e%2e",
    "x=" * 3000, "repo_id=", "repo_id=..", "repo_id=" + "x" * 500, "repo_id=REPO%23x", "channel=x",
    "include_drafts=maybe",
    "&&&==",
    "include_drafts=true", "label=%00", "label=" + "x" * 600, "commit_id=..", "%", "%zz", "\ud7ff", "a[b]=1", "cursor=",
]  # fmt: skip


@dataclass
class Sent:
    """A request as it leaves."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    message: Any = None
    """The content of the body, unless it is bytes that no encoder made."""

    def pack(self) -> None:
        """Make the body of the message."""
        if self.message is not None:
            self.body = packed(self.message)


def packed(message: Any) -> bytes:
    """A message as it is sent; one that cannot be packed, as one that cannot be unpacked."""
    try:
        body: bytes = msgpack.packb(message, use_bin_type=True)
    except (ValueError, OverflowError, TypeError):
        return b"\x91" * 5000
    return body


def good_requests(hub: Hub) -> list[Sent]:
    """All deliberate changes of a request."""
    found = []
    for story in STORIES:
        method, path = story.route.split(" ")
        where = {name: quote(value, safe="/") for name, value in story.where.items()}
        sent = Sent(
            method, path.format(**where), story.query.format(**ids_of(hub)), story.headers_for(hub)
        )
        if sent.headers.get("content-type") == browser.FORM_TYPE:
            sent.headers, sent.body = client.by_browser(sent.path, session("me"), story.message)
        elif story.message is not None:
            sent.message = story.message
            sent.headers.setdefault("content-type", MSGPACK)
        found.append(sent)
    with SESSION.open("rb") as file:
        for exchange in msgpack.Unpacker(file, raw=False):
            headers = {
                k: v for k, v in exchange["headers"].items() if k in ("accept", "content-type")
            }
            if len(exchange["body"] or b"") < 20_000:
                found.append(
                    Sent(exchange["method"], exchange["path"], "", headers, exchange["body"] or b"")
                )
                if headers.get("content-type") == MSGPACK:
                    found[-1].message = msgpack.unpackb(exchange["body"], raw=False)
    return found


# ── Ways to bend one ──────────────────────────────────────────────────────────────────────────────


def bad_value(chance: random.Random) -> Any:
    """What should not be here."""
    kind = chance.random()
    if kind < 0.5:
        return chance.choice(TEXTS)
    if kind < 0.7:
        return chance.choice(NUMBERS)
    if kind < 0.9:
        return copy.deepcopy(chance.choice(ODD))  # what comes next may bend it
    if kind < 0.94:
        value: Any = "x"
        for _ in range(chance.choice([5, 60, 99, 101, 150])):
            value = [value] if chance.random() < 0.5 else {"a": value}
        return value
    if kind < 0.97:
        return [chance.choice(TEXTS)[:500]] * chance.choice(
            [2, 300, 3000]
        )  # more does not come through a door
    return {str(n): chance.choice(TEXTS)[:500] for n in range(chance.choice([2, 300, 3000]))}


def addresses(value: Any, found: list[tuple[Any, Any]], depth: int = 0) -> None:
    """Every container with every key in it."""
    if depth > 8:
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(inner, dict | list):
            addresses(inner, found, depth + 1)


def bend_value(sent: Sent, chance: random.Random) -> None:
    """A value for another, a key more or less, an entry twice."""
    if not isinstance(sent.message, dict):
        return
    sent.message = copy.deepcopy(sent.message)
    for _ in range(chance.choice([1, 1, 2, 5])):
        found: list[tuple[Any, Any]] = []
        addresses(sent.message, found)
        if not found:
            return
        container, key = chance.choice(found)
        match chance.randrange(6):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[chance.choice(TEXTS)] = bad_value(chance)
            case 2 if isinstance(container, list):
                container.append(container[key])
            case 3 if isinstance(container[key], str):
                container[key] = spoilt(container[key], chance)
            case _:
                container[key] = bad_value(chance)


def spoilt(text: str, chance: random.Random) -> str:
    """A text with something in it, or cut."""
    at = chance.randint(0, len(text))
    inside: str = chance.choice([*"\x00/\\.\n aAZ#%", "", "..", "\u200c"])
    return text[:at] + inside + text[at + chance.randint(0, 2) :]


def bend_history(sent: Sent, chance: random.Random) -> None:
    """Commits that are their own parents, each other's, of three parents, of none."""
    bundle = sent.message.get("bundle") if isinstance(sent.message, dict) else None
    commits = bundle.get("commits") if isinstance(bundle, dict) else None
    if (
        not isinstance(commits, list)
        or not commits
        or not all(isinstance(c, dict) for c in commits)
    ):
        return
    sent.message = copy.deepcopy(sent.message)
    commits = sent.message["bundle"]["commits"]
    one, other = chance.choice(commits), chance.choice(commits)
    match chance.randrange(7):
        case 0:
            one["parent_commit_id"] = one.get("commit_id")
        case 1:
            one["parent_commit_id"], other["parent_commit_id"] = (
                other.get("commit_id"),
                one.get("commit_id"),
            )
        case 2:
            one["parent2_commit_id"] = one.get("parent_commit_id")
        case 3:
            one["parent3_commit_id"] = other.get("commit_id")
        case 4:
            for number, commit in enumerate(commits):
                commit["commit_id"] = f"c{number}"
                commit["snapshot_id"] = None
                commit["parent_commit_id"] = f"c{(number + 1) % len(commits)}"
        case 5:
            one["parent_commit_id"], one["parent2_commit_id"] = None, chance.choice(TEXTS)
        case 6:
            branch = sent.message.get("branch", "main")  # it may have been bent already
            sent.message["bundle"]["branch_heads"] = {
                branch if isinstance(branch, Hashable) else "main": chance.choice(TEXTS)
            }


def bend_paths(sent: Sent, chance: random.Random) -> None:
    """Paths that lead elsewhere, branches that do."""
    if not isinstance(sent.message, dict):
        return
    sent.message = copy.deepcopy(sent.message)
    bundle = sent.message.get("bundle")
    snapshots = bundle.get("snapshots") if isinstance(bundle, dict) else None
    if not snapshots or chance.random() < 0.3:
        sent.message["branch"] = (
            chance.choice(TEXTS) if chance.random() < 0.7 else spoilt("verse/two", chance)
        )
        return
    chosen = chance.choice(snapshots) if isinstance(snapshots, list) else None
    manifest = chosen.get("manifest") if isinstance(chosen, dict) else None
    if isinstance(manifest, dict) and manifest:
        content = next(iter(manifest.values()))
        manifest[chance.choice(TEXTS) if chance.random() < 0.7 else spoilt("a/b.txt", chance)] = (
            content
        )


def seal(sent: Sent, chance: random.Random) -> None:
    """All ids of a push true again, as far as there is anything to hash."""
    bundle = sent.message.get("bundle") if isinstance(sent.message, dict) else None
    if not isinstance(bundle, dict):
        return
    new: dict[Any, str] = {}
    try:
        for item in bundle.get("objects", ()):
            new[item["object_id"]] = item["object_id"] = ids.object_id(item["content"])
        for snapshot in bundle.get("snapshots", ()):
            snapshot["manifest"] = {path: new.get(i, i) for path, i in snapshot["manifest"].items()}
            new[snapshot["snapshot_id"]] = snapshot["snapshot_id"] = ids.snapshot_id(
                snapshot["manifest"]
            )
        for commit in bundle.get("commits", ()):
            for key in ("parent_commit_id", "parent2_commit_id", "snapshot_id"):
                commit[key] = new.get(commit.get(key), commit.get(key))
            parents = [p for p in (commit["parent_commit_id"], commit["parent2_commit_id"]) if p]
            true = ids.commit_id(
                parents, commit["snapshot_id"], commit["message"], commit["committed_at"]
            )
            new[commit["commit_id"]] = commit["commit_id"] = true
    except (TypeError, KeyError, AttributeError, UnicodeEncodeError):
        return


def bend_bytes(sent: Sent, chance: random.Random) -> None:
    """Bytes that no encoder made."""
    sent.pack()
    sent.message, body = None, bytearray(sent.body)
    match chance.randrange(8):
        case 0:
            sent.body = chance.choice(BYTES)
            return
        case 1:
            sent.headers["content-type"], sent.body = "application/json", chance.choice(TEXT_BODIES)
            return
        case 2 if body:
            for _ in range(chance.choice([1, 2, 8])):
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        case 3 if body:
            del body[chance.randrange(len(body)) :]
        case 4:
            at = chance.randint(0, len(body))
            body[at:at] = chance.choice(BYTES)[:3000]
        case 5:
            sent.headers["content-encoding"] = "gzip"
            body = bytearray(gzip.compress(bytes(body), mtime=0))
        case 6:
            body = bytearray(chance.randbytes(chance.choice([1, 10, 300])))
        case _ if body:
            first, last = sorted((chance.randrange(len(body)), chance.randrange(len(body))))
            body[first:last] = body[first:last] * 2
    sent.body = bytes(body)


def bend_encoding(sent: Sent, chance: random.Random) -> None:
    """The same as JSON, or said to be."""
    if sent.message is not None and chance.random() < 0.7:
        try:
            sent.body = json.dumps(
                sent.message, default=lambda data: data.decode("latin-1")
            ).encode()
        except (TypeError, ValueError, RecursionError):
            return
        sent.message = None
    sent.headers["content-type"] = "application/json"


def bend_headers(sent: Sent, chance: random.Random) -> None:
    """Headers that are wrong, or too long."""
    for _ in range(chance.choice([1, 2])):
        name, value = chance.choice(HEADERS)
        sent.headers[name] = value


def bend_url(sent: Sent, chance: random.Random) -> None:
    """Another path, another query."""
    kind = chance.randrange(4)
    parts = sent.path.split("/")
    if kind == 0:
        parts[chance.randrange(1, len(parts))] = quote(
            chance.choice(TEXTS), safe=chance.choice(["", "/%", "/"])
        )
    elif kind == 1:
        parts.insert(
            chance.randrange(1, len(parts) + 1),
            chance.choice(["", ".", "..", "%2e%2e", "%2F", "%00", "%ff"]),
        )
    elif kind == 2:
        parts[-1] = spoilt(parts[-1], chance)
    else:
        sent.query = "&".join(part for part in (sent.query, bad_query(chance)) if part)
    sent.path = "/".join(parts)
    if chance.random() < 0.1:
        sent.method = chance.choice(
            ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "X"]
        )


def bad_query(chance: random.Random) -> str:
    """A query that means nothing."""
    if chance.random() < 0.4:
        return "cursor=" + quote(chance.choice(CURSORS), safe="%=")
    return chance.choice(QUERIES)


WAYS: list[Callable[[Sent, random.Random], None]] = [
    bend_value, bend_value, bend_value, bend_history, bend_paths, bend_bytes, bend_encoding, bend_headers, bend_url,
]  # fmt: skip


def request(good: list[Sent], seed: int, number: int) -> Sent:
    """The request of this number."""
    chance = random.Random(seed * 1_000_003 + number)
    like = chance.choice(good)
    sent = Sent(
        like.method,
        like.path,
        like.query,
        {"accept": ACCEPT, **like.headers},
        like.body,
        like.message,
    )
    who = chance.random()
    if who < 0.95:
        sent.headers["authorization"] = f"Bearer {token('me' if who < 0.9 else 'them')}"
    ways = [
        way
        for way in WAYS
        if like.message is not None or way in (bend_headers, bend_url, bend_bytes)
    ]
    for way in chance.choices(ways, k=chance.choice([1, 1, 2, 3])):
        way(sent, chance)
    if chance.random() < 0.5:
        seal(sent, chance)
    sent.pack()
    return sent


# ── Sending them ──────────────────────────────────────────────────────────────────────────────────


def peak_bytes() -> int:
    """The most memory that this process has had at once.

    `ru_maxrss` includes the process that started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    return int(peak) * 1024


OAUTH = {"error", "error_description"}
"""The further fields of the refusals of the token exchange (RFC 6749)."""


def wrong(method: str, answer: Answer, cpu_seconds: float) -> str:
    """The fault of a reply to a hostile request; empty for a good reply."""
    if answer.status >= 500:
        return f"answered {answer.status}"
    if cpu_seconds > CPU_SECONDS:
        return f"took {cpu_seconds:.1f} s"
    if method == "HEAD":
        return "a reply to HEAD with a body" if answer.body else ""
    if answer.headers.get("content-type", "").startswith("text/html"):
        return wrong_page(answer)
    if answer.status < 400:
        return ""
    text = answer.body.decode()
    if text.find('", "detail": "') not in range(1, CHARACTERS):
        return f"a refusal whose message is not in its first {CHARACTERS} characters"
    try:
        told = json.loads(text)
    except ValueError:
        return "a refusal that is not JSON"
    if set(told) - OAUTH != {"message", "detail", "code"} or not all(
        isinstance(v, str) and v for v in told.values()
    ):
        return "a refusal of another shape"
    return ""


def wrong_page(answer: Answer) -> str:
    """The fault of a page; empty if it can run no script."""
    if not answer.headers.get("content-security-policy", "").startswith("default-src 'none'"):
        return "a page that may load anything"
    if b"<script" in answer.body.lower():
        return "a page with a script"
    return ""


def play(count: int, seed: int, first: int = 0, *, is_told: bool = False) -> int:
    """Send this many. Prints the results. Returns the number of bad replies."""
    from infra.app import app

    statuses: Counter[int] = Counter()
    bad: list[str] = []
    reached_aws, slowest, started = 0, (0.0, 0), time.perf_counter()
    with Hub(Cloud(seed), seed) as hub:
        world = prepare(hub)
        good = good_requests(hub)
        adapter = Mangum(app, lifespan="off")
        asyncio.set_event_loop(hub.loop)
        for number in range(first, first + count):
            if number % ROUND == 0:
                if found := findings(hub):
                    bad.append(f"{number}: what was let in is not whole: {found[:2]}")
                hub.cloud.load(world)
            sent = request(good, seed, number)
            calls, begun = hub.cloud.calls, time.process_time()
            try:
                answer = client.answer(adapter(event(sent), None))  # type: ignore[arg-type]
                problem = wrong(sent.method, answer, time.process_time() - begun)
                statuses[answer.status] += 1
            except Exception as error:
                problem, answer = f"{type(error).__name__}: {error}", None
            slowest = max(slowest, (time.process_time() - begun, number))
            reached_aws += hub.cloud.calls > calls + 2  # the look-up and the count come first
            if problem:
                bad.append(
                    f"{number}: {problem}; {sent.method} {sent.path[:80]} {sent.query[:80]}:"
                    f" {sent.body[:120]!r}"
                )
            if is_told:
                print(sent, answer, sep="\n")
    seconds, memory = time.perf_counter() - started, peak_bytes()
    if memory > MEMORY_BYTES:
        bad.append(f"{memory} bytes of memory")
    print(
        f"{count} requests of seed {seed} in {seconds:.0f} s ({count / seconds:.0f}/s),"
        f" {reached_aws} beyond the door; slowest {slowest[0]:.2f} s of CPU (number {slowest[1]});"
        f" {memory // 2**20} MiB; {dict(sorted(statuses.items()))}; {len(bad)} bad",
        *bad[:20],
        sep="\n",
    )
    return len(bad)


def event(sent: Sent) -> Any:
    """The event of a request. Its header may state a wrong length of the body."""
    return client.event(
        sent.method,
        sent.path,
        sent.body,
        sent.headers,
        query=sent.query,
        source_ip="203.0.113.9",
    )


def alone(environment: MutableMapping[str, str]) -> None:
    """The environment of a function, with no AWS anywhere near."""
    for name in [name for name in environment if name.startswith(("AWS_", "PIERIA_"))]:
        del environment[name]
    environment.update(
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="us-east-1",
        PIERIA_HUB_TABLE="hub",
        PIERIA_COUNTER_TABLE="counters",
        PIERIA_BUCKET="pieria-bytes",
        PIERIA_SIGNING_KEYS=json.dumps({"new": "n" * 32}),
        PIERIA_PUSH_TO_CREATE="on",
        # A million requests of few users: their cost is not tested here.
        PIERIA_LIMIT_COST_SUBJECT="0",
        PIERIA_LIMIT_COST_OWNER="0",
        PIERIA_LIMIT_COST_HUB="0",
    )


def main() -> int:
    """From the command line."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("count", type=int)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--first", type=int, default=0)
    given = arguments.parse_args()
    alone(os.environ)
    return 1 if play(given.count, given.seed, given.first, is_told=given.count == 1) else 0


if __name__ == "__main__":
    sys.exit(main())
