"""The AWS in this process: it corrects the errors of moto that the hub depends on."""

import http.client
import itertools
import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra import stack
from infra.embedded_aws import EmbeddedAws

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

ROOT = Path(__file__).parent.parent.parent
HUB, COUNTERS = "some-hub", "some-counters"
BUCKET = "some-bytes"
ONCE = Config(retries={"total_max_attempts": 1})


@dataclass
class Running:
    """An AWS with the template's stack in it, and clients for it."""

    aws: EmbeddedAws
    rows: "DynamoDBClient"
    objects: "S3Client"
    bucket: str

    def put(self, sort_key: str, **attributes: Any) -> None:
        self.rows.put_item(
            TableName=HUB, Item={"pk": {"S": "p"}, "sk": {"S": sort_key}, **attributes}
        )

    def state(self) -> dict[str, Any]:
        """All rows and all current objects, with what S3 tells about them."""
        pages = self.rows.get_paginator("scan").paginate(TableName=HUB)
        rows = sorted(json.dumps(row, default=bytes.hex) for page in pages for row in page["Items"])
        keys = [
            entry["Key"]
            for page in self.objects.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
            for entry in page.get("Contents", [])
        ]
        return {"rows": rows, "objects": {key: self.object(key) for key in keys}}

    def object(self, key: str) -> tuple[Any, ...]:
        found = self.objects.get_object(Bucket=self.bucket, Key=key)
        told = ("ETag", "ContentType", "Metadata", "CacheControl", "VersionId", "LastModified")
        return found["Body"].read(), *(found.get(name) for name in told)

    def versions(self) -> set[tuple[Any, ...]]:
        """Every version in the bucket, marks of deletion included."""
        listed = self.objects.list_object_versions(Bucket=self.bucket)
        found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        return {
            (one["Key"], one["VersionId"], one["LastModified"], one["IsLatest"]) for one in found
        }


def names(bucket: str) -> dict[str, str]:
    """What the template's tables and bucket are called here."""
    return {"HubTable": HUB, "CounterTable": COUNTERS, "Bucket": bucket}


def start() -> Running:
    """Start an empty AWS. The caller closes it."""
    aws = EmbeddedAws()
    stack.create(aws.url, names(BUCKET))
    s3 = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    return Running(
        aws,
        boto3.client(
            "dynamodb", endpoint_url=aws.url, config=ONCE.merge(Config(max_pool_connections=12))
        ),
        boto3.client("s3", endpoint_url=aws.url, config=ONCE.merge(s3)),
        BUCKET,
    )


@pytest.fixture(scope="module")
def own() -> Iterator[Running]:
    """One AWS, for all tests that leave no trace the others would see."""
    running = start()
    with running.aws:
        yield running


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Status and code of a call that must fail."""
    with pytest.raises(ClientError) as failed:
        call()
    return (
        failed.value.response["ResponseMetadata"]["HTTPStatusCode"],
        failed.value.response["Error"]["Code"],
    )


# ── One at a time ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns after microseconds, so that whatever can interleave does."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless")
def test_a_conditional_write_has_one_winner(own: Running) -> None:
    def put(sort_key: str, by: int) -> bool:
        try:
            own.rows.put_item(
                TableName=HUB,
                Item={"pk": {"S": "race"}, "sk": {"S": sort_key}, "by": {"N": str(by)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except own.rows.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        for turn in range(20):
            assert sum(pool.map(put, [str(turn)] * 12, range(12))) == 1


@pytest.mark.usefixtures("restless")
def test_a_counter_counts_every_step(own: Running) -> None:
    def step(_: int) -> str:
        reply = own.rows.update_item(
            TableName=HUB,
            Key={"pk": {"S": "counter"}, "sk": {"S": "c"}},
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        return reply["Attributes"]["n"]["N"]

    with ThreadPoolExecutor(12) as pool:
        assert sorted(map(int, pool.map(step, range(400)))) == list(range(1, 401))


# ── DynamoDB ──────────────────────────────────────────────────────────────────────────────────────

VALUES: dict[str, Any] = {
    "b": {"B": bytes(range(256))},
    "bs": {"BS": [b"\0", b"\xff"]},
    "n": {"N": "12345678901234567890123456789012345678"},
    "l": {"L": [{"M": {"b": {"B": b"\xfe"}, "s": {"S": "é"}}}, {"NULL": True}, {"BOOL": False}]},
    "empty": {"M": {}},
}


def test_every_type_comes_back_by_every_read(own: Running) -> None:
    own.put("types", **VALUES)
    key = {"pk": {"S": "p"}, "sk": {"S": "types"}}
    item = key | VALUES
    assert own.rows.get_item(TableName=HUB, Key=key)["Item"] == item
    assert own.rows.batch_get_item(RequestItems={HUB: {"Keys": [key]}})["Responses"][HUB] == [item]
    assert item in own.rows.scan(TableName=HUB)["Items"]
    assert own.rows.put_item(TableName=HUB, Item=item, ReturnValues="ALL_OLD")["Attributes"] == item
    with pytest.raises(own.rows.exceptions.ConditionalCheckFailedException) as failed:
        own.rows.put_item(
            TableName=HUB,
            Item=key,
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert failed.value.response["Item"] == item  # type: ignore[typeddict-item]


def test_a_query_reads_its_partition_in_pages(own: Running) -> None:
    for partition, number in itertools.product("ab", range(30)):
        own.rows.put_item(
            TableName=HUB, Item={"pk": {"S": f"query-{partition}"}, "sk": {"S": f"{number:02}"}}
        )

    def query(partition: str, **more: Any) -> list[str]:
        pages = own.rows.get_paginator("query").paginate(
            TableName=HUB,
            KeyConditionExpression="pk = :p AND sk BETWEEN :a AND :z",
            ExpressionAttributeValues={
                ":p": {"S": partition},
                ":a": {"S": "05"},
                ":z": {"S": "24"},
            },
            PaginationConfig={"PageSize": 4},
            **more,
        )
        return [item["sk"]["S"] for page in pages for item in page["Items"]]

    wanted = [f"{number:02}" for number in range(5, 25)]
    assert query("query-a") == wanted
    assert query("query-b", ScanIndexForward=False) == wanted[::-1]
    assert query("query-c") == []


@pytest.mark.parametrize(("items", "taken"), [(25, True), (26, False)])
def test_a_batch_writes_25_items_at_most(own: Running, items: int, taken: bool) -> None:
    writes: Any = [
        {"PutRequest": {"Item": {"pk": {"S": "batch"}, "sk": {"S": str(i)}}}} for i in range(items)
    ]
    if taken:
        own.rows.batch_write_item(RequestItems={HUB: writes})
    else:
        assert refused(lambda: own.rows.batch_write_item(RequestItems={HUB: writes})) == (
            400,
            "ValidationException",
        )


def test_a_transaction_writes_all_or_nothing(own: Running) -> None:
    """And copies no more of the table than it writes, which would take minutes in a large one."""
    for number in range(60):
        own.put(f"row {number:02}", said={"S": "old"})

    def write(*asked: tuple[str, str]) -> None:
        own.rows.transact_write_items(
            TransactItems=[
                {
                    "Update": {
                        "TableName": HUB,
                        "Key": {"pk": {"S": "p"}, "sk": {"S": sort_key}},
                        "UpdateExpression": "SET said = :new",
                        "ConditionExpression": "said = :old",
                        "ExpressionAttributeValues": {":new": {"S": "new"}, ":old": {"S": old}},
                    }
                }
                for sort_key, old in asked
            ]
        )

    before = own.state()
    for last in (("row 59", "other"), ("no such row", "old")):
        with pytest.raises(ClientError, match="TransactionCanceled"):
            write(*((f"row {number:02}", "old") for number in range(50)), last)
        assert own.state() == before
    write(*((f"row {number:02}", "old") for number in range(50)))
    assert sum('"new"' in row for row in own.state()["rows"]) == 50
    own.put("row 00", said={"S": "newest"})
    assert sum('"new' in row for row in own.state()["rows"]) == 50


def test_a_batch_reads_100_items_at_most(own: Running) -> None:
    keys: Any = [{"pk": {"S": "p"}, "sk": {"S": str(number)}} for number in range(101)]
    own.rows.batch_get_item(RequestItems={HUB: {"Keys": keys[:100]}})
    call = lambda: own.rows.batch_get_item(RequestItems={HUB: {"Keys": keys}})  # noqa: E731
    assert refused(call) == (400, "ValidationException")


# ── S3 ────────────────────────────────────────────────────────────────────────────────────────────


def presigned(running: Running, key: str, seconds: int = 60, method: str = "put_object") -> str:
    """A URL to put or get one object."""
    return running.objects.generate_presigned_url(
        method, Params={"Bucket": running.bucket, "Key": key}, ExpiresIn=seconds
    )


def sent(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """As urllib sends it, which claims that a body is a form."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, method="PUT" if body else "GET")
        ) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_presigned_upload_keeps_its_body(own: Running) -> None:
    body = b"a=b&c=%00" + bytes(range(256))
    assert sent(presigned(own, "form"), body)[0] == 200
    assert sent(presigned(own, "form", method="get_object")) == (200, body)


def test_an_upload_is_asked_for_at_once(own: Running) -> None:
    """botocore announces a body and waits a second for the word to send it."""
    begun = time.monotonic()
    own.objects.put_object(Bucket=own.bucket, Key="asked", Body=bytes(100_000))
    assert time.monotonic() - begun < 0.9


def test_keys_with_odd_names_are_kept_apart(own: Running) -> None:
    keys = ["odd/a b", "odd/a+b", "odd/a%20b", "odd/é", "odd/a?b", "odd/a&b=c", "odd//c"]
    for key in keys:
        own.objects.put_object(Bucket=own.bucket, Key=key, Body=key.encode())
    assert [
        own.objects.get_object(Bucket=own.bucket, Key=key)["Body"].read().decode() for key in keys
    ] == keys


def test_ranges_heads_and_preconditions(own: Running) -> None:
    own.objects.put_object(Bucket=own.bucket, Key="r", Body=b"0123456789")
    assert (
        own.objects.get_object(Bucket=own.bucket, Key="r", Range="bytes=2-4")["Body"].read()
        == b"234"
    )
    assert own.objects.head_object(Bucket=own.bucket, Key="r")["ContentLength"] == 10
    put = lambda: own.objects.put_object(Bucket=own.bucket, Key="r", Body=b"", IfNoneMatch="*")  # noqa: E731
    assert refused(put)[0] == 412
    assert refused(lambda: own.objects.get_object(Bucket=own.bucket, Key="absent"))[0] == 404


def test_a_body_in_chunks_is_put_together(own: Running) -> None:
    url = presigned(own, "chunks")
    body = (
        b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (b"one", b"x" * 3000))
        + b"0\r\n\r\n"
    )
    with socket.create_connection(
        ("127.0.0.1", int(url.split(":")[2].split("/")[0]))
    ) as connection:
        head = (
            f"PUT {url[len(own.aws.url) :]} HTTP/1.1\r\nHost: {own.aws.host}\r\nTransfer-Encoding:"
            " chunked\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert own.object("chunks")[0] == b"one" + b"x" * 3000


# ── Together and apart ────────────────────────────────────────────────────────────────────────────


def test_two_in_one_process_hold_different_things(own: Running) -> None:
    own.put("apart")
    with EmbeddedAws() as other:
        rows = boto3.client("dynamodb", endpoint_url=other.url, config=ONCE)
        assert rows.list_tables()["TableNames"] == []
        stack.create(other.url, {"HubTable": HUB})
        assert rows.scan(TableName=HUB)["Items"] == []
    assert HUB in own.rows.list_tables()["TableNames"]


def test_nothing_is_answered_after_the_end() -> None:
    with EmbeddedAws() as aws:
        client = http.client.HTTPConnection(aws.url.removeprefix("http://"), timeout=5)
        client.request("GET", "/")
        client.getresponse().read()
        open_connection = client.sock
    assert open_connection.recv(1) == b""
    client.close()
    with pytest.raises(ConnectionRefusedError):
        client.request("GET", "/")


def test_moto_talks_to_nobody(own: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect
    strangers = []

    def watched(self: socket.socket, address: Any) -> None:
        if address[0] != "127.0.0.1":
            strangers.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    with EmbeddedAws() as aws:
        stack.create(aws.url, {"HubTable": "quiet", "Bucket": "quiet-bytes"})
        boto3.client("s3", endpoint_url=aws.url, config=ONCE).put_object(
            Bucket="quiet-bytes", Key="k", Body=b"x"
        )
    assert strangers == []


def test_a_scan_in_pages_returns_each_row_once_and_in_order(own: Running) -> None:
    keys = [(f"partition{n % 3}", f"row{n:02}") for n in range(20)]
    for partition, sort_key in keys:
        own.rows.put_item(TableName=HUB, Item={"pk": {"S": partition}, "sk": {"S": sort_key}})
    pages = own.rows.get_paginator("scan").paginate(TableName=HUB, PaginationConfig={"PageSize": 4})
    rows = itertools.chain.from_iterable(page["Items"] for page in pages)
    found = [(row["pk"]["S"], row["sk"]["S"]) for row in rows]
    # Other tests write rows into the same table.
    assert [key for key in found if key in keys] == sorted(keys)
