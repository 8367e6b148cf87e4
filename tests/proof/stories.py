"""One request to every route of the hub, to be disturbed; and what anybody can see of the world it
is made in.

The world: `me` has `song` (branches `main`, forced once, and `side`, a release, tags, a member, a
large object, an upload in quarantine) and `other`; `us` has nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from functions.endpoints import GITHUB_ACTIONS, MIDI_DOMAIN
from shared import ids, references, settings
from shared.engines.selection import stores
from shared.http import browser
from shared.maintenance import fsck
from shared.model import RepoId
from shared.objects import keys as object_keys
from shared.references import Reference
from shared.web.route import SIGN_IN
from tests import builders, client
from tests.builders import Record, blob
from tests.client import MSGPACK, Answer
from tests.proof.asgi_client import Hub, shown, token

WIRE = "/{owner}/{slug}"
API = "/api/v1/repos/{owner}/{slug}"
SONG = {"owner": "me", "slug": "song"}
NEW = {"owner": "me", "slug": "new"}

#     1 ── 2 ── 3        main was at 3 and is at 5 by force; side is at 3; 6 … are to be pushed
#     └─── 4 ── 5
HISTORY = builders.graph(
    "1; 2:1; 3:2; 4:1; 5:4; 6:5; 7:5; 8:6,7; 9:4; 10:5; "
    + "; ".join(f"{n}:{n - 1}" for n in range(11, 31)),
    salt="of the stories",
)
LARGE = b"drone" * (1024 * 1024 // 5 + 1)
UPLOADED = b"uploaded " * 4
CHUNK = [b"kick", b"snare", b"hat", LARGE]
CONTENTS = {
    **HISTORY.objects,
    **{ids.object_id(content): content for content in [*CHUNK, UPLOADED]},
}
RELEASE = {
    "release_id": "first",
    "tag": "v1.0.0",
    "commit_id": HISTORY[1],
    "created_at": "2026-01-01T00:00:00+00:00",
}
VOLATILE = {
    "repo_id",
    "created_at",
    "token",
    "token_id",
    "issued_at",
    "expires_at",
    "revoked_at",
    "at",
    "domain_id",
    "published_at",
}
"""The values that are new each time."""


def commit_with(parent: int, files: Mapping[str, bytes], message: str) -> Record:
    """A bundle of one commit that adds these files, without their bytes."""
    manifest = {path: ids.object_id(content) for path, content in files.items()}
    snapshot = builders.snapshot({**HISTORY.snapshots[parent]["manifest"], **manifest})
    commit = builders.commit(message, [HISTORY[parent]], snapshot["snapshot_id"])
    return {"commits": [commit], "snapshots": [snapshot], "objects": []}


def tag(number: int) -> Record:
    """A tag."""
    return {"tag_id": f"tag-{number}", "tag": f"section:{number}", "commit_id": HISTORY[1]}


def push(bundle: Record, branch: str = "main", **more: Any) -> Record:
    """The message of a push."""
    return {"bundle": bundle, "branch": branch, **more}


STAGED = {
    "push": push(HISTORY.bundle([6, 7, 8])),
    "push/objects": {"objects": [*map(blob, CHUNK)]},
}
"""Bodies that are staged before each story, by the route that they are for."""


@dataclass(frozen=True)
class Story:
    """A request. `again` are the further replies that are valid if it is repeated after it was
    done.

    The writes in `loose` may be done in part; `of_chance`: its reply is never the same twice.
    """

    name: str
    route: str
    where: Mapping[str, str] = field(default_factory=lambda: SONG)
    message: Any = None
    query: str = ""
    status: int = 200
    again: frozenset[int] = frozenset()
    loose: frozenset[str] = frozenset()
    of_chance: bool = False
    by: str | None = "me"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        """Whether it is to change nothing."""
        method, path = self.route.split(" ")
        return method == "GET" or path.endswith(
            ("/fetch", "/fetch/history", "/fetch/objects", "/negotiate", "/filter-objects")
        )

    def tell(self, hub: Hub) -> Answer:
        """Ask."""
        message = self.message
        if self.route == f"POST {SIGN_IN}":
            message = {name: value.format(token=token("me")) for name, value in message.items()}
        return hub.call(
            self.route, self.where, message, by=self.by, query=self.query.format(**ids_of(hub)),
            headers=self.headers_for(hub),
        )  # fmt: skip

    def headers_for(self, hub: Hub) -> dict[str, str]:
        """The headers of the request, with the references to staged bodies filled in."""
        return {name: value.format(**ids_of(hub)) for name, value in self.headers.items()}


def ids_of(hub: Hub) -> Mapping[str, str]:
    """The values that a query or a header may name."""
    rows = hub.cloud.tables[settings.load().hub_table]["OWNER#me"]
    repo_id = rows["REPO#song"]["repo_id"]["S"]
    return {"repo_id": repo_id, **{route: reference(repo_id, route) for route in STAGED}}


def reference(repo_id: RepoId, route: str) -> str:
    """A reference to the body of STAGED for this route, which `prepare` has uploaded."""
    body = msgpack.packb(STAGED[route])
    stated = Reference(
        aud=references.AUDIENCE,
        repo_id=repo_id,
        sub="me",
        route=route,
        size=len(body),
        name=staged_name(route),
        exp=2**40,
    )
    return references.sign(settings.load().signing_keys, stated)


def staged_name(route: str) -> str:
    """The last part of the key of the body of STAGED for this route."""
    return ids.object_id(route.encode())[:32]


def _story(name: str, route: str, **more: Any) -> Story:
    for one in ("again", "loose"):
        if one in more:
            more[one] = frozenset(more[one])
    return Story(name, route, **more)


def _page(name: str, route: str, **more: Any) -> Story:
    """A request of a browser."""
    return _story(name, route, headers={"accept": "text/html"}, **more)


def _form(name: str, route: str, **more: Any) -> Story:
    """A page with a form, or its submission with the fields of `message`, with a session."""
    headers = {"accept": "text/html", "content-type": browser.FORM_TYPE}
    return _story(name, route, headers=headers, **more)


def _file(number: int) -> dict[str, str]:
    return {**SONG, "commit_id": HISTORY[number]}


STORIES = [
    _story("heads", f"GET {WIRE}/refs"),
    _story("heads, by a stranger", f"GET {WIRE}/refs", by=None),
    _story("clone", f"POST {WIRE}/fetch", message={"want": [HISTORY[5], HISTORY[3]]}),
    _story("clone, in JSON", f"POST {WIRE}/fetch", message={"want": [HISTORY[5]]}, headers={"accept": "*/*"}),
    _story("one commit more", f"POST {WIRE}/fetch", message={"want": [HISTORY[5]], "have": [HISTORY[4]]}),
    _story("a long list of haves", f"POST {WIRE}/fetch",
           message={"want": [HISTORY[5]], "have": [HISTORY[1], *(f"{n:064x}" for n in range(300))]}),
    _story("a step of a clone", f"POST {WIRE}/fetch/history", message={"want": [HISTORY[5], HISTORY[3]]}),
    _story("a last step", f"POST {WIRE}/fetch/history", message={"want": [HISTORY[5]], "have": [HISTORY[4]]}),
    _story("contents of a step", f"POST {WIRE}/fetch/objects",
           message={"object_ids": [*HISTORY.snapshots[5]["manifest"].values(), ids.object_id(LARGE[:-1])]}),
    _story("what is shared", f"POST {WIRE}/negotiate",
           message={"want": [HISTORY[5]], "have": [HISTORY[1], HISTORY[3]]}),
    _story("what is missing", f"POST {WIRE}/filter-objects", message={"object_ids": sorted(CONTENTS)}),
    _story("room for an upload", f"POST {WIRE}/presign", message={"object_ids": [ids.object_id(LARGE)]}),
    _story("room in a new repository", f"POST {WIRE}/presign", where=NEW,
           message={"object_ids": [ids.object_id(LARGE)]}, loose=["repos"]),
    _story("room for a body", f"POST {WIRE}/staging", message={"route": "push", "size": 1000}, of_chance=True),
    _story("room for a body in a new repository", f"POST {WIRE}/staging", where=NEW,
           message={"route": "push/objects", "size": 1000}, of_chance=True, loose=["repos"]),
    _story("a staged chunk", f"POST {WIRE}/push/objects", of_chance=True,
           headers={"pieria-staged-body": "{push/objects}", "content-type": MSGPACK}),
    _story("a staged push", f"POST {WIRE}/push",
           headers={"pieria-staged-body": "{push}", "content-type": MSGPACK}),
    _story("a chunk", f"POST {WIRE}/push/objects", message={"objects": [*map(blob, CHUNK)]}, of_chance=True),
    _story("a chunk for a new repository", f"POST {WIRE}/push/objects", where=NEW,
           message={"objects": [*map(blob, CHUNK)]}, of_chance=True, loose=["repos"]),
    _story("a first push", f"POST {WIRE}/push", where=NEW, message=push(HISTORY.bundle([1, 2, 3])), loose=["repos"]),
    _story("a merge", f"POST {WIRE}/push", message=push(HISTORY.bundle([6, 7, 8]))),
    _story("a push of twenty", f"POST {WIRE}/push", message=push(HISTORY.bundle(range(10, 31)))),
    _story("an upload is named", f"POST {WIRE}/push",
           message=push(commit_with(5, {"up.wav": UPLOADED}, "an upload"))),
    _story("into a folder", f"POST {WIRE}/push", message=push(HISTORY.bundle([9]), "verse/second/take")),
    _story("by force", f"POST {WIRE}/push", message=push(HISTORY.bundle([9]), force=True)),
    _story("by force, records anew", f"POST {WIRE}/push", message=push(
        {**HISTORY.bundle([4, 5]), "commits": [{**HISTORY.commits[n], "author": "Eve"} for n in (4, 5)]}, force=True),
        # From a commit to itself: that it was announced and not made cannot be seen.
        loose=["moves of main in song"]),
    _story("nothing new", f"POST {WIRE}/push", message=push(HISTORY.bundle([5]))),
    _story("too late", f"POST {WIRE}/push", message=push(HISTORY.bundle([9])), status=409),
    _story("releases", f"GET {WIRE}/releases"),
    _story("publish", f"POST {WIRE}/releases",
           message={**RELEASE, "release_id": "second", "tag": "v2.0.0"}, status=201),
    _story("retract", f"DELETE {WIRE}/releases/{{tag}}", where={**SONG, "tag": "v1.0.0"}, again=[404]),
    _story("tags", f"GET {WIRE}/tags"),
    _story("a tag", f"POST {WIRE}/tags", message={"tags": [tag(5)]}, of_chance=True),
    _story("twelve tags", f"POST {WIRE}/tags", message={"tags": [tag(n) for n in range(5, 17)]}, loose=["tags"],
           of_chance=True),
    _story("untag", f"DELETE {WIRE}/tags/{{tag_id}}", where={**SONG, "tag_id": "tag-1"}, again=[404]),
    _story("an object", f"GET {WIRE}/objects/{{object_id}}", where={**SONG, "object_id": next(iter(HISTORY.objects))}),
    _story("an object by id", "GET /o/{object_id}", where={"object_id": ids.object_id(LARGE[:-1])},
           query="repo_id={repo_id}"),
    _story("a part of an object", f"GET {WIRE}/objects/{{object_id}}",
           where={**SONG, "object_id": ids.object_id(LARGE[:-1])}, headers={"range": "bytes=10-19"}, status=206),
    _story("a file", f"GET {WIRE}/raw/{{ref_and_path}}", where={**SONG, "ref_and_path": "main/1.txt"}),
    _story("a file of a commit", f"GET {WIRE}/raw/{{ref_and_path}}",
           where={**SONG, "ref_and_path": f"{HISTORY[3]}/1.txt"}),
    _story("found", "POST /api/v1/repos", message={"slug": "new"}, status=201, again=[409], loose=["repos"]),
    _story("all repositories", "GET /api/v1/users/{owner}/repos", where={"owner": "me"}),
    _story("a repository", f"GET {API}"),
    _story("describe", f"PATCH {API}", message={"description": "a song", "default_branch": "side"}),
    _story("delete", f"DELETE {API}", where={"owner": "me", "slug": "other"}, status=204, again=[404]),
    _story("rename", f"POST {API}/rename", where={"owner": "me", "slug": "other"}, message={"slug": "new"}),
    _story("deleted repositories by the API", "GET /api/v1/deleted", where={}),
    # None of this name is deleted.
    _story("undelete", "POST /api/v1/deleted", where={}, message={"slug": "song"}, status=404),
    _story("members", f"GET {API}/members"),
    _story("let in", f"PUT {API}/members/{{handle}}", where={**SONG, "handle": "you"}, message={"role": "write"}),
    _story("let go", f"DELETE {API}/members/{{handle}}", where={**SONG, "handle": "them"}, status=204,
           again=[404]),
    _story("trusted issuers", f"GET {API}/trusted-issuers"),
    _story("trust an issuer", f"POST {API}/trusted-issuers", message=GITHUB_ACTIONS, status=201),
    _story("trust an issuer no longer", f"DELETE {API}/trusted-issuers/{{trust_id}}",
           where={**SONG, "trust_id": "0123456789abcdef"}, status=404),
    # In another format than a form.
    _story("an exchange", "POST /api/v1/tokens/exchange", where={}, message={}, status=415),
    _story("branches", f"GET {API}/branches"),
    _story("delete a branch", f"DELETE {API}/branches", query="branch=side", status=204, again=[404],
           # That it was announced and not made can be seen, if it was made only minutes before.
           loose=["moves of side in song"]),
    _story("moves", f"GET {API}/moves", query="branch=main"),
    _story("restore", f"POST {API}/restore", message={"branch": "main", "to": HISTORY[3]}),
    _story("a log", f"GET {API}/commits"),
    _story("a commit", f"GET {API}/commits/{{commit_id}}", where=_file(5)),
    _story("files", f"GET {API}/commits/{{commit_id}}/files", where=_file(5)),
    _story("compare", f"GET {API}/compare", query="base=main&head=side"),
    _story("a token", "POST /api/v1/tokens", message={"scope": "read"}, status=201, of_chance=True, loose=["tokens"]),
    _story("tokens", "GET /api/v1/tokens"),
    # This token is not on record; it is revoked all the same.
    _story("revoke", "DELETE /api/v1/tokens/{token_id}", where={"token_id": "another"}, status=404),
    _story("who am I", "GET /api/v1/me"),
    _story("the usage", "GET /api/v1/usage"),
    _story("a domain", "POST /api/v1/domains", message={**MIDI_DOMAIN, "slug": "verse"}, status=201, of_chance=True),
    _story("a later version of a domain", "POST /api/v1/domains", message={**MIDI_DOMAIN, "version": "1.0.0"},
           status=201),
    _story("domains", "GET /api/v1/domains"),
    _story("one domain", "GET /api/v1/domains/{author}/{slug}", where={"author": "@me", "slug": "song"}),
    _story("delete a domain", "DELETE /api/v1/domains/{author}/{slug}", where={"author": "@me", "slug": "song"},
           status=204, again=[404]),
    _story("the public keys", "GET /.well-known/jwks.json", by=None),
    _story("the public keys, with a token", "GET /.well-known/jwks.json"),
    _story("health", "GET /health", by=None),
    _story("the document", "GET /api/v1/openapi.json", by=None),
    _story("the document, at the root", "GET /openapi.json", by=None),
    _page("the page of the hub", "GET /", where={}),
    _page("the page of domains", "GET /domains", where={}),
    _page("the page of a domain", "GET /domains/{author}/{slug}", where={"author": "@me", "slug": "song"}),
    _page("the page of a user", "GET /{owner}"),
    _page("the page of a repository", f"GET {WIRE}"),
    _page("the page of a folder", f"GET {WIRE}/tree/{{ref_and_folder}}", where={**SONG, "ref_and_folder": "main"}),
    _page("the page of a file", f"GET {WIRE}/blob/{{ref_and_path}}", where={**SONG, "ref_and_path": "main/1.txt"}),
    _page("the bytes of a file", f"GET {WIRE}/file/{{ref_and_path}}", where={**SONG, "ref_and_path": "main/1.txt"}),
    _page("the page of a log", f"GET {WIRE}/commits/{{ref}}", where={**SONG, "ref": "main"}),
    _page("the page of a commit", f"GET {WIRE}/commit/{{commit_id}}", where=_file(5)),
    _page("the page of a comparison", f"GET {WIRE}/compare/{{base_and_head}}",
          where={**SONG, "base_and_head": "main...side"}),
    _page("the page of branches", f"GET {WIRE}/branches"),
    _page("the page of the graph", f"GET {WIRE}/graph"),
    _page("the page of releases", f"GET {WIRE}/release"),
    _page("the page of a release", f"GET {WIRE}/release/{{tag}}", where={**SONG, "tag": "v1.0.0"}),
    _page("the style sheet", "GET /static/{name}", where={"name": "style.css"}),
    _page("the icon", "GET /favicon.ico", where={}),
    _page("the robots", "GET /robots.txt", where={}),
    _form("the form to sign in", f"GET {SIGN_IN}", where={}, by=None),
    _form("sign in", f"POST {SIGN_IN}", where={}, by=None, message={"token": "{token}", "next": "/"},
          status=303, of_chance=True, loose=["tokens"]),
    _form("a provider", "GET /-/sign-in/{provider}", where={"provider": "openid"}, by=None, status=404),
    _form("the answer of a provider", "GET /-/sign-in/{provider}/callback", where={"provider": "openid"}, by=None,
          status=404),
    _form("the form of a handle", "GET /-/handle", where={}, by=None, status=403),
    _form("choose a handle", "POST /-/handle", where={}, by=None, message={"handle": "new"}, status=403),
    _form("link a handle", "POST /-/handle/link", where={}, message={}, status=403),
    _form("sign out", "POST /-/account/sign-out", where={}, message={}, status=303),
    _form("the account", "GET /-/account", where={}),
    _form("a token from a form", "POST /-/account/tokens", where={}, status=201, of_chance=True,
          message={"scope": "read", "days": "7"}, loose=["tokens"]),
    _form("the form of a new repository", "GET /-/new", where={}),
    _form("found with a form", "POST /-/new", where={}, message={"slug": "new", "visibility": "public"}, status=303,
          again=[409], loose=["repos"]),
    _form("deleted repositories", "GET /-/deleted", where={}),
    # None of this name is deleted.
    _form("undelete with a form", "POST /-/deleted", where={}, message={"slug": "song", "name": "new"}, status=422),
    _form("the form to delete a domain", "GET /domains/{author}/{slug}/delete",
          where={"author": "@me", "slug": "song"}),
    _form("delete a domain with a form", "POST /domains/{author}/{slug}/delete", status=303, again=[404],
          where={"author": "@me", "slug": "song"}, message={"confirm": "@me/song"}),
    _form("settings", f"GET {WIRE}/settings"),
    _form("describe with a form", f"POST {WIRE}/settings", status=303,
          message={"description": "a song", "visibility": "public", "default_branch": "side"}),
    _form("rename with a form", f"POST {WIRE}/settings/rename", where={"owner": "me", "slug": "other"}, status=303,
          message={"slug": "new", "confirm": "other"}, again=[404]),
    _form("delete with a form", f"POST {WIRE}/settings/delete", where={"owner": "me", "slug": "other"}, status=303,
          message={"confirm": "me/other"}, again=[404]),
    _form("the forms of members", f"GET {WIRE}/settings/members"),
    _form("let in with a form", f"POST {WIRE}/settings/members", message={"handle": "you", "role": "write"},
          status=303),
    _form("let go with a form", f"POST {WIRE}/settings/members/remove", message={"handle": "them"}, status=303,
          again=[404]),
    _form("the forms of trusted issuers", f"GET {WIRE}/settings/issuers"),
    _form("trust an issuer with a form", f"POST {WIRE}/settings/issuers", status=303,
          message={"issuer": "https://id.example", "claims": "sub=job", "scope": "read"}),
    _form("trust it no longer with a form", f"POST {WIRE}/settings/issuers/remove", status=404,
          message={"trust_id": "0123456789abcdef"}),
    _form("the forms of branches", f"GET {WIRE}/settings/branches"),
    _form("delete a branch with a form", f"POST {WIRE}/settings/branches/delete", status=303, again=[404],
          message={"branch": "side", "confirm": "side"}, loose=["moves of side in song"]),
    _form("restore with a form", f"POST {WIRE}/settings/branches/restore", status=303,
          message={"branch": "main", "to": HISTORY[3]}),
    _form("revoke with a form", "POST /-/account/revoke", where={}, message={"token_id": "another"}, status=404),
]  # fmt: skip


# ── The world ─────────────────────────────────────────────────────────────────────────────────────


def prepare(hub: Hub) -> Any:
    """The world before each story, saved."""

    def good(
        route: str, message: Any = None, where: Mapping[str, str] = SONG, **more: Any
    ) -> Answer:
        answer = hub.call(route, where, message, by="me", **more)
        assert answer.status < 300, (route, answer.body)
        return answer

    good(f"POST {WIRE}/push", push(HISTORY.bundle([1, 2, 3])))
    good(f"POST {WIRE}/push", push(HISTORY.bundle([3]), "side"))
    hub.loop.now += 5
    good(f"POST {WIRE}/push", push(HISTORY.bundle([4, 5]), force=True))
    good(f"POST {WIRE}/push", push(HISTORY.bundle([1])), {"owner": "me", "slug": "other"})
    good(f"POST {WIRE}/push/objects", {"objects": [blob(LARGE[:-1])]})
    good(f"POST {WIRE}/releases", RELEASE)
    good(f"POST {WIRE}/tags", {"tags": [tag(1), tag(2)]})
    good(f"PUT {API}/members/{{handle}}", {"role": "read"}, {**SONG, "handle": "them"})
    good("POST /api/v1/tokens", {"scope": "read"}, {})
    good("POST /api/v1/domains", MIDI_DOMAIN, {})
    urls = good(f"POST {WIRE}/presign", {"object_ids": [ids.object_id(UPLOADED)]}).value[
        "presigned"
    ]
    hub.upload(urls[ids.object_id(UPLOADED)], UPLOADED)
    for route, message in STAGED.items():
        hub.cloud.address(
            object_keys.staged(ids_of(hub)["repo_id"], staged_name(route)), msgpack.packb(message)
        )
    return hub.cloud.save()


def settled(value: Any) -> Any:
    """A value without the parts that are new each time."""
    if isinstance(value, dict):
        if "presigned" in value:
            value = {**value, "presigned": sorted(value["presigned"])}
        return {k: settled(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        # Which of a list is first is for the hub to say only where it says so.
        return sorted((settled(one) for one in value), key=repr)
    return value


View = dict[str, Any]


def view(hub: Hub, slugs: tuple[str, ...] = ("song", "other", "new")) -> View:
    """All that the owner can see, by topic: clones of everything, every list, every past move."""

    def asked(route: str, where: Mapping[str, str], message: Any = None, query: str = "") -> Any:
        answer = hub.call(route, where, message, by="me", query=query)
        assert answer.status in (200, 404), (route, answer)
        return settled(shown(answer)) if answer.status == 200 else None

    seen: View = {
        "repos": asked("GET /api/v1/users/{owner}/repos", {"owner": "me"}),
        "tokens": asked("GET /api/v1/tokens", {}),
        "revoked": hub.call("GET /api/v1/me", {}, by=None).status,
        "domains": asked("GET /api/v1/domains", {}),
    }
    for slug in slugs:
        where = {"owner": "me", "slug": slug}
        heads = asked(f"GET {WIRE}/refs", where)
        seen[f"refs of {slug}"] = heads and heads["branch_heads"]
        if not heads or not heads["branch_heads"]:
            continue
        seen[f"clone of {slug}"] = clone(hub, slug, heads["branch_heads"])
        # For a deleted one, its last place.
        for branch in {*heads["branch_heads"], *(["side"] if slug == "song" else [])}:
            seen[f"moves of {branch} in {slug}"] = asked(
                f"GET {API}/moves", where, query=f"branch={branch}"
            )
        if slug == "song":
            seen["tags"] = asked(f"GET {WIRE}/tags", where)
            seen["releases"] = asked(f"GET {WIRE}/releases", where)
            seen["members"] = asked(f"GET {API}/members", where)
    return seen


def clone(hub: Hub, slug: str, heads: Mapping[str, str]) -> Any:
    """A clone of all branches: exactly the data that they reach, with true bytes."""
    answer = hub.call(
        f"POST {WIRE}/fetch", {"owner": "me", "slug": slug}, {"want": [*heads.values()]}, by="me"
    )
    assert answer.status == 200, answer
    commits, snapshots, objects = client.fetched_ids(answer)
    records = {c["commit_id"]: c for c in answer.value["commits"]}
    reached, waiting = set[str](), [*heads.values()]
    while waiting:
        one = waiting.pop()
        reached.add(one)
        parents = (records[one]["parent_commit_id"], records[one]["parent2_commit_id"])
        waiting += [p for p in parents if p and p not in reached]
    assert commits == reached
    assert snapshots == {records[i]["snapshot_id"] for i in reached if records[i]["snapshot_id"]}
    assert objects == {i for s in answer.value["snapshots"] for i in s["manifest"].values()}
    for item in answer.value["objects"]:
        assert ids.object_id(item["content"]) == item["object_id"]
    return sorted(commits), sorted((i, c["author"]) for i, c in records.items())


def findings(hub: Hub, slugs: tuple[str, ...] = ("song", "other", "new")) -> list[str]:
    """What fsck says of them."""

    async def check() -> list[str]:
        opened, found = await stores(), []
        for slug in slugs:
            repo = await opened.repos.get("me", slug)
            if repo and not repo.deleted:
                found += [f"{slug}: {finding}" async for finding in fsck.fsck(opened.of(repo))]
        return found

    return hub.run(check())


def assert_known_objects_can_be_used(hub: Hub, slug: str) -> None:
    """A commit on all objects that are said to be here is taken without them, and cloned with their
    true bytes.
    """
    where, saved = {"owner": "me", "slug": slug}, hub.cloud.save()
    asked = hub.call(
        f"POST {WIRE}/filter-objects", where, {"object_ids": sorted(CONTENTS)}, by="me"
    )
    known = CONTENTS.keys() - set(asked.value["missing"])
    snapshot = builders.snapshot(
        {f"{n}.wav": object_id for n, object_id in enumerate(sorted(known))}
    )
    commit = builders.commit("probe", [], snapshot["snapshot_id"])
    bundle = {"commits": [commit], "snapshots": [snapshot], "objects": []}
    pushed = hub.call(f"POST {WIRE}/push", where, push(bundle, "probe"), by="me")
    assert pushed.status == 200, pushed
    fetched = hub.call(f"POST {WIRE}/fetch", where, {"want": [commit["commit_id"]]}, by="me")
    assert {o["object_id"]: o["content"] for o in fetched.value["objects"]} == {
        i: CONTENTS[i] for i in known
    }
    hub.cloud.load(saved)


Told = Callable[[], Answer]
