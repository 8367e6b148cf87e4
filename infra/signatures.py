"""AWS Signature Version 4 of requests to the embedded AWS, checked with botocore's own signer.

    claim = read(head, host, key, now)    before the body is read: cheap, and stops unsigned uploads
    claim.check(body, key)                after the body is read: the signature itself

Two forms are accepted: the `Authorization` header of the AWS clients, and the query of a presigned
URL. Both calls raise `Refused`. A request with an `Origin` comes from a web page and is refused, as
is a request for another host: the embedded AWS is for the processes of one user, never for a
browser.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlencode

from botocore.auth import UNSIGNED_PAYLOAD, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from infra.aws_request import Request

ALGORITHM = "AWS4-HMAC-SHA256"
CLOCK_SKEW = timedelta(minutes=15)
"""The difference between the clocks of client and server that AWS allows."""
EXPIRES_SECONDS = 7 * 24 * 3600
"""The longest validity of a presigned URL that AWS allows."""
UNSIGNED_BODY_BYTES = 16 * 1024 * 1024
"""DynamoDB's limit of a request.

The body of such a request is read before its signature is checked.
"""

_TARGET = re.compile(r"/[!\"$-~]*")
"""Path and query in printable ASCII. Without `#`: botocore would end the URL there."""
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<credential>[^, ]+), ?SignedHeaders=(?P<headers>[^, ]+),"
    r" ?Signature=(?P<signature>\S+)"
)


Service = Literal["dynamodb", "s3", "ssm"]


class AccessKey(NamedTuple):
    """The credentials that requests must be signed with."""

    id: str
    secret: str

    @classmethod
    def of_environment(cls) -> Self:
        """The access key that the AWS clients of this process sign with.

        Raises KeyError if it is not set.
        """
        return cls(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])


class Refused(Exception):
    """The request is not executed. `code` is one of AWS's error codes."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Claim(NamedTuple):
    """The signature of a request as the client sent it, not yet checked."""

    head: Request
    """The request without its body."""
    timestamp: str
    region: str
    service: str
    signed_headers: frozenset[str]
    signature: str
    is_presigned: bool

    @property
    def body_limit_bytes(self) -> int | None:
        """The maximum number of bytes to read before `check`.

        None for S3, whose bodies have no limit here.
        """
        if self.service == "s3":
            return None
        return UNSIGNED_BODY_BYTES

    def check(self, body: bytes, key: AccessKey) -> None:
        """Raise Refused unless this key signed exactly this request."""
        declared = self.head.headers.get("x-amz-content-sha256")
        is_open = declared is None or (self.is_presigned and declared == UNSIGNED_PAYLOAD)
        if not is_open and declared != hashlib.sha256(body).hexdigest():
            raise Refused("XAmzContentSHA256Mismatch", "The body is not the one that was signed")
        if not hmac.compare_digest(self._expected(body, key).encode(), self.signature.encode()):
            raise Refused("SignatureDoesNotMatch", "The signature does not match the request")

    def _expected(self, body: bytes, key: AccessKey) -> str:
        headers = {
            name: value for name, value in self.head.headers.items() if name in self.signed_headers
        }
        path, _, query = self.head.target.partition("?")
        url = f"http://{headers['host']}{path}?{_signed_query(query)}"
        request = AWSRequest(self.head.method, url, headers, body)
        request.context["timestamp"] = self.timestamp
        signer = self._signer(ReadOnlyCredentials(key.id, key.secret, None))
        canonical = signer.canonical_request(request)
        expected: str = signer.signature(signer.string_to_sign(request, canonical), request)
        return expected

    def _signer(self, credentials: ReadOnlyCredentials) -> SigV4Auth:
        if self.service != "s3":
            return SigV4Auth(credentials, self.service, self.region)
        if self.is_presigned:
            return S3SigV4QueryAuth(credentials, self.service, self.region)
        return S3SigV4Auth(credentials, self.service, self.region)


def _signed_query(query: str) -> str:
    """The query without the signature, encoded as AWS does: a client may send `/` where `%2F` was
    signed."""
    pairs = parse_qsl(query, keep_blank_values=True)
    signed = [(name, value) for name, value in pairs if name != "X-Amz-Signature"]
    return urlencode(signed, safe="", quote_via=quote)


def read(head: Request, host: str, key: AccessKey, now: datetime) -> Claim:
    """The claim of a request to `host` (name and port).

    All but the signature is checked. Raises Refused.
    """
    if "origin" in head.headers:
        raise Refused("AccessDenied", "This AWS does not answer web pages")
    if head.headers.get("host") != host:
        raise Refused("AccessDenied", f"This AWS answers only to the name {host}")
    if not _TARGET.fullmatch(head.target):
        raise Refused("InvalidURI", "The request's target is not percent-encoded")
    authorization = head.headers.get("authorization")
    if authorization is not None:
        claim, key_id = _from_header(head, authorization, now)
    else:
        claim, key_id = _from_query(head, now)
    if not hmac.compare_digest(key_id.encode(), key.id.encode()):
        raise Refused("InvalidAccessKeyId", "The access key is not that of this AWS")
    _check_headers(claim)
    return claim


def _from_header(head: Request, authorization: str, now: datetime) -> tuple[Claim, str]:
    found = _AUTHORIZATION.fullmatch(authorization)
    if found is None:
        raise Refused("AccessDenied", f"The Authorization header is not of {ALGORITHM}")
    timestamp = head.headers.get("x-amz-date", "")
    if abs(now - _time(timestamp)) > CLOCK_SKEW:
        raise Refused("RequestTimeTooSkewed", "The request was signed at another time")
    return _claim(head, found.groupdict(), timestamp, is_presigned=False)


def _from_query(head: Request, now: datetime) -> tuple[Claim, str]:
    query = dict(parse_qsl(head.target.partition("?")[2], keep_blank_values=True))
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise Refused("AccessDenied", "The request is not signed")
    try:
        timestamp = query["X-Amz-Date"]
        expires_seconds = int(query["X-Amz-Expires"])
        parts = {
            "credential": query["X-Amz-Credential"],
            "headers": query["X-Amz-SignedHeaders"],
            "signature": query["X-Amz-Signature"],
        }
    except (KeyError, ValueError):
        raise Refused(
            "AuthorizationQueryParametersError", "The presigned URL is not complete"
        ) from None
    if not 0 < expires_seconds <= EXPIRES_SECONDS:
        raise Refused(
            "AuthorizationQueryParametersError",
            f"X-Amz-Expires must be from 1 to {EXPIRES_SECONDS}",
        )
    signed_at = _time(timestamp)
    if now > signed_at + timedelta(seconds=expires_seconds):
        raise Refused("AccessDenied", "Request has expired")
    if now < signed_at - CLOCK_SKEW:
        raise Refused("AccessDenied", "Request is not valid yet")
    return _claim(head, parts, timestamp, is_presigned=True)


def _claim(
    head: Request, parts: Mapping[str, str], timestamp: str, *, is_presigned: bool
) -> tuple[Claim, str]:
    """The claim, and the id of the access key that it names."""
    scope = parts["credential"].split("/")
    if len(scope) != 5 or scope[1] != timestamp[:8] or scope[4] != "aws4_request":
        raise Refused("AccessDenied", "The credential is not key/date/region/service/aws4_request")
    key_id, _, region, service, _ = scope
    headers = frozenset(parts["headers"].split(";"))
    return (
        Claim(head, timestamp, region, service, headers, parts["signature"], is_presigned),
        key_id,
    )


def _check_headers(claim: Claim) -> None:
    """Headers that change the meaning of a request must be signed: the bearer of a presigned URL
    may add others."""
    headers = claim.head.headers
    if "host" not in claim.signed_headers or not claim.signed_headers <= headers.keys():
        raise Refused("AccessDenied", "Signed headers are absent")
    unsigned = [
        name for name in headers if name.startswith("x-amz-") and name not in claim.signed_headers
    ]
    if unsigned:
        raise Refused(
            "AccessDenied",
            f"There were headers present in the request which were not signed: {unsigned[0]}",
        )
    if claim.service != service(claim.head):
        raise Refused(
            "AccessDenied",
            f"The request was signed for {claim.service}, and is for {service(claim.head)}",
        )


def service(request: Request) -> Service:
    """The service that a request is for: `dynamodb`, `s3` or `ssm`."""
    target = request.headers.get("x-amz-target", "")
    if target.startswith("AmazonSSM."):
        return "ssm"
    return "dynamodb" if target else "s3"


def _time(timestamp: str) -> datetime:
    try:
        return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("AccessDenied", "The request has no X-Amz-Date") from None
