"""The budgets of the requests that are not part of a push, a clone or a pull."""

import ast
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.endpoints import GITHUB_ACTIONS, MIDI_DOMAIN
from infra import budgets
from tests import builders, issuer
from tests import client as hub
from tests.client import Answer
from tests.costs import BUDGETS, measure, table
from tests.functions import test_exchange

ROOT = Path(__file__).parent.parent
HISTORY = builders.graph("1; 2:1; 3:1; 4:2,3")
TAG = {"tag_id": "chorus", "commit_id": HISTORY[4], "tag": "chorus"}


@dataclass(frozen=True)
class Request:
    """One request. `{song}` in the path is the repository with `HISTORY` on `main`."""

    function: str
    method: str
    path: str
    message: Any = None
    query: str = ""
    status: int = 200

    def send(self, owner: str, **names: str) -> Answer:
        """Send it as the owner. `names` are further names in the path."""
        headers = {
            "accept": "application/json",
            "authorization": f"Bearer {hub.token(owner)}",
            "content-type": "application/json",
        }
        message = self.message
        if message == MIDI_DOMAIN:
            message = {**message, "author_slug": owner}
        body = b"" if message is None else json.dumps(message).encode()
        song = f"/{owner}/song"
        path = self.path.format(owner=owner, song=song, api=f"/api/v1/repos{song}", **names)
        event = hub.event(self.method, path, body, headers, query=self.query)
        return hub.invoke(self.function, event)


ISSUE = Request("tokens", "POST", "/api/v1/tokens", {"scope": "read"}, status=201)
CREATE = Request("repos", "POST", "/api/v1/repos", {"slug": "album"}, status=201)
PUT_MEMBER = Request("members", "PUT", "{api}/members/ada", {"role": "read"})
RELEASE = {"release_id": "first", "tag": "v1", "commit_id": HISTORY[4]}
PUBLISH = Request("releases", "POST", "{song}/releases", RELEASE, status=201)
PUBLISH_DOMAIN = Request("domains", "POST", "/api/v1/domains", MIDI_DOMAIN, status=201)
TRUST = Request("trusted_issuers", "POST", "{api}/trusted-issuers", GITHUB_ACTIONS, status=201)
STORE_TAG = Request("tags", "POST", "{song}/tags", {"tags": [TAG]})
DELETE_REPO = Request("repos", "DELETE", "{api}", status=204)
DELETE_BRANCH = Request(
    "branches", "DELETE", "{api}/branches", query="branch=main&leave_empty=true", status=204
)

OPERATIONS: dict[str, tuple[Request, ...]] = {
    "DELETE branches": (DELETE_BRANCH,),
    "POST restore, a deleted branch": (
        DELETE_BRANCH,
        Request("branches", "POST", "{api}/restore", {"branch": "main", "to": HISTORY[4]}),
    ),
    "GET moves": (Request("branches", "GET", "{api}/moves", query="branch=main"),),
    "GET commits, 4 of a branch": (Request("commits", "GET", "{api}/commits", query="ref=main"),),
    "GET one commit": (Request("commits", "GET", f"{{api}}/commits/{HISTORY[2]}"),),
    "GET files of a commit": (Request("commits", "GET", f"{{api}}/commits/{HISTORY[2]}/files"),),
    "GET compare, two commits": (
        Request("commits", "GET", "{api}/compare", query=f"base={HISTORY[2]}&head={HISTORY[3]}"),
    ),
    "GET one object": (
        Request("objects", "GET", f"{{song}}/objects/{next(iter(HISTORY.objects))}"),
    ),
    "GET raw, a file of a branch": (Request("raw", "GET", "{song}/raw/main/1.txt"),),
    "fetch/history, 3 commits": (
        Request(
            "fetch", "POST", "{song}/fetch/history", {"want": [HISTORY[4]], "have": [HISTORY[1]]}
        ),
    ),
    "fetch/objects, 4 objects of one push": (
        Request("fetch", "POST", "{song}/fetch/objects", {"object_ids": list(HISTORY.objects)}),
    ),
    "presign, 1 object": (
        Request(
            "presign", "POST", "{song}/presign", {"object_ids": ["ab" * 32], "direction": "put"}
        ),
    ),
    "PUT members": (PUT_MEMBER,),
    "DELETE members": (
        PUT_MEMBER,
        Request("members", "DELETE", "{api}/members/ada", status=204),
    ),
    "POST releases": (PUBLISH,),
    "GET releases": (PUBLISH, Request("releases", "GET", "{song}/releases")),
    "DELETE releases": (PUBLISH, Request("releases", "DELETE", "{song}/releases/v1")),
    "POST tags, 1 tag": (STORE_TAG,),
    "GET tags": (STORE_TAG, Request("tags", "GET", "{song}/tags")),
    "DELETE tags": (STORE_TAG, Request("tags", "DELETE", "{song}/tags/chorus")),
    "POST repos": (CREATE,),
    "GET repos of a user": (Request("repos", "GET", "/api/v1/users/{owner}/repos"),),
    "PATCH repos": (Request("repos", "PATCH", "{api}", {"description": "two verses"}),),
    "DELETE repos": (DELETE_REPO,),
    "GET deleted, 1 repository": (DELETE_REPO, Request("repos", "GET", "/api/v1/deleted")),
    "POST deleted": (
        DELETE_REPO,
        Request("repos", "POST", "/api/v1/deleted", {"slug": "song"}),
    ),
    "POST rename": (Request("repos", "POST", "{api}/rename", {"slug": "ballad"}),),
    "POST tokens": (ISSUE,),
    "GET tokens": (Request("tokens", "GET", "/api/v1/tokens"),),
    "GET trusted issuers": (TRUST, Request("trusted_issuers", "GET", "{api}/trusted-issuers")),
    "POST trusted issuers": (TRUST,),
    "DELETE trusted issuer": (
        TRUST,
        Request("trusted_issuers", "DELETE", "{api}/trusted-issuers/{trust_id}", status=204),
    ),
    "POST domains": (PUBLISH_DOMAIN,),
    "GET usage": (Request("usage", "GET", "/api/v1/usage"),),
    "GET domains": (Request("domains", "GET", "/api/v1/domains"),),
    "GET one domain": (
        PUBLISH_DOMAIN,
        Request("domains", "GET", "/api/v1/domains/@{owner}/song"),
    ),
    "DELETE domains": (
        PUBLISH_DOMAIN,
        Request("domains", "DELETE", "/api/v1/domains/@{owner}/song", status=204),
    ),
    "DELETE tokens": (
        ISSUE,
        Request("tokens", "DELETE", "/api/v1/tokens/{token_id}", status=204),
    ),
}
"""The requests of each operation. The last one is measured."""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_request_of_the_api_stays_within_its_budget(operation: str, owner: str) -> None:
    pushed = hub.push(owner, "song", HISTORY.bundle())
    assert pushed.status == 200, pushed.body
    *before, measured = OPERATIONS[operation]
    names: dict[str, str] = {}
    for request in before:
        answer = request.send(owner)
        assert answer.status == request.status, answer.body
        if request is ISSUE:
            names["token_id"] = answer.value["token_id"]
        if request is TRUST:
            names["trust_id"] = answer.value["trust_id"]
    cost = measure(operation, lambda: measured.send(owner, **names), status=measured.status)
    assert cost.is_within_budget, table([cost])


def test_an_exchange_stays_within_its_budget(configured: pytest.MonkeyPatch, owner: str) -> None:
    configured.setenv("PIERIA_LOCAL_ISSUERS", "on")
    with issuer.running() as ci:
        test_exchange.trusted(owner, ci)
        token = test_exchange.id_token(ci)
        cost = measure("POST exchange", lambda: test_exchange.exchanged(owner, token), status=200)
    assert cost.is_within_budget, table([cost])


# ── Every action has a budget, and every budget is measured ──────────────────────────────────────


def awaited_actions(path: Path) -> Iterator[Any]:
    """The functions of `shared/actions` that a module of `functions/` awaits."""
    module = importlib.import_module(f"functions.{path.stem}")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
            first, *others = ast.unparse(node.value.func).split(".")
            function = vars(module).get(first)
            for name in others:
                function = getattr(function, name, None)
            if getattr(function, "__module__", "").startswith("shared.actions."):
                yield function


def test_every_action_of_a_request_states_its_budget() -> None:
    paths = (ROOT / "functions").glob("*.py")
    actions = {action for path in paths for action in awaited_actions(path)}
    assert len(actions) > 30
    assert [action for action in actions if not budgets.stated(action.__doc__)] == []


def test_every_stated_budget_is_measured() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_budgets*.py"))
    assert [operation for operation in BUDGETS if f'"{operation}"' not in tests] == []


def test_a_budget_is_read_across_the_lines_of_a_docstring() -> None:
    docstring = (
        "Push.\n\n    Budget: 1 AWS call, chain of 1 (a push\n    of nothing).\n    Budget: 12"
    )
    assert budgets.stated(docstring) == {"a push of nothing": budgets.Budget(1, 1)}
