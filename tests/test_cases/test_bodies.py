"""Group 7, continued: POST push with bodies that are no push."""

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import msgpack
import pytest
from backports import zstd

from tests.builders import Record, blob
from tests.client import (
    MSGPACK,
    Answer,
    call,
    fetch,
    fetched_ids,
    heads,
    push,
)
from tests.test_cases.fixtures import (
    C1,
    C2,
    COMMITS,
    CX,
    MESSAGES,
    O1,
    S1,
    SNAPSHOTS,
    assert_accepted,
    assert_nothing_stored,
    assert_refused,
    bundle,
    case,
    pushed,
    spoilt,
    texts,
)


def message(**fields: Any) -> Record:
    """A good push, apart from these fields."""
    return {"bundle": bundle(C1), "branch": "main", "force": False} | fields


PACKED = msgpack.packb(message())


@pytest.mark.parametrize(
    "body",
    [
        case("I25", "two bytes of noise", b"\xc1\xff"),
        case("I25", "nothing", b""),
        case("I25", "an array", msgpack.packb([message()])),
        case("I25", "a text", msgpack.packb("push")),
        case("I25", "null", msgpack.packb(None)),
        case("I25", "cut short", PACKED[:-1]),
        case("I25", "cut in half", PACKED[: len(PACKED) // 2]),
        case("I25", "a byte too many", PACKED + b"\xc0"),
        case("I25", "twice", PACKED * 2),
        case(
            "I27",
            "an array in an array, 9,900 times",
            msgpack.packb({"x": 1})[:-1] + b"\x91" * 9_900 + b"\xc0",
        ),
        case(
            "I27",
            "an array in an array, 200 times",
            msgpack.packb({"x": 1})[:-1] + b"\x91" * 200 + b"\xc0",
        ),
        case(
            "I27",
            "a map in a map, 200 times",
            msgpack.packb({"x": 1})[:-1] + b"\x81\xa1x" * 200 + b"\xc0",
        ),
        case("I30", "a number for a key", msgpack.packb({1: 2} | message())),
        case("I30", "null for a key", msgpack.packb({None: 2} | message())),
        case("I30", "a text that is not UTF-8", PACKED.replace(b"main", b"ma\xffn")),
        case("I30", "a text with half a surrogate pair", PACKED.replace(b"main", b"\xed\xa0\x80n")),
    ],
)
def test_a_body_that_is_no_map_in_msgpack_is_malformed(owner, body):
    assert_refused(call("push", owner, "song", by=owner, raw=body), 400, "malformed_body")
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "body",
    [
        case("I26", "four thousand million items", b"\xdd\xff\xff\xff\xff"),
        case("I26", "as many pairs", b"\xdf\xff\xff\xff\xff"),
        case("I26", "as many items in a map", b"\x81\xa1x\xdd\xff\xff\xff\xff"),
        case("I26", "as many bytes", b"\x81\xa1x\xc6\xff\xff\xff\xff"),
        case("I26", "as many characters", b"\x81\xa1x\xdb\xff\xff\xff\xff"),
    ],
)
def test_the_claimed_length_is_not_trusted(owner, body):
    call("push", owner, "song", by=owner, raw=b"")  # whatever is loaded at first use
    tracemalloc.start()
    try:
        assert_refused(call("push", owner, "song", by=owner, raw=body), 400, "malformed_body")
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_I26_a_small_body_cannot_become_a_million_maps(owner):
    body = b"\x81\xa1x\xdd\x00\x0f\x42\x40" + b"\x80" * 1_000_000
    assert_refused(call("push", owner, "song", by=owner, raw=body), 413, "too_large")


def test_I27_a_record_may_nest(owner):
    nested: Record = {"domain": "midi"}
    for _ in range(45):
        nested = {"ops": [nested]}
    sent = bundle(C1)
    sent["commits"][0]["structured_delta"] = nested
    assert_accepted(push(owner, "song", sent))
    assert fetched_ids(fetch(owner, "song", [C1], by=owner)) == ({C1}, {S1}, {O1})


def test_I28_of_two_equal_keys_the_last_wins(owner):
    sent = message()
    sent.pop("branch")
    body = b"\x84" + b"".join(
        msgpack.packb(part)
        for pair in [("branch", "first"), *sent.items(), ("branch", "last")]
        for part in pair
    )
    assert assert_accepted(call("push", owner, "song", by=owner, raw=body))["branch_heads"] == {
        "last": C1
    }


ODD = {
    "an extension": msgpack.ExtType(5, b"x"),
    "a timestamp": msgpack.Timestamp(1_767_225_600),
    "not a number": float("nan"),
    "infinity": float("-inf"),
}
PLACES = {
    "in a key nobody knows": lambda sent, odd: sent.update(later=odd),
    "in force": lambda sent, odd: sent.update(force=odd),
    "in a commit's metadata": (
        lambda sent, odd: sent["bundle"]["commits"][0]["metadata"].update(section=odd)
    ),
    "deep in a commit": (
        lambda sent, odd: sent["bundle"]["commits"][0].update(structured_delta={"ops": [[odd]]})
    ),
    "in a manifest": (
        lambda sent, odd: sent["bundle"]["snapshots"][0]["manifest"].update({"a.txt": odd})
    ),
}


@pytest.mark.parametrize("place", [case("I29", name, place) for name, place in PLACES.items()])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_only_plain_finite_values_are_read(owner, place, odd):
    sent = message()
    place(sent, odd)
    assert_refused(call("push", owner, "song", sent, by=owner), 400, "malformed_body")
    assert_nothing_stored(owner)


def as_json(sent: Record) -> bytes:
    """A body in JSON."""
    return json.dumps(sent).encode()


IN_JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        case("I29", "an integer of 65 bits", as_json(message(bundle={}, later=2**64))),
        case("I29", "not a number", as_json(message(bundle={}, later=float("nan")))),
        case("I29", "infinity", as_json(message(bundle={}, later=float("inf")))),
        case(
            "I29",
            "a number too large to be finite",
            b'{"branch": "main", "bundle": {}, "later": 1e999}',
        ),
        case("I30", "half a surrogate pair", as_json(message(bundle={}, later="\ud800"))),
        case("I30", "not UTF-8", b'{"branch": "\xff"}'),
        case("I27", "deep", b'{"later": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        case("I25", "nothing", b""),
        case("I25", "cut short", as_json(message(bundle={}))[:-1]),
        case("I25", "an array", b"[]"),
    ],
)
def test_json_that_cannot_be_kept_is_malformed(owner, body):
    assert_refused(
        call("push", owner, "song", by=owner, raw=body, headers=IN_JSON), 400, "malformed_body"
    )


@pytest.mark.parametrize(
    "sent",
    [
        case("I31", "no bundle", {"branch": "main"}),
        case("I31", "bundle null", message(bundle=None)),
        case("I31", "bundle a list", message(bundle=[])),
        case("I31", "commits null", message(bundle=bundle(C1) | {"commits": None})),
        case("I31", "commits a map", message(bundle=bundle(C1) | {"commits": {}})),
        case("I31", "commits that are ids", message(bundle=bundle(C1) | {"commits": [C1]})),
        case("I31", "snapshots null", message(bundle=bundle(C1) | {"snapshots": None})),
        case("I31", "snapshots that are ids", message(bundle=bundle(C1) | {"snapshots": [S1]})),
        case(
            "I31",
            "a snapshot without manifest",
            message(bundle=bundle(C1) | {"snapshots": [{"snapshot_id": S1}]}),
        ),
        case(
            "I31",
            "a snapshot without id",
            message(bundle=bundle(C1) | {"snapshots": [{"manifest": {"a.txt": O1}}]}),
        ),
        case(
            "I31",
            "a commit without id",
            message(bundle=bundle(C1) | {"commits": [{"message": "one"}]}),
        ),
        case("I31", "objects null", message(bundle=bundle(C1) | {"objects": None})),
        case("I31", "objects that are ids", message(bundle=bundle(C1) | {"objects": [O1]})),
        case("I31", "no branch", {"bundle": bundle(C1)}),
        case("I31", "branch null", message(branch=None)),
        case("I31", "branch a number", message(branch=1)),
        case("I31", "branch bytes", message(branch=b"main")),
        case("I31", "branch a list", message(branch=["main"])),
        case("I31", "nothing at all", {}),
    ],
)
def test_a_push_has_its_shape(owner, sent):
    assert_refused(call("push", owner, "song", sent, by=owner), 422)
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "force",
    [
        case("I32", repr(force), force)
        for force in ("yes", "junk", "true", "", 1, 0, 1.0, None, [True], [])
    ],
)
def test_force_is_true_or_false_and_nothing_that_resembles_it(owner, force):
    pushed(owner, "song", C1, C2)
    assert_refused(push(owner, "song", bundle(CX), force=force), 422, naming=["force"])
    assert heads(owner, "song") == {"main": C2}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        case("I33", f"{field} {value!r}", field, value)
        for field, value in [
            ("repo_id", 1),
            ("branch", None),
            ("snapshot_id", 1),
            ("message", None),
            ("message", b"one"),
            ("committed_at", 1_767_225_600),
            ("parent_commit_id", [C1]),
            ("parent2_commit_id", {}),
            ("author", ["Ada"]),
            ("metadata", None),
            ("metadata", {"section": 1}),
            ("metadata", ["section"]),
            ("structured_delta", "a text"),
            ("structured_delta", []),
            ("sem_ver_bump", 1),
            ("breaking_changes", "a text"),
            ("breaking_changes", [1]),
            ("agent_id", None),
            ("model_id", 1),
            ("toolchain_id", {}),
            ("prompt_hash", None),
            ("signature", False),
            ("signer_key_id", 1),
            ("format_version", "5"),
            ("format_version", True),
            ("reviewed_by", "Ada"),
            ("reviewed_by", [None]),
            ("test_runs", 1.5),
            ("test_runs", -1),
            ("test_runs", 2**63),
            ("format_version", 2**64 - 1),
        ]
    ],
)
def test_a_field_of_a_commit_has_its_type(owner, field, value):
    assert_refused(push(owner, "song", spoilt(C1, **{field: value})), 422, naming=[field])
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "fields",
    [
        case(
            "I34",
            "in the structured delta",
            {"structured_delta": {"domain": "midi", "ops": [b"\x00\xff"]}},
        ),
        case("I34", "in a key nobody knows", {"later": b"x"}),
    ],
)
def test_a_record_holds_no_bytes(owner, fields):
    assert_refused(push(owner, "song", spoilt(C1, **fields)), 422, naming=[C1])
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "content_type",
    texts(
        "I35",
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "text/json",
        "x-application/x-msgpack",
    ),
)
def test_a_body_of_another_type_is_not_read(owner, content_type):
    answer = call(
        "push", owner, "song", by=owner, raw=PACKED, headers={"content-type": content_type}
    )
    assert_refused(answer, 415, "unsupported_media_type", naming=[MSGPACK])
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    "content_type",
    texts("I36", MSGPACK, "Application/X-MsgPack; charset=binary", "application/msgpack"),
)
def test_a_body_of_this_type_is_read_as_msgpack(owner, content_type):
    answer = call(
        "push", owner, "song", by=owner, raw=PACKED, headers={"content-type": content_type}
    )
    assert assert_accepted(answer)["branch_heads"] == {"main": C1}


@pytest.mark.parametrize(
    "content",
    [
        case("I36", "as text", {"content": "hello\n"}),
        case("I36", "in base64", {"content": "aGVsbG8K", "encoding": "base64"}),
    ],
)
def test_a_push_in_json_brings_its_objects(owner, content):
    sent = as_json(message(bundle=bundle(C1) | {"objects": [{"object_id": O1} | content]}))
    assert_accepted(call("push", owner, "song", by=owner, raw=sent, headers=IN_JSON))
    (stored,) = assert_accepted(fetch(owner, "song", [C1], by=owner))["objects"]
    assert stored["content"] == b"hello\n"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        case("I36", "msgpack under the name of JSON", PACKED, "application/json"),
        case("I36", "JSON under the name of msgpack", as_json(message(bundle={})), MSGPACK),
        case(
            "I36",
            "base64 that is none",
            b'{"bundle": {"objects": [{"object_id": "%s", "content": "?", '
            b'"encoding": "base64"}]}, "branch": "main"}' % O1.encode(),
            "application/json",
        ),
    ],
)
def test_a_body_has_the_format_of_its_content_type(owner, body, content_type):
    answer = call("push", owner, "song", by=owner, raw=body, headers={"content-type": content_type})
    assert_refused(answer, 400, "malformed_body")


def test_I37_a_body_may_be_as_large_as_the_limit_and_no_larger(configured, owner):
    configured.setenv("PIERIA_MAX_BODY_BYTES", str(len(PACKED)))
    too_large = call("push", owner, "song", by=owner, raw=PACKED + b" ")
    assert_refused(too_large, 413, "too_large", naming=[len(PACKED)])
    assert_nothing_stored(owner)
    assert_accepted(call("push", owner, "song", by=owner, raw=PACKED))


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        case("I37", "10,001 commits", "commits", 10_001),
        case("I37", "10,001 snapshots", "snapshots", 10_001),
        case("I37", "1,001 objects", "objects", 1_001),
    ],
)
def test_a_list_above_its_limit_is_refused_with_the_limit(owner, kind, count):
    some = {"commits": COMMITS[C1], "snapshots": SNAPSHOTS[S1], "objects": blob(b"hello\n")}
    answer = push(owner, "song", bundle(C1) | {kind: [some[kind]] * count})
    assert_refused(answer, 413, "too_large", naming=[count - 1])
    assert_nothing_stored(owner)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        case("I38", "deflate", "deflate", zlib.compress(PACKED)),
        case("I38", "a name for what is not compressed", "br", PACKED),
        case("I38", "two of them", "identity, gzip", gzip.compress(PACKED)),
    ],
)
def test_a_body_in_another_coding_than_gzip_and_zstd_is_refused(owner, encoding, body):
    answer = call("push", owner, "song", by=owner, raw=body, headers={"content-encoding": encoding})
    assert_refused(answer, 415, "unsupported_media_type")
    assert_nothing_stored(owner)


def packed(coding: str, body: bytes) -> bytes:
    """A body in a content coding."""
    return gzip.compress(body) if coding == "gzip" else zstd.compress(body)


def sent_as(owner: str, coding: str, body: bytes, function: str = "push") -> Answer:
    """A request whose body is compressed."""
    return call(function, owner, "song", by=owner, raw=body, headers={"content-encoding": coding})


each_coding = pytest.mark.parametrize("coding", ["gzip", "zstd"])


@each_coding
def test_a_compressed_body_is_the_same_as_one_that_is_not(owner, coding):
    assert_accepted(sent_as(owner, coding, packed(coding, PACKED)))
    assert_accepted(
        sent_as(owner, coding.upper(), packed(coding, PACKED[:40]) + packed(coding, PACKED[40:]))
    )


@each_coding
@pytest.mark.parametrize(
    "function", ["fetch", "negotiate", "filter_objects", "presign", "staging", "push_objects"]
)
def test_every_route_of_the_protocol_reads_compressed_bodies(merged, coding, function):
    plain = call(function, merged, "song", MESSAGES[function], by=merged)
    compressed = call(
        function,
        merged,
        "song",
        by=merged,
        raw=packed(coding, msgpack.packb(MESSAGES[function])),
        headers={"content-encoding": coding},
    )
    assert (compressed.status, compressed.value.keys()) == (
        plain.status,
        plain.value.keys(),
    ) and plain.status == 200


@each_coding
@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-1], lambda b: b[:20], lambda b: b + b"x", lambda b: PACKED, lambda b: b""],
)
def test_a_compressed_body_that_is_damaged_is_refused(owner, coding, spoil):
    answer = sent_as(owner, coding, spoil(packed(coding, PACKED)))
    assert_refused(answer, 400, "malformed_body")
    assert_nothing_stored(owner)


@each_coding
def test_a_body_that_expands_beyond_the_limit_is_refused_before_all_of_it_is_expanded(
    owner, coding
):
    content = msgpack.packb({"objects": [{"object_id": "x", "content": bytes(256 * 2**20)}]})
    body = packed(coding, content)
    del content
    tracemalloc.start()
    answer = sent_as(owner, coding, body, "push_objects")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_refused(answer, 413, "too_large", naming=[64 * 2**20])
    assert peak < 200 * 2**20


def test_a_refusal_of_an_expanded_body_names_its_limit(owner):
    ids = [f"{number:064x}" for number in range(400_000)]
    answer = sent_as(
        owner, "zstd", packed("zstd", msgpack.packb({"object_ids": ids})), "filter_objects"
    )
    assert_refused(answer, 413, "too_large", naming=[16 * 2**20])


def test_a_window_above_8_mib_is_refused(owner):
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(PACKED) + compressor.flush()
    assert_refused(sent_as(owner, "zstd", body), 400, "malformed_body", naming=["8 MiB"])


def test_I38_a_body_may_be_called_uncompressed(owner):
    assert_accepted(
        call("push", owner, "song", by=owner, raw=PACKED, headers={"content-encoding": "identity"})
    )


def test_a_body_of_a_declared_length_of_thousands_of_digits_is_too_large(owner: str) -> None:
    length = {"content-length": "9" * 5_000}
    answer = call("push", owner, "song", by=owner, raw=PACKED, headers=length)
    assert_refused(answer, 413, "too_large")
