"""The AWS in this process: what moto alone gets wrong, and that nothing acknowledged is ever
lost.
"""

import errno
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
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

from infra import embedded_aws, stack
from infra.embedded_aws import EmbeddedAws
from infra.emulator import Answer, Emulator
from infra.journal import RESERVE_STEP_BYTES, Journal, JournalError
from infra.records import Request
from infra.rows import batch, dynamodb_request

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

ROOT = Path(__file__).parent.parent.parent
HUB, COUNTERS = "some-hub", "some-counters"
PASSING, LASTING = "passing-bytes", "lasting-bytes"
"""Buckets without and with a journal: a process has each bucket's name once."""
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


def start(journal: Journal | None = None) -> Running:
    """A fresh AWS, filled from the journal if there is one. The caller closes it."""
    aws = EmbeddedAws()
    bucket = PASSING if journal is None else LASTING
    stack.create(aws.url, names(bucket))
    if journal is not None:
        try:
            aws.keep(journal, unkept_tables=[COUNTERS])
        except BaseException:
            aws.close()
            raise
    s3 = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    return Running(
        aws,
        boto3.client(
            "dynamodb", endpoint_url=aws.url, config=ONCE.merge(Config(max_pool_connections=12))
        ),
        boto3.client("s3", endpoint_url=aws.url, config=ONCE.merge(s3)),
        bucket,
    )


@pytest.fixture(scope="module")
def own() -> Iterator[Running]:
    """One without a journal, for all tests that leave no trace the others would see."""
    running = start()
    with running.aws:
        yield running


Restart = Callable[[], Running]


@pytest.fixture
def restart(tmp_path: Path) -> Iterator[Restart]:
    """Each call ends the AWS of the call before, and starts one from what it kept."""
    closing: list[Any] = []

    def stop() -> None:
        while closing:
            closing.pop().close()

    def again() -> Running:
        stop()
        closing.append(journal := Journal(tmp_path / "data"))
        running = start(journal)
        closing.append(running.aws)
        return running

    yield again
    stop()


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


# ── What lasts ────────────────────────────────────────────────────────────────────────────────────


def fill(running: Running) -> None:
    """One of each write that the hub makes, and a few that take back others."""
    running.put("1", **VALUES)
    running.put("2")
    running.rows.delete_item(TableName=HUB, Key={"pk": {"S": "p"}, "sk": {"S": "2"}})
    for _ in range(3):
        running.rows.update_item(
            TableName=HUB,
            Key={"pk": {"S": "p"}, "sk": {"S": "n"}},
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
    batch: Any = [
        {"PutRequest": {"Item": {"pk": {"S": "q"}, "sk": {"S": str(number)}}}}
        for number in range(20)
    ]
    running.rows.batch_write_item(RequestItems={HUB: batch})
    put = running.objects.put_object
    put(
        Bucket=running.bucket,
        Key="a/é b",
        Body=bytes(range(256)),
        ContentType="x/y",
        Metadata={"k": "v"},
        CacheControl="c",
    )
    put(Bucket=running.bucket, Key="twice", Body=b"1")
    put(Bucket=running.bucket, Key="twice", Body=b"2" * 6_000_000, ChecksumAlgorithm="SHA256")
    put(Bucket=running.bucket, Key="empty", Body=b"")
    put(Bucket=running.bucket, Key="gone", Body=b"x")
    running.objects.delete_object(Bucket=running.bucket, Key="gone")
    source: Any = {"Bucket": running.bucket, "Key": "a/é b"}
    running.objects.copy_object(Bucket=running.bucket, Key="copy", CopySource=source)
    assert sent(presigned(running, "uploaded"), b"bytes of a client")[0] == 200


def test_everything_is_there_after_a_restart(restart: Restart) -> None:
    first = restart()
    fill(first)
    state = first.state()
    assert len(state["rows"]) == 22 and len(state["objects"]) == 5
    for _ in range(2):
        assert restart().state() == state


def test_versions_that_were_removed_do_not_come_back(
    restart: Restart, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = restart()
    put = first.objects.put_object
    old = put(Bucket=first.bucket, Key="é 1", Body=b"old")["VersionId"]
    put(Bucket=first.bucket, Key="é 1", Body=b"new")
    gone = put(Bucket=first.bucket, Key="gone", Body=b"x")["VersionId"]
    mark = first.objects.delete_object(Bucket=first.bucket, Key="gone")["VersionId"]
    put(Bucket=first.bucket, Key="marked", Body=b"y")
    first.objects.delete_object(Bucket=first.bucket, Key="marked")

    def remove(running: Running, *versions: tuple[str, str]) -> None:
        objects: Any = [{"Key": key, "VersionId": version} for key, version in versions]
        running.objects.delete_objects(Bucket=running.bucket, Delete={"Objects": objects})

    remove(first, ("é 1", old), ("gone", mark), ("gone", gone))
    versions = first.versions()
    assert sorted(key for key, *_ in versions) == ["marked", "marked", "é 1"]
    second = restart()
    assert second.versions() == versions
    # And what is removed after a restart is what was meant.
    remove(second, *((key, version) for key, version, *_ in versions if key == "é 1"))
    monkeypatch.setattr(embedded_aws, "COMPACT_ABOVE", 0)
    third = restart()
    assert sorted(key for key, *_ in third.versions()) == ["marked", "marked"]
    assert restart().versions() == set(), "a rewritten journal keeps what can be read"


def test_no_signature_is_written_down(restart: Restart, tmp_path: Path) -> None:
    fill(restart())
    with pytest.raises(JournalError, match="in use"):
        Journal(tmp_path / "data")
    kept = (tmp_path / "data" / "journal").read_bytes()
    assert (
        b"Signature" not in kept
        and b"Credential" not in kept
        and b"authorization" not in kept.lower()
    )


def test_only_writes_that_succeeded_are_kept_and_no_counters(restart: Restart) -> None:
    running = restart()
    journal = running.aws._journal
    assert journal is not None
    running.put("1")
    assert journal.requests == 1
    running.rows.get_item(TableName=HUB, Key={"pk": {"S": "p"}, "sk": {"S": "1"}})
    running.objects.list_objects_v2(Bucket=running.bucket)
    refused(lambda: running.rows.put_item(TableName="absent", Item={}))
    running.rows.put_item(TableName=COUNTERS, Item={"pk": {"S": "c"}})
    assert journal.requests == 1
    assert restart().rows.scan(TableName=COUNTERS)["Items"] == []


def test_structure_comes_from_the_template_only(restart: Restart) -> None:
    running = restart()
    for call in (
        lambda: running.objects.create_bucket(Bucket="another"),
        lambda: running.rows.delete_table(TableName=HUB),
        lambda: running.objects.create_multipart_upload(Bucket=running.bucket, Key="k"),
        lambda: running.objects.put_object_tagging(
            Bucket=running.bucket, Key="k", Tagging={"TagSet": []}
        ),
    ):
        assert refused(call) == (501, "NotImplemented")


def test_a_long_journal_is_rewritten_from_what_is_there(
    restart: Restart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_aws, "COMPACT_ABOVE", 30)
    first = restart()
    fill(first)
    for number in range(30):
        first.put("often", n={"N": str(number)})
    state = first.state()
    for _ in range(2):
        again = restart()
        assert again.state() == state
        assert again.aws._journal is not None
        # 22 rows besides the one put often: two batches, and the objects.
        assert again.aws._journal.requests == 1 + len(state["objects"])


def test_a_row_that_was_written_often_is_restored_once(
    restart: Restart, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = restart()
    for number in range(100):
        running.put("often", n={"N": str(number)})
    running.put("gone")
    running.rows.delete_item(TableName=HUB, Key={"pk": {"S": "p"}, "sk": {"S": "gone"}})
    state = running.state()
    calls = []
    call = Emulator.call

    def counted(self: Emulator, request: Request) -> Answer:
        calls.append(request)
        return call(self, request)

    with monkeypatch.context() as counting:
        counting.setattr(Emulator, "call", counted)
        again = restart()
        replayed = [request for request in calls if b"often" in request.body]
    assert len(replayed) == 1
    assert again.state() == state


def test_a_journal_of_an_earlier_version_holds_updates_as_they_were_asked(
    restart: Restart, tmp_path: Path
) -> None:
    key = {"pk": {"S": "p"}, "sk": {"S": "n"}}
    step = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    with Journal(tmp_path / "data") as journal:
        for value in ("5", "7"):
            journal.append(batch({HUB: [{"PutRequest": {"Item": key | {"n": {"N": value}}}}]}))
            journal.append(dynamodb_request("UpdateItem", {"TableName": HUB, "Key": key} | step))
    assert restart().rows.get_item(TableName=HUB, Key=key)["Item"]["n"] == {"N": "8"}


def test_what_cannot_be_repeated_is_said_so(restart: Restart, tmp_path: Path) -> None:
    with Journal(tmp_path / "data") as journal:
        journal.append(Request("PUT", "/some-other-bucket/k", {}, b""))
    with pytest.raises(
        JournalError,
        match=r"request 1 of the journal \(PUT /some-other-bucket/k\) cannot be repeated",
    ):
        restart()


def rows_of(running: Running) -> list[str]:
    """The sort keys of all rows."""
    return [row["sk"]["S"] for row in running.rows.scan(TableName=HUB)["Items"]]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_fails_takes_back_what_was_not_acknowledged_and_is_used_again(
    restart: Restart, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    running = restart()
    fill(running)
    state = running.state()
    with monkeypatch.context() as disk:
        disk.setattr(os, call, failing)
        assert refused(lambda: running.put("lost")) == (500, "InternalError")
        assert (
            refused(lambda: running.objects.delete_object(Bucket=running.bucket, Key="twice"))[0]
            == 500
        )
        assert running.state() == state, "reads go on, and show nothing that was refused"
    assert "Input/output error" in running.aws.trouble() + caplog.text
    running.put("after")
    assert running.aws.trouble() == ""
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1, (
        "one line for each episode"
    )
    after = running.state()
    assert restart().state() == after and "lost" not in rows_of(restart())


def test_a_full_disk_refuses_a_write_before_it_has_any_effect(
    restart: Restart, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = restart()
    running.put("before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def put_large() -> None:
        body = bytes(3 * RESERVE_STEP_BYTES)
        running.objects.put_object(Bucket=running.bucket, Key="large", Body=body)

    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        for _ in range(2):
            assert refused(put_large) == (507, "InsufficientStorage")
        assert rows_of(running) == ["before"] and "large" not in running.state()["objects"]
        running.rows.put_item(
            TableName=COUNTERS, Item={"pk": {"S": "counters are not kept, so they are counted"}}
        )
        running.put("small enough for the space that is reserved")
        assert "No space left on device" in running.aws.trouble()
    assert running.aws.trouble() == "", "seen without another write"
    put_large()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    state = running.state()
    assert restart().state() == state


CHILD = """
import itertools, sys
from pathlib import Path
import boto3
from infra import stack
from infra.embedded_aws import EmbeddedAws
from infra.journal import Journal

aws = EmbeddedAws()
stack.create(aws.url, {names})
aws.keep(Journal(Path(sys.argv[1])), unkept_tables=[])
rows = boto3.client("dynamodb", endpoint_url=aws.url)
objects = boto3.client("s3", endpoint_url=aws.url)
for number in itertools.count():
    rows.put_item(TableName="{hub}", Item={{"pk": {{"S": "p"}}, "sk": {{"S": str(number)}}}})
    objects.put_object(Bucket="{bucket}", Key=str(number), Body=str(number).encode() * 1000)
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(restart: Restart, tmp_path: Path) -> None:
    code = CHILD.format(names=names(LASTING), hub=HUB, bucket=LASTING)
    child = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "data"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert child.stdout is not None
    with child:
        acknowledged = [int(line) for line in itertools.islice(child.stdout, 60)]
        child.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    running = restart()
    rows = {row["sk"]["S"] for row in running.rows.scan(TableName=HUB)["Items"]}
    assert {str(number) for number in acknowledged} <= rows
    for number in acknowledged:
        assert running.object(str(number))[0] == str(number).encode() * 1000


def test_a_scan_in_pages_returns_each_row_once_and_in_order(own: Running) -> None:
    keys = [(f"partition{n % 3}", f"row{n:02}") for n in range(20)]
    for partition, sort_key in keys:
        own.rows.put_item(TableName=HUB, Item={"pk": {"S": partition}, "sk": {"S": sort_key}})
    pages = own.rows.get_paginator("scan").paginate(TableName=HUB, PaginationConfig={"PageSize": 4})
    rows = itertools.chain.from_iterable(page["Items"] for page in pages)
    found = [(row["pk"]["S"], row["sk"]["S"]) for row in rows]
    # Other tests write rows into the same table.
    assert [key for key in found if key in keys] == sorted(keys)
