"""Members over the API: what each role lets one do, at once and on the wire too."""

from typing import Any

import pytest

from shared.model import Role
from tests import client
from tests.builders import graph
from tests.client import bearer
from tests.functions import api


def members(owner: str, slug: str, *, by: str | None = None, query: str = "") -> Any:
    """GET members, by default by the owner."""
    answer = api.call(
        "members", "GET", f"/repos/{owner}/{slug}/members", by=by or owner, query=query
    )
    assert answer.status == 200, answer.body
    return answer.value


def remove(owner: str, slug: str, handle: str, *, by: str | None = None) -> client.Answer:
    """DELETE a member, by default by the owner."""
    return api.call("members", "DELETE", f"/repos/{owner}/{slug}/members/{handle}", by=by or owner)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("scope", list(Role))
def test_a_member_has_the_smaller_right_of_the_role_and_the_token(
    owner: str, role: Role, scope: Role
) -> None:
    api.create(owner, "song", visibility="private")
    friend = f"{owner}-friend"
    assert api.give(owner, "song", friend, role).value == {"handle": friend, "role": role}
    least = role if scope.allows(role) else scope
    headers = bearer(client.token(friend, scope=scope))
    assert client.call("refs", owner, "song", headers=headers).status == 200
    bundle = graph("1").bundle()
    pushed = client.call(
        "push", owner, "song", {"bundle": bundle, "branch": "main"}, headers=headers
    )
    assert pushed.status == (200 if least.allows(Role.WRITE) else 403)
    changed = api.call(
        "repos", "PATCH", f"/repos/{owner}/song", {"description": "x"}, headers=headers
    )
    assert changed.status == (200 if least.allows(Role.ADMIN) else 403)
    assert api.call("repos", "GET", f"/repos/{owner}/song", headers=headers).value["role"] == least


def test_a_role_counts_from_the_next_request_on_and_so_does_its_loss(owner: str) -> None:
    api.create(owner, "song", visibility="private")
    friend = f"{owner}-friend"
    for role, status in (("read", 403), ("write", 200), ("read", 403), ("admin", 200)):
        assert api.give(owner, "song", friend, role).status == 200
        assert client.push(owner, "song", graph("1").bundle(), by=friend).status == status
    for status, code in ((204, ""), (404, "member_not_found")):
        removed = remove(owner, "song", friend)
        assert removed.status == status and (not code or removed.code == code)
        assert client.push(owner, "song", graph("1").bundle(), by=friend).status == 404
        assert client.call("refs", owner, "song", by=friend).status == 404


def test_members_are_listed_by_handle_page_after_page(owner: str) -> None:
    api.create(owner, "song")
    assert members(owner, "song") == {"members": [], "next_cursor": None}
    for handle in ("carol", "alice", "Bob"):
        assert api.give(owner, "song", handle, "read").status == 200
    pages, cursor = [], ""
    while True:
        page = members(owner, "song", query=f"limit=2&cursor={cursor}")
        pages.append([member["handle"] for member in page["members"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [["Bob", "alice"], ["carol"]]


def test_members_belong_to_one_repository(owner: str) -> None:
    for slug in ("a", "a-b", "a.b"):
        api.create(owner, slug, visibility="private")
        assert api.give(owner, slug, f"friend-of-{slug}", "read").status == 200
    assert [member["handle"] for member in members(owner, "a")["members"]] == ["friend-of-a"]
    assert api.get(owner, "a", by="friend-of-a-b").status == 404


def test_an_admin_may_name_others_but_not_remove_the_owner(owner: str) -> None:
    api.create(owner, "song")
    friend = f"{owner}-friend"
    assert api.give(owner, "song", friend, "admin").status == 200
    put = api.call(
        "members", "PUT", f"/repos/{owner}/song/members/carol", {"role": "admin"}, by=friend
    )
    assert put.status == 200
    for who in (owner, owner.upper()):
        assert remove(owner, "song", who, by=friend).status == 422
        put = api.call(
            "members", "PUT", f"/repos/{owner}/song/members/{who}", {"role": "read"}, by=friend
        )
        assert (put.status, put.code) == (422, "invalid")
    assert api.get(owner, "song", by=owner).value["role"] == "admin"
    assert sorted(one["handle"] for one in members(owner, "song")["members"]) == ["carol", friend]
    assert remove(owner, "song", friend, by=friend).status == 204
    assert remove(owner, "song", "carol", by=friend).status == 403


def test_a_handle_may_be_written_in_any_letter_case(owner: str) -> None:
    api.create(owner, "song", visibility="private")
    friend = f"{owner}-Friend"
    api.create(friend, "his-own")
    for written in (friend.lower(), friend.upper(), friend):
        assert api.give(owner, "song", written, "read").value == {"handle": friend, "role": "read"}
        assert [one["handle"] for one in members(owner, "song")["members"]] == [friend]
        assert api.get(owner, "song", by=friend).status == 200
        assert remove(owner, "song", written.swapcase()).status == 204
        assert api.get(owner, "song", by=friend).status == 404


@pytest.mark.parametrize("handle", ["api", "WWW", "-", "ä", "x" * 65])
def test_an_invalid_handle_is_no_member(owner: str, handle: str) -> None:
    api.create(owner, "song")
    assert api.give(owner, "song", handle, "read").code == "invalid_name"
    assert remove(owner, "song", handle).code == "invalid_name"


@pytest.mark.parametrize(
    "message",
    [{}, {"role": "owner"}, {"role": ""}, {"role": None}, {"role": "read", "handle": "bob"}],
    ids=str,
)
def test_an_unknown_role_is_refused(owner: str, message: Any) -> None:
    api.create(owner, "song")
    answer = api.call("members", "PUT", f"/repos/{owner}/song/members/bob", message, by=owner)
    assert (answer.status, answer.code) == (422, "invalid")


def test_an_interrupted_request_can_be_repeated(owner: str) -> None:
    api.create(owner, "song", visibility="private")
    for calls in range(1, 6):
        friend = f"{owner}-{calls}"
        for role in ("read", None):
            with api.cut_after(calls) as cut:
                answer = (
                    api.give(owner, "song", friend, "read")
                    if role
                    else remove(owner, "song", friend)
                )
            assert answer.status == 503 if cut.happened else answer.status < 300
            answer = (
                api.give(owner, "song", friend, "read") if role else remove(owner, "song", friend)
            )
            assert answer.status < 300 or (not role and answer.code == "member_not_found")
            assert api.get(owner, "song", by=friend).status == (200 if role else 404)


def test_twelve_members_at_once_are_all_there(owner: str) -> None:
    api.create(owner, "song")
    answers = api.at_once(12, lambda n: api.give(owner, "song", f"m{n}", "read"))
    assert {answer.status for answer in answers} == {200}
    assert len(members(owner, "song")["members"]) == 12
