"""The exchange of ID tokens for tokens of the hub: an issuer of our own, each of whose claims is
falsified once.
"""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from shared import settings
from shared.protocol.trusted_issuers import GRANT, ID_TOKENS
from tests import client, issuer
from tests.builders import chain
from tests.client import Answer
from tests.faults import recorded
from tests.functions import api
from tests.functions.browser import FORM
from tests.functions.web import forget
from tests.issuer import Issuer

HUB = "https://hub.example"
CLAIMS = {"repository": "octo/song", "ref": "refs/heads/main"}


@pytest.fixture
def ci(configured: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """An issuer of ID tokens for programs."""
    with issuer.running() as started:
        configured.setenv("PIERIA_LOCAL_ISSUERS", "on")
        configured.setenv("PIERIA_LIMIT_PUSH", "100000")
        settings.load.cache_clear()
        forget()
        yield started


def trusted(owner: str, ci: Issuer, by: str | None = None, **changes: Any) -> Answer:
    """Create a private repository and let it trust the issuer."""
    api.call("repos", "POST", "/repos", {"slug": "song", "visibility": "private"}, by=owner)
    return registered(owner, ci, by or owner, **changes)


def registered(owner: str, ci: Issuer, by: str, **changes: Any) -> Answer:
    """The reply to a registration."""
    wanted = {"issuer": ci.url, "claims": CLAIMS, "scope": "write", **changes}
    return api.call(
        "trusted_issuers", "POST", f"/repos/{owner}/song/trusted-issuers", wanted, by=by
    )


def id_token(ci: Issuer, **claims: Any) -> str:
    """An ID token of a program on the main branch of the trusted project."""
    return ci.token(**{"aud": HUB, "sub": "repo:octo/song", **CLAIMS, **claims})


def exchanged(owner: str, token: str, by: str | None = None, **changes: str | None) -> Answer:
    """The reply to an exchange. `by`: a user who also sends a token, which changes nothing."""
    fields: dict[str, str | None] = {
        "grant_type": GRANT,
        "subject_token": token,
        "subject_token_type": ID_TOKENS[0],
        "audience": f"{owner}/song",
        **changes,
    }
    sent = {name: value for name, value in fields.items() if value is not None}
    return sent_form(urlencode(sent).encode(), **client.bearer(client.token(by)) if by else {})


def sent_form(body: bytes, content_type: str = FORM, **more: str) -> Answer:
    event = client.event(
        "POST",
        "/api/v1/tokens/exchange",
        body,
        {"content-type": content_type, "host": "hub.example", **more},
    )
    return client.invoke("exchange", event)


def refused(answer: Answer, error: str = "invalid_target", status: int = 400) -> str:
    """The message of a refusal in both forms."""
    value = answer.value
    assert (answer.status, value["error"]) == (status, error), value
    assert value.keys() == {"error", "error_description", "message", "detail", "code"}
    assert value["message"] == value["detail"] and "access_token" not in value
    assert answer.headers["cache-control"] == "no-store"
    return str(value["message"])


# ── The whole way ───────────────────────────────────────────────────────────────────────────────


def test_a_program_without_a_secret_pushes_to_the_repository(ci: Issuer, owner: str) -> None:
    assert trusted(owner, ci).status == 201
    answer = exchanged(owner, id_token(ci))
    assert answer.status == 200, answer.body
    reply = answer.value
    assert reply | {"access_token": ""} == {
        "access_token": "",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "write",
    }
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    token = reply["access_token"]
    me = api.call("tokens", "GET", "/me", token=token).value
    assert (me["handle"], me["scope"], me["repo"], me["bearer"]) == (
        owner, "write", f"{owner}/song", "agent",
    )  # fmt: skip
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 600
    message = {"branch": "main", "bundle": chain(1, salt=owner).bundle()}
    headers = client.bearer(token)
    assert client.ask("push", "POST", f"/{owner}/song/push", message, headers=headers).status == 200
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", token=token).status == 403
    assert api.call("tokens", "POST", "/tokens", {"scope": "read"}, token=token).status == 403
    listed = api.call("tokens", "GET", "/tokens", by=owner).value["tokens"]
    assert me["token_id"] in {one["token_id"] for one in listed}, "its owner can revoke it"


@pytest.mark.parametrize("scope", ["read", "write", None])
def test_a_program_may_ask_for_less(ci: Issuer, owner: str, scope: str | None) -> None:
    trusted(owner, ci)
    assert exchanged(owner, id_token(ci), scope=scope).value["scope"] == scope or "write"


@pytest.mark.parametrize("asked", ["write", "admin", "read write", "READ", "openid"])
def test_a_program_gets_no_more_than_is_registered(ci: Issuer, owner: str, asked: str) -> None:
    trusted(owner, ci, scope="read")
    refused(exchanged(owner, id_token(ci), scope=asked), "invalid_scope")
    assert exchanged(owner, id_token(ci)).value["scope"] == "read"


def test_the_resource_may_be_the_url_of_the_repository(ci: Issuer, owner: str) -> None:
    trusted(owner, ci)
    url = f"{HUB}/{owner}/song"
    for named in ({"audience": None}, {}):
        assert exchanged(owner, id_token(ci), resource=url, **named).status == 200
    jwt_type = {"subject_token_type": ID_TOKENS[1]}
    assert exchanged(owner, id_token(ci), **jwt_type).status == 200


def test_the_rights_end_with_those_of_the_admin_who_registered(ci: Issuer, owner: str) -> None:
    admin = f"{owner}-admin"
    trusted(owner, ci)
    members = f"/repos/{owner}/song/members/{admin}"
    api.call("members", "PUT", members, {"role": "admin"}, by=owner)
    [mine] = trusted_issuers(owner)
    api.call("trusted_issuers", "DELETE", f"/repos/{owner}/song/trusted-issuers/{mine}", by=owner)
    assert registered(owner, ci, admin).status == 201
    token = exchanged(owner, id_token(ci)).value["access_token"]
    refs = {"authorization": f"Bearer {token}"}
    assert (
        client.invoke("refs", client.event("GET", f"/{owner}/song/refs", b"", refs)).status == 200
    )
    api.call("members", "DELETE", members, by=owner)
    assert (
        client.invoke("refs", client.event("GET", f"/{owner}/song/refs", b"", refs)).status == 404
    )


def trusted_issuers(owner: str) -> list[str]:
    """The ids of the trusted issuers."""
    path = f"/repos/{owner}/song/trusted-issuers"
    listed = api.call("trusted_issuers", "GET", path, by=owner).value["trusted_issuers"]
    return [one["trust_id"] for one in listed]


def test_a_removed_issuer_is_trusted_no_longer(ci: Issuer, owner: str) -> None:
    trusted(owner, ci)
    [trust_id] = trusted_issuers(owner)
    path = f"/repos/{owner}/song/trusted-issuers/{trust_id}"
    assert api.call("trusted_issuers", "DELETE", path, by=owner).status == 204
    refused(exchanged(owner, id_token(ci)))
    answer = api.call("trusted_issuers", "DELETE", path, by=owner)
    assert (answer.status, answer.code) == (404, "trusted_issuer_not_found")


# ── One falsehood each ──────────────────────────────────────────────────────────────────────────

FALSE: dict[str, dict[str, Any]] = {
    "another project": {"repository": "evil/song"},
    "another letter case": {"repository": "Octo/song"},
    "a longer name": {"repository": "octo/song-2"},
    "a list": {"repository": ["octo/song"]},
    "no project": {"repository": None},
    "another branch": {"ref": "refs/heads/evil"},
    "no branch": {"ref": None},
    "another issuer": {"iss": "https://evil.example"},
    "an issuer with a slash": {"iss": "+/"},
    "another audience": {"aud": "https://other.example"},
    "a further audience": {"aud": [HUB, "https://other.example"]},
    "no audience": {"aud": None},
    "expired": {"exp": int(time.time()) - 120},
    "no expiry": {"exp": None},
    "from the future": {"iat": int(time.time()) + 86_400},
    "not yet valid": {"nbf": int(time.time()) + 86_400},
    "no subject": {"sub": None},
}


@pytest.mark.parametrize("claims", FALSE.values(), ids=list(FALSE))
def test_a_token_with_one_false_claim_is_refused(
    ci: Issuer, owner: str, claims: dict[str, Any]
) -> None:
    trusted(owner, ci)
    if claims.get("iss") == "+/":
        claims = {"iss": f"{ci.url}/"}
    refused(exchanged(owner, id_token(ci, **claims)))
    assert exchanged(owner, id_token(ci)).status == 200


@pytest.mark.parametrize("kind", ["another key", "unsigned", "secret", "another issuer's key"])
def test_a_forged_token_is_refused(ci: Issuer, owner: str, kind: str) -> None:
    trusted(owner, ci)
    claims = jwt.decode(id_token(ci), options={"verify_signature": False})
    headers = {"kid": "RS256"}
    if kind == "unsigned":
        token = jwt.encode(claims, "", "none", headers=headers)
    elif kind == "secret":
        token = jwt.encode(claims, "s" * 32, "HS256", headers=headers)
    else:
        key = issuer.private_key("RS256", "another")
        token = jwt.encode(claims, key, "RS256", headers=headers)
    error = "invalid_request" if kind in ("unsigned", "secret") else "invalid_target"
    refused(exchanged(owner, token), error)


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "x" * 20_000, "é.é.é"])
def test_a_text_that_is_no_token_is_refused_before_any_row_is_read(
    ci: Issuer, owner: str, token: str
) -> None:
    with recorded() as calls:
        refused(exchanged(owner, token), "invalid_request")
    assert "Query" not in str(calls) and sum(ci.requests.values()) == 0


def test_an_issuer_that_no_admin_registered_is_never_contacted(ci: Issuer, owner: str) -> None:
    trusted(owner, ci)
    with issuer.running() as other:
        refused(exchanged(owner, id_token(other)))
        assert sum(other.requests.values()) == 0


def test_absent_private_and_deleted_repositories_look_the_same(ci: Issuer, owner: str) -> None:
    trusted(owner, ci)
    token = id_token(ci, repository="evil/song")
    api.call("repos", "POST", "/repos", {"slug": "gone"}, by=owner)
    api.call("repos", "DELETE", f"/repos/{owner}/gone", by=owner)
    found = []
    for name in ("song", "never", "gone"):
        with recorded() as calls:
            answer = exchanged(owner, token, audience=f"{owner}/{name}")
        headers = {k: v for k, v in answer.headers.items() if k not in client.OWN_HEADERS}
        found.append((answer.status, headers, answer.body, sorted(map(str, calls))))
    assert found[0] == found[1] == found[2]


def test_a_deleted_repository_gives_no_token(ci: Issuer, owner: str) -> None:
    trusted(owner, ci)
    api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner)
    refused(exchanged(owner, id_token(ci)))


def test_an_issuer_that_does_not_answer_is_named(ci: Issuer, owner: str) -> None:
    trusted(owner, ci)
    ci.status = 500
    assert "replied 500" in refused(exchanged(owner, id_token(ci)), "server_error", 502)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"subject_token": None}, "invalid_request"),
        (
            {"subject_token_type": "urn:ietf:params:oauth:token-type:access_token"},
            "invalid_request",
        ),
        ({"subject_token_type": None}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"audience": None}, "invalid_request"),
        ({"audience": "song"}, "invalid_request"),
        ({"audience": "a/b/c"}, "invalid_request"),
        ({"audience": "<script>/song"}, "invalid_request"),
        ({"resource": "https://evil.example/me/song"}, "invalid_request"),
        ({"resource": f"{HUB}/another/song"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
    ],
)
def test_a_malformed_request_is_refused(
    ci: Issuer, owner: str, changes: dict[str, str | None], error: str
) -> None:
    trusted(owner, ci)
    answer = exchanged(owner, id_token(ci), **changes)
    refused(answer, error, 422 if "actor_token" in changes else 400)


def test_a_request_in_another_format_is_refused(ci: Issuer) -> None:
    refused(sent_form(b"grant_type=a&grant_type=b"), "invalid_request")
    refused(
        sent_form(json.dumps({"grant_type": GRANT}).encode(), "application/json"),
        "invalid_request",
        415,
    )
    refused(sent_form(b"\xff"), "invalid_request")
    refused(sent_form(b"a=" + b"x" * 70_000), "invalid_request", 413)


def test_no_id_token_and_no_new_token_is_logged(
    ci: Issuer, owner: str, configured: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trusted(owner, ci)
    configured.setenv("PIERIA_LOG_LEVEL", "DEBUG")
    settings.load.cache_clear()
    token = id_token(ci)
    issued = exchanged(owner, token).value["access_token"]
    ci.bodies["/jwks"] = b"[]"
    with issuer.running() as failing:
        failing.status = 500
        registered(owner, failing, owner)
        other = id_token(failing)
        refused(exchanged(owner, other), "server_error", 502)
    printed = "".join(capfd.readouterr())
    assert "/api/v1/tokens/exchange" in printed
    assert [one for one in (token, issued, other) if one in printed] == []


# ── Registration ────────────────────────────────────────────────────────────────────────────────


def test_a_repeated_registration_changes_nothing(ci: Issuer, owner: str) -> None:
    first = trusted(owner, ci).value
    assert registered(owner, ci, owner).value == first
    assert trusted_issuers(owner) == [first["trust_id"]]
    assert first["audience"] == HUB and first["by"] == owner


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"claims": {}}, "1 to 10 claims"),
        ({"claims": {"ref": "refs/heads/main"}}, "belongs to one project"),
        ({"claims": {"repository_owner": "octo", "actor": "ada"}}, "belongs to one project"),
        ({"claims": {"iss": "x", "sub": "y"}}, "verifies"),
        ({"claims": {"sub": "x", "aud": "y"}}, "verifies"),
        ({"claims": {"sub": ""}}, "value of up to"),
        ({"claims": {"sub": "x" * 501}}, "value of up to"),
        ({"claims": {"sub": 7}}, "claims"),
        ({"claims": {f"c{number}": "x" for number in range(10)} | {"sub": "x"}}, "1 to 10 claims"),
        ({"scope": "admin"}, "scope"),
        ({"scope": None}, "scope"),
        ({"issuer": "http://id.example"}, "https://"),
        ({"issuer": "https://169.254.169.254"}, "https://"),
        ({"issuer": "https://localhost"}, "https://"),
        ({"issuer": "https://id.example?a=b"}, "no query"),
        ({"issuer": 7}, "issuer"),
        ({"audience": "x" * 501}, "audience"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_a_registration_that_would_trust_too_much_is_refused(
    ci: Issuer, owner: str, changes: dict[str, Any], said: str
) -> None:
    answer = trusted(owner, ci, **changes)
    assert (answer.status, answer.code) == (422, "invalid")
    assert said in answer.value["message"] and trusted_issuers(owner) == []


def test_a_repository_trusts_a_limited_number_of_issuers(ci: Issuer, owner: str) -> None:
    for number in range(20):
        assert trusted(owner, ci, claims={"sub": f"job {number}"}).status == 201
    answer = registered(owner, ci, owner, claims={"sub": "job 20"})
    assert (answer.status, answer.code) == (413, "too_large")
    assert registered(owner, ci, owner, claims={"sub": "job 7"}).status == 201, "again"


def test_a_local_issuer_cannot_be_registered_outside_of_tests(
    ci: Issuer, owner: str, configured: pytest.MonkeyPatch
) -> None:
    configured.setenv("PIERIA_LOCAL_ISSUERS", "off")
    settings.load.cache_clear()
    assert trusted(owner, ci).status == 422
