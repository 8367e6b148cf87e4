"""Conditions and updates as expressions of DynamoDB."""

from shared.engines import items
from shared.metadata.conditions import (
    Absent,
    AllOf,
    AnyOf,
    Condition,
    Equals,
    Exists,
    Greater,
    Less,
    Row,
    Value,
)

_OPERATORS = {Equals: "=", Less: "<", Greater: ">"}


class Expression:
    """An expression under construction, with the names and the values that it uses."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Value] = {}

    def name(self, attribute: str) -> str:
        """Return the placeholder of an attribute. `pk` needs none: it is not a reserved word."""
        if attribute == "pk":
            return attribute
        self.names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def value(self, value: Value) -> str:
        """Return the placeholder of a value."""
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    def condition(self, condition: Condition) -> str:
        """Return the text of a condition."""
        match condition:
            case Absent(attribute):
                return f"attribute_not_exists({self.name(attribute)})"
            case Exists(attribute):
                return f"attribute_exists({self.name(attribute)})"
            case Equals(attribute, value) | Less(attribute, value) | Greater(attribute, value):
                operator = _OPERATORS[type(condition)]
                return f"{self.name(attribute)} {operator} {self.value(value)}"
            case AllOf(parts):
                return " AND ".join(self._part(part) for part in parts)
            case AnyOf(parts):
                return " OR ".join(self._part(part) for part in parts)

    def assignments(self, row: Row) -> str:
        """Return the text of an update that sets these attributes."""
        return "SET " + ", ".join(
            f"{self.name(name)} = {self.value(value)}" for name, value in row.items()
        )

    def _part(self, condition: Condition) -> str:
        text = self.condition(condition)
        return f"( {text} )" if isinstance(condition, AllOf | AnyOf) else text

    def options(self, condition: str = "") -> dict[str, object]:
        """Return the options of a request: the condition, the names and the values."""
        options: dict[str, object] = {}
        if self.names:
            options["ExpressionAttributeNames"] = self.names
        if self.values:
            options["ExpressionAttributeValues"] = {
                name: items.encode(value) for name, value in self.values.items()
            }
        if condition:
            options["ConditionExpression"] = condition
            options["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return options


def only_if(condition: Condition | None) -> dict[str, object]:
    """Return the options of a write without an update expression."""
    expression = Expression()
    return expression.options(expression.condition(condition) if condition else "")


def setting(row: Row, condition: Condition | None) -> dict[str, object]:
    """Return the options of a write that sets these attributes."""
    expression = Expression()
    text = expression.condition(condition) if condition else ""
    update = expression.assignments(row)
    return {**expression.options(text), "UpdateExpression": update}


def removing(attribute: str, condition: Condition) -> dict[str, object]:
    """Return the options of a write that removes one attribute."""
    expression = Expression()
    text = expression.condition(condition)
    update = f"REMOVE {expression.name(attribute)}"
    return {**expression.options(text), "UpdateExpression": update}
