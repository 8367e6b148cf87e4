"""docs/protocol.md agrees with the code: its example, its limits and its routes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import functions
from shared.protocol import limits
from shared.protocol.records import COMMIT_DEFAULTS, CommitRecord
from tests.client import fetch, heads, push

PAGE = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text()

LIMITS = {
    "objects in one request": limits.OBJECTS,
    "commits in one push": limits.COMMITS,
    "snapshots in one push": limits.SNAPSHOTS,
    "files in one manifest": limits.MANIFEST_ENTRIES,
    "ids in one `filter-objects`": limits.FILTER_IDS,
    "ids in one `presign`": limits.PRESIGN_IDS,
    "ids in `want` of one fetch": limits.WANTS,
    "ids in `have` of one fetch": limits.HAVES,
    "`bases` of one fetch": limits.BASES,
    "ids in `want` or `have` of one `negotiate`": limits.NEGOTIATE_IDS,
    "tags in one request": limits.TAGS,
    "changelog entries in one release": limits.CHANGELOG_ENTRIES,
}


def block(language: str, after: str) -> str:
    """The first code block of a language that follows a heading or a sentence of the page."""
    text = PAGE[PAGE.index(after) :]
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"no {language} block after {after!r}"
    return found[1]


def test_the_example_prints_the_ids_that_the_page_states():
    script = block("python", "### A worked example")
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert printed.stdout == block("text", "### A worked example")


def test_the_hub_accepts_and_returns_the_push_of_the_example(owner: str):
    message: dict[str, Any] = json.loads(block("json", "The push of this commit"))
    for item in message["bundle"]["objects"]:
        item["content"] = item["content"].encode()
    pushed = push(owner, "song", message["bundle"], branch=message["branch"])
    assert pushed.status == 200, pushed.body

    fetched = fetch(owner, "song", want=[heads(owner, "song")["main"]]).value
    (commit,) = fetched["commits"]
    assert commit.items() >= message["bundle"]["commits"][0].items()
    assert fetched["objects"][0]["content"] == b"hello\n"


def test_a_stored_commit_has_the_fields_and_defaults_of_the_table():
    table = PAGE[PAGE.index("**Commit.**") : PAGE.index("**Snapshot.**")]
    rows = re.findall(r"^\| (`[a-z0-9_`, ]+) \| [^|]+ \| ([^|]+) \|$", table, re.MULTILINE)
    stated = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    stated = {name: stated[name] for name in CommitRecord.model_fields}
    defaults = {name: stated[name].strip("`") for name in COMMIT_DEFAULTS}
    assert {name: json.loads(text) for name, text in defaults.items()} == dict(COMMIT_DEFAULTS)


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_is_the_one_of_the_code(limit: str):
    assert f"| {limit} | {LIMITS[limit]:,} |" in PAGE


def test_each_route_of_the_protocol_is_on_the_page():
    for router in functions.routers():
        for route in router.routes:
            path = route.path.removeprefix("/{owner}/{slug}")  # type: ignore[attr-defined]
            if path.startswith(("/api/", "/openapi", "/.well-known/")):
                continue
            suffix = path.replace("/{tag:path}", "/{tag}").partition("/{")[0]
            for method in route.methods - {"HEAD", "OPTIONS"}:  # type: ignore[attr-defined]
                assert re.search(rf"{method} {re.escape(suffix)}\b", PAGE), f"{method} {path}"
