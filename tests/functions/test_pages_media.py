"""Images, players and downloads on the pages of private repositories."""

import pytest

from tests.client import OWN_HEADERS
from tests.faults import recorded
from tests.functions import api
from tests.functions.browser import Browser
from tests.functions.web import pushed

MEDIA = {
    "README.md": b"![the cover](cover.png)",
    "cover.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "take.wav": b"RIFF" + bytes(4) + b"WAVE" + bytes(100),
    "page.html": b"<script>alert(1)</script>",
    "image.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
}


def signed_in(user: str) -> Browser:
    """A browser with a session of this user."""
    chrome = Browser()
    chrome.sign_in(user)
    return chrome


@pytest.fixture
def private(owner: str) -> str:
    """The URL of a private repository with media."""
    pushed(owner, MEDIA)
    api.call("repos", "PATCH", f"/repos/{owner}/song", {"visibility": "private"}, by=owner)
    return f"/{owner}/song"


def test_a_signed_in_member_sees_images_and_audio_of_a_private_repository(
    owner: str, private: str
) -> None:
    chrome = signed_in(owner)
    for page, tag, url in (
        (private, "img", f"{private}/file/main/cover.png"),
        (f"{private}/blob/main/cover.png", "img", f"{private}/file/main/cover.png"),
        (f"{private}/blob/main/take.wav", "audio", f"{private}/file/main/take.wav"),
    ):
        assert url in [found["src"] for found in chrome.get(page).all(tag)]
    assert f"{private}/file/main/page.html" in chrome.get(f"{private}/blob/main/page.html").links()
    image = chrome.send("GET", f"{private}/file/main/cover.png")
    assert (image.status, image.headers["content-type"]) == (200, "image/png")
    assert image.body == MEDIA["cover.png"]
    part = chrome.send("GET", f"{private}/file/main/take.wav", headers={"range": "bytes=4-11"})
    assert (part.status, part.body) == (206, MEDIA["take.wav"][4:12])
    assert part.headers["content-type"] == "audio/wav"
    chrome.send("HEAD", f"{private}/file/main/take.wav")


def test_the_bytes_of_a_file_never_run_on_the_origin_of_the_hub(owner: str, private: str) -> None:
    chrome = signed_in(owner)
    for path, kind in (
        ("page.html", "text/plain; charset=utf-8"),
        ("image.svg", "image/svg+xml"),
        ("cover.png", "image/png"),
    ):
        answer = chrome.send("GET", f"{private}/file/main/{path}")
        headers = answer.headers
        assert (answer.status, headers["content-type"]) == (200, kind)
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "private, no-store"
        assert "access-control-allow-origin" not in headers
        is_saved = headers["content-disposition"].startswith("attachment")
        assert is_saved == (path == "image.svg")


def test_the_file_of_a_private_and_of_an_absent_repository_are_one_page_at_one_cost(
    owner: str, private: str
) -> None:
    for chrome in (Browser(), signed_in(f"{owner}-other")):
        asked = []
        for repo in (private, f"/{owner}/none"):
            with recorded() as calls:
                answer = chrome.send("GET", f"{repo}/file/main/cover.png")
            assert answer.status == 404
            headers = {k: v for k, v in answer.headers.items() if k not in OWN_HEADERS}
            asked.append((headers, answer.body, sorted(calls)))
        assert asked[0] == asked[1]


def test_the_pages_of_a_public_repository_name_files_that_caches_keep(owner: str) -> None:
    pushed(owner, MEDIA)
    page = signed_in(owner).get(f"/{owner}/song/blob/main/cover.png")
    assert [image["src"] for image in page.all("img")] == [f"/{owner}/song/raw/main/cover.png"]
    assert signed_in(owner).send("GET", f"/{owner}/song/file/main/cover.png").status == 200
