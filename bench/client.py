"""A simulation of the stock client: the requests of `muse push`, `pull` and `clone`, in their order
and size.

As in the stock client: a new connection per request, no redirects, no retries, msgpack in both
directions whatever the content type of the reply, replies of at most 64 MiB, failures of refs,
filter and presign ignored. Different: the objects come from a `History` instead of a directory, and
every request is recorded as an `Exchange`, so that an ignored failure is visible.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import httpx
import msgpack

from bench.history import LARGEST_INLINE, History, Record

CHUNK_OBJECTS = 400
CHUNKS_AT_ONCE = 4
NEGOTIATED_AT_ONCE = 64
UPLOADS_AT_ONCE = 8
MAX_REPLY_BYTES = 64 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
UPLOAD_TIMEOUT_SECONDS = 300.0
USER_AGENT = "Python-urllib/3.14"
MSGPACK = "application/x-msgpack"


class Refused(Exception):
    """A reply on which the client gives up: not 2xx, not msgpack, not `ok`, or too long (`status`
    0)."""

    def __init__(self, request: str, status: int, text: str) -> None:
        super().__init__(f"{request}: HTTP {status}: {text[:400]}")
        self.status = status
        self.text = text


@dataclass(frozen=True)
class Exchange:
    """One request and its reply. Sizes are those of the bodies, in bytes."""

    method: str
    path: str
    """The path after the repository's URL; `upload` for a PUT to a presigned URL."""
    status: int
    sent: int
    received: int
    seconds: float


@dataclass(frozen=True)
class Pushed:
    """The result of a push. `reply` is empty if everything was up to date."""

    reply: Record
    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True)
class Fetched:
    """The result of a clone or a pull, as it was received."""

    refs: Record
    bundle: Record
    exchanges: tuple[Exchange, ...]


def push(
    base: str,
    token: str | None,
    history: History,
    branch: str = "main",
    *,
    force: bool = False,
    transport: httpx.BaseTransport | None = None,
) -> Pushed:
    """Push `history` to `branch` of the repository at `base`.

    Raises Refused when the client would give up.
    """
    with Wire(base, token, transport) as wire:
        heads: dict[str, str] = {}
        # The client treats an absent repository and an unreachable hub alike, and continues.
        with suppress(Refused):
            heads = dict(wire.get("/refs").get("branch_heads", {}))
        if heads.get(branch) == history.head:
            return Pushed({}, wire.exchanges)
        commits = _new_commits(history, set(heads.values()))
        needed = {commit["snapshot_id"] for commit in commits}
        snapshots = sorted(
            (snapshot for snapshot in history.snapshots if snapshot["snapshot_id"] in needed),
            key=lambda snapshot: str(snapshot["snapshot_id"]),
        )
        manifests = [snapshot["manifest"].values() for snapshot in snapshots]
        candidates = sorted(set(itertools.chain.from_iterable(manifests)))
        try:
            missing = sorted(
                wire.post("/filter-objects", {"object_ids": candidates}).get("missing", [])
            )
        except Refused:
            missing = candidates
        uploaded = _upload(wire, {object_id: history.objects[object_id] for object_id in missing})
        inline = [object_id for object_id in missing if object_id not in uploaded]
        _push_objects(wire, inline, history.objects)
        bundle = {"commits": commits, "snapshots": snapshots, "objects": []}
        reply = wire.post("/push", {"bundle": bundle, "branch": branch, "force": force})
        if reply.get("ok") is not True:
            raise Refused("POST /push", 200, str(reply.get("message", "")))
        return Pushed(reply, wire.exchanges)


def clone(base: str, transport: httpx.BaseTransport | None = None) -> Fetched:
    """Clone the repository at `base`. Without a token: `muse clone` never sends one."""
    with Wire(base, None, transport) as wire:
        refs = wire.get("/refs")
        bundle = wire.post("/fetch", {"want": list(refs["branch_heads"].values()), "have": []})
        return Fetched(refs, bundle, wire.exchanges)


def pull(
    base: str,
    token: str | None,
    local: Sequence[str],
    branch: str = "main",
    transport: httpx.BaseTransport | None = None,
) -> Fetched:
    """Pull the branch, given the commits in `local`.

    They are offered in their order, 64 at a time, and finally all.
    """
    with Wire(base, token, transport) as wire:
        refs = wire.get("/refs")
        want = [refs["branch_heads"][branch]]
        for start in range(0, max(len(local), 1), NEGOTIATED_AT_ONCE):
            offered = list(local[start : start + NEGOTIATED_AT_ONCE])
            said = wire.post("/negotiate", {"want": want, "have": offered})
            if said["ready"]:
                have = said["ack"] or offered
                break
        else:
            have = list(local)
        bundle = wire.post("/fetch", {"want": want, "have": have})
        return Fetched(refs, bundle, wire.exchanges)


def _new_commits(history: History, have: set[str]) -> list[Record]:
    """The commits to send, by breadth-first search from the head, which comes first.

    Stops only at ids in `have`.
    """
    known = {commit["commit_id"]: commit for commit in history.commits}
    found: dict[str, Record] = {}
    generation = [history.head]
    while generation:
        parents: list[str] = []
        for commit_id in generation:
            if commit_id in have or commit_id in found or commit_id not in known:
                continue
            commit = known[commit_id]
            found[commit_id] = commit
            both = (commit["parent_commit_id"], commit["parent2_commit_id"])
            parents += [parent for parent in both if parent]
        generation = parents
    return list(found.values())


def _upload(wire: "Wire", contents: Mapping[str, bytes]) -> set[str]:
    """Upload the objects that are too large for a chunk, by presigned URLs. Returns their ids."""
    large = sorted(
        object_id for object_id, content in contents.items() if len(content) > LARGEST_INLINE
    )
    if not large:
        return set()
    try:
        reply = wire.post("/presign", {"object_ids": large, "direction": "put"})
    except Refused:
        return set()
    urls: dict[str, str] = {
        one: url for one, url in reply.get("presigned", {}).items() if one in contents
    }
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        uploads = [
            threads.submit(wire.put, url, contents[object_id]) for object_id, url in urls.items()
        ]
    for upload in uploads:
        upload.result()
    return set(urls)


def _push_objects(wire: "Wire", object_ids: list[str], contents: Mapping[str, bytes]) -> None:
    """Send chunks in the order of ids, four at a time.

    If one fails, the others still run; then its error is raised.
    """

    def send(chunk: list[str]) -> None:
        objects = [{"object_id": object_id, "content": contents[object_id]} for object_id in chunk]
        wire.post("/push/objects", {"objects": objects})

    with ThreadPoolExecutor(CHUNKS_AT_ONCE) as threads:
        chunks = [threads.submit(send, chunk) for chunk in _chunked(object_ids, CHUNK_OBJECTS)]
    for chunk in chunks:
        chunk.result()


def _chunked(items: list[str], size: int) -> Iterator[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


class Wire:
    """Sends requests to a repository, one at a time per thread."""

    def __init__(
        self, base: str, token: str | None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._base = base.rstrip("/")
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            headers={
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=TIMEOUT_SECONDS,
            trust_env=False,  # no proxy for 127.0.0.1
            transport=transport,
        )
        self._exchanges: list[Exchange] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The requests so far."""
        return tuple(self._exchanges)

    def get(self, suffix: str) -> Record:
        """The reply to a GET. Raises Refused."""
        return self._call("GET", suffix, b"", {})

    def post(self, suffix: str, body: Record) -> Record:
        """The reply to a POST. Raises Refused."""
        return self._call(
            "POST", suffix, msgpack.packb(body, use_bin_type=True), {"Content-Type": MSGPACK}
        )

    def post_staged(self, suffix: str, body: Record) -> Record:
        """The reply to a POST whose body is staged: three requests.

        Not by the stock client. Raises Refused.
        """
        content = msgpack.packb(body, use_bin_type=True)
        address = self.post("/staging", {"route": suffix.removeprefix("/"), "size": len(content)})
        self.put(address["url"], content)
        return self._call(
            "POST",
            suffix,
            b"",
            {"Content-Type": MSGPACK, "Pieria-Staged-Body": address["reference"]},
        )

    def put(self, url: str, content: bytes) -> None:
        """Upload to a presigned URL, with the content type that urllib adds, and no other
        header.
        """
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._send("PUT", url, "upload", content, headers, UPLOAD_TIMEOUT_SECONDS)

    def _call(self, method: str, suffix: str, body: bytes, headers: Mapping[str, str]) -> Record:
        negotiated = {"Accept": f"{MSGPACK}, application/json", **self._authorization, **headers}
        reply = self._send(method, self._base + suffix, suffix, body, negotiated, TIMEOUT_SECONDS)
        try:
            value = msgpack.unpackb(reply, raw=False) if reply else {}
        except ValueError as error:
            raise Refused(f"{method} {suffix}", 200, "the reply is not msgpack") from error
        return cast(Record, value) if isinstance(value, dict) else {}

    def _send(
        self,
        method: str,
        url: str,
        name: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,
    ) -> bytes:
        started = time.perf_counter()
        with self._http.stream(
            method, url, content=body or None, headers=dict(headers), timeout=timeout
        ) as reply:
            content = _bounded(reply.iter_raw())
        seconds = time.perf_counter() - started
        size = 0 if content is None else len(content)
        self._exchanges.append(Exchange(method, name, reply.status_code, len(body), size, seconds))
        if content is None:
            raise Refused(
                f"{method} {name}", 0, f"the reply is longer than {MAX_REPLY_BYTES} bytes"
            )
        if not reply.is_success:
            raise Refused(f"{method} {name}", reply.status_code, content.decode(errors="replace"))
        return content


def _bounded(pieces: Iterable[bytes]) -> bytes | None:
    """The pieces joined, or None if they are more than the client accepts."""
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > MAX_REPLY_BYTES:
            return None
    return bytes(content)
