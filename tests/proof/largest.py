"""The largest requests that each endpoint accepts, by name; and their cost, one after the other in one
process.

python -m tests.proof.largest        exits with 1 if they need more memory than a function has
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgpack

from tests.client import MSGPACK, Answer, bearer, request
from tests.proof.asgi_client import Hub, answered, token
from tests.proof.hostile import MEMORY_BYTES, alone, peak_bytes, wrong
from tests.proof.memory import Cloud
from tests.proof.stories import SONG, WIRE

LAMBDA_BYTES = 4_700_000
"""The most that Lambda passes, as base64 in 6 MiB."""
D = "a" * 64


def a_push(**bundle: Any) -> Any:
    return {"bundle": bundle, "branch": "main"}


def a_manifest(path: Callable[[int], str], count: int) -> Any:
    return a_push(snapshots=[{"snapshot_id": "s", "manifest": {path(n): D for n in range(count)}}])


def commits(count: int, **more: Any) -> Any:
    return a_push(
        commits=[
            {"commit_id": f"c{n}", "parent_commit_id": f"c{n - 1}" if n else None, **more}
            for n in range(count)
        ]
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
    "empty maps, half a million": (
        "fetch",
        b"\x81\xa4want\xdd\x00\x07\xa0\x00" + b"\x80" * 0x7A000,
    ),
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


def every() -> dict[str, tuple[str, Callable[[], bytes], str]]:
    """All of them: where each is sent to, its bytes, and their type."""
    found: dict[str, tuple[str, Callable[[], bytes], str]] = {}
    for name, (suffix, message) in PACKED.items():
        found[name] = suffix, lambda message=message: msgpack.packb(message()), MSGPACK  # type: ignore[misc]
    for media, bodies in ((MSGPACK, RAW), ("application/json", TEXT)):
        for name, (suffix, body) in bodies.items():
            found[name] = suffix, lambda body=body: body, media  # type: ignore[misc]
    return found


def sent(
    hub: Hub, route: str, where: Any, body: bytes, headers: dict[str, str] | None = None
) -> Answer:
    """A body as it is, by the owner."""
    method, path = route.split(" ")
    given = {**bearer(token("me")), **(headers or {})}
    return hub.run(answered(request(method, path.format(**where), raw=body, headers=given)))


def send(hub: Hub, name: str) -> tuple[float, str]:
    """Send one of them. Returns its seconds of CPU, and the fault of the reply, if any."""
    suffix, made, media = every()[name]
    body = made()
    assert len(body) <= LAMBDA_BYTES
    begun = time.process_time()
    answer = sent(hub, f"POST {WIRE}/{suffix}", SONG, body, {"content-type": media})
    return time.process_time() - begun, wrong("POST", answer, 0)


def main() -> int:
    """From the command line."""
    alone(os.environ)
    bad = 0
    with Hub(Cloud()) as hub:
        for name in every():
            seconds, problem = send(hub, name)
            bad += bool(problem)
            print(f"{seconds:5.2f} s  {name}  {problem}", flush=True)
    memory = peak_bytes()
    print(f"{memory // 2**20} MiB")
    return 1 if bad or memory > MEMORY_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
