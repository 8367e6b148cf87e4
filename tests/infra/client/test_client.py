"""The client of the API: its repetitions, errors and pages, and the shapes of its values.

The hub is a server that replies with what a test states.
"""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

from infra.client import (
    Branch,
    Client,
    Conflict,
    DeletedRepository,
    Domain,
    Failed,
    Forbidden,
    Invalid,
    IssuedToken,
    Me,
    Member,
    Move,
    NewRepo,
    NewToken,
    NotFound,
    RateLimited,
    RepoChange,
    Repository,
    Token,
    Unauthorized,
    UnexpectedReply,
    Unreachable,
)

ROOT = Path(__file__).parent.parent.parent.parent
ME = {"handle": "ada", "token_id": "t", "scope": "write", "repo": None, "bearer": "human"}
HIDDEN = "the-secret-part"


@dataclass
class Reply:
    """A reply of the server. Status 0: it closes the connection without a reply."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0


@dataclass
class Script:
    """The replies of a server in their order, and the requests that it received."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture
def script() -> Iterator[Script]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.requests.append((self.command, self.path, json.loads(body) if body else None))
            reply = asked.replies.pop(0)
            if not reply.status:
                self.close_connection = True
                return
            threading.Event().wait(reply.delay_seconds)
            if isinstance(reply.body, bytes):
                content = reply.body
            else:
                content = b"" if reply.body is None else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        asked = Script(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield asked
        server.shutdown()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, in seconds. They take no time."""
    taken: list[float] = []
    monkeypatch.setattr("time.sleep", taken.append)
    return taken


@pytest.fixture
def client(script: Script, pauses: list[float]) -> Iterator[Client]:
    with Client(script.url, HIDDEN) as opened:
        yield opened


def refusal(status: int, code: str = "x", **headers: str) -> Reply:
    body = {"message": "what is wrong", "detail": "more", "code": code}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def get(client: Client) -> object:
    return client.me()


def put(client: Client) -> object:
    return client.set_member("ada", "song", "bob", "read")


def delete(client: Client) -> object:
    client.delete_repo("ada", "song")
    return None


def post(client: Client) -> object:
    return client.create_repo(NewRepo("song"))


def patch(client: Client) -> object:
    return client.change_repo("ada", "song", RepoChange(description="x"))


Call = Callable[[Client], object]


@pytest.mark.parametrize("status", [0, 502, 503, 504])
@pytest.mark.parametrize("call", [get, put, delete])
def test_a_request_that_may_run_twice_is_repeated_after_a_transient_failure(
    client: Client, script: Script, pauses: list[float], call: Call, status: int
) -> None:
    last = Reply(200, {**ME, "role": "read"})
    script.replies = [refusal(status), refusal(status), last]
    call(client)
    assert len(script.requests) == 3 and len(set(map(str, script.requests))) == 1
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1


@pytest.mark.parametrize("call", [post, patch])
def test_a_change_that_may_have_happened_is_not_repeated(
    client: Client, script: Script, call: Call
) -> None:
    script.replies = [refusal(503)]
    with pytest.raises(Failed):
        call(client)
    script.replies = [Reply(0)]
    with pytest.raises(Unreachable):
        call(client)
    assert len(script.requests) == 2


@pytest.mark.parametrize("call", [get, delete, post, patch])
def test_a_limited_request_is_repeated_when_the_hub_asks_for_it(
    client: Client, script: Script, pauses: list[float], call: Call
) -> None:
    script.replies = [refusal(429, Retry_After="7"), refusal(404, "repo_not_found")]
    if call is delete:
        client.delete_repo("ada", "song")
    else:
        with pytest.raises(NotFound):
            call(client)
    assert pauses == [7]


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "3600"}, {"Retry_After": "soon"}])
def test_a_limit_of_a_day_is_reported_at_once(
    client: Client, script: Script, headers: dict[str, str]
) -> None:
    script.replies = [refusal(429, **headers)]
    with pytest.raises(RateLimited) as limited:
        client.me()
    assert limited.value.retry_after_seconds == (3600 if "3600" in headers.values() else None)


def test_the_last_of_four_attempts_is_reported(
    client: Client, script: Script, pauses: list[float]
) -> None:
    script.replies = [refusal(503)] * 4
    with pytest.raises(Failed):
        client.me()
    assert len(pauses) == 3 and script.replies == []


def test_a_deletion_whose_reply_was_lost_has_succeeded(client: Client, script: Script) -> None:
    script.replies = [Reply(0), refusal(404, "repo_not_found")]
    client.delete_repo("ada", "song")
    script.replies = [refusal(404, "repo_not_found")]
    with pytest.raises(NotFound):
        client.delete_repo("ada", "song")


def test_a_hub_without_a_connection_is_tried_again_for_every_method(pauses: list[float]) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(Unreachable) as absent:
        client.create_repo(NewRepo("song"))
    assert len(pauses) == 3 and "http://127.0.0.1:1" in str(absent.value)


def test_a_hub_that_does_not_answer_in_time_is_reported(script: Script) -> None:
    script.replies = [Reply(delay_seconds=0.3)]
    client = Client(script.url, timeout_seconds=0.05)
    with client, pytest.raises(Unreachable, match="in time"):
        client.create_repo(NewRepo("song"))


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Invalid), (401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict),
     (413, Invalid), (422, Invalid), (500, Failed)],
)  # fmt: skip
def test_a_refusal_is_an_error_with_its_fields(
    client: Client, script: Script, status: int, error: type[Failed]
) -> None:
    script.replies = [refusal(status, "some_code")]
    with pytest.raises(error) as raised:
        client.me()
    refused = raised.value
    assert (refused.status, refused.code, refused.detail) == (status, "some_code", "more")
    assert str(refused) == refused.message == "what is wrong"


@pytest.mark.parametrize(
    "reply",
    [Reply(200, b"<html>"), Reply(404, b"<html>"), Reply(302, None, {"Location": "/login"}),
     Reply(200, {"handle": "ada"})],
)  # fmt: skip
def test_a_reply_of_another_server_is_reported(
    client: Client, script: Script, reply: Reply
) -> None:
    script.replies = [reply]
    with pytest.raises(UnexpectedReply, match="URL"):
        client.me()


def test_pages_are_requested_when_they_are_needed(client: Client, script: Script) -> None:
    entry = {"commit_id": "c", "generation": 1}
    first = [{"branch": "a", **entry}, {"branch": "b", **entry}]
    script.replies = [
        Reply(200, {"branches": first, "next_cursor": "=/&"}),
        Reply(200, {"branches": [{"branch": "c", **entry, "later": "field"}], "next_cursor": None}),
    ]
    branches = client.branches("ada", "song")
    assert script.requests == []
    assert next(branches) == Branch("a", "c", 1) and len(script.requests) == 1
    assert [one.branch for one in branches] == ["b", "c"]
    assert [path for _, path, _ in script.requests] == [
        "/api/v1/repos/ada/song/branches?limit=100",
        "/api/v1/repos/ada/song/branches?limit=100&cursor=%3D%2F%26",
    ]


def test_names_are_quoted_in_paths(client: Client, script: Script) -> None:
    script.replies = [refusal(404)]
    with pytest.raises(NotFound):
        client.repo("../ada", "a?b#c")
    assert script.requests[0][1] == "/api/v1/repos/..%2Fada/a%3Fb%23c"


def test_the_token_is_sent_and_is_not_shown(client: Client, script: Script) -> None:
    script.replies = [refusal(401)]
    with pytest.raises(Unauthorized) as refused:
        client.me()
    assert HIDDEN not in f"{refused.value!r} {refused.value} {client!r} {vars(client)}"
    issued = IssuedToken("t", "access", "read", None, "human", 1, 2, None, "ada", HIDDEN)
    assert HIDDEN not in repr(issued) and issued.token == HIDDEN


def test_a_proxy_of_the_environment_is_not_used_on_this_machine(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    script.replies = [Reply(200, ME)]
    with Client(script.url) as client:
        assert client.me().handle == "ada"


# ── Shapes ────────────────────────────────────────────────────────────────────────────────────────


def schema(name: str) -> set[str]:
    """The fields of a schema of the OpenAPI document."""
    document = json.loads((ROOT / "functions" / "openapi.json").read_text())
    return set(document["components"]["schemas"][name]["properties"])


@pytest.mark.parametrize(
    ("shape", "name"),
    [(Branch, "Branch"), (DeletedRepository, "DeletedRepository"), (Domain, "DomainRecord"),
     (IssuedToken, "IssuedToken"), (Me, "Me"), (Member, "Member"), (Move, "BranchMove"),
     (NewToken, "NewToken"), (RepoChange, "RepoChange"), (Repository, "Repository"),
     (Token, "Token")],
)  # fmt: skip
def test_a_value_has_the_fields_of_the_api(shape: Any, name: str) -> None:
    assert {one.name for one in fields(shape)} == schema(name)


def test_a_new_repository_has_a_slug_and_no_free_name() -> None:
    assert {one.name for one in fields(NewRepo)} == schema("NewRepo") - {"name"}
