"""The whole sign-in at `oidc-provider` (npm), a certified implementation of OpenID Connect.

Skipped unless `make test-identity` has installed it.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
import pytest

from shared import settings
from shared.http import browser
from tests.functions.browser import Browser
from tests.functions.test_sign_in import HANDLE, SIGN_IN, begun, came_back, refused, subject_of
from tests.functions.web import forget

INSTALLED = Path(__file__).parent.parent.parent / ".tools" / "oidc-provider"
CALLBACK = f"https://hub.example{SIGN_IN}/openid/callback"
CLIENT_ID = "the hub"
CLIENT_SECRET = "a secret: with & signs that a header has to encode"

pytestmark = pytest.mark.skipif(
    not (INSTALLED / "node_modules" / "oidc-provider").is_dir(),
    reason="needs oidc-provider: run `make test-identity`",
)


@pytest.fixture(scope="module")
def issuer_url() -> Iterator[str]:
    """The URL of a running provider."""
    script = (Path(__file__).parent / "provider.mjs").read_text()
    command = [
        "node",
        "--input-type=module",
        "-e",
        script,
        "--",
        CLIENT_ID,
        CLIENT_SECRET,
        CALLBACK,
    ]
    with subprocess.Popen(
        command, cwd=INSTALLED, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def provider(issuer_url: str, configured: pytest.MonkeyPatch) -> str:
    """The provider, for which the hub is configured."""
    configured.setenv("PIERIA_LOCAL_ISSUERS", "on")
    configured.setenv("PIERIA_OPENID_ISSUER", issuer_url)
    configured.setenv("PIERIA_OPENID_CLIENT_ID", CLIENT_ID)
    configured.setenv("PIERIA_CLIENT_SECRETS", json.dumps({"openid": CLIENT_SECRET}))
    settings.load.cache_clear()
    forget()
    return issuer_url


def callback_for(url: str, user: str) -> str:
    """The user signs in at the provider and agrees. Returns the URL that leads back to the hub."""
    with httpx.Client() as client:
        reply = client.get(url)
        for _ in range(12):
            if reply.is_redirect:
                url = urljoin(url, reply.headers["location"])
                if url.startswith(CALLBACK):
                    return url
                reply = client.get(url)
                continue
            action = re.search('action="([^"]+)"', reply.text)
            prompt = re.search('name="prompt" value="([^"]+)"', reply.text)
            assert action and prompt, (reply.status_code, reply.text[:500])
            url = urljoin(url, action[1])
            form = {"prompt": prompt[1], "login": user, "password": "any"}
            reply = client.post(url, data=form)
    raise AssertionError(f"the provider does not lead back: {url}")


def test_a_user_signs_in_twice_and_gets_one_handle(provider: str, owner: str) -> None:
    chrome = Browser()
    callback = callback_for(begun(chrome), owner)
    assert parse_qs(urlsplit(callback).query)["iss"] == [provider]
    assert came_back(chrome, callback).headers["location"] == HANDLE
    chrome.get(HANDLE)
    assert chrome.fields(HANDLE)["handle"] in (f"{owner}.name", "")
    chrome.submit(HANDLE, handle=owner)
    assert subject_of(chrome) == owner
    other = Browser()
    assert came_back(other, callback_for(begun(other), owner)).headers["location"] == f"/{owner}"
    assert subject_of(other) == owner


def test_the_provider_refuses_a_code_of_another_browser(provider: str, owner: str) -> None:
    attacker, victim = Browser(), Browser()
    code = parse_qs(urlsplit(callback_for(begun(attacker), owner)).query)["code"][0]
    own = {
        name: values[0]
        for name, values in parse_qs(urlsplit(callback_for(begun(victim), "victim")).query).items()
    }
    query = urlencode({**own, "code": code})
    assert "did not accept the code" in refused(
        came_back(victim, f"{SIGN_IN}/openid/callback?{query}")
    )
    assert browser.SESSION not in victim.cookies


def test_a_callback_is_used_once(provider: str, owner: str) -> None:
    chrome = Browser()
    callback = callback_for(begun(chrome), owner)
    cookie = chrome.cookies[browser.ATTEMPT]
    assert came_back(chrome, callback).status == 303
    chrome.cookies[browser.ATTEMPT] = cookie
    assert "was used already" in refused(came_back(chrome, callback))


def test_a_callback_without_its_issuer_is_refused(provider: str, owner: str) -> None:
    chrome = Browser()
    callback = callback_for(begun(chrome), owner)
    without = re.sub("&?iss=[^&]*", "", callback)
    assert without != callback
    assert "another issuer answered" in refused(came_back(chrome, without))
