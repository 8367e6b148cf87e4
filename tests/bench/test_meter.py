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

from bench.meter import Meter, longest_chain

KEYS: Any = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}
OK: Any = (SimpleNamespace(status_code=200), {})
REFUSED: Any = (
    SimpleNamespace(status_code=400),
    {"Error": {"Code": "Throttled", "Message": "later"}},
)


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
    assert meter.by_operation() == {
        "dynamodb.ListTables": 2,
        "dynamodb.Query": 2,
        "s3.GetObject": 1,
    }


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
async def test_a_call_has_its_positions_in_the_order_of_events():
    async with async_client() as client:
        with Meter() as meter:
            await client.list_tables()
    (call,) = meter.log
    assert call.left is not None
    assert call.entered < call.left
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
    assert before == (
        BaseClient.__dict__["_make_api_call"],
        AioBaseClient.__dict__["_make_api_call"],
    )


# ── The weight of a call ──────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def weighed(aws, service="dynamodb"):
    """A client of the embedded AWS, and a meter that weighs its calls."""
    async with get_session().create_client(service, endpoint_url=aws.url, **KEYS) as client:
        with Meter(weigh=True) as meter:
            yield client, meter


def row(owner, size, sk="row"):
    """An item of this many bytes, its key included."""
    names = sum(map(len, ("pk", owner, "sk", sk, "text")))
    return {"pk": {"S": owner}, "sk": {"S": sk}, "text": {"S": "x" * (size - names)}}


def key(owner, sk="row"):
    return {"pk": {"S": owner}, "sk": {"S": sk}}


def to_text(value):
    return {
        "UpdateExpression": "SET #t = :t",
        "ExpressionAttributeNames": {"#t": "text"},
        "ExpressionAttributeValues": {":t": {"S": value}},
    }


@pytest.mark.asyncio
async def test_a_write_costs_the_larger_of_before_and_after(aws, owner):
    async with weighed(aws) as (client, meter):
        await client.put_item(TableName="hub", Item=row(owner, 1024))
        await client.put_item(TableName="hub", Item=row(owner, 1025))
        await client.put_item(TableName="hub", Item=row(owner, 100))
        await client.update_item(TableName="hub", Key=key(owner), **to_text("x" * 3000))
        await client.update_item(TableName="hub", Key=key(owner), **to_text("small"))
        await client.delete_item(TableName="hub", Key=key(owner))
        await client.delete_item(TableName="hub", Key=key(owner))
    assert [weight.write_units for weight in meter.weights] == [1, 2, 2, 3, 3, 1, 1]
    assert meter.write_units_by_partition() == {f"hub/{owner}": 13}
    assert meter.calls == 7


@pytest.mark.asyncio
async def test_a_refused_write_costs_as_if_it_had_happened(aws, owner):
    async with weighed(aws) as (client, meter):
        await client.put_item(TableName="hub", Item=row(owner, 2000))
        with pytest.raises(ClientError):
            await client.put_item(
                TableName="hub",
                Item=row(owner, 5000),
                ConditionExpression="attribute_not_exists(pk)",
            )
        with pytest.raises(ClientError):
            await client.update_item(
                TableName="hub",
                Key=key(owner),
                ConditionExpression="attribute_not_exists(pk)",
                **to_text("small"),
            )
    assert [(call.failed, call.weight and call.weight.write_units) for call in meter.log] == [
        (False, 2),
        (True, 5),
        (True, 2),
    ]


@pytest.mark.asyncio
async def test_a_batch_is_weighed_item_by_item_and_a_query_as_a_whole(aws, owner):
    rows = [row(owner, size, f"{number}") for number, size in enumerate((500, 1500, 4500))]
    async with weighed(aws) as (client, meter):
        await client.batch_write_item(
            RequestItems={"hub": [{"PutRequest": {"Item": item}} for item in rows]}
        )
        keys = [*(key(owner, f"{number}") for number in range(3)), key(owner, "absent")]
        for consistent in (True, False):
            asked = {"Keys": keys, "ConsistentRead": consistent}
            await client.batch_get_item(RequestItems={"hub": asked})
            await client.query(
                TableName="hub",
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": owner}},
                ConsistentRead=consistent,
            )
        await client.get_item(TableName="hub", Key=key(owner, "2"))
    assert meter.weights[0].write_units == 1 + 2 + 5
    assert [weight.read_units for weight in meter.weights[1:]] == [5, 2, 2.5, 1, 1]


@pytest.mark.asyncio
async def test_a_transaction_costs_twice(aws, owner):
    async with weighed(aws) as (client, meter):
        await client.put_item(TableName="hub", Item=row(owner, 1500, "0"))
        await client.transact_write_items(
            TransactItems=[
                {"Update": {"TableName": "hub", "Key": key(owner, "0"), **to_text("small")}},
                {"Put": {"TableName": "hub", "Item": row(f"{owner} too", 100)}},
            ]
        )
    assert meter.weights[1].writes == {("hub", owner): 4, ("hub", f"{owner} too"): 2}


@pytest.mark.asyncio
async def test_s3_requests_are_counted_by_price_class(aws, owner):
    async with weighed(aws, "s3") as (client, meter):
        await client.put_object(Bucket="pieria-bytes", Key=owner, Body=b"x" * 1000)
        await (await client.get_object(Bucket="pieria-bytes", Key=owner, Range="bytes=0-99"))[
            "Body"
        ].read()
        await client.copy_object(
            Bucket="pieria-bytes", Key=f"{owner}2", CopySource=f"pieria-bytes/{owner}"
        )
        await client.list_objects_v2(Bucket="pieria-bytes", Prefix=owner)
        await client.delete_objects(Bucket="pieria-bytes", Delete={"Objects": [{"Key": owner}]})
    assert [(weight.s3_puts, weight.s3_gets) for weight in meter.weights] == [
        (1, 0),
        (0, 1),
        (1, 0),
        (1, 0),
        (0, 0),
    ]
    assert sum(weight.s3_bytes_in for weight in meter.weights) == 1000
    assert sum(weight.s3_bytes_out for weight in meter.weights) == 100


@pytest.mark.asyncio
async def test_an_operation_without_a_rule_is_not_quietly_free(aws):
    async with weighed(aws) as (client, _):
        with pytest.raises(ValueError, match=r"no rule for the units of dynamodb\.Scan"):
            await client.scan(TableName="hub")


@pytest.mark.asyncio
async def test_the_wait_is_that_of_the_longest_chain_on_the_stated_model():
    """DynamoDB, then DynamoDB beside S3: 5 ms and 20 ms."""
    async with async_client() as table, async_client(service="s3") as bucket:
        with Meter() as meter:
            await table.list_tables()
            await asyncio.gather(table.list_tables(), bucket.get_object(Bucket="b", Key="k"))
    assert meter.milliseconds() == 25
