"""DynamoDB's replies, read in a fraction of botocore's time.

botocore looks at each attribute of each row once for every type that it might have: of a clone's 2,400 rows
that was the greater part of our own time. Rows are left as they came, for `table` to decode in one step; all else
of a reply is botocore's as before.
"""

from typing import Any

from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory

ATTRIBUTE = "AttributeValue"
_parser_of_botocore: Any = AioJSONParser


class Replies(AioResponseParserFactory):
    """The parsers of a session, ours among them."""

    def create_parser(self, protocol_name: str) -> Any:
        """Called for every reply."""
        return _Parser() if protocol_name == "json" else super().create_parser(protocol_name)


class _Parser(_parser_of_botocore):  # type: ignore[misc]
    def _handle_map(self, shape: Any, value: Any) -> Any:
        return value if shape.value.name == ATTRIBUTE else super()._handle_map(shape, value)
