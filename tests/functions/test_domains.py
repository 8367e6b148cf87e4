"""Published domains: as the stock client sends them, in versions, and as pages."""

import hashlib
import json
from typing import Any

import pytest

from functions.endpoints import MIDI_DOMAIN
from shared.model import Role
from tests import builders, client
from tests.client import Answer
from tests.functions import api
from tests.functions.browser import Browser
from tests.functions.web import checked, get

CAPABILITIES = {
    "dimensions": [{"name": "notes", "description": "pitch"}, {"name": "tempo", "description": ""}],
    "artifact_types": ["audio/midi"],
    "merge_semantics": "three_way",
    "supported_commands": ["commit", "diff"],
}


def publish(owner: str, token: str | None = None, **more: Any) -> Answer:
    """POST a domain, by default by its author."""
    message = {**MIDI_DOMAIN, "author_slug": owner, "capabilities": CAPABILITIES, **more}
    return api.call("domains", "POST", "/domains", message, by=owner, token=token)


def published(owner: str, **more: Any) -> dict[str, Any]:
    """The record of a newly published domain."""
    answer = publish(owner, **more)
    assert answer.status == 201, answer.body
    record: dict[str, Any] = answer.value
    return record


def shown(owner: str, slug: str) -> Answer:
    """GET one domain."""
    return api.call("domains", "GET", f"/domains/@{owner}/{slug}")


# ── Publish ───────────────────────────────────────────────────────────────────────────────────────


def test_a_published_domain_is_returned_as_it_was_sent(owner: str) -> None:
    record = published(owner, slug="genomics", display_name="Genomics", viewer_type="genome")
    manifest = json.dumps(CAPABILITIES, sort_keys=True, separators=(",", ":")).encode()
    assert record["manifest_hash"] == hashlib.sha256(manifest).hexdigest()
    assert record["scoped_id"] == f"@{owner}/genomics"
    assert record["domain_id"]
    sent = {"display_name": "Genomics", "viewer_type": "genome", "capabilities": CAPABILITIES}
    assert sent.items() <= record.items()
    assert shown(owner, "genomics").value == record


def test_the_same_domain_again_changes_nothing(owner: str) -> None:
    assert published(owner) == published(owner)


def test_unknown_capabilities_are_kept_and_covered_by_the_hash(owner: str) -> None:
    extended = {**CAPABILITIES, "sampler": {"rates": [44_100, 0.5], "note": "é"}}
    record = published(owner, capabilities=extended)
    assert record["capabilities"] == extended
    assert record["manifest_hash"] != published(owner, slug="plain")["manifest_hash"]


def test_a_higher_version_replaces_a_domain_and_keeps_its_id(owner: str) -> None:
    first = published(owner, version="0.9.0")
    later = published(owner, version="0.10.0", description="better")
    assert (later["domain_id"], later["version"]) == (first["domain_id"], "0.10.0")
    assert shown(owner, "song").value == later


@pytest.mark.parametrize(
    ("present", "sent"),
    [
        ("0.1.0", "0.1.0"),
        ("0.10.0", "0.9.0"),
        ("1.0.0", "1.0.0-rc.1"),
        ("1.0.0-rc.10", "1.0.0-rc.9"),
        ("1.0.0-rc", "1.0.0-11"),
        ("1.0.0-rc.1", "1.0.0-rc"),
        ("1.0.0+one", "1.0.0+two"),
    ],
)
def test_a_version_that_is_not_higher_is_refused(owner: str, present: str, sent: str) -> None:
    first = published(owner, version=present)
    answer = publish(owner, version=sent, description="changed")
    assert (answer.status, answer.code) == (409, "domain_exists")
    assert present in answer.value["message"]
    assert shown(owner, "song").value == first


def test_of_concurrent_publications_the_highest_version_stays(owner: str) -> None:
    numbers = range(1, 9)
    answers = api.at_once(8, lambda number: publish(owner, version=f"0.{number + 1}.0"))
    assert {answer.status for answer in answers} <= {201, 409, 503}
    accepted = [n for n, answer in zip(numbers, answers, strict=True) if answer.status == 201]
    assert shown(owner, "song").value["version"] == f"0.{max(accepted)}.0"
    ids = {answer.value["domain_id"] for answer in answers if answer.status == 201}
    assert ids == {shown(owner, "song").value["domain_id"]}


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────────


def test_a_user_publishes_only_under_the_own_handle(owner: str) -> None:
    answer = publish(owner, token=client.token(f"{owner}-other"))
    assert (answer.status, answer.code) == (403, "forbidden")
    assert f"{owner}-other" in answer.value["message"]


@pytest.mark.parametrize(("scope", "repo"), [(Role.READ, ""), (Role.WRITE, "song")])
def test_a_token_of_less_than_write_everywhere_publishes_nothing(
    owner: str, scope: Role, repo: str
) -> None:
    limited = client.token(owner, scope=scope, repo=repo and f"{owner}/{repo}")
    assert publish(owner, token=limited).code == "forbidden"
    assert shown(owner, "song").status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": "../up"},
        {"slug": "a/b"},
        {"slug": ""},
        {"display_name": ""},
        {"display_name": "x" * 101},
        {"description": "x" * 1001},
        {"viewer_type": "no such thing"},
        {"version": "1"},
        {"version": "01.0.0"},
        {"version": "1.0.0-"},
        {"version": "١.0.0"},
        {"version": f"{10**9}.0.0"},
        {"capabilities": []},
        {"capabilities": {"dimensions": "notes"}},
        {"capabilities": {"dimensions": [{"description": "no name"}]}},
        {"capabilities": {"artifact_types": [1]}},
        {"capabilities": {"supported_commands": [None]}},
    ],
)
def test_a_malformed_description_is_refused(owner: str, wrong: dict[str, Any]) -> None:
    assert publish(owner, **wrong).status == 422


def test_capabilities_have_a_bounded_size(owner: str) -> None:
    padding = 32 * 1024 - len('{"x":""}')
    assert publish(owner, capabilities={"x": "x" * padding}).status == 201
    answer = publish(owner, slug="larger", capabilities={"x": "x" * (padding + 1)})
    assert (answer.status, answer.code) == (413, "too_large")
    many = {"artifact_types": ["a"] * 201}
    assert publish(owner, slug="longer", capabilities=many).status == 413


def test_what_is_not_published_is_not_found(owner: str) -> None:
    published(owner)
    for path in (f"@{owner}/none", f"{owner}/song", f"@{owner.upper()}/song", "@/song", "@../song"):
        answer = api.call("domains", "GET", f"/domains/{path}")
        assert (answer.status, answer.code) == (404, "domain_not_found"), path


# ── Reserved handles ──────────────────────────────────────────────────────────────────────────────


def test_the_refusal_of_a_reserved_handle_states_the_reason(owner: str) -> None:
    """The manual of the client has `repos` as an owner in its examples."""
    reason = "the handle repos is reserved for URLs of the hub itself"
    answer = publish("repos", token=client.token(owner))
    assert (answer.status, answer.code) == (422, "invalid_name") and reason in answer.value[
        "message"
    ]
    push = client.push("repos", "my-song", builders.graph("1").bundle(), by=owner)
    clone = client.call("refs", "repos", "my-song")
    for answer in (push, clone):
        assert (answer.status, answer.code) == (404, "repo_not_found")
        assert reason in answer.value["message"]
    api.create(owner, "song")
    member = api.give(owner, "song", "repos", "read")
    assert reason in member.value["message"]
    for path in ("/repos", "/repos/my-song"):
        assert reason in checked(get(path), 404).text


# ── Lists and pages ───────────────────────────────────────────────────────────────────────────────


def test_the_list_has_every_domain_once_in_pages(owner: str) -> None:
    for number in range(5):
        published(owner, slug=f"domain-{number}")
    found: list[str] = []
    cursor = ""
    while True:
        page = api.call("domains", "GET", "/domains", query=f"limit=2&cursor={cursor}").value
        assert len(page["domains"]) <= 2
        found += [domain["scoped_id"] for domain in page["domains"]]
        cursor = page.get("next_cursor", "")
        if not cursor:
            break
    assert [name for name in found if owner in name] == [
        f"@{owner}/domain-{number}" for number in range(5)
    ]


def test_the_page_that_the_client_prints_shows_the_domain(owner: str) -> None:
    published(owner, display_name="Song <b>", description="Versions of songs")
    page = checked(get(f"/domains/@{owner}/song"))
    for text in ("Song <b>", "Versions of songs", "notes", "pitch", "three_way", "audio/midi"):
        assert text in page.text
    assert f"/{owner}" in page.links() and f"/api/v1/domains/@{owner}/song" in page.links()
    assert f"/domains/@{owner}/song" in checked(get("/domains", query="cursor=")).links()
    checked(get(f"/domains/@{owner}/none"), 404)


# ── Delete ────────────────────────────────────────────────────────────────────────────────────────


def delete(owner: str, slug: str, **how: Any) -> Answer:
    """DELETE a domain of this owner."""
    return api.call("domains", "DELETE", f"/domains/@{owner}/{slug}", **how)


def test_the_author_deletes_a_domain_and_its_name_is_free(owner: str) -> None:
    first = published(owner, version="2.0.0")
    assert delete(owner, "song", by=owner).status == 204
    assert shown(owner, "song").code == "domain_not_found"
    assert delete(owner, "song", by=owner).code == "domain_not_found"
    again = published(owner, version="1.0.0")
    assert again["domain_id"] != first["domain_id"]


def test_nobody_else_deletes_a_domain(owner: str) -> None:
    published(owner)
    other = delete(owner, "song", by=f"{owner}-other")
    assert (other.status, other.code) == (403, "forbidden")
    for token in (
        client.token(owner, scope=Role.READ),
        client.token(owner, repo=f"{owner}/song"),
    ):
        refused = delete(owner, "song", token=token)
        assert (refused.status, "delete a domain" in refused.value["message"]) == (403, True)
    assert shown(owner, "song").status == 200


def test_the_page_of_a_domain_has_a_form_to_delete_it_for_its_author_only(owner: str) -> None:
    published(owner)
    page = f"/domains/@{owner}/song"
    chrome = Browser()
    chrome.sign_in(f"{owner}-other")
    assert f"{page}/delete" not in chrome.get(page).links()
    chrome.get(f"{page}/delete", 403)
    chrome = Browser()
    chrome.sign_in(owner)
    assert f"{page}/delete" in chrome.get(page).links()
    chrome.get(f"{page}/delete")
    refused = chrome.submit(f"{page}/delete", 422, confirm="song")
    assert f"type @{owner}/song into the field" in refused.text
    chrome.submit(f"{page}/delete", confirm=f"@{owner}/song")
    assert chrome.url == "/domains"
    chrome.get(f"{page}/delete", 404)
