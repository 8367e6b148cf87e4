"""The outermost layer, driven with raw ASGI messages: an answer whatever happens, and one line in
the log.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgpack
import pytest
from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Message

from functions import endpoints
from shared import errors, http, lambdas, middleware, names, routing, settings
from shared.actions import repos
from shared.codec import JSON, MSGPACK
from shared.errors import ApiError, RateLimited, TooLarge, Unavailable
from shared.http import Access
from shared.metadata import keys
from shared.model import Repo, Role, Visibility
from shared.protocol.fetch import Fetch
from shared.protocol.push import PushObjects
from shared.stores import Stores
from tests import client as hub

TOKEN = "token-of-somebody"
BODY = b"body-of-somebody"
QUERY = "query=of-somebody"

on_the_shared_loop = pytest.mark.asyncio(loop_scope="session")

# ── An app, and a client that sees every message ──────────────────────────────────────────────────

router = APIRouter()


@router.get("/fine")
async def get_fine(request: Request) -> Response:
    return http.reply(request, {"text": "häh", "bytes": b"\x00\xff"})


@router.get("/health")
async def get_health(request: Request) -> Response:
    return http.reply(request, {"status": "ok"})


@router.get("/bug")
async def get_bug() -> Response:
    raise KeyError(TOKEN)


@router.get("/late-bug")
async def get_late_bug() -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        raise KeyError(TOKEN)

    return StreamingResponse(pieces())


failure: list[ApiError] = []


@router.get("/failure")
async def get_failure() -> Response:
    raise failure.pop()


@router.post("/fetch")
async def post_fetch(request: Request) -> Response:
    message = await http.body(request, Fetch, max_bytes=100)
    return http.reply(request, {"want": message.want})


@router.post("/objects")
async def post_objects(request: Request) -> Response:
    message = await http.body(request, PushObjects)
    return http.reply(request, {"contents": [item.content for item in message.objects]})


@router.get("/{owner}/{slug}/read")
async def get_read(access: Annotated[Access, Depends(http.may_read("read"))]) -> Response:
    return Response(f"{access.repo.slug} by {access.by or 'anybody'}, {access.repo.exists}")


@router.get("/{owner}/{slug}/write")
async def get_write(access: Annotated[Access, Depends(http.may_write("push"))]) -> Response:
    return Response(f"{access.repo.slug} by {access.by}, {access.repo.exists}")


def all_paths() -> routing.Paths:
    """As `health` knows them: the paths of all functions, and those of this app."""
    return {**endpoints.paths(), **routing.paths_of([router])}


app = http.create_app(router, paths=all_paths)


@dataclass
class Exchange:
    """What came back, and in which order messages went to and fro."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    order: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == JSON
        return json.loads(self.body)


async def ask(
    method: str,
    path: str,
    pieces: Iterable[bytes] = (b"",),
    headers: Mapping[str, str] | None = None,
    *,
    leaves: bool = False,
    scope: Mapping[str, Any] | None = None,
) -> Exchange:
    """One request, its body in pieces; the client `leaves` after them instead of ending the
    body.
    """
    exchange = Exchange()
    sent = list(pieces)
    left = list(enumerate(sent, 1))

    async def receive() -> Message:
        exchange.order.append("receive")
        if not left:
            assert leaves, "asked for more than was sent"
            return {"type": "http.disconnect"}
        number, piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": leaves or number < len(sent)}

    async def send(message: Message) -> None:
        exchange.order.append(message["type"])
        if message["type"] == "http.response.start":
            assert not exchange.status, "answered twice"
            exchange.status = message["status"]
            exchange.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            assert len(exchange.headers) == len(message["headers"]), "a header came twice"
        else:
            exchange.body += message.get("body", b"")

    await app(
        {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "https",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": QUERY.encode(),
            "headers": [
                (name.lower().encode(), value.encode()) for name, value in (headers or {}).items()
            ],
            "client": ("203.0.113.9", 1234),
            "server": ("hub.example", 443),
            **(scope or {}),
        },
        receive,
        send,
    )
    return exchange


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines in the log since this was asked last."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


# ── Every failure has one shape ───────────────────────────────────────────────────────────────────


@on_the_shared_loop
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param("GET", "/", 404, "not_found", id="the root"),
        pytest.param("GET", "/nothing", 404, "not_found", id="no route"),
        pytest.param("POST", "/a/b/c/d/e", 404, "not_found", id="no route, far down"),
        pytest.param("GET", "/docs", 404, "not_found", id="no documentation page"),
        pytest.param("GET", "/openapi.json", 404, "not_found", id="no schema"),
        pytest.param("GET", "/fine//", 404, "not_found", id="two slashes too many"),
        pytest.param("GET", "//fine", 404, "not_found", id="a slash too many in front"),
        pytest.param("POST", "/fine", 405, "method_not_allowed", id="another method"),
        pytest.param("DELETE", "/fetch", 405, "method_not_allowed", id="yet another method"),
        pytest.param("BREW", "/fine", 405, "method_not_allowed", id="a method nobody knows"),
    ],
)
async def test_an_absent_route_is_refused_in_json(method, path, status, code):
    answer = await ask(method, path)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert next(iter(answer.json)) == "message"


@on_the_shared_loop
@pytest.mark.parametrize("accept", [MSGPACK, JSON, "*/*", ""])
async def test_a_failure_is_json_whatever_was_asked_for(accept):
    failure.append(Unavailable("häh"))
    answer = await ask("GET", "/failure", headers={"Accept": accept})
    assert answer.status == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json == {"message": "häh", "detail": "häh", "code": "unavailable"}


@on_the_shared_loop
@pytest.mark.parametrize(
    "error",
    [
        TooLarge("x" * 9999),
        errors.CommitNotFound(["a" * 64] * 9),
        errors.NotFastForward("b" * 255, "c" * 64),
        errors.HashMismatch("uploaded object", "a" * 64, "b" * 64),
        errors.BranchClash("b" * 255, "c" * 255),
        errors.RepoNotFound(),
        RateLimited("upload", 600, 60),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_the_whole_message_is_among_the_400_characters_that_a_client_shows(error):
    failure.append(error)
    answer = await ask("GET", "/failure")
    assert error.message in answer.body.decode()[:400]
    assert answer.status == error.status
    assert (
        answer.headers.items()
        >= {name.lower(): value for name, value in error.headers.items()}.items()
    )


@on_the_shared_loop
async def test_a_hostile_name_in_a_message_is_one_line_of_json():
    with pytest.raises(errors.InvalidName) as refused:
        names.check_branch('"}\n\x1b[2J\u202e\\' * 9)
    failure.append(refused.value)
    answer = await ask("GET", "/failure")
    assert answer.json["message"] == refused.value.message
    assert answer.body.isascii()
    assert b"\n" not in answer.body


@on_the_shared_loop
@pytest.mark.parametrize("path", ["/fine/", "/health/", "/ada/song/read/"])
async def test_a_slash_at_the_end_changes_nothing_and_is_no_redirect(path):
    with_slash, without = await ask("GET", path), await ask("GET", path.rstrip("/"))
    assert (with_slash.status, with_slash.body) == (without.status, without.body)


@on_the_shared_loop
async def test_a_path_of_many_slashes_is_not_tried_again_for_each():
    answer = await ask("GET", "/fine" + "/" * 50_000)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


@on_the_shared_loop
@pytest.mark.parametrize(
    ("path", "methods"),
    [
        pytest.param("/fine", "GET, HEAD, OPTIONS", id="of this app only"),
        pytest.param("/ada/song/push", "OPTIONS, POST", id="without GET"),
        pytest.param(
            "/ada/song/releases",
            "GET, HEAD, OPTIONS, POST",
            id="of two methods, in another function",
        ),
        pytest.param(
            "/ada/song/releases/", "GET, HEAD, OPTIONS, POST", id="with a slash at its end"
        ),
        pytest.param("/ada/song/raw/main/a/b", "GET, HEAD, OPTIONS", id="of any depth"),
        pytest.param(
            "/api/v1/repos/ada/song", "DELETE, GET, HEAD, OPTIONS, PATCH", id="of the API"
        ),
    ],
)
async def test_a_refused_method_is_answered_with_those_that_the_path_has(path, methods):
    answer = await ask("PUT", path)
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == methods
    assert methods in answer.json["message"]
    options = await ask("OPTIONS", path)
    assert (options.status, options.body, options.headers["allow"]) == (204, b"", methods)


@on_the_shared_loop
async def test_a_route_of_another_function_is_not_found_and_a_slash_is_named():
    answer = await ask("GET", "/ada/song/refs/")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert "remove the slash" in answer.json["message"]


# ── HEAD, and pages of other sites ────────────────────────────────────────────────────────────────


@on_the_shared_loop
@pytest.mark.parametrize(
    "path", ["/fine", "/health/", "/nothing", "/fetch", "/bug", "/ada/song/read"]
)
async def test_HEAD_is_GET_without_the_body(path):
    head, get = await ask("HEAD", path), await ask("GET", path)
    assert (head.status, head.body) == (get.status, b"")
    assert get.body
    changing = {"x-request-id", "ratelimit-remaining", "ratelimit-reset"}
    assert [(k, v) for k, v in head.headers.items() if k not in changing] == [
        (k, v) for k, v in get.headers.items() if k not in changing
    ]
    assert head.headers["content-length"] == str(len(get.body))


@on_the_shared_loop
async def test_the_log_has_the_method_that_was_sent(configured, capsys):
    configured.setenv("PIERIA_LOG_LEVEL", "INFO")
    await ask("HEAD", "/fine")
    (line,) = logged(capsys)
    assert (line["method"], line["route"], line["status"]) == ("HEAD", "/fine", 200)


@on_the_shared_loop
async def test_pages_of_other_sites_may_read_public_data():
    answer = await ask("GET", "/fine", headers={"Origin": "https://site.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@on_the_shared_loop
async def test_pages_of_other_sites_may_not_read_with_a_token_nor_write():
    written = await ask(
        "POST", "/fetch", [WANT], {"Origin": "https://site.example", "Content-Type": MSGPACK}
    )
    opened = await ask(
        "GET", "/fine", headers={"Origin": "https://site.example", "Authorization": "Bearer x"}
    )
    refused = await ask("GET", "/nothing", headers={"Origin": "https://site.example"})
    for answer, status in ((written, 200), (opened, 200), (refused, 404)):
        assert answer.status == status
        assert not [name for name in answer.headers if name.startswith("access-control")]


@on_the_shared_loop
async def test_a_browser_that_asks_before_it_reads_is_answered_without_a_look_at_the_repository(
    monkeypatch,
):
    async def stores() -> Stores:
        raise AssertionError("a preflight needs no AWS call")

    monkeypatch.setattr("shared.http.access.stores", stores)
    asked = {"Origin": "https://site.example", "Access-Control-Request-Method": "GET"}
    readable = await ask("OPTIONS", "/ada/song/read", headers=asked)
    assert readable.status == 204
    raw = await ask("OPTIONS", "/ada/song/raw/main/a.txt", headers=asked)
    assert (raw.status, raw.headers["access-control-allow-origin"]) == (204, "*")
    assert raw.headers["access-control-allow-methods"] == "GET, HEAD"
    assert "range" in raw.headers["access-control-allow-headers"].lower()
    assert "authorization" not in raw.headers["access-control-allow-headers"].lower()
    push = await ask(
        "OPTIONS", "/ada/song/push", headers=asked | {"Access-Control-Request-Method": "POST"}
    )
    assert push.status == 204
    assert not [name for name in push.headers if name.startswith("access-control")]


# ── The unexpected ────────────────────────────────────────────────────────────────────────────────


@on_the_shared_loop
async def test_a_bug_is_answered_with_the_request_id_and_no_detail():
    answer = await ask("GET", "/bug")
    assert answer.status == 500
    assert answer.json["code"] == "internal"
    assert answer.headers["x-request-id"] in answer.json["message"]
    assert TOKEN not in answer.body.decode()
    assert "KeyError" not in answer.body.decode()


@on_the_shared_loop
async def test_a_bug_is_logged_once_with_its_traceback(capsys):
    answer = await ask("GET", "/bug")
    (line,) = logged(capsys)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/bug", 500)
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert "KeyError" in line["exception"]
    assert line["exception"].count("Traceback") == 1


@on_the_shared_loop
async def test_a_bug_in_the_middle_of_an_answer_is_logged_and_raised_for_the_server_to_hang_up(
    capsys,
):
    with pytest.raises(KeyError):
        await ask("GET", "/late-bug", scope={"asgi": {"spec_version": "2.4"}})
    (line,) = logged(capsys)
    assert "KeyError" in line["exception"]
    assert (line["status"], line["broken_off"]) == (200, True)


@on_the_shared_loop
async def test_a_failure_of_the_store_is_logged_and_a_refusal_is_not(capsys):
    for error, lines in ((Unavailable(), 1), (errors.Damaged("x"), 1), (errors.NotFound("x"), 0)):
        failure.append(error)
        answer = await ask("GET", "/failure")
        assert [line["status"] for line in logged(capsys)] == [answer.status] * lines


# ── The log and the request id ────────────────────────────────────────────────────────────────────


@on_the_shared_loop
@pytest.mark.parametrize("path", ["/fine", "/nothing", "/fetch", "/bug", "/ada/song/read"])
async def test_the_one_line_of_a_request_holds_nothing_that_is_secret(path, configured, capsys):
    configured.setenv("PIERIA_LOG_LEVEL", "INFO")
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": TOKEN, "Content-Type": MSGPACK}
    await ask("POST" if path == "/fetch" else "GET", path, [BODY], headers)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    line.pop("exception", None)  # a bug's own words; the one here quotes the token
    assert not any(secret in json.dumps(line) for secret in (TOKEN, BODY.decode(), QUERY))
    ours = {"request_id", "method", "route", "status", "milliseconds", "microdollars"}
    assert line.keys() == ours | {"event", "level", "timestamp"}


@on_the_shared_loop
async def test_the_line_names_the_route_and_not_the_url(configured, capsys):
    configured.setenv("PIERIA_LOG_LEVEL", "INFO")
    await ask("GET", "/ada/song/read", headers={"Authorization": "Bearer x"})
    (line,) = logged(capsys)
    assert (line["route"], line["status"]) == ("/{owner}/{slug}/read", 401)


@on_the_shared_loop
async def test_each_answer_carries_an_id_of_its_own():
    found = [
        (await ask("GET", path)).headers["x-request-id"]
        for path in ("/fine", "/fine", "/nothing", "/bug")
    ]
    assert len(set(found)) == 4
    assert all(len(request_id) == 36 for request_id in found)


@on_the_shared_loop
async def test_the_platforms_id_is_the_id_and_a_clients_is_not():
    event = {"requestContext": {"requestId": "of-the-platform"}}
    answer = await ask(
        "GET", "/fine", headers={"x-request-id": "of-the-client"}, scope={"aws.event": event}
    )
    assert answer.headers["x-request-id"] == "of-the-platform"
    answer = await ask("GET", "/fine", headers={"x-request-id": "of-the-client"})
    assert answer.headers["x-request-id"] != "of-the-client"


# ── Bodies ────────────────────────────────────────────────────────────────────────────────────────

WANT = msgpack.packb({"want": ["a"]})
LONG = [b"\xc5\xff\xff" + b"x" * 27, *[b"x" * 30] * 9]
"""Parts of a body of 65,535 bytes.

It is decoded as it comes, and nothing is wrong with it so far.
"""


@on_the_shared_loop
@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        pytest.param(LONG, {}, id="in pieces, of no declared length"),
        pytest.param(LONG, {"Content-Length": "300"}, id="in pieces, declared"),
        pytest.param([b"x" * 101], {}, id="in one piece"),
        pytest.param(LONG, {"Content-Length": "5"}, id="declared to be small"),
    ],
)
async def test_a_body_too_large_is_read_to_its_end_before_it_is_refused(pieces, headers):
    """The stock client writes all of it before it reads a word."""
    answer = await ask("POST", "/fetch", pieces, {"Content-Type": MSGPACK, **headers})
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    assert "100 bytes" in answer.json["message"]
    assert answer.order == ["receive"] * len(pieces) + ["http.response.start", "http.response.body"]


@on_the_shared_loop
@pytest.mark.parametrize(
    "path", ["/nothing", "/fine", "/ada/song/write"], ids=["404", "405", "401"]
)
async def test_an_unused_body_is_read_to_its_end_as_well(path):
    answer = await ask("GET" if "song" in path else "POST", path, [b"x" * 99] * 5)
    assert answer.status in (401, 404, 405)
    assert answer.order[:6] == ["receive"] * 5 + ["http.response.start"]


@on_the_shared_loop
async def test_no_more_is_read_in_vain_than_the_limit(monkeypatch):
    monkeypatch.setattr(middleware, "DRAIN_BYTES", 250)
    answer = await ask("POST", "/ada/song/nothing", [b"x" * 100] * 50)
    assert answer.status == 404
    assert answer.order.count("receive") == 3


@on_the_shared_loop
@pytest.mark.parametrize("path", ["/nothing", "/fetch"], ids=["refused", "being read"])
async def test_a_client_that_leaves_is_not_waited_for(path):
    answer = await asyncio.wait_for(
        ask("POST", path, LONG[:2], {"Content-Type": MSGPACK}, leaves=True), 5
    )
    assert answer.status >= 400
    assert answer.order.count("receive") == 3


@on_the_shared_loop
async def test_a_body_as_large_as_allowed_is_taken():
    body = msgpack.packb({"want": ["a" * 91]})
    answer = await ask(
        "POST", "/fetch", [body[:50], body[50:]], {"Content-Type": MSGPACK, "Content-Length": "100"}
    )
    assert (len(body), answer.status) == (100, 200)


@on_the_shared_loop
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        pytest.param(WANT, {"Content-Type": MSGPACK}, 200, None, id="msgpack"),
        pytest.param(b'{"want": ["a"]}', {"Content-Type": JSON}, 200, None, id="JSON"),
        pytest.param(
            WANT,
            {"Content-Type": MSGPACK, "Content-Encoding": "identity"},
            200,
            None,
            id="not compressed",
        ),
        pytest.param(
            WANT,
            {"Content-Type": MSGPACK, "Content-Encoding": "br"},
            415,
            "unsupported_media_type",
            id="brotli",
        ),
        pytest.param(WANT, {}, 415, "unsupported_media_type", id="no Content-Type"),
        pytest.param(
            WANT, {"Content-Type": "text/plain"}, 415, "unsupported_media_type", id="text"
        ),
        pytest.param(b"", {"Content-Type": MSGPACK}, 400, "malformed_body", id="nothing"),
        pytest.param(
            WANT, {"Content-Type": JSON}, 400, "malformed_body", id="msgpack, said to be JSON"
        ),
        pytest.param(b"\x90", {"Content-Type": MSGPACK}, 400, "malformed_body", id="a list"),
        pytest.param(b"null", {"Content-Type": JSON}, 400, "malformed_body", id="null"),
        pytest.param(b'{"want": "a"}', {"Content-Type": JSON}, 422, "invalid", id="another shape"),
    ],
)
async def test_a_body_is_read_in_the_format_it_is_said_to_have(body, headers, status, code):
    answer = await ask("POST", "/fetch", [body], headers)
    assert answer.status == status
    assert answer.json == {"want": ["a"]} if code is None else answer.json["code"] == code


@on_the_shared_loop
async def test_objects_in_json_are_base64_or_text():
    sent = {
        "objects": [
            {"object_id": "a", "content": "AP8=", "encoding": "base64"},
            {"object_id": "b", "content": "ä"},
        ]
    }
    answer = await ask(
        "POST", "/objects", [json.dumps(sent).encode()], {"Content-Type": JSON, "Accept": MSGPACK}
    )
    assert answer.status == 200, answer.body
    assert msgpack.unpackb(answer.body) == {"contents": [b"\x00\xff", "ä".encode()]}


@on_the_shared_loop
@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/x-msgpack, application/json", MSGPACK),
        (MSGPACK, MSGPACK),
        (JSON, JSON),
        ("*/*", JSON),
        (None, JSON),
    ],
)
async def test_a_reply_comes_in_the_format_asked_for(accept, media):
    answer = await ask("GET", "/fine", headers={"Accept": accept} if accept else {})
    assert answer.headers["content-type"] == media
    if media == MSGPACK:
        assert msgpack.unpackb(answer.body) == {"text": "häh", "bytes": b"\x00\xff"}
    else:
        assert answer.json == {"text": "häh", "bytes": "AP8="}


# ── Who may ───────────────────────────────────────────────────────────────────────────────────────

WHO = {"nobody": None, "stranger": Role.WRITE, "owner": Role.WRITE, "owner, to read": Role.READ}

# no token, stranger, owner, owner with a token to read
MAY = {
    ("public", "read"): (200, 200, 200, 200),
    ("public", "write"): (401, 403, 200, 403),
    ("private", "read"): (404, 404, 200, 200),
    ("private", "write"): (401, 404, 200, 403),
    ("deleted", "read"): (404, 404, 404, 404),
    ("deleted", "write"): (401, 404, 404, 404),
    ("absent", "read"): (404, 404, 200, 200),
    ("absent", "write"): (401, 404, 200, 403),
    ("not a name!", "read"): (404, 404, 404, 404),
    ("not a name!", "write"): (401, 404, 404, 404),
}
"""An absent one is there for its owner, empty: the first write creates it."""


async def prepared(opened: Stores, owner: str) -> None:
    """The repositories of the table."""
    for slug in ("public", "private", "deleted"):
        visibility = Visibility.PRIVATE if slug == "private" else Visibility.PUBLIC
        await repos.create_if_absent(opened, Repo(owner, slug, visibility=visibility), 1)
    await opened.repos.table.update(keys.repo(owner, "deleted"), {"deleted_at": 1})


def as_who(who: str, owner: str) -> dict[str, str]:
    scope = WHO[who]
    if scope is None:
        return {}
    return {
        "Authorization": f"Bearer {hub.token('stranger' if who == 'stranger' else owner, scope=scope)}"
    }


@on_the_shared_loop
@pytest.mark.parametrize(("slug", "what"), MAY, ids=lambda value: value)
async def test_the_rights_of_each_caller(opened, owner, slug, what):
    await prepared(opened, owner)
    answers = [
        await ask("GET", f"/{owner}/{slug}/{what}", headers=as_who(who, owner)) for who in WHO
    ]
    assert tuple(answer.status for answer in answers) == MAY[slug, what]


@on_the_shared_loop
async def test_private_deleted_and_absent_repositories_have_the_same_reply(opened, owner):
    await prepared(opened, owner)
    for headers in ({}, as_who("stranger", owner)):
        answers = [
            await ask("GET", f"/{owner}/{slug}/read", headers=headers)
            for slug in ("private", "deleted", "absent")
        ]
        assert len({(answer.status, answer.body) for answer in answers}) == 1
        assert {name for answer in answers for name in answer.headers} == set(answers[0].headers)


@on_the_shared_loop
async def test_a_bad_token_is_refused_where_none_is_needed(opened, owner):
    await prepared(opened, owner)
    answer = await ask("GET", f"/{owner}/public/read", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


@on_the_shared_loop
async def test_a_subject_is_an_owner_or_an_address_and_never_from_a_header(
    opened, owner, configured
):
    configured.setenv("PIERIA_LIMIT_READ", "1")
    await prepared(opened, owner)
    url = f"/{owner}/public/read"
    here = {"client": (f"{owner}.example", 1)}
    statuses = [
        (await ask("GET", url, headers={"X-Forwarded-For": f"198.51.100.{n}"}, scope=here)).status
        for n in range(3)
    ]
    assert statuses.count(429) >= 1
    assert (await ask("GET", url, headers=as_who("owner", owner), scope=here)).status == 200
    assert (await ask("GET", url, scope={"client": (f"{owner}.elsewhere", 1)})).status == 200


@on_the_shared_loop
async def test_an_app_that_fails_before_it_answers_is_answered_as_a_bug(
    opened, monkeypatch
) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("nobody has answered")

    monkeypatch.setitem(globals(), "app", middleware.RequestMiddleware(failing))
    answer = await ask("POST", "/fine", [b"x" * 30] * 3)
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] in answer.json["message"]
    assert answer.order == ["receive"] * 3 + ["http.response.start", "http.response.body"]


# ── Behind a proxy ────────────────────────────────────────────────────────────────────────────────

SECRET = "between-the-proxy-and-the-hub-only"


@on_the_shared_loop
@pytest.mark.parametrize("headers", [{}, {"X-Pieria-Origin": ""}, {"X-Pieria-Origin": SECRET[:-1]}])
async def test_a_request_that_bypasses_the_proxy_is_refused(configured, headers):
    configured.setenv("PIERIA_ORIGIN_SECRET", SECRET)
    for method, path in (("GET", "/fine"), ("GET", "/nothing"), ("POST", "/fetch")):
        answer = await ask(method, path, [b"x" * 30] * 3, headers)
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
        assert answer.order == ["receive"] * 3 + ["http.response.start", "http.response.body"]
        assert answer.headers["x-request-id"]
    assert (await ask("GET", "/fine", headers={"X-Pieria-Origin": SECRET})).status == 200


@on_the_shared_loop
async def test_anybody_may_ask_whether_we_are_there(configured):
    configured.setenv("PIERIA_ORIGIN_SECRET", SECRET)
    assert (await ask("GET", "/health")).json == {"status": "ok"}


@on_the_shared_loop
@pytest.mark.parametrize(
    "path", ["/healthz", "/health/", "/health/refs", "/healthy/song/read", "/HEALTH"]
)
async def test_only_the_very_path_of_the_health_check_needs_no_secret(
    configured, path: str
) -> None:
    configured.setenv("PIERIA_ORIGIN_SECRET", SECRET)
    answer = await ask("GET", path)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


@on_the_shared_loop
async def test_only_a_counted_reply_states_the_remaining_allowance(opened, owner, configured):
    configured.setenv("PIERIA_LIMIT_READ", "3")
    await prepared(opened, owner)
    here = {"client": (f"{owner}.counted", 1)}
    for left in ("2", "1", "0"):
        answer = await ask("GET", f"/{owner}/absent/read", scope=here)
        assert (answer.status, answer.headers["ratelimit-limit"]) == (404, "3")
        assert answer.headers["ratelimit-remaining"] == left
        assert 1 <= int(answer.headers["ratelimit-reset"]) <= 60
    refused = await ask("GET", f"/{owner}/public/read", scope=here)
    assert (refused.status, refused.headers["ratelimit-remaining"]) == (429, "0")
    assert refused.headers["ratelimit-reset"] == refused.headers["retry-after"]
    for path in ("/fine", "/nothing", "/health"):
        assert "ratelimit-limit" not in (await ask("GET", path, scope=here)).headers


@on_the_shared_loop
async def test_only_the_proxy_may_state_the_address_of_a_client(opened, owner, configured):
    configured.setenv("PIERIA_LIMIT_READ", "1")
    await prepared(opened, owner)

    async def statuses(*viewers: str, **headers: str) -> list[int]:
        url, here = f"/{owner}/public/read", {"client": (f"{owner}.proxy", 1)}
        return [
            (
                await ask(
                    "GET",
                    url,
                    headers={"X-Pieria-Viewer": f"{owner}.{viewer}"} | headers,
                    scope=here,
                )
            ).status
            for viewer in viewers
        ]

    assert 429 in await statuses("a", "b", "c", **{"X-Pieria-Origin": SECRET})
    configured.setenv("PIERIA_ORIGIN_SECRET", SECRET)
    settings.load.cache_clear()
    assert await statuses("a", "b", "c", **{"X-Pieria-Origin": SECRET}) == [200, 200, 200]
    assert 429 in await statuses("a", "a", "a", **{"X-Pieria-Origin": SECRET})
    assert await statuses("d") == [403]


@on_the_shared_loop
async def test_a_hub_with_invalid_settings_refuses_all_requests_with_a_reason(configured):
    configured.setenv("PIERIA_ORIGIN_SECRET", "too short")
    with pytest.raises(ValueError, match="origin_secret"):
        await ask("GET", "/fine")


# ── As a Lambda function ──────────────────────────────────────────────────────────────────────────


def test_a_loop_that_another_component_ended_does_not_stop_the_handler():
    """`asyncio.run` leaves a thread without a current loop; the handler brings its own and keeps
    it.
    """
    handler = lambdas.handler_of(app)
    replies: list[Any] = []

    def container() -> None:
        for _ in range(2):
            asyncio.run(asyncio.sleep(0))
            replies.append(handler(hub.event("GET", "/fine", headers={"accept": MSGPACK}), None))
        asyncio.get_event_loop_policy().get_event_loop().close()

    thread = threading.Thread(target=container)
    thread.start()
    thread.join()
    assert [reply["statusCode"] for reply in replies] == [200, 200]
    assert all(reply["isBase64Encoded"] for reply in replies)


def test_the_platforms_request_id_comes_through_the_adapter():
    event = hub.event("GET", "/nothing")
    reply = lambdas.handler_of(app)(event, None)
    assert reply["headers"]["x-request-id"] == event["requestContext"]["requestId"]
