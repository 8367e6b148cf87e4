"""Writes the files that follow from the table of endpoints: `make generate`.

    template.yaml      the deployment
    docs/api.md        the lists between the marks
    sample_events/     one event of the HTTP API for each route

and from the routes of all functions:

    functions/openapi.json     the OpenAPI document

and from the docstrings of the actions:

    docs/architecture.md       the table of budgets between the marks

A test fails if one of them is not current.
"""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from functions.endpoints import (
    API,
    ENDPOINTS,
    EVERYONE,
    FORMS,
    IDENTITY,
    PAGES,
    WIRE,
    Endpoint,
    Route,
)
from infra import budgets, openapi, template
from shared.http import browser

ROOT = Path(__file__).parent.parent
EVENTS = ROOT / "sample_events"
API_PAGE = Path("docs/api.md")
ARCHITECTURE_PAGE = Path("docs/architecture.md")

_FORM_COOKIE = "sample"
_PARAMETERS = {
    "owner": "me",
    "slug": "song",
    "author": "@me",
    "handle": "bob",
    "object_id": "verse-1",
    "commit_id": "take-2",
    "ref_and_path": "main/song.txt",
    "name": "style.css",
    "ref": "main",
    "ref_and_folder": "main",
    "base_and_head": "main...take-2",
    "tag": "v1.0.0",
    "tag_id": "chorus-1",
    "token_id": "${TOKEN_ID}",
    "provider": "openid",
    "trust_id": "0123456789abcdef",
}
"""The values of path parameters in sample events. `infra.invoke` fills in the placeholders."""


def files() -> dict[Path, str]:
    """The content of every generated file, by its path in the project."""
    page = (ROOT / API_PAGE).read_text()
    return {
        Path("template.yaml"): template.text(),
        API_PAGE: with_lists(page),
        ARCHITECTURE_PAGE: with_budgets((ROOT / ARCHITECTURE_PAGE).read_text()),
        Path("functions/openapi.json"): openapi.text(),
        **{Path(EVENTS.name, f"{name}.json"): _json(event) for name, event in events().items()},
    }


def main() -> None:
    """Write the files, and delete the sample events of routes that the table does not have."""
    wanted = files()
    for path in EVENTS.glob("*.json"):
        if path.relative_to(ROOT) not in wanted:
            path.unlink()
    EVENTS.mkdir(exist_ok=True)
    for path, content in wanted.items():
        (ROOT / path).write_text(content)


# ── Sample events ───────────────────────────────────────────────────────────────────────────────


def events() -> dict[str, dict[str, Any]]:
    """The events by name: `push`, and for further routes of a function `fetch-objects`."""
    found: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        found |= {event_name(endpoint, route): _event(endpoint, route) for route in endpoint.routes}
    return found


def event_name(endpoint: Endpoint, route: Route) -> str:
    """The name of a route's event. That of the first route is the name of the function."""
    if route is endpoint.routes[0]:
        return endpoint.module
    words = re.findall("[A-Z][a-z]*", route.name)
    return "-".join([endpoint.module, *words]).lower()


def _event(endpoint: Endpoint, route: Route) -> dict[str, Any]:
    """Payload format 2.0. No event has a secret: `${TOKEN}` is a placeholder."""
    if route.key == "$default":
        return _preflight()
    method, path = route.key.split(" ")
    names = re.findall(r"\{(\w+)\+?\}", path)
    headers = {"accept": "text/html" if endpoint in PAGES else "application/json"}
    is_form = endpoint.module in FORMS
    if route.who != EVERYONE and not is_form:
        headers["authorization"] = "Bearer ${TOKEN}"
    event = _request(route.key, method, _filled(path), headers)
    if is_form:
        event["cookies"] = [f"{browser.SESSION}=${{SESSION}}", f"{browser.FORM}={_FORM_COOKIE}"]
    event["rawQueryString"] = route.query
    if names:
        event["pathParameters"] = {name: _PARAMETERS[name] for name in names}
    if route.query:
        event["queryStringParameters"] = dict(pair.split("=", 1) for pair in route.query.split("&"))
    if route.body is not None:
        media_type = browser.FORM_TYPE
        if is_form:
            body = _form(route)
        elif endpoint.module in IDENTITY:
            body = urlencode(route.body)
        else:
            body = json.dumps(route.body)
            media_type = "application/json"
        headers |= {"content-length": str(len(body)), "content-type": media_type}
        event["body"] = body
    return event


def _form(route: Route) -> str:
    """The body of a submitted form. The placeholders keep their braces."""
    fields = {browser.TOKEN_FIELD: "${FORM}", **(route.body or {})}
    if route.who == EVERYONE:
        fields[browser.TOKEN_FIELD] = browser.form_token(_FORM_COOKIE)
    return urlencode(fields, safe="${}")


def _preflight() -> dict[str, Any]:
    """A request without a route: the question of a browser whether a page may read a file."""
    headers = {
        "accept": "*/*",
        "access-control-request-headers": "range",
        "access-control-request-method": "GET",
        "origin": "https://site.example",
    }
    return _request("$default", "OPTIONS", "/me/song/raw/main/lead.wav", headers)


def _request(route_key: str, method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    headers |= {
        "host": "hub.example",
        "user-agent": "Python-urllib/3.13",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }
    http = {
        "method": method,
        "path": path,
        "protocol": "HTTP/1.1",
        "sourceIp": "203.0.113.7",
        "userAgent": "Python-urllib/3.13",
    }
    return {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "hub.example",
            "domainPrefix": "hub",
            "http": http,
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route_key,
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1767225600000,
        },
        "isBase64Encoded": False,
    }


def _filled(path: str) -> str:
    return re.sub(r"\{(\w+)\+?\}", lambda found: _PARAMETERS[found[1]], path)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


# ── The tables in the documents ───────────────────────────────────────────────────────────────────


def with_lists(page: str) -> str:
    """The page with current lists between its marks `<!-- wire -->`, `<!-- api -->`, `<!-- pages
    -->`.
    """
    for mark, endpoints in (("wire", WIRE), ("api", API), ("pages", PAGES)):
        page = _replaced(page, mark, _list(endpoints))
    return page


def with_budgets(page: str) -> str:
    """The page with the current table of budgets between its marks `<!-- budgets -->`."""
    return _replaced(page, "budgets", budgets.table())


def _replaced(page: str, mark: str, content: str) -> str:
    before, _, rest = page.partition(f"<!-- {mark} -->\n")
    _, _, after = rest.partition(f"<!-- end of {mark} -->\n")
    return f"{before}<!-- {mark} -->\n{content}<!-- end of {mark} -->\n{after}"


def _list(endpoints: Iterable[Endpoint]) -> str:
    routes = chain.from_iterable(endpoint.routes for endpoint in endpoints)
    rows = [
        f"| `{_shown(route)}` | {route.who} | {route.what} |\n"
        for route in routes
        if route.key != "$default"
    ]
    return "| endpoint | who | what |\n| --- | --- | --- |\n" + "".join(rows)


def _shown(route: Route) -> str:
    """`GET /api/v1/me`, with the names of the query: `?ref=`."""
    key = route.key.replace("+}", "}")
    names = [pair.partition("=")[0] + "=" for pair in route.query.split("&") if pair]
    return f"{key}?{'&'.join(names)}" if names else key


if __name__ == "__main__":
    main()
