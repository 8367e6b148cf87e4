"""The budgets of pushes, clones and pulls: AWS calls, and the longest chain of calls.

The docstrings of `shared/` state the budgets. Each test measures one request to one Lambda handler.
The requests that prepare its repository are not counted.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import boto3
import httpx
import msgpack
import pytest

from bench import history as bench_history
from infra import stack
from shared import ids
from shared.actions import negotiate, push_plan
from shared.engines import selection
from shared.metadata import keys
from tests import builders
from tests import client as hub
from tests.builders import History, Record
from tests.client import Answer
from tests.costs import measure, table

DEPTHS = (10, 100, 1000)
OTHER_BRANCHES = 200
"""Branches that the request does not name."""
OBJECT_BYTES = 4096

# ── Preparation ───────────────────────────────────────────────────────────────────────────────────


def contents(count: int, salt: str = "") -> dict[str, bytes]:
    """Return `count` different objects of 4 KiB, by id."""
    made = (f"{salt} {n} ".encode().ljust(OBJECT_BYTES, b".") for n in range(count))
    return {ids.object_id(content): content for content in made}


def line(length: int, files: int = 10) -> History:
    """Commits 1 … length, each the parent of the next. Each changes one of `files` files."""
    history, manifest = History(), dict[str, str]()
    for number in range(1, length + 1):
        content = f"version {number}".encode()
        manifest |= {f"part-{number % files}.mid": ids.object_id(content)}
        history.objects[ids.object_id(content)] = content
        history.snapshots[number] = builders.snapshot(manifest)
        parents = [history[number - 1]] if number > 1 else []
        history.commits[number] = builders.commit(
            f"take {number}", parents, history.snapshots[number]["snapshot_id"]
        )
    return history


def pushed(owner: str, slug: str, bundle: Record, branch: str = "main") -> None:
    answer = hub.push(owner, slug, bundle, branch=branch)
    assert answer.status == 200, answer.body


def upload(owner: str, slug: str, objects: dict[str, bytes]) -> Answer:
    """POST push/objects."""
    sent = [{"object_id": i, "content": content} for i, content in objects.items()]
    return hub.call("push_objects", owner, slug, {"objects": sent}, by=owner)


def crowd(owner: str, slug: str, branches: int) -> None:
    """Create further branches with the head of `main`. Rows are written, which is faster than
    pushes.
    """

    async def put() -> None:
        opened = await selection.stores()
        repo = await opened.repos.get(owner, slug)
        assert repo
        row = await opened.hub.get(keys.ref(repo.repo_id, "main"))
        assert row
        plain = {name: value for name, value in row.items() if name not in ("pk", "sk")}
        await opened.hub.put(
            [(keys.ref(repo.repo_id, f"agent-{n:04}"), plain) for n in range(branches)]
        )

    assert "main" in hub.heads(owner, slug, by=owner)
    asyncio.get_event_loop().run_until_complete(put())
    assert len(hub.heads(owner, slug, by=owner)) == branches + 1


def unknown(count: int) -> list[str]:
    """Ids of commits that the hub does not store."""
    return [ids.object_id(f"not pushed: {n}".encode()) for n in range(count)]


# ── Each operation by itself ──────────────────────────────────────────────────────────────────────


def get_refs(owner: str) -> Callable[[], Answer]:
    pushed(owner, "song", builders.graph("1").bundle())
    crowd(owner, "song", 999)
    return lambda: hub.call("refs", owner, "song", by=owner)


def filter_500(owner: str) -> Callable[[], Answer]:
    known = contents(250)
    assert upload(owner, "song", known).value == {"stored": 250, "skipped": 0}
    asked = [*known, *contents(250, "new")]
    return lambda: hub.call("filter_objects", owner, "song", {"object_ids": asked}, by=owner)


def upload_many(count: int, owner: str) -> Callable[[], Answer]:
    pushed(owner, "song", builders.graph("1").bundle())
    return lambda: upload(owner, "song", contents(count))


def stage(owner: str) -> Callable[[], Answer]:
    pushed(owner, "song", builders.graph("1").bundle())
    return lambda: hub.call("staging", owner, "song", {"route": "push", "size": 1000}, by=owner)


def upload_staged(owner: str) -> Callable[[], Answer]:
    """One call more than without staging, which reads the body."""
    pushed(owner, "song", builders.graph("1").bundle())
    body = msgpack.packb(
        {"objects": [{"object_id": i, "content": content} for i, content in contents(50).items()]}
    )
    address = hub.call(
        "staging", owner, "song", {"route": "push/objects", "size": len(body)}, by=owner
    ).value
    assert httpx.put(address["url"], content=body).status_code == 200
    return lambda: hub.call(
        "push_objects",
        owner,
        "song",
        by=owner,
        headers={"pieria-staged-body": address["reference"]},
    )


def push_bare(owner: str) -> Callable[[], Answer]:
    history = builders.graph("1; 2:1", files=False)
    pushed(owner, "song", history.bundle([1]))
    return lambda: hub.push(owner, "song", history.bundle([2]))


def push_after_upload(files: int, owner: str) -> Callable[[], Answer]:
    """One of the files changed. Its new bytes were uploaded before, as the stock client does."""
    before, after = contents(files), contents(1, "changed")
    old = {f"song/part_{n:03}.mid": object_id for n, object_id in enumerate(before)}
    new = old | {"song/part_000.mid": next(iter(after))}
    snapshots = builders.snapshot(old), builders.snapshot(new)
    root = builders.commit("root", [], snapshots[0]["snapshot_id"])
    child = builders.commit("child", [root["commit_id"]], snapshots[1]["snapshot_id"])
    assert upload(owner, "song", before).status == 200
    pushed(owner, "song", {"commits": [root], "snapshots": [snapshots[0]], "objects": []})
    assert upload(owner, "song", after).value == {"stored": 1, "skipped": 0}
    return lambda: hub.push(
        owner, "song", {"commits": [child], "snapshots": [snapshots[1]], "objects": []}
    )


def fetch_chain(owner: str) -> Callable[[], Answer]:
    history = bench_history.chain(1, 5000)
    pushed(owner, "song", {"commits": list(history.commits), "snapshots": [], "objects": []})

    def fetch() -> Answer:
        answer = hub.fetch(owner, "song", [history.head], by=owner)
        assert len(hub.fetched_ids(answer)[0]) == 5000
        return answer

    return fetch


def clone(owner: str) -> Callable[[], Answer]:
    history = bench_history.generate(1)
    objects = sorted(history.objects.items())
    for start in range(0, len(objects), 400):
        assert upload(owner, "song", dict(objects[start : start + 400])).status == 200
    pushed(
        owner,
        "song",
        {"commits": list(history.commits), "snapshots": list(history.snapshots), "objects": []},
    )

    def whole() -> Answer:
        answer = hub.fetch(owner, "song", [history.head], by=owner)
        commits, _, objects = hub.fetched_ids(answer)
        assert (len(commits), len(objects)) == (250, 2400)
        return answer

    return whole


OPERATIONS: dict[str, Callable[[str], Callable[[], Answer]]] = {
    "GET refs, 1,000 branches": get_refs,
    "filter-objects, 500 ids": filter_500,
    "push/objects, 50 objects of 4 KiB": functools.partial(upload_many, 50),
    "push/objects, 400 objects": functools.partial(upload_many, 400),
    "staging": stage,
    "push/objects, 50 objects of 4 KiB, staged": upload_staged,
    "push, 1 commit, nothing else": push_bare,
    "push, 1 commit, 10 files, objects already stored": functools.partial(push_after_upload, 10),
    "push, 1 commit, 400 files, objects already stored": functools.partial(push_after_upload, 400),
    "fetch, whole chain of 5,000 commits": fetch_chain,
    "clone, 250 commits, 2,400 objects pushed in 6 chunks": clone,
}
"""Functions that prepare the repository of an owner and return the request to measure."""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_stays_within_its_budget(operation, owner):
    cost = measure(operation, OPERATIONS[operation](owner))
    assert cost.is_within_budget, table([cost])


# ── The cost of a difference does not depend on the history below it ──────────────────────────────
#
#     1 ── 2 ── … ── depth−1 ── depth        main, and 200 other branches
#     └── the client has these ──┘


def test_the_fetch_of_one_commit_costs_the_same_at_any_depth_with_any_haves_and_branches():
    costs = []
    for depth in DEPTHS:
        owner, history = f"depth{depth}", line(depth)
        pushed(owner, "song", history.bundle())
        local: list[str] = [history[n] for n in range(1, depth)]
        haves = {"its parent": local[-1:], "all": local}
        if depth == DEPTHS[-1]:
            haves["all and others, 5,000"] = local + unknown(5000 - len(local))
        for others in (0, OTHER_BRANCHES):
            if others:
                crowd(owner, "song", others)
            for name, have in haves.items():

                def delta(
                    owner: str = owner, history: History = history, depth: int = depth, have=have
                ) -> Answer:
                    answer = hub.fetch(owner, "song", [history[depth]], have, by=owner)
                    commits, snapshots, objects = hub.fetched_ids(answer)
                    assert (commits, len(snapshots), len(objects)) == ({history[depth]}, 1, 1)
                    return answer

                case = f"1 of {depth:,} commits, have {name}, {others} other branches"
                costs.append(measure("fetch, 1-commit delta", delta, case))
    assert all(cost.is_within_budget for cost in costs), table(costs)
    assert len({(cost.calls, cost.chain) for cost in costs}) == 1, table(costs)


def test_negotiation_costs_the_same_at_any_depth():
    costs = []
    for depth in DEPTHS:
        owner, history = f"talk{depth}", line(depth)
        pushed(owner, "song", history.bundle())
        newest, oldest = (
            [history[n] for n in range(1, depth)][-64:],
            [history[n] for n in range(1, depth)][:64],
        )
        offers = {
            "1 have": newest[-1:],
            "the newest": newest + unknown(64 - len(newest)),
            "the oldest": oldest + unknown(64 - len(oldest)),
        }
        for others in (0, OTHER_BRANCHES):
            if others:
                crowd(owner, "song", others)
            for name, have in offers.items():

                def talk(
                    owner: str = owner, history: History = history, depth: int = depth, have=have
                ) -> Answer:
                    answer = hub.call(
                        "negotiate",
                        owner,
                        "song",
                        {"want": [history[depth]], "have": have},
                        by=owner,
                    )
                    assert answer.value["ready"] is True
                    return answer

                case = f"{name} of {depth:,} commits, {others} other branches"
                costs.append(measure("negotiate, 64 haves", talk, case))
    assert all(cost.is_within_budget for cost in costs), table(costs)
    assert len({(cost.calls, cost.chain) for cost in costs}) == 1, table(costs)


@pytest.mark.parametrize("by_members", [True, False], ids=["member", "stranger"])
def test_a_base_far_below_the_head_is_found_within_the_budget(owner, monkeypatch, by_members):
    """With small distances, so that the test is short."""
    monkeypatch.setattr(push_plan, "RUNG_COMMITS", 10)
    monkeypatch.setattr(negotiate, "RUNG_COMMITS", 10)
    monkeypatch.setattr(negotiate, "FAR_GENERATIONS", 20)
    history = builders.chain(100)
    pushed(owner, "song", history.bundle(range(1, 81)))
    pushed(owner, "song", history.bundle(range(81, 101)))

    def talk(have: list[int]) -> Answer:
        offered = [history[number] for number in have]
        message = {"want": [history[100]], "have": offered}
        caller = {"by": owner} if by_members else {"source_ip": "192.0.2.7"}
        answer = hub.call("negotiate", owner, "song", message, **caller)
        value = answer.value
        assert (value["ack"], value["common_base"]) == (offered, offered[0]), have
        assert value["ready"] is True
        return answer

    cases = [[5], [79], [30], [44, 43, 42, 41, 40, 39], [10, 9, 8]]
    if not by_members:  # they read the branches, too
        assert all(talk(have) for have in cases)
        return
    operation = "negotiate, 64 haves, 5,000 commits below"
    costs = [measure(operation, functools.partial(talk, have), str(have)) for have in cases]
    assert all(cost.is_within_budget for cost in costs), table(costs)


# ── A push that is refused early writes nothing ───────────────────────────────────────────────────


@pytest.fixture
def empty_hub(aws, owner, configured) -> Callable[[], Any]:
    """A separate hub for one test. Returns a function that reads all its rows and objects."""
    names = {
        "HubTable": f"hub-{owner}",
        "CounterTable": f"counters-{owner}",
        "Bucket": f"bytes-{owner}",
    }
    stack.create(aws.url, names)
    for variable, logical_id in (
        ("HUB_TABLE", "HubTable"),
        ("COUNTER_TABLE", "CounterTable"),
        ("BUCKET", "Bucket"),
    ):
        configured.setenv(f"PIERIA_{variable}", names[logical_id])
    dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")

    def everything() -> Any:
        pages = dynamodb.get_paginator("scan").paginate(TableName=names["HubTable"])
        rows = [item for page in pages for item in page["Items"]]
        listed = [o for page in s3.get_paginator("list_objects_v2").paginate(Bucket=names["Bucket"])
                  for o in page.get("Contents", [])]  # fmt: skip
        rows.sort(key=lambda row: (row["pk"]["S"], row["sk"]["S"]))
        return rows, [(o["Key"], o["ETag"], o["LastModified"]) for o in listed]

    return everything


REFUSED = {
    # drawing, commits of main, commits of the branch `other`, commits of the refused push to main
    "the loser of a race: 3 beside the head 2":       ("1; 2:1; 3:1", [1, 2], [], [3]),
    "a rewind: 1 again, behind the head 3":           ("1; 2:1; 3:2", [1, 2, 3], [], [1]),
    "another history: 3 has nothing to do with 2":    ("1; 2:1; 3", [1, 2], [], [3]),
    "a longer line: 9 on a stored one beside 2":      ("1; 2:1; 3:1; 4:3; 5:4; 6:5; 7:6; 8:7; 9:8",
                                                       [1, 2], [1, 3, 4, 5, 6, 7, 8], [9]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_push_is_cheap_and_writes_nothing(case, owner, empty_hub):
    drawing, main, other, refused = REFUSED[case]
    history = builders.graph(drawing)
    pushed(owner, "song", history.bundle(main))
    if other:
        pushed(owner, "song", history.bundle(other), branch="other")
    before = empty_hub()
    assert before[0] and before[1]

    cost = measure(
        "push, refused", lambda: hub.push(owner, "song", history.bundle(refused)), case, status=409
    )

    assert empty_hub() == before
    assert cost.is_within_budget, table([cost])
