"""A request of the wrong shape is refused in the hub's words, all invalid fields at once, each with
its remedy.
"""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from infra import openapi
from shared import refusals
from shared.errors import ApiError, TooLarge, Unprocessable
from shared.protocol import limits
from shared.protocol.base import parse
from shared.protocol.branches import DeleteBranchQuery
from shared.protocol.domains import ENTRIES, Capabilities
from shared.protocol.fetch import Fetch
from shared.protocol.pages import PageQuery
from shared.protocol.push import FilterObjects, Presign, Push, PushObjects
from shared.protocol.records import ReleaseRecord, SnapshotRecord
from shared.protocol.repositories import NewRepo, RepoChange
from shared.protocol.tags import PostTags
from shared.texts import MESSAGE_CHARACTERS


def refused(shape: type[BaseModel], value: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(shape, value)
    return caught.value


LISTS: dict[str, tuple[type[BaseModel], Any]] = {
    "object_ids": (FilterObjects, {"object_ids": ["x"] * (limits.FILTER_IDS + 1)}),
    "sizes": (Presign, {"sizes": {str(n): 1 for n in range(limits.PRESIGN_IDS + 1)}}),
    "objects": (
        PushObjects,
        {"objects": [{"object_id": "x", "content": b""}] * (limits.OBJECTS + 1)},
    ),
    "commits": (Push, {"branch": "b", "bundle": {"commits": [{}] * (limits.COMMITS + 1)}}),
    "snapshots": (Push, {"branch": "b", "bundle": {"snapshots": [{}] * (limits.SNAPSHOTS + 1)}}),
    "manifest": (
        SnapshotRecord,
        {"snapshot_id": "s", "manifest": {str(n): "x" for n in range(limits.MANIFEST_ENTRIES + 1)}},
    ),
    "want": (Fetch, {"want": ["x"] * (limits.WANTS + 1)}),
    "have": (Fetch, {"have": ["x"] * (limits.HAVES + 1)}),
    "bases": (Fetch, {"bases": {str(number): "0" * 64 for number in range(limits.BASES + 1)}}),
    "changelog": (
        ReleaseRecord,
        {
            "release_id": "r",
            "tag": "t",
            "commit_id": "c",
            "changelog": [{}] * (limits.CHANGELOG_ENTRIES + 1),
        },
    ),
    "tags": (PostTags, {"tags": [{}] * (limits.TAGS + 1)}),
    "dimensions": (Capabilities, {"dimensions": [{}] * (ENTRIES + 1)}),
    "artifact_types": (Capabilities, {"artifact_types": ["x"] * (ENTRIES + 1)}),
    "supported_commands": (Capabilities, {"supported_commands": ["x"] * (ENTRIES + 1)}),
}


@pytest.mark.parametrize("field", LISTS)
def test_a_list_over_its_limit_is_refused_with_the_limit_and_the_remedy(field: str) -> None:
    error = refused(*LISTS[field])
    assert isinstance(error, TooLarge)
    assert field in error.message and refusals.REMEDIES[field] in error.message
    assert "after validation" not in error.message and not error.message.endswith("…")


def test_every_list_with_a_limit_has_a_remedy() -> None:
    shapes = [
        model
        for model in openapi.models().values()
        if isinstance(model, type) and issubclass(model, BaseModel)
    ]
    limited = {
        name
        for shape in shapes
        for name, field in shape.model_fields.items()
        if any(hasattr(rule, "max_length") for rule in field.metadata)
        and field.annotation is not str
    }
    assert limited == refusals.REMEDIES.keys()


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        (Push, {}, ["at bundle: is missing", "at branch: is missing"]),
        (
            Presign,
            {"direction": "get", "ttl_seconds": 5},
            ["must be one of 'put'", "must be at least 30"],
        ),
        (Presign, {"object_ids": "x"}, ["at object_ids: must be a list"]),
        (
            PushObjects,
            {"objects": [{"object_id": 5, "content": 5}]},
            ["must be text", "must be bytes"],
        ),
        (
            Push,
            {"bundle": [], "branch": None, "force": 1},
            ["must be a map", "must be text", "true or false"],
        ),
        (RepoChange, {"descripton": "x"}, ["at descripton: is not known here"]),
        (RepoChange, {"description": "x" * 5000}, ["must have at most 1000 characters"]),
        (NewRepo, {}, ["send either a slug or a name"]),
        (PageQuery, {"limit": "many"}, ["at limit: must be a whole number"]),
        (DeleteBranchQuery, {"branch": ""}, ["must have at least 1 characters"]),
    ],
    ids=str,
)
def test_all_invalid_fields_are_named_in_the_words_of_the_hub(
    shape: type[BaseModel], value: Any, words: list[str]
) -> None:
    error = refused(shape, value)
    assert isinstance(error, Unprocessable)
    for word in words:
        assert word in error.message
    for word in ("Input should", "Field required", "Extra inputs", "Value error"):
        assert word not in error.message


def test_many_invalid_fields_are_counted() -> None:
    error = refused(FilterObjects, {"object_ids": list(range(1000))})
    assert "and 99" in error.message and error.message.endswith("more")
    assert len(json.dumps(error.message)) - 2 <= MESSAGE_CHARACTERS
