"""The pages of files, history, branches and releases, as a browser asks for them."""

from typing import Any
from urllib.parse import quote

import pytest

from shared.web import history, lanes
from tests import builders
from tests.builders import graph
from tests.client import ask, event, invoke, push
from tests.faults import recorded
from tests.functions import api
from tests.functions.web import Page, checked, forget, get, pushed

CODE = b"def f(x):\n    return x + 1\n"
FILES = {
    "README.md": b"# Title\n\n[up](../a.py)",
    "src/a.py": CODE,
    "src/deep/b b.txt": b"b",
    "cover.png": b"\x89PNG\r\n\x1a\n",
    "take.wav": b"RIFF____WAVE",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "data.bin": bytes(range(256)),
    "noise": bytes(range(256)),
    "page.html": b"<script>alert(1)</script>",
    "empty.txt": b"",
}
DELTA = {
    "domain": "code",
    "ops": [
        {
            "op": "patch",
            "address": "src/a.py",
            "child_summary": "1 symbol",
            "child_ops": [{"op": "insert", "address": "f", "content_summary": "function f"}],
        },
        {"op": "move", "address": "note:3", "from_position": 3, "to_position": 5},
        {"op": 7, "address": None},
        "nonsense",
    ],
}


def release(owner: str, commit_id: str, **more: Any) -> None:
    record = {"release_id": "one", "tag": "v1.0.0", "commit_id": commit_id, **more}
    record = {"created_at": "2026-01-01T00:00:00+00:00", **record}
    answer = ask("releases", "POST", f"/{owner}/song/releases", record, by=owner)
    assert answer.status == 201, answer.body


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────


def test_folders_lead_to_files_and_back(owner: str) -> None:
    pushed(owner, FILES, branch="takes/one")
    base = f"/{owner}/song"
    root = checked(get(f"{base}/tree/takes/one"))
    assert f"{base}/tree/takes/one/src" in root.links()
    folder = checked(get(f"{base}/tree/takes/one/src"))
    assert f"{base}/blob/takes/one/src/a.py" in folder.links()
    deep = checked(get(f"{base}/tree/takes/one/src/deep"))
    assert f"{base}/blob/takes/one/src/deep/b%20b.txt" in deep.links()
    assert f"{base}/tree/takes/one/src" in deep.links()
    checked(get(f"{base}/tree/takes/one/none"), 404)
    checked(get(f"{base}/tree/none"), 404)


def test_a_file_asked_for_as_a_folder_is_found_and_the_reverse(owner: str) -> None:
    pushed(owner, FILES)
    answer = get(f"/{owner}/song/tree/main/src/a.py")
    assert (answer.status, answer.headers["location"]) == (303, f"/{owner}/song/blob/main/src/a.py")
    answer = get(f"/{owner}/song/blob/main/src")
    assert (answer.status, answer.headers["location"]) == (303, f"/{owner}/song/tree/main/src")


def test_code_is_shown_with_numbered_and_highlighted_lines(owner: str) -> None:
    commit_id = pushed(owner, FILES)
    page = checked(get(f"/{owner}/song/blob/main/src/a.py"))
    assert [row["id"] for row in page.all("tr")] == ["L1", "L2"]
    assert {"class": "k"} in page.all("span")
    assert f"/{owner}/song/blob/{commit_id}/src/a.py" in page.links()
    assert f"/{owner}/song/raw/main/src/a.py" in page.links()


@pytest.mark.parametrize(
    ("path", "tag"),
    [("cover.png", "img"), ("drawing.svg", "img"), ("take.wav", "audio")],
)
def test_images_and_audio_are_shown_from_where_their_bytes_cannot_run(
    owner: str, path: str, tag: str
) -> None:
    pushed(owner, FILES)
    page = checked(get(f"/{owner}/song/blob/main/{path}"))
    assert f"/{owner}/song/raw/main/{path}" in [one["src"] for one in page.all(tag)]
    raw = invoke("raw", event("GET", f"/{owner}/song/raw/main/{path}"))
    assert raw.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize("path", ["data.bin", "noise"])
def test_a_file_that_is_no_text_is_offered(owner: str, path: str) -> None:
    pushed(owner, FILES)
    assert "not a text" in checked(get(f"/{owner}/song/blob/main/{path}")).text


def test_html_is_shown_as_text_and_an_empty_file_as_empty(owner: str) -> None:
    pushed(owner, FILES)
    assert "<script>alert(1)</script>" in checked(get(f"/{owner}/song/blob/main/page.html")).text
    assert "This file is empty" in checked(get(f"/{owner}/song/blob/main/empty.txt")).text


def test_a_markdown_file_is_rendered_and_its_source_is_one_link_away(owner: str) -> None:
    pushed(owner, {**FILES, "docs/x.md": b"# Title\n\n[up](../src/a.py)"})
    path = f"/{owner}/song/blob/main/docs/x.md"
    page = checked(get(path))
    assert f"/{owner}/song/blob/main/src/a.py" in page.links() and f"{path}?plain=1" in page.links()
    assert "# Title" in checked(get(path, query="plain=1")).text


def test_a_long_text_has_pages_and_a_very_long_one_is_offered(owner: str) -> None:
    lines = b"".join(b"line %d of a text that is long\n" % number for number in range(2_500))
    pushed(owner, {"long.txt": lines, "large.txt": b"x" * 999 + b"\n" * 1_000 + b"y" * 1_000_000})
    path = f"/{owner}/song/blob/main/long.txt"
    answer = get(path, accept_encoding="gzip")
    page = checked(answer)
    shown = [row["id"] for row in page.all("tr")]
    assert len(answer.body) < 60_000
    while True:
        following = [link for link in page.links() if "from=" in link]
        if not following:
            break
        page = checked(get(path, query=following[0].partition("?")[2]))
        shown += [row["id"] for row in page.all("tr")]
    assert shown == [f"L{number}" for number in range(1, 2_501)]
    assert "too large" in checked(get(f"/{owner}/song/blob/main/large.txt")).text


def test_a_folder_of_many_files_has_pages(owner: str) -> None:
    files = {f"f{number:04}.txt": b"" for number in range(1_005)}
    pushed(owner, files)
    page = checked(get(f"/{owner}/song/tree/main"))
    [following] = [link for link in page.links() if "from=" in link]
    rest = checked(get(f"/{owner}/song/tree/main", query=following.partition("?")[2]))
    names = [link for link in page.links() + rest.links() if "/blob/" in link]
    assert len(names) == len(set(names)) == 1_005


# ── History ───────────────────────────────────────────────────────────────────────────────────────


def test_a_commit_shows_its_author_and_the_changed_words(owner: str) -> None:
    first = pushed(owner, FILES)
    changed = {**FILES, "src/a.py": CODE.replace(b"x + 1", b"x + 2"), "new.txt": b"new"}
    del changed["empty.txt"], changed["noise"]
    second = pushed(
        owner, changed, "Add two\n\nand why", first, author="Ada", agent_id="composer",
        model_id="m-1", structured_delta=DELTA,
    )  # fmt: skip
    page = checked(get(f"/{owner}/song/commit/{second}"))
    for text in ("Add two", "and why", "Ada", "composer", "m-1", "unverified", "function f"):
        assert text in page.text
    assert "4 files changed: 1 added, 1 modified, 2 removed" in page.text
    body = get(f"/{owner}/song/commit/{second}").body.decode()
    assert "<del>1</del>" in body and "<ins>2</ins>" in body
    assert f"/{owner}/song/commit/{first}" in page.links()
    checked(get(f"/{owner}/song/commit/{second[:12]}"))
    checked(get(f"/{owner}/song/commit/{first}"))
    checked(get(f"/{owner}/song/commit/{'0' * 64}"), 404)


def test_a_log_has_pages_without_gaps(owner: str) -> None:
    history = builders.chain(120, salt=owner)
    assert push(owner, "song", history.bundle()).status == 200
    path = f"/{owner}/song/commits/main"
    page, seen = checked(get(path)), []
    while True:
        seen += [link.rpartition("/")[2] for link in page.links() if "/commit/" in link]
        following = [link for link in page.links() if "cursor=" in link]
        if not following:
            break
        page = checked(get(path, query=following[0].partition("?")[2]))
    assert list(dict.fromkeys(seen)) == [history[number] for number in range(120, 0, -1)]


def test_a_graph_shows_merges_and_all_branches(owner: str) -> None:
    history = graph("1; 2:1; 3:1; 4:2,3; 5:1", salt=owner)
    assert push(owner, "song", history.bundle([1, 2, 3, 4])).status == 200
    assert push(owner, "song", history.bundle([5]), branch="side/one").status == 200
    page = checked(get(f"/{owner}/song/graph"))
    linked = [link.rpartition("/")[2] for link in page.links() if "/commit/" in link]
    assert set(linked) == {history[number] for number in range(1, 6)} and linked[0] == history[4]
    assert f"/{owner}/song/tree/side/one" in page.links()
    assert len(page.all("circle")) == 5 + 1, "one for each commit, and the mark of the hub"
    # The ids decide the order within a generation, and so whether there is a third lane.
    assert {one["class"] for one in page.all("path") if "class" in one} >= {"l1", "l2"}


def test_a_graph_has_pages_without_gaps(owner: str) -> None:
    history = builders.chain(60, salt=owner)
    assert push(owner, "song", history.bundle()).status == 200
    page = checked(get(f"/{owner}/song/graph"))
    [following] = [link for link in page.links() if "cursor=" in link]
    rest = checked(get(f"/{owner}/song/graph", query=following.partition("?")[2]))
    links = [link.rpartition("/")[2] for link in page.links() + rest.links() if "/commit/" in link]
    assert list(dict.fromkeys(links)) == [history[number] for number in range(60, 0, -1)]


def test_a_graph_of_very_many_branches_is_drawn_in_part() -> None:
    commits = [(f"{number}", [f"parent of {number}"]) for number in range(40)]
    rows = list(lanes.rows(commits))
    assert [row.lane for row in rows] == list(range(40))
    assert all("circle" not in lanes.drawn(row, 12) for row in rows[12:40])


def test_branches_are_listed_and_compared(owner: str) -> None:
    first = pushed(owner, FILES)
    pushed(owner, {**FILES, "strings.txt": b"s"}, "strings", first, branch="strings/one")
    page = checked(get(f"/{owner}/song/branches"))
    compared = f"/{owner}/song/compare/main...strings/one"
    assert compared in page.links() and f"/{owner}/song/tree/strings/one" in page.links()
    assert "1 file changed: 1 added" in checked(get(compared)).text
    assert "1 removed" in checked(get(f"/{owner}/song/compare/strings/one...main")).text
    for wrong in ("main", "main...", "...main", "main...none"):
        checked(get(f"/{owner}/song/compare/{wrong}"), 404)


def test_a_commit_on_no_branch_is_shown_to_members_only(owner: str) -> None:
    history = graph("1; 2:1; 3:1", salt=owner)
    assert push(owner, "song", history.bundle([1, 2])).status == 200
    assert push(owner, "song", history.bundle([3]), force=True).status == 200
    for path in (f"commit/{history[2]}", f"tree/{history[2]}", f"commits/{history[2]}"):
        checked(get(f"/{owner}/song/{path}", by=owner))
        lost = get(f"/{owner}/song/{path}")
        unknown = get(f"/{owner}/song/{path.replace(history[2], 'f' * 64)}")
        assert lost.status == unknown.status == 404
        assert lost.body.replace(history[2].encode(), b"f" * 64) == unknown.body


def test_a_repository_without_commits_says_so_on_its_tabs(owner: str) -> None:
    api.create(owner, "song")
    assert "no commits yet" in checked(get(f"/{owner}/song/commits/main")).text
    assert "No branches yet" in checked(get(f"/{owner}/song/branches")).text
    assert "No releases yet" in checked(get(f"/{owner}/song/release")).text


def test_the_log_of_an_absent_default_branch_leads_to_the_branch_of_a_clone(owner: str) -> None:
    pushed(owner, FILES, branch="a/take")
    pushed(owner, FILES, branch="takes")
    answer = get(f"/{owner}/song/commits/main")
    assert (answer.status, answer.headers["location"]) == (303, f"/{owner}/song/commits/takes")
    checked(get(f"/{owner}/song/commits/none"), 404)


def test_releases_are_listed_and_shown_but_drafts_to_writers_only(owner: str) -> None:
    commit_id = pushed(owner, FILES)
    release(owner, commit_id, title="The first", body="It **plays**.", changelog=[])
    release(owner, commit_id, release_id="two", tag="v2.0.0-rc.1", title="Secret", is_draft=True)
    page = checked(get(f"/{owner}/song/release"))
    assert "The first" in page.text and "Secret" not in page.text
    assert "Secret" in checked(get(f"/{owner}/song/release", by=owner)).text
    shown = checked(get(f"/{owner}/song/release/v1.0.0"))
    assert "It plays." in shown.text and f"/{owner}/song/commit/{commit_id}" in shown.links()
    for tag in ("v2.0.0-rc.1", "v9", "%20"):
        checked(get(f"/{owner}/song/release/{tag}"), 404)
    checked(get(f"/{owner}/song/release/v2.0.0-rc.1", by=owner))


def test_a_browser_at_the_releases_of_the_api_is_led_to_the_page(owner: str) -> None:
    pushed(owner, FILES)
    path = f"/{owner}/song/releases"
    answer = invoke("releases", event("GET", path, headers={"accept": "text/html,*/*"}))
    assert (answer.status, answer.headers["location"]) == (303, f"/{owner}/song/release")
    assert invoke("releases", event("GET", path)).value == {"releases": []}


# ── Every page ────────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\u2066",
    "\x1b[31mred\x1b]0;title\x07",
    "&lt;b&gt; &#106;",
    "w" * 3_000,
    "\u0000\ufffe\U0010ffff",
]


def pages_of(owner: str, commit_id: str, path: str) -> list[str]:
    """Every page of a repository that shows a text of a client."""
    base = f"/{owner}/song"
    return [
        base,
        f"{base}/tree/main",
        f"{base}/blob/main/{path}",
        f"{base}/commits/main",
        f"{base}/commit/{commit_id}",
        f"{base}/compare/main...main",
        f"{base}/branches",
        f"{base}/graph",
        f"{base}/release",
        f"{base}/release/v1.0.0",
        f"/{owner}",
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_a_text_on_every_page(owner: str, text: str) -> None:
    name = "".join(one for one in text if one.isprintable() and one not in '/\\"<>')[:40]
    name = name.strip(" .") or "name"
    stored = text.replace("\0", "")
    api.create(owner, "song", description=stored[:900], portable_names="off")
    delta = {"ops": [{"op": "insert", "address": stored, "content_summary": stored}]}
    first = pushed(owner, {name: b"before\n"})
    second = pushed(
        owner, {name: f"{stored}\nafter\n".encode(), f"{name}.py": stored.encode()},
        f"{stored}\n\n{stored}", first, author=stored[:200], agent_id=stored[:200],
        structured_delta=delta, committed_at=stored[:60],
    )  # fmt: skip
    change = {"commit_id": first, "message": stored, "author": stored[:90]}
    release(owner, second, title=stored, body=stored, changelog=[change])
    for page in pages_of(owner, second, quote(name, safe="")):
        answer = get(page, accept_encoding="gzip")
        shown = checked(answer)
        assert not set("\u202e\u2066\x1b\x07\0") & set(shown.text), page
        assert len(answer.body) < 60_000, page


COLD = {
    "/{owner}/song/tree/main": 4,
    "/{owner}/song/blob/main/src/a.py": 6,
    "/{owner}/song/branches": 3,
    "/{owner}/song/release": 4,
    "/{owner}/song/release/v1.0.0": 3,
    "/{owner}/song/commits/main": 4,
    "/{owner}/song/graph": 4,
    "/{owner}/song/commit/{commit}": 10,
    "/{owner}/song/compare/main...main": 4,
    "/{owner}/song/compare/{first}...main": 11,
}
"""AWS calls of a page in a new container, at most."""
WARM = {"/{owner}/song/commit/{commit}": 8, "/{owner}/song/compare/{first}...main": 9}
"""AWS calls of a page if the container has shown another file of this version; the default is 5."""


@pytest.mark.parametrize("path", COLD)
def test_a_page_makes_few_calls_to_aws(owner: str, path: str) -> None:
    first = pushed(owner, FILES)
    commit_id = pushed(owner, {**FILES, "src/a.py": b"a = 2\n"}, "second", first)
    release(owner, commit_id)
    forget()
    for most in (COLD[path], WARM.get(path, 5)):
        with recorded() as calls:
            checked(get(path.format(owner=owner, commit=commit_id, first=first)))
        assert len(calls) <= most, calls


def test_a_difference_of_many_packs_has_pages_of_few_calls(owner: str) -> None:
    files: dict[str, bytes] = {}
    parents: list[str] = []
    for number in range(13):  # each in a pack of its own
        files[f"{number:02}.txt"] = b"old %d\n" % number
        parents = [pushed(owner, files, f"add {number}", *parents)]
    last = pushed(owner, {path: b"new " + old for path, old in files.items()}, "all", *parents)
    url, shown = f"/{owner}/song/commit/{last}", list[str]()
    for _ in range(2):
        with recorded() as calls:
            page = checked(get(url.partition("?")[0], query=url.partition("?")[2]))
        assert len(calls) <= 8 + history.DIFF_LIMITS.reads, calls
        sections = [
            section["aria-label"] for section in page.all("section") if "label" in str(section)
        ]
        shown += [name for name in sections if name.endswith(".txt")]
        assert page.text.count("No line differs") == page.text.count("Not a text") == 0
        url = next((link for link in page.links() if "after=" in link), "")
    assert shown == sorted(files) and not url


def test_a_page_of_unchanged_files_is_not_sent_again(owner: str) -> None:
    pushed(owner, FILES)
    for path in ("tree/main", "blob/main/src/a.py", "commits/main", "branches", "release"):
        answer = get(f"/{owner}/song/{path}")
        again = get(f"/{owner}/song/{path}", if_none_match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b""), path


def test_the_titles_of_pages_differ(owner: str) -> None:
    first = pushed(owner, FILES)
    second = pushed(owner, {**FILES, "b": b""}, "second", first)
    release(owner, second)
    titles = []
    for path in pages_of(owner, second, "src/a.py"):
        body = Page(get(path)).text
        titles.append(body.strip().splitlines()[0])
    assert len(set(titles)) == len(titles)
