"""Sign-in through an identity provider: a provider of our own, each of whose replies is falsified."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
import pytest

from shared import settings
from shared.actions import identities
from shared.http import browser
from shared.model import Role
from tests import client, issuer
from tests.client import Answer
from tests.faults import recorded
from tests.functions import api
from tests.functions.browser import Browser
from tests.functions.web import checked, forget
from tests.issuer import CLIENT_ID, CLIENT_SECRET, Issuer

SIGN_IN = "/-/sign-in"
HANDLE = "/-/handle"


@pytest.fixture
def provider(configured: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """A provider that the hub is configured for, as OpenID Connect and as GitHub."""
    with issuer.running() as started:
        configured.setenv("PIERIA_LOCAL_ISSUERS", "on")
        configured.setenv("PIERIA_LIMIT_PUSH", "100000")
        configured.setenv("PIERIA_OPENID_ISSUER", started.url)
        configured.setenv("PIERIA_OPENID_CLIENT_ID", CLIENT_ID)
        configured.setenv("PIERIA_GITHUB_CLIENT_ID", CLIENT_ID)
        configured.setenv("PIERIA_GITHUB_URL", started.url)
        secrets = {"openid": CLIENT_SECRET, "github": CLIENT_SECRET}
        configured.setenv("PIERIA_CLIENT_SECRETS", json.dumps(secrets))
        settings.load.cache_clear()
        forget()
        yield started


def begun(chrome: Browser, name: str = "openid", following: str = "/") -> str:
    """The URL of the provider to which a sign-in leads."""
    answer = chrome.send("GET", f"{SIGN_IN}/{name}?{urlencode({'next': following})}")
    assert answer.status == 303, answer.body
    return answer.headers["location"]


def came_back(chrome: Browser, callback: str) -> Answer:
    """The reply to the callback."""
    parts = urlsplit(callback)
    return chrome.send(
        "GET", f"{parts.path}?{parts.query}", headers={"sec-fetch-site": "cross-site"}
    )


def signed_in(chrome: Browser, provider: Issuer, name: str = "openid", **claims: Any) -> Answer:
    """The reply to a callback after the user agreed."""
    return came_back(chrome, provider.agree(begun(chrome, name), **claims))


def claimed(
    chrome: Browser, provider: Issuer, handle: str, name: str = "openid", **claims: Any
) -> None:
    """A first sign-in that claims this handle."""
    assert signed_in(chrome, provider, name, **claims).headers["location"] == HANDLE
    chrome.get(HANDLE)
    chrome.submit(HANDLE, handle=handle)
    assert chrome.url == f"/{handle}"


def subject_of(chrome: Browser) -> str:
    """The user of the session."""
    claims = jwt.decode(chrome.cookies[browser.SESSION], options={"verify_signature": False})
    return str(claims["sub"])


def refused(answer: Answer, code: str = "sign_in_refused") -> str:
    """The text of a refusal that set no session."""
    assert answer.status >= 400 and answer.code == code, (answer.status, answer.body)
    assert not any(line.startswith(browser.SESSION) for line in answer.cookies)
    return checked(answer, answer.status).text


# ── The whole way ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["openid", "github"])
def test_a_first_sign_in_claims_a_handle_and_later_ones_open_sessions_of_it(
    provider: Issuer, owner: str, name: str
) -> None:
    provider.user = {"id": time.time_ns(), "login": owner}
    who = {"sub": owner, "preferred_username": owner}
    chrome = Browser()
    page = chrome.get(SIGN_IN)
    assert {f"{SIGN_IN}/openid?next=/", f"{SIGN_IN}/github?next=/"} <= set(page.links())
    answer = signed_in(chrome, provider, name, **who)
    assert (answer.status, answer.headers["location"]) == (303, HANDLE)
    assert browser.SESSION not in chrome.cookies and browser.ATTEMPT not in chrome.cookies
    chrome.get(HANDLE)
    assert chrome.fields(HANDLE)["handle"] == owner, "suggested"
    chrome.submit(HANDLE)
    assert chrome.url == f"/{owner}" and subject_of(chrome) == owner
    assert browser.IDENTITY not in chrome.cookies
    page = chrome.get("/-/account")
    page = chrome.submit("/-/account/tokens", 201, scope="write", days="7")
    token = page.text.partition("MUSE_TOKEN=")[2].split()[0]
    assert api.call("tokens", "GET", "/me", token=token).value["handle"] == owner

    other = Browser()
    url = begun(other, name, "/-/account?done=saved")
    answer = came_back(other, provider.agree(url, **who))
    assert answer.headers["location"] == "/-/account?done=saved"
    assert subject_of(other) == owner


def test_the_provider_gets_a_challenge_state_and_nonce_and_never_the_secrets(
    provider: Issuer,
) -> None:
    chrome = Browser()
    url = begun(chrome)
    query = dict(parse_qsl(urlsplit(url).query))
    assert query["scope"] == "openid profile"
    assert query["redirect_uri"] == f"https://hub.example{SIGN_IN}/openid/callback"
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
    secret = chrome.cookies[browser.ATTEMPT].split(".")[1]
    assert secret not in url and CLIENT_SECRET not in url
    assert begun(chrome) != url, "each attempt has its own values"


def test_the_cookies_of_a_sign_in_are_bound_to_the_host_and_short_lived(provider: Issuer) -> None:
    chrome = Browser()
    answer = chrome.send("GET", f"{SIGN_IN}/openid")
    callback = came_back(chrome, provider.agree(answer.headers["location"], sub="cookies"))
    for found, name, seconds in (
        (answer, browser.ATTEMPT, 600),
        (callback, browser.IDENTITY, 900),
    ):
        [line] = [
            line for line in found.cookies if line.startswith(f"{name}=") and "ax-Age=0" not in line
        ]
        assert {one.lower() for one in line.split("; ")[1:]} == {
            "httponly", "secure", "samesite=lax", "path=/", f"max-age={seconds}",
        }  # fmt: skip
        assert found.headers["cache-control"] == "no-store"


def test_nobody_begins_over_plain_http_or_from_another_site(provider: Issuer) -> None:
    event = client.event(
        "GET",
        f"{SIGN_IN}/openid",
        b"",
        {"accept": "text/html", "host": "hub.example", "x-forwarded-proto": "http"},
    )
    answer = client.invoke("account", event)
    assert answer.status in (303, 403)
    chrome = Browser()
    for site in ("cross-site", "same-site"):
        refused(chrome.send("GET", f"{SIGN_IN}/openid", headers={"sec-fetch-site": site}))


def test_a_hub_without_providers_shows_none(owner: str) -> None:
    chrome = Browser()
    page = chrome.get(SIGN_IN)
    assert not [link for link in page.links() if link.startswith(f"{SIGN_IN}/")]
    assert refused(chrome.send("GET", f"{SIGN_IN}/openid"), "not_found")
    assert refused(chrome.send("GET", f"{SIGN_IN}/openid/callback?code=a&state=b"), "not_found")


# ── What is refused ─────────────────────────────────────────────────────────────────────────────


def test_a_callback_without_the_cookie_or_with_that_of_another_browser_is_refused(
    provider: Issuer,
) -> None:
    chrome, other = Browser(), Browser()
    callback = provider.agree(begun(chrome))
    begun(other)
    for thief in (Browser(), other):
        with recorded() as calls:
            assert "this browser did not begin this sign-in" in refused(came_back(thief, callback))
        assert "SIGNIN" not in str(calls)
    assert provider.requests["/token"] == 0, "the code of the victim is still unused"
    assert came_back(chrome, callback).status == 303


def test_a_state_is_used_once_even_if_the_provider_accepts_its_code_again(
    provider: Issuer, owner: str
) -> None:
    chrome = Browser()
    callback = provider.agree(begun(chrome), sub=owner)
    cookie = chrome.cookies[browser.ATTEMPT]
    code = parse_qs(urlsplit(callback).query)["code"][0]
    known = provider.codes[code]
    assert came_back(chrome, callback).status == 303
    assert "this browser did not begin" in refused(came_back(chrome, callback)), "no cookie"
    chrome.cookies[browser.ATTEMPT] = cookie
    provider.codes[code] = known
    assert "was used already" in refused(came_back(chrome, callback))


def test_a_code_that_was_used_is_refused_by_the_provider(provider: Issuer) -> None:
    chrome = Browser()
    used = parse_qs(urlsplit(provider.agree(begun(chrome))).query)["code"][0]
    provider.codes.clear()
    callback = provider.agree(begun(chrome))
    state = parse_qs(urlsplit(callback).query)["state"][0]
    query = urlencode({"code": used, "state": state})
    answer = came_back(chrome, f"{SIGN_IN}/openid/callback?{query}")
    assert "did not accept the code" in refused(answer)


def test_a_code_of_another_sign_in_fails_by_its_challenge(provider: Issuer) -> None:
    """An attacker puts the own code into the callback of a victim."""
    for name in ("openid", "github"):
        attacker, victim = Browser(), Browser()
        stolen = parse_qs(urlsplit(provider.agree(begun(attacker, name))).query)["code"][0]
        own = provider.agree(begun(victim, name))
        state = parse_qs(urlsplit(own).query)["state"][0]
        query = urlencode({"code": stolen, "state": state})
        answer = came_back(victim, f"{SIGN_IN}/{name}/callback?{query}")
        assert "did not accept the code" in refused(answer)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"error": "access_denied", "error_description": "<script>"}, "(access_denied)"),
        ({"error": "<script>alert(1)</script>"}, "(no code)"),
        ({"code": ""}, "(no code)"),
        ({"code": "x" * 5_000}, "(no code)"),
        ({"state": ""}, "did not begin"),
        ({"state": "é"}, "did not begin"),
        ({"iss": "https://evil.example"}, "another issuer answered"),
    ],
)
def test_a_falsified_callback_is_refused(
    provider: Issuer, query: dict[str, str], said: str
) -> None:
    chrome = Browser()
    callback = provider.agree(begun(chrome))
    true = dict(parse_qsl(urlsplit(callback).query))
    if "error" in query:
        true.pop("code")
    answer = came_back(chrome, f"{SIGN_IN}/openid/callback?{urlencode({**true, **query})}")
    text = refused(answer)
    assert said in text and "script" not in text


def test_an_answer_for_one_provider_is_not_taken_by_the_other(provider: Issuer) -> None:
    chrome = Browser()
    callback = provider.agree(begun(chrome, "openid"))
    assert "did not begin" in refused(came_back(chrome, callback.replace("/openid/", "/github/")))


def test_an_issuer_that_promises_to_name_itself_must_do_so(provider: Issuer) -> None:
    provider.document = {"authorization_response_iss_parameter_supported": True}
    chrome = Browser()
    assert "another issuer answered" in refused(signed_in(chrome, provider))
    callback = provider.agree(begun(chrome))
    assert came_back(chrome, f"{callback}&{urlencode({'iss': provider.url})}").status == 303


FALSE_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://evil.example"}, "another issuer"),
    "no issuer": ({"iss": None}, "no issuer"),
    "another audience": ({"aud": "another client"}, "another audience"),
    "also another audience": ({"aud": [CLIENT_ID, "another client"]}, "also for another audience"),
    "no audience": ({"aud": None}, "is missing"),
    "another party": ({"azp": "another client"}, "another client"),
    "expired": ({"exp": int(time.time()) - 120}, "has expired"),
    "no expiry": ({"exp": None}, "is missing"),
    "from the future": ({"iat": int(time.time()) + 86_400}, "not valid yet"),
    "not yet valid": ({"nbf": int(time.time()) + 86_400}, "not valid yet"),
    "another nonce": ({"nonce": "x" * 43}, "belongs to another sign-in"),
    "no nonce": ({"nonce": None}, "belongs to another sign-in"),
    "a number as nonce": ({"nonce": 7}, "belongs to another sign-in"),
    "no subject": ({"sub": None}, "is missing"),
    "an empty subject": ({"sub": ""}, "subject is not valid"),
    "a long subject": ({"sub": "x" * 300}, "subject is not valid"),
    "a number as subject": ({"sub": 7}, "malformed"),
}


@pytest.mark.parametrize(("claims", "said"), FALSE_CLAIMS.values(), ids=list(FALSE_CLAIMS))
def test_an_id_token_with_one_false_claim_is_refused(
    provider: Issuer, claims: dict[str, Any], said: str
) -> None:
    provider.claims = claims
    assert said in refused(signed_in(Browser(), provider))


def _unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "", "none", headers={"kid": "RS256"})


def _by_secret(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, CLIENT_SECRET * 2, "HS256", headers={"kid": "RS256"})


def _by_another_key(claims: dict[str, Any]) -> str:
    key = issuer.private_key("RS256", "another")
    return jwt.encode(claims, key, "RS256", headers={"kid": "RS256"})


def _by_another_algorithm(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, issuer.private_key("RS256"), "RS512", headers={"kid": "RS256"})


def _key_of_another_kind(claims: dict[str, Any]) -> str:
    key = issuer.private_key("ES256")
    return jwt.encode(claims, key, "ES256", headers={"kid": "RS256"})


def _unknown_key(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, issuer.private_key("RS256"), "RS256", headers={"kid": "gone"})


def _no_key_id(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, issuer.private_key("RS256"), "RS256")


def _own_key(claims: dict[str, Any]) -> str:
    """The header brings the key along."""
    header = {"kid": "own", "jwk": issuer.public_jwk("RS256", "own", "another")}
    return jwt.encode(claims, issuer.private_key("RS256", "another"), "RS256", headers=header)


def _changed(claims: dict[str, Any]) -> str:
    head, _, sign = jwt.encode(
        claims, issuer.private_key("RS256"), "RS256", headers={"kid": "RS256"}
    ).split(".")
    body = jwt.encode({**claims, "sub": "admin"}, "x" * 32, "HS256").split(".")[1]
    return f"{head}.{body}.{sign}"


FORGERIES = {
    _unsigned: "algorithm is not one of",
    _by_secret: "algorithm is not one of",
    _by_another_algorithm: "algorithm is not one of",
    _by_another_key: "signature is not valid",
    _key_of_another_kind: "algorithm is not that of its key",
    _unknown_key: "no such key",
    _no_key_id: "no such key",
    _own_key: "no such key",
    _changed: "signature is not valid",
    lambda claims: "nonsense": "not a JSON Web Token",
    lambda claims: "x" * 20_000: "more than 16384 characters",
}


@pytest.mark.parametrize(("sign", "said"), FORGERIES.items())
def test_a_forged_id_token_is_refused(provider: Issuer, sign: Any, said: str) -> None:
    provider.sign = sign
    assert said in refused(signed_in(Browser(), provider))


@pytest.mark.parametrize("algorithm", issuer.ALGORITHMS)
def test_every_accepted_algorithm_is_verified(provider: Issuer, algorithm: str) -> None:
    provider.algorithm = algorithm
    assert signed_in(Browser(), provider, sub=f"by {algorithm}").headers["location"] == HANDLE


@pytest.mark.parametrize(
    "user",
    [{"login": "ada"}, {"id": "17"}, {"id": True}, {"id": -1}, {"id": None}, {"id": 1.5}],
)
def test_a_github_user_without_a_number_is_refused(provider: Issuer, user: dict[str, Any]) -> None:
    provider.user = user
    refused(signed_in(Browser(), provider, "github"), "issuer_invalid")


def test_a_github_login_that_another_user_took_over_opens_nothing(
    provider: Issuer, owner: str
) -> None:
    provider.user = {"id": time.time_ns(), "login": owner}
    claimed(Browser(), provider, owner, "github")
    provider.user = {"id": time.time_ns(), "login": owner}
    chrome = Browser()
    assert signed_in(chrome, provider, "github").headers["location"] == HANDLE
    chrome.get(HANDLE)
    assert "is in use" in chrome.submit(HANDLE, 409, handle=owner).text
    assert browser.SESSION not in chrome.cookies


# ── Handles ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["token", "repository", "another user"])
def test_a_handle_that_is_in_use_cannot_be_claimed(provider: Issuer, owner: str, kind: str) -> None:
    if kind == "token":
        api.call("tokens", "POST", "/tokens", {"scope": "read"}, by=owner)
    elif kind == "repository":
        api.create(owner, "song")
    else:
        claimed(Browser(), provider, owner, sub=f"first {owner}")
    chrome = Browser()
    signed_in(chrome, provider, sub=f"second {owner}")
    chrome.get(HANDLE)
    for spelled in (owner, owner.upper()):
        page = chrome.submit(HANDLE, 409, handle=spelled)
        assert "is in use" in page.text and chrome.answer.code == "handle_in_use"
        assert chrome.fields(HANDLE)["handle"] == spelled
    assert browser.SESSION not in chrome.cookies
    chrome.submit(HANDLE, handle=f"{owner}-2")
    assert subject_of(chrome) == f"{owner}-2", "the way out"


@pytest.mark.parametrize("handle", ["", "a b", "admin", "Login", "x" * 65, "../x", "é", "<script>"])
def test_a_handle_that_cannot_be_one_is_refused(provider: Issuer, handle: str) -> None:
    chrome = Browser()
    signed_in(chrome, provider, sub="odd")
    chrome.get(HANDLE)
    chrome.submit(HANDLE, 422, handle=handle)
    assert chrome.answer.code == "invalid_name"


def test_a_user_with_two_windows_gets_one_handle(provider: Issuer, owner: str) -> None:
    one, two = Browser(), Browser()
    for chrome in (one, two):
        signed_in(chrome, provider, sub=owner)
        chrome.get(HANDLE)
    one.submit(HANDLE, handle=owner)
    two.submit(HANDLE, handle=f"{owner}-2")
    assert subject_of(two) == owner


def test_a_user_with_a_token_of_a_handle_links_the_provider_to_it(
    provider: Issuer, owner: str
) -> None:
    api.create(owner, "song")
    chrome = Browser()
    chrome.sign_in(owner)
    assert signed_in(chrome, provider, sub=owner).headers["location"] == HANDLE
    chrome.get(HANDLE)
    page = chrome.submit(f"{HANDLE}/link")
    assert chrome.url.startswith("/-/account") and "through the provider" in page.text
    other = Browser()
    assert signed_in(other, provider, sub=owner).headers["location"] == f"/{owner}"
    assert subject_of(other) == owner


@pytest.mark.parametrize("limit", [{"scope": Role.WRITE}, {"repo": "x/y"}])
def test_a_limited_session_cannot_link(provider: Issuer, owner: str, limit: dict[str, Any]) -> None:
    """The provider's user would get more rights than the session has."""
    chrome = Browser()
    chrome.sign_in(owner, token=client.token(owner, **limit))
    signed_in(chrome, provider, sub=f"of {owner}")
    page = chrome.get(HANDLE)
    assert f"{HANDLE}/link" not in page.forms
    guard = browser.form_token(chrome.cookies[browser.SESSION])
    chrome.post(f"{HANDLE}/link", {"form": guard}, 403)


def test_a_provider_user_with_a_handle_cannot_be_linked_to_another(
    provider: Issuer, owner: str
) -> None:
    chrome = Browser()
    signed_in(chrome, provider, sub=owner)
    held = chrome.cookies[browser.IDENTITY]
    chrome.get(HANDLE)
    chrome.submit(HANDLE, handle=owner)
    chrome.cookies.clear()
    chrome.sign_in(f"{owner}-2")
    chrome.cookies[browser.IDENTITY] = held
    guard = browser.form_token(chrome.cookies[browser.SESSION])
    page = chrome.post(f"{HANDLE}/link", {"form": guard}, 409)
    assert f"signs in to {owner}" in page.text


@pytest.mark.parametrize("kind", ["none", "nonsense", "access token", "session", "expired", "long"])
def test_a_user_whom_no_provider_verified_chooses_no_handle(
    provider: Issuer, owner: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chrome = Browser()
    if kind == "expired":
        with monkeypatch.context() as patch:
            patch.setattr(identities, "CHOICE_SECONDS", -1)
            signed_in(chrome, provider, sub=owner)
        held = next(iter(chrome.cookies.values()), "")
    else:
        held = {
            "none": "", "nonsense": "x", "access token": client.token(owner),
            "session": client.session(owner), "long": "x" * 5000,
        }[kind]  # fmt: skip
    chrome.cookies[browser.IDENTITY] = held
    refused(chrome.send("GET", HANDLE))
    chrome.post(HANDLE, {"form": browser.form_token(held), "handle": owner}, 403)
    assert browser.SESSION not in chrome.cookies


def test_a_signed_user_is_no_token(provider: Issuer, owner: str) -> None:
    chrome = Browser()
    signed_in(chrome, provider, sub=owner)
    signed = chrome.cookies[browser.IDENTITY]
    assert api.call("tokens", "GET", "/me", token=signed).status == 401
    chrome.cookies[browser.SESSION] = signed
    chrome.get("/-/account")
    assert chrome.url.startswith(SIGN_IN)


def test_a_planted_session_is_replaced(provider: Issuer, owner: str) -> None:
    claimed(Browser(), provider, owner, sub=owner)
    chrome = Browser()
    chrome.cookies[browser.SESSION] = planted = client.session("attacker")
    signed_in(chrome, provider, sub=owner)
    assert chrome.cookies[browser.SESSION] != planted and subject_of(chrome) == owner


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "//evil.example", "/\\evil.example", "/" + "x" * 600, "/é"]
)
def test_a_sign_in_leads_to_a_page_of_this_hub_only(provider: Issuer, owner: str, url: str) -> None:
    claimed(Browser(), provider, owner, sub=owner)
    chrome = Browser()
    answer = came_back(chrome, provider.agree(begun(chrome, "openid", url), sub=owner))
    assert answer.headers["location"] == f"/{owner}"
    begun(chrome)
    provider_name, secret, _ = chrome.cookies[browser.ATTEMPT].split(".")
    chrome.cookies[browser.ATTEMPT] = f"{provider_name}.{secret}.Ly9ldmlsLmV4YW1wbGU="


def test_no_secret_of_a_sign_in_is_logged(
    provider: Issuer,
    owner: str,
    configured: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured.setenv("PIERIA_LOG_LEVEL", "DEBUG")
    settings.load.cache_clear()
    caplog.set_level(logging.DEBUG)
    chrome = Browser()
    url = begun(chrome)
    callback = provider.agree(url, sub=owner)
    secrets = [
        CLIENT_SECRET,
        *chrome.cookies.values(),
        parse_qs(urlsplit(callback).query)["code"][0],
    ]
    came_back(chrome, callback)
    secrets += chrome.cookies.values()
    provider.bodies["/token"] = b"[]"
    failing = provider.agree(begun(chrome))
    refused(came_back(chrome, failing), "issuer_invalid")
    secrets += [
        parse_qs(urlsplit(failing).query)["code"][0],
        *parse_qs(urlsplit(url).query)["state"],
    ]
    printed = "".join(capfd.readouterr())
    assert '"/-/sign-in/{provider}/callback"' in printed, "the requests are logged"
    assert [secret for secret in secrets if secret and secret in printed] == []
