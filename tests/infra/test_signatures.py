"""The embedded AWS over plain HTTP: only requests that its access key has signed, for its own name,
are carried out.
"""

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from infra import signatures, stack
from infra.embedded_aws import EmbeddedAws

NAMES = {"HubTable": "signed-rows", "Bucket": "signed-bytes"}
BUCKET = NAMES["Bucket"]
SECRET = b"bytes of a private repository"


class Answer(NamedTuple):
    """The bytes that a socket received."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedAws]:
    """One with an object in it."""
    with EmbeddedAws() as running:
        stack.create(running.url, NAMES)
        client(running).put_object(Bucket=BUCKET, Key="private", Body=SECRET)
        yield running
        kept = client(running).get_object(Bucket=BUCKET, Key="private")["Body"].read()
        assert kept == SECRET, "a refused request has no effect"


def client(own: EmbeddedAws) -> Any:
    """An S3 client with the right key."""
    return boto3.client(
        "s3",
        endpoint_url=own.url,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def presigned(
    own: EmbeddedAws, key: str = "private", method: str = "get_object", seconds: int = 60
) -> str:
    """Path and query of a presigned URL."""
    parameters = {"Bucket": BUCKET, "Key": key}
    url: str = client(own).generate_presigned_url(method, Params=parameters, ExpiresIn=seconds)
    return url.removeprefix(own.url)


def send(
    own: EmbeddedAws, method: str, target: str, headers: dict[str, str], body: bytes = b""
) -> Answer:
    """The answer to exactly this request; `Host` is right unless it is given."""
    connection = http.client.HTTPConnection(own.host, timeout=10)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in ({"Host": own.host, "Content-Length": str(len(body))} | headers).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    reply = connection.getresponse()
    answer = Answer(
        reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
    )
    connection.close()
    return answer


def signed(
    own: EmbeddedAws,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    key: signatures.AccessKey | None = None,
    service: str = "s3",
    extra: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a request, signed as AWS clients sign it."""
    request = AWSRequest(method, own.url + target, extra or {}, body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    access_key = key or own.key
    signer(Credentials(access_key.id, access_key.secret), service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def at(monkeypatch: pytest.MonkeyPatch, seconds_ago: int) -> None:
    """Sign at another time."""
    moment = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=seconds_ago)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)


def refused(answer: Answer, code: str) -> bool:
    """Whether it is a refusal with this code and nothing of the object."""
    return answer.status == 403 and code.encode() in answer.body and SECRET not in answer.body


def test_a_signed_request_is_carried_out(own: EmbeddedAws) -> None:
    target = f"/{BUCKET}/private"
    assert send(own, "GET", target, signed(own, "GET", target)).body == SECRET
    assert send(own, "GET", presigned(own), {}).body == SECRET


@pytest.mark.parametrize("target", [f"/{BUCKET}/private", f"/{BUCKET}?list-type=2", "/"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        (
            "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host,"
            " Signature=00"
        ),
        "AWS4-HMAC-SHA256 ",
        "Bearer x",
    ],
)
def test_a_request_without_a_true_signature_is_refused(
    own: EmbeddedAws, target: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    assert refused(send(own, "GET", target, headers), "")


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature=s", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=s"]
)
def test_any_signature_in_the_query_is_not_enough(own: EmbeddedAws, query: str) -> None:
    assert refused(send(own, "GET", f"/{BUCKET}/private?{query}", {}), "")
    assert refused(send(own, "POST", f"/{BUCKET}?delete&{query}", {}, b"<Delete/>"), "")


def test_another_key_is_refused_also_with_the_right_name(own: EmbeddedAws) -> None:
    target = f"/{BUCKET}/private"
    other = signatures.AccessKey("other", own.key.secret)
    assert refused(
        send(own, "GET", target, signed(own, "GET", target, key=other)), "InvalidAccessKeyId"
    )
    other = signatures.AccessKey(own.key.id, "guessed")
    assert refused(
        send(own, "GET", target, signed(own, "GET", target, key=other)), "SignatureDoesNotMatch"
    )


@pytest.mark.parametrize("changed", ["method", "key", "expiry", "signature"])
def test_a_presigned_url_is_valid_only_for_the_signed_request(
    own: EmbeddedAws, changed: str
) -> None:
    target = presigned(own)
    method = "GET"
    if changed == "method":
        method = "DELETE"
    elif changed == "key":
        target = target.replace("/private?", "/other?")
    elif changed == "expiry":
        target = target.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    else:
        target = target[:-1] + ("0" if target[-1] != "0" else "1")
    assert refused(send(own, method, target, {}), "SignatureDoesNotMatch")


def test_the_bearer_of_an_upload_url_cannot_ask_for_something_else_by_headers(
    own: EmbeddedAws,
) -> None:
    target = presigned(own, "uploads/x", "put_object")
    copy = {"x-amz-copy-source": f"/{BUCKET}/private"}
    assert refused(send(own, "PUT", target, copy), "not signed")
    scan = {"X-Amz-Target": "DynamoDB_20120810.Scan"}
    asked = json.dumps({"TableName": NAMES["HubTable"]}).encode()
    assert refused(send(own, "PUT", target, scan, asked), "not signed")
    assert (
        send(
            own, "PUT", target, {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b"
        ).status
        == 200
    )


def test_a_signature_for_one_service_is_not_good_for_another(own: EmbeddedAws) -> None:
    asked = json.dumps({"TableName": NAMES["HubTable"]}).encode()
    extra = {"X-Amz-Target": "DynamoDB_20120810.Scan", "Content-Type": "application/x-amz-json-1.0"}
    right = signed(own, "POST", "/", asked, service="dynamodb", extra=extra)
    assert json.loads(send(own, "POST", "/", right, asked).body)["Count"] == 0
    wrong = signed(own, "POST", "/", asked, service="s3", extra=extra)
    assert refused(send(own, "POST", "/", wrong, asked), "AccessDenied")


def test_a_body_that_was_changed_on_the_way_is_refused(own: EmbeddedAws) -> None:
    target = f"/{BUCKET}/changed"
    headers = signed(own, "PUT", target, b"the body")
    assert refused(send(own, "PUT", target, headers, b"another!"), "XAmzContentSHA256Mismatch")
    asked, other = (
        json.dumps({"TableName": name}).encode() for name in ("signed-rows", "signed-rowz")
    )
    extra = {"X-Amz-Target": "DynamoDB_20120810.Scan"}
    headers = signed(own, "POST", "/", asked, service="dynamodb", extra=extra)
    assert refused(send(own, "POST", "/", headers, other), "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("seconds_ago", "good"), [(50, True), (70, False), (-600, True), (-1000, False)]
)
def test_a_presigned_url_is_good_from_its_date_until_it_expires(
    own: EmbeddedAws, monkeypatch: pytest.MonkeyPatch, seconds_ago: int, good: bool
) -> None:
    at(monkeypatch, seconds_ago)
    answer = send(own, "GET", presigned(own), {})
    assert answer.body == SECRET if good else refused(answer, "AccessDenied")


@pytest.mark.parametrize("seconds", ["0", "604801", "-1", "x", "9" * 30])
def test_an_expiry_that_is_none_is_refused(own: EmbeddedAws, seconds: str) -> None:
    target = presigned(own).replace("X-Amz-Expires=60", f"X-Amz-Expires={seconds}")
    assert refused(send(own, "GET", target, {}), "AuthorizationQueryParametersError")


@pytest.mark.parametrize(
    ("seconds_ago", "good"), [(800, True), (1000, False), (-800, True), (-1000, False)]
)
def test_a_signed_request_is_good_for_a_quarter_of_an_hour(
    own: EmbeddedAws, monkeypatch: pytest.MonkeyPatch, seconds_ago: int, good: bool
) -> None:
    at(monkeypatch, seconds_ago)
    target = f"/{BUCKET}/private"
    answer = send(own, "GET", target, signed(own, "GET", target))
    assert answer.body == SECRET if good else refused(answer, "RequestTimeTooSkewed")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost:{port}", "127.0.0.1", ""]
)
def test_a_foreign_host_is_refused_also_if_it_was_signed(own: EmbeddedAws, host: str) -> None:
    target = f"/{BUCKET}/private"
    named = {"Host": host.format(port=urlsplit(own.url).port)}
    assert refused(
        send(own, "GET", target, signed(own, "GET", target, extra=named) | named), "AccessDenied"
    )


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://{host}"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"])
def test_a_web_page_is_refused_and_no_answer_has_a_cors_header(
    own: EmbeddedAws, origin: str, method: str
) -> None:
    origin = origin.format(host=own.host)
    headers = signed(own, method, f"/{BUCKET}/private") | {
        "Origin": origin,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = send(own, method, f"/{BUCKET}/private", headers)
    assert answer.status >= 400 and SECRET not in answer.body
    assert not any(name.startswith("access-control-") for name in answer.headers)


def test_no_answer_to_a_signed_request_has_a_cors_header(own: EmbeddedAws) -> None:
    for method, target in (
        ("GET", f"/{BUCKET}/private"),
        ("GET", f"/{BUCKET}"),
        ("GET", f"/{BUCKET}/absent"),
    ):
        answer = send(own, method, target, signed(own, method, target))
        assert not any(name.startswith("access-control-") for name in answer.headers)


def test_the_large_body_of_a_stranger_is_dropped_and_the_refusal_arrives(own: EmbeddedAws) -> None:
    body = bytes(40 * 1024 * 1024)
    assert refused(send(own, "PUT", f"/{BUCKET}/large", {}, body), "not signed")


def test_a_request_with_a_signed_body_may_have_16_mib(own: EmbeddedAws) -> None:
    body = bytes(signatures.UNSIGNED_BODY_BYTES + 1)
    extra = {"X-Amz-Target": "DynamoDB_20120810.PutItem"}
    headers = signed(own, "POST", "/", body, service="dynamodb", extra=extra)
    assert refused(send(own, "POST", "/", headers, body), "16777216")


def test_a_target_that_two_parsers_read_differently_is_refused(own: EmbeddedAws) -> None:
    path, _, query = presigned(own).partition("?")
    for target in (
        f"{path}?{query}#/other",
        f"{path}#?{query}",
        f"http://{own.host}{path}?{query}",
    ):
        assert refused(send(own, "GET", target, {}), "InvalidURI")
