"""The client of the tests: it makes a request, sends it to the handler of a function, and decodes
the reply.

    answer = ask("branches", "GET", "/api/v1/repos/ada/song/branches", by="ada")
    answer = push("ada", "song", history.bundle())
"""

import base64
import importlib
import itertools
import json
import time
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypedDict, Unpack

import msgpack
import pytest

from shared import auth, codings, settings
from shared.http import browser
from shared.model import Identity, Role
from shared.web.route import FORM_COOKIES
from tests.builders import Record

MSGPACK = "application/x-msgpack"
JSON = "application/json"
ACCEPT = "application/x-msgpack, application/json"
"""The header of the stock client."""

OWN_HEADERS = {"x-request-id", "date", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}
"""Headers that have another value in each reply: they depend on the request and the caller."""

ROUTES = {
    "refs": ("GET", "refs"),
    "fetch": ("POST", "fetch"),
    "fetch_history": ("POST", "fetch/history"),
    "fetch_objects": ("POST", "fetch/objects"),
    "negotiate": ("POST", "negotiate"),
    "filter_objects": ("POST", "filter-objects"),
    "presign": ("POST", "presign"),
    "staging": ("POST", "staging"),
    "push_objects": ("POST", "push/objects"),
    "push": ("POST", "push"),
}
"""Method and path, below the repository, of each request of the stock client."""

MODULES = {"fetch_history": "fetch", "fetch_objects": "fetch"}
"""The modules of `functions` that have several of these routes.

The others have the name of their route.
"""


Event = dict[str, Any]

_numbers = itertools.count()


@dataclass(frozen=True)
class Answer:
    """The reply of the hub. `value` is the decoded body, JSON or msgpack."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()
    """The values of the headers Set-Cookie."""

    @property
    def expanded(self) -> bytes:
        """The body without its content coding. Raises MalformedBody if it is damaged or cut."""
        coding = codings.of_body(self.headers.get("content-encoding", ""))
        if coding is None:
            return self.body
        expander = codings.Expander(coding)
        body = b"".join(expander.expand(self.body))
        expander.end()
        return body

    @property
    def value(self) -> Any:
        if self.headers["content-type"] == MSGPACK:
            return msgpack.unpackb(self.expanded, raw=False)
        return json.loads(self.expanded)

    @property
    def code(self) -> str:
        """The code of a refusal. A page has it in a `meta` element."""
        if self.headers["content-type"].startswith("text/html"):
            return self.body.decode().partition('<meta name="error" content="')[2].partition('"')[0]
        return str(self.value["code"])


# ── Requests ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Request:
    """A request before it becomes a Lambda event, an ASGI scope or bytes on a socket."""

    method: str
    path: str
    """Percent-encoded, without the query."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def token(
    subject: str,
    *,
    scope: Role = Role.ADMIN,
    repo: str = "",
    token_id: str | None = None,
    lifetime_seconds: int = 3600,
    now: int | None = None,
) -> str:
    """A token that the hub under test accepts."""
    return auth.issue(
        settings.load().signing_keys,
        Identity(subject, scope, token_id or str(uuid.uuid4()), repo),
        lifetime_seconds=lifetime_seconds,
        now=int(time.time()) if now is None else now,
    )


def session(subject: str, *, token_id: str | None = None, lifetime_seconds: int = 3600) -> str:
    """A session of a browser that the hub under test accepts."""
    return auth.issue(
        settings.load().signing_keys,
        Identity(subject, Role.ADMIN, token_id or str(uuid.uuid4())),
        lifetime_seconds=lifetime_seconds,
        now=int(time.time()),
        type=auth.SESSION,
    )


def by_browser(
    path: str, session: str | None, fields: Mapping[str, str] | None
) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request to a page with a form: the submission of these fields.

    Without fields, the browser opens the page.
    """
    cookies = {browser.FORM: "cookie", browser.IDENTITY: "cookie"}
    cookies |= {browser.SESSION: session} if session else {}
    headers = {
        "accept": "text/html",
        "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
    }
    if fields is None:
        return headers, b""
    bound_to = "cookie" if path in FORM_COOKIES else session or ""
    guarded = {browser.TOKEN_FIELD: browser.form_token(bound_to), **fields}
    body = urllib.parse.urlencode(guarded).encode()
    return headers | {"content-type": browser.FORM_TYPE}, body


def bearer(text: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {text}"}


def encoded(message: Any, form: str) -> bytes:
    """The body that carries a message, as JSON or msgpack."""
    if form == JSON:
        return json.dumps(message).encode()
    body: bytes = msgpack.packb(message, use_bin_type=True)
    return body


class How(TypedDict, total=False):
    """The options of `request`."""

    by: str | None
    query: str
    headers: Mapping[str, str] | None
    raw: bytes | None
    form: str
    accept: str | None


def request(
    method: str,
    path: str,
    message: Any = None,
    *,
    by: str | None = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    raw: bytes | None = None,
    form: str = MSGPACK,
    accept: str | None = ACCEPT,
) -> Request:
    """A request by a user with a fresh token, or without a token.

    The body is `message` or, as it is, `raw`. `form` is its content type, `accept` that of the
    reply. `headers` override all others.
    """
    sent = {} if accept is None else {"accept": accept}
    if by:
        sent |= bearer(token(by))
    if message is not None:
        raw = encoded(message, form)
    if raw is not None:
        sent["content-type"] = form
    return Request(method, path, query, sent | dict(headers or {}), raw or b"")


def event(
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    query: str = "",
    source_ip: str | None = None,
) -> Event:
    """The event that API Gateway makes of a request: HTTP API, payload format 2.0."""
    number = next(_numbers)
    sent = dict(headers or {})
    cookie = sent.pop("cookie", "")
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": urllib.parse.unquote(path),
        "rawQueryString": query,
        "headers": {"host": "hub.example", "content-length": str(len(body)), **sent},
        **({"cookies": cookie.split("; ")} if cookie else {}),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "hub.example",
            "requestId": f"request-{number}",
            "stage": "$default",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                # Each request has its own address, so no test uses up the limit of another.
                "sourceIp": source_ip or f"203.0.{number // 250 % 250}.{number % 250}",
                "userAgent": "Python-urllib/3.13",
            },
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def event_of(request: Request, source_ip: str | None = None) -> Event:
    """The event of a request."""
    return event(
        request.method,
        request.path,
        request.body,
        request.headers,
        query=request.query,
        source_ip=source_ip,
    )


def invoke(function: str, event: Event) -> Answer:
    """Call the Lambda handler of a function."""
    return answer(_handle(function, event))


def run_job(function: str, *, at: float | None = None, left_seconds: float = 900) -> Record:
    """Run a function without routes, as a schedule does. `at`: the epoch second of its clock."""
    module = importlib.import_module(f"functions.{function}")
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: int(1000 * left_seconds))
    with pytest.MonkeyPatch.context() as patch:
        if at is not None:
            patch.setattr(module, "clock", lambda: at)
        reply: Record = module.handler({}, context)
    return reply


def reply_bytes(function: str, event: Event) -> bytes:
    """The reply of a handler as the JSON that leaves Lambda."""
    return json.dumps(_handle(function, event), ensure_ascii=False).encode()


def _handle(function: str, event: Event) -> Record:
    reply: Record = importlib.import_module(f"functions.{function}").handler(event, None)
    return reply


def answer(reply: Record | bytes) -> Answer:
    """Decode the reply of a handler, or its JSON."""
    value: Record = json.loads(reply) if isinstance(reply, bytes) else reply
    body = value["body"] or ""
    return Answer(
        value["statusCode"],
        {name.lower(): text for name, text in value["headers"].items()},
        base64.b64decode(body) if value["isBase64Encoded"] else body.encode(),
        tuple(value.get("cookies", ())),
    )


def send(function: str, request: Request, source_ip: str | None = None) -> Answer:
    """Send a request to a function."""
    return invoke(function, event_of(request, source_ip))


def ask(
    function: str,
    method: str,
    path: str,
    message: Any = None,
    *,
    source_ip: str | None = None,
    **how: Unpack[How],
) -> Answer:
    """Make a request and send it. `how` are the options of `request`."""
    return send(function, request(method, path, message, **how), source_ip)


# ── The stock client ──────────────────────────────────────────────────────────────────────────────


def call(
    function: str,
    owner: str,
    slug: str,
    message: Any = None,
    *,
    source_ip: str | None = None,
    **how: Unpack[How],
) -> Answer:
    """A request of the stock client to a repository. `how` are the options of `request`."""
    method, suffix = ROUTES[function]
    if method == "POST" and message is None:
        how.setdefault("raw", b"")  # the stock client sends a content type with each POST
    module = MODULES.get(function, function)
    path = f"/{owner}/{slug}/{suffix}"
    return ask(module, method, path, message, source_ip=source_ip, **how)


def push(
    owner: str,
    slug: str,
    bundle: Record,
    *,
    branch: str = "main",
    force: Any = False,
    by: str | None = None,
) -> Answer:
    """POST push, by the owner unless `by` is given."""
    message = {"bundle": bundle, "branch": branch, "force": force}
    return call("push", owner, slug, message, by=by or owner)


def fetch(
    owner: str,
    slug: str,
    want: Sequence[str],
    have: Sequence[str] = (),
    *,
    by: str | None = None,
    source_ip: str | None = None,
) -> Answer:
    """POST fetch."""
    message = {"want": list(want), "have": list(have)}
    return call("fetch", owner, slug, message, by=by, source_ip=source_ip)


def heads(owner: str, slug: str, *, by: str | None = None) -> dict[str, str]:
    """The branches of a repository, by GET refs."""
    answer = call("refs", owner, slug, by=by)
    assert answer.status == 200, answer.body
    found: dict[str, str] = answer.value["branch_heads"]
    return found


def fetched_ids(answer: Answer) -> tuple[set[str], set[str], set[str]]:
    """The ids of the commits, snapshots and objects in a fetch reply; each must come once."""
    assert answer.status == 200, answer.body
    kinds = []
    for key, name in (
        ("commits", "commit_id"),
        ("snapshots", "snapshot_id"),
        ("objects", "object_id"),
    ):
        listed = [record[name] for record in answer.value[key]]
        assert len(listed) == len(set(listed))
        kinds.append(set(listed))
    return kinds[0], kinds[1], kinds[2]
