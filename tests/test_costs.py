"""Limits of cost: refused and accepted callers, the calls of the check, and every cost is counted.

The limits here are a few requests wide. A day is a UTC day, and the clock stands still unless a
test moves it.
"""

import asyncio
import json
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import boto3
import msgpack
import pytest
from botocore.exceptions import EndpointConnectionError
from starlette.types import Message

from bench.meter import Meter as Exact
from functions import fetch
from shared import budget, http, ids, lambdas, meter, prices, settings
from shared.budget import DAY_SECONDS, HUB_SECONDS, QUANTUM, Account
from shared.engines import selection
from shared.engines.dynamodb import DynamoTable
from shared.engines.s3 import S3Bucket
from shared.errors import CostLimited
from shared.metadata import keys
from shared.meter import Meter
from shared.model import Scope
from tests import builders
from tests import client as hub
from tests.builders import Clock
from tests.client import Answer, bearer
from tests.conftest import NAMES

T = TypeVar("T")

MIDNIGHT = 1_800_057_600
assert MIDNIGHT % DAY_SECONDS == 0
TODAY = MIDNIGHT // DAY_SECONDS
POLL = 3_000_000
"""Picodollars of a GET refs, about."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Six hours before midnight, UTC."""
    clock = Clock(MIDNIGHT + DAY_SECONDS - 6 * 3600)
    monkeypatch.setattr(http.access, "time", clock)
    return clock


@pytest.fixture
def limited(configured: pytest.MonkeyPatch, clock: Clock) -> Iterator[Callable[..., None]]:
    """Sets limits, in picodollars, for containers that have just started."""

    def limit(**limits: float) -> None:
        for kind in ("subject", "owner", "hub"):
            configured.setenv(
                f"PIERIA_LIMIT_COST_{kind.upper()}", str(limits.get(kind, 0) / prices.DOLLAR)
            )
        settings.load.cache_clear()
        boto3.resource("dynamodb").Table(NAMES["CounterTable"]).delete_item(
            Key={"pk": keys.cost(hub_scope())[0]}
        )

    yield limit
    on_the_loop(selection.close)


def on_the_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    lambdas.use_own_loop()
    return asyncio.get_event_loop().run_until_complete(work())


def hub_scope() -> Scope:
    return Scope("hub", "", TODAY)


def subject_scope(name: str) -> Scope:
    return Scope("subject", f"user:{name}", TODAY)


def spent(scope: Scope) -> int:
    """The attributes of the row of a scope."""
    found = boto3.client("dynamodb").get_item(
        TableName=NAMES["CounterTable"], Key={"pk": {"S": keys.cost(scope)[0]}}
    )
    return int(found["Item"]["spent"]["N"]) if "Item" in found else 0


def spend(scope: Scope, picodollars: int) -> None:
    """As other containers do."""
    boto3.resource("dynamodb").Table(NAMES["CounterTable"]).update_item(
        Key={"pk": keys.cost(scope)[0]},
        UpdateExpression="ADD spent :more",
        ExpressionAttributeValues={":more": picodollars},
    )


def pending(scope: Scope) -> int:
    """What this container has yet to add to the row."""

    async def look() -> int:
        return (await selection.stores()).budget.pending.get(scope, 0)

    return on_the_loop(look)


def song(owner: str) -> None:
    assert hub.push(owner, "song", builders.graph("1", salt=owner).bundle()).status == 200


def poll(owner: str, by: str | None = None, source_ip: str | None = None) -> Answer:
    return hub.call("refs", owner, "song", by=by, source_ip=source_ip)


def polls_until_refused(owner: str, by: str | None, at_most: int) -> tuple[int, Answer]:
    """How many were answered, and the first that was not."""
    for number in range(at_most):
        answer = poll(owner, by)
        if answer.status != 200:
            return number, answer
    raise AssertionError(f"{at_most} polls were answered")


# ── One subject ───────────────────────────────────────────────────────────────────────────────────


def test_a_user_over_the_limit_of_the_day_is_refused_until_midnight_and_no_other_is(
    owner, limited, clock
):
    song(owner)
    limited(subject=100 * POLL)
    spend(subject_scope("spender"), 90 * POLL)
    answered, refused = polls_until_refused(owner, "spender", 30)
    assert 1 <= answered <= 20
    assert (refused.status, refused.code) == (429, "cost_limit")
    assert refused.headers["retry-after"] == str(6 * 3600)
    message = refused.value["message"]
    assert "your requests have cost" in message and "PIERIA_LIMIT_COST_SUBJECT" in message
    assert (
        hub.push(owner, "song", builders.graph("1; 2:1", salt=owner).bundle(), by="spender").code
        == "cost_limit"
    )

    assert poll(owner, owner).status == 200
    assert poll(owner).status == 200
    assert hub.invoke("health", hub.event("GET", "/health")).status == 200
    clock.now += 6 * 3600
    assert poll(owner, "spender").status == 200


def test_another_container_knows_at_the_next_request_that_a_user_is_over_the_limit(owner, limited):
    song(owner)
    limited(subject=100 * POLL)
    assert poll(owner, "spender").status == 200
    spend(subject_scope("spender"), 100 * POLL)
    assert poll(owner, "spender").code == "cost_limit"


def test_an_address_without_a_token_has_a_limit_of_its_own(owner, limited):
    song(owner)
    limited(subject=100 * POLL)
    spend(Scope("subject", "address:192.0.2.7", TODAY), 100 * POLL)
    assert poll(owner, source_ip="192.0.2.7").code == "cost_limit"
    assert poll(owner, source_ip="192.0.2.8").status == 200


def test_a_request_without_a_repository_is_limited_too(owner, limited):
    limited(subject=100 * POLL)
    spend(subject_scope(owner), 100 * POLL)
    spend(Scope("subject", "address:192.0.2.9", TODAY), 100 * POLL)
    assert hub.ask("tokens", "GET", "/api/v1/me", by=owner).code == "cost_limit"
    path = f"/api/v1/users/{owner}/repos"
    assert hub.ask("repos", "GET", path, source_ip="192.0.2.9").code == "cost_limit"


def test_an_object_by_the_id_of_its_repository_is_limited_too(owner, limited):
    song(owner)
    repo_id = poll(owner, owner).value["repo_id"]
    limited(subject=100 * POLL, owner=100 * POLL)
    spend(Scope("owner", owner, TODAY), 100 * POLL)
    object_id = next(iter(builders.graph("1", salt=owner).objects))
    asked = hub.event("GET", f"/o/{object_id}", query=f"repo_id={repo_id}")
    assert hub.invoke("objects", asked).code == "cost_limit"


def test_the_cost_of_a_minute_is_limited_to_a_tenth_of_the_day(owner, limited, clock):
    """A push of this size costs more than QUANTUM, so that it is settled at once."""
    song(owner)
    limited(subject=20 * QUANTUM)
    large = {"objects": [builders.blob(b"%d of %s" % (n, owner.encode())) for n in range(1000)]}
    assert hub.call("push_objects", owner, "song", large, by=owner).status == 200
    assert 2 * QUANTUM <= spent(subject_scope(owner)) < 6 * QUANTUM
    refused = hub.call("push_objects", owner, "song", large, by=owner)
    assert (refused.status, refused.code) == (429, "cost_limit")
    assert "in this minute" in refused.value["message"]
    assert int(refused.headers["retry-after"]) == 60 - int(clock.now) % 60
    assert poll(owner, owner).status == 200, "of another class"
    clock.now += 60
    assert hub.call("push_objects", owner, "song", {"objects": []}, by=owner).status == 200


def test_refused_requests_are_not_charged(owner, limited):
    song(owner)
    limited(subject=100 * POLL, hub=10_000 * POLL)
    spend(subject_scope("spender"), 100 * POLL)
    for _ in range(3):
        assert poll(owner, "spender").code == "cost_limit"
    assert pending(subject_scope("spender")) == 0
    assert pending(hub_scope()) == 0


def test_a_user_known_to_be_over_the_limit_causes_no_call(owner, limited):
    song(owner)
    limited(subject=100 * POLL)
    spend(subject_scope("spender"), 100 * POLL)
    assert poll(owner, "spender").code == "cost_limit"
    with Exact() as calls:
        assert poll(owner, "spender").code == "cost_limit"
    assert calls.calls == 0


# ── An owner's repositories ───────────────────────────────────────────────────────────────────────


def test_a_flood_of_strangers_closes_the_repositories_of_one_owner_to_all_but_the_owner(
    owner, limited
):
    song(owner)
    other = f"{owner}-other"
    song(other)
    limited(owner=100 * POLL)
    spend(Scope("owner", owner, TODAY), 95 * POLL)
    answered, refused = polls_until_refused(owner, None, 30)
    assert answered <= 12
    assert (refused.status, refused.code) == (429, "cost_limit")
    assert f"the requests of others to {owner}'s repositories" in refused.value["message"]
    assert poll(owner, "somebody").code == "cost_limit"
    assert poll(owner, owner).status == 200
    assert poll(other, "somebody").status == 200


def test_the_limit_of_an_owner_does_not_reveal_a_private_repository(owner, limited):
    song(owner)

    async def hide() -> None:
        opened = await selection.stores()
        repo = await opened.repos.get(owner, "song")
        assert repo
        await opened.repos.table.update(keys.repo(owner, "song"), {"visibility": "private"})

    on_the_loop(hide)
    limited(owner=100 * POLL)
    spend(Scope("owner", owner, TODAY), 100 * POLL)
    private, absent = poll(owner, "stranger"), hub.call("refs", owner, "nothing", by="stranger")
    assert (private.status, private.body) == (absent.status, absent.body) == (404, absent.body)


# ── The whole hub ─────────────────────────────────────────────────────────────────────────────────


def test_a_hub_over_its_limit_answers_503_to_all_but_health(owner, limited):
    song(owner)
    limited(hub=100 * POLL)
    spend(hub_scope(), 100 * POLL)
    for by in (owner, "stranger", None):
        refused = poll(owner, by)
        assert (refused.status, refused.code) == (503, "hub_limit")
        assert refused.headers["retry-after"] == str(6 * 3600)
        assert "PIERIA_LIMIT_COST_HUB" in refused.value["message"]
    assert hub.invoke("health", hub.event("GET", "/health")).status == 200
    assert hub.invoke("openapi", hub.event("GET", "/api/v1/openapi.json")).status == 200


def test_a_refusal_of_the_hub_is_no_failure_in_the_log(owner, limited, capsys):
    limited(hub=100 * POLL)
    spend(hub_scope(), 100 * POLL)
    assert poll(owner).code == "hub_limit"
    assert capsys.readouterr().err == ""  # of level WARNING and above


def test_the_cost_of_the_hub_is_read_every_ten_seconds(owner, limited, clock):
    song(owner)
    limited(hub=100 * POLL)
    assert poll(owner, owner).status == 200
    spend(hub_scope(), 100 * POLL)
    clock.now += HUB_SECONDS - 1
    assert poll(owner, owner).status == 200
    clock.now += 1
    assert poll(owner, owner).code == "hub_limit"


def test_near_its_limit_the_cost_of_the_hub_is_read_with_every_request(owner, limited):
    song(owner)
    limited(hub=1000 * POLL)
    spend(hub_scope(), 850 * POLL)
    assert poll(owner, owner).status == 200
    spend(hub_scope(), 150 * POLL)
    assert poll(owner, owner).code == "hub_limit"


def test_each_tenth_of_the_hubs_limit_is_reported_once_from_eight_tenths_on(owner, limited, capsys):
    song(owner)
    limit = 200 * QUANTUM
    limited(hub=limit)
    large = {"objects": [builders.blob(b"%d of %s" % (n, owner.encode())) for n in range(1000)]}
    assert hub.call("push_objects", owner, "song", large, by=owner).status == 200
    once = spent(hub_scope())
    assert QUANTUM <= once < limit // 50
    capsys.readouterr()
    spend(hub_scope(), math.ceil(0.8 * limit) - once - QUANTUM)
    others = {
        "objects": [builders.blob(b"%d more of %s" % (n, owner.encode())) for n in range(1000)]
    }
    assert hub.call("push_objects", owner, "song", others, by=owner).status == 200
    still_others = {
        "objects": [builders.blob(b"%d others of %s" % (n, owner.encode())) for n in range(1000)]
    }
    assert hub.call("push_objects", owner, "song", still_others, by=owner).status == 200
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["HubCost"] for line in lines if line["event"] == "hub cost"] in ([80], [81])
    [line] = [line for line in lines if line["event"] == "hub cost"]
    [metric] = line["_aws"]["CloudWatchMetrics"]
    assert (metric["Namespace"], metric["Dimensions"]) == ("pieria", [["CounterTable"]])
    assert metric["Metrics"] == [{"Name": "HubCost", "Unit": "Percent"}]
    assert line["CounterTable"] == NAMES["CounterTable"]


# ── The calls of the check ────────────────────────────────────────────────────────────────────────

WIDE = {"subject": 10**6 * POLL, "owner": 10**6 * POLL, "hub": 10**6 * POLL}


def test_limits_take_no_call_and_no_step_of_a_small_request(owner, limited):
    song(owner)
    taken = {}
    for name, limits in {"none": {}, "all": WIDE}.items():
        limited(**limits)
        with Exact() as calls:
            assert poll(owner, "somebody").status == 200
        taken[name] = calls.by_operation(), calls.longest_chain()
    assert taken["none"] == taken["all"]


def test_a_large_request_is_settled_in_one_step(owner, limited):
    song(owner)
    taken = {}
    for name, limits in {"none": {}, "all": WIDE}.items():
        limited(**limits)
        large = {
            "objects": [
                builders.blob(b"%d %s %s" % (n, owner.encode(), name.encode())) for n in range(1000)
            ]
        }
        with Exact() as calls:
            assert hub.call("push_objects", owner, "song", large, by=owner).status == 200
        taken[name] = calls.calls, calls.longest_chain()
    assert taken["all"] == (
        taken["none"][0] + 3,
        taken["none"][1] + 1,
    )  # day and minute of the subject, and the hub


def test_small_requests_are_settled_together_and_nothing_is_forgotten(owner, limited, monkeypatch):
    song(owner)
    limited(**WIDE)
    begin, meters = meter.begin, list[Meter]()

    def watched() -> Meter:
        meters.append(begin())
        return meters[-1]

    monkeypatch.setattr(meter, "begin", watched)
    with Exact() as calls:
        for _ in range(100):
            assert poll(owner, "somebody").status == 200
    updates = calls.by_operation()["dynamodb.UpdateItem"] - 100
    assert 4 <= updates <= 8, "two rounds at most, of subject, its minute, owner and hub"
    total = sum(one.picodollars for one in meters)
    for scope in (subject_scope("somebody"), Scope("owner", owner, TODAY), hub_scope()):
        assert pending(scope) < QUANTUM
        assert spent(scope) + pending(scope) == total


def test_a_cost_that_cannot_be_settled_fails_no_request_and_stays_pending(
    owner, limited, monkeypatch
):
    song(owner)
    limited(**WIDE)

    async def unreachable(*_: Any, **__: Any) -> None:
        raise EndpointConnectionError(endpoint_url="http://nowhere")

    assert poll(owner, owner).status == 200

    async def client() -> Any:
        table = (await selection.stores()).counters.table
        assert isinstance(table, DynamoTable)
        return table.client

    monkeypatch.setattr(on_the_loop(client), "update_item", unreachable)
    large = {"objects": [builders.blob(b"%d of %s" % (n, owner.encode())) for n in range(1000)]}
    assert hub.call("push_objects", owner, "song", large, by=owner).status == 200
    monkeypatch.undo()
    assert spent(hub_scope()) == 0
    assert pending(hub_scope()) > QUANTUM
    assert pending(subject_scope(owner)) == pending(hub_scope())


def test_a_container_remembers_a_bounded_number_of_subjects(owner, limited, monkeypatch):
    song(owner)
    limited(**WIDE)
    monkeypatch.setattr(budget, "KEPT_SCOPES", 10)
    for number in range(30):
        assert poll(owner, f"visitor{number}").status == 200

    async def count() -> int:
        return len((await selection.stores()).budget.pending)

    assert on_the_loop(count) <= 11
    assert spent(subject_scope("visitor0")) > 0


def test_a_large_reply_is_charged_before_its_bytes_are_sent(owner, limited):
    """Or slow readers of many large replies would add up unseen."""
    song(owner)
    objects = [builders.blob(bytes([n]) * 900_000) for n in range(5)]
    manifest = {f"{n}.wav": one["object_id"] for n, one in enumerate(objects)}
    record = builders.snapshot(manifest)
    bundle = {
        "commits": [builders.commit("large", [], record["snapshot_id"])],
        "snapshots": [record],
        "objects": objects,
    }
    assert hub.push(owner, "large", bundle).status == 200
    limited(hub=10**6 * QUANTUM)
    seen: list[int] = []
    bodies = [msgpack.packb({"want": [bundle["commits"][0]["commit_id"]], "have": []})]

    async def receive() -> Message:
        if not bodies:
            await asyncio.Event().wait()  # the reader stays
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])
        elif not seen[1:]:
            seen.append(spent(hub_scope()))

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/{owner}/large/fetch",
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"content-type", hub.MSGPACK.encode()), (b"accept", hub.MSGPACK.encode())],
        "client": ("192.0.2.20", 1),
        "state": {},
    }

    on_the_loop(lambda: fetch.app(scope, receive, send))
    status, before_the_first_byte = seen
    assert status == 200
    assert before_the_first_byte > 4_500_000 * prices.DATA_OUT_BYTE


# ── URLs: their use is charged before they are given out ──────────────────────────────────────────


def test_urls_that_would_exceed_the_limit_are_not_given_out_however_many_ask_at_once(
    owner, limited, configured
):
    """Each container has read that there is room, and then the row adds them up."""
    song(owner)
    size = 10**9
    configured.setenv("PIERIA_MAX_OBJECT_BYTES", str(size))
    each = prices.S3_PUT + prices.storage(size, 3)
    limited(subject=5 * each)
    object_ids = [f"{number:064x}" for number in range(12)]

    async def ask(number: int) -> Account:
        """A container of its own, which knows nothing of the others but by the rows."""
        opened = await selection.stores()
        one = budget.Budget.of(opened.settings, opened.counters)
        account = one.open("upload", f"user:{owner}", MIDNIGHT)
        await account.read()
        account.admit()
        return account

    async def all_at_once() -> list[Any]:
        accounts = [await ask(number) for number in range(len(object_ids))]
        return await asyncio.gather(
            *(account.reserve(each) for account in accounts), return_exceptions=True
        )

    outcomes = on_the_loop(all_at_once)
    assert outcomes.count(None) == 5
    assert sum(isinstance(outcome, CostLimited) for outcome in outcomes) == len(object_ids) - 5
    message = {"object_ids": object_ids[:1], "sizes": {object_ids[0]: size}}
    assert hub.call("presign", owner, "song", message, by=owner).code == "cost_limit"


def test_a_redirect_that_would_exceed_the_limit_is_refused(owner, limited, clock, monkeypatch):
    monkeypatch.setattr(S3Bucket, "is_aws", property(lambda bucket: True))
    content = owner.encode() * 600_000
    assert (
        hub.call(
            "push_objects", owner, "song", {"objects": [builders.blob(content)]}, by=owner
        ).status
        == 200
    )
    each = len(content) * prices.DATA_OUT_BYTE
    assert each > QUANTUM
    limited(subject=2.5 * each)
    path = f"/{owner}/song/objects/{ids.object_id(content)}"
    asked = hub.event("GET", path, headers=bearer(hub.token("reader")))
    answers = []
    for _ in range(3):
        clock.now += 60
        answers.append(hub.invoke("objects", asked))
    assert [answer.status for answer in answers] == [307, 307, 429]
    assert answers[2].code == "cost_limit"
