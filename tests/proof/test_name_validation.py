"""What may be called what, as one table, through the door by which each name comes in: whatever was
pushed, the stock client that clones it writes inside its folder, and not into `.muse/` or `.git/`.

The client joins branches and ids to its own folder unchecked, and manifest paths to its working
tree. `tests/shared/ test_names.py` holds each rule by itself; here nothing has a way around them.
"""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared import ids, names
from tests import builders
from tests.builders import Record, blob
from tests.client import Answer
from tests.proof.asgi_client import Hub
from tests.proof.memory import Cloud
from tests.proof.stories import API, WIRE, push

D = "a" * 64
FACE = "\U0001f600"  # one character, four bytes
WIDE = "/".join([FACE * 47] * 5) + "x" * (names.BRANCH_BYTES - 944)
"""A branch name of as many bytes as there may be, in parts of 255 and less."""
ME = {"owner": "me", "slug": "song"}
ROOT = builders.commit("a root")
FILE = blob(b"a file\n")
FILE_ID: str = FILE["object_id"]


class Rule(NamedTuple):
    """A name that is refused, why, and one as near to it as may be that is let in."""

    kind: str
    why: str
    refused: Any
    accepted: Any


TABLE = [
    Rule("branch", "is not empty", "", "b"),
    Rule("branch", "has up to 255 characters", "a/" * 127 + "bc", "a/" * 127 + "b"),
    Rule("branch", "has as many bytes as DynamoDB has room for", WIDE + "a", WIDE),
    Rule("branch", "has parts of up to 255 bytes", FACE * 64, FACE * 63),
    Rule("branch", "has no backslash", "a\\b", "a|b"),
    Rule("branch", "has no NUL", "a\x00b", "ab"),
    Rule("branch", "has no line break", "a\nb", "a b"),
    Rule("branch", "has no line break at its end", "a\n", "a2"),
    Rule("branch", "has no tab", "a\tb", "a_b"),
    Rule("branch", "has no escape", "a\x1b[2Jb", "a[2Jb"),
    Rule("branch", "has no control character of the second kind", "a\x9bb", "a\xa1b"),
    Rule("branch", "has no line separator", "a\u2028b", "a-b"),
    Rule("branch", "is no absolute path", "/etc/cron.d/x", "etc/cron.d/x"),
    Rule("branch", "does not end with a slash", "dir/", "dir/x"),
    Rule("branch", "has no empty part", "p//q", "p/q"),
    Rule("branch", "does not lead upwards", "../../../../y", "y"),
    Rule("branch", "does not lead up and down", "c/../d", "c/d"),
    Rule("branch", "has no part that is a dot", "e/./f", "e/f"),
    Rule("branch", "has no part that begins with a dot", "g/.h", "g/h"),
    Rule("branch", "has no part that ends with a dot", "i./j", "i.x/j"),
    Rule("branch", "does not begin with a dot", ".git", "git"),
    Rule("branch", "does not end with a dot", "k.", "k.x"),
    Rule("branch", "has no two dots in a row", "l..m", "l.m"),
    Rule("branch", "is no commit's id", "0a" * 32, "0a" * 31),
    Rule("branch", "does not begin with a commit's id", "0a" * 32 + "/m", "m/" + "0a" * 32),
    Rule("default branch", "has no slash: a clone makes no folder for it", "verse/two", "b"),
    Rule("branch restored", "is a branch's name", "../x", None),
    Rule("path", "is not empty", [""], ["a"]),
    Rule(
        "path",
        "has up to 4,096 bytes",
        ["/".join(["x" * 255] * 16) + "/y"],
        ["/".join(["x" * 255] * 16)],
    ),
    Rule("path", "has parts of up to 255 bytes", ["é" * 128], ["é" * 127]),
    Rule("path", "is relative", ["/etc/passwd"], ["etc/passwd"]),
    Rule("path", "does not end with a slash", ["a/"], ["a/b"]),
    Rule("path", "has no empty part", ["a//b"], ["a/b"]),
    Rule("path", "has no backslash", ["C:\\x"], ["C_x"]),
    Rule("path", "has no NUL", ["a\x00b"], ["ab"]),
    Rule("path", "has no control character", ["a\x1b[2J"], ["a[2J"]),
    Rule("path", "has no line separator", ["a\u2028"], ["a\u2060"]),
    Rule("path", "does not lead upwards", ["../x"], ["..x"]),
    Rule("path", "does not lead up and down", ["a/../../x"], ["a/..b/x"]),
    Rule("path", "has no part that is a dot", ["a/./b"], ["a/.b"]),
    Rule("path", "is not in .muse", [".muse/config.toml"], [".museattributes"]),
    Rule("path", "is not in .git", [".git/hooks/pre-commit"], [".gitignore"]),
    Rule("path", "is in none of them at any depth", ["a/b/.muse/x"], ["a/b/muse/x"]),
    Rule("path", "is in none of them whatever the letter case", [".GiT/config"], ["GiT/config"]),
    Rule(
        "path",
        "is in none of them with an s that only looks otherwise",
        [".mu\u017fe/x"],
        [".mu\u015fe/x"],
    ),
    Rule(
        "path",
        "is in none of them to Windows: dots and spaces at the end",
        [".git. ./config"],
        [".git.x/config"],
    ),
    Rule("path", "is in none of them to Windows: streams", [".git::$INDEX_ALLOCATION/x"], ["x:y"]),
    Rule("path", "is in none of them to Windows: short names", ["GIT~1/config"], ["GIT~2/config"]),
    Rule(
        "path",
        "is in none of them to a Mac: what is not seen",
        [".g\u200cit/config"],
        ["g\u200cit/config"],
    ),
    Rule("path", "is no file and folder at once", ["r", "r/x"], ["r", "r.x", "rx/y"]),
    Rule(
        "path",
        "is no file and folder at once, far below",
        ["a/b/c/d", "z", "a/b"],
        ["a/b/c/d", "a/b/e"],
    ),
    Rule("commit id", "is no path", "../../../x", "x"),
    Rule("commit id", "has no slash", "a/b", "a-b"),
    Rule("commit id", "does not begin with a dot", ".muse", "muse"),
    Rule("commit id", "has no line break at its end", "c1\n", "c1"),
    Rule("commit id", "is no digest in capitals", D.upper(), "A" * 50),
    Rule("commit id", "is no digest with a digit less", D[:-1], "z" * 62),
    Rule("commit id", "is no digest with its algorithm", f"sha256:{D}", "sha257:x"),
    Rule("commit id", "has up to 128 characters", "x" * 129, "x" * 128),
    Rule("commit id", "as a digest is true", D, ROOT["commit_id"]),
    Rule("parent id", "is no path", "../x", None),
    Rule("snapshot id", "is no path", "../../x", "s1"),
    Rule("snapshot id", "is not absolute", "/etc/x", "etc-x"),
    Rule("snapshot id", "as a digest is true", D, ids.snapshot_id({"a": FILE["object_id"]})),
    Rule("object id", "is no path", "../o", "o1"),
    Rule("object id", "as a digest is true", D, FILE["object_id"]),
    Rule("object id listed", "is a digest where the list is one", "o1", FILE["object_id"]),
    Rule("release", "is no path", "../v1", "v1.0.0"),
    Rule("release", "has no percent sign", "v%2e", "v2e"),
    Rule("release", "has no two dots in a row", "v1..0", "v1.0"),
    Rule("release", "has no space", "v 1", "v-1"),
    Rule("release", "has up to 100 characters", "v" * 101, "v" * 100),
    Rule("release", "has no line break at its end", "v3\n", "v3"),
    Rule("label", "is not empty", "", "x"),
    Rule("label", "has up to 500 characters", "x" * 501, "x" * 500),
    Rule("label", "has nothing that a terminal would act on", "a\x1b[2J", "emotion: joyful"),
    Rule("tag id", "is no path", "../t", "t1"),
    Rule("slug", "is no path", "../s", "s"),
    Rule("slug", "does not begin with a dot", ".muse", "muse"),
    Rule("handle", "is none of the hub's own URLs", "api", "apia"),
]


def repo(kind: str, *, whole: bool = True) -> dict[str, str]:
    """Names of one kind are in a repository of their own: branches of any name stand beside each
    other.
    """
    return {"owner": "me", "slug": kind.replace(" ", "-") + ("" if whole else "-refused")}


def a_commit(snapshot: Record | None = None, **more: Any) -> Record:
    """A bundle of one commit under an opaque id, which promises nothing."""
    opaque = {"commit_id": "c0", "snapshot_id": snapshot and snapshot["snapshot_id"]}
    commit = {**builders.commit("opaque"), **opaque, **more}
    return {"commits": [commit], "snapshots": [snapshot] if snapshot else [], "objects": [FILE]}


def a_tree(paths: list[str]) -> Record:
    snapshot = builders.snapshot(dict.fromkeys(paths, FILE_ID))
    commit = builders.commit(f"files {paths}", [], snapshot["snapshot_id"])
    return {"commits": [commit], "snapshots": [snapshot], "objects": [FILE]}


def listed(object_id: str) -> Record:
    snapshot = builders.snapshot({"a": object_id})
    commit = builders.commit("listed", [], snapshot["snapshot_id"])
    return {"commits": [commit], "snapshots": [snapshot], "objects": [FILE]}


Door = Callable[[Hub, dict[str, str], Any], Answer]


def pushing(message: Callable[[Any], Record]) -> Door:
    return lambda hub, where, name: hub.call(f"POST {WIRE}/push", where, message(name), by="me")


def rooted(hub: Hub, where: dict[str, str]) -> dict[str, str]:
    """A repository in which there is a commit."""
    bundle = {"commits": [ROOT], "snapshots": [], "objects": []}
    assert hub.call(f"POST {WIRE}/push", where, push(bundle, "b"), by="me").status == 200
    return where


DOORS: dict[str, Door] = {
    "branch": pushing(lambda name: push({"commits": [ROOT], "snapshots": [], "objects": []}, name)),
    "default branch": lambda hub, where, name: hub.call(
        f"PATCH {API}", rooted(hub, where), {"default_branch": name}, by="me"
    ),
    "branch restored": lambda hub, where, name: hub.call(
        f"POST {API}/restore", rooted(hub, where), {"branch": name}, by="me"
    ),
    "path": pushing(lambda paths: push(a_tree(paths), force=True)),
    "commit id": pushing(
        lambda name: push(
            {"commits": [{**ROOT, "commit_id": name}], "snapshots": [], "objects": []}, force=True
        )
    ),
    "parent id": pushing(lambda name: push(a_commit(parent_commit_id=name))),
    "snapshot id": pushing(
        lambda name: push(
            a_commit({**builders.snapshot({"a": FILE["object_id"]}), "snapshot_id": name},
                     **({"commit_id": builders.commit("opaque", [], name)["commit_id"]} if len(name) == 64 else {})),
            force=True,
        )
    ),
    "object id": lambda hub, where, name: hub.call(
        f"POST {WIRE}/push/objects", where, {"objects": [{**FILE, "object_id": name}]}, by="me"
    ),
    "object id listed": pushing(lambda name: push(listed(name), force=True)),
    "release": lambda hub, where, name: hub.call(
        f"POST {WIRE}/releases", rooted(hub, where),
        {"release_id": "r", "tag": name, "commit_id": ROOT["commit_id"]}, by="me",
    ),
    "label": lambda hub, where, name: hub.call(
        f"POST {WIRE}/tags", rooted(hub, where),
        {"tags": [{"tag_id": "t", "tag": name, "commit_id": ROOT["commit_id"]}]}, by="me",
    ),
    "tag id": lambda hub, where, name: hub.call(
        f"POST {WIRE}/tags", rooted(hub, where),
        {"tags": [{"tag_id": name, "tag": "x", "commit_id": ROOT["commit_id"]}]}, by="me",
    ),
    "slug": lambda hub, where, name: hub.call("POST /api/v1/repos", {}, {"slug": name}, by="me"),
    "handle": lambda hub, where, name: hub.call("POST /api/v1/repos", {}, {"slug": "song"}, by=name),
}  # fmt: skip


@pytest.fixture
def hub(aws: Any) -> Iterator[Hub]:
    with Hub(Cloud()) as running:
        yield running


@pytest.mark.parametrize("rule", TABLE, ids=[f"a {rule.kind} {rule.why}" for rule in TABLE])
def test_a_name_is_refused_at_the_door_and_its_neighbour_is_not(
    rule: Rule, hub: Hub, tmp_path: Path
) -> None:
    refused = DOORS[rule.kind](hub, ME, rule.refused)
    assert refused.status == 422, refused
    assert refused.code in ("invalid_name", "hash_mismatch"), refused
    assert not any(
        version.data.startswith(b"PIERIA") for one in hub.cloud.objects.values() for version in one
    ) or (rule.kind in ("default branch", "branch restored", "release", "label", "tag id")), (
        "refused, and bytes were kept"
    )
    if rule.accepted is not None:
        accepted = DOORS[rule.kind](hub, {**ME, "slug": "other"}, rule.accepted)
        assert accepted.status in (200, 201), accepted
    for slug in ("song", "other"):
        clone(hub, slug, tmp_path / slug)


def test_all_that_is_let_in_can_be_cloned_side_by_side(hub: Hub, tmp_path: Path) -> None:
    for rule in TABLE:
        if rule.kind == "branch":
            assert DOORS["branch"](hub, ME, rule.accepted).status in (
                200,
                422,
            ), rule  # beside others: a clash
        if rule.kind == "path":
            bundle = a_tree(rule.accepted)
            number = TABLE.index(rule)
            assert (
                hub.call(f"POST {WIRE}/push", ME, push(bundle, f"path-{number}"), by="me").status
                == 200
            )
    assert len(clone(hub, "song", tmp_path / "all")) > 40


@pytest.mark.parametrize("hours", [0, 1], ids=["at once", "when the folder's mark has lapsed"])
@pytest.mark.parametrize(
    ("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a", "a/b/c")]
)
def test_a_branch_beside_its_folder_never_comes_to_be(
    first: str, second: str, hours: int, hub: Hub, tmp_path: Path
) -> None:
    assert DOORS["branch"](hub, ME, first).status == 200
    hub.loop.now += hours * 3600
    assert DOORS["branch"](hub, ME, second).code == "branch_clash"
    clone(hub, "song", tmp_path / "clone")


def clone(hub: Hub, slug: str, folder: Path) -> set[str]:
    """The stock client's own handling of a clone: it checks no name, and writes the files.

    Returns the written files. Fails before a file is written elsewhere.
    """
    where, written = {"owner": "me", "slug": slug}, set[str]()
    own = folder / ".muse"
    (own / "refs" / "heads").mkdir(parents=True)

    def write(base: Path, name: str, content: bytes, *, is_ref: bool = False) -> None:
        target = base / name
        assert base in target.resolve().parents, f"{name!r} leads out of {base.name}"
        assert (
            is_ref
            or base == own
            or not {p.casefold() for p in target.relative_to(folder).parts} & {".muse", ".git"}
        )
        if is_ref:
            target.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.write_bytes(content)
        except OSError as error:
            if (
                error.errno != errno.ENAMETOOLONG
            ):  # its folder and the path together: that fails without harm
                raise
        written.add(str(target))

    refs = hub.call(f"GET {WIRE}/refs", where, by="me").value
    fetched = hub.call(
        f"POST {WIRE}/fetch", where, {"want": [*refs["branch_heads"].values()]}, by="me"
    ).value
    for branch, head in refs["branch_heads"].items():
        write(own / "refs" / "heads", branch, head.encode(), is_ref=True)
    if refs["branch_heads"]:
        assert "/" not in refs["default_branch"]
    for kind in ("commit", "snapshot"):
        for record in fetched[f"{kind}s"]:
            write(own / f"{kind}s", f"{record[f'{kind}_id']}.json", b"{}", is_ref=True)
    contents = {item["object_id"]: item["content"] for item in fetched["objects"]}
    for snapshot in fetched["snapshots"]:
        tree = folder / f"tree-of-{snapshot['snapshot_id'][:8]}"
        tree.mkdir()
        for path, object_id in snapshot["manifest"].items():
            write(tree, path, contents.get(object_id, b""))
    return written
