"""Every route of the hub, driven with the largest contents that the hub accepts: its reply fits
through Lambda.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared import ids, names, settings
from shared.engines import selection
from shared.engines.s3 import S3Bucket
from shared.metadata import keys
from tests import builders, client
from tests.authorization import routes
from tests.builders import Record, commit, snapshot
from tests.client import MSGPACK
from tests.functions import api

LAMBDA_REPLY_BYTES = 6_291_556
OWNER = "largest"
CONTROL = "\x01"
"""The character that grows most: seven bytes of a reply in JSON."""
API = "/api/v1/repos/{owner}/{slug}"
WIRE = "/{owner}/{slug}"

TEXT = CONTROL.encode() * 1_000_000
DEEP = [f"{number:04}" + "/" + "/".join(['"' * 254] * 16) for number in range(1_001)]
"""Paths as long as they may be, of quotes, each of which is four bytes of a reply in JSON."""


def _line() -> list[Record]:
    """A hundred commits whose message and author are cut, the last one on the files above."""
    record = snapshot(dict.fromkeys(DEEP, ids.object_id(b"")))
    commits: list[Record] = []
    for number in range(100):
        parents = [commits[-1]["commit_id"]] if commits else []
        on = record["snapshot_id"] if number == 99 else None
        commits.append(commit(f"{number}" + CONTROL * 40_000, parents, on, author='"' * 40_000))
    return commits


LINE = _line()
HEAD = LINE[-1]["commit_id"]
HUGE = commit("huge", structured_delta={"data": '"\\' * 1_100_000})
LONG_IDS = [f"{number:05}".ljust(128, "x") for number in range(35_000)]
RELEASE: Record = {
    "commit_id": HEAD,
    "title": "all",
    "body": "\\" * 2_000_000,
    "tag": "v1",
    "release_id": "r1",
}
TAG: Record = {"tag_id": "t", "commit_id": HEAD, "tag": '"' * 500}
LARGE_DOMAIN: Record = {
    "author_slug": OWNER,
    "slug": "song",
    "display_name": CONTROL * 100,
    "description": CONTROL * 1_000,
    "capabilities": {"dimensions": [{"name": "notes", "description": CONTROL * 900}] * 5},
    "viewer_type": "v" * 64,
    "version": "0.1.0",
}


@dataclass(frozen=True)
class Asked:
    """A request. `where` fills the path; `statuses` may be a refusal that says what to do
    instead.
    """

    body: Any = None
    query: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    statuses: tuple[int, ...] = (200, 201, 204)


_REQUESTS: dict[str, Asked] = {
    f"POST {WIRE}/fetch": Asked({"want": [HEAD]}, statuses=(200, 413)),
    f"POST {WIRE}/fetch/history": Asked({"want": [HEAD]}, statuses=(200, 413)),
    f"POST {WIRE}/fetch/objects": Asked({"object_ids": [ids.object_id(TEXT), ids.object_id(b"")]}),
    f"POST {WIRE}/negotiate": Asked({"want": [HEAD], "have": [HEAD, *LONG_IDS[:255]]}),
    f"POST {WIRE}/filter-objects": Asked({"object_ids": LONG_IDS}),
    f"POST {WIRE}/presign": Asked({"object_ids": [f"{n:064x}" for n in range(8_000)] + LONG_IDS[:2_000]}),
    f"POST {WIRE}/staging": Asked({"route": "push/objects", "size": 64 * 2**20}),
    f"POST {WIRE}/push/objects": Asked({"objects": [builders.blob(b"%d" % n) for n in range(1_000)]}),
    f"POST {WIRE}/push": Asked({"bundle": {"commits": LINE[:1], "snapshots": [], "objects": []}, "branch": "main"},
                               statuses=(409,)),
    f"GET {WIRE}/releases": Asked(statuses=(200, 413)),
    f"POST {WIRE}/releases": Asked(RELEASE),
    f"DELETE {WIRE}/releases/{{tag}}": Asked(where={"tag": "v0"}),
    f"POST {WIRE}/tags": Asked({"tags": [{**TAG, "tag_id": f"u{n}"} for n in range(800)]}),
    f"DELETE {WIRE}/tags/{{tag_id}}": Asked(where={"tag_id": "t0000"}),
    f"GET {WIRE}/objects/{{object_id}}": Asked(where={"object_id": ids.object_id(TEXT)}),
    "GET /o/{object_id}": Asked(query="repo_id={repo_id}", where={"object_id": ids.object_id(TEXT)}),
    f"GET {WIRE}/raw/{{ref_and_path}}": Asked(where={"ref_and_path": "text/all.txt"}),
    "POST /api/v1/repos": Asked({"slug": "new", "description": CONTROL * 1_000}),
    "GET /api/v1/users/{owner}/repos": Asked(query="limit=100"),
    "GET /api/v1/deleted": Asked(query="limit=100"),
    "POST /api/v1/deleted": Asked({"slug": CONTROL * 20_000}, statuses=(404, 422)),
    f"PATCH {API}": Asked({"description": CONTROL * 1_000}),
    f"DELETE {API}": Asked(where={"slug": "copy-00"}),
    f"POST {API}/rename": Asked({"slug": "renamed"}, where={"slug": "copy-01"}),
    f"GET {API}/members": Asked(query="limit=100"),
    f"PUT {API}/members/{{handle}}": Asked({"role": "read"}, where={"handle": "m" * 64}),
    f"DELETE {API}/members/{{handle}}": Asked(where={"handle": "m" * 64}, statuses=(204, 404)),
    f"POST {API}/trusted-issuers": Asked(
        {"issuer": "https://id.example", "scope": "read", "claims": {"sub": CONTROL * 70}}
    ),
    f"DELETE {API}/trusted-issuers/{{trust_id}}": Asked(where={"trust_id": "x" * 99}, statuses=(404,)),
    "POST /api/v1/tokens/exchange": Asked({}, statuses=(415,)),
    f"GET {API}/branches": Asked(query="limit=100"),
    f"DELETE {API}/branches": Asked(query="branch=gone"),
    f"GET {API}/moves": Asked(query="branch=main"),
    f"POST {API}/restore": Asked({"branch": "main"}, statuses=(422,)),
    f"GET {API}/commits": Asked(query="limit=100"),
    f"GET {API}/commits/{{commit_id}}": Asked(where={"commit_id": HUGE["commit_id"]}, statuses=(200, 413)),
    f"GET {API}/commits/{{commit_id}}/files": Asked(where={"commit_id": HEAD}),
    f"GET {API}/compare": Asked(query=f"base=text&head={HEAD}"),
    "POST /api/v1/domains": Asked(LARGE_DOMAIN),
    "GET /api/v1/domains": Asked(query="limit=100"),
    "DELETE /api/v1/domains/{author}/{slug}": Asked(where={"slug": "none"}, statuses=(404,)),
    "POST /api/v1/tokens": Asked({"scope": "read"}),
    "GET /api/v1/tokens": Asked(query="limit=100"),
    "DELETE /api/v1/tokens/{token_id}": Asked(where={"token_id": "nothing"}, statuses=(404,)),
}  # fmt: skip
"""The requests that are more than the URL of a route."""
_PAGES = {
    "GET /static/{name}": {"name": "style.css"},
    f"GET {WIRE}/tree/{{ref_and_folder}}": {"ref_and_folder": HEAD},
    f"GET {WIRE}/blob/{{ref_and_path}}": {"ref_and_path": "text/all.txt"},
    f"GET {WIRE}/file/{{ref_and_path}}": {"ref_and_path": "text/all.txt"},
    f"GET {WIRE}/commits/{{ref}}": {"ref": "main"},
    f"GET {WIRE}/commit/{{commit_id}}": {"commit_id": HUGE["commit_id"]},
    f"GET {WIRE}/compare/{{base_and_head}}": {"base_and_head": f"text...{HEAD}"},
    f"GET {WIRE}/release/{{tag}}": {"tag": "v01"},
}
"""The rest of the URLs of pages."""
PAGES = {
    route: Asked(where=_PAGES.get(route, {}))
    for route, function in routes().items()
    if function == "pages"
}
FORMS = {
    "GET /-/sign-in": Asked(),
    "POST /-/sign-in": Asked({"token": "x" * 60_000}, statuses=(403,)),
    "GET /-/sign-in/{provider}": Asked(where={"provider": "x" * 1_000}, statuses=(404,)),
    "GET /-/sign-in/{provider}/callback": Asked(where={"provider": "x" * 1_000}, statuses=(404,)),
    "GET /-/handle": Asked(statuses=(403,)),
    "POST /-/handle": Asked({"handle": CONTROL * 20_000}, statuses=(403,)),
    "POST /-/handle/link": Asked({}, statuses=(403,)),
    "POST /-/account/sign-out": Asked({}, statuses=(303,)),
    "GET /-/account": Asked(),
    "POST /-/account/tokens": Asked(
        {"scope": "read", "days": "365", "repo": "x" * 60_000}, statuses=(422,)
    ),
    "POST /-/account/revoke": Asked({"token_id": "x" * 60_000}, statuses=(422,)),
    "GET /-/new": Asked(),
    "POST /-/new": Asked({"slug": "x", "description": CONTROL * 20_000}, statuses=(422,)),
    "GET /-/deleted": Asked(),
    "POST /-/deleted": Asked({"slug": CONTROL * 20_000}, statuses=(422,)),
    "GET /domains/{author}/{slug}/delete": Asked(where={"author": f"@{OWNER}"}),
    "POST /domains/{author}/{slug}/delete": Asked(
        {"confirm": CONTROL * 20_000}, where={"author": f"@{OWNER}"}, statuses=(422,)
    ),
    f"GET {WIRE}/settings": Asked(),
    f"POST {WIRE}/settings": Asked({"description": CONTROL * 20_000}, statuses=(422,)),
    f"POST {WIRE}/settings/rename": Asked(
        {"slug": CONTROL * 20_000, "confirm": "song"}, statuses=(422,)
    ),
    f"POST {WIRE}/settings/delete": Asked({"confirm": CONTROL * 20_000}, statuses=(422,)),
    f"GET {WIRE}/settings/members": Asked(),
    f"POST {WIRE}/settings/members": Asked(
        {"handle": CONTROL * 20_000, "role": "read"}, statuses=(422,)
    ),
    f"POST {WIRE}/settings/members/remove": Asked({"handle": CONTROL * 20_000}, statuses=(422,)),
    f"GET {WIRE}/settings/issuers": Asked(),
    f"POST {WIRE}/settings/issuers": Asked({"claims": CONTROL * 20_000}, statuses=(422,)),
    f"POST {WIRE}/settings/issuers/remove": Asked({"trust_id": CONTROL * 20_000}, statuses=(404,)),
    f"GET {WIRE}/settings/branches": Asked(),
    f"POST {WIRE}/settings/branches/delete": Asked({"branch": CONTROL * 20_000}, statuses=(422,)),
    f"POST {WIRE}/settings/branches/restore": Asked({"branch": CONTROL * 20_000}, statuses=(422,)),
}
"""The pages with forms, and their submissions, with the session of the owner."""
REQUESTS = {
    route: _REQUESTS.get(route, Asked())
    for route in routes()
    if route not in PAGES and route not in FORMS
}


def names_of_branches() -> Iterator[str]:
    """The longest names of branches, in characters and in bytes."""
    for number in range(names.BRANCHES - 5):
        yield f"{number:05}" + ('"' * 250 if number % 2 else "/".join(["€" * 81] * 3))


async def many_rows() -> None:
    """Branches, repositories and members: their rows, put beside one that a request made."""
    opened = await selection.stores()
    table = opened.hub
    repo = await opened.repos.get(OWNER, "song")
    assert repo
    rows: list[tuple[keys.Key, Any]] = []

    async def copy(key: keys.Key, copies: list[keys.Key], **more: str) -> None:
        row = await table.get(key)
        assert row
        plain = {name: value for name, value in row.items() if name not in ("pk", "sk")}
        rows.extend((to, {**plain, **more}) for to in copies)

    await copy(
        keys.ref(repo.repo_id, "main"),
        [keys.ref(repo.repo_id, name) for name in names_of_branches()],
    )
    for number in range(100):
        slug = f"copy-{number:02}"
        description = CONTROL * 1_000
        await copy(
            keys.repo(OWNER, "song"), [keys.repo(OWNER, slug)], slug=slug, description=description
        )
        rows.append((keys.listed(OWNER, "public", slug), {"repo_id": repo.repo_id}))
        rows.append(
            (
                keys.member(OWNER, "song", f"{number:02}".ljust(64, "m")),
                {"role": "read", "roster": repo.members_generation},
            )
        )
    await table.put(rows)


def good(method: str, path: str, body: Any) -> None:
    answer = invoke(f"{method} {WIRE}{path}", Asked(body), MSGPACK)
    assert client.answer(answer).status < 300, answer[:500]


def invoke(route: str, asked: Asked, accept: str) -> bytes:
    """The reply of the route's handler, as it leaves Lambda."""
    method, path = route.split(" ")
    where = {"owner": OWNER, "slug": "song", "author": f"@{OWNER}", **asked.where}
    query = asked.query.format(**where)
    request = client.request(
        method, path.format(**where), asked.body, by=OWNER, query=query, accept=accept
    )
    return client.reply_bytes(routes()[route], client.event_of(request))


def push(
    commits: list[Record],
    branch: str,
    snapshots: list[Record] | None = None,
    objects: list[Record] | None = None,
) -> None:
    bundle = {"commits": commits, "snapshots": snapshots or [], "objects": objects or []}
    good("POST", "/push", {"bundle": bundle, "branch": branch})


@pytest.fixture(scope="module")
def repo_id(aws: Any) -> Iterator[str]:
    """A repository that has as much as there may be of everything."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("PUSH", "FETCH", "READ", "UPLOAD"):
            patch.setenv(f"PIERIA_LIMIT_{limit}", "1000000")
        patch.setattr(S3Bucket, "is_aws", property(lambda bucket: True))
        settings.load.cache_clear()
        on_text = snapshot({"all.txt": ids.object_id(TEXT)})
        push([commit("text", [], on_text["snapshot_id"])], "text", [on_text], [builders.blob(TEXT)])
        push(
            LINE, "main", [snapshot(dict.fromkeys(DEEP, ids.object_id(b"")))], [builders.blob(b"")]
        )
        push([HUGE], "huge")
        push(LINE[:1], "gone")
        for number in range(3):
            release = {**RELEASE, "tag": f"v0{number or ''}", "release_id": str(uuid.uuid4())}
            good("POST", "/releases", release)
        padding = CONTROL * 3_300
        tags = [{**TAG, "tag_id": f"t{n:04}", "padding": padding} for n in range(1_000)]
        for start in range(0, 1_000, 100):
            good("POST", "/tags", {"tags": tags[start : start + 100]})
        asyncio.get_event_loop().run_until_complete(many_rows())
        # As in template.yaml.
        patch.setenv("PIERIA_MAX_REPLY_BYTES", "4690000")
        settings.load.cache_clear()
        answer = api.call("repos", "GET", f"/repos/{OWNER}/song", by=OWNER)
        yield answer.value["repo_id"]
    settings.load.cache_clear()


def test_every_request_is_to_a_route() -> None:
    assert _REQUESTS.keys() <= routes().keys()


@pytest.mark.parametrize("route", REQUESTS)
def test_the_largest_reply_fits_through_lambda(repo_id: str, route: str) -> None:
    asked = REQUESTS[route]
    where = {**asked.where, "repo_id": repo_id}
    for accept in (
        ("application/json", MSGPACK)
        if route.startswith(("GET", "POST /{"))
        else ("application/json",)
    ):
        reply = invoke(route, Asked(asked.body, asked.query, where), accept)
        answer = client.answer(reply)
        assert len(reply) < LAMBDA_REPLY_BYTES
        assert answer.status in asked.statuses, (accept, answer.status, answer.body[:300])
        if answer.status == 413:
            assert (
                "Accept: application/x-msgpack" in answer.value["message"]
                or "pull" in answer.value["message"]
            )


@pytest.mark.parametrize("route", PAGES)
def test_the_largest_page_fits_through_lambda(repo_id: str, route: str) -> None:
    reply = invoke(route, PAGES[route], "text/html")
    assert len(reply) < LAMBDA_REPLY_BYTES
    assert client.answer(reply).status == 200


@pytest.mark.parametrize("route", FORMS)
def test_the_largest_form_fits_through_lambda(repo_id: str, route: str) -> None:
    asked = FORMS[route]
    method, path = route.split(" ")
    url = path.format(**{"owner": OWNER, "slug": "song", **asked.where})
    headers, body = client.by_browser(path, client.session(OWNER), asked.body)
    sent = client.event(method, url, body, headers, query=asked.query)
    reply = client.reply_bytes(routes()[route], sent)
    assert len(reply) < 400_000
    assert client.answer(reply).status in asked.statuses


def listed(route: str, name: str, of: Callable[[Any], str]) -> list[str]:
    """All entries of a list, page after page, each of which fits through Lambda."""
    found: list[str] = []
    cursor = ""
    while True:
        reply = invoke(route, Asked(query=f"cursor={cursor}", where=REQUESTS[route].where), MSGPACK)
        assert len(reply) < LAMBDA_REPLY_BYTES
        value = client.answer(reply).value
        entries = value[name]
        assert entries
        found += [of(entry) for entry in entries]
        cursor = value.get("next_cursor")
        if not cursor:
            return found


def test_lists_that_are_cut_go_on_to_the_end(repo_id: str) -> None:
    assert listed(f"GET {API}/commits/{{commit_id}}/files", "files", str) == sorted(DEEP)
    tags = listed(f"GET {WIRE}/tags", "tags", lambda tag: str(tag["tag_id"]))
    assert [tag_id for tag_id in tags if tag_id.startswith("t")][-1] == "t0999"
    assert {"v01", "v02"} <= set(
        listed(f"GET {WIRE}/releases", "releases", lambda release: str(release["tag"]))
    )


def test_a_push_beside_many_branches_is_answered_with_its_own(repo_id: str) -> None:
    new = commit("one more", [HEAD])
    bundle = {"commits": [new], "snapshots": [], "objects": []}
    reply = invoke(f"POST {WIRE}/push", Asked({"bundle": bundle, "branch": "main"}), MSGPACK)
    answer = client.answer(reply)
    assert answer.status == 200, answer.body[:300]
    assert answer.value["branch_heads"] == {"main": new["commit_id"]}
    assert len(reply) < 2_000


def test_a_branch_more_than_there_may_be_is_refused_with_the_limit(repo_id: str) -> None:
    for branch in ("last", "one-too-many", "one-too-many-2"):
        bundle = {"commits": LINE[:1], "snapshots": [], "objects": []}
        asked = Asked({"bundle": bundle, "branch": branch})
        answer = client.answer(invoke(f"POST {WIRE}/push", asked, MSGPACK))
        if answer.status != 200:
            break
    assert (answer.status, answer.code) == (413, "too_large")
    assert str(names.BRANCHES) in answer.value["message"] and "DELETE" in answer.value["message"]
    assert len(json.dumps(answer.value["message"])) < 400
