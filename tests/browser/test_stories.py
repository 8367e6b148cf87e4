"""A person signs in, pushes with a new token, browses, and manages a repository, in Chromium.

`make test-browser` installs Chromium. Without it, these tests are skipped. With SCREENSHOTS=FOLDER,
each page is saved there in three looks: light, dark, and on a phone.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import mido
import msgpack
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, sync_playwright

from shared import ids
from tests import builders
from tests.infra.test_browser import BROWSER
from tests.infra.test_serve import Hub, hub

MSGPACK = "application/x-msgpack"
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1100, "height": 760}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1100, "height": 760}},
    "phone": {"color_scheme": "light", "viewport": {"width": 380, "height": 760}},
}
pytestmark = pytest.mark.slow

SCREENSHOTS = os.environ.get("SCREENSHOTS", "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        except Error:
            pytest.skip("needs Chromium: make test-browser")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("browser") / "hub") as started:
        yield started


def pushed(running: Hub, token: str, slug: str) -> builders.History:
    """Push three commits, one of them on a second branch, with a README and a MIDI file."""
    history = builders.graph("1; 2:1; 3:1")
    files = {"README.md": b"# Night train\n\nA *short* piece.\n", "song.mid": midi()}
    for content in files.values():
        history.objects[ids.object_id(content)] = content
    manifest = history.snapshots[1]["manifest"] | {
        path: ids.object_id(content) for path, content in files.items()
    }
    history.snapshots[2] = builders.snapshot(manifest)
    history.commits[2] = builders.commit(
        "Add the song", [history[1]], history.snapshots[2]["snapshot_id"]
    )
    for branch, numbers in {"main": [1, 2], "bridge": [3]}.items():
        body = {"branch": branch, "bundle": history.bundle(numbers), "force": False}
        reply = httpx.post(
            f"{running.url}/{running.owner}/{slug}/push",
            content=msgpack.packb(body),
            headers={"authorization": f"Bearer {token}", "content-type": MSGPACK},
        )
        assert reply.status_code == 200, reply.content
    return history


def midi() -> bytes:
    """Four notes."""
    track = mido.MidiTrack([mido.MetaMessage("track_name", name="Lead")])
    for note in (60, 64, 67, 72):
        track.append(mido.Message("note_on", note=note, velocity=90, time=0))
        track.append(mido.Message("note_off", note=note, time=480))
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


class Visit:
    """A page in one context, with the faults that the browser reports."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("request", lambda request: self._check_host(request.url))

    def open(self, path: str) -> None:
        """Open a page, and check it."""
        reply = self.page.goto(f"{self.url}{path}")
        assert reply is not None and reply.status == 200, path
        self.check()

    def submit(self, name: str) -> None:
        """Press a button of a form, and check the page that follows."""
        self.page.get_by_role("button", name=name, exact=True).click()
        self.page.wait_for_load_state()
        self.check()

    def check(self) -> None:
        """The page has no fault that axe knows, and none in the console."""
        assert self.faults == []
        found = Axe().run(self.page, options=AXE_RULES)
        assert found.violations_count == 0, found.generate_report()

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(text)

    def _check_host(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.url).netloc:
            self.faults.append(f"a request to another host: {url}")


@pytest.mark.parametrize("java_script", [True, False], ids=["with scripts", "without scripts"])
def test_a_person_signs_in_pushes_browses_and_signs_out(
    browser: Browser, running: Hub, *, java_script: bool
) -> None:
    # axe is a script of the test: the policy of the pages would refuse it.
    context = browser.new_context(bypass_csp=java_script, java_script_enabled=java_script)
    visit = Visit(context.new_page(), running.url)
    if not java_script:
        visit.check = lambda: None  # type: ignore[method-assign] # axe is a script
    page, owner = visit.page, running.owner
    slug = "with-scripts" if java_script else "without-scripts"

    visit.open("/-/sign-in")
    page.fill("input[name=token]", running.token)
    visit.submit("Sign in")
    assert page.url == f"{running.url}/{owner}"

    visit.open("/-/new")
    page.fill("input[name=slug]", slug)
    page.check("input[name=visibility][value=private]")
    visit.submit("Create repository")
    assert page.url == f"{running.url}/{owner}/{slug}"
    assert page.get_by_text("This repository has no commits yet").is_visible()

    visit.open("/-/account")
    visit.submit("Create token")
    token = page.input_value("textarea")
    history = pushed(running, token, slug)

    base = f"/{owner}/{slug}"
    visit.open(base)
    assert page.get_by_role("heading", name="Night train").is_visible()
    page.get_by_role("link", name="Graph").click()
    page.get_by_role("link", name="Add the song").click()
    visit.check()
    assert history[2] in page.url
    visit.open(f"{base}/compare/bridge...main")
    visit.open(f"{base}/blob/main/song.mid")
    assert page.locator("svg rect").count() > 4

    visit.open(f"{base}/settings/members")
    page.fill("input#handle", "bob")
    visit.submit("Add")
    page.get_by_role("button", name="Remove bob").click()
    visit.check()
    assert page.get_by_role("button", name="Remove bob").count() == 0

    visit.open("/-/account")
    visit.submit("Sign out")
    assert [cookie for cookie in context.cookies() if "session" in cookie.get("name", "")] == []
    hidden = page.goto(f"{running.url}{base}")
    assert hidden is not None and hidden.status == 404
    context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_each_page_is_accessible_in_each_look(browser: Browser, running: Hub, look: str) -> None:
    slug = f"look-{look}"
    history = pushed(running, running.token, slug)
    context = browser.new_context(bypass_csp=True, **LOOKS[look])  # type: ignore[arg-type]
    visit = Visit(context.new_page(), running.url)
    visit.open("/-/sign-in")
    visit.page.fill("input[name=token]", running.token)
    visit.submit("Sign in")
    base = f"/{running.owner}/{slug}"
    paths = {
        "hub": "/",
        "owner": f"/{running.owner}",
        "repository": base,
        "tree": f"{base}/tree/main",
        "blob": f"{base}/blob/main/README.md",
        "piano-roll": f"{base}/blob/main/song.mid",
        "commits": f"{base}/commits/main",
        "commit": f"{base}/commit/{history[2]}",
        "compare": f"{base}/compare/bridge...main",
        "branches": f"{base}/branches",
        "releases": f"{base}/release",
        "graph": f"{base}/graph",
        "settings": f"{base}/settings",
        "members": f"{base}/settings/members",
        "settings-branches": f"{base}/settings/branches",
        "account": "/-/account",
        "new": "/-/new",
        "deleted": "/-/deleted",
        "domains": "/domains",
    }
    for name, path in paths.items():
        visit.open(path)
        width = visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, f"{name} is wider than the window"
        if SCREENSHOTS:
            folder = Path(SCREENSHOTS)
            visit.page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
    context.close()
