"""The bytes of a stranger are a plain value or a refusal, never an unexpected exception."""

import base64
import json
import math
import random
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import codec
from shared.codec import CONTAINERS, JSON, JSON_BYTES, MSGPACK, NESTING, VALUES
from shared.errors import ApiError, MalformedBody, TooLarge, UnsupportedMedia

texts = st.text(max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)
        ),
        max_leaves=12,
    )


LIMIT_BYTES = 64 * 1024 * 1024


def nested(levels: int) -> Any:
    """Lists in a list, nested to this depth."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def decode(body: bytes, content_type: str) -> Any:
    """The value in a body that arrives in one piece; the same, or the same refusal, if it arrives
    in many.
    """
    outcomes = [
        _outcome(body, content_type, size) for size in (max(len(body), 1), max(len(body) // 7, 1))
    ]
    assert repr(outcomes[0]) == repr(outcomes[1])
    if isinstance(outcomes[0], ApiError):
        raise outcomes[0]
    return outcomes[0]


def _outcome(body: bytes, content_type: str, piece_bytes: int) -> Any:
    try:
        decoder = codec.Decoder(content_type, LIMIT_BYTES)
        for start in range(0, len(body), piece_bytes):
            decoder.feed(body[start : start + piece_bytes])
        return decoder.end()
    except ApiError as refused:
        return refused


# ── Round trips ───────────────────────────────────────────────────────────────────────────────────


@given(values(st.one_of(scalars, st.binary(max_size=8))))
def test_msgpack_comes_back_as_it_was(value):
    decoded = decode(codec.encode(value, as_msgpack=True), MSGPACK)
    assert decoded == value
    assert repr(decoded) == repr(value)  # 1, 1.0 and True are equal, and not the same


@given(values(scalars))
def test_json_comes_back_as_it_was(value):
    decoded = decode(codec.encode(value, as_msgpack=False), JSON)
    assert repr(decoded) == repr(value)


@given(st.dictionaries(texts, values(st.one_of(scalars, st.binary(max_size=8))), max_size=5))
def test_a_record_comes_back_with_its_keys_in_order(record):
    again = codec.unpack_record(codec.pack_record(record))
    assert (again, list(again)) == (record, list(record))


@given(
    st.dictionaries(texts, st.lists(values(scalars), max_size=4), max_size=4),
    st.dictionaries(texts, values(scalars), max_size=4),
)
def test_lists_put_together_from_packed_elements_are_as_if_packed_whole(lists, rest):
    rest = {key: value for key, value in rest.items() if key not in lists}
    packed = {
        key: [msgpack.packb(element) for element in elements] for key, elements in lists.items()
    }
    assert codec.pack_map_of_lists(packed, rest) == msgpack.packb({**rest, **lists})


@pytest.mark.parametrize("length", [15, 16, 65535, 65536])
def test_a_list_of_any_length_has_its_own_header(length):
    whole = msgpack.packb({"a": [7] * length})
    assert codec.pack_map_of_lists({"a": [b"\x07"] * length}, {}) == whole


@pytest.mark.parametrize("object_id", ["", "a" * 31, "a" * 32, "a" * 64, "ä" * 128])
@pytest.mark.parametrize("length", [0, 1, 2**8 - 1, 2**8, 2**16 - 1, 2**16])
def test_an_object_begins_as_if_packed_whole(object_id, length):
    whole = msgpack.packb({"object_id": object_id, "content": b"x" * length})
    assert codec.object_start(object_id, length) + b"x" * length == whole


def test_the_largest_object_that_msgpack_can_say_has_a_header_and_a_larger_one_none():
    assert codec.object_start("a", 2**32 - 1).endswith(b"\xc6\xff\xff\xff\xff")
    with pytest.raises(OverflowError):
        codec.object_start("a", 2**32)


def test_bytes_in_a_json_reply_are_base64():
    assert codec.encode({"content": b"\x00\xff"}, as_msgpack=False) == b'{"content":"AP8="}'


# ── Formats ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content_type",
    [
        MSGPACK,
        "application/msgpack",
        "application/vnd.msgpack",
        "Application/X-MsgPack",
        "application/x-msgpack; charset=binary",
        " application/x-msgpack ;q=1",
    ],
)
def test_a_body_is_msgpack_by_its_content_type(content_type):
    assert decode(b"\x81\xa1a\x01", content_type) == {"a": 1}


@pytest.mark.parametrize(
    "content_type", [JSON, "application/json; charset=utf-8", "APPLICATION/JSON"]
)
def test_a_body_is_json_by_its_content_type(content_type):
    assert decode(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "json",
        "application/jsonl",
    ],
)
def test_a_body_of_another_content_type_is_not_read(content_type):
    with pytest.raises(UnsupportedMedia, match=MSGPACK):
        decode(b"{}", content_type)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/x-msgpack, application/json", True),
        ("application/x-msgpack", True),
        ("APPLICATION/MSGPACK", True),
        ("application/json", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_a_reply_is_msgpack_if_the_client_accepts_it(accept, expected):
    assert codec.accepts_msgpack(accept) is expected


# ── Hostile bodies ────────────────────────────────────────────────────────────────────────────────


def decoded_or_refused(body: bytes, content_type: str) -> None:
    """Decode. Accepted values can be encoded again in both formats."""
    try:
        value = decode(body, content_type)
    except ApiError as refused:
        assert refused.status in (400, 413)
        assert refused.message.isprintable()
        return
    codec.encode(value, as_msgpack=True)
    codec.encode(value, as_msgpack=False)


@settings(max_examples=300)
@given(st.binary(max_size=60), st.sampled_from([MSGPACK, JSON]))
def test_any_bytes_are_decoded_or_refused(body, content_type):
    decoded_or_refused(body, content_type)


@settings(max_examples=300)
@given(
    values(st.one_of(scalars, st.binary(max_size=4))),
    st.integers(0, 2**32),
    st.sampled_from([MSGPACK, JSON]),
)
def test_a_mutilated_body_is_decoded_or_refused(value, seed, content_type):
    body = bytearray(codec.encode({"a": value, "b": [value]}, as_msgpack=content_type == MSGPACK))
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 4)):
        where = dice.randrange(len(body))
        body[where : where + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 2))
        body = body or bytearray(b"\xc1")
    decoded_or_refused(bytes(body), content_type)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="the byte that is never used"),
        pytest.param(b"\x81\xa1a", id="cut short"),
        pytest.param(b"\x80\x80", id="something after the end"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="an array of four billion, not sent"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="a map of four billion, not sent"),
        pytest.param(b"\xdb\xff\xff\xff\xff", id="a text of four billion, not sent"),
        pytest.param(b"\xc6\xff\xff\xff\xff", id="bytes of four billion, not sent"),
        pytest.param(b"\xc9\xff\xff\xff\xff\x05", id="an extension of four billion, not sent"),
        pytest.param(b"\x92" * 60_000, id="pairs in pairs, 60,000 deep"),
        pytest.param(b"\x81\xa1a" * 60_000 + b"\xc0", id="maps in maps, 60,000 deep"),
        pytest.param(
            b"\xdd\x00\x0f\x00\x00" * 900 + b"\xc0" * 2**20, id="wide arrays in wide arrays"
        ),
        pytest.param(b"\xd4\x05\x00", id="an extension type"),
        pytest.param(b"\xd6\xff\x00\x00\x00\x01", id="a timestamp"),
        pytest.param(b"\xc7\x0c\xff" + b"\xff" * 12, id="a timestamp out of range"),
        pytest.param(b"\x91\xd6\xff\x00\x00\x00\x01", id="a timestamp in a list"),
        pytest.param(b"\xcb" + struct.pack(">d", math.nan), id="NaN"),
        pytest.param(b"\xcb" + struct.pack(">d", math.inf), id="infinity"),
        pytest.param(b"\xca" + struct.pack(">f", -math.inf), id="minus infinity, single"),
        pytest.param(b"\x81\xa1a\xcb" + struct.pack(">d", math.nan), id="NaN in a map"),
        pytest.param(b"\x81\x01\x02", id="a number for a key"),
        pytest.param(b"\x81\xc0\x02", id="nil for a key"),
        pytest.param(b"\x81\x90\x02", id="a list for a key"),
        pytest.param(b"\x81\x80\x02", id="a map for a key"),
        pytest.param(b"\x81\xcb" + struct.pack(">d", math.nan) + b"\x02", id="NaN for a key"),
        pytest.param(b"\xa1\xff", id="a text that is not UTF-8"),
        pytest.param(b"\xa3\xed\xa0\x80", id="a lone surrogate"),
    ],
)
def test_hostile_msgpack_is_malformed(body):
    with pytest.raises(MalformedBody):
        decode(body, MSGPACK)


@pytest.mark.parametrize(
    "body", [b"\x81\xc4\x01a\x02", b"\x91\x81\xc4\x01\xff\x02"], ids=["outside", "inside"]
)
def test_a_map_key_of_bytes_is_malformed(body):
    """JSON has no word for it: a record that held one could never be fetched as JSON."""
    with pytest.raises(MalformedBody):
        decode(body, MSGPACK)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut short"),
        pytest.param(b"{} {}", id="something after the end"),
        pytest.param(b"{'a': 1}", id="single quotes"),
        pytest.param(b"\xff\xfe", id="half a byte order mark"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[Infinity]", id="infinity"),
        pytest.param(b'{"a": -Infinity}', id="minus infinity"),
        pytest.param(b"1e999", id="a number that becomes infinite"),
        pytest.param(b"18446744073709551616", id="an integer of 65 bits"),
        pytest.param(b"-9223372036854775809", id="a negative integer of 65 bits"),
        pytest.param(b"9" * 5000, id="an integer of 5,000 digits"),
        pytest.param(b'"\\ud800"', id="a lone surrogate"),
        pytest.param(b'{"\\udfff": 1}', id="a lone surrogate for a key"),
        pytest.param(b"[" * 100_000, id="100,000 brackets"),
        pytest.param(b"[" * 5_000 + b"]" * 5_000, id="5,000 deep"),
        pytest.param(b'{"a":' * 5_000 + b"1" + b"}" * 5_000, id="5,000 maps deep"),
    ],
)
def test_hostile_json_is_malformed(body):
    with pytest.raises(MalformedBody):
        decode(body, JSON)


@pytest.mark.parametrize("as_msgpack", [True, False], ids=["msgpack", "JSON"])
def test_a_body_may_nest_so_deep_and_no_deeper(as_msgpack):
    media = MSGPACK if as_msgpack else JSON
    deepest = nested(NESTING)
    assert decode(codec.encode(deepest, as_msgpack=as_msgpack), media) == deepest
    with pytest.raises(MalformedBody, match=f"deeper than {NESTING}"):
        decode(codec.encode(nested(NESTING + 1), as_msgpack=as_msgpack), media)


def test_a_value_inside_the_deepest_list_counts_as_a_level():
    with pytest.raises(MalformedBody, match="nests deeper"):
        decode(b"\x91" * NESTING + b"\x07", MSGPACK)


@pytest.mark.parametrize("empty", [b"\x80", b"\x90"], ids=["maps", "lists"])
def test_one_byte_containers_are_counted(empty):
    with pytest.raises(TooLarge, match="lists and maps"):
        decode(b"\xdd" + CONTAINERS.to_bytes(4, "big") + empty * CONTAINERS, MSGPACK)


@pytest.mark.parametrize("empty", [b"{}", b"[]"], ids=["maps", "lists"])
def test_containers_of_json_are_counted_before_they_are_made(empty):
    with pytest.raises(TooLarge, match="lists and maps"):
        decode(b"[" + b",".join([empty] * CONTAINERS) + b"]", JSON)


def test_as_many_containers_as_are_taken():
    many = CONTAINERS - 1
    assert len(decode(b"\xdd" + many.to_bytes(4, "big") + b"\x80" * many, MSGPACK)) == many


def test_one_byte_values_are_counted():
    body = b"\xdd" + (VALUES + 1).to_bytes(4, "big") + b"\xc0" * (VALUES + 1)
    with pytest.raises(TooLarge, match=f"more than {VALUES} values"):
        decode(body, MSGPACK)


def test_a_json_body_has_a_size():
    body = b'"' + b"x" * (JSON_BYTES - 2) + b'"'
    assert len(decode(body, JSON)) == JSON_BYTES - 2
    with pytest.raises(TooLarge, match=MSGPACK):
        decode(body + b" ", JSON)


@pytest.mark.parametrize(
    ("body", "media"), [(b'{"a": 1, "a": 2}', JSON), (b"\x82\xa1a\x01\xa1a\x02", MSGPACK)]
)
def test_of_a_key_given_twice_the_last_value_counts(body, media):
    assert decode(body, media) == {"a": 2}


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 0, 1.5, 1e308, 5e-324])
def test_the_extreme_numbers_are_kept(number):
    assert decode(msgpack.packb(number), MSGPACK) == number
    assert decode(json.dumps(number).encode(), JSON) == number


def test_a_complaint_quotes_nothing_that_was_sent():
    for body, media in (
        (b"\xc1 hunter2", MSGPACK),
        (b'{"hunter2" 1}', JSON),
        (b"\xa9\xffhunter2!", MSGPACK),
    ):
        with pytest.raises(MalformedBody) as refused:
            decode(body, media)
        assert "hunter2" not in refused.value.message


# ── Parts of values ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, {"b": b""}]}, True),
        ([[[b"x"]]], True),
        (b"", True),
        ({"a": "text", "b": [None, 1.5]}, False),
        ({}, False),
    ],
)
def test_bytes_are_found_anywhere_in_a_value(value, expected):
    assert codec.holds_bytes(value) is expected


@pytest.mark.parametrize(
    ("item", "content"),
    [
        ({"content": "AP8=", "encoding": "base64"}, b"\x00\xff"),
        ({"content": "", "encoding": "base64"}, b""),
        ({"content": "häh"}, "häh".encode()),
        ({"content": "AP8=", "encoding": "text"}, b"AP8="),
        ({"content": "AP8="}, b"AP8="),
        ({"content": 5, "encoding": "base64"}, 5),
        ({"content": None}, None),
    ],
)
@pytest.mark.parametrize(
    "place", [lambda item: {"objects": [item]}, lambda item: {"bundle": {"objects": [item]}}]
)
def test_the_content_of_a_json_object_is_base64_where_it_says_so_else_text(item, content, place):
    sent = place({"object_id": "o", **item})
    expected = place({"object_id": "o", **item, "content": content})
    assert decode(json.dumps(sent).encode(), JSON) == expected


@pytest.mark.parametrize("text", ["A", "AP8", "AP8=!", "ä", "AP 8="])
def test_content_that_is_not_base64_is_malformed(text):
    sent = {"objects": [{"object_id": "o", "content": text, "encoding": "base64"}]}
    with pytest.raises(MalformedBody):
        decode(json.dumps(sent).encode(), JSON)


@given(st.binary(max_size=50))
def test_any_content_survives_json(content):
    item = {"object_id": "o", "content": base64.b64encode(content).decode(), "encoding": "base64"}
    decoded = decode(json.dumps({"objects": [item]}).encode(), JSON)
    assert decoded["objects"][0]["content"] == content


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(
            {
                "commit_id": "c",
                "structured_delta": {"ops": [{"object_id": "o", "content": "text"}]},
            },
            id="deep",
        ),
        pytest.param(
            {"commit_id": "c", "object_id": "o", "content": "AP8=", "encoding": "base64"},
            id="at its top",
        ),
    ],
)
def test_a_record_that_speaks_of_objects_is_left_as_it_came(record):
    """Only a value in the place of an object is one: records come back exactly as they were sent."""
    sent = {"bundle": {"commits": [record], "snapshots": [], "objects": []}, "branch": "main"}
    assert decode(json.dumps(sent).encode(), JSON) == sent
