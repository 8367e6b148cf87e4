"""The table of endpoints has the paths of the routers, so that `health` can state the methods of
any path.
"""

import re

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

import functions
from functions import endpoints
from shared import routing
from tests import client


def routers() -> list[APIRouter]:
    """The routers of the API and of the pages."""
    return [*functions.routers(), *functions.page_routers()]


def routes() -> list[APIRoute]:
    """Every route of every function."""
    return [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]


def test_the_table_has_the_paths_and_methods_of_all_functions() -> None:
    assert endpoints.paths() == routing.paths_of(routers())


def test_all_methods_of_a_path_are_in_one_function() -> None:
    """Else a function would have to know of routes that API Gateway never sends to it."""
    modules: dict[str, set[str]] = {}
    for route in routes():
        modules.setdefault(route.path, set()).add(route.endpoint.__module__)
    assert [path for path, found in modules.items() if len(found) > 1] == []


@pytest.mark.parametrize("path", endpoints.paths())
def test_the_function_for_all_other_requests_knows_the_methods_of_each_path(path: str) -> None:
    """API Gateway sends `health` every request without a route of its own."""
    url = path.replace(":path", "").format_map({name: "x" for name in FIELDS})
    methods = routing.allowed(methods_of(url))
    for sent in dict.fromkeys((url, f"{url.rstrip('/')}/")):
        refused = client.invoke(
            "health", client.event("PUT" if "PUT" not in methods else "PATCH", sent)
        )
        assert (refused.status, refused.code) == (405, "method_not_allowed")
        assert refused.headers["allow"] == ", ".join(methods)
        preflight = client.invoke("health", client.event("OPTIONS", sent))
        assert (preflight.status, preflight.headers["allow"]) == (204, ", ".join(methods))
        assert ("access-control-allow-origin" in preflight.headers) == ("GET" in methods)


def methods_of(url: str) -> set[str]:
    """The methods of all paths that match: `tokens/exchange` is also one of `tokens/{token_id}`."""
    found: set[str] = set()
    for path, methods in endpoints.paths().items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", re.sub(r"\{\w+:path\}", ".*", path))
        if re.fullmatch(pattern, url):
            found |= methods
    return found


FIELDS = (
    "author",
    "provider",
    "trust_id",
    "owner",
    "slug",
    "object_id",
    "ref_and_path",
    "tag",
    "tag_id",
    "token_id",
    "handle",
    "commit_id",
    "name",
    "ref",
    "ref_and_folder",
    "base_and_head",
)


@pytest.mark.parametrize("path", ["/me/song/nothing", "/me/song/refs/1", "/me//refs", "*"])
def test_a_path_that_the_hub_does_not_have_is_not_found_with_any_method(path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = client.invoke("health", client.event(method, path))
        assert (answer.status, answer.code) == (404, "not_found")
        assert "allow" not in answer.headers


def test_a_browser_gets_a_page_where_the_hub_has_nothing() -> None:
    sent = client.event("GET", "/me/song/nothing", headers={"accept": "text/html,*/*;q=0.8"})
    answer = client.invoke("health", sent)
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["vary"] == "Accept"
