"""Every way to fail. The table of docs/errors.md is the tree of errors. Each route is driven to
every failure that the OpenAPI document lists for it, by its code. A failure always has the same
body.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import httpx
import jwt
import pytest
from botocore.exceptions import EndpointConnectionError

from functions.endpoints import GITHUB_ACTIONS, MIDI_DOMAIN, PAGES
from infra.embedded_aws import EmbeddedAws
from shared import errors, http, settings, texts
from shared.actions import quarantine
from shared.metadata import keys
from shared.model import Role
from shared.objects import keys as object_keys
from shared.protocol.trusted_issuers import GRANT, ID_TOKENS
from tests import builders, client, issuer
from tests.authorization import routes
from tests.builders import file_history, graph
from tests.client import MSGPACK, Answer
from tests.cloud_calls import CloudCall, intercepted
from tests.conftest import NAMES

OWNER = "catalogue-owner"
STRANGER = "catalogue-stranger"
NOTHING = "f" * 64
HISTORY = graph("1; 2:1; 3:2; 4", salt="of the catalogue")
OBJECT, CONTENT = next(iter(HISTORY.objects.items()))
BUNDLE = HISTORY.bundle([1, 2])
RELEASE = {"release_id": "a-release", "tag": "v1.0.0", "commit_id": HISTORY[1]}
TAG = {"tag_id": "a-tag", "tag": "section:verse", "commit_id": HISTORY[1]}
LARGE = builders.commit("of 5 MB", structured_delta={"data": "x" * 5_000_000})
TWINS = builders.twins()
TWIN = TWINS[0]["commit_id"][:7]
API = "/api/v1/repos/{owner}/{slug}"
WIRE = "/{owner}/{slug}"


EXCHANGE = "POST /api/v1/tokens/exchange"


@dataclass(frozen=True)
class Sent:
    """A request to a route.

    Whatever is not said is good, and the owner's; `body` is bytes as they are, or a value.
    """

    where: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None


def form(headers: Mapping[str, str] | None = None, **fields: str) -> Sent:
    """A form that asks for an exchange, with these changes."""
    key = issuer.private_key("EdDSA")
    asked = {
        "grant_type": GRANT,
        "subject_token": jwt.encode({"iss": GITHUB_ACTIONS["issuer"]}, key, "EdDSA"),
        "subject_token_type": ID_TOKENS[0],
        "audience": f"{OWNER}/song",
        **fields,
    }
    headers = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
    return Sent(body=urlencode(asked).encode(), headers=headers)


# ── What goes wrong ───────────────────────────────────────────────────────────────────────────────

GOOD: Mapping[str, Sent] = {
    f"POST {WIRE}/fetch": Sent(body={"want": [HISTORY[2]]}),
    f"POST {WIRE}/fetch/history": Sent(body={"want": [HISTORY[2]]}),
    f"POST {WIRE}/fetch/objects": Sent(body={"object_ids": [OBJECT]}),
    f"POST {WIRE}/negotiate": Sent(body={"want": [HISTORY[2]], "have": [HISTORY[1]]}),
    f"POST {WIRE}/filter-objects": Sent(body={"object_ids": [OBJECT]}),
    f"POST {WIRE}/presign": Sent(body={"object_ids": [OBJECT]}),
    f"POST {WIRE}/staging": Sent(body={"route": "push", "size": 1}),
    f"POST {WIRE}/push/objects": Sent(
        body={"objects": [{"object_id": OBJECT, "content": CONTENT}]}
    ),
    f"POST {WIRE}/push": Sent(body={"bundle": BUNDLE, "branch": "main"}),
    f"POST {WIRE}/releases": Sent(body=RELEASE),
    f"POST {WIRE}/tags": Sent(body={"tags": [TAG]}),
    "GET /o/{object_id}": Sent(query="repo_id={repo_id}"),
    f"PATCH {API}": Sent(body={"description": "as it was"}),
    f"POST {API}/rename": Sent(body={"slug": "song"}),
    f"PUT {API}/members/{{handle}}": Sent(body={"role": "read"}),
    f"POST {API}/trusted-issuers": Sent(body=GITHUB_ACTIONS),
    f"DELETE {API}/branches": Sent(query="branch=main"),
    f"GET {API}/moves": Sent(query="branch=main"),
    f"POST {API}/restore": Sent(body={"branch": "main"}),
    f"GET {API}/compare": Sent(query="base=main&head=side"),
    "POST /api/v1/repos": Sent(body={"slug": "another"}),
    "POST /api/v1/deleted": Sent(body={"slug": "gone"}),
    "POST /api/v1/tokens": Sent(body={"scope": "read"}),
    "POST /api/v1/domains": Sent(body={**MIDI_DOMAIN, "author_slug": OWNER, "slug": "another"}),
}
"""The query and body of a good request, for routes that need more than a URL."""

ANYWHERE: Mapping[str, Sent] = {
    "unauthorized": Sent(token="not a token"),
    "forbidden": Sent(token="{read-only, for another repository}"),
    "repo_not_found": Sent(where={"slug": "nothing"}, token="{stranger}"),
    "malformed_body": Sent(body=b"\xc1"),
    "staged_body_invalid": Sent(body=b"", headers={"pieria-staged-body": "no reference"}),
    "too_large": Sent(headers={"content-length": str(10**12)}),
    "unsupported_media_type": Sent(headers={"content-type": "text/plain"}),
    "invalid": Sent(
        query="limit=0&branch=&nothing=1",
        body=dict.fromkeys(("want", "object_ids", "objects", "tags", "nothing"), 5),
    ),
    "range_not_satisfiable": Sent(headers={"range": "bytes=1000000-"}),
    "unavailable": Sent(),
    "internal": Sent(),
    "damaged": Sent(where={"slug": "ruined"}),
    "branch_moved": Sent(where={"slug": "racing"}, query="branch=side", body={"branch": "slow"}),
}
"""What leads to a failure on every route that has it.

The last ones need a cloud that is not well.
"""

OAUTH = {"error", "error_description"}
"""The further fields of the refusals of the token exchange (RFC 6749)."""

LIMITS = ("rate_limited", "cost_limit", "hub_limit", "quota_reached")
"""Failures that follow from the requests before."""

SOMEWHERE: Mapping[tuple[str, str], Sent] = {
    (f"DELETE {API}/trusted-issuers/{{trust_id}}", "trusted_issuer_not_found"): Sent(),
    (EXCHANGE, "invalid_request"): form(subject_token="none"),
    (EXCHANGE, "unsupported_grant_type"): form(grant_type="none"),
    (EXCHANGE, "invalid_target"): form(audience=f"{OWNER}/nothing"),
    (EXCHANGE, "invalid_scope"): form(scope="admin"),
    (EXCHANGE, "issuer_invalid"): form(),
    (EXCHANGE, "invalid"): form(nothing="1"),
    (EXCHANGE, "too_large"): form({"content-length": str(10**12)}),
    (EXCHANGE, "malformed_body"): replace(form(), body=b"\xff"),
    (f"POST {WIRE}/fetch", "commit_not_found"): Sent(body={"want": [NOTHING]}),
    (f"POST {WIRE}/fetch", "invalid_name"): Sent(body={"want": ["../up"]}),
    (f"POST {WIRE}/fetch/history", "commit_not_found"): Sent(body={"want": [NOTHING]}),
    (f"POST {WIRE}/fetch/history", "invalid_name"): Sent(body={"want": ["../up"]}),
    (f"POST {WIRE}/fetch/objects", "object_not_found"): Sent(body={"object_ids": [NOTHING]}),
    (f"POST {WIRE}/fetch/objects", "invalid_name"): Sent(body={"object_ids": ["../up"]}),
    (f"POST {WIRE}/negotiate", "commit_not_found"): Sent(body={"want": [NOTHING]}),
    (f"POST {WIRE}/negotiate", "invalid_name"): Sent(body={"want": ["../up"]}),
    (f"POST {WIRE}/filter-objects", "invalid_name"): Sent(body={"object_ids": ["../up"]}),
    (f"POST {WIRE}/presign", "invalid_name"): Sent(body={"object_ids": ["../up"]}),
    (f"POST {WIRE}/presign", "handle_taken"): Sent(token="{shouting}"),
    (f"POST {WIRE}/staging", "handle_taken"): Sent(token="{shouting}"),
    (f"POST {WIRE}/push/objects", "invalid_name"): Sent(
        body={"objects": [{"object_id": "../up", "content": b""}]}
    ),
    (f"POST {WIRE}/push/objects", "hash_mismatch"): Sent(
        body={"objects": [{"object_id": NOTHING, "content": b""}]}
    ),
    (f"POST {WIRE}/push/objects", "handle_taken"): Sent(token="{shouting}"),
    (f"POST {WIRE}/push", "non_fast_forward"): Sent(
        body={"bundle": HISTORY.bundle([4]), "branch": "main"}
    ),
    (f"POST {WIRE}/push", "handle_taken"): Sent(token="{shouting}"),
    (f"POST {WIRE}/push", "branch_clash"): Sent(body={"bundle": BUNDLE, "branch": "main/verse"}),
    (f"POST {WIRE}/push", "not_portable"): Sent(
        body={"bundle": file_history(["A", "a"]).bundle(), "branch": "other"}
    ),
    (f"POST {WIRE}/push", "invalid_name"): Sent(body={"bundle": BUNDLE, "branch": "../up"}),
    (f"POST {WIRE}/push", "missing_reference"): Sent(
        body={"bundle": HISTORY.bundle([3], objects=False), "branch": "other"},
        where={"slug": "empty"},
    ),
    (f"POST {WIRE}/push", "uploads_pending"): Sent(
        body={"bundle": HISTORY.bundle([1, 2, 3], objects=False), "branch": "main"},
        where={"slug": "uploading"},
    ),
    (f"POST {WIRE}/push", "hash_mismatch"): Sent(
        body={
            "bundle": {**BUNDLE, "objects": [{"object_id": NOTHING, "content": b""}]},
            "branch": "main",
        }
    ),
    (f"POST {WIRE}/push", "damaged"): Sent(
        where={"slug": "ruined"}, body={"bundle": HISTORY.bundle([3]), "branch": "side"}
    ),
    (f"POST {WIRE}/releases", "release_exists"): Sent(body={**RELEASE, "title": "another"}),
    (f"POST {WIRE}/releases", "invalid_name"): Sent(body={**RELEASE, "tag": "../up"}),
    (f"POST {WIRE}/releases", "missing_reference"): Sent(body={**RELEASE, "commit_id": NOTHING}),
    (f"DELETE {WIRE}/releases/{{tag}}", "release_not_found"): Sent(where={"tag": "nothing"}),
    (f"POST {WIRE}/tags", "tag_exists"): Sent(body={"tags": [{**TAG, "tag": "section:chorus"}]}),
    (f"POST {WIRE}/tags", "invalid_name"): Sent(body={"tags": [{**TAG, "tag_id": "../up"}]}),
    (f"POST {WIRE}/tags", "missing_reference"): Sent(
        body={"tags": [{**TAG, "commit_id": NOTHING}]}
    ),
    (f"DELETE {WIRE}/tags/{{tag_id}}", "tag_not_found"): Sent(where={"tag_id": "nothing"}),
    (f"GET {WIRE}/objects/{{object_id}}", "object_not_found"): Sent(where={"object_id": NOTHING}),
    ("GET /o/{object_id}", "object_not_found"): Sent(where={"object_id": NOTHING}),
    (f"GET {WIRE}/raw/{{ref_and_path}}", "ref_not_found"): Sent(
        where={"ref_and_path": "nothing/1.txt"}
    ),
    (f"GET {WIRE}/raw/{{ref_and_path}}", "ambiguous_commit"): Sent(
        where={"ref_and_path": f"{TWIN}/1.txt"}
    ),
    (f"GET {WIRE}/raw/{{ref_and_path}}", "path_not_found"): Sent(
        where={"ref_and_path": "main/nothing"}
    ),
    ("POST /api/v1/repos", "repo_exists"): Sent(body={"slug": "song"}),
    ("POST /api/v1/repos", "handle_taken"): Sent(token="{shouting}"),
    ("POST /api/v1/repos", "invalid_name"): Sent(body={"slug": "../up"}),
    ("POST /api/v1/deleted", "repo_exists"): Sent(body={"slug": "gone", "new_slug": "song"}),
    ("POST /api/v1/deleted", "repo_not_found"): Sent(body={"slug": "nothing"}),
    ("POST /api/v1/deleted", "invalid_name"): Sent(body={"slug": "gone", "new_slug": "../up"}),
    (f"PATCH {API}", "invalid_name"): Sent(body={"default_branch": "a/b"}),
    (f"POST {API}/rename", "repo_exists"): Sent(body={"slug": "ruined"}),
    (f"POST {API}/rename", "invalid_name"): Sent(body={"slug": "../up"}),
    (f"PUT {API}/members/{{handle}}", "invalid_name"): Sent(where={"handle": "settings"}),
    (f"DELETE {API}/members/{{handle}}", "invalid_name"): Sent(where={"handle": "settings"}),
    (f"DELETE {API}/members/{{handle}}", "member_not_found"): Sent(where={"handle": "nobody"}),
    (f"DELETE {API}/members/{{handle}}", "invalid"): Sent(where={"handle": OWNER}),
    (f"DELETE {API}/branches", "ref_not_found"): Sent(query="branch=nothing"),
    (f"GET {API}/moves", "ref_not_found"): Sent(query="branch=nothing"),
    (f"POST {API}/restore", "ref_not_found"): Sent(body={"branch": "nothing"}),
    (f"POST {API}/restore", "branch_clash"): Sent(body={"branch": "verse"}),
    (f"POST {API}/restore", "invalid_name"): Sent(body={"branch": "../up"}),
    (f"GET {API}/commits", "ambiguous_commit"): Sent(query=f"ref={TWIN}"),
    (f"GET {API}/commits/{{commit_id}}", "ambiguous_commit"): Sent(where={"commit_id": TWIN}),
    (f"GET {API}/commits/{{commit_id}}/files", "ambiguous_commit"): Sent(where={"commit_id": TWIN}),
    (f"GET {API}/compare", "ambiguous_commit"): Sent(query=f"base=main&head={TWIN}"),
    (f"POST {API}/restore", "ambiguous_commit"): Sent(body={"branch": "main", "to": TWIN}),
    (f"GET {API}/commits", "ref_not_found"): Sent(query="ref=nothing"),
    (f"GET {API}/commits/{{commit_id}}", "commit_not_found"): Sent(where={"commit_id": NOTHING}),
    (f"GET {API}/commits/{{commit_id}}", "too_large"): Sent(
        where={"commit_id": LARGE["commit_id"]}
    ),
    (f"GET {API}/commits/{{commit_id}}/files", "commit_not_found"): Sent(
        where={"commit_id": NOTHING}
    ),
    (f"GET {API}/compare", "damaged"): Sent(
        where={"slug": "ruined"}, query=f"base={HISTORY[1]}&head=main"
    ),
    (f"GET {API}/compare", "ref_not_found"): Sent(query="base=main&head=nothing"),
    ("POST /api/v1/domains", "domain_exists"): Sent(
        body={**MIDI_DOMAIN, "author_slug": OWNER, "description": "another"}
    ),
    ("POST /api/v1/domains", "handle_taken"): Sent(
        body={**MIDI_DOMAIN, "author_slug": OWNER.upper()}, token="{shouting}"
    ),
    ("POST /api/v1/domains", "invalid_name"): Sent(body={**MIDI_DOMAIN, "author_slug": "repos"}),
    ("GET /api/v1/domains/{author}/{slug}", "domain_not_found"): Sent(where={"slug": "nothing"}),
    ("DELETE /api/v1/domains/{author}/{slug}", "domain_not_found"): Sent(where={"slug": "nothing"}),
    ("POST /api/v1/tokens", "handle_taken"): Sent(token="{shouting}"),
    ("POST /api/v1/tokens", "invalid_name"): Sent(body={"scope": "read", "repo": "nothing"}),
    ("DELETE /api/v1/tokens/{token_id}", "token_not_found"): Sent(where={"token_id": "nothing"}),
    ("DELETE /api/v1/tokens/{token_id}", "invalid_name"): Sent(where={"token_id": "~"}),
}
"""What leads to a failure on one route."""


# ── How it is driven there ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def unlimited(aws: EmbeddedAws) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("PUSH", "FETCH", "READ", "UPLOAD"):
            patch.setenv(f"PIERIA_LIMIT_{limit}", "1000000")
        settings.load.cache_clear()
        yield
    settings.load.cache_clear()


@pytest.fixture(scope="module")
def repo_ids(unlimited: None) -> dict[str, str]:
    """The repositories by name: `song` has all there is, `ruined` has lost its commits and its
    bytes.
    """
    for slug in ("song", "ruined", "racing", "empty"):
        good(f"POST {WIRE}/push/objects", slug)
    for slug in ("song", "ruined", "racing"):
        good(
            f"POST {WIRE}/push", slug, Sent(body={"bundle": HISTORY.bundle([1]), "branch": "side"})
        )
        good(
            f"POST {WIRE}/push", slug, Sent(body={"bundle": HISTORY.bundle([1]), "branch": "main"})
        )
        good(f"POST {WIRE}/push", slug)
    for numbers in ([1], [1, 2]):
        good(
            f"POST {WIRE}/push",
            "racing",
            Sent(body={"bundle": HISTORY.bundle(numbers), "branch": "slow"}),
        )
    urls = good(
        f"POST {WIRE}/presign", "uploading", Sent(body={"object_ids": list(HISTORY.objects)})
    )
    for object_id, url in urls.value["presigned"].items():
        assert httpx.put(url, content=HISTORY.objects[object_id]).status_code == 200
    large = {"commits": [LARGE], "snapshots": [], "objects": []}
    good(f"POST {WIRE}/push", "song", Sent(body={"bundle": large, "branch": "large"}))
    for number, twin in enumerate(TWINS):
        good(
            f"POST {WIRE}/push",
            "song",
            Sent(body={"bundle": {"commits": [twin]}, "branch": f"twin-{number}"}),
        )
    good("POST /api/v1/repos", "song", Sent(body={"slug": "gone"}))
    good(f"DELETE {API}", "gone")
    good("POST /api/v1/domains", "song", Sent(body={**MIDI_DOMAIN, "author_slug": OWNER}))
    good(f"POST {API}/trusted-issuers", "song")
    good(f"POST {WIRE}/releases", "song")
    good(f"POST {WIRE}/tags", "song")
    good(f"POST {WIRE}/push", "song", Sent(body={"bundle": BUNDLE, "branch": "verse"}))
    good(f"DELETE {API}/branches", "song", Sent(query="branch=verse"))
    good(f"POST {WIRE}/push", "song", Sent(body={"bundle": BUNDLE, "branch": "verse/one"}))
    found = {
        slug: str(good(f"GET {WIRE}/refs", slug).value["repo_id"]) for slug in ("song", "ruined")
    }
    ruin(found["ruined"])
    return found


def ruin(repo_id: str) -> None:
    """Lose every byte of a repository, and the rows of its commits."""
    bucket = boto3.resource("s3").Bucket(NAMES["Bucket"])
    bucket.objects.filter(Prefix=object_keys.stored(repo_id)).delete()
    table = boto3.resource("dynamodb").Table(NAMES["HubTable"])
    for branch in ("main", "side"):
        lane = keys.lane(repo_id, branch)
        found = table.query(
            KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": lane}
        )
        for row in found["Items"]:
            table.delete_item(Key={"pk": row["pk"], "sk": row["sk"]})


def good(route: str, slug: str, sent: Sent | None = None) -> Answer:
    """A request that is granted."""
    answer = ask(route, replace(sent or GOOD.get(route, Sent()), where={"slug": slug}))
    assert answer.status < 300, (route, answer.body)
    return answer


def ask(route: str, sent: Sent, repo_ids: Mapping[str, str] | None = None) -> Answer:
    """One request, good except for the given parts."""
    usual = GOOD.get(route, Sent())
    names = {
        "owner": OWNER,
        "slug": "song",
        "handle": STRANGER,
        "author": f"@{OWNER}",
        "tag": "v1.0.0",
        "tag_id": "a-tag",
        "token_id": "a-token",
        "trust_id": "nothing",
        "object_id": OBJECT,
        "commit_id": HISTORY[2],
        "ref_and_path": "main/1.txt",
        **sent.where,
    }
    names["repo_id"] = (repo_ids or {}).get(names["slug"], NOTHING)
    token = sent.token or client.token(OWNER)
    if token == "{read-only, for another repository}":
        token = client.token(OWNER, scope=Role.READ, repo=f"{OWNER}/another")
    elif token == "{stranger}":
        token = client.token(STRANGER)
    elif token == "{shouting}":
        token = client.token(OWNER.upper())
        names |= {"owner": OWNER.upper(), "slug": "nothing"}
    method, path = route.split(" ")
    body = usual.body if sent.body is None else sent.body
    query = ((usual.query or "") if sent.query is None else sent.query).format(**names)
    as_it_is = {"raw": body} if isinstance(body, bytes) else {"message": body}
    headers = {"content-type": MSGPACK, **client.bearer(token), **sent.headers}
    return client.ask(
        routes()[route],
        method,
        path.format(**names),
        query=query,
        headers=headers,
        accept=MSGPACK,
        **as_it_is,
    )


def drive(route: str, code: str, repo_ids: Mapping[str, str]) -> Answer:
    """The answer to what leads to this failure on this route."""
    sent = SOMEWHERE.get((route, code)) or ANYWHERE[code]
    with cloud(route, code):
        return ask(route, sent, repo_ids)


@contextmanager
def cloud(route: str, code: str) -> Iterator[None]:
    """The cloud that this failure takes."""

    async def fail(_: CloudCall) -> Any:
        raise (
            EndpointConnectionError(endpoint_url="http://nowhere")
            if code == "unavailable"
            else RuntimeError("bug")
        )

    async def fail_at_provider(*_: Any, **__: Any) -> tuple[int, bytes]:
        return 500, b"{}"

    async def be_slow(call: CloudCall) -> Any:
        """Another request moves the branch just before the call."""
        key = call.parameters.get("Key", {})
        if call.operation != "GetItem" and key.get("sk", {}).get("S", "").startswith(keys.REF):
            faster = {
                "UpdateExpression": "SET #head = :head",
                "ExpressionAttributeNames": {"#head": "head"},
            }
            values = {":head": {"S": NOTHING}}
            where = {"TableName": call.parameters["TableName"], "Key": key}
            await call.send_other(
                "UpdateItem", {**where, **faster, "ExpressionAttributeValues": values}
            )
        return await call.send()

    with pytest.MonkeyPatch.context() as patch, ExitStack() as interceptors:
        if code in ("unavailable", "internal"):
            interceptors.enter_context(intercepted(fail))
        if code == "internal" and "{" not in route:
            patch.setattr(http, "reply", lambda *_: 1 / 0)
        if code == "issuer_invalid":
            patch.setattr("shared.openid.connection.exchanged", fail_at_provider)
        if code == "uploads_pending":
            patch.setattr(quarantine, "VERIFIED_OBJECTS", 1)
        if code == "branch_moved":
            interceptors.enter_context(intercepted(be_slow))
        yield


def deviation(answer: Answer, status: int, code: str) -> str:
    """The faults of an error reply; empty for none."""
    if answer.status < 400:
        return f"succeeds with {answer.status}"
    if answer.headers["content-type"] != "application/json":
        return f"has Content-Type {answer.headers['content-type']}"
    told = answer.value
    if (answer.status, told.get("code")) != (status, code):
        return f"is {answer.status} {told}"
    if told.keys() - OAUTH != {"message", "detail", "code"} or told["message"] != told["detail"]:
        return f"has another body: {told}"
    if not 0 < len(told["message"]) <= texts.MESSAGE_CHARACTERS or "\n" in told["message"]:
        return f"has a message that is no line of text: {told['message']!r}"
    return "" if answer.headers.get("x-request-id") else "has no request id"


# ── Every error ───────────────────────────────────────────────────────────────────────────────────


API_ROUTES = [
    route
    for route, function in routes().items()
    if function not in {endpoint.module for endpoint in PAGES}
]
"""All routes but the pages, whose errors are HTML."""


@cache
def documented() -> dict[str, dict[str, int]]:
    """The failures of each route in the OpenAPI document: their statuses, by code."""
    answer = client.invoke("openapi", client.event("GET", "/api/v1/openapi.json"))
    return {
        f"{method.upper()} {path}": {
            code: int(status)
            for status, response in operation["responses"].items()
            if status.isdecimal() and int(status) >= 400
            for code in re.findall(r"`(\w+)`", response["description"])
        }
        for path, item in answer.value["paths"].items()
        for method, operation in item.items()
    }


def statuses() -> dict[str, int]:
    """The status of every code, from the tree of errors."""
    found = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ApiError)
    ]
    return {kind.code: kind.status for kind in found}


def test_the_documents_list_every_code_with_its_status_and_nothing_else() -> None:
    page = (Path(__file__).parent.parent / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == statuses()
    assert len(rows) == len(statuses())


def test_every_route_says_how_it_fails_by_a_code_of_ours() -> None:
    assert documented().keys() == set(API_ROUTES)
    for route, codes in documented().items():
        assert codes.items() <= statuses().items(), route
        assert "internal" in codes, route


def test_every_failure_that_can_be_provoked_is_documented() -> None:
    unsaid = [f"{route}: {code}" for route, code in SOMEWHERE if code not in documented()[route]]
    assert not unsaid, "\n" + "\n".join(unsaid)


@pytest.mark.parametrize("route", API_ROUTES)
def test_a_route_fails_in_every_way_that_it_documents(
    repo_ids: Mapping[str, str], route: str
) -> None:
    found = []
    for code, status in documented()[route].items():
        if code in LIMITS:
            continue
        if (route, code) not in SOMEWHERE and code not in ANYWHERE:
            found.append(f"{code}: nobody knows how")
        elif wrong := deviation(drive(route, code, repo_ids), status, code):
            found.append(f"{code}: {wrong}")
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("scope", "code", "status"), [("SUBJECT", "cost_limit", 429), ("HUB", "hub_limit", 503)]
)
def test_every_route_that_counts_refuses_a_caller_over_the_cost_limit(
    repo_ids: Mapping[str, str], configured: pytest.MonkeyPatch, scope: str, code: str, status: int
) -> None:
    configured.setenv(f"PIERIA_LIMIT_COST_{scope}", "1e-11")
    found = []
    for number, (route, codes) in enumerate(documented().items()):
        if code not in codes:
            continue
        settings.load.cache_clear()  # new settings open new stores, which have nothing pending
        sent = Sent(token=client.token(f"spender{scope}{number}"))
        ask(route, sent, repo_ids)
        answer = ask(route, sent, repo_ids)
        if wrong := deviation(answer, status, code):
            found.append(f"{route}: {wrong}")
        elif not 1 <= int(answer.headers["retry-after"]) <= 86_400:
            found.append(f"{route}: Retry-After: {answer.headers['retry-after']}")
    assert not found, "\n" + "\n".join(found)


def test_every_route_that_counts_refuses_a_caller_over_the_rate_limit(
    repo_ids: Mapping[str, str], configured: pytest.MonkeyPatch
) -> None:
    for limit in ("PUSH", "FETCH", "READ", "UPLOAD"):
        configured.setenv(f"PIERIA_LIMIT_{limit}", "1")
    settings.load.cache_clear()
    found = []
    for number, (route, codes) in enumerate(documented().items()):
        if "rate_limited" not in codes:
            continue
        sent = Sent(token=client.token(f"impatient{number}"))
        ask(route, sent, repo_ids)
        answer = ask(route, sent, repo_ids)
        if answer.status != 429:
            answer = ask(route, sent, repo_ids)  # a new minute began between the first two requests
        if wrong := deviation(answer, 429, "rate_limited"):
            found.append(f"{route}: {wrong}")
        elif not 1 <= int(answer.headers["retry-after"]) <= 60:
            found.append(f"{route}: Retry-After: {answer.headers['retry-after']}")
    assert not found, "\n" + "\n".join(found)
