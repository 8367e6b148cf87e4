"""Requests to the pages as a browser makes them, and the rules for every page."""

import asyncio
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

from shared import ids, lambdas
from shared.engines import selection
from tests.builders import Record, blob, commit, snapshot
from tests.client import Answer, ask, push

ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
VOID = set("area base br col embed hr img input link meta param source track wbr".split())
URLS = {
    "href",
    "src",
    "action",
    "poster",
    "srcset",
    "data",
    "formaction",
    "background",
    "xlink:href",
}
POLICY = re.compile(
    r"default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; form-action 'self';"
    r" base-uri 'none'; frame-ancestors 'none'"
)


def get(path: str, *, by: str | None = None, query: str = "", **headers: str) -> Answer:
    """GET a page, by a user with a fresh token or without a token."""
    return _ask("GET", path, headers, by=by, query=query)


def head(path: str, **headers: str) -> Answer:
    """HEAD of a page."""
    return _ask("HEAD", path, headers)


def _ask(method: str, path: str, headers: Mapping[str, str], **how: Any) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask("pages", method, path, headers=sent, accept=ACCEPT, **how)


def of_files(
    files: Mapping[str, bytes], message: str = "first", *parents: str, **more: Any
) -> Record:
    """A bundle of one commit on a snapshot of these files."""
    record = snapshot({path: ids.object_id(content) for path, content in files.items()})
    return {
        "commits": [commit(message, parents, record["snapshot_id"], **more)],
        "snapshots": [record],
        "objects": [blob(content) for content in dict.fromkeys(files.values())],
    }


def pushed(
    owner: str,
    files: Mapping[str, bytes],
    message: str = "first",
    *parents: str,
    branch: str = "main",
    **more: Any,
) -> str:
    """The id of a commit of these files, pushed to `song`."""
    bundle = of_files(files, message, *parents, **more)
    answer = push(owner, "song", bundle, branch=branch)
    assert answer.status == 200, answer.body
    return str(bundle["commits"][0]["commit_id"])


def forget() -> None:
    """Make the next request one to a new container, which has nothing in memory."""
    lambdas.use_own_loop()
    asyncio.get_event_loop().run_until_complete(selection.close())


class Page(HTMLParser):
    """A parsed page: its tags in order, its text without markup, and its errors of nesting."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.wrong: list[str] = []
        self.forms: dict[str, dict[str, str]] = {}
        """The fields of each form with their values, by its action."""
        self._open: list[str] = []
        self._fields: dict[str, str] = {}
        self._select = ""
        self._text_of = ""
        """The name of the open text area."""
        self.feed(answer.expanded.decode())
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        self._fill(tag, attributes)
        if tag not in VOID:
            self._open.append(tag)

    def _fill(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "textarea" and "name" in attributes:
            self._text_of = attributes["name"]
            self._fields[self._text_of] = ""
        elif tag == "form":
            self._fields = self.forms.setdefault(attributes["action"], {})
        elif tag == "select":
            self._select = attributes["name"]
        elif tag == "option" and ("selected" in attributes or self._select not in self._fields):
            self._fields[self._select] = attributes["value"]
        elif tag == "input" and "name" in attributes:
            is_chosen = attributes.get("type") != "radio" or "checked" in attributes
            if is_chosen:
                self._fields[attributes["name"]] = attributes.get("value", "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._text_of = ""
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.wrong.append(f"</{tag}> closes {self._open[-1:]}")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._text_of:
            known = self._fields[self._text_of]
            # A browser drops the first line feed of a text area.
            self._fields[self._text_of] = known + data if known else data.removeprefix("\n")

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every tag of this name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        """Where the links of the page lead, in their order."""
        return [attributes["href"] for attributes in self.all("a") if "href" in attributes]


def checked(answer: Answer, status: int = 200) -> Page:
    """The page in an answer, which has to be well-formed, safe and not too long."""
    assert answer.status == status, answer.body[:500]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert POLICY.fullmatch(answer.headers["content-security-policy"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert {"Accept", "Accept-Encoding"} <= set(answer.headers["vary"].split(", "))
    page = Page(answer)
    assert page.wrong == []
    assert findings(page) == []
    assert (
        len([1 for tag, _ in page.tags if tag == "h1"]) >= 1 and page.all("html")[0]["lang"] == "en"
    )
    assert [attributes for attributes in page.all("img") if "alt" not in attributes] == []
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names)), "two elements have one id"
    return page


def findings(page: Page) -> list[str]:
    """What could run on the hub's origin, or ask another host."""
    found = [
        f"<{tag}>"
        for tag, _ in page.tags
        if tag in ("script", "style", "iframe", "object", "embed", "base")
    ]
    for tag, attributes in page.tags:
        found += [
            f"<{tag} {name}>"
            for name in attributes
            if name.startswith("on") or name in ("style", "srcdoc")
        ]
        for name in URLS & attributes.keys():
            url = urlsplit(attributes[name])
            if url.scheme not in ("", "http", "https", "mailto"):
                found.append(f"<{tag} {name}={attributes[name]!r}>")
            elif (url.netloc or url.scheme) and tag != "a":
                found.append(f"<{tag}> asks {url.netloc}")
    return found
