"""The size of an item, as the DynamoDB developer guide has it ("item sizes and formats")."""

import pytest

from shared import units


@pytest.mark.parametrize(
    ("item", "size"),
    [
        pytest.param({}, 0, id="nothing"),
        pytest.param({"pk": {"S": "abc"}}, 5, id="a text"),
        pytest.param({"né": {"S": "ü€"}}, 3 + 5, id="texts count in UTF-8"),
        pytest.param({"b": {"B": b"1234"}}, 5, id="bytes as they are, not in base64"),
        pytest.param({"n": {"N": "0"}}, 2, id="a zero"),
        pytest.param({"n": {"N": "7"}}, 3, id="one digit"),
        pytest.param({"n": {"N": "1700000001"}}, 1 + 5 + 1, id="two digits a byte, and one"),
        pytest.param({"n": {"N": "1700000000"}}, 1 + 1 + 1, id="zeros at the end are free"),
        pytest.param({"n": {"N": "-12.5"}}, 1 + 2 + 1 + 1, id="a sign takes a byte"),
        pytest.param({"t": {"BOOL": True}, "u": {"NULL": True}}, 4, id="flags"),
        pytest.param({"l": {"L": []}}, 4, id="an empty list"),
        pytest.param(
            {"l": {"L": [{"S": "ab"}, {"S": "c"}]}},
            1 + 3 + 3 + 2,
            id="a list, a byte more for each",
        ),
        pytest.param({"m": {"M": {"k": {"S": "v"}}}}, 1 + 3 + 1 + 2, id="a map"),
        pytest.param({"s": {"SS": ["a", "bc"]}}, 1 + 3, id="a set"),
    ],
)
def test_the_size_of_an_item(item, size):
    assert units.item_size(item) == size


@pytest.mark.parametrize(
    ("size", "reads", "writes"), [(0, 1, 1), (1024, 1, 1), (1025, 1, 2), (4096, 1, 4), (4097, 2, 5)]
)
def test_units_are_begun_whole(size, reads, writes):
    assert units.read_units(size, consistent=True) == reads
    assert units.read_units(size, consistent=False) == reads / 2
    assert units.write_units(size) == writes
