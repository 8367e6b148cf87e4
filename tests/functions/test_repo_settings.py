"""The forms of a repository, as a browser without JavaScript sends them."""

import asyncio

import pytest

from bench.meter import Meter
from shared.engines import selection
from shared.metadata import keys
from shared.metadata.table import Row
from tests.client import event, invoke
from tests.functions import api
from tests.functions.browser import Browser
from tests.functions.web import pushed

FILES = {"README.md": b"# Night train"}


def at_settings(owner: str, view: str = "settings") -> Browser:
    """The browser of the owner, on a page of the settings of `song`."""
    chrome = Browser()
    chrome.sign_in(owner, next=f"/{owner}/song/{view}")
    return chrome


def test_a_repository_is_created_with_a_form(owner: str) -> None:
    chrome = Browser()
    chrome.sign_in(owner, next="/-/new")
    page = chrome.submit("/-/new", 422, slug="a song", description="kept")
    assert "cannot be a repository's name" in page.text
    assert "kept" in page.text and chrome.fields("/-/new")["slug"] == "a song"
    page = chrome.submit("/-/new", slug="song", description="A song", visibility="private")
    assert chrome.url == f"/{owner}/song" and "no commits yet" in page.text
    made = api.get(owner, "song", by=owner).value
    assert (made["visibility"], made["description"]) == ("private", "A song")
    chrome.get("/-/new")
    assert "exists" in chrome.submit("/-/new", 409, slug="song").text


def test_description_visibility_and_default_branch_change_together(owner: str) -> None:
    first = pushed(owner, FILES)
    pushed(owner, {"a.txt": b"a"}, "second", first, branch="takes")
    chrome, form = at_settings(owner), f"/{owner}/song/settings"
    page = chrome.submit(form, 422, default_branch="none", description="kept")
    assert "has no branch none" in page.text and "kept" in page.text
    page = chrome.submit(form, description="Slow", visibility="private", default_branch="takes")
    assert "The changes are saved." in page.text
    found = api.get(owner, "song", by=owner).value
    shown = found["description"], found["visibility"], found["default_branch"]
    assert shown == ("Slow", "private", "takes")


def test_a_rename_and_a_deletion_need_the_typed_name(owner: str) -> None:
    pushed(owner, FILES)
    chrome, base = at_settings(owner), f"/{owner}/song/settings"
    page = chrome.submit(f"{base}/rename", 422, slug="ballad", confirm="")
    assert "type song into the field to confirm" in page.text
    page = chrome.submit(f"{base}/rename", slug="ballad", confirm="song")
    assert chrome.url == f"/{owner}/ballad/settings?done=renamed" and "new name" in page.text
    action = f"/{owner}/ballad/settings/delete"
    chrome.submit(action, 422, confirm="ballad")
    assert api.get(owner, "ballad").status == 200
    chrome.submit(action, confirm=f"{owner}/ballad")
    assert chrome.url == "/-/deleted?done=deleted"
    assert api.get(owner, "ballad").status == 404


def test_a_deleted_repository_is_restored_under_a_free_name(owner: str) -> None:
    pushed(owner, FILES)
    chrome = at_settings(owner)
    chrome.submit(f"/{owner}/song/settings/delete", confirm=f"{owner}/song")
    api.create(owner, "song")
    assert "exists" in chrome.submit("/-/deleted", 409, slug="song", name="song").text
    chrome.submit("/-/deleted", slug="song", name="old-song")
    assert chrome.url == f"/{owner}/old-song/settings?done=restored"
    assert "Night train" in chrome.get(f"/{owner}/old-song").text
    assert "There are none." in chrome.get("/-/deleted").text


def test_the_page_of_deleted_repositories_reads_only_those_of_the_user(owner: str) -> None:
    hub = asyncio.get_event_loop().run_until_complete(selection.stores()).hub
    row: Row = {"owner": f"{owner}-other", "slug": "song", "description": "x" * 1_000}
    others = [keys.deleted(f"{owner}-other", str(number)) for number in range(50)]
    asyncio.get_event_loop().run_until_complete(hub.put([(key, row) for key in others]))
    chrome = Browser()
    chrome.sign_in(owner)
    with Meter(weigh=True) as meter:
        chrome.get("/-/deleted")
    asyncio.get_event_loop().run_until_complete(hub.delete_many(others))
    [units] = [
        units
        for partition, units in meter.read_units_by_partition().items()
        if partition.endswith(f"/{keys.DELETED}")
    ]
    assert units <= 1


def test_members_are_added_changed_and_removed(owner: str) -> None:
    pushed(owner, FILES)
    chrome, form = at_settings(owner, "settings/members"), f"/{owner}/song/settings/members"
    assert "not a handle" in chrome.submit(form, 422, handle="<b>", role="read").text
    assert "owns this repository" in chrome.submit(form, 422, handle=owner, role="read").text
    chrome.submit(form, handle="bob", role="write")
    members = api.call("members", "GET", f"/repos/{owner}/song/members", by=owner)
    assert members.value["members"] == [{"handle": "bob", "role": "write"}]
    chrome.submit(f"{form}/remove", handle="bob")
    members = api.call("members", "GET", f"/repos/{owner}/song/members", by=owner)
    assert members.value["members"] == []
    assert (
        "not a member"
        in chrome.post(
            f"{form}/remove", {"form": chrome.fields(form)["form"], "handle": "bob"}, 404
        ).text
    )


def test_issuers_are_trusted_and_removed(owner: str) -> None:
    pushed(owner, FILES)
    chrome, form = at_settings(owner, "settings/issuers"), f"/{owner}/song/settings/issuers"
    good = {
        "issuer": "https://id.example",
        "claims": "sub=repo:a/b=c\nref = main",
        "scope": "write",
    }
    for wrong, said in (
        ({"claims": "sub"}, "name=value"),
        ({"claims": "ref=main"}, "belongs to one project"),
        ({"issuer": "http://id.example"}, "https://"),
        ({"claims": "sub=<script>alert(1)</script>", "issuer": "<b>"}, "https://"),
    ):
        sent = {**chrome.fields(form), **good, **wrong}
        assert said in chrome.post(form, sent, 422).text
    page = chrome.post(form, {**chrome.fields(form), **good})
    assert "https://id.example" in page.text and f"rights of {owner}" in page.text
    path = f"/repos/{owner}/song/trusted-issuers"
    [found] = api.call("trusted_issuers", "GET", path, by=owner).value["trusted_issuers"]
    assert found["claims"] == {"sub": "repo:a/b=c", "ref": "main"}
    assert (found["scope"], found["audience"]) == ("write", "https://hub.example")
    guard = chrome.fields(form)["form"]
    chrome.submit(f"{form}/remove")
    assert api.call("trusted_issuers", "GET", path, by=owner).value["trusted_issuers"] == []
    again = {"form": guard, "trust_id": found["trust_id"]}
    assert "no trusted issuer" in chrome.post(f"{form}/remove", again, 404).text


def test_a_writer_deletes_a_branch_and_restores_it(owner: str) -> None:
    first = pushed(owner, FILES)
    pushed(owner, {"a.txt": b"a"}, "second", first, branch="takes/one")
    api.give(owner, "song", "writer", "write")
    chrome, base = Browser(), f"/{owner}/song/settings/branches"
    chrome.sign_in("writer", next=base)
    assert f"/{owner}/song/settings/members" not in chrome.page.links()
    delete = {**chrome.fields(f"{base}/delete"), "branch": "takes/one"}
    assert "to confirm" in chrome.post(f"{base}/delete", {**delete, "confirm": "x"}, 422).text
    chrome.post(f"{base}/delete", {**delete, "confirm": "takes/one"})
    assert chrome.fields(f"{base}/restore")["branch"] == "takes/one", "ready to be undone"
    assert list(heads(owner)) == ["main"]
    chrome.submit(f"{base}/restore")
    assert sorted(heads(owner)) == ["main", "takes/one"]
    fields = {**delete, "branch": "main", "confirm": "main"}
    assert "is the default branch" in chrome.post(f"{base}/delete", fields, 422).text
    chrome.get(f"/{owner}/song/settings", 403)


def test_a_form_sends_invisible_characters_back_unchanged(owner: str) -> None:
    first, odd = pushed(owner, FILES), "a\u202eb\u200b"
    pushed(owner, {"a.txt": b"a"}, "second", first, branch=odd)
    about = {"description": f"\n{odd} <b>"}
    api.call("repos", "PATCH", f"/repos/{owner}/song", about, by=owner)
    chrome, base = at_settings(owner), f"/{owner}/song/settings"
    chrome.submit(base)
    assert api.get(owner, "song").value["description"] == about["description"]
    chrome.get(f"{base}/branches")
    chrome.submit(f"{base}/branches/delete", confirm=odd)
    assert list(heads(owner)) == ["main"]


HOSTILE = [
    '"><script>alert(1)</script>',
    "<svg onload=alert(1)>",
    "\u202eevil",
    "x" * 250,
    "a\x1b[31m",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_refused_text_is_shown_again_as_text(owner: str, text: str) -> None:
    """`Browser` checks each page for scripts, open tags and other hosts."""
    pushed(owner, FILES)
    chrome, base = at_settings(owner), f"/{owner}/song/settings"
    chrome.submit(base, 422, default_branch=text, description=text)
    chrome.submit(f"{base}/rename", 422, slug=text, confirm="song")
    chrome.get(f"{base}/members")
    chrome.submit(f"{base}/members", 422, handle=text)
    chrome.get(f"{base}/branches")
    chrome.submit(f"{base}/branches/restore", 422 if "\x1b" in text else 404, branch=text)
    chrome.get("/-/new")
    chrome.submit("/-/new", 422, slug=text, description=text)


@pytest.mark.parametrize(
    "view", ["settings", "settings/members", "settings/issuers", "settings/branches"]
)
def test_a_form_of_a_repository_is_refused_without_its_own_token(owner: str, view: str) -> None:
    pushed(owner, FILES)
    chrome = at_settings(owner, view)
    for action, fields in chrome.page.forms.items():
        if fields.get("form"):
            chrome.post(action, {**fields, "form": "x"}, 403)
            chrome.post(action, fields, 403, origin="https://evil.example")


def heads(owner: str) -> dict[str, str]:
    """The branches of `song` and their heads."""
    found: dict[str, str] = invoke(
        "refs", event("GET", f"/{owner}/song/refs", headers={"accept": "application/json"})
    ).value["branch_heads"]
    return found


def test_a_form_without_its_fields_is_refused_and_shown_again(owner: str) -> None:
    pushed(owner, FILES)
    chrome, base = at_settings(owner), f"/{owner}/song/settings"
    guard = {"form": chrome.fields(base)["form"]}
    for action in ("/-/new", "/-/account/tokens", "/-/deleted", f"{base}/rename", f"{base}/delete",
                   f"{base}/members", f"{base}/branches/restore"):  # fmt: skip
        chrome.post(action, guard, 422)
