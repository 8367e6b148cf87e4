"""A starting `refs` starts the functions that the client asks next."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from functions import push
from shared.engines import wake
from tests import client
from tests.cloud_calls import CloudCall, intercepted

CREDENTIALS = Credentials("AKIDEXAMPLE", "secret-of-the-role", "session-of-the-role")


@dataclass
class LambdaApi:
    """A server in the place of the Lambda API."""

    url: str = ""
    status: int = 202
    requests: list[AWSRequest] = field(default_factory=list)


@pytest.fixture
def lambda_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaApi]:
    """The server, and the environment of a function that uses it."""
    api = LambdaApi()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            url = f"http://{self.headers['Host']}{self.path}"
            api.requests.append(AWSRequest("POST", url, dict(self.headers.items()), body))
            self.send_response(api.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", api.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(CREDENTIALS.access_key))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(CREDENTIALS.secret_key))
        monkeypatch.setenv("AWS_SESSION_TOKEN", str(CREDENTIALS.token))
        yield api
        server.shutdown()


def wake_others() -> None:
    """Wake, and wait for the thread."""
    before = set(threading.enumerate())
    wake.others()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)


def is_signed(request: AWSRequest) -> bool:
    """Whether the signature in a request fits what arrived."""
    _, _, claimed = request.headers["Authorization"].rpartition("Signature=")
    names = request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    signed = {name: request.headers[name] for name in names.split(";")}
    again = AWSRequest("POST", request.url, signed, request.body)
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    signer = SigV4Auth(CREDENTIALS, "lambda", "eu-west-1")
    text = signer.string_to_sign(again, signer.canonical_request(again))
    return bool(signer.signature(text, again) == claimed)


def test_each_named_function_is_invoked_once_in_this_order(
    lambda_api: LambdaApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIERIA_WAKE", "hub-FetchFunction-1 hub-PushFunction-2")
    wake_others()
    assert [urlsplit(str(request.url)).path for request in lambda_api.requests] == [
        "/2015-03-31/functions/hub-FetchFunction-1/invocations",
        "/2015-03-31/functions/hub-PushFunction-2/invocations",
    ]
    for request in lambda_api.requests:
        assert request.headers["X-Amz-Invocation-Type"] == "Event"
        assert request.headers["X-Amz-Security-Token"] == CREDENTIALS.token
        assert json.loads(request.body) == wake.EVENT
        assert is_signed(request)


def test_a_function_without_names_invokes_nothing(lambda_api: LambdaApi) -> None:
    wake_others()
    assert lambda_api.requests == []


def test_a_refused_invocation_is_logged_and_the_next_one_is_sent(
    lambda_api: LambdaApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lambda_api.status = 403
    monkeypatch.setenv("PIERIA_WAKE", "one two")
    wake_others()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("functions not woken", "status 403")
    ] * 2


def test_an_unreachable_lambda_api_is_logged_without_the_credentials(
    lambda_api: LambdaApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")
    monkeypatch.setenv("PIERIA_WAKE", "one two")
    wake_others()
    printed = capsys.readouterr().err
    assert json.loads(printed)["event"] == "functions not woken"
    assert "of-the-role" not in printed


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("eu-west-1", "https://lambda.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://lambda.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_lambda_api_is_that_of_the_region(region: str, endpoint: str) -> None:
    assert wake.Place.of({"AWS_REGION": region}).endpoint == endpoint


def test_refs_wakes_the_others_before_its_slow_imports() -> None:
    program = """\
import sys
from shared.engines import wake
wake.others = lambda: print(sorted({"fastapi", "pydantic", "aioboto3"} & sys.modules.keys()))
import functions.refs
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_woken_function_reads_one_row_and_the_first_request_finds_the_connection() -> None:
    calls: list[str] = []

    async def note(call: CloudCall) -> Any:
        calls.append(call.name)
        return await call.send()

    with intercepted(note):
        assert push.handler(wake.EVENT, None) == {"statusCode": 204}
    assert calls == ["dynamodb.BatchGetItem"]


def test_a_woken_function_does_not_fail_in_an_outage(
    configured: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(call: CloudCall) -> Any:
        raise ConnectionError

    with intercepted(fail):
        assert push.handler(wake.EVENT, None) == {"statusCode": 204}
    assert capsys.readouterr().err == ""


def test_a_request_with_the_wake_up_as_its_body_is_a_request(owner: str) -> None:
    answer = client.call("push", owner, "song", wake.EVENT, by=owner)
    assert answer.status == 422
