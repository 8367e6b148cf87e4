"""Group 12: tags. A label may be on many commits, and a commit may have many. The id identifies a
tag.
"""

from typing import Any

import pytest

from bench.meter import Meter
from shared.errors import Unavailable
from shared.metadata.tags import Tags
from tests.builders import Record
from tests.client import JSON, Answer, ask
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    NO_IDS,
    UNKNOWN,
    assert_absent,
    assert_accepted,
    assert_costs,
    assert_refused,
    case,
    pushed,
)


def tag(number: int = 1, commit: str = C1, label: str = "emotion:joyful", **more: Any) -> Record:
    """A tag as the stock client would send it."""
    return {
        "tag_id": f"{number:08}-0000-4000-8000-000000000000",
        "repo_id": "0c5a7f8e-0000-4000-8000-000000000000",
        "commit_id": commit,
        "tag": label,
        "created_at": "2026-01-01T00:00:00+00:00",
        **more,
    }


def post(owner: str, *tags: Any, slug: str = "song", by: str | None = None, **how: Any) -> Answer:
    return ask("tags", "POST", f"/{owner}/{slug}/tags", {"tags": list(tags)}, by=by or owner, **how)


def stored(owner: str, *tags: Record) -> int:
    reply = assert_accepted(post(owner, *tags))
    assert set(reply) == {"stored"}
    count: int = reply["stored"]
    return count


def listing(owner: str, query: str = "", *, slug: str = "song", **how: Any) -> Answer:
    return ask("tags", "GET", f"/{owner}/{slug}/tags", query=query, **how)


def listed(owner: str, query: str = "", **how: Any) -> list[Record]:
    reply = assert_accepted(listing(owner, query, **how))
    assert set(reply) == {"tags"}
    found: list[Record] = reply["tags"]
    return found


def delete(owner: str, tag_id: str, *, slug: str = "song", **how: Any) -> Answer:
    return ask("tags", "DELETE", f"/{owner}/{slug}/tags/{tag_id}", **{"by": owner} | how)


@pytest.fixture
def song(owner):
    """The owner of `song`, with C1 and C2 on main."""
    pushed(owner, "song", C1, C2)
    return owner


# ── Storing ───────────────────────────────────────────────────────────────────────────────────────


def test_W01_tags_are_stored_and_come_back_as_they_were_sent(song, address):
    tags = [
        tag(1, a_field_of_tomorrow=[None, {"deep": 1}]),
        tag(2, C2, "♪ ist's freudig? 😀", created_at="whenever"),
    ]
    assert stored(song, *tags) == 2
    assert listed(song, source_ip=address) == tags


def test_W02_the_same_tags_again_are_no_news(song):
    assert stored(song, tag(1), tag(2, C2)) == 2
    assert stored(song, tag(1), tag(2, C2)) == 0
    assert stored(song, tag(1), tag(1), tag(3), tag(3)) == 1
    assert listed(song) == [tag(1), tag(2, C2), tag(3)]


@pytest.mark.parametrize(
    "difference",
    [
        case("W02", "another commit", {"commit": C2}),
        case("W02", "another label", {"label": "emotion:sad"}),
        case("W02", "another time", {"created_at": "2026-01-02T00:00:00+00:00"}),
    ],
)
def test_another_tag_under_a_stored_id_is_refused_whole(song, difference):
    assert stored(song, tag(1)) == 1
    assert_refused(
        post(song, tag(2), tag(1, **difference)), 409, "tag_exists", naming=[tag(1)["tag_id"]]
    )
    assert_refused(
        post(song, tag(3), tag(3, **difference)), 409, "tag_exists", naming=[tag(3)["tag_id"]]
    )
    assert listed(song) == [tag(1)]


def test_W02_of_eight_tags_of_one_id_one_is_stored(song, at_once):
    answers = at_once([lambda n=n: post(song, tag(1, label=f"take {n}")) for n in range(8)])
    assert sorted(answer.status for answer in answers) == [200, *[409] * 7]
    assert len(listed(song)) == 1


@pytest.mark.parametrize(
    "count", [case("W02", "few, each on its own", 5), case("W02", "many, in batches", 60)]
)
def test_tags_with_a_lost_reply_can_be_sent_again(song, monkeypatch, count):
    tags = [tag(n) for n in range(count)]
    whole = Tags.put_new

    async def cut_short(self, tags):
        await whole(self, dict(list(tags.items())[: count // 2]))
        raise Unavailable()

    with monkeypatch.context() as patched:
        patched.setattr(Tags, "put_new", cut_short)
        assert post(song, *tags).status == 503
    assert stored(song, *tags) == count - count // 2
    assert listed(song) == tags


def test_W03_a_label_may_be_on_many_commits_and_a_commit_have_many(song):
    tags = [tag(1, C1, "hit"), tag(2, C2, "hit"), tag(3, C1, "sad"), tag(4, C1, "hit")]
    assert stored(song, *tags) == 4
    assert listed(song) == tags


def test_W04_a_caller_who_may_not_push_may_not_tag(estate, stranger, address):
    for slug in ("pub", "priv", "none"):
        anonymous = ask(
            "tags", "POST", f"/{estate}/{slug}/tags", {"tags": [tag()]}, source_ip=address
        )
        assert_refused(anonymous, 401, "unauthorized")
    assert_refused(post(estate, tag(), slug="pub", by=stranger), 403, "forbidden")
    for slug in ("priv", "gone", "none"):
        assert_absent(post(estate, tag(), slug=slug, by=stranger))


@pytest.mark.parametrize(
    "label",
    [
        case("W05", "empty", ""),
        case("W05", "501 characters", "a" * 501),
        case("W05", "a newline", "a\nb"),
        case("W05", "a NUL", "a\0b"),
        case("W05", "an escape", "\x1b[2J"),
        case("W05", "a C1 control", "a\x9bb"),
        case("W05", "a line separator", "a\u2028b"),
        case("W05", "a number", 7),
        case("W05", "null", None),
        case("W05", "bytes", b"hit"),
    ],
)
def test_an_invalid_label_is_refused(song, label):
    assert_refused(post(song, tag(2), tag(1, label=label)), 422)
    assert listed(song) == []


def test_W05_five_hundred_characters_are_a_label(song):
    assert stored(song, tag(1, label="é" * 500)) == 1


@pytest.mark.parametrize(
    "tag_id", [case("W05", f"tag id: {says}", value) for says, value in NO_IDS]
)
def test_an_invalid_id_is_refused(song, tag_id):
    assert_refused(post(song, tag(1, tag_id=tag_id)), 422)
    assert_refused(post(song, tag(1, commit_id=tag_id)), 422)


def test_W06_without_tags_nothing_is_stored(song):
    messages: list[Record] = [{}, {"tags": []}, {"repo_id": "x"}]
    for message in messages:
        assert assert_accepted(ask("tags", "POST", f"/{song}/song/tags", message, by=song)) == {
            "stored": 0
        }


@pytest.mark.parametrize(
    "tags",
    [
        case("W06", "a map", {"a": tag()}),
        case("W06", "a text", "hit"),
        case("W06", "null", None),
        case("W06", "a list of texts", ["hit"]),
        case("W06", "a list of nulls", [None]),
        case("W06", "one that is a list", [tag(), [1]]),
    ],
)
def test_tags_that_are_none_are_refused(song, tags):
    assert_refused(ask("tags", "POST", f"/{song}/song/tags", {"tags": tags}, by=song), 422)
    assert listed(song) == []


def test_W07_json_does_as_well(song):
    assert post(song, tag(), form=JSON, accept=JSON).value == {"stored": 1}
    assert listing(song, accept=JSON).value == {"tags": [tag()]}


def test_W07_bytes_are_refused(song):
    assert_refused(post(song, tag(more={"deep": [b"x"]})), 422)


@pytest.mark.parametrize(
    "count", [case("W08", "one too many", 1_001), case("W08", "100,000", 100_000)]
)
def test_too_many_tags_are_refused_whole(song, count):
    assert_refused(post(song, *(tag(n) for n in range(count))), 413, "too_large")
    assert listed(song) == []


def test_W08_a_thousand_are_taken(song):
    with Meter() as meter:
        assert stored(song, *(tag(n) for n in range(1_000))) == 1_000
    assert_costs(meter, 60, 4)
    assert len(listed(song)) == 1_000


def test_W08_a_tag_is_small(song):
    assert_refused(post(song, tag(created_at="x" * 5_000)), 413, "too_large")


@pytest.mark.parametrize(
    "commit", [case("W09", "nowhere", UNKNOWN), case("W09", "in another repository only", C3)]
)
def test_the_commit_has_to_be_in_this_repository(song, commit):
    pushed(song, "other", C1, C2, C3)
    assert_refused(post(song, tag(1), tag(2, commit)), 422, "missing_reference", naming=[commit])
    assert listed(song) == []


# ── Listing ───────────────────────────────────────────────────────────────────────────────────────


def test_W10_a_list_can_be_narrowed(song):
    tags = [tag(1, C1, "hit"), tag(2, C2, "hit"), tag(3, C1, "a&b+c ♪"), tag(4, C1, "hit")]
    stored(song, *tags)
    assert listed(song, f"commit_id={C1}") == [tags[0], tags[2], tags[3]]
    assert listed(song, "label=hit") == [tags[0], tags[1], tags[3]]
    assert listed(song, f"commit_id={C2}&label=hit") == [tags[1]]
    assert listed(song, "label=a%26b%2Bc%20%E2%99%AA") == [tags[2]]
    assert listed(song, "label=Hit") == listed(song, f"commit_id={UNKNOWN}") == []


@pytest.mark.parametrize("narrow", [case("W10", "all", ""), case("W10", "of a label", "label=hit")])
def test_a_list_can_be_read_in_pages(song, narrow):
    stored(song, *(tag(n, label="hit" if n % 2 else "miss") for n in range(20)))
    wanted = [n for n in range(20) if n % 2 or not narrow]
    seen: list[Record] = []
    cursor: str | None = ""
    while cursor is not None:
        page = assert_accepted(listing(song, f"{narrow}&limit=5&cursor={cursor}"))
        assert len(page["tags"]) == 5
        seen += page["tags"]
        cursor = page.get("next_cursor")
    assert [record["tag_id"] for record in seen] == [tag(n)["tag_id"] for n in wanted]


def test_a_short_filtered_page_finds_the_one_tag_behind_many_others(song):
    rare = tag(20, label="rare")
    stored(song, *(tag(number) for number in range(20)), rare)
    assert listed(song, "label=rare&limit=1") == [rare]


def test_a_page_of_tags_that_grow_in_json_fits_into_one_reply(song):
    note = (
        "\x01" * 3500
    )  # one byte each in the request, and seven bytes each in the reply of Lambda
    sent = [tag(number, note=note) for number in range(280)]
    assert stored(song, *sent[:140]) == 140
    assert stored(song, *sent[140:]) == 140
    first = assert_accepted(listing(song, "limit=1000"))
    assert 0 < len(first["tags"]) < len(sent)
    assert first["tags"] + listed(song, f"limit=1000&cursor={first['next_cursor']}") == sent


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "cursor=" + "a" * 300])
def test_W10_a_query_that_means_nothing_is_refused(song, query):
    assert_refused(listing(song, query), 422)


def test_W10_private_tags_are_for_readers(estate, stranger, address):
    assert assert_accepted(post(estate, tag(), slug="priv"))["stored"] in (0, 1)
    for who in ({"source_ip": address}, {"by": stranger}):
        for slug in ("priv", "gone", "none"):
            assert_absent(listing(estate, slug=slug, **who))
    assert listed(estate, slug="priv", by=estate) == [tag()]


def test_W10_repositories_are_islands(song):
    pushed(song, "other", C1)
    stored(song, tag(1))
    assert listed(song, slug="other") == []
    assert_refused(delete(song, tag(1)["tag_id"], slug="other"), 404, "tag_not_found")
    assert assert_accepted(post(song, tag(1, label="mine"), slug="other")) == {"stored": 1}
    assert listed(song) == [tag(1)]


# ── Deleting ──────────────────────────────────────────────────────────────────────────────────────


def test_W11_a_tag_is_deleted_by_its_id(song):
    stored(song, tag(1), tag(2))
    assert assert_accepted(delete(song, tag(1)["tag_id"])) == {"deleted": tag(1)["tag_id"]}
    assert listed(song) == [tag(2)]
    assert_refused(delete(song, tag(1)["tag_id"]), 404, "tag_not_found")
    assert stored(song, tag(1, C2)) == 1  # the id is free again


@pytest.mark.parametrize("tag_id", ["..", "%2e%2e", "a%00b", "x%0A", "sha256:x", "a" * 1500, "%FF"])
def test_W11_a_hostile_id_is_no_id(song, tag_id):
    assert_refused(delete(song, tag_id), 404, "tag_not_found")


def test_W11_a_caller_who_may_not_push_may_not_delete(estate, stranger, address):
    pushed(estate, "attic", C1)
    assert_accepted(post(estate, tag(), slug="attic"))
    tag_id = tag()["tag_id"]
    assert_refused(
        delete(estate, tag_id, slug="attic", by=None, source_ip=address), 401, "unauthorized"
    )
    assert_refused(delete(estate, tag_id, slug="attic", by=stranger), 403, "forbidden")
    for slug in ("priv", "gone", "none"):
        assert_absent(delete(estate, tag_id, slug=slug, by=stranger))
    assert listed(estate, slug="attic", by=estate) == [tag()]


# ── Cost ──────────────────────────────────────────────────────────────────────────────────────────


def test_tags_cost_few_calls(song):
    with Meter() as storing:
        stored(song, tag(1))
    with Meter() as reading:
        listed(song)
    with Meter() as deleting:
        assert_accepted(delete(song, tag(1)["tag_id"]))
    assert_costs(storing, 5, 3)
    assert_costs(reading, 3, 2)
    assert_costs(deleting, 5, 3)


def test_the_tags_of_one_request_have_a_limit_together(song):
    text = "x" * 3000
    many = [tag(number, note=f"{number} {text}") for number in range(180)]
    refused = post(song, *many)
    assert_refused(refused, 413, "too_large", naming=[512 * 1024])
    assert listed(song) == []
    assert stored(song, *many[:90]) == 90
    assert stored(song, *many[90:]) == 90
    assert stored(song, *(tag(number) for number in range(1000, 2000))) == 1000
