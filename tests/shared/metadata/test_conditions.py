"""Conditions as values: evaluated here, and rendered for DynamoDB."""

from typing import Any

import pytest

from shared.engines.expressions import only_if, setting
from shared.metadata.conditions import (
    NO_ROW,
    ROW_EXISTS,
    Absent,
    Condition,
    Equals,
    Exists,
    Greater,
    Less,
    either,
    every,
    holds,
)


@pytest.mark.parametrize(
    ("condition", "row", "expected"),
    [
        (NO_ROW, None, True),
        (NO_ROW, {"pk": "x"}, False),
        (ROW_EXISTS, None, False),
        (every(Exists("a"), Equals("a", 1)), {"a": 1}, True),
        (Equals("a", 1), {"a": "1"}, False),
        (Less("a", 1), {}, False),
        (Less("a", 1), {"a": "0"}, False),
        (Less("a", 1), {"a": 0}, True),
        (Greater("a", 1), {"a": 1}, False),
        (Greater("a", 1), {"a": 2}, True),
        (every(Absent("a"), either(Absent("b"), Less("b", 1))), {"b": 0}, True),
        (either(NO_ROW, Exists("c"), Less("b", 1)), {"pk": "x", "b": 2}, False),
    ],
)
def test_a_condition_holds_as_in_dynamodb(condition: Condition, row: Any, expected: bool) -> None:
    assert holds(condition, row) is expected


def test_nested_conditions_are_rendered_in_parentheses() -> None:
    condition = every(Absent("a"), either(Equals("b", 1), NO_ROW))
    assert only_if(condition) == {
        "ConditionExpression": (
            "attribute_not_exists(#a) AND ( #b = :0 OR attribute_not_exists(pk) )"
        ),
        "ExpressionAttributeNames": {"#a": "a", "#b": "b"},
        "ExpressionAttributeValues": {":0": {"N": "1"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def test_an_update_has_values_of_its_own() -> None:
    """A condition and an assignment may name the same attribute with two values."""
    options = setting({"a": 2}, Equals("a", 1))
    assert options["ConditionExpression"] == "#a = :0"
    assert options["UpdateExpression"] == "SET #a = :1"
    assert options["ExpressionAttributeValues"] == {":0": {"N": "1"}, ":1": {"N": "2"}}
