"""The meter, on clients whose calls are answered before they reach a socket."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from aiobotocore.client import AioBaseClient
from aiobotocore.session import get_session
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from bench.meter import Cost, Meter, MeteredApp, longest_chain

KEYS: Any = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
OK: Any = (SimpleNamespace(status_code=200), {})
REFUSED: Any = (SimpleNamespace(status_code=400), {"Error": {"Code": "Throttled", "Message": "later"}})


@asynccontextmanager
async def async_client(answer=OK, wait=lambda: asyncio.sleep(0), service="dynamodb"):
    """A client that takes `wait` for every call and then answers `answer`."""

    async def before_call(**_):
        await wait()
        return answer

    async with get_session().create_client(service, **KEYS) as client:
        client.meta.events.register_first("before-call", before_call)
        yield client


def sync_client():
    client = botocore.session.get_session().create_client("dynamodb", **KEYS)
    events: Any = client.meta.events
    events.register_first("before-call", lambda **_: OK)
    return client


def run(work):
    with asyncio.Runner() as runner:
        runner.run(work())


@pytest.mark.parametrize(
    ("spans", "depth"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([(0, 1)], 1, id="one"),
        pytest.param([(0, 1), (2, 3), (4, 5)], 3, id="one after another"),
        pytest.param([(0, 3), (1, 4), (2, 5)], 1, id="all at once"),
        pytest.param([(0, 1), (2, 4), (3, 5), (6, 7)], 3, id="one, two at once, one"),
        pytest.param([(0, 9), (1, 2), (3, 4), (10, 11)], 3, id="a long one beside two short ones"),
        pytest.param([(0, None), (1, 2), (3, None)], 2, id="some still running"),
        pytest.param([(4, 5), (0, 1), (2, 3)], 3, id="listed in any order"),
    ],
)
def test_the_longest_chain_follows_the_order_of_events(spans, depth):
    assert longest_chain((began, ended, 1) for began, ended in spans) == depth


def test_a_chain_is_as_long_as_its_links():
    """2, then 3 and 4 at the same time, then 1."""
    assert longest_chain([(0, 1, 2), (2, 4, 3), (3, 5, 4), (6, 7, 1)]) == 7


@pytest.mark.asyncio
async def test_calls_awaited_in_turn_are_a_chain():
    async with async_client() as client:
        with Meter() as meter:
            for _ in range(5):
                await client.list_tables()
    assert (meter.calls, meter.longest_chain()) == (5, 5)


@pytest.mark.asyncio
async def test_gathered_calls_are_one_step():
    async with async_client() as client:
        with Meter() as meter:
            await asyncio.gather(*(client.list_tables() for _ in range(20)))
    assert (meter.calls, meter.longest_chain()) == (20, 1)


@pytest.mark.asyncio
async def test_calls_of_several_clients_and_services_count_together():
    """get → (query, query, get object) → put: three steps, five calls."""
    async with async_client() as table, async_client(service="s3") as bucket:
        with Meter() as meter:
            await table.list_tables()
            await asyncio.gather(
                table.query(TableName="t", KeyConditionExpression="#a = :b"),
                table.query(TableName="t", KeyConditionExpression="#a = :b"),
                bucket.get_object(Bucket="b", Key="k"),
            )
            await table.list_tables()
    assert meter.longest_chain() == 3
    assert meter.by_operation() == {"dynamodb.ListTables": 2, "dynamodb.Query": 2, "s3.GetObject": 1}


@pytest.mark.asyncio
async def test_a_failed_call_counts():
    async with async_client(REFUSED) as client:
        with Meter() as meter:
            for _ in range(2):
                with pytest.raises(ClientError):
                    await client.list_tables()
    assert [call.failed for call in meter.log] == [True, True]
    assert meter.longest_chain() == 2


@pytest.mark.asyncio
async def test_a_call_has_two_times_and_their_order():
    async with async_client() as client:
        with Meter() as meter:
            await client.list_tables()
    (call,) = meter.log
    assert call.left is not None and call.left_at is not None
    assert call.entered < call.left
    assert call.entered_at <= call.left_at
    assert (call.service, call.operation, call.failed) == ("dynamodb", "ListTables", False)


def test_sync_calls_of_any_thread_count_once():
    client = sync_client()
    with Meter() as meter, ThreadPoolExecutor(4) as threads:
        for call in [threads.submit(client.list_tables) for _ in range(40)]:
            call.result()
    assert meter.calls == 40
    ticks = [tick for call in meter.log for tick in (call.entered, call.left)]
    assert len(set(ticks)) == 80


def test_calls_on_a_loop_in_another_thread_are_seen():
    async def two_calls():
        async with async_client() as client:
            await client.list_tables()
            await client.list_tables()

    with Meter() as meter:
        thread = threading.Thread(target=run, args=(two_calls,))
        thread.start()
        thread.join()
    assert (meter.calls, meter.longest_chain()) == (2, 2)


def test_nothing_stays_wrapped_and_nothing_outside_is_counted():
    before = (BaseClient.__dict__["_make_api_call"], AioBaseClient.__dict__["_make_api_call"])
    client = sync_client()
    with Meter() as outer:
        client.list_tables()
        with Meter() as inner:
            client.list_tables()
        client.list_tables()
    client.list_tables()
    assert (outer.calls, inner.calls) == (3, 1)
    assert before == (BaseClient.__dict__["_make_api_call"], AioBaseClient.__dict__["_make_api_call"])


async def request(app, path, body=b""):
    """One request to an ASGI app; the reply's body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": path}, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


@pytest.mark.asyncio
async def test_requests_served_at_the_same_time_do_not_mix():
    """Path /n makes n calls, one after another, in a task of its own; the requests meet midway."""
    midway = asyncio.Barrier(3)

    async def app(scope, receive, send):
        await receive()

        async def work():
            await midway.wait()
            for _ in range(int(scope["path"][1:])):
                await client.list_tables()

        await asyncio.create_task(work())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"he", "more_body": True})
        await send({"type": "http.response.body", "body": b"llo"})

    metered = MeteredApp(app)
    async with async_client() as client:
        with Meter() as everything:
            replies = await asyncio.gather(*(request(metered, f"/{n}", b"x" * n) for n in (1, 2, 3)))
    assert replies == [b"hello"] * 3
    assert everything.calls == 6
    assert Cost.of_step("all", 0.0, metered.served, everything).chain == 3
    endpoints = metered.by_endpoint()
    assert list(endpoints) == ["POST /1", "POST /2", "POST /3"]
    for n, (served,) in enumerate(endpoints.values(), start=1):
        assert (served.meter.calls, served.meter.longest_chain()) == (n, n)
        assert (served.status, served.received, served.sent) == (200, n, 5)
        assert served.seconds > 0


@pytest.mark.asyncio
async def test_a_cost_is_one_row_under_the_header():
    async def app(scope, receive, send):
        await receive()
        await client.list_tables()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    metered = MeteredApp(app)
    async with async_client() as client:
        with Meter() as meter:
            for _ in range(2):
                await request(metered, "/refs", b"abc")
    step = Cost.of_step("both", 1.5, metered.served, meter)
    kind = Cost.of_requests("each", metered.served)
    assert (step.requests, step.received, step.sent, step.calls, step.chain) == (2, 6, 10, 2, 2)
    assert (kind.requests, kind.received, kind.sent, kind.calls, kind.chain) == (2, 6, 10, 2, 1)
    assert kind.operations == {"dynamodb.ListTables": 2}
    assert step.row().split() == ["both", "2", "1.50", "6", "10", "2", "2"]
    assert len(step.row()) == len(Cost.header())
    assert step.as_dict()["operations"] == {"dynamodb.ListTables": 2}
    assert Cost.of_requests("none", []).row().split() == ["none", "0", "0.00", "0", "0", "0", "0"]
