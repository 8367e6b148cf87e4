"""moto as a function: one request to DynamoDB, S3 or SSM in, one answer out, in memory, without any
network.

This module corrects the errors of moto that the hub depends on, so that code which works here also
works on AWS:

    moto                                                   here
    loses the body of a PUT that claims to be a form       the claim is dropped (urllib makes it)
    checks no signature                                    `infra.signatures` checks them
    allows every web page to read every reply (CORS)       sends no such header
    takes 26 items in one BatchWriteItem                   400 above 25
    ignores x-amz-copy-source-if-match                     412 if the entity tag differs
    reads the whole table in every Query                   reads one partition
    takes 0.6 ms to serialize each row                     copies the row, which has the wire form
    keeps every row ever written or read, for inspection   drops a row that is overwritten

A request may use any account and Region: its effect is the same. moto is not atomic under threads,
so `infra.embedded_aws` allows one caller at a time. All state is in memory, except S3 bodies above
5 MiB, which moto spools to unnamed temporary files.
"""

import functools
import io
import itertools
import json
import logging
import math
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes, urlencode
from xml.sax.saxutils import escape

from flask import Flask
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import FakeKey, s3_backends
from werkzeug.test import run_wsgi_app

from infra import signatures
from infra.moto_patches import patch_moto
from infra.records import Request
from infra.rows import (
    BATCH_WRITE_ITEMS,
    ROW_WRITES,
    Latest,
    batch,
    dynamodb_request,
    images,
    operation,
)

_REGION = "us-east-1"
_PARTITION = "aws"
_SIGNED = f"AWS4-HMAC-SHA256 Credential=local/20260101/{_REGION}/s3/aws4_request"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_READS = ("Get", "BatchGet", "TransactGet", "Query", "Scan", "Describe", "List")
_BATCH_WRITES = {"BatchWriteItem", "TransactWriteItems"}
_SIGNATURE_PARAMETERS = {
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
}
_KEPT_HEADERS = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "if-match",
    "if-none-match",
    "range",
}
_TRANSIENT_HEADERS = {"x-amz-date", "x-amz-security-token", "x-amz-user-agent"}
RECORD_MARGIN_BYTES = 16 * 1024
_VERSION = "x-amz-version-id"
_WRITTEN = "last-modified"
"""Two headers in the record of a write of an object: its version and its time.

The client did not send them.
"""
_CORS = "access-control-"
_STORED_HEADERS = ("cache-control", "content-", "expires", "x-amz-meta-", "x-amz-storage-class")

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A reply of the emulated AWS."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return 200 <= self.status < 300


class NotRepeatable(Exception):
    """A request in the journal fails, though it succeeded before."""

    def __init__(self, number: int, request: Request, answer: Answer) -> None:
        where = f"request {number} of the journal" if number else "a write of rows in the journal"
        super().__init__(
            f"{where} ({request.method} {request.target}) cannot be repeated: "
            f"{answer.status} {answer.body[:200].decode(errors='replace')}"
        )


class Effect(Enum):
    """The effect of a request on the state."""

    READ = "reads"
    CONTENTS = "writes rows or objects"
    STRUCTURE = "changes tables or buckets, or something else than their current contents"


def admitted(request: Request) -> Request | Answer:
    """The request to execute and to keep, for a request whose signature was checked; or a refusal.

    The signature is removed: a request that is replayed later must not contain a secret or an
    expiry.
    """
    path, _, query = request.target.partition("?")
    parameters = parse_qsl(query, keep_blank_values=True)
    if any(name in _SIGNATURE_PARAMETERS for name, _ in parameters):
        query = urlencode(
            [pair for pair in parameters if pair[0] not in _SIGNATURE_PARAMETERS], quote_via=quote
        )
    headers = {
        name: value
        for name, value in request.headers.items()
        if name in _KEPT_HEADERS or (name.startswith("x-amz-") and name not in _TRANSIENT_HEADERS)
    }
    if request.method == "PUT" and headers.get("content-type", "").startswith(_FORMS):
        headers["content-type"] = "binary/octet-stream"
    if operation(request) == "BatchWriteItem":
        items = sum(len(writes) for writes in json.loads(request.body)["RequestItems"].values())
        if items > BATCH_WRITE_ITEMS:
            return refusal(
                request,
                400,
                "ValidationException",
                f"{items} items are too many for one BatchWriteItem",
            )
    return Request(request.method, f"{path}?{query}" if query else path, headers, request.body)


def effect(request: Request) -> Effect:
    """The effect of an admitted request, if it succeeds."""
    name = operation(request)
    if name:
        if name in ROW_WRITES | _BATCH_WRITES:
            return Effect.CONTENTS
        return Effect.READ if name.startswith(_READS) else Effect.STRUCTURE
    if request.method in ("GET", "HEAD"):
        return Effect.READ
    path, _, query = request.target.partition("?")
    parameters = parse_qsl(query, keep_blank_values=True)
    named = {name for name, _ in parameters if not name.lower().startswith("x-")}
    if request.method == "POST":
        return Effect.CONTENTS if named == {"delete"} else Effect.STRUCTURE
    # A subresource (acl, tagging, a part of a multipart upload, one version) does not belong to the
    # current contents.
    is_object = "/" in path.strip("/") and not named
    return Effect.CONTENTS if is_object else Effect.STRUCTURE


def written_table(request: Request) -> str | None:
    """The table of a write of one row. None for any other request."""
    if operation(request) not in ROW_WRITES:
        return None
    name: str = json.loads(request.body)["TableName"]
    return name


def refusal(request: Request, status: int, code: str, message: str) -> Answer:
    """An error in the form that the request's service uses."""
    if operation(request):
        body = json.dumps({"__type": code, "message": message})
        return Answer(status, [("Content-Type", "application/x-amz-json-1.0")], body.encode())
    body = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    return Answer(status, [("Content-Type", "application/xml")], body.encode())


class Emulator:
    """One DynamoDB and one S3, empty at first, apart from those of other emulators in the process.

    Apart, because moto's state is global: each emulator is an AWS account of its own. Bucket names
    are shared by all accounts, as on AWS.
    """

    _accounts = itertools.count(1)

    def __init__(self) -> None:
        self._account = f"{next(self._accounts):012}"
        patch_moto()

    def close(self) -> None:
        """Drop all data."""
        for bucket in self._buckets().values():
            for key in bucket.keys.values():
                if isinstance(key, FakeKey):
                    key.dispose()
            s3_backends.bucket_accounts.pop(bucket.name, None)
        for backends in (dynamodb_backends, s3_backends, _ssm_backends()):
            backends.pop(self._account, None)

    def call(self, request: Request) -> Answer:
        """Execute an admitted request. A failure of moto is logged and answered with 500."""
        if "x-amz-copy-source-if-match" in request.headers and not self._source_matches(request):
            return refusal(
                request, 412, "PreconditionFailed", "The copy source has another entity tag"
            )
        application = _application(signatures.service(request))
        try:
            chunks, status, headers = run_wsgi_app(
                application, self._environ(request), buffered=True
            )
            sent = [
                (name, value)
                for name, value in headers.to_wsgi_list()
                if not name.lower().startswith(_CORS)
            ]
            return Answer(int(status.split()[0]), sent, b"".join(chunks))
        except Exception:
            log.exception(
                "%s %s %s failed", request.method, request.target, operation(request) or ""
            )
            return refusal(request, 500, "InternalError", "The emulated AWS failed: see its log")

    def size_bytes(self, request: Request) -> int:
        """An estimate of the size of this write's record.

        That space is reserved before the write.
        """
        # Twice the body and a margin: the row that an update writes is larger than the request.
        size_bytes = 2 * len(request.body) + RECORD_MARGIN_BYTES
        source = request.headers.get("x-amz-copy-source")
        if source:
            found = self.call(Request("HEAD", "/" + source.lstrip("/"), {}, b""))
            size_bytes += int(dict(found.headers).get("Content-Length", 0))
        return size_bytes

    def repeatable(self, request: Request, without_tables: frozenset[str]) -> Request | None:
        """The record of a write that was executed: its result, which does not depend on the state
        before.

        For rows, their new contents. For a copy, the object, since its source may be an old
        version. The record of an object has its version, to which a later request may refer, and
        its time. None if only rows of `without_tables` were written.
        """
        if operation(request):
            return images(request, self._tables(), without_tables)
        if request.method == "POST":
            return request
        target = request.target.partition("?")[0]
        kept = self._object(target) if "x-amz-copy-source" in request.headers else request
        return self._with_version(kept, self._newest(target))

    def replay(self, requests: Iterable[Request]) -> None:
        """Execute the requests of the journal, in order. Raises NotRepeatable.

        Only the last write of each row is executed, so the time depends on the amount of data, and
        not on the number of writes.
        """
        latest = Latest(self._tables())
        for number, request in enumerate(requests, 1):
            if latest.add(request):
                continue
            # A record of rows in the format of earlier versions depends on the rows before it.
            if operation(request):
                self._replay_rows(latest, number)
            answer = self._repeat(request)
            if not answer.ok:
                raise NotRepeatable(number, request, answer)
        self._replay_rows(latest, 0)

    def _replay_rows(self, latest: Latest, number: int) -> None:
        for request in latest.taken():
            answer = self.call(request)
            if not answer.ok:
                raise NotRepeatable(number, request, answer)

    def _repeat(self, request: Request) -> Answer:
        answer = self.call(request)
        newest = (
            self._newest(request.target.partition("?")[0]) if _VERSION in request.headers else None
        )
        if answer.ok and newest is not None:
            newest._version_id = request.headers[_VERSION]
            newest.last_modified = datetime.fromisoformat(request.headers[_WRITTEN])
        return answer

    def contents(self, without_tables: frozenset[str]) -> Iterator[Request]:
        """The requests that create all rows and objects in empty tables and buckets.

        Without the rows of `without_tables`, and without older versions of objects.
        """
        for name in self._tables().keys() - without_tables:
            rows = self._rows(name)
            for first in rows:
                group = [first, *itertools.islice(rows, BATCH_WRITE_ITEMS - 1)]
                yield batch({name: [{"PutRequest": {"Item": row}} for row in group]})
        for name, bucket in self._buckets().items():
            for key, value in bucket.keys.items():
                if isinstance(value, FakeKey):
                    yield self._with_version(self._object(f"/{name}/{quote(key)}"), value)

    def contents_requests(self, without_tables: frozenset[str]) -> int:
        """The number of requests of `contents`, without making them."""
        tables = [table for name, table in self._tables().items() if name not in without_tables]
        batches = sum(math.ceil(len(table) / BATCH_WRITE_ITEMS) for table in tables)
        keys = itertools.chain.from_iterable(
            bucket.keys.values() for bucket in self._buckets().values()
        )
        return batches + sum(isinstance(key, FakeKey) for key in keys)

    def _source_matches(self, request: Request) -> bool:
        source = "/" + request.headers["x-amz-copy-source"].lstrip("/")
        found = self.call(Request("HEAD", source, {}, b""))
        tag = dict(found.headers).get("ETag", "")
        return not found.ok or tag.strip('"') == request.headers[
            "x-amz-copy-source-if-match"
        ].strip('"')

    def _tables(self) -> dict[str, Table]:
        return dynamodb_backends[self._account][_REGION].tables

    def _buckets(self) -> dict[str, Any]:
        return s3_backends[self._account][_PARTITION].buckets

    def _rows(self, table: str) -> Iterator[dict[str, Any]]:
        scan: dict[str, Any] = {"TableName": table}
        while True:
            page = json.loads(self._must(dynamodb_request("Scan", scan)).body)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            scan["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _object(self, target: str) -> Request:
        found = self._must(Request("GET", target, {}, b""))
        headers = {
            name.lower(): value
            for name, value in found.headers
            if name.lower().startswith(_STORED_HEADERS)
        }
        headers.pop("content-length", None)
        return Request("PUT", target, headers, found.body)

    def _newest(self, target: str) -> Any:
        bucket, _, key = unquote(target).lstrip("/").partition("/")
        return self._buckets()[bucket].keys.get(key)

    def _with_version(self, request: Request, newest: Any) -> Request:
        if newest is None:
            return request
        version = {_VERSION: newest.version_id, _WRITTEN: newest.last_modified.isoformat()}
        return request._replace(headers=request.headers | version)

    def _must(self, request: Request) -> Answer:
        answer = self.call(request)
        if not answer.ok:
            raise RuntimeError(
                f"{request.method} {request.target}: {answer.status} {answer.body[:200]!r}"
            )
        return answer

    def _environ(self, request: Request) -> dict[str, Any]:
        path, _, query = request.target.partition("?")
        environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "RAW_URI": request.target,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(request.body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_AUTHORIZATION": _SIGNED,
            "HTTP_X_MOTO_ACCOUNT_ID": self._account,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in request.headers.items():
            environ[
                (
                    "CONTENT_TYPE"
                    if name == "content-type"
                    else f"HTTP_{name.upper().replace('-', '_')}"
                )
            ] = value
        return environ


@functools.cache
def _application(service: signatures.Service) -> Flask:
    """moto's WSGI application for a service. It is loaded by the first request: that of SSM takes
    most of a second."""
    return create_backend_app(service)


def _ssm_backends() -> Any:
    """moto's parameters by account. Empty if no request to SSM was made."""
    module = sys.modules.get("moto.ssm.models")
    return module.ssm_backends if module else {}
