"""The messages for invalid fields of a request: each field with its fault and its remedy."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.errors import ApiError, TooLarge, Unprocessable

SHOWN_CHARACTERS = 300
"""A message lists invalid fields up to this length, and then the number of the others."""
FIELD_CHARACTERS = 80

_STEPS = "push an older commit first, as a branch of its own, then this one"
_AGAIN = "send the rest in another request"
_FEWER = "publish the domain with fewer of them"
REMEDIES: Mapping[str, str] = {
    "object_ids": _AGAIN,
    "sizes": _AGAIN,
    "objects": "send the rest with push/objects first",
    "commits": _STEPS,
    "snapshots": _STEPS,
    "manifest": "keep fewer files in one repository",
    "want": _AGAIN,
    "have": "send the newest ones only",
    "bases": "send the newest ones only",
    "changelog": "leave out the oldest entries",
    "tags": _AGAIN,
    "dimensions": _FEWER,
    "artifact_types": _FEWER,
    "supported_commands": _FEWER,
}
"""The next step for a list that is too long, by the name of its field."""

_TEXTS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not known here: check its spelling",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "bytes_type": "must be bytes, or in JSON text",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "value_error": "{error}",
}
"""The text of a fault by its name in pydantic, with the values of its context."""


def refusal(what: str, errors: Iterable[Mapping[str, Any]]) -> ApiError:
    """The refusal for pydantic's errors of a value: TooLarge if a list is over its limit."""
    found = sorted(errors, key=lambda error: error["type"] != "too_long")
    texts = list(dict.fromkeys(map(_text, found)))
    message = f"{what}{texts[0]}"
    shown = 1
    for text in texts[1:]:
        if len(message) + len(text) > SHOWN_CHARACTERS:
            break
        message += f";{text}"
        shown += 1
    if shown < len(texts):
        message += f"; and {len(texts) - shown} more"
    return (TooLarge if found[0]["type"] == "too_long" else Unprocessable)(message)


def _text(error: Mapping[str, Any]) -> str:
    """One error as ` at field: fault`."""
    path = ".".join(map(str, error["loc"]))[:FIELD_CHARACTERS]
    where = f", at {path}: " if path else ": "
    context = error.get("ctx", {})
    if error["type"] == "too_long":
        remedy = REMEDIES.get(str(error["loc"][-1]) if error["loc"] else "", "send less at once")
        return f"{where}more than {context['max_length']} entries; {remedy}"
    text = _TEXTS.get(error["type"])
    return where + (text.format_map(context) if text else str(error["msg"]))
