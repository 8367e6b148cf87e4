"""The rows of `bench.compare`: operations that every hub with the protocol can do.

The rows of a hub run in their order: later rows need the branches that earlier ones pushed.
"""

import itertools
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast
from urllib.parse import urlsplit

import msgpack

from bench import client
from bench.client import MSGPACK, Refused
from bench.history import History, Line, Record, generate

DEPTH = 1_000
FILES = 40
CHANGED = 2
OFFERED = 64
FILTERED = 500
THREADS = 8
EACH = 10
"""Operations of each thread in one repeat."""
TIMEOUT_SECONDS = 60

Work = Callable[[], None]


@dataclass(frozen=True)
class Hub:
    """A repository on a hub, and a token that may push to it."""

    url: str
    token: str


@dataclass(frozen=True)
class Row:
    """One kind of work. `prepare` is not measured, and returns the measured part."""

    name: str
    repeats: int
    prepare: Callable[[], Work]
    operations: int = 1
    """The operations of one repeat."""


def rows(hub: Hub, seed: int, repeats: int) -> Iterator[Row]:
    """The rows of one hub. The same seed makes the same repository on each hub."""
    history = generate(seed, commits=60, files=80, objects=400)
    yield Row("first push, 5 MB", 1, _fixed(lambda: _push(hub, history, "main")))
    yield Row("clone, 5 MB", 3, _fixed(lambda: _clone(hub, history)))
    line = Line(seed, FILES)
    deep = joined([line.commit(), *(line.commit(CHANGED) for _ in range(DEPTH - 1))])
    yield Row(f"push of {DEPTH:,} commits", 1, _fixed(lambda: _push(hub, deep, "deep")))
    request = _Requests(hub, deep)
    yield Row("GET refs", repeats, _fixed(request.refs))
    yield Row(f"filter-objects, {FILTERED} ids", repeats, _fixed(request.filter(history)))
    yield Row(f"negotiate, {OFFERED} haves", repeats, _fixed(request.negotiate()))
    yield Row(f"fetch of 1 commit at depth {DEPTH:,}", repeats, _fixed(request.fetch(back=1)))
    yield Row(f"fetch of {DEPTH - 1:,} commits", 3, _fixed(request.fetch(back=DEPTH - 1)))
    small = _Small(hub, line)
    yield Row("push of 1 commit, 10 objects", repeats, small.push)
    yield Row("refused push", repeats, small.refused)
    many = THREADS * EACH
    crowd = _Crowd(hub, request, seed)
    yield Row(f"GET refs, {THREADS} threads", 3, crowd.refs, many)
    yield Row(f"fetch of 1 commit, {THREADS} threads", 3, crowd.fetch, many)
    yield Row(f"push of 1 commit, {THREADS} threads", 3, crowd.push, many)


class _Requests:
    """Prepared requests to the branch `deep`."""

    def __init__(self, hub: Hub, deep: History) -> None:
        self._hub = hub
        self._ids = [str(commit["commit_id"]) for commit in deep.commits]

    def refs(self) -> None:
        """Read the branches."""
        assert "deep" in exchange(self._hub, "GET", "/refs")["branch_heads"]

    def filter(self, history: History) -> Work:
        """Ask for ids of which one in five is missing."""
        known = list(history.objects)[: FILTERED * 4 // 5]
        absent = [f"{number:064x}" for number in range(FILTERED - len(known))]

        def work() -> None:
            reply = exchange(
                self._hub, "POST", "/filter-objects", {"object_ids": [*known, *absent]}
            )
            assert len(reply["missing"]) == len(absent), len(reply["missing"])

        return work

    def negotiate(self) -> Work:
        """Offer the commits below the head's parent."""
        offered = self._ids[-2 : -2 - OFFERED : -1]

        def work() -> None:
            body = {"want": self._ids[-1:], "have": offered}
            assert exchange(self._hub, "POST", "/negotiate", body)["ready"]

        return work

    def fetch(self, back: int) -> Work:
        """Fetch the last `back` commits."""

        def work() -> None:
            body = {"want": self._ids[-1:], "have": [self._ids[-1 - back]]}
            assert len(exchange(self._hub, "POST", "/fetch", body)["commits"]) == back

        return work


class _Small:
    """Pushes of one commit to the branch `deep`, in two requests: objects, commit."""

    def __init__(self, hub: Hub, line: Line, branch: str = "deep") -> None:
        self._hub = hub
        self._line = line
        self._branch = branch
        self._forks = itertools.count(1)

    def push(self) -> Work:
        """Push the next commit of the line."""
        made = self._line.commit(10)
        return lambda: send(self._hub, made, self._branch)

    def refused(self) -> Work:
        """Push a commit that is not a fast-forward."""
        fork = self._line.fork(next(self._forks))
        fork.tip = None
        made = fork.commit(10)

        def work() -> None:
            try:
                send(self._hub, made, self._branch)
            except Refused as refused:
                assert refused.status == 409, refused
                return
            raise AssertionError("a push that is not a fast-forward was accepted")

        return work


class _Crowd:
    """The same with threads. Each thread pushes to a branch of its own."""

    def __init__(self, hub: Hub, request: _Requests, seed: int) -> None:
        self._hub = hub
        self._request = request
        self._lines = [Line(seed + 1 + number, FILES) for number in range(THREADS)]

    def refs(self) -> Work:
        """Read the branches."""
        return self._together([[self._request.refs] * EACH] * THREADS)

    def fetch(self) -> Work:
        """Fetch a commit that is not the head."""
        return self._together([[self._request.fetch(back=1)] * EACH] * THREADS)

    def push(self) -> Work:
        """Push commits of independent lines."""
        return self._together([self._pushes(number) for number in range(THREADS)])

    def _pushes(self, number: int) -> list[Work]:
        small = _Small(self._hub, self._lines[number], f"thread-{number}")
        return [small.push() for _ in range(EACH)]

    def _together(self, works: Sequence[Sequence[Work]]) -> Work:
        def run(work: Sequence[Work]) -> None:
            for one in work:
                one()

        def together() -> None:
            with ThreadPoolExecutor(THREADS) as threads:
                list(threads.map(run, works))

        return together


def _fixed(work: Work) -> Callable[[], Work]:
    return lambda: work


def joined(histories: Sequence[History]) -> History:
    """One history of histories that follow each other."""
    commits: list[Record] = []
    snapshots: dict[str, Record] = {}
    objects: dict[str, bytes] = {}
    for history in histories:
        commits.extend(history.commits)
        snapshots.update({str(one["snapshot_id"]): one for one in history.snapshots})
        objects.update(history.objects)
    return History(tuple(commits), tuple(snapshots.values()), MappingProxyType(objects))


def _push(hub: Hub, history: History, branch: str) -> None:
    client.push(hub.url, hub.token, history, branch)


def _clone(hub: Hub, history: History) -> None:
    refs = exchange(hub, "GET", "/refs")
    heads = list(refs["branch_heads"].values())
    bundle = exchange(hub, "POST", "/fetch", {"want": heads, "have": []})
    # Only the ids of commits: a hub may add keys to their records.
    assert {one["commit_id"] for one in bundle["commits"]} == {
        one["commit_id"] for one in history.commits
    }
    assert {one["object_id"] for one in bundle["objects"]} == history.objects.keys()


def send(hub: Hub, made: History, branch: str) -> None:
    """Push a commit in two requests: its objects, and the commit. Raises Refused."""
    objects = [{"object_id": i, "content": content} for i, content in made.objects.items()]
    exchange(hub, "POST", "/push/objects", {"objects": objects})
    bundle = {"commits": list(made.commits), "snapshots": list(made.snapshots), "objects": []}
    reply = exchange(hub, "POST", "/push", {"bundle": bundle, "branch": branch, "force": False})
    assert reply["ok"] is True, reply


def exchange(hub: Hub, method: str, suffix: str, body: Record | None = None) -> Record:
    """Send a request over a new connection. Raises Refused for a status other than 200."""
    url = urlsplit(hub.url)
    content = msgpack.packb(body, use_bin_type=True) if body is not None else b""
    head = (
        f"{method} {url.path}{suffix} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
        f"Accept: {MSGPACK}, application/json\r\nAuthorization: Bearer {hub.token}\r\n"
    )
    if body is not None:
        head += f"Content-Type: {MSGPACK}\r\nContent-Length: {len(content)}\r\n"
    address = (url.hostname or "", url.port or 80)
    with socket.create_connection(address, TIMEOUT_SECONDS) as connection:
        connection.sendall(head.encode() + b"\r\n" + content)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    started, _, received = b"".join(parts).partition(b"\r\n\r\n")
    status = int(started.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" in started.lower():
        received = _unchunked(received)
    if status != 200:
        raise Refused(f"{method} {suffix}", status, received.decode(errors="replace"))
    # The original hub replies to `refs` in JSON only.
    is_json = b"application/json" in started
    value = json.loads(received) if is_json else msgpack.unpackb(received, raw=False)
    return cast(Record, value)


def _unchunked(chunked: bytes) -> bytes:
    parts: list[bytes] = []
    while True:
        size, _, rest = chunked.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return b"".join(parts)
        parts.append(rest[:length])
        chunked = rest[length + 2 :]
