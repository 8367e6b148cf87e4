"""The deployed API, as a client sees it: the recorded session, an upload, and every refusal."""

import hashlib
import time
from typing import Any

import httpx
import msgpack
import pytest

from tests import builders, client, test_session
from tests.builders import Record
from tests.client import ACCEPT, MSGPACK, bearer

pytestmark = pytest.mark.cloud

PUSHES_A_MINUTE = 30
"""The template's default."""

X_ID = hashlib.sha256(b"x").hexdigest()


def post(
    hub: httpx.Client, path: str, message: Any, *, by: str | None = None, token: str | None = None
) -> httpx.Response:
    """A request as the stock client sends it: by a user (with a fresh token), by this token, or
    without a token.
    """
    headers = {"accept": ACCEPT, "content-type": MSGPACK}
    if token or by:
        headers["authorization"] = f"Bearer {token or client.token(str(by))}"
    return hub.post(path, content=msgpack.packb(message, use_bin_type=True), headers=headers)


def accepted(reply: httpx.Response) -> Any:
    """The value of a reply that has to be good."""
    assert reply.is_success, f"{reply.status_code} {reply.text[:300]}"
    return msgpack.unpackb(reply.content, raw=False)


def refused(reply: httpx.Response, status: int, code: str) -> str:
    """The message of a reply that has to be this refusal."""
    assert reply.status_code == status, reply.text[:300]
    body = reply.json()
    assert (set(body), body["code"]) == ({"message", "detail", "code"}, code)
    return str(body["message"])


def large_file(content: bytes) -> tuple[str, Record]:
    """A push of one commit whose only file is not in it, and the file's id."""
    history = builders.graph("1", files=False)
    object_id = hashlib.sha256(content).hexdigest()
    snapshot = builders.snapshot({"take.wav": object_id})
    commit = builders.commit("a take", snapshot_id=snapshot["snapshot_id"])
    assert history.objects == {}
    return object_id, {"commits": [commit], "snapshots": [snapshot], "objects": []}


# ── The recorded session ──────────────────────────────────────────────────────────────────────────


def test_the_recorded_session_has_no_differences(hub: httpx.Client) -> None:
    assert test_session.differences(test_session.sender(hub), client.token("me")) == []


def test_the_hub_says_that_it_is_well(hub: httpx.Client) -> None:
    """By the name of its stage, since ministack keeps `/health` to itself."""
    assert hub.get("/$default/health").json() == {"status": "ok"}


# ── An upload past Lambda ─────────────────────────────────────────────────────────────────────────


def test_five_megabytes_go_past_lambda_and_are_believed_when_their_digest_is_true(
    hub: httpx.Client, web: httpx.Client
) -> None:
    content = hashlib.shake_256(b"a take").digest(5 * 1024 * 1024)
    object_id, bundle = large_file(content)
    url = accepted(post(hub, "/upload/song/presign", {"object_ids": [object_id]}, by="upload"))[
        "presigned"
    ][object_id]
    claimed_form = {"content-type": "application/x-www-form-urlencoded"}  # as the stock client does

    assert web.put(url, content=content[:-1] + b"!", headers=claimed_form).status_code == 200
    wrong = post(hub, "/upload/song/push", {"bundle": bundle, "branch": "main"}, by="upload")
    assert object_id in refused(wrong, 422, "hash_mismatch")
    assert accepted(hub.get("/upload/song/refs", headers={"accept": ACCEPT}))["branch_heads"] == {}

    assert web.put(url, content=content, headers=claimed_form).status_code == 200
    head = bundle["commits"][0]["commit_id"]
    pushed = accepted(
        post(hub, "/upload/song/push", {"bundle": bundle, "branch": "main"}, by="upload")
    )
    assert pushed["branch_heads"] == {"main": head}
    assert (
        hub.get(
            f"/upload/song/objects/{object_id}", headers={"range": "bytes=4000000-4000099"}
        ).content
        == (content[4_000_000:4_000_100])
    )


@pytest.fixture(scope="module", autouse=True)
def short_url(hub: httpx.Client) -> str:
    """An upload URL for the shortest time.

    It is requested first and used last, so that it has expired.
    """
    message = {"object_ids": [X_ID], "ttl_seconds": 30}
    url: str = accepted(post(hub, "/urls/song/presign", message, by="urls"))["presigned"][X_ID]
    return url


def test_an_upload_url_is_good_for_one_key_and_one_method_over_tls(
    hub: httpx.Client, web: httpx.Client
) -> None:
    url = accepted(post(hub, "/urls/song/presign", {"object_ids": [X_ID]}, by="urls"))["presigned"][
        X_ID
    ]
    misuses = [
        ("PUT", url.replace(X_ID, "0" * 64)),
        ("PUT", url.replace("/uploads/", "/repos/")),
        ("PUT", url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200")),
        ("DELETE", url),
        ("GET", url),
    ]
    assert ("PUT", url) not in misuses
    assert [
        web.request(method, misused, content=b"x").status_code for method, misused in misuses
    ] == [403] * 5
    # ministack takes this header for the truth about the connection.
    plain = web.put(url, content=b"x", headers={"x-forwarded-proto": "http"})
    assert (plain.status_code, "explicit deny in a resource-based policy" in plain.text) == (
        403,
        True,
    )
    assert web.put(url, content=b"x").status_code == 200


# ── Who is turned away ────────────────────────────────────────────────────────────────────────────


def private(hub: httpx.Client, owner: str) -> None:
    """Make a private repository `song`."""
    headers = bearer(client.token(owner))
    made = hub.post(
        "/api/v1/repos", json={"slug": "song", "visibility": "private"}, headers=headers
    )
    assert made.status_code == 201, made.text


def told(reply: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """A reply without the parts that differ between any two requests."""
    passing = {
        "apigw-requestid",
        "x-amzn-requestid",
        "x-amzn-trace-id",
        "x-amz-request-id",
    } | client.OWN_HEADERS
    return (
        reply.status_code,
        reply.content,
        {k: v for k, v in reply.headers.items() if k not in passing},
    )


@pytest.mark.parametrize("by", [None, "stranger"])
def test_to_a_stranger_a_private_repository_is_as_an_absent_one(
    hub: httpx.Client, by: str | None
) -> None:
    private(hub, owner := f"private-to-{by or 'anybody'}")
    asked: list[tuple[str, Any]] = [
        ("fetch", {"want": [], "have": []}),
        ("negotiate", {"want": [], "have": []}),
    ]
    if by:
        asked += [
            ("push", {"bundle": builders.graph("1").bundle(), "branch": "main"}),
            ("filter-objects", {}),
        ]
    for endpoint, message in asked:
        hidden = post(hub, f"/{owner}/song/{endpoint}", message, by=by)
        absent = post(hub, f"/{owner}/none/{endpoint}", message, by=by)
        refused(hidden, 404, "repo_not_found")
        assert told(hidden) == told(absent)
    assert hub.get(f"/{owner}/song/refs").status_code == 404
    headers = bearer(client.token(owner))
    assert hub.get(f"/{owner}/song/refs", headers=headers).status_code == 200


def test_a_revoked_token_is_worthless_from_the_next_request_on(hub: httpx.Client) -> None:
    headers = bearer(client.token("revoker"))
    issued = hub.post(
        "/api/v1/tokens", json={"scope": "write", "lifetime_seconds": 600}, headers=headers
    ).json()
    with_token = bearer(issued["token"])
    assert hub.get("/api/v1/me", headers=with_token).json()["handle"] == "revoker"
    assert hub.delete(f"/api/v1/tokens/{issued['token_id']}", headers=headers).status_code == 204
    refused(hub.get("/api/v1/me", headers=with_token), 401, "unauthorized")
    assert hub.get("/api/v1/me", headers=headers).status_code == 200


def test_a_token_signed_with_a_key_that_the_stack_does_not_have_is_refused(
    hub: httpx.Client,
) -> None:
    header, payload, signature = client.token("forger").split(".")
    forged = f"{header}.{payload}.{signature[:-4]}{'AAAA' if signature[-4:] != 'AAAA' else 'BBBB'}"
    refused(hub.get("/api/v1/me", headers=bearer(forged)), 401, "unauthorized")


def test_a_client_that_pushes_too_often_gets_the_time_to_retry(hub: httpx.Client) -> None:
    """A minute may end meanwhile, and then the count begins again: once at most, as this takes less
    than one.
    """
    statuses = []
    for _ in range(2 * PUSHES_A_MINUTE + 1):
        reply = post(hub, "/often/song/push", {}, by="often")
        statuses.append(reply.status_code)
        if reply.status_code == 429:
            break
    refused(reply, 429, "rate_limited")
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert len(statuses) > PUSHES_A_MINUTE
    assert set(statuses[:-1]) == {422}
    assert post(hub, "/seldom/song/push", {}, by="seldom").status_code == 422


def test_an_upload_url_is_refused_when_its_time_is_over(short_url: str, web: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while (
        late := web.put(short_url, content=b"x")
    ).status_code == 200 and time.monotonic() < deadline:
        time.sleep(1)
    assert late.status_code == 403
    assert "expired" in late.text
