"""Packs: what goes in comes out, from as few reads as are sensible, and a damaged one is never
believed.
"""

from hashlib import sha256

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import packs
from shared.errors import Damaged
from shared.model import Kind, Loose, ObjectId, Packed, parse_location
from shared.packs import GAP_BYTES, MAGIC, RANGE_BYTES, WINDOW_BYTES, PackSpan

ENTRIES = [
    (Kind.OBJECT, "one", b"first"),
    (Kind.SNAPSHOT, "one", b""),
    (Kind.COMMIT, "two", b"\x00third\xff"),
]

entries = st.lists(
    st.tuples(
        st.sampled_from(Kind), st.text("ab1", min_size=1, max_size=4), st.binary(max_size=40)
    ),
    max_size=12,
    unique_by=lambda entry: entry[:2],
)


# ── Whole packs ───────────────────────────────────────────────────────────────────────────────────


@given(entries)
def test_every_entry_is_at_its_place_in_the_pack(chosen):
    pack = packs.build(chosen)
    assert packs.read_index(pack.name, pack.data) == pack.locations
    assert pack.locations.keys() == {(kind, entry_id) for kind, entry_id, _ in chosen}
    for kind, entry_id, data in chosen:
        at = pack.locations[kind, entry_id]
        assert (at.pack, isinstance(at, Loose)) == (pack.name, False)
        assert pack.data[at.offset : at.offset + at.length] == data


def test_a_pack_is_laid_out_as_its_page_says():
    pack = packs.build(ENTRIES)
    index = msgpack.packb([["O", "one", 8, 5], ["S", "one", 13, 0], ["C", "two", 13, 7]])
    assert (
        pack.data == MAGIC + b"first\x00third\xff" + index + len(index).to_bytes(8, "big") + MAGIC
    )


def test_a_pack_is_named_by_its_bytes():
    pack = packs.build(ENTRIES)
    assert pack.name == sha256(pack.data).hexdigest()
    assert packs.build(ENTRIES) == pack
    assert packs.build(reversed(ENTRIES)).name != pack.name


def test_a_location_survives_its_text():
    for at in packs.build(ENTRIES).locations.values():
        assert parse_location(str(at)) == at


# ── Damage ────────────────────────────────────────────────────────────────────────────────────────


def test_no_part_of_a_pack_is_taken_for_a_whole_one():
    pack = packs.build(ENTRIES)
    for size in range(len(pack.data)):
        with pytest.raises(Damaged, match=f"index of pack {pack.name}"):
            packs.read_index(pack.name, pack.data[:size])
        with pytest.raises(Damaged):
            packs.read_index(pack.name, pack.data[len(pack.data) - size :])


@pytest.mark.parametrize("place", [*range(len(MAGIC)), *range(-len(MAGIC), 0)])
def test_a_pack_with_a_changed_magic_is_damaged(place):
    pack = packs.build(ENTRIES)
    data = bytearray(pack.data)
    data[place] ^= 1
    with pytest.raises(Damaged, match=f"index of pack {pack.name}"):
        packs.read_index(pack.name, bytes(data))


@settings(max_examples=200)
@given(entries, st.integers(min_value=0), st.integers(1, 255))
def test_a_flipped_byte_is_damage_or_points_into_the_pack(chosen, where, flip):
    pack = packs.build(chosen)
    data = bytearray(pack.data)
    data[where % len(data)] ^= flip
    try:
        found = packs.read_index(pack.name, bytes(data))
    except Damaged:
        return
    assert all(
        len(MAGIC) <= at.offset <= at.offset + at.length < len(data) for at in found.values()
    )


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_an_index_of_any_bytes_is_read_or_damaged(index):
    data = MAGIC + b"entries" + index + len(index).to_bytes(8, "big") + MAGIC
    try:
        packs.read_index("a", data)
    except Damaged as damaged:
        assert damaged.status == 500


@pytest.mark.parametrize(
    "index",
    [
        pytest.param([["O", "x", 7, 1]], id="begins inside the magic"),
        pytest.param([["O", "x", 8, 8]], id="ends inside the index"),
        pytest.param([["O", "x", 9, -1]], id="negative length"),
        pytest.param([["O", "x", -1, 1]], id="negative offset"),
        pytest.param([["O", "x", 2**63, 1]], id="far away"),
        pytest.param([["X", "x", 8, 1]], id="unknown kind"),
        pytest.param([[["O"], "x", 8, 1]], id="a list for a kind"),
        pytest.param([["O", ["x"], 8, 1]], id="a list for an id"),
        pytest.param([["O", "x", "8", 1]], id="text for an offset"),
        pytest.param([["O", "x", 8, None]], id="nothing for a length"),
        pytest.param([["O", "x", 8]], id="three fields"),
        pytest.param([5], id="a number for an entry"),
        pytest.param(5, id="a number for the index"),
        pytest.param(None, id="nothing for the index"),
        pytest.param({"O": 1}, id="a map for the index"),
    ],
)
def test_a_wrong_index_is_damage(index):
    packed = msgpack.packb(index)
    with pytest.raises(Damaged):
        packs.read_index("a", MAGIC + b"entries" + packed + len(packed).to_bytes(8, "big") + MAGIC)


# ── Plans ─────────────────────────────────────────────────────────────────────────────────────────


def at(offset: int, length: int, pack: str = "p") -> Packed:
    return Packed(pack, offset, length)


@pytest.mark.parametrize(
    ("locations", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([at(8, 5)], [(8, 13)], id="one"),
        pytest.param([at(13, 5), at(8, 5)], [(8, 18)], id="neighbours, given backwards"),
        pytest.param([at(8, 5), at(8, 5)], [(8, 13)], id="the same twice"),
        pytest.param(
            [at(0, 1), at(1 + GAP_BYTES, 1)],
            [(0, GAP_BYTES + 2)],
            id="as far apart as is read for nothing",
        ),
        pytest.param(
            [at(0, 1), at(2 + GAP_BYTES, 1)],
            [(0, 1), (GAP_BYTES + 2, GAP_BYTES + 3)],
            id="one byte farther",
        ),
        pytest.param([at(0, 5), at(5, 5, "q")], [(0, 5), (5, 10)], id="in two packs"),
        pytest.param(
            [at(0, RANGE_BYTES - 1), at(RANGE_BYTES - 1, 1)],
            [(0, RANGE_BYTES)],
            id="a range, filled",
        ),
        pytest.param(
            [at(0, RANGE_BYTES), at(RANGE_BYTES, 1)],
            [(0, RANGE_BYTES), (RANGE_BYTES, RANGE_BYTES + 1)],
            id="a byte more than a range",
        ),
        pytest.param(
            [at(0, 3 * RANGE_BYTES)], [(0, 3 * RANGE_BYTES)], id="one entry larger than a range"
        ),
        pytest.param(
            [at(0, 1), at(1, RANGE_BYTES)],
            [(0, 1), (1, RANGE_BYTES + 1)],
            id="a small one before a large one",
        ),
        pytest.param([at(0, 9), at(2, 3), at(9, 1)], [(0, 10)], id="one inside another"),
    ],
)
def test_neighbours_are_read_at_once(locations, expected):
    assert [(span.start, span.stop) for span in packs.plan(locations)] == expected


small, large = st.integers(0, 3), st.integers(0, 2 * RANGE_BYTES)
located = st.builds(Packed, st.sampled_from("pq"), st.one_of(small, large), st.one_of(small, large))


@settings(max_examples=200)
@given(st.lists(located, max_size=14))
def test_a_plan_covers_each_location_once_in_ranges_of_bounded_size(locations):
    spans = packs.plan(locations)
    covered = [location for span in spans for location in span.locations]
    assert len(covered) == len(set(covered))
    assert set(covered) == set(locations)
    for span in spans:
        assert span.start == min(location.offset for location in span.locations)
        assert span.stop == max(location.offset + location.length for location in span.locations)
        assert {location.pack for location in span.locations} == {span.pack}
        assert span.stop - span.start <= RANGE_BYTES or len(span.locations) == 1


@given(entries, st.integers(0, 2**12 - 1))
def test_entries_cut_from_spans_equal_the_packed_ones(chosen, bits):
    """Any choice of entries, read range by range."""
    pack = packs.build(chosen)
    wanted = {
        pack.locations[kind, entry_id]: data
        for n, (kind, entry_id, data) in enumerate(chosen)
        if bits >> n & 1
    }
    read = {
        location: data
        for span in packs.plan(wanted)
        for location, data in span.cut(pack.data[span.start : span.stop])
    }
    assert read == wanted


@pytest.mark.parametrize("data", [b"", b"1234", b"123456"])
def test_a_range_that_came_short_or_long_is_damage(data):
    span = PackSpan("p", 8, 13, (at(8, 5),))
    with pytest.raises(Damaged, match="a part of pack p"):
        list(span.cut(data))


# ── Windows ───────────────────────────────────────────────────────────────────────────────────────


def span(size: int) -> PackSpan:
    return PackSpan("p", 100, 100 + size)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1], [1], id="one"),
        pytest.param([WINDOW_BYTES + 1], [1], id="one larger than a window"),
        pytest.param([RANGE_BYTES, WINDOW_BYTES - RANGE_BYTES], [2], id="a window, filled"),
        pytest.param([RANGE_BYTES, WINDOW_BYTES - RANGE_BYTES, 1], [2, 1], id="a byte more"),
        pytest.param([1, WINDOW_BYTES, 1], [1, 1, 1], id="a large one between small ones"),
        pytest.param(
            [1] * (WINDOW_BYTES // GAP_BYTES + 1),
            [WINDOW_BYTES // GAP_BYTES, 1],
            id="many small ones, each as large as a gap",
        ),
    ],
)
def test_a_read_is_a_window(sizes, expected):
    spans = [span(size) for size in sizes]
    windows = list(packs.windows(spans))
    assert [len(window) for window in windows] == expected
    assert [each for window in windows for each in window] == spans


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, []),
        (1, [(0, 1)]),
        (RANGE_BYTES, [(0, RANGE_BYTES)]),
        (
            2 * RANGE_BYTES + 1,
            [
                (0, RANGE_BYTES),
                (RANGE_BYTES, 2 * RANGE_BYTES),
                (2 * RANGE_BYTES, 2 * RANGE_BYTES + 1),
            ],
        ),
    ],
)
def test_a_loose_object_is_read_in_ranges(length, expected):
    spans = packs.plan_loose(ObjectId("o"), Loose(length))
    assert [(one.start, one.stop) for one in spans] == expected
    assert {one.object_id for one in spans} <= {"o"}
