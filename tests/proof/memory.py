"""DynamoDB and S3 in memory, below the real aiobotocore clients: the documented behaviour of AWS, with
all the freedom that the documents leave.

    cloud = Cloud()
    with cloud.serving():            every aiobotocore client of this process talks to it
        saved = cloud.save(); ...; cloud.load(saved)

Writes of one item are atomic and in one order; a batch is many writes, which others may come
between; an eventually consistent read may return older data. Requests that AWS
refuses are refused: batches too large or with a key twice, items above 400 KB, conditions that
cannot be read.
"""

import asyncio
import functools
import hashlib
import itertools
import random
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from tests.cloud_calls import CloudCall, intercepted

Item = Mapping[str, Any]
Key = tuple[str, ...]
T = TypeVar("T")
ITEM_BYTES = 400 * 1024
BATCHES = ("BatchWriteItem", "DeleteObjects")
"""The calls of which each part takes effect on its own."""
LAG_SECONDS = 15 * 60
"""The most that a replica is behind. AWS states that it is usually less than a second, and gives no
bound. The data of an old row exists for an hour more at least.
"""


class Version(NamedTuple):
    """One version of an object."""

    data: bytes
    number: str
    modified: float

    @property
    def etag(self) -> str:
        """As S3 gives it for an upload in one part."""
        return _etag(self.data)


@functools.lru_cache(1000)
def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Effect:
    """A call before it takes effect. Each row or object of a batch is an effect of its own."""

    operation: str
    """The name in botocore, such as `PutItem`."""
    parameters: Mapping[str, Any]

    @property
    def address(self) -> str:
        """All keys of the call, in their order, such as `REPO#r1#C0 <id>`."""
        return " ".join(_addresses(self.parameters))

    def __str__(self) -> str:
        return f"{self.operation} {self.address}"


def _addresses(parameters: Mapping[str, Any]) -> Iterator[str]:
    for name, value in parameters.items():
        if name in ("Key", "Item"):
            yield from (value,) if isinstance(value, str) else _key(value)
        elif name == "Prefix":
            yield value
        elif name == "Keys":
            for key in value:
                yield from _key(key)
        elif name == "ExpressionAttributeValues" and ":pk" in value:
            yield from (value[key]["S"] for key in (":pk", ":prefix", ":low") if key in value)
        elif name == "TransactItems":
            for item in value:
                for write in item.values():
                    yield from _addresses(write)
        elif name == "RequestItems":
            for request in value.values():
                yield from _addresses(request)
        elif name in ("PutRequest", "DeleteRequest"):
            yield from _addresses(value)


class Body:
    """An answer of S3 being read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, amount: int | None = None) -> bytes:
        """The next bytes; all that are left without an amount."""
        await asyncio.sleep(0)
        stop = len(self._data) if amount is None else amount
        data, self._data = self._data[:stop], self._data[stop:]
        return data

    def close(self) -> None:
        """Nothing is held."""

    async def __aenter__(self) -> "Body":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


def refused(code: str, operation: str, status: int = 400, **more: Any) -> ClientError:
    """An error as botocore raises it."""
    response: Any = {
        "Error": {"Code": code, "Message": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, operation)


async def at_once(effect: Effect) -> None:
    """The gate of a cloud without a scheduler."""
    await asyncio.sleep(0)


class Cloud:
    """All tables and buckets: they come into being when they are named."""

    def __init__(self, seed: int = 0, clock: Callable[[], float] = lambda: 1_800_000_000.0) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.gate: Callable[[Effect], Awaitable[None]] = at_once
        """Awaited before each effect."""
        self.page_bytes, self.page_keys = 1024 * 1024, 1000
        self.leaves = 0.0
        """How likely each row of a batch is left unprocessed, and a transaction finds another in
        its way.
        """
        self.lags = 0.0
        """How likely an eventually consistent read sees a row as it was before its last change."""
        self.tables: dict[str, dict[str, dict[str, Item]]] = {}
        self.before: dict[tuple[str, str], dict[str, tuple[float, Item | None]]] = {}
        """Rows as they were before their last change, and when that was, by table and partition."""
        self.objects: dict[str, list[Version]] = {}
        self.calls = 0
        self._numbers = itertools.count(1)

    def save(self) -> Any:
        """All there is, for `load`."""
        tables = {
            name: {pk: dict(rows) for pk, rows in table.items()}
            for name, table in self.tables.items()
        }
        return tables, {key: list(versions) for key, versions in self.objects.items()}

    def load(self, saved: Any) -> None:
        """Be as it was then."""
        tables, objects = saved
        self.tables = {
            name: {pk: dict(rows) for pk, rows in table.items()} for name, table in tables.items()
        }
        self.objects = {key: list(versions) for key, versions in objects.items()}
        self.before = {}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Every call of every aiobotocore client comes here."""

        async def answer(call: CloudCall) -> Any:
            return await self.call(call.service, call.operation, call.parameters)

        with intercepted(answer):
            yield

    async def call(self, service: str, operation: str, parameters: Any) -> Any:
        """One call, by the names botocore gives it."""
        handle = getattr(self, f"_{service}_{operation}", None)
        if handle is None:
            raise NotImplementedError(f"{service}.{operation}: teach tests/proof/memory.py")
        self.calls += 1
        if operation not in BATCHES:
            await self.gate(Effect(operation, parameters))
        reply = handle(**parameters)
        return await reply if asyncio.iscoroutine(reply) else reply

    def _shuffled(self, batch: Iterable[T]) -> list[T]:
        """AWS promises no order within a batch."""
        order = list(batch)
        self.random.shuffle(order)
        return order

    # ── DynamoDB ──────────────────────────────────────────────────────────────────────────────────

    def row(self, table: str, key: Key) -> Item | None:
        """A row as it is stored."""
        return self.tables.get(table, {}).get(key[0], {}).get(key[1] if len(key) > 1 else "")

    def _set(self, table: str, key: Key, item: Item | None, operation: str) -> None:
        if item is not None and _size(item) > ITEM_BYTES:
            raise refused("ValidationException", operation)
        rows = self.tables.setdefault(table, {}).setdefault(key[0], {})
        sort_key = key[1] if len(key) > 1 else ""
        past = self.before.setdefault((table, key[0]), {})
        past[sort_key] = self.clock(), rows.get(sort_key)
        if item is None:
            rows.pop(sort_key, None)
        else:
            rows[sort_key] = item

    def _seen(self, table: str, key: Key, consistent: bool) -> Item | None:
        if not consistent:
            past = self.before.get((table, key[0]), {}).get(key[1] if len(key) > 1 else "")
            if past and self.random.random() < self.lags:
                changed_at, before = past
                if self.clock() < changed_at + LAG_SECONDS:
                    return before
        return self.row(table, key)

    def _dynamodb_GetItem(
        self, TableName: str, Key: Any, ConsistentRead: bool = False, **options: Any
    ) -> Any:
        _only(options, "GetItem")
        item = self._seen(TableName, _key(Key), ConsistentRead)
        return {"Item": item} if item else {}

    def _dynamodb_BatchGetItem(self, RequestItems: Any, **options: Any) -> Any:
        _only(options, "BatchGetItem")
        reply: Any = {"Responses": {}, "UnprocessedKeys": {}}
        for table, request in RequestItems.items():
            keys = [_key(key) for key in request["Keys"]]
            if not 1 <= len(keys) <= 100 or len(set(keys)) < len(keys):
                raise refused("ValidationException", "BatchGetItem")
            found = reply["Responses"].setdefault(table, [])
            left = []
            for raw, key in zip(request["Keys"], keys, strict=True):
                if self.random.random() < self.leaves:
                    left.append(raw)
                elif item := self._seen(table, key, request.get("ConsistentRead", False)):
                    found.append(item)
            if left:
                reply["UnprocessedKeys"][table] = {**request, "Keys": left}
        return reply

    async def _dynamodb_BatchWriteItem(self, RequestItems: Any, **options: Any) -> Any:
        _only(options, "BatchWriteItem")
        reply: Any = {"UnprocessedItems": {}}
        for table, requests in RequestItems.items():
            keys = [
                _key(r["PutRequest"]["Item"] if "PutRequest" in r else r["DeleteRequest"]["Key"])
                for r in requests
            ]
            if not 1 <= len(keys) <= 25 or len(set(keys)) < len(keys):
                raise refused("ValidationException", "BatchWriteItem")
            for request, key in self._shuffled(zip(requests, keys, strict=True)):
                await self.gate(Effect("BatchWriteItem", request))
                if self.random.random() < self.leaves:
                    reply["UnprocessedItems"].setdefault(table, []).append(request)
                else:
                    item = request["PutRequest"]["Item"] if "PutRequest" in request else None
                    self._set(table, key, item, "BatchWriteItem")
        return reply

    def _check(self, table: str, key: Key, options: Any, operation: str) -> Item | None:
        """The row. Raises the error of a condition that is false."""
        item = self.row(table, key)
        condition = options.pop("ConditionExpression", "")
        names, values = _given(options)
        shown = options.pop("ReturnValuesOnConditionCheckFailure", "NONE") == "ALL_OLD"
        if condition and not _compiled(condition)(item or {}, names, values):
            more: dict[str, Any] = {"Item": item} if shown and item else {}
            raise refused("ConditionalCheckFailedException", operation, **more)
        return item

    def _dynamodb_PutItem(self, TableName: str, Item: Item, **options: Any) -> Any:
        key = _key(Item)
        self._check(TableName, key, options, "PutItem")
        _only(options, "PutItem")
        self._set(TableName, key, Item, "PutItem")
        return {}

    def _dynamodb_DeleteItem(self, TableName: str, Key: Any, **options: Any) -> Any:
        key, returned = _key(Key), options.pop("ReturnValues", "NONE")
        old = self._check(TableName, key, options, "DeleteItem")
        _only(options, "DeleteItem")
        self._set(TableName, key, None, "DeleteItem")
        return {"Attributes": old} if old and returned == "ALL_OLD" else {}

    def _dynamodb_UpdateItem(
        self, TableName: str, Key: Any, UpdateExpression: str, **options: Any
    ) -> Any:
        key, returned = _key(Key), options.pop("ReturnValues", "NONE")
        names, values = _given(options)
        old = self._check(TableName, key, options, "UpdateItem")
        _only(options, "UpdateItem")
        new = _updated({**Key, **(old or {})}, UpdateExpression, names, values)
        self._set(TableName, key, new, "UpdateItem")
        if returned == "UPDATED_NEW":
            return {
                "Attributes": {
                    name: new[name] for name in new if new[name] != (old or {}).get(name)
                }
            }
        return {"Attributes": new} if returned == "ALL_NEW" else {}

    def _dynamodb_TransactWriteItems(self, TransactItems: Any, **options: Any) -> Any:
        _only(options, "TransactWriteItems", "ClientRequestToken")
        writes: list[tuple[str, Key, Any]] = []
        reasons: list[Any] = []
        for ((kind, asked),) in (item.items() for item in TransactItems):
            given = dict(asked)
            table, expression = given.pop("TableName"), given.pop("UpdateExpression", "")
            item = given.pop("Item", None)
            raw = given.pop("Key", None) or item
            names, values = _given(given)
            try:
                old = self._check(table, _key(raw), given, "TransactWriteItems")
                reasons.append({"Code": "None"})
                if kind == "Update":
                    item = _updated({**raw, **(old or {})}, expression, names, values)
                if kind != "ConditionCheck":
                    writes.append((table, _key(raw), item))
            except ClientError as error:
                reasons.append(
                    {"Code": "ConditionalCheckFailed", "Item": error.response.get("Item")}
                )
        if len({write[:2] for write in writes}) < len(writes):
            raise refused("ValidationException", "TransactWriteItems")
        if self.random.random() < self.leaves:
            self.random.choice(reasons)["Code"] = "TransactionConflict"
        if any(reason["Code"] != "None" for reason in reasons):
            raise refused(
                "TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons
            )
        for table, key, item in writes:
            self._set(table, key, item, "TransactWriteItems")
        return {}

    def _dynamodb_Query(
        self,
        TableName: str,
        KeyConditionExpression: str,
        ConsistentRead: bool = False,
        ScanIndexForward: bool = True,
        Limit: int | None = None,
        ExclusiveStartKey: Any = None,
        **options: Any,
    ) -> Any:
        names, values = _given(options)
        _only(options, "Query")
        fits = _compiled(KeyConditionExpression)
        pk = values[_partition_of(KeyConditionExpression)]["S"]
        partition = self.tables.get(TableName, {}).get(pk, {})
        if not ConsistentRead:  # an old read also returns a row that was deleted a moment ago
            past = self.before.get((TableName, pk), {})
            partition = {**{sk: row for sk, (_, row) in past.items() if row}, **partition}
        _check_key(pk, 2048)
        start = ExclusiveStartKey and _key(ExclusiveStartKey)[1]
        if start and not fits(ExclusiveStartKey, names, values):
            raise refused("ValidationException", "Query")
        if not partition:
            return {"Items": [], "Count": 0}
        items: list[Item] = []
        size, last = 0, None
        for sk in sorted(partition, reverse=not ScanIndexForward):
            if start is not None and (sk <= start if ScanIndexForward else sk >= start):
                continue
            if not fits(partition[sk], names, values):
                continue
            if last is not None and (len(items) == Limit or size >= self.page_bytes):
                return {"Items": items, "Count": len(items), "LastEvaluatedKey": last}
            item = self._seen(TableName, (pk, sk), ConsistentRead)
            last = {name: partition[sk][name] for name in ("pk", "sk")}
            size += _size(partition[sk])
            items += [item] if item else []
        return {"Items": items, "Count": len(items)}

    # ── S3 ────────────────────────────────────────────────────────────────────────────────────────

    def upload(self, url: str, data: bytes) -> None:
        """PUT to a presigned URL."""
        self.put(urllib.parse.unquote(urllib.parse.urlsplit(url).path).split("/", 2)[2], data)

    def address(self, key: str, data: bytes) -> None:
        """Write an object as a client does that has a URL for this key."""
        self.put(key, data)

    def put(self, key: str, data: bytes) -> Version:
        """Write an object."""
        version = Version(bytes(data), f"v{next(self._numbers):06}", self.clock())
        self.objects.setdefault(key, []).append(version)
        return version

    def _object(self, key: str, number: str | None, operation: str) -> Version:
        versions = self.objects.get(key, [])
        for version in reversed(versions):
            if number in (None, version.number):
                return version
        raise refused("NoSuchVersion" if number and versions else "NoSuchKey", operation, 404)

    def _s3_PutObject(
        self, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str = "", **options: Any
    ) -> Any:
        _only(
            options, "PutObject", "ContentType", "ChecksumAlgorithm", "ChecksumSHA256", "Metadata"
        )
        if IfNoneMatch and self.objects.get(Key):
            raise refused("PreconditionFailed", "PutObject", 412)
        version = self.put(Key, Body)
        return {"ETag": version.etag, "VersionId": version.number}

    def _s3_GetObject(
        self, Bucket: str, Key: str, Range: str = "", VersionId: Any = None, **options: Any
    ) -> Any:
        found = self._object(Key, VersionId, "GetObject")
        if options.pop("IfMatch", found.etag) != found.etag:
            raise refused("PreconditionFailed", "GetObject", 412)
        _only(options, "GetObject", "ChecksumMode")
        data = found.data
        if Range:
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", Range).groups()  # type: ignore[union-attr]
            if int(first) >= len(data):
                raise refused("InvalidRange", "GetObject", 416)
            data = data[int(first) : int(last) + 1 if last else None]
        return {**_described(found), "Body": Body(data), "ContentLength": len(data)}

    def _s3_HeadObject(self, Bucket: str, Key: str, VersionId: Any = None, **options: Any) -> Any:
        _only(options, "HeadObject", "ChecksumMode")
        found = self._object(Key, VersionId, "HeadObject")
        return {**_described(found), "ContentLength": len(found.data)}

    def _s3_CopyObject(self, Bucket: str, Key: str, CopySource: Any, **options: Any) -> Any:
        source = self._object(CopySource["Key"], CopySource.get("VersionId"), "CopyObject")
        if options.pop("CopySourceIfMatch", source.etag) != source.etag:
            raise refused("PreconditionFailed", "CopyObject", 412)
        _only(options, "CopyObject", "ChecksumAlgorithm", "MetadataDirective")
        copied = self.put(Key, source.data)
        return {"CopyObjectResult": {"ETag": copied.etag}, "VersionId": copied.number}

    def _s3_ListObjectsV2(
        self, Bucket: str, Prefix: str = "", ContinuationToken: str = "", **options: Any
    ) -> Any:
        after = ContinuationToken or options.pop("StartAfter", "")
        _only(options, "ListObjectsV2", "MaxKeys", "Delimiter")
        keys = sorted(
            key
            for key, found in self.objects.items()
            if found and key.startswith(Prefix) and key > after
        )
        most = min(options.get("MaxKeys", 1000), self.page_keys)
        shown = [(key, self.objects[key][-1]) for key in keys[:most]]
        reply: Any = {"IsTruncated": len(keys) > most, "KeyCount": len(shown)}
        if shown:
            reply["Contents"] = [
                {"Key": key, "Size": len(one.data), **_described(one)} for key, one in shown
            ]
        return reply | ({"NextContinuationToken": keys[most - 1]} if len(keys) > most else {})

    def _s3_ListObjectVersions(
        self,
        Bucket: str,
        Prefix: str = "",
        KeyMarker: str = "",
        VersionIdMarker: str = "",
        **options: Any,
    ) -> Any:
        _only(options, "ListObjectVersions", "MaxKeys")
        # Of one key the newest comes first.
        found = [
            (key, one)
            for key, versions in sorted(self.objects.items())
            if key.startswith(Prefix)
            for one in reversed(versions)
            if key > KeyMarker
            or (key == KeyMarker and VersionIdMarker and one.number < VersionIdMarker)
        ]
        shown = found[: self.page_keys]
        reply: Any = {"IsTruncated": len(found) > len(shown)}
        if shown:
            reply["Versions"] = [
                {"Key": key, "Size": len(one.data), **_described(one)} for key, one in shown
            ]
        if reply["IsTruncated"]:
            reply |= {"NextKeyMarker": shown[-1][0], "NextVersionIdMarker": shown[-1][1].number}
        return reply

    async def _s3_DeleteObjects(self, Bucket: str, Delete: Any, **options: Any) -> Any:
        _only(options, "DeleteObjects")
        if not 1 <= len(Delete["Objects"]) <= 1000:
            raise refused("MalformedXML", "DeleteObjects")
        for one in self._shuffled(Delete["Objects"]):
            await self.gate(Effect("DeleteObjects", one))
            kept = [v for v in self.objects.get(one["Key"], []) if v.number != one["VersionId"]]
            self.objects[one["Key"]] = kept
        return {}


def _described(version: Version) -> Any:
    modified = datetime.fromtimestamp(version.modified, UTC)
    return {"ETag": version.etag, "VersionId": version.number, "LastModified": modified}


def _only(options: Mapping[str, Any], operation: str, *known: str) -> None:
    """A call that is not emulated raises an error."""
    if unknown := options.keys() - {
        *known,
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
    }:
        raise NotImplementedError(
            f"{operation} with {sorted(unknown)}: teach tests/proof/memory.py"
        )


def _key(item: Mapping[str, Any]) -> Key:
    pk = item["pk"]["S"]
    if "sk" not in item:
        _check_key(pk, 2048)
        return (pk,)
    sk = item["sk"]["S"]
    _check_key(pk, 2048)
    _check_key(sk, 1024)
    return pk, sk


def _check_key(text: str, most_bytes: int) -> None:
    # No character has more than four bytes.
    if not text or (len(text) * 4 > most_bytes and len(text.encode()) > most_bytes):
        raise refused("ValidationException", "any")


def _size(item: Item) -> int:
    return sum(len(name) + _value_size(typed) for name, typed in item.items())


def _value_size(typed: Mapping[str, Any]) -> int:
    ((kind, value),) = typed.items()
    return sum(map(_value_size, value)) if kind == "L" else len(value)


# ── Expressions ───────────────────────────────────────────────────────────────────────────────────

Names = Mapping[str, str]
Test = Callable[[Item, Names, Mapping[str, Any]], Any]
_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+-]|[#:]?\w+)")


def _given(options: dict[str, Any]) -> tuple[Names, Mapping[str, Any]]:
    return options.get("ExpressionAttributeNames", {}), options.get("ExpressionAttributeValues", {})


def _plain(typed: Any) -> Any:
    """A typed value as one that compares, with its type: values of different types are never
    alike.
    """
    if typed is None:
        return None
    ((kind, value),) = typed.items()
    return kind, Decimal(value) if kind == "N" else value


def _operand(word: str) -> Test:
    if word[0] == ":":
        return lambda item, names, values: values[word]
    return lambda item, names, values: item.get(names[word] if word[0] == "#" else word)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a[0] == b[0] and a[1] < b[1],
    "<=": lambda a, b: a[0] == b[0] and a[1] <= b[1],
    ">": lambda a, b: a[0] == b[0] and a[1] > b[1],
    ">=": lambda a, b: a[0] == b[0] and a[1] >= b[1],
}


def _comparison(operator: str, left: Test, right: Test) -> Test:
    def test(item: Item, names: Names, values: Mapping[str, Any]) -> bool:
        a, b = _plain(left(item, names, values)), _plain(right(item, names, values))
        # An absent value compares with nothing, but differs from everything.
        return operator == "<>" if a is None or b is None else _COMPARE[operator](a, b)

    return test


@functools.cache
def _partition_of(condition: str) -> str:
    """The name of the value of `pk` in the key condition of a query."""
    found: str = re.findall(r"pk = (:\w+)", condition)[0]
    return found


@functools.cache
def _compiled(expression: str) -> Test:
    """A condition, or the key condition of a query. Raises ValueError for one that it cannot parse."""
    words = _TOKEN.findall(expression)
    if "".join(words) != re.sub(r"\s", "", expression):
        raise ValueError(expression)
    test = _any(words)
    if words:
        raise ValueError(expression)
    return test


def _any(words: list[str]) -> Test:
    tests = [_all(words)]
    while words and words[0] == "OR":
        words.pop(0)
        tests.append(_all(words))
    if len(tests) == 1:
        return tests[0]
    return lambda *given: any(test(*given) for test in tests)


def _all(words: list[str]) -> Test:
    tests = [_one(words)]
    while words and words[0] == "AND":
        words.pop(0)
        tests.append(_one(words))
    if len(tests) == 1:
        return tests[0]
    return lambda *given: all(test(*given) for test in tests)


def _one(words: list[str]) -> Test:
    word = words.pop(0)
    if word == "NOT":
        inner = _one(words)
        return lambda *given: not inner(*given)
    if word == "(":
        inner = _any(words)
        _expect(words, ")")
        return inner
    if words and words[0] == "(":
        return _function(word, words)
    left = _operand(word)
    operator = words.pop(0)
    if operator == "BETWEEN":
        low = _operand(words.pop(0))
        _expect(words, "AND")
        above, below = _comparison(">=", left, low), _comparison("<=", left, _operand(words.pop(0)))
        return lambda *given: above(*given) and below(*given)
    return _comparison(operator, left, _operand(words.pop(0)))


def _function(name: str, words: list[str]) -> Test:
    _expect(words, "(")
    first = _operand(words.pop(0))
    if name == "begins_with":
        _expect(words, ",")
        prefix = _operand(words.pop(0))
        _expect(words, ")")
        return lambda *given: (first(*given) or {}).get("S", "").startswith(prefix(*given)["S"])
    _expect(words, ")")
    there = {"attribute_exists": True, "attribute_not_exists": False}[name]
    return lambda *given: (first(*given) is not None) is there


def _expect(words: list[str], word: str) -> None:
    if words.pop(0) != word:
        raise ValueError(f"{word} expected before {words}")


def _updated(
    item: dict[str, Any], expression: str, names: Names, values: Mapping[str, Any]
) -> Item:
    """The item after SET, REMOVE and ADD."""
    new = dict(item)
    parts = re.split(r"\b(SET|REMOVE|ADD)\b", expression)
    for verb, clauses in zip(parts[1::2], parts[2::2], strict=True):
        for clause in clauses.split(","):
            words = _TOKEN.findall(clause)
            name = names[words[0]] if words[0][0] == "#" else words[0]
            match verb, words[1:]:
                case "SET", ["=", word]:
                    new[name] = _operand(word)(item, names, values)
                case "REMOVE", []:
                    new.pop(name, None)
                case "ADD", [word]:
                    new[name] = {
                        "N": str(
                            Decimal(item.get(name, {"N": "0"})["N"]) + Decimal(values[word]["N"])
                        )
                    }
                case _:
                    raise ValueError(expression)
    return new
