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
    takes a web application for each call of DynamoDB      calls its methods (`infra.moto_dynamodb`)
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
import sys
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode
from xml.sax.saxutils import escape

from flask import Flask
from moto.dynamodb.models import dynamodb_backends
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import FakeKey, s3_backends
from werkzeug.test import run_wsgi_app

from infra import moto_dynamodb, signatures
from infra.aws_request import Request
from infra.moto_patches import patch_moto

_REGION = "us-east-1"
_PARTITION = "aws"
_SIGNED = f"AWS4-HMAC-SHA256 Credential=local/20260101/{_REGION}/s3/aws4_request"
_JSON = "application/x-amz-json-1.0"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
BATCH_WRITE_ITEMS = 25
"""DynamoDB's limit for one BatchWriteItem."""
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
_CORS = "access-control-"

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


def admitted(request: Request) -> Request | Answer:
    """The request to execute, for a request whose signature was checked; or a refusal.

    The signature is removed, since moto would check it again.
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
    if request.operation == "BatchWriteItem":
        items = sum(len(writes) for writes in json.loads(request.body)["RequestItems"].values())
        if items > BATCH_WRITE_ITEMS:
            return refusal(
                request,
                400,
                "ValidationException",
                f"{items} items are too many for one BatchWriteItem",
            )
    return Request(request.method, f"{path}?{query}" if query else path, headers, request.body)


def refusal(request: Request, status: int, code: str, message: str) -> Answer:
    """An error in the form that the request's service uses."""
    if request.operation:
        body = json.dumps({"__type": code, "message": message})
        return Answer(status, [("Content-Type", _JSON)], body.encode())
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
        try:
            if request.operation in moto_dynamodb.METHODS:
                body = moto_dynamodb.execute(
                    request.operation, self._account, _REGION, request.body
                )
                if body is not None:
                    return Answer(200, [("Content-Type", _JSON)], body)
            application = _application(signatures.service(request))
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
            log.exception("%s %s %s failed", request.method, request.target, request.operation)
            return refusal(request, 500, "InternalError", "The emulated AWS failed: see its log")

    def _source_matches(self, request: Request) -> bool:
        source = "/" + request.headers["x-amz-copy-source"].lstrip("/")
        found = self.call(Request("HEAD", source, {}, b""))
        tag = dict(found.headers).get("ETag", "")
        return not found.ok or tag.strip('"') == request.headers[
            "x-amz-copy-source-if-match"
        ].strip('"')

    def _buckets(self) -> dict[str, Any]:
        return s3_backends[self._account][_PARTITION].buckets

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
