"""Group 7: POST push with false data, or data that would harm a clone.

For bodies see `test_bodies`.
"""

import hashlib
from functools import partial
from typing import Any

import pytest

from tests.builders import Record, commit
from tests.client import fetch, heads, push
from tests.test_cases import fixtures
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    COMMITS,
    CX,
    O1,
    O2,
    S1,
    S2,
    SNAPSHOTS,
    UNKNOWN,
    M,
    R,
    assert_accepted,
    assert_nothing_stored,
    assert_refused,
    blobs,
    bundle,
    case,
    on_manifest,
    pushed,
    spoilt,
    texts,
    truly,
)

LISTED = {
    "O0": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "O1": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    "O3": "5eef8098ed6ec0a16249fc7c12422027fc9fd75b16130cc9382cf09102014796",
    "S0": "8898e4f834cb73c5a83632415dba0b87ae4c1af5d5fe5c784731a5e7087db000",
    "S2": "ae654f8d26253a1f252a61b9458e3cce38f3d9402a4ec8abfcf508107cb6fc79",
    "S3": "8c70b007d391cd0a88e7a6656b33226ea1886fcf6e93dfaca6c040670190dbc4",
    "C2": "253d8c14be55d77c3c8d995fa0a457753d66f254e337500abb069045d2dfbbd5",
    "C3": "271a3d7346b366e96d4583cf48d9be8587b5d8af3bb7f82c3d42a089cfc6a7db",
    "CX": "c543b1b7afcd0d80c7909b9bbdf04d5c59c7c33bccca336a6bc62b745e9a58db",
    "M": "6bbc6bf92784bb16dcc4dc2af05603d76a2c0bdf97d362e9b75a2fd6cb9cdb39",
    "R": "d5f6275f7309c94571600dfac03da54021284884aa77a630b2615a8fd92ecbc6",
    "CE": "5a411b0aa15704c4b1e6555aacbbf563bde198f48b8adceb994622cc5d79498b",
}
"""The id that the reference client computes."""


def on_s1(*commits: Record) -> Record:
    """A push of commits on S1, which comes along."""
    return truly(*commits, on=[SNAPSHOTS[S1]])


def test_the_ids_are_those_that_the_reference_client_derives():
    assert {name: getattr(fixtures, name) for name in LISTED} == LISTED
    for object_id, content in fixtures.CONTENTS.items():
        assert hashlib.sha256(content).hexdigest() == object_id


@pytest.mark.parametrize(
    "fields",
    [
        case("I01", "one byte of the message", {"message": "onE"}),
        case("I01", "the time", {"committed_at": "2026-01-01T00:00:01+00:00"}),
        case("I01", "the same time written otherwise", {"committed_at": "2026-01-01T00:00:00Z"}),
        case("I01", "the snapshot", {"snapshot_id": S2}),
        case("I01", "no snapshot", {"snapshot_id": None}),
        case("I01", "a parent", {"parent_commit_id": C2}),
        case("I01", "a second parent", {"parent2_commit_id": C2}),
        case("I02", "the digest of something else", {"commit_id": UNKNOWN}),
    ],
)
def test_the_id_of_a_commit_is_checked(owner, fields):
    assert_refused(
        push(owner, "song", spoilt(C1, **fields)),
        422,
        "hash_mismatch",
        naming=[fields.get("commit_id", C1)],
    )
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "commit_id",
    [
        case("I02", "words", "not-a-hash"),
        case("I02", "a path", "../../../x"),
        case("I02", "65 characters", C1 + "0"),
        case("I02", "63 characters", C1[:-1]),
        case("I02", "upper-case hex", C1.upper()),
        case("I02", "a prefix", f"sha256:{C1}"),
        case("I02", "a newline after it", C1 + "\n"),
        case("I02", "empty", ""),
        case("I02", "null", None),
        case("I02", "a number", 1),
    ],
)
def test_a_commit_with_a_digest_in_it_is_named_by_a_digest(owner, commit_id):
    assert_refused(push(owner, "song", spoilt(C1, commit_id=commit_id)), 422)
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "manifest",
    [
        case("I03", "another object", {"a.txt": O2}),
        case("I03", "another path", {"b.txt": O1}),
        case("I03", "a file more", {"a.txt": O1, "b.txt": O2}),
        case("I03", "no files", {}),
    ],
)
def test_the_id_of_a_snapshot_is_checked(owner, manifest):
    sent = bundle(C1) | {
        "snapshots": [SNAPSHOTS[S1] | {"manifest": manifest}],
        "objects": blobs(O1, O2),
    }
    assert_refused(push(owner, "song", sent), 422, "hash_mismatch", naming=[S1])
    assert_nothing_stored(owner)


@pytest.mark.parametrize("known", [case("I03", "new", False), case("I03", "stored already", True)])
def test_the_id_of_an_inline_object_is_checked(owner, known):
    if known:
        pushed(owner, "song", C1)
    sent = bundle(C1) | {"objects": [{"object_id": O1, "content": b"hellO\n"}]}
    assert_refused(push(owner, "song", sent), 422, "hash_mismatch", naming=[O1])


@pytest.mark.parametrize(
    ("sent", "lacking"),
    [
        case("I04", "the snapshot", bundle(C1) | {"snapshots": []}, S1),
        case("I05", "the parent", bundle(C2), C1),
        case("I05", "the second parent", bundle(C1, C2, M), CX),
        case("I05", "the grandparent", bundle(C2, C3), C1),
        case("I06", "the object", bundle(C1, objects=False), O1),
        case("I06", "one of two objects", bundle(C1, C2) | {"objects": blobs(O1)}, O2),
    ],
)
@pytest.mark.parametrize("force", [False, True], ids=["unforced", "forced"])
def test_a_push_that_refers_to_an_unknown_id_gets_its_name(owner, sent, lacking, force):
    assert_refused(
        push(owner, "song", sent, force=force), 422, "missing_reference", naming=[lacking]
    )
    assert heads(owner, "song", by=owner) == {}


def test_I05_a_gap_above_the_head_is_no_conflict(owner):
    pushed(owner, "song", C1)
    assert_refused(push(owner, "song", bundle(C3)), 422, "missing_reference", naming=[C2])
    assert heads(owner, "song") == {"main": C1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        case("I07", "two commits, by digests", "a" * 64, "b" * 64),
        case("I07", "two commits, by opaque ids", "aa", "bb"),
        case("I07", "one commit, by an opaque id", "aa", "aa"),
    ],
)
def test_commits_that_are_each_others_parents_are_refused(owner, one, other):
    sent = [
        commit("one") | {"commit_id": one, "parent_commit_id": other},
        commit("one") | {"commit_id": other, "parent_commit_id": one},
    ]
    assert_refused(push(owner, "song", {"commits": sent}), 422)
    assert heads(owner, "song", by=owner) == {}


HASHED = {
    "message": "another",
    "committed_at": "2026-02-02T00:00:00+00:00",
    "snapshot_id": S2,
    "parent_commit_id": C2,
}


@pytest.mark.parametrize("field", [case("I08", field, field) for field in HASHED])
def test_a_known_commit_cannot_be_sent_again_as_another(owner, field):
    pushed(owner, "song", C1, C2)
    sent = spoilt(C1, **{field: HASHED[field]})
    assert_refused(push(owner, "song", sent, branch="again"), 422, "hash_mismatch", naming=[C1])
    assert heads(owner, "song") == {"main": C2}


@pytest.mark.parametrize(
    "fields",
    [
        case("I08", "message", {"message": "another"}),
        case("I08", "time", {"committed_at": "2026-02-02T00:00:00+00:00"}),
        case("I08", "parent", {"parent_commit_id": None}),
        case("I08", "snapshot", {"snapshot_id": "snap_2"}),
    ],
)
def test_a_known_opaque_commit_cannot_be_sent_again_as_another(owner, fields):
    first, second = (commit(text) | {"commit_id": text} for text in ("opaque-1", "opaque-2"))
    assert_accepted(
        push(owner, "song", {"commits": [first, second | {"parent_commit_id": "opaque-1"}]})
    )
    again = second | {"parent_commit_id": "opaque-1"} | fields
    assert_refused(
        push(owner, "song", {"commits": [again]}, branch="again"), 422, naming=["opaque-2"]
    )
    assert heads(owner, "song") == {"main": "opaque-2"}


def test_I08_one_opaque_id_is_not_two_commits_of_one_push(owner):
    sent = [commit(text) | {"commit_id": "opaque-1"} for text in ("one", "another")]
    assert_refused(push(owner, "song", {"commits": sent}), 422, naming=["opaque-1"])


def test_I09_the_first_record_of_a_commit_stays(owner):
    pushed(owner, "song", C1)
    assert_accepted(
        push(owner, "song", spoilt(C1, author="Eve", metadata={"section": "coda"}, test_runs=7))
    )
    (record,) = assert_accepted(fetch(owner, "song", [C1], by=owner))["commits"]
    assert {key: record[key] for key in ("author", "metadata", "test_runs")} == {
        key: COMMITS[C1][key] for key in ("author", "metadata", "test_runs")
    }


@pytest.mark.parametrize(
    ("field", "text"),
    [
        case("I10", "in the message", "message", "one\0two"),
        case("I10", "at the message's end", "message", "one\0"),
        case("I10", "in the time", "committed_at", "2026-01-01\0T00:00:00+00:00"),
    ],
)
def test_a_commit_that_holds_a_nul_is_refused_though_its_id_is_true(owner, field, text):
    fields: dict[str, Any] = {"message": "one", field: text}
    assert_refused(
        push(owner, "song", on_s1(commit(snapshot_id=S1, **fields))), 422, naming=["NUL"]
    )
    assert_nothing_stored(owner)


def test_I11_a_one_parent_commit_cannot_pass_for_a_merge(owner):
    """Both records hash the same text: `parent NUL parent NUL snapshot NUL message NUL time`."""
    first, second = sorted([C1, R])
    merge = commit("merge", [first, second], S1)
    forged = commit(f"{S1}\0merge", [first], second)
    assert forged["commit_id"] == merge["commit_id"]
    pushed(owner, "song", C1)
    pushed(owner, "song", R, branch="other")
    assert_refused(push(owner, "song", truly(forged), force=True), 422)
    assert heads(owner, "song") == {"main": C1, "other": R}
    assert_accepted(push(owner, "song", truly(merge)))


@pytest.mark.parametrize(
    "parents",
    [
        case("I12", "in the order of their ids", sorted([C1, R])),
        case("I12", "against the order of their ids", sorted([C1, R], reverse=True)),
        case("I12", "one of them twice", [C1, C1]),
    ],
)
def test_the_parents_of_a_merge_stay_in_their_order(owner, parents):
    pushed(owner, "song", C1)
    pushed(owner, "song", R, branch="other")
    merge = commit("merge", parents, S1)
    assert_accepted(push(owner, "song", truly(merge)))
    (record,) = assert_accepted(fetch(owner, "song", [merge["commit_id"]], [C1, R], by=owner))[
        "commits"
    ]
    assert [record["parent_commit_id"], record["parent2_commit_id"]] == parents


def test_I13_a_commit_of_three_parents_cannot_be_verified(owner):
    pushed(owner, "song", C1, C2)
    pushed(owner, "song", R, branch="other")
    hashed = commit("octopus", [C1, C2, R], S1)
    for shown in ([C1, C2], [C2, R], [C1, R]):
        parents = dict(zip(("parent_commit_id", "parent2_commit_id"), shown, strict=True))
        answer = push(owner, "song", truly(hashed | parents), force=True)
        assert_refused(answer, 422, "hash_mismatch", naming=[hashed["commit_id"]])
    assert heads(owner, "song") == {"main": C2, "other": R}


def test_I14_paths_are_hashed_in_the_order_of_their_code_points(owner):
    """UTF-16 puts U+1F600 before U+FFEE, UTF-8 and code points after it."""
    sent = on_manifest({"\uffee": O1, "\U0001f600": O2}) | {"objects": blobs(O1, O2)}
    (astral,) = sent["snapshots"]
    assert (
        astral["snapshot_id"] == "cd3fb6bb2cbda74bc2704d0e571e4c5683d2830fb8d02aa2c64de86092dc9ac5"
    )
    record = commit(
        "astral", snapshot_id=astral["snapshot_id"], committed_at="2026-01-01T00:07:00+00:00"
    )
    assert record["commit_id"] == "69af2a7941f1acae91988b5b0ca03b63acedfc00e58457b8907bb154706cce7d"
    assert_accepted(push(owner, "song", sent | {"commits": [record]}))
    (stored,) = assert_accepted(fetch(owner, "song", [record["commit_id"]], by=owner))["snapshots"]
    assert stored == astral


@pytest.mark.parametrize(
    "path",
    texts(
        "I15",
        "a.txt",
        "deep/er/and/deep/er.txt",
        ".museignore",
        ".museattributes",
        ".gitignore",
        ".github/x",
        "sub/.hidden",
        "a.git/x",
        "git",
        "muse/x",
        "...",
        "a..b",
        " spaces  in it ",
        "-dash",
        "~^:?*[]",
        "caf\u00e9/cafe\u0301",
        "\U0001f600",
        "c" * 255,
        "/".join(["d" * 255] * 16),
    ),
)
def test_an_ordinary_path_is_kept(owner, path):
    sent = on_manifest({path: O1})
    assert_accepted(push(owner, "song", sent))
    (stored,) = assert_accepted(fetch(owner, "song", [sent["commits"][0]["commit_id"]], by=owner))[
        "snapshots"
    ]
    assert stored["manifest"] == {path: O1}


@pytest.mark.parametrize(
    "path",
    texts(
        "I16",
        "../x",
        "..",
        "/etc/x",
        "a//b",
        "a/",
        "./a",
        ".",
        "a/.",
        "a/./b",
        "a/../b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\x1bb",
        "a\x7fb",
        "a\x85b",
        "",
        "e" * 256,
        "\u00e9" * 128,
        "/".join(["f" * 255] * 16 + ["f"]),
    )
    + texts(
        "I17",
        ".muse/config.toml",
        ".muse",
        ".MUSE/x",
        "sub/.muse/x",
        ".git/config",
        ".Git/hooks/x",
        "sub/.GIT",
        ".git./config",
        ".git /config",
        ".muse. ./config",
        "GIT~1/config",
        ".git::$INDEX_ALLOCATION/config",
        ".g\u200cit/config",
    ),
)
def test_a_path_that_a_checkout_must_not_write_is_refused(owner, path):
    assert_refused(
        push(owner, "song", on_manifest({"fine.txt": O1, path: O1})), 422, "invalid_name"
    )
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "paths",
    [
        case("I18", "a file and a file in it", ["r", "r/x"]),
        case("I18", "a file and a file deep in it", ["r", "r/x/y/z"]),
        case("I18", "with a neighbour that sorts between", ["r", "r-x", "r/x"]),
        case("I18", "below the top", ["s/r", "s/r/x"]),
    ],
)
def test_a_path_cannot_be_a_file_and_a_folder(owner, paths):
    assert_refused(push(owner, "song", on_manifest(dict.fromkeys(paths, O1))), 422, "invalid_name")
    assert_nothing_stored(owner)


def test_I18_names_that_begin_alike_are_no_folders_of_each_other(owner):
    assert_accepted(
        push(owner, "song", on_manifest(dict.fromkeys(["r", "r.x", "rx/y", "rxy", "s/r/x"], O1)))
    )


@pytest.mark.parametrize(
    "entries", [case("I19", f"{entries}", entries) for entries in (0, 10_000, 10_001)]
)
def test_a_large_manifest_is_taken(owner, entries):
    sent = on_manifest({f"{number}.txt": O1 for number in range(entries)})
    assert_accepted(push(owner, "song", sent))
    (stored,) = assert_accepted(fetch(owner, "song", [sent["commits"][0]["commit_id"]], by=owner))[
        "snapshots"
    ]
    assert stored == sent["snapshots"][0]


def test_I19_a_manifest_above_the_limit_is_refused_with_the_limit(owner):
    sent = on_manifest({f"{number}.txt": O1 for number in range(50_001)})
    assert_refused(push(owner, "song", sent), 413, "too_large", naming=[50_000])


@pytest.mark.parametrize(
    "object_id",
    [
        case("I20", "an opaque id", "opaque-1"),
        case("I20", "upper-case hex", O1.upper()),
        case("I20", "63 digits", O1[:-1]),
        case("I20", "a path", "../x"),
        case("I20", "empty", ""),
    ],
)
def test_a_manifest_lists_digests(owner, object_id):
    assert_refused(
        push(owner, "song", on_manifest({"a.txt": O1, "b.txt": object_id})), 422, "invalid_name"
    )
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "object_id", [case("I20", "null", None), case("I20", "a number", 1), case("I20", "bytes", b"x")]
)
def test_a_manifest_lists_texts(owner, object_id):
    sent = bundle(C1)
    sent["snapshots"][0]["manifest"]["a.txt"] = object_id
    assert_refused(push(owner, "song", sent), 422)
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "branch",
    texts(
        "I21",
        "a\\b",
        "a\0b",
        "a\rb",
        "a\nb",
        "a\tb",
        ".a",
        "a.",
        "a..b",
        "..",
        ".",
        "a//b",
        "/a",
        "/etc/x",
        "a/",
        "/",
        "../../x",
    )
    + texts(
        "I22",
        "a/./b",
        "a/.b",
        "a./b",
        "a/../b",
        "a\x1bb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "\u00e9" * 200,
        "a/" + "\u00e9" * 128,
    )
    + [
        case("I24", "empty", ""),
        case("I24", "256 characters", "b" * 256),
        case("I24", "256 characters in short parts", "/".join(["b" * 63] * 4) + "b"),
    ],
)
def test_a_branch_that_a_clone_must_not_write_is_refused(owner, branch):
    assert_refused(push(owner, "song", bundle(C1), branch=branch), 422, "invalid_name")
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "branch",
    texts(
        "I24",
        "b" * 255,
        "/".join(["b" * 63] * 4),
        "\u00e9" * 127 + "b",
        "feature/x",
        "a/b/c/d",
        "release-1.0.2",
        "HEAD",
        "a b",
        "~^:?*[",
        "-a",
        "x@{1}",
        "a.lock",
        "#1",
        "caf\u00e9",
    ),
)
def test_any_other_branch_is_taken(owner, branch):
    assert pushed(owner, "song", C1, branch=branch)["branch_heads"] == {branch: C1}
    assert heads(owner, "song") == {branch: C1}


@pytest.mark.parametrize(
    ("existing", "branch"),
    [
        case("I23", "below a branch", "feature", "feature/x"),
        case("I23", "deep below a branch", "feature", "feature/x/y"),
        case("I23", "above a branch", "feature/x", "feature"),
        case("I23", "far above a branch", "feature/x/y", "feature"),
    ],
)
def test_a_branch_cannot_be_a_folder_of_another(owner, existing, branch):
    pushed(owner, "song", C1, branch=existing)
    assert_refused(
        push(owner, "song", bundle(C1), branch=branch),
        422,
        "branch_clash",
        naming=[existing, branch],
    )
    assert_refused(push(owner, "song", bundle(C1), branch=branch, force=True), 422, "branch_clash")
    assert heads(owner, "song") == {existing: C1}


def test_I23_branches_of_one_folder_stand_beside_each_other(owner):
    for branch in ("feature/x", "feature/y", "feature-x", "features"):
        pushed(owner, "song", C1, branch=branch)
    assert set(heads(owner, "song")) == {"feature/x", "feature/y", "feature-x", "features"}


def test_I23_of_a_branch_and_one_below_it_created_at_once_one_is_refused(owner, at_once):
    pushed(owner, "song", C1)
    pair = ["feature", "feature/x"]
    answers = at_once([partial(push, owner, "song", bundle(C1), branch=branch) for branch in pair])
    won = [branch for answer, branch in zip(answers, pair, strict=True) if answer.status == 200]
    assert len(won) == 1
    for answer in answers:
        if answer.status != 200:
            assert_refused(answer, 422, "branch_clash")
    assert heads(owner, "song") == {"main": C1, won[0]: C1}
