"""Group 1: GET refs. And D08: paths beside the routes."""

import hashlib

import pytest

from bench.meter import Meter
from tests.client import MSGPACK, call, event, heads, invoke, push, token
from tests.test_cases.fixtures import (
    C1,
    C2,
    O1,
    alter,
    assert_absent,
    assert_accepted,
    assert_hidden,
    assert_refused,
    bundle,
    case,
    pushed,
    upload,
)

KEYS = {"repo_id", "domain", "default_branch", "branch_heads"}


def test_R01_a_repository_without_branches_has_no_heads(owner, address):
    pushed(owner, "other", C1)  # a neighbour, whose branches are not ours
    upload(owner, "song", O1)
    reply = assert_accepted(call("refs", owner, "song", source_ip=address))
    assert set(reply) == KEYS
    assert reply["repo_id"]
    assert (reply["domain"], reply["default_branch"], reply["branch_heads"]) == ("code", "main", {})


def test_R02_a_pushed_branch_is_listed_with_its_head(owner, address):
    pushed(owner, "song", C1)
    assert assert_accepted(call("refs", owner, "song", source_ip=address))["branch_heads"] == {
        "main": C1
    }


@pytest.mark.parametrize(
    "accept",
    [
        case("R03", "a reader of JSON", "application/json"),
        case("R04", "a reader who does not say", ""),
        case("R04", "a browser", "text/html,*/*;q=0.8"),
    ],
)
def test_a_client_that_does_not_accept_msgpack_gets_json(merged, stranger, accept):
    answer = call("refs", merged, "song", by=stranger, headers={"accept": accept})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.value == assert_accepted(call("refs", merged, "song", by=stranger))


@pytest.mark.parametrize(
    "accept",
    [
        case("R04", "the stock client", "application/x-msgpack, application/json"),
        case("R04", "msgpack after JSON", "application/json, application/x-msgpack;q=0.5"),
    ],
)
def test_a_client_that_accepts_msgpack_gets_it(merged, stranger, accept):
    assert_accepted(call("refs", merged, "song", by=stranger, headers={"accept": accept}))


def test_R05_a_caller_without_a_token_gets_not_found_for_an_absent_repository(estate, address):
    assert_absent(call("refs", estate, "none", source_ip=address))


def test_R05_the_owner_sees_a_repository_that_a_push_would_create_as_empty(owner):
    reply = assert_accepted(call("refs", owner, "song", by=owner))
    assert set(reply) == KEYS
    assert reply["branch_heads"] == {}


def test_R05_where_a_push_creates_nothing_the_owner_too_gets_404(configured, owner):
    configured.setenv("PIERIA_PUSH_TO_CREATE", "off")
    assert_absent(call("refs", owner, "song", by=owner))


def test_R06_without_a_token_private_is_absent(estate, address):
    assert_hidden(estate, "refs", source_ip=address)


def test_R06_with_another_users_token_private_is_absent(estate, stranger):
    assert_hidden(estate, "refs", by=stranger)


def test_R07_the_owner_sees_a_private_repository(estate):
    assert heads(estate, "priv", by=estate) == {"main": C1}


def test_R08_not_even_the_owner_sees_a_deleted_repository(estate):
    assert_absent(call("refs", estate, "gone", by=estate))


@pytest.mark.parametrize("slug", [case("R09", "public", "pub"), case("R09", "private", "priv")])
def test_a_bad_token_is_refused_where_none_is_needed(estate, slug):
    assert_refused(
        call("refs", estate, slug, headers={"authorization": "Bearer not-a-token"}),
        401,
        "unauthorized",
    )


@pytest.mark.parametrize(
    "authorization",
    [case("R10", "Basic", "Basic dXNlcjpwYXNz"), case("R10", "no scheme", "not-a-token")],
)
def test_credentials_other_than_a_bearer_token_count_as_none(estate, address, authorization):
    headers = {"authorization": authorization}
    assert_accepted(call("refs", estate, "pub", headers=headers, source_ip=address))
    assert_absent(call("refs", estate, "priv", headers=headers, source_ip=address))


@pytest.mark.parametrize(
    "scheme", [case("R11", scheme, scheme) for scheme in ("bearer", "BEARER", "Bearer ")]
)
def test_the_scheme_may_be_written_in_any_case(estate, scheme):
    assert_accepted(
        call("refs", estate, "priv", headers={"authorization": f"{scheme} {token(estate)}"})
    )


@pytest.mark.parametrize(
    "name", [case("R12", name, name) for name in ("token", "access_token", "authorization")]
)
def test_a_token_in_the_query_is_ignored(estate, address, name):
    asked = event("GET", f"/{estate}/priv/refs", query=f"{name}={token(estate)}", source_ip=address)
    assert_absent(invoke("refs", asked))


def test_R13_a_repository_keeps_its_id_and_shares_it_with_none(owner):
    for slug in ("song", "other"):
        pushed(owner, slug, C1)
    seen = [
        call("refs", owner, slug, by=owner).value["repo_id"] for slug in ("song", "other", "song")
    ]
    pushed(owner, "song", C2)
    seen.append(call("refs", owner, "song", by=owner).value["repo_id"])
    assert seen[0] == seen[2] == seen[3] != seen[1]


def test_R14_the_domain_is_that_of_the_creation(owner):
    pushed(owner, "song", C1)
    assert call("refs", owner, "song", by=owner).value["domain"] == "code"
    alter(owner, "song", domain="midi")
    assert call("refs", owner, "song", by=owner).value["domain"] == "midi"


@pytest.mark.parametrize(
    ("default", "first"),
    [case("R15", "main, as by default", "main", "main"), case("R15", "another", "trunk", "trunk")],
)
def test_the_default_branch_is_listed_first(owner, default, first):
    for branch in ("feature/x", "dev", "main", "trunk", "Zebra"):
        pushed(owner, "song", C1, branch=branch)
    alter(owner, "song", default_branch=default)
    reply = assert_accepted(call("refs", owner, "song", by=owner))
    assert reply["default_branch"] == default
    assert next(iter(reply["branch_heads"])) == first
    assert reply["branch_heads"] == dict.fromkeys(
        ("feature/x", "dev", "main", "trunk", "Zebra"), C1
    )


@pytest.mark.parametrize("accept", ["application/json", MSGPACK])
def test_refs_that_have_not_changed_are_not_sent_again_and_cost_no_call_more(owner, accept):
    pushed(owner, "song", C1)
    with Meter() as first:
        answer = call("refs", owner, "song", headers={"accept": accept})
    tag = answer.headers["etag"]
    assert tag == f'"{hashlib.sha256(answer.body).hexdigest()}"', (
        "strong: over the bytes, so one for each format"
    )
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-cache", "Accept")
    with Meter() as again:
        same = call(
            "refs", owner, "song", headers={"accept": accept, "if-none-match": f'"other", {tag}'}
        )
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
    assert again.calls == first.calls
    pushed(owner, "song", C2)
    moved = call("refs", owner, "song", headers={"accept": accept, "if-none-match": tag})
    assert (moved.status, moved.value["branch_heads"]) == (200, {"main": C2})


def test_the_tag_of_private_refs_is_for_readers_only(estate):
    answer = call("refs", estate, "priv", by=estate)
    assert (answer.headers["cache-control"], answer.headers["vary"]) == (
        "private, no-cache",
        "Accept, Authorization",
    )
    held = {"if-none-match": answer.headers["etag"]}
    assert call("refs", estate, "priv", by=estate, headers=held).status == 304
    assert_absent(call("refs", estate, "priv", headers=held))


@pytest.mark.parametrize(
    "accept", ["application/x-msgpack;q=0, application/json", "*/*", "application/msgpack ; Q=0.0"]
)
def test_a_client_that_refuses_msgpack_gets_json(owner, accept):
    pushed(owner, "song", C1)
    assert (
        call("refs", owner, "song", headers={"accept": accept}).headers["content-type"]
        == "application/json"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        case("D08", "a word that is no endpoint", "GET", "/{owner}/pub/zzz"),
        case("D08", "the repository itself", "GET", "/{owner}/pub"),
        case("D08", "two slashes at the end", "GET", "/{owner}/pub/refs//"),
        case("D08", "a slash too many", "GET", "//{owner}/pub/refs"),
        case("D08", "an endpoint's name in capitals", "GET", "/{owner}/pub/REFS"),
        case("D08", "something below an endpoint", "GET", "/{owner}/pub/refs/main"),
        case("D08", "the framework's own pages", "GET", "/openapi.json"),
        case("D08", "an encoded slash in a name", "GET", "/{owner}/p%2fub/refs"),
        case("D08", "a post", "POST", "/{owner}/pub/zzz"),
    ],
)
def test_an_unknown_path_is_404_in_json_and_never_a_redirect(estate, method, path):
    for function in ("refs", "push"):
        asked = event(
            method, path.format(owner=estate), headers={"accept": f"text/html, {MSGPACK}"}
        )
        assert_refused(invoke(function, asked), 404, "not_found")


def test_D08_another_method_is_405(estate):
    assert_refused(invoke("refs", event("POST", f"/{estate}/pub/refs")), 405, "method_not_allowed")
    assert_refused(invoke("push", event("GET", f"/{estate}/pub/push")), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "slug",
    [
        case("D08", repr(slug), slug)
        for slug in ("..", ".hidden", "a b", "a\\b", "s" * 65, "caf\u00e9", "-x")
    ],
)
def test_a_name_that_no_repository_can_have_is_absent(owner, slug):
    assert_absent(call("refs", owner, slug, by=owner))
    assert_absent(push(owner, slug, bundle(C1)))


def test_the_default_branch_that_is_shown_is_one_that_a_clone_can_open(owner: str) -> None:
    pushed(owner, "song", C1, branch="a/b")
    assert call("refs", owner, "song", by=owner).value["default_branch"] == "main", (
        "there is none yet"
    )
    pushed(owner, "song", C1, branch="side")
    shown = call("refs", owner, "song", by=owner).value
    assert (shown["default_branch"], next(iter(shown["branch_heads"]))) == ("side", "side")
