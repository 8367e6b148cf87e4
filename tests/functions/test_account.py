"""Sessions of browsers and the pages of a user: sign in, tokens, sign out."""

import re
import time
from typing import Any

import pytest

from shared import auth, settings
from shared.http import browser
from shared.model import Identity, Role
from tests import client
from tests.client import Answer, event, invoke
from tests.faults import recorded
from tests.functions import api
from tests.functions.browser import FORM, ORIGIN, Browser
from tests.functions.web import ACCEPT, checked, get, pushed

SIGN_IN = "/-/sign-in"


def private_song(owner: str) -> str:
    """The path of a private repository with a commit."""
    pushed(owner, {"README.md": b"# Secret song"})
    api.call("repos", "PATCH", f"/repos/{owner}/song", {"visibility": "private"}, by=owner)
    return f"/{owner}/song"


# ── Sign in ─────────────────────────────────────────────────────────────────────────────────────


def test_a_user_signs_in_with_a_token_and_sees_a_private_repository(owner: str) -> None:
    path, chrome = private_song(owner), Browser()
    chrome.get(path, 404)
    assert SIGN_IN in chrome.page.links()
    page = chrome.get(SIGN_IN)
    assert chrome.fields(SIGN_IN)["next"] == path, "the page before"
    page = chrome.submit(SIGN_IN, token=client.token(owner))
    assert chrome.url == path and "Secret song" in page.text
    assert chrome.answer.headers["cache-control"] == "private, no-store"
    assert "Cookie" in chrome.answer.headers["vary"]
    assert "access-control-allow-origin" not in chrome.answer.headers


def test_the_cookie_of_a_session_is_bound_to_the_host_and_hidden_from_scripts(owner: str) -> None:
    chrome = Browser()
    chrome.get(SIGN_IN)
    fields = {**chrome.fields(SIGN_IN), "token": client.token(owner)}
    answer = posted(chrome, SIGN_IN, fields)
    assert answer.status == 303 and answer.headers["cache-control"] == "no-store"
    [line] = [line for line in answer.cookies if line.startswith("__Host-session=")]
    name_and_value, *attributes = line.split("; ")
    assert {one.lower() for one in attributes} == {
        "httponly", "secure", "samesite=lax", "path=/", "max-age=3600",
    }  # fmt: skip
    claims = claims_of(name_and_value.partition("=")[2])
    assert claims["type"] == "session" and claims["exp"] - claims["iat"] <= 3600, "as the token"


def test_a_session_lasts_eight_hours_at_most(owner: str) -> None:
    chrome = Browser()
    chrome.sign_in(owner, token=client.token(owner, lifetime_seconds=30 * 24 * 3600))
    claims = claims_of(chrome.cookies[browser.SESSION])
    assert claims["exp"] - claims["iat"] == 8 * 3600


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "x" * 5_000, "expired", "session"])
def test_a_text_that_is_not_a_valid_token_opens_no_session(owner: str, token: str) -> None:
    chrome = Browser()
    if token == "expired":
        token = client.token(owner, now=int(time.time()) - 7200)
    if token == "session":
        token = session_of(owner)
    chrome.get(SIGN_IN)
    page = chrome.submit(SIGN_IN, 403, token=token)
    assert "is not a valid token of this hub" in page.text
    assert not token or token not in page.text
    assert browser.SESSION not in chrome.cookies
    assert chrome.submit(SIGN_IN, token=client.token(owner)), "the form can be sent again"


def test_a_session_that_someone_planted_is_replaced_at_sign_in(owner: str) -> None:
    planted, chrome = session_of("attacker"), Browser()
    chrome.cookies[browser.SESSION] = planted
    chrome.sign_in(owner)
    assert chrome.cookies[browser.SESSION] != planted
    assert claims_of(chrome.cookies[browser.SESSION])["sub"] == owner


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\/evil.example", "/\t/evil.example",
     "/%0d%0aset-cookie:x", "javascript:alert(1)", "/a\nb", "evil.example", "http:evil.example", "", "/" + "x" * 3_000,
     "///evil.example", "/a\x00", "https:/-/account", " //evil.example", "/é"],
)  # fmt: skip
def test_sign_in_leads_to_a_page_of_this_hub_only(owner: str, url: str) -> None:
    chrome = Browser()
    chrome.get(SIGN_IN)
    answer = posted(
        chrome, SIGN_IN, {**chrome.fields(SIGN_IN), "token": client.token(owner), "next": url}
    )
    assert answer.headers["location"] in (f"/{owner}", "/%0d%0aset-cookie:x")
    assert set(answer.headers["location"]) <= set(map(chr, range(33, 127)))


# ── Other sites, and networks ───────────────────────────────────────────────────────────────────

FOREIGN = {
    "another origin": {"origin": "https://evil.example"},
    "no origin": {"origin": "null"},
    "plain HTTP": {"origin": "http://hub.example"},
    "another port": {"origin": "https://hub.example:8443"},
    "a sibling": {"sec-fetch-site": "same-site"},
    "another site": {"sec-fetch-site": "cross-site"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=list(FOREIGN))
@pytest.mark.parametrize(
    "action", [SIGN_IN, "/-/account/tokens", "/-/account/revoke", "/-/account/sign-out"]
)
def test_a_form_that_another_site_sends_is_refused_before_any_call(
    owner: str, action: str, headers: dict[str, str]
) -> None:
    chrome = signed_in(owner)
    fields = {**chrome.fields(action), "token": client.token(owner)}
    with recorded() as calls:
        answer = posted(chrome, action, fields, **headers)
    checked(answer, 403)
    assert (answer.code, calls) == ("forbidden", [])


@pytest.mark.parametrize("value", ["", "x", "of another session"])
@pytest.mark.parametrize(
    "action", [SIGN_IN, "/-/account/tokens", "/-/account/revoke", "/-/account/sign-out"]
)
def test_a_form_needs_the_token_of_its_own_session(owner: str, action: str, value: str) -> None:
    chrome, other = signed_in(owner), signed_in(owner)
    guard = other.fields(action)["form"] if value == "of another session" else value
    with recorded() as calls:
        answer = posted(chrome, action, {**chrome.fields(action), "form": guard})
    checked(answer, 403)
    assert (answer.code, calls) == ("forbidden", [])


def test_a_form_is_sent_as_a_browser_sends_it(owner: str) -> None:
    chrome = signed_in(owner)
    guard = chrome.fields("/-/account/sign-out")["form"].encode()
    for body, headers, status in (
        (b'{"form": "' + guard + b'"}', {"content-type": "application/json"}, 415),
        (b"form=" + guard, {"content-type": "text/plain"}, 415),
        (b"form=" + guard, {"content-type": FORM, "content-encoding": "gzip"}, 415),
        (b"form=%ff", {"content-type": FORM}, 400),
        (b"form=\xff", {"content-type": FORM}, 400),
        (b"&".join([b"a=b"] * 60), {"content-type": FORM}, 400),
        (b"a=" + b"x" * 70_000, {"content-type": FORM}, 413),
    ):
        checked(chrome.send("POST", "/-/account/sign-out", body, headers), status)


def test_nobody_signs_in_over_plain_http_from_another_machine(owner: str) -> None:
    for host, is_safe in (
        ("hub.example", False), ("10.0.0.7:8000", False), ("localhost.evil.example", False),
        ("localhost:8000", True), ("127.0.0.1:8000", True),
    ):  # fmt: skip
        answer = plain_http("GET", SIGN_IN, host)
        if is_safe:
            checked(answer)
            continue
        assert "plain HTTP" in checked(answer, 403).text and answer.cookies == ()
        session = {"cookie": f"{browser.SESSION}={session_of(owner)}"}
        page = checked(plain_http("GET", "/", host, **session))
        assert SIGN_IN in page.links(), "a session is not accepted either"


# ── What a session opens ────────────────────────────────────────────────────────────────────────


def test_the_wire_protocol_and_the_api_refuse_a_session(owner: str) -> None:
    api.create(owner, "song")
    session = session_of(owner)
    for headers in (
        {"authorization": f"Bearer {session}"},
        {"cookie": f"{browser.SESSION}={session}"},
    ):
        for function, method, path in (
            ("tokens", "GET", "/api/v1/me"),
            ("tokens", "GET", "/api/v1/tokens"),
            ("filter_objects", "POST", f"/{owner}/song/filter-objects"),
            ("members", "GET", f"/api/v1/repos/{owner}/song/members"),
        ):
            answer = invoke(
                function,
                event(method, path, b"{}", {"content-type": "application/json", **headers}),
            )
            assert (answer.status, answer.code) == (401, "unauthorized"), (path, headers)
    private = private_song(owner)
    answer = invoke(
        "refs", event("GET", f"{private}/refs", b"", {"cookie": f"{browser.SESSION}={session}"})
    )
    assert answer.status == 404


def test_a_session_has_the_rights_of_its_token_and_ends_with_it(owner: str) -> None:
    path, chrome = private_song(owner), Browser()
    token = client.token(owner, scope=Role.READ, token_id="the-token")
    chrome.sign_in(owner, token=token, next=path)
    assert "Secret song" in chrome.page.text
    api.call("tokens", "DELETE", "/tokens/the-token", by=owner)
    assert SIGN_IN in chrome.get(path, 404).links()
    assert browser.SESSION not in chrome.cookies, "the browser forgets the session"


def test_a_session_of_a_limited_token_is_limited(owner: str) -> None:
    path, chrome = private_song(owner), Browser()
    chrome.get(SIGN_IN)
    chrome.submit(SIGN_IN, 404, token=client.token(owner, repo=f"{owner}/other"), next=path)
    assert "cannot list tokens" in chrome.get("/-/account").text


@pytest.mark.parametrize("kind", ["nonsense", "expired", "revoked", "access"])
def test_a_session_that_is_over_is_a_visit_without_one(owner: str, kind: str) -> None:
    pushed(owner, {"README.md": b"# Open song"})
    chrome = signed_in(owner)
    if kind == "revoked":
        claims = claims_of(chrome.cookies[browser.SESSION])
        api.call("tokens", "DELETE", f"/tokens/{claims['jti']}", by=owner)
    else:
        chrome.cookies[browser.SESSION] = {
            "nonsense": "x",
            "expired": session_of(owner, now=int(time.time()) - 7200),
            "access": client.token(owner),
        }[kind]
    assert "Open song" in chrome.get(f"/{owner}/song").text
    assert browser.SESSION not in chrome.cookies
    assert SIGN_IN in chrome.page.links()
    chrome.get("/-/account")
    assert chrome.url.startswith(SIGN_IN) and "next=%2F-%2Faccount" in chrome.url


def test_absent_and_private_are_the_same_to_another_user_with_a_session(owner: str) -> None:
    path, chrome = private_song(owner), signed_in("stranger-" + owner)
    found = []
    for asked in (path, f"/{owner}/never"):
        with recorded() as calls:
            answer = chrome.send("GET", asked)
        headers = {k: v for k, v in answer.headers.items() if k not in client.OWN_HEADERS}
        found.append((answer.status, headers, answer.body, answer.cookies, sorted(calls)))
    assert found[0] == found[1] and found[0][0] == 404


def test_a_session_costs_a_page_no_further_call(owner: str) -> None:
    pushed(owner, {"README.md": b"# Open song"})
    chrome = signed_in(owner)
    chrome.get(f"/{owner}/song")
    with recorded() as calls:
        chrome.send("GET", f"/{owner}/song")
    with recorded() as by_token:
        get(f"/{owner}/song", by=owner)
    assert sorted(calls) == sorted(by_token) and len(calls) <= 5


# ── Tokens ──────────────────────────────────────────────────────────────────────────────────────


def test_a_user_creates_a_token_which_is_shown_once_and_pushes(owner: str) -> None:
    chrome = signed_in(owner)
    page = chrome.submit("/-/account/tokens", 201, scope="write", repo=f"{owner}/song", days="7")
    [command] = re.findall(r"MUSE_TOKEN=(\S+) muse auth login --hub https://hub.example", page.text)
    assert chrome.answer.headers["cache-control"] == "no-store"
    me = api.call("tokens", "GET", "/me", token=command).value
    assert (me["handle"], me["scope"], me["repo"]) == (owner, "write", f"{owner}/song")
    claims = claims_of(command)
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600
    page = chrome.get("/-/account")
    assert command not in chrome.answer.body.decode() and claims["jti"][:12] in page.text


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"scope": "all"}, 422, "scope"),
        ({"days": "4000"}, 422, "choose one of the values of days"),
        ({"repo": "a b"}, 422, "owner/slug"),
        ({"repo": '"><script>'}, 422, "owner/slug"),
    ],
)
def test_a_refused_form_is_shown_again_with_the_message_and_the_values(
    owner: str, fields: dict[str, str], status: int, said: str
) -> None:
    chrome = signed_in(owner)
    page = chrome.submit("/-/account/tokens", status, **fields)
    assert said in page.text
    for name, value in fields.items():
        if name == "repo":
            assert chrome.fields("/-/account/tokens")[name] == value
    assert len(api.call("tokens", "GET", "/tokens", by=owner).value["tokens"]) == 1


def test_a_session_without_the_right_to_issue_tokens_is_told_so(owner: str) -> None:
    chrome = Browser()
    chrome.sign_in(owner, token=client.token(owner, scope=Role.WRITE))
    page = chrome.get("/-/account")
    assert "/-/account/tokens" not in page.forms and "scope admin" in page.text
    guard = chrome.fields("/-/account/sign-out")["form"]
    fields = {"form": guard, "scope": "admin", "days": "7", "repo": ""}
    assert "only a token of scope admin" in chrome.post("/-/account/tokens", fields, 403).text


def test_a_user_revokes_a_token_and_another_session(owner: str) -> None:
    chrome, other = signed_in(owner), signed_in(owner)
    page = chrome.submit("/-/account/tokens", 201, scope="read", days="7")
    token = page.text.partition("MUSE_TOKEN=")[2].split()[0]
    for victim in (claims_of(token)["jti"], claims_of(other.cookies[browser.SESSION])["jti"]):
        chrome.get("/-/account")
        page = chrome.submit("/-/account/revoke", token_id=victim)
        assert "The token is revoked" in page.text
    assert api.call("tokens", "GET", "/me", token=token).status == 401
    other.get("/-/account")
    assert other.url.startswith(SIGN_IN)
    page = chrome.get("/-/account")
    chrome.submit("/-/account/revoke", 404, token_id="never")
    kinds = {one["type"] for one in api.call("tokens", "GET", "/tokens", by=owner).value["tokens"]}
    assert kinds == {"access", "session"}


def test_signing_out_revokes_the_session(owner: str) -> None:
    chrome = signed_in(owner)
    session = chrome.cookies[browser.SESSION]
    chrome.submit("/-/account/sign-out")
    assert chrome.url == "/" and browser.SESSION not in chrome.cookies
    chrome.cookies[browser.SESSION] = session
    chrome.get("/-/account")
    assert chrome.url.startswith(SIGN_IN), "a copy of the cookie is worth nothing"


def test_a_client_of_the_api_gets_json_at_the_forms() -> None:
    for method in ("GET", "POST"):
        answer = invoke("account", event(method, SIGN_IN, b"", {"accept": "application/json"}))
        assert (answer.status, answer.code) == (404, "not_found")


def test_pages_for_signed_in_users_are_stored_nowhere(owner: str) -> None:
    chrome = signed_in(owner)
    for path in ("/-/account", SIGN_IN):
        chrome.get(path)
        assert chrome.answer.headers["cache-control"] == "no-store"
        assert (
            "content-encoding"
            not in chrome.send("GET", path, b"", {"accept-encoding": "gzip"}).headers
        )


# ── Helpers ─────────────────────────────────────────────────────────────────────────────────────


def signed_in(user: str) -> Browser:
    """A browser with a session of this user, on the page of the user's account."""
    chrome = Browser()
    chrome.sign_in(user, next="/-/account")
    assert chrome.url == "/-/account"
    chrome.page.forms.setdefault(SIGN_IN, sign_in_form(chrome))
    return chrome


def sign_in_form(chrome: Browser) -> dict[str, str]:
    """The fields of the form to sign in."""
    answer = chrome.send("GET", SIGN_IN)
    return checked(answer).forms[SIGN_IN]


def posted(chrome: Browser, action: str, fields: dict[str, str], **headers: str) -> Answer:
    """The reply to a form, without following it."""
    from urllib.parse import urlencode

    sent = {"content-type": FORM, "origin": ORIGIN, **headers}
    return chrome.send("POST", action, urlencode(fields).encode(), sent)


def session_of(owner: str, now: int | None = None) -> str:
    """A session that the hub accepts."""
    identity = Identity(owner, Role.ADMIN, f"session-{time.monotonic_ns()}")
    return auth.issue(
        settings.load().signing_keys,
        identity,
        lifetime_seconds=3600,
        now=int(time.time()) if now is None else now,
        type=auth.SESSION,
    )


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token."""
    import jwt

    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def plain_http(method: str, path: str, host: str, **headers: str) -> Answer:
    """A request without TLS."""
    sent = {"accept": ACCEPT, "host": host, "x-forwarded-proto": "http", **headers}
    function = "pages" if path == "/" else "account"
    return invoke(function, event(method, path, b"", sent))
