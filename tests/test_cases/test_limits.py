"""Group 14: how often and how much.

Where requests are counted, the clock stands still unless a test moves it.
"""

from collections.abc import Iterator

import pytest

from shared import settings
from tests.builders import Clock, blob, commit
from tests.client import call, fetch, fetched_ids, push
from tests.test_cases.fixtures import (
    C1,
    MESSAGES,
    O3,
    assert_accepted,
    assert_refused,
    case,
    missing,
    on_manifest,
    pushed,
)

CLASSES = {
    "refs": "read",
    "negotiate": "read",
    "fetch": "fetch",
    "filter_objects": "upload",
    "presign": "upload",
    "staging": "upload",
    "push_objects": "upload",
    "push": "push",
}
"""What each endpoint counts as."""


def twice(function, owner, **who):
    """Uses up an allowance of two. The next request is one too many."""
    for _ in range(2):
        assert_accepted(call(function, owner, "song", MESSAGES[function], **who))


@pytest.fixture(scope="class")
def allowance_of_two(estate: str, merged: str) -> Iterator[None]:
    """Two requests a minute of each class."""
    with pytest.MonkeyPatch.context() as environment:
        for limit_class in set(CLASSES.values()):
            environment.setenv(f"PIERIA_LIMIT_{limit_class.upper()}", "2")
        settings.load.cache_clear()
        yield
    settings.load.cache_clear()


@pytest.fixture
def song(clock: Clock, owner: str) -> str:
    """The owner of `song`, who has not asked for anything in this minute."""
    pushed(owner, "song", C1)
    clock.now += 60
    return owner


@pytest.mark.usefixtures("allowance_of_two", "clock")
class TestAllowanceOfTwo:
    """Where the third request of a class in a minute is one too many."""

    @pytest.mark.parametrize(
        ("function", "limit_class"), [case("X01", f, f, c) for f, c in CLASSES.items()]
    )
    def test_one_request_too_many_gets_the_time_to_retry(self, clock, song, function, limit_class):
        twice(function, song, by=song)
        refused = call(function, song, "song", MESSAGES[function], by=song)
        assert_refused(refused, 429, "rate_limited", naming=[2, limit_class])
        assert refused.headers["retry-after"] == "40"
        clock.now += 39
        assert (
            call(function, song, "song", MESSAGES[function], by=song).headers["retry-after"] == "1"
        )
        clock.now += 1
        twice(function, song, by=song)

    def test_X01_one_class_used_up_leaves_the_others(self, song):
        twice("refs", song, by=song)
        assert_refused(call("negotiate", song, "song", MESSAGES["negotiate"], by=song), 429)
        for function in ("fetch", "filter_objects", "push"):
            twice(function, song, by=song)

    def test_X01_refused_requests_count_and_reveal_as_little(self, estate, stranger):
        answers = [
            call("refs", estate, slug, by=stranger)
            for slug in ("none", "priv", "pub", "none", "priv", "gone")
        ]
        for answer in answers[:2]:
            assert_refused(answer, 404, "repo_not_found")
        for answer in answers[2:]:
            assert_refused(answer, 429, "rate_limited")
        assert len({answer.body for answer in answers[2:]}) == 1

    def test_X01_of_a_push_too_many_nothing_is_kept(self, song):
        twice("push", song, by=song)
        new = blob(b"one too many\n")
        sent = on_manifest({"new.txt": new["object_id"]}) | {"objects": [new]}
        assert_refused(push(song, "song", sent, branch="new"), 429, "rate_limited")
        assert missing(song, "song", new["object_id"], O3) == {new["object_id"], O3}

    @pytest.mark.parametrize(
        "header",
        [
            case("X02", name, name)
            for name in ("x-forwarded-for", "x-real-ip", "forwarded", "client-ip")
        ],
    )
    def test_an_address_that_a_header_claims_is_no_new_address(self, merged, address, header):
        answers = [
            call("refs", merged, "song", headers={header: f"192.0.2.{number}"}, source_ip=address)
            for number in range(3)
        ]
        for answer in answers[:2]:
            assert_accepted(answer)
        assert_refused(answers[2], 429, "rate_limited")

    def test_X03_those_behind_one_address_have_an_allowance_each(
        self, merged, owner, stranger, address
    ):
        for who in ({"by": owner}, {"by": stranger}, {}):
            twice("refs", merged, source_ip=address, **who)
            assert_refused(
                call("refs", merged, "song", source_ip=address, **who), 429, "rate_limited"
            )

    def test_X03_one_user_at_three_addresses_has_one_allowance(self, merged, stranger):
        answers = [
            call("refs", merged, "song", by=stranger, source_ip=f"192.0.2.{number}")
            for number in range(3)
        ]
        for answer in answers[:2]:
            assert_accepted(answer)
        assert_refused(answers[2], 429, "rate_limited")


def test_X04_the_chunks_of_a_large_first_push_are_not_limited(clock, owner):
    """12,400 files come in 31 chunks. Chunks are counted, so small files suffice."""
    for number in range(31):
        chunk = {"objects": [blob(b"%d of %d" % (each, number)) for each in range(4)]}
        assert assert_accepted(call("push_objects", owner, "song", chunk, by=owner))["stored"] == 4


def test_a_clone_that_no_client_could_read_is_refused_whole_and_can_be_had_in_parts(owner):
    """Two commits of 33 MiB each: the stock client reads 64 MiB of a reply."""
    commits: list[str] = []
    for half in range(2):
        sent = [blob(bytes([half, number]) * (1_500 * 1_024)) for number in range(11)]
        assert_accepted(call("push_objects", owner, "song", {"objects": sent}, by=owner))
        tree = on_manifest({f"{number}.bin": o["object_id"] for number, o in enumerate(sent)})[
            "snapshots"
        ][0]
        record = commit(f"half {half}", commits[-1:], tree["snapshot_id"])
        assert_accepted(push(owner, "song", {"commits": [record], "snapshots": [tree]}))
        commits.append(record["commit_id"])
    first, second = commits
    assert_refused(fetch(owner, "song", [second], by=owner), 413, "too_large", naming=[64 * 2**20])
    commits_of_the_rest, _, objects_of_the_rest = fetched_ids(
        fetch(owner, "song", [second], [first], by=owner)
    )
    assert (commits_of_the_rest, len(objects_of_the_rest)) == ({second}, 11)
