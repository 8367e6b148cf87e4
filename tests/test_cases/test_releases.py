"""Group 11: releases. A client reads back a release of another client to the last field."""

import asyncio
import os
import zlib
from typing import Any

import pytest

from bench.meter import Meter
from shared import codec, ids
from shared.actions import releases as actions
from shared.engines import selection
from shared.errors import Unavailable
from shared.metadata.releases import Release, Releases
from shared.model import CommitId
from tests import client
from tests.builders import Record
from tests.client import JSON, MSGPACK, Answer, ask
from tests.functions.api import cut_after
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    UNKNOWN,
    alter,
    assert_absent,
    assert_accepted,
    assert_costs,
    assert_refused,
    case,
    pushed,
)

FIELDS = {
    "release_id", "repo_id", "tag", "semver", "channel", "commit_id", "snapshot_id", "title", "body", "changelog",
    "agent_id", "model_id", "is_draft", "gpg_signature", "created_at",
}  # fmt: skip


def release(tag: str = "v1.0.0", commit: str = C1, **more: Any) -> Record:
    """A release as the stock client sends it."""
    return {
        "release_id": f"id of {tag}",
        "repo_id": "0c5a7f8e-0000-4000-8000-000000000000",
        "tag": tag,
        "semver": {"major": 1, "minor": 0, "patch": 0, "pre": "", "build": ""},
        "channel": "stable",
        "commit_id": commit,
        "snapshot_id": "5" * 64,
        "title": "One",
        "body": "first\nof many ♪",
        "changelog": [entry(commit)],
        "agent_id": "composer",
        "model_id": "m-1",
        "is_draft": False,
        "gpg_signature": "",
        "created_at": "2026-01-01T00:00:00.000001+00:00",
        **more,
    }


def entry(commit: str, **more: Any) -> Record:
    """A changelog entry as the stock client sends it."""
    return {
        "commit_id": commit,
        "message": "one",
        "sem_ver_bump": "minor",
        "breaking_changes": ["a.txt"],
        "author": "Ada",
        "committed_at": "2026-01-01T00:00:00+00:00",
        "agent_id": "composer",
        "model_id": "m-1",
        **more,
    }


def publish(
    owner: str, record: Any, *, slug: str = "song", by: str | None = None, **how: Any
) -> Answer:
    return ask(
        "releases",
        "POST",
        f"/{owner}/{slug}/releases",
        record,
        by=by or owner,
        **{"form": JSON} | how,
    )


def listing(owner: str, query: str = "", *, slug: str = "song", **how: Any) -> Answer:
    return ask("releases", "GET", f"/{owner}/{slug}/releases", query=query, **how)


def listed(owner: str, query: str = "", **how: Any) -> list[Record]:
    reply = assert_accepted(listing(owner, query, **how))
    assert set(reply) == {"releases"}
    found: list[Record] = reply["releases"]
    return found


def tags(owner: str, query: str = "", **how: Any) -> list[str]:
    return [record["tag"] for record in listed(owner, query, **how)]


def retract(owner: str, tag: str, *, slug: str = "song", **how: Any) -> Answer:
    return ask("releases", "DELETE", f"/{owner}/{slug}/releases/{tag}", **{"by": owner} | how)


def assert_published(answer: Answer) -> Record:
    assert answer.status == 201, answer.body
    assert answer.headers["content-type"] == client.MSGPACK
    assert set(answer.value) == {"release_id"}
    value: Record = answer.value
    return value


@pytest.fixture
def song(owner):
    """The owner of `song`, with C1 and C2 on main."""
    pushed(owner, "song", C1, C2)
    return owner


# ── Publishing ────────────────────────────────────────────────────────────────────────────────────


def test_L01_a_release_is_created_and_its_id_is_given_back(song):
    assert assert_published(publish(song, release())) == {"release_id": "id of v1.0.0"}


def test_L01_a_reader_of_json_gets_json(song):
    answer = publish(song, release(), headers={"accept": "application/json"})
    assert (answer.status, answer.value) == (201, {"release_id": "id of v1.0.0"})
    assert listing(song, headers={"accept": "application/json"}).value == {"releases": [release()]}


def test_L02_the_same_release_again_is_no_news(song):
    for _ in range(3):
        assert_published(publish(song, release()))
    assert listed(song) == [release()]


@pytest.mark.parametrize(
    "difference",
    [
        case("L02", "another id", {"release_id": "another"}),
        case("L02", "another commit", {"commit_id": C2}),
        case("L02", "another body", {"body": "second"}),
        case("L02", "no draft any more", {"is_draft": True}),
    ],
)
def test_another_release_under_the_same_tag_is_refused(song, difference):
    assert_published(publish(song, release()))
    assert_refused(publish(song, release(**difference)), 409, "release_exists", naming=["v1.0.0"])
    assert listed(song, "include_drafts=1", by=song) == [release()]


def test_L02_of_eight_releases_under_one_tag_one_is_published(song, at_once):
    records = [release(release_id=f"try {n}") for n in range(8)]
    answers = at_once([lambda r=r: publish(song, r) for r in records])
    assert sorted(answer.status for answer in answers) == [201, *[409] * 7]
    (won,) = [answer for answer in answers if answer.status == 201]
    assert [record["release_id"] for record in listed(song)] == [won.value["release_id"]]


def test_L02_a_release_with_a_lost_reply_can_be_sent_again(song, monkeypatch):
    whole = Releases.put_new

    async def unheard(self, release):
        await whole(self, release)
        raise Unavailable()

    with monkeypatch.context() as patched:
        patched.setattr(Releases, "put_new", unheard)
        assert publish(song, release()).status == 503
    assert_published(publish(song, release()))
    assert listed(song) == [release()]


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_L02_a_publication_cut_short_has_happened_or_not_and_again_completes(song, calls):
    with cut_after(calls) as cut:
        answer = publish(song, release())
    assert cut.happened and answer.status == 503
    assert listed(song) in ([], [release()])
    assert_published(publish(song, release()))
    assert listed(song) == [release()]
    assert_accepted(retract(song, "v1.0.0"))
    assert listed(song) == []


def test_L03_a_caller_who_may_not_push_may_not_publish(estate, stranger, address):
    for slug in ("pub", "priv", "none"):
        anonymous = ask(
            "releases", "POST", f"/{estate}/{slug}/releases", release(), source_ip=address
        )
        assert_refused(anonymous, 401, "unauthorized")
    assert_refused(publish(estate, release(), slug="pub", by=stranger), 403, "forbidden")
    for slug in ("priv", "gone", "none"):
        assert_absent(publish(estate, release(), slug=slug, by=stranger))


BAD: list[tuple[str, Record]] = [
    ("a channel that is none", {"channel": "gamma"}),
    ("a channel that is no text", {"channel": 1}),
    ("an empty tag", {"tag": ""}),
    ("a tag of 101 characters", {"tag": "v" * 101}),
    ("a newline in the tag", {"tag": "v1.0.0\n"}),
    ("an escape in the tag", {"tag": "v1\x1b[2J"}),
    ("a tag like a path", {"tag": "../../x"}),
    ("a tag of empty parts", {"tag": "a//b"}),
    ("a tag that ends in a slash", {"tag": "a/"}),
    ("a percent sign in the tag", {"tag": "v1%2E0"}),
    ("a tag that is no text", {"tag": 7}),
    ("no release id", {"release_id": ""}),
    ("a release id of 129 characters", {"release_id": "i" * 129}),
    ("a commit id that is none", {"commit_id": "../x"}),
    ("a negative version", {"semver": {"major": -1, "minor": 0, "patch": 0}}),
    ("a version of thirteen digits", {"semver": {"major": 10**12, "minor": 0, "patch": 0}}),
    ("a version in words", {"semver": {"major": "one"}}),
    ("a version that is a text", {"semver": "1.0.0"}),
    ("a changelog that is no list", {"changelog": {"a": 1}}),
    ("a changelog of texts", {"changelog": ["one"]}),
    ("a draft of sorts", {"is_draft": "yes"}),
    ("a title that is a list", {"title": ["One"]}),
]


@pytest.mark.parametrize("spoilt", [case("L04", says, fields) for says, fields in BAD])
def test_a_release_that_no_list_could_show_is_refused(song, spoilt):
    assert_refused(publish(song, release(**spoilt)), 422)
    assert listed(song) == []


@pytest.mark.parametrize("name", ["release_id", "tag", "commit_id"])
def test_L04_three_fields_are_needed(song, name):
    for record in ({k: v for k, v in release().items() if k != name}, release() | {name: None}):
        assert_refused(publish(song, record), 422, naming=[name])


def test_L04_bytes_are_refused(song):
    assert_refused(publish(song, release(title=b"One"), form=MSGPACK), 422)
    assert_refused(publish(song, release(more={"deep": [b"x"]}), form=MSGPACK), 422)


@pytest.mark.parametrize(
    "commit", [case("L05", "nowhere", UNKNOWN), case("L05", "in another repository only", C3)]
)
def test_the_commit_has_to_be_in_this_repository(song, commit):
    pushed(song, "other", C1, C2, C3)
    assert_refused(publish(song, release(commit=commit)), 422, "missing_reference", naming=[commit])
    assert listed(song) == []


def test_L05_a_release_creates_no_repository(owner):
    assert_refused(publish(owner, release()), 422, "missing_reference")
    assert client.heads(owner, "song", by=owner) == {}
    assert listed(owner, by=owner) == []


# ── Listing ───────────────────────────────────────────────────────────────────────────────────────


def test_L06_a_release_comes_back_as_it_was_sent(song, address):
    record = release(
        semver={
            "major": 2,
            "minor": 3,
            "patch": 2**31,
            "pre": "beta.1",
            "build": "b7",
            "extra": [1],
        },
        changelog=[entry(C2, reviewed_by=["Bob"]), entry(C1, author="")],
        created_at="2026-01-01T02:00:00+02:00",
        a_field_of_tomorrow={"deep": [None, 1.5, "x"]},
    )
    assert_published(publish(song, record))
    assert listed(song, source_ip=address) == [record]


def test_L06_nothing_that_a_client_prints_is_null(song):
    sent = release(
        semver=None,
        title=None,
        gpg_signature=None,
        snapshot_id=None,
        is_draft=None,
        changelog=[{"author": None}],
    )
    assert_published(publish(song, sent))
    assert_published(publish(song, {"release_id": "few", "tag": "v2.0.0", "commit_id": C1}))
    for record in listed(song):
        assert record.keys() >= FIELDS
        assert record["semver"].keys() == {"major", "minor", "patch", "pre", "build"}
        assert None not in [
            *record.values(),
            *record["semver"].values(),
            *(v for e in record["changelog"] for v in e.values()),
        ]
    assert {record["gpg_signature"] for record in listed(song)} == {""}


def test_L06_the_newest_comes_first_whatever_the_time_zone(song):
    times = {
        "b": "2026-01-01T01:30:00+02:00",  # half an hour before midnight
        "d": "2026-01-01T00:00:00.000002Z",
        "c": "2026-01-01T00:00:00.000001",
        "a": "2025-12-31T23:29:59+00:00",
    }
    for tag, created_at in times.items():
        assert_published(publish(song, release(tag, created_at=created_at)))
    assert tags(song) == ["d", "c", "b", "a"]


def test_L06_a_time_that_is_none_comes_back_and_counts_from_its_arrival(song):
    for tag, created_at in (("a", "yesterday"), ("b", ""), ("c", "0001-01-01T00:00:00+14:00")):
        assert_published(publish(song, release(tag, created_at=created_at)))
    assert [record["created_at"] for record in listed(song)] == [
        "",
        "yesterday",
        "0001-01-01T00:00:00+14:00",
    ]


def test_L06_private_releases_are_for_readers(estate, stranger, address):
    assert_published(publish(estate, release(), slug="priv"))
    for who in ({"source_ip": address}, {"by": stranger}):
        for slug in ("priv", "gone", "none"):
            assert_absent(listing(estate, slug=slug, **who))
    assert tags(estate, slug="priv", by=estate) == ["v1.0.0"]


def test_L07_a_list_can_be_read_in_pages(song):
    made = [f"v1.{n}.0" for n in range(7)]
    for n, tag in enumerate(made):
        assert_published(
            publish(song, release(tag, created_at=f"2026-01-01T00:00:0{n // 2}+00:00"))
        )
    seen, cursor, sizes = [], "", []
    while True:
        page = assert_accepted(listing(song, f"limit=3&cursor={cursor}"))
        sizes.append(len(page["releases"]))
        seen += [record["tag"] for record in page["releases"]]
        if "next_cursor" not in page:
            break
        cursor = page["next_cursor"]
    assert (seen, sizes) == (made[::-1], [3, 3, 1])


def test_L07_a_retraction_between_two_pages_does_not_break_the_next_page(song):
    for n in range(5):
        assert_published(publish(song, release(f"v{n}", created_at=f"2026-01-0{n + 1}")))
    page = assert_accepted(listing(song, "limit=2"))
    assert [record["tag"] for record in page["releases"]] == ["v4", "v3"]
    for tag in ("v3", "v2"):
        assert_accepted(retract(song, tag))
    assert_published(publish(song, release("v3", created_at="2026-01-06")))
    assert tags(song, f"cursor={page['next_cursor']}") == ["v1", "v0"]
    assert tags(song) == ["v3", "v4", "v1", "v0"]


def test_L07_a_page_fits_in_one_reply_of_lambda(song):
    for n in range(4):
        body = "lorem ipsum " * 150_000  # 1.8 MB that compress well
        assert_published(
            publish(song, release(f"v{n}.0.0", body=body, created_at=f"2026-01-0{n + 1}"))
        )
    first = listing(song)
    assert len(first.body) < 4_500_000
    assert [record["tag"] for record in first.value["releases"]] == ["v3.0.0", "v2.0.0"]
    assert tags(song, f"cursor={first.value['next_cursor']}") == ["v1.0.0", "v0.0.0"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=%00",
        "cursor=v1.0.0",
        "cursor=" + "a" * 300,
        "include_drafts=perhaps",
    ],
)
def test_L07_a_query_that_means_nothing_is_refused(song, query):
    assert_refused(listing(song, query), 422)


def test_L08_drafts_are_for_writers(song, stranger, address):
    assert_published(publish(song, release("v1.0.0")))
    assert_published(
        publish(song, release("v2.0.0", is_draft=True, created_at="2026-02-01T00:00:00+00:00"))
    )
    assert tags(song, by=song) == ["v1.0.0"]
    assert tags(song, "include_drafts=1", by=song) == ["v2.0.0", "v1.0.0"]
    assert tags(song, "include_drafts=0", by=song) == ["v1.0.0"]
    for who in ({"by": stranger}, {"source_ip": address}):
        assert tags(song, "include_drafts=1", **who) == ["v1.0.0"]


def test_L09_a_channel_can_be_chosen(song):
    for n, channel in enumerate(("stable", "beta", "alpha", "nightly", "beta")):
        assert_published(
            publish(song, release(f"v{n}.0.0", channel=channel, created_at=f"2026-01-0{n + 1}"))
        )
    assert tags(song, "channel=beta") == ["v4.0.0", "v1.0.0"]
    assert tags(song, "channel=stable") == ["v0.0.0"]
    assert_refused(listing(song, "channel=gamma"), 422, naming=["channel"])


# ── Limits ────────────────────────────────────────────────────────────────────────────────────────


def test_L10_five_hundred_changes_are_taken_and_one_more_is_not(song):
    changes = [entry(ids.object_id(str(n).encode()), message=f"change {n}") for n in range(501)]
    assert_refused(publish(song, release(changelog=changes)), 413, "too_large")
    record = release(changelog=changes[:500])
    assert_published(publish(song, record))
    assert listed(song) == [record]


@pytest.mark.parametrize(
    "body",
    [
        case("L10", "too much for a row", os.urandom(200_000).hex() * 2),
        case("L10", "too much, if it were not compressed", "x" * 2_200_000),
        case("L10", "too much to read", "x" * 5_000_000),
    ],
)
def test_a_release_that_does_not_fit_is_refused_with_a_reason(song, body):
    assert_refused(publish(song, release(body=body)), 413, "too_large")
    assert listed(song) == []


# ── Retracting ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        case("L11", "a plain tag", "v1.0.0", "v1.0.0"),
        case("L11", "a plus", "v2.0.0-beta.1+b7", "v2.0.0-beta.1%2Bb7"),
        case("L11", "a plus as it is", "v2.0.0+b7", "v2.0.0+b7"),
        case("L11", "slashes", "album/song/2.0.0", "album%2Fsong%2F2.0.0"),
        case("L11", "slashes as they are", "album/song/2.0.0", "album/song/2.0.0"),
    ],
)
def test_a_release_is_retracted_by_its_tag(song, tag, path):
    assert_published(publish(song, release("v0.9.0")))
    assert_published(publish(song, release(tag)))
    assert assert_accepted(retract(song, path)) == {"retracted": tag}
    assert tags(song) == ["v0.9.0"]
    assert_published(publish(song, release(tag, C2, release_id="another")))  # the tag is free again


def test_L12_an_absent_release_cannot_be_retracted(song):
    assert_refused(retract(song, "v1.0.0"), 404, "release_not_found")
    assert_published(publish(song, release()))
    assert_accepted(retract(song, "v1.0.0"))
    assert_refused(retract(song, "v1.0.0"), 404, "release_not_found")


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5])
def test_L12_a_retraction_cut_short_has_happened_or_not(song, calls):
    assert_published(publish(song, release()))
    with cut_after(calls) as cut:
        answer = retract(song, "v1.0.0")
    assert cut.happened
    if answer.status == 503:
        assert calls <= 4
        assert retract(song, "v1.0.0").status == (200 if calls < 4 else 404)
    assert listed(song) == []
    assert_published(publish(song, release(title="another")))
    assert [record["title"] for record in listed(song)] == ["another"]


def test_L13_a_caller_who_may_not_push_may_not_retract(estate, stranger, address):
    pushed(estate, "shop", C1)
    assert_published(publish(estate, release(), slug="shop"))
    assert_refused(
        retract(estate, "v1.0.0", slug="shop", by=None, source_ip=address), 401, "unauthorized"
    )
    assert_refused(retract(estate, "v1.0.0", slug="shop", by=stranger), 403, "forbidden")
    for slug in ("priv", "gone", "none"):
        assert_absent(retract(estate, "v1.0.0", slug=slug, by=stranger))
    assert tags(estate, slug="shop", by=estate) == ["v1.0.0"]


@pytest.mark.parametrize(
    "tag",
    [
        "..%2F..%2Fx",
        "../../x",
        "%2e%2e",
        "v1.0.0%00",
        "v1.0.0%0A",
        "%2Fetc%2Fpasswd",
        "a" * 2000,
        "%25%32%65",
        "é",
        "%FF",
    ],
)
def test_L14_a_hostile_tag_is_no_tag(song, tag):
    assert_published(publish(song, release()))
    assert_refused(retract(song, tag), 404, "release_not_found")
    assert tags(song) == ["v1.0.0"]


def test_L14_a_tag_of_another_repository_is_no_tag(song):
    pushed(song, "other", C1)
    assert_published(publish(song, release(), slug="other"))
    assert_refused(retract(song, "v1.0.0"), 404, "release_not_found")
    assert tags(song) == []
    assert tags(song, slug="other") == ["v1.0.0"]


def test_L15_a_release_in_msgpack_is_a_release(song):
    assert_published(publish(song, release(), form=MSGPACK))
    assert_published(publish(song, release(), form=JSON))
    assert listed(song) == [release()]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        case("L15", "a list", [release()], 400, "malformed_body"),
        case("L15", "a text", "v1.0.0", 400, "malformed_body"),
        case("L15", "an empty map", {}, 422, "invalid"),
        case("L15", "too large a number", release(semver={"major": 2**64}), 400, "malformed_body"),
    ],
)
def test_a_body_that_is_no_map_is_refused(song, body, status, code):
    assert_refused(publish(song, body), status, code)


def test_L15_a_body_that_is_neither_json_nor_msgpack_is_refused(song):
    assert_refused(publish(song, release(), headers={"content-type": "text/plain"}), 415)


# ── Cost ──────────────────────────────────────────────────────────────────────────────────────────


def test_publishing_and_listing_cost_few_calls(song):
    for n in range(20):
        with Meter() as publishing:
            assert_published(publish(song, release(f"v1.{n}.0")))
    with Meter() as reading:
        assert len(listed(song)) == 20
    with Meter() as retracting:
        assert_accepted(retract(song, "v1.3.0"))
    assert_costs(publishing, 5, 4)
    assert_costs(reading, 4, 3)
    assert_costs(retracting, 6, 4)


@pytest.fixture
def shop(song):
    """A repository with 330 releases, of which the oldest is an alpha, every 30th a beta and 2 are
    drafts.
    """
    record = codec.pack_record(release())
    made = [
        Release(f"v{n}", f"id {n}", CommitId(C1), n // 2, "alpha" if n == 0 else "beta" if n % 30 == 0 else "stable",
                n in (100, 200), len(record), zlib.compress(record))
        for n in range(330)
    ]  # fmt: skip
    asyncio.get_event_loop().run_until_complete(_publish_all(song, made))
    return song


async def _publish_all(owner: str, made: list[Release]) -> None:
    stores = await selection.stores()
    repo = await stores.repos.get(owner, "song")
    assert repo
    releases = stores.of(repo).releases
    await asyncio.gather(*(releases.put_new(one) for one in made))


def pages(owner: str, query: str, calls: int, chain: int) -> list[int]:
    """The number of releases of each page, to the last page. Each page may make this many calls."""
    sizes, cursor = [], ""
    while True:
        with Meter() as meter:
            reply = assert_accepted(listing(owner, f"{query}&cursor={cursor}"))
        assert_costs(meter, calls, chain)
        sizes.append(len(reply["releases"]))
        if "next_cursor" not in reply:
            return sizes
        cursor = reply["next_cursor"]


def test_the_cost_of_a_page_depends_on_its_own_releases(shop):
    assert pages(shop, "limit=50", 4, 3) == [50] * 6 + [28]
    assert pages(shop, "limit=100", 5, 4) == [100] * 3 + [28]
    assert pages(shop, "", 7, 3) == [328]
    assert pages(shop, "channel=beta", 4, 3) == [10]
    assert pages(shop, "channel=beta&limit=4", 6, 5) == [4, 4, 2]


def test_a_page_does_not_look_for_ever(shop, monkeypatch):
    monkeypatch.setattr(actions, "MAX_READS", 2)
    assert pages(shop, "channel=alpha&limit=1", 5, 4) == [0, 1]
    assert pages(shop, "channel=nightly&limit=1", 5, 4) == [0, 0]


def test_a_repository_that_was_made_private_keeps_its_releases(song, stranger):
    assert_published(publish(song, release()))
    alter(song, "song", visibility="private")
    assert_absent(listing(song, by=stranger))
    assert tags(song, by=song) == ["v1.0.0"]
