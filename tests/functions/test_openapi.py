"""The document: true to the routes, valid, and kept by every answer that can be provoked."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
import requests
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import functions
from infra.app import app
from shared import errors, lambdas, names
from tests import client
from tests.builders import graph
from tests.functions import api

CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
EXAMPLES = 6
"""The number of generated requests for each operation.

A count, not a time: a generated request that stops half-way is not sent.
"""


@functools.cache
def document() -> dict[str, Any]:
    """The document as it is served."""
    answer = api.call("openapi", "GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    served: dict[str, Any] = answer.value
    return served


def routes() -> Iterator[tuple[str, str, APIRoute]]:
    """Method, path as OpenAPI writes it, and route: of every function."""
    for router in functions.routers():
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                yield method.lower(), route.path_format, route


def operations() -> dict[str, dict[str, Any]]:
    """The operations of the document, by `get /path`."""
    return {
        f"{method} {path}": operation
        for path, item in document()["paths"].items()
        for method, operation in item.items()
    }


def test_the_document_is_valid() -> None:
    openapi_spec_validator.validate(document())
    named = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document()))
    assert named and set(named) <= document()["components"]["schemas"].keys()


def test_the_document_is_also_at_the_root_and_is_not_sent_again() -> None:
    at_root = client.invoke("openapi", client.event("GET", "/openapi.json"))
    assert (at_root.status, at_root.value) == (200, document())
    held = {"if-none-match": at_root.headers["etag"]}
    for path in ("/openapi.json", "/api/v1/openapi.json"):
        assert client.invoke("openapi", client.event("GET", path, headers=held)).status == 304


def test_every_route_is_in_it_and_nothing_else() -> None:
    assert sorted(operations()) == sorted(f"{method} {path}" for method, path, _ in routes())
    ids = [operation["operationId"] for operation in operations().values()]
    assert len(ids) == len(set(ids))


def test_the_api_page_lists_every_endpoint() -> None:
    page = (
        (Path(__file__).parent.parent.parent / "docs" / "api.md")
        .read_text()
        .partition("<!-- pages -->")[0]
    )
    rows = re.findall(r"^\| `([A-Z]+) (/[^`?]+)", page, re.MULTILINE)
    assert sorted(f"{method.lower()} {path}" for method, path in rows) == sorted(operations())


def test_every_operation_documents_its_effect_and_its_errors() -> None:
    for name, operation in operations().items():
        assert operation.get("description"), name
        for status, response in operation["responses"].items():
            if status[0] in "45":
                assert response["content"] == {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                }, (name, status)
        assert "500" in operation["responses"] or "default" in operation["responses"], name


def test_every_operation_of_the_api_has_shapes_of_its_own() -> None:
    for name, operation in operations().items():
        # OAuth 2.0 prescribes the form of an exchange, and a reply in JSON.
        if "/api/v1/" not in name or name.endswith("/tokens/exchange"):
            continue
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [
            response
            for status, response in operation["responses"].items()
            if status[0] == "2" and status != "204"
        ]
        for body in bodies:
            assert "$ref" in body["content"]["application/json"]["schema"], name
            if body is not operation.get("requestBody"):
                assert body["content"].keys() == {"application/json", "application/x-msgpack"}, name
        assert "default" not in operation["responses"], f"{name} does not tell of itself"


def test_the_document_states_which_operations_need_a_token() -> None:
    """The document is compared with the hub: a token is needed exactly where the document states
    it.
    """
    for name, operation in operations().items():
        method, path = name.split(" ", 1)
        url = re.sub(r"\{[a-z_]+\}", "nothing", path)
        answer = send(requests.Request(method.upper(), f"http://hub.example{url}"))
        assert (answer.status == 401) == (operation["security"] == [{"token": []}]), name


def test_every_code_in_it_is_one_of_ours_with_its_status() -> None:
    ours = {
        (str(kind.status), kind.code)
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ApiError)
    }
    for name, operation in operations().items():
        for status, response in operation["responses"].items():
            if status[0] in "45":
                for code in re.findall(r"`([a-z_]+)`", response["description"]):
                    assert (status, code) in ours, (name, status, code)


def test_no_handle_can_stand_where_a_url_of_the_hub_begins() -> None:
    first = {path.split("/")[1] for _, path, _ in routes()}
    assert {word for word in first if names.is_repo_name(word)} <= names.RESERVED_HANDLES
    assert "{owner}" in first


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /me/song/refs",
        "POST /me/song/filter-objects",
        "POST /me/song/presign",
        "POST /me/song/push/objects",
        "POST /me/song/push",
        "POST /me/song/negotiate",
        "POST /me/song/fetch",
        "POST /me/song/releases",
        "GET /me/song/releases",
        "DELETE /me/song/releases/v1.0.0",
        "POST /me/song/tags",
        "GET /o/" + "a" * 64,
        "GET /health",
        "POST /api/v1/domains",
    ],
)
def test_every_request_of_the_stock_client_has_a_route(request_line: str) -> None:
    method, url = request_line.split(" ")
    answer = send(requests.Request(method, f"http://hub.example{url}"))
    assert answer.status == 200 or answer.code not in ("not_found", "method_not_allowed")


def test_no_other_function_pays_for_it() -> None:
    """In a process of its own, as Lambda has it."""
    code = "import sys, functions.repos; sys.exit(sum(m in sys.modules for m in ('infra.openapi', 'functions.push')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ── Everything that can be sent ───────────────────────────────────────────────────────────────────

_handler = lambdas.handler_of(app)


def send(request: requests.Request) -> client.Answer:
    """The answer of the whole hub to a request."""
    prepared: Any = request.prepare()
    url, _, query = prepared.path_url.partition("?")
    body = prepared.body or b""
    headers = {name.lower(): value for name, value in prepared.headers.items()}
    sent = client.event(
        prepared.method, url, body.encode() if isinstance(body, str) else body, headers, query=query
    )
    return client.answer(_handler(sent, None))


def respond(case: Any) -> Response:
    """The same of a generated case, as schemathesis wants it."""
    request = requests.Request(**case.as_transport_kwargs(base_url="http://hub.example"))
    answer = send(request)
    return Response(
        status_code=answer.status,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.expanded,
        request=request.prepare(),
        elapsed=0.0,
        verify=False,
    )


def test_no_request_is_answered_in_a_way_that_is_not_documented(
    owner: str, configured: pytest.MonkeyPatch
) -> None:
    for limit in ("PUSH", "FETCH", "READ", "UPLOAD"):
        configured.setenv(f"PIERIA_LIMIT_{limit}", "100000")
    history = graph("1; 2:1")
    known = {
        "owner": owner,
        "handle": "bob",
        "token_id": "a-token",
        "object_id": next(iter(history.objects)),
        "commit_id": history[2],
        "ref_and_path": "main/1.txt",
    }
    answered: dict[str, set[int]] = {}
    for number, found in enumerate(schemathesis.openapi.from_dict(document()).get_all_operations()):
        known["slug"] = f"song{number}"
        assert client.push(owner, known["slug"], history.bundle()).status == 200
        assert isinstance(found, Ok)
        operation = found.ok()
        place = {name: known.get(name, "main") for name in re.findall(r"{(\w+)}", operation.path)}
        answered[operation.label] = shoot(operation, place, client.token(owner))
    # It got somewhere: most operations had something good to say.
    deaf = {
        label: statuses for label, statuses in answered.items() if min(statuses, default=0) >= 300
    }
    assert len(deaf) < len(answered) / 2, deaf


def shoot(operation: Any, place: dict[str, str], token: str) -> set[int]:
    """What an operation answers to requests that are right, and that are nearly right, mostly where
    there is something and mostly by its owner. Each answer must be as documented.
    """
    statuses: set[int] = set()
    modes = [
        GenerationMode.POSITIVE,
        *([GenerationMode.NEGATIVE] if operation.body or operation.query else []),
    ]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def send_one(data: st.DataObject) -> None:
        known = place if data.draw(st.integers(0, 3)) else None
        case = data.draw(
            operation.as_strategy(data.draw(st.sampled_from(modes)), path_parameters=known)
        )
        if data.draw(st.integers(0, 4)):
            case.headers["Authorization"] = f"Bearer {token}"
        response = respond(case)
        statuses.add(response.status_code)
        assert response.status_code < 500, response.content
        case.validate_response(response, checks=CHECKS)

    send_one()
    return statuses


def test_a_reply_outside_of_all_routes_has_the_same_body() -> None:
    for method, url, status in (
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/me/song/nothing", 404),
        ("PUT", "/api/v1/repos", 405),
        ("GET", "/api", 404),
    ):
        sent = requests.Request(method, f"http://hub.example{url}", {"Accept": "application/json"})
        answer = send(sent)
        assert answer.status == status
        assert json.loads(answer.body).keys() == {"message", "detail", "code"}
