"""Ids are those of the stock client."""

import pytest

from shared import ids

A, B = "a" * 64, "b" * 64
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
S = "e3056fa60a8146bd0017b84f1a6b8c23e5616255fa7d592773a6844ff1f36940"
MIDNIGHT = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", EMPTY),
        (b"hello\n", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"),
    ],
)
def test_an_object_is_named_by_its_bytes_alone(content, expected):
    assert ids.object_id(content) == expected


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        pytest.param({}, EMPTY, id="empty, like the empty object"),
        pytest.param({"b.txt": "1" * 64, "a/é.txt": "2" * 64}, S, id="given unsorted"),
        pytest.param(
            {"\uffee": A, "\U0001f600": B},
            "6fc5828566e86e5fd90ab2a1c815ffb3c7fe87fb7801ba75c0527bb4d1006309",
            id="sorted by code point, not by UTF-16 unit",
        ),
    ],
)
def test_a_snapshot_is_named_by_its_sorted_manifest(manifest, expected):
    assert ids.snapshot_id(manifest) == expected
    assert ids.snapshot_id(dict(reversed(manifest.items()))) == expected


@pytest.mark.parametrize(
    ("parents", "message", "committed_at", "expected"),
    [
        pytest.param(
            [],
            "init",
            MIDNIGHT,
            "88b6b0e96c41948be24f0865061722cd960511bf8d6113c1be2ef62dab9c4d17",
            id="root",
        ),
        pytest.param(
            [A],
            "näch\nste",
            "2026-01-01T00:00:00.000001+00:00",
            "717e5b6a9327c99da4432f33b960ba4e24d560726f0c583560dc4846954b036d",
            id="one parent, two lines, microseconds",
        ),
        pytest.param(
            [A, B],
            "",
            MIDNIGHT,
            "2e3a2edc1f2e49c2585f8c05ea43fd56168bc075f3c2cf75d2bfbe7081c8a170",
            id="merge",
        ),
        pytest.param(
            [B, A],
            "",
            MIDNIGHT,
            "2e3a2edc1f2e49c2585f8c05ea43fd56168bc075f3c2cf75d2bfbe7081c8a170",
            id="merge, parents swapped",
        ),
        pytest.param(
            [A, A],
            "m",
            MIDNIGHT,
            "17c8b36889566071f387b77783fd72c933d824e4f4ca0875113f9a8b79382fa1",
            id="the same parent twice",
        ),
    ],
)
def test_a_commit_is_named_by_parents_snapshot_message_and_time(
    parents, message, committed_at, expected
):
    assert ids.commit_id(parents, S, message, committed_at) == expected


def test_a_commit_without_a_snapshot_hashes_an_empty_one():
    assert ids.commit_id([], None, "m", MIDNIGHT) == ids.commit_id([], "", "m", MIDNIGHT)


def test_the_text_of_the_time_counts_not_the_moment():
    same_moment = "2026-01-01T01:00:00+01:00"
    assert ids.commit_id([], S, "m", MIDNIGHT) != ids.commit_id([], S, "m", same_moment)
