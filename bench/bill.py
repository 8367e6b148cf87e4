"""The most that one subject can spend in a day, within the request limits and within the limits of
cost.

    python -m bench.bill [--write]    meter every shape; --write updates the table of docs/deploy.md

A shape is the most expensive request that its endpoint allows, found by trying sizes up to the
limits of `shared/protocol/limits.py`. It is metered as by the hub. The time of the function follows
from the model of latency.
"""

import argparse
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgpack

from bench import history as histories
from bench import lambdas
from bench.lambdas import BASE, OWNER, Hub, token
from infra import stack
from shared import ids, prices
from shared.settings import EXPANDED_BYTES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "deploy.md"
MINUTES = 24 * 60
MSGPACK = "application/x-msgpack"
REFUSAL_SECONDS = 0.02
REFUSAL_BYTES = 500
"""Time and reply of a refused request, rounded up."""
IN_FLIGHT = 400
"""Requests that the API accepts at once: `ThrottlingBurstLimit` of the template."""


@dataclass(frozen=True)
class Shape:
    """A kind of request.

    `scene` prepares the hub and returns requests, of which the last one is metered.
    """

    name: str
    limit_class: str
    scene: Callable[[Hub], list[httpx.Request]]
    status: int = 200


@dataclass(frozen=True)
class Spent:
    """The cost of a shape, in dollars."""

    shape: Shape
    each: float
    urls: float
    """The part of it for uses of its presigned URLs. It is charged before they are returned, so
    never beyond a limit."""
    a_minute: int
    """Requests in a minute that the limit of its class allows."""
    limit: float
    """The cost that a subject may cause in a day."""

    @property
    def without(self) -> float:
        """The cost of a day within the request limits alone."""
        return self.each * self.a_minute * MINUTES

    @property
    def overshoot(self) -> float:
        """The cost of the requests that may run when the limit is reached: those of one minute."""
        return (self.each - self.urls) * min(self.a_minute, IN_FLIGHT)

    @property
    def within(self) -> float:
        """The highest cost of a day with the limits of cost."""
        return min(self.without, self.limit + self.overshoot)


def request(method: str, path: str, message: Any = None, by: str | None = OWNER) -> httpx.Request:
    """A request to the hub, in msgpack."""
    headers = {"accept": MSGPACK, "content-type": MSGPACK}
    if by:
        headers["authorization"] = f"Bearer {token(by)}"
    body = b"" if message is None else msgpack.packb(message)
    return httpx.Request(method, f"{BASE}{path}", headers=headers, content=body)


def opaque(count: int, kind: str) -> list[str]:
    """Ids in the form of digests, of objects that are not stored."""
    return [sha256(f"{kind} {number}".encode()).hexdigest() for number in range(count)]


def commits(count: int, note: str, size: int = 0) -> list[dict[str, Any]]:
    """A chain of commits without snapshots, with opaque ids."""
    return [
        {
            "commit_id": f"{note}-{n}",
            "parent_commit_id": f"{note}-{n - 1}" if n else None,
            "message": "x" * size,
        }
        for n in range(count)
    ]


def pushed(hub: Hub, slug: str, bundle: dict[str, Any], branch: str = "main") -> httpx.Request:
    """A push."""
    empty: dict[str, Any] = {"commits": [], "snapshots": [], "objects": []}
    return request("POST", f"/{OWNER}/{slug}/push", {"bundle": empty | bundle, "branch": branch})


def _objects(count: int, size: int, note: str) -> list[dict[str, Any]]:
    contents = [f"{note} {number} ".encode().ljust(size, b".") for number in range(count)]
    return [{"object_id": sha256(content).hexdigest(), "content": content} for content in contents]


def small_objects(hub: Hub) -> list[httpx.Request]:
    """POST push/objects: a row and 100 bytes each."""
    return [
        request(
            "POST", f"/{OWNER}/{hub.slug}/push/objects", {"objects": _objects(1000, 100, hub.slug)}
        )
    ]


def loose_objects(hub: Hub) -> list[httpx.Request]:
    """POST push/objects: each is an S3 PUT of its own."""
    return [
        request(
            "POST",
            f"/{OWNER}/{hub.slug}/push/objects",
            {"objects": _objects(4, 1_100_000, hub.slug)},
        )
    ]


def bare_commits(count: int, size: int, hub: Hub) -> list[httpx.Request]:
    """POST push: commits without snapshots."""
    return [pushed(hub, hub.slug, {"commits": commits(count, hub.slug, size)})]


def refused_push(hub: Hub) -> list[httpx.Request]:
    """POST push: a snapshot of objects that are not stored, so that each of them is looked up."""
    manifest = {
        f"{number}.txt": object_id for number, object_id in enumerate(opaque(10_000, hub.slug))
    }
    snapshot_id = ids.snapshot_id(manifest)
    record = {"snapshot_id": snapshot_id, "manifest": manifest}
    message = "refused"
    at = "2026-01-01T00:00:00+00:00"
    commit = {
        "commit_id": ids.commit_id([], snapshot_id, message, at),
        "snapshot_id": snapshot_id,
        "message": message,
        "committed_at": at,
    }
    first = pushed(hub, hub.slug, {"commits": commits(1, hub.slug)})
    return [first, pushed(hub, hub.slug, {"commits": [commit], "snapshots": [record]}, "other")]


def tags(count: int, size: int, hub: Hub) -> list[httpx.Request]:
    """POST tags."""
    made = [
        {
            "tag_id": f"{size}-{n}",
            "commit_id": f"{hub.slug}-0",
            "tag": "x",
            "note": f"{n} {'x' * size}",
        }
        for n in range(count)
    ]
    first = pushed(hub, hub.slug, {"commits": commits(1, hub.slug)})
    return [first, request("POST", f"/{OWNER}/{hub.slug}/tags", {"tags": made})]


def listed_tags(hub: Hub) -> list[httpx.Request]:
    """GET tags of a rare label: four pages of 1 MB."""
    text = "x" * 3_900
    rows = []
    for part in range(9):
        made = [
            {"tag_id": f"l{part}-{n}", "commit_id": f"{hub.slug}-0", "tag": "x", "note": text}
            for n in range(130)
        ]
        rows.append(request("POST", f"/{OWNER}/{hub.slug}/tags", {"tags": made}))
    first = pushed(hub, hub.slug, {"commits": commits(1, hub.slug)})
    return [first, *rows, request("GET", f"/{OWNER}/{hub.slug}/tags?label=rare")]


def release(hub: Hub) -> list[httpx.Request]:
    """POST releases: a record of the largest size."""
    noise = os.urandom(190_000).hex()
    message = {"release_id": "r", "tag": "v1.0.0", "commit_id": f"{hub.slug}-0", "body": noise}
    first = pushed(hub, hub.slug, {"commits": commits(1, hub.slug)})
    return [first, request("POST", f"/{OWNER}/{hub.slug}/releases", message)]


def clone(hub: Hub) -> list[httpx.Request]:
    """POST fetch of 40 MB."""
    made = histories.generate(1)
    objects = [{"object_id": i, "content": content} for i, content in made.objects.items()]
    uploads = [
        request(
            "POST", f"/{OWNER}/{hub.slug}/push/objects", {"objects": objects[start : start + 400]}
        )
        for start in range(0, len(objects), 400)
    ]
    push = pushed(hub, hub.slug, {"commits": list(made.commits), "snapshots": list(made.snapshots)})
    return [
        *uploads,
        push,
        request("POST", f"/{OWNER}/{hub.slug}/fetch", {"want": [made.head], "have": []}, by=None),
    ]


def download(hub: Hub) -> list[httpx.Request]:
    """GET objects: the largest object that the hub sends without a redirect."""
    content = b"d" * (4 * 1024 * 1024)
    one = {"object_id": sha256(content).hexdigest(), "content": content}
    upload = request("POST", f"/{OWNER}/{hub.slug}/push/objects", {"objects": [one]})
    return [upload, request("GET", f"/{OWNER}/{hub.slug}/objects/{one['object_id']}", by=None)]


def filter_objects(count: int, hub: Hub) -> list[httpx.Request]:
    """POST filter-objects."""
    first = pushed(hub, hub.slug, {"commits": commits(1, hub.slug)})
    path = f"/{OWNER}/{hub.slug}/filter-objects"
    return [first, request("POST", path, {"object_ids": opaque(count, hub.slug)})]


def presign(hub: Hub) -> list[httpx.Request]:
    """POST presign, without sizes."""
    return [
        request("POST", f"/{OWNER}/{hub.slug}/presign", {"object_ids": opaque(10_000, hub.slug)})
    ]


def staging(hub: Hub) -> list[httpx.Request]:
    """POST staging of the largest body."""
    message = {"route": "push", "size": EXPANDED_BYTES}
    return [request("POST", f"/{OWNER}/{hub.slug}/staging", message)]


def negotiate(hub: Hub) -> list[httpx.Request]:
    """POST negotiate."""
    first = pushed(hub, hub.slug, {"commits": commits(500, hub.slug)})
    names = [f"{hub.slug}-{number}" for number in range(500)]
    message = {"want": names[244:], "have": names[:256]}
    return [first, request("POST", f"/{OWNER}/{hub.slug}/negotiate", message, by=None)]


def log(hub: Hub) -> list[httpx.Request]:
    """GET commits: a page of large records."""
    first = pushed(hub, hub.slug, {"commits": commits(110, hub.slug, 200_000 // 110)})
    return [first, request("GET", f"/api/v1/repos/{OWNER}/{hub.slug}/commits?limit=100", by=None)]


def issue(hub: Hub) -> list[httpx.Request]:
    """POST tokens."""
    return [request("POST", "/api/v1/tokens", {"scope": "read", "lifetime_seconds": 3600})]


def poll(hub: Hub) -> list[httpx.Request]:
    """GET refs."""
    first = pushed(hub, hub.slug, {"commits": commits(1, hub.slug)})
    return [first, request("GET", f"/{OWNER}/{hub.slug}/refs", by=None)]


def shapes() -> Iterator[Shape]:
    """All shapes. If the largest size may not be the most expensive one, there are several
    sizes.
    """
    for count, size in ((9_500, 0), (1_000, 3_500)):
        name = f"push of {count:,} bare commits" + (f" of {size:,} bytes" if size else "")
        yield Shape(name, "push", functools.partial(bare_commits, count, size))
    yield Shape("a refused push that names 10,000 absent objects", "push", refused_push, 422)
    yield Shape("release of 390 kB", "push", release)
    yield Shape("a token is issued", "push", issue)
    for count, size in ((1_000, 300), (360, 1_300), (130, 3_900)):
        yield Shape(
            f"tags: {count:,} of {size:,} bytes", "upload", functools.partial(tags, count, size)
        )
    yield Shape("push/objects: 1,000 small objects", "upload", small_objects)
    yield Shape("push/objects: 4 large objects", "upload", loose_objects)
    yield Shape("presign: all URLs of a reply, without sizes", "upload", presign)
    yield Shape("staging of 64 MiB", "upload", staging)
    for count in (1_600, 50_000):
        yield Shape(
            f"filter-objects: {count:,} absent ids",
            "upload",
            functools.partial(filter_objects, count),
        )
    yield Shape("download of 4 MiB", "upload", download)
    yield Shape("clone of 40 MB", "fetch", clone)
    yield Shape("tags of a rare label", "read", listed_tags)
    yield Shape("negotiate: 256 haves, 256 wants", "read", negotiate)
    yield Shape("log of 100 commits", "read", log)
    yield Shape("poll: GET refs", "read", poll)


def metered(hub: Hub, shape: Shape) -> tuple[float, float]:
    """The cost of one request of this shape in dollars, as the hub charges it, and the part for
    presigned URLs."""
    from shared import meter

    *before, last = shape.scene(hub)
    for one in before:
        answer = hub.answer(one)
        if answer.status_code >= 300:
            raise RuntimeError(f"{shape.name}: {answer.status_code} {answer.read()[:300]!r}")
    meters = list[meter.Meter]()
    begin = meter.begin

    def watched() -> meter.Meter:
        meters.append(begin())
        return meters[-1]

    meter.begin = watched
    hub.served.clear()
    hub.watch = "calls"
    try:
        answer = hub.answer(last)
    finally:
        meter.begin = begin
        hub.watch = "nothing"
    if answer.status_code not in (*range(200, 300), shape.status):
        raise RuntimeError(f"{shape.name}: {answer.status_code} {answer.read()[:300]!r}")
    [served] = hub.served
    memory = lambdas.memory_mb().get(served.function, lambdas.MEMORY_MB)
    compute = prices.LAMBDA_GB_SECOND * memory / 1024 * served.meter.milliseconds() / 1000
    whole = sum(one.picodollars for one in meters) + compute
    return whole / prices.DOLLAR, sum(one.urls for one in meters) / prices.DOLLAR


def report(chosen: Sequence[Shape]) -> list[Spent]:
    """Meter each shape, on the AWS of this process's environment.

    The most expensive day comes first.
    """
    from shared import settings

    defaults = settings.Settings.model_fields
    found = []
    with Hub() as hub:
        for number, shape in enumerate(chosen):
            hub.slug = f"bill{number:02}"
            a_minute = int(defaults[f"limit_{shape.limit_class}"].default)
            limit = float(defaults["limit_cost_subject"].default)
            found.append(Spent(shape, *metered(hub, shape), a_minute, limit))
            print(f"{found[-1].without:>10,.2f} $/day  {shape.name}", file=sys.stderr, flush=True)
    return sorted(found, key=lambda one: -one.without)


def markdown(found: Sequence[Spent]) -> str:
    """The table of docs/deploy.md."""
    lines = [
        (
            "| request | one, in dollars | a minute | dollars a day by request limits alone | with"
            " the limits of cost |"
        ),
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one.shape.name} | {one.each:.6f} | {one.a_minute} | {one.without:,.2f} |"
        f" {one.within:,.2f} |"
        for one in found
    ]
    return "\n".join(lines)


def refusals() -> float:
    """The cost of a day of refused requests in dollars, at the highest rate that the API accepts.

    Each of them is counted, and looks up a repository.
    """
    rate = stack.resources()["Stage"].properties["DefaultRouteSettings"]["ThrottlingRateLimit"]
    itself = prices.request(lambdas.MEMORY_MB, REFUSAL_SECONDS, 0, REFUSAL_BYTES)
    calls = prices.WRITE_UNIT + 4.5 * prices.READ_UNIT
    return float(rate) * 86_400 * (itself + calls) / prices.DOLLAR


def main() -> int:
    """Run from the command line."""
    from bench import aws

    parser = argparse.ArgumentParser(
        prog="python -m bench.bill", description="The most that one subject can spend in a day."
    )
    parser.add_argument("--write", action="store_true", help="update the table of docs/deploy.md")
    options = parser.parse_args()
    with aws.running() as url:
        lambdas.set_environment(url)
        found = report(list(shapes()))
    print(markdown(found))
    print(f"refused requests at the rate of the API: {refusals():.2f} $/day")
    if options.write:
        between = re.compile(r"(<!-- bill -->\n).*?(<!-- /bill -->)", re.DOTALL)
        table = markdown(found)
        PAGE.write_text(
            between.sub(lambda marks: f"{marks[1]}{table}\n{marks[2]}", PAGE.read_text())
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
