"""The table of endpoints: the routes of each function, its size, and its permissions.

`make generate` makes template.yaml, the list in docs/api.md and sample_events/ from this table.
A function that another event than a request calls has no routes. No function imports the table
when it starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from functions import grants as grant
from functions.grants import Grant


class Edge(Enum):
    """The treatment of a request by the distribution, in the order of comparison."""

    API = "api"
    CACHE = "cache"
    """The distribution keeps replies that the hub marks as public. All routes have a parameter."""
    BODIES = "bodies"
    """With `LargeBodies`, the body may be larger than that of an event."""
    STREAM = "stream"
    """A second function streams the reply, which may be larger than that of a handler."""


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    key: str
    """As API Gateway writes it. GET includes HEAD. `{tag+}` is `{tag:path}` in the router."""
    who: str
    """The callers that may use it. For docs/api.md, as is `what`."""
    what: str
    name: str = ""
    """A part of logical ids and of names of sample events. Unique in the function."""
    query: str = ""
    """The query string of the sample event."""
    body: Mapping[str, Any] | None = None
    """The body of the sample event."""


@dataclass(frozen=True)
class Endpoint:
    """One function: functions/<module>.py."""

    module: str
    routes: tuple[Route, ...]
    grants: tuple[Grant, ...] = ()
    memory_mb: int = 1024
    """CPU comes with memory. The default is for functions that mostly wait for AWS."""
    timeout_seconds: int = 10
    """Much longer than any look-up. API Gateway waits for 30 seconds."""
    edge: Edge = Edge.API
    """The treatment of its paths in the distribution."""
    wakes: tuple[str, ...] = ()
    """The modules of the functions that start when this one starts, the first request first."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables of its environment, in addition to those of all functions, as in YAML."""

    @property
    def title(self) -> str:
        """The prefix of its logical ids in template.yaml: `PushObjects` for `push_objects`."""
        return self.module.title().replace("_", "")

    @property
    def logical_id(self) -> str:
        """The logical id of its function."""
        return f"{self.title}Function"


ONE_CPU_MB = 1769
"""The size at which Lambda gives one whole CPU: for functions that hash, pack and unpack."""
LONGEST_SECONDS = 29
"""One second less than API Gateway waits, so that the function ends first and logs it."""
JOB_SECONDS = 900
"""The longest time that Lambda allows."""

READERS = "readers"
WRITERS = "writers"
MEMBERS = "members"
ADMINS = "admins"
EVERYONE = "everyone"
ANY_TOKEN = "any token"  # noqa: S105
SIGNED_IN = "users"
ADMIN_TOKEN = "a token of scope admin"  # noqa: S105

DIGEST = "31f86092953fd687403924ef23270af8da18b58147a0055468ecb4dc00b1c5c5"
FROM_TAKE_1_TO_TAKE_2 = {"want": ["take-2"], "have": ["take-1"]}
TWO_TAKES = {
    "branch": "main",
    "bundle": {
        "commits": [
            {"commit_id": "take-1", "snapshot_id": "files-1", "message": "a verse"},
            {"commit_id": "take-2", "snapshot_id": "files-2", "parent_commit_id": "take-1"},
        ],
        "snapshots": [
            {"snapshot_id": "files-1", "manifest": {"song.txt": "verse-1"}},
            {"snapshot_id": "files-2", "manifest": {"song.txt": "verse-2"}},
        ],
        "objects": [
            {"object_id": "verse-1", "content": "la\n"},
            {"object_id": "verse-2", "content": "la la\n"},
        ],
    },
}
MIDI_DOMAIN = {
    "author_slug": "me",
    "slug": "song",
    "display_name": "Songs",
    "description": "Notes and tempo of a song",
    "capabilities": {"dimensions": [{"name": "notes", "description": "pitch, start and length"}]},
    "viewer_type": "midi",
    "version": "0.1.0",
}
GITHUB_ACTIONS = {
    "issuer": "https://token.actions.githubusercontent.com",
    "claims": {"repository": "octo-org/song", "ref": "refs/heads/main"},
    "scope": "write",
}
"""Bodies of sample events."""

# fmt: off
WIRE = (
    Endpoint("refs", (
        Route("GET /{owner}/{slug}/refs", READERS, "branch heads, default branch, domain"),
    ), (grant.READ_PARTITIONS, *grant.SERVE_CALLERS),
        wakes=("filter_objects", "fetch", "negotiate", "push_objects", "push")),

    Endpoint("negotiate", (
        Route("POST /{owner}/{slug}/negotiate", READERS,
              "which commits are shared, and whether that is enough", body=FROM_TAKE_1_TO_TAKE_2),
    ), (grant.READ_PARTITIONS, grant.COUNT_AND_RECALL_REFUSED, grant.READ_SIGNING_KEYS)),

    Endpoint("fetch", (
        Route("POST /{owner}/{slug}/fetch", READERS,
              "everything reachable from `want` and not from `have`", body=FROM_TAKE_1_TO_TAKE_2),
        Route("POST /{owner}/{slug}/fetch/history", READERS,
              "the oldest commits of a fetch and their snapshots, with the sizes of their objects",
              name="History", body=FROM_TAKE_1_TO_TAKE_2),
        Route("POST /{owner}/{slug}/fetch/objects", READERS,
              "the contents of up to 1,000 objects",
              name="Objects", body={"object_ids": ["verse-1"]}),
    ), (grant.READ_PARTITIONS, grant.LIST_KEYS, grant.READ_BYTES, *grant.SERVE_CALLERS),
        memory_mb=ONE_CPU_MB, timeout_seconds=LONGEST_SECONDS, edge=Edge.STREAM),

    Endpoint("filter_objects", (
        Route("POST /{owner}/{slug}/filter-objects", "readers with a token",
              "which of these objects the hub does not store",
              body={"object_ids": ["verse-1", "verse-3"]}),
    ), (grant.READ_PARTITIONS, grant.READ_BYTES, grant.LIST_UPLOADS,
        grant.COUNT_AND_RECALL_REFUSED, grant.READ_SIGNING_KEYS)),

    Endpoint("objects", (
        Route("GET /{owner}/{slug}/objects/{object_id}", READERS,
              "the bytes of one object; a large one is a redirect to a signed URL"),
        Route("GET /o/{object_id}", READERS,
              "the same, by the id of the repository", name="ById", query="repo_id=${REPO_ID}"),
    ), (grant.READ_ITEMS, grant.LIST_KEYS, grant.READ_BYTES, *grant.SERVE_CALLERS),
        edge=Edge.CACHE),

    Endpoint("raw", (
        Route("GET /{owner}/{slug}/raw/{ref_and_path+}", READERS,
              "one file at a branch or a commit"),
    ), (grant.READ_PARTITIONS, grant.LIST_KEYS, grant.READ_BYTES, *grant.SERVE_CALLERS)),

    Endpoint("presign", (
        Route("POST /{owner}/{slug}/presign", WRITERS,
              "URLs to upload large objects to; with `sizes` (object id → bytes), for those"
              " lengths only",
              body={"object_ids": [DIGEST], "direction": "put", "ttl_seconds": 600}),
    ), (grant.READ_ITEMS, *grant.CREATE_REPO, grant.SIGN_UPLOADS, *grant.SERVE_CALLERS)),

    Endpoint("staging", (
        Route("POST /{owner}/{slug}/staging", WRITERS,
              "a URL to upload the body of a push to: 64 MiB on every deployment",
              body={"route": "push", "size": 1_000_000}),
    ), (grant.READ_ITEMS, *grant.CREATE_REPO, grant.SIGN_STAGED, *grant.SERVE_CALLERS)),

    # A staged body of 64 MiB needs up to 1,492 MiB of memory and 4.9 s of CPU.
    Endpoint("push_objects", (
        Route("POST /{owner}/{slug}/push/objects", WRITERS, "a batch of objects",
              body={"objects": [{"object_id": "verse-3", "content": "la la la\n"}]}),
    ), (grant.READ_ITEMS, *grant.CREATE_REPO_AND_WRITE_OBJECTS, grant.LIST_KEYS, grant.READ_STAGED,
        grant.WRITE_BYTES, *grant.SERVE_CALLERS),
        memory_mb=ONE_CPU_MB, timeout_seconds=LONGEST_SECONDS, edge=Edge.BODIES),

    # To accept an upload is to copy it: from the quarantine to the stored bytes.
    Endpoint("push", (
        Route("POST /{owner}/{slug}/push", WRITERS,
              "commits, snapshots, and the branch to move", body=TWO_TAKES),
    ), (grant.READ_ALL, *grant.CREATE_REPO_AND_PUSH, grant.LIST_KEYS, grant.READ_BYTES,
        grant.READ_UPLOADS, grant.WRITE_BYTES, *grant.SERVE_CALLERS),
        memory_mb=ONE_CPU_MB, timeout_seconds=LONGEST_SECONDS, edge=Edge.BODIES),

    Endpoint("releases", (
        Route("POST /{owner}/{slug}/releases", WRITERS,
              "publish a release of a commit; the same again changes nothing",
              name="Publish", body={"release_id": "first-release", "tag": "v1.0.0",
                                    "commit_id": "take-2", "title": "The first"}),
        Route("GET /{owner}/{slug}/releases", READERS,
              "releases, newest first; drafts for writers",
              name="List", query="channel=stable&include_drafts=false"),
        Route("DELETE /{owner}/{slug}/releases/{tag+}", WRITERS,
              "retract it: the tag is free again", name="Retract"),
    ), (grant.READ_ALL, *grant.WRITE_RELEASES, *grant.SERVE_CALLERS)),

    Endpoint("tags", (
        Route("POST /{owner}/{slug}/tags", WRITERS, "add labels to commits",
              name="Store", body={"tags": [{"tag_id": "chorus-1", "commit_id": "take-2",
                                            "tag": "chorus"}]}),
        Route("GET /{owner}/{slug}/tags", READERS, "labels and their commits",
              name="List", query="commit_id=take-2&label=chorus"),
        Route("DELETE /{owner}/{slug}/tags/{tag_id}", WRITERS, "remove one", name="Delete"),
    ), (grant.READ_ALL, *grant.WRITE_TAGS, *grant.SERVE_CALLERS)),

    # It replies to OPTIONS, and to every request without a route, which API Gateway would answer
    # without `Allow`.
    Endpoint("health", (
        Route("GET /health", EVERYONE, "whether the hub answers"),
        Route("$default", EVERYONE, "every other path and method", name="Other"),
    ), memory_mb=256),
)
"""The requests of a Muse client. docs/protocol.md describes them."""

API = (
    Endpoint("repos", (
        Route("POST /api/v1/repos", "a token that may write", "create a repository of the caller",
              name="Create", body={"slug": "album", "visibility": "private"}),
        Route("GET /api/v1/users/{owner}/repos", EVERYONE,
              "the repositories of this owner that the caller may read", name="List"),
        Route("GET /api/v1/repos/{owner}/{slug}", READERS,
              "one of them, and the caller's role", name="Get"),
        Route("PATCH /api/v1/repos/{owner}/{slug}", ADMINS,
              "change visibility, description, default branch, portable names",
              name="Change", body={"description": "a song of two verses"}),
        Route("DELETE /api/v1/repos/{owner}/{slug}", ADMINS, "delete it", name="Delete"),
        Route("POST /api/v1/repos/{owner}/{slug}/rename", ADMINS,
              "change its name in the URL; the old name is free then",
              name="Rename", body={"slug": "ballad"}),
        Route("GET /api/v1/deleted", ADMIN_TOKEN,
              "the caller's deleted repositories that can be restored", name="Deleted"),
        Route("POST /api/v1/deleted", ADMIN_TOKEN, "restore one within a day",
              name="Undelete", body={"slug": "album", "new_slug": "demo"}),
    ), (grant.READ_ALL, *grant.CHANGE_REPOS, *grant.SERVE_CALLERS)),

    Endpoint("members", (
        Route("GET /api/v1/repos/{owner}/{slug}/members", ADMINS,
              "who may read, write or administer it", name="List"),
        Route("PUT /api/v1/repos/{owner}/{slug}/members/{handle}", ADMINS,
              "give a user a role", name="Put", body={"role": "read"}),
        Route("DELETE /api/v1/repos/{owner}/{slug}/members/{handle}", ADMINS,
              "remove a member", name="Delete"),
    ), (grant.READ_PARTITIONS, grant.WRITE_MEMBERS, grant.RECORD_CHANGE_OF_MEMBERS,
        *grant.SERVE_CALLERS)),

    Endpoint("trusted_issuers", (
        Route("GET /api/v1/repos/{owner}/{slug}/trusted-issuers", ADMINS,
              "the issuers whose ID tokens it accepts", name="List"),
        Route("POST /api/v1/repos/{owner}/{slug}/trusted-issuers", ADMINS,
              "trust an issuer, for CI and agents", name="Register", body=GITHUB_ACTIONS),
        Route("DELETE /api/v1/repos/{owner}/{slug}/trusted-issuers/{trust_id}", ADMINS,
              "trust it no longer", name="Remove"),
    ), (grant.READ_PARTITIONS, grant.WRITE_TRUSTED_ISSUERS, *grant.SERVE_CALLERS)),

    Endpoint("exchange", (
        Route("POST /api/v1/tokens/exchange", "programs with an ID token",
              "a token of ten minutes for an ID token of a trusted issuer (RFC 8693)",
              body={"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}),
    ), (grant.READ_PARTITIONS, grant.RECORD_TOKENS, grant.CLAIM_HANDLE, grant.READ_PRIVATE_KEYS,
        *grant.SERVE_CALLERS), timeout_seconds=LONGEST_SECONDS),

    # It reads no other rows of the hub than tokens.
    Endpoint("tokens", (
        Route("POST /api/v1/tokens", ADMIN_TOKEN, "issue a token of the caller",
              name="Issue", body={"scope": "read", "repo": "me/song"}),
        Route("GET /api/v1/tokens", ANY_TOKEN + " for all repositories",
              "the caller's issued tokens, without their secret part", name="List"),
        Route("DELETE /api/v1/tokens/{token_id}", ADMIN_TOKEN, "revoke one", name="Revoke"),
        Route("GET /api/v1/me", ANY_TOKEN, "its owner, scope and expiry", name="Me"),
    ), (grant.READ_AND_WRITE_TOKENS, grant.CLAIM_HANDLE, grant.READ_PRIVATE_KEYS,
        *grant.SERVE_CALLERS)),

    Endpoint("usage", (
        Route("GET /api/v1/usage", ANY_TOKEN + " for all repositories",
              "the stored bytes of the caller, the limit, and the cost of two days"),
    ), (grant.READ_BATCHES, *grant.SERVE_CALLERS)),

    Endpoint("jwks", (
        Route("GET /.well-known/jwks.json", EVERYONE,
              "the public keys that verify the tokens of the hub"),
    ), (grant.READ_BATCHES, *grant.SERVE_CALLERS), memory_mb=256),

    Endpoint("domains", (
        Route("POST /api/v1/domains", "a token that may write",
              "publish the description of a domain plugin, or a later version of it",
              name="Publish", body=MIDI_DOMAIN),
        Route("GET /api/v1/domains", EVERYONE, "the published domains", name="List"),
        Route("GET /api/v1/domains/{author}/{slug}", EVERYONE, "one of them: `@author/slug`",
              name="Get"),
        Route("DELETE /api/v1/domains/{author}/{slug}", "its author", "delete it", name="Delete"),
    ), (grant.READ_PARTITIONS, grant.CLAIM_HANDLE_AND_PUBLISH, grant.REPLACE_DOMAIN,
        grant.DELETE_DOMAIN,
        *grant.SERVE_CALLERS)),

    Endpoint("openapi", (
        Route("GET /api/v1/openapi.json", EVERYONE,
              "the OpenAPI document of all endpoints, with their failures"),
        Route("GET /openapi.json", EVERYONE,
              "the same, where many tools look for it", name="Root"),
    )),

    Endpoint("branches", (
        Route("GET /api/v1/repos/{owner}/{slug}/branches", READERS,
              "the branches, and the head of each", name="List"),
        Route("DELETE /api/v1/repos/{owner}/{slug}/branches", WRITERS,
              "delete one; not the default one while there are others; the only one with"
              " `leave_empty=true`", name="Delete", query="branch=main&leave_empty=true"),
        Route("GET /api/v1/repos/{owner}/{slug}/moves", MEMBERS,
              "its moves of the last 30 days: who, when, from and to which commit",
              name="Moves", query="branch=main"),
        Route("POST /api/v1/repos/{owner}/{slug}/restore", WRITERS,
              "set it back to an earlier head: undoes a forced push, or a deletion",
              name="Restore", body={"branch": "main", "to": "take-2"}),
    ), (grant.READ_ALL, grant.MOVE_REFS, grant.RECORD_MOVES, *grant.SERVE_CALLERS)),

    Endpoint("commits", (
        Route("GET /api/v1/repos/{owner}/{slug}/commits", READERS,
              "the history of a branch or a commit, newest first", name="List", query="ref=main"),
        Route("GET /api/v1/repos/{owner}/{slug}/commits/{commit_id}", READERS,
              "one commit, with its whole record", name="One"),
        Route("GET /api/v1/repos/{owner}/{slug}/commits/{commit_id}/files", READERS,
              "its files, each with the id of its content", name="Files"),
        Route("GET /api/v1/repos/{owner}/{slug}/compare", READERS,
              "which files were added, removed or modified",
              name="Compare", query="base=take-1&head=main"),
    ), (grant.READ_PARTITIONS, grant.LIST_KEYS, grant.READ_BYTES, *grant.SERVE_CALLERS)),
)
"""The API for people and tools."""

PAGES = (
    Endpoint("pages", (
        Route("GET /", EVERYONE, "what this hub is"),
        Route("GET /domains", EVERYONE, "the published domains", name="Domains"),
        Route("GET /domains/{author}/{slug}", EVERYONE, "a domain: `@author/slug`", name="Domain"),
        Route("GET /{owner}", EVERYONE, "the repositories of a user", name="Owner"),
        Route("GET /{owner}/{slug}", READERS, "a repository", name="Repository"),
        Route("GET /{owner}/{slug}/tree/{ref_and_folder+}", READERS, "a folder", name="Tree"),
        Route("GET /{owner}/{slug}/blob/{ref_and_path+}", READERS, "a file", name="Blob"),
        Route("GET /{owner}/{slug}/file/{ref_and_path+}", READERS,
              "the bytes of a file, for the pages of a private repository", name="File"),
        Route("GET /{owner}/{slug}/commits/{ref+}", READERS,
              "the history of a branch or a commit", name="Log"),
        Route("GET /{owner}/{slug}/commit/{commit_id}", READERS,
              "a commit, and what it changed", name="Commit"),
        Route("GET /{owner}/{slug}/compare/{base_and_head+}", READERS,
              "what differs between two branches or commits", name="Compare"),
        Route("GET /{owner}/{slug}/branches", READERS, "the branches", name="Branches"),
        Route("GET /{owner}/{slug}/graph", READERS, "the graph of all branches", name="Graph"),
        Route("GET /{owner}/{slug}/release", READERS, "the releases", name="Releases"),
        Route("GET /{owner}/{slug}/release/{tag+}", READERS, "a release", name="Release"),
        Route("GET /static/{name}", EVERYONE, "the style sheet and the icon", name="Static"),
        Route("GET /favicon.ico", EVERYONE, "the icon", name="Icon"),
        Route("GET /robots.txt", EVERYONE, "what a search engine may read", name="Robots"),
    ), (grant.READ_PARTITIONS, grant.LIST_KEYS, grant.READ_BYTES, *grant.SERVE_CALLERS)),

    Endpoint("account", (
        Route("GET /-/sign-in", EVERYONE, "the form to sign in with a token"),
        Route("POST /-/sign-in", EVERYONE, "open a session", name="SignIn",
              body={"token": "${TOKEN}", "next": "/me/song"}),
        Route("GET /-/sign-in/{provider}", EVERYONE, "sign in through an identity provider",
              name="Provider"),
        Route("GET /-/sign-in/{provider}/callback", EVERYONE, "the answer of the provider",
              name="Callback", query="code=none&state=none"),
        Route("GET /-/handle", EVERYONE, "the form to choose a handle at the first sign-in",
              name="Handle"),
        Route("POST /-/handle", EVERYONE, "choose it, and open a session", name="Claim",
              body={"handle": "me"}),
        Route("POST /-/handle/link", SIGNED_IN, "link the provider to the user's own handle",
              name="Link", body={}),
        Route("POST /-/account/sign-out", SIGNED_IN, "revoke the session", name="SignOut", body={}),
        Route("GET /-/account", SIGNED_IN, "the user's tokens and sessions", name="Account"),
        Route("POST /-/account/tokens", SIGNED_IN, "issue a token, and show it once", name="Issue",
              body={"scope": "read", "repo": "me/song", "days": "30"}),
        Route("POST /-/account/revoke", SIGNED_IN, "revoke a token or a session", name="Revoke",
              body={"token_id": "${TOKEN_ID}"}),
    ), (*grant.SIGN_USERS_IN, grant.READ_PRIVATE_KEYS, grant.READ_CLIENT_SECRETS,
        *grant.SERVE_CALLERS), timeout_seconds=LONGEST_SECONDS),

    Endpoint("repo_settings", (
        Route("GET /-/new", SIGNED_IN, "the form to create a repository"),
        Route("POST /-/new", SIGNED_IN, "create a repository", name="Create",
              body={"slug": "album", "description": "", "visibility": "public"}),
        Route("GET /-/deleted", SIGNED_IN, "the user's deleted repositories", name="Deleted"),
        Route("POST /-/deleted", SIGNED_IN, "restore one within a day", name="Undelete",
              body={"slug": "album", "name": "demo"}),
        Route("GET /domains/{author}/{slug}/delete", "its author", "the form to delete a domain",
              name="Domain"),
        Route("POST /domains/{author}/{slug}/delete", "its author", "delete a domain",
              name="DeleteDomain", body={"confirm": "@me/song"}),
        Route("GET /{owner}/{slug}/settings", ADMINS, "the settings", name="Settings"),
        Route("POST /{owner}/{slug}/settings", ADMINS,
              "change description, visibility, default branch", name="Change",
              body={"description": "a song", "visibility": "public", "default_branch": "main"}),
        Route("POST /{owner}/{slug}/settings/rename", ADMINS, "change its name in the URL",
              name="Rename", body={"slug": "ballad", "confirm": "song"}),
        Route("POST /{owner}/{slug}/settings/delete", ADMINS, "delete it", name="Delete",
              body={"confirm": "me/song"}),
        Route("GET /{owner}/{slug}/settings/members", ADMINS, "the members", name="Members"),
        Route("POST /{owner}/{slug}/settings/members", ADMINS, "give a user a role",
              name="Member", body={"handle": "bob", "role": "read"}),
        Route("POST /{owner}/{slug}/settings/members/remove", ADMINS, "remove a member",
              name="Remove", body={"handle": "bob"}),
        Route("GET /{owner}/{slug}/settings/issuers", ADMINS, "its issuers", name="Issuers"),
        Route("POST /{owner}/{slug}/settings/issuers", ADMINS, "trust an issuer", name="Trust",
              body={**GITHUB_ACTIONS, "claims": "repository=octo-org/song"}),
        Route("POST /{owner}/{slug}/settings/issuers/remove", ADMINS, "trust it no longer",
              name="Distrust", body={"trust_id": "0123456789abcdef"}),
        Route("GET /{owner}/{slug}/settings/branches", WRITERS,
              "the branches, with forms", name="Branches"),
        Route("POST /{owner}/{slug}/settings/branches/delete", WRITERS, "delete a branch",
              name="DeleteBranch", body={"branch": "main", "confirm": "main", "leave_empty": "on"}),
        Route("POST /{owner}/{slug}/settings/branches/restore", WRITERS,
              "set a branch back to an earlier head", name="RestoreBranch",
              body={"branch": "main", "to": "take-2"}),
    ), (grant.READ_ALL, *grant.CHANGE_REPOS_BY_FORMS, *grant.SERVE_CALLERS)),
)
"""The web pages. Their package also has what renders them."""

# It reads and writes packs, and the contents of whole clones, as large as a reply may be.
JOBS = (
    Endpoint("upkeep", (), (
        grant.READ_ALL, *grant.KEEP_ROWS, grant.COUNT_CLONES_AND_USAGE, grant.LIST_VERSIONS,
        grant.READ_BYTES, grant.WRITE_BYTES, grant.DELETE_BYTES, grant.DELETE_UPLOADS),
        memory_mb=ONE_CPU_MB, timeout_seconds=JOB_SECONDS,
        variables={"PIERIA_MAX_REPLY_BYTES": '!If [UseEdge, "67108864", "4690000"]'}),
)
"""The functions that a schedule invokes. Only they may delete bytes."""
# fmt: on

ENDPOINTS = (*WIRE, *API, *PAGES, *JOBS)
IDENTITY = frozenset({"account", "exchange"})
"""The functions that verify tokens of identity providers. They have a package of their own."""
FORMS = frozenset({"account", "repo_settings"})
"""The functions of pages with forms, for users with a session. A body is a form."""


def paths() -> dict[str, set[str]]:
    """The methods of every path, in the syntax of the routers."""
    found: dict[str, set[str]] = {}
    for endpoint in ENDPOINTS:
        for route in endpoint.routes:
            method, _, path = route.key.replace("+}", ":path}").partition(" ")
            if path:
                found.setdefault(path, set()).add(method)
    return found
