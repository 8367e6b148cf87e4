"""Tokens over the API: never wider than the one that asked, listed without their secret, worthless
when revoked.
"""

import asyncio
import time
from typing import Any

import jwt
import pytest
from botocore.exceptions import EndpointConnectionError

from bench.meter import Meter
from shared import auth
from shared.engines import selection
from shared.metadata import keys
from shared.metadata.tokens import Issued
from shared.model import Identity, Role
from tests import client
from tests.builders import graph
from tests.client import bearer
from tests.cloud_calls import CloudCall, intercepted
from tests.functions import api

DAY = 24 * 3600


def issue(message: Any, *, by: str | None = None, token: str | None = None) -> client.Answer:
    """POST a token."""
    return api.call("tokens", "POST", "/tokens", message, by=by, token=token)


def issued(owner: str, **message: Any) -> dict[str, Any]:
    """A token of the owner's."""
    answer = issue({"scope": "write", **message}, by=owner)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.value
    return made


def me(token: str) -> client.Answer:
    """GET who this token is of."""
    return api.call("tokens", "GET", "/me", token=token)


# ── Issue ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_has_the_requested_rights(owner: str) -> None:
    before = int(time.time())
    made = issued(owner, scope="read", repo=f"{owner}/song", bearer="agent", lifetime_seconds=3600)
    assert before <= made["issued_at"] <= before + 5
    assert made["expires_at"] == made["issued_at"] + 3600
    told = {key: made[key] for key in ("handle", "scope", "repo", "bearer", "token_id")}
    assert told == {
        **told,
        "handle": owner,
        "scope": "read",
        "repo": f"{owner}/song",
        "bearer": "agent",
    }
    assert me(made["token"]).value == told
    claims = jwt.decode(made["token"], options={"verify_signature": False})
    assert (claims["exp"], claims["jti"], claims["aud"]) == (
        made["expires_at"],
        made["token_id"],
        auth.AUDIENCE,
    )


def test_the_defaults_are_thirty_days_of_a_human(owner: str) -> None:
    made = issued(owner)
    assert made["expires_at"] - made["issued_at"] == 30 * DAY
    assert (made["bearer"], made["repo"], made["revoked_at"]) == ("human", None, None)


def test_a_token_that_an_agent_issues_belongs_to_an_agent(owner: str) -> None:
    agent = issued(owner, scope="admin", bearer="agent")
    assert issue({"scope": "read"}, token=agent["token"]).value["bearer"] == "agent"


def test_a_token_pushes_and_reads_within_its_rights(owner: str) -> None:
    for slug in ("a", "b"):
        api.create(owner, slug, visibility="private")
    headers = bearer(issued(owner, repo=f"{owner}/a")["token"])
    message = {"bundle": graph("1").bundle(), "branch": "main"}
    assert client.call("push", owner, "a", message, headers=headers).status == 200
    assert client.call("push", owner, "b", message, headers=headers).status == 404
    assert client.call("refs", owner, "b", headers=headers).status == 404


@pytest.mark.parametrize(
    ("scope", "repo", "message", "status"),
    [
        (Role.ADMIN, "", {"scope": "admin"}, 201),
        (Role.WRITE, "", {"scope": "read"}, 403),
        (Role.READ, "", {"scope": "read"}, 403),
        (Role.ADMIN, "me/song", {"scope": "admin", "repo": "me/song"}, 201),
        (Role.ADMIN, "me/song", {"scope": "read"}, 403),
        (Role.ADMIN, "me/song", {"scope": "read", "repo": "me/other"}, 403),
        (Role.ADMIN, "me/song", {"scope": "read", "repo": ""}, 403),
        (Role.WRITE, "me/song", {"scope": "read", "repo": "me/song"}, 403),
    ],
)
def test_no_token_is_wider_than_its_issuers(
    owner: str, scope: Role, repo: str, message: Any, status: int
) -> None:
    answer = issue(message, token=client.token(owner, scope=scope, repo=repo))
    assert answer.status == status, answer.body


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"scope": "owner"},
        {"scope": "read", "repo": "song"},
        {"scope": "read", "repo": "a/b/c"},
        {"scope": "read", "repo": ""},
        {"scope": "read", "repo": "../x"},
        {"scope": "read", "bearer": "robot"},
        {"scope": "read", "lifetime_seconds": 59},
        {"scope": "read", "lifetime_seconds": 365 * DAY + 1},
        {"scope": "read", "lifetime_seconds": 1e3},
        {"scope": "read", "lifetime_seconds": True},
        {"scope": "read", "sub": "root"},
        {"scope": "read", "token_id": "x"},
    ],
    ids=str,
)
def test_an_invalid_token_request_is_refused(owner: str, message: Any) -> None:
    assert issue(message, by=owner).status == 422


def test_a_token_that_is_good_for_every_repository_names_none(owner: str) -> None:
    token = issued(owner)["token"]
    assert me(token).value["repo"] is None
    limited = issued(owner, repo=f"{owner}/song")["token"]
    assert me(limited).value["repo"] == f"{owner}/song"


def test_absent_and_private_repositories_look_alike_to_a_token_for_another_one(
    owner: str,
) -> None:
    api.create(owner, "private", visibility="private")
    limited = issued(owner, repo=f"{owner}/song")["token"]
    for function in ("refs", "push"):
        answers = [
            client.call(function, owner, slug, {}, headers=bearer(limited))
            for slug in ("private", "absent")
        ]
        assert [answer.code for answer in answers] == ["repo_not_found"] * 2
        assert answers[0].body == answers[1].body


def test_a_handle_is_claimed_with_its_first_token(owner: str) -> None:
    issued(owner)
    answer = issue({"scope": "read"}, by=owner.upper())
    assert (answer.status, answer.code) == (409, "handle_taken")
    assert api.call("tokens", "GET", "/tokens", by=owner.upper()).value["tokens"] == []
    assert issue({"scope": "read"}, by="admin").code == "invalid_name"


def test_without_a_token_there_is_nothing(owner: str) -> None:
    for method, path in (
        ("POST", "/tokens"),
        ("GET", "/tokens"),
        ("DELETE", "/tokens/x"),
        ("GET", "/me"),
    ):
        answer = api.call("tokens", method, path, {"scope": "read"} if method == "POST" else None)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        expired = client.token(owner, now=int(time.time()) - 2 * DAY)
        assert api.call("tokens", method, path, token=expired).status == 401


# ── List ──────────────────────────────────────────────────────────────────────────────────────────


def test_tokens_are_listed_newest_first_without_the_secret(owner: str) -> None:
    made = []
    for _ in range(5):
        made.append(issued(owner))
        time.sleep(0.002)  # ids sort by the millisecond
    tokens: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = api.call("tokens", "GET", "/tokens", by=owner, query=f"limit=2&cursor={cursor}")
        assert b"eyJ" not in page.body
        tokens += page.value["tokens"]
        cursor = page.value["next_cursor"]
        if cursor is None:
            break
    known = [
        {key: value for key, value in one.items() if key not in ("token", "handle")} for one in made
    ]
    assert tokens == known[::-1]
    assert api.call("tokens", "GET", "/tokens", by=f"{owner}-other").value == {
        "tokens": [],
        "next_cursor": None,
    }


def test_a_limited_token_does_not_learn_of_others(owner: str) -> None:
    issued(owner, repo=f"{owner}/secret")
    token = client.token(owner, repo=f"{owner}/song")
    assert api.call("tokens", "GET", "/tokens", token=token).status == 403


# ── Revoke ────────────────────────────────────────────────────────────────────────────────────────


def test_a_revoked_token_is_worthless_at_once_and_everywhere(owner: str) -> None:
    api.create(owner, "song")
    made = issued(owner)
    token = made["token"]
    headers = bearer(token)
    assert me(token).status == 200
    assert api.call("tokens", "DELETE", f"/tokens/{made['token_id']}", by=owner).status == 204
    refused = [
        me(token),
        issue({"scope": "read"}, token=token),
        api.call("repos", "GET", f"/repos/{owner}/song", token=token),
        api.call("repos", "GET", f"/users/{owner}/repos", token=token),
        api.call("repos", "POST", "/repos", {"slug": "x"}, token=token),
        api.call("members", "GET", f"/repos/{owner}/song/members", token=token),
        client.call("refs", owner, "song", headers=headers),
        client.call("push", owner, "song", {"bundle": {}, "branch": "main"}, headers=headers),
    ]
    assert {(answer.status, answer.code) for answer in refused} == {(401, "unauthorized")}
    (shown,) = api.call("tokens", "GET", "/tokens", by=owner).value["tokens"]
    assert shown["revoked_at"] >= made["issued_at"]
    assert api.call("tokens", "DELETE", f"/tokens/{made['token_id']}", by=owner).status == 204


def test_a_token_that_was_never_written_down_can_be_revoked_too(owner: str) -> None:
    token = client.token(owner, token_id="made-elsewhere")
    assert me(token).status == 200
    answer = api.call("tokens", "DELETE", "/tokens/made-elsewhere", by=owner)
    assert (answer.status, answer.code) == (404, "token_not_found")
    assert me(token).status == 401
    assert api.call("tokens", "GET", "/tokens", by=owner).value["tokens"] == []


def test_a_user_cannot_revoke_the_token_of_another_user(owner: str) -> None:
    made = issued(owner)
    assert (
        api.call("tokens", "DELETE", f"/tokens/{made['token_id']}", by=f"{owner}-other").status
        == 404
    )
    assert me(made["token"]).status == 200


def test_any_token_revokes_itself_and_only_an_unlimited_admin_others(owner: str) -> None:
    other = issued(owner)
    for scope, repo in ((Role.READ, ""), (Role.WRITE, ""), (Role.ADMIN, f"{owner}/song")):
        token = client.token(owner, scope=scope, repo=repo, token_id=f"own-{scope}")
        assert (
            api.call("tokens", "DELETE", f"/tokens/{other['token_id']}", token=token).status == 403
        )
        assert api.call("tokens", "DELETE", f"/tokens/own-{scope}", token=token).status == 204
        assert me(token).status == 401
    assert me(other["token"]).status == 200


@pytest.mark.parametrize("token_id", ["x" * 65, "x" * 1500, "a b", "ä", "#"])
def test_an_invalid_token_id_is_refused(owner: str, token_id: str) -> None:
    assert api.call("tokens", "DELETE", f"/tokens/{token_id}", by=owner).status == 422


# ── Expiry ────────────────────────────────────────────────────────────────────────────────────────


def write_down(owner: str, token_id: str, age_days: int, lifetime_days: int) -> None:
    """A token that was issued this many days ago."""

    async def put() -> None:
        at = int(time.time()) - age_days * DAY
        identity = Identity(owner, Role.READ, token_id)
        await (await selection.stores()).tokens.put(Issued(identity, at, at + lifetime_days * DAY))

    asyncio.get_event_loop().run_until_complete(put())


def listed_ids(owner: str) -> list[str]:
    """The ids of the owner's tokens."""
    return [
        one["token_id"]
        for one in api.call("tokens", "GET", "/tokens", by=owner, query="limit=100").value["tokens"]
    ]


def test_tokens_that_have_long_expired_go_when_another_is_issued(owner: str) -> None:
    for token_id, age, lifetime in (
        ("0-good", 300, 365),
        ("1-over", 60, 30),
        ("2-late", 35, 30),
        ("3-over", 40, 30),
    ):
        write_down(owner, token_id, age, lifetime)
    assert listed_ids(owner) == ["3-over", "2-late", "1-over", "0-good"]
    made = issued(owner)["token_id"]
    assert listed_ids(owner) == ["2-late", made, "0-good"]


def test_a_revocation_outlives_its_token(owner: str) -> None:
    made = issued(owner, lifetime_seconds=365 * DAY)
    for token_id, status in ((made["token_id"], 204), ("made-elsewhere", 404)):
        assert api.call("tokens", "DELETE", f"/tokens/{token_id}", by=owner).status == status
    elsewhere = client.token(owner, token_id="made-elsewhere", lifetime_seconds=365 * DAY)
    for days, status in ((0, 401), (365, 401), (380, 200)):
        # The next token is issued when the old ones have expired.
        write_down(owner, f"later-{days}", -days, 1)
        assert (days, me(made["token"]).status) == (days, status)
        assert me(elsewhere).status == 401
    write_down(owner, "much-later", -401, 1)
    assert me(elsewhere).status == 200


def test_many_expired_tokens_are_deleted_in_batches_without_delay(owner: str) -> None:
    for n in range(60):
        write_down(owner, f"{n:02}-good", 60, 365)
    write = [f"{n:02}-good" for n in range(60)]
    asyncio.get_event_loop().run_until_complete(expire(owner, write))
    sizes = [60]
    while sizes[-1] > 5:
        with Meter() as meter:
            issued(owner)
        assert meter.calls <= 6 and meter.longest_chain() <= 4, meter.by_operation()
        sizes.append(len(listed_ids(owner)))
    assert sizes == [60, 36, 12, 3]


async def expire(owner: str, token_ids: list[str]) -> None:
    """Let these rows have expired a month ago."""
    table = (await selection.stores()).tokens.table
    long_ago = int(time.time()) - 30 * DAY
    await asyncio.gather(
        *(table.update(keys.token(owner, one), {"expires_at": long_ago}) for one in token_ids)
    )


# ── When the store is out ─────────────────────────────────────────────────────────────────────────


def test_a_token_is_refused_if_its_revocation_cannot_be_checked(owner: str) -> None:
    api.create(owner, "song")
    token = client.token(owner)
    headers = bearer(token)
    with api.cut_after(0):
        refused = [
            me(token),
            issue({"scope": "read"}, token=token),
            api.call("repos", "GET", f"/users/{owner}/repos", token=token),
            api.call("repos", "GET", f"/repos/{owner}/song", token=token),
            client.call("refs", owner, "song", headers=headers),
        ]
    assert {(answer.status, answer.code, answer.headers["retry-after"]) for answer in refused} == {
        (503, "unavailable", "2")
    }
    assert me(token).status == 200


def test_a_counter_that_is_out_lets_requests_through(owner: str) -> None:
    async def refuse_counters(call: CloudCall) -> Any:
        if call.parameters.get("TableName") == "counters":
            raise EndpointConnectionError(endpoint_url="http://nowhere")
        return await call.send()

    with intercepted(refuse_counters):
        assert me(client.token(owner)).status == 200


def test_a_token_is_written_down_before_it_is_given_away(owner: str) -> None:
    statuses = []
    for calls in range(1, 6):
        with api.cut_after(calls):
            answer = issue({"scope": "read"}, by=owner)
        statuses.append(answer.status)
        if answer.status == 201:
            assert answer.value["token_id"] in listed_ids(owner)
    assert statuses[0] == statuses[1] == 503 and statuses[-1] == 201
    assert len(listed_ids(owner)) > statuses.count(201), (
        "one of them was written down, and nobody got it"
    )


def test_requests_without_a_repository_are_counted_too(
    owner: str, configured: pytest.MonkeyPatch
) -> None:
    configured.setenv("PIERIA_LIMIT_READ", "2")
    token = client.token(owner)
    statuses = [me(token).status for _ in range(4)]
    # A minute may end in between.
    assert 429 in statuses[2:]
    assert api.call("repos", "GET", f"/users/{owner}/repos", token=token).status == 429
