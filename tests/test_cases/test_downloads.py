"""Group 13: the bytes of one object, by its id, and of one file, by its path at a branch or a
commit.
"""

import asyncio
import importlib
import json
import urllib.request
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.meter import Meter
from shared import ids
from shared.actions import downloads
from shared.engines import selection
from shared.engines.s3 import S3Bucket
from shared.file_response import REPLY_BYTES, TEXT_REPLY_BYTES
from shared.model import ObjectId, Packed
from tests import builders, client
from tests.builders import Record
from tests.client import Answer, ask, bearer, call, push
from tests.functions import api
from tests.test_cases.fixtures import (
    C1,
    C2,
    C3,
    CE,
    CONTENTS,
    CX,
    O0,
    O1,
    O2,
    O3,
    UNKNOWN,
    M,
    alter,
    assert_absent,
    assert_accepted,
    assert_costs,
    assert_refused,
    case,
    on_manifest,
    pushed,
)

FOREVER = "max-age=31536000, immutable"
MINUTE = "max-age=60"
TEXT = "text/plain; charset=utf-8"
TEXTS = (
    "a.txt notes.md run.js run.mjs run.ts run.py a.yml a.yaml a.toml a.log a.diff a.patch a.rs a.go"
    " a.c a.h style.css page.html PAGE.HTM feed.xhtml score.xml table.csv README LICENSE Makefile"
    " src/Dockerfile a.b/c .bashrc"
).split()


def repo_id(owner: str, slug: str = "song") -> str:
    found: str = call("refs", owner, slug, by=owner).value["repo_id"]
    return found


def by_name(owner: str, object_id: str, *, slug: str = "song", **how: Any) -> Answer:
    return ask("objects", "GET", f"/{owner}/{slug}/objects/{object_id}", **how)


def by_id(owner: str, object_id: str, *, slug: str = "song", **how: Any) -> Answer:
    return ask("objects", "GET", f"/o/{object_id}", query=f"repo_id={repo_id(owner, slug)}", **how)


def raw(owner: str, rest: str, *, slug: str = "song", **how: Any) -> Answer:
    return ask("raw", "GET", f"/{owner}/{slug}/raw/{rest}", **how)


def head(owner: str, rest: str, **how: Any) -> Answer:
    answer = ask("raw", "HEAD", f"/{owner}/song/raw/{rest}", **how)
    assert answer.body == b""
    return answer


def put(owner: str, content: bytes, slug: str = "song") -> str:
    """Uploads one object. Returns its id."""
    assert_accepted(
        call("push_objects", owner, slug, {"objects": [builders.blob(content)]}, by=owner)
    )
    return ids.object_id(content)


def assert_sent(answer: Answer, content: bytes, status: int = 200) -> Answer:
    assert (answer.status, answer.body) == (status, content)
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    return answer


either_way = pytest.mark.parametrize(
    "get", [case("D01", "by name", by_name), case("D01", "by the repository's id", by_id)]
)


@pytest.fixture
def song(owner):
    """The owner of `song`, whose main is M: a.txt, b.txt, c.txt. A pack holds its objects."""
    pushed(owner, "song", C1, C2, C3, branch="dev")
    pushed(owner, "song", C2, CX, M)
    return owner


# ── Objects ───────────────────────────────────────────────────────────────────────────────────────


@either_way
def test_an_object_of_a_public_repository_is_anybodys(song, address, get):
    for object_id in (O1, O2, O3):
        answer = assert_sent(get(song, object_id, source_ip=address), CONTENTS[object_id])
        assert answer.headers["etag"] == f'"{object_id}"'
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == f"public, {FOREVER}"
        assert answer.headers["content-disposition"] == "attachment"


@either_way
def test_an_empty_object_is_empty(owner, get):
    pushed(owner, "song", C1, CE)
    assert_sent(get(owner, O0), b"")


@either_way
def test_a_large_object_comes_whole(owner, get):
    content = bytes(range(256)) * 8 * 1024 + b"end"  # 2 MiB: an S3 object of its own
    assert_sent(get(owner, put(owner, content)), content)


@either_way
def test_an_object_of_an_opaque_id_comes_as_it_was_sent(owner, get):
    assert_accepted(
        call(
            "push_objects",
            owner,
            "song",
            {"objects": [{"object_id": "obj-1", "content": b"x"}]},
            by=owner,
        )
    )
    assert_sent(get(owner, "obj-1"), b"x")


def opaque(content: bytes, snapshot_id: str = "s-1", commit_id: str = "c-1") -> Record:
    """A commit, a snapshot and an object under ids that are no digests."""
    return {
        "commits": [{"commit_id": commit_id, "snapshot_id": snapshot_id, "branch": "main"}],
        "snapshots": [{"snapshot_id": snapshot_id, "manifest": {"a.txt": "o-1"}}],
        "objects": [{"object_id": "o-1", "content": content}],
    }


def test_D07_an_opaque_id_in_a_second_repository_of_the_name_is_another_object(owner: str) -> None:
    commit = builders.commit("first", (), "s-1")
    gets = [
        partial(by_name, owner, "o-1"),
        partial(by_id, owner, "o-1"),
        partial(raw, owner, "c-1/a.txt"),
        partial(raw, owner, "main/a.txt"),
        partial(raw, owner, f"{commit['commit_id']}/a.txt"),
    ]
    tags: list[set[str]] = []
    for content in (b"one", b"two"):
        api.create(owner, "song")
        assert_accepted(push(owner, "song", opaque(content)))
        assert_accepted(push(owner, "song", {"commits": [commit]}, branch="side"))
        answers = [assert_sent(get(), content) for get in gets]
        assert {answer.headers["cache-control"] for answer in answers} == {f"public, {MINUTE}"}
        tags.append({answer.headers["etag"] for answer in answers})
        for get in gets:
            for tag in tags[0]:
                status = get(headers={"if-none-match": tag}).status
                assert status == (304 if tags[0] == tags[-1] else 200)
        assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status == 204
    assert all(len(found) == 1 for found in tags) and tags[0] != tags[1]


def test_D07_an_opaque_id_with_new_bytes_has_another_tag() -> None:
    first, second = (
        downloads.Found(
            cast(Any, SimpleNamespace(repo_id="r1")), ObjectId("o-1"), Packed(pack, 8, 3)
        )
        for pack in ("a", "b")
    )
    assert first.tag != second.tag


def test_D07_a_file_is_immutable_only_where_digests_lead_to_it(song: str) -> None:
    for commit_id in (C2, M):
        assert raw(song, f"{commit_id}/a.txt").headers["cache-control"] == f"public, {FOREVER}"
    assert raw(song, "main/a.txt").headers["cache-control"] == f"public, {MINUTE}"


@pytest.mark.parametrize(
    "who", [case("D02", "nobody", {}), case("D02", "another user", {"by": "stranger-of-d02"})]
)
def test_private_objects_are_like_absent_ones(estate, who):
    never = {"slug": "none"}
    for object_id in (O1, UNKNOWN):
        for slug in ("priv", "gone", "none"):
            answer = by_name(estate, object_id, slug=slug, **who)
            assert_absent(answer)
            assert "cache-control" not in answer.headers and "etag" not in answer.headers
        private = ask(
            "objects", "GET", f"/o/{object_id}", query=f"repo_id={repo_id(estate, 'priv')}", **who
        )
        assert_absent(private)
        assert_absent(by_name(estate, object_id, **never, **who))
        assert_absent(
            by_name(
                estate, object_id, slug="priv", headers={"if-none-match": f'"{object_id}"'}, **who
            )
        )
        assert_absent(
            by_name(estate, object_id, slug="priv", headers={"range": "bytes=99-"}, **who)
        )


def test_D03_the_owner_reads_a_private_object_and_no_shared_cache_stores_it(estate):
    for get in (by_name, by_id):
        answer = assert_sent(get(estate, O1, slug="priv", by=estate), CONTENTS[O1])
        assert answer.headers["cache-control"] == f"private, {FOREVER}"
        assert answer.headers["vary"] == "Authorization"
        unchanged = get(estate, O1, slug="priv", by=estate, headers={"if-none-match": f'"{O1}"'})
        assert unchanged.status == 304
        assert unchanged.headers["cache-control"] == f"private, {FOREVER}"


def test_D03_a_repository_made_private_is_private_at_once(owner):
    pushed(owner, "song", C1)
    known = repo_id(owner)
    alter(owner, "song", visibility="private")
    assert_absent(by_name(owner, O1))
    assert_absent(ask("objects", "GET", f"/o/{O1}", query=f"repo_id={known}"))
    alter(owner, "song", visibility="public", deleted_at=1_767_225_600)
    assert_absent(by_name(owner, O1, by=owner))
    assert_absent(ask("objects", "GET", f"/o/{O1}", query=f"repo_id={known}", by=owner))


@either_way
def test_an_object_that_is_not_here_is_not_found(song, get):
    pushed(song, "other", C1, CE)  # O0 is there, not here
    bodies = {get(song, object_id).body for object_id in (UNKNOWN, O0, "obj-2")}
    assert len(bodies) == 1
    for object_id in (UNKNOWN, O0, "obj-2"):
        assert_refused(get(song, object_id), 404, "object_not_found")


@pytest.mark.parametrize(
    "object_id",
    ["..", "%2e%2e", "sha256:x", O1[:-1], O1 + "0", O1.upper(), f"{O1}%0A", "%00", "a" * 2000, "é"],
)
def test_D05_an_invalid_id_is_not_found(song, object_id):
    for get in (by_name, by_id):
        assert_refused(get(song, object_id), 404, "object_not_found")


@pytest.mark.parametrize("object_id", [f"a/{O1}", f"..%2F{O1}", f"{O1}//", "", "/"])
def test_D05_an_invalid_name_is_not_found(song, object_id):
    for get in (by_name, by_id):
        assert_refused(get(song, object_id), 404, "not_found")


@either_way
def test_D05_a_slash_at_the_end_changes_nothing(song, get):
    assert_sent(get(song, f"{O1}/"), CONTENTS[O1])


@either_way
def test_HEAD_of_an_object_is_its_size_and_tag_and_reads_no_bytes(song, get):
    path = f"/{song}/song/objects/{O1}" if get is by_name else f"/o/{O1}"
    query = "" if get is by_name else f"repo_id={repo_id(song)}"
    with Meter() as meter:
        answer = ask("objects", "HEAD", path, query=query, headers={"range": "bytes=1-3"})
    whole = assert_sent(get(song, O1), CONTENTS[O1])
    assert (answer.status, answer.body) == (200, b"")
    for name in ("content-length", "etag", "content-type", "accept-ranges", "cache-control"):
        assert answer.headers[name] == whole.headers[name]
    assert not any(call.startswith("s3.") for call in meter.by_operation()), meter.by_operation()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "repo_id=",
        "repo_id=../../../../etc",
        "repo_id=shared",
        f"repo_id={UNKNOWN}",
        "repo_id=0c5a7f8e-0000-4000-8000-000000000000",
        "repo_id=%00",
        "repo_id=x%23O1",
        "repo_id=" + "a" * 3000,
        "owner=me",
    ],
)
def test_D06_an_invalid_repository_is_absent(song, query):
    assert_absent(ask("objects", "GET", f"/o/{O1}", query=query))
    assert_absent(ask("objects", "GET", f"/o/{O1}", query=query, by=song))


def test_D06_the_id_of_a_deleted_repository_does_not_lead_to_the_next_one_of_its_name(
    owner: str,
) -> None:
    pushed(owner, "song", C1)
    first = repo_id(owner)
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status == 204
    api.create(owner, "song")
    pushed(owner, "song", C1)
    for by in (None, owner):
        assert_absent(ask("objects", "GET", f"/o/{O1}", query=f"repo_id={first}", by=by))
        assert_sent(by_id(owner, O1, by=by), CONTENTS[O1])


def test_D06_the_id_of_a_repository_leads_to_it_under_its_present_name(owner: str) -> None:
    pushed(owner, "song", C1)
    first = repo_id(owner)
    assert (
        api.call("repos", "POST", f"/repos/{owner}/song/rename", {"slug": "tune"}, by=owner).status
        == 200
    )
    api.create(owner, "song")
    assert_sent(ask("objects", "GET", f"/o/{O1}", query=f"repo_id={first}"), CONTENTS[O1])
    assert_refused(by_id(owner, O1), 404, "object_not_found")


def test_D06_a_bad_or_revoked_token_is_refused(song, stranger):
    revoked = client.token(stranger, token_id="revoked")
    asyncio.get_event_loop().run_until_complete(_revoke(stranger, "revoked"))
    for query in (f"repo_id={repo_id(song)}", "repo_id=none"):
        for token in ("no", revoked):
            answer = ask(
                "objects",
                "GET",
                f"/o/{O1}",
                query=query,
                headers=bearer(token),
            )
            assert_refused(answer, 401, "unauthorized")


async def _revoke(handle: str, token_id: str) -> None:
    await (await selection.stores()).tokens.revoke(handle, token_id, 1)


@either_way
@pytest.mark.parametrize(
    "held",
    [
        case("D07", "its tag", '"{}"'),
        case("D07", "a weak one", 'W/"{}"'),
        case("D07", "one of several", '"other", "{}"'),
        case("D07", "anything", "*"),
    ],
)
def test_a_client_with_the_object_gets_304(song, get, held):
    answer = get(song, O1, headers={"if-none-match": held.format(O1)})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == f'"{O1}"'
    assert answer.headers["cache-control"] == f"public, {FOREVER}"


def test_D07_a_client_with_another_object_gets_the_bytes(song):
    for held in (f'"{O2}"', O1, '""', ","):
        assert_sent(by_name(song, O1, headers={"if-none-match": held}), CONTENTS[O1])
    assert_refused(
        by_name(song, UNKNOWN, headers={"if-none-match": f'"{UNKNOWN}"'}), 404, "object_not_found"
    )


# O1 is `hello\n`, six bytes in the middle of a pack.
@pytest.mark.parametrize(
    ("asked", "content", "says"),
    [
        ("bytes=0-0", b"h", "bytes 0-0/6"),
        ("bytes=1-3", b"ell", "bytes 1-3/6"),
        ("bytes=4-", b"o\n", "bytes 4-5/6"),
        ("bytes=3-99", b"lo\n", "bytes 3-5/6"),
        ("bytes=-2", b"o\n", "bytes 4-5/6"),
        ("bytes=-99", b"hello\n", "bytes 0-5/6"),
    ],
)
def test_D08_a_range_of_an_object(song, asked, content, says):
    answer = assert_sent(by_name(song, O1, headers={"range": asked}), content, 206)
    assert answer.headers["content-range"] == says
    assert answer.headers["accept-ranges"] == "bytes"


def test_D08_a_range_of_a_large_object(owner):
    content = bytes(range(256)) * 8 * 1024
    object_id = put(owner, content)
    assert_sent(
        by_name(owner, object_id, headers={"range": "bytes=1000000-1000099"}),
        content[1_000_000:1_000_100],
        206,
    )


@pytest.mark.parametrize("asked", ["bytes=6-", "bytes=99-100", "bytes=-0"])
def test_D08_a_range_behind_the_end_is_refused(song, asked):
    answer = by_name(song, O1, headers={"range": asked})
    assert_refused(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */6"


def test_D08_an_empty_object_has_no_ranges(owner):
    pushed(owner, "song", C1, CE)
    assert_refused(by_name(owner, O0, headers={"range": "bytes=0-"}), 416, "range_not_satisfiable")


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=3-1",
        "bytes=a-b",
        "bytes=-",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes",
        "bytes=٣-",
        "bytes=0-" + "9" * 400,
    ],
)
def test_D08_an_invalid_range_gets_the_whole(song, asked):
    assert_sent(
        by_name(song, O1, headers={"range": asked.encode().decode("latin-1")}), CONTENTS[O1]
    )


def test_D08_a_range_of_another_version_is_the_whole(song):
    assert by_name(song, O1, headers={"range": "bytes=0-1", "if-range": f'"{O1}"'}).status == 206
    assert_sent(
        by_name(song, O1, headers={"range": "bytes=0-1", "if-range": f'"{O2}"'}), CONTENTS[O1]
    )


@pytest.fixture
def in_aws(monkeypatch):
    """A store that any client can reach."""
    monkeypatch.setattr(S3Bucket, "is_aws", property(lambda bucket: True))


def test_D09_an_object_too_large_for_lambda_is_read_from_s3(owner, in_aws):
    content = bytes(range(256)) * 20 * 1024  # 5 MiB
    object_id = put(owner, content)
    for get in (by_name, by_id):
        answer = get(owner, object_id)
        assert (answer.status, answer.body) == (307, b"")
        assert answer.headers["cache-control"] == "no-store"
        with urllib.request.urlopen(answer.headers["location"]) as reply:
            assert reply.headers["content-type"] == "application/octet-stream"
            assert reply.headers["content-disposition"] == "attachment"
            assert reply.read() == content
    assert "X-Amz-Expires=300&" in answer.headers["location"]
    assert by_name(owner, object_id, headers={"if-none-match": f'"{object_id}"'}).status == 304
    assert_sent(by_name(owner, object_id, headers={"range": "bytes=5-9"}), content[5:10], 206)
    assert by_name(owner, object_id, headers={"range": "bytes=5-"}).status == 307


def test_D09_an_object_that_fits_is_sent(owner, in_aws):
    content = bytes(range(256)) * 8 * 1024
    assert_sent(by_name(owner, put(owner, content)), content)


def test_D09_a_private_object_is_not_signed_for_a_stranger(owner, stranger, in_aws):
    object_id = put(owner, bytes(5 * 1024 * 1024))
    alter(owner, "song", visibility="private")
    assert_absent(by_name(owner, object_id, by=stranger))
    answer = by_name(owner, object_id, by=owner)
    assert (answer.status, answer.headers["cache-control"]) == (307, "no-store")


def test_D09_without_s3_a_large_object_is_sent_all_the_same(owner):
    content = bytes(range(256)) * 20 * 1024
    assert_sent(by_name(owner, put(owner, content)), content)


@pytest.mark.parametrize(
    ("path", "size"),
    [
        case("D09", "bytes", "a.bin", REPLY_BYTES),
        # Six characters each in Lambda's own JSON.
        case("D09", "a text of control characters", "a.txt", TEXT_REPLY_BYTES),
    ],
)
def test_the_largest_sent_object_fits_into_a_reply_of_lambda(owner, in_aws, path, size):
    largest = b"\x01" * size
    for file, status in ((largest, 200), (largest + b"\x01", 307)):
        sent = on_manifest({path: ids.object_id(file)}) | {"objects": [builders.blob(file)]}
        assert_accepted(push(owner, "song", sent, force=True))
        event = client.event("GET", f"/{owner}/song/raw/main/{path}")
        reply = importlib.import_module("functions.raw").handler(event, None)
        assert (reply["statusCode"], len(json.dumps(reply)) <= 6_291_556) == (status, True)


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────


def test_D10_a_file_at_a_branch(song, address):
    answer = assert_sent(raw(song, "main/c.txt", source_ip=address), CONTENTS[O3])
    assert answer.headers["etag"] == f'"{O3}"'
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''c.txt"
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert_sent(raw(song, "dev/a.txt"), CONTENTS[O1])


def test_D10_a_file_at_a_commit(song):
    answer = assert_sent(raw(song, f"{C2}/b.txt"), CONTENTS[O2])
    assert answer.headers["cache-control"] == f"public, {FOREVER}"
    assert_refused(raw(song, f"{C1}/b.txt"), 404, "path_not_found")


def test_D10_a_file_of_a_private_repository_stays_private(estate, stranger):
    for ref, age in (("main", "max-age=60"), (C1, FOREVER)):
        answer = assert_sent(raw(estate, f"{ref}/a.txt", slug="priv", by=estate), CONTENTS[O1])
        assert answer.headers["cache-control"] == f"private, {age}"
        assert answer.headers["vary"] == "Authorization"
        for who in ({}, {"by": stranger}):
            for slug in ("priv", "gone", "none"):
                assert_absent(raw(estate, f"{ref}/a.txt", slug=slug, **who))


def test_D11_the_longest_branch_is_meant(owner):
    pushed(owner, "song", C1, branch="feature/x")
    pushed(owner, "song", C1, C2, branch="feature/y/z")
    assert_sent(raw(owner, "feature/x/a.txt"), CONTENTS[O1])
    assert_refused(raw(owner, "feature/x/b.txt"), 404, "path_not_found")
    assert_sent(raw(owner, "feature/y/z/b.txt"), CONTENTS[O2])
    assert_sent(raw(owner, "feature%2Fy%2Fz/b.txt"), CONTENTS[O2])
    for nowhere in ("feature/a.txt", "feature/y/a.txt", "feature"):
        assert_refused(raw(owner, nowhere), 404, "ref_not_found")


def test_D11_a_branch_may_not_have_the_id_of_a_commit_as_its_name(owner):
    pushed(owner, "song", C1, C2)
    for name in (C1, C1.upper(), f"{C1}/b.txt"):
        refused = push(owner, "song", {"commits": [], "branch_heads": {name: C2}}, branch=name)
        assert_refused(refused, 422, "invalid_name")
    assert_refused(raw(owner, f"{C1}/b.txt"), 404, "path_not_found")
    assert_sent(raw(owner, "main/b.txt"), CONTENTS[O2])


def test_D11_a_branch_on_a_stored_commit_has_its_files(owner):
    pushed(owner, "song", C1, C2)
    assert_accepted(push(owner, "song", {"commits": [], "branch_heads": {"old": C1}}, branch="old"))
    assert_sent(raw(owner, "old/a.txt"), CONTENTS[O1])
    assert_refused(raw(owner, "old/b.txt"), 404, "path_not_found")


def test_D11_commits_of_opaque_ids_have_files_too(owner):
    sent = {
        "commits": [
            {"commit_id": "c-1", "snapshot_id": "s-1", "branch": "main"},
            {"commit_id": "c-2", "parent_commit_id": "c-1"},
        ],
        "snapshots": [{"snapshot_id": "s-1", "manifest": {"a.txt": "o-1", "lost.txt": "o-2"}}],
        "objects": [{"object_id": "o-1", "content": b"opaque"}],
    }
    assert_accepted(push(owner, "song", sent))
    assert_sent(raw(owner, "c-1/a.txt"), b"opaque")
    for nowhere in ("c-1/lost.txt", "c-2/a.txt", "main/a.txt"):
        assert_refused(raw(owner, nowhere), 404, "path_not_found")


def test_D12_a_branch_that_moves_takes_its_files_along(owner):
    pushed(owner, "song", C1)
    assert_refused(raw(owner, "main/b.txt"), 404, "path_not_found")
    pushed(owner, "song", C2)
    assert_sent(raw(owner, "main/b.txt"), CONTENTS[O2])


@pytest.mark.parametrize(
    "rest",
    [
        "main/../main/a.txt",
        "main/A.TXT",
        "main//a.txt",
        "main/a.txt/",
        "main/",
        "main",
        "main/a.txt%0A",
        "main/%00",
        "main/./a.txt",
    ],
)
def test_D13_a_path_is_a_name_and_nothing_else(song, rest):
    assert_refused(raw(song, rest), 404, "path_not_found")


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "none/a.txt",
        f"{UNKNOWN}/a.txt",
        "../a.txt",
        "/main/a.txt",
        "%00/a.txt",
        "a" * 3000,
        "a/" * 1000,
        "é" * 300,
        "%FF/a.txt",
    ],
)
def test_D13_a_name_of_no_branch_and_no_commit_is_not_found(song, rest):
    assert_refused(raw(song, rest), 404, "ref_not_found")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("100%.txt", "100%25.txt"),
        ("100%25.txt", "100%2525.txt"),
        ("a%41b", "a%2541b"),
        ("a%2Fb", "a%252Fb"),
        ("a+b c#.txt", "a+b%20c%23.txt"),
        ("ø/é", "%C3%B8/é"),
    ],
)
def test_D13_a_path_is_decoded_once(owner, path, sent):
    assert_accepted(push(owner, "song", on_manifest({path: O1})))
    from_api = client.event("GET", f"/{owner}/song/raw/main/{sent}")
    assert from_api["rawPath"] == f"/{owner}/song/raw/main/{path}"
    from_url = client.event("GET", f"/{owner}/song/raw/main/{sent}")
    from_url["rawPath"] = f"/{owner}/song/raw/main/{sent}"
    from_url["requestContext"]["domainName"] = "abc.lambda-url.eu-central-1.on.aws"
    for event in (from_api, from_url):
        event["requestContext"]["http"]["path"] = f"/{owner}/song/raw/main/{path}"
        assert_sent(client.invoke("raw", event), CONTENTS[O1])


def test_D13_a_commit_of_another_repository_is_not_found(owner):
    pushed(owner, "song", C1)
    pushed(owner, "other", C1, C2)
    assert_refused(raw(owner, f"{C2}/a.txt"), 404, "ref_not_found")


def test_D13_before_the_first_push_there_is_no_branch(owner):
    assert_refused(raw(owner, "main/a.txt", by=owner), 404, "ref_not_found")


@pytest.mark.parametrize(
    ("path", "kind", "how"),
    [
        ("take.mid", "audio/midi", "inline"),
        ("take.MIDI", "audio/midi", "inline"),
        ("take.wav", "audio/wav", "inline"),
        ("take.flac", "audio/flac", "inline"),
        ("take.m4a", "audio/mp4", "inline"),
        ("take.ogg", "audio/ogg", "inline"),
        ("take.opus", "audio/ogg", "inline"),
        ("take.aiff", "audio/aiff", "inline"),
        ("take.caf", "audio/x-caf", "inline"),
        ("take.mka", "audio/x-matroska", "inline"),
        ("take.wma", "audio/x-ms-wma", "inline"),
        ("take.mp3", "audio/mpeg", "inline"),
        ("cover.png", "image/png", "inline"),
        ("notes.json", "application/json", "inline"),
        ("cover.svg", "image/svg+xml", "attachment"),
        ("book.pdf", "application/pdf", "attachment"),
        ("stems.tar.gz", "application/octet-stream", "attachment"),
        ("cover.svgz", "application/octet-stream", "attachment"),
        *((name, TEXT, "inline") for name in TEXTS),
    ],
)
def test_D14_a_text_is_shown_audio_is_played_and_no_browser_runs_a_file_in_the_hubs_name(
    owner, path, kind, how
):
    assert_accepted(push(owner, "song", on_manifest({path: O1})))
    answer = assert_sent(raw(owner, f"main/{path}"), CONTENTS[O1])
    assert answer.headers["content-type"] == kind
    assert (
        answer.headers["content-disposition"]
        == f"{how}; filename*=UTF-8''{path.rpartition('/')[2]}"
    )


# Their names state nothing, so their first bytes decide.
NAMELESS = {
    "notes": (b"h\xc3\xa4h\n", TEXT, "inline"),
    ".gitignore": (b"*.pyc\n", TEXT, "inline"),
    "empty": (b"", TEXT, "inline"),
    "page.unknown": (b"<script>alert(1)</script>", TEXT, "inline"),
    "cut": (b"a" * 511 + "é".encode() + b"b" * 2000, TEXT, "inline"),
    "long.unknown": (b"la " * 400_000, TEXT, "inline"),
    "latin": (b"caf\xe9 " * 4, "application/octet-stream", "attachment"),
    "zeros": (bytes(2000), "application/octet-stream", "attachment"),
    ".DS_Store": (b"\0\0\0\1Bud1", "application/octet-stream", "attachment"),
    "take": (b"fLaC" + bytes(2000), "audio/flac", "inline"),
    "take.part": (b"RIFF\0\0\0\0WAVEfmt " + bytes(2000), "audio/wav", "inline"),
    "song.old": (b"MThd" + bytes(20), "audio/midi", "inline"),
    "cover": (b"\x89PNG\r\n\x1a\n" + bytes(2000), "image/png", "inline"),
}


@pytest.mark.parametrize("name", NAMELESS)
def test_D14_where_the_name_states_nothing_the_first_bytes_do_for_every_way_to_ask(owner, name):
    content, kind, how = NAMELESS[name]
    sent = on_manifest({name: ids.object_id(content)}) | {"objects": [builders.blob(content)]}
    assert_accepted(push(owner, "song", sent))
    answers = [raw(owner, f"main/{name}"), head(owner, f"main/{name}")]
    ranges = ["bytes=0-0", "bytes=0-511", "bytes=1-3", f"bytes={len(content) // 2}-", "bytes=-1"]
    answers += [raw(owner, f"main/{name}", headers={"range": asked}) for asked in ranges if content]
    assert {answer.status for answer in answers} == {200, 206} if content else {200}
    assert {answer.headers["content-type"] for answer in answers} == {kind}
    assert {answer.headers["content-disposition"] for answer in answers} == {
        f"{how}; filename*=UTF-8''{name}"
    }
    assert answers[0].body == content


def test_D14_a_large_file_without_a_name_is_read_from_s3_with_its_type(owner, in_aws):
    content = b"fLaC" + bytes(5 * 1024 * 1024)
    sent = on_manifest({"lead": ids.object_id(content)}) | {"objects": [builders.blob(content)]}
    assert_accepted(push(owner, "song", sent))
    answer = raw(owner, "main/lead")
    assert answer.status == 307
    with urllib.request.urlopen(answer.headers["location"]) as reply:
        assert reply.headers["content-type"] == "audio/flac"
    asked = head(owner, "main/lead")
    assert (asked.status, asked.headers["content-length"]) == (
        200,
        str(len(content)),
    ), "S3 signs GET only"


def test_D14_a_name_of_any_letters_stays_one_header(owner):
    path = 'drums/ø "x"; filename=evil.html'
    assert_accepted(push(owner, "song", on_manifest({path: O1})))
    answer = assert_sent(
        raw(owner, "main/drums/%C3%B8%20%22x%22%3B%20filename%3Devil.html"), CONTENTS[O1]
    )
    assert (
        answer.headers["content-disposition"]
        == "inline; filename*=UTF-8''%C3%B8%20%22x%22%3B%20filename%3Devil.html"
    )


def test_D14_text_that_is_no_text_comes_as_it_is(owner):
    content = bytes(range(256))
    sent = on_manifest({"a.txt": ids.object_id(content)}) | {"objects": [builders.blob(content)]}
    assert_accepted(push(owner, "song", sent))
    assert_sent(raw(owner, "main/a.txt"), content)


def test_D15_a_file_has_ranges_and_a_tag(song):
    answer = assert_sent(raw(song, "main/a.txt", headers={"range": "bytes=1-3"}), b"ell", 206)
    assert answer.headers["content-range"] == "bytes 1-3/6"
    assert raw(song, "main/a.txt", headers={"if-none-match": f'"{O1}"'}).status == 304


def test_D15_a_large_file_is_read_from_s3_with_its_type(owner, in_aws):
    content = b"RIFF" + bytes(5 * 1024 * 1024)
    sent = on_manifest({"stems/lead.wav": ids.object_id(content)}) | {
        "objects": [builders.blob(content)]
    }
    assert_accepted(push(owner, "song", sent))
    answer = raw(owner, "main/stems/lead.wav")
    assert answer.status == 307
    with urllib.request.urlopen(answer.headers["location"]) as reply:
        assert reply.headers["content-type"].startswith("audio/")
        assert reply.headers["content-disposition"] == "inline; filename*=UTF-8''lead.wav"
        assert reply.read() == content


# ── Cost ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_download_costs_few_calls(song):
    large = put(song, bytes(2 * 1024 * 1024))
    here = repo_id(song)
    for object_id in (O1, large):
        with Meter() as named:
            assert by_name(song, object_id).status == 200
        with Meter() as known:
            assert ask("objects", "GET", f"/o/{object_id}", query=f"repo_id={here}").status == 200
        assert_costs(named, 4, 3)
        assert_costs(known, 5, 4)
    with Meter() as held:
        assert by_name(song, O1, headers={"if-none-match": f'"{O1}"'}).status == 304
    assert_costs(held, 3, 2)
    with Meter() as at_branch:
        assert raw(song, "main/c.txt").status == 200
    # The row of the branch has the location of its snapshot, so no commit is read.
    assert_costs(at_branch, 5, 4)
    with Meter() as asked:
        assert head(song, "main/c.txt").status == 200
    assert_costs(asked, 5, 4)
    with Meter() as at_commit:
        assert raw(song, f"{C2}/b.txt").status == 200
    # A caller who is no member: a walk from the branches finds the commit first.
    assert_costs(at_commit, 9, 7)


def test_a_file_of_an_unknown_type_costs_more_only_for_a_range(owner):
    assert_accepted(push(owner, "song", on_manifest({"notes": O1, "notes.txt": O1})))
    with Meter() as named:
        assert raw(owner, "main/notes.txt").status == 200
    with Meter() as nameless:
        assert raw(owner, "main/notes").status == 200
    with Meter() as part:
        assert raw(owner, "main/notes", headers={"range": "bytes=1-3"}).status == 206
    with Meter() as asked:
        assert head(owner, "main/notes").status == 200
    assert nameless.calls == asked.calls == named.calls
    assert part.calls == named.calls + 1


def test_a_stranger_costs_no_more_than_the_look_up(estate, stranger):
    hidden = repo_id(estate, "priv")
    with Meter() as private:
        assert_absent_quietly(
            ask("objects", "GET", f"/o/{O1}", query=f"repo_id={hidden}", by=stranger)
        )
    with Meter() as absent:
        assert_absent_quietly(ask("objects", "GET", f"/o/{O1}", query="repo_id=none", by=stranger))
    assert private.by_operation() == absent.by_operation()


def assert_absent_quietly(answer: Answer) -> None:
    assert answer.code == "repo_not_found"
