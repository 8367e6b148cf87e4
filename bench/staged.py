"""Memory and CPU of push and push/objects for the largest staged bodies, each in a process of its
own.

    python -m bench.staged [NAME ...]

The emulated AWS is another process. Memory is the resident memory of the process (Linux only):
after one small request, and its peak during the large one. CPU is that of the process, so what the
emulator uses is not counted.
"""

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from bench import aws, lambdas
from bench.lambdas import BASE, OWNER, Hub
from shared import codec, ids
from shared.codec import MSGPACK
from shared.codings import Coding, compressor
from shared.settings import EXPANDED_BYTES
from tests.builders import Record, commit, snapshot

MIB = 1024 * 1024
ROOM_BYTES = 64 * 1024
"""The most bytes of a body without its objects or records."""
HEADERS = {"authorization": "", "content-type": MSGPACK, "accept": MSGPACK}


def objects(count: int) -> Record:
    """A batch of objects that together fill a body."""
    size = (EXPANDED_BYTES - ROOM_BYTES) // count - 90
    chance = random.Random(count)
    contents = (chance.randbytes(size) for _ in range(count))
    return {
        "objects": [
            {"object_id": ids.object_id(content), "content": content} for content in contents
        ]
    }


def commits(count: int, detail: Callable[[int], Any]) -> Record:
    """A push of a line of commits with these details in each."""
    made = list[Record]()
    for number in range(count):
        parents = [made[-1]["commit_id"]] if made else []
        made.append(commit(f"commit {number}", parents, structured_delta={"ops": detail(number)}))
    return {"bundle": {"commits": made, "snapshots": [], "objects": []}, "branch": "main"}


def manifests(count: int, files: int) -> Record:
    """A push of a line of commits, each with a manifest in which one file differs.

    The objects are sent before.
    """
    paths = [f"source/package_{n % 40:02}/module_{n:05}.py" for n in range(files)]
    manifest = {path: ids.object_id(path.encode()) for path in paths}
    made, snapshots = list[Record](), list[Record]()
    for number in range(count):
        manifest = {**manifest, paths[number % files]: ids.object_id(b"%d" % number)}
        snapshots.append(snapshot(manifest))
        parents = [made[-1]["commit_id"]] if made else []
        made.append(commit(f"commit {number}", parents, snapshots[-1]["snapshot_id"]))
    return {"bundle": {"commits": made, "snapshots": snapshots, "objects": []}, "branch": "main"}


def sent_before(message: Record | bytes) -> Iterator[Record]:
    """The objects that the manifests of a push name, in batches."""
    snapshots = () if isinstance(message, bytes) else message.get("bundle", {}).get("snapshots", ())
    paths = {path for one in snapshots for path in one["manifest"]}
    contents = [
        *(path.encode() for path in paths),
        *(b"%d" % number for number in range(len(snapshots))),
    ]
    for start in range(0, len(contents) if snapshots else 0, 1_000):
        part = contents[start : start + 1_000]
        yield {
            "objects": [
                {"object_id": ids.object_id(content), "content": content} for content in part
            ]
        }


def operations(number: int) -> list[Record]:
    """Changes as the stock client describes them: 25 of about 250 bytes."""
    return [
        {
            "op": "replace",
            "address": f"source/{number}/{n}.py::function_{n}",
            "old": ids.object_id(b"%d" % n),
            "n": n,
        }
        | {
            "new": ids.object_id(b"%d %d" % (number, n)),
            "text": "changed signature and body of this function",
        }
        for n in range(25)
    ]


def short_texts() -> bytes:
    """No push: lists in lists of texts of two letters, which need the most memory for their
    bytes.
    """
    entries = 3_999_999
    start = b"\xdd" + entries.to_bytes(4, "big") + b"\xa2ab" * (entries - 1)
    return start * (EXPANDED_BYTES // len(start))


BODIES: Mapping[str, tuple[str, Callable[[], Record | bytes]]] = {
    "push/objects, 1,000 of 66 kB": ("push/objects", lambda: objects(1_000)),
    "push/objects, 60 of 1.1 MB": ("push/objects", lambda: objects(60)),
    "push/objects, 2 of 33 MB": ("push/objects", lambda: objects(2)),
    "push, 9,900 commits of 6.5 kB": ("push", lambda: commits(9_900, operations)),
    "push, 30 commits of many texts": (
        "push",
        lambda: commits(30, lambda n: [f"{n} {m:012}" for m in range(130_000)]),
    ),
    "push, 25 commits of many maps": (
        "push",
        lambda: commits(25, lambda n: [{f"{n} {m}": "x" * 120} for m in range(19_000)]),
    ),
    "push, 1,500 manifests of 427 files": ("push", lambda: manifests(1_500, 427)),
    "push, 60 manifests of 10,000 files": ("push", lambda: manifests(60, 10_000)),
    "hostile, 20,000,000 texts": ("push", short_texts),
}
"""Route and message of each body."""


def event(path: str, body: bytes, **headers: str) -> dict[str, Any]:
    """A request as the HTTP API sends it."""
    sent = {**HEADERS, "authorization": f"Bearer {lambdas.token()}", **headers}
    return lambdas._event(
        httpx.Request("POST", f"{BASE}/{OWNER}/{path}", headers=sent, content=body), body
    )


def post(hub: Hub, path: str, message: Record) -> Record:
    """A request with this body; its reply."""
    body = codec.encode(message, as_msgpack=True)
    headers = {**HEADERS, "authorization": f"Bearer {lambdas.token()}"}
    answer = hub.answer(
        httpx.Request("POST", f"{BASE}/{OWNER}/{path}", headers=headers, content=body)
    )
    if answer.status_code >= 300:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.read()[:300]!r}")
    return codec.unpack_record(answer.read())


def staged(hub: Hub, slug: str, route: str, body: bytes) -> str:
    """The reference to a body that has been uploaded."""
    address = post(hub, f"{slug}/staging", {"route": route, "size": len(body)})
    httpx.put(address["url"], content=body, timeout=60).raise_for_status()
    return str(address["reference"])


def served(function: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    """The report of a process that serves these events."""
    run = subprocess.run(
        [sys.executable, "-m", "bench.staged", "--serve", function],
        input=json.dumps(events),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def serve(function: str) -> None:
    """Serve the events of standard input; report the last."""
    import importlib

    handler = importlib.import_module(f"functions.{function}").handler
    *small, large = json.load(sys.stdin)
    for one in small:
        handler(one, None)
    Path("/proc/self/clear_refs").write_text("5")
    rest, before, began = (
        memory("VmRSS"),
        resource.getrusage(resource.RUSAGE_SELF),
        time.perf_counter(),
    )
    answer = handler(large, None)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - began
    report = {
        "status": answer["statusCode"],
        "rest": rest,
        "peak": memory("VmHWM"),
        "cpu": cpu,
        "seconds": seconds,
    }
    json.dump(
        report | ({"body": answer["body"][:300]} if answer["statusCode"] >= 300 else {}), sys.stdout
    )


def memory(name: str) -> int:
    """Bytes that this process has in memory, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def report(names: list[str]) -> Iterator[str]:
    """A line for each body: uncompressed, and compressed."""
    with aws.running() as url:
        lambdas.set_environment(url)
        with Hub() as hub:
            for number, name in enumerate(names):
                route, make = BODIES[name]
                message = make()
                body = (
                    message
                    if isinstance(message, bytes)
                    else codec.encode(message, as_msgpack=True)
                )
                assert len(body) <= EXPANDED_BYTES, (name, len(body))
                for coding in (None, Coding.ZSTD):
                    slug = f"staged{number}{coding or ''}"
                    packed = body
                    if coding:
                        packer = compressor(coding)
                        packed = packer.compress(body) + packer.flush()
                    for batch in sent_before(message):
                        post(hub, f"{slug}/push/objects", batch)
                    reference = staged(hub, slug, route, packed)
                    headers = {
                        "pieria-staged-body": reference,
                        **({"content-encoding": coding} if coding else {}),
                    }
                    small = codec.encode(
                        {"objects": [], "branch": "x", "bundle": {}}, as_msgpack=True
                    )
                    events = [
                        event(f"{slug}/{route}", small),
                        event(f"{slug}/{route}", b"", **headers),
                    ]
                    found = served(route.replace("/", "_"), events)
                    yield (
                        f"{name:<38}{coding or 'as it is':<9}{len(packed) / 1e6:>6.1f} MB "
                        f" {found['status']}  {found['rest'] / MIB:>6.0f} MiB at rest"
                        f" {found['peak'] / MIB:>6.0f} at its peak  {found['cpu']:>6.2f} s of CPU"
                        f" {found['seconds']:>6.2f} s {found.get('body', '')}"
                    )


def main() -> None:
    """The command."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
        return
    os.environ["PIERIA_MAX_BODY_BYTES"] = "4690000"
    for line in report(sys.argv[1:] or list(BODIES)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
