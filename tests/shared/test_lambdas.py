"""A Lambda function and the events that it is invoked with: those of an HTTP API, and foreign
ones.
"""

import base64
import json
from typing import Any

import pytest

from functions.health import handler
from tests import client
from tests.client import MSGPACK

GOOD = client.event("GET", "/health")


def changed(event: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The event with another value at a place like `requestContext.domainName`; without it if the
    value is `...`.
    """
    name, _, rest = place.partition(".")
    if rest:
        return {**event, name: changed(event[name], rest, value)}
    return {key: found for key, found in event.items() if key != name} | (
        {} if value is ... else {name: value}
    )


REST = {
    "resource": "/health",
    "path": "/health",
    "httpMethod": "GET",
    "headers": {"Host": "hub.example"},
    "multiValueHeaders": {"Host": ["hub.example"]},
    "queryStringParameters": None,
    "requestContext": {
        "resourcePath": "/health",
        "httpMethod": "GET",
        "identity": {"sourceIp": "203.0.113.1"},
    },
    "body": None,
    "isBase64Encoded": False,
}
ALB = {
    "requestContext": {
        "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/x/1"}
    },
    "httpMethod": "GET",
    "path": "/health",
    "queryStringParameters": {},
    "headers": {"host": "hub.example"},
    "body": "",
    "isBase64Encoded": False,
}
SCHEDULE = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-01-01T00:00:00Z",
    "resources": ["arn:aws:events:eu-west-1:123456789012:rule/warm"],
    "detail": {},
}
FOREIGN = {
    "the console's test event": {"key1": "value1", "key2": "value2", "key3": "value3"},
    "a schedule": SCHEDULE,
    "a REST API": REST,
    "an HTTP API with payload format 1.0": REST | {"version": "1.0"},
    "a load balancer": ALB,
    "an empty object": {},
    "nothing": None,
    "a list": [1],
    "a text": "warm",
    "another version": changed(GOOD, "version", "3.0"),
    "no context": changed(GOOD, "requestContext", ...),
    "no HTTP in the context": changed(GOOD, "requestContext.http", None),
    "no method": changed(GOOD, "requestContext.http.method", ...),
    "no domain name": changed(GOOD, "requestContext.domainName", None),
    "no path": changed(GOOD, "rawPath", None),
    "no headers": changed(GOOD, "headers", None),
    "a header that is a list": changed(GOOD, "headers", {"host": ["hub.example"]}),
    "a body that is no text": changed(GOOD, "body", {"want": []}),
    "a body that is not base64": changed(GOOD, "body", "no base64!"),
    "a body that is cut off": changed(GOOD, "body", "YWJ"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_event_is_refused_and_logged_in_one_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = handler(FOREIGN[name], None)
    assert json.loads(json.dumps(reply)) == reply
    assert reply.keys() == {"statusCode", "headers", "body", "isBase64Encoded"}
    assert (reply["statusCode"], reply["isBase64Encoded"]) == (400, False)
    assert reply["headers"] == {"content-type": "application/json"}
    told = json.loads(reply["body"])
    assert told.keys() == {"message", "detail", "code"} and told["code"] == "bad_request"
    assert "payload format 2.0" in told["message"] and len(reply["body"]) < 400 + len(
        told["detail"]
    )
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["event"], line["level"]) == ("foreign event", "warning")
    assert "payload format 2.0" in line["expected"] and line["difference"] in told["message"]


def test_nothing_of_a_foreign_event_is_logged_or_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "secret-of-somebody"
    event = changed(GOOD, "headers", {"authorization": [secret]}) | {"body": secret, secret: secret}
    assert secret not in json.dumps(handler(event, None)) + capsys.readouterr().err


@pytest.mark.parametrize(
    "event",
    [
        GOOD,
        changed(GOOD, "body", ...),
        changed(GOOD, "body", None),
        changed(GOOD, "isBase64Encoded", ...) | {"body": ""},
        changed(GOOD, "rawQueryString", ...),
    ],
    ids=["whole", "without a body", "with an empty body", "with a body of text", "without a query"],
)
def test_an_event_of_an_HTTP_API_is_a_request(event: dict[str, Any]) -> None:
    assert handler(event, None)["statusCode"] == 200


def test_a_body_of_text_and_one_in_base64_are_the_same_request() -> None:
    body = json.dumps({"want": ["häh"]})
    event = client.event("POST", "/nobody/song/fetch", headers={"content-type": "application/json"})
    sent = [
        event | {"body": body, "isBase64Encoded": False},
        event | {"body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True},
    ]
    answers = [client.invoke("fetch", one) for one in sent]
    assert [answer.code for answer in answers] == ["repo_not_found"] * 2


def test_a_reply_in_msgpack_is_base64() -> None:
    reply = handler(client.event("GET", "/health", headers={"accept": MSGPACK}), None)
    assert base64.b64decode(reply["body"]) == b"\x81\xa6status\xa2ok" and reply["isBase64Encoded"]
