"""The length of the pages with forms, which are not compressed."""

import asyncio
import time
from typing import Any

import pytest

from shared.engines import selection
from shared.metadata import keys
from shared.metadata.keys import Key
from shared.metadata.table import Row
from tests.functions import api
from tests.functions.browser import Browser
from tests.functions.web import pushed

PAGE_BYTES = 60_000


def put(rows: list[tuple[Key, Row]]) -> None:
    """Write rows into the table of the hub."""

    async def write() -> None:
        await (await selection.stores()).hub.put(rows)

    asyncio.get_event_loop().run_until_complete(write())


def remove(found: list[Key]) -> None:
    """Delete rows."""

    async def write() -> None:
        await (await selection.stores()).hub.delete_many(found)

    asyncio.get_event_loop().run_until_complete(write())


def members(owner: str, repo_id: str) -> list[tuple[Key, Row]]:
    """Many members with the longest handles."""
    return [
        (
            keys.member(owner, "song", f"{number:03}".ljust(64, "m")),
            {"role": "read", "roster": repo_id},
        )
        for number in range(80)
    ]


def branches(owner: str, repo_id: str) -> list[tuple[Key, Row]]:
    """Many branches with the longest names, in characters that take most bytes in HTML and in URLs."""
    row: Row = {"head": "f" * 64, "generation": 1, "lane": "main", "snapshot_at": ""}
    names = [f"{number:03}" + ('"' * 250 if number % 2 else "€" * 80) for number in range(60)]
    return [(keys.ref(repo_id, name), row) for name in names]


def tokens(owner: str, repo_id: str) -> list[tuple[Key, Row]]:
    """Many tokens, each for a repository with the longest name."""
    row: Row = {
        "scope": "write",
        "bearer": "agent",
        "repo": f"{owner}/".ljust(129, "s"),
        "issued_at": int(time.time()),
        "expires_at": int(time.time()) + 1_000,
    }
    return [(keys.token(owner, f"{number:03}".ljust(64, "t")), row) for number in range(80)]


def deleted(owner: str, repo_id: str) -> list[tuple[Key, Row]]:
    """Many deleted repositories with the longest names."""
    row: Row = {
        "owner": owner,
        "visibility": "private",
        "domain": "code",
        "default_branch": "main",
        "description": "",
        "created_at": 1,
        "roster": repo_id,
        "deleted_at": int(time.time()),
    }
    return [
        (
            keys.deleted(owner, f"{number}"),
            {**row, "repo_id": f"{number}", "slug": f"{number:03}".ljust(64, "s")},
        )
        for number in range(80)
    ]


@pytest.mark.parametrize(
    ("rows", "path"),
    [
        (members, "/{owner}/song/settings/members"),
        (branches, "/{owner}/song/settings/branches"),
        (tokens, "/-/account"),
        (deleted, "/-/deleted"),
    ],
)
def test_a_page_of_forms_is_short_and_its_pages_show_each_row_once(
    owner: str, rows: Any, path: str
) -> None:
    pushed(owner, {"a.txt": b"a"})
    chrome = Browser()
    chrome.sign_in(owner)
    made = rows(owner, api.get(owner, "song", by=owner).value["repo_id"])
    put(made)
    url, shown = path.format(owner=owner), list[str]()
    while url:
        page = chrome.get(url)
        assert len(chrome.answer.body) <= PAGE_BYTES, url
        hidden = [found for found in page.all("input") if found.get("type") == "hidden"]
        shown += dict.fromkeys(found["value"] for found in hidden if found["name"] in FIELDS)
        url = next((link for link in page.links() if "cursor=" in link or "from=" in link), "")
    remove([key for key, _ in made])
    names = {str(row.get("slug") or key[1].rpartition("#")[2]) for key, row in made}
    assert sorted(name for name in shown if name in names) == sorted(names)


FIELDS = ("handle", "branch", "token_id", "slug")
"""The hidden fields that name the row of a form."""


@pytest.mark.parametrize("path", ["/-/sign-in", "/-/new", "/{owner}/song/settings"])
def test_a_page_with_one_form_is_short(owner: str, path: str) -> None:
    api.create(owner, "song", description='"' * 1_000)
    chrome = Browser()
    chrome.sign_in(owner)
    chrome.get(path.format(owner=owner))
    assert len(chrome.answer.body) <= PAGE_BYTES / 3
