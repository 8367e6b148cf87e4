"""The rights of every caller, as data: every route × caller × target; and a player of the table.

In the suite it is played through the Lambda handlers (`test_authorization.py`). Against a server
that runs:

    python -m tests.authorization http://127.0.0.1:8000 .hub

with the data folder of `make serve`, whose signing keys make the tokens. Repositories, members and
the revoked token are made through the API, under separate handles. It waits after a 429. With
`PIERIA_LIMIT_PUSH`, `_FETCH`, `_READ` and `_UPLOAD` at 100000, the server sends none.
"""

import itertools
import json
import re
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt

import functions
from functions.endpoints import ENDPOINTS, FORMS, Route
from shared import auth
from shared.model import Identity, Role
from shared.web.route import SIGN_IN
from tests.builders import Record, graph
from tests.client import MSGPACK, OWN_HEADERS, Answer, Request, bearer, by_browser, request

# ── The table ─────────────────────────────────────────────────────────────────────────────────────

CALLERS = (
    "anonymous stranger reader writer admin owner read-only here elsewhere expired revoked".split()
)
"""The columns. Reader, writer and admin are members; from there on it is the owner: with a token
that is good for everything, for reading, for this repository only, for another one only, one that
has expired, one revoked.
"""

TABLE = """
          ano str rea wri adm own r-o her els exp rev
readers
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404 200 200 200 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
writers
  public   401 403 403 200 200 200 403 200 403 401 401
  private  401 404 403 200 200 200 403 200 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 200 403 200 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
admins
  public   401 403 403 403 200 200 403 200 403 401 401
  private  401 404 403 403 200 200 403 200 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 404 403 404 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
everyone
  any      200 200 200 200 200 200 200 200 200 200 200
users
  any      log 200 200 200 200 200 200 200 200 log log
GET /.well-known/jwks.json
  any      200 200 200 200 200 200 200 200 200 401 401
POST /-/sign-in
  any      403 403 403 403 403 403 403 403 403 403 403
GET /-/sign-in/{provider}   * not_found
  any        *   *   *   *   *   *   *   *   *   *   *
GET /-/sign-in/{provider}/callback   * not_found
  any        *   *   *   *   *   *   *   *   *   *   *
GET /-/handle   * sign_in_refused
  any        *   *   *   *   *   *   *   *   *   *   *
POST /-/handle   * sign_in_refused
  any        *   *   *   *   *   *   *   *   *   *   *
POST /-/handle/link   * sign_in_refused
  any      log   *   *   *   *   *   *   *   * log log
POST /-/account/sign-out
  any      log 303 303 303 303 303 303 303 303 log log
POST /-/account/tokens
  any      log 201 201 201 201 201 403 201 403 log log
POST /-/new
  any      log 303 303 303 303 303 403 403 403 log log
GET /-/deleted
  any      log 200 200 200 200 200 403 403 403 log log
POST /-/deleted   * invalid
  any      log   *   *   *   *   * 403 403 403 log log
POST /{owner}/{slug}/settings/members/remove   * member_not_found
  public   log 403 403 403   *   * 403   * 403 log log
  private  log 404 403 403   *   * 403   * 404 log log
  deleted  log 404 404 404 404 404 404 404 404 log log
  absent   log 404 404 404 404 404 403 404 404 log log
  renamed  log 404 404 404 404 404 404 404 404 log log
POST /{owner}/{slug}/settings/issuers/remove   * trusted_issuer_not_found
  public   log 403 403 403   *   * 403   * 403 log log
  private  log 404 403 403   *   * 403   * 404 log log
  deleted  log 404 404 404 404 404 404 404 404 log log
  absent   log 404 404 404 404 404 403 404 404 log log
  renamed  log 404 404 404 404 404 404 404 404 log log
POST /{owner}/{slug}/settings/branches/delete   * ref_not_found
  public   log 403 403   *   *   * 403   * 403 log log
  private  log 404 403   *   *   * 403   * 404 log log
  deleted  log 404 404 404 404 404 404 404 404 log log
  absent   log 404 404 404 404 404 403 404 404 log log
  renamed  log 404 404 404 404 404 404 404 404 log log
POST /-/account/revoke   * token_not_found
  any      log   *   *   *   *   * 403 403 403 log log
POST /{owner}/{slug}/fetch/objects   * object_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
POST /{owner}/{slug}/filter-objects
  public   401 200 200 200 200 200 200 200 200 401 401
  private  401 404 200 200 200 200 200 200 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 200 200 200 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
POST /{owner}/{slug}/releases   * missing_reference
  public   401 403 403 201 201 201 403 201 403 401 401
  private  401 404 403 201 201 201 403 201 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404   * 403   * 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
DELETE /{owner}/{slug}/releases/{tag}   * release_not_found
  public   401 403 403   *   *   * 403   * 403 401 401
  private  401 404 403   *   *   * 403   * 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404   * 403   * 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
POST /{owner}/{slug}/tags   * missing_reference
  public   401 403 403 200 200 200 403 200 403 401 401
  private  401 404 403 200 200 200 403 200 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404   * 403   * 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
DELETE /{owner}/{slug}/tags/{tag_id}   * tag_not_found
  public   401 403 403   *   *   * 403   * 403 401 401
  private  401 404 403   *   *   * 403   * 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404   * 403   * 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
GET /{owner}/{slug}/objects/{object_id}   * object_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /o/{object_id}
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404 404 404 404 404 401 401
  renamed  200 200 200 200 200 200 200 200 200 401 401
GET /{owner}/{slug}/raw/{ref_and_path}   * ref_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /api/v1/repos/{owner}/{slug}
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404 404 404 404 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
DELETE /api/v1/repos/{owner}/{slug}
  public   401 403 403 403 204 204 403 204 403 401 401
  private  401 404 403 403 204 204 403 204 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 404 403 404 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
POST /api/v1/repos/{owner}/{slug}/rename
  public   401 403 403 403 200 200 403 200 403 401 401
  private  401 404 403 403 200 200 403 200 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 404 403 404 404 401 401
  renamed  401 404 404 404 200 200 404 404 404 401 401
DELETE /api/v1/repos/{owner}/{slug}/members/{handle}   * member_not_found
  public   401 403 403 403 204   * 403   * 403 401 401
  private  401 404 403 403 204   * 403   * 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 404 403 404 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
POST /api/v1/repos/{owner}/{slug}/trusted-issuers
  public   401 403 403 403 201 201 403 201 403 401 401
  private  401 404 403 403 201 201 403 201 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 404 403 404 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
DELETE /api/v1/repos/{owner}/{slug}/trusted-issuers/{trust_id}   * trusted_issuer_not_found
  public   401 403 403 403   *   * 403   * 403 401 401
  private  401 404 403 403   *   * 403   * 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404 404 403 404 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
POST /api/v1/tokens/exchange   * unsupported_media_type
  any        *   *   *   *   *   *   *   *   * 401 401
DELETE /api/v1/repos/{owner}/{slug}/branches   * ref_not_found
  public   401 403 403   *   *   * 403   * 403 401 401
  private  401 404 403   *   *   * 403   * 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404   * 403   * 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
GET /api/v1/repos/{owner}/{slug}/moves   * ref_not_found
  public   403 403 200 200 200 200 200 200 403 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
POST /api/v1/repos/{owner}/{slug}/restore   * ref_not_found
  public   401 403 403 200 200 200 403 200 403 401 401
  private  401 404 403 200 200 200 403 200 404 401 401
  deleted  401 404 404 404 404 404 404 404 404 401 401
  absent   401 404 404 404 404   * 403   * 404 401 401
  renamed  401 404 404 404 404 404 404 404 404 401 401
GET /api/v1/repos/{owner}/{slug}/commits   * ref_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /api/v1/repos/{owner}/{slug}/commits/{commit_id}   * commit_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /api/v1/repos/{owner}/{slug}/commits/{commit_id}/files   * commit_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /api/v1/repos/{owner}/{slug}/compare   * ref_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /api/v1/users/{owner}/repos
  any      200 200 200 200 200 200 200 200 200 401 401
POST /api/v1/repos
  any      401 201 201 201 201 201 403 403 403 401 401
GET /api/v1/deleted
  any      401 200 200 200 200 200 403 403 403 401 401
POST /api/v1/deleted
  any      401 404 404 404 404 404 403 403 403 401 401
POST /api/v1/tokens
  any      401 201 201 201 201 201 403 201 403 401 401
GET /api/v1/tokens
  any      401 200 200 200 200 200 200 403 403 401 401
DELETE /api/v1/tokens/{token_id}   * token_not_found
  any      401   *   *   *   *   * 403 403 403 401 401
GET /api/v1/usage
  any      401 200 200 200 200 200 200 403 403 401 401
GET /api/v1/me
  any      401 200 200 200 200 200 200 200 200 401 401
POST /api/v1/domains
  any      401 403 403 403 403 201 403 403 403 401 401
GET /api/v1/domains
  any      200 200 200 200 200 200 200 200 200 401 401
GET /api/v1/domains/{author}/{slug}   * domain_not_found
  any        *   *   *   *   *   *   *   *   * 401 401
DELETE /api/v1/domains/{author}/{slug}   * domain_not_found
  any      401 403 403 403 403   * 403 403 403 401 401
GET /domains/{author}/{slug}/delete   * domain_not_found
  any      log   *   *   *   *   *   *   *   * log log
POST /domains/{author}/{slug}/delete   * domain_not_found
  any      log 403 403 403 403   * 403 403 403 log log
GET /{owner}/{slug}/file/{ref_and_path}   * ref_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /domains
  any      200 200 200 200 200 200 200 200 200 401 401
GET /domains/{author}/{slug}   * domain_not_found
  any        *   *   *   *   *   *   *   *   * 401 401
GET /{owner}/{slug}/tree/{ref_and_folder}   * ref_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /{owner}/{slug}/blob/{ref_and_path}   * ref_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /{owner}/{slug}/commit/{commit_id}   * commit_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /{owner}/{slug}/compare/{base_and_head}   * ref_not_found
  public   200 200 200 200 200 200 200 200 200 401 401
  private  404 404 200 200 200 200 200 200 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /{owner}/{slug}/release/{tag}   * release_not_found
  public     *   *   *   *   *   *   *   *   * 401 401
  private  404 404   *   *   *   *   *   * 404 401 401
  deleted  404 404 404 404 404 404 404 404 404 401 401
  absent   404 404 404 404 404   *   *   * 404 401 401
  renamed  404 404 404 404 404 404 404 404 404 401 401
GET /
  any      200 200 200 200 200 200 200 200 200 401 401
GET /{owner}
  any      200 200 200 200 200 200 200 200 200 401 401
"""
"""The expected statuses. First those of all routes for these callers, by the column `who` of the
table of endpoints; then those of single routes that differ.

The lines are the states of the repository that the URL names: public, private, deleted, absent, or
the former name of a public one. `any`: the URL names no repository.

2xx: allowed. 303: a form was carried out. `log`: the reply leads to the form to sign in.
401, 403 and 404: refused with `unauthorized`, `forbidden` and `repo_not_found`, and with no other
code. `*`: allowed, but the URL names something else that does not exist: the refusal
has the code behind the route.

Absent names belong to the owner, and the hub creates repositories at a push
(`PIERIA_PUSH_TO_CREATE=on`): the owner sees an empty repository. Elsewhere they are like deleted
ones.
"""

LISTED = """
          ano str rea wri adm own r-o her els
public      x   x   x   x   x   x   x   x   x
private     .   .   x   x   x   x   x   .   .
deleted     .   .   .   .   .   .   .   .   .
renamed     .   .   .   .   .   .   .   .   .
"""
"""Which of the repositories are in the list of the owner's. `here` is the public one."""

DELETIONS = ("DELETE /api/v1/repos/{owner}/{slug}", "POST /{owner}/{slug}/settings/delete")
"""The routes that delete a repository. Each success needs a repository of its own."""

HISTORY = graph("1", salt="of the table of authorization")
COMMIT = HISTORY[1]
OBJECT = next(iter(HISTORY.objects))

Cells = Mapping[str, str]
"""What each caller is to be answered."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A route. `code` stands for `*`. `lines` are the replies to all callers, by target."""

    method: str
    path: str
    code: str
    lines: Mapping[str, Cells]

    @property
    def names_a_repository(self) -> bool:
        """Whether the target matters."""
        return "any" not in self.lines


def expectations() -> dict[str, tuple[str, dict[str, Cells]]]:
    """The code and the lines of each entry of the table."""
    found: dict[str, tuple[str, dict[str, Cells]]] = {}
    lines: dict[str, Cells] = {}
    for line in TABLE.strip("\n").splitlines()[1:]:
        if line.startswith(" "):
            state, *cells = line.split()
            lines[state] = dict(zip(CALLERS, cells, strict=True))
        else:
            name, _, code = (part.strip() for part in line.partition("*"))
            lines = {}
            found[name] = (code, lines)
    return found


def _rules() -> dict[str, Rule]:
    """The rule of each route of the table of endpoints. KeyError for one without an entry."""
    entries = expectations()
    found: dict[str, Rule] = {}
    rows = [(endpoint, route) for endpoint in ENDPOINTS for route in endpoint.routes]
    for endpoint, route in rows:
        if route.key == "$default":
            continue
        name = route.key.replace("+}", "}")
        method, path = name.split(" ")
        code, lines = entries.get(name) or entries[route.who]
        if endpoint.module in FORMS and name not in entries:
            lines = {state: _of_forms(method, state, cells) for state, cells in lines.items()}
        found[name] = Rule(method, path, code, lines)
    return found


def _of_forms(method: str, state: str, cells: Cells) -> Cells:
    """The cells of a page with forms, from those of the API.

    A caller without a session is led to the form to sign in. A form creates no repository by
    itself.
    """
    changed = {"401": "log"}
    if method == "POST":
        changed["200"] = "303"
    if state == "absent":
        changed["200"] = "404"
    return {caller: changed.get(cell, cell) for caller, cell in cells.items()}


def all_routes() -> list[Route]:
    """Every row of the table of endpoints that has a method."""
    return [route for endpoint in ENDPOINTS for route in endpoint.routes if route.key != "$default"]


RULES = _rules()
"""The rules, by `GET /path`."""


def listed() -> dict[str, set[str]]:
    """What each caller finds in the owner's list."""
    rows = [line.split() for line in LISTED.strip("\n").splitlines()[1:]]
    return {
        caller: {row[0] for row in rows if row[place + 1] == "x"}
        for place, caller in enumerate(CALLERS[:-2])
    }


def routes() -> dict[str, str]:
    """Every route of the hub, as in the table, and the function that serves it."""
    found: dict[str, str] = {}
    for router in [*functions.routers(), *functions.page_routers()]:
        for route in router.routes:
            module = getattr(route, "endpoint").__module__  # noqa: B009 (a route of Starlette has none)
            for method in getattr(route, "methods"):  # noqa: B009
                found[f"{method} {getattr(route, 'path_format')}"] = module.rpartition(".")[2]  # noqa: B009
    return found


# ── Requests ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a URL, and its target. `present` is the current name of the repository."""

    slug: str
    present: str
    repo_id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The path, query and body of a request to a route."""

    query: str = ""
    body: Any = None


def asked(route: str, owner: str, place: Place) -> Asked:
    """The least that a route does something good with."""
    commit = {"commit_id": COMMIT}
    release = {
        "release_id": "a-release",
        "tag": "v1.0.0",
        "created_at": "2026-01-01T00:00:00+00:00",
        **commit,
    }
    match route.replace("/api/v1/repos/{owner}/{slug}", "API").replace("/{owner}/{slug}/", ""):
        case "POST fetch" | "POST fetch/history":
            return Asked(body={"want": []})
        case "POST negotiate":
            return Asked(body={"want": [], "have": [COMMIT]})
        case "POST filter-objects" | "POST presign" | "POST fetch/objects":
            return Asked(body={"object_ids": [OBJECT]})
        case "POST staging":
            return Asked(body={"route": "push", "size": 1})
        case "POST push/objects":
            return Asked(body={"objects": HISTORY.bundle()["objects"]})
        case "POST push":
            return Asked(body=push())
        case "POST releases":
            return Asked(body=release)
        case "POST tags":
            return Asked(body={"tags": [{"tag_id": "a-tag", "tag": "section:verse", **commit}]})
        case "GET /o/{object_id}":
            return Asked(f"repo_id={place.repo_id}")
        case "PATCH API":
            return Asked(body={"description": "as it was"})
        case "POST API/rename":
            return Asked(body={"slug": place.present})
        case "PUT API/members/{handle}":
            return Asked(body={"role": "read"})
        case "DELETE API/branches":
            return Asked("branch=nothing")
        case "GET API/moves":
            return Asked("branch=main")
        case "POST API/restore":
            return Asked(body={"branch": "main", "to": COMMIT})
        case "GET API/compare":
            return Asked("base=main&head=main")
        case "POST /api/v1/repos":
            return Asked(body={"slug": f"another-{uuid.uuid4()}"})
        case "POST /api/v1/deleted":
            return Asked(body={"slug": "nothing"})
        case "POST /-/sign-in":
            return Asked(body={"token": "nonsense"})
        case "POST /-/account/tokens":
            return Asked(body={"scope": "read", "repo": f"{owner}/{place.slug}", "days": "7"})
        case "POST /-/account/revoke":
            return Asked(body={"token_id": "nothing"})
        case "POST /-/new":
            return Asked(body={"slug": f"another-{uuid.uuid4()}", "visibility": "public"})
        case "POST /-/deleted":
            return Asked(body={"slug": "nothing", "name": "nothing"})
        case "POST /domains/{author}/{slug}/delete":
            return Asked(body={"confirm": f"@{owner}/{place.slug}"})
        case "POST settings":
            visibility = "private" if place.slug == "private" else "public"
            kept = {"visibility": visibility, "default_branch": "main"}
            return Asked(body={"description": "as it was", **kept})
        case "POST settings/rename":
            return Asked(body={"slug": place.present, "confirm": place.slug})
        case "POST settings/delete":
            return Asked(body={"confirm": f"{owner}/{place.slug}"})
        case "POST settings/members":
            return Asked(body={"handle": "somebody", "role": "read"})
        case "POST settings/members/remove":
            return Asked(body={"handle": "not-a-member"})
        case "POST settings/branches/delete":
            return Asked(body={"branch": "nothing", "confirm": "nothing"})
        case "POST settings/branches/restore":
            return Asked(body={"branch": "main", "to": COMMIT})
        case "POST /api/v1/tokens":
            return Asked(body={"scope": "read", "repo": f"{owner}/{place.slug}"})
        case "POST /api/v1/domains":
            domain = sample(route).body
            return Asked(body={**domain, "author_slug": owner, "slug": f"of-{uuid.uuid4()}"})
        case _:
            return sample(route)


def sample(route: str) -> Asked:
    """The request of a route's sample event."""
    row = next(row for row in all_routes() if row.key.replace("+}", "}") == route)
    return Asked(row.query, row.body)


def push() -> Record:
    """The push of it. The same again changes nothing."""
    return {"bundle": HISTORY.bundle(), "branch": "main", "force": False}


# ── The player ────────────────────────────────────────────────────────────────────────────────────

Send = Callable[[str, Request], Answer]
"""Sends function, method, path, query, headers and body."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one cell was answered."""

    route: str
    state: str
    caller: str
    expected: str
    found: str
    answer: Answer

    def __str__(self) -> str:
        return (
            f"{self.route} [{self.state}] by {self.caller}: {self.found} instead of {self.expected}"
        )


@dataclass
class Stage:
    """The people and the repositories on one hub, and the way to it."""

    send: Send
    keys: Mapping[str, str]
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    places: dict[str, Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._functions = routes()
        self._revoked = self._mint(self.owner)
        claims = self.call("GET /api/v1/me", {}, self._revoked)
        gone = self.call(
            "DELETE /api/v1/tokens/{token_id}",
            {"token_id": claims.value["token_id"]},
            self._revoked,
        )
        assert gone.status == 204, gone.body
        for state, visibility in (
            ("public", "public"),
            ("private", "private"),
            ("deleted", "public"),
        ):
            self.places[state] = self.created(state, visibility)
        self._by_owner("DELETE /api/v1/repos/{owner}/{slug}", self.places["deleted"].slug)
        renamed = self.created("renamed", "public")
        self._by_owner(
            "POST /api/v1/repos/{owner}/{slug}/rename", renamed.slug, {"slug": "present"}
        )
        self.places["renamed"] = replace(renamed, present="present")

    @property
    def owner(self) -> str:
        """His handle."""
        return f"{self.name}-owner"

    def created(self, slug: str, visibility: str) -> Place:
        """A repository with all its members and a branch."""
        made = self._by_owner("POST /api/v1/repos", slug, {"slug": slug, "visibility": visibility})
        for role in ("read", "write", "admin"):
            handle = f"{self.name}-{ {'read': 'reader', 'write': 'writer'}.get(role, role) }"
            self._by_owner(
                "PUT /api/v1/repos/{owner}/{slug}/members/{handle}", slug, {"role": role}, handle
            )
        self._by_owner("POST /{owner}/{slug}/push", slug, push())
        return Place(slug, slug, made.value["repo_id"])

    def place(self, route: str, state: str, expected: str) -> Place:
        """The name in the URL. An absent name is different each time, as is a name that will be
        deleted.
        """
        if state == "absent":
            slug = f"absent-{next(self._numbers)}"
            return Place(slug, slug, str(uuid.uuid4()))
        if route in DELETIONS and expected in ("204", "303"):
            return self.created(f"doomed-{next(self._numbers)}", state)
        return self.places["public" if state == "any" else state]

    def token(self, caller: str, slug: str) -> str | None:
        """The request of a caller to the owner's repository of this name."""
        match caller:
            case "anonymous":
                return None
            case "stranger" | "reader" | "writer" | "admin":
                return self._mint(f"{self.name}-{caller}")
            case "read-only":
                return self._mint(self.owner, scope=Role.READ)
            case "here":
                return self._mint(self.owner, repo=f"{self.owner}/{slug}")
            case "elsewhere":
                return self._mint(self.owner, repo=f"{self.owner}/another")
            case "expired":
                return self._mint(self.owner, age_seconds=7200)
            case "revoked":
                return self._revoked
        return self._mint(self.owner)

    def call(
        self, route: str, where: Mapping[str, str], token: str | None, sent: Asked | None = None
    ) -> Answer:
        """One request, with the method of the route."""
        return self.call_with(route.split(" ")[0], route, where, token, sent or Asked())

    def call_with(
        self, method: str, route: str, where: Mapping[str, str], token: str | None, sent: Asked
    ) -> Answer:
        """One request to the path of a route, with this method."""
        function = self._functions[route]
        path = route.split(" ")[1].format(**where)
        if function in FORMS:
            session = self._session(token) if token else None
            headers, body = by_browser(path, session, sent.body)
            made = Request(method, path, sent.query, headers, body)
        else:
            made = request(
                method,
                path,
                sent.body,
                query=sent.query,
                headers=bearer(token) if token else {},
                accept="text/html" if function == "pages" else MSGPACK,
            )
        return self.send(function, made)

    def _session(self, token: str) -> str:
        """A session with the claims of a token, its id included."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return token
        identity = Identity(
            claims["sub"], Role(claims["scope"]), claims["jti"], claims.get("repo", "")
        )
        lifetime = claims["exp"] - claims["iat"]
        return auth.issue(
            self.keys, identity, lifetime_seconds=lifetime, now=claims["iat"], type=auth.SESSION
        )

    def tell(self, route: str, state: str, caller: str, expected: str) -> Told:
        """Play one cell."""
        place = self.place(route, state, expected)
        answer = self.call(
            route,
            self.where(place),
            self.token(caller, place.slug),
            asked(route, self.owner, place),
        )
        return Told(route, state, caller, expected, cell(answer, RULES[route].code), answer)

    def where(self, place: Place) -> dict[str, str]:
        """The parts of a path that leads to a place."""
        return {
            "owner": self.owner,
            "slug": place.slug,
            "handle": "somebody",
            "author": f"@{self.owner}",
            "tag": "nothing",
            "tag_id": "nothing",
            "token_id": "nothing",
            "provider": "openid",
            "trust_id": "nothing",
            "object_id": OBJECT,
            "commit_id": COMMIT,
            "ref_and_path": "main/1.txt",
            "name": "style.css",
            "ref": "main",
            "ref_and_folder": "main",
            "base_and_head": "main...main",
        }

    def play(self, route: str) -> list[Told]:
        """Every cell of a route."""
        return [
            self.tell(route, state, caller, expected)
            for state, cells in RULES[route].lines.items()
            for caller, expected in cells.items()
        ]

    def listed_to(self, caller: str) -> set[str]:
        """Which of the repositories are on the owner's list, whichever page they are on."""
        found: set[str] = set()
        cursor = ""
        while True:
            token = self.token(caller, "public")
            asking = Asked(f"limit=100&cursor={cursor}")
            page = self.call(
                "GET /api/v1/users/{owner}/repos", {"owner": self.owner}, token, asking
            )
            found |= {repo["slug"] for repo in page.value["repos"]}
            if not (cursor := page.value["next_cursor"]):
                return found & self.places.keys()

    def _by_owner(self, route: str, slug: str, body: Any = None, handle: str = "") -> Answer:
        where = {"owner": self.owner, "slug": slug, "handle": handle}
        answer = self.call(route, where, self._mint(self.owner), Asked(body=body))
        assert answer.status < 300, (route, answer.body)
        return answer

    def _mint(
        self, subject: str, *, scope: Role = Role.ADMIN, repo: str = "", age_seconds: int = 0
    ) -> str:
        identity = Identity(subject, scope, str(uuid.uuid4()), repo)
        return auth.issue(
            self.keys, identity, lifetime_seconds=3600, now=int(time.time()) - age_seconds
        )


def cell(answer: Answer, code: str) -> str:
    """An answer as the table writes it; what it has no word for, in full."""
    if answer.status == 303 and SIGN_IN in answer.headers["location"]:
        return "log"
    if answer.status < 400:
        return str(answer.status)
    words = {
        (401, "unauthorized"): "401",
        (403, "forbidden"): "403",
        (404, "repo_not_found"): "404",
    }
    if word := words.get((answer.status, answer.code)):
        return word
    return "*" if answer.code == code else f"{answer.status} {answer.code}"


def deviations(told: Sequence[Told]) -> list[str]:
    """Replies that differ from the table, and replies that differ from each other but must not."""
    return [str(one) for one in told if one.found != one.expected] + list(_leaks(told))


def _leaks(told: Sequence[Told]) -> Iterator[str]:
    """A refusal reveals nothing about the target: its body and headers are the same for all
    targets.

    A hidden target looks alike to all callers. A reason about a token is for that caller only.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for one in told:
        if one.found in ("401", "404"):
            told_to = one.caller if one.found == "401" else "all"
            seen[f"{one.route}, {one.found} to {told_to}"].add(shown(one.answer))
    yield from (
        f"{where}: {len(answers)} different answers"
        for where, answers in seen.items()
        if len(answers) > 1
    )


def shown(answer: Answer) -> str:
    """A reply without the parts that are new each time."""
    headers = {k: v for k, v in answer.headers.items() if k not in OWN_HEADERS}
    return f"{answer.status} {sorted(headers.items())} {answer.body!r}"


def main(base_url: str, data: str) -> int:
    """Play the whole table against a server. Returns the exit status."""
    import httpx

    with httpx.Client(base_url=base_url, timeout=60) as client:

        def send(function: str, made: Request) -> Answer:
            while True:
                url = f"{made.path}?{made.query}" if made.query else made.path
                reply = client.request(
                    made.method, url, headers=dict(made.headers), content=made.body
                )
                if reply.status_code != 429:
                    return Answer(reply.status_code, dict(reply.headers), reply.content)
                time.sleep(int(reply.headers["retry-after"]) + 1)

        stage = Stage(send, json.loads((Path(data) / "signing-keys.json").read_text()))
        found = [f"{route} is not in the table" for route in routes().keys() - RULES.keys()]
        for caller, expected in listed().items():
            if (seen := stage.listed_to(caller)) != expected:
                found.append(
                    f"to {caller} are listed: {sorted(seen)} instead of {sorted(expected)}"
                )
        cells = 0
        for route in RULES:
            told = stage.play(route)
            cells += len(told)
            found += deviations(told)
    print(*found, f"{len(RULES)} routes, {cells} cells, {len(found)} deviations", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or not re.match("https?://", sys.argv[1]):
        sys.exit("usage: python -m tests.authorization <base-url> <data-dir>")
    sys.exit(main(*sys.argv[1:]))
