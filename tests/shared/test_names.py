"""Which names are let in. Each refused one would make a clone crash, or write where it must not."""

import json
import posixpath
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared import names
from shared.errors import BranchClash, InvalidName, TooLarge

A = "a" * 64
FACE = "\U0001f600"  # one character, four bytes

# ── Ids ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [A, "0123456789abcdef" * 4], ids=["all alike", "every digit"])
def test_a_digest_is_an_id(value):
    assert names.is_digest(value)
    assert names.check_id(value, "commit") == value


@pytest.mark.parametrize(
    "value",
    ["c1", "snap-1", "a.b_c:d", "7", "x" * 62, "x" * 66, "x" * 128, "v1.2.3"],
)
def test_a_short_opaque_id_is_an_id_but_no_digest(value):
    assert not names.is_digest(value)
    assert names.check_id(value, "commit") == value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(A + "\n", id="a digest and a newline"),
        pytest.param("\n" + A, id="a newline and a digest"),
        pytest.param("c1\n", id="an opaque id and a newline"),
        pytest.param("A" * 64, id="upper case"),
        pytest.param("a" * 63 + "F", id="one upper-case digit"),
        pytest.param("a" * 63, id="one digit short"),
        pytest.param("a" * 65, id="one digit long"),
        pytest.param("a" * 60, id="four digits short"),
        pytest.param("a" * 128, id="a SHA-512"),
        pytest.param("g" * 64, id="64 letters that are no digits"),
        pytest.param("sha256:" + A, id="a digest with its algorithm"),
        pytest.param("sha256:ab", id="a short one with its algorithm"),
        pytest.param("x-" + A, id="a digest with a prefix"),
        pytest.param(A + ".json", id="a digest with a suffix"),
        pytest.param("x" * 129, id="129 characters"),
        pytest.param(".", id="dot"),
        pytest.param("..", id="dot dot"),
        pytest.param(".a", id="hidden"),
        pytest.param("-a", id="an option"),
        pytest.param("a/b", id="slash"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("../a", id="upwards"),
        pytest.param("a b", id="space"),
        pytest.param("a#b", id="the mark between parts of a key"),
        pytest.param("a\x00", id="NUL"),
        pytest.param("é", id="a letter that is not ASCII"),
        pytest.param("٣", id="a digit that is not ASCII"),
    ],
)
def test_anything_else_is_no_id(value):
    assert not names.is_id(value)
    with pytest.raises(InvalidName, match="is not a commit id"):
        names.check_id(value, "commit")


@pytest.mark.parametrize(("kind", "named"), [("object", "an object id"), ("commit", "a commit id")])
def test_the_refusal_of_an_id_states_the_kind_that_was_expected(kind, named):
    with pytest.raises(InvalidName, match=f"is not {named}: "):
        names.check_id("..", kind)


@pytest.mark.parametrize("value", ["ada", "Ada", "a", "7", "a-b_c.d", "x" * 64])
def test_a_handle_or_slug_is_let_in(value):
    assert names.is_repo_name(value)


@pytest.mark.parametrize(
    "value", ["", ".", "..", ".a", "-a", "_a", "a/b", "a b", "é", "x" * 65, "a\n", "a#b", "a%2f"]
)
def test_no_other_handle_or_slug_is(value):
    assert not names.is_repo_name(value)


# ── Branches ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "feature/x",
        "a/b/c/d",
        "release-1.0",
        "with space",
        "HEAD",
        "x@{1}",
        "a.lock",
        "-a",
        "näher",
        FACE,
        pytest.param("a" * 255, id="255 characters"),
        pytest.param("0a" * 31 + "0", id="63 hex digits"),
        pytest.param("b/" + "0a" * 32, id="64 hex digits in a folder"),
        pytest.param(FACE * 63, id="252 bytes in one part"),
        pytest.param("/".join([FACE * 47] * 5) + "sixmax", id="950 bytes in parts of 188 and more"),
    ],
)
def test_a_branch_name_is_let_in(name):
    assert names.check_branch(name) == name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("a/" * 127 + "bc", id="256 characters"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("a\x00b", id="NUL"),
        pytest.param("a\rb", id="CR"),
        pytest.param("a\nb", id="LF"),
        pytest.param("main\n", id="LF at the end"),
        pytest.param("a\tb", id="TAB"),
        pytest.param("a\x1bb", id="ESC"),
        pytest.param("a\x7fb", id="DEL"),
        pytest.param("a\x85b", id="C1 control"),
        pytest.param("a\u2028b", id="line separator"),
        pytest.param(".a", id="leading dot"),
        pytest.param("a.", id="trailing dot"),
        pytest.param(".", id="dot"),
        pytest.param("..", id="dot dot"),
        pytest.param("a..b", id="two dots"),
        pytest.param("a...b", id="three dots"),
        pytest.param("a//b", id="two slashes"),
        pytest.param("/a", id="leading slash"),
        pytest.param("a/", id="trailing slash"),
        pytest.param("/", id="slash"),
        pytest.param("a/./b", id="a part that is a dot"),
        pytest.param("a/.b", id="a part that begins with a dot"),
        pytest.param("a./b", id="a part that ends with a dot"),
        pytest.param("../a", id="upwards"),
        pytest.param("a/../b", id="up and down"),
        pytest.param(FACE * 64, id="a part of 256 bytes"),
        pytest.param("/".join([FACE * 47] * 5) + "sevenmx", id="951 bytes"),
        pytest.param("a/" + "é" * 128 + "/b", id="a part of 256 bytes in the middle"),
        pytest.param("0a" * 32, id="a commit's id"),
        pytest.param("0A" * 32, id="a commit's id in capitals"),
        pytest.param("0a" * 32 + "/b", id="a commit's id and a path"),
    ],
)
def test_a_branch_name_is_refused(name):
    with pytest.raises(InvalidName):
        names.check_branch(name)


@pytest.mark.parametrize(
    ("name", "existing", "clash"),
    [
        ("a", ["a/b"], "a/b"),
        ("a/b", ["a"], "a"),
        ("a/b/c", ["a"], "a"),
        ("a/b", ["a/b/c"], "a/b/c"),
        ("a", ["main", "a/x/y"], "a/x/y"),
        ("docs", ["DOCS/x"], "DOCS/x"),
        ("DOCS/x", ["docs"], "docs"),
        ("codeowners", ["codeOwners"], "codeOwners"),
        ("e\u0301", ["\u00c9"], "\u00c9"),
        ("stra\u00dfe/x", ["STRASSE"], "STRASSE"),
    ],
)
def test_a_branch_beside_its_folder_clashes(name, existing, clash):
    with pytest.raises(BranchClash, match=f"branch {name} conflicts with {clash}:"):
        names.check_no_branch_clash(name, existing)


@pytest.mark.parametrize(
    ("name", "existing"),
    [
        ("a", ["a"]),
        ("a", ["ab", "ab/c", "b"]),
        ("a/b", ["a/c", "a/bc", "ab"]),
        ("a", []),
        ("b", ["a/b"]),
        ("Docs", ["docs", "Docs"]),
    ],
)
def test_branches_side_by_side_do_not_clash(name, existing):
    names.check_no_branch_clash(name, existing)


def test_a_branch_name_that_is_too_long_in_lower_case_is_refused():
    part = "\u1f80" * 85  # 3 bytes for each character; in lower case, 5 bytes
    name = names.check_branch(f"{part}/{part}/{part[:83]}")
    with pytest.raises(
        InvalidName, match=f"is longer than {names.BRANCH_BYTES} bytes in lower case"
    ):
        names.check_no_branch_clash(name, ["main"])


def test_a_repository_has_room_for_a_limited_number_of_branches():
    existing = [f"b{number}" for number in range(names.BRANCHES)]
    names.check_room_for_branch("b0", existing)
    names.check_room_for_branch("new", existing[1:])
    with pytest.raises(TooLarge, match=f"may have {names.BRANCHES} branches"):
        names.check_room_for_branch("new", existing)


@pytest.mark.parametrize(("name", "expected"), [("a", []), ("a/b", ["a"]), ("a/b/c", ["a", "a/b"])])
def test_folders_of_a_name(name, expected):
    assert names.folders(name) == expected


# ── Paths ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b.txt",
        ".hidden",
        ".gitignore",
        ".museattributes",
        "a/.github/x",
        "git",
        "muse/x",
        "a..b",
        "...",
        "a./b",
        "a b",
        " a",
        "-rf",
        "é/ü",
        "日本/語",
        "git~2",
        "a\u200db",
        "x.git",
        FACE,
        pytest.param("x" * 255, id="a part of 255 bytes"),
        pytest.param("/".join(["x" * 255] * 16), id="4095 bytes"),
    ],
)
def test_a_path_is_let_in(path):
    names.check_paths([path], set())


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="empty"),
        pytest.param("/a", id="absolute"),
        pytest.param("/", id="slash"),
        pytest.param("a/", id="trailing slash"),
        pytest.param("a//b", id="empty part"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("C:\\a", id="a Windows path"),
        pytest.param("a\x00b", id="NUL"),
        pytest.param("a\nb", id="LF"),
        pytest.param("a\n", id="LF at the end"),
        pytest.param("a/..\n", id="dot dot and LF"),
        pytest.param("a\x1b[2Jb", id="ESC"),
        pytest.param("a\x7f", id="DEL"),
        pytest.param("a\x9bb", id="C1 control"),
        pytest.param("a\u2029b", id="paragraph separator"),
        pytest.param(".", id="dot"),
        pytest.param("./a", id="dot first"),
        pytest.param("a/./b", id="dot within"),
        pytest.param("a/.", id="dot last"),
        pytest.param("..", id="dot dot"),
        pytest.param("../a", id="dot dot first"),
        pytest.param("a/../b", id="dot dot within"),
        pytest.param("a/..", id="dot dot last"),
        pytest.param("x" * 256, id="a part of 256 bytes"),
        pytest.param("é" * 128, id="128 characters, 256 bytes"),
        pytest.param("a/" + "x" * 256 + "/b", id="a long part within"),
        pytest.param("/".join(["x" * 255] * 16) + "/x", id="4097 bytes"),
    ],
)
def test_a_path_is_refused(path):
    with pytest.raises(InvalidName):
        names.check_paths(["fine.txt", path], set())


PRIVATE = [
    ".git",
    ".muse",
    ".GIT",
    ".Muse",
    ".mUsE",
    ".git.",
    ".muse...",
    ".git ",
    ".muse . .",
    ".git::$INDEX_ALLOCATION",
    ".muse:stream",
    ".git .:x",
    "GIT~1",
    "muse~1",
    ".g\u200cit",
    ".mu\u200dse",
    "\ufeff.git",
    ".git\u200e",
    ".git.\u202e",
    ".gi\u206ft",
    ".mu\u017fe",  # ſ, which is an s if the case is ignored
]


@pytest.mark.parametrize("part", PRIVATE, ids=ascii)
@pytest.mark.parametrize("shape", ["{}", "{}/config", "a/{}", "a/{}/hooks/x"])
def test_a_clones_own_folders_are_not_written_to(part, shape):
    with pytest.raises(InvalidName, match=r"would write into a clone's own \S+ folder"):
        names.check_paths([shape.format(part)], set())


@pytest.mark.parametrize(
    "paths",
    [["r", "r/x"], ["r/x", "r"], ["a/b/c/d", "z", "a/b"]],
    ids=["file and folder", "the other way round", "far below"],
)
def test_a_file_that_is_also_a_folder_is_refused(paths):
    with pytest.raises(InvalidName, match="is a file and also a folder of"):
        names.check_paths(paths, set())


def test_files_beside_each_other_are_no_folders():
    names.check_paths(["r", "r.x", "rx/y", "r-x", "a/r", "a/s"], set())


pieces = st.sampled_from(
    [
        ".",
        "..",
        "/",
        "\\",
        ".git",
        ".GIT",
        ".muse",
        "git~1",
        ":",
        " ",
        "a",
        "b",
        "é",
        "\u200c",
        "\ufeff",
        "\x00",
        "\n",
        "i",
        "I",
        "ı",
        "ſ",
    ]
)
paths = st.one_of(
    st.lists(pieces, min_size=1, max_size=6).map("".join), st.text(min_size=1, max_size=12)
)


def as_windows(part: str) -> str:
    """Trailing dots and spaces are dropped, and what follows a colon is a stream of the same
    file.
    """
    return part.partition(":")[0].rstrip(". ")


def as_hfs(part: str) -> str:
    """Characters that are not seen are not compared."""
    return re.sub("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]", "", part)


@settings(max_examples=500)
@given(paths)
@example(".git./x")
def test_an_accepted_path_stays_inside_its_folder_and_out_of_private_ones(path):
    try:
        names.check_paths([path], set())
    except InvalidName:
        return
    joined = posixpath.normpath(posixpath.join("/clone", path))
    assert joined == f"/clone/{path}"
    for part in path.split("/"):
        for seen in (
            part,
            as_windows(part),
            as_hfs(part),
            as_windows(as_hfs(part)),
            as_hfs(as_windows(part)),
        ):
            assert not {seen.casefold(), seen.lower(), seen.upper().lower()} & {
                ".git",
                ".muse",
                "git~1",
                "muse~1",
            }


@given(st.one_of(paths, st.lists(pieces, max_size=9).map("".join)))
def test_an_accepted_branch_is_a_file_inside_its_folder(name):
    try:
        names.check_branch(name)
    except InvalidName:
        return
    assert posixpath.normpath(posixpath.join("/refs/heads", name)) == f"/refs/heads/{name}"
    assert name.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", name)


@given(st.text(max_size=400))
def test_a_refusal_is_one_printable_line(text):
    for check in (
        names.check_branch,
        lambda value: names.check_paths([value], set()),
        lambda value: names.check_id(value, "x"),
    ):
        try:
            check(text)
        except InvalidName as refused:
            assert refused.message.isprintable()
            assert len(refused.message) <= 360


@given(st.text(max_size=60))
@example("\x00" * 40)
@example(FACE * 40)
def test_a_quoted_text_is_short_in_a_refusal(text):
    quoted = names.shown(text)
    assert quoted.isprintable()
    assert quoted.isascii()
    assert len(json.dumps(quoted)) - len('""') <= 60
