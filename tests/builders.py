"""How tests speak: records with true ids, histories drawn as text, and a hub that is called as
Lambda calls it.

history = graph("1; 2:1; 3:1; 4:2,3")      a diamond: commits 1 to 4, each on a snapshot of its own
hub.push("me", "song", history, branch="main")
"""

import base64
import functools
import importlib
import itertools
import json
import time
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from shared import auth, codings, ids, settings
from shared.http import browser
from shared.model import Identity, Role
from shared.web.route import SIGN_IN

MSGPACK = "application/x-msgpack"
ACCEPT = "application/x-msgpack, application/json"

OWN_HEADERS = {"x-request-id", "date", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}
"""Headers whose value is new in each reply: they describe the request and the caller, not the
content.
"""

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

MODULES = {"fetch_history": "fetch", "fetch_objects": "fetch"}
"""The modules of `functions` that have several of these routes.

The others have the name of their route.
"""

Record = dict[str, Any]


def blob(content: bytes) -> Record:
    """An object as it is pushed."""
    return {"object_id": ids.object_id(content), "content": content}


def snapshot(manifest: Mapping[str, str], created_at: str = "2026-01-01T00:00:00+00:00") -> Record:
    """A snapshot record with its true id."""
    return {
        "snapshot_id": ids.snapshot_id(manifest),
        "manifest": dict(manifest),
        "created_at": created_at,
    }


def commit(
    message: str,
    parents: Sequence[str] = (),
    snapshot_id: str | None = None,
    committed_at: str = "2026-01-01T00:00:00+00:00",
    **more: Any,
) -> Record:
    """A commit record with its true id and all the keys that the stock client sends."""
    return {
        "commit_id": ids.commit_id(parents, snapshot_id, message, committed_at),
        "repo_id": "0c5a7f8e-0000-4000-8000-000000000000",
        "branch": "main",
        "snapshot_id": snapshot_id,
        "message": message,
        "committed_at": committed_at,
        "parent_commit_id": parents[0] if parents else None,
        "parent2_commit_id": parents[1] if len(parents) > 1 else None,
        "author": "Ada",
        "metadata": {"section": "verse"},
        "structured_delta": None,
        "sem_ver_bump": "none",
        "breaking_changes": [],
        "agent_id": "",
        "model_id": "",
        "toolchain_id": "",
        "prompt_hash": "",
        "signature": "",
        "signer_key_id": "",
        "format_version": 5,
        "reviewed_by": [],
        "test_runs": 0,
        **more,
    }


@functools.cache
def twins() -> tuple[Record, Record]:
    """Two commits whose ids have the same first seven digits, and not the same eighth."""
    seen: dict[str, Record] = {}
    for number in itertools.count():
        record = commit(f"twin {number}")
        other = seen.setdefault(record["commit_id"][:7], record)
        if other["commit_id"][7] != record["commit_id"][7]:
            return other, record
    raise AssertionError("unreachable")


@dataclass
class History:
    """Commits by the number they have in a drawing, with their snapshots and objects."""

    commits: dict[int, Record] = field(default_factory=dict)
    snapshots: dict[int, Record] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)

    def __getitem__(self, number: int) -> str:
        return str(self.commits[number]["commit_id"])

    def bundle(self, numbers: Iterable[int] | None = None, *, objects: bool = True) -> Record:
        """The bundle of a push of these commits (default: all), with the objects inline."""
        chosen = list(self.commits if numbers is None else numbers)
        snapshots = [self.snapshots[n] for n in chosen if n in self.snapshots]
        named = {oid for s in snapshots for oid in s["manifest"].values()}
        return {
            "commits": [self.commits[n] for n in chosen],
            "snapshots": snapshots,
            "objects": [
                {"object_id": i, "content": c}
                for i, c in self.objects.items()
                if objects and i in named
            ],
        }


def graph(drawing: str, *, files: bool = True, salt: str = "") -> History:
    """A history from its drawing: `"1; 2:1; 3:1,2"` is a root, its child, and a merge of both.

    With `files`, commit n stands on a snapshot that has its first parent's files and `n.txt`.
    """
    history = History()
    manifests: dict[int, dict[str, str]] = {}
    for part in drawing.split(";"):
        name, _, parents_text = part.strip().partition(":")
        number, parents = int(name), [int(p) for p in parents_text.split(",") if p.strip()]
        snapshot_id = None
        if files:
            content = f"file {number} {salt}\n".encode()
            history.objects[ids.object_id(content)] = content
            manifest = manifests.get(parents[0], {}) if parents else {}
            manifests[number] = {**manifest, f"{number}.txt": ids.object_id(content)}
            history.snapshots[number] = snapshot(manifests[number])
            snapshot_id = history.snapshots[number]["snapshot_id"]
        history.commits[number] = commit(
            f"commit {number} {salt}",
            [history[p] for p in parents],
            snapshot_id,
            f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}+00:00",
        )
    return history


def chain(length: int, *, files: bool = False, salt: str = "") -> History:
    """Commits 1 … length, each the parent of the next."""
    return graph(
        "; ".join(f"{n}:{n - 1}" if n > 1 else "1" for n in range(1, length + 1)),
        files=files,
        salt=salt,
    )


def file_history(*manifests: Sequence[str]) -> History:
    """A line of commits, each with a snapshot of these paths."""
    content = b"x"
    history = History(objects={ids.object_id(content): content})
    for number, paths in enumerate(manifests, start=1):
        history.snapshots[number] = snapshot(dict.fromkeys(paths, ids.object_id(content)))
        parents = [history[number - 1]] if number > 1 else []
        history.commits[number] = commit(
            f"commit {number}", parents, history.snapshots[number]["snapshot_id"]
        )
    return history


@dataclass(frozen=True)
class Answer:
    """The reply of a handler. `value` is the decoded body of any format."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()
    """The values of the headers Set-Cookie."""

    @property
    def expanded(self) -> bytes:
        """The body without its content coding. Raises MalformedBody if it is damaged or cut off."""
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
        if self.headers["content-type"].startswith("text/html"):
            return self.body.decode().partition('<meta name="error" content="')[2].partition('"')[0]
        return str(self.value["code"])


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
    cookies = {browser.FORM: "cookie"} | ({browser.SESSION: session} if session else {})
    headers = {
        "accept": "text/html",
        "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
    }
    if fields is None:
        return headers, b""
    bound_to = "cookie" if path == SIGN_IN else session or ""
    guarded = {browser.TOKEN_FIELD: browser.form_token(bound_to), **fields}
    body = urllib.parse.urlencode(guarded).encode()
    return headers | {"content-type": browser.FORM_TYPE}, body


@dataclass
class Clock:
    """The hub's clock, standing still until it is moved."""

    now: float

    def time(self) -> float:
        """The time of the hub."""
        return self.now


_requests = itertools.count()


def event(
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    query: str = "",
    source_ip: str | None = None,
) -> dict[str, Any]:
    """An HTTP API event, payload format 2.0, as API Gateway makes it of a request."""
    number = next(_requests)
    sent = dict(headers or {})
    cookie = sent.pop("cookie", "")
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": urllib.parse.unquote(path),
        "rawQueryString": query,
        "headers": {"host": "hub.example", **sent, "content-length": str(len(body))},
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
                # An address of its own: what one test asks is not counted against another.
                "sourceIp": source_ip or f"203.0.{number // 250 % 250}.{number % 250}",
                "userAgent": "Python-urllib/3.13",
            },
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def invoke(function: str, event: dict[str, Any]) -> Answer:
    """Call a function's Lambda handler."""
    handler = importlib.import_module(f"functions.{function}").handler
    return answer(handler(event, None))


def answer(reply: dict[str, Any]) -> Answer:
    """The reply of a handler, from the value that Lambda gets."""
    body = reply["body"] or ""
    return Answer(
        reply["statusCode"],
        {name.lower(): value for name, value in reply["headers"].items()},
        base64.b64decode(body) if reply["isBase64Encoded"] else body.encode(),
        tuple(reply.get("cookies", ())),
    )


def call(
    function: str,
    owner: str,
    slug: str,
    message: Any = None,
    *,
    by: str | None = None,
    headers: Mapping[str, str] | None = None,
    raw: bytes | None = None,
    source_ip: str | None = None,
) -> Answer:
    """One request to an endpoint, as the stock client sends it: by a user (with a fresh token), or
    without a token.
    """
    method, suffix = ROUTES[function]
    sent = {"accept": ACCEPT}
    if by:
        sent["authorization"] = f"Bearer {token(by)}"
    body = (
        raw
        if raw is not None
        else b""
        if message is None
        else msgpack.packb(message, use_bin_type=True)
    )
    if method == "POST":
        sent["content-type"] = MSGPACK
    return invoke(
        MODULES.get(function, function),
        event(
            method,
            f"/{owner}/{slug}/{suffix}",
            body,
            sent | dict(headers or {}),
            source_ip=source_ip,
        ),
    )


def push(
    owner: str,
    slug: str,
    bundle: Record,
    *,
    branch: str = "main",
    force: Any = False,
    by: str | None = None,
) -> Answer:
    """POST push, by default by the owner."""
    return call(
        "push", owner, slug, {"bundle": bundle, "branch": branch, "force": force}, by=by or owner
    )


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
    return call(
        "fetch", owner, slug, {"want": list(want), "have": list(have)}, by=by, source_ip=source_ip
    )


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
