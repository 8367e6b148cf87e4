"""Repositories over the API: created once, listed as far as one may see, changed, renamed,
deleted.
"""

import asyncio
import functools
import json
from typing import Any

import boto3
import msgpack
import pytest

from bench.meter import Meter
from shared.engines import selection
from shared.metadata import keys
from shared.metadata.listing import Listing
from shared.model import Role
from tests import builders, client
from tests.builders import graph
from tests.functions import api


def listed(owner: str, *, by: str | None = None, limit: int = 100) -> list[str]:
    """The slugs of a user's repositories, page after page."""
    slugs: list[str] = []
    cursor = ""
    while True:
        answer = api.call(
            "repos", "GET", f"/users/{owner}/repos", by=by, query=f"limit={limit}&cursor={cursor}"
        )
        assert answer.status == 200, answer.body
        slugs += [repo["slug"] for repo in answer.value["repos"]]
        assert len(answer.value["repos"]) <= limit
        cursor = answer.value["next_cursor"]
        if cursor is None:
            return slugs


# ── Create ────────────────────────────────────────────────────────────────────────────────────────


def test_a_repository_has_the_requested_attributes(owner: str) -> None:
    made = api.create(
        owner,
        "Song.1",
        visibility="private",
        domain="midi",
        description="A song",
        default_branch="trunk",
    )
    assert made == {
        "owner": owner,
        "slug": "Song.1",
        "repo_id": made["repo_id"],
        "visibility": "private",
        "domain": "midi",
        "description": "A song",
        "default_branch": "trunk",
        "portable_names": "on",
        "created_at": made["created_at"],
        "role": "admin",
    }
    assert api.get(owner, "Song.1", by=owner).value == made


def test_the_defaults_are_a_public_repository_of_code(owner: str) -> None:
    made = api.create(owner, "song")
    assert (made["visibility"], made["domain"], made["default_branch"]) == (
        "public",
        "code",
        "main",
    )
    assert api.get(owner, "song").value["role"] == "read"


def test_a_created_repository_accepts_a_push_and_states_its_domain(owner: str) -> None:
    made = api.create(owner, "song", domain="midi", default_branch="trunk")
    assert client.push(owner, "song", graph("1").bundle(), branch="trunk").status == 200
    refs = client.call("refs", owner, "song").value
    assert (refs["repo_id"], refs["domain"], refs["default_branch"]) == (
        made["repo_id"],
        "midi",
        "trunk",
    )


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My 1st Song!", "my-1st-song"),
        ("--a--b--", "a-b"),
        ("x" * 100, "x" * 64),
        ("a" * 63 + " b", "a" * 63),
        ("Ünder", "nder"),
    ],
)
def test_a_name_becomes_a_slug(owner: str, name: str, slug: str) -> None:
    answer = api.call("repos", "POST", "/repos", {"name": name}, by=owner)
    assert (answer.status, answer.value.get("slug")) == (201, slug)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({}, "invalid"),
        ({"slug": "a", "name": "a"}, "invalid"),
        ({"name": "!!"}, "invalid_name"),
        ({"slug": ""}, "invalid_name"),
        ({"slug": "a/b"}, "invalid_name"),
        ({"slug": ".."}, "invalid_name"),
        ({"slug": "x" * 65}, "invalid_name"),
        ({"slug": "ä"}, "invalid_name"),
        ({"slug": "a\n"}, "invalid_name"),
        ({"slug": 1}, "invalid"),
        ({"slug": "a", "visibility": "secret"}, "invalid"),
        ({"slug": "a", "domain": "Code"}, "invalid"),
        ({"slug": "a", "domain": "a\n"}, "invalid"),
        ({"slug": "a", "domain": ""}, "invalid"),
        ({"slug": "a", "description": "x" * 1001}, "invalid"),
        ({"slug": "a", "default_branch": "feature/x"}, "invalid_name"),
        ({"slug": "a", "default_branch": ""}, "invalid_name"),
        ({"slug": "a", "default_branch": ".a"}, "invalid_name"),
        ({"slug": "a", "visiblity": "private"}, "invalid"),
        ({"slug": "a", "owner": "me"}, "invalid"),
    ],
    ids=str,
)
def test_an_invalid_repository_is_refused(owner: str, message: Any, code: str) -> None:
    answer = api.call("repos", "POST", "/repos", message, by=owner)
    assert (answer.status, answer.code) == (422, code), answer.body
    assert listed(owner, by=owner) == []


@pytest.mark.parametrize(
    ("raw", "headers", "status"),
    [
        (b"", {"content-type": "application/json"}, 400),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"slug": "\\ud800"}', {}, 400),
        (b"slug=a", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b'{"slug": "a"}', {"content-encoding": "gzip"}, 400),
        (b'{"slug": "a"}', {"content-encoding": "br"}, 415),
        (b'{"slug": "a", "description": "' + b"x" * 65_536 + b'"}', {}, 413),
    ],
    ids=range(8),
)
def test_an_invalid_request_is_refused(
    owner: str, raw: bytes, headers: dict[str, str], status: int
) -> None:
    answer = api.call("repos", "POST", "/repos", by=owner, raw=raw, headers=headers)
    assert answer.status == status, answer.body


def test_it_speaks_msgpack_too(owner: str) -> None:
    headers = {"content-type": client.MSGPACK, "accept": client.MSGPACK}
    answer = api.call(
        "repos", "POST", "/repos", by=owner, raw=msgpack.packb({"slug": "song"}), headers=headers
    )
    assert (answer.status, answer.headers["content-type"]) == (201, client.MSGPACK)
    assert answer.value["slug"] == "song"


def test_a_name_is_given_once(owner: str) -> None:
    first = api.create(owner, "song")
    answer = api.call(
        "repos", "POST", "/repos", {"slug": "song", "visibility": "private"}, by=owner
    )
    assert (answer.status, answer.code) == (409, "repo_exists")
    assert api.get(owner, "song").value["repo_id"] == first["repo_id"]


def test_one_of_twelve_concurrent_creations_of_a_name_wins(owner: str) -> None:
    answers = api.at_once(
        12, lambda n: api.call("repos", "POST", "/repos", {"slug": "song"}, by=owner)
    )
    assert sorted(answer.status for answer in answers) == [201] + [409] * 11
    (winner,) = [answer.value for answer in answers if answer.status == 201]
    assert {answer.code for answer in answers if answer.status == 409} == {"repo_exists"}
    assert api.get(owner, "song").value["repo_id"] == winner["repo_id"]


def test_a_creation_cut_short_can_be_repeated(owner: str) -> None:
    for calls in range(1, 5):
        slug = f"song{calls}"
        with api.cut_after(calls) as cut:
            answer = api.call("repos", "POST", "/repos", {"slug": slug}, by=owner)
        assert answer.status == 503 and cut.happened, calls
        again = api.call("repos", "POST", "/repos", {"slug": slug}, by=owner)
        assert again.status == (409 if calls == 4 else 201), calls  # the fourth call has created it
        assert api.get(owner, slug, by=owner).status == 200


def test_to_create_takes_a_token_that_may_write(owner: str) -> None:
    assert api.call("repos", "POST", "/repos", {"slug": "song"}).status == 401
    for scope, repo, status in [
        (Role.READ, "", 403),
        (Role.WRITE, f"{owner}/other", 403),
        (Role.WRITE, f"{owner}/mine", 403),
        (Role.WRITE, f"{owner}/song", 201),
    ]:
        token = client.token(owner, scope=scope, repo=repo)
        for visibility in ("private", "public"):
            message = {"slug": "song", "visibility": visibility}
            answer = api.call("repos", "POST", "/repos", message, token=token)
            assert answer.status == status, (scope, repo)
            status = 409 if status == 201 else status


# ── Handles ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "handle", ["api", "API", "o", "health", "docs", "openapi", "static", "admin", "login", "www"]
)
def test_a_reserved_handle_owns_nothing(handle: str) -> None:
    answer = api.call("repos", "POST", "/repos", {"slug": "song"}, by=handle)
    assert (answer.status, answer.code) == (422, "invalid_name")
    assert client.push(handle, "song", graph("1").bundle()).status == 404


def test_a_handle_is_claimed_in_one_spelling(owner: str) -> None:
    api.create(owner, "song")
    other = owner.upper()
    answer = api.call("repos", "POST", "/repos", {"slug": "song"}, by=other)
    assert (answer.status, answer.code) == (409, "handle_taken")
    assert owner in answer.value["message"]
    assert client.push(other, "song", graph("1").bundle()).code == "handle_taken"
    assert api.get(other, "song", by=other).status == 404


def test_an_owner_may_be_written_in_any_letter_case_where_a_repository_is_named(owner: str) -> None:
    claimed = f"{owner}-Ada"
    made = api.create(claimed, "song")
    api.create(claimed, "secret", visibility="private")
    assert client.push(claimed, "song", graph("1").bundle()).status == 200
    for written in (claimed.lower(), claimed.upper()):
        assert api.get(written, "song").value == {**made, "role": "read"}
        assert client.heads(written, "song") == client.heads(claimed, "song")
        assert client.push(written, "song", graph("1; 2:1").bundle(), by=claimed).status == 200
        assert listed(written) == ["song"]
        assert listed(written, by=claimed) == ["secret", "song"]
        assert api.get(written, "secret", by=claimed).status == 200
        assert api.get(written, "secret").body == api.get(written, "absent").body
        assert api.get(written, "secret").status == 404
        renamed = api.call(
            "repos", "POST", f"/repos/{written}/song/rename", {"slug": "song"}, by=claimed
        )
        assert renamed.value["owner"] == claimed


def test_a_wrong_letter_case_takes_the_same_calls_for_a_private_and_an_absent_repository(
    owner: str,
) -> None:
    claimed = f"{owner}-Ada"
    api.create(claimed, "secret", visibility="private")
    calls = []
    for written in (claimed, claimed.lower()):
        for slug in ("secret", "absent"):
            with Meter() as meter:
                assert api.get(written, slug).status == 404
            calls.append((meter.calls, meter.longest_chain()))
    assert calls[0] == calls[1] and calls[2] == calls[3], calls


def test_of_two_spellings_at_once_one_wins(owner: str) -> None:
    spellings = [owner.upper() if n % 2 else owner for n in range(12)]
    answers = api.at_once(
        12, lambda n: api.call("repos", "POST", "/repos", {"slug": f"song{n}"}, by=spellings[n])
    )
    winners = {
        spelling
        for spelling, answer in zip(spellings, answers, strict=True)
        if answer.status == 201
    }
    losers = {
        spelling
        for spelling, answer in zip(spellings, answers, strict=True)
        if answer.status == 409
    }
    assert len(winners) == 1 and winners.isdisjoint(losers)


# ── Look and list ─────────────────────────────────────────────────────────────────────────────────


def test_all_callers_see_public_repositories_and_only_members_see_private_ones(owner: str) -> None:
    for slug in ("a", "b", "c"):
        api.create(owner, slug, visibility="public" if slug == "b" else "private")
    assert api.give(owner, "c", f"{owner}-friend", "read").status == 200
    assert listed(owner) == listed(owner, by=f"stranger-to-{owner}") == ["b"]
    assert listed(owner, by=owner) == ["a", "b", "c"]
    assert listed(owner, by=f"{owner}-friend") == ["b", "c"]


def test_a_limited_token_sees_its_repository_and_public_ones(owner: str) -> None:
    for slug in ("a", "b", "c"):
        api.create(owner, slug, visibility="public" if slug == "b" else "private")
    token = client.token(owner, repo=f"{owner}/c")
    answer = api.call("repos", "GET", f"/users/{owner}/repos", token=token)
    assert [(repo["slug"], repo["role"]) for repo in answer.value["repos"]] == [
        ("b", "read"),
        ("c", "admin"),
    ]


def test_pages_are_full_and_reveal_no_hidden_repository(
    owner: str, configured: pytest.MonkeyPatch
) -> None:
    configured.setenv("PIERIA_LIMIT_PUSH", "1000")
    configured.setenv("PIERIA_LIMIT_READ", "1000")
    slugs = [f"s{n:02}" for n in range(12)]
    for n, slug in enumerate(slugs):
        api.create(owner, slug, visibility="public" if n % 3 == 0 else "private")
    public = slugs[::3]
    assert listed(owner, by=owner, limit=5) == slugs
    assert listed(owner, limit=1) == listed(owner, limit=3) == listed(owner, limit=4) == public
    # The answer to a stranger is the same whether or not there are private ones.
    answers = [api.call("repos", "GET", f"/users/{owner}/repos", query="limit=2").body]
    for slug in slugs:
        if slug not in public:
            assert api.call("repos", "DELETE", f"/repos/{owner}/{slug}", by=owner).status == 204
    answers.append(api.call("repos", "GET", f"/users/{owner}/repos", query="limit=2").body)
    assert answers[0] == answers[1]


def test_more_than_one_read_can_hold_are_listed(owner: str) -> None:
    api.create(owner, "s000", visibility="private")
    slugs = [f"s{n:03}" for n in range(108)]

    async def multiply() -> None:
        table = (await selection.stores()).repos.table
        first = await table.get(keys.repo(owner, "s000"))
        assert first
        row = {name: value for name, value in first.items() if name not in ("pk", "sk")}
        copies = {
            slug: row | {"slug": slug, "visibility": "private" if slug <= "s100" else "public"}
            for slug in slugs
        }
        await table.put([(keys.repo(owner, slug), copy) for slug, copy in copies.items()])
        # An older hub wrote no rows to list repositories by: a hub that starts completes them.
        await table.delete(("LISTED", "COMPLETE-2"))
        await Listing(table).complete()

    asyncio.get_event_loop().run_until_complete(multiply())
    with Meter() as meter:
        answer = api.call("repos", "GET", f"/users/{owner}/repos", query="limit=10")
    assert [repo["slug"] for repo in answer.value["repos"]] == slugs[101:]
    assert meter.calls <= 3, meter.by_operation()
    assert listed(owner, limit=3) == slugs[101:]
    assert listed(owner, by=owner, limit=100) == slugs


def test_the_cost_of_a_list_depends_on_the_visible_repositories_only(owner: str) -> None:
    friend, stranger = f"{owner}-friend", f"{owner}-stranger"
    api.create(owner, "open")
    for number in range(12):
        api.create(owner, f"private-{number:02}", visibility="private")
    api.create(owner, "deleted")
    assert api.call("repos", "DELETE", f"/repos/{owner}/deleted", by=owner).status == 204
    assert api.give(owner, "private-05", friend, "read").status == 200
    costs = {}
    for by, expected in {
        None: ["open"],
        stranger: ["open"],
        friend: ["open", "private-05"],
    }.items():
        with Meter(weigh=True) as meter:
            assert listed(owner, by=by) == expected
        costs[by] = sum(meter.read_units_by_partition().values())
    assert costs[None] <= 3 and costs[stranger] <= 6 and costs[friend] <= 9, costs


def test_a_list_follows_visibility_names_members_and_deletion(owner: str) -> None:
    friend = f"{owner}-friend"
    at = f"/repos/{owner}/song"
    api.create(owner, "song")
    assert (listed(owner), listed(owner, by=friend)) == (["song"], ["song"])
    for _ in range(2):
        assert api.call("repos", "PATCH", at, {"visibility": "private"}, by=owner).status == 200
        assert (listed(owner), listed(owner, by=owner)) == ([], ["song"])
    assert api.give(owner, "song", friend, "read").status == 200
    assert (listed(owner, by=friend), listed(owner)) == (["song"], [])
    assert api.call("repos", "POST", f"{at}/rename", {"slug": "hymn"}, by=owner).status == 200
    assert (listed(owner, by=friend), listed(owner, by=owner), listed(owner)) == (
        ["hymn"],
        ["hymn"],
        [],
    )
    gone = api.call("members", "DELETE", f"/repos/{owner}/hymn/members/{friend}", by=owner)
    assert (gone.status, listed(owner, by=friend)) == (204, [])
    assert (
        api.call(
            "repos", "PATCH", f"/repos/{owner}/hymn", {"visibility": "public"}, by=owner
        ).status
        == 200
    )
    assert (listed(owner), listed(owner, by=owner)) == (["hymn"], ["hymn"])
    assert api.call("repos", "DELETE", f"/repos/{owner}/hymn", by=owner).status == 204
    assert (listed(owner), listed(owner, by=owner)) == ([], [])
    rows = (
        boto3.resource("dynamodb")
        .Table("hub")
        .query(
            KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": f"LISTED#{owner}"}
        )
    )
    assert rows["Items"] == []


def test_a_token_for_one_repository_lists_it_beside_the_public_ones(owner: str) -> None:
    for slug, visibility in (("a", "public"), ("b", "private"), ("c", "private")):
        api.create(owner, slug, visibility=visibility)
    limited = client.token(owner, repo=f"{owner}/c")
    answer = api.call("repos", "GET", f"/users/{owner}/repos", token=limited)
    assert [repo["slug"] for repo in answer.value["repos"]] == ["a", "c"]


def test_an_unknown_user_has_no_repositories(owner: str) -> None:
    api.create(f"{owner}x", "song", visibility="private")
    answers = {
        api.call("repos", "GET", f"/users/{user}/repos", by=by).body
        for user in (owner, f"{owner}x", "x" * 65, "-", "api")
        for by in (None, f"stranger-to-{owner}")
    }
    assert answers == {b'{"repos":[],"next_cursor":null}'}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=",
        "cursor=!",
        "cursor=%00",
        "cursor=A",
        "cursor=_w==",
        "limt=5",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(owner: str, query: str) -> None:
    answer = api.call("repos", "GET", f"/users/{owner}/repos", query=query)
    assert (answer.status, answer.code) == (422, "invalid")


def test_a_cursor_may_name_a_deleted_repository(owner: str) -> None:
    for slug in ("a", "b", "c"):
        api.create(owner, slug)
    cursor = api.call("repos", "GET", f"/users/{owner}/repos", query="limit=2").value["next_cursor"]
    assert api.call("repos", "DELETE", f"/repos/{owner}/b", by=owner).status == 204
    page = api.call("repos", "GET", f"/users/{owner}/repos", query=f"limit=2&cursor={cursor}").value
    assert [repo["slug"] for repo in page["repos"]] == ["c"] and page["next_cursor"] is None


ROUTES: list[tuple[str, str, str, Any]] = [
    ("repos", "GET", "", None),
    ("repos", "PATCH", "", {"description": "x"}),
    ("repos", "DELETE", "", None),
    ("repos", "POST", "/rename", {"slug": "other"}),
    ("members", "GET", "/members", None),
    ("members", "PUT", "/members/bob", {"role": "read"}),
    ("members", "DELETE", "/members/bob", None),
]


@pytest.fixture(scope="module")
def hidden(aws: Any) -> str:
    """The owner of repositories that no stranger may see; no test changes them."""
    owner = "owner-of-hidden-ones"
    api.create(owner, "private", visibility="private")
    api.create(owner, "deleted")
    api.create(owner, "renamed")
    assert api.call("repos", "DELETE", f"/repos/{owner}/deleted", by=owner).status == 204
    assert (
        api.call(
            "repos", "POST", f"/repos/{owner}/renamed/rename", {"slug": "now"}, by=owner
        ).status
        == 200
    )
    return owner


@pytest.mark.parametrize(
    ("function", "method", "suffix", "message"), ROUTES, ids=lambda value: str(value)
)
def test_private_deleted_renamed_and_absent_are_alike_to_strangers(
    hidden: str, owner: str, function: str, method: str, suffix: str, message: Any
) -> None:
    stranger, owner = owner, hidden
    answers: set[tuple[Any, ...]] = set()
    for slug in ("private", "deleted", "renamed", "absent", "x" * 65, "-"):
        answer = api.call(function, method, f"/repos/{owner}/{slug}{suffix}", message, by=stranger)
        headers = {
            name: value for name, value in answer.headers.items() if name not in client.OWN_HEADERS
        }
        answers.add((answer.status, answer.body, *sorted(headers.items())))
    # A deleted repository looks absent to its owner. A read does not create it.
    for slug in ("deleted", "renamed", "absent"):
        if not (slug == "renamed" and suffix == "/rename"):
            answer = api.call(function, method, f"/repos/{owner}/{slug}{suffix}", message, by=owner)
            headers = {
                name: value
                for name, value in answer.headers.items()
                if name not in client.OWN_HEADERS
            }
            answers.add((answer.status, answer.body, *sorted(headers.items())))
    assert len(answers) == 1
    ((status, body, *_),) = answers
    assert (status, json.loads(body)["code"]) == (404, "repo_not_found")
    anonymous = {
        api.call(function, method, f"/repos/{owner}/{slug}{suffix}", message).body
        for slug in ("private", "deleted", "absent")
    }
    assert len(anonymous) == 1


@pytest.mark.parametrize(
    ("function", "method", "suffix", "message"), ROUTES[1:], ids=lambda value: str(value)
)
def test_to_change_a_repository_takes_the_right_to(
    owner: str, function: str, method: str, suffix: str, message: Any
) -> None:
    api.create(owner, "song")
    writer = f"{owner}-writer"
    assert api.give(owner, "song", writer, "write").status == 200
    tokens = [
        client.token(f"stranger-to-{owner}"),
        client.token(writer),
        client.token(owner, scope=Role.WRITE),
    ]
    tokens.append(client.token(owner, repo=f"{owner}/other"))
    for token in tokens:
        answer = api.call(function, method, f"/repos/{owner}/song{suffix}", message, token=token)
        assert (answer.status, answer.code) == (403, "forbidden")
    assert api.call(function, method, f"/repos/{owner}/song{suffix}", message).status == 401
    assert api.get(owner, "song").value["description"] == ""


# ── Change ────────────────────────────────────────────────────────────────────────────────────────


def patch(owner: str, name: str, /, **changes: Any) -> client.Answer:
    """PATCH a repository, by its owner."""
    return api.call("repos", "PATCH", f"/repos/{owner}/{name}", changes, by=owner)


def test_only_the_named_attributes_change(owner: str) -> None:
    made = api.create(owner, "song", description="first", domain="midi")
    changed = patch(owner, "song", visibility="private")
    assert changed.value == {**made, "visibility": "private"}
    assert patch(owner, "song", description="second", visibility=None).value == changed.value | {
        "description": "second"
    }
    assert patch(owner, "song").value == api.get(owner, "song", by=owner).value
    assert api.get(owner, "song").status == 404
    assert client.call("refs", owner, "song").status == 404


def test_changes_at_once_do_not_undo_each_other(owner: str) -> None:
    api.create(owner, "song")
    changes = [{"visibility": "private"}, {"description": "x"}, {"default_branch": "trunk"}] * 3
    answers = api.at_once(9, lambda n: patch(owner, "song", **changes[n]))
    assert {answer.status for answer in answers} == {200}
    found = api.get(owner, "song", by=owner).value
    assert (found["visibility"], found["description"], found["default_branch"]) == (
        "private",
        "x",
        "trunk",
    )


def test_a_default_branch_is_there_unless_nothing_is(owner: str) -> None:
    api.create(owner, "song")
    assert patch(owner, "song", default_branch="trunk").status == 200
    assert client.push(owner, "song", graph("1").bundle(), branch="main").status == 200
    assert client.push(owner, "song", graph("1").bundle(), branch="a/b").status == 200
    assert patch(owner, "song", default_branch="main").value["default_branch"] == "main"
    answer = patch(owner, "song", default_branch="trunk", description="x")
    assert (answer.status, answer.code) == (422, "invalid")
    assert "song has no branch trunk" in answer.value["message"], "the CLI has the same rule"
    assert patch(owner, "song", default_branch="a/b").code == "invalid_name"
    assert patch(owner, "song", default_branch="a").status == 422
    found = api.get(owner, "song").value
    assert (found["default_branch"], found["description"]) == ("main", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"visibility": "x"},
        {"description": "x" * 1001},
        {"slug": "b"},
        {"domain": "midi"},
        {"default_branch": 1},
    ],
    ids=str,
)
def test_an_invalid_change_is_refused(owner: str, changes: Any) -> None:
    made = api.create(owner, "song")
    assert patch(owner, "song", **changes).status == 422
    assert api.get(owner, "song", by=owner).value == made


# ── Rename ────────────────────────────────────────────────────────────────────────────────────────


def rename(owner: str, slug: str, to: str, *, by: str | None = None) -> client.Answer:
    """POST rename, by default by the owner."""
    return api.call("repos", "POST", f"/repos/{owner}/{slug}/rename", {"slug": to}, by=by or owner)


def test_a_renamed_repository_keeps_all_but_its_name(owner: str) -> None:
    made = api.create(owner, "old", visibility="private", description="x")
    history = graph("1; 2:1")
    assert client.push(owner, "old", history.bundle()).status == 200
    assert api.give(owner, "old", f"{owner}-friend", "write").status == 200
    assert rename(owner, "old", "new").value == {**made, "slug": "new"}
    assert api.get(owner, "new", by=f"{owner}-friend").value == {
        **made,
        "slug": "new",
        "role": "write",
    }
    assert client.heads(owner, "new", by=f"{owner}-friend") == {"main": history[2]}
    assert api.get(owner, "old", by=owner).status == 404
    assert client.call("refs", owner, "old", by=owner).status == 404
    assert listed(owner, by=owner) == ["new"]


def test_a_push_to_the_old_name_creates_nothing(owner: str) -> None:
    api.create(owner, "old", visibility="private")
    assert rename(owner, "old", "new").status == 200
    assert client.push(owner, "old", graph("1").bundle()).status == 404


def test_the_old_name_is_free_and_has_forgotten_its_members(owner: str) -> None:
    friend = f"{owner}-friend"
    first = api.create(owner, "song", visibility="private")
    assert api.give(owner, "song", friend, "admin").status == 200
    assert rename(owner, "song", "album").status == 200
    second = api.create(owner, "song", visibility="private")
    assert second["repo_id"] != first["repo_id"]
    assert api.get(owner, "song", by=friend).status == 404
    assert api.get(owner, "album", by=friend).value["repo_id"] == first["repo_id"]


def test_a_removed_user_is_no_member_after_the_old_name_returns(owner: str) -> None:
    friend = f"{owner}-friend"
    api.create(owner, "song", visibility="private")
    assert api.give(owner, "song", friend, "admin").status == 200
    assert rename(owner, "song", "album").status == 200
    assert (
        api.call("members", "DELETE", f"/repos/{owner}/album/members/{friend}", by=owner).status
        == 204
    )
    assert rename(owner, "album", "song").status == 200
    assert api.get(owner, "song", by=friend).status == 404


def test_a_name_that_is_taken_is_not_given(owner: str) -> None:
    api.create(owner, "a")
    taken = api.create(owner, "b")
    assert api.give(owner, "b", "bob", "read").status == 200
    assert api.give(owner, "a", "bob", "admin").status == 200
    answer = rename(owner, "a", "b")
    assert (answer.status, answer.code) == (409, "repo_exists")
    assert api.get(owner, "b", by="bob").value == {**taken, "role": "read"}
    assert rename(owner, "a", "a").status == 200
    assert rename(owner, "a", "a/b").code == "invalid_name"


def give_all(owner: str, slug: str, handles: list[str]) -> None:
    """Make members of them, who may read."""

    async def give() -> None:
        stores = await selection.stores()
        repo = await stores.repos.get(owner, slug)
        assert repo
        await asyncio.gather(*(stores.members.set(repo, handle, Role.READ) for handle in handles))

    asyncio.get_event_loop().run_until_complete(give())


@pytest.mark.parametrize("members", [0, 30])
def test_a_rename_cut_short_has_happened_or_not_and_again_completes(
    owner: str, members: int, configured: pytest.MonkeyPatch
) -> None:
    configured.setenv("PIERIA_LIMIT_PUSH", "1000")
    made = api.create(owner, "s0", visibility="private")
    handles = [f"m{n}" for n in range(members)]
    give_all(owner, "s0", handles)
    for calls in range(1, 50):
        old, new = f"s{calls - 1}", f"s{calls}"
        with api.cut_after(calls) as cut:
            answer = rename(owner, old, new)
        # The last call removes the row by which the old name was listed: whether it succeeds does
        # not matter.
        assert answer.status == 200 or (cut.happened and answer.status == 503), answer.body
        found = [slug for slug in (old, new) if api.get(owner, slug, by=owner).status == 200]
        assert len(found) == 1, "one name leads to it, never two and never none"
        assert api.get(owner, found[0], by=owner).value["repo_id"] == made["repo_id"]
        assert rename(owner, old, new).value == {**made, "slug": new}
        assert api.get(owner, old, by=owner).status == 404
        for handle in handles[:1] + handles[-1:]:
            assert api.get(owner, new, by=handle).status == 200
        if not cut.happened:
            break
    else:
        pytest.fail("it never ends")


def test_a_name_from_before_answers_only_the_same_rename(owner: str) -> None:
    api.create(owner, "a")
    assert rename(owner, "a", "b").status == 200
    assert rename(owner, "a", "b").status == 200
    assert rename(owner, "a", "c").status == 404
    assert rename(owner, "a", "b", by=f"stranger-to-{owner}").status == 404
    assert api.call("repos", "DELETE", f"/repos/{owner}/b", by=owner).status == 204
    assert rename(owner, "a", "b").status == 404


def test_a_name_from_before_does_not_lead_to_another_repository_of_the_present_name(
    owner: str,
) -> None:
    api.create(owner, "a")
    assert rename(owner, "a", "b").status == 200
    assert api.call("repos", "DELETE", f"/repos/{owner}/b", by=owner).status == 204
    second = api.create(owner, "b")
    for wanted in ("b", "c"):
        assert rename(owner, "a", wanted).code == "repo_not_found"
    assert api.get(owner, "b", by=owner).value == second


def test_of_many_renames_at_once_one_wins(owner: str) -> None:
    made = api.create(owner, "song")
    answers = api.at_once(8, lambda n: rename(owner, "song", f"song{n}"))
    assert [answer.status for answer in answers].count(200) == 1
    assert {answer.status for answer in answers} <= {200, 404, 503}
    (slug,) = listed(owner)
    assert api.get(owner, slug).value["repo_id"] == made["repo_id"]


def test_changes_of_members_during_a_rename_are_not_lost(owner: str) -> None:
    api.create(owner, "s0", visibility="private")
    for handle in ("m1", "m3"):
        assert api.give(owner, "s0", handle, "read").status == 200

    def work(number: int) -> client.Answer:
        if number == 0:
            return rename(owner, "s0", "s1")
        if number % 2:
            return api.call("members", "DELETE", f"/repos/{owner}/s0/members/m{number}", by=owner)
        return api.give(owner, "s0", f"m{number}", "write")

    answers = api.at_once(5, work)
    assert answers[0].status == 200
    for number, answer in enumerate(answers[1:], 1):
        seen = api.get(owner, "s1", by=f"m{number}").status
        if answer.status < 300:
            assert seen == (404 if number % 2 else 200), f"told that it was done: {number}"
        else:
            assert answer.status == 404


# ── Delete ────────────────────────────────────────────────────────────────────────────────────────


def test_a_deleted_repository_is_gone_at_once_and_its_name_is_free(owner: str) -> None:
    first = api.create(owner, "song", visibility="private", description="x", domain="midi")
    assert client.push(owner, "song", graph("1").bundle()).status == 200
    assert api.give(owner, "song", "bob", "admin").status == 200
    answer = api.call("repos", "DELETE", f"/repos/{owner}/song", by="bob")
    assert (answer.status, answer.body) == (204, b"")
    assert api.get(owner, "song", by=owner).status == 404
    assert listed(owner, by=owner) == []
    assert client.push(owner, "song", graph("1").bundle()).status == 404
    second = api.create(owner, "song", visibility="private")
    assert second["repo_id"] != first["repo_id"]
    assert (second["description"], second["domain"]) == ("", "code")
    assert api.get(owner, "song", by="bob").status == 404
    assert client.heads(owner, "song", by=owner) == {}


def test_a_deletion_cut_short_has_happened_or_not(owner: str) -> None:
    for calls in (1, 2, 3):
        slug = f"s{calls}"
        api.create(owner, slug)
        with api.cut_after(calls) as cut:
            answer = api.call("repos", "DELETE", f"/repos/{owner}/{slug}", by=owner)
        assert answer.status == 204 or (cut.happened and answer.status == 503)
        again = api.call("repos", "DELETE", f"/repos/{owner}/{slug}", by=owner)
        assert again.status == (204 if calls == 1 else 404)
        assert api.get(owner, slug).status == 404


# ── Restore ───────────────────────────────────────────────────────────────────────────────────────


def deleted(owner: str, *, query: str = "") -> Any:
    """The page of the owner's deleted repositories."""
    answer = api.call("repos", "GET", "/deleted", by=owner, query=query)
    assert answer.status == 200, answer.body
    return answer.value


def test_a_deleted_repository_is_restored_with_its_branches_and_members(owner: str) -> None:
    made = api.create(owner, "song", visibility="private")
    assert client.push(owner, "song", graph("1").bundle()).status == 200
    assert api.give(owner, "song", "bob", "read").status == 200
    heads = client.heads(owner, "song", by=owner)
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status == 204
    [listed_one] = deleted(owner)["repos"]
    assert listed_one == {**made, "deleted_at": listed_one["deleted_at"]}
    api.create(owner, "song")
    taken = api.call("repos", "POST", "/deleted", {"slug": "song"}, by=owner)
    assert taken.value["code"] == "repo_exists"
    restored = api.call("repos", "POST", "/deleted", {"slug": "song", "new_slug": "hymn"}, by=owner)
    assert restored.value == {**made, "slug": "hymn"}
    assert client.heads(owner, "hymn", by="bob") == heads
    assert deleted(owner) == {"repos": [], "next_cursor": None}


def test_the_pages_of_deleted_repositories_begin_with_the_last_deletion(owner: str) -> None:
    slugs = [f"s{number}" for number in range(3)]
    for slug in slugs:
        api.create(owner, slug)
        api.call("repos", "DELETE", f"/repos/{owner}/{slug}", by=owner)
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = deleted(owner, query=f"limit=1&cursor={cursor}")
        found += page["repos"]
        cursor = page["next_cursor"]
    assert sorted(repo["slug"] for repo in found) == slugs
    times = [repo["deleted_at"] for repo in found]
    assert times == sorted(times, reverse=True)


def test_a_deleted_repository_of_another_user_is_neither_listed_nor_restored(owner: str) -> None:
    friend = f"{owner}-friend"
    api.create(owner, "song")
    api.give(owner, "song", friend, "admin")
    api.call("repos", "DELETE", f"/repos/{owner}/song", by=friend)
    assert deleted(friend)["repos"] == []
    refused = api.call("repos", "POST", "/deleted", {"slug": "song"}, by=friend)
    assert (refused.status, refused.value["code"]) == (404, "repo_not_found")


# ── Costs ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_cost_of_each_request(owner: str) -> None:
    friend = f"{owner}-friend"
    issued: list[str] = []

    def issue() -> client.Answer:
        answer = api.call("tokens", "POST", "/tokens", {"scope": "read"}, by=owner)
        issued.append(answer.value["token_id"])
        return answer

    repos = functools.partial(api.call, "repos", by=owner)
    steps: list[tuple[str, Any, int, int]] = [
        # who is asked, the request, its AWS calls, and how many of them wait for one another
        ("repos", lambda: repos("POST", "/repos", {"slug": "song", "visibility": "private"}), 5, 3),
        ("repos", lambda: repos("GET", f"/repos/{owner}/song"), 2, 1),
        ("repos", lambda: repos("GET", f"/users/{owner}/repos"), 5, 3),
        ("repos", lambda: api.call("repos", "GET", f"/users/{owner}/repos", by=friend), 5, 3),
        ("repos", lambda: repos("PATCH", f"/repos/{owner}/song", {"description": "x"}), 3, 2),
        ("repos", lambda: repos("PATCH", f"/repos/{owner}/song", {"default_branch": "x"}), 5, 4),
        ("members", lambda: api.give(owner, "song", friend, "write"), 5, 4),
        ("members", lambda: api.call("members", "GET", f"/repos/{owner}/song/members", by=owner), 3, 2),
        ("refs", lambda: client.call("refs", owner, "song", by=friend), 3, 2),
        ("push", lambda: client.push(owner, "song", graph("1").bundle(), by=friend), 13, 7),
        ("repos", lambda: rename(owner, "song", "new"), 8, 6),
        ("members", lambda: api.call("members", "DELETE", f"/repos/{owner}/new/members/{friend}", by=owner), 7, 5),
        ("repos", lambda: repos("DELETE", f"/repos/{owner}/new"), 4, 3),
        ("tokens", issue, 5, 3),
        ("tokens", lambda: api.call("tokens", "GET", "/tokens", by=owner), 3, 2),
        ("tokens", lambda: api.call("tokens", "DELETE", f"/tokens/{issued[0]}", by=owner), 3, 2),
        ("tokens", lambda: api.call("tokens", "GET", "/me", by=owner), 2, 1),
        ("presign", lambda: client.call("presign", owner, "p", {"object_ids": ["0" * 64]}, by=owner), 5, 3),
        ("push_objects", lambda: client.call("push_objects", owner, "q", {"objects": [builders.blob(b"")]}, by=owner),
         8, 6),
    ]  # fmt: skip
    for number, (function, request, calls, chain) in enumerate(steps):
        with Meter() as meter:
            answer = request()
        assert answer.status < 300, (number, answer.body)
        assert (meter.calls, meter.longest_chain()) == (calls, chain), (
            number, function, meter.calls, meter.longest_chain(), meter.by_operation()
        )  # fmt: skip
